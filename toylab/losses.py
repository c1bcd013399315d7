"""Losses per example, in the precision that the phenomena need."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Integer

from toylab.platforms import by_platform
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
    over_all = 1 / (others + jnp.exp(label_shifted))
    gradient = jnp.where(_is_label(logits, labels), -(others * over_all)[..., None], terms * over_all[..., None])
    loss = -label_shifted + jnp.log1p(others + jnp.expm1(label_shifted))
    return loss, jnp.sum(gradient * tangents[0], axis=-1)


@shaped  # here and not on `cross_entropy`: gradients come through here too
def _shifted_terms(
    logits: Float[Array, "*batch n_classes"], labels: Integer[Array, "*batch"]
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"], Float[Array, "*batch n_classes"]]:
    """Σ_{j≠y} exp(z_j − t), z_y − t, and the terms of the sum (0 at the label), with t = max z."""
    top = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    shifted, lost = _difference(logits, top)
    terms = jnp.where(_is_label(logits, labels), 0, jnp.exp(shifted) * (1 + lost))
    own = by_platform(logits, labels, cpu=_picked, others=_at_label)
    return jnp.sum(terms, axis=-1), own - top[..., 0], terms


def check_labels(logits: ArrayLike, labels: ArrayLike) -> None:
    """ValueError where a label, its value known, is none of the classes of logits [..., C]."""
    check_range("labels", labels, np.shape(logits)[-1], "logits", "classes")


def _is_label(values: Array, labels: Array) -> Array:
    """bool [..., C]."""
    return jnp.arange(values.shape[-1]) == labels[..., None]


def _at_label(values: Array, labels: Array) -> Array:
    """values[..., y]: by mask, since the transpose of a gather is a scatter, slow on CPU and unordered on GPU."""
    return jnp.sum(jnp.where(_is_label(values, labels), values, 0), axis=-1)


def _picked(values: Array, labels: Array) -> Array:
    """The same by a gather, for what is not differentiated: a CPU adds up a short last axis one by one, much slower."""
    return jnp.take_along_axis(values, labels[..., None], axis=-1)[..., 0]


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
def stablemax(logits: Float[Array, "*batch n_classes"], labels: Integer[Array, "*batch"]) -> Float[Array, "*batch"]:
    """`−log(s(z_y) / Σ_j s(z_j))` with `s(z) = z + 1` from 0 on and `1 / (1 − z)` below (StableMax, Prieto et al. 2025).

    Where the label leads it is written as `log1p(Σ_{j≠y} s(z_j) / s(z_y))`, whose smallness is not lost in float32: the
    authors compute it in float64. Shapes and labels as in `cross_entropy`.
    """
    check_labels(logits, labels)
    up, down = _sides(logits)
    heights = jnp.where(logits >= 0, up + 1, 1 / (1 - down))
    others = jnp.sum(jnp.where(_is_label(logits, labels), 0, heights), axis=-1)
    own = _at_label(heights, labels)
    leads, (up, down) = others < own, _sides(_at_label(logits, labels))
    log_own = jnp.log1p(up) - jnp.log1p(-down)  # the height itself may be below the dtype, and the ratio beyond it
    loss = jnp.where(leads, jnp.log1p(others / jnp.where(leads, own, 1)), jnp.log(others + own) - log_own)
    return nan_outside(loss, labels, logits.shape[-1])


def _sides(z: Array) -> tuple[Array, Array]:
    """z where it is from 0 on, and where it is below, else 0; at 0 the derivative is that of the first."""
    return jnp.where(z >= 0, z, 0), jnp.where(z >= 0, 0, z)


@shaped
def hinge(logits: Float[Array, "*batch n"], labels: Integer[Array, "*batch"]) -> Float[Array, "*batch"]:
    """`max(0, 1 − margin)`; the gradient is exactly 0 from a margin of 1 on. Shapes as in `margin`."""
    return jax.nn.relu(1 - margin(logits, labels))


@shaped
def logistic(logits: Float[Array, "*batch n"], labels: Integer[Array, "*batch"]) -> Float[Array, "*batch"]:
    """`log(1 + exp(−margin))` in nats, to float32's relative precision. Shapes as in `margin`."""
    return jax.nn.softplus(-margin(logits, labels))


@shaped
def margin(logits: Float[Array, "*batch n"], labels: Integer[Array, "*batch"]) -> Float[Array, "*batch"]:
    """How far a classifier of two classes is on the right side.

    Args:
        logits: One output f, whose sign is the class: [..., 1]; or one for each class: [..., 2].
        labels: [...], 0 or 1.

    Returns:
        (2 · label − 1) f; of two outputs f is the second less the first.

    Raises:
        ValueError: For another number of outputs, and for another label where its value is known; under jit that gives nan.
    """
    if logits.shape[-1] not in (1, 2):
        raise ValueError(f"logits has shape {logits.shape}: a margin is of one output, or of two, a class each.")
    check_range("labels", labels, 2, "logits", "classes")
    output = logits[..., 0] if logits.shape[-1] == 1 else logits[..., 1] - logits[..., 0]
    return nan_outside(output * (2 * labels - 1).astype(logits.dtype), labels, 2)


@shaped
def right(logits: Float[ArrayLike, "*batch n_classes"], labels: Integer[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
    """1 where the label has the largest logit (of equal ones the first counts), else 0, nan where a logit is nan: the mean
    is the accuracy, and that of a network that diverged is not 1 / n_classes. Shapes and labels as in `cross_entropy`."""
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    check_labels(logits, labels)
    own = by_platform(logits, labels, cpu=_picked, others=_at_label)[..., None]
    before = jnp.arange(logits.shape[-1]) < labels[..., None]
    larger = (logits > own) | ((logits == own) & before)  # a CPU takes forty times as long for an argmax
    correct = (~larger.any(axis=-1)).astype(logits.dtype)
    return nan_outside(jnp.where(jnp.isnan(logits).any(axis=-1), jnp.nan, correct), labels, logits.shape[-1])


@shaped
def squared_error(outputs: Float[Array, "*#batch #n"], targets: Float[Array, "*#batch #n"]) -> Float[Array, "*batch"]:
    """`mean_j (f_j − y_j)²` over the last axis: [..., n] and [..., n] → [...]."""
    return jnp.mean((outputs - targets) ** 2, axis=-1)


@shaped
def squared_error_to_one_hot(
    logits: Float[Array, "*batch n_classes"], labels: Integer[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """The squared error to 1 at the label and 0 elsewhere. Shapes and labels as in `cross_entropy`."""
    check_labels(logits, labels)
    targets = (jnp.arange(logits.shape[-1]) == labels[..., None]).astype(logits.dtype)
    return nan_outside(squared_error(logits, targets), labels, logits.shape[-1])


@shaped
def harmonic(outputs: Float[Array, "*batch n_classes"], labels: Integer[Array, "*batch"]) -> Float[Array, "*batch"]:
    """`−log p_y` with `p_j = (1/D_j) / Σ_k (1/D_k)` of outputs −D below 0, as minus powers of distances (harmonic loss,
    Baek et al. 2025, arXiv 2502.01628): the nearest class is the likeliest, and the scale does not matter.

    It is the `cross_entropy` of −log D, and so as precise. nan where an output is not below 0. Shapes and labels as there.
    """
    return cross_entropy(-jnp.log(-outputs), labels)


LossKind = Literal[
    "cross_entropy", "naive_cross_entropy", "stablemax", "squared_error", "hinge", "logistic", "harmonic"
]
KINDS: dict[LossKind, Callable[[Array, Array], Array]] = {
    "cross_entropy": cross_entropy,
    "naive_cross_entropy": naive_cross_entropy,
    "stablemax": stablemax,
    "squared_error": squared_error_to_one_hot,
    "hinge": hinge,
    "logistic": logistic,
    "harmonic": harmonic,
}


def measured(loss_kind: LossKind) -> Callable[[Array, Array], Array]:
    """The loss that is measured of networks trained by a kind of loss: the same, without naive rounding."""
    return KINDS["cross_entropy" if loss_kind == "naive_cross_entropy" else loss_kind]


def check_kind(loss_kind: str, n_classes: int) -> None:
    """ValueError for a kind of loss that is unknown or does not fit the number of classes."""
    if loss_kind not in KINDS:
        raise ValueError(f"task.loss_kind is {loss_kind!r}: it must be one of {', '.join(KINDS)}.")
    if loss_kind in ("hinge", "logistic") and n_classes != 2:
        raise ValueError(f"task.loss_kind is {loss_kind!r}: it is of two classes, and the task has {n_classes}.")


def check_outputs(loss_kind: str, net: Any) -> None:
    """ValueError where one of loss and net is of distances and the other is not."""
    of_net = getattr(net, "unembedding", "products") == "distances"
    if of_net and loss_kind != "harmonic":
        raise ValueError(f"task.loss_kind is {loss_kind!r}: the net gives distances, so 'harmonic'.")
    if loss_kind == "harmonic" and not of_net:
        raise ValueError(
            "task.loss_kind is 'harmonic': the net must give distances, as TiedMLP's unembedding 'distances'."
        )
