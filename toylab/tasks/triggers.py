"""Bigrams with trigger tokens (Bietti et al. 2023, Birth of a Transformer: A Memory Viewpoint, arXiv 2306.00802).

Most tokens follow a bigram table that all sequences share and a network can store; a few trigger tokens are each followed
by an output that the sequence chooses, which only an induction head can know.
"""

import math
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from toylab.base import Apply, Params, static
from toylab.shapes.indices import check_range, nan_outside
from toylab.tasks.markov import check_transition, row_entropies, stationary
from toylab.tasks.sequence import check_next_token_net, check_sizes, token_losses
from toylab.tasks.sparse import EVALUATION


class TriggerBigrams(struct.PyTreeNode):
    """A chain with the rows of `bigrams` [d_vocab, d_vocab], where each of n_triggers tokens is followed by an output token
    drawn uniformly for the sequence; outputs may be triggers and one another's equals.

    Triggers are the most frequent tokens of the bigrams' stationary law, the first token follows that law. The loss is on
    outputs from a trigger's second occurrence, where Bayes has 0. Deviation: the paper takes the bigrams of the characters
    of tiny Shakespeare; without `bigrams` given, rows are drawn once from Dirichlet(0.1), as sparse as those of a text.
    """

    d_vocab: int = static(default=65)
    """Tokens (default: released code of Bietti et al. 2023, as all sizes here)."""
    n_ctx: int = static(default=256)
    """Tokens in a sequence."""
    n_triggers: int = static(default=5)
    """Trigger tokens."""
    batch_size: int = static(default=512)
    """Sequences a step."""
    n_eval: int = static(default=512)
    """Sequences that are measured."""
    bigrams: Array | None = None
    """The rows [d_vocab, d_vocab] of the chain; None draws them once."""

    def check(self) -> "TriggerBigrams":
        check_sizes(self, "n_ctx", "n_triggers", "batch_size", "n_eval")
        if self.d_vocab <= self.n_triggers:
            raise ValueError(
                f"task.d_vocab is {self.d_vocab}: it must be above task.n_triggers = {self.n_triggers}, tokens of bigrams."
            )
        if self.bigrams is not None:
            check_transition("task.bigrams", np.asarray(self.bigrams), self.d_vocab, "stationary")
        return self

    def check_net(self, net: Any) -> None:
        check_next_token_net(net, self.d_vocab, self.n_ctx)

    def table(self) -> Array:
        """The bigrams in force [d_vocab, d_vocab], rows from the token now to the next."""
        return jnp.asarray(drawn_bigrams(self.d_vocab) if self.bigrams is None else self.bigrams)

    def triggers(self) -> Array:
        """int [n_triggers]: the most frequent tokens, the most frequent first."""
        return jax.lax.top_k(stationary(self.table()), self.n_triggers)[1]

    def sample(self, key: Array, n: int) -> Array:
        """tokens int32 [n, n_ctx + 1]."""
        return self.sample_with_outputs(key, n)[0]

    def sample_with_outputs(self, key: Array, n: int) -> tuple[Array, Array]:
        """tokens int32 [n, n_ctx + 1] and what follows each trigger in each sequence, int [n, n_triggers]."""
        output_key, walk_key = jax.random.split(key)
        outputs = jax.random.randint(output_key, (n, self.n_triggers), 0, self.d_vocab)
        drawn = jax.random.uniform(walk_key, (self.n_ctx + 1, n))
        table, triggers = self.table(), self.triggers()
        below = jnp.cumsum(table, axis=1)[:, :-1]

        def step(now: Array, drawn: Array) -> tuple[Array, Array]:
            usual = jnp.sum(drawn[:, None] >= below[now], axis=1, dtype=jnp.int32)
            is_trigger = now[:, None] == triggers  # [n, n_triggers]
            after = jnp.where(is_trigger.any(axis=1), jnp.sum(jnp.where(is_trigger, outputs, 0), axis=1), usual)
            return after, after

        law = jnp.cumsum(stationary(table))[:-1]
        first = jnp.sum(drawn[0][:, None] >= law, axis=1, dtype=jnp.int32)
        _, rest = jax.lax.scan(step, first, drawn[1:])
        return jnp.concatenate([first[:, None], rest.T], axis=1), outputs

    def occurrences(self, tokens: Array) -> tuple[Array, Array]:
        """Of tokens int [N, T]: is each a trigger met for the first time, and a trigger met before; bool [N, T] both."""
        is_trigger = tokens[..., None] == self.triggers()  # [N, T, n_triggers]
        before = jnp.cumsum(is_trigger, axis=1) > is_trigger
        return (is_trigger & ~before).any(axis=-1), (is_trigger & before).any(axis=-1)

    def exact_losses(self, tokens: Array) -> Array:
        """The loss that Bayes expects after each token.

        It is 0 after a trigger met before, ln d_vocab after a new one, else the entropy of the token's bigrams.

        Args:
            tokens: int [N, T].

        Returns:
            [N, T] in nats.
        """
        check_range("tokens", tokens, self.d_vocab, "the chain", "states")
        new, known = self.occurrences(tokens)
        rows = self.table()
        entropies = -jnp.sum(rows * jnp.log(jnp.where(rows > 0, rows, 1)), axis=-1)
        exact = jnp.where(known, 0, jnp.where(new, math.log(self.d_vocab), entropies[tokens]))
        return nan_outside(exact, tokens, self.d_vocab)

    def data(self, key: Array) -> dict[str, Array]:
        """tokens [n_eval, n_ctx + 1] and outputs [n_eval, n_triggers]: the same in every run."""
        tokens, outputs = self.sample_with_outputs(jax.random.key(EVALUATION), self.n_eval)
        return {"tokens": tokens, "outputs": outputs}

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: Array) -> Array:
        tokens = self.sample(key, self.batch_size)
        return _mean(token_losses(apply, params, tokens), self.occurrences(tokens[:, :-1])[1])

    def measure(self, apply: Apply, params: Params, data: dict[str, Array]) -> dict[str, Array]:
        """What is measured at a saved point.

        Returns:
            A dict of scalars in nats: `output_loss` after triggers met before, `new_output_loss` after new ones,
            `bigram_loss` after other tokens.
        """
        losses = token_losses(apply, params, data["tokens"])
        new, known = self.occurrences(data["tokens"][:, :-1])
        kinds = {"output": known, "new_output": new, "bigram": ~(known | new)}
        return {f"{name}_loss": _mean(losses, kind) for name, kind in kinds.items()}


@lru_cache(maxsize=8)
def drawn_bigrams(d_vocab: int, alpha: float = 0.1) -> np.ndarray:
    """float32 [d_vocab, d_vocab]: rows from Dirichlet(alpha, …, alpha), always the same ones."""
    return np.random.default_rng(EVALUATION).dirichlet(np.full(d_vocab, alpha), d_vocab).astype(np.float32)


def bigram_loss(bigrams: np.ndarray) -> np.ndarray:
    """The mean entropy of the bigrams' rows under their stationary law, nats: what a table of bigrams leaves."""
    rows = np.asarray(bigrams, float)
    return np.asarray(stationary(rows) @ row_entropies(rows))


def _mean(values: Array, where: Array) -> Array:
    return jnp.sum(jnp.where(where, values, 0)) / jnp.maximum(jnp.sum(where), 1)
