"""Which comes first: the steps at which several quantities are halfway, run by run, below each other over one axis."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toylab.plots import labels, style

MARKS = "os^Dv"


@style.house
def halfway(steps: Mapping[str, Mapping[str, np.ndarray]], *, xlabel: str = "step at which it is halfway") -> Figure:
    """A row for each quantity, a mark for each run, a bar at the median of all, in a single column.

    Args:
        steps: Of each quantity, from top to bottom, the steps [R] by kind of run, each kind a colour; nan where it
            never is.
        xlabel: Of the axis.
    """
    if not steps or len({tuple(kinds) for kinds in steps.values()}) > 1:
        raise ValueError(f"steps has {list(steps)}: at least one quantity, all of them with the same kinds of runs")
    figure, (ax,) = style.panels(style.COLUMN, 0.75 + 0.27 * len(steps))
    kinds = list(next(iter(steps.values())))
    known = np.concatenate([np.ravel(values) for each in steps.values() for values in each.values()])
    end = np.nanmax(known, initial=1)
    for row, each in enumerate(steps.values()):
        together = np.concatenate([np.ravel(each[kind]) for kind in kinds])
        if np.isfinite(together).any():
            ax.plot([np.nanmedian(together)] * 2, [row - 0.36, row + 0.36], color="black", lw=1.2, zorder=2)
        for i, kind in enumerate(kinds):
            offset = 0.2 * (i - (len(kinds) - 1) / 2)
            at = np.full(len(each[kind]), row + offset)
            ax.plot(each[kind], at, MARKS[i], color=style.SERIES[i], ms=3.2, mew=0, alpha=0.8, zorder=3)
    ax.set_yticks(range(len(steps)), list(steps))
    ax.tick_params(axis="y", length=0)
    ax.set(ylim=(len(steps) - 0.4, -0.6), xlabel=xlabel)
    style.step_axis(ax, np.array([0.0, 1.05 * end]), "linear")
    ax.set_xlabel(xlabel)
    ax.grid(axis="x", color="#E5E5E5", lw=0.5)
    ax.set_axisbelow(True)
    handles = [
        Line2D([], [], marker=MARKS[i], color=style.SERIES[i], ls="", ms=4, mew=0, label=kind)
        for i, kind in enumerate(kinds)
    ]
    handles += [Line2D([], [], color="black", lw=1.2, label="median")]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=labels.SMALL, handletextpad=0.3
    )
    return figure
