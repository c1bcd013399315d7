"""Causal scrubbing: does a hypothesis about what an activation depends on account for the network's loss?

A hypothesis names a *feature* of the input for every position: what the activation there may depend on, according to it
(the token there, the token before, nothing). Scrubbing puts in its place the same activation from another example of the
batch, drawn among those whose feature at that position agrees; if the hypothesis is right, nothing is lost. The share of
the loss that is explained is

    1 − (L_scrubbed − L) / (L_random − L)        1: all; 0: as much as a hypothesis that allows no dependence

(Chan et al. 2022, Causal scrubbing; the formula as in their results on induction heads). Each activation of the
hypothesis, that is each head's query, key or value input, is drawn on its own, so that a wrong hypothesis cannot hide
behind inputs that happen to fit together.
"""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Integer, PRNGKeyArray, Real, Shaped

from toylab.analysis.attention.interventions import check_unclamped
from toylab.base import Apply, Params, Patch
from toylab.shapes import shaped

Hypothesis = Mapping[tuple[int, int, str], Integer[Array, "B P"]]
"""(layer, head, "q", "k" or "v") → the feature [B, P], whole numbers, on which that input may depend."""


@shaped
def donors(key: PRNGKeyArray, feature: Integer[Array, "B P"]) -> Int[Array, "B P"]:
    """For each example and position an example whose feature there is the same, evenly among all such, itself included.

    Position by position it is a random permutation of the examples within each class of the feature.

    Args:
        key: Of the draw.
        feature: [B, P].

    Returns:
        Indices of examples, int [B, P].
    """
    by_class = [jnp.lexsort((jax.random.uniform(one, feature.shape), feature), axis=0) for one in jax.random.split(key)]
    return jnp.put_along_axis(jnp.zeros_like(by_class[0]), by_class[0], by_class[1], axis=0, inplace=False)


@shaped
def scrubbed(
    apply: Apply, params: Params, x: Shaped[Array, "B P ..."], hypothesis: Hypothesis, key: PRNGKeyArray
) -> Float[Array, "B P d_vocab_out"]:
    """Logits with every input of the hypothesis resampled among the examples that agree with it.

    What the hypothesis does not name runs as it is, on what it then finds. Inputs are resampled before LayerNorm, from
    runs of the whole network.

    Args:
        apply: The network.
        params: Its weights.
        x: A batch of inputs.
        hypothesis: What each input may depend on.
        key: Of the draws.

    Returns:
        [B, P, d_vocab_out].

    Raises:
        ValueError: For a head that is not there, and a batch of one, which has no other example.
    """
    if len(x) < 2:
        raise ValueError(f"x has shape {x.shape}: inputs are drawn from other examples, so there must be at least 2.")
    check_unclamped(apply, *(f"{kind}_input" for kind in "qkv"))
    _, cache = apply(params, x, full=True)
    resid = cache["resid_pre"]  # [L, B, P, d_model]
    n_layers, n_heads = len(resid), cache["pattern"].shape[2]
    for layer, head, input in hypothesis:
        if layer not in range(n_layers) or head not in range(n_heads) or input not in ("q", "k", "v"):
            raise ValueError(
                f"hypothesis has {(layer, head, input)}: it must be (layer, head, 'q', 'k' or 'v') of {n_layers} layers"
                f" of {n_heads} heads."
            )
    keys = jax.random.split(key, len(hypothesis))
    rows = jax.vmap(donors)(keys, jnp.stack(list(hypothesis.values())))
    drawn = dict(zip(hypothesis, rows, strict=True))
    positions = jnp.arange(resid.shape[2])

    def resampled(kind: str, value: Array, at: int) -> Array:  # [B, H, P, d_model]
        for (layer, head, input), rows in drawn.items():
            if layer == at and input == kind:
                value = value.at[:, head].set(resid[layer][rows, positions])
        return value

    named = sorted({input for _, _, input in hypothesis})
    patch: Patch = {f"{kind}_input": partial(resampled, kind) for kind in named}
    return apply(params, x, patch, full=True)[0]


@shaped
def no_dependence(tokens: Integer[ArrayLike, "B P"]) -> Integer[Array, "B P"]:
    """The feature of inputs that may depend on nothing but the position."""
    return jnp.zeros_like(tokens)


@shaped
def this_token(tokens: Integer[ArrayLike, "B P"]) -> Integer[Array, "B P"]:
    """The feature of inputs that depend on the token at their position."""
    return jnp.asarray(tokens)


@shaped
def previous_token(tokens: Integer[ArrayLike, "B P"]) -> Integer[Array, "B P"]:
    """The feature of inputs that depend on the token before; −1 at the first position."""
    return jnp.pad(jnp.asarray(tokens)[:, :-1], ((0, 0), (1, 0)), constant_values=-1)


@shaped
def naive_induction(tokens: Integer[ArrayLike, "B P"], layer: int, head: int, parts: str = "qkv") -> Hypothesis:
    """The naive account of an induction head (Chan et al. 2022, where the three parts are EQ, PTH-K and EV).

    It looks for the key whose previous token is the current one, and copies the token at that key.

    Args:
        tokens: [B, P].
        layer: Of the head.
        head: Its index.
        parts: Some of "q", "k" and "v".
    """
    features = {"q": this_token, "k": previous_token, "v": this_token}
    return {(layer, head, part): features[part](tokens) for part in features if part in parts}


@shaped
def explained(
    loss: Real[ArrayLike, "*#batch"], scrubbed: Real[ArrayLike, "*#batch"], random: Real[ArrayLike, "*#batch"]
) -> Float[Array, "*batch"]:
    """1 − (L_scrubbed − L) / (L_random − L)."""
    loss = jnp.asarray(loss)
    return 1 - (jnp.asarray(scrubbed) - loss) / (jnp.asarray(random) - loss)
