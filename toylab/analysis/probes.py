"""Probes: what can be read off activations x [n, d] by an affine map, by few of their coordinates, by a softmax.

Targets are y [n, k] of numbers or labels int [n]; `weight` [n] (default: all alike) says how much each row counts, and is 0
for rows held out: so a split changes no shape, and everything runs under jit and vmap. Affine probes are in closed form, by
the singular values of the centred activations; those below `SMALLEST` of the largest count as 0, so that activations that
span fewer dimensions than they have, as residual streams do, give the shortest solution. `select` and `ranking`, which
choose the coordinates of a sparse probe, are of coordinates.py.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Integer, Real

from toylab.analysis.coordinates import Criterion, _dot, _rows, _standard, ranking, select
from toylab.analysis.numbers import floating, kept, nan_where, scaled, varying
from toylab.base import Cache, Params, Run
from toylab.losses import right
from toylab.shapes import shaped
from toylab.shapes.indices import check_range, nan_outside

SMALLEST = 64  # in units of the dtype's rounding error: what a float32 forward pass leaves of an exact 0
HELD_OUT = 0.25  # of the rows
SPARSITIES = (1, 2, 4, 8)  # coordinates that the analyzer's sparse probes may read

__all__ = [
    "HELD_OUT", "SMALLEST", "SPARSITIES", "Criterion", "Probe", "accuracy", "held_out", "last_position", "logistic",
    "one_hot", "r2", "ranking", "residual_streams", "ridge", "select", "sparse",
]  # fmt: skip


class Probe(NamedTuple):
    """`x @ weights + bias`; weights [d, k], bias [k]."""

    weights: Float[Array, "d k"]
    bias: Float[Array, " k"]

    @shaped
    def __call__(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch k"]:
        return jnp.matmul(x, self.weights, precision="highest") + self.bias


@shaped
def ridge(
    x: Real[ArrayLike, "n d"],
    y: Real[ArrayLike, "n ..."] | Bool[ArrayLike, "n ..."],
    penalty: Real[ArrayLike, ""] = 0.0,
    weight: Real[ArrayLike, " n"] | Bool[ArrayLike, " n"] | None = None,
) -> Probe:
    """The affine map that minimises Σ_n w_n |y_n − x_n W − b|² + penalty |W|², with Σ w_n = 1. The bias is not penalised.

    W = V diag(s / (s² + penalty)) Uᵀ √w (y − ȳ), with √w (x − x̄) = U diag(s) Vᵀ. Penalty 0 is least squares.

    Args:
        x: Activations, [n, d].
        y: Targets, [n] or [n, k].
        penalty: Of the weights.
        weight: How much each row counts.
    """
    x, y, weight = _rows(x, y, weight)
    x, power = scaled(x)
    mean_x, mean_y = weight @ x, weight @ y
    root = jnp.sqrt(weight)[:, None]
    q, r = jnp.linalg.qr(root * (x - mean_x))  # [n, d], [d, d]: no squared condition number, as in the normal equations
    u, s, vh = jnp.linalg.svd(r, full_matrices=False)
    large = s > SMALLEST * jnp.finfo(x.dtype).eps * s[0]
    gain = jnp.where(large, s / jnp.where(large, s**2 + penalty / power[0] / power[0], 1), 0)
    onto = _dot(u.T, _dot(q.T, root * (y - mean_y)))  # [d, k]
    weights = _dot(vh.T, gain[:, None] * onto)
    return Probe(weights / power, mean_y - _dot(mean_x, weights))


@shaped
def logistic(
    x: Real[ArrayLike, "n d"],
    labels: Integer[ArrayLike, " n"],
    n_classes: int,
    l2: float = 1e-4,
    steps: int = 500,
    weight: Real[ArrayLike, " n"] | Bool[ArrayLike, " n"] | None = None,
) -> Probe:
    """The softmax regression that minimises Σ_n w_n CE_n + l2/2 |W|² over standardised x.

    It takes steps of Nesterov's accelerated descent, of length 1/L: L = ½ λ_max(Σ w x̃ x̃ᵀ) + l2 bounds the curvature
    (Böhning 1992).

    Args:
        x: Activations, [n, d].
        labels: [n].
        n_classes: The number of classes.
        l2: Penalty of the weights.
        steps: Of the descent.
        weight: How much each row counts.

    Raises:
        ValueError: For a label that is none of 0 … n_classes − 1; under jit all is nan.
    """
    x, onehot, weight = _rows(x, one_hot(labels, n_classes, floating(x).dtype), weight)
    x, power = scaled(x)
    mean, std = _standard(x, weight)
    z = jnp.concatenate([(x - mean) / std, jnp.ones_like(x[:, :1])], axis=1)  # [n, d + 1]
    penalised = l2 * jnp.ones((z.shape[1], 1), x.dtype).at[-1].set(0)
    curvature = 0.5 * jnp.linalg.eigvalsh(_dot(z.T * weight, z))[-1] + l2

    def descend(_: int, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        at, ahead, t = state
        error = weight[:, None] * (jax.nn.softmax(_dot(z, ahead), axis=1) - onehot)
        new = ahead - (_dot(z.T, error) + penalised * ahead) / curvature
        later = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
        return new, new + (t - 1) / later * (new - at), later

    start = jnp.zeros((z.shape[1], n_classes), x.dtype)
    found, _, _ = jax.lax.fori_loop(0, steps, descend, (start, start, jnp.ones((), x.dtype)))
    weights = found[:-1] / std[:, None]
    return Probe(weights / power, found[-1] - _dot(mean, weights))


@shaped
def sparse(
    x: Real[ArrayLike, "n d"],
    y: Real[ArrayLike, "n ..."] | Bool[ArrayLike, "n ..."],
    k: int,
    criterion: Criterion = "forward",
    weight: Real[ArrayLike, " n"] | Bool[ArrayLike, " n"] | None = None,
) -> tuple[Probe, Bool[Array, " d"]]:
    """The least-squares probe that reads only the k coordinates which `select` chooses.

    Args:
        x: Activations, [n, d].
        y: Targets, [n] or [n, k].
        k: How many.
        criterion: As of `ranking`.
        weight: How much each row counts.

    Returns:
        The probe, and the mask [d] of what it reads.
    """
    x = floating(x)
    chosen = select(x, y, k, criterion, weight)
    return ridge(kept(chosen, x), y, weight=weight), chosen


@shaped
def r2(
    y: Real[ArrayLike, "n k"],
    predicted: Real[ArrayLike, "n k"],
    weight: Real[ArrayLike, " n"] | Bool[ArrayLike, " n"] | None = None,
) -> Float[Array, ""]:
    """1 − Σ w |y − ŷ|² / Σ w |y − ȳ|², pooled over columns: the share of y's variance that the prediction explains.

    Args:
        y: Targets.
        predicted: ŷ.
        weight: How much each row counts.

    Returns:
        A scalar. On rows held out it may be below 0. nan where y does not vary but for rounding.
    """
    y, predicted, weight = _rows(y, predicted, weight)
    y, power = scaled(y)
    total = weight @ jnp.sum(varying(y, y - weight @ y, 0, where=(weight > 0)[:, None]) ** 2, axis=1)
    return nan_where(total == 0, 1 - weight @ jnp.sum((y - predicted / power) ** 2, axis=1) / total)


@shaped
def accuracy(
    logits: Real[ArrayLike, "n n_classes"],
    labels: Integer[ArrayLike, " n"],
    weight: Real[ArrayLike, " n"] | Bool[ArrayLike, " n"] | None = None,
) -> Float[Array, ""]:
    """The weighted share of rows whose largest logit is that of the label.

    Args:
        logits: [n, n_classes].
        labels: [n].
        weight: How much each row counts.

    Returns:
        A scalar; nan where a logit is nan.

    Raises:
        ValueError: For a label that is no class; under jit nan.
    """
    logits, _, weight = _rows(logits, logits, weight)
    return weight @ right(logits, labels)


@shaped
def one_hot(labels: Integer[ArrayLike, " n"], n_classes: int, dtype: Any) -> Float[Array, "n n_classes"]:
    """Labels as one-hot rows.

    Args:
        labels: In 0 … n_classes − 1.
        n_classes: The number of classes.
        dtype: Of the result.

    Returns:
        [n, n_classes].

    Raises:
        ValueError: For a label outside that range; under jit its row is nan.
    """
    check_range("labels", labels, n_classes, "the probe", "classes")
    return nan_outside(jax.nn.one_hot(labels, n_classes, dtype=dtype), labels, n_classes)


def held_out(n: int, share: float = HELD_OUT, seed: int = 0) -> np.ndarray:
    """The rows to test on, ⌈share · n⌉ of them drawn at random, the same for the same n and seed.

    Args:
        n: The number of rows.
        share: To be held out.
        seed: Of the draw.

    Returns:
        A mask [n].
    """
    if not 0 < share < 1 or n < 2:
        raise ValueError(f"n is {n} and share {share!s}: rows must be at least 2 and the share lie between 0 and 1.")
    return np.random.default_rng(seed).permutation(n) < min(int(np.ceil(share * n)), n - 1)


def residual_streams(cache: Cache) -> Float[Array, "n_layers+1 B P d_model"]:
    """The residual stream as it enters the first layer and as it leaves each.

    Args:
        cache: Of a transformer.

    Returns:
        [L + 1, B, P, d_model].
    """
    return jnp.concatenate([cache["resid_pre"][:1], cache["resid_post"]])


def last_position(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: probes of the belief (`run.data["beliefs"]`) in the last residual at the last position.

    No two sequences are alike there. The probes are affine, and sparse for each of `SPARSITIES`.

    Returns:
        A dict of R², on sequences fitted and held out.
    """
    data = run.data
    x = residual_streams(run.config.net.apply(params, data["tokens"])[1])[-1, :, -1]
    y, test = data["beliefs"][:, -1], held_out(len(x))
    fit, rest = jnp.where(test, 0, data["weight"]), jnp.where(test, data["weight"], 0)
    order = ranking(x, y, min(max(SPARSITIES), x.shape[1]), weight=fit)

    def fitted_and_held_out(k: Array) -> Array:
        predicted = ridge(kept(order < k, x), y, weight=fit)(x)
        return jnp.stack([r2(y, predicted, fit), r2(y, predicted, rest)])

    counts = jnp.array([*SPARSITIES, x.shape[1] + 1])  # those never taken up have rank d
    found = jax.lax.map(fitted_and_held_out, counts)  # one program for all, [K + 1, 2]
    return {"r2_fitted": found[-1, 0], "r2_held_out": found[-1, 1], "sparse_r2_held_out": found[:-1, 1]}
