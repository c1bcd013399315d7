"""Path patching between any two nodes of a transformer, and along whole paths: which way a part's effect takes.

Nodes are those of `edges.Graph`: senders embed, the heads 0.0, 0.1, … and the MLPs mlp0, …; receivers the queries, keys
and values of heads 0.0.q, 0.0.k, 0.0.v, …, the MLPs' inputs mlp0.in, … and out. The corrupt input runs; what a sender
writes on the clean one takes its place, but for the receivers alone, and the logits say what came of it:
`interventions.restored` makes a share of their score.

- `patched_edges` (Wang et al. 2022, arXiv 2211.00593, appendix B): senders take their clean output, all other heads are
  held at the corrupt run, MLPs between recompute ("through") or are held too ("held"). The receivers' inputs that come
  of it are put into the corrupt run, whose rest computes anew. Two more forward passes.
- `patched_path` (Goldowsky-Dill et al. 2023, arXiv 2304.05969): only the path itself carries the change, at every step,
  to the logits. A forward pass for each step.

Positions are no sender: they are the same in both runs. All edges one by one are `discovery.edge_effects` with what the
senders write on the other input as `substitute`; all pairs of heads at once are `interventions.path_patching`.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Shaped

from toylab.analysis.attention.attribution import run_with_embedding
from toylab.analysis.attention.edges import Graph
from toylab.analysis.attention.interventions import Score, check_sum, check_unclamped, restored
from toylab.base import Apply, Cache, Params, Patch
from toylab.shapes import shaped

Between = Literal["through", "held"]


@shaped
def patched_edges(
    apply: Apply,
    params: Params,
    clean: Shaped[Array, "*inputs"],
    corrupt: Shaped[Array, "*inputs"],
    senders: Sequence[str],
    receivers: Sequence[str],
    mlps: Between = "through",
) -> Float[Array, "..."]:
    """Logits of the corrupt run where some receivers see what some senders write on the clean input.

    Args:
        apply: The network.
        params: Its weights.
        clean: A batch of inputs.
        corrupt: Another, row by row to be compared.
        senders: Such as ["0.1", "mlp0"] or ["embed"].
        receivers: Such as ["1.0.k", "1.2.k"], or ["out"] alone.
        mlps: Whether MLPs between pass the change on ("through", Wang et al. 2022), or are held at the corrupt run
            ("held").

    Returns:
        Logits, as of `apply`.

    Raises:
        ValueError: For names that are no nodes, a sender that comes before no receiver, out beside other receivers, and
            a net with clamps on what is patched here.
    """
    if mlps not in get_args(Between):
        raise ValueError(f"mlps is {mlps!r}: it must be one of {', '.join(get_args(Between))}.")
    nodes = _Nodes(apply, params, corrupt)
    sent = [nodes.known("sender", name) for name in senders]
    read = [nodes.known("receiver", name) for name in receivers]
    if not sent or not read:
        raise ValueError(f"senders are {sent} and receivers {read}: there must be at least one of each.")
    for name in sent:
        if not any(nodes.joined(name, one) for one in read):
            raise ValueError(f"sender {name} comes before none of the receivers {', '.join(read)}.")
    if "out" in read and len(read) > 1:
        raise ValueError(f"receivers are {read}: what the others change would not reach out; it must stand alone.")
    base, other = nodes.cache, nodes.run(clean)

    def from_heads(z: Array, layer: int) -> Array:
        heads = np.array([f"{layer}.{head}" in sent for head in range(nodes.graph.n_heads)])
        return jnp.where(heads[:, None, None], other["z"][layer], base["z"][layer])

    def from_mlp(out: Array, layer: int) -> Array:
        if f"mlp{layer}" in sent:
            return other["mlp_out"][layer]
        return out if mlps == "through" else base["mlp_out"][layer]

    patch: dict[str, Callable[[Array, int], Array]] = {"z": from_heads}
    patch |= {"mlp_out": from_mlp} if nodes.graph.mlps else {}
    patch |= {"embed": lambda value, layer: other["embed"]} if "embed" in sent else {}
    logits, between = nodes.forward(patch)
    if "out" in read:
        return logits

    def into(kind: str) -> Callable[[Array, int], Array]:
        def change(value: Array, layer: int) -> Array:
            heads = [head for at, head in (_placed(one) for one in read if _kind(one) == kind) if at == layer]
            found = between["mlp_pre" if kind == "mlp" else kind][layer]
            if kind == "mlp":
                return found if heads else value
            taken = np.array([head in heads for head in range(nodes.graph.n_heads)])
            return jnp.where(taken[:, None, None], found, value)

        return change

    return nodes.forward({"mlp_pre" if kind == "mlp" else kind: into(kind) for kind in {_kind(one) for one in read}})[0]


@shaped
def patched_path(
    apply: Apply,
    params: Params,
    clean: Shaped[Array, "*inputs"],
    corrupt: Shaped[Array, "*inputs"],
    path: Sequence[str],
) -> Float[Array, "..."]:
    """Logits of the corrupt run where the clean output of a sender is seen along one path alone.

    Each step of the path is computed with all its other inputs at the corrupt run.

    Args:
        apply: The network.
        params: Its weights.
        clean: A batch of inputs.
        corrupt: Another, row by row to be compared.
        path: A sender, the inputs that the path passes, and out: ["embed", "0.1.v", "1.0.k", "out"] or ["0.1", "out"].

    Returns:
        Logits, as of `apply`.

    Raises:
        ValueError: For names that are no nodes, steps that do not ascend, a path that does not end in out, a net
            with clamps on what is patched here, and one whose stream is no sum.
    """
    check_sum(params)
    nodes = _Nodes(apply, params, corrupt)
    if len(path) < 2 or path[-1] != "out" or "out" in path[:-1]:
        raise ValueError(f"path is {list(path)}: it must be a sender, inputs that it passes, and out at the end.")
    node = nodes.known("sender", path[0])
    change = nodes.written(nodes.run(clean), node) - nodes.written(nodes.cache, node)
    for name in path[1:]:
        if not nodes.joined(node, nodes.known("receiver", name)):
            raise ValueError(f"path is {list(path)}: {node} does not come before {name}.")
        node, change = nodes.answer(name, change) if name != "out" else ("out", change)
    last = nodes.graph.n_layers - 1
    return nodes.forward({"resid_post": lambda value, layer: value + change if layer == last else value})[0]


@shaped
def path_shares(
    apply: Apply,
    params: Params,
    clean: Shaped[Array, "*inputs"],
    corrupt: Shaped[Array, "*inputs"],
    metric: Score,
    paths: Sequence[Sequence[str]],
) -> Float[Array, " n_paths"]:
    """The share of a score that each path restores, (M − M_corrupt) / (M_clean − M_corrupt).

    Args:
        apply: The network.
        params: Its weights.
        clean: A batch of inputs.
        corrupt: Another, row by row to be compared.
        metric: From logits to a number.
        paths: As of `patched_path`.

    Returns:
        [n_paths].

    Raises:
        ValueError: As of `patched_path`, and without paths.
    """
    if not paths:
        raise ValueError("paths must have at least one path.")
    ends = [metric(apply(params, x, full=True)[0]) for x in (clean, corrupt)]
    found = [metric(patched_path(apply, params, clean, corrupt, path)) for path in paths]
    return restored(jnp.stack(found), *ends)


class _Nodes:
    """The nodes of a network by name, its corrupt run, and runs with patches."""

    def __init__(self, apply: Apply, params: Params, corrupt: Array) -> None:
        check_unclamped(apply, "embed", "z", "mlp_out", "mlp_pre", "mlp_input", "resid_post", *"qkv")
        check_unclamped(apply, "q_input", "k_input", "v_input")
        self.apply, self.params, self.x = apply, params, corrupt
        self.cache = self.run(corrupt)
        if lacking := [name for name in ("z", "result", "q", "k", "v", "resid_post") if name not in self.cache]:
            raise ValueError(f"the cache has {', '.join(self.cache)}: path patching needs {', '.join(lacking)} too.")
        n_layers, _, n_heads = self.cache["z"].shape[:3]
        self.graph = Graph(n_layers, n_heads, mlps="mlp_out" in self.cache, positions=False)

    def forward(self, patch: Patch) -> tuple[Array, Cache]:
        """The corrupt run, patched."""
        return self.apply(self.params, self.x, patch, full=True)

    def run(self, x: Array) -> dict[str, Array]:
        """The cache, with what enters as `embed` [B, P, d_model]."""
        _, cache, embedded = run_with_embedding(self.apply, self.params, x)
        return {**cache, "embed": embedded}

    def known(self, role: Literal["sender", "receiver"], name: str) -> str:
        """The name, if there is such a node."""
        there = self.graph.senders if role == "sender" else self.graph.receivers
        if name not in there:
            near = difflib.get_close_matches(str(name), there, 3, 0) or there[:3]
            sizes = f"{self.graph.n_layers} layers of {self.graph.n_heads} heads"
            raise ValueError(
                f"{role} {name!r} is none of this network, of {sizes}: there are {', '.join(near)} and so on."
            )
        return name

    def joined(self, sender: str, receiver: str) -> bool:
        """Whether what a sender writes is in a receiver's input."""
        return bool(self.graph.edges[self.graph.at(sender, receiver)])

    def written(self, cache: Mapping[str, Array], sender: str) -> Array:
        """[B, P, d_model]: what a sender adds to the residual stream."""
        layer, head = _placed(sender)
        return cache["embed"] if sender == "embed" else cache["mlp_out"][layer] if head is None else (
            cache["result"][layer][:, head])  # fmt: skip

    def answer(self, receiver: str, change: Array) -> tuple[str, Array]:
        """The receiver's own node, and how what it writes changes where that input does, all else at the corrupt run."""
        layer, head = _placed(receiver)

        def shifted(value: Array, at: int) -> Array:
            if at != layer:
                return value
            return value + change if head is None else value.at[:, head].add(change)

        cache = self.forward({f"{_kind(receiver)}_input": shifted})[1]
        node = receiver.rpartition(".")[0]
        return node, self.written(cache, node) - self.written(self.cache, node)


def _placed(name: str) -> tuple[int, int | None]:
    """Layer and head of a node; no head of an MLP, layer −1 of embed and out."""
    if name in ("embed", "out"):
        return -1, None
    first, *rest = name.split(".")
    return int(first.removeprefix("mlp")), None if first.startswith("mlp") else int(rest[0])


def _kind(receiver: str) -> str:
    """q, k, v, mlp or out."""
    return "mlp" if receiver.startswith("mlp") else receiver.rpartition(".")[2]
