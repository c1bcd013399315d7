"""Binary operations mod p as prompts `a ∘ b =` in minibatches, as Power et al. 2022 (arXiv 2201.02177) train on them."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from toylab.base import Apply, Params, static
from toylab.losses import KINDS, check_outputs
from toylab.tasks import modular
from toylab.tasks.epochs import Epochs, mean_of


class ModularPrompts(Epochs, modular.ModularArithmetic):
    """Tokens `a, ∘, b, =` → `a ∘ b mod p`, read at "=", in minibatches of an epoch's order.

    The vocabulary is that of danielmamay/grokking: the numbers 0 … p−1, "=" p, the operation p+1. With `eos`,
    openai/grok's "<|eos|>", here p+2, stands first. A batch has batch_size pairs, and at most half of the training pairs,
    rounded up (both codes: min(512, n_train/2)); the last of an epoch has what is left. Deviation from openai/grok: its
    loss is the mean over the answer and the "<|eos|>" behind it, here it is that of the answer alone.
    """

    batch_size: int = static(default=512)
    """Pairs of a batch, at most half of the training pairs; 0 for all training pairs."""
    eos: bool = static(default=False)
    """Whether openai/grok's "<|eos|>" stands first."""

    def check(self) -> "ModularPrompts":
        super().check()
        if self.batch_size < 0:
            raise ValueError(f"task.batch_size is {self.batch_size}: it must be at least 0, for all training pairs.")
        return self

    @property
    def n_batch(self) -> int:
        return min(self.batch_size, -(-self.n_train // 2))

    @property
    def prompt(self) -> tuple[str | int, ...]:
        """What stands at each position: "a", "b", or a token."""
        return (*((self.p + 2,) if self.eos else ()), "a", self.p + 1, "b", self.p)

    def check_net(self, net: Any) -> None:
        modular.check_net(net, self.p, "task.p", equals=False)
        check_outputs(self.loss_kind, net)
        signs, n = "'=', the operation" + ", '<|eos|>'" * self.eos, len(self.prompt)
        if net.d_vocab < self.p + n - 2:
            raise ValueError(
                f"net.d_vocab is {net.d_vocab}: task.p = {self.p} needs {self.p + n - 2}, the numbers, {signs}."
            )
        if getattr(net, "n_ctx", 0) < n:
            raise ValueError(f"net.n_ctx is {getattr(net, 'n_ctx', 0)}: the task has {n} positions, a, b, {signs}.")

    def data(self, key: Array) -> dict[str, Array]:
        """As of `ModularArithmetic`, with `tokens` [p², 4] or [p², 5]."""
        data = super().data(key)
        a, b, _ = data["tokens"].T
        columns = {"a": a, "b": b}
        tokens = [columns[one] if isinstance(one, str) else jnp.full_like(a, one) for one in self.prompt]
        return data | {"tokens": jnp.stack(tokens, axis=1)}

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: tuple[Array, Array]) -> Array:  # type: ignore[override]
        """The mean loss of the batch. `key` is what `batch_key` gives."""
        if not self.epoch_steps:
            return modular.train_loss(apply, params, data, self.loss_kind)
        chosen, there = key
        logits, _ = apply(params, data["tokens"][data["train"][chosen]])
        return mean_of(KINDS[self.loss_kind](logits, data["train_labels"][chosen]), there)
