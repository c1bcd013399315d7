"""Pictures over all points of a run, and limits that hold at each of them."""

from collections.abc import Sequence

import numpy as np

from toylab.explore.moment import Moment
from toylab.explore.pictures import Heatmap


def over_points(
    moment: Moment, values: np.ndarray, title: str, y: str, limit: float | None, rows: Sequence[str] | None = None
) -> Heatmap:
    """A map of values [t, n] ≥ 0 over all points of the run, with a line at this one.

    Args:
        moment: The run.
        values: At each of its points.
        title: What it shows.
        y: What the n are.
        limit: Where colours end.
        rows: Their names; None for their numbers.
    """
    steps = [f"{step:,}" for step in moment.steps]
    return Heatmap(
        values.T, title, x="step", y=y, colours="positive", limit=limit, columns=steps, rows=rows, line=moment.place
    )


def highest(values: np.ndarray) -> float | None:
    """The greatest finite entry; None where none is above 0."""
    return float(np.max(values, initial=0, where=np.isfinite(values))) or None
