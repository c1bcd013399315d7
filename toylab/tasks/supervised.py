"""Fixed training and test sets of vectors: the frame."""

from typing import Any

import jax.numpy as jnp
from flax import struct
from jax import Array

from toylab.base import Apply, Params, static
from toylab.losses import KINDS, LossKind, check_kind, check_outputs, margin, measured, right, squared_error
from toylab.tasks.epochs import Epochs, mean_of


class Supervised(Epochs, struct.PyTreeNode):
    """x [n, d_in] → classes [n], or numbers [n, n_outputs] with squared errors; drawn once, `n_train` and `n_test` of them.

    A step sees all training examples, or with batch_size those of its place in the epoch: each epoch takes them in an order
    of its own, and its last batch has what is left. A subclass has `draw`, and says how many classes or numbers there are.
    """

    n_train: int = static(default=100)
    """Training examples."""
    n_test: int = static(default=1000)
    """Test examples."""
    batch_size: int = static(default=0)
    """Examples a step; 0 for all."""
    loss_kind: LossKind = static(default="cross_entropy")
    """The loss that is minimised."""
    tolerance: float = 1e-3
    """The squared error below which a number counts as right."""

    @property
    def n_classes(self) -> int:
        """0 where the answers are numbers."""
        return 2

    @property
    def n_outputs(self) -> int:
        """Of the net: one for each class or number; one for two classes where the loss is of their margin."""
        return 1 if self.loss_kind in ("hinge", "logistic") else self.n_classes

    @property
    def n_inputs(self) -> int:
        """The length of x."""
        raise NotImplementedError

    def draw(self, key: Array, n: int) -> tuple[Array, Array]:
        """x [n, d_in], and labels int [n] or numbers [n, n_outputs]; the first n_train are the training set."""
        raise NotImplementedError

    def check(self) -> "Supervised":
        for name, least in (("n_train", 1), ("n_test", 0), ("batch_size", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"task.{name} is {getattr(self, name)}: it must be at least {least}.")
        if self.n_classes:
            check_kind(self.loss_kind, self.n_classes)
        elif self.loss_kind != "squared_error":
            raise ValueError(f"task.loss_kind is {self.loss_kind!r}: the answers are numbers, so 'squared_error'.")
        if not self.tolerance > 0:
            raise ValueError(f"task.tolerance is {self.tolerance!s}: it must be above 0.")
        return self

    def check_net(self, net: Any) -> None:
        for name, own, wanted in (("d_in", "n_inputs", self.n_inputs), ("d_out", "n_outputs", self.n_outputs)):
            if (found := getattr(net, name, 1)) != wanted:
                raise ValueError(f"net.{name} is {found}: it must be the task's {own}, which is {wanted}.")
        check_outputs(self.loss_kind, net)

    def data(self, key: Array) -> dict[str, Array]:
        """The examples.

        Returns:
            A dict: `x` [n_train, d_in] and `y`, labels int [n_train] or numbers [n_train, n_outputs]; `x_test`, `y_test`.
        """
        x, y = self.draw(key, self.n_train + self.n_test)
        n = self.n_train
        return {"x": x[:n], "y": y[:n], "x_test": x[n:], "y_test": y[n:]}

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: tuple[Array, Array]) -> Array:
        """The mean loss of the batch. `key` is what `batch_key` gives."""
        if not self.epoch_steps:
            return self._losses(apply, params, data["x"], data["y"]).mean()
        chosen, there = key
        return mean_of(self._losses(apply, params, data["x"][chosen], data["y"][chosen]), there)

    def measure(self, apply: Apply, params: Params, data: dict[str, Array]) -> dict[str, Array]:
        """What is measured at a saved point.

        Returns:
            A dict of scalars: train and test loss (means, without naive rounding) and accuracy (share of 1; of numbers
            those within `tolerance`). Test is nan where there are no such examples.
        """
        found = {}
        for name, x, y in (("train", data["x"], data["y"]), ("test", data["x_test"], data["y_test"])):
            output, _ = apply(params, x)
            found[f"{name}_loss"] = self._of(measured(self.loss_kind), output, y).mean()
            found[f"{name}_accuracy"] = self._right(output, y).mean()
        return found

    def _losses(self, apply: Apply, params: Params, x: Array, y: Array) -> Array:
        """[B]"""
        return self._of(KINDS[self.loss_kind], apply(params, x)[0], y)

    def _of(self, loss: Any, output: Array, y: Array) -> Array:
        return loss(output, y) if self.n_classes else squared_error(output, y)

    def _right(self, output: Array, y: Array) -> Array:
        """[B]: 1 or 0, nan where the output is."""
        if not self.n_classes:
            error = squared_error(output, y)
            return jnp.where(jnp.isnan(error), jnp.nan, error < self.tolerance)
        if output.shape[-1] > 1:
            return right(output, y)
        side = margin(output, y)
        return jnp.where(jnp.isnan(side), jnp.nan, side > 0)
