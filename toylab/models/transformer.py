"""Decoder-only transformers of any depth, with the whole cache and patches, and a fast path for training.

Parameter and activation names and shapes are TransformerLens', a layer axis first. Set-up and init of Nanda et al. 2023
(arXiv 2301.05217, released code): N(0, 1)/√d_model for every matrix but W_U, which is N(0, 1)/√d_vocab_out; biases only
in the MLP, zero at the start; no LayerNorm unless asked for.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from toylab.base import Cache, Patch

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
}  # gelu: torch's exact erf
ATTENTION = ("q", "k", "v", "scores", "pattern", "z", "attn_out")
MLP = ("mlp_pre", "mlp_post", "mlp_out")


class Transformer(nnx.Module):
    """tokens int [B, P] → logits [B, C] (read-out "last") or [B, P, C] ("all"), C = d_vocab_out, P ≤ n_ctx."""

    def __init__(
        self,
        *,
        d_vocab: int,
        d_vocab_out: int,
        n_ctx: int,
        n_layers: int = 1,
        d_model: int = 128,
        n_heads: int = 4,
        d_mlp: int = 512,  # 0: attention only
        activation: Literal["relu", "gelu"] = "relu",
        layer_norm: bool = False,
        causal: bool = True,
        readout: Literal["last", "all"] = "last",
        init_scale: float = 1.0,  # multiplies every weight at the start
        rngs: nnx.Rngs,
    ) -> None:
        self.n_layers, self.n_heads, self.d_mlp = n_layers, n_heads, d_mlp
        self.activation, self.layer_norm, self.causal, self.readout = activation, layer_norm, causal, readout

        def normal(*shape: int, fan: int = d_model) -> nnx.Param:
            return nnx.Param(init_scale * jax.random.normal(rngs.params(), shape) / fan**0.5)

        def constant(value: float, *shape: int) -> nnx.Param:
            return nnx.Param(jnp.full(shape, value, jnp.float32))

        d_head = d_model // n_heads
        self.W_E = normal(d_vocab, d_model)
        self.W_pos = normal(n_ctx, d_model)
        self.W_Q = normal(n_layers, n_heads, d_model, d_head)
        self.W_K = normal(n_layers, n_heads, d_model, d_head)
        self.W_V = normal(n_layers, n_heads, d_model, d_head)
        self.W_O = normal(n_layers, n_heads, d_head, d_model)
        if d_mlp:
            self.W_in, self.b_in = normal(n_layers, d_model, d_mlp), constant(0.0, n_layers, d_mlp)
            self.W_out, self.b_out = normal(n_layers, d_mlp, d_model), constant(0.0, n_layers, d_model)
        if layer_norm:
            self.ln1_w, self.ln1_b = constant(1.0, n_layers, d_model), constant(0.0, n_layers, d_model)
            self.ln2_w, self.ln2_b = constant(1.0, n_layers, d_model), constant(0.0, n_layers, d_model)
            self.ln_final_w, self.ln_final_b = constant(1.0, d_model), constant(0.0, d_model)
        self.W_U = normal(d_model, d_vocab_out, fan=d_vocab_out)

    @staticmethod
    def check(*, d_model: int, n_heads: int, **sizes: object) -> None:
        if d_model % n_heads:
            raise ValueError(f"net.d_model is {d_model}: it must be divisible by net.n_heads, which is {n_heads}.")

    def __call__(self, tokens: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        n_ctx = self.W_pos.shape[0]
        if tokens.ndim != 2 or not 0 < tokens.shape[1] <= n_ctx:
            raise ValueError(f"tokens has shape {tokens.shape}: it must be [batch, 1 to {n_ctx} positions].")
        return self._full(tokens, patch or {}) if full else (self._fast(tokens), {})

    def _full(self, tokens: Array, patch: Patch) -> tuple[Array, Cache]:
        """The plain form: every position of every layer, each activation passing through its patch into the cache."""
        known = ("resid_pre", *ATTENTION, *(MLP if self.d_mlp else ()), "resid_post")
        if unknown := set(patch) - set(known):
            raise ValueError(f"patch names {sorted(unknown)}: the activations are {', '.join(known)}.")
        layers: list[Cache] = []

        def keep(name: str, value: Array) -> Array:
            layers[-1][name] = patch[name](value, len(layers) - 1) if name in patch else value
            return layers[-1][name]

        resid = self.W_E[tokens] + self.W_pos[: tokens.shape[1]]  # [B, P, d_model]
        for layer in range(self.n_layers):
            layers.append({})
            resid = keep("resid_pre", resid)
            x = self._norm(resid, "ln1", layer)
            q = keep("q", jnp.einsum("bpd,hde->bhpe", x, self.W_Q[layer]))
            k = keep("k", jnp.einsum("bpd,hde->bhpe", x, self.W_K[layer]))
            v = keep("v", jnp.einsum("bpd,hde->bhpe", x, self.W_V[layer]))
            scores = jnp.einsum("bhqe,bhke->bhqk", q, k) / q.shape[-1] ** 0.5
            scores = jnp.where(_visible(*scores.shape[2:]), scores, -jnp.inf) if self.causal else scores
            scores = keep("scores", scores)
            pattern = keep("pattern", jax.nn.softmax(scores, axis=-1))
            z = keep("z", jnp.einsum("bhqk,bhke->bhqe", pattern, v))
            resid = resid + keep("attn_out", jnp.einsum("bhqe,hed->bqd", z, self.W_O[layer]))
            if self.d_mlp:
                x = self._norm(resid, "ln2", layer)
                pre = keep("mlp_pre", x @ self.W_in[layer] + self.b_in[layer])
                post = keep("mlp_post", ACTIVATIONS[self.activation](pre))
                resid = resid + keep("mlp_out", post @ self.W_out[layer] + self.b_out[layer])
            resid = keep("resid_post", resid)
        read = resid[:, -1] if self.readout == "last" else resid
        cache = {name: jnp.stack([kept[name] for kept in layers]) for name in known}
        return self._norm(read, "ln_final") @ self.W_U, cache

    def _fast(self, tokens: Array) -> Array:
        """The same logits in a fifth of the time.

        What enters the first layer depends on (position, token) alone, so its q, k and v are computed once for each
        such pair and gathered; where only the last position is read, only it has a query and an MLP in the last layer.
        """
        batch, n_positions = tokens.shape
        table = self.W_E + self.W_pos[:n_positions, None]  # [P, d_vocab, d_model]
        for layer in range(self.n_layers):
            only_last = self.readout == "last" and layer == self.n_layers - 1
            at = slice(-1, None) if only_last else slice(None)
            if layer == 0:
                z = self._table_attention(table, tokens, at)
                resid = _rows(table[at], tokens[:, at])
            else:
                resid = resid.reshape(batch, n_positions, -1)
                z = self._attention(layer, resid, at)
                resid = resid[:, at]
            resid = resid.reshape(
                -1, table.shape[-1]
            )  # [B·Q, d_model]: XLA:CPU copies [B, 1, d_model] for each gradient
            W_O = self.W_O[layer].reshape(-1, resid.shape[-1])  # [H·d_head, d_model]
            resid = resid + z.reshape(len(resid), len(W_O)) @ W_O
            if self.d_mlp:
                x = self._norm(resid, "ln2", layer)
                post = ACTIVATIONS[self.activation](x @ self.W_in[layer] + self.b_in[layer])
                resid = resid + _narrowing(post, self.W_out[layer]) + self.b_out[layer]
        logits = self._norm(resid, "ln_final") @ self.W_U
        return logits if self.readout == "last" else logits.reshape(batch, n_positions, -1)

    def _attention(self, layer: int, resid: Array, at: slice) -> Array:
        """z [B, Q, H, d_head] for the queries at `at`, from resid [B, P, d_model]."""
        x = self._norm(resid, "ln1", layer)
        q = jnp.einsum("bpd,hde->bphe", x[:, at], self.W_Q[layer])
        k = jnp.einsum("bpd,hde->bphe", x, self.W_K[layer])
        v = jnp.einsum("bpd,hde->bphe", x, self.W_V[layer])
        return self._mix(jnp.einsum("bqhe,bkhe->bqkh", q, k) / q.shape[-1] ** 0.5, v)

    def _table_attention(self, table: Array, tokens: Array, at: slice) -> Array:
        """The same for the first layer from its table [P, V, d_model] of inputs.

        With few tokens even q·k is a table, over pairs of tokens: its V² entries a pair of positions, computed as one
        matrix product, are cheaper than B small dot products as long as V² is at most about 4 B (measured on CPU).
        """
        batch, n_vocab = tokens.shape[0], table.shape[1]
        x = self._norm(table, "ln1", 0)
        q = jnp.einsum("pvd,hde->pvhe", x[at], self.W_Q[0])
        k = jnp.einsum("pvd,hde->pvhe", x, self.W_K[0])
        v = _rows(jnp.einsum("pvd,hde->pvhe", x, self.W_V[0]), tokens)
        if n_vocab**2 <= 4 * batch:
            pairs = tokens[:, at, None] * n_vocab + tokens[:, None, :]  # [B, Q, P]
            scores = jnp.einsum("qvhe,kwhe->qkvwh", q, k).reshape(len(q) * len(k), n_vocab**2, q.shape[2])
            scores = _rows(scores, pairs.reshape(batch, len(q) * len(k))).reshape(batch, len(q), len(k), q.shape[2])
        else:
            scores = jnp.einsum("bqhe,bkhe->bqkh", _rows(q, tokens[:, at]), _rows(k, tokens))
        return self._mix(scores / q.shape[-1] ** 0.5, v)

    def _mix(self, scores: Array, v: Array) -> Array:
        """scores [B, Q, P, H] (heads last: a softmax over few positions is faster so), v [B, P, H, d_head]
        → z [B, Q, H, d_head]."""
        if scores.shape[1] == 1:  # the last query sees every key; one pass instead of B·H tiny matrix products
            pattern = jax.nn.softmax(scores[:, 0], axis=1)
            return jnp.sum(pattern[..., None] * v, axis=1)[:, None]
        if self.causal:
            scores = jnp.where(_visible(*scores.shape[1:3])[..., None], scores, -jnp.inf)
        return jnp.einsum("bqkh,bkhe->bqhe", jax.nn.softmax(scores, axis=2), v)

    def _norm(self, x: Array, name: str, layer: int | None = None) -> Array:
        """LayerNorm with eps 1e-5 (torch's default), or the identity."""
        if not self.layer_norm:
            return x
        weight, bias = getattr(self, f"{name}_w"), getattr(self, f"{name}_b")
        weight, bias = (weight, bias) if layer is None else (weight[layer], bias[layer])
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        return centred / jnp.sqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + 1e-5) * weight + bias


def _visible(n_queries: int, n_keys: int) -> Array:
    """bool [Q, P]: the key does not lie after the query, the queries being the last Q positions."""
    keys = jnp.arange(n_keys)
    return keys[n_keys - n_queries :, None] >= keys


def _narrowing(x: Array, w: Array) -> Array:
    """x @ w for w [m, n] with m > n, by way of a copy of wᵀ that the compiler may not fold back into the product.

    Its gradient is then taken as gᵀx [n, m], which XLA:CPU computes in half the time of xᵀg [m, n].
    """
    return x @ jax.lax.optimization_barrier(w.T).T


def _rows(tables: Array, index: Array) -> Array:
    """tables [P, V, …], index [B, P] → [B, P, …]: entry index[b, p] of table p.

    By one flat index: XLA:CPU adds up the gradient of a gather with two index arrays several times slower."""
    n_tables, n_rows = tables.shape[:2]
    flat = tables.reshape(n_tables * n_rows, *tables.shape[2:])
    return flat[jnp.arange(n_tables) * n_rows + index]
