"""QK and OV circuits of attention-only transformers: what weights alone say.

Elhage et al. 2021, A Mathematical Framework for Transformer Circuits (transformer-circuits.pub). `params` is a flat dict
with TransformerLens' names and row vectors: W_E [V, D], W_pos [P, D], W_Q W_K W_V [L, H, D, dh], W_O [L, H, dh, D], W_U
[D, C]. W_QK = W_Q W_Kᵀ (not divided by √dh) and W_OV = W_V W_O, both [D, D] of rank dh, are never formed: products go
through the dh columns. These are products of weights and no more: LayerNorm, MLPs, positions and biases, where there are
any, are left out. Results have the dtype of W_E, also under jit.
Weights that are missing, and a W_U behind hidden read-out layers (W_R), are a ValueError. What a token's logits are made
of, path by path, is in paths.py; `path_expansion` is public here, and what composition.py has of the first two layers. The
tokens that a head joins are in trigrams.py.
"""

from typing import get_args

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Complex, Float, Real

from toylab.analysis.attention.composition import Kind, composition, random_composition
from toylab.analysis.attention.paths import Positions, Weights, path_expansion
from toylab.analysis.attention.products import arrays, dot, norm, of_size_one
from toylab.analysis.eigenvalues import eigenvalues
from toylab.analysis.numbers import floating, nan_where, scaled
from toylab.base import Params, Run
from toylab.shapes import shaped

__all__ = [
    "Kind", "Positions", "circuit_scores", "composed_qk", "composition", "copying_score", "diagonal_share", "direct_path",
    "eigenvalue_score", "matching_score", "ov_circuit", "ov_eigenvalues", "path_expansion", "positional_qk", "qk_circuit",
    "random_composition", "token_circuits", "virtual_ov",
]  # fmt: skip


@shaped
def qk_circuit(params: Weights) -> Float[Array, "n_layers n_heads d_vocab d_vocab"]:
    """W_E W_QK W_Eᵀ, query token by key token, not divided by √dh (Elhage et al. 2021).

    Args:
        params: The weights.

    Returns:
        [L, H, V, V].
    """
    W_E, W_Q, W_K = arrays(params, "W_E", "W_Q", "W_K")
    return dot(dot(W_E, W_Q), dot(W_E, W_K).mT)


@shaped
def ov_circuit(params: Weights) -> Float[Array, "n_layers n_heads d_vocab d_vocab_out"]:
    """W_E W_OV W_U: what attending to a source token adds to each output's logit (Elhage et al. 2021).

    What any token adds, b_V W_O W_U, is left out.

    Args:
        params: The weights.

    Returns:
        [L, H, V, C].
    """
    W_E, W_V, W_O, W_U = arrays(params, "W_E", "W_V", "W_O", "W_U")
    return dot(dot(W_E, W_V), dot(W_O, W_U))


@shaped
def positional_qk(params: Weights) -> Float[Array, "n_layers n_heads n_ctx n_ctx"]:
    """W_pos W_QK W_posᵀ, query position by key position.

    Args:
        params: The weights.

    Returns:
        [L, H, P, P].

    Raises:
        ValueError: Without W_pos (rotary, relative).
    """
    W_pos, W_Q, W_K = arrays(params, "W_pos", "W_Q", "W_K")
    return dot(dot(W_pos, W_Q), dot(W_pos, W_K).mT)


@shaped
def direct_path(params: Weights) -> Float[Array, "d_vocab d_vocab_out"]:
    """W_E W_U: the logits without any head, or b_U; at best a bigram's log p(next | token) + c(token).

    Args:
        params: The weights.

    Returns:
        [V, C].
    """
    W_E, W_U = arrays(params, "W_E", "W_U")
    return dot(W_E, W_U)


@shaped
def virtual_ov(params: Weights) -> Float[Array, "n_heads n_heads d_vocab d_vocab_out"]:
    """W_E W_OV⁰ʰ W_OV¹ᵏ W_U: the OV circuit of two heads in a row.

    Args:
        params: The weights.

    Returns:
        [layer-0 heads, layer-1 heads, V, C].
    """
    W_E, W_V, W_O, W_U = arrays(params, "W_E", "W_V", "W_O", "W_U")
    _two_layers(W_V)
    source = dot(dot(W_E, W_V[0])[:, None], dot(W_O[0][:, None], W_V[1]))  # [h, k, V, dh]
    return dot(source, dot(W_O[1], W_U))


@shaped
def composed_qk(params: Weights) -> Float[Array, "n_heads n_heads d_vocab d_vocab"]:
    """W_E W_QK¹ᵏ (W_E W_OV⁰ʰ)ᵀ: what query token matches which token that layer-0 head h has written into a key.

    For an induction head fed by a previous-token head it is largest on its diagonal.

    Args:
        params: The weights.

    Returns:
        [layer-1 heads, layer-0 heads, V, V].
    """
    W_E, W_Q, W_K, W_V, W_O = arrays(params, "W_E", "W_Q", "W_K", "W_V", "W_O")
    _two_layers(W_V)
    keys = dot(dot(W_E, W_V[0])[:, None], dot(W_O[0][:, None], W_K[1]))  # [h, k, V, dh]
    return dot(dot(W_E, W_Q[1])[:, None], jnp.swapaxes(keys, 0, 1).mT)


@shaped
def copying_score(params: Weights) -> Float[Array, "n_layers n_heads"]:
    """Σλ / Σ|λ| over the eigenvalues of `ov_circuit`: 1 if tokens raise themselves (Elhage et al. 2021).

    Args:
        params: The weights, with as many outputs as tokens.

    Returns:
        [L, H] in [−1, 1]; nan for a head whose eigenvalues are all zero (rounding of the weights' product counts as zero).
    """
    W_E, W_V, W_O, W_U = of_size_one(arrays(params, "W_E", "W_V", "W_O", "W_U"))
    _same_tokens(W_E, W_U)
    return eigenvalue_score(dot(W_E, W_V), dot(W_O, W_U), scale=norm(W_E) * norm(W_V) * norm(W_O) * norm(W_U))


@shaped
def matching_score(params: Weights) -> Float[Array, "n_layers n_heads"]:
    """Σλ / Σ|λ| over the eigenvalues of `qk_circuit`: 1 if tokens attend to themselves.

    Args:
        params: The weights.

    Returns:
        [L, H] in [−1, 1], as of `copying_score`.
    """
    W_E, W_Q, W_K = of_size_one(arrays(params, "W_E", "W_Q", "W_K"))
    return eigenvalue_score(dot(W_E, W_Q), dot(W_E, W_K).mT, scale=norm(W_E) ** 2 * norm(W_Q) * norm(W_K))


@shaped
def eigenvalue_score(
    left: Real[ArrayLike, "*#batch n d"], right: Real[ArrayLike, "*#batch d n"], scale: Real[ArrayLike, "*#batch"] = 0.0
) -> Float[Array, "*batch"]:
    """Σλ / Σ|λ| of left @ right, from the dh × dh product, whose other eigenvalues are zero.

    Complex eigenvalues come in pairs, so the sum is real. It is the same for any scale of the matrices (and of `scale` with
    them).

    Args:
        left: [..., V, dh].
        right: [..., dh, V].
        scale: The size of the product, whose rounding counts as zero.

    Returns:
        [...]; nan where Σ|λ| is 0 or no larger than rounding of `scale`.
    """
    (left, a), (right, b) = (scaled(floating(x), (-2, -1)) for x in (left, right))
    product, power = scaled(dot(right, left), (-2, -1))  # [..., dh, dh]
    size, trace = jnp.abs(eigenvalues(product)).sum(-1), jnp.trace(product, axis1=-2, axis2=-1)
    rounding = floating(scale) / a[..., 0, 0] / b[..., 0, 0] / power[..., 0, 0]
    return nan_where(~(size > jnp.finfo(left.dtype).eps * rounding), trace / size)


@shaped
def ov_eigenvalues(params: Weights) -> Complex[Array, "n_layers n_heads d_head"]:
    """The dh eigenvalues of `ov_circuit` that need not be zero.

    Args:
        params: The weights.

    Returns:
        Complex [L, H, dh], largest modulus first.
    """
    W_E, W_V, W_O, W_U = arrays(params, "W_E", "W_V", "W_O", "W_U")
    _same_tokens(W_E, W_U)
    values = eigenvalues(dot(dot(W_O, W_U), dot(W_E, W_V)))
    return jnp.take_along_axis(values, jnp.argsort(-jnp.abs(values), axis=-1), -1)


@shaped
def diagonal_share(circuit: Real[ArrayLike, "*batch n n"]) -> Float[Array, "*batch"]:
    """Share of rows whose largest entry is their own: tokens that a head copies (or matches) best.

    Args:
        circuit: [..., V, V].

    Returns:
        [...].
    """
    circuit = floating(circuit)
    own = circuit.argmax(-1) == jnp.arange(circuit.shape[-2])
    return nan_where(jnp.isnan(circuit).any(-1), own.astype(circuit.dtype)).mean(-1)


def _two_layers(W: Array) -> None:
    if len(W) < 2:
        raise ValueError(f"W_V has shape {W.shape}: heads compose across layers, so n_layers must be at least 2")


def _same_tokens(W_E: Array, W_U: Array) -> None:
    if W_U.shape[1] != len(W_E):
        wanted = f"[d_model, d_vocab] with d_vocab = {len(W_E)} as in W_E"
        raise ValueError(f"W_U has shape {W_U.shape}, it must be {wanted}: only a square circuit has eigenvalues")


def circuit_scores(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: copying and matching scores [L, H], and for two layers or more composition [layer 0, layer 1] by kind."""
    scores = {"copying": copying_score(params), "matching": matching_score(params)}
    kinds = get_args(Kind) if len(params["W_V"]) > 1 else ()
    return scores | {f"{kind}_composition": composition(params, kind) for kind in kinds}


def token_circuits(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the circuits themselves.

    Returns:
        A dict: `QK` and `OV` over tokens and, where positions have vectors, `positional_QK`.
    """
    positional = {"positional_QK": positional_qk(params)} if "W_pos" in params else {}
    return {"QK": qk_circuit(params), "OV": ov_circuit(params)} | positional
