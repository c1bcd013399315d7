"""Sizes of weights: the sum of squares that weight decay pulls on, and L2 norms."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num, Real

from toylab.analysis.numbers import floating, norm, ratio, scaled
from toylab.base import Params, Run
from toylab.shapes import shaped


@shaped
def sum_of_squares(params: Mapping[str, Num[ArrayLike, "..."]]) -> dict[str, Num[Array, ""]]:
    """Σ w² of each named array (Nanda et al. 2023, arXiv 2301.05217).

    Args:
        params: The arrays.

    Returns:
        A dict of scalars by name, and their sum as `total`.

    Raises:
        ValueError: Where params is empty or an array is itself named "total".
    """
    _check_names(params)
    squares = {name: (_inexact(w) ** 2).sum() for name, w in params.items()}
    return {**squares, "total": jnp.stack(list(squares.values())).sum()}


@shaped
def weight_norms(params: Mapping[str, Num[ArrayLike, "..."]]) -> dict[str, Float[Array, ""]]:
    """√(Σ |w|²), the L2 (Frobenius) norm of each named array. It is right also where the squares are beyond the dtype.

    Args:
        params: The arrays.

    Returns:
        A dict of scalars by name, and the norm of all together as `total`.

    Raises:
        ValueError: As of `sum_of_squares`.
    """
    _check_names(params)
    norms = {name: norm(jnp.abs(_inexact(w)).reshape(-1), 0) for name, w in params.items()}
    return {**norms, "total": norm(jnp.stack(list(norms.values())), 0)}


@shaped
def effective_rows(W: Real[ArrayLike, "*batch n m"]) -> Float[Array, "*batch"]:
    """Over how many rows the squares are spread: (Σ_i s_i)² / Σ_i s_i² with s_i = Σ_j W_ij², their participation ratio.

    Rows that are as large have n, and k of them, with the rest 0, have k. It is free of the scale of W.

    Args:
        W: Such as all weights of each neuron, [..., n, m].

    Returns:
        [...] in 1 to n; 0 where all are 0.
    """
    sizes = jnp.sum(scaled(floating(W), (-2, -1))[0] ** 2, axis=-1)
    return ratio(sizes.sum(axis=-1) ** 2, jnp.sum(sizes**2, axis=-1))


def _check_names(params: Mapping[str, ArrayLike]) -> None:
    if not params or "total" in params:
        raise ValueError(f'params has the names {sorted(params)}, it must have some, and none may be "total"')


def _inexact(w: ArrayLike) -> Array:
    """As floats, whose squares do not wrap around as those of integers."""
    return jnp.asarray(w, jnp.result_type(w, float))


def weights(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer.

    Returns:
        A dict of scalars `norm/<name>` and `sum_of_squares/<name>`, `total` included.
    """
    squares = {f"sum_of_squares/{name}": x for name, x in sum_of_squares(params).items()}
    return squares | {f"norm/{name}": x for name, x in weight_norms(params).items()}
