"""Neural collapse (Papyan, Han & Donoho 2020, arXiv 2008.08186)."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Real

from toylab.analysis.numbers import centred, floating, nan_where, scaled
from toylab.shapes import shaped
from toylab.shapes.indices import check_range, nan_outside


class Collapse(NamedTuple):
    """Scalars, all 0 for a collapsed network. μ_c: mean features of class c less the mean over classes; C classes."""

    nc1: Float[Array, ""]  # variability: tr(Σ_W Σ_B⁺)/C, within-class against between-class covariance
    nc2_norm: Float[Array, ""]  # equal lengths: standard deviation of ‖μ_c‖ over their mean
    nc2_angle: Float[Array, ""]  # equal angles: standard deviation of cos(μ_c, μ_c') over c ≠ c'
    nc2_max_angle: Float[Array, ""]  # widest angles: mean |cos(μ_c, μ_c') + 1/(C − 1)| over c ≠ c'
    nc3: Float[Array, ""]  # self-duality: ‖Wᵀ/‖W‖ − M/‖M‖‖², M the columns μ_c
    nc4: Float[Array, ""]  # nearest class centre: share of samples for which it and the classifier disagree


@shaped
def neural_collapse(
    x: Real[ArrayLike, "n d"],
    labels: Integer[ArrayLike, " n"],
    W: Real[ArrayLike, "d C"],
    b: Real[ArrayLike, " C"] | None = None,
) -> Collapse:
    """NC1 to NC4 of last-layer features and their classifier x W + b.

    The global mean is that of the class means, which is the mean of all samples where classes are of equal size, as in the
    paper.

    Args:
        x: Features, [n, d].
        labels: In 0 … C−1. Every class must occur.
        W: The classifier's weights, [d, C].
        b: The classifier's biases, [C].

    Returns:
        Scalars. All but NC4 are nan where a class has no samples or class means do not differ.

    Raises:
        ValueError: For a label that is no class; under jit all but NC4 is nan.
    """
    x, W, labels = floating(x), floating(W), jnp.asarray(labels)
    biased = None if b is None else _dot(x, W) + jnp.asarray(b, x.dtype)
    x, W = scaled(x)[0], scaled(W)[0]
    logits = _dot(x, W) if biased is None else biased
    classes = W.shape[1]
    if classes < 2:
        raise ValueError(f"W has shape {W.shape}: there must be at least 2 classes.")
    check_range("labels", labels, classes, "W", "classes")
    member = nan_outside((labels[:, None] == jnp.arange(classes)).astype(x.dtype), labels, classes)  # [n, C]
    means = _dot(member.T, x) / member.sum(axis=0)[:, None]  # [C, d]
    mu = centred(means, 0)
    within, between = x - means[labels], mu / classes**0.5
    nc1 = jnp.trace(_dot(_dot(within.T, within) / len(x), jnp.linalg.pinv(_dot(between.T, between), hermitian=True)))
    lengths = jnp.linalg.norm(mu, axis=1)
    cosines = _dot(mu, mu.T) / (lengths[:, None] * lengths)
    apart = cosines[np.triu_indices(classes, 1)]
    dual = W.T / jnp.linalg.norm(W) - mu / jnp.linalg.norm(mu)
    distances = jnp.sum(means**2, axis=1) - 2 * _dot(x, means.T)  # less |x|², the same for all classes
    disagree = jnp.argmax(logits, axis=1) != jnp.argmin(jnp.where(jnp.isnan(distances), jnp.inf, distances), axis=1)
    return Collapse(
        nc1=nan_where(lengths.max() == 0, nc1 / classes),
        nc2_norm=lengths.std() / lengths.mean(),
        nc2_angle=apart.std(),
        nc2_max_angle=jnp.abs(apart + 1 / (classes - 1)).mean(),
        nc3=jnp.sum(dual**2),
        nc4=nan_where(jnp.isnan(logits).any(axis=1), disagree.astype(x.dtype)).mean(),
    )


def _dot(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")
