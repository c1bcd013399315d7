"""Pieces of a Chain: what changes the gradient before an optimizer, or its step after it. Fields of floats are leaves."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax import Array

from toylab.base import Params, static
from toylab.optim.lengths import norm_of, orthogonal
from toylab.optim.names import check_known, check_names

Kept = Literal["all", "each"]


class Piece(struct.PyTreeNode):
    """One change of the gradient (PLACE "before") or of the step (PLACE "after"). Pieces of your own are subclasses."""

    PLACE = "before"

    def check(self) -> "Piece":
        """The piece itself. Raises ValueError with the field's name in front, to which Chain adds the path."""
        return self

    def check_params(self, params: Mapping[str, Any]) -> None:
        """Raises ValueError where the piece does not fit the net's params, known by name, shape and dtype."""

    def check_start(self, params: Params) -> None:
        """Raises ValueError where training cannot start from these values of the params."""

    def transform(self) -> optax.GradientTransformation:
        """What optax chains."""
        raise NotImplementedError


class Orthogonal(Piece):
    """⊥Grad (Prieto et al. 2025, arXiv 2501.04697): the gradient g of each array w loses its part along w.

    `g⊥ = g − (w·g)/(w·w) · w`, then `g ← g⊥ ‖g‖/‖g⊥‖`: the length stays, as in the released code. It adds 10⁻³⁰ to what it
    divides by; here the arrays are scaled first, so that tiny gradients keep their direction. Where w is 0 the gradient
    stays. An array of one element has no other direction, and gets the gradient 0.
    """

    def transform(self) -> optax.GradientTransformation:
        return optax.stateless(lambda gradient, params: jax.tree.map(orthogonal, gradient, params))


class SlowGradients(Piece):
    """Grokfast-EMA (Lee et al. 2024, arXiv 2405.20233): the gradient's slow part is added to it once more.

    `h ← decay · h + (1 − decay) · g` and `g ← g + gain · h`; h starts as the first gradient, as in the released code.
    """

    decay: float = 0.98
    """Share of the slow gradient h that a step keeps (default: Lee et al. 2024, as that of gain)."""
    gain: float = 2.0
    """How many times the slow gradient is added to the gradient."""

    def check(self) -> "SlowGradients":
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay is {self.decay!s}: it must lie in [0, 1).")
        _check_finite("gain", self.gain)
        return self

    def transform(self) -> optax.GradientTransformation:
        def init(params: Any) -> "SlowState":
            return SlowState(jax.tree.map(jnp.zeros_like, params), jnp.int32(0))

        def update(gradient: Any, state: "SlowState", params: Any = None) -> tuple[Any, "SlowState"]:
            decay = jnp.where(state.n == 0, 0.0, self.decay)
            mean = jax.tree.map(lambda h, g: decay * h + (1 - decay) * g, state.mean, gradient)
            return jax.tree.map(lambda g, h: g + self.gain * h, gradient, mean), SlowState(mean, state.n + 1)

        return optax.GradientTransformation(init, update)


class SlowState(NamedTuple):
    """The mean gradient, and the number of gradients in it."""

    mean: Any
    n: Array


class Clip(Piece):
    """A gradient whose norm over all params is above `norm` is scaled to it (Pascanu et al. 2013, arXiv 1211.5063)."""

    norm: float = 1.0
    """The largest norm of the gradient of all params together."""

    def check(self) -> "Clip":
        if not 0 < self.norm < float("inf"):
            raise ValueError(f"norm is {self.norm!s}: it must be a finite length above 0.")
        return self

    def transform(self) -> optax.GradientTransformation:
        return optax.clip_by_global_norm(self.norm)


class Penalty(Piece):
    """`strength · Σ w²` over all params joins the loss: `g ← g + 2 strength · w`.

    Under Adam that is no weight decay: like the rest of the gradient it is divided by √v̂, so that it moves most what the
    loss moves least. Below 0 the weights are driven to grow (Golechha 2024, arXiv 2405.12755: −2 · 10⁻¹⁰).
    """

    strength: float = 0.0
    """The factor of Σ w² in the loss; below 0 the weights are driven to grow."""

    def check(self) -> "Penalty":
        _check_finite("strength", self.strength)
        return self

    def transform(self) -> optax.GradientTransformation:
        return optax.add_decayed_weights(2 * self.strength)


class Scale(Piece):
    """The step of the named params times a factor: learning rates by name. Weight decay is part of the step. 0 freezes."""

    PLACE = "after"

    names: tuple[str, ...] = static()
    """Names of the params whose step is scaled."""
    factor: float
    """The factor of their step; 0 freezes them."""

    def check(self) -> "Scale":
        check_names("names", self.names, least=1)
        _check_finite("factor", self.factor)
        return self

    def check_params(self, params: Mapping[str, Any]) -> None:
        check_known("names", self.names, params)

    def transform(self) -> optax.GradientTransformation:
        def init(params: Any) -> optax.EmptyState:
            self.check_params(params)
            return optax.EmptyState()

        def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
            return {name: self.factor * u if name in self.names else u for name, u in updates.items()}, state

        return optax.GradientTransformation(init, update)


class Grow(Piece):
    """The step times `min((1 + rate)^k, most)` in step k: with SGD a learning rate in proportion to the time gone by.

    Gradient flow from a large start is stiff at first, and slow when it has fitted. Steps that grow from lr up to `most`
    lr, each a share `rate` of the time until then, follow it in a number of steps that is the logarithm of the time. The
    time after n steps is `analysis.flow.elapsed`. Weight decay is part of the step.
    """

    PLACE = "after"

    rate: float = 0.01
    """Share by which each step is longer than the one before."""
    most: float = 100.0
    """The largest factor of a step."""

    def check(self) -> "Grow":
        if not 0 <= self.rate < float("inf"):
            raise ValueError(f"rate is {self.rate!s}: it must be a finite number, at least 0.")
        if not 1 <= self.most < float("inf"):
            raise ValueError(f"most is {self.most!s}: it must be a finite factor, at least 1.")
        return self

    def transform(self) -> optax.GradientTransformation:
        def factor(step: Array) -> Array:  # as an exponential, since 1 + rate would lose digits of a small rate
            return jnp.exp(jnp.minimum(step * jnp.log1p(self.rate), jnp.log(self.most)))

        return optax.scale_by_schedule(factor)


class KeepNorm(Piece):
    """After each step the params are rescaled to their norm n₀ at the start (Liu et al. 2022, arXiv 2210.01117).

    `w ← n₀ (w + u)/‖w + u‖` with the step u; ‖·‖ is the norm of all params together, or of each array. A step to exactly 0
    is not made. With n₀ = 0 there is no such step, and training is refused.
    """

    PLACE = "after"

    of: Kept = static(default="all")
    """Whose norm stays: that of all params together, or that of each array."""

    def check(self) -> "KeepNorm":
        if self.of not in get_args(Kept):
            raise ValueError(f"of is {self.of!r}: it must be one of all, each.")
        return self

    def check_start(self, params: Params) -> None:
        zero = [name for name, value in params.items() if np.size(value) and not np.any(np.asarray(value))]
        if self.of == "each" and zero:
            raise ValueError(f"of is 'each', and {zero[0]} starts at norm 0, which cannot be kept: take 'all'.")
        if not any(np.any(np.asarray(value)) for value in params.values()):
            raise ValueError("of is 'all', and all params start at 0: a norm of 0 cannot be kept.")

    def transform(self) -> optax.GradientTransformation:
        def init(params: Any) -> "KeptNorm":
            return KeptNorm(self._norm(params))

        def update(updates: Any, state: "KeptNorm", params: Any) -> tuple[Any, "KeptNorm"]:
            moved = optax.apply_updates(params, updates)
            factor = jax.tree.map(_ratio, state.norm, self._norm(moved))
            factors = factor if self.of == "each" else dict.fromkeys(params, factor)
            return {name: _step(w, moved[name], factors[name]) for name, w in params.items()}, state

        return optax.GradientTransformation(init, update)

    def _norm(self, params: Params) -> Any:
        """That of all params, or each array's by its name."""
        each = {name: norm_of(value) for name, value in params.items()}
        return each if self.of == "each" else norm_of(jnp.stack(list(each.values())))


class KeptNorm(NamedTuple):
    """The norm at the start: of all params, or each array's by its name."""

    norm: Any


def _ratio(norm: Array, norm_now: Array) -> Array:
    """What brings a norm back to what it was; 0 where it is 0 now."""
    return jnp.where(norm_now == 0, 0, norm / jnp.where(norm_now == 0, 1, norm_now))


def _step(w: Array, moved: Array, factor: Array) -> Array:
    return jnp.where(factor == 0, 0, factor * moved - w)


def _check_finite(field: str, value: Any) -> None:
    if not abs(value) < float("inf"):
        raise ValueError(f"{field} is {value!s}: it must be a finite number.")
