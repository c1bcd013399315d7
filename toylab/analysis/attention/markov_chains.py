"""Analyzers of networks on Markov chains that are told in the context: exact losses, and induction by statistics.

The strategies and the minimal model are those of Edelman et al. 2024, The Evolution of Statistical Induction Heads (arXiv
2402.11004); the solutions of a finite set of chains those of Park et al. 2024 (arXiv 2412.01003).
"""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab.analysis.attention import heads
from toylab.base import Params, Run
from toylab.tasks import MarkovChains
from toylab.tasks.markov import expected_loss

N_SEEN = 128  # sequences on which attention is measured
BINS = 12  # of positions, evenly spaced in their logarithm
MINIMAL_STEPS, MINIMAL_POINTS = 1000, 100  # of the minimal model
MINIMAL_RATES, MINIMAL_START = (1.0, 0.01), 0.02  # of v and W; and their spread at the start
SHOWN = 100  # patterns are kept of runs whose seed is a multiple of it


def position_bins(n: int) -> np.ndarray:
    """Edges of bins of n positions, counted from 0: bin i has those from edges[i] to edges[i + 1] − 1.

    The first positions, where a loss changes most, have bins of their own; there are at most BINS.
    """
    return np.unique(np.geomspace(1, n + 1, BINS + 1).round().astype(int)) - 1


def _binned(by_position: Array) -> Array:
    """Means [..., bins] over the bins of positions of an array [..., P]."""
    edges = position_bins(by_position.shape[-1])
    sums = jnp.add.reduceat(by_position, edges[:-1], axis=-1)
    return sums / np.diff(edges)


@functools.lru_cache
def exact_by_position(**task: Any) -> dict[str, np.ndarray]:
    """Expected losses of the strategies by position, of 20,000 sequences.

    Args:
        **task: Fields of `MarkovChains`.

    Returns:
        [P] each, in nats: `uniform`, `unigram`, `bigram`.
    """
    found = MarkovChains(**task).limits()
    return {name: found[name] for name in ("uniform", "unigram", "bigram")}


def strategy_losses(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of `MarkovChains`: the losses of predictors that count, which need no network.

    Returns:
        A dict of scalars in nats: `uniform`, `unigram` and `bigram`, expected over the next token given the chain, means
        over the evaluation set.
    """
    tokens, task = run.data["tokens"][:, :-1], cast(MarkovChains, run.config.task)
    return {
        name: expected_loss(law, tokens, run.data["transition"]).mean() for name, law in task.strategies(tokens).items()
    }


def statistical_induction(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of `MarkovChains`: what the network attends to, and what layer 1 could do with keys from the token before.

    Args:
        params: Of a transformer of two or more layers.
        run: Its task is `MarkovChains`.

    Returns:
        A dict.

        - `loss` [bins] in nats, by `position_bins`, expected over the next token given the chain.
        - `keys_gain` in nats: by how much the loss falls where layer 1's keys alone are made of a layer 0 that attends to
          the token before; mean over N_SEEN sequences.
        - `previous` [L]: attention to the token before, mean over heads.
        - `followers` [L]: attention to all that followed earlier occurrences of the present token; 0.4 of even attention
          for 3 symbols and 64 tokens.
        - `pattern` [L, 16, 16] float16, of the first head on the first tokens of one sequence, and these `tokens` [16]; 0
          but for seeds that are multiples of SHOWN.
    """
    tokens, transition = run.data["tokens"][:, :-1], run.data["transition"]
    apply = run.config.net.apply

    def losses(logits: Array) -> Array:  # [n, P], of the first n sequences
        model = jax.nn.log_softmax(logits)
        return expected_loss(model, tokens[: len(logits)], transition[: len(logits)])

    few = tokens[:N_SEEN]
    before = jnp.eye(tokens.shape[1], k=-1).at[0, 0].set(1)
    clamp = {"pattern": lambda found, layer: jnp.broadcast_to(before, found.shape) if layer == 0 else found}
    seen = apply(params, few, clamp)[1]["resid_pre"][1][:, None]  # [B, 1, P, d_model], by layer 1
    keys = {"k_input": lambda found, layer: jnp.broadcast_to(seen, found.shape) if layer == 1 else found}
    with_keys, _ = apply(params, few, keys)
    logits, cache = apply(params, few)
    pattern = cache["pattern"]
    shown = run.config.seed % SHOWN == 0
    return {
        "loss": _binned(losses(apply(params, tokens, full=False)[0]).mean(0)),
        "keys_gain": (losses(logits) - losses(with_keys)).mean(),
        "previous": heads.previous_token_score(pattern).mean((1, 2)),
        "followers": heads.prefix_matching_score(pattern, few).mean(1),
        "pattern": jnp.where(shown, pattern[:, 0, 0, :16, :16], 0).astype(jnp.float16),  # causal: as on the 16 alone
        "tokens": tokens[0, :16],
    }


def minimal_model(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of `MarkovChains`: the minimal model of Edelman et al. 2024, trained on the run's task from the run's seed.

    Tokens e_t are one-hot. Layer 0 attends by position alone, ẽ_s = Σ_r softmax_r(v_{s−r}) e_r, and layer 1 linearly: the
    logits at t are Σ_{s≤t} (e_tᵀ W ẽ_s) e_s. A network that counts pairs has v greatest at distance 1 and W a multiple of
    the identity. It is trained by plain stochastic gradient descent on the cross-entropy. The rate of W is ours.

    Returns:
        A dict of arrays [MINIMAL_POINTS, …], at every MINIMAL_STEPS / MINIMAL_POINTS steps.

        - `steps`, of the points; `loss` in nats, mean over the batches from there to the next.
        - `match`: the mean diagonal entry of W less the mean of the others.
        - `attention` [8]: softmax of v over all distances, at distances 0 to 7.
    """
    task = cast(MarkovChains, run.config.task)
    start_key, data_key = jax.random.split(jax.random.key(run.config.seed))
    v, W = (MINIMAL_START * jax.random.normal(key, shape) for key, shape in
            zip(jax.random.split(start_key), ((task.n_ctx,), (task.k, task.k)), strict=True))  # fmt: skip

    def loss(weights: tuple[Array, Array], tokens: Array) -> Array:
        found = jax.nn.log_softmax(_minimal_logits(*weights, tokens[:, :-1]))
        return -jnp.mean(jnp.take_along_axis(found, tokens[:, 1:, None], axis=-1))

    def step(weights: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], Array]:
        value, (of_v, of_W) = jax.value_and_grad(loss)(weights, task.sample(key, task.batch_size))
        return (weights[0] - MINIMAL_RATES[0] * of_v, weights[1] - MINIMAL_RATES[1] * of_W), value

    def point(weights: tuple[Array, Array], keys: Array) -> tuple[tuple[Array, Array], dict[str, Array]]:
        v, W = weights
        after, losses = jax.lax.scan(step, weights, keys)
        diagonal = jnp.trace(W) / task.k
        others = (jnp.sum(W) - jnp.trace(W)) / (task.k**2 - task.k)
        return after, {"loss": losses.mean(), "match": diagonal - others, "attention": jax.nn.softmax(v)[:8]}

    keys = jax.random.split(data_key, MINIMAL_STEPS).reshape(MINIMAL_POINTS, -1)
    steps = jnp.arange(MINIMAL_POINTS) * (MINIMAL_STEPS // MINIMAL_POINTS)
    return {"steps": steps, **jax.lax.scan(point, (v, W), keys)[1]}


def _minimal_logits(v: Array, W: Array, tokens: Array) -> Array:
    """Logits [N, T, k] of the minimal model.

    Args:
        v: By distance, at least [T].
        W: [k, k].
        tokens: [N, T].
    """
    n = tokens.shape[1]
    one_hot = jax.nn.one_hot(tokens, len(W))
    distance = jnp.arange(n)[:, None] - jnp.arange(n)
    causal = distance >= 0
    pattern = jax.nn.softmax(jnp.where(causal, v[jnp.maximum(distance, 0)], -jnp.inf), axis=1)
    attended = jnp.einsum("ts,nsk->ntk", pattern, one_hot)
    scores = jnp.einsum("ntk,kj,nsj->nts", one_hot, W, attended)
    return jnp.einsum("nts,nsk->ntk", jnp.where(causal, scores, 0), one_hot)


def exact_losses(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of `ChainMixture`: the losses of the exact solutions, which need no network.

    Returns:
        A dict of scalars in nats, on the sequences of the measures: `trained_bi_retrieval`, …, for each set of
        `tasks.mixture.SETS` and each of its SOLUTIONS.
    """
    return {f"{on}_{name}": loss for on, losses in run.data["losses"].items() for name, loss in losses.items()}
