"""One-hidden-layer networks for pairs of tokens (Gromov 2023; the CPU variant of Nanda et al. 2023's circuit)."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from toylab.base import Cache, Patch
from toylab.models.attention import row
from toylab.shapes.indices import check_range, nan_outside


class ModularMLP(nnx.Module):
    """tokens int [B, ≥ 2] → logits [B, d_vocab_out]: `φ(E_a W_in[0] + E_b W_in[1]) W_U`, no biases.

    `W_E [2, d_vocab, d_model]` (separate) or `[d_vocab, d_model]` (shared); `W_in [2, d_model, d_mlp]`, one block an
    operand; `W_U [d_mlp, d_vocab_out]`. Only the first two tokens are read, so the task's "=" may follow. To differentiate
    by the embeddings, patch "embed" [B, 2, d_model].

    embedding "none": no W_E, and d_model is not read. `W_in [2, d_vocab, d_mlp]` acts on the one-hot vectors of a and b,
    [B, 2, d_vocab] where "embed" is patched. All weights then start as N(0, σ²), `σ = init_scale / (2 (2 d_mlp)^{1/3})`,
    as in the code of Doshi et al. 2023 (arXiv 2310.13061); else as N(0, init_scale²/fan_in).

    Args:
        d_vocab: Tokens.
        d_vocab_out: Classes of the logits.
        d_model: Dimensions of an embedding.
        d_mlp: Neurons.
        embedding: Whether the operands have an embedding each, share one, or have none.
        activation: The nonlinearity φ.
        init_scale: Factor of every weight at the start.
    """

    def __init__(
        self,
        *,
        d_vocab: int,
        d_vocab_out: int,
        d_model: int = 64,
        d_mlp: int = 128,
        embedding: Literal["separate", "shared", "none"] = "separate",
        activation: Literal["relu", "quadratic"] = "relu",
        init_scale: float = 1.0,
        rngs: nnx.Rngs,
    ) -> None:
        self.embedding, self.activation = embedding, activation

        def normal(*shape: int, fan: float) -> nnx.Param:
            return nnx.Param(init_scale * jax.random.normal(rngs.params(), shape) / fan**0.5)

        if embedding == "none":
            alike = 4 * (2 * d_mlp) ** (2 / 3)
            self.W_in = normal(2, d_vocab, d_mlp, fan=alike)
            self.W_U = normal(d_mlp, d_vocab_out, fan=alike)
            return
        operands = (2,) if embedding == "separate" else ()
        self.W_E = normal(*operands, d_vocab, d_model, fan=d_model)
        self.W_in = normal(2, d_model, d_mlp, fan=2 * d_model)
        self.W_U = normal(d_mlp, d_vocab_out, fan=d_mlp)

    def __call__(self, tokens: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        patch = patch or {}
        if unknown := set(patch) - {"embed", "mlp_pre", "mlp_post"}:
            raise ValueError(f"patch names {sorted(unknown)}: the activations are embed, mlp_pre, mlp_post.")
        if tokens.ndim != 2 or tokens.shape[1] < 2:
            raise ValueError(f"tokens has shape {tokens.shape}: it must be [batch, at least 2 positions].")
        table = "W_in" if self.embedding == "none" else "W_E"
        tokens, d_vocab = tokens[:, :2], getattr(self, table).shape[-2]
        check_range("tokens", tokens, d_vocab, table, "rows")
        pre = self._from_embeddings(tokens, patch["embed"]) if "embed" in patch else self._from_tables(tokens)
        pre = nan_outside(pre, tokens, d_vocab, over=1)
        pre = patch["mlp_pre"](pre, 0) if "mlp_pre" in patch else pre
        post = jax.nn.relu(pre) if self.activation == "relu" else pre**2
        post = patch["mlp_post"](post, 0) if "mlp_post" in patch else post
        return post @ self.W_U, {"mlp_pre": pre[None], "mlp_post": post[None]} if full else {}

    def _from_tables(self, tokens: Array) -> Array:
        """[B, d_mlp]: what enters the MLP depends on each operand through a table."""
        if self.embedding == "none":  # a product with a one-hot vector is a row
            table = self.W_in[...]
        else:
            product = "...vd,odm->ovm" if self.embedding == "shared" else "ovd,odm->ovm"
            table = jnp.einsum(product, self.W_E[...], self.W_in[...])
        return row(table[0], tokens[:, 0]) + row(table[1], tokens[:, 1])

    def _from_embeddings(self, tokens: Array, change: Callable[[Array, int], Array]) -> Array:
        """The same from the two tokens' embeddings, which `change` has seen."""
        if self.embedding == "none":
            both = jax.nn.one_hot(tokens, self.W_in.shape[1], dtype=self.W_in.dtype)
        else:
            tables = (self.W_E, self.W_E) if self.embedding == "shared" else (self.W_E[0], self.W_E[1])
            both = jnp.stack([table[tokens[:, operand]] for operand, table in enumerate(tables)], axis=1)
        return jnp.einsum("bod,odm->bm", change(both, 0), self.W_in[...])
