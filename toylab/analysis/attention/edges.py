"""The head-level graph of a transformer, and the network with some of its edges cut.

Senders write into the residual stream: the embedding, the positions, every head and every MLP. Receivers read from it:
each head's query, key and value, each MLP and the output (nodes as in Conmy et al. 2023, arXiv 2304.14997). An edge is
one sender's share in one receiver's input; it can be cut exactly, because a receiver's input is a sum over the senders
before it (Elhage et al. 2021). Edges are masks [S, R] over senders and receivers in the order of `Graph`; `keep` is true
(or 1) where an edge is in force.

What else is in the residual stream (b_O, which no head writes) is carried: every receiver has it in every circuit, as what
does not go through the stream is at work in every circuit (b_Q, b_K, b_V, b_U, LayerNorm, positions of other kinds than
"abs"). The circuit of all edges is therefore the network.

A cut edge carries nothing (`substitute=None`, zero ablation) or what its sender writes on another input (resample
ablation; `written` gives it). Zero ablation sees everything a circuit needs, resampling only what varies over inputs: an
edge that carries positions or a constant makes no difference to it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real, Shaped

from toylab.analysis.attention.interventions import check_unclamped
from toylab.base import Apply, Params, Patch
from toylab.shapes import shaped

UNTOLD = 0.01  # share of the residual stream: a half-precision product's rounding is below


@dataclass(frozen=True)
class Graph:
    """The graph of a transformer: names of senders and receivers in the order in which they are computed.

    MLPs that are no nodes are carried.

    Attributes:
        n_layers: Its layers.
        n_heads: Heads of a layer.
        mlps: Whether MLPs are nodes.
        positions: Whether positions are a sender, as where they are added to the residual stream (`positions="abs"`). Where
            W_pos does something else, the sender pos writes 0.
    """

    n_layers: int
    n_heads: int
    mlps: bool = False
    positions: bool = True

    @classmethod
    def of(cls, params: Params, positions: bool = True) -> "Graph":
        """The graph of a transformer's params.

        Args:
            params: The weights.
            positions: Whether W_pos, if there is one, is added to the residual stream.

        Raises:
            ValueError: Without W_Q.
        """
        if "W_Q" not in params:
            raise ValueError(f"params has {', '.join(sorted(params))}: a graph of heads needs W_Q.")
        n_layers, n_heads = np.shape(params["W_Q"])[:2]
        return cls(n_layers, n_heads, mlps="W_in" in params, positions=positions and "W_pos" in params)

    @cached_property
    def senders(self) -> tuple[str, ...]:
        """embed, pos, then layer by layer the heads 0.0, 0.1, … and the MLP mlp0."""
        heads = [[f"{layer}.{head}" for head in range(self.n_heads)] for layer in range(self.n_layers)]
        blocks = [names + [f"mlp{layer}"] * self.mlps for layer, names in enumerate(heads)]
        return ("embed", *["pos"] * self.positions, *(name for block in blocks for name in block))

    @cached_property
    def receivers(self) -> tuple[str, ...]:
        """Layer by layer 0.0.q, 0.1.q, …, 0.0.k, …, 0.0.v, …, mlp0.in; then out."""
        names = []
        for layer in range(self.n_layers):
            names += [f"{layer}.{head}.{input}" for input in "qkv" for head in range(self.n_heads)]
            names += [f"mlp{layer}.in"] * self.mlps
        return (*names, "out")

    @cached_property
    def edges(self) -> Bool[np.ndarray, "S R"]:
        """Mask [S, R]: the sender comes before the receiver."""
        own = ["embed", *["pos"] * self.positions]
        before: dict[str, set[str]] = {}
        for layer in range(self.n_layers):
            heads = [f"{layer}.{head}" for head in range(self.n_heads)]
            before |= {f"{head}.{input}": set(own) for head in heads for input in "qkv"}
            own += heads
            before[f"mlp{layer}.in"] = set(own)
            own += [f"mlp{layer}"] * self.mlps
        before["out"] = set(own)
        return np.array([[sender in before[receiver] for receiver in self.receivers] for sender in self.senders])

    def mask(self, edges: Iterable[tuple[str, str]]) -> Bool[np.ndarray, "S R"]:
        """The mask [S, R] of edges given by name, such as `("0.0", "1.0.k")`.

        Args:
            edges: Pairs of a sender and a receiver.

        Raises:
            ValueError: For an edge that is not in the graph.
        """
        mask = np.zeros_like(self.edges)
        for sender, receiver in edges:
            if (
                sender not in self.senders
                or receiver not in self.receivers
                or not self.edges[self.at(sender, receiver)]
            ):
                raise ValueError(
                    f"edge {(sender, receiver)} is not in the graph: senders are {', '.join(self.senders)}, receivers"
                    f" {', '.join(self.receivers)}, and a sender must come before its receiver."
                )
            mask[self.at(sender, receiver)] = True
        return mask

    def between(self, earlier: int, later: int) -> Bool[np.ndarray, "S R"]:
        """The mask [S, R] of edges from the heads of a layer to the queries, keys and values of a later one."""
        heads = range(self.n_heads)
        return self.mask((f"{earlier}.{a}", f"{later}.{b}.{kind}") for a in heads for b in heads for kind in "qkv")

    @shaped
    def named(self, mask: Bool[ArrayLike, "S R"]) -> list[tuple[str, str]]:
        """The edges of a mask [S, R] by name."""
        return [(self.senders[s], self.receivers[r]) for s, r in np.argwhere(np.asarray(mask) & self.edges)]

    def at(self, sender: str, receiver: str) -> tuple[int, int]:
        """The index of an edge in arrays [S, R]."""
        return self.senders.index(sender), self.receivers.index(receiver)


@shaped
def written(apply: Apply, params: Params, graph: Graph, x: Shaped[Array, "B P ..."]) -> Float[Array, "S B P d_model"]:
    """What each sender writes on some inputs, by the whole network.

    Args:
        apply: The network.
        params: Its weights.
        graph: Its edges.
        x: A batch of inputs.

    Returns:
        [S, B, P, d_model].

    Raises:
        ValueError: As of `circuit`.
    """
    own: list[Array] = []
    patch = _entering(params, graph, own)
    _check(apply, params, graph, patch)
    _, cache = apply(params, x, patch, full=True)
    for layer in range(graph.n_layers):
        own += [cache["result"][layer][:, head] for head in range(graph.n_heads)]
        own += [cache["mlp_out"][layer]] if graph.mlps else []
    return jnp.stack(own)


@shaped
def circuit(
    apply: Apply,
    params: Params,
    graph: Graph,
    x: Shaped[Array, "B P ..."],
    keep: Real[ArrayLike, "S R"] | Bool[ArrayLike, "S R"],
    substitute: Float[Array, "S B P d_model"] | None = None,
) -> Float[Array, "B P d_vocab_out"]:
    """Logits of the network with only some edges in force.

    One forward pass: each receiver's input is put together anew from what the senders before it write in this very
    pass, and from what is carried.

    Args:
        apply: The network.
        params: Its weights.
        graph: Its edges.
        x: A batch of inputs.
        keep: Which edges are in force, [S, R]; between 0 and 1 in part. It may be differentiated.
        substitute: What cut edges carry instead, [S, B, P, d_model] (see `written`); None: nothing.

    Returns:
        [B, P, d_vocab_out].

    Raises:
        ValueError: For a graph that is not the params', for a net with clamps on what is patched here, and for one that
            writes more into the residual stream than senders and b_O (under jit its logits are nan).
    """
    keep = jnp.asarray(keep)
    if keep.shape != graph.edges.shape:
        size = list(graph.edges.shape)
        raise ValueError(f"keep has shape {keep.shape}, it must be [senders, receivers] = {size} of the graph")
    own: list[Array] = []  # what the senders write, as the pass goes along
    carried: list[Array] = []  # and what comes from none
    inputs: dict[int, dict[str, Array]] = {}  # of a layer's heads
    receivers = {name: at for at, name in enumerate(graph.receivers)}

    def read(names: list[str]) -> Array:
        """[B, receivers, P, d_model]: the inputs of some receivers that the same senders come before."""
        weight = keep[: len(own), np.array([receivers[name] for name in names])]  # [S, receivers]
        weight = weight.astype(own[0].dtype)
        brought = jnp.stack(own)
        if substitute is not None:
            weight = jnp.concatenate([weight, 1 - weight])
            brought = jnp.concatenate([brought, substitute[: len(own)]])
        found = jnp.einsum("sr,sbpd->brpd", weight, brought, precision="highest")
        return found + jnp.sum(jnp.stack(carried), axis=0)[:, None] if carried else found

    def heads(input: str) -> Callable[[Array, int], Array]:
        def of(resid: Array, layer: int) -> Array:
            if layer not in inputs:  # queries, keys and values at once
                names = [f"{layer}.{head}.{kind}" for kind in "qkv" for head in range(graph.n_heads)]
                inputs[layer] = dict(zip("qkv", jnp.split(read(names), 3, axis=1), strict=True))
            return inputs[layer][input]

        return of

    def from_heads(result: Array, layer: int) -> Array:
        own.extend(result[:, head] for head in range(graph.n_heads))
        if "b_O" in params:
            carried.append(jnp.broadcast_to(params["b_O"][layer], result[:, 0].shape))
        return result

    def from_mlp(out: Array, layer: int) -> Array:
        (own if graph.mlps else carried).append(out)
        return out

    def leave(resid: Array, layer: int) -> Array:
        return _all_told(read(["out"])[:, 0], resid, [*own, *carried]) if layer == graph.n_layers - 1 else resid

    patch = {**_entering(params, graph, own), "result": from_heads, "resid_post": leave}
    patch |= {f"{input}_input": heads(input) for input in "qkv"}
    if graph.mlps:
        patch["mlp_input"] = lambda _, layer: read([f"mlp{layer}.in"])[:, 0]
    if graph.mlps or "W_in" in params:
        patch["mlp_out"] = from_mlp
    _check(apply, params, graph, patch)
    return apply(params, x, patch, full=True)[0]


def _all_told(read: Array, resid: Array, written: list[Array]) -> Array:
    """`read`, if what is known to be written makes up the residual stream; where it does not it is nan, or refused."""
    told = jnp.stack(written)
    off = jnp.max(jnp.abs(resid - jnp.sum(told, axis=0)))
    fits = off <= UNTOLD * jnp.max(jnp.sum(jnp.abs(told), axis=0))
    if not isinstance(fits, jax.core.Tracer) and not (fits or jnp.isnan(off)):
        raise ValueError(
            f"the residual stream is off by {off:.3g} from what its senders and b_O write: the network has more parts than"
            " Graph knows."
        )
    return jnp.where(fits, read, jnp.nan)


def _entering(params: Params, graph: Graph, own: list[Array]) -> dict[str, Callable[[Array, int], Array]]:
    """A patch that changes nothing and puts what enters the first layer, the embedding and the positions, into `own`."""
    seen: list[Array] = []

    def embed(embedded: Array, layer: int) -> Array:
        seen.append(embedded)
        return embedded

    def resid_pre(resid: Array, layer: int) -> Array:
        if layer == 0 and graph.positions:
            added = not any(embedded is resid for embedded in seen)  # else W_pos does not enter here
            positions = params["W_pos"][: resid.shape[1]] if added else jnp.zeros((), resid.dtype)
            positions = jnp.broadcast_to(positions, resid.shape)
            own.extend([resid - positions, positions])
        elif layer == 0:
            own.append(resid)
        return resid

    return {"embed": embed, "resid_pre": resid_pre}


def _check(apply: Apply, params: Params, graph: Graph, patch: Patch) -> None:
    check_unclamped(apply, *patch, "attn_out")
    sizes = np.shape(params["W_Q"])[:2] if "W_Q" in params else (graph.n_layers, graph.n_heads)
    if sizes != (graph.n_layers, graph.n_heads) or (graph.positions and "W_pos" not in params):
        raise ValueError(f"graph is {graph}, and of these params it is {Graph.of(params)}.")
