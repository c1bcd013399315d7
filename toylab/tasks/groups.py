"""Composition in a finite group (Power et al. 2022 for S5; Chughtai et al. 2023, arXiv 2302.03025, for all families)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from toylab.base import Apply, Params, static
from toylab.tasks import cayley, modular


class GroupComposition(struct.PyTreeNode):
    """Tokens `a, b, =` (the last is number g, the group's order) → `a·b`, full batch over n_train of the g² pairs.

    Elements are numbered as in `toylab.tasks.cayley`. The order of the pairs decides the split: its first n_train are the
    training set. It is a permutation drawn from the run's seed, or a leaf `order [g*g]` of row-major indices a·g + b.
    Networks: `Transformer`, or `ModularMLP(d_model=256, d_mlp=128)`, which is Chughtai et al.'s OneLayerMLP.
    """

    group: cayley.Group = static(default="symmetric")
    """The family of groups."""
    n: int = static(default=5)
    """The number of the group in its family, such as the 5 of S₅."""
    n_train: int = static(default=5760)
    """Training pairs (default: 0.4 · 120², Chughtai et al. 2023's MLP on S₅)."""
    order: Array | None = None
    """The order of the pairs, whose first n_train are trained on; None draws it from the seed."""

    def check(self) -> "GroupComposition":
        cayley.check(self.group, self.n, "task.")
        n_pairs = self.size**2
        if not 0 < self.n_train <= n_pairs:
            raise ValueError(
                f"task.n_train is {self.n_train}: it must lie between 1 and {n_pairs}, the number of pairs."
            )
        if self.order is not None and not modular.is_order(self.order, n_pairs):
            raise ValueError(
                f"task.order is no permutation of the {n_pairs} pairs: give an array of each index a·g + b."
            )
        return self

    def check_net(self, net: Any) -> None:
        modular.check_net(net, self.size, f"the order of task.group {self.group} with n = {self.n}")

    @property
    def size(self) -> int:
        """g, the number of elements."""
        return cayley.order(self.group, self.n)

    def data(self, key: Array) -> dict[str, Array]:
        """All pairs and their split.

        Returns:
            A dict: `tokens` [g², 3] of all pairs; `labels` [g, g], the Cayley table; `train` [n_train] and `test` [g² −
            n_train], indices into the pairs; `train_labels` [n_train]; `train_mask` and `test_mask` [g, g].
        """
        labels = jnp.asarray(cayley.table(self.group, self.n))
        order = jax.random.permutation(key, self.size**2) if self.order is None else jnp.asarray(self.order)
        train, test = order[: self.n_train], order[self.n_train :]
        return modular.all_pairs(labels, train, test, labels.reshape(-1)[train])

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: Array) -> Array:
        return modular.train_loss(apply, params, data)

    def measure(self, apply: Apply, params: Params, data: dict[str, Array]) -> dict[str, Array]:
        """What is measured at a saved point.

        Returns:
            A dict of scalars: train and test loss (mean nats) and accuracy (share of 1). Test is nan where no pair is
            left for it.
        """
        return modular.both_sets(apply, params, data)
