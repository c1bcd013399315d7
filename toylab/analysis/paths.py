"""Path expansion of an attention-only transformer of one or two layers: its logits as a sum over paths through the heads.

With the patterns frozen the network is linear, and multiplying it out gives one term for each way from the embedding to
the logits (Elhage et al. 2021, A Mathematical Framework for Transformer Circuits, transformer-circuits.pub).
"""

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Real

from toylab.analysis.numbers import floating
from toylab.shapes import shaped

Weights = Annotated[
    Mapping[str, ArrayLike],
    {
        "W_E": Real[ArrayLike, "d_vocab d_model"],
        "W_pos": Real[ArrayLike, "n_ctx d_model"],
        "W_Q": Real[ArrayLike, "n_layers n_heads d_model d_head"],
        "W_K": Real[ArrayLike, "n_layers n_heads d_model d_head"],
        "W_V": Real[ArrayLike, "n_layers n_heads d_model d_head"],
        "W_O": Real[ArrayLike, "n_layers n_heads d_head d_model"],
        "W_U": Real[ArrayLike, "d_model d_vocab_out"],
    },
]
"""Arrays by TransformerLens' names; these have the shapes here, others may be there."""

Positions = Literal["abs", "shortformer", "rotary", "relative", "none"]  # what each adds: `frozen_patterns`


@shaped
def path_expansion(
    params: Weights, tokens: Integer[ArrayLike, "B T"], positions: Positions = "abs"
) -> dict[str, Float[Array, "... B T d_vocab_out"]]:
    """Logits [B, T, C] of `tokens` int [B, T] taken apart: summed over heads, the terms are the logits.

    With x the embeddings, A⁰ʰ and A¹ᵏ the patterns that the network has on these tokens: "direct" x W_U [B, T, C],
    "head0" A⁰ʰ x W_OV⁰ʰ W_U and "head1" A¹ᵏ x W_OV¹ᵏ W_U, both [H, B, T, C], and "virtual" A¹ᵏ A⁰ʰ x W_OV⁰ʰ W_OV¹ᵏ W_U
    [layer-0 heads, layer-1 heads, B, T, C]. One layer has "direct" and "head0" alone. `positions` is the model's way of
    telling them. ValueError for LayerNorm or an MLP, which are not linear, and for more than two layers.
    """
    W = {name: floating(value) for name, value in params.items()}
    tokens = jnp.asarray(tokens)
    n_layers = len(W["W_V"])
    if beyond := sorted(name for name in W if name.startswith(("ln", "W_in", "W_R"))):
        raise ValueError(f"params has {', '.join(beyond)}: paths add up without LayerNorm and MLP only")
    if n_layers > 2:
        raise ValueError(f"W_V has shape {W['W_V'].shape}: n_layers must be 1 or 2")
    embedded = W["W_E"][tokens]  # [B, T, D]
    embedded = embedded + W["W_pos"][: tokens.shape[1]] if positions == "abs" else embedded

    def moved(x: Array, layer: int, pattern: Array) -> Array:
        """A x W_OV [H, …, B, T, D] for x […, B, T, D]: what each head writes."""
        v = jnp.einsum("...btd,hde->h...bte", x, W["W_V"][layer], precision="highest")
        z = jnp.einsum("bhts,h...bse->h...bte", pattern, v, precision="highest")
        return jnp.einsum("h...bte,hed->h...btd", z, W["W_O"][layer], precision="highest")

    def unembedded(x: Array) -> Array:
        return jnp.matmul(x, W["W_U"], precision="highest")

    written = moved(embedded, 0, frozen_pattern(W, embedded, 0, positions))
    terms = {"direct": unembedded(embedded), "head0": unembedded(written)}
    if n_layers == 1:
        return terms
    pattern = frozen_pattern(W, embedded + written.sum(0), 1, positions)
    virtual = jnp.swapaxes(moved(written, 1, pattern), 0, 1)  # [layer 0, layer 1, B, T, D]
    return terms | {"head1": unembedded(moved(embedded, 1, pattern)), "virtual": unembedded(virtual)}


@shaped
def frozen_pattern(
    W: Mapping[str, Array], resid: Float[Array, "B T d_model"], layer: int, positions: Positions
) -> Float[Array, "B n_heads T T"]:
    """The causal attention pattern [B, H, T, T] of a layer without LayerNorm, from the residual [B, T, D] entering it.

    Scores are q·k/√dh. abs, none: nothing more. shortformer: W_pos is added to the inputs of q and k. rotary: q and k are
    rotated by their position (`rotated`). relative: (q_t·k_s + q_t·r_{t−s})/√dh with r = W_rel of the layer and head.
    """
    if positions not in get_args(Positions):
        raise ValueError(f"positions is {positions!r}, it must be one of {', '.join(get_args(Positions))}")
    T, d_head = resid.shape[1], W["W_Q"].shape[-1]
    x = resid + W["W_pos"][:T] if positions == "shortformer" else resid
    q = jnp.einsum("btd,hde->bhte", x, W["W_Q"][layer], precision="highest")
    k = jnp.einsum("btd,hde->bhte", x, W["W_K"][layer], precision="highest")
    if positions == "rotary":
        q, k = rotated(q), rotated(k)
    scores = jnp.einsum("bhte,bhse->bhts", q, k, precision="highest")
    if positions == "relative":
        by_offset = jnp.einsum("bhte,hde->bhtd", q, W["W_rel"][layer], precision="highest")  # [B, H, T, n_ctx]
        offset = jnp.maximum(jnp.arange(T)[:, None] - jnp.arange(T), 0)
        scores = scores + jnp.take_along_axis(by_offset, offset[None, None], -1)
    return jax.nn.softmax(jnp.where(jnp.tri(T, dtype=bool), scores / d_head**0.5, -jnp.inf), axis=-1)


@shaped
def rotated(x: Float[Array, "*batch T d_head"]) -> Float[Array, "*batch T d_head"]:
    """Rotary positions on [..., T, dh], GPT-NeoX layout: entries i and i + dh/2 turn by t·10000^(−2i/dh)."""
    T, d_head = x.shape[-2:]
    angles = np.arange(T)[:, None] * 10_000.0 ** (-2 * np.arange(d_head // 2) / d_head)  # [T, dh/2], float64
    cos, sin = jnp.asarray(np.cos(angles), x.dtype), jnp.asarray(np.sin(angles), x.dtype)
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1)
