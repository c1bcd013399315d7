"""Circuit discovery over the edges of a transformer's graph (edges.py): each edge alone, ACDC, edge attribution patching.

`x` is a batch of inputs; `substitute` [S, B, P, d_model] what a cut edge carries instead (None: nothing), as in
`edges.circuit`. All of these are compiled loops over edges: jit them, map them over thresholds or saved points.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real, Shaped

from toylab.analysis.attention.edges import Graph, circuit
from toylab.analysis.numbers import floating
from toylab.base import Apply, Params
from toylab.shapes import shaped

Distance = Callable[[Array, Array], Array]
"""(logits of the circuit, logits of the whole network) → a scalar."""

Metric = Callable[[Array], Array]
"""logits → a scalar."""


@shaped
def edge_effects(
    apply: Apply,
    params: Params,
    graph: Graph,
    x: Shaped[Array, "B P ..."],
    distance: Distance,
    substitute: Float[Array, "S B P d_model"] | None = None,
) -> Float[Array, "S R"]:
    """The distance from the whole network when a single edge is cut.

    Args:
        apply: The network.
        params: Its weights.
        graph: Its edges.
        x: A batch of inputs.
        distance: From logits of the circuit and of the whole network to a number.
        substitute: What a cut edge carries instead; None: nothing.

    Returns:
        [S, R]; 0 where there is no edge.
    """
    whole = apply(params, x, full=True)[0]
    pairs = np.argwhere(graph.edges)

    def cut(pair: Array) -> Array:
        keep = jnp.asarray(graph.edges, whole.dtype).at[pair[0], pair[1]].set(0)
        return distance(circuit(apply, params, graph, x, keep, substitute), whole)

    effects = jax.lax.map(cut, jnp.asarray(pairs))
    return jnp.zeros(graph.edges.shape, effects.dtype).at[pairs[:, 0], pairs[:, 1]].set(effects)


@shaped
def acdc(
    apply: Apply,
    params: Params,
    graph: Graph,
    x: Shaped[Array, "B P ..."],
    distance: Distance,
    threshold: Real[ArrayLike, ""],
    substitute: Float[Array, "S B P d_model"] | None = None,
) -> Bool[Array, "S R"]:
    """What automatic circuit discovery keeps (ACDC; Conmy et al. 2023, arXiv 2304.14997, Algorithm 1).

    From the output back to the embedding every edge is cut in turn. It stays cut if the distance from the whole network
    grows by less than a threshold over that of the circuit as it then stands. Receivers come in reverse order of
    computation, and for each its senders in reverse order (the paper leaves the order of senders open).

    Args:
        apply: The network.
        params: Its weights.
        graph: Its edges.
        x: A batch of inputs.
        distance: From logits of the circuit and of the whole network to a number.
        threshold: τ, in units of the distance.
        substitute: What a cut edge carries instead; None: nothing.

    Returns:
        A mask [S, R]; no edge where a distance is nan, since what the network does is then not known.
    """
    whole = apply(params, x, full=True)[0]
    pairs = np.argwhere(graph.edges)
    pairs = pairs[np.lexsort((-pairs[:, 0], -pairs[:, 1]))]

    def visit(state: tuple[Array, Array], pair: Array) -> tuple[tuple[Array, Array], None]:
        keep, now = state
        without = keep.at[pair[0], pair[1]].set(0)
        after = distance(circuit(apply, params, graph, x, without, substitute), whole)
        cut = after - now < threshold
        return (jnp.where(cut, without, keep), jnp.where(cut | jnp.isnan(after), after, now)), None

    every = jnp.asarray(graph.edges, whole.dtype)
    (keep, last), _ = jax.lax.scan(visit, (every, distance(whole, whole)), jnp.asarray(pairs))
    return (keep > 0) & ~jnp.isnan(last)


@shaped
def edge_attribution(
    apply: Apply,
    params: Params,
    graph: Graph,
    x: Shaped[Array, "B P ..."],
    metric: Metric,
    substitute: Float[Array, "S B P d_model"] | None = None,
    points: int = 1,
) -> Float[Array, "S R"]:
    """The linear estimate of what cutting each edge adds to a metric, all by one gradient: edge attribution patching.

    EAP (Syed et al. 2023, arXiv 2310.10348) is Δe · ∂M/∂e at the whole network, which is −∂M/∂keep. Where an attention
    pattern is saturated that gradient vanishes, whatever the edge does. With more points the gradient is averaged over
    midpoints of the line from every edge cut to none. The scores then sum to M(all cut) − M(whole) up to the error of
    the midpoint rule (integrated gradients; Hanna et al. 2024, arXiv 2403.17806, move along the inputs instead).

    Args:
        apply: The network.
        params: Its weights.
        graph: Its edges.
        x: A batch of inputs.
        metric: From logits to a number: a loss or a difference of logits. A distance from the network's own logits has no
            gradient at the whole network.
        substitute: What a cut edge carries instead; None: nothing.
        points: The number of midpoints; 1: at the whole network.

    Returns:
        [S, R].
    """
    at = jnp.ones(1) if points == 1 else midpoints(points)
    return -jnp.mean(edge_slopes(apply, params, graph, x, metric, at, substitute), axis=0)


@shaped
def edge_slopes(
    apply: Apply,
    params: Params,
    graph: Graph,
    x: Shaped[Array, "B P ..."],
    metric: Metric,
    at: Float[ArrayLike, " n"],
    substitute: Float[Array, "S B P d_model"] | None = None,
) -> Float[Array, "n S R"]:
    """∂M/∂keep where all edges are in force to some shares.

    Args:
        apply: The network.
        params: Its weights.
        graph: Its edges.
        x: A batch of inputs.
        metric: From logits to a number.
        at: The shares, from 0, all cut, to 1, the whole network.
        substitute: What a cut edge carries instead; None: nothing.

    Returns:
        [n, S, R].
    """
    every = jnp.asarray(graph.edges, jnp.result_type(*params.values()))
    slope = jax.grad(lambda keep: metric(circuit(apply, params, graph, x, keep, substitute)))
    return jax.lax.map(lambda share: slope(share.astype(every.dtype) * every), jnp.asarray(at)) * every


def midpoints(n: int) -> Float[Array, " n"]:
    """Of n equal pieces of 0 to 1."""
    return (jnp.arange(n) + 0.5) / n


@shaped
def squared_distance(
    logits: Real[ArrayLike, "*#batch d_vocab_out"],
    whole: Real[ArrayLike, "*#batch d_vocab_out"],
    where: Bool[ArrayLike, "*#batch"] | None = None,
) -> Float[Array, ""]:
    """Σ_c (z_c − z'_c)², mean over examples and positions.

    It is for outputs that are no log-probabilities, such as those of compiled programs (Conmy et al. 2023 use it there).

    Args:
        logits: Of the circuit.
        whole: Of the whole network.
        where: Mask of the examples and positions that count.
    """
    squares = (floating(logits) - floating(whole)) ** 2
    return jnp.mean(jnp.sum(squares, axis=-1), where=where)


@shaped
def kl_divergence(
    logits: Real[ArrayLike, "*#batch d_vocab_out"],
    whole: Real[ArrayLike, "*#batch d_vocab_out"],
    where: Bool[ArrayLike, "*#batch"] | None = None,
) -> Float[Array, ""]:
    """KL(whole ‖ circuit) in nats, mean over examples and positions.

    Args:
        logits: Of the circuit.
        whole: Of the whole network.
        where: Mask of the examples and positions that count.
    """
    p, q = jax.nn.log_softmax(floating(whole)), jax.nn.log_softmax(floating(logits))
    return jnp.mean(jnp.sum(jnp.exp(p) * (p - q), axis=-1), where=where)


@shaped
def precision_recall(
    found: Bool[ArrayLike, "*batch S R"], true: Bool[ArrayLike, "S R"]
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """The share of found edges that are true, and the share of true edges that are found.

    Args:
        found: Masks [..., S, R].
        true: Mask [S, R].

    Returns:
        Precision [...], 1 where none is found, and recall [...].
    """
    found, true = jnp.asarray(found), jnp.asarray(true)
    n_both = jnp.sum(found & true, axis=(-2, -1))
    n_found = jnp.sum(found, axis=(-2, -1))
    return jnp.where(n_found > 0, n_both / jnp.maximum(n_found, 1), 1), n_both / jnp.sum(true)


@shaped
def best_f1(kept: Bool[ArrayLike, "*batch thresholds S R"], true: Bool[ArrayLike, "S R"]) -> Float[Array, "*batch"]:
    """The harmonic mean of precision P and recall R, 2PR / (P + R), at the threshold where it is largest.

    Args:
        kept: Masks of the edges that are kept, by threshold.
        true: Mask of the true edges.

    Returns:
        [...]; 0 where no true edge is ever kept.
    """
    precision, recall = precision_recall(kept, true)
    return (2 * precision * recall / jnp.maximum(precision + recall, 1e-9)).max(axis=-1)


def nearest(levels: np.ndarray, value: float) -> int:
    """The index of the level [N] that is nearest to a value by their ratio, such as a threshold of `acdc`."""
    return int(np.argmin(np.abs(np.log(levels / value))))


@shaped
def roc(
    scores: Real[ArrayLike, "S R"], true: Bool[ArrayLike, "S R"], edges: Bool[ArrayLike, "S R"]
) -> tuple[Float[Array, " n+1"], Float[Array, " n+1"], Float[Array, ""]]:
    """The receiver operating curve of scores of edges.

    The area under it is the chance that a true edge scores above a false one, ties counting one half.

    Args:
        scores: Of every edge.
        true: Mask of the true edges.
        edges: Mask of all n edges of the graph.

    Returns:
        False and true positive rates [n + 1] as the threshold falls past each edge, and the area. All nan where the
        score of an edge is.
    """
    n_edges = int(np.sum(edges))
    scores, true, edges = floating(scores), jnp.asarray(true), jnp.asarray(edges)
    unknown = jnp.where(jnp.isnan(jnp.where(edges, scores, 0)).any(), jnp.nan, 0)
    order = jnp.argsort(-jnp.where(edges, scores, -jnp.inf), axis=None)[:n_edges]
    hits = jnp.cumsum(true.ravel()[order]) / jnp.sum(true)
    misses = jnp.cumsum(~true.ravel()[order]) / jnp.sum(edges & ~true)
    above = scores[..., None, None] > scores
    ties = scores[..., None, None] == scores
    pairs = (edges & true)[..., None, None] & (edges & ~true)
    area = jnp.sum((above + 0.5 * ties) * pairs) / jnp.sum(pairs)
    misses, hits = (jnp.concatenate([jnp.zeros(1), rates]) + unknown for rates in (misses, hits))
    return misses, hits, area + unknown


@shaped
def threshold_roc(
    kept: Bool[ArrayLike, "*batch thresholds S R"], true: Bool[ArrayLike, "S R"], edges: Bool[ArrayLike, "S R"]
) -> tuple[Float[np.ndarray, "*batch n"], Float[np.ndarray, "*batch n"], Float[np.ndarray, "*batch"]]:
    """The receiver operating curve of a method that keeps fewer edges as its threshold rises, such as ACDC.

    The ends of the curve, every edge and none, are added. The area is that of trapezoids between its points.

    Args:
        kept: Masks of the edges that are kept, by rising threshold.
        true: Mask of the true edges.
        edges: Mask of all edges of the graph.

    Returns:
        False positive rates and true positive rates [..., thresholds + 2], from no edge to every edge, and the areas
        under the curves [...].
    """
    kept, true, edges = np.asarray(kept), np.asarray(true), np.asarray(edges)
    none = np.zeros_like(kept[..., :1, :, :])
    ends = np.concatenate([none | edges, kept, none], axis=-3)
    hits = (ends & true).sum(axis=(-2, -1)) / true.sum()
    misses = (ends & ~true).sum(axis=(-2, -1)) / (edges & ~true).sum()
    misses, hits = misses[..., ::-1], hits[..., ::-1]
    return misses, hits, np.trapezoid(hits, misses, axis=-1)
