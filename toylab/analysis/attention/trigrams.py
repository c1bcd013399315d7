"""Skip-trigrams: which tokens an attention head joins, source … destination → output (Elhage et al. 2021).

`params` are as in circuits.py. The biases b_Q and b_K, where there are any, are in the scores.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Real

from toylab.analysis.attention.circuits import direct_path, ov_circuit
from toylab.analysis.attention.paths import Weights
from toylab.analysis.attention.products import arrays, dot
from toylab.analysis.numbers import floating
from toylab.base import Params, Run
from toylab.shapes import shaped


@shaped
def skip_trigrams(params: Weights, k: int = 10) -> dict[str, Real[Array, "n_layers n_heads k"]]:
    """The skip-trigrams "source … destination → output" that each head raises most (Elhage et al. 2021).

    They are ranked by contribution: the softmax of the scores of B over all tokens, at A, times the effect less its
    mean over C. This is what the head adds to C at B, up to what does not depend on A or on C, with every token once in
    the context. The ranking is ours; the paper's tables are chosen by hand. Positions are left out. In deeper layers
    only what comes straight from the embedding counts.

    Args:
        params: The weights.
        k: How many for each head.

    Returns:
        A dict of arrays [L, H, k].

        - `source` A, `destination` B, `output` C: token ids.
        - `preference`: the attention score QK[B, A]/√dh, b_Q and b_K included.
        - `effect`: OV[A, C].
        - `contribution`: what they are ranked by.
    """
    scores, effect = _scores(params), ov_circuit(params)
    V, C = effect.shape[-2:]
    few, outputs = min(k, V), min(k, C)
    share = jax.nn.softmax(scores, axis=-1).mT  # [L, H, A, B]
    top_share, destination = jax.lax.top_k(share, few)  # the k best of all lie among the k best of each source
    top_effect, output = jax.lax.top_k(effect - effect.mean(-1, keepdims=True), outputs)
    products = top_share[..., :, None] * top_effect[..., None, :]  # [L, H, A, few, outputs]
    contribution, flat = jax.lax.top_k(products.reshape(*products.shape[:2], -1), min(k, V * few * outputs))
    source, rest = jnp.divmod(flat, few * outputs)
    pick = lambda x, i: jnp.take_along_axis(x.reshape(*x.shape[:2], -1), i, -1)  # noqa: E731
    destination, output = (
        pick(destination, source * few + rest // outputs),
        pick(output, source * outputs + rest % outputs),
    )
    found = {"source": source, "destination": destination, "output": output, "contribution": contribution}
    return found | {"preference": pick(scores, destination * V + source), "effect": pick(effect, source * C + output)}


def _scores(params: Weights) -> Array:
    """(W_E W_Q + b_Q) (W_E W_K + b_K)ᵀ/√dh [L, H, V, V]."""
    W_E, W_Q, W_K = arrays(params, "W_E", "W_Q", "W_K")
    b_Q, b_K = (floating(params[name])[..., None, :] if name in params else 0 for name in ("b_Q", "b_K"))
    return dot(dot(W_E, W_Q) + b_Q, (dot(W_E, W_K) + b_K).mT) / W_Q.shape[-1] ** 0.5


def table(params: Params, run: Run, k: int = 10) -> dict[str, Array]:
    """Analyzer of `SkipTrigrams`, for one layer: the strongest skip-trigrams of each head, and how far tables alone answer
    as the law.

    A head's table is what it adds to the logit of C at destination B with source A in the context: its attention to A,
    times the effect less its mean over C. Attention is over the source, the destination itself at the end, and fillers
    by their mean at all other places; it is the mean over the source's places. Positions enter queries and keys alone.

    Args:
        params: Weights.
        run: Its task says which tokens are sources and destinations.
        k: Skip-trigrams of each head.

    Returns:
        A dict.

        - `source`, `destination`, `output` [H, k]: counted among sources, destinations and answers.
        - `contribution` [H, k]: by which they are ranked.
        - `law` [H, k]: the law's probability of the output.
        - `answered`: share of pairs (source, destination) whose most probable answer is the largest entry of the bigram
          and skip-trigram tables together.
    """
    task: Any = run.config.task
    answers = task.answers()
    share, effect, rest = _tables(params, task.n_sources, task.n_destinations, task.n_ctx - 2)
    given = share[..., None] * effect[:, :, None]  # [H, A, B, C]
    said = (given.sum(0) + rest).argmax(-1)
    centred = given - given.mean(-1, keepdims=True)
    contribution, flat = jax.lax.top_k(centred.reshape(len(given), -1), min(k, given[0].size))
    source, pair = jnp.divmod(flat, given.shape[2] * given.shape[3])
    destination, output = jnp.divmod(pair, given.shape[3])
    found = {"source": source, "destination": destination, "output": output, "contribution": contribution}
    answered = (said == answers.argmax(-1)).mean()
    return found | {"law": answers[source, destination, output], "answered": answered}


def _tables(params: Weights, n_sources: int, n_destinations: int, n_fillers: int) -> tuple[Array, Array, Array]:
    """Attention to the source [H, A, B], its effect [H, A, C], and what else is in the logits [A, B, C]."""
    W_E, W_Q, W_K = arrays(params, "W_E", "W_Q", "W_K")
    W_pos = floating(params["W_pos"]) if "W_pos" in params else jnp.zeros((n_fillers + 2, W_E.shape[1]))
    first = n_sources + n_destinations  # of the fillers
    B, last = slice(n_sources, first), W_pos[n_fillers + 1]
    queries = dot(W_E[B] + last, W_Q[0]) / W_Q.shape[-1] ** 0.5  # [H, B, dh]
    of_token = dot(dot(W_E, W_K[0]), queries.mT)[:, None]  # [H, 1, V, B]
    of_place = dot(dot(W_pos[: n_fillers + 1], W_K[0]), queries.mT)[:, :, None]  # [H, S, 1, B]
    weight, effect = jnp.exp(of_token + of_place), ov_circuit(params)[0]  # [H, S, V, B], [H, V, C]
    own = jnp.exp((queries * dot(W_E[B] + last, W_K[0])).sum(-1))  # [H, B]
    filler = weight[:, :, first:] / len(W_E[first:])
    filler = filler.sum(1, keepdims=True) - filler  # at all places but the source's
    total = weight[:, :, :n_sources] + filler.sum(2, keepdims=True) + own[:, None, None]  # [H, S, A, B]
    others = own[:, None, :, None] * effect[:, None, B] + dot(filler.mT, effect[:, None, first:])  # [H, S, B, C]
    rest = (others[:, :, None] / total[..., None]).mean(1).sum(0) + direct_path(params)[B]
    return (weight[:, :, :n_sources] / total).mean(1), effect[:, :n_sources], rest
