"""Skip trigrams `A … B → C`, which one layer of attention can learn (Elhage et al. 2021, A Mathematical Framework for
Transformer Circuits: "keep … in → mind")."""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from toylab.base import Apply, Params, static
from toylab.losses import cross_entropy, right
from toylab.tasks.sequence import check_sizes
from toylab.tasks.sparse import EVALUATION


class SkipTrigrams(struct.PyTreeNode):
    """One source A somewhere among fillers, a destination B at the end: the answer C follows `law` [A, B, C].

    Tokens are sources 0 … n_sources − 1, then destinations, then fillers; answers are classes of their own. A, B, A's place
    and the fillers are uniform. Without `law` given each pair (A, B) has one answer, drawn once. What the direct path can
    know is B alone (`bigram_loss`), what attention adds is A (`exact_loss`).
    """

    n_sources: int = static(default=10)
    """Tokens A that determine the answer."""
    n_destinations: int = static(default=10)
    """Tokens B that stand at the end."""
    n_answers: int = static(default=10)
    """Classes of answers C."""
    n_fillers: int = static(default=10)
    """Tokens that fill a sequence up."""
    n_ctx: int = static(default=16)
    """Tokens in a sequence."""
    batch_size: int = static(default=128)
    """Sequences a step."""
    n_eval: int = static(default=1024)
    """Sequences that are measured."""
    law: Array | None = None
    """The law [A, B, C] of answers; None draws one answer for each pair."""

    def check(self) -> "SkipTrigrams":
        check_sizes(self, "n_sources", "n_destinations", "n_answers", "n_fillers", "batch_size", "n_eval")
        if self.n_ctx < 2:
            raise ValueError(f"task.n_ctx is {self.n_ctx}: a source and a destination need at least 2 positions.")
        if self.law is not None:
            law, shape = np.asarray(self.law), (self.n_sources, self.n_destinations, self.n_answers)
            if law.shape != shape:
                raise ValueError(
                    f"task.law has shape {law.shape}: it must be [sources, destinations, answers] = {shape}."
                )
            if not (law >= 0).all() or abs(law.sum(axis=-1) - 1).max() > 1e-5:
                raise ValueError("task.law has rows that are no probabilities: each must be at least 0 and sum to 1.")
        return self

    @property
    def d_vocab(self) -> int:
        return self.n_sources + self.n_destinations + self.n_fillers

    def check_net(self, net: Any) -> None:
        for name, least in (("d_vocab", self.d_vocab), ("d_vocab_out", self.n_answers), ("n_ctx", self.n_ctx)):
            if getattr(net, name) < least:
                raise ValueError(f"net.{name} is {getattr(net, name)}: the task needs at least {least}.")
        if net.readout != "last":
            raise ValueError(f"net.readout is {net.readout!r}: the answer is read at the end, so it must be 'last'.")

    def answers(self) -> Array:
        """The law in force, [n_sources, n_destinations, n_answers]."""
        sizes = self.n_sources, self.n_destinations, self.n_answers
        return jnp.asarray(_one_answer_each(*sizes) if self.law is None else self.law)

    def sample(self, key: Array, n: int) -> tuple[Array, Array]:
        """tokens int32 [n, n_ctx] and their answers [n]."""
        keys = jax.random.split(key, 5)
        source = jax.random.randint(keys[0], (n,), 0, self.n_sources)
        destination = jax.random.randint(keys[1], (n,), 0, self.n_destinations)
        place = jax.random.randint(keys[2], (n,), 0, self.n_ctx - 1)
        tokens = jax.random.randint(keys[3], (n, self.n_ctx), self.d_vocab - self.n_fillers, self.d_vocab)
        tokens = jnp.where(jnp.arange(self.n_ctx) == place[:, None], source[:, None], tokens)
        tokens = tokens.at[:, -1].set(self.n_sources + destination)
        below = jnp.cumsum(self.answers()[source, destination], axis=1)[:, :-1]
        answer = jnp.sum(jax.random.uniform(keys[4], (n, 1)) >= below, axis=1, dtype=jnp.int32)
        return tokens, answer

    def data(self, key: Array) -> dict[str, Array]:
        """tokens [n_eval, n_ctx] and answers [n_eval]: the same in every run."""
        tokens, answers = self.sample(jax.random.key(EVALUATION), self.n_eval)
        return {"tokens": tokens, "answers": answers}

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: Array) -> Array:
        tokens, answers = self.sample(key, self.batch_size)
        return jnp.mean(cross_entropy(apply(params, tokens)[0], answers))

    def measure(self, apply: Apply, params: Params, data: dict[str, Array]) -> dict[str, Array]:
        """loss (mean nats) and accuracy (share of 1)."""
        logits, _ = apply(params, data["tokens"])
        correct = right(logits, data["answers"])
        return {"loss": jnp.mean(cross_entropy(logits, data["answers"])), "accuracy": jnp.mean(correct)}

    def exact_loss(self) -> float:
        """Mean H(C | A, B), nats: the loss of Bayes."""
        return _mean_entropy(np.asarray(self.answers()))

    def bigram_loss(self) -> float:
        """Mean H(C | B), nats: the least loss without looking back."""
        return _mean_entropy(np.asarray(self.answers(), float).mean(axis=0))

    def unigram_loss(self) -> float:
        """H(C), nats: the least loss of one fixed guess."""
        return _mean_entropy(np.asarray(self.answers(), float).mean(axis=(0, 1)))


@lru_cache(maxsize=8)
def _one_answer_each(n_sources: int, n_destinations: int, n_answers: int) -> np.ndarray:
    drawn = np.random.default_rng(EVALUATION).integers(0, n_answers, (n_sources, n_destinations))
    return np.eye(n_answers, dtype=np.float32)[drawn]


def _mean_entropy(laws: np.ndarray) -> float:
    rows = laws.astype(float)
    return float(-np.mean(np.sum(rows * np.log(np.where(rows > 0, rows, 1)), axis=-1)))
