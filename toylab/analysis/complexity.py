"""Measures of a network's complexity (Golechha 2024, arXiv 2405.12755, section 4): how many activations are off, how spread
the weights are, and how much the outputs change when a tenth of a layer's weights is cut."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, PRNGKeyArray, Real

from toylab.analysis.numbers import floating, nan_where
from toylab.base import Apply
from toylab.shapes import shaped


@shaped
def activation_sparsity(x: Real[ArrayLike, "n d"], threshold: float = 0.0) -> Float[Array, ""]:
    """The share of activations that are at most a threshold, `mean_{ij} [a_ij ≤ τ]`.

    The paper has `a_ij < τ` and does not say τ. With 0 it is the share that a ReLU has cut.

    Args:
        x: Activations, [n, d], of n examples.
        threshold: τ, in units of x.

    Returns:
        A scalar in [0, 1].

    Raises:
        ValueError: Where x is empty.
    """
    x = floating(x)
    if not x.size:
        raise ValueError(f"x has shape {x.shape}: it must be [n, d], examples by activations, and not empty.")
    return jnp.mean(nan_where(jnp.isnan(x), x <= threshold))


@shaped
def absolute_weight_entropy(W: Real[ArrayLike, "..."]) -> Float[Array, ""]:
    """`H(W) = −Σ |w| ln |w|` in nats, with 0 ln 0 = 0.

    |w| is no probability, so that H has no least value and grows with the size of the weights up to |w| = 1/e. Of n weights
    even in ±a it is about n (a/4 − (a/2) ln a), which is largest at a = e^{−1/2}.

    Args:
        W: Weights of one layer.

    Returns:
        A scalar.
    """
    w = jnp.abs(floating(W))
    return -jnp.sum(jnp.where(w == 0, 0, w * jnp.log(jnp.where(w == 0, 1, w))))


@shaped
def output_divergence(logits: Real[ArrayLike, "n c"], others: Real[ArrayLike, "n c"]) -> Float[Array, ""]:
    """The mean over examples of KL(softmax(logits) ‖ softmax(others)), in nats; the paper sums over examples.

    Args:
        logits: Of a network, [n, c].
        others: Of a changed one on the same examples, [n, c].

    Returns:
        A scalar, at least 0 but for rounding.
    """
    log_p, log_q = (jax.nn.log_softmax(floating(z), axis=-1) for z in (logits, others))
    p = jnp.exp(log_p)
    return jnp.sum(p * (log_p - log_q), axis=-1).mean()


@shaped
def circuit_complexity(
    apply: Apply,
    params: Mapping[str, Real[ArrayLike, "..."]],
    name: str,
    x: Real[ArrayLike, "n ..."],
    key: PRNGKeyArray,
    *,
    share: float = 0.1,
    draws: int = 4,
) -> Float[Array, ""]:
    """Approximate local circuit complexity: `output_divergence` of a network and one with random weights of a layer cut.

    Args:
        apply: The network, (params, x) → outputs [n, c] and a cache.
        params: Its arrays.
        name: Of the array whose entries are made 0.
        x: Examples, [n, …].
        key: Of the draw; the same key cuts the same weights.
        share: Of the array's entries; so many are cut, rounded.
        draws: Over which the divergence is averaged; the paper has one.

    Returns:
        A scalar in nats: 0 where the outputs do not depend on what is cut.

    Raises:
        ValueError: For an unknown name, a share outside [0, 1], and no draws.
    """
    if name not in params:
        raise ValueError(f"name is {name!r}: the arrays are {', '.join(sorted(params))}.")
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share:g}: it must lie in [0, 1].")
    if draws < 1:
        raise ValueError(f"draws is {draws}: it must be at least 1.")
    arrays, x = {key: jnp.asarray(one) for key, one in params.items()}, jnp.asarray(x)
    W = arrays[name]
    logits, _ = apply(arrays, x)

    def one(key: Array) -> Array:
        order = jax.random.permutation(key, W.size).reshape(W.shape)
        cut = {**arrays, name: jnp.where(order < round(share * W.size), 0, W)}
        return output_divergence(logits, apply(cut, x)[0])

    return jnp.stack([one(each) for each in jax.random.split(key, draws)]).mean()
