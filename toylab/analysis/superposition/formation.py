"""Superposition as it forms: jumps of features, falls of the loss, and plateaus at the losses of polygons.

Elhage et al. 2022 (Toy Models of Superposition, arXiv 2209.10652), learning dynamics; Chen et al. 2023 (arXiv 2310.06301).
Trajectories have axes [R, T]: runs, saved points. Steps [T] rise. What is found in them is computed on the host.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Integer, Real

from toylab.analysis.superposition import geometry, theory
from toylab.base import Params, Run
from toylab.shapes import shaped


@shaped
def jumps(
    steps: Integer[ArrayLike, " T"],
    dimensionality: Real[ArrayLike, "R T n"],
    norms: Real[ArrayLike, "R T n"],
    least: float = 0.2,
    factor: float = 1.25,
    since: int = 0,
) -> Bool[np.ndarray, "R T n"]:
    """Whether a feature that is or becomes represented jumps to another dimensionality from a point on.

    Args:
        steps: Steps of the saved points.
        dimensionality: D_i of every feature.
        norms: ‖W_i‖ of every feature; from 1/2 on it is represented.
        least: By how much D_i must change.
        factor: The change must come before the step has grown by this factor.
        since: The first step that counts.

    Returns:
        A mask. It is false where D_i or ‖W_i‖ is nan.
    """
    steps, D, strong = np.asarray(steps), np.asarray(dimensionality), np.asarray(norms) > 0.5
    later = np.minimum(np.searchsorted(steps, factor * steps), len(steps) - 1)
    moved = (np.abs(D[:, later] - D) > least) & (strong | strong[:, later])
    return moved & (steps >= since)[:, None]


@shaped
def falls(
    steps: Integer[ArrayLike, " T"], losses: Real[ArrayLike, "R T"], steep: float = 1.0, flat: float = 0.5
) -> Int[np.ndarray, " R"]:
    """How often the loss falls steeply after it has been flat.

    The slope is −d log L / d log step. A fall begins where it exceeds `steep`; the next one counts only after the slope
    has been below `flat`. Step 0 is left out.

    Args:
        steps: Steps of the saved points.
        losses: The loss of every run, positive.
        steep: The slope from which on the loss falls.
        flat: The slope below which it rests.

    Returns:
        The number of falls of each run.
    """
    steps, losses = np.asarray(steps), np.asarray(losses)
    over = steps > 0
    slope = -np.diff(np.log(losses[:, over]), axis=1) / np.diff(np.log(steps[over]))
    count, ready = np.zeros(len(slope), int), np.ones(len(slope), bool)
    for now in slope.T:
        count += ready & (now > steep)
        ready = np.where(now > steep, False, ready | (now < flat))
    return count


@shaped
def plateaus(
    steps: Integer[ArrayLike, " T"],
    losses: Real[ArrayLike, "R T"],
    state: Integer[ArrayLike, "R T"],
    factor: float = 2.0,
    flat: float = 0.01,
) -> Float[np.ndarray, "R T"]:
    """The loss at which a run rests in one state from a point on.

    It rests where, until the step has grown by `factor`, the state is known and does not change and the loss varies by
    less than the share `flat`. On the slow way to a level, where the distance falls like 1/step, that holds from a
    distance of 2 · flat on.

    Args:
        steps: Steps of the saved points.
        losses: The loss of every run.
        state: The state of every run at every point; negative where it has none.
        factor: How long it must rest.
        flat: How much the loss may vary.

    Returns:
        The median loss over that time; nan where the run does not rest.
    """
    steps, losses, state = np.asarray(steps), np.asarray(losses), np.asarray(state)
    out = np.full(losses.shape, np.nan)
    for start, step in enumerate(steps):
        if 0 < step <= steps[-1] / factor:
            stretch = slice(start, int(np.searchsorted(steps, factor * step)) + 1)
            still = (np.ptp(state[:, stretch], axis=1) == 0) & (state[:, start] >= 0)
            still &= losses[:, stretch].max(axis=1) < (1 + flat) * losses[:, stretch].min(axis=1)
            out[:, start] = np.where(still, np.median(losses[:, stretch], axis=1), np.nan)
    return out


def polygon_level(c: int, k: int, plus: int = 0) -> float:
    """The exact loss of k of c one-hot features in two dimensions: without interference, or from k = 5 on in a k-gon.

    Args:
        c: The number of features.
        k: The number of represented ones.
        plus: How many of the others have the bias 1/(2c) (k⁺ of Chen et al. 2023; see `theory.kgon`).

    Returns:
        (c − k)/(3c) − plus/(4c²) up to k = 3, else `theory.kgon_loss`.

    Raises:
        ValueError: From k = 4 on, as of `theory.kgon`.
    """
    if k > 3:
        return theory.kgon_loss(c, k, plus)
    return (c - k) / (3 * c) - plus / (4 * c**2)


@shaped
def polygon_states(
    k: Integer[ArrayLike, "*batch"],
    plus: Integer[ArrayLike, "*batch"],
    bend: Real[ArrayLike, "*batch"],
    *,
    largest: float = 0.2,
) -> Int[np.ndarray, "*batch"]:
    """The polygon that each model is, as one number: what `polygon` has found.

    Args:
        k: The number of represented features.
        plus: The number of the others with the better bias.
        bend: By how many radians an angle between neighbours differs at most from a regular polygon's.
        largest: The bend from which on it is no regular polygon.

    Returns:
        10 k + plus; −1 where it is no regular polygon.
    """
    return np.where(np.asarray(bend) < largest, 10 * np.asarray(k) + np.asarray(plus), -1)


@shaped
def off_polygon(
    losses: Real[ArrayLike, "*batch"], state: Integer[ArrayLike, "*batch"], c: int = 6
) -> Float[np.ndarray, "*batch"]:
    """The relative distance of losses from the exact loss of the polygon.

    Args:
        losses: Losses, nan where there is none.
        state: The polygon, as of `polygon_states`.
        c: The number of features.

    Returns:
        |L / `polygon_level` − 1|; nan where it is no polygon.
    """
    state = np.asarray(state)
    levels = {each: polygon_level(c, *divmod(int(each), 10)) for each in np.unique(state) if each >= 0}
    exact = np.array([levels.get(each, np.nan) for each in state.ravel()]).reshape(state.shape)
    return np.abs(np.asarray(losses) / exact - 1)


@shaped
def rise(
    state: Integer[ArrayLike, "R T"], resting: Bool[ArrayLike, "R T"], values: Real[ArrayLike, "R T"]
) -> Float[np.ndarray, " R"]:
    """By how much a quantity is larger in the last state in which a run rests than in the first.

    Args:
        state: The state of every run at every point.
        resting: Whether it rests there, as where `plateaus` is a number.
        values: The quantity.

    Returns:
        The difference of the medians over the points at which a run rests in each of the two; nan where they are the same
        state, or it never rests.
    """
    found = []
    for own, on, each in zip(np.asarray(state), np.asarray(resting), np.asarray(values), strict=True):
        visited = own[on]
        moved = visited.size and visited[0] != visited[-1]
        ends = [float(np.median(each[on & (own == end)])) for end in visited[[0, -1]]] if moved else [np.nan, np.nan]
        found.append(ends[1] - ends[0])
    return np.array(found)


@shaped
def n_visited(state: Integer[ArrayLike, "R T"], resting: Bool[ArrayLike, "R T"]) -> Int[np.ndarray, " R"]:
    """In how many states each run rests.

    Args:
        state: The state of every run at every point.
        resting: Whether it rests there.
    """
    return np.array([len(set(own[on])) for own, on in zip(np.asarray(state), np.asarray(resting), strict=True)])


@shaped
def share_at(
    value: float,
    dimensionality: Real[ArrayLike, "*batch n"],
    norms: Real[ArrayLike, "*batch n"],
    *,
    width: float = 0.02,
) -> Float[np.ndarray, "*batch"]:
    """Of the represented features, of norm above 1/2, the share whose dimensionality is within `width` of a value.

    Args:
        value: The dimensionality, 1/2 for antipodal pairs.
        dimensionality: D_i of every feature.
        norms: ‖W_i‖ of every feature.
        width: The distance up to which D_i counts.

    Returns:
        A share; 0 where no feature is represented, nan for nan.
    """
    D, norms = np.asarray(dimensionality), np.asarray(norms)
    held = norms > 0.5
    share = ((np.abs(D - value) < width) & held).sum(axis=-1) / np.maximum(held.sum(axis=-1), 1)
    return np.where(np.isnan(D).any(axis=-1) | np.isnan(norms).any(axis=-1), np.nan, share)


def features(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of a ToyModel.

    Returns:
        A dict: `norms` and `dimensionality`, both [n].
    """
    return {"norms": geometry.feature_norms(params["W"]), "dimensionality": geometry.dimensionality(params["W"])}


def exact_loss(params: Params, run: Run) -> Array:
    """`theory.one_hot_loss` of a ToyModel's weights [], a loss for `llc.analyzer`."""
    return theory.one_hot_loss(params["W"], params["b"])


def polygon(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of a ToyModel of c one-hot features in two dimensions: near which polygon it is.

    Returns:
        A dict of scalars.

        - `loss`: the exact loss.
        - `k`: the number of features of norm above 1/2.
        - `plus`: the number of the others whose bias is nearer 1/(2c) than 0.
        - `bend`: by how many radians an angle between neighbours differs at most from 2π/k; up to k = 4, by how many it
          falls short of π/2.
    """
    W, b = params["W"], params["b"]
    c = len(W)
    alive = geometry.feature_norms(W) > 0.5
    k = alive.sum()
    angle = jnp.sort(jnp.where(alive, jnp.arctan2(W[:, 1], W[:, 0]), jnp.inf))
    place = jnp.arange(c)
    gaps = jnp.where(place == k - 1, angle[0] + 2 * jnp.pi, jnp.roll(angle, -1)) - angle
    bend = jnp.where(k > 4, jnp.abs(gaps - 2 * jnp.pi / k), jnp.pi / 2 - gaps)
    bend = jnp.where(place < k, bend, 0).max()
    return {"loss": exact_loss(params, run), "k": k, "plus": (~alive & (b > 1 / (4 * c))).sum(), "bend": bend}
