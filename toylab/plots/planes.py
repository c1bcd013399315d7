"""One measure over another through training, such as the test accuracy over the norm of the weights. Where the one decides
the other, the curves of all kinds of runs lie on one line."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toylab.plots import labels, style
from toylab.plots.attention.stages import median

WIDEST = 60  # letters of all names in one row


class Panel(NamedTuple):
    """Curves by name, each x [R, T] and y [R, T] (run, saved point). One name has one colour in all panels."""

    xlabel: str
    ylabel: str
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]]
    log: bool = False
    ylim: tuple[float, float] | None = None


@style.house
def planes(panels: Sequence[Panel], note: str = "") -> Figure:
    """Panels side by side, a page wide: each run thin, the medians of x and y at each saved point strong, a dot at the end.

    Args:
        panels: From left to right; `log` is of the x axis.
        note: A line below, where something must be said.

    Raises:
        ValueError: Where there is no panel, or where x and y of a curve are not of one shape [R, T].
    """
    if not panels:
        raise ValueError("panels is empty; it has at least one")
    for panel in panels:
        for name, (x, y) in panel.curves.items():
            if x.ndim != 2 or x.shape != y.shape:
                raise ValueError(f"{name} has x of shape {x.shape} and y of shape {y.shape}; both are [R, T]")
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    inks = {name: style.SERIES[i % len(style.SERIES)] for i, name in enumerate(names)}
    figure, axes = style.panels(style.PAGE, 2.6, len(panels))
    for ax, panel in zip(axes, panels, strict=True):
        for name, (x, y) in panel.curves.items():
            for one, other in zip(x, y, strict=True) if len(x) > 1 else ():
                ax.plot(one, other, color=inks[name], lw=0.4, alpha=0.35, zorder=2)
            across, up = median(x), median(y)
            known = np.isfinite(across) & np.isfinite(up)
            ax.plot(across[known], up[known], color=inks[name], zorder=3)
            ax.plot(across[known][-1:], up[known][-1:], "o", ms=3.5, color=inks[name], zorder=4)
        ax.set(xlabel=panel.xlabel, ylabel=panel.ylabel, xscale="log" if panel.log else "linear")
        if panel.ylim is not None:
            ax.set_ylim(*panel.ylim)
        if panel.log:
            labels.log_numbers(ax.xaxis)
    handles = [Line2D([], [], color=inks[name], label=name) for name in names]
    columns = min(len(names), 4 if sum(map(len, names)) < WIDEST else 2)
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False)
    if note:
        style.note(figure, note)
    return figure
