"""Progress measures of grokking (Nanda et al. 2023, arXiv 2301.05217), as their released code has them.

The losses are of the logits as functions of (a, b), for the task a + b mod p. A key frequency k stands for
the two unit directions cos(2πk(a+b)/p) and sin(2πk(a+b)/p) over the p² inputs. Both are functions of
s = a + b, so projecting on them is averaging over the p inputs of each s and then projecting p numbers.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Integer, Real

from toylab.analysis.modular.fourier import (
    basis,
    by_sum,
    key_mask,
    logit_cube,
    modulus,
    neuron_to_logit,
    number_rows,
    waves,
)
from toylab.analysis.numbers import floating, norm, ratio, scaled
from toylab.base import Params, Run
from toylab.losses import check_labels, cross_entropy
from toylab.shapes import shaped


@shaped
def restricted_loss(
    logits: Real[ArrayLike, "p p n_classes"],
    labels: Integer[ArrayLike, "p p"],
    key: Bool[ArrayLike, " p//2+1"],
    mask: Bool[ArrayLike, "p p"] | None = None,
) -> Float[Array, ""]:
    """Cross-entropy of what the key frequencies alone say ("trig loss" in the code of Nanda et al. 2023).

    The logits are projected on the 2·|key| directions. The mean over inputs of (logits − projected) is added back, a bias
    for each class. The loss is low as soon as the Fourier circuit is there. Deviation: none from the code; the paper
    restricts before the unembedding.

    Args:
        logits: Logits of all pairs, [p, p, C].
        labels: The right class of each pair.
        key: Mask of the key frequencies.
        mask: The pairs that the mean is over; by default all.

    Returns:
        The mean loss in nats; nan where the mask is empty.

    Raises:
        ValueError: For other shapes.
    """
    z, labels, mask, key = _by_sum(logits, labels, mask, key)
    mean = z.mean(1)  # [s, C]
    w = _waves(z)
    bias = mean.mean(0)  # all of the mean: a projection on k ≥ 1 has none
    restricted = _project(jnp.where(key[1:, None, None], w, 0), mean) + bias
    return _mean(cross_entropy(jnp.broadcast_to(restricted[:, None], z.shape), labels), mask)


@shaped
def excluded_loss(
    logits: Real[ArrayLike, "p p n_classes"],
    labels: Integer[ArrayLike, "p p"],
    key: Bool[ArrayLike, " p//2+1"],
    train_mask: Bool[ArrayLike, "p p"],
) -> dict[str, Array]:
    """Cross-entropy on the training inputs with key frequencies taken out of the logits (Nanda et al. 2023).

    Nothing is added back. The loss is high once memory alone no longer carries the training set. As in the authors' code
    this is done on logits and judged on training data; the paper ablates before the unembedding. Only key frequencies cost
    time (under vmap all do).

    Args:
        logits: Logits of all pairs, [p, p, C].
        labels: The right class of each pair.
        key: Mask of the key frequencies.
        train_mask: The training pairs.

    Returns:
        A dict of losses in nats, nan where the mask is empty.

        - `each` [p//2 + 1]: without the two directions of that frequency; nan where it is not key.
        - `all` []: without the directions of all key frequencies.

    Raises:
        ValueError: For other shapes, and labels that are no class (nan under jit).
    """
    found = _excluded_loss(logits, labels, key, train_mask)  # which has looked at the shapes
    check_labels(logits, labels)
    return found


@jax.jit  # the map below would otherwise be compiled anew at every call outside a jit
@shaped
def _excluded_loss(
    logits: Real[ArrayLike, "p p n_classes"],
    labels: Integer[ArrayLike, "p p"],
    key: Bool[ArrayLike, " p//2+1"],
    train_mask: Bool[ArrayLike, "p p"],
) -> dict[str, Array]:
    z, labels, mask, key = _by_sum(logits, labels, train_mask, key)
    mean, w = z.mean(1), _waves(z)

    def without(some: Array) -> Array:
        return _mean(cross_entropy(z - _project(some, mean)[:, None], labels), mask)

    def one(frequency: tuple[Array, Array]) -> Array:
        is_key, pair = frequency
        return jax.lax.cond(is_key, without, lambda _: jnp.full((), jnp.nan, z.dtype), pair[None])

    each = jax.lax.map(one, (key[1:], w))
    each = jnp.concatenate([jnp.full(1, jnp.nan, z.dtype), each])
    return {"each": each, "all": without(jnp.where(key[1:, None, None], w, 0))}


@shaped
def gini(x: Real[ArrayLike, " n"]) -> Float[Array, ""]:
    """Gini coefficient of |x|: G = Σ_ij |x_i − x_j| / (2 n² mean x).

    It is computed from the sorted values as Σ_i (2i − n − 1) x_(i) / (n Σ x), i = 1 … n. Nanda et al. 2023 take it of the
    norms of the Fourier components of W_E and W_L.

    Args:
        x: The values.

    Returns:
        A scalar: 0 where all entries are equal, 1 − 1/n where only one is not zero, nan of nan.

    Raises:
        ValueError: Unless x has one axis.
    """
    x, _ = scaled(floating(x))
    if not x.size:
        raise ValueError("x is empty, it must have at least one entry")
    n = len(x)
    x = jnp.sort(jnp.abs(x))
    weights = jnp.asarray(2 * np.arange(1, n + 1) - n - 1, x.dtype)
    return ratio(weights @ x, n * x.sum())


def _by_sum(
    logits: ArrayLike, labels: ArrayLike, mask: ArrayLike | None, key: ArrayLike
) -> tuple[Array, Array, Array, Array]:
    """Everything sorted by s = a + b; a missing mask is all inputs."""
    logits, labels = floating(logits), jnp.asarray(labels)
    p = modulus("logits", logits)
    mask = jnp.ones((p, p), bool) if mask is None else jnp.asarray(mask)
    return by_sum(logits), by_sum(labels), by_sum(mask), key_mask(key, p)


def _waves(z: Array) -> Array:
    return waves(len(z)).astype(z.dtype)


def _project(some: Array, mean: Array) -> Array:
    """The part of mean [s, C] along the waves `some` [k, 2, s]."""
    rows = some.reshape(-1, len(mean))
    return jnp.matmul(rows.T, jnp.matmul(rows, mean, precision="highest"), precision="highest")


def _mean(losses: Array, mask: Array) -> Array:
    return jnp.where(mask, losses, 0).sum() / mask.sum()


@shaped
def fourier_gini(x: Float[Array, "p n"]) -> Float[Array, ""]:
    """Gini coefficient of the p row norms of F x, for x [p, n]; the constant row is among them."""
    return gini(norm(jnp.matmul(basis(len(x)).astype(x.dtype), x, precision="highest"), 1))


def ginis(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: how sparse W_E and W_L are in the Fourier basis."""
    W_E = fourier_gini(number_rows(params, run))
    return {"W_E": W_E, "W_L": fourier_gini(neuron_to_logit(params, run).T)}


def losses(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: restricted and excluded losses, for the key frequencies found at the run's last point."""
    cube, data, key = logit_cube(params, run), run.data, run.final["logits/key"]
    train, test = data["train_mask"], data["test_mask"]
    masks = {"": train | test, "_train": train, "_test": test}
    restricted = {f"restricted{s}": restricted_loss(cube, data["labels"], key, m) for s, m in masks.items()}
    excluded = excluded_loss(cube, data["labels"], key, train)
    return {**restricted, "excluded": excluded["all"], "excluded_each": excluded["each"]}
