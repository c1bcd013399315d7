"""Hidden Markov models that emit a symbol on each transition, as tasks; their exact limits are in hidden_markov_limits.py.

`T[x, i, j]` is the probability that state i emits symbol x and goes to state j; each state's row, summed over x and j, is
1. A predictor of the next symbol does best to track the belief, its posterior over the states after each symbol (Shai et
al. 2024, arXiv 2405.15943): the geometry of those beliefs is what its residual stream is asked for.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from toylab.base import Apply, Params, static
from toylab.losses import cross_entropy
from toylab.tasks.hidden_markov_limits import (
    belief_states,
    bigram_loss,
    distinct_beliefs,
    entropy_rate_bounds,
    mean_limit,
    myopic_entropies,
    next_symbol,
    probability,
    stationary,
    transition_tensor,
    unigram_loss,
)
from toylab.tasks.sparse import EVALUATION

__all__ = [
    "HiddenMarkov", "belief_states", "bigram_loss", "distinct_beliefs", "entropy_rate_bounds", "even_process",
    "every_sequence", "golden_mean", "mean_limit", "mess3", "myopic_entropies", "next_symbol", "probability", "rrxor",
    "stationary", "transition_tensor", "unigram_loss", "z1r",
]  # fmt: skip

MOST_SEQUENCES = 2**17  # that are enumerated


def mess3(x: float = 0.15, a: float = 0.6) -> np.ndarray:
    """T of Mess3: T[o, i, j] = (y if i = j else x) · (a if j = o else b), with y = 1 − 2x and b = (1 − a)/2.

    The symbol tells of the state gone to (Shai et al. 2024; the defaults are those of their code).

    Args:
        x: The probability of going to each other state.
        a: The probability of emitting the symbol of the state gone to.

    Returns:
        [3, 3, 3].
    """
    if not 0 <= x <= 0.5 or not 0 <= a <= 1:
        raise ValueError(f"mess3 has x = {x!s} and a = {a!s}: x must lie in [0, 1/2] and a in [0, 1].")
    move = np.where(np.eye(3, dtype=bool), 1 - 2 * x, x)  # [from, to]
    emit = np.where(np.eye(3, dtype=bool), a, (1 - a) / 2)  # [symbol, to]
    return move * emit[:, None, :]


def rrxor() -> np.ndarray:
    """T [2, 5, 5] of Random-Random-XOR: two fair bits, then their exclusive or, over and over. States S, 0, 1 (the first
    bit is known), T, F (the third will be 1 or 0), as in the code of Shai et al. 2024."""
    T = np.zeros((2, 5, 5))
    start, first, true, false = 0, (1, 2), 3, 4
    for bit in (0, 1):
        T[bit, start, first[bit]] = 0.5
        for earlier in (0, 1):
            T[bit, first[earlier], true if bit ^ earlier else false] = 0.5
    T[1, true, start] = T[0, false, start] = 1
    return T


def golden_mean(p: float = 0.5) -> np.ndarray:
    """T [2, 2, 2] of the golden mean process: no two 1s in a row; after a 0 comes a 1 with probability p."""
    _check_share("golden_mean", p)
    return np.array([[[1 - p, 0], [1, 0]], [[0, p], [0, 0]]], float)


def even_process(p: float = 0.5) -> np.ndarray:
    """T [2, 2, 2] of the even process: 1s come in runs of even length; in state 0 a run starts with probability p."""
    _check_share("even_process", p)
    return np.array([[[1 - p, 0], [0, 0]], [[0, p], [1, 0]]], float)


def z1r() -> np.ndarray:
    """T [2, 3, 3] of Zero-One-Random: a 0, a 1, a fair bit, over and over (Shai et al. 2024)."""
    T = np.zeros((2, 3, 3))
    T[0, 0, 1] = T[1, 1, 2] = 1
    T[:, 2, 0] = 0.5
    return T


def _check_share(name: str, p: float) -> None:
    if not 0 < p < 1:
        raise ValueError(f"{name} has p = {p!s}: it must lie strictly between 0 and 1.")


class HiddenMarkov(struct.PyTreeNode):
    """Predict each next symbol of a hidden Markov model that starts in its stationary law.

    Inputs are n_ctx symbols and the read-out is at all of them, so prediction t = 1..n_ctx knows t symbols and can at best
    reach `myopic_entropies(T, n_ctx + 1)[t]` (`mean_limit` is their mean). Loss: mean cross-entropy over a fresh batch.

    Evaluation is exact in the target: against the law of the next symbol, not a draw of it. n_eval = 0 takes every
    sequence of n_ctx symbols with its probability, and so is exact altogether; otherwise n_eval draws, equally weighted.
    """

    T: Array | np.ndarray
    """The process [symbols, from, to]: the probability of a symbol and the next state, from each state."""
    n_ctx: int = static(default=10)
    """Symbols in a sequence (default: Shai et al. 2024)."""
    batch_size: int = static(default=64)
    """Sequences a step (default: Shai et al. 2024)."""
    n_eval: int = static(default=0)
    """Sequences that are measured; 0 takes every sequence with its probability."""

    def check(self) -> "HiddenMarkov":
        T = transition_tensor(self.T, "task.T")
        for name, least in (("n_ctx", 1), ("batch_size", 1), ("n_eval", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"task.{name} is {getattr(self, name)}: it must be at least {least}.")
        if self.n_eval == 0 and len(T) ** self.n_ctx > MOST_SEQUENCES:
            raise ValueError(
                f"task.n_eval is 0: the {len(T)}^{self.n_ctx} sequences of task.n_ctx symbols are more than"
                f" {MOST_SEQUENCES}, so give the size of a sample."
            )
        return self.replace(T=T.astype(np.float32))

    def check_net(self, net: Any) -> None:
        """The net must know every symbol and position: jax clamps an index beyond a table without a word."""
        for field in ("d_vocab", "d_vocab_out"):
            if getattr(net, field) != len(self.T):
                raise ValueError(
                    f"net.{field} is {getattr(net, field)}: it must be the {len(self.T)} symbols of task.T."
                )
        if getattr(net, "n_ctx", self.n_ctx) < self.n_ctx:
            raise ValueError(f"net.n_ctx is {net.n_ctx}: it must be at least task.n_ctx = {self.n_ctx}.")
        if getattr(net, "readout", "all") != "all":
            raise ValueError(f"net.readout is {net.readout!r}: every position is predicted, so it must be 'all'.")
        if not getattr(net, "causal", True):
            raise ValueError("net.causal is false: the next symbol would be read off, so it must be true.")

    def data(self, key: Array) -> dict[str, Array]:
        """The evaluation sequences and what is optimal on them.

        Returns:
            A dict.

            - `tokens` int [N, n_ctx], and `weight` [N], the probability of each sequence; they sum to 1.
            - `beliefs` [N, n_ctx, states] and `next` [N, n_ctx, symbols]: the belief, and the law of the next symbol,
              after each position.
            - `stationary` [states].
        """
        if self.n_eval:
            tokens = self.sample(jax.random.key(EVALUATION), self.n_eval)[:, :-1]
            weight = jnp.full(self.n_eval, 1 / self.n_eval)
        else:
            tokens = jnp.asarray(every_sequence(len(self.T), self.n_ctx))
            weight = probability(jnp.asarray(self.T), tokens)
        T = jnp.asarray(self.T)
        beliefs = belief_states(T, tokens)[:, 1:]
        laws = {"beliefs": beliefs, "next": next_symbol(T, beliefs), "stationary": stationary(T)}
        return {"tokens": tokens, "weight": weight, **laws}

    def sample(self, key: Array, n: int) -> Array:
        """int32 [n, n_ctx + 1]: sequences whose first state is drawn from the stationary law."""
        return self._sample(key, n, stationary(jnp.asarray(self.T)))

    def _sample(self, key: Array, n: int, law: Array) -> Array:
        T = jnp.asarray(self.T)
        n_states = T.shape[1]
        start, moves = jax.random.split(key)
        state = jax.random.categorical(start, jnp.log(law), shape=(n,))
        rows = jnp.cumsum(T.transpose(1, 0, 2).reshape(n_states, -1), axis=1)  # [from, symbol·to]
        rows = rows / rows[:, -1:]  # the last is 1 exactly, so that rounding never draws what has probability 0

        def move(state: Array, drawn: Array) -> tuple[Array, Array]:
            symbol, state = jnp.divmod(jnp.sum(rows[state] <= drawn[:, None], axis=1), n_states)
            return state, symbol

        _, symbols = jax.lax.scan(move, state, jax.random.uniform(moves, (self.n_ctx + 1, n)))
        return symbols.T.astype(jnp.int32)

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: Array) -> Array:
        tokens = self._sample(key, self.batch_size, data["stationary"])
        logits, _ = apply(params, tokens[:, :-1])
        return jnp.mean(cross_entropy(logits, tokens[:, 1:]))

    def losses(self, logits: Array, data: dict[str, Array]) -> tuple[Array, Array]:
        """Losses by position.

        Args:
            logits: [N, n_ctx, symbols], at the tokens of `data`.
            data: As of `data`.

        Returns:
            The expected cross-entropy of predictions, and their divergence KL(optimal ‖ predicted), the loss beyond
            that of the optimal predictor; both [n_ctx] in nats.
        """
        log_q, p = jax.nn.log_softmax(logits, axis=-1), data["next"]
        log_p = jnp.log(jnp.where(p > 0, p, 1))
        cross = jnp.einsum("n,npx,npx->p", data["weight"], p, -log_q)
        return cross, jnp.einsum("n,npx,npx->p", data["weight"], p, log_p - log_q)

    def measure(self, apply: Apply, params: Params, data: dict[str, Array]) -> dict[str, Array]:
        """What is measured at a saved point.

        Returns:
            A dict of means over positions: `loss`, expected cross-entropy, and `kl`, what of it the optimal predictor
            would not have; nats.
        """
        logits, _ = apply(params, data["tokens"])
        loss, kl = self.losses(logits, data)
        return {"loss": jnp.mean(loss), "kl": jnp.mean(kl)}


def every_sequence(n_symbols: int, length: int) -> np.ndarray:
    """int32 [n_symbols^length, length]: all sequences, in lexicographic order."""
    return np.indices((n_symbols,) * length, np.int32).reshape(length, -1).T
