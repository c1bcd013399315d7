"""A modular operation learned beside pairs that can only be memorised (Huang et al. 2024, arXiv 2402.15175)."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from toylab.base import Apply, Params, static
from toylab.losses import KINDS, right
from toylab.tasks.modular import ModularArithmetic


class ModularBesideRandom(ModularArithmetic):
    """Two tasks in one batch: `a ∘ b mod p` of the numbers 0 to p − 1, and n_random pairs of p other numbers, p to 2p − 1,
    each with a label drawn uniformly from the p classes. "=" is number 2p. The random pairs are all trained on: no network
    can know another. The loss is the mean over both.
    """

    n_random: int = static(default=0)
    """Pairs of other numbers with random labels; 0 leaves the operation alone."""

    def check(self) -> "ModularBesideRandom":
        super().check()
        if not 0 <= self.n_random <= self.p**2:
            raise ValueError(f"task.n_random is {self.n_random}: it must lie between 0 and {self.p**2}, all p² pairs.")
        return self

    def check_net(self, net: Any) -> None:
        super().check_net(net)
        needed = 2 * self.p + bool(getattr(net, "n_ctx", 0))
        if net.d_vocab < needed:
            raise ValueError(
                f"net.d_vocab is {net.d_vocab}: task.p = {self.p} needs {needed}, two sets of numbers and '='."
            )

    def data(self, key: Array) -> dict[str, Array]:
        """As `ModularArithmetic.data`, where `random_tokens` [n_random, 3] and `random_labels` [n_random] come with it.
        `tokens`, `labels`, `train` and `test` are those of the operation alone."""
        own, which, label_key = jax.random.split(key, 3)
        data = super().data(own)
        a, b = jnp.divmod(jax.random.permutation(which, self.p**2)[: self.n_random], self.p)
        equals = 2 * self.p
        return data | {
            "tokens": data["tokens"].at[:, 2].set(equals),
            "random_tokens": jnp.stack([self.p + a, self.p + b, jnp.full_like(a, equals)], axis=1),
            "random_labels": jax.random.randint(label_key, (self.n_random,), 0, self.p),
        }

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: Array) -> Array:
        tokens = jnp.concatenate([data["tokens"][data["train"]], data["random_tokens"]])
        labels = jnp.concatenate([data["train_labels"], data["random_labels"]])
        return jnp.mean(KINDS[self.loss_kind](apply(params, tokens)[0], labels))

    def measure(self, apply: Apply, params: Params, data: dict[str, Array]) -> dict[str, Array]:
        """Of the operation what `ModularArithmetic.measure` gives, and `random_accuracy`, the share of the random pairs
        that is known: nan where there are none."""
        logits, _ = apply(params, data["random_tokens"])
        found = right(logits, data["random_labels"])
        known = jnp.mean(found) if self.n_random else jnp.float32(jnp.nan)
        return super().measure(apply, params, data) | {"random_accuracy": known}
