"""The transformer with the biases that TransformerLens has and the papers on grokking leave out."""

from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax import Array

from toylab.base import Cache, Patch
from toylab.models.activations import Activation
from toylab.models.positions import Positions
from toylab.models.transformer import Transformer


class BiasedTransformer(Transformer):
    """`Transformer` with b_Q, b_K, b_V `[n_layers, n_heads, d_head]`, b_O `[n_layers, d_model]` and b_U `[d_vocab_out]`.

    All are 0 at the start. For weights from elsewhere: its fast path is the plain one.
    """

    def __init__(
        self,
        *,
        d_vocab: int,
        d_vocab_out: int,
        n_ctx: int,
        n_layers: int = 1,
        d_model: int = 128,
        n_heads: int = 4,
        d_head: int = 0,  # 0: d_model / n_heads
        d_mlp: int = 512,  # 0: attention only
        activation: Activation = "relu",
        layer_norm: bool = False,
        causal: bool = True,
        positions: Positions = "abs",
        readout: Literal["last", "all"] = "last",
        init_scale: float = 1.0,  # multiplies every weight at the start
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(
            d_vocab=d_vocab, d_vocab_out=d_vocab_out, n_ctx=n_ctx, n_layers=n_layers, d_model=d_model, n_heads=n_heads,
            d_head=d_head, d_mlp=d_mlp, activation=activation, layer_norm=layer_norm, causal=causal, positions=positions,
            readout=readout, init_scale=init_scale, rngs=rngs,
        )  # fmt: skip
        heads = (n_layers, n_heads, d_head or d_model // n_heads)
        self.b_Q, self.b_K, self.b_V = (nnx.Param(jnp.zeros(heads)) for _ in "QKV")
        self.b_O, self.b_U = nnx.Param(jnp.zeros((n_layers, d_model))), nnx.Param(jnp.zeros(d_vocab_out))

    @staticmethod
    def check(**sizes: object) -> None:
        Transformer.check(output_matrix=True, inputs="tokens", **sizes)  # type: ignore[arg-type]

    def __call__(self, x: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        logits, cache = super().__call__(x, patch, full=True)
        return logits, cache if full else {}
