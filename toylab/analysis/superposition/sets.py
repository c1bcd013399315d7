"""How features that come in sets lie: at right angles or as antipodes, within a set and across sets.

Elhage et al. 2022 (Toy Models of Superposition, arXiv 2209.10652), correlated and anticorrelated features. W is
[..., n_features, n_hidden], rows are features; `members` [n_features] says which set each feature belongs to. On the host,
in numpy.
"""

from typing import Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Real

from toylab.analysis.numbers import floating, scaled
from toylab.shapes import shaped


@shaped
def cosines(W: Real[ArrayLike, "*batch n_features n_hidden"]) -> Float[np.ndarray, "*batch n_features n_features"]:
    """Ŵ_i·Ŵ_j of all pairs of features.

    Args:
        W: Features, [..., n, m].

    Returns:
        [..., n, n]; 0 with a feature that is 0.
    """
    rows = np.asarray(scaled(floating(W), -1)[0])
    unit = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
    return unit @ unit.swapaxes(-1, -2)


@shaped
def largest_within(
    W: Real[ArrayLike, "*batch n_features n_hidden"], members: Integer[ArrayLike, " n_features"]
) -> Float[np.ndarray, "*batch"]:
    """The largest |cosine| of two features of a set: 0 where every set is orthogonal.

    Args:
        W: Features, [..., n, m].
        members: The set of each feature, [n].

    Returns:
        [...]; 0 where each set has one feature.
    """
    return np.where(_within(members), np.abs(cosines(W)), 0).max(axis=(-2, -1))


@shaped
def worst_partner(
    W: Real[ArrayLike, "*batch n_features n_hidden"], members: Integer[ArrayLike, " n_features"]
) -> Float[np.ndarray, "*batch"]:
    """The highest cosine of two features of a set: −1 where every set is a pair of antipodes.

    Args:
        W: Features, [..., n, m].
        members: The set of each feature, [n].

    Returns:
        [...]; −1 where each set has one feature.
    """
    return np.where(_within(members), cosines(W), -1).max(axis=(-2, -1))


@shaped
def worst_antipode(
    W: Real[ArrayLike, "*batch n_features n_hidden"], members: Integer[ArrayLike, " n_features"]
) -> Float[np.ndarray, "*batch"]:
    """The cosine of a feature with the most opposite feature of another set, of the feature for which it is highest.

    Args:
        W: Features, [..., n, m].
        members: The set of each feature, [n].

    Returns:
        [...]: −1 where every feature has an antipode in another set; 1 where there is one set only.
    """
    return np.where(_across(members), cosines(W), 1).min(axis=-1).max(axis=-1)


@shaped
def mean_within(
    W: Real[ArrayLike, "*batch n_features n_hidden"], members: Integer[ArrayLike, " n_features"]
) -> Float[np.ndarray, "*batch"]:
    """Mean |cosine| over the pairs of features of a set.

    Args:
        W: Features, [..., n, m].
        members: The set of each feature, [n].

    Returns:
        [...]; nan where each set has one feature.
    """
    a, b = np.nonzero(np.triu(_within(members)))
    pairs = np.abs(cosines(W)[..., a, b])
    return pairs.mean(axis=-1) if len(a) else np.full(pairs.shape[:-1], np.nan)


@shaped
def own_interference(
    W: Real[ArrayLike, "*batch n_features n_hidden"], members: Integer[ArrayLike, " n_features"]
) -> Float[np.ndarray, "*batch"]:
    """The share of all interference Σ_{j≠i} cos²_ij that is within sets.

    Were partners chosen by lot, it would be the share of pairs that are within sets: (size − 1)/(n − 1).

    Args:
        W: Features, [..., n, m].
        members: The set of each feature, [n].

    Returns:
        [...]; nan where no feature interferes with another.
    """
    squares = cosines(W) ** 2
    own = np.where(_within(members), squares, 0).sum(axis=(-2, -1))
    total = own + np.where(_across(members), squares, 0).sum(axis=(-2, -1))
    return np.where(total == 0, np.nan, own / np.where(total == 0, 1, total))


@shaped
def off_frame(W: Real[ArrayLike, "*batch n_features n_hidden"]) -> Float[np.ndarray, "*batch"]:
    """What of the singular values of W is farthest from 1: 0 for a projection on m dimensions, as PCA's.

    Args:
        W: Features, [..., n, m].

    Returns:
        max_k |σ_k − 1|, [...]; nan for nan.
    """
    W = np.asarray(floating(W))
    known = np.asarray(np.isfinite(W).all(axis=(-2, -1)))
    singular = np.linalg.svd(np.where(known[..., None, None], W, 0), compute_uv=False)
    return np.where(known, np.abs(singular - 1).max(axis=-1), np.nan)


def _within(members: Any) -> np.ndarray:
    """bool [n, n]: two features of one set."""
    members = np.asarray(members)
    return (members[:, None] == members) & ~np.eye(len(members), dtype=bool)


def _across(members: Any) -> np.ndarray:
    """bool [n, n]: features of two sets."""
    members = np.asarray(members)
    return members[:, None] != members
