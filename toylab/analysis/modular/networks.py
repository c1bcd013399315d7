"""How the measures of `modular.circuits` reach a network: under jit, with weights of one dtype, at its logits."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Real

from toylab.analysis.float64 import on_host
from toylab.base import Params, static
from toylab.shapes import shaped


class Same:
    """A value known by its identity, as jit wants what is static to be hashable."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value


class Held(struct.PyTreeNode):
    """A net that is no pytree of numbers, as one without leaves."""

    net: Same = static()

    def apply(self, *args: Any, **options: Any) -> Any:
        return self.net.value.apply(*args, **options)


def passable(net: Any) -> Any:
    """`net` as an argument of a jitted function, whose compilations are kept by it; its numbers are on the host."""
    numbers = all(isinstance(leaf, Array | np.ndarray | np.generic | int | float) for leaf in jax.tree.leaves(net))
    return on_host(net) if numbers else Held(Same(net))


@shaped
def in_float64(params: Mapping[str, Real[ArrayLike, "..."]]) -> Params:
    return {name: jnp.asarray(on_host(x), jnp.float64) for name, x in params.items()}


@shaped
def in_own_dtype(params: Mapping[str, Real[ArrayLike, "..."]]) -> Params:
    """All in the floating dtype of W_E: float64 is for where jax has x64 enabled."""
    own = np.result_type(params["W_E"], np.float32)
    return {name: jnp.asarray(on_host(x), own) for name, x in params.items()}


@shaped
def last_logits(net: Any, params: Params, tokens: Integer[ArrayLike, "B n_tokens"]) -> Float[Array, "B d_vocab_out"]:
    """[B, C]: the fast path, read at the last position."""
    logits, _ = net.apply(params, jnp.asarray(tokens), full=False)
    return logits.reshape(len(logits), -1, logits.shape[-1])[:, -1]
