"""Predictors that have no parameters: what a network that has learned a strategy exactly would say.

Each takes tokens int [N, T] of k kinds and gives log-probabilities [N, T, k]: at position t those of the next token, from
tokens 0 to t. They are the strategies of Edelman et al. 2024 (arXiv 2402.11004) for in-context Markov chains. A token that
is none of 0 … k − 1 is a ValueError; under jit its sequence is nan.
"""

import jax
import jax.numpy as jnp
from jax import Array

from toylab.shapes.indices import check_range, nan_outside


def uniform(tokens: Array, k: int) -> Array:
    """−ln k for every next token."""
    return jnp.full((*tokens.shape, k), -jnp.log(float(k)))


def unigram(tokens: Array, k: int, alpha: float = 1.0) -> Array:
    """ln((n_j + α) / (n + kα)), with n_j of the n tokens so far being j.

    It is Bayes for independent tokens of a law that was drawn from Dirichlet(α, …, α).

    Args:
        tokens: [N, T].
        k: The number of kinds.
        alpha: α.
    """
    counts = jnp.cumsum(jax.nn.one_hot(tokens, k), axis=1)
    return _of_kinds(_smoothed(counts, alpha), tokens, k)


def bigram(tokens: Array, k: int, alpha: float = 1.0) -> Array:
    """ln((n_ij + α) / (n_i + kα)), with i the newest token, n_ij how often j has followed it so far, n_i = Σ_j n_ij.

    It is Bayes for a chain with rows from Dirichlet(α, …, α), where the first token tells nothing about them. It is
    computed as an induction head would: every place that holds the newest token votes for its successor.

    Args:
        tokens: [N, T].
        k: The number of kinds.
        alpha: α.
    """
    n_positions = tokens.shape[1]
    earlier = jnp.tril(jnp.ones((n_positions, n_positions), bool), -1)
    same = (tokens[:, :, None] == tokens[:, None, :]) & earlier  # [N, t, s]
    successors = jax.nn.one_hot(tokens[:, 1:], k)  # [N, s, k]
    return _of_kinds(_smoothed(same[:, :, :-1].astype(successors.dtype) @ successors, alpha), tokens, k)


def _of_kinds(law: Array, tokens: Array, k: int) -> Array:
    check_range("tokens", tokens, k, "the chain", "states")
    return nan_outside(law, tokens, k, over=1)


def _smoothed(counts: Array, alpha: float) -> Array:
    return jnp.log(counts + alpha) - jnp.log(jnp.sum(counts, axis=-1, keepdims=True) + counts.shape[-1] * alpha)


def divergence(strategy: Array, model: Array) -> Array:
    """KL(strategy ‖ model) in nats: log-probabilities [..., k] and [..., k] → [...]."""
    return jnp.sum(jnp.exp(strategy) * (strategy - model), axis=-1)
