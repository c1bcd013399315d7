"""Lengths of arrays that neither underflow nor overflow, and a gradient across its weights."""

import jax.numpy as jnp
from jax import Array


def orthogonal(gradient: Array, w: Array) -> Array:
    """A gradient without its part along w, of the same length."""
    if w.size == 1:
        return 0 * gradient  # nan stays nan
    largest, unit = _largest(gradient), w / _largest(w)
    g = gradient / largest
    across = g - jnp.sum(unit * g) / (jnp.sum(unit * unit) + 1e-30) * unit
    return largest * (norm_of(g) / (norm_of(across) + 1e-30)) * across


def _largest(array: Array) -> Array:
    """The largest absolute value; 1 where all are 0."""
    largest = jnp.max(jnp.abs(array), initial=0)
    return jnp.where(largest == 0, 1, largest)


def norm_of(array: Array) -> Array:
    """The square root of the sum of squares, which do not underflow."""
    largest = _largest(array)
    return largest * jnp.sqrt(jnp.sum(jnp.square(array / largest)))
