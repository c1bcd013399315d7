"""In-context classification: a sequence of (item, label) pairs and an item whose label is asked (Reddy 2023,
arXiv 2312.03002), also with several tasks that the context has to tell apart (Minegishi et al. 2025, arXiv 2505.16694).

The label can come from the context, if it holds the item's class, or from the weights, which may have learned it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from toylab.base import Apply, Params, static
from toylab.losses import cross_entropy, right
from toylab.tasks.classification_limits import labels_alone
from toylab.tasks.sparse import EVALUATION

CLASSES = 2312  # the key of the classes: the same for every run
Sequences = Literal["train", "icl", "swap", "iwl"]
SETS: tuple[Sequences, ...] = ("train", "icl", "swap", "iwl")
Batch = dict[str, Array]


class ItemLabelPairs(struct.PyTreeNode):
    """x_1 ℓ_1 … x_N ℓ_N x → the label of x, as vectors [2N + 1, n_positions + dim], one-hot position first.

    Class k has a mean μ_k ~ N(0, I/D), D = dim. Its items are (μ_k + ε η)/√(1 + ε²) with η ~ N(0, I/D), ε = noise.
    Labels are vectors ~ N(0, I/D) as well. Classes are drawn with probability ∝ rank^−zipf. In a bursty sequence the
    context has N/burst classes, each `burst` times in random order, and x belongs to one of them; else all N + 1
    classes are independent. In a relabelled sequence each class has a label of that sequence alone. Positions are
    one-hot, counted from a random offset (Reddy 2023, up to there).

    One task gives class k the label k mod n_labels. With n_tasks of them (Minegishi et al. 2025, released code) classes
    have labels at random, a sequence belongs to one task τ, and there every label is shifted: (label + τ) mod n_labels.

    Saved points are measured on sets of sequences, `data[name]`, each with x [n_eval, 2N + 1, n_positions + dim], y
    [n_eval] and support [n_eval, N], the pairs of the class of x:

    - `train`: as they are trained on.
    - `icl`: bursty, of classes never seen, with labels that differ. The answer is in the context alone.
    - `swap`: bursty, of known classes, with labels shifted by n_tasks. Context and weights disagree.
    - `iwl`: the context lacks the class of x.
    """

    n_classes: int = static(default=1024)
    """Classes K of items."""
    n_labels: int = static(default=32)
    """Labels that the classes share (default: Reddy 2023, as what follows)."""
    n_pairs: int = static(default=8)
    """Pairs N of an item and its label in the context."""
    burst: int = static(default=4)
    """How often each class of a bursty context occurs in it."""
    n_tasks: int = static(default=1)
    """Tasks, each of which shifts all labels by its number; 1 for a single one."""
    dim: int = static(default=63)
    """Dimensions D of items and labels."""
    n_positions: int = static(default=65)
    """Dimensions of the one-hot position."""
    batch_size: int = static(default=128)
    """Sequences a step."""
    n_eval: int = static(default=512)
    """Sequences in each set that is measured."""
    noise: float = 0.1
    """Spread ε of the items of a class about its mean."""
    zipf: float = 0.0
    """Exponent of the law of classes, whose probabilities are ∝ rank^−zipf; 0 for equal ones."""
    bursty: float = 1.0
    """Share of the sequences whose context holds the class that is asked for."""
    relabelled: float = 0.0
    """Share of the sequences whose classes have labels of that sequence alone."""

    def check(self) -> "ItemLabelPairs":
        for name in ("n_labels", "n_pairs", "burst", "n_tasks", "dim", "batch_size", "n_eval"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} is {getattr(self, name)}: it must be at least 1.")
        if self.n_pairs % self.burst:
            raise ValueError(f"task.burst is {self.burst}: it must divide task.n_pairs = {self.n_pairs}.")
        if self.n_classes < self.n_labels:
            raise ValueError(
                f"task.n_classes is {self.n_classes}: it must be at least task.n_labels = {self.n_labels}."
            )
        if not max(self.n_tasks, self.n_pairs // self.burst) < self.n_labels:
            raise ValueError(
                f"task.n_labels is {self.n_labels}: it must exceed task.n_tasks = {self.n_tasks} and the "
                f"{self.n_pairs // self.burst} classes of a bursty context, whose labels differ."
            )
        if self.n_positions < 2 * self.n_pairs + 1:
            raise ValueError(
                f"task.n_positions is {self.n_positions}: {self.n_pairs} pairs and an item take "
                f"{2 * self.n_pairs + 1} positions."
            )
        for name in ("noise", "zipf"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"task.{name} is {getattr(self, name)!s}: it must be a finite number, at least 0.")
        for name in ("bursty", "relabelled"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"task.{name} is {getattr(self, name)!s}: it must lie in [0, 1], a share of sequences."
                )
        return self

    def check_net(self, net: Any) -> None:
        """The net must take the vectors as they are, every position, and answer at the last one with a label."""
        width, length = self.n_positions + self.dim, 2 * self.n_pairs + 1
        inputs = getattr(net, "inputs", "tokens")
        field = {"residual": "d_model", "vectors": "d_vocab"}.get(inputs)
        if field is None:
            raise ValueError(f"net.inputs is {inputs!r}: pairs are vectors, so it must be 'residual' or 'vectors'.")
        if getattr(net, field) != width:
            raise ValueError(
                f"net.{field} is {getattr(net, field)}: it must be task.n_positions + task.dim = {width}, "
                f"the length of an input vector."
            )
        if net.n_ctx < length:
            raise ValueError(f"net.n_ctx is {net.n_ctx}: task.n_pairs = {self.n_pairs} takes {length} positions.")
        if net.d_vocab_out < self.n_labels:
            raise ValueError(f"net.d_vocab_out is {net.d_vocab_out}: task.n_labels = {self.n_labels} needs as many.")
        if net.readout != "last":
            raise ValueError(
                f"net.readout is {net.readout!r}: the task has one answer, read at the last position: 'last'."
            )

    # --- what is drawn

    def classes(self) -> Batch:
        """means [K, D], label_vectors [L, D] and labels [T, K]: the label of each class in each task."""
        mean_key, vector_key, label_key = jax.random.split(jax.random.key(CLASSES), 3)
        random = jax.random.randint(label_key, (self.n_classes,), 0, self.n_labels)
        first = jnp.arange(self.n_classes) % self.n_labels if self.n_tasks == 1 else random
        return {
            "means": jax.random.normal(mean_key, (self.n_classes, self.dim)) / self.dim**0.5,
            "label_vectors": jax.random.normal(vector_key, (self.n_labels, self.dim)) / self.dim**0.5,
            "labels": (first + jnp.arange(self.n_tasks)[:, None]) % self.n_labels,
        }

    def data(self, key: Array) -> dict[str, Any]:
        """What `classes` gives, and the evaluation sets by name."""
        known = self.classes()
        keys = jax.random.split(jax.random.key(EVALUATION), len(SETS))
        draw = partial(self._sequences, self.n_eval, known)
        drawn = jax.lax.map(lambda one: draw(*one), (keys, jnp.arange(len(SETS))))  # compiled once for all sets
        return {**known, **{name: {part: x[i] for part, x in drawn.items()} for i, name in enumerate(SETS)}}

    def sample(self, key: Array, n: int, kind: Sequences = "train") -> Batch:
        """Sequences of a kind.

        Args:
            key: Of the draw.
            n: How many.
            kind: Of which set.

        Returns:
            A dict: `x` [n, 2N + 1, n_positions + dim], `y` [n], and `support` bool [n, N].
        """
        if kind not in SETS:
            raise ValueError(f"kind is {kind!r}: it must be one of {', '.join(SETS)}.")
        return self._sequences(n, self.classes(), key, SETS.index(kind))

    def _sequences(self, n: int, known: Batch, key: Array, kind: int | Array) -> Batch:
        """`kind` counts SETS: as a number it leaves out what the other kinds need, traced it chooses when run."""
        train, icl, swap, iwl = (kind == i for i in range(len(SETS)))
        uniform_key, noise_key, new_key = jax.random.split(key, 3)
        drawn = self._uniforms(uniform_key, n)
        weights = jnp.arange(1, self.n_classes + 1) ** -jnp.asarray(self.zipf, jnp.float32)
        free = _pick(weights, drawn["class"])  # [n, N + 1]
        members = self._bursts(drawn, free)
        members = _where(train, lambda: jnp.where(drawn["burst"] < self.bursty, members, free), members)
        members = _where(iwl, lambda: self._without_support(drawn, free, weights), members)
        labels = known["labels"][_whole(drawn["task"], self.n_tasks), members]
        labels = _where(train, lambda: self._relabelled(drawn, members, labels), labels)
        labels = _where(swap, lambda: (labels + self.n_tasks) % self.n_labels, labels)
        group = self._bursts(drawn, jnp.broadcast_to(jnp.arange(self.n_pairs + 1), free.shape))  # numbers for classes
        means, labels = _where(icl, lambda: self._new_classes(new_key, group), (known["means"][members], labels))
        members = _where(icl, lambda: group, members)
        noise = self.noise * jax.random.normal(noise_key, means.shape) / self.dim**0.5
        items = (means + noise) / jnp.sqrt(1 + jnp.square(self.noise))
        x = self._inputs(drawn["offset"], items, known["label_vectors"][labels[:, :-1]])
        return {"x": x, "y": labels[:, -1], "support": members[:, :-1] == members[:, -1:]}

    def _uniforms(self, key: Array, n: int) -> Batch:
        """[n, size] for each decision, of one draw: a call of the generator for each would take longer to compile and run.
        Runs of a group share them, each with its own zipf and shares."""
        N = self.n_pairs
        sizes = {
            "class": N + 1,
            "order": N,
            "asked": 1,
            "burst": 1,
            "task": 1,
            "offset": 1,
            "relabel": 1,
            "label": N + 1,
        }
        drawn = jax.random.uniform(key, (n, sum(sizes.values())))
        cuts = np.cumsum(list(sizes.values()))[:-1]
        return dict(zip(sizes, jnp.split(drawn, cuts, axis=1), strict=True))

    def _bursts(self, drawn: Batch, classes: Array) -> Array:
        """The first N/burst of the classes [n, N + 1], each `burst` times in random order, and one of them: [n, N + 1]."""
        group = _shuffled(drawn["order"]) // self.burst  # [n, N]
        context = jnp.take_along_axis(classes, group, axis=1)
        return jnp.concatenate(
            [context, jnp.take_along_axis(context, _whole(drawn["asked"], self.n_pairs), axis=1)], axis=1
        )

    def _without_support(self, drawn: Batch, free: Array, weights: Array) -> Array:
        """Independent classes, the last [n, N + 1] none of those before it."""
        context = free[:, :-1]
        held = jnp.any(context[..., None] == jnp.arange(self.n_classes), axis=1)  # [n, K]
        return jnp.concatenate([context, _pick(jnp.where(held, 0, weights), drawn["asked"])], axis=1)

    def _new_classes(self, key: Array, group: Array) -> tuple[Array, Array]:
        """means [n, N + 1, D] and labels [n, N + 1] of classes that each sequence has alone, the labels all different."""
        mean_key, label_key = jax.random.split(key)
        means = jax.random.normal(mean_key, (len(group), self.n_pairs // self.burst, self.dim)) / self.dim**0.5
        labels = _shuffled(jax.random.uniform(label_key, (len(group), self.n_labels)))
        return jnp.take_along_axis(means, group[..., None], axis=1), jnp.take_along_axis(labels, group, axis=1)

    def _relabelled(self, drawn: Batch, members: Array, labels: Array) -> Array:
        """In a share of the sequences, a label of the sequence alone for each class [n, N + 1] of it."""
        own = _whole(drawn["label"], self.n_labels)
        first = jnp.argmax(members[:, :, None] == members[:, None, :], axis=-1)  # where the class occurs first
        return jnp.where(drawn["relabel"] < self.relabelled, jnp.take_along_axis(own, first, axis=1), labels)

    def _inputs(self, drawn: Array, items: Array, label_vectors: Array) -> Array:
        """items [n, N + 1, D] and label_vectors [n, N, D], interleaved behind their positions: [n, 2N + 1, P + D]."""
        n, length = len(items), 2 * self.n_pairs + 1
        pairs = jnp.stack([items[:, :-1], label_vectors], axis=2).reshape(n, length - 1, self.dim)
        content = jnp.concatenate([pairs, items[:, -1:]], axis=1)
        at = _whole(drawn, self.n_positions - length + 1) + jnp.arange(length)  # [n, 2N + 1]
        return jnp.concatenate([jax.nn.one_hot(at, self.n_positions), content], axis=-1)

    # --- what is learned and measured

    def loss(self, apply: Apply, params: Params, data: dict[str, Any], key: Array) -> Array:
        batch = self._sequences(self.batch_size, data, key, SETS.index("train"))
        logits, _ = apply(params, batch["x"])
        return jnp.mean(cross_entropy(logits, batch["y"]))

    def measure(self, apply: Apply, params: Params, data: dict[str, Any]) -> dict[str, Array]:
        """What is measured at a saved point.

        Returns:
            A dict of scalars: `loss` (mean nats) and `accuracy` on sequences as trained on; `icl_accuracy`,
            `swap_accuracy` and `iwl_accuracy` on the other sets.
        """
        logits, _ = apply(params, jnp.concatenate([data[name]["x"] for name in SETS]))
        labels = jnp.concatenate([data[name]["y"] for name in SETS])
        correct = jnp.mean(right(logits, labels).reshape(len(SETS), -1), axis=-1)
        names = ("accuracy", "icl_accuracy", "swap_accuracy", "iwl_accuracy")
        return {
            "loss": jnp.mean(cross_entropy(logits, labels)[: self.n_eval]),
            **dict(zip(names, correct, strict=True)),
        }

    # --- what can be reached at all

    def limits(self) -> dict[str, float]:
        """Accuracies of exact predictors. All but chance hold as noise → 0; `confusion` tells how near.

        Returns:
            A dict.

            - `chance`: 1/L.
            - `context_label`: burst/N, for the label of a pair picked at random, or one of the labels present, on `icl`.
            - `no_context`: 1/T, of what the weights tell of x without its context, as a class has T labels (NCC).
            - `labels_alone`: Bayes' of x and the labels of the context without their items, on T tasks (SCC).
            - `in_context`: Bayes' on the whole sequence: 1 on `icl`; on T tasks 1, since one known pair tells the task
              (FCC).
        """
        labels = np.asarray(self.classes()["labels"])
        return {
            "chance": 1 / self.n_labels,
            "context_label": self.burst / self.n_pairs,
            "no_context": 1 / self.n_tasks,
            "labels_alone": labels_alone(labels, self.n_pairs, self.n_labels),
            "in_context": 1.0,
        }


def _where(flag: Any, new: Callable[[], Any], old: Any) -> Any:
    """new() where the flag holds, else old: decided at once if the flag is known, else when run."""
    if isinstance(flag, bool):
        return new() if flag else old
    return jax.tree.map(partial(jnp.where, flag), new(), old)


def _whole(drawn: Array, n: int) -> Array:
    """Uniform draws in [0, 1) → 0 … n − 1, evenly."""
    return jnp.floor(drawn * n).astype(jnp.int32)


def _pick(weights: Array, drawn: Array) -> Array:
    """Uniform draws [n, m] → numbers of classes, each with a probability ∝ its weight, [K] or [n, K]."""
    below = jnp.cumsum(weights, axis=-1)
    level = drawn * below[..., -1:]
    if weights.ndim == 1:
        return jnp.minimum(jnp.searchsorted(below, level, side="right"), len(weights) - 1)
    return jnp.argmax(below[:, None, :] > level[..., None], axis=-1)


def _shuffled(drawn: Array) -> Array:
    """Uniform draws [n, m] → a permutation of 0 … m − 1 in every row: their ranks, of few numbers faster than a sort."""
    tied = (drawn[:, None] == drawn[..., None]) & jnp.tril(jnp.ones((drawn.shape[1],) * 2, bool), -1)
    return jnp.sum((drawn[:, None] < drawn[..., None]) | tied, axis=-1)
