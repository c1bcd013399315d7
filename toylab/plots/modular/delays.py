"""How long generalisation takes: steps over a quantity of the sweep, and examples of learning curves side by side."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toylab.plots import labels, style

GUIDE = "#555555"


class Delays(NamedTuple):
    """One panel: steps [S, N] of every seed at x [N] by name, nan where it never happened within `budget` steps.

    Names in `guides` are curves (x, steps), drawn dashed; in `points`, single measurements (x, steps) from elsewhere. If
    `ordered`, the names are levels of one quantity and their colours follow it."""

    x: np.ndarray
    steps: Mapping[str, np.ndarray]
    xlabel: str
    budget: float
    guides: Mapping[str, tuple[np.ndarray, np.ndarray]] = {}
    points: Mapping[str, tuple[np.ndarray, np.ndarray]] = {}
    log: bool = False
    ordered: bool = False
    title: str = ""
    ylabel: str = "optimiser steps"


def middle(steps: np.ndarray) -> np.ndarray:
    """[N]: median over seeds [S, N], never counting as beyond all others; nan where that is the median."""
    found = np.quantile(np.where(np.isnan(steps), np.inf, steps), 0.5, axis=0, method="lower")
    return np.where(np.isfinite(found), found, np.nan)


def _panel(ax: Axes, panel: Delays) -> None:
    ordered = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(panel.steps)))
    colors = list(ordered) if panel.ordered else list((style.TRAIN, style.TEST, *style.SERIES[2:])[: len(panel.steps)])
    ends, width = [], np.ptp(np.log(panel.x) if panel.log else panel.x)
    for i, ((name, steps), color) in enumerate(zip(panel.steps.items(), colors, strict=True)):
        if steps.ndim != 2 or steps.shape[1] != len(panel.x):
            raise ValueError(
                f"{name} has shape {steps.shape}; with {len(panel.x)} values of x it is [S, {len(panel.x)}]"
            )
        shift = 0.004 * width * (i - (len(colors) - 1) / 2)
        x = panel.x * np.exp(shift) if panel.log else panel.x + shift
        for own in steps:
            ax.plot(x, own, "o", ms=2.2, color=color, mew=0, alpha=0.5, zorder=3)
            ax.plot(x, np.where(np.isnan(own), 1.6 * panel.budget, np.nan), "^", ms=3, mfc="none", mec=color, mew=0.6)
        line = middle(steps)
        ax.plot(x, line, "-_", color=color, lw=1.2, ms=5, mew=1.2, zorder=4)
        known = np.flatnonzero(np.isfinite(line))
        ends.append((x[known[-1]], line[known[-1]]) if known.size else (x[-1], 1.6 * panel.budget))
    ax.set(xscale="log" if panel.log else "linear", yscale="log", xlabel=panel.xlabel, ylabel=panel.ylabel)
    ax.axhline(panel.budget, color=GUIDE, lw=0.5, ls=(0, (1, 2)))
    for values in panel.guides.values():
        ax.plot(*values, color=GUIDE, lw=0.9, ls=(0, (4, 2)), zorder=2)
    for values in panel.points.values():
        ax.plot(*values, "s", ms=4, mfc="none", mec="black", mew=0.8, zorder=5)
    ax.set_xlim(*ax.get_xlim())
    labels.ticks_at(ax.xaxis, panel.x, [f"{value:.3g}" for value in panel.x])
    low = ax.get_ylim()[0]
    ax.set_ylim(low, 2.2 * panel.budget)
    labels.log_numbers(ax.yaxis)
    for (x_end, end), color in zip(ends, colors, strict=True):  # a dotted guide leads from an early end to the name
        ax.plot([x_end, ax.get_xlim()[1]], [end, end], color=color, lw=0.6, ls=(0, (1, 3)), zorder=1)
    labels.MarginLabels(ax, "right", np.array(ends)[:, 1], list(panel.steps), colors)
    if panel.title:
        ax.set_title(panel.title, fontsize=8)


@style.house
def delays(*panels: Delays) -> Figure:
    """Steps (log axis) over a quantity of the sweep; a column wide, or a page for two panels.

    A dot is a seed, a line goes through the medians, and a triangle above the dotted line is a seed that never got there.

    Args:
        *panels: One or two.
    """
    if not 1 <= len(panels) <= 2:
        raise ValueError(f"panels has {len(panels)} entries; it has 1 or 2")
    figure, axes = style.panels(style.PAGE if len(panels) > 1 else style.COLUMN, 2.9, len(panels))
    handles = [Line2D([], [], color="#777777", marker="o", ms=2.5, lw=1.2, label="seeds and their median")]
    for i, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
        _panel(ax, panel)
        if len(panels) > 1:
            style.letter(ax, "ab"[i], lift=4)
        if any(np.isnan(steps).any() for steps in panel.steps.values()):
            label = f"never within {panel.budget:,.0f} steps"
            handles.append(Line2D([], [], color="#777777", marker="^", ms=3.5, mfc="none", ls="", label=label))
        for name in panel.guides:
            handles.append(Line2D([], [], color=GUIDE, lw=0.9, ls=(0, (4, 2)), label=name))
        for name in panel.points:
            handles.append(Line2D([], [], color="black", marker="s", ms=4, mfc="none", ls="", label=name))
    shown = list({handle.get_label(): handle for handle in handles}.values())
    figure.legend(
        handles=shown,
        loc="outside lower center",
        ncols=len(panels),
        frameon=False,
        fontsize=labels.SMALL,
        handlelength=1.8,
        columnspacing=1.4,
    )
    return figure


@style.house
def examples(steps: np.ndarray, runs: Mapping[str, tuple[np.ndarray, np.ndarray]], threshold: float) -> Figure:
    """Training and test accuracy of up to four runs, over steps on a log axis.

    Args:
        steps: [T].
        runs: By title, both as shares of 1, [T].
        threshold: Drawn dotted.
    """
    if not 1 <= len(runs) <= 4:
        raise ValueError(f"runs has {len(runs)} entries; it has 1 to 4")
    figure, axes = style.panels(style.PAGE, 1.9, len(runs))
    for i, (ax, (title, pair)) in enumerate(zip(axes, runs.items(), strict=True)):
        style.step_axis(ax, steps, "log")
        for values, color in zip(pair, (style.TRAIN, style.TEST), strict=True):
            ax.plot(steps, 100 * values, color=color, lw=1.2)
        ax.axhline(100 * threshold, color=GUIDE, lw=0.5, ls=(0, (1, 2)))
        ax.set(ylim=(-3, 103), yticks=range(0, 101, 25))
        ax.set_title(title, fontsize=labels.SMALL, loc="left")
        if i:
            ax.set_yticklabels([])
        else:
            ax.set_ylabel("accuracy (%)")
    put: dict[str, Any] = {"frameon": False, "fontsize": labels.SMALL, "handlelength": 1.4}
    handles = [
        Line2D([], [], color=color, label=name) for color, name in ((style.TRAIN, "train"), (style.TEST, "test"))
    ]
    handles.append(Line2D([], [], color=GUIDE, lw=0.5, ls=(0, (1, 2)), label=f"{100 * threshold:.0f} %"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, **put)
    return figure
