"""Checks of indices: whole numbers that select a row of a table, as tokens and labels.

JAX silently takes the last row for an index beyond the table, and counts a negative one from the end. Here such an index
raises ValueError where its value is known, and gives nan under jit and vmap, where it is not.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

__all__ = ["check_range", "nan_outside"]


def check_range(name: str, index: ArrayLike, n: int, table: str, rows: str) -> None:
    """Checks that known indices lie in 0 … n − 1.

    Args:
        name: of the argument, for the message.
        index: any number of indices. Tracers are not checked.
        n: the number of rows.
        table, rows: what has the rows and how they are called, for the message.

    Raises:
        ValueError: "tokens has 9: W_E has 7 rows, so it must lie between 0 and 6."
    """
    if isinstance(index, jax.core.Tracer):
        return
    values = np.asarray(index)
    if values.size and (values.min() < 0 or values.max() >= n):
        wrong = values.min() if values.min() < 0 else values.max()
        raise ValueError(f"{name} has {wrong}: {table} has {n} {rows}, so it must lie between 0 and {n - 1}.")


def nan_outside(x: Array, index: ArrayLike, n: int, over: int | None = None) -> Array:
    """Replaces values by nan where a traced index is out of range. Known indices are left to `check_range`.

    Args:
        x: [*batch, …].
        index: [*batch]; with `over`, it has this axis in addition, and one index out of range is enough.
        n: the number of rows.
        over: the additional axis of `index`.
    """
    if not isinstance(index, jax.core.Tracer):
        return x
    fits = _inside(index, n)
    fits = fits if over is None else fits.all(axis=over)
    return jnp.where(fits.reshape(*fits.shape, *[1] * (x.ndim - fits.ndim)), x, jnp.nan)


def _inside(index: Array, n: int) -> Array:
    """Whether indices are in range, by one comparison: a negative number read as unsigned is larger than any table."""
    info = jnp.iinfo(index.dtype)
    return index >= 0 if n > info.max else index.astype(f"uint{info.bits}") < n
