"""Losses per example, in the precision that the phenomena need."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Integer

from toylab.shapes import shaped
from toylab.shapes.indices import check_range, nan_outside


def cross_entropy(logits: Float[Array, "*batch n_classes"], labels: Integer[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Cross-entropy in nats that keeps its relative precision where float32 log-softmax loses it.

    `−log softmax(z)_y = (t − z_y) + log1p(Σ_{j≠y} exp(z_j − t) + expm1(z_y − t))` with `t = max z`; where the label
    has the largest logit this is `log1p(Σ_{j≠y} exp(z_j − z_y))`, whose smallness is never added to 1 and taken away
    again. The rounding error of each difference `z_j − t` is recovered exactly (Knuth's two-sum) and given back as a
    factor, so loss and gradient (norm-wise) agree with float64 to 1e-6 for margins from −50 to 20 and to 5e-6 up to
    60. Beyond a margin of about 87 the loss is 0 in float32; finite logits never give nan.

    logits [..., C], labels [...] integers in [0, C) → [...], in the dtype of the logits; narrower ones than float32, as
    all losses here, are computed in float32. ValueError for a label out of range where its value is known; under jit its
    loss is nan.
    Why it matters: grokking lives on train losses below 1e-7 (Nanda et al. 2023 compute theirs in float64).
    """
    if np.ndim(logits):  # else `_shifted_terms` says what they must be
        check_labels(logits, labels)
    loss = _cross_entropy(logits, labels)  # as a factor, nan changes no rounding of the loss and is in the gradient too
    return loss * nan_outside(jnp.ones(loss.shape, loss.dtype), labels, logits.shape[-1])


@jax.custom_jvp
def _cross_entropy(logits: Array, labels: Array) -> Array:
    others, label_shifted, _ = _shifted_terms(logits, labels)
    return -label_shifted + jnp.log1p(others + jnp.expm1(label_shifted))


@_cross_entropy.defjvp
def _cross_entropy_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """dℓ = Σ_{j≠y} p_j (dz_j − dz_y): the label's own term p_y − 1 never appears, so nothing cancels."""
    logits, labels = primals
    others, label_shifted, terms = _shifted_terms(logits, labels)
    probabilities = terms / (others + jnp.exp(label_shifted))[..., None]  # 0 at the label
    from_label = _at_label(tangents[0], labels)
    loss = -label_shifted + jnp.log1p(others + jnp.expm1(label_shifted))
    tangent = jnp.sum(probabilities * tangents[0], axis=-1) - jnp.sum(probabilities, axis=-1) * from_label
    return loss, tangent


@shaped  # here and not on `cross_entropy`: gradients come through here too
def _shifted_terms(
    logits: Float[Array, "*batch n_classes"], labels: Integer[Array, "*batch"]
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"], Float[Array, "*batch n_classes"]]:
    """Σ_{j≠y} exp(z_j − t), z_y − t, and the terms of the sum (0 at the label), with t = max z."""
    top = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    shifted, lost = _difference(logits, top)
    is_label = jnp.arange(logits.shape[-1]) == labels[..., None]
    terms = jnp.where(is_label, 0, jnp.exp(shifted) * (1 + lost))
    return jnp.sum(terms, axis=-1), _at_label(shifted, labels), terms


def check_labels(logits: ArrayLike, labels: ArrayLike) -> None:
    """ValueError where a label, its value known, is none of the classes of logits [..., C]."""
    check_range("labels", labels, np.shape(logits)[-1], "logits", "classes")


def _at_label(values: Array, labels: Array) -> Array:
    """values[..., y]: by mask, since the transpose of a gather is a scatter, slow on CPU and unordered on GPU."""
    return jnp.sum(jnp.where(jnp.arange(values.shape[-1]) == labels[..., None], values, 0), axis=-1)


def _difference(a: Array, b: Array) -> tuple[Array, Array]:
    """fl(a − b) and what the rounding lost of it, which is itself exact (Knuth, The Art of Computer Programming 2)."""
    rounded = a - b
    b_virtual = rounded - a
    lost = (a - (rounded - b_virtual)) - (b + b_virtual)
    return rounded, jax.lax.stop_gradient(jnp.where(jnp.isfinite(lost), lost, 0))


@shaped
def naive_cross_entropy(
    logits: Float[Array, "*batch n_classes"], labels: Integer[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """`−log softmax(z)_y` as usually written. In float32 it rounds to 0 from a margin of 17 on: softmax collapse
    (Prieto et al. 2025, arXiv 2501.04697), kept to study exactly that. Shapes and labels as in `cross_entropy`."""
    check_labels(logits, labels)
    log_probabilities = jax.nn.log_softmax(logits, axis=-1)
    loss = -jnp.take_along_axis(log_probabilities, labels[..., None], axis=-1)[..., 0]
    return nan_outside(loss, labels, logits.shape[-1])


@shaped
def right(logits: Float[ArrayLike, "*batch n_classes"], labels: Integer[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
    """1 where the label has the largest logit (of equal ones the first counts), else 0, nan where a logit is nan: the mean
    is the accuracy, and that of a network that diverged is not 1 / n_classes. Shapes and labels as in `cross_entropy`."""
    logits = jnp.asarray(logits)
    check_labels(logits, labels)
    correct = (jnp.argmax(logits, axis=-1) == jnp.asarray(labels)).astype(logits.dtype)
    return nan_outside(jnp.where(jnp.isnan(logits).any(axis=-1), jnp.nan, correct), labels, logits.shape[-1])


@shaped
def squared_error(outputs: Float[Array, "*#batch #n"], targets: Float[Array, "*#batch #n"]) -> Float[Array, "*batch"]:
    """`mean_j (f_j − y_j)²` over the last axis: [..., n] and [..., n] → [...]."""
    return jnp.mean((outputs - targets) ** 2, axis=-1)
