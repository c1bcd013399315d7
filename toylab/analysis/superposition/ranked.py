"""Features that are numbered by importance, from 0: which of them models keep, and which share a dimension first.

Elhage et al. 2022 (Toy Models of Superposition, arXiv 2209.10652), the feature plots. On the host, in numpy.
"""

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from toylab.shapes import shaped


@shaped
def off_identity(gram: Real[ArrayLike, "*batch n n"], m: int) -> Float[np.ndarray, "*batch"]:
    """How far W Wᵀ is from the identity on the m most important features, and 0 elsewhere: its largest entry off that.

    Args:
        gram: W Wᵀ, [..., n, n].
        m: Hidden dimensions.
    """
    gram = np.asarray(gram)
    return np.abs(gram - np.diag((np.arange(gram.shape[-1]) < m).astype(gram.dtype))).max(axis=(-2, -1))


@shaped
def off_top(norms: Real[ArrayLike, "*batch n"], m: int) -> Float[np.ndarray, "*batch"]:
    """How far norms are from 1 for the m most important features and 0 for the others, as those of PCA.

    Args:
        norms: ‖W_i‖, [..., n].
        m: Hidden dimensions.
    """
    norms = np.asarray(norms)
    return np.abs(norms - (np.arange(norms.shape[-1]) < m)).max(axis=-1)


@shaped
def farthest(values: Real[ArrayLike, "*batch n"], target: float) -> Float[np.ndarray, "*batch"]:
    """The value that is farthest from a target.

    Args:
        values: Of features, [..., n].
        target: What they should be.
    """
    values = np.asarray(values)
    return np.take_along_axis(values, np.abs(values - target).argmax(axis=-1)[..., None], axis=-1)[..., 0]


@shaped
def places_apart(
    norms: Real[ArrayLike, "*batch n"],
    polysemanticity: Real[ArrayLike, "*batch n"],
    shared: float = 0.5,
    least: float = 0.5,
) -> Float[np.ndarray, "*batch"]:
    """How much less important represented features are that share a dimension than those that have their own.

    Args:
        norms: ‖W_i‖, [..., n].
        polysemanticity: √Σ_{j≠i} (Ŵ_i·W_j)², [..., n].
        shared: The polysemanticity above which a feature shares its dimension.
        least: The norm above which it is represented.

    Returns:
        The mean place of the one sort less that of the other, [...]; nan where a sort has no feature.
    """
    norms, mixed = np.asarray(norms), np.asarray(polysemanticity)
    sorts = (norms > least) & (mixed > shared), (norms > least) & (mixed <= shared)
    with np.errstate(invalid="ignore"):
        with_some, alone = ((np.arange(norms.shape[-1]) * sort).sum(-1) / sort.sum(-1) for sort in sorts)
    return np.where(np.isnan(norms + mixed).any(axis=-1), np.nan, with_some - alone)
