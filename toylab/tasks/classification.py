"""In-context classification: a sequence of (item, label) pairs and an item whose label is asked (Reddy 2023,
arXiv 2312.03002), also with several tasks that the context has to tell apart (Minegishi et al. 2025, arXiv 2505.16694).

The label can come from the context, if it holds the item's class, or from the weights, which may have learned it.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from toylab.base import Apply, Params, static
from toylab.losses import cross_entropy

CLASSES, EVALUATION = 2312, 7919  # keys of the classes and of the evaluation sets: the same for every run
Sequences = Literal["train", "icl", "swap", "iwl"]
SETS: tuple[Sequences, ...] = ("train", "icl", "swap", "iwl")
Batch = dict[str, Array]


class ItemLabelPairs(struct.PyTreeNode):
    """x_1 ℓ_1 … x_N ℓ_N x → the label of x, as vectors [2N + 1, n_positions + dim], one-hot position first.

    Class k has a mean μ_k ~ N(0, I/D), D = dim, and its items are (μ_k + ε η)/√(1 + ε²) with η ~ N(0, I/D), ε = noise.
    Labels are vectors ~ N(0, I/D) as well. Classes are drawn with probability ∝ rank^−zipf. In a bursty sequence the
    context has N/burst classes, each `burst` times in random order, and x belongs to one of them; else all N + 1 classes
    are independent. In a relabelled sequence each class has a label of that sequence alone. Positions are one-hot, counted
    from a random offset (Reddy 2023, up to there).

    n_tasks: one task gives class k the label k mod n_labels. With T of them (Minegishi et al. 2025, released code) classes
    have labels at random, a sequence belongs to one task τ, and there every label is shifted: (label + τ) mod n_labels.

    Sets of sequences on which saved points are measured, `data[name]`:
        train  as they are trained on
        icl    bursty, of classes never seen, with labels that differ: the answer is in the context alone
        swap   bursty, of known classes, with labels shifted by n_tasks: context and weights disagree
        iwl    the context lacks the class of x
    each with x [n_eval, 2N + 1, n_positions + dim], y [n_eval] and support [n_eval, N]: the pairs of the class of x.
    """

    n_classes: int = static(default=1024)
    n_labels: int = static(default=32)  # Reddy 2023, as what follows
    n_pairs: int = static(default=8)
    burst: int = static(default=4)
    n_tasks: int = static(default=1)
    dim: int = static(default=63)
    n_positions: int = static(default=65)
    batch_size: int = static(default=128)
    n_eval: int = static(default=512)
    noise: float = 0.1
    zipf: float = 0.0
    bursty: float = 1.0  # share of the sequences
    relabelled: float = 0.0  # share of the sequences

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
        sets: dict[str, Any] = {
            name: self._sequences(key, self.n_eval, known, name) for name, key in zip(SETS, keys, strict=True)
        }
        return dict(known) | sets

    def sample(self, key: Array, n: int, kind: Sequences = "train") -> Batch:
        """n sequences of a kind: x [n, 2N + 1, n_positions + dim], y [n], support bool [n, N]."""
        return self._sequences(key, n, self.classes(), kind)

    def _sequences(self, key: Array, n: int, known: Batch, kind: Sequences) -> Batch:
        uniform_key, noise_key, new_key = jax.random.split(key, 3)
        drawn = self._uniforms(uniform_key, n)
        members, support = self._members(drawn, kind)
        if kind == "icl":
            means, labels = self._new_classes(new_key, n, members)
        else:
            means = known["means"][members]
            labels = known["labels"][_whole(drawn["task"], self.n_tasks), members]
        if kind == "swap":
            labels = (labels + self.n_tasks) % self.n_labels
        if kind == "train":
            labels = self._relabelled(drawn, members, labels)
        noise = self.noise * jax.random.normal(noise_key, means.shape) / self.dim**0.5
        items = (means + noise) / jnp.sqrt(1 + jnp.square(self.noise))
        x = self._inputs(drawn["offset"], items, known["label_vectors"][labels[:, :-1]])
        return {"x": x, "y": labels[:, -1], "support": support}

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

    def _members(self, drawn: Batch, kind: Sequences) -> tuple[Array, Array]:
        """Classes [n, N + 1] of the context and of the item asked for, and support bool [n, N]. For "icl" the classes are
        numbers within the sequence."""
        N = self.n_pairs
        group = _shuffled(drawn["order"]) // self.burst  # [n, N], each of the N/burst groups `burst` times
        ranks = jnp.arange(1, self.n_classes + 1, dtype=jnp.float32)
        weights = ranks ** -jnp.asarray(self.zipf, jnp.float32)
        free = _pick(weights, drawn["class"])  # [n, N + 1]
        context = group if kind == "icl" else jnp.take_along_axis(free, group, axis=1)
        asked = jnp.take_along_axis(context, _whole(drawn["asked"], N), axis=1)
        if kind == "train":
            in_burst = drawn["burst"] < self.bursty
            context, asked = jnp.where(in_burst, context, free[:, :N]), jnp.where(in_burst, asked, free[:, N:])
        if kind == "iwl":
            context = free[:, :N]
            held = jnp.any(context[..., None] == jnp.arange(self.n_classes), axis=1)  # [n, K]
            asked = _pick(jnp.where(held, 0, weights), drawn["asked"])
        return jnp.concatenate([context, asked], axis=1), context == asked

    def _new_classes(self, key: Array, n: int, members: Array) -> tuple[Array, Array]:
        """means [n, N + 1, D] and labels [n, N + 1] of classes that each sequence has alone, the labels all different."""
        mean_key, label_key = jax.random.split(key)
        means = jax.random.normal(mean_key, (n, self.n_pairs // self.burst, self.dim)) / self.dim**0.5
        labels = _shuffled(jax.random.uniform(label_key, (n, self.n_labels)))
        return jnp.take_along_axis(means, members[..., None], axis=1), jnp.take_along_axis(labels, members, axis=1)

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
        known = {name: data[name] for name in ("means", "label_vectors", "labels")}
        batch = self._sequences(key, self.batch_size, known, "train")
        logits, _ = apply(params, batch["x"])
        return jnp.mean(cross_entropy(logits, batch["y"]))

    def measure(self, apply: Apply, params: Params, data: dict[str, Any]) -> dict[str, Array]:
        """loss (mean nats, on sequences as trained on) and the accuracies accuracy (on the same), icl_accuracy,
        swap_accuracy, iwl_accuracy."""
        found = {}
        for name in SETS:
            logits, _ = apply(params, data[name]["x"])
            start = "" if name == "train" else f"{name}_"
            if name == "train":
                found["loss"] = jnp.mean(cross_entropy(logits, data[name]["y"]))
            found[f"{start}accuracy"] = jnp.mean(jnp.argmax(logits, axis=-1) == data[name]["y"])
        return found

    # --- what can be reached at all

    def limits(self) -> dict[str, float]:
        """Accuracies of exact predictors, by name; those of noise hold as noise → 0, see `confusion`.

        chance             1/L
        context_label      the label of a pair picked at random, or one of the labels present, on `icl`: burst/N
        no_context         of what the weights tell of x, without its context: 1/T, as a class has T labels (NCC)
        labels_alone       Bayes' of x and the labels of the context without their items, on T tasks (SCC)
        in_context         Bayes' on the whole sequence: 1 on `icl`; on T tasks 1, since one known pair tells the task (FCC)
        """
        labels = np.asarray(self.classes()["labels"])
        return {
            "chance": 1 / self.n_labels,
            "context_label": self.burst / self.n_pairs,
            "no_context": 1 / self.n_tasks,
            "labels_alone": labels_alone(labels, self.n_pairs, self.n_labels),
            "in_context": 1.0,
        }


def labels_alone(labels: np.ndarray, n_pairs: int, n_labels: int) -> float:
    """Exact accuracy of the best guess at the label of a known item from the labels of n_pairs other items of its task.

    labels int [T, K]: the label of each class in each task; tasks and classes are equally likely, and no class has the same
    label in two tasks. The labels ℓ_1 … ℓ_N have the probability Π_n c_τ(ℓ_n)/K in task τ, where c_τ counts its classes
    with that label, so the best guess at the task is right with probability Σ_{ℓ_1…ℓ_N} max_τ Π_n c_τ(ℓ_n) / (T K^N). It is
    what Minegishi et al.'s second phase can reach, whose circuit attends to labels alone (SCC). The L^N products take few
    values, which are counted instead of listed.
    """
    n_tasks, n_classes = labels.shape
    counts = np.stack([np.bincount(row, minlength=n_labels) for row in labels], axis=1).astype(float)  # [L, T]
    kinds, times = np.unique(counts, axis=0, return_counts=True)
    products: np.ndarray = np.ones((1, n_tasks))
    ways: np.ndarray = np.ones(1)
    for _ in range(n_pairs):
        longer = (products[:, None] * kinds).reshape(-1, n_tasks)
        weight = (ways[:, None] * times).ravel()
        keep = longer.any(axis=1)
        products, index = np.unique(longer[keep], axis=0, return_inverse=True)
        ways = np.bincount(index.ravel(), weight[keep])
    return float((ways * products.max(axis=1)).sum() / (n_tasks * float(n_classes) ** n_pairs))


def confusion(noise: float, dim: int) -> float:
    """Probability that an item lies nearer to the mean of another class than to that of its own: exact.

    With Δ the difference of the means, it does where ε η·Δ > |Δ|²/2. η·Δ/|Δ| has variance 1/D and |Δ|² D/2 is χ² with D
    degrees of freedom, so this is the tail of Student's t with D = dim degrees beyond √(D/2)/ε. The nearest mean is
    Bayes' guess at a class, right with probability at least 1 − (K − 1)·confusion.
    """
    if noise == 0:
        return 0.0
    t_squared = dim / (2 * noise**2)
    return float(jax.scipy.special.betainc(dim / 2, 0.5, dim / (dim + t_squared)) / 2)


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
