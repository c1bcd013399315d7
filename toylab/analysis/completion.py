"""Matrix completion: the least nuclear norm, to which a late bias leads (Lyu et al. 2023, arXiv 2311.18817)."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real

from toylab.analysis.numbers import floating, scaled
from toylab.shapes import shaped


@shaped
def nuclear_norm(matrix: Real[ArrayLike, "*batch m n"]) -> Float[Array, "*batch"]:
    """The sum of the singular values.

    Args:
        matrix: [..., m, n].

    Returns:
        [...]; nan where an entry is.
    """
    unit, size = scaled(floating(matrix), (-2, -1))
    return jnp.linalg.svd(unit, compute_uv=False).sum(axis=-1) * size[..., 0, 0]


@shaped
def least_nuclear_norm(
    values: Real[np.ndarray, "m n"], known: Bool[np.ndarray, "m n"], tolerance: float = 1e-6, steps: int = 100_000
) -> tuple[float, np.ndarray]:
    """The matrix of least nuclear norm with given entries, in float64 on the host, by Douglas & Rachford's splitting.

    Its dual proves it: for Y that is 0 off the known entries, ⟨Y, values⟩ / max(1, largest singular value of Y) is no
    larger than any nuclear norm.

    Args:
        values: [m, n]; only those of `known` are read.
        known: Which entries are given.
        tolerance: How far the norm may lie above the dual's bound, relative to it.
        steps: The most of them.

    Returns:
        The norm, and a matrix [m, n] that has it and the given entries.

    Raises:
        ValueError: For given entries that are not finite.
        RuntimeError: Where the bound is not reached.
    """
    given = np.where(known, np.asarray(values, np.float64), 0)
    if not np.isfinite(given).all():
        raise ValueError("values has known entries that are not finite")
    size = np.linalg.norm(given, 2)
    if size == 0:
        return 0.0, given
    point, shrink = given / size, 0.5
    for step in range(steps):
        feasible = np.where(known, given / size, point)
        dual = (feasible - point) / shrink
        if step % 20 == 0:
            norm = np.linalg.svd(feasible, compute_uv=False).sum()
            bound = (dual * given).sum() / size / max(1.0, np.linalg.norm(dual, 2))
            if norm - bound <= tolerance * norm:
                return float(norm * size), feasible * size
        left, singular, right = np.linalg.svd(2 * feasible - point, full_matrices=False)
        point = point + (left * np.maximum(singular - shrink, 0)) @ right - feasible
    between = f"{bound * size:.6g} and {norm * size:.6g}"
    raise RuntimeError(f"no least norm was found in {steps:,} steps: it lies between {between}")
