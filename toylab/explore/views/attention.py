"""Transformers: attention patterns on a sequence, circuits of heads. What heads score and how they compose: heads.py."""

from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array

from toylab.analysis.attention import circuits
from toylab.explore.declaring import Choice, Control, Controls, view
from toylab.explore.moment import Moment
from toylab.explore.pictures import Bars, Dots, Heatmap, Picture
from toylab.explore.views import heads, sequences

ALL = "all"
MOST = 128  # tokens and positions of a circuit that are shown
NAMED = 64  # tokens whose names stand beside a circuit


def pattern_controls(moment: Moment) -> Controls:
    return _heads(moment, every=True) | sequences.controls(moment)


@view(
    "attention-patterns", family="attention", title="Attention patterns", fits=sequences.fits, controls=pattern_controls
)
def patterns(moment: Moment, layer: str = "", head: str = ALL, typed: str = "", again: int = 0) -> list[Picture]:
    """How much each position takes of each, on one sequence; and the loss of predicting its tokens."""
    at, which = _layer(moment, layer), _which(moment, head)
    tokens = sequences.sequence(moment, typed, again)
    names = sequences.shown(moment, tokens)
    found, loss = sequences.run(moment, tokens)
    pictures: list[Picture] = [
        Heatmap(found[at, i], f"Layer {at}, head {i}", "key", "query", "positive", 1.0, columns=names, rows=names)
        for i in which
    ]
    if loss is not None:
        title = f"Loss of each token, mean {float(loss.mean()):.2f} nats"
        pictures.append(Bars(loss, title, "token that is predicted", "nats", names=names[1:]))
    return pictures


def fits_example(moment: Moment) -> str | None:
    """As of `view`: a measure of patterns [t, L, H, P, P] or, of one head a layer, [t, L, P, P]."""
    return "" if _example(moment) else None


def example_controls(moment: Moment) -> Controls:
    (n_layers, *_) = moment.recording.measures[_example(moment)].shape[2:]
    return {"layer": _layers(n_layers)}


@view(
    "measured-patterns", family="attention", title="Attention patterns that were measured", fits=fits_example,
    controls=example_controls,
)  # fmt: skip
def measured(moment: Moment, layer: str = "") -> list[Picture]:
    """The patterns that the sweep itself measured, on a sequence of its own."""
    name = _example(moment)
    found = np.asarray(moment.now(name), np.float32)
    found = found if found.ndim == 4 else found[:, None]
    at = _number("layer", layer or str(len(found) - 1), len(found))
    tokens = f"{name.rpartition('/')[0]}/tokens"
    names = [str(int(token)) for token in moment.now(tokens)] if moment.has(tokens) else None
    return [
        Heatmap(one, f"Layer {at}, head {i}", "key", "query", "positive", 1.0, columns=names, rows=names)
        for i, one in enumerate(found[at])
    ]


def fits_circuits(moment: Moment) -> str | None:
    """As of `view`."""
    if (why := sequences.fits_weights(moment)) != "":
        return why
    if "W_R" in moment.shapes:
        return "W_R, hidden layers, stand before W_U: products of weights with W_U are no logits then."
    absent = [name for name in ("W_E", "W_K", "W_V", "W_O", "W_U") if name not in moment.shapes]
    return f"{', '.join(absent)} is not recorded." if absent else ""


def circuit_controls(moment: Moment) -> Controls:
    return _heads(moment, every=False)


@view("circuits", family="attention", title="QK and OV circuits", fits=fits_circuits, controls=circuit_controls)
def circuit(moment: Moment, layer: str = "", head: str = "0") -> list[Picture]:
    """Products of one head's weights: which tokens match, what they write, and the eigenvalues of that."""
    at, one = _layer(moment, layer), _number("head", head, moment.shapes["W_Q"][1])
    W = moment.params
    own = {name: W[name][at : at + 1, one : one + 1] for name in ("W_Q", "W_K", "W_V", "W_O")}
    own |= {name: W[name] for name in ("W_E", "W_U", "W_pos") if name in W}
    square = W["W_U"].shape[1] == len(W["W_E"])
    found = {name: np.asarray(value) for name, value in _circuits(own, square).items()}
    names = sequences.vocabulary(moment) if len(W["W_E"]) <= NAMED else None
    of, first = f"layer {at}, head {one}", f", first {MOST}" if len(W["W_E"]) > MOST else ""

    def picture(
        values: np.ndarray, title: str, x: str, y: str, tokens: list[str] | None, out: list[str] | None
    ) -> Heatmap:
        return Heatmap(values[:MOST, :MOST], f"{title}: {of}{first}", x, y, columns=out, rows=tokens)

    pictures: list[Picture] = [
        picture(found["QK"][0, 0], "W_E W_QK W_Eᵀ", "key token", "query token", names, names),
        picture(found["OV"][0, 0], "W_E W_OV W_U", "output", "source token", names, names if square else None),
    ]
    if "positions" in found:
        pictures.append(
            picture(found["positions"][0, 0], "W_pos W_QK W_posᵀ", "key position", "query position", None, None)
        )
    if square:
        values, score = found["eigenvalues"][0, 0], float(found["copying"][0, 0])
        title = f"OV eigenvalues; copying {score:.2f}"
        pictures.append(Dots(values.real, values.imag, title, "real part", "imaginary part"))
    return pictures


@partial(jax.jit, static_argnames="square")
def _circuits(params: Any, square: bool) -> dict[str, Array]:
    found = {"QK": circuits.qk_circuit(params), "OV": circuits.ov_circuit(params)}
    if square:
        found |= {"eigenvalues": circuits.ov_eigenvalues(params), "copying": circuits.copying_score(params)}
    return found | ({"positions": circuits.positional_qk(params)} if "W_pos" in params else {})


def _heads(moment: Moment, every: bool) -> dict[str, Control]:
    """Choices of a layer and a head."""
    n_layers, n_heads = moment.shapes["W_Q"][:2]
    numbers = [str(i) for i in range(n_heads)]
    return {
        "layer": _layers(n_layers),
        "head": Choice("Head", [ALL, *numbers] if every else numbers, ALL if every else "0"),
    }


def _layers(n: int) -> Choice:
    """The last at first, where what attention computes is read off."""
    return Choice("Layer", [str(i) for i in range(n)], str(n - 1))


def _layer(moment: Moment, layer: str) -> int:
    n_layers = moment.shapes["W_Q"][0]
    return _number("layer", layer or str(n_layers - 1), n_layers)


def _which(moment: Moment, head: str) -> range | list[int]:
    n_heads = moment.shapes["W_Q"][1]
    return range(n_heads) if head == ALL else [_number("head", head, n_heads)]


def _number(what: str, value: str, n: int) -> int:
    if not (str(value).isdecimal() and int(value) < n):
        raise ValueError(f"{what} is {value!r}: it must be one of 0 to {n - 1}.")
    return int(value)


def _example(moment: Moment) -> str:
    """The measure of patterns; "" where there is none."""
    for name, values in moment.recording.measures.items():
        shape = values.shape[2:]
        if name.rpartition("/")[2] in ("pattern", "example") and len(shape) in (3, 4) and shape[-1] == shape[-2]:
            return name
    return ""


scores, scores_over_steps, composed = heads.scores, heads.scores_over_steps, heads.composed
