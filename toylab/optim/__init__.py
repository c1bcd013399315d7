"""Optimizers as pytrees. Learning rate and weight decay are leaves; `transform` makes the optax transform from them.

chain   pieces around an optimizer · pieces   ⊥Grad, slow gradients, clipping, a penalty, factors by name, steps that
grow, a norm that stays · decays   of vectors, and of rows to one length · names   of params, checked · schedule   of the
learning rate · lengths   of arrays

`optax.inject_hyperparams` is not used: it casts b1, b2 and eps to float32 arrays, which changes results.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array

from toylab.base import static
from toylab.meanings import documented
from toylab.optim.chain import Chain
from toylab.optim.decays import RowPull, VectorDecay, beyond_length
from toylab.optim.names import check_known, check_names
from toylab.optim.pieces import Clip, Grow, KeepNorm, Orthogonal, Penalty, Piece, Scale, SlowGradients
from toylab.optim.schedule import Schedule, check_shared, scheduled

__all__ = [
    "LAMB", "SGD", "Adam", "AdamW", "Chain", "Clip", "Grow", "KeepNorm", "Orthogonal", "Penalty", "Piece", "RowPull",
    "Scale", "Schedule", "Scheduled", "SignedDecayAdamW", "SlowGradients", "VectorDecay",
]  # fmt: skip


class Scheduled(struct.PyTreeNode, kw_only=True):  # type: ignore[call-arg]
    """The fields of every optimizer: the schedule of its learning rate."""

    warmup: int = static(default=0)
    """Length of the linear warm-up of the learning rate, in steps; 0 for none."""
    schedule: Schedule = static(default="constant")
    """Shape of the fall of the learning rate."""
    steps: int = static(default=0)
    """Where a schedule other than constant has fallen, warm-up included, in steps."""
    floor: float = static(default=0.0)
    """Learning rate at the end of the schedule, in shares of lr."""


class AdamW(Scheduled):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019) on every parameter, biases and positions too, but not on
    those that `undecayed` names: `w ← w − lr_t (m̂ / (√v̂ + eps) + weight_decay · w)`, as torch and optax have it."""

    lr: float = 1e-3
    """Learning rate (default: Nanda et al. 2023, as all defaults here)."""
    weight_decay: float = 1.0
    """Decoupled weight decay: a step takes lr · weight_decay of each weight."""
    b1: float = static(default=0.9)
    """Decay of the mean gradient, β₁."""
    b2: float = static(default=0.98)
    """Decay of the mean squared gradient, β₂."""
    eps: float = static(default=1e-8)
    """What is added to √v̂."""
    warmup: int = static(default=10)
    clip: float = static(default=0.0)
    """The largest norm of the gradient of all parameters together, to which longer ones are scaled; 0 for no limit."""
    undecayed: tuple[str, ...] = static(default=(), later=True)
    """Names of the params that do not decay."""

    def check(self) -> "AdamW":
        check_shared(self)
        if not 0 <= self.clip < float("inf"):
            raise ValueError(f"optimizer.clip is {self.clip}: it must be a finite length, 0 for none.")
        check_names("optimizer.undecayed", self.undecayed)
        return self

    def check_params(self, params: Mapping[str, Any]) -> None:
        """Raises ValueError where `undecayed` names what is no param of the net."""
        check_known("optimizer.undecayed", self.undecayed, params)

    def transform(self) -> optax.GradientTransformation:
        mask = self._decays if self.undecayed else None
        adamw = optax.adamw(scheduled(self), self.b1, self.b2, self.eps, weight_decay=self.weight_decay, mask=mask)
        return optax.chain(optax.clip_by_global_norm(self.clip), adamw) if self.clip else adamw

    def _decays(self, params: Mapping[str, Any]) -> dict[str, bool]:
        self.check_params(params)
        return {name: name not in self.undecayed for name in params}


class SignedDecayAdamW(Scheduled):
    """AdamW whose weight decay may be negative, as in Liu et al. 2025 (Superposition yields robust neural scaling).

    weight_decay ≥ 0: `W ← W − lr_t · weight_decay · W`. Below 0 it pulls every row to length 1 instead of to 0:
    `W ← W + lr_t · weight_decay · W (1 − 1/‖row‖)`; a row of zeros stays. Vectors (biases) do not decay.
    """

    lr: float = 1e-2
    """Learning rate (default: released code of Liu et al. 2025, as all defaults here)."""
    weight_decay: float = -1.0
    """Decay towards 0 where positive, towards rows of length 1 where negative."""
    b1: float = static(default=0.9)
    """Decay of the mean gradient, β₁."""
    b2: float = static(default=0.999)
    """Decay of the mean squared gradient, β₂."""
    eps: float = static(default=1e-8)
    """What is added to √v̂."""

    def check(self) -> "SignedDecayAdamW":
        if not abs(self.weight_decay) < float("inf"):
            raise ValueError(f"optimizer.weight_decay is {self.weight_decay!s}: it must be a finite number.")
        check_shared(self, signed=True)
        return self

    def transform(self) -> optax.GradientTransformation:
        return optax.chain(
            optax.scale_by_adam(self.b1, self.b2, self.eps),
            optax.stateless(self._decay),
            optax.scale_by_learning_rate(scheduled(self)),
        )

    def _decay(self, updates: Any, params: Any) -> Any:
        def decayed(update: Array, w: Array) -> Array:
            if w.ndim < 2:
                return update
            return update + jnp.where(
                self.weight_decay < 0, -self.weight_decay * beyond_length(w), self.weight_decay * w
            )

        return jax.tree.map(decayed, updates, params)


class LAMB(Scheduled):
    """Adam whose update of each array is scaled to the length of that array (You et al. 2020, arXiv 1904.00962):
    `w ← w − lr_t ‖w‖ u/‖u‖` with `u = m̂ / (√v̂ + eps) + weight_decay · w`; where w or u is 0 the factor is 1.

    As optax has it. The torch_optimizer package differs: it does not correct the moments' bias, and bounds ‖w‖ by 10.
    In the first bias_decay_steps, vectors then lose the share bias_decay of themselves (Jermyn et al. 2022, released code).
    """

    lr: float = 3e-3
    """Learning rate (default: within the sweep of Jermyn et al. 2022, .001 to .03; all else their optimizer's defaults)."""
    weight_decay: float = 0.0
    """Weight decay, before the update is scaled."""
    bias_decay: float = 0.0
    """Share of themselves that vectors lose in a step."""
    bias_decay_steps: int = static(default=0)
    """How long vectors decay, in steps from the start."""
    b1: float = static(default=0.9)
    """Decay of the mean gradient, β₁."""
    b2: float = static(default=0.999)
    """Decay of the mean squared gradient, β₂."""
    eps: float = static(default=1e-6)
    """What is added to √v̂."""

    def check(self) -> "LAMB":
        check_shared(self)
        if not 0 <= self.bias_decay < 1:
            raise ValueError(f"optimizer.bias_decay is {self.bias_decay!s}: it must lie in [0, 1), a share a step.")
        if self.bias_decay_steps < 0:
            raise ValueError(f"optimizer.bias_decay_steps is {self.bias_decay_steps}: it must be at least 0.")
        return self

    def transform(self) -> optax.GradientTransformation:
        lamb = optax.lamb(scheduled(self), self.b1, self.b2, self.eps, weight_decay=self.weight_decay)
        decay = VectorDecay(share=self.bias_decay, steps=self.bias_decay_steps)
        return optax.chain(lamb, decay.transform()) if self.bias_decay_steps else lamb


class Adam(Scheduled):
    """Adam (Kingma & Ba 2015), no weight decay."""

    lr: float = 1e-3
    """Learning rate."""
    b1: float = static(default=0.9)
    """Decay of the mean gradient, β₁."""
    b2: float = static(default=0.999)
    """Decay of the mean squared gradient, β₂."""
    eps: float = static(default=1e-8)
    """What is added to √v̂."""

    def check(self) -> "Adam":
        check_shared(self)
        return self

    def transform(self) -> optax.GradientTransformation:
        return optax.adam(scheduled(self), self.b1, self.b2, self.eps)


class SGD(Scheduled):
    """Gradient descent with heavy-ball momentum and L2 decay added to the gradient, as torch's SGD."""

    lr: float = 0.1
    """Learning rate."""
    weight_decay: float = 0.0
    """L2 decay: weight_decay · w is added to the gradient."""
    momentum: float = static(default=0.0)
    """Share of the last update that is kept (heavy ball)."""

    def check(self) -> "SGD":
        check_shared(self)
        return self

    def transform(self) -> optax.GradientTransformation:
        return optax.chain(
            optax.add_decayed_weights(self.weight_decay),
            optax.sgd(scheduled(self), self.momentum or None),
        )


for _kind in __all__:
    if _kind != "Schedule":
        documented(globals()[_kind])
