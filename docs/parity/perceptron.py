"""One hidden layer for a vector of inputs and a single output."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from toylab.base import Cache, Patch


class Perceptron(nnx.Module):
    """x [B, n_inputs] → f [B] = ReLU(x W_in + b_in) w_out. W_in [n_inputs, d_mlp], b_in and w_out [d_mlp]."""

    def __init__(self, *, n_inputs: int, d_mlp: int = 64, init_scale: float = 1.0, rngs: nnx.Rngs) -> None:
        first, second = jax.random.split(rngs.params())
        self.W_in = nnx.Param(init_scale * jax.random.normal(first, (n_inputs, d_mlp)) / n_inputs**0.5)
        self.b_in = nnx.Param(jnp.zeros(d_mlp))
        self.w_out = nnx.Param(init_scale * jax.random.normal(second, (d_mlp,)) / d_mlp**0.5)

    def __call__(self, x: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        patch = patch or {}
        post = jax.nn.relu(x @ self.W_in[...] + self.b_in[...])
        post = patch["mlp_post"](post, 0) if "mlp_post" in patch else post
        return post @ self.w_out[...], {"mlp_post": post[None]} if full else {}  # layer axis first
