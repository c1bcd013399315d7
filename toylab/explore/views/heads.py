"""What heads score, at a step and over steps, and how they compose. They stand in the tab of attention."""

from functools import partial
from typing import Any, get_args

import jax
import numpy as np
from jax import Array

from toylab.analysis.attention import composition
from toylab.analysis.attention import heads as analysis
from toylab.explore.declaring import Choice, Controls, view
from toylab.explore.moment import Moment
from toylab.explore.pictures import Colours, Graph, Heatmap, Lines, Picture
from toylab.explore.views import sequences
from toylab.tasks import GroupComposition, ModularArithmetic

BLOCKS = 64  # as many as the analyzers of heads take
WEIGHED = 500_000  # entries of patterns that a score is taken of: fewer blocks of larger networks
EDGES = 400  # of a graph
SHARES = ("induction", "prefix_matching", "previous_token", "duplicate_token")  # from 0 to 1
SCORES = (*SHARES, "attention_entropy", "copying", "matching", "zero", "llc")  # measures [t, L, H], by their last part
KINDS: tuple[composition.Kind, ...] = get_args(composition.Kind)


def fits_scores(moment: Moment) -> str | None:
    """As of `view`: on two random blocks, which must fit in the context."""
    answers = isinstance(moment.task, ModularArithmetic | GroupComposition)
    answers |= getattr(moment.net, "readout", "all") != "all"
    why = None if answers else sequences.fits(moment)
    if why != "":
        return why
    if not sequences.predicts(moment):
        return None  # of a network that does not continue sequences nobody asks for induction heads
    return "" if moment.net.n_ctx >= 4 else f"net.n_ctx is {moment.net.n_ctx}: two blocks need at least 4 positions."


@view("head-scores", family="attention", title="Scores of heads on random blocks, each twice", fits=fits_scores)
def scores(moment: Moment) -> list[Picture]:
    """What each head attends to on random blocks, each twice, at the step."""
    period = int(getattr(moment.task, "n_ctx", moment.net.n_ctx)) // 2
    n_layers, n_heads = moment.shapes["W_Q"][:2]
    n = int(np.clip(WEIGHED // (n_layers * n_heads * (2 * period) ** 2), 1, BLOCKS))
    make = partial(analysis.repeated_blocks, jax.random.key(0), BLOCKS, period, sequences.n_vocab(moment))
    tokens = moment.kept("random blocks", lambda: np.asarray(make())[:n])
    found = _scores(moment.net, moment.params, tokens, period)
    return [_by_head(np.asarray(value), f"{name}, {n} blocks", 1.0) for name, value in found.items()]


def fits_over_steps(moment: Moment) -> str | None:
    """As of `view`."""
    return "" if _measures(moment) else None


def score_controls(moment: Moment) -> Controls:
    names = _measures(moment)
    return {"score": Choice("Score", names, names[0])}


@view(
    "head-scores-over-steps", family="attention", title="Scores of heads over training", fits=fits_over_steps,
    controls=score_controls,
)  # fmt: skip
def scores_over_steps(moment: Moment, score: str = "") -> list[Picture]:
    """A measure of each head over steps, and at the step."""
    names = _measures(moment)
    name = score or names[0]
    if name not in names:
        raise ValueError(f"score is {name!r}: it must be one of {', '.join(names)}.")
    values = moment.over_steps(name)
    there = ~np.isnan(values).all(axis=0)  # runs with fewer layers or heads than others have nan there
    n_layers, n_heads = (1 + int(np.flatnonzero(there.any(axis=axis)).max(initial=0)) for axis in (1, 0))
    last = name.rpartition("/")[2]
    lines = {f"{i}.{j}": values[:, i, j] for i in range(n_layers) for j in range(n_heads) if there[i, j] or i + j == 0}
    return [
        Lines(moment.steps, lines, f"{name}, by layer.head", "step", last, at=moment.step),
        _by_head(values[moment.place, :n_layers, :n_heads], name, 1.0 if last in SHARES else None),
    ]


def fits_composition(moment: Moment) -> str | None:
    """As of `view`: of two layers or more, by weights or by what was measured."""
    if sequences.fits_weights(moment) == "":
        absent = [name for name in ("W_K", "W_V", "W_O") if name not in moment.shapes]
        if absent:
            return f"{', '.join(absent)} is not recorded."
        return "" if moment.shapes["W_Q"][0] > 1 else None
    if getattr(moment.net, "n_layers", 2) == 1:
        return None
    return "" if _measured(moment, "K") else sequences.fits_weights(moment)


def composition_controls(moment: Moment) -> Controls:
    return {"kind": Choice("Read by", KINDS, "K")}


@view(
    "composition",
    family="attention",
    title="Composition of heads",
    fits=fits_composition,
    controls=composition_controls,
)
def composed(moment: Moment, kind: str = "K") -> list[Picture]:
    """How much heads read of what heads of earlier layers write, beside heads of random weights."""
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}: it must be one of {', '.join(KINDS)}.")
    if "W_Q" in moment.shapes:
        own = {name: moment.params[name] for name in ("W_Q", "W_K", "W_V", "W_O")}
        found = np.asarray(_composition(own, kind))
    else:
        layers = np.asarray(moment.now(_measured(moment, kind)), np.float32)
        found = layers if layers.ndim == 4 else _of_two_layers(layers)
    n_layers, n_heads = found.shape[:2]
    names = [f"{layer}.{head}" for layer in range(n_layers) for head in range(n_heads)]
    matrix = found.reshape(len(names), len(names))
    layer = np.repeat(np.arange(n_layers), n_heads)
    edges = np.argwhere(layer[:, None] < layer)
    random = _random(moment)
    weights = np.nan_to_num(matrix[tuple(edges.T)] - random)
    strongest = np.sort(np.argsort(-np.abs(weights), kind="stable")[:EDGES])
    pairs = [(int(i), int(j)) for i, j in edges[strongest]]
    across = np.tile(np.linspace(-1, 1, n_heads) if n_heads > 1 else np.zeros(1), n_layers)
    said = f"{kind}-composition"
    title = f"{said}, above {random:.2f} of random weights" if random else said
    title += f", the {EDGES} strongest" if len(edges) > EDGES else ""
    graph = Graph(across, 2 * layer / (n_layers - 1) - 1, names, pairs, weights[strongest], title)
    values, reads, writes = matrix[:-n_heads, n_heads:], names[n_heads:], names[:-n_heads]
    return [graph, Heatmap(values, said, "head that reads", "head that writes", "positive", columns=reads, rows=writes)]


@partial(jax.jit, static_argnames="period")
def _scores(net: Any, params: Any, tokens: Array, period: int) -> dict[str, Array]:
    A = net.apply(params, tokens)[1]["pattern"]
    return {
        "previous token": analysis.previous_token_score(A).mean(1),
        "induction": analysis.induction_score(A, period).mean(1),
        "duplicate token": analysis.duplicate_token_score(A, period).mean(1),
        "prefix matching": analysis.prefix_matching_score(A, tokens),
    }


@partial(jax.jit, static_argnames="kind")
def _composition(params: Any, kind: composition.Kind) -> Array:
    return composition.composition_scores(params, kind)


def _by_head(values: np.ndarray, title: str, limit: float | None) -> Heatmap:
    """[layers, heads]."""
    colours: Colours = "positive" if limit else "symmetric"
    rows, columns = ([str(i) for i in range(n)] for n in values.shape)
    return Heatmap(values, title, "head", "layer", colours, limit, columns=columns, rows=rows)


def _measures(moment: Moment) -> list[str]:
    """Measures that have a number for each head."""
    measures = moment.recording.measures
    fit = [name for name, values in measures.items() if values.ndim == 4 and name.rpartition("/")[2] in SCORES]
    return sorted(fit, key=lambda name: SCORES.index(name.rpartition("/")[2]))


def _measured(moment: Moment, kind: str) -> str:
    """The measure of composition; "" where there is none."""
    ends = (f"{kind}_composition", f"compositions/{kind}")
    return next((name for name in moment.recording.measures if name.endswith(ends)), "")


def _of_two_layers(scores: np.ndarray) -> np.ndarray:
    n = len(scores)
    whole = np.full((2, n, 2, n), np.nan, np.float32)
    whole[0, :, 1] = scores
    return whole


def _sizes(moment: Moment) -> tuple[int, int] | None:
    """d_model and d_head, where they are known."""
    if "W_Q" in moment.shapes:
        return moment.shapes["W_Q"][2:]  # type: ignore[return-value]
    d_model, n_heads = (getattr(moment.net, name, 0) for name in ("d_model", "n_heads"))
    return (d_model, getattr(moment.net, "d_head", 0) or d_model // n_heads) if d_model and n_heads else None


def _random(moment: Moment) -> float:
    """What heads of random weights score; 0 where their sizes are not known."""
    sizes = _sizes(moment)
    return (
        moment.kept(("random composition", sizes), lambda: composition.random_composition(*sizes)[0]) if sizes else 0.0
    )
