"""The networks of "The Clock and the Pizza" (Zhong et al. 2023, arXiv 2306.17844, released code), for tokens a, b."""

from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from toylab.base import Cache, Patch
from toylab.models.transformer import Transformer
from toylab.shapes.indices import check_range, nan_outside

Kind = Literal["alpha", "beta", "gamma", "delta"]


class PizzaTransformer(Transformer):
    """tokens int [B, P] → logits [B, d_vocab_out] at the last one: every position sees every other, the pattern is
    `softmax(scores)·α + (1 − α)`, α the attention rate. α = 1 is attention, α = 0 gives the weight 1, not 1/P, to all.

    The rest is `Transformer`: no LayerNorm, no mask (though the released configs say "casual"), learned positions. At the
    start W_in is N(0, 1)/√d_mlp, not /√d_model. tokens are a, b, or a, b and "=" where n_ctx is 3.

    Args:
        attention_rate: Share α of the softmax in the pattern: 1 is attention, 0 weighs all positions alike.
    """

    SHARES: ClassVar = ("attention_rate",)
    blends = True
    attention_rate: Any  # `Net` puts it here

    def __init__(
        self,
        *,
        d_vocab: int,
        d_vocab_out: int,
        n_ctx: int = 2,
        n_layers: int = 1,
        d_model: int = 128,
        n_heads: int = 4,
        d_head: int = 0,  # 0: ⌊d_model / n_heads⌋
        d_mlp: int = 512,
        activation: Literal["relu", "gelu"] = "relu",
        attention_rate: float = 1.0,
        init_scale: float = 1.0,  # multiplies every weight at the start
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(
            d_vocab=d_vocab, d_vocab_out=d_vocab_out, n_ctx=n_ctx, n_layers=n_layers, d_model=d_model, n_heads=n_heads,
            d_head=d_head, d_mlp=d_mlp, activation=activation, causal=False, init_scale=init_scale, rngs=rngs,
        )  # fmt: skip
        self.W_in = nnx.Param(self.W_in[...] * (d_model / d_mlp) ** 0.5)

    @staticmethod
    def check(*, d_model: int, n_heads: int, d_mlp: int, **_: object) -> None:  # type: ignore[override]
        if n_heads > d_model:
            raise ValueError(f"net.n_heads is {n_heads}: it must be at most net.d_model, which is {d_model}.")
        if not d_mlp:
            raise ValueError("net.d_mlp is 0: it must be at least 1.")

    def pattern(self, scores: Array) -> Array:
        return jax.nn.softmax(scores, axis=-1) * self.attention_rate + (1 - self.attention_rate)

    def blend(self, z: Array, v: Array) -> Array:
        return self.attention_rate * z + (1 - self.attention_rate) * jnp.sum(v, axis=1, keepdims=True)


class PizzaLinear(nnx.Module):
    """tokens int [B, ≥ 2] → logits [B, d_vocab_out], a linear model with a shared embedding E and h the last layer in
    `h W_U`:

        alpha  h = relu((E_a + E_b) W_in + b_in)                    W_in [d_model, d_mlp]
        beta   h = relu(relu((E_a + E_b) W_in + b_in) W_mid + b_mid)
        gamma  h = relu(relu((E_a W_in + b_in) + (E_b W_in + b_in)) W_mid + b_mid)
        delta  h = relu(E_a W_in[0] + E_b W_in[1] + b_in)           W_in [2, d_model, d_mlp]

    Models A, B, C, D of the released code; gamma is beta with its first bias twice. `W_E [d_vocab, d_model]`,
    `W_mid [d_mlp, d_mlp]`, `W_U [d_mlp, d_vocab_out]`. The cache has mlp_pre and mlp_post [hidden layers, B, d_mlp];
    patches also see "embed" [B, 2, d_model], by which to differentiate. Start: embedding N(0, 1)/√(d_mlp/2), unembedding
    N(0, 1)/√d_mlp, layers as torch's Linear, even in ±1/√fan_in.

    Args:
        d_vocab: Tokens.
        d_vocab_out: Classes of the logits.
        d_model: Dimensions of an embedding.
        d_mlp: Neurons in a hidden layer.
        kind: Which of the four models.
        init_scale: Factor of every weight at the start.
    """

    def __init__(
        self,
        *,
        d_vocab: int,
        d_vocab_out: int,
        d_model: int = 256,
        d_mlp: int = 256,
        kind: Kind = "alpha",
        init_scale: float = 1.0,
        rngs: nnx.Rngs,
    ) -> None:
        self.kind = kind

        def normal(*shape: int, fan: float) -> nnx.Param:
            return nnx.Param(init_scale * jax.random.normal(rngs.params(), shape) / fan**0.5)

        def even(*shape: int, fan: int) -> nnx.Param:
            return nnx.Param(init_scale * jax.random.uniform(rngs.params(), shape, minval=-1, maxval=1) / fan**0.5)

        operands, fan = ((2,), 2 * d_model) if kind == "delta" else ((), d_model)
        self.W_E = normal(d_vocab, d_model, fan=d_mlp / 2)
        self.W_in, self.b_in = even(*operands, d_model, d_mlp, fan=fan), even(d_mlp, fan=fan)
        if kind in ("beta", "gamma"):
            self.W_mid, self.b_mid = even(d_mlp, d_mlp, fan=d_mlp), even(d_mlp, fan=d_mlp)
        self.W_U = normal(d_mlp, d_vocab_out, fan=d_mlp)

    @staticmethod
    def check(*, kind: str, **_: object) -> None:
        if kind not in get_args(Kind):
            raise ValueError(f"net.kind is {kind!r}: it must be one of {', '.join(get_args(Kind))}.")

    def __call__(self, tokens: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        patch = patch or {}
        if unknown := set(patch) - {"embed", "mlp_pre", "mlp_post"}:
            raise ValueError(f"patch names {sorted(unknown)}: the activations are embed, mlp_pre, mlp_post.")
        if tokens.ndim != 2 or tokens.shape[1] < 2:
            raise ValueError(f"tokens has shape {tokens.shape}: it must be [batch, at least 2 positions].")
        tokens, d_vocab = tokens[:, :2], len(self.W_E[...])
        check_range("tokens", tokens, d_vocab, "W_E", "rows")
        embed = nan_outside(self.W_E[tokens], tokens, d_vocab)  # [B, 2, d_model]
        embed = patch["embed"](embed, 0) if "embed" in patch else embed
        kept: dict[str, list[Array]] = {"mlp_pre": [], "mlp_post": []}

        def keep(name: str, value: Array) -> Array:
            kept[name].append(patch[name](value, len(kept[name])) if name in patch else value)
            return kept[name][-1]

        post = jax.nn.relu(keep("mlp_pre", self._entering(embed)))
        post = keep("mlp_post", post)
        if self.kind in ("beta", "gamma"):
            post = jax.nn.relu(keep("mlp_pre", post @ self.W_mid + self.b_mid))
            post = keep("mlp_post", post)
        return post @ self.W_U, {name: jnp.stack(values) for name, values in kept.items()} if full else {}

    def _entering(self, embed: Array) -> Array:
        """The first layer before its ReLU, [B, d_mlp], from the embeddings [B, 2, d_model]."""
        if self.kind == "delta":
            return jnp.einsum("bod,odm->bm", embed, self.W_in[...]) + self.b_in
        biases = 2 if self.kind == "gamma" else 1
        return jnp.sum(embed, axis=1) @ self.W_in + biases * self.b_in
