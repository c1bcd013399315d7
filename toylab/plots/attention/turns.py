"""Runs as paths in the plane of two principal components of what was measured along them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from toylab.plots import labels, style

NEAR = (0.2, 0.1)  # of the path's width and height: points whose numbers would touch
TINY = 1e-30  # of a path that does not move


@style.house
def paths(
    path: np.ndarray, steps: np.ndarray, share: np.ndarray, change: np.ndarray, names: Sequence[str] = ()
) -> Figure:
    """Each run through training in its own plane, a panel a run, at most four.

    Args:
        path: In nats, [R, T, 2].
        steps: [T].
        share: Of the variance, [R, 2].
        change: The stretch between these two saved points is marked, [R, 2] (−1: none).
        names: Of the runs, as "seed 100"; by default their numbers.
    """
    if path.ndim != 3 or path.shape[1:] != (len(steps), 2):
        raise ValueError(f"path has shape {path.shape}; with {len(steps)} steps it is [R, {len(steps)}, 2]")
    for name, values in (("share", share), ("change", change)):
        if values.shape != (len(path), 2):
            raise ValueError(f"{name} has shape {values.shape}; with {len(path)} runs it is [{len(path)}, 2]")
    drawn = min(len(path), 4)
    figure, axes = style.panels(style.PAGE, 2.4, drawn)
    for run, ax in enumerate(axes):
        x, y = path[run].T
        ax.plot(x, y, "-o", color="#888888", ms=2, lw=0.8, zorder=2)
        first, last = change[run]
        if last > 0:
            ax.plot(x[first : last + 1], y[first : last + 1], "-o", color=style.SERIES[1], ms=2.5, lw=1.5, zorder=3)
        placed: list[int] = []
        span = np.ptp(path[run], axis=0) + TINY
        for point in dict.fromkeys([0, len(steps) - 1, *(int(i) for i in change[run] if i > 0)]):
            if any((np.abs(path[run, point] - path[run, other]) / span < NEAR).all() for other in placed):
                continue  # two numbers would read as one
            placed.append(point)
            left = last > 0 and point == last  # where the path comes from the right
            ax.annotate(
                f"{steps[point]:,.0f}",
                (x[point], y[point]),
                (-5 if left else 5, 3),
                textcoords="offset points",
                ha="right" if left else "left",
                fontsize=labels.SMALL,
            )
        ax.margins(0.2)
        ax.set_xlabel(f"component 1 ({share[run, 0]:.0%})")
        ax.set_ylabel(f"component 2 ({share[run, 1]:.0%})")
        ax.set_title(names[run] if names else f"run {run}", fontsize=labels.SMALL)
    style.note(figure, "per-token losses (nats) over checkpoints; orange: the induction heads form; numbers: steps")
    return figure
