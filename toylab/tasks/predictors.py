"""Predictors that have no parameters: what a network that has learned a strategy exactly would say.

Each takes tokens int [N, T] of k kinds and gives log-probabilities [N, T, k]: at position t those of the next token, from
tokens 0 to t. They are the strategies of Edelman et al. 2024 (arXiv 2402.11004) for in-context Markov chains.
"""

import jax
import jax.numpy as jnp
from jax import Array


def uniform(tokens: Array, k: int) -> Array:
    """−ln k for every next token."""
    return jnp.full((*tokens.shape, k), -jnp.log(float(k)))


def unigram(tokens: Array, k: int, alpha: float = 1.0) -> Array:
    """ln((n_j + α) / (n + kα)), n_j of the n tokens so far being j: Bayes for independent tokens of a law that was drawn
    from Dirichlet(α, …, α)."""
    counts = jnp.cumsum(jax.nn.one_hot(tokens, k), axis=1)
    return _smoothed(counts, alpha)


def bigram(tokens: Array, k: int, alpha: float = 1.0) -> Array:
    """ln((n_ij + α) / (n_i + kα)), i being the newest token, n_ij how often j has followed it so far, n_i = Σ_j n_ij.

    Bayes for a chain with rows from Dirichlet(α, …, α), where the first token tells nothing about them. Computed as an
    induction head would: every place that holds the newest token votes for its successor.
    """
    n_positions = tokens.shape[1]
    earlier = jnp.tril(jnp.ones((n_positions, n_positions), bool), -1)
    same = (tokens[:, :, None] == tokens[:, None, :]) & earlier  # [N, t, s]
    successors = jax.nn.one_hot(tokens[:, 1:], k)  # [N, s, k]
    return _smoothed(same[:, :, :-1].astype(successors.dtype) @ successors, alpha)


def _smoothed(counts: Array, alpha: float) -> Array:
    return jnp.log(counts + alpha) - jnp.log(jnp.sum(counts, axis=-1, keepdims=True) + counts.shape[-1] * alpha)


def divergence(strategy: Array, model: Array) -> Array:
    """KL(strategy ‖ model) in nats: log-probabilities [..., k] and [..., k] → [...]."""
    return jnp.sum(jnp.exp(strategy) * (strategy - model), axis=-1)
