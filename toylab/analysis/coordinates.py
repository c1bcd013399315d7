"""Which coordinates of activations x [n, d] tell a target, taken up one after the other or by their own merit.

They are what a sparse probe (probes.py) reads; rows and weights are as there.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Int, Real

from toylab.analysis.numbers import check_finite, floating, scaled
from toylab.shapes import shaped

Criterion = Literal["forward", "correlation", "mean_difference"]


@shaped
def select(
    x: Real[ArrayLike, "n d"],
    y: Real[ArrayLike, "n ..."] | Bool[ArrayLike, "n ..."],
    k: int,
    criterion: Criterion = "forward",
    weight: Real[ArrayLike, " n"] | Bool[ArrayLike, " n"] | None = None,
) -> Bool[Array, " d"]:
    """The k coordinates that a sparse probe may read: the first k of their `ranking`.

    Args:
        x: Activations, [n, d].
        y: Targets, [n] or [n, k].
        k: How many.
        criterion: As of `ranking`.
        weight: How much each row counts.

    Returns:
        A mask [d]; none for nan.
    """
    return ranking(x, y, k, criterion, weight) < k


@shaped
def ranking(
    x: Real[ArrayLike, "n d"],
    y: Real[ArrayLike, "n ..."] | Bool[ArrayLike, "n ..."],
    k: int,
    criterion: Criterion = "forward",
    weight: Real[ArrayLike, " n"] | Bool[ArrayLike, " n"] | None = None,
) -> Int[Array, " d"]:
    """The order, from 0, in which the first k coordinates are taken up to tell y; the others come after.

    Args:
        x: Activations, [n, d].
        y: Targets, [n] or [n, k].
        k: How many are taken up.
        criterion: "forward": one after the other, each that which lowers the squared error most beside those already chosen
            (orthogonal least squares, Chen, Cowan & Grant 1991). "correlation": those of the largest squared
            correlation with y, summed over the columns of y. "mean_difference": those whose mean differs most between
            the rows with y = 1 and y = 0, in absolute value (Gurnee et al. 2023, arXiv 2305.01610); one column of y.
        weight: How much each row counts.

    Returns:
        int [d]. Under jit all are d, never taken up, where a number is nan.

    Raises:
        ValueError: For nan, outside jit.
    """
    if criterion not in get_args(Criterion):
        raise ValueError(f"criterion is {criterion!r}: it must be one of {', '.join(get_args(Criterion))}.")
    check_finite("x", x)
    check_finite("y", y)
    x, y, weight = _rows(x, y, weight)
    unknown = jnp.isnan(x).any() | jnp.isnan(y).any()
    return jnp.where(unknown, x.shape[1], _ranking(scaled(x)[0], scaled(y)[0], k, criterion, weight))


def _ranking(x: Array, y: Array, k: int, criterion: Criterion, weight: Array) -> Array:
    if not 1 <= k <= x.shape[1]:
        raise ValueError(f"k is {k}: it must lie between 1 and the {x.shape[1]} coordinates of x.")
    if criterion == "mean_difference":
        if y.shape[1] != 1:
            raise ValueError(f"y has {y.shape[1]} columns: the criterion 'mean_difference' takes one, of 0s and 1s.")
        on, off = weight * y[:, 0], weight * (1 - y[:, 0])  # scaling leaves 0s and 1s as they are
        return _order(jnp.abs(on @ x / on.sum() - off @ x / off.sum()))
    mean, std = _standard(x, weight)
    root = jnp.sqrt(weight)[:, None]
    z, rest = root * (x - mean) / std, root * (y - weight @ y)  # columns of z have length 1
    if criterion == "correlation":
        lengths = jnp.sum(rest**2, axis=0)
        return _order(jnp.sum(_dot(z.T, rest) ** 2 / jnp.where(lengths > 0, lengths, 1), axis=1))
    return _forward(z, rest, k)


def _forward(z: Array, rest: Array, k: int) -> Array:
    """int [d]: the order in which columns of z [n, d], of length 1, are taken up to explain rest [n, m]; d if after k."""

    def add(i: int, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        order, z, rest = state
        chosen = order < len(order)
        lengths = jnp.sum(z**2, axis=0)
        free = ~chosen & (lengths > 1e-6)  # the part of a column not spanned by those chosen; unit columns at first
        gain = jnp.sum(_dot(z.T, rest) ** 2, axis=1) / jnp.where(free, lengths, 1)
        best = jnp.argmax(jnp.where(free, gain, -jnp.where(chosen, 2.0, 1.0)))
        unit = z[:, best] / jnp.sqrt(jnp.where(free[best], lengths[best], 1))
        z, rest = (a - unit[:, None] * _dot(unit, a) for a in (z, rest))
        return order.at[best].set(i), z, rest

    return jax.lax.fori_loop(0, k, add, (jnp.full(z.shape[1], z.shape[1]), z, rest))[0]


def _rows(x: ArrayLike, y: ArrayLike, weight: ArrayLike | None) -> tuple[Array, Array, Array]:
    """x [n, d], y [n, k] of x's dtype (one column if it has one axis), weight [n] that sums to 1."""
    x = floating(x)
    y = jnp.asarray(y).astype(x.dtype)
    y = y[:, None] if y.ndim == 1 else y
    if y.ndim != 2 or not x.size:
        raise ValueError(
            f"the rows are of shapes {x.shape} and {y.shape}: they must be [n, d] and [n, k], n and d ≥ 1."
        )
    weight = jnp.ones(len(x), x.dtype) if weight is None else jnp.asarray(weight).astype(x.dtype)
    return x, y, weight / weight.sum()


def _standard(x: Array, weight: Array) -> tuple[Array, Array]:
    """Mean and standard deviation [d]; the latter is 1 for a coordinate that is constant but for rounding."""
    mean = weight @ x
    variance = weight @ (x - mean) ** 2
    return mean, jnp.sqrt(jnp.where(variance > (8 * jnp.finfo(x.dtype).eps * mean) ** 2, variance, 1))


def _order(score: Array) -> Array:
    """int [d]: 0 for the largest entry, 1 for the next; of equal ones the first."""
    return jnp.argsort(jnp.argsort(-score, stable=True))


def _dot(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")
