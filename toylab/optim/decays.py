"""Pieces of a Chain that shrink or stretch the params after a step, apart from the optimizer's own weight decay."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from toylab.base import static
from toylab.optim.pieces import Piece


class VectorDecay(Piece):
    """Vectors (biases) lose a share of themselves after each of the first `steps` steps: `b ← (1 − share) (b + u)` with the
    step u. Matrices do not (Jermyn et al. 2022, arXiv 2211.09169, released code)."""

    PLACE = "after"

    share: float = 0.0
    """Share of themselves that vectors lose in a step."""
    steps: int = static(default=0)
    """How long they do, in steps from the start; 0 for as long as training lasts."""

    def check(self) -> "VectorDecay":
        if not 0 <= self.share < 1:
            raise ValueError(f"share is {self.share!s}: it must lie in [0, 1), a share a step.")
        if self.steps < 0:
            raise ValueError(f"steps is {self.steps}: it must be at least 0, for as long as training lasts.")
        return self

    def transform(self) -> optax.GradientTransformation:
        def init(params: Any) -> optax.ScaleByScheduleState:
            return optax.ScaleByScheduleState(count=jnp.int32(0))

        def update(updates: Any, state: Any, params: Any) -> tuple[Any, optax.ScaleByScheduleState]:
            share = jnp.where(state.count < self.steps, self.share, 0.0) if self.steps else self.share
            decayed = jax.tree.map(lambda u, w: u - share * (w + u) if w.ndim == 1 else u, updates, params)
            return decayed, optax.ScaleByScheduleState(count=state.count + 1)

        return optax.GradientTransformation(init, update)


class RowPull(Piece):
    """Every row w of a matrix is pulled to one length: `w ← w + u − rate · w (1 − length/‖w‖)` with the step u. A row of
    zeros has no direction to be pulled along, and vectors are not pulled (Liu et al. 2025, Superposition yields robust
    neural scaling; there the rate is lr_t times minus the weight decay: `SignedDecayAdamW`)."""

    PLACE = "after"

    rate: float = 0.01
    """Share of its distance to the length that a row makes up in a step."""
    length: float = 1.0
    """The length that rows are pulled to."""

    def check(self) -> "RowPull":
        if not 0 <= self.rate < 1:
            raise ValueError(f"rate is {self.rate!s}: it must lie in [0, 1), a share a step.")
        if not 0 < self.length < float("inf"):
            raise ValueError(f"length is {self.length!s}: it must be a finite length above 0.")
        return self

    def transform(self) -> optax.GradientTransformation:
        def pulled(u: Array, w: Array) -> Array:
            return u - self.rate * beyond_length(w, self.length) if w.ndim > 1 else u

        return optax.stateless(lambda updates, params: jax.tree.map(pulled, updates, params))


def beyond_length(w: Array, length: float | Array = 1.0) -> Array:
    """[…, n, d]: what each row has beyond this length, `w (1 − length/‖w‖)`; 0 for a row of zeros."""
    norm = jnp.linalg.norm(w, axis=-1, keepdims=True)
    return w - length * (w / jnp.where(norm > 0, norm, 1))
