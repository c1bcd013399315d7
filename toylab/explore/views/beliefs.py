"""Hidden Markov tasks: the simplex of beliefs, and what an affine map makes of the residual stream (Shai et al. 2024).

Every possible sequence of up to a number of symbols is taken, with its probability, so that all is exact for it. A point
has the colour of its true belief in both pictures: a mixture of its states' colours, told apart in colour blindness.
"""

from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array

from toylab.analysis.attention import beliefs
from toylab.analysis.probes import residual_streams
from toylab.explore.declaring import Choice, Control, Controls, Whole, view
from toylab.explore.moment import Moment
from toylab.explore.pictures import Bars, Dots, Lines, Picture
from toylab.explore.views import sequences
from toylab.tasks import HiddenMarkov, hmm

AT_FIRST, MOST = 5_000, 60_000  # symbols of all sequences together: those shown at first, and at most
# Okabe and Ito 2008, of the first six states
COLOURS = np.array([[0, 114, 178], [213, 94, 0], [240, 228, 66], [204, 121, 167], [0, 158, 115], [0, 0, 0]]) / 255
AT_LAST = "all_images/final"  # the analysis `images_of_all` of the last point
LAST, ALL = "last", "all side by side"


def fits(moment: Moment) -> str | None:
    """As of `view`."""
    if not isinstance(moment.task, HiddenMarkov):
        return None
    if (states := np.shape(moment.task.T)[1]) > len(COLOURS):
        return f"the process has {states} states: at most {len(COLOURS)} have a colour."
    if moment.shapes:
        why = sequences.fits(moment)
        return "the network has no W_Q: residual streams are those of transformers." if why is None else why
    return "" if moment.has("image/final") or AT_LAST in moment.recording.final else moment.recording.no_params


def controls(moment: Moment) -> Controls:
    """Which residual, and how many symbols; of what was measured neither is free."""
    if not moment.shapes:
        return {}
    n_layers = moment.shapes["W_Q"][0]
    layers = ["embedding", *(f"after layer {i}" for i in range(n_layers - 1)), LAST, ALL]
    found: dict[str, Control] = {"residual": Choice("Residual stream", layers, LAST)}
    most = _longest(moment, MOST)
    return found | {"symbols": Whole("Symbols at most", 1, most, _longest(moment, AT_FIRST))}


@view("belief-simplex", family="beliefs", title="Belief simplex", fits=fits, controls=controls)
def simplex(moment: Moment, residual: str = LAST, symbols: int = 0) -> list[Picture]:
    """The optimal predictor's beliefs, and the image of a residual stream under its regression to them."""
    if not moment.shapes:
        true, image, r2 = _measured(moment)
        title = "Last residual" if moment.has("image/final") else "Last residual, last point"
    else:
        names = list(controls(moment)["residual"].options)  # type: ignore[union-attr]
        if residual not in names:
            raise ValueError(f"residual is {residual!r}: it must be one of {', '.join(names)}.")
        most = _longest(moment, MOST)
        symbols = symbols or _longest(moment, AT_FIRST)
        if not 1 <= symbols <= most:
            raise ValueError(f"symbols are {symbols}: they must be 1 to {most}.")
        points = moment.kept(("beliefs", symbols), lambda: _points(np.asarray(moment.task.T, np.float64), symbols))
        true = points["beliefs"]
        found, share = _image(moment.net, moment.params, names.index(residual), *points.values())
        image, r2 = np.asarray(found), float(share)
        title = "Last residual" if residual == LAST else residual.capitalize()
    title += "; weights are not finite" if not np.isfinite(image).all() else f"; R² {r2:.4f}" if np.isfinite(r2) else ""
    corners = plane(true.shape[1])
    return [_dots(true, true, corners, f"Beliefs, {len(true)} sequences"), _dots(image, true, corners, title)]


def fits_explained(moment: Moment) -> str | None:
    """As of `view`: `explained/layers` [t, L + 1] was measured."""
    return "" if moment.has("explained/layers") else None


@view("beliefs-explained", family="beliefs", title="How much of the beliefs is explained", fits=fits_explained)
def explained(moment: Moment) -> list[Picture]:
    """The share of the beliefs' variance that residual streams leave: over steps, and by layer at the step."""
    names = {"explained/final": "last", "explained/concat": "all", "explained/final_shuffled": "last, shuffled beliefs"}
    lines = {said: 1 - moment.over_steps(name) for name, said in names.items() if moment.has(name)}
    layers = 1 - moment.now("explained/layers")
    by_layer = np.append(layers, 1 - moment.now("explained/concat")) if moment.has("explained/concat") else layers
    labels = ["embed", *(str(i) for i in range(len(layers) - 1)), "all"][: len(by_layer)]
    return [
        Lines(moment.steps, lines, "Beliefs: not explained", "step", "1 − R²", log_y=True, at=moment.step),
        Bars(by_layer, "Beliefs: not explained after each layer", "layer", "1 − R²", names=labels),
    ]


def fits_losses(moment: Moment) -> str | None:
    """As of `view`: `by_position/loss` [t, n_ctx] was measured of a hidden Markov task."""
    return "" if isinstance(moment.task, HiddenMarkov) and moment.has("by_position/loss") else None


@view("belief-losses", family="beliefs", title="Loss by position", fits=fits_losses)
def losses(moment: Moment) -> Lines:
    """The loss after each number of symbols, beside what the optimal predictor and one of the last symbol alone have."""
    loss = moment.now("by_position/loss")
    T = np.asarray(moment.task.T, np.float64)
    limits = moment.kept("limits of losses", lambda: (hmm.myopic_entropies(T, len(loss) + 1)[1:], hmm.bigram_loss(T)))
    lines = {"network": loss, "optimal": limits[0], "last symbol alone": np.full(len(loss), limits[1])}
    return Lines(np.arange(1, len(loss) + 1), lines, "Loss by position", "symbols that are known", "nats")


def plane(states: int) -> np.ndarray:
    """Where the corners of the simplex lie, [states, 2]; a belief η lies at η @ corners.

    Two states have a line of length 1. More stand round a regular polygon, clockwise from the top, of three the triangle of
    side 1; with more than three different beliefs may have one place.
    """
    if states == 2:
        return np.array([[-0.5, 0.0], [0.5, 0.0]])
    angle = np.pi / 2 - 2 * np.pi * np.arange(states) / states
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) / 3**0.5


def colours(true: np.ndarray) -> np.ndarray:
    """[n, 3]: the mixture of the states' colours with the belief in each as its share."""
    shares = np.clip(true, 0, None)
    return np.clip(shares @ COLOURS[: true.shape[1]] / shares.sum(axis=1, keepdims=True), 0, 1)


def _dots(points: np.ndarray, true: np.ndarray, corners: np.ndarray, title: str) -> Dots:
    """The points, and the corners of the simplex with the names of their states."""
    states = len(corners)
    x, y = np.concatenate([points @ corners, corners]).T
    names = [""] * len(points) + [f"state {i}" for i in range(states)]
    rgb = np.concatenate([colours(true), COLOURS[:states]])
    return Dots(x, y, title, names=names, rgb=rgb, limit=1.25 * float(np.abs(corners).max()))


def _longest(moment: Moment, most: int) -> int:
    """The longest sequences, up to the context, that all together have no more symbols than that."""
    n_symbols = len(moment.task.T)
    fit = [n for n in range(1, moment.task.n_ctx + 1) if n * n_symbols**n <= most]
    return max(fit, default=1)


def _points(T: np.ndarray, symbols: int) -> dict[str, np.ndarray]:
    """Every possible sequence: as a beginning of which of the longest, where in it it ends, its belief and probability."""
    rows, position, true, weight = beliefs.prefixes(T, symbols)
    whole, rows = np.unique(rows, return_inverse=True)
    tokens = hmm.every_sequence(len(T), symbols)[whole]
    return {"tokens": tokens, "rows": rows, "position": position, "beliefs": true, "weight": weight}


@partial(jax.jit, static_argnums=2)
def _image(
    net: Any, params: Any, stream: int, tokens: Array, rows: Array, position: Array, true: Array, weight: Array
) -> tuple[Array, Array]:
    """The image of the residual in the simplex [n, states], and R²; `stream` L + 1 is all of them side by side."""
    streams = residual_streams(net.apply(params, tokens)[1])  # [L + 1, N, P, d]
    x = beliefs.concatenated(streams) if stream == len(streams) else streams[stream]
    image, r2 = beliefs.regression(x[rows, position][:, None], true[:, None], weight)
    return image[:, 0], r2


def _measured(moment: Moment) -> tuple[np.ndarray, np.ndarray, float]:
    """Beliefs, the image of the last residual, and R² over all positions: after n_ctx − 1 symbols where they were measured
    at each point, of every sequence where at the last."""
    T, n_ctx = np.asarray(moment.task.T, np.float64), moment.task.n_ctx
    if moment.has("image/final"):
        make = lambda: np.asarray(hmm.belief_states(T, hmm.every_sequence(len(T), n_ctx - 1)))[:, -1]  # noqa: E731
        name, found, place = "image/final", moment.now("image/final"), moment.place
    else:
        make = lambda: beliefs.prefixes(T, n_ctx)[2]  # noqa: E731
        name, found, place = AT_LAST, moment.recording.final[AT_LAST][moment.run], -1
    true, image = moment.kept("measured beliefs", make), beliefs.completed(found)
    if image.shape != true.shape:
        raise ValueError(f"{name} has shape {image.shape}: that of the beliefs, {true.shape}, is wanted.")
    return true, image, float(moment.over_steps("explained/final")[place]) if moment.has("explained/final") else np.nan
