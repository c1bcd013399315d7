"""The decoder of Power et al. 2022 (arXiv 2201.02177), with LayerNorm behind each sum, as openai/grok has it released."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from toylab.base import Cache, Patch
from toylab.models.transformer import Transformer


class PostNormTransformer(Transformer):
    """tokens int [B, P] → logits [B, C] (read-out "last") or [B, P, C] ("all"), C = d_vocab_out, P ≤ n_ctx:

        x ← LN1(x + attention(x)),  x ← LN2(x + W_outᵀ act(W_inᵀ x)),  logits = x W_U

    LN1 and LN2 are `ln1_post_w`, `ln1_post_b`, `ln2_post_w` and `ln2_post_b` [n_layers, d_model]; no LayerNorm stands
    before a sublayer. Causal. The cache's resid_pre and resid_post are what enters and leaves a layer, behind its norms:
    the stream is no sum of what heads and MLPs write. The released code has no biases, ReLU and sinusoidal positions.

    `biases` adds b_Q, b_K, b_V, b_O, b_in, b_out and b_U, `final_norm` a LayerNorm before W_U (`ln_final_w`, `ln_final_b`),
    as an earlier danielmamay/grokking has; with biases the fast path is the plain one. Start: embeddings and learned
    positions N(0, 1), matrices even in ±1/√fan_in as torch's Linear (its MultiheadAttention: W_Q, W_K and W_V √1.5 times
    that, `init_attention_scale`), with biases b_in, b_out and b_U too; the others 0.

    Args:
        d_vocab: Tokens.
        d_vocab_out: Classes C of the logits.
        n_ctx: The most positions of an input.
        n_layers: Layers L.
        d_model: Width of the residual stream.
        n_heads: Heads H in a layer.
        d_mlp: Neurons in a layer.
        activation: The nonlinearity of the MLPs.
        positions: How positions enter: as a fixed table, or learned.
        biases: Whether there are biases.
        final_norm: Whether there is a LayerNorm before W_U.
        readout: Where logits are read: at the last position, or at all.
        init_attention_scale: Factor of W_Q, W_K and W_V at the start.
        init_scale: Factor of every weight at the start.
    """

    def __init__(
        self,
        *,
        d_vocab: int,
        d_vocab_out: int,
        n_ctx: int,
        n_layers: int = 2,
        d_model: int = 128,
        n_heads: int = 4,
        d_mlp: int = 512,
        activation: Literal["relu", "gelu"] = "relu",
        positions: Literal["sinusoidal", "abs"] = "sinusoidal",
        biases: bool = False,
        final_norm: bool = False,
        readout: Literal["last", "all"] = "last",
        init_attention_scale: float = 1.0,
        init_scale: float = 1.0,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(
            d_vocab=d_vocab, d_vocab_out=d_vocab_out, n_ctx=n_ctx, n_layers=n_layers, d_model=d_model, n_heads=n_heads,
            d_mlp=d_mlp, activation=activation, positions=positions, readout=readout, rngs=rngs,
        )  # fmt: skip
        self.has_biases, d_head = biases, d_model // n_heads

        def even(fan: int, *shape: int) -> nnx.Param:
            return nnx.Param(init_scale * jax.random.uniform(rngs.params(), shape, minval=-1, maxval=1) / fan**0.5)

        def normal(*shape: int) -> nnx.Param:
            return nnx.Param(init_scale * jax.random.normal(rngs.params(), shape))

        self.W_E = normal(d_vocab, d_model)
        if positions == "abs":
            self.W_pos = normal(n_ctx, d_model)
        for name in ("W_Q", "W_K", "W_V"):
            own = even(d_model, n_layers, n_heads, d_model, d_head)
            setattr(self, name, nnx.Param(init_attention_scale * own[...]))
        self.W_O = even(d_model, n_layers, n_heads, d_head, d_model)
        self.W_in, self.W_out = even(d_model, n_layers, d_model, d_mlp), even(d_mlp, n_layers, d_mlp, d_model)
        self.W_U = even(d_model, d_model, d_vocab_out)
        del self.b_in, self.b_out
        if biases:
            self.b_Q, self.b_K, self.b_V = (nnx.Param(jnp.zeros((n_layers, n_heads, d_head))) for _ in "QKV")
            self.b_O, self.b_U = nnx.Param(jnp.zeros((n_layers, d_model))), even(d_model, d_vocab_out)
            self.b_in, self.b_out = even(d_model, n_layers, d_mlp), even(d_mlp, n_layers, d_model)
        shapes = {"ln1_post": (n_layers, d_model), "ln2_post": (n_layers, d_model)}
        for name, shape in (shapes | ({"ln_final": (d_model,)} if final_norm else {})).items():
            setattr(self, f"{name}_w", nnx.Param(jnp.ones(shape)))
            setattr(self, f"{name}_b", nnx.Param(jnp.zeros(shape)))

    @staticmethod
    def check(*, d_mlp: int, positions: str, **sizes: object) -> None:  # type: ignore[override]
        fixed = {"d_head": 0, "output_matrix": True, "inputs": "tokens", "causal": True, "positions": positions}
        Transformer.check(**fixed, **sizes)  # type: ignore[arg-type]
        if positions not in ("sinusoidal", "abs"):
            raise ValueError(f"net.positions is {positions!r}: it must be sinusoidal or abs.")
        if not d_mlp:
            raise ValueError("net.d_mlp is 0: it must be at least 1.")

    def __call__(self, x: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        logits, cache = super().__call__(x, patch, full=full or self.has_biases)
        return logits, cache if full else {}
