"""In how many dimensions features lie, and in how many of them the labels can be read off (Fan et al. 2024, Deep Grokking,
arXiv 2405.19454: features lose rank when a network generalises). Features x are [n, d], rows samples."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Integer, Real

from toylab.analysis import probes
from toylab.analysis.numbers import centred as of_columns
from toylab.analysis.numbers import check_finite, floating, scaled
from toylab.losses import right
from toylab.shapes import shaped


def _values(x: ArrayLike, centred: bool) -> Array:
    x = floating(x)
    if not x.size:
        raise ValueError(f"x has shape {x.shape}: it must be [n, d], samples by features, and not empty.")
    return jnp.linalg.svd(scaled(of_columns(x, 0) if centred else x)[0], compute_uv=False)


@shaped
def feature_rank(x: Real[ArrayLike, "n d"], tolerance: float = 1e-3, *, centred: bool = True) -> Integer[Array, ""]:
    """Numerical rank: how many singular values exceed tolerance · the largest.

    1e-3 is a usual choice (Masarczyk et al. 2023, arXiv 2305.19753). Fan et al. 2024 take torch's matrix_rank of a float64
    covariance, whose tolerance is far smaller.

    Args:
        x: Features, [n, d].
        tolerance: As a share of the largest.
        centred: Whether x is centred first, as for a covariance.

    Returns:
        An integer: 0 where x does not vary, under jit −1 for nan.

    Raises:
        ValueError: For nan, outside jit.
    """
    check_finite("x", x)
    s = _values(x, centred)
    return jnp.where(jnp.isnan(s).any(), -1, jnp.sum(s > tolerance * s[0]))


@shaped
def effective_rank(x: Real[ArrayLike, "n d"], *, centred: bool = True) -> Float[Array, ""]:
    """exp H(s/Σs), with H the entropy of the singular values as shares (Roy & Vetterli 2007).

    Args:
        x: Features, [n, d].
        centred: Whether x is centred first.

    Returns:
        A scalar: k where k singular values are equal and the others 0, nan where x does not vary.
    """
    s = _values(x, centred)
    share = s / s.sum()
    return jnp.exp(-jnp.sum(jnp.where(share == 0, 0, share * jnp.log(jnp.where(share == 0, 1, share)))))


@shaped
def probe_accuracies(
    x: Real[ArrayLike, "n d"],
    labels: Integer[ArrayLike, " n"],
    n_classes: int,
    weight: Real[ArrayLike, " n"] | Bool[ArrayLike, " n"] | None = None,
) -> Float[Array, " k"]:
    """Accuracy of a linear probe that reads the first 1, 2, …, k = min(n, d) principal components.

    The probe is least squares onto one-hot labels; the largest output is the answer.

    Args:
        x: Features, [n, d].
        labels: [n].
        n_classes: The number of classes.
        weight: Rows of weight 0 are tested on, all else being fitted. By default the rows fitted are tested on.

    Returns:
        [k].

    Raises:
        ValueError: For a label that is none of 0 … n_classes − 1; under jit nan.
    """
    x, labels = scaled(floating(x))[0], jnp.asarray(labels)
    fit = jnp.ones(len(x), x.dtype) if weight is None else jnp.asarray(weight, x.dtype)
    judged = fit if weight is None else (fit == 0).astype(x.dtype)
    mean = fit @ x / fit.sum()
    u, s, vh = jnp.linalg.svd(jnp.sqrt(fit)[:, None] * (x - mean), full_matrices=False)
    kept = s > probes.SMALLEST * jnp.finfo(x.dtype).eps * s[0]
    onehot = probes.one_hot(labels, n_classes, x.dtype)
    target = onehot - fit @ onehot / fit.sum()
    # components are orthogonal on the rows fitted: each one's coefficient does not depend on how many are read
    coefficients = jnp.matmul((jnp.sqrt(fit)[:, None] * u).T, target, precision="highest")  # [k, C]
    scores = jnp.matmul(x - mean, vh.T, precision="highest") * jnp.where(kept, 1 / jnp.where(kept, s, 1), 0)  # [n, k]

    def add(logits: Array, component: tuple[Array, Array]) -> tuple[Array, Array]:
        logits = logits + component[0][:, None] * component[1]
        return logits, jnp.sum(judged * right(logits, labels)) / judged.sum()

    start = jnp.broadcast_to(fit @ onehot / fit.sum(), onehot.shape)
    return jax.lax.scan(add, start, (scores.T, coefficients))[1]


@shaped
def linear_probe_rank(
    x: Real[ArrayLike, "n d"],
    labels: Integer[ArrayLike, " n"],
    n_classes: int,
    within: float = 0.99,
    weight: Real[ArrayLike, " n"] | Bool[ArrayLike, " n"] | None = None,
) -> Integer[Array, ""]:
    """In how many leading dimensions the labels are linearly readable. The definition is ours.

    It is the least number of principal components from which on `probe_accuracies` stays at a share of that of all.

    Args:
        x: Features, [n, d].
        labels: [n].
        n_classes: The number of classes.
        within: The share.
        weight: As of `probe_accuracies`.

    Returns:
        An integer; 0 where the accuracies are nan.

    Raises:
        ValueError: As of `probe_accuracies`, and for nan.
    """
    check_finite("x", x)
    accuracies = probe_accuracies(x, labels, n_classes, weight)
    short = accuracies < within * accuracies[-1]
    least = jnp.where(short.any(), len(short) - jnp.argmax(short[::-1]) + 1, 1)
    return jnp.where(jnp.isnan(accuracies[-1]), 0, least)
