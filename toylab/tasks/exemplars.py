"""Few-shot labels that change from sequence to sequence (Singh et al. 2024, arXiv 2404.07129), and the clamps of that
paper: parts of a two-layer network that are held at their right values while the rest trains."""

import itertools
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from toylab.base import Apply, Params, Patch, static
from toylab.losses import cross_entropy, right

Clamp = Literal["none", "one_head", "previous_token", "first_layer", "match", "copy", "first_layer_and_copy"]
LABELS = (1, 3)  # positions of the two labels in x1 l1 x2 l2 xq
N_POSITIONS = 5
EVALUATION = 7919  # the key of the sequences on which saved points are measured
OFF = -1e9  # logit of a label that a copy clamp cannot give


class Batch(NamedTuple):
    """Sequences x1 l1 x2 l2 xq, where xq is x1 or x2."""

    tokens: Array  # int [B, 5]: class of an exemplar, n_classes + label of a label
    labels: Array  # int [B]: that of the query
    correct: Array  # int [B]: the position, 1 or 3, of the query's label; 4 − correct is the other's


class RelabelledExemplars(struct.PyTreeNode):
    """Two classes with a label each, then one of the two again: which label? Labels are dealt anew to each sequence, so
    that only its context tells.

    A sequence has two different classes and a pair of different labels in either order. All but `n_held_out` of the
    n_labels (n_labels − 1) / 2 pairs are trained on; the others measure whether the network reads its context or knows
    pairs. Exemplars, one a class, are `features [n_classes, d_features]` where given. Else they are |N(0, 1)|, drawn
    with the split of pairs from the data key, in place of the paper's ResNet18 features of omniglot (non-negative, too).

    `clamp` says what is held at its right value, in training and where it is measured (Singh et al. 2024, released
    code). All but "none" leave one head of layer 2 its output, `head`, as the paper's clamped runs do.

    - `previous_token`: head `previous_head` of layer 1 attends to the position before.
    - `first_layer`: layer 1 adds nothing, and queries and keys of layer 2 read the embeddings of the position before at
      positions 1 to 3.
    - `match`: the query attends to its label alone.
    - `copy`: the logits of the two labels are the head's scores before the softmax, all others −1e9.
    """

    n_classes: int = static(default=50)
    """Classes, with an exemplar each (default: Singh et al. 2024, as all defaults here)."""
    n_labels: int = static(default=5)
    """Labels."""
    d_features: int = static(default=512)
    """Dimensions of an exemplar."""
    n_held_out: int = static(default=2)
    """Pairs of labels that are not trained on."""
    batch_size: int = static(default=32)
    """Sequences a step."""
    n_eval: int = static(default=1024)
    """Sequences in each set that is measured."""
    clamp: Clamp = static(default="none")
    """What is held at its right value."""
    head: int = 0
    """The head of layer 2 whose output is kept where something is clamped."""
    previous_head: int = 0
    """The head of layer 1 that attends to the position before, where that is clamped."""
    features: Array | None = None
    """The exemplars [n_classes, d_features]; None draws them."""

    def check(self) -> "RelabelledExemplars":
        for name, least in (("n_classes", 2), ("n_labels", 3), ("d_features", 1), ("batch_size", 1), ("n_eval", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"task.{name} is {getattr(self, name)}: it must be at least {least}.")
        if not 0 < self.n_held_out < self.n_pairs:
            raise ValueError(
                f"task.n_held_out is {self.n_held_out}: it must lie between 1 and {self.n_pairs - 1},"
                f" since {self.n_labels} labels have {self.n_pairs} pairs."
            )
        if self.clamp not in get_args(Clamp):
            raise ValueError(f"task.clamp is {self.clamp!r}: it must be one of {', '.join(get_args(Clamp))}.")
        for name in ("head", "previous_head"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"task.{name} is {getattr(self, name)!s}: it must be the number of a head, from 0.")
        if self.features is not None and np.shape(self.features) != (self.n_classes, self.d_features):
            raise ValueError(
                f"task.features has shape {np.shape(self.features)}: it must be [n_classes, d_features] ="
                f" [{self.n_classes}, {self.d_features}]."
            )
        return self

    def check_net(self, net: Any) -> None:
        for name in ("d_features", "n_labels"):
            if getattr(net, name) != getattr(self, name):
                raise ValueError(f"net.{name} is {getattr(net, name)}: it must be task.{name} = {getattr(self, name)}.")
        if net.n_ctx < N_POSITIONS:
            raise ValueError(f"net.n_ctx is {net.n_ctx}: the task has {N_POSITIONS} positions, two pairs and a query.")
        if self.clamp != "none" and net.n_layers != 2:
            raise ValueError(f"net.n_layers is {net.n_layers}: clamp {self.clamp} is of a network of 2 layers.")
        for name in ("head", "previous_head"):
            if not np.all(np.asarray(getattr(self, name)) < net.n_heads):
                raise ValueError(
                    f"task.{name} is {getattr(self, name)!s}: it must be below net.n_heads = {net.n_heads}."
                )

    @property
    def n_pairs(self) -> int:
        return self.n_labels * (self.n_labels - 1) // 2

    # --- exact limits, in nats

    def uniform_loss(self) -> float:
        """Guessing among all labels: ln n_labels."""
        return float(np.log(self.n_labels))

    def context_loss(self) -> float:
        """Guessing between the two labels in context, without matching: ln 2. The query's class tells nothing more."""
        return float(np.log(2))

    def marginal_loss(self, pairs: Array) -> Array:
        """Knowing only how often each label is right on `pairs [K, 2]`, each as often as the other: its entropy."""
        p = jnp.sum(jax.nn.one_hot(pairs, self.n_labels), (0, 1)) / pairs.size
        return -jnp.sum(jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1)), 0))

    # --- data

    def data(self, key: Array) -> dict[str, Any]:
        """What a run is trained and measured on.

        Returns:
            A dict.

            - `vectors` [n_classes + n_labels, d_features + n_labels]: what enters the network for a token.
            - `pairs` [n_pairs, 2]: those held out last.
            - `eval` and `held_out`: batches of n_eval sequences.
        """
        feature_key, pair_key = jax.random.split(key)
        features = self.features
        if features is None:
            features = jnp.abs(jax.random.normal(feature_key, (self.n_classes, self.d_features)))
        labels = jnp.concatenate([jnp.zeros((self.n_labels, self.d_features)), jnp.eye(self.n_labels)], axis=1)
        exemplars = jnp.concatenate([features, jnp.zeros((self.n_classes, self.n_labels))], axis=1)
        pairs = jax.random.permutation(pair_key, jnp.array(list(itertools.combinations(range(self.n_labels), 2))))
        seen, unseen = jnp.split(pairs, [self.n_pairs - self.n_held_out])
        eval_key, held_key = jax.random.split(jax.random.key(EVALUATION))
        return {
            "vectors": jnp.concatenate([exemplars, labels]),
            "pairs": pairs,
            "eval": self.sample(eval_key, self.n_eval, seen),
            "held_out": self.sample(held_key, self.n_eval, unseen),
        }

    def sample(self, key: Array, n: int, pairs: Array | None = None) -> Batch:
        """n sequences whose labels are of `pairs [K, 2]` (None: of all pairs)."""
        if pairs is None:
            pairs = jnp.array(list(itertools.combinations(range(self.n_labels), 2)))
        drawn = jax.random.uniform(key, (4, n))
        limits = jnp.array([self.n_classes, self.n_classes - 1, len(pairs), 4])[:, None]
        first, step, pair, order = jnp.minimum(jnp.floor(drawn * limits).astype(int), limits - 1)
        second = (first + 1 + step) % self.n_classes
        one, other = pairs[pair].T
        swapped, asks_second = order % 2 == 1, order >= 2
        l1, l2 = jnp.where(swapped, other, one), jnp.where(swapped, one, other)
        query = jnp.where(asks_second, second, first)
        tokens = jnp.stack([first, self.n_classes + l1, second, self.n_classes + l2, query], axis=1)
        return Batch(tokens, jnp.where(asks_second, l2, l1), jnp.where(asks_second, LABELS[1], LABELS[0]))

    # --- training

    def logits(self, apply: Apply, params: Params, data: dict[str, Any], batch: Batch) -> Array:
        """[B, n_labels] at the query, under the clamp."""
        x = data["vectors"][batch.tokens]  # [B, 5, d_features + n_labels]
        if self.clamp == "none":
            return apply(params, x)[0]
        logits, cache = apply(params, x, self._patch(batch), full=True)
        if "copy" not in self.clamp:
            return logits
        scores = cache["scores"][1, :, :, -1][:, :, LABELS]  # [B, H, 2]: layer 2, from the query
        return _given_to(_only(scores, self.head).sum(axis=1), batch.tokens[:, LABELS] - self.n_classes, self.n_labels)

    def _patch(self, batch: Batch) -> Patch:
        patch: Patch = {}
        if self.clamp == "previous_token":
            patch = {"pattern": self._previous_token}
        elif self.clamp == "match":
            patch = {"pattern": lambda pattern, layer: _at_label(pattern, batch.correct) if layer == 1 else pattern}
        elif self.clamp.startswith("first_layer"):
            patch = _perfect_first_layer()
        return {**patch, "z": lambda z, layer: _only(z, self.head) if layer == 1 else z}

    def _previous_token(self, pattern: Array, layer: int) -> Array:
        """Head `previous_head` of layer 1 attends to the position before, and the first position to itself."""
        if layer != 0:
            return pattern
        before = jnp.eye(N_POSITIONS, k=-1).at[0, 0].set(1)
        clamped = jnp.arange(pattern.shape[1]) == self.previous_head
        return jnp.where(clamped[:, None, None], before, pattern)

    def loss(self, apply: Apply, params: Params, data: dict[str, Any], key: Array) -> Array:
        batch = self.sample(key, self.batch_size, data["pairs"][: self.n_pairs - self.n_held_out])
        return jnp.mean(cross_entropy(self.logits(apply, params, data, batch), batch.labels))

    def measure(self, apply: Apply, params: Params, data: dict[str, Any]) -> dict[str, Array]:
        """What is measured at a saved point.

        Returns:
            A dict of scalars: `loss` (nats) and `accuracy` on sequences of trained pairs; `held_out_loss` and
            `held_out_accuracy` on the others.
        """
        measures = {}
        for prefix, name in (("", "eval"), ("held_out_", "held_out")):
            batch = data[name]
            logits = self.logits(apply, params, data, batch)
            measures[f"{prefix}loss"] = jnp.mean(cross_entropy(logits, batch.labels))
            measures[f"{prefix}accuracy"] = jnp.mean(right(logits, batch.labels))
        return measures


def _only(value: Array, head: Array | int) -> Array:
    """value [B, H, …], 0 but for one head."""
    mask = jnp.arange(value.shape[1]) == head
    return jnp.where(mask.reshape(-1, *[1] * (value.ndim - 2)), value, 0)


def _at_label(pattern: Array, correct: Array) -> Array:
    """pattern [B, H, 5, 5] with the last query's attention at `correct [B]` alone."""
    right = jax.nn.one_hot(correct, N_POSITIONS)[:, None]  # [B, 1, 5]
    return pattern.at[:, :, -1].set(jnp.broadcast_to(right, pattern[:, :, -1].shape))


def _perfect_first_layer() -> Patch:
    """Layer 1 adds nothing; queries and keys of layer 2 read, at positions 1 to 3, the embedding of the one before."""
    seen: dict[str, Array] = {}

    def embedding(resid: Array, layer: int) -> Array:
        return seen.setdefault("embedding", resid)  # layer 2 begins with what layer 1 began with

    def before(copies: Array, layer: int) -> Array:
        if layer != 1:
            return copies
        return jnp.concatenate([copies[:, :, :1], copies[:, :, :-2], copies[:, :, -1:]], axis=2)

    return {"resid_pre": embedding, "q_input": before, "k_input": before}


def _given_to(scores: Array, labels: Array, n_labels: int) -> Array:
    """Logits [B, n_labels]: scores [B, 2] at the labels [B, 2], which differ, and −1e9 elsewhere."""
    where = jax.nn.one_hot(labels, n_labels)  # [B, 2, n_labels]
    return jnp.einsum("bk,bkl->bl", scores, where) + OFF * (1 - where.sum(axis=1))
