"""The transformer whose blocks are those of GPT-NeoX: attention and MLP side by side, part of each head turned."""

from typing import Literal

from flax import nnx

from toylab.models.activations import Activation
from toylab.models.biased import BiasedTransformer


class NeoXTransformer(BiasedTransformer):
    """`BiasedTransformer` with LayerNorm, a causal mask and rotary positions of the first `rotary_dim` entries of a head
    (Black et al. 2022, arXiv 2204.06745; Wang & Komatsuzaki 2021, GPT-J).

    With `parallel`, a block is `x + attention(ln1(x)) + mlp(ln2(x))`, so there is no "mlp_input" to patch. Without it,
    the MLP comes after attention. For weights from elsewhere: its fast path is the plain one.

    Args:
        d_vocab: Tokens.
        d_vocab_out: Classes C of the logits.
        n_ctx: The most positions of an input.
        n_layers: Layers L.
        d_model: Width of the residual stream.
        n_heads: Heads H in a layer.
        d_head: Width of a head; 0 for d_model / n_heads.
        d_mlp: Neurons in a layer.
        rotary_dim: How many entries of a head turn with their position; 0 for all.
        parallel: Whether the MLP reads what attention reads.
        activation: The nonlinearity of the MLPs.
        readout: Where logits are read: at the last position, or at all.
        init_scale: Factor of every weight at the start.
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
        d_head: int = 0,
        d_mlp: int = 512,
        rotary_dim: int = 0,
        parallel: bool = True,
        activation: Activation = "gelu",
        readout: Literal["last", "all"] = "all",
        init_scale: float = 1.0,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(
            d_vocab=d_vocab, d_vocab_out=d_vocab_out, n_ctx=n_ctx, n_layers=n_layers, d_model=d_model, n_heads=n_heads,
            d_head=d_head, d_mlp=d_mlp, activation=activation, layer_norm=True, causal=True, positions="rotary",
            readout=readout, init_scale=init_scale, rngs=rngs,
        )  # fmt: skip
        self.rotary_dim, self.parallel = rotary_dim, parallel

    @staticmethod
    def check(*, d_model: int, n_heads: int, d_head: int, d_mlp: int, rotary_dim: int, **sizes: object) -> None:  # type: ignore[override]
        given = {"d_model": d_model, "n_heads": n_heads, "d_head": d_head, "d_mlp": d_mlp}
        BiasedTransformer.check(**given, positions="rotary", causal=True, **sizes)
        own = d_head or d_model // n_heads
        if rotary_dim % 2 or rotary_dim > own:
            raise ValueError(f"net.rotary_dim is {rotary_dim}: it must be even, and at most a head's {own} dimensions.")
        if not d_mlp:
            raise ValueError("net.d_mlp is 0: it must be at least 1.")
