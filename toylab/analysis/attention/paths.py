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
from toylab.shapes.indices import check_range, nan_outside

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
        "W_rel": Real[ArrayLike, "n_layers n_heads n_ctx d_head"],
        "b_Q": Real[ArrayLike, "n_layers n_heads d_head"],
        "b_K": Real[ArrayLike, "n_layers n_heads d_head"],
        "b_V": Real[ArrayLike, "n_layers n_heads d_head"],
        "b_O": Real[ArrayLike, "n_layers d_model"],
        "b_U": Real[ArrayLike, " d_vocab_out"],
    },
]
"""Arrays by TransformerLens' names; these have the shapes here, others may be there."""

Positions = Literal["abs", "shortformer", "rotary", "relative", "none"]  # what each adds: `frozen_pattern`
NEEDED = ("W_E", "W_Q", "W_K", "W_V", "W_O", "W_U")
BIASES = ("b_Q", "b_K", "b_V", "b_O", "b_U")
TABLES: dict[str | None, tuple[str, ...]] = {  # that positions read
    "abs": ("W_pos",), "shortformer": ("W_pos",), "rotary": (), "relative": ("W_rel",), "none": (),
}  # fmt: skip


@shaped
def path_expansion(
    params: Weights,
    tokens: Integer[ArrayLike, "B T"],
    positions: Positions | None = None,
    causal: bool | None = None,
) -> dict[str, Float[Array, "... B T d_vocab_out"]]:
    """The logits taken apart: summed over heads, the terms are the logits.

    x are the embeddings, A⁰ʰ and A¹ᵏ the patterns that the network has on these tokens. Biases, where there are any:
    b_V goes with its head, b_O⁰ with x as layer 1 reads it, every b_O and b_U with the direct path.

    Args:
        params: The weights, of one or two layers.
        tokens: [B, T].
        positions: net.positions, which weights do not say.
        causal: net.causal, likewise.

    Returns:
        A dict. One layer has `direct` and `head0` alone.

        - `direct` [B, T, C]: x W_U.
        - `head0` [H, B, T, C]: A⁰ʰ x W_OV⁰ʰ W_U.
        - `head1` [H, B, T, C]: A¹ᵏ x W_OV¹ᵏ W_U.
        - `virtual` [layer-0 heads, layer-1 heads, B, T, C]: A¹ᵏ A⁰ʰ x W_OV⁰ʰ W_OV¹ᵏ W_U.

    Raises:
        ValueError: Without `positions` and `causal`; for params that the sum does not cover (LayerNorm and MLPs, which are
            not linear, and all that is not named here); for positions of other arrays; for tokens out of range (nan under
            jit); and for more than two layers.
    """
    W = {name: floating(value) for name, value in params.items()}
    positions, causal = _checked_settings(W, np.shape(tokens)[1], positions, causal)
    check_range("tokens", tokens, len(W["W_E"]), "W_E", "rows")
    tokens, n_layers = jnp.asarray(tokens), len(W["W_V"])
    embedded = nan_outside(W["W_E"][tokens], tokens, len(W["W_E"]))  # [B, T, D]
    embedded = embedded + W["W_pos"][: tokens.shape[1]] if positions == "abs" else embedded

    def moved(x: Array, layer: int, pattern: Array, bias: bool = True) -> Array:
        """A (x W_V + b_V) W_O [H, …, B, T, D] for x […, B, T, D]: what each head writes."""
        v = jnp.einsum("...btd,hde->h...bte", x, W["W_V"][layer], precision="highest")
        v = v + W["b_V"][layer][:, None, None] if bias and "b_V" in W else v
        z = jnp.einsum("bhts,h...bse->h...bte", pattern, v, precision="highest")
        return jnp.einsum("h...bte,hed->h...btd", z, W["W_O"][layer], precision="highest")

    def unembedded(x: Array) -> Array:
        return jnp.matmul(x, W["W_U"], precision="highest")

    written = moved(embedded, 0, frozen_pattern(W, embedded, 0, positions, causal))
    constant = W.get("b_O", jnp.zeros((n_layers, 1), embedded.dtype))  # what each layer adds whatever it reads
    direct = unembedded(embedded + constant.sum(0))
    terms = {"direct": direct + W["b_U"] if "b_U" in W else direct, "head0": unembedded(written)}
    if n_layers == 1:
        return terms
    between = embedded + constant[0]
    pattern = frozen_pattern(W, between + written.sum(0), 1, positions, causal)
    virtual = jnp.swapaxes(moved(written, 1, pattern, bias=False), 0, 1)  # [layer 0, layer 1, B, T, D]
    return terms | {"head1": unembedded(moved(between, 1, pattern)), "virtual": unembedded(virtual)}


def _checked_settings(
    W: Mapping[str, Array], n_tokens: int, positions: Positions | None, causal: bool | None
) -> tuple[Positions, bool]:
    """Both, or one sentence where the paths do not add up to the logits of the network that these weights are of."""
    if positions is not None and positions not in get_args(Positions):
        raise ValueError(f"positions is {positions!r}, it must be one of {', '.join(get_args(Positions))}")
    if beyond := sorted(set(W) - {*NEEDED, *BIASES, "W_pos", "W_rel"}):
        raise ValueError(
            f"params has {', '.join(beyond)}: paths add up over embedding and heads, without LayerNorm and MLP"
        )
    if missing := [name for name in (*NEEDED, *TABLES.get(positions, ())) if name not in W]:
        raise ValueError(f"params has {', '.join(sorted(W))}: {', '.join(missing)} must be there too")
    if len(W["W_V"]) > 2:
        raise ValueError(f"W_V has shape {W['W_V'].shape}: n_layers must be 1 or 2")
    if positions is None or not isinstance(causal, bool):
        raise ValueError(
            f"positions is {positions!r} and causal {causal!r}, they must be the net's, which weights do not say:"
            " path_expansion(params, tokens, net.positions, net.causal)"
        )
    if unread := sorted({"W_pos", "W_rel"} & set(W) - {*TABLES[positions]}):
        raise ValueError(f"params has {unread[0]}, which positions {positions!r} do not read: they are another net's")
    for table in TABLES[positions]:
        if n_tokens > W[table].shape[-2]:
            raise ValueError(f"tokens has {n_tokens} positions, it must have at most n_ctx = {W[table].shape[-2]}")
    return positions, causal


@shaped
def frozen_pattern(
    W: Mapping[str, Array], resid: Float[Array, "B T d_model"], layer: int, positions: Positions, causal: bool = True
) -> Float[Array, "B n_heads T T"]:
    """The attention pattern [B, H, T, T], behind a causal mask or not, of a layer without LayerNorm, from the residual
    [B, T, D] entering it.

    Scores are q·k/√dh, with b_Q and b_K where there are any. abs, none: nothing more. shortformer: W_pos is added to the
    inputs of q and k. rotary: q and k are rotated by their position (`rotated`). relative: (q_t·k_s + q_t·r_{t−s})/√dh with
    r = W_rel of the layer and head.
    """
    if positions not in get_args(Positions):
        raise ValueError(f"positions is {positions!r}, it must be one of {', '.join(get_args(Positions))}")
    T, d_head = resid.shape[1], W["W_Q"].shape[-1]
    x = resid + W["W_pos"][:T] if positions == "shortformer" else resid
    q, k = (jnp.einsum("btd,hde->bhte", x, W[f"W_{name}"][layer], precision="highest") for name in "QK")
    q, k = (y + W[f"b_{name}"][layer][:, None] if f"b_{name}" in W else y for y, name in ((q, "Q"), (k, "K")))
    if positions == "rotary":
        q, k = rotated(q), rotated(k)
    scores = jnp.einsum("bhte,bhse->bhts", q, k, precision="highest")
    if positions == "relative":
        by_offset = jnp.einsum("bhte,hde->bhtd", q, W["W_rel"][layer], precision="highest")  # [B, H, T, n_ctx]
        offset = jnp.maximum(jnp.arange(T)[:, None] - jnp.arange(T), 0)
        scores = scores + jnp.take_along_axis(by_offset, offset[None, None], -1)
    scores = scores / d_head**0.5
    return jax.nn.softmax(jnp.where(jnp.tri(T, dtype=bool), scores, -jnp.inf) if causal else scores, axis=-1)


@shaped
def rotated(x: Float[Array, "*batch T d_head"]) -> Float[Array, "*batch T d_head"]:
    """Rotary positions on [..., T, dh], GPT-NeoX layout: entries i and i + dh/2 turn by t·10000^(−2i/dh)."""
    T, d_head = x.shape[-2:]
    angles = np.arange(T)[:, None] * 10_000.0 ** (-2 * np.arange(d_head // 2) / d_head)  # [T, dh/2], float64
    cos, sin = jnp.asarray(np.cos(angles), x.dtype), jnp.asarray(np.sin(angles), x.dtype)
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1)
