"""What becomes of one extra feature in trained models, and how far that is what theory says.

Elhage et al. 2022 (Toy Models of Superposition, arXiv 2209.10652), the phase diagrams over the extra feature's importance
and the density of all features. On the host, in numpy; theory's side is in theory.py.
"""

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Integer, Real

from toylab.analysis.superposition import theory
from toylab.shapes import shaped

REPRESENTED = 0.5  # the norm from which on a feature counts as represented (bound ours)
SHARED = 0.5  # the polysemanticity √Σ_{j≠i} (Ŵ_i·W_j)² from which on it shares its dimension (bound ours)


@shaped
def classes(norms: Real[ArrayLike, "*batch"], polysemanticity: Real[ArrayLike, "*batch"]) -> Int[np.ndarray, "*batch"]:
    """What becomes of a feature.

    Args:
        norms: ‖W_i‖.
        polysemanticity: √Σ_{j≠i} (Ŵ_i·W_j)², as `geometry.polysemanticity` gives it.

    Returns:
        0 where the feature is not represented (norm up to `REPRESENTED`), 1 where it shares a dimension (polysemanticity
        above `SHARED`), 2 where it has one of its own; −1 for nan. `theory.phase_winners` has the same classes.
    """
    norms, mixed = np.asarray(norms), np.asarray(polysemanticity)
    known = np.isfinite(norms) & np.isfinite(mixed)
    return np.where(known, np.where(norms <= REPRESENTED, 0, np.where(mixed > SHARED, 1, 2)), -1)


@shaped
def agreement(
    observed: Integer[ArrayLike, "I P S"],
    importance: Real[ArrayLike, " I"],
    density: Real[ArrayLike, " P"],
    n: int = 2,
    *,
    near: float = 0.0,
    low: float = 0.0,
    high: float = np.inf,
) -> Float[np.ndarray, " S"]:
    """The share of the cells of a phase diagram whose class is theory's.

    Args:
        observed: The class of each of S models in every cell, as of `classes`.
        importance: I of the extra feature.
        density: p of all features.
        n: The number of features, 2 or 3, in n − 1 dimensions.
        near: Cells with |log(p/p*(I))| up to this are on the boundary and not judged.
        low: The least importance that counts.
        high: The largest.

    Returns:
        A share for each model; nan where no cell is judged.

    Raises:
        ValueError: As of `theory.phase_losses`.
    """
    found, weights = np.asarray(observed), np.asarray(importance)[:, None]
    density = np.asarray(density)
    off = abs(np.log(density / theory.phase_boundary(weights, n))) > near
    off &= (weights >= low) & (weights <= high)
    by_theory = theory.phase_winners(weights, density, n)[0]
    right = np.take_along_axis(by_theory, np.maximum(found, 0), axis=2) & (found >= 0)
    return right[off].mean(axis=0) if off.any() else np.full(found.shape[2], np.nan)


@shaped
def triple_importance(
    observed: Integer[ArrayLike, "I S"], importance: Real[ArrayLike, " I"]
) -> Float[np.ndarray, " S"]:
    """The importance at which, along one density, models turn from ignoring the extra feature to giving it a dimension.

    Args:
        observed: The class of each of S models at each importance, as of `classes`.
        importance: I, rising.

    Returns:
        √ of the last importance of class 0 times the first of class 2; nan where one class is not found.
    """
    found, weights = np.asarray(observed), np.asarray(importance)[:, None]
    last = np.where(found == 0, weights, 0).max(axis=0)
    first = np.where(found == 2, weights, np.inf).min(axis=0)
    return np.where((last > 0) & np.isfinite(first), np.sqrt(last * np.where(np.isfinite(first), first, 1)), np.nan)
