"""Networks over their attention rate: measures at the end, and how they came about in training; kinds of linear models."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toylab.plots import labels, style

CLOCK, PIZZA, THEIRS, NEITHER = "#0072B2", "#D55E00", "#777777", "#444444"
RATES = "cividis"


class OverRate(NamedTuple):
    """A measure [R] of runs, and what others found: rate → value. `guides`: name → level."""

    name: str
    values: np.ndarray
    theirs: Mapping[float, float]
    ylim: tuple[float, float]
    guides: Mapping[str, float] = {}


def _runs(
    ax: Axes, x: np.ndarray, y: np.ndarray, solves: np.ndarray, shape: str, ink: str, counts: np.ndarray | None = None
) -> None:
    """A point a run, hollow where it does not count, a cross where it does not solve the task."""
    solved: dict[str, Any] = {"marker": shape, "color": ink, "mec": "white", "mew": 0.3}
    hollow = {"marker": shape, "mfc": "white", "mec": ink, "mew": 0.7}
    counts = solves if counts is None else counts
    looks = (solves & counts, solved), (solves & ~counts, hollow), (~solves, {"marker": "x", "color": "black"})
    for which, look in looks:
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
def over_rate(
    rate: np.ndarray, solves: np.ndarray, shown: Sequence[OverRate], theirs: str, counts: np.ndarray, others: str
) -> Figure:
    """Each measure over the attention rate: every run, the median of those that count as a line.

    Runs that solve the task and do not count are hollow. A cross is a run that does not solve it.

    Args:
        rate: [R].
        solves: [R].
        shown: The measures.
        theirs: Whose numbers stand beside.
        counts: Runs that are selected as those of `theirs`, [R].
        others: What the hollow ones are.
    """
    figure, axes = style.panels(style.PAGE, 2.7, len(shown))
    for ax, mark, one in zip(axes, "abcdef", shown, strict=False):
        for name, level in one.guides.items():
            ax.axhline(level, color="#BBBBBB", lw=0.7, ls=(0, (3, 2)), zorder=0)
            ax.annotate(
                name, (0, level), (2, -2), textcoords="offset points", va="top", fontsize=labels.SMALL, color="#666666"
            )
        ax.plot(list(one.theirs), list(one.theirs.values()), "-", color=THEIRS, marker="D", ms=3, lw=0.9, zorder=2)
        levels = np.unique(rate[solves & counts])
        middle = [np.median(one.values[solves & counts & (rate == level)]) for level in levels]
        if len(levels):
            ax.plot(levels, middle, color=PIZZA, zorder=3)
        _runs(ax, rate, one.values, solves, "o", PIZZA, counts)
        ax.set(xlim=(-0.02, 1.02), ylim=one.ylim, xlabel="attention rate", ylabel=one.name)
        style.letter(ax, mark, lift=2)
    handles = [
        Line2D([], [], color=PIZZA, marker="o", ms=3, label="our runs, median"),
        Line2D([], [], color=THEIRS, marker="D", ms=3, lw=0.9, label=theirs),
    ]
    if (solves & ~counts).any():
        hollow = Line2D([], [], ls="none", marker="o", ms=3.5, mfc="white", mec=PIZZA, mew=0.7, label=others)
        handles.insert(1, hollow)
    _legend(figure, [*handles, *_failures(solves)])
    return figure


@style.house
def over_training(steps: np.ndarray, rate: np.ndarray, shown: Mapping[str, np.ndarray]) -> Figure:
    """Each measure over training, coloured by attention rate: the median at each rate, and pale a line a run.

    Args:
        steps: [T].
        rate: [R].
        shown: By name, [R, T].
    """
    figure, axes = style.panels(style.PAGE, 2.4, len(shown))
    colours = ScalarMappable(cmap=RATES)
    colours.set_clim(0, 1)
    for ax, mark, (name, values) in zip(axes, "abcdef", shown.items(), strict=False):
        for run in range(len(rate)):
            ax.plot(steps, values[run], lw=0.5, alpha=0.35, color=colours.to_rgba(rate[run]))
        for level in np.unique(rate):
            ax.plot(steps, np.median(values[rate == level], axis=0), lw=1.5, color=colours.to_rgba(level), zorder=3)
        style.step_axis(ax, steps, "log")
        ax.set(ylabel=name, ylim=(min(0, np.nanmin(values)) - 0.02, 1.04))
        style.letter(ax, mark, lift=2)
    bar = figure.colorbar(colours, ax=axes[-1], aspect=20, pad=0.03, ticks=[0, 0.5, 1])
    bar.set_label("attention rate")
    bar.ax.tick_params(**style.TICKS)
    return figure


@style.house
def over_width(
    width: np.ndarray, rate: np.ndarray, seed: np.ndarray, solves: np.ndarray, shown: Mapping[str, np.ndarray]
) -> Figure:
    """Measures over a network's width, coloured by attention rate: pale a line a seed, and the median at each width.

    Args:
        width: [R].
        rate: [R].
        seed: [R]: runs of one seed and rate are joined.
        solves: [R].
        shown: By name, [R].
    """
    figure, axes = style.panels(style.COLUMN * 1.5, 2.4, len(shown))
    known, sizes = np.unique(rate), np.unique(width)
    shades = matplotlib.colormaps[RATES](np.linspace(0.1, 0.75, len(known)))
    inks = dict(zip(known.tolist(), shades, strict=True))
    place = np.searchsorted(sizes, width).astype(float)
    for ax, mark, (name, values) in zip(axes, "abcdef", shown.items(), strict=False):
        for level, ink in inks.items():
            for one in np.unique(seed):
                own = np.flatnonzero((rate == level) & (seed == one))
                own = own[np.argsort(width[own])]
                ax.plot(place[own], values[own], lw=0.5, alpha=0.45, color=ink)
            _runs(ax, place, np.where(rate == level, values, np.nan), solves, "o", ink)
            of_size = [values[(rate == level) & (width == size) & solves] for size in sizes]
            middle = [np.median(own) if own.size else np.nan for own in of_size]
            ax.plot(range(len(sizes)), middle, lw=2, color=ink, zorder=5, label=f"{level:g}")
        ax.set_xticks(range(len(sizes)), [f"{size:g}" for size in sizes])
        ax.set(
            xlabel="width", ylabel=name, xlim=(-0.25, len(sizes) - 0.75), ylim=(min(0, np.nanmin(values)) - 0.02, 1.04)
        )
        style.letter(ax, mark, lift=2)
    handles = [Line2D([], [], color=ink, lw=2, label=f"attention rate {level:g}") for level, ink in inks.items()]
    _legend(figure, [*handles, *_failures(solves)])
    return figure


@style.house
def kinds(
    names: Sequence[str],
    shown: Mapping[str, Mapping[str, np.ndarray]],
    solves: np.ndarray,
    guides: Mapping[str, tuple[str, float]] | None = None,
) -> Figure:
    """Runs by kind: a panel for each measure, with one or several series. Those of two are coloured and named.

    Args:
        names: The kind of each run, [R].
        shown: By measure and series, [R].
        solves: [R].
        guides: By measure, what a level means, and the level; drawn dashed.
    """
    figure, axes = style.panels(style.COLUMN * 1.5, 2.4, len(shown))
    order = list(dict.fromkeys(names))
    at = np.array([order.index(name) for name in names], float)
    for ax, mark, (title, series) in zip(axes, "abcdef", shown.items(), strict=False):
        if title in (guides or {}):
            told, level = (guides or {})[title]
            ax.axhline(level, color="#888888", lw=0.7, ls=(0, (3, 2)), zorder=0)
            put: dict[str, Any] = {"textcoords": "offset points", "va": "top", "fontsize": labels.SMALL}
            ax.annotate(told, (-0.5, level), (2, -2), color="#666666", **put)
        inks = (CLOCK, PIZZA) if len(series) > 1 else (NEITHER,)
        for i, (values, ink, shape) in enumerate(zip(series.values(), inks, "os", strict=False)):
            x = at + 0.2 * (i - (len(series) - 1) / 2)
            _runs(ax, x, values, solves, shape, ink)
        ax.set_xticks(range(len(order)), order)
        ax.set(
            ylabel=title, xlim=(-0.5, len(order) - 0.5), ylim=(min(0, *(v.min() for v in series.values())) - 0.05, 1.05)
        )
        style.letter(ax, mark, lift=2)
    names_of = next((list(series) for series in shown.values() if len(series) > 1), [])
    looks = zip(names_of, (CLOCK, PIZZA), "os", strict=False)
    handles = [Line2D([], [], ls="none", marker=mark, ms=3.5, color=ink, label=name) for name, ink, mark in looks]
    _legend(figure, [*handles, *_failures(solves)])
    return figure
