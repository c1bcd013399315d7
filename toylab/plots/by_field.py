"""The runs of a sweep by the fields that vary: curves and where they get to for one field, phase diagrams for two."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from toylab.plots import labels, phase, style

NAMED = 6  # values whose curves a legend names; more have a colour bar
FEW = 4  # runs of a value whose curves are drawn each; of more, the quartiles
LOG_FROM = 8  # the ratio of values from which on their axis is logarithmic
PANELS = 6  # of phase diagrams, for the values of a third field
NEVER: dict[str, Any] = {"marker": "^", "ms": 4, "mfc": "white", "ls": ""}


class Outcome(NamedTuple):
    """One number a run [R], nan where it has none: its label with the unit, what it is to have none, and log colours."""

    label: str
    values: np.ndarray
    none: str = "no value"
    log: bool = False


class Curve(NamedTuple):
    """One curve a run, [R, T], nan where it has no point."""

    label: str
    values: np.ndarray
    log: bool = False


def axis_of(label: str, values: np.ndarray) -> tuple[phase.Axis, np.ndarray]:
    """An axis for the values [R] of a field, and where on it each run lies.

    Numbers that rise by a ratio are on a log axis, those that rise evenly on a linear one; others, and words, side by side.
    """
    known, place = np.unique(values, return_inverse=True)
    if values.dtype.kind in "biuf" and np.isfinite(known).all() and values.dtype.kind != "b":
        if known[0] > 0 and known[-1] / known[0] >= LOG_FROM:
            return phase.Axis(label, "log"), values.astype(float)
        if len(known) < 3 or np.ptp(np.diff(known)) <= 1e-3 * np.ptp(known):
            return phase.Axis(label), values.astype(float)
    return phase.Axis(label, "even", _texts(known)), place.astype(float)


def diagram(fields: Mapping[str, np.ndarray], outcomes: Sequence[Outcome]) -> Figure:
    """Phase diagrams of outcomes by two fields: each field across or up, an outcome a panel.

    Args:
        fields: Values [R] by label, of two fields; a third divides the panels of the first outcome.
        outcomes: At least one; with a third field the first alone is drawn.

    Raises:
        ValueError: For another number of fields, and a third one with more values than panels fit.
    """
    if len(fields) not in (2, 3):
        raise ValueError(
            f"fields has {len(fields)} entries; a phase diagram has two, or three of which one divides panels"
        )
    (x_name, x), (y_name, y), *third = fields.items()
    (x_axis, across), (y_axis, up) = axis_of(x_name, x), axis_of(y_name, y)

    def panel(outcome: Outcome, runs: np.ndarray, title: str = "") -> phase.Panel:
        cells = phase.of_columns({}, across[runs], up[runs], outcome.values[runs])
        x_own, y_own = _of(x_axis, across[runs]), _of(y_axis, up[runs])
        told = outcome.values[np.isfinite(outcome.values)]
        limits = (float(told.min()), float(told.max())) if told.size else None
        return phase.Panel(cells, x_own, y_own, outcome.label, (), outcome.log, outcome.none, title, limits)

    everyone = np.ones(len(x), bool)
    if not third:
        return phase.diagram(*(panel(outcome, everyone) for outcome in outcomes))
    ((name, values),) = third
    known = np.unique(values)
    if len(known) > PANELS:
        raise ValueError(f"{name} has {len(known)} values; at most {PANELS} panels are drawn")
    titles = zip(known, _texts(known), strict=True)
    return phase.diagram(*(panel(outcomes[0], values == one, f"{name} = {text}") for one, text in titles))


def _of(axis: phase.Axis, places: np.ndarray) -> phase.Axis:
    """The axis with the numbers of the places that occur."""
    if axis.numbers is None:
        return axis
    return axis._replace(numbers=[axis.numbers[int(i)] for i in np.unique(places)])


@style.house
def curves(
    steps: np.ndarray,
    field: str,
    values: np.ndarray,
    curve: Curve,
    outcome: Outcome | None = None,
    *,
    xscale: style.XScale = "log",
) -> Figure:
    """Curves over training coloured by the value of a field: the median of its runs, and their quartiles or, of few, each
    run. Beside them an outcome of each run over the field, with its median.

    Args:
        steps: [T].
        field: The label of the field.
        values: [R]: its values, numbers or words.
        curve: Drawn over training.
        outcome: Drawn over the field.
        xscale: Of the steps.
    """
    known, place = np.unique(values, return_inverse=True)
    colors = _colors(len(known))
    figure, axes = style.panels(style.PAGE if outcome else style.COLUMN, 2.6, columns=2 if outcome else 1)
    style.step_axis(axes[0], steps, xscale)
    axes[0].set(ylabel=curve.label, yscale="log" if curve.log else "linear")
    for i, color in enumerate(colors):
        _bundle(axes[0], steps, curve.values[place == i], color)
    if len(known) <= NAMED:
        handles = [Line2D([], [], color=color, label=text) for text, color in zip(_texts(known), colors, strict=True)]
        axes[0].legend(handles=handles, title=field, frameon=False, fontsize=labels.SMALL, title_fontsize=labels.SMALL)
    else:
        _bar(figure, axes[0], field, known, colors)
    if outcome:
        _over_field(axes[1], field, values, outcome, [colors[i] for i in place])
        style.letter(axes[0], "a")
        style.letter(axes[1], "b")
    return figure


@style.house
def at_the_end(field: str, values: np.ndarray, outcome: Outcome) -> Figure:
    """An outcome of each run over the value of a field, with its median.

    Args:
        field: The label of the field.
        values: [R]: its values, numbers or words.
        outcome: Drawn over the field.
    """
    known, place = np.unique(values, return_inverse=True)
    colors = _colors(len(known))
    figure, axes = style.panels(style.COLUMN, 2.6, columns=1)
    _over_field(axes[0], field, values, outcome, [colors[i] for i in place])
    return figure


def _bundle(ax: Axes, steps: np.ndarray, values: np.ndarray, color: str) -> None:
    there = np.isfinite(values).any(axis=0)
    at, values = steps[there], values[:, there]
    low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75], axis=0) if len(at) else np.empty((3, 0))
    if len(values) > FEW:
        ax.fill_between(at, low, high, color=color, alpha=0.2, lw=0)
    elif len(values) > 1:
        ax.plot(at, values.T, color=color, lw=0.5, alpha=0.5)
    ax.plot(at, middle, color=color, lw=1.3, zorder=3, marker="o" if len(at) == 1 else "", ms=3)


def _bar(figure: Figure, ax: Axes, field: str, known: np.ndarray, colors: Sequence[str]) -> None:
    norm = BoundaryNorm(np.arange(len(known) + 1) - 0.5, len(known))
    bar = figure.colorbar(ScalarMappable(norm, ListedColormap(list(colors))), ax=ax, label=field, pad=0.02)
    every = -(-len(known) // 8)
    bar.set_ticks([float(i) for i in range(0, len(known), every)], labels=_texts(known)[::every])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.outline.set_linewidth(0.6)
    style.ticks(bar.ax)


def _over_field(ax: Axes, field: str, values: np.ndarray, outcome: Outcome, colors: Sequence[str]) -> None:
    """A mark a run, a line through the medians, or a dash at each of words; runs without a value stand at the top."""
    axis, x = axis_of(field, values)
    there = np.isfinite(outcome.values)
    ax.set(xlabel=axis.label, ylabel=outcome.label, xscale="log" if axis.scale == "log" else "linear")
    ax.set_yscale("log" if outcome.log else "linear")
    for i in np.flatnonzero(there):
        ax.plot(x[i], outcome.values[i], "o", ms=3, mfc=colors[int(i)], mec="white", mew=0.4, zorder=3, clip_on=False)
    known = np.unique(x)
    ranked = [np.sort(np.where(there, outcome.values, np.inf)[x == one]) for one in known]
    middle = np.array([(own[(len(own) - 1) // 2] + own[len(own) // 2]) / 2 for own in ranked])
    middle[~np.isfinite(middle)] = np.nan
    dash: dict[str, Any] = {"marker": "_", "ms": 14, "ls": ""} if values.dtype.kind in "Ub" else {}
    ax.plot(known, middle, color="#777777", lw=0.9, zorder=2, label="median", **dash)
    if (~there).any():
        put = ax.get_xaxis_transform()
        for i in np.flatnonzero(~there):
            ax.plot(x[i], 1.0, **NEVER, mec=colors[int(i)], transform=put, clip_on=False, zorder=4)
        ax.plot([], [], **NEVER, mec="#777777", label=outcome.none)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0, frameon=False, fontsize=labels.SMALL)
    if outcome.log:
        labels.log_numbers(ax.yaxis)
    _margin(ax, axis, known)


def _margin(ax: Axes, axis: phase.Axis, known: np.ndarray) -> None:
    """Room on both sides of the values, and a tick at each."""
    if axis.scale == "log":
        room = (known[-1] / known[0]) ** 0.06 if len(known) > 1 else 2.0
        ax.set_xlim(known[0] / room, known[-1] * room)
    else:
        wide = 0.5 if axis.scale == "even" else 0.06 * (known[-1] - known[0])
        room = wide if len(known) > 1 else 1.0
        ax.set_xlim(known[0] - room, known[-1] + room)
    ax.xaxis.set_major_locator(FixedLocator(list(known)))
    labels.ticks_at(ax.xaxis, known, axis.numbers or labels.numbers(known), room=2.4)


def _colors(n: int) -> list[str]:
    """The series of the house for few, else shades of one map, which end before its palest."""
    if n <= 3:
        return list(style.SERIES[:n])
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, n))
    return [matplotlib.colors.to_hex(shade) for shade in shades]


def _texts(values: np.ndarray) -> list[str]:
    return labels.numbers(values) if values.dtype.kind in "iuf" else [str(value) for value in values.tolist()]
