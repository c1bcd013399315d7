"""Analyzers that try methods of circuit discovery on a network: single edges, ACDC, edge attribution, patching, scrubbing.

A cut edge carries nothing (substitute 0, "zero") or what its sender writes on the batch's next input (substitute 1,
"resample"). Outputs have this axis first. Edges are masks or values [S, R] over the senders and receivers of
`edges.Graph`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab.analysis.attention import discovery, heads, interventions, scrubbing
from toylab.analysis.attention.edges import Graph, written
from toylab.base import Params, Run
from toylab.losses import cross_entropy

THRESHOLDS = np.geomspace(1e-4, 1e3, 15)  # of ACDC on programs, by squared distance and by KL (nats)
TAUS = np.geomspace(0.003, 1, 6)  # of ACDC on models of _sequences, nats
SHARES = np.append(1.0, discovery.midpoints(16))  # where edge attribution takes its gradient
ROWS = 64  # _sequences of the evaluation set
WAYS: tuple[Literal["q", "k", "v"], ...] = ("q", "k", "v")
HYPOTHESES = ("q", "k", "v", "qkv")  # parts of the naive account of an induction head, and all of it


def _on_both(x: Array, params: Params, run: Run, graph: Graph, each: Callable[[Array], Any]) -> Any:
    """`each` of what cut edges carry: nothing, then what their senders write on the batch's next input; leaves [2, …]."""
    other = written(run.config.net.apply, params, graph, jnp.roll(x, 1, axis=0))
    return jax.lax.map(each, jnp.stack([jnp.zeros_like(other), other]))


def _both_scores(slopes: Array) -> Array:
    """[2, S, R] of slopes at SHARES: edge attribution at the whole network, and averaged on the way to it."""
    return -jnp.stack([slopes[0], jnp.mean(slopes[1:], axis=0)])


def program_edges(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of programs: what three methods say of every edge.

    Args:
        params: Weights of a transformer.
        run: Its data has `tokens`, `asked` (the positions that are judged) and `answer`.

    Returns:
        A dict. The axis distance is squared distance, then KL divergence (nats).

        - `effects` [substitute, distance, S, R]: the distance when the edge alone is cut.
        - `kept` [substitute, distance, threshold, S, R] bool: what ACDC keeps at each of `THRESHOLDS`.
        - `scores` [substitute, 2, S, R]: edge attribution of the answer's logit at the whole network, and with the
          gradient averaged over the way to it.
    """
    graph, apply, data = Graph.of(params), run.config.net.apply, run.data
    x, asked = data["tokens"], data["asked"]
    measures = [partial(kind, where=asked) for kind in (discovery.squared_distance, discovery.kl_divergence)]

    def output(logits: Array) -> Array:
        """What is attributed: the logit of the answer, or the number itself."""
        at = jnp.clip(data["answer"], 0, logits.shape[-1] - 1).astype(int) if logits.shape[-1] > 1 else 0 * x
        return jnp.mean(jnp.take_along_axis(logits, at[..., None], axis=2)[..., 0], where=asked)

    def found(substitute: Array) -> dict[str, Array]:
        def by(weights: Array) -> tuple[Array, Array]:
            def distance(a: Array, b: Array) -> Array:
                return sum(w * measure(a, b) for w, measure in zip(weights, measures, strict=True))

            keep = partial(discovery.acdc, apply, params, graph, x, distance, substitute=substitute)
            effects = discovery.edge_effects(apply, params, graph, x, distance, substitute)
            return effects, jax.lax.map(keep, jnp.asarray(THRESHOLDS, jnp.float32))

        effects, kept = jax.lax.map(by, jnp.eye(len(measures)))
        slopes = discovery.edge_slopes(apply, params, graph, x, output, jnp.asarray(SHARES), substitute)
        return {"effects": effects, "kept": kept, "scores": _both_scores(slopes)}

    return _on_both(x, params, run, graph, found)


def _sequences(run: Run, rows: int) -> tuple[Array, Array]:
    """Inputs and targets [rows, n_ctx]."""
    tokens = run.data["tokens"][:rows]
    return tokens[:, :-1], tokens[:, 1:]


def edge_effects(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: how much each edge matters alone.

    Returns:
        A dict: `KL` [substitute, S, R] is the KL divergence from the whole network, in nats, when the edge is cut.
    """
    (x, _), graph = _sequences(run, ROWS), Graph.of(params)
    effect = partial(discovery.edge_effects, run.config.net.apply, params, graph, x, discovery.kl_divergence)
    return {"KL": _on_both(x, params, run, graph, effect)}


def trained_circuit(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of models of sequences: the circuit that ACDC and edge attribution find.

    Returns:
        A dict.

        - `kept` [substitute, threshold, S, R] bool: what ACDC by KL divergence keeps at each of `TAUS`.
        - `scores` [substitute, 2, S, R]: edge attribution of the second-half loss (nats), at the whole network and with
          the gradient averaged over the way to it.
    """
    (x, y), graph, apply = _sequences(run, ROWS), Graph.of(params), run.config.net.apply
    half = x.shape[1] // 2

    def loss(logits: Array) -> Array:
        return jnp.mean(cross_entropy(logits, y)[:, half:])

    def found(substitute: Array) -> dict[str, Array]:
        keep = partial(discovery.acdc, apply, params, graph, x, discovery.kl_divergence, substitute=substitute)
        slopes = discovery.edge_slopes(apply, params, graph, x, loss, jnp.asarray(SHARES), substitute)
        return {"kept": jax.lax.map(keep, jnp.asarray(TAUS, jnp.float32)), "scores": _both_scores(slopes)}

    return _on_both(x, params, run, graph, found)


def attention_scores(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: scores of heads on repeated random blocks.

    Returns:
        A dict: `previous_token` and `induction`, both [L, H].
    """
    tokens = heads.blocks(params, run)
    A = run.config.net.apply(params, tokens)[1]["pattern"]
    found = heads.previous_token_score(A), heads.induction_score(A, tokens.shape[1] // 2)
    return {name: score.mean(1) for name, score in zip(("previous_token", "induction"), found, strict=True)}


def patching(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: how much of the logit difference each clean activation restores in a corrupt run.

    The clean input is a random block twice. The corrupt one has another token where the last token first stood, so that
    the answer cannot be looked up. The difference is the answer's logit less that of another token.

    Returns:
        A dict of shares: 0 is the corrupt run, 1 the clean one.

        - `residual` [L, P]: the residual stream before each layer, by position.
        - `z` [L, H, P]: the output of each head, by position.
        - `paths` [3, H, H]: the path from each head of layer 0 to the query, key or value of each head of layer 1.
    """
    clean = heads.blocks(params, run)
    period, d_vocab = clean.shape[1] // 2, len(params["W_E"])
    rows, answer = jnp.arange(len(clean)), clean[:, 0]
    corrupt = clean.at[:, period - 1].set((clean[:, -1] + 1 + rows % (d_vocab - 1)) % d_vocab)
    other = (answer + 1 + rows % (d_vocab - 1)) % d_vocab

    def difference(logits: Array) -> Array:
        return jnp.mean(logits[rows, -1, answer] - logits[rows, -1, other])

    given = (run.config.net.apply, params, clean, corrupt, difference)
    return {
        "residual": interventions.activation_patching(*given, "resid_pre", interventions.POSITIONS),
        "z": interventions.activation_patching(*given, "z", interventions.HEADS_AND_POSITIONS),
        "paths": jnp.stack([interventions.path_patching(*given, way)[0, :, 1] for way in WAYS]),  # [q k v, H, H]
    }


def scrub(params: Params, run: Run, draws: int = 4) -> dict[str, Array]:
    """Analyzer: the loss that the naive account of the heads of layer 1 explains (Chan et al. 2022).

    The account: the query depends on the token there, the key on the token before, the value on the token there. Each of
    `HYPOTHESES` holds for some of the three inputs; the others stay as they are.

    Args:
        params: Weights of a transformer of two layers.
        run: Its data has `tokens`.
        draws: How many draws of other examples a loss is the mean of.

    Returns:
        A dict of arrays [hypothesis].

        - `explained`: the share of the second-half loss that is explained (see `scrubbing.explained`).
        - `scrubbed`: the loss (nats) under the hypothesis.
        - `random`: the loss (nats) where the same inputs may depend on nothing.
    """
    (x, y), apply = _sequences(run, 4 * ROWS), run.config.net.apply
    n_heads, half = params["W_Q"].shape[1], x.shape[1] // 2
    own = jnp.broadcast_to(jnp.arange(len(x))[:, None], x.shape)  # agrees with itself alone: as it is
    naive = {"q": scrubbing.this_token(x), "k": scrubbing.previous_token(x), "v": scrubbing.this_token(x)}
    free = scrubbing.no_dependence(x)
    features = [[naive[part] if part in parts else own for part in "qkv"] for parts in HYPOTHESES]
    features += [[free if part in parts else own for part in "qkv"] for parts in HYPOTHESES]

    def loss(logits: Array) -> Array:
        return jnp.mean(cross_entropy(logits, y)[:, half:])

    def scrubbed(feature: Array) -> Array:
        hypothesis = {(1, head, part): f for head in range(n_heads) for part, f in zip("qkv", feature, strict=True)}
        keys = jax.random.split(jax.random.key(0), draws)
        return jnp.mean(jax.lax.map(lambda key: loss(scrubbing.scrubbed(apply, params, x, hypothesis, key)), keys))

    losses = jax.lax.map(scrubbed, jnp.stack([jnp.stack(feature) for feature in features])).reshape(2, -1)
    whole = loss(apply(params, x)[0])
    return {"explained": scrubbing.explained(whole, losses[0], losses[1]), "scrubbed": losses[0], "random": losses[1]}
