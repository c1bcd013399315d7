"""Products of weights, of which circuits and composition are made."""

import jax.numpy as jnp
from jax import Array

from toylab.analysis.attention.paths import Weights
from toylab.analysis.numbers import floating, scaled


def arrays(params: Weights, *names: str) -> list[Array]:
    """Some of the weights as floats.

    Args:
        params: The weights.
        *names: Which.

    Raises:
        ValueError: For weights that are missing, and for a W_U behind hidden read-out layers (W_R).
    """
    if missing := [name for name in names if name not in params]:
        raise ValueError(f"params has {', '.join(sorted(params))}: {', '.join(missing)} must be there too")
    if "W_U" in names and "W_R" in params:
        raise ValueError("params has W_R, hidden layers before W_U: products of weights with W_U are no logits then")
    return [floating(params[name]) for name in names]


def of_size_one(matrices: list[Array]) -> list[Array]:
    """Each [..., m, n] divided by a power of two, for scores that are free of scale."""
    return [scaled(x, (-2, -1))[0] for x in matrices]


def norm(x: Array) -> Array:
    """The Frobenius norm of matrices [..., m, n]."""
    return jnp.linalg.norm(x, axis=(-2, -1))


def dot(a: Array, b: Array) -> Array:
    """a @ b with full precision on accelerators too, whose default keeps three digits."""
    return jnp.matmul(a, b, precision="highest")
