"""Addition of two numbers, without a modulus, towards random vectors: the toy of Liu et al. 2022 (arXiv 2205.10343).

The code is that of ejmichaud/grokking-squared (MIT), folder toy.
"""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from toylab.base import Apply, Params, static
from toylab.losses import cross_entropy, right, squared_error

Loss = Literal["squared_error", "cross_entropy"]
MAX_P = 256


class Addition(struct.PyTreeNode):
    """Tokens `a, b` with a ≤ b < p → the sum a + b, one of 2p − 1; n_train of the p(p + 1)/2 pairs are trained on.

    With squared errors the target of a sum is a vector of d_out entries N(0, label_scale²), drawn once, and an output
    counts as the sum whose vector is nearest. With cross-entropy the net has 2p − 1 outputs. A step sees batch_size of the
    training pairs, drawn without replacement, or all where there are no more. Defaults are those of the released code.
    """

    p: int = static(default=10)
    """The number of numbers: operands are 0 to p − 1."""
    n_train: int = static(default=45)
    """Training pairs, of p(p + 1)/2."""
    batch_size: int = static(default=45)
    """Pairs a step."""
    loss_kind: Loss = static(default="squared_error")
    """The loss that is minimised."""
    d_out: int = static(default=30)
    """Entries of a target vector, with squared errors alone."""
    label_scale: float = 1.0
    """Standard deviation of the entries of a target vector."""

    def check(self) -> "Addition":
        if not 3 <= self.p <= MAX_P:
            raise ValueError(f"task.p is {self.p}: it must lie between 3 and {MAX_P}.")
        if not 0 < self.n_train <= self.n_pairs:
            raise ValueError(
                f"task.n_train is {self.n_train}: it must lie between 1 and {self.n_pairs}, the number of pairs."
            )
        if self.batch_size < 1:
            raise ValueError(f"task.batch_size is {self.batch_size}: it must be at least 1.")
        if self.loss_kind not in get_args(Loss):
            raise ValueError(f"task.loss_kind is {self.loss_kind!r}: it must be one of {', '.join(get_args(Loss))}.")
        if self.d_out < 1:
            raise ValueError(f"task.d_out is {self.d_out}: it must be at least 1.")
        if not 0 < self.label_scale < float("inf"):
            raise ValueError(f"task.label_scale is {self.label_scale!s}: it must be a finite number above 0.")
        return self

    def check_net(self, net: Any) -> None:
        if (d_vocab := getattr(net, "d_vocab", self.p)) != self.p:
            raise ValueError(f"net.d_vocab is {d_vocab}: it must be task.p, which is {self.p}.")
        if (d_out := getattr(net, "d_vocab_out", self.n_outputs)) != self.n_outputs:
            what = "task.d_out" if self.loss_kind == "squared_error" else "2 task.p − 1"
            raise ValueError(f"net.d_vocab_out is {d_out}: it must be {what}, which is {self.n_outputs}.")

    @property
    def n_pairs(self) -> int:
        return self.p * (self.p + 1) // 2

    @property
    def n_outputs(self) -> int:
        return self.d_out if self.loss_kind == "squared_error" else 2 * self.p - 1

    def data(self, key: Array) -> dict[str, Array]:
        """The pairs, row by row as `representation.pairs` has them, their split, and the targets.

        Returns:
            A dict: `tokens` [P, 2] of all P pairs; `sums` [P]; `train` [n_train] and `test` [P − n_train], indices of
            pairs; `train_mask` [P]; `targets` [2p − 1, d_out], by sum.
        """
        order_key, target_key = jax.random.split(key)
        tokens = jnp.asarray(np.stack(np.triu_indices(self.p), axis=1))
        order = jax.random.permutation(order_key, self.n_pairs)
        train, test = order[: self.n_train], order[self.n_train :]
        mask = jnp.zeros(self.n_pairs, bool).at[train].set(True)
        targets = self.label_scale * jax.random.normal(target_key, (2 * self.p - 1, self.d_out))
        return {
            "tokens": tokens, "sums": tokens.sum(axis=1), "train": train, "test": test, "train_mask": mask,
            "targets": targets,
        }  # fmt: skip

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: Array) -> Array:
        chosen = data["train"]
        if self.batch_size < self.n_train:
            chosen = jax.random.choice(key, chosen, (self.batch_size,), replace=False)
        output, _ = apply(params, data["tokens"][chosen])
        return self._losses(output, data["sums"][chosen], data["targets"]).mean()

    def measure(self, apply: Apply, params: Params, data: dict[str, Array]) -> dict[str, Array]:
        """What is measured at a saved point.

        Returns:
            A dict of scalars: train and test loss (squared error, mean over outputs too, or mean nats), train and test
            accuracy, and `accuracy` over all pairs. Test is nan where no pair is left for it.
        """
        output, _ = apply(params, data["tokens"])
        losses = self._losses(output, data["sums"], data["targets"])
        correct = self._right(output, data["sums"], data["targets"])
        found = {"accuracy": correct.mean()}
        for name in ("train", "test"):
            found |= {f"{name}_loss": losses[data[name]].mean(), f"{name}_accuracy": correct[data[name]].mean()}
        return found

    def _losses(self, output: Array, sums: Array, targets: Array) -> Array:
        """[B]"""
        if self.loss_kind == "cross_entropy":
            return cross_entropy(output, sums)
        return squared_error(output, targets[sums])

    def _right(self, output: Array, sums: Array, targets: Array) -> Array:
        """[B]: 1 where the sum has the largest logit, or the nearest target, else 0."""
        if self.loss_kind == "cross_entropy":
            return right(output, sums)
        squares = ((output[:, None] - targets) ** 2).sum(axis=-1)  # [B, 2p − 1]
        return right(-squares, sums)
