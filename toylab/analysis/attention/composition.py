"""Composition: how much heads read of what earlier heads, the embedding and the positions write, and the logits of them.

A score is ‖X Y‖ / (‖X‖ ‖Y‖) in Frobenius norms, in [0, 1], with X a matrix into the residual stream and Y one out of
it, both in the order of row vectors (Elhage et al. 2021, A Mathematical Framework for Transformer Circuits). X is a
head's W_OV = W_V W_O, W_E or W_pos. Y is a head's W_QK = W_Q W_Kᵀ (Q-composition), W_QKᵀ (K, the paper's ‖W_QK W_OV‖)
or W_OV (V), or W_U. These are products of weights alone: LayerNorm, biases and MLPs are left out, and so is whether a
net's positions are in the stream at all.

If either factor is turned at random, the squares of scores average exactly 1/d_model, whatever the other one: the
baseline is 1/√d_model or a little below, for heads that of `random_composition`. `params` are as in circuits.py. W_OV
and W_QK, of rank dh, are never formed, and heads are multiplied layer by layer, so that GPT-2's size is no matter.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from toylab.analysis.attention.paths import Weights
from toylab.analysis.attention.products import arrays, dot, norm, of_size_one
from toylab.analysis.numbers import nan_where
from toylab.base import Params, Run
from toylab.shapes import shaped

Kind = Literal["Q", "K", "V"]
Table = Literal["W_E", "W_pos"]

DRAWN = 1 << 24  # numbers that a simulation holds at once


@shaped
def composition(params: Weights, kind: Kind, earlier: int = 0, later: int = 1) -> Float[Array, "n_heads n_heads"]:
    """How much a head of one layer reads of what a head of an earlier one writes (Elhage et al. 2021).

    No baseline is taken off.

    Args:
        params: The weights, of two layers or more.
        kind: "Q", "K" or "V".
        earlier: The layer of the heads that write.
        later: The layer of the heads that read.

    Returns:
        [earlier heads, later heads] in [0, 1]; nan for a head of zeros.

    Raises:
        ValueError: For an unknown kind, fewer than two layers, and layers that are not there or in another order.
    """
    W_Q, W_K, W_V, W_O = arrays(params, "W_Q", "W_K", "W_V", "W_O")
    if len(W_V) < 2:
        raise ValueError(f"W_V has shape {W_V.shape}: heads compose across layers, so n_layers must be at least 2")
    if not 0 <= earlier < later < len(W_V):
        raise ValueError(
            f"earlier is {earlier} and later {later}: they must ascend, and lie in 0 to {len(W_V) - 1}, the layers of W_V"
        )
    reads, onward = (W[later] for W in _reading(kind, W_Q, W_K, W_V, W_O))
    V, O, A, B = of_size_one([W_V[earlier][:, None], W_O[earlier][:, None], reads, onward])  # noqa: E741 O for output
    left, right = _triangular(V), _triangular(B.mT).mT  # [..., dh, dh] each
    return norm(dot(dot(left, dot(O, A)), right)) / (norm(dot(left, O)) * norm(dot(A, right)))


@shaped
def composition_scores(params: Weights, kind: Kind) -> Float[Array, "n_layers n_heads n_layers n_heads"]:
    """`composition` of all pairs of layers. TransformerLens' `all_composition_scores`, which has 0 where this has nan.

    Args:
        params: The weights.
        kind: "Q", "K" or "V".

    Returns:
        [earlier layer, its heads, later layer, its heads]; nan where the layers do not ascend, and for heads of zeros.

    Raises:
        ValueError: For an unknown kind.
    """
    written, read = _written(params), _read(params, kind)  # [L, H, dh, D], [L, H, D, dh]
    n_layers, n_heads, d_head, d_model = written.shape
    columns = jnp.moveaxis(read, 2, 0).reshape(d_model, -1)  # one large product a layer

    def from_layer(rows: Array) -> Array:
        both = dot(rows.reshape(-1, d_model), columns).reshape(n_heads, d_head, n_layers, n_heads, -1)
        return jnp.linalg.norm(jnp.moveaxis(both, 1, 3), axis=(-2, -1))  # [H, L, H]

    score = jax.lax.map(from_layer, written) / (norm(written)[:, :, None, None] * norm(read))
    layer = jnp.arange(n_layers)
    return nan_where((layer[:, None] >= layer)[:, None, :, None], score)


@shaped
def embedding_composition(params: Weights, kind: Kind, table: Table = "W_E") -> Float[Array, "n_layers n_heads"]:
    """How much heads read of the embedding, ‖W_E W_QK‖ / (‖W_E‖ ‖W_QK‖), or of positions. The mean row counts too.

    Args:
        params: The weights.
        kind: "Q", "K" or "V": which part of a head reads, as of `composition`.
        table: "W_E", or "W_pos", which is in the residual stream where net.positions is "abs".

    Returns:
        [L, H] in [0, 1]; nan for zeros.

    Raises:
        ValueError: For an unknown kind or table, and weights that are not there.
    """
    rows, read = _table(params, table), _read(params, kind)
    both = dot(rows, read)
    return norm(both) / (norm(rows) * norm(read))


@shaped
def unembedding_composition(params: Weights) -> Float[Array, "n_layers n_heads"]:
    """How much logits read of what heads write: ‖W_OV W_U‖ / (‖W_OV‖ ‖W_U‖).

    Args:
        params: The weights.

    Returns:
        [L, H] in [0, 1]; nan for zeros.
    """
    written, columns = _written(params), _unembedding(params)
    return norm(dot(written, columns)) / (norm(written) * norm(columns))


@shaped
def direct_composition(params: Weights, table: Table = "W_E") -> Float[Array, ""]:
    """How much logits read of the embedding, ‖W_E W_U‖ / (‖W_E‖ ‖W_U‖), or of positions.

    Args:
        params: The weights.
        table: "W_E" or "W_pos".

    Returns:
        A number in [0, 1]; nan for zeros.
    """
    rows, columns = _table(params, table), _unembedding(params)
    return norm(dot(rows, columns)) / (norm(rows) * norm(columns))


def random_composition(d_model: int, d_head: int, n: int = 2048, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation of `composition` (any kind) between heads of independent normal weights.

    Squares average exactly 1/d_model, so the mean lies a little below 1/√d_model, less so for large d_head (0.165,
    0.176 and 0.1763 for 2, 8 and 16 of 32 dimensions). To correct a score take raw − mean, or that over 1 − mean. It
    depends on sizes alone and is computed on the host, in float64.

    Args:
        d_model: Of the residual stream.
        d_head: Of a head.
        n: The number of pairs that are simulated. The deviation falls with the sizes: for a d_model of 768 100 are enough.
        seed: Of the simulation.
    """
    normal = np.random.default_rng(seed).normal
    at_once = max(1, DRAWN // (d_model * d_head))
    scores = []
    for start in range(0, n, at_once):
        drawn = [(min(at_once, n - start), *shape) for shape in [(d_model, d_head), (d_head, d_model)] * 2]
        V, O, A, B = (normal(size=shape) for shape in drawn)  # noqa: E741
        left, right, between = (x @ y for x, y in ((V.mT, V), (B, B.mT), (O, A)))  # ‖VOAB‖² = ⟨VᵀV, OA BBᵀ (OA)ᵀ⟩
        first, second = (left * (O @ O.mT)).sum((1, 2)), ((A.mT @ A) * right).sum((1, 2))
        whole = (left * (between @ right @ between.mT)).sum((1, 2))
        scores.append(np.sqrt(whole / (first * second)))
    every = np.concatenate(scores)
    return float(every.mean()), float(every.std())


def _reading(kind: Kind, W_Q: Array, W_K: Array, W_V: Array, W_O: Array) -> tuple[Array, Array]:
    """What a head reads with, [L, H, D, dh], and what comes after it, [L, H, dh, D]."""
    if kind not in get_args(Kind):
        raise ValueError(f"kind is {kind!r}, it must be one of {', '.join(get_args(Kind))}")
    return {"Q": (W_Q, W_K.mT), "K": (W_K, W_Q.mT), "V": (W_V, W_O)}[kind]


def _written(params: Weights) -> Array:
    """[L, H, dh, D]: W_OV of every head, but for an orthogonal factor on its left, which changes no norm."""
    V, O = of_size_one(arrays(params, "W_V", "W_O"))  # noqa: E741
    return dot(_triangular(V), O)


def _read(params: Weights, kind: Kind) -> Array:
    """[L, H, D, dh]: W_QK, W_QKᵀ or W_OV of every head, but for an orthogonal factor on its right."""
    A, B = of_size_one(list(_reading(kind, *arrays(params, "W_Q", "W_K", "W_V", "W_O"))))
    return dot(A, _triangular(B.mT).mT)


def _table(params: Weights, table: Table) -> Array:
    """[≤ D, D]: the triangular factor of an embedding, whose norms are the embedding's own."""
    if table not in get_args(Table):
        raise ValueError(f"table is {table!r}, it must be one of {', '.join(get_args(Table))}")
    return _triangular(of_size_one(arrays(params, table))[0])


def _unembedding(params: Weights) -> Array:
    return _triangular(of_size_one(arrays(params, "W_U"))[0].mT).mT


def _triangular(x: Array) -> Array:
    return jnp.linalg.qr(x, mode="r")


def all_compositions(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: composition between heads of all layers, and with embedding, positions and logits.

    Returns:
        A dict: `Q`, `K`, `V` [L, H, L, H] where there are two layers or more, `W_E/Q`, `W_E/K`, `W_E/V` [L, H], the same of
        `W_pos` where there is one, `W_U` [L, H], and the scalar `direct` from W_E to W_U.
    """
    kinds: tuple[Kind, ...] = get_args(Kind)
    found: dict[str, Array] = {}
    if len(params["W_V"]) > 1:
        found |= {kind: composition_scores(params, kind) for kind in kinds}
    tables: tuple[Table, ...] = get_args(Table)
    for table in tables:
        if table in params:
            found |= {f"{table}/{kind}": embedding_composition(params, kind, table) for kind in kinds}
    return found | {"W_U": unembedding_composition(params), "direct": direct_composition(params)}
