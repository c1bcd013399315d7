"""Lines and plateaus in the dimensions that features take up (Elhage et al. 2022, arXiv 2209.10652, uniform superposition).

The paper sees lines of D_i at the dimensionalities of polytopes, and D* that sticks at 1 and at 1/2. A line is counted
against a smoothed density here, a plateau against a straight fall. On the host, in numpy.
"""

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Real
from scipy.special import ndtr

from toylab.shapes import shaped


@shaped
def line_counts(
    D: Real[ArrayLike, " N"], line: float, width: float = 0.01, bandwidth: float = 0.03
) -> Float[np.ndarray, " 2"]:
    """How many values lie at a line, and how many would by a smoothed density of all.

    The density is that of Gaussians around every value. It holds the line too, so that even a line that has all values is
    only about √(π/2) · bandwidth/width times above it.

    Args:
        D: The values, as dimensionalities of features of many models.
        line: Its place.
        width: Values up to this far away are counted.
        bandwidth: The standard deviation of the Gaussians.

    Returns:
        The count and the expected count; nan for nan.
    """
    D = np.asarray(D, np.float64)
    expected = (ndtr((line + width - D) / bandwidth) - ndtr((line - width - D) / bandwidth)).sum()
    return np.array([np.where(np.isnan(D).any(), np.nan, (np.abs(D - line) < width).sum()), expected])


@shaped
def sticking(dstar: Real[ArrayLike, "L S"], value: float = 0.5, width: float = 0.05) -> Float[np.ndarray, " S"]:
    """The share of levels at which D* is near a value, over the share at which a straight fall from first to last would be.

    Args:
        dstar: D* at levels of sparsity that are even in log(1/(1 − S)), of S seeds.
        value: Where D* may stick.
        width: What is near it.

    Returns:
        A ratio for each seed: 1 where log D* falls evenly. nan for nan, and where such a fall has no level near the value.
    """
    dstar = np.asarray(dstar, np.float64)
    low, high = np.minimum(dstar[0], dstar[-1]), np.maximum(dstar[0], dstar[-1])
    ends = np.clip([value - width, value + width], low[:, None], high[:, None])
    with np.errstate(divide="ignore", invalid="ignore"):
        straight = np.log(ends[:, 1] / ends[:, 0]) / np.log(high / low)
        found = (np.abs(dstar - value) < width).mean(axis=0) / straight
    return np.where(np.isnan(dstar).any(axis=0) | ~(straight > 0), np.nan, found)
