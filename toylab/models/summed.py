"""Networks that add the embeddings of two tokens and decode the sum (Liu et al. 2022, arXiv 2205.10343, released code)."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from toylab.base import Cache, Patch
from toylab.shapes.indices import check_range, nan_outside


class SumDecoder(nnx.Module):
    """tokens int [B, 2] → outputs [B, d_vocab_out]: `tanh(tanh((E_a + E_b) W_in + b_in) W_mid + b_mid) W_U + b_U`.

    `W_E [d_vocab, d_model]`, `W_in [d_model, d_mlp]`, `W_mid [d_mlp, d_mlp]`, `W_U [d_mlp, d_vocab_out]`. Start: embeddings
    even in ±embed_scale/2, layers and biases as torch's Linear, even in ±decoder_scale/√fan_in. The cache has mlp_pre and
    mlp_post [2, B, d_mlp]; to differentiate by the embeddings, patch "embed" [B, 2, d_model].

    Args:
        d_vocab: Tokens.
        d_vocab_out: Outputs.
        d_model: Dimensions of an embedding.
        d_mlp: Neurons in a hidden layer.
        embed_scale: Width of the range of embeddings at the start.
        decoder_scale: Factor of the decoder's weights at the start.
    """

    def __init__(
        self,
        *,
        d_vocab: int,
        d_vocab_out: int,
        d_model: int = 1,
        d_mlp: int = 200,
        embed_scale: float = 1.0,
        decoder_scale: float = 1.0,
        rngs: nnx.Rngs,
    ) -> None:
        def even(bound: float, *shape: int) -> nnx.Param:
            return nnx.Param(bound * jax.random.uniform(rngs.params(), shape, minval=-1, maxval=1))

        def layer(n_in: int, n_out: int) -> tuple[nnx.Param, nnx.Param]:
            bound = decoder_scale / n_in**0.5
            return even(bound, n_in, n_out), even(bound, n_out)

        self.W_E = even(embed_scale / 2, d_vocab, d_model)
        self.W_in, self.b_in = layer(d_model, d_mlp)
        self.W_mid, self.b_mid = layer(d_mlp, d_mlp)
        self.W_U, self.b_U = layer(d_mlp, d_vocab_out)

    @staticmethod
    def check(*, d_mlp: int, **_: object) -> None:
        if not d_mlp:
            raise ValueError("net.d_mlp is 0: it must be at least 1.")

    def __call__(self, tokens: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        patch = patch or {}
        if unknown := set(patch) - {"embed", "mlp_pre", "mlp_post"}:
            raise ValueError(f"patch names {sorted(unknown)}: the activations are embed, mlp_pre, mlp_post.")
        if tokens.ndim != 2 or tokens.shape[1] != 2:
            raise ValueError(f"tokens has shape {tokens.shape}: it must be [batch, 2].")
        check_range("tokens", tokens, len(self.W_E[...]), "W_E", "rows")
        embed = nan_outside(self.W_E[tokens], tokens, len(self.W_E[...]))  # [B, 2, d_model]
        embed = patch["embed"](embed, 0) if "embed" in patch else embed
        post = embed.sum(axis=1)
        cache: dict[str, list[Array]] = {"mlp_pre": [], "mlp_post": []}
        for layer, (W, b) in enumerate(((self.W_in, self.b_in), (self.W_mid, self.b_mid))):
            pre = post @ W[...] + b[...]
            pre = patch["mlp_pre"](pre, layer) if "mlp_pre" in patch else pre
            post = jnp.tanh(pre)
            post = patch["mlp_post"](post, layer) if "mlp_post" in patch else post
            cache["mlp_pre"].append(pre)
            cache["mlp_post"].append(post)
        return post @ self.W_U[...] + self.b_U[...], {
            name: jnp.stack(own) for name, own in cache.items()
        } if full else {}
