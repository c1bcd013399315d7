"""Stages of learning: losses with the exact limits they stop at, and scores aligned with them over one step axis.

Curves are [R, T] (seed, saved point) over `steps` [T] in optimiser steps; nan where a run has no value. A limit is a
number that theory gives, such as the loss of the best predictor of a kind.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toylab.plots import labels, motion, style
from toylab.plots.style import XScale

LIMIT = "#444444"
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.2)), (0, (1, 1)))
TINTS = ("#F6E7C8", "#DBE8F3", "#E2EFDA", "#F3DDE8", "#E9E9E9")
INKS = ("#7A5200", "#2F5A80", "#3F6B2C", "#7A3358", "#444444")


class Panel(NamedTuple):
    """Curves [R, T] by name with the limits, by name, that they may reach. One name has one look in all panels."""

    ylabel: str
    curves: Mapping[str, np.ndarray]
    limits: Mapping[str, float] = {}
    log: bool = False
    ylim: tuple[float, float] | None = None


def _check(steps: np.ndarray, panels: Sequence[Panel]) -> None:
    if steps.ndim != 1 or not steps.size or not np.isfinite(steps).all() or (np.diff(steps) <= 0).any():
        raise ValueError("steps must be finite increasing step numbers [T]")
    if not panels:
        raise ValueError("panels is empty; it has at least one")
    for panel in panels:
        for name, values in panel.curves.items():
            if values.ndim != 2 or values.shape[1] != len(steps):
                raise ValueError(f"{name} has shape {values.shape}; with {len(steps)} steps it is [R, {len(steps)}]")


def _looks(panels: Sequence[Panel]) -> dict[str, tuple[str, Any]]:
    """Colour and dashes of each name; those of a panel begin anew with the colours where all names are too many."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    groups = [names] if len(names) <= len(style.SERIES) else [list(panel.curves) for panel in panels]
    looks: dict[str, tuple[str, Any]] = {}
    for group in groups:
        for i, name in enumerate(group):
            turn, hue = divmod(i, len(style.SERIES))
            looks.setdefault(name, (style.SERIES[hue], DASHES[turn % len(DASHES)]))
    return looks


def median(values: np.ndarray) -> np.ndarray:
    """[T]: the median of the runs [R, T] that have a value, nan where none has."""
    known = np.isfinite(values).any(axis=0)
    middle = np.full(values.shape[1], np.nan)
    middle[known] = np.nanmedian(np.where(np.isfinite(values), values, np.nan)[:, known], axis=0)
    return middle


def _panel(ax: Axes, steps: np.ndarray, panel: Panel, looks: Mapping[str, tuple[str, Any]], xscale: XScale) -> None:
    """Each seed thin, the median strong, limits dashed; the names of both where they end, on the right."""
    style.step_axis(ax, steps, xscale)
    ends, names, inks = [], [], []
    for name, values in panel.curves.items():
        color, dashes = looks[name]
        for each in values if len(values) > 1 else ():
            ax.plot(steps, each, color=color, lw=0.5, alpha=0.45, zorder=2)
        middle = median(values)
        ax.plot(steps, middle, color=color, ls=dashes, zorder=3)
        if np.isfinite(middle).any():
            ends.append(middle[np.isfinite(middle)][-1])
            names.append(name)
            inks.append(color)
    for name, value in panel.limits.items():
        ax.axhline(value, color=LIMIT, lw=0.7, ls=(0, (4, 2)), zorder=1)
        ends.append(value)
        names.append(name)
        inks.append(LIMIT)
    ax.set_ylabel(panel.ylabel)
    if panel.log:
        ax.set_yscale("log")
    if panel.ylim is not None:
        ax.set_ylim(*panel.ylim)
    if panel.log:
        labels.log_numbers(ax.yaxis)
    labels.MarginLabels(ax, "right", np.array(ends), names, inks)


def _mark(axes: Sequence[Axes], spans: Mapping[str, tuple[float, float]]) -> None:
    """Bands through all panels, a line where a span has no length; names above the first panel."""
    for i, (start, end) in enumerate(spans.values()):
        for ax in axes:
            if end > start:
                ax.axvspan(start, end, color=TINTS[i % len(TINTS)], lw=0, zorder=-2)
            else:
                ax.axvline(start, color=INKS[i % len(INKS)], lw=0.7, ls=(0, (2, 2)), zorder=1)
    if spans:
        inks = [INKS[i % len(INKS)] for i in range(len(spans))]
        labels.MarginLabels(axes[0], "top", np.array(list(spans.values()), float), list(spans), inks)


def _note(figure: Figure, panels: Sequence[Panel]) -> None:
    runs = max((len(values) for panel in panels for values in panel.curves.values()), default=1)
    said = [f"thin: {runs} seeds; strong: their median"] * (runs > 1)
    said += ["dashed: limits"] * any(panel.limits for panel in panels)
    if said:
        style.note(figure, "; ".join(said))


@style.house
def stages(
    steps: np.ndarray,
    panels: Sequence[Panel],
    *,
    spans: Mapping[str, tuple[float, float]] | None = None,
    xscale: XScale = "linear",
    xlabel: str = "",
) -> Figure:
    """Panels below each other over one step axis, such as the loss above the scores of the heads, a page wide.

    Args:
        steps: [T], or other places on an axis that `xlabel` names.
        panels: From top to bottom.
        spans: First and last step of each stage by name, drawn as a band, or as a line where both are the same.
        xscale: Of the axis.
        xlabel: Of the axis, where it is not of steps.
    """
    _check(steps, panels)
    figure, axes = style.panels(style.PAGE, 0.5 + 1.55 * len(panels), rows=len(panels))
    looks = _looks(panels)
    for i, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
        _panel(ax, steps, panel, looks, xscale)
        ax.set_xlabel(xlabel or ax.get_xlabel())
        if i + 1 < len(panels):
            ax.tick_params(labelbottom=False)
            ax.set_xlabel("")
        if len(panels) > 1:
            style.letter(ax, "abcdefgh"[i], lift=14 if i == 0 and spans else 2)
    _mark(axes, spans or {})
    _note(figure, panels)
    return figure


@style.house
def beside(panels: Sequence[tuple[str, np.ndarray, Panel]]) -> Figure:
    """Panels beside each other, two in a row of a page, each over a linear axis of its own, such as two measures of time.

    Where curves are of one run each they are the thicker the earlier they stand, so that none hides another.

    Args:
        panels: The name of the axis, places on it [T], and curves [R, T] there.
    """
    for _, places, panel in panels:
        _check(places, [panel])
    rows = -(-len(panels) // 2)
    figure, axes = style.panels(style.PAGE, 0.35 + 2.1 * rows, 2, rows)
    looks = _looks([panel for *_, panel in panels])
    for i, (ax, (xlabel, places, panel)) in enumerate(zip(axes, panels, strict=False)):
        _panel(ax, places, panel, looks, "linear")
        if all(len(values) == 1 for values in panel.curves.values()):
            for before, line in enumerate(ax.get_lines()[len(panel.curves) - 1 :: -1]):
                line.set_linewidth(line.get_linewidth() + before)
        ax.set_xlabel(xlabel)
        style.letter(ax, "abcdefgh"[i], lift=6)
    for ax in axes[len(panels) :]:
        ax.remove()
    _note(figure, [panel for *_, panel in panels])
    return figure


@style.house
def losses_with_limits(
    steps: np.ndarray,
    curves: Mapping[str, np.ndarray],
    limits: Mapping[str, float],
    *,
    ylabel: str = "loss (nats)",
    log: bool = False,
    xscale: XScale = "log",
) -> Figure:
    """Losses over training, with exact limits as dashed lines, in a single column.

    Args:
        steps: [T].
        curves: By name, [R, T].
        limits: By name.
        ylabel: Of the axis.
        log: Whether the losses are on a log axis.
        xscale: Of the steps.
    """
    panel = Panel(ylabel, curves, limits, log)
    _check(steps, [panel])
    figure, (ax,) = style.panels(style.COLUMN, 2.6)
    _panel(ax, steps, panel, _looks([panel]), xscale)
    _note(figure, [panel])
    return figure


@style.house
def losses_by_position(
    steps: np.ndarray,
    loss: np.ndarray,
    limits: Mapping[str, np.ndarray],
    *,
    at: Sequence[float] = (),
    positions: np.ndarray | None = None,
    ylabel: str = "loss (nats)",
) -> Figure:
    """The loss at each position of the context, a panel for each of some steps, over exact limits (dashed).

    The axis is that of the limits: what lies above it, as before anything is learned, is cut off.

    Args:
        steps: [T].
        loss: [R, T, P].
        limits: By name, [P].
        positions: From 1, [P], where not all have a value; their axis is then logarithmic.
        at: Panels are the saved points nearest to these steps (at most eight), else six evenly spaced over those saved.
        ylabel: Of the axis.
    """
    if loss.ndim != 3 or loss.shape[1] != len(steps):
        raise ValueError(f"loss has shape {loss.shape}; with {len(steps)} steps it is [R, {len(steps)}, P]")
    for name, values in limits.items():
        if values.shape != loss.shape[2:]:
            raise ValueError(f"{name} has shape {values.shape}; with {loss.shape[2]} positions it is [{loss.shape[2]}]")
    chosen = motion.stills(steps, at)
    figure, axes = style.panels(style.PAGE, 2.1, len(chosen))
    axis = np.arange(1, loss.shape[2] + 1) if positions is None else positions
    shown = np.concatenate(list(limits.values()) or [loss[:, chosen].ravel()])
    low, high = np.nanmin(shown), np.nanmax(shown)
    cut = np.nanmax(loss[:, chosen]) > high + 0.15 * (high - low)
    for i, (ax, point) in enumerate(zip(axes, chosen, strict=True)):
        for name, values in limits.items():
            ax.plot(axis, values, color=_limit_ink(limits, name), lw=0.8, ls=(0, (4, 2)), zorder=3)
        for each in loss[:, point]:
            ax.plot(axis, each, color="black", lw=0.6, alpha=max(0.15, 0.6 / len(loss) ** 0.4), zorder=2)
        ax.set_title(motion.title(steps[point]), fontsize=labels.SMALL, pad=2)
        margin = 0.15 * (high - low) or 0.05
        ax.set(ylim=(low - margin, high + margin), xlim=(1, max(axis[-1], 2)), ylabel=ylabel if i == 0 else "")
        if positions is not None:
            ax.set_xscale("log")
        ticks = sorted({1, round(axis[-1])})
        ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        ax.set_xticks([], minor=True)
        ax.tick_params(labelleft=i == 0)
        ax.set_xlabel("position")
    inks = [_limit_ink(limits, name) for name in limits]
    labels.MarginLabels(axes[-1], "right", np.array([values[-1] for values in limits.values()]), list(limits), inks)
    above = "; losses above the axis are cut off" if cut else ""
    style.note(figure, f"black: {len(loss)} seed{'s' * (len(loss) > 1)}; dashed: exact limits{above}")
    return figure


def _limit_ink(limits: Mapping[str, np.ndarray], name: str) -> str:
    return style.SERIES[list(limits).index(name) % len(style.SERIES)]
