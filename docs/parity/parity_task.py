"""Sparse parity (Barak et al. 2022, arXiv 2207.08799): the sign of a product of k of n bits."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from toylab.base import Apply, Params, static


class SparseParity(struct.PyTreeNode):
    """x [B, n] of ±1 → y = Π_{i<k} x_i [B], fresh batches. Loss: mean of the hinge max(0, 1 − y f(x))."""

    n: int = static(default=20)
    k: int = static(default=3)
    batch: int = static(default=64)
    n_eval: int = static(default=1024)

    def check(self) -> "SparseParity":
        if not 1 <= self.k <= self.n:
            raise ValueError(f"task.k is {self.k}: it must lie between 1 and task.n = {self.n}.")
        return self

    def check_net(self, net: Any) -> None:  # may be left out: what a net must be to fit
        if net.n_inputs != self.n:
            raise ValueError(f"net.n_inputs is {net.n_inputs}: it must be task.n = {self.n}.")

    def data(self, key: Array) -> dict[str, Array]:
        return {"x": self.sample(key, self.n_eval)}  # fixed for the run: what saved points are measured on

    def sample(self, key: Array, size: int) -> Array:
        return jax.random.rademacher(key, (size, self.n), float)  # [size, n]

    def target(self, x: Array) -> Array:
        return jnp.prod(x[:, : self.k], axis=1)

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: Array) -> Array:
        x = self.sample(key, self.batch)  # key: this step's own
        return jnp.mean(jax.nn.relu(1 - self.target(x) * apply(params, x)[0]))

    def measure(self, apply: Apply, params: Params, data: dict[str, Array]) -> dict[str, Array]:
        margin = self.target(data["x"]) * apply(params, data["x"])[0]
        return {"loss": jnp.mean(jax.nn.relu(1 - margin)), "accuracy": jnp.mean(margin > 0)}
