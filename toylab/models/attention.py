"""Pieces of attention that the plain and the fast path of the transformer share, and those that only XLA:CPU asks for."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def visible(n_queries: int, n_keys: int) -> Array:
    """Whether the key does not lie after the query, the queries being the last Q positions.

    Args:
        n_queries: Q.
        n_keys: P.

    Returns:
        A mask [Q, P].
    """
    keys = jnp.arange(n_keys)
    return keys[n_keys - n_queries :, None] >= keys


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def attend(q: Array, k: Array, v: Array, extra: Array | None, causal: bool) -> Array:
    """v softmax_keys((kᵀq + extra) / √d_head).

    Positions come last and keys before queries. So every product of the forward and the backward pass has a left factor
    that lies as XLA:CPU's fast matrix product takes it, and the softmax runs along rows. It has its own reverse mode,
    which can be differentiated again in reverse, not forward.

    Args:
        q: [B, H, d_head, Q].
        k: [B, H, d_head, P].
        v: [B, H, d_head, P].
        extra: Added to the scores, [B, H, P, Q].
        causal: Whether keys after the query are hidden.

    Returns:
        z [B, H, d_head, Q].
    """
    return _attend_forward(q, k, v, extra, causal)[0]


def _attend_forward(q: Array, k: Array, v: Array, extra: Array | None, causal: bool) -> tuple[Array, Any]:
    scale = q.shape[-2] ** -0.5
    scores = _turned(scale * k) @ q  # [B, H, P, Q]
    scores = scores if extra is None else scores + scale * extra
    scores = scores + jnp.where(visible(q.shape[-1], k.shape[-1]).T, 0, -jnp.inf) if causal else scores
    weights = jnp.exp(scores - jnp.max(scores, axis=-2, keepdims=True))
    pattern = weights / jnp.sum(weights, axis=-2, keepdims=True)
    z = v @ pattern
    return z, (q, k, v, extra, pattern, z)


def _attend_backward(causal: bool, kept: Any, dz: Array) -> tuple[Array, Array, Array, Array | None]:
    """Σ_s A[s, t] dA[s, t] is z_t · dz_t (Dao et al. 2022, arXiv 2205.14135), a sum over d_head in place of P."""
    q, k, v, extra, pattern, z = kept
    scale = q.shape[-2] ** -0.5
    mean = jnp.sum(dz * z, axis=-2, keepdims=True)
    d_scores = pattern * (_turned(v) @ dz - mean)  # of the scores before they are divided by √d_head
    d_v, d_k = jnp.swapaxes(pattern @ _turned(dz), -1, -2), jnp.swapaxes(d_scores @ _turned(scale * q), -1, -2)
    return (scale * k) @ d_scores, d_k, d_v, None if extra is None else scale * d_scores


attend.defvjp(_attend_forward, _attend_backward)


def attend_last(q: Array, k: Array, v: Array, extra: Array | None) -> Array:
    """The same for the last query alone, which sees every key: sums in place of B·H tiny matrix products."""
    scores = jnp.sum(q * k, axis=-2) if extra is None else jnp.sum(q * k, axis=-2) + extra[..., 0]  # [B, H, P]
    pattern = jax.nn.softmax(scores / q.shape[-2] ** 0.5, axis=-1)
    return jnp.sum(pattern[..., None, :] * v, axis=-1, keepdims=True)


def _turned(x: Array) -> Array:
    """The last two axes exchanged in memory: XLA:CPU would fold the exchange into a product that is twice as slow."""
    return jax.lax.optimization_barrier(jnp.swapaxes(x, -1, -2))


def heads_last(scores: Array, v: Array, causal: bool) -> Array:
    """Few positions: scores [B, Q, P, H] (a softmax over few positions is faster so), v [B, P, H, d_head]
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


@jax.custom_vjp
def times(x: Array, w: Array) -> Array:
    """x @ w for x [..., n], w [n, m], whose gradient in w is xᵀg by way of a copy of xᵀ: see `_turned`."""
    return x @ w


def _times_backward(kept: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, w = kept
    return g @ w.T, _turned(x.reshape(-1, x.shape[-1])) @ g.reshape(-1, g.shape[-1])


times.defvjp(lambda x, w: (x @ w, (x, w)), _times_backward)


def narrowing(x: Array, w: Array) -> Array:
    """x @ w for w [m, n] with m > n, by way of a copy of wᵀ that the compiler may not fold back into the product.

    Its gradient is then taken as gᵀx [n, m], which XLA:CPU computes in half the time of xᵀg [m, n].
    """
    return x @ jax.lax.optimization_barrier(w.T).T


def rows(tables: Array, index: Array) -> Array:
    """Entry index[b, p] of table p.

    By one flat index: XLA:CPU adds up the gradient of a gather with two index arrays several times slower.

    Args:
        tables: [P, V, …].
        index: [B, P].

    Returns:
        [B, P, …].
    """
    n_tables, n_rows = tables.shape[:2]
    flat = tables.reshape(n_tables * n_rows, *tables.shape[2:])
    first = n_rows * np.arange(
        n_tables, dtype=np.int32
    )  # written out: what is computed is moved out of loops, once for each
    return flat[first + index]  # call, and two calls with the same arrays are then no longer seen to be one
