"""Networks whose answer is read off their own embeddings: by products, or by distances (Baek et al. 2025)."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from toylab.base import Cache, Patch
from toylab.shapes.indices import check_range, nan_outside

LEAST = 1e-4  # added to each squared distance, as in the released code


class TiedMLP(nnx.Module):
    """tokens int [B, ≥ 2] → outputs [B, d_vocab_out] of `h = silu((E_a, E_b) W_in + b_in) W_mid + b_mid`, [B, d_model].

    unembedding "products": `h · E_c + b_U`, logits. "distances": `−(‖h − E_c‖² + 10⁻⁴)^exponent`, for the loss kind
    "harmonic", whose `p_c ∝ d_c^{−2·exponent}` (Baek et al. 2025, arXiv 2502.01628, released code). `W_E [d_vocab,
    d_model]`, of which the first d_vocab_out rows are the classes; `W_in [2, d_model, d_mlp]`, one block an operand; all
    start even in ±init_scale/√fan_in, as torch's Linear, the embeddings too. Only the first two tokens are read. The cache
    has mlp_pre and mlp_post [1, B, d_mlp]; they can be patched.

    Args:
        d_vocab: Tokens.
        d_vocab_out: Classes of the logits.
        d_model: Dimensions of an embedding.
        d_mlp: Neurons.
        unembedding: Whether outputs are products with the embeddings, or distances from them.
        exponent: Exponent of the distances.
        init_scale: Factor of every weight at the start.
    """

    def __init__(
        self,
        *,
        d_vocab: int,
        d_vocab_out: int,
        d_model: int = 4,
        d_mlp: int = 100,
        unembedding: Literal["products", "distances"] = "products",
        exponent: float = 1.0,
        init_scale: float = 1.0,
        rngs: nnx.Rngs,
    ) -> None:
        self.d_vocab_out, self.unembedding, self.exponent = d_vocab_out, unembedding, exponent

        def even(fan: int, *shape: int) -> nnx.Param:
            return nnx.Param(init_scale * jax.random.uniform(rngs.params(), shape, minval=-1, maxval=1) / fan**0.5)

        self.W_E = even(d_model, d_vocab, d_model)
        self.W_in, self.b_in = even(2 * d_model, 2, d_model, d_mlp), even(2 * d_model, d_mlp)
        self.W_mid, self.b_mid = even(d_mlp, d_mlp, d_model), even(d_mlp, d_model)
        if unembedding == "products":
            self.b_U = even(d_model, d_vocab_out)

    @staticmethod
    def check(*, d_vocab: int, d_vocab_out: int, d_mlp: int, **_: object) -> None:
        if d_vocab_out > d_vocab:
            raise ValueError(f"net.d_vocab_out is {d_vocab_out}: classes are tokens, and d_vocab is {d_vocab}.")
        if not d_mlp:
            raise ValueError("net.d_mlp is 0: it must be at least 1.")

    def __call__(self, tokens: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        patch = patch or {}
        if unknown := set(patch) - {"mlp_pre", "mlp_post"}:
            raise ValueError(f"patch names {sorted(unknown)}: the activations are mlp_pre, mlp_post.")
        if tokens.ndim != 2 or tokens.shape[1] < 2:
            raise ValueError(f"tokens has shape {tokens.shape}: it must be [batch, at least 2 positions].")
        tokens, W_E = tokens[:, :2], self.W_E[...]
        check_range("tokens", tokens, len(W_E), "W_E", "rows")
        tables = jnp.einsum("vd,odm->ovm", W_E, self.W_in[...])  # what enters depends on each operand through a table
        pre = nan_outside(tables[0][tokens[:, 0]] + tables[1][tokens[:, 1]] + self.b_in[...], tokens, len(W_E), over=1)
        pre = patch["mlp_pre"](pre, 0) if "mlp_pre" in patch else pre
        post = jax.nn.silu(pre)
        post = patch["mlp_post"](post, 0) if "mlp_post" in patch else post
        h, classes = post @ self.W_mid[...] + self.b_mid[...], W_E[: self.d_vocab_out]
        if self.unembedding == "products":
            output = h @ classes.T + self.b_U[...]
        else:
            squared = jnp.sum((h[:, None] - classes) ** 2, axis=-1)
            output = -((squared + LEAST) ** self.exponent)
        return output, {"mlp_pre": pre[None], "mlp_post": post[None]} if full else {}
