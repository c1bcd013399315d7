"""What the noise of minibatch gradients adds to an estimate by SGLD (llc.py), which takes it for heat.

A step adds noise of variance ε on purpose, and ε²/4 (nβ)² Var(g) by the batch: a direction's stationary variance, and with
it its share of λ̂, grows by the factor 1 + ε (nβ)² Var(g)/4 (constant steps: Mandt et al. 2017, arXiv 1704.04289).
"""

import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

BATCHES = 256  # gradients that a variance is estimated from: good to a tenth in one direction
TOLD = 0.1  # share of λ̂ from which on a warning tells of it


def gradient_variance(gradient: Callable[[Array], Array], key: Array) -> Array:
    """The variance [d] of `gradient(key)` [d] over batches."""
    keys = jax.random.split(key, BATCHES)
    first = gradient(keys[0])  # taken off, so that equal ones have variance 0 exactly

    def add(sums: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], None]:
        off = gradient(key) - first
        return (sums[0] + off, sums[1] + off**2), None

    (total, squares), _ = jax.lax.scan(add, (jnp.zeros_like(first), jnp.zeros_like(first)), keys)
    return jnp.maximum(squares - total**2 / BATCHES, 0) / (BATCHES - 1)


def warn(excess: Array, llc: Array) -> None:
    """A RuntimeWarning, out of compiled programs too, where more than a tenth of λ̂ may be noise of minibatches."""
    jax.debug.callback(_warn, excess, llc)


def _warn(excess: ArrayLike, llc: ArrayLike) -> None:
    excess, llc = np.asarray(excess), np.asarray(llc)
    if excess > TOLD * np.abs(llc):  # λ̂ may be negative: away from a minimum, or by too few draws
        warnings.warn(
            f"about {excess:.3g} in llc = {llc:.3g} is noise of minibatch gradients "
            "(noise_excess): lower eps, take larger batches or the loss of all data.",
            RuntimeWarning,
            stacklevel=2,
        )
