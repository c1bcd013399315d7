"""Pieces of attention that the plain and the fast path of the transformer share, and those that only XLA:CPU asks for."""

import jax
import jax.numpy as jnp
from jax import Array


def visible(n_queries: int, n_keys: int) -> Array:
    """bool [Q, P]: the key does not lie after the query, the queries being the last Q positions."""
    keys = jnp.arange(n_keys)
    return keys[n_keys - n_queries :, None] >= keys


def mixed(scores: Array, v: Array, causal: bool) -> Array:
    """scores [B, Q, P, H] (heads last: a softmax over few positions is faster so), v [B, P, H, d_head]
    → z [B, Q, H, d_head]."""
    if scores.shape[1] == 1:  # the last query sees every key; one pass instead of B·H tiny matrix products
        pattern = jax.nn.softmax(scores[:, 0], axis=1)
        return jnp.sum(pattern[..., None] * v, axis=1)[:, None]
    if causal:
        scores = jnp.where(visible(*scores.shape[1:3])[..., None], scores, -jnp.inf)
    return jnp.einsum("bqkh,bkhe->bqhe", jax.nn.softmax(scores, axis=2), v)


def asked_once(x: Array, W_Q: Array, W_K: Array, W_V: Array) -> Array:
    """z [B, d_head] of one head's last query alone, from x [B, P, d_model], without keys and values: a score (x W_K)·q is
    x·(W_K q), and Σ a (x W_V) is (Σ a x) W_V, so the matrices meet B vectors instead of B·P."""
    q = x[:, -1] @ W_Q
    scores = jnp.sum(x * (q @ W_K.T)[:, None], axis=-1) / q.shape[-1] ** 0.5  # [B, P]
    return jnp.sum(jax.nn.softmax(scores, axis=-1)[..., None] * x, axis=1) @ W_V


def narrowing(x: Array, w: Array) -> Array:
    """x @ w for w [m, n] with m > n, by way of a copy of wᵀ that the compiler may not fold back into the product.

    Its gradient is then taken as gᵀx [n, m], which XLA:CPU computes in half the time of xᵀg [m, n].
    """
    return x @ jax.lax.optimization_barrier(w.T).T


def rows(tables: Array, index: Array) -> Array:
    """tables [P, V, …], index [B, P] → [B, P, …]: entry index[b, p] of table p.

    By one flat index: XLA:CPU adds up the gradient of a gather with two index arrays several times slower."""
    n_tables, n_rows = tables.shape[:2]
    flat = tables.reshape(n_tables * n_rows, *tables.shape[2:])
    return flat[jnp.arange(n_tables) * n_rows + index]
