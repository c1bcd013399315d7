"""What runs do from a step of their own on, such as that at which they fit their training set. Values are [R, T]."""

from collections.abc import Callable
from typing import Any

import numpy as np

from toylab.analysis import transitions
from toylab.lab.page import Measures


def curves(m: Measures, since: np.ndarray, values: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Steps and values of each run from its own step on.

    Args:
        m: The runs' measures, for their saved points.
        since: Step [R]; nan where a run never comes to it, and has no points.
        values: [R, T].

    Returns:
        Of each run, steps [t] and values [t].
    """
    kept = m.valid & (m.steps >= np.nan_to_num(since, nan=np.inf)[:, None])
    return [(m.steps[row], values[i, row]) for i, row in enumerate(kept)]


def half(m: Measures, since: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[R]: the step at which half of the change from then to the end is done; nan with fewer than two points."""
    return np.array([_of(transitions.halfway, one, 2) for one in curves(m, since, values)])


def bumps(m: Measures, since: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[R]: `transitions.bump` from then on, 0 of values that fall ever more slowly; nan with fewer than three points."""
    return np.array([_of(transitions.bump, one, 3) for one in curves(m, since, values)])


def correlations(m: Measures, since: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[R]: the correlation of two measures [R, T] over the points from then on, as `correlation` has it."""
    both = zip(curves(m, since, x), curves(m, since, y), strict=True)
    return np.array([correlation(one[1], other[1]) for one, other in both])


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's, of x [n] and y [n]; nan with fewer than three values, and where one of them does not vary."""
    varies = len(x) > 2 and np.ptp(x) > 0 and np.ptp(y) > 0
    return float(np.corrcoef(x, y)[0, 1]) if varies else np.nan


def _of(function: Callable[..., Any], curve: tuple[np.ndarray, np.ndarray], least: int) -> float:
    return float(function(*curve)) if len(curve[0]) >= least else np.nan
