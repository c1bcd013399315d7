"""Numbers at the edges of their type: half precision widened, sizes brought to 1 before they are squared or multiplied,
variation told from rounding, nan kept nan.

What is free of scale is computed of arrays divided by a power of two, which changes no digit: in float32 the square of
1e-25 is 0 and that of 1e25 infinite.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Shaped

from toylab.shapes import shaped

Axes = int | tuple[int, ...] | None
ROUNDING = 8  # in units of the dtype's rounding error: deviations from a mean that are no variation


@shaped
def floating(x: Shaped[ArrayLike, "*axes"]) -> Float[Array, "*axes"]:
    """x as a jax array: float32 and float64 stay, narrower floats become float32, integers the default float."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)


@shaped
def check_finite(name: str, x: Shaped[ArrayLike, "..."]) -> None:
    """Checks that every entry is finite, where the numbers are known (not under jit).

    Args:
        name: Of the array, for the message.
        x: The array.

    Raises:
        ValueError: For nan or inf.
    """
    if not isinstance(x, jax.core.Tracer) and not np.isfinite(np.asarray(x)).all():
        raise ValueError(f"{name} has nan or inf in it, every entry must be finite")


def scaled(x: Array, axis: Axes = None) -> tuple[Array, Array]:
    """x divided by the power of two that brings its largest entry to 1 … 2.

    It is exact but for entries below 1e-38 of the largest. The power is a constant to gradients.

    Args:
        x: The array.
        axis: Over which the largest |x| is taken; None: all. They are kept as axes of 1.

    Returns:
        x / 2^k and 2^k, which is 1 where all entries are 0 or one is not finite.
    """
    largest = jnp.max(jnp.abs(jax.lax.stop_gradient(x)), axis=axis, keepdims=True, initial=0)
    whole, exponent = (np.uint64, 0x7FF << 52) if x.dtype == jnp.float64 else (np.uint32, 0xFF << 23)
    bits = jax.lax.bitcast_convert_type(largest, whole) & whole(exponent)
    power = jax.lax.bitcast_convert_type(bits, x.dtype)  # without its digits a float is a power of two
    power = jnp.where((power > 0) & (power < jnp.inf), power, 1)
    return x / power, power


def norm(x: Array, axis: int | tuple[int, int], keepdims: bool = False) -> Array:
    """√Σ x² over `axis`, of whatever size x is."""
    x, power = scaled(x, axis)
    return jnp.linalg.norm(x, axis=axis, keepdims=keepdims) * (power if keepdims else jnp.squeeze(power, axis))


def unit(x: Array, axis: int = -1) -> Array:
    """x over its norm along `axis`; 0 stays 0."""
    x, _ = scaled(x, axis)
    return ratio(x, jnp.linalg.norm(x, axis=axis, keepdims=True))


def ratio(above: Array, below: Array) -> Array:
    """above / below; 0 where below is 0 (a share of nothing), nan where one is nan."""
    nothing = below == 0
    return jnp.where(nothing, 0 * above, above / jnp.where(nothing, 1, below))


def centred(x: Array, axis: Axes = 0) -> Array:
    """x less its mean over `axis`; exactly 0 where x is constant over it but for rounding, which is no variation."""
    return varying(x, x - x.mean(axis=axis, keepdims=True), axis)


def varying(x: Array, deviation: Array, axis: Axes = 0, where: Array | None = None) -> Array:
    """The deviation of x from a mean, but 0 where x is constant but for rounding, or where the deviation is rounding.

    Args:
        x: The array.
        deviation: Of its entries from a mean.
        axis: Of the mean.
        where: The entries of x that are looked at.
    """
    among: Any = {"axis": axis, "keepdims": True, "where": where}
    largest, off = (jnp.max(jnp.abs(value), initial=0, **among) for value in (x, deviation))
    spread = jnp.max(x, initial=-jnp.inf, **among) - jnp.min(x, initial=jnp.inf, **among)
    constant = jnp.minimum(off, spread) <= ROUNDING * jnp.finfo(x.dtype).eps * largest
    return jnp.where(constant, 0, deviation)


def kept(mask: ArrayLike, x: Array) -> Array:
    """x where the mask is true and 0 elsewhere, but nan where x is nan: whether it is kept is then not known."""
    return jnp.where(jnp.asarray(mask), x, 0 * x)


def nan_where(missing: ArrayLike, x: Array) -> Array:
    """x as floats (booleans as 0 and 1), nan where the mask is true."""
    dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.float32
    return jnp.where(jnp.asarray(missing), jnp.nan, x.astype(dtype))
