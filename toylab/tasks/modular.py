"""Binary operations on the integers mod p: the tables on which grokking was found (Power et al. 2022, arXiv 2201.02177)."""

import random
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from toylab.base import Apply, Params, static
from toylab.losses import KINDS, LossKind, check_kind, check_outputs, measured, right
from toylab.tasks.parts import in_parts

Operation = Literal[
    "add", "subtract", "multiply", "divide", "x2+y", "x2+y2", "x2+xy+y2", "x2+xy+y2+x", "x3+xy", "x3+xy2", "x3+xy2+y",
    "(4x+3y)3", "divide_or_subtract", "random",
]  # fmt: skip

POLYNOMIALS: dict[str, Callable[[Array, Array], Array]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "x2+y": lambda x, y: x**2 + y,
    "x2+y2": lambda x, y: x**2 + y**2,
    "x2+xy+y2": lambda x, y: x**2 + x * y + y**2,
    "x2+xy+y2+x": lambda x, y: x**2 + x * y + y**2 + x,
    "x3+xy": lambda x, y: x**3 + x * y,
    "x3+xy2": lambda x, y: x**3 + x * y**2,
    "x3+xy2+y": lambda x, y: x**3 + x * y**2 + y,
}
MAX_P = 1024
SYMMETRIC = ("add", "multiply", "x2+y2", "x2+xy+y2")


class ModularArithmetic(struct.PyTreeNode):
    """Tokens `a, b, =` (the last is number p) → `a ∘ b mod p`, full batch over n_train of the pairs.

    The order of the pairs decides the split: its first n_train are the training set. It is a permutation drawn from the
    run's seed, or a leaf `order [p*p]` of row-major indices a·p + b: `python_order` makes that of Nanda's code.
    """

    p: int = static(default=113)
    """The modulus (default: Nanda et al. 2023)."""
    n_train: int = static(default=3830)
    """Training pairs (default: int(0.3 · 113²))."""
    op: Operation = static(default="add")
    """The operation ∘ of a and b."""
    pairs: Literal["ordered", "unordered"] = static(default="ordered")
    """Whether (a, b) and (b, a) are two pairs or one."""
    loss_kind: LossKind = static(default="cross_entropy", later=True)
    """The loss that is minimised; losses are measured without naive rounding."""
    corruption: float = 0.0
    """Share of the training labels that are redrawn uniformly from all p (Doshi et al. 2023)."""
    order: Array | None = None
    """The order [p²] of the pairs a·p + b, whose first n_train are trained on; None draws it from the seed."""

    def check(self) -> "ModularArithmetic":
        if self.op not in get_args(Operation):
            raise ValueError(f"task.op is {self.op!r}: it must be one of {', '.join(get_args(Operation))}.")
        if not 2 <= self.p <= MAX_P:
            raise ValueError(f"task.p is {self.p}: it must lie between 2 and {MAX_P} (a³ stays within int32).")
        if self.op.startswith("divide") and any(self.p % d == 0 for d in range(2, int(self.p**0.5) + 1)):
            raise ValueError(
                f"task.p is {self.p}: it must be prime for op {self.op}, so that every b ≠ 0 has an inverse."
            )
        if self.pairs == "unordered" and self.op not in SYMMETRIC:
            raise ValueError(f"task.pairs is 'unordered': op {self.op} is not symmetric; {', '.join(SYMMETRIC)} are.")
        if not 0 < self.n_train <= self.n_pairs:
            raise ValueError(
                f"task.n_train is {self.n_train}: it must lie between 1 and {self.n_pairs}, the number of pairs."
            )
        check_kind(self.loss_kind, self.p)
        if not 0 <= self.corruption <= 1:
            raise ValueError(f"task.corruption is {self.corruption!s}: it must lie in [0, 1].")
        if self.order is not None and not is_order(self.order, self.p**2):
            raise ValueError(
                f"task.order is no permutation of the {self.p**2} pairs: give an array of each index a·p + b."
            )
        return self

    def check_net(self, net: Any) -> None:
        check_net(net, self.p, "task.p")
        check_outputs(self.loss_kind, net)

    @property
    def n_pairs(self) -> int:
        """How many pairs the operation is defined on (divide: b ≠ 0; divide_or_subtract subtracts an even b, 0 too)."""
        return int(self._valid().sum())

    def _valid(self) -> np.ndarray:
        a, b = np.divmod(np.arange(self.p**2), self.p)
        defined = b > 0 if self.op == "divide" else np.ones(self.p**2, bool)
        return defined & (a <= b) if self.pairs == "unordered" else defined

    def data(self, key: Array) -> dict[str, Array]:
        """All pairs and their split.

        Returns:
            A dict: `tokens` [p², 3] of all pairs; `labels` [p, p]; `train` [n_train] and `test` [n_pairs − n_train],
            indices into the p² pairs; `train_labels` [n_train]; `train_mask` and `test_mask` [p, p].
        """
        order_key, label_key, corrupt_key = jax.random.split(key, 3)
        p, n_train = self.p, self.n_train
        a, b = jnp.divmod(jnp.arange(p**2), p)
        labels = jax.random.randint(label_key, (p**2,), 0, p) if self.op == "random" else self._labels(a, b)
        order = jax.random.permutation(order_key, p**2) if self.order is None else jnp.asarray(self.order)
        if (n_pairs := self.n_pairs) < p**2:
            valid = jnp.asarray(self._valid())
            order = order[jnp.argsort(~valid[order], stable=True)][:n_pairs]  # undefined pairs last, and cut
        train, test = order[:n_train], order[n_train:]
        which, drawn = jax.random.split(corrupt_key)
        rank = jax.random.permutation(which, n_train)
        redrawn = rank < jnp.floor(self.corruption * n_train + 1e-3)  # 0.53 · 100 in float32 is below 53
        train_labels = jnp.where(redrawn, jax.random.randint(drawn, (n_train,), 0, p), labels[train])
        return all_pairs(labels.reshape(p, p), train, test, train_labels)

    def _labels(self, a: Array, b: Array) -> Array:
        if self.op == "(4x+3y)3":
            return ((4 * a + 3 * b) % self.p) ** 3 % self.p
        if not self.op.startswith("divide"):
            return POLYNOMIALS[self.op](a, b) % self.p
        inverse = np.array([pow(int(y), -1, self.p) if y else 0 for y in range(self.p)])
        quotient = a * jnp.asarray(inverse)[b] % self.p
        if self.op == "divide":
            return quotient
        return jnp.where(b % 2 == 1, quotient, (a - b) % self.p)  # Power et al. 2022: x/y if y is odd, else x − y

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: Array) -> Array:
        return train_loss(apply, params, data, self.loss_kind)

    def measure(self, apply: Apply, params: Params, data: dict[str, Array]) -> dict[str, Array]:
        """What is measured at a saved point.

        Returns:
            A dict of scalars: train and test loss (means, of cross-entropies in nats) and accuracy (share of 1). Test is
            nan where no pair is left for it.
        """
        return both_sets(apply, params, data, self.loss_kind)


class ModularPairs(ModularArithmetic):
    """The same with tokens `a, b` alone, [p*p, 2], and the answer read at b: no "=" (Zhong et al. 2023)."""

    def check_net(self, net: Any) -> None:
        check_net(net, self.p, "task.p", equals=False)
        check_outputs(self.loss_kind, net)

    def data(self, key: Array) -> dict[str, Array]:
        data = super().data(key)
        return data | {"tokens": data["tokens"][:, :2]}


def all_pairs(labels: Array, train: Array, test: Array, train_labels: Array) -> dict[str, Array]:
    """The data of a binary operation.

    Args:
        labels: Its table, [n, n].
        train: Indices a·n + b of the training pairs.
        test: Indices of the test pairs.
        train_labels: What the training pairs are trained towards.
    """
    n = len(labels)
    a, b = jnp.divmod(jnp.arange(n**2), n)
    mask = jnp.zeros(n**2, bool)
    return {
        "tokens": jnp.stack([a, b, jnp.full_like(a, n)], axis=1),
        "labels": labels,
        "train": train,
        "test": test,
        "train_labels": train_labels,
        "train_mask": mask.at[train].set(True).reshape(n, n),
        "test_mask": mask.at[test].set(True).reshape(n, n),
    }


def train_loss(apply: Apply, params: Params, data: dict[str, Array], loss_kind: LossKind = "cross_entropy") -> Array:
    """Mean loss of all training pairs: full batch."""
    logits, _ = apply(params, data["tokens"][data["train"]])
    return jnp.mean(KINDS[loss_kind](logits, data["train_labels"]))


def both_sets(
    apply: Apply, params: Params, data: dict[str, Array], loss_kind: LossKind = "cross_entropy"
) -> dict[str, Array]:
    """train_loss, train_accuracy, test_loss, test_accuracy."""
    clean = data["labels"].reshape(-1)
    sets = {"train": (data["train"], data["train_labels"]), "test": (data["test"], clean[data["test"]])}

    def each(index: Array, labels: Array) -> tuple[Array, Array]:
        logits, _ = apply(params, data["tokens"][index])
        return measured(loss_kind)(logits, labels), right(logits, labels)

    found = {name: [jnp.mean(values) for values in in_parts(each, *pairs)] for name, pairs in sets.items()}
    return {f"{name}_{what}": found[name][i] for name in sets for i, what in enumerate(("loss", "accuracy"))}


def check_net(net: Any, n: int, field: str, equals: bool = True) -> None:
    """The net must know n tokens and classes, and "=" where it has positions: jax clamps an index beyond a table without
    a word. `field` names n."""
    for name, why in (("d_vocab", "a token each number"), ("d_vocab_out", "a class each number")):
        if getattr(net, name) < n:
            raise ValueError(f"net.{name} is {getattr(net, name)}: {field} = {n} needs at least {n}, {why}.")
    if equals and bool(getattr(net, "n_ctx", 0)) and net.d_vocab < n + 1:
        raise ValueError(f"net.d_vocab is {net.d_vocab}: {field} = {n} needs {n + 1}, the numbers and '='.")
    if getattr(net, "readout", "last") != "last":
        raise ValueError(f"net.readout is {net.readout!r}: the task has one answer, read at the last position: 'last'.")
    n_ctx: int = getattr(net, "n_ctx", 3)
    if n_ctx < (3 if equals else 2):
        positions = "3 positions, a, b and '='" if equals else "2 positions, a and b"
        raise ValueError(f"net.n_ctx is {net.n_ctx}: the task has {positions}.")


def is_order(order: Any, n: int) -> bool:
    kind = getattr(getattr(order, "dtype", None), "kind", "")
    return kind in ("i", "u") and np.array_equal(np.sort(np.asarray(order)), np.arange(n))


def python_order(p: int, seed: int) -> np.ndarray:
    """The order of pairs in the code of Nanda et al. 2023, `random.seed(seed); random.shuffle(all pairs)`.

    Args:
        p: The modulus.
        seed: Of the shuffle.

    Returns:
        int32 [p²].
    """
    pairs = list(range(p * p))
    random.Random(seed).shuffle(pairs)
    return np.array(pairs, np.int32)
