"""Sizes of weights: the sum of squares that weight decay pulls on, and L2 norms."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from toylab.base import Params, Run
from toylab.shapes import shaped


@shaped
def sum_of_squares(params: Mapping[str, Num[ArrayLike, "..."]]) -> dict[str, Num[Array, ""]]:
    """Σ w² of each named array, and their sum as `total`: scalars (Nanda et al. 2023, arXiv 2301.05217).

    Raises ValueError where params is empty or an array is itself named "total".
    """
    if not params or "total" in params:
        raise ValueError(f'params has the names {sorted(params)}, it must have some, and none may be "total"')
    squares = {name: (jnp.asarray(w) ** 2).sum() for name, w in params.items()}
    return {**squares, "total": jnp.stack(list(squares.values())).sum()}


@shaped
def weight_norms(params: Mapping[str, Num[ArrayLike, "..."]]) -> dict[str, Float[Array, ""]]:
    """√(Σ w²), the L2 (Frobenius) norm of each named array, and of all together as `total`; same errors."""
    return {name: jnp.sqrt(square) for name, square in sum_of_squares(params).items()}


def weights(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: `norm/<name>` and `sum_of_squares/<name>`, `total` included."""
    squares = {f"sum_of_squares/{name}": x for name, x in sum_of_squares(params).items()}
    return squares | {f"norm/{name}": x for name, x in weight_norms(params).items()}
