"""Pieces of a transformer's layers, each where the network has weights of its name."""

import jax.numpy as jnp
from flax import nnx
from jax import Array


class Parts(nnx.Module):
    """Biases and LayerNorms of a transformer."""

    def plus(self, x: Array, name: str, layer: int | None = None) -> Array:
        """x and the bias of this name, or x where the network has none of it."""
        if not hasattr(self, name):
            return x
        bias = getattr(self, name)[...] if layer is None else getattr(self, name)[layer]
        return x + (bias[:, None] if bias.ndim == 2 else bias)  # of heads [H, 1, d_head]

    def norm(self, x: Array, name: str, layer: int | None = None) -> Array:
        """LayerNorm of this name with eps 1e-5 (torch's default), or x where the network has none of it."""
        if not hasattr(self, f"{name}_w"):
            return x
        weight, bias = getattr(self, f"{name}_w"), getattr(self, f"{name}_b")
        weight, bias = (weight, bias) if layer is None else (weight[layer], bias[layer])
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        return centred / jnp.sqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + 1e-5) * weight + bias
