"""Matrices as products of their factors, whose entries are learned."""

import jax.numpy as jnp
from flax import nnx
from jax import Array

from toylab.base import Cache, Patch
from toylab.shapes.indices import check_range, nan_outside


class FactoredMatrix(nnx.Module):
    """places int [B, 2] → outputs [B, 1]: the entries (i, j) of `U Uᵀ − V Vᵀ` (Lyu et al. 2023, arXiv 2311.18817).

    `U, V [d, d]` start as alpha times the identity, so that the matrix is 0; it is symmetric.

    Args:
        d: Rows and columns of the matrix.
        alpha: Factor of the identity at the start.
    """

    def __init__(self, *, d: int, alpha: float = 1.0, rngs: nnx.Rngs) -> None:
        self.U, self.V = nnx.Param(alpha * jnp.eye(d)), nnx.Param(alpha * jnp.eye(d))

    @staticmethod
    def check(*, d: int, **_: object) -> None:
        if d < 1:
            raise ValueError(f"net.d is {d}: it must be at least 1.")

    def __call__(self, places: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        if patch:
            raise ValueError(f"patch names {sorted(patch)}: a matrix of factors has no activations.")
        U, V = self.U[...], self.V[...]
        d = len(U)
        check_range("places", places, d, "the matrix", "rows")
        entries = (U @ U.T - V @ V.T).reshape(-1)[places @ jnp.array([d, 1])]  # one flat index: fast on CPU
        return nan_outside(entries[:, None], places, d, over=1), {}
