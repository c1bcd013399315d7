"""Networks over their attention rate: measures at the end, and how they came about in training; kinds of linear models."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toylab.plots import labels, style

CLOCK, PIZZA, THEIRS = "#0072B2", "#D55E00", "#777777"
RATES = "cividis"


class OverRate(NamedTuple):
    """A measure [R] of runs, and what others found: rate → value. `guides`: name → level."""

    name: str
    values: np.ndarray
    theirs: Mapping[float, float]
    ylim: tuple[float, float]
    guides: Mapping[str, float] = {}


def _runs(ax: Axes, x: np.ndarray, y: np.ndarray, solves: np.ndarray, shape: str, ink: str) -> None:
    """A point a run, a cross where it does not solve the task."""
    solved: dict[str, Any] = {"marker": shape, "color": ink, "mec": "white", "mew": 0.3}
    for which, look in ((solves, solved), (~solves, {"marker": "x", "color": "black"})):
        if which.any():  # the layout takes an empty line that is not clipped for an endless one
            ax.plot(x[which], y[which], ls="none", ms=3.5, zorder=4, clip_on=False, **look)


def _failures(solves: np.ndarray) -> list[Line2D]:
    cross = Line2D([], [], ls="none", color="black", marker="x", ms=3.5, label="does not solve the task")
    return [] if solves.all() else [cross]


def _legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    figure.legend(
        handles=handles, loc="outside lower center", ncols=max(len(handles), 1), frameon=False, fontsize=labels.SMALL
    )


@style.house
def over_rate(rate: np.ndarray, solves: np.ndarray, shown: Sequence[OverRate], theirs: str) -> Figure:
    """Each measure over the attention rate: every run, a cross where it does not solve the task, the median of the
    others as a line.

    Args:
        rate: [R].
        solves: [R].
        shown: The measures.
        theirs: Whose numbers stand beside.
    """
    figure, axes = style.panels(style.PAGE, 2.7, len(shown))
    for ax, mark, one in zip(axes, "abcdef", shown, strict=False):
        for name, level in one.guides.items():
            ax.axhline(level, color="#BBBBBB", lw=0.7, ls=(0, (3, 2)), zorder=0)
            ax.annotate(
                name, (0, level), (2, -2), textcoords="offset points", va="top", fontsize=labels.SMALL, color="#666666"
            )
        ax.plot(list(one.theirs), list(one.theirs.values()), "-", color=THEIRS, marker="D", ms=3, lw=0.9, zorder=2)
        levels = np.unique(rate[solves])
        middle = [np.median(one.values[solves & (rate == level)]) for level in levels]
        ax.plot(levels, middle, color=PIZZA, zorder=3)
        _runs(ax, rate, one.values, solves, "o", PIZZA)
        ax.set(xlim=(-0.02, 1.02), ylim=one.ylim, xlabel="attention rate", ylabel=one.name)
        style.letter(ax, mark, lift=2)
    handles = [
        Line2D([], [], color=PIZZA, marker="o", ms=3, label="our runs, median"),
        Line2D([], [], color=THEIRS, marker="D", ms=3, lw=0.9, label=theirs),
    ]
    _legend(figure, [*handles, *_failures(solves)])
    return figure


@style.house
def over_training(steps: np.ndarray, rate: np.ndarray, shown: Mapping[str, np.ndarray]) -> Figure:
    """Each measure over training, a line a run, coloured by its attention rate.

    Args:
        steps: [T].
        rate: [R].
        shown: By name, [R, T].
    """
    figure, axes = style.panels(style.PAGE, 2.4, len(shown))
    colours = ScalarMappable(cmap=RATES)
    colours.set_clim(0, 1)
    for ax, mark, (name, values) in zip(axes, "abcdef", shown.items(), strict=False):
        for run in np.argsort(rate, kind="stable"):
            ax.plot(steps, values[run], lw=0.9, color=colours.to_rgba(rate[run]))
        style.step_axis(ax, steps, "log")
        ax.set(ylabel=name, ylim=(min(0, np.nanmin(values)) - 0.02, 1.04))
        style.letter(ax, mark, lift=2)
    bar = figure.colorbar(colours, ax=axes[-1], aspect=20, pad=0.03, ticks=[0, 0.5, 1])
    bar.set_label("attention rate")
    bar.ax.tick_params(**style.TICKS)
    return figure


@style.house
def kinds(names: Sequence[str], shown: Mapping[str, Mapping[str, np.ndarray]], solves: np.ndarray) -> Figure:
    """Runs by kind: a panel for each measure, with one or several series.

    Args:
        names: The kind of each run, [R].
        shown: By measure and series, [R].
        solves: [R].
    """
    figure, axes = style.panels(style.COLUMN * 1.5, 2.4, len(shown))
    order = list(dict.fromkeys(names))
    at = np.array([order.index(name) for name in names], float)
    for ax, mark, (title, series) in zip(axes, "abcdef", shown.items(), strict=False):
        for i, (values, ink, shape) in enumerate(zip(series.values(), (CLOCK, PIZZA), "os", strict=False)):
            x = at + 0.2 * (i - (len(series) - 1) / 2)
            _runs(ax, x, values, solves, shape, ink)
        ax.set_xticks(range(len(order)), order)
        ax.set(
            ylabel=title, xlim=(-0.5, len(order) - 0.5), ylim=(min(0, *(v.min() for v in series.values())) - 0.05, 1.05)
        )
        style.letter(ax, mark, lift=2)
    names_of = next((list(series) for series in shown.values() if len(series) > 1), [])
    inks = zip(names_of, (CLOCK, PIZZA), "os", strict=False)
    handles = [Line2D([], [], ls="none", marker=mark, ms=3.5, color=ink, label=name) for name, ink, mark in inks]
    _legend(figure, [*handles, *_failures(solves)])
    return figure
