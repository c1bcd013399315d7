"""Whole numbers that pick a row of a table: tokens, labels.

jax takes the last row for one beyond the table and counts a negative one from the end, without a word. Here such a number
is refused where its value is known, and makes nan under jit and vmap, where it is not.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

__all__ = ["check_range", "nan_outside"]


def check_range(name: str, index: ArrayLike, n: int, table: str, rows: str) -> None:
    """ValueError where `index` holds a number that is none of 0 … n − 1: "tokens has 9: W_E has 7 rows, so it must …"."""
    if isinstance(index, jax.core.Tracer):
        return
    values = np.asarray(index)
    if values.size and (values.min() < 0 or values.max() >= n):
        wrong = values.min() if values.min() < 0 else values.max()
        raise ValueError(f"{name} has {wrong}: {table} has {n} {rows}, so it must lie between 0 and {n - 1}.")


def nan_outside(x: Array, index: ArrayLike, n: int, over: int | None = None) -> Array:
    """x [*batch, …] with nan where index [*batch] is none of 0 … n − 1: under a transformation, as `check_range` has seen
    known values. With `over`, index has one axis more, and a single number outside is enough."""
    if not isinstance(index, jax.core.Tracer):
        return x
    fits = _inside(index, n)
    fits = fits if over is None else fits.all(axis=over)
    return jnp.where(fits.reshape(*fits.shape, *[1] * (x.ndim - fits.ndim)), x, jnp.nan)


def _inside(index: Array, n: int) -> Array:
    """bool: by one comparison, since a negative number is beyond all tables when it is read without its sign."""
    info = jnp.iinfo(index.dtype)
    return index >= 0 if n > info.max else index.astype(f"uint{info.bits}") < n
