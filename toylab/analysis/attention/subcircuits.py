"""What an induction head is made of (Singh et al. 2024, arXiv 2404.07129): how strongly each head matches, what it does
alone, which heads of layer 1 it hangs on and by which path; and the paper's toy model of parts that learn together.

Networks here have two layers and answer at the last position: `apply(params, x, patch, full=True) -> (logits [B, C],
cache)`, the cache with `pattern [L, B, H, P, P]`. Layers are counted from 0, as in patches.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Integer, Real, Shaped

from toylab.analysis.attention.heads import previous_token_score
from toylab.analysis.attention.interventions import check_unclamped
from toylab.analysis.numbers import floating
from toylab.base import Apply, Params, Patch, Run
from toylab.losses import right
from toylab.shapes import shaped
from toylab.shapes.indices import check_range, nan_outside


@shaped
def induction_strength(
    pattern: Real[ArrayLike, "*batch B n_heads Q P"],
    correct: Integer[ArrayLike, " B"],
    incorrect: Integer[ArrayLike, " B"],
) -> Float[Array, "*batch n_heads"]:
    """Mean over the batch of A[last, correct label] − A[last, incorrect label] (Singh et al. 2024).

    Args:
        pattern: A, [..., B, H, Q, P].
        correct: The position of the correct label, [B].
        incorrect: The position of the other label, [B].

    Returns:
        [..., H] in [−1, 1].

    Raises:
        ValueError: For a position that is not there; under jit nan.
    """
    attention = floating(pattern)[..., -1, :]  # [..., B, H, P]
    n = attention.shape[-1]

    def at(name: str, positions: ArrayLike) -> Array:  # [B, P]
        check_range(name, positions, n, "pattern", "positions")
        return nan_outside(jax.nn.one_hot(positions, n, dtype=attention.dtype), positions, n)

    sign = at("correct", correct) - at("incorrect", incorrect)
    return jnp.mean(jnp.sum(attention * sign[:, None], axis=-1), axis=-2)


@shaped
def previous_token_attention(
    pattern: Real[ArrayLike, "*batch B n_heads P P"], queries: Sequence[int]
) -> Float[Array, "*batch n_heads"]:
    """Mean over the batch and some queries t of A[t, t − 1].

    With all t ≥ 1 it is `heads.previous_token_score`. An induction head needs it at labels alone.

    Args:
        pattern: A, [..., B, H, P, P].
        queries: The positions t.

    Returns:
        [..., H].
    """
    if min(queries, default=0) < 1:
        raise ValueError(f"queries are {tuple(queries)}, they must be positions from 1: the first has none before it")
    at = jnp.asarray(queries)
    return jnp.mean(floating(pattern)[..., at, at - 1], axis=(-3, -1))


@shaped
def accuracy(logits: Real[ArrayLike, "B n_classes"], labels: Integer[ArrayLike, " B"]) -> Float[Array, ""]:
    """Share of examples whose largest logit is the label's.

    Args:
        logits: [B, n_classes].
        labels: [B].

    Returns:
        A scalar; nan where a logit is nan.

    Raises:
        ValueError: For a label that is no class; under jit nan.
    """
    return jnp.mean(right(floating(logits), labels))


@shaped
def without(heads: Bool[Array, " n_heads"], layer: int) -> Patch:
    """Zero ablation: the heads of one layer in the mask [H] put nothing out."""
    return {"z": lambda z, at: jnp.where(heads[:, None, None], 0, z) if at == layer else z}


@shaped
def solo_accuracy(
    apply: Apply, params: Params, x: Shaped[Array, "B P ..."], labels: Integer[ArrayLike, " B"], layer: int = 1
) -> Float[Array, " n_heads"]:
    """Accuracy with each head of a layer as its only one, all others ablated (Singh et al. 2024).

    Args:
        apply: The network.
        params: Its weights.
        x: A batch of inputs.
        labels: [B].
        layer: From 0.

    Returns:
        [H].
    """
    _check_layer(apply, params, layer, "z")
    n_heads = params["W_Q"].shape[1]
    return jax.lax.map(
        lambda others: accuracy(apply(params, x, without(others, layer), full=True)[0], labels),
        ~jnp.eye(n_heads, dtype=bool),
    )


@shaped
def path_ablated_accuracy(
    apply: Apply,
    params: Params,
    x: Shaped[Array, "B P ..."],
    labels: Integer[ArrayLike, " B"],
    heads: Bool[Array, " n_heads"],
    keep: Sequence[str] = (),
) -> Float[Array, ""]:
    """Accuracy without some heads of layer 0, while layer 1 keeps some activations of the whole network.

    With ("pattern",) those heads act on values and the direct path no more. With ("v",) they act on patterns and the direct
    path no more. With both they act on the direct path to the logits no more (Singh et al. 2024, released code: "preserve
    patterns", "preserve values").

    Args:
        apply: The network.
        params: Its weights.
        x: A batch of inputs.
        labels: [B].
        heads: Mask of the heads of layer 0 that are ablated.
        keep: Names of the activations that layer 1 keeps.
    """
    _check_layer(apply, params, 1, "z", *keep)
    _, whole = apply(params, x, full=True)
    kept = {name: lambda value, at, name=name: whole[name][1] if at == 1 else value for name in keep}
    return accuracy(apply(params, x, {**without(heads, 0), **kept}, full=True)[0], labels)


@shaped
def wiring(
    apply: Apply,
    params: Params,
    x: Shaped[Array, "B P ..."],
    correct: Integer[ArrayLike, " B"],
    incorrect: Integer[ArrayLike, " B"],
) -> Float[Array, "n_heads n_heads"]:
    """How much induction strength each head of layer 1 loses when one of layer 0 is ablated.

    The paper's wiring diagram is of groups; single heads are ours.

    Args:
        apply: The network.
        params: Its weights.
        x: A batch of inputs.
        correct: The position of the correct label, [B].
        incorrect: The position of the other label, [B].

    Returns:
        [layer-0 heads, layer-1 heads].
    """
    _check_layer(apply, params, 1, "z")

    def strength(patch: Patch | None) -> Array:
        return induction_strength(apply(params, x, patch, full=True)[1]["pattern"][1], correct, incorrect)

    n_heads = params["W_Q"].shape[1]
    return strength(None) - jax.lax.map(lambda head: strength(without(head, 0)), jnp.eye(n_heads, dtype=bool))


def _check_layer(apply: Apply, params: Params, layer: int, *patched: str) -> None:
    check_unclamped(apply, *patched)
    n_layers = len(params["W_Q"])
    if layer not in range(n_layers):
        raise ValueError(f"params has {n_layers} layers: there is no layer {layer}, counted from 0.")


# --- the toy model: three factors that must all be right


@shaped
def rank_one_recipe(
    seed: Integer[ArrayLike, ""] = 1, dims: int = 20
) -> tuple[Float[Array, "3 dims"], Float[Array, "3 dims"]]:
    """True and initial a, b, c of the toy model, standard normal (Singh et al. 2024, released code; seed 1 is the paper's).

    Args:
        seed: They are drawn from `split(PRNGKey(seed), 6)`.
        dims: Of each factor.

    Returns:
        Two arrays [3, dims].
    """
    keys = jax.random.split(jax.random.PRNGKey(seed), 6)
    drawn = jnp.stack([jax.random.normal(key, (dims,)) for key in keys])
    return drawn[:3], drawn[3:]


@partial(jax.jit, static_argnames="steps")
@shaped
def rank_one_losses(
    true: Float[ArrayLike, "3 dims"],
    initial: Float[ArrayLike, "3 dims"],
    clamped: Bool[ArrayLike, " 3"],
    steps: int = 1000,
    lr: Real[ArrayLike, ""] = 1.0,
) -> Float[Array, " steps"]:
    """½ mean (T − a⊗b⊗c)² before each step of gradient descent, where T is the product of the true factors.

    Args:
        true: a, b, c, [3, dims].
        initial: Where they start.
        clamped: Which of them are true throughout.
        steps: Of the descent.
        lr: Its learning rate.

    Returns:
        [steps].
    """
    true, initial = jnp.asarray(true), jnp.asarray(initial)
    clamped = jnp.asarray(clamped)[:, None]
    target = jnp.einsum("i,j,k->ijk", *true)

    def loss(factors: Array) -> Array:
        return 0.5 * jnp.mean((target - jnp.einsum("i,j,k->ijk", *factors)) ** 2)

    def step(factors: Array, _: None) -> tuple[Array, Array]:
        value, gradient = jax.value_and_grad(loss)(factors)
        return jnp.where(clamped, factors, factors - lr * gradient), value

    return jax.lax.scan(step, jnp.where(clamped, true, initial), None, length=steps)[1]


# --- analyzers, for tasks whose data has vectors and an `eval` batch of tokens, labels and correct


LABELS = (1, 3)  # positions of the two labels
CLAMPS = {"none": (False, False, False), "c": (False, False, True), "bc": (False, True, True)}


def _evaluation(run: Run) -> tuple[Array, Array, Array, Array]:
    batch = run.data["eval"]
    return run.data["vectors"][batch.tokens], batch.labels, batch.correct, sum(LABELS) - batch.correct


def heads(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer.

    Returns:
        A dict of arrays [H]: `strength` of layer 2; of layer 1 `previous` over all positions, and `previous_at_labels` at
        labels alone.
    """
    x, _, *positions = _evaluation(run)
    pattern = run.config.net.apply(params, x)[1]["pattern"]
    return {
        "strength": induction_strength(pattern[1], *positions),
        "previous": jnp.mean(previous_token_score(pattern[0]), axis=0),
        "previous_at_labels": previous_token_attention(pattern[0], LABELS),
    }


def alone(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer.

    Returns:
        A dict: `solo` [H] of layer 2; the accuracy of the whole; and that of the network in which layer 1 acts by layer 2
        alone.
    """
    x, labels, *_ = _evaluation(run)
    apply = run.config.net.apply
    everything = jnp.ones(params["W_Q"].shape[1], bool)
    return {
        "solo": solo_accuracy(apply, params, x, labels),
        "accuracy": accuracy(apply(params, x)[0], labels),
        "no_direct_path": path_ablated_accuracy(apply, params, x, labels, everything, ("pattern", "v")),
    }


def wires(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer.

    Returns:
        A dict.

        - `lost` [layer-1 heads, layer-2 heads]: as of `wiring`.
        - `previous_token` bool [H]: the heads of layer 1 that attend from labels to the position before by more than 1/2.
        - `keep_patterns`, `keep_values` [2]: the accuracy without these heads, and without all others, layer 2 keeping its
          patterns or its values.
    """
    x, labels, *positions = _evaluation(run)
    apply = run.config.net.apply
    group = heads(params, run)["previous_at_labels"] > 0.5
    ablated = partial(path_ablated_accuracy, apply, params, x, labels)
    return {
        "lost": wiring(apply, params, x, *positions),
        "previous_token": group,
        "keep_patterns": jnp.stack([ablated(mask, ("pattern",)) for mask in (group, ~group)]),
        "keep_values": jnp.stack([ablated(mask, ("v",)) for mask in (group, ~group)]),
    }


def toy(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: losses [1000] of the toy model without a clamp, with c, and with b and c clamped.

    A run's seed picks the toy's: seed 0 has the paper's, 1.
    """
    true, initial = rank_one_recipe(run.config.seed + 1)
    return {name: rank_one_losses(true, initial, jnp.array(clamped)) for name, clamped in CLAMPS.items()}
