"""Repeated random blocks: the data on which induction heads form.

What next-token tasks share stands here too: `token_losses` and `check_next_token_net`. Their tokens are [N, n_ctx + 1]:
`tokens[:, :-1]` enter the network, `tokens[:, 1:]` are to be predicted.
"""

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from toylab.base import Apply, Params, static
from toylab.losses import cross_entropy
from toylab.tasks.sparse import EVALUATION


class RepeatedBlocks(struct.PyTreeNode):
    """A block of random tokens that repeats with a period drawn anew for each sequence, uniform in min_period..max_period.

    The block's tokens are independent and uniform; it is tiled to n_ctx + 1 tokens. With `bos` the sequence opens with
    token d_vocab − 1, which blocks then never hold. Without knowing the period one can copy only after inferring it:
    `loss_by_position` is the exact loss of doing that. (Nanda et al. 2023 repeat blocks within one context; Elhage et al.
    2021 and Olsson et al. 2022 test heads on a random block twice: `repeated`.)
    """

    d_vocab: int = static(default=32)
    """Tokens, BOS included."""
    n_ctx: int = static(default=32)
    """Tokens in a sequence."""
    min_period: int = static(default=8)
    """The shortest block (default: n_ctx / 4)."""
    max_period: int = static(default=16)
    """The longest block (default: n_ctx / 2, so that the second half of every sequence is a copy)."""
    bos: bool = static(default=False)
    """Whether a sequence opens with BOS, the token d_vocab − 1."""
    batch_size: int = static(default=64)
    """Sequences a step."""
    n_eval: int = static(default=512)
    """Sequences that are measured."""

    def check(self) -> "RepeatedBlocks":
        least = 3 if self.bos else 2
        if self.d_vocab < least:
            raise ValueError(f"task.d_vocab is {self.d_vocab}: it must be at least {least}, two tokens to tell apart.")
        check_sizes(self, "n_ctx", "min_period", "batch_size", "n_eval")
        if self.max_period < self.min_period:
            raise ValueError(
                f"task.max_period is {self.max_period}: it must be at least task.min_period = {self.min_period}."
            )
        if self.max_period > self.n_ctx:
            raise ValueError(
                f"task.max_period is {self.max_period}: a period must fit into the context, task.n_ctx = {self.n_ctx}."
            )
        return self

    def check_net(self, net: Any) -> None:
        check_next_token_net(net, self.d_vocab, self.n_ctx)

    def sample(self, key: Array, n: int) -> Array:
        """tokens int32 [n, n_ctx + 1]."""
        return self.sample_with_periods(key, n)[0]

    def sample_with_periods(self, key: Array, n: int) -> tuple[Array, Array]:
        """tokens int32 [n, n_ctx + 1] and the period of each sequence [n]."""
        which, what = jax.random.split(key)
        periods = jax.random.randint(which, (n,), self.min_period, self.max_period + 1)
        blocks = jax.random.randint(what, (n, self.max_period), 0, self.d_vocab - self.bos)
        place = jnp.arange(self.n_ctx + 1 - self.bos) % periods[:, None]  # [n, n_ctx + 1]
        tokens = jnp.take_along_axis(blocks, place, axis=1, mode="clip")
        return _with_bos(tokens, self.d_vocab) if self.bos else tokens, periods

    def data(self, key: Array) -> dict[str, Array]:
        """tokens [n_eval, n_ctx + 1] and period [n_eval]: the same in every run, whatever its key."""
        tokens, period = self.sample_with_periods(jax.random.key(EVALUATION), self.n_eval)
        return {"tokens": tokens, "period": period}

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: Array) -> Array:
        return jnp.mean(token_losses(apply, params, self.sample(key, self.batch_size)))

    def measure(self, apply: Apply, params: Params, data: dict[str, Array]) -> dict[str, Array]:
        """What is measured at a saved point.

        Returns:
            A dict of scalars: `loss`, and its means over the first and second half of the predictions; nats a token.
        """
        by_position = jnp.mean(token_losses(apply, params, data["tokens"]), axis=0)
        first, second = by_position[: self.n_ctx // 2], by_position[self.n_ctx // 2 :]
        return {
            "loss": jnp.mean(by_position),
            "first_half_loss": jnp.mean(first),
            "second_half_loss": jnp.mean(second),
        }

    def loss_by_position(self) -> np.ndarray:
        """[n_ctx] float64, nats: the expected loss of the exact Bayes predictor of tokens 1 to n_ctx.

        It is H(x_0..x_t) − H(x_0..x_t−1); see `_block_entropy`. Exact also where a sequence fits several periods.
        """
        lengths = range(0 if self.bos else 1, self.n_ctx + 2 - self.bos)  # of what is known, BOS not counted
        entropies = [self._entropy(n) for n in lengths]
        return np.maximum(np.diff(entropies), 0)

    def exact_loss(self) -> float:
        """The mean of `loss_by_position`: ((E[m] − 1) ln V + ln #m)/n_ctx, with #m possible periods m and V tokens (E[m]
        in place of E[m] − 1 after a BOS), less what a whole sequence leaves open of its period, below 1e-9 for
        V = n_ctx = 32."""
        known, whole = (0, self.n_ctx) if self.bos else (1, self.n_ctx + 1)
        return (self._entropy(whole) - self._entropy(known)) / self.n_ctx

    def _entropy(self, n: int) -> float:
        return _block_entropy(n, self.d_vocab - self.bos, self.min_period, self.max_period)


@lru_cache(maxsize=4096)
def _block_entropy(n: int, n_tokens: int, shortest: int, longest: int) -> float:
    """H(x_0..x_n−1) in nats of a tiled block of unknown period.

    A string has the probability Σ_{m ∈ S} V^−min(m, n) / #m, S being the set of periods that it fits. So it is enough to
    count the strings of each S. Those that fit at least S number V^c, c being the classes of places that S ties together;
    taking away the strings that fit more leaves those that fit exactly S (in integers: no rounding). Only sets that some
    string fits exactly occur, and these are few (Guibas and Odlyzko 1981, Periods in strings).
    """
    if n <= shortest:
        return n * math.log(n_tokens)
    fitted = _fitted_sets(n, n_tokens, shortest, longest)
    exactly: dict[frozenset[int], int] = {}
    for periods in sorted(fitted, key=len, reverse=True):
        larger = sum(count for other, count in exactly.items() if periods < other)
        exactly[periods] = n_tokens ** fitted[periods] - larger
    entropy = 0.0
    for periods, count in exactly.items():
        if periods:
            probability = Fraction(sum(n_tokens ** (n - min(m, n)) for m in periods), n_tokens**n)
            probability /= longest - shortest + 1
            logarithm = math.log(probability.numerator) - math.log(probability.denominator)
            entropy -= float(count * probability) * logarithm
    return entropy


def _fitted_sets(n: int, n_tokens: int, shortest: int, longest: int) -> dict[frozenset[int], int]:
    """Every set of periods that is exactly what some string of length n fits → how many of its places are free. Sets that
    n_tokens^free strings fit, of a probability below e^-40 together, are left out."""
    always = frozenset(range(max(n, shortest), longest + 1))
    candidates = range(shortest, min(n, longest + 1))
    least = shortest - 40 / math.log(n_tokens)

    def fits(labels: np.ndarray) -> frozenset[int]:
        return always.union(m for m in candidates if np.array_equal(labels[m:], labels[:-m]))

    free = np.arange(n)
    found, waiting = {always: n}, [free]
    while waiting:
        labels = waiting.pop()
        own = fits(labels)
        for m in candidates:
            if m not in own:
                tied = _tie(labels, m)
                n_free = len(np.unique(tied))
                if n_free >= least and (closed := fits(tied)) not in found:
                    found[closed] = n_free
                    waiting.append(tied)
    return found


def _tie(labels: np.ndarray, period: int) -> np.ndarray:
    """labels [n] of classes of places, after places `period` apart have been put into one class."""
    tied = labels.copy()
    while (apart := np.flatnonzero(tied[period:] != tied[:-period])).size:
        tied[tied == tied[apart[0] + period]] = tied[apart[0]]
    return tied


def repeated(key: Array, n: int, d_vocab: int, period: int, bos: bool = False) -> Array:
    """Random blocks, each twice. On these the scores of previous-token, duplicate-token and induction heads are defined.

    Args:
        key: Of the draw.
        n: How many sequences.
        d_vocab: The number of tokens.
        period: Tokens of a block.
        bos: Whether token d_vocab − 1 stands in front.

    Returns:
        int32 [n, 2·period (+ 1)].
    """
    if period < 1:
        raise ValueError(f"period is {period}: a block has at least 1 token.")
    blocks = jax.random.randint(key, (n, period), 0, d_vocab - bos)
    tokens = jnp.concatenate([blocks, blocks], axis=1)
    return _with_bos(tokens, d_vocab) if bos else tokens


def _with_bos(tokens: Array, d_vocab: int) -> Array:
    return jnp.pad(tokens, ((0, 0), (1, 0)), constant_values=d_vocab - 1)


def token_losses(apply: Apply, params: Params, tokens: Array) -> Array:
    """The loss of predicting each token from those before it.

    Args:
        apply: The network.
        params: Its weights.
        tokens: int [N, T + 1].

    Returns:
        [N, T] in nats.
    """
    logits, _ = apply(params, tokens[:, :-1])
    return cross_entropy(logits, tokens[:, 1:])


def check_next_token_net(net: Any, d_vocab: int, n_ctx: int) -> None:
    """The net must know and say every token, at every position: jax clamps an index beyond a table without a word."""
    for name in ("d_vocab", "d_vocab_out"):
        if getattr(net, name) < d_vocab:
            raise ValueError(
                f"net.{name} is {getattr(net, name)}: the task has {d_vocab} tokens, so at least {d_vocab}."
            )
    if net.n_ctx < n_ctx:
        raise ValueError(f"net.n_ctx is {net.n_ctx}: task.n_ctx = {n_ctx} positions need at least {n_ctx}.")
    if net.readout != "all":
        raise ValueError(
            f"net.readout is {net.readout!r}: every position predicts the next token, so it must be 'all'."
        )
    if not net.causal:
        raise ValueError(
            "net.causal is false: a network that sees the next token does not predict it; it must be true."
        )


def check_sizes(task: Any, *names: str) -> None:
    for name in names:
        if getattr(task, name) < 1:
            raise ValueError(f"task.{name} is {getattr(task, name)}: it must be at least 1.")
