"""Curves over training: loss and accuracy, progress measures, structure of the weights.

Arrays are [R, T] (run, saved point) over `steps` [T] in optimiser steps; nan where a run has no value, such
as after its end. The run `shown` is drawn strong and its phases are marked; the other runs are thin and pale.
The measures are those of Nanda et al. 2023 (arXiv 2301.05217).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toylab.plots import labels, style
from toylab.plots.style import XScale


class Line(NamedTuple):
    values: np.ndarray  # [R, T]
    color: str
    dashes: Any = "-"
    others: bool = True  # whether the runs that are not shown are drawn too


def _check(steps: np.ndarray, phases: np.ndarray, shown: int, **arrays: np.ndarray) -> None:
    if steps.ndim != 1 or not steps.size or not np.isfinite(steps).all() or (np.diff(steps) <= 0).any():
        raise ValueError("steps must be finite increasing step numbers [T]")
    if phases.ndim != 2 or phases.shape[1] != len(style.PHASES):
        raise ValueError(f"phases has shape {phases.shape}; it is [R, {len(style.PHASES)}], where each phase ends")
    runs = len(phases)
    if not 0 <= shown < runs:
        raise ValueError(f"shown is {shown}; the runs are 0 to {runs - 1}")
    for name, values in arrays.items():
        if values.shape != (runs, len(steps)):
            raise ValueError(f"{name} has shape {values.shape}; here it is [R, T] = {(runs, len(steps))}")


def _panel(
    ax: Axes,
    steps: np.ndarray,
    lines: Mapping[str, Line],
    phases: np.ndarray,
    shown: int,
    xscale: XScale,
) -> None:
    """All lines of one panel, the phases of the shown run, and the name of each line where it ends."""
    style.step_axis(ax, steps, xscale)
    for line in lines.values():
        for values in np.delete(line.values, shown, axis=0) if line.others else ():
            ax.plot(steps, values, color=line.color, lw=0.5, alpha=0.3)
    ends, names = [], []
    for name, line in lines.items():
        values = line.values[shown]
        ax.plot(steps, values, color=line.color, ls=line.dashes, zorder=3)
        finite = np.flatnonzero(np.isfinite(values))
        if finite.size:
            ends.append(values[finite[-1]])
            names.append(name)
            if steps[finite[-1]] < steps[-1]:  # ended early: a dotted guide leads to the name
                ax.plot(steps[finite[-1]], ends[-1], "o", ms=2.5, color=line.color, zorder=3)
                ax.hlines(ends[-1], steps[finite[-1]], steps[-1], color=line.color, lw=0.6, ls=(0, (1, 3)))
    labels.MarginLabels(ax, "right", np.array(ends), names, [lines[name].color for name in names])
    style.mark_phases(ax, float(steps[0]), phases[shown])


def _log_loss(ax: Axes) -> None:
    ax.set_yscale("log")
    ax.set_ylabel("loss (nats)")


def _note(figure: Figure, runs: int, shown: int, more: str = "") -> None:
    others = "the other run" if runs == 2 else f"the {runs - 1} other runs"
    told = [f"strong lines and phases: run {shown}; pale: {others}"] if runs > 1 else []
    if told := [*told, *([more] if more else [])]:
        style.note(figure, "\n".join(told))


@style.house
def learning(
    steps: np.ndarray,
    train_loss: np.ndarray,
    test_loss: np.ndarray,
    train_accuracy: np.ndarray,
    test_accuracy: np.ndarray,
    phases: np.ndarray,
    shown: int = 0,
    *,
    xscale: XScale = "linear",
) -> Figure:
    """Loss and accuracy of the training and the test set, in two panels of a double column.

    Args:
        steps: [T].
        train_loss: In nats, [R, T].
        test_loss: In nats, [R, T].
        train_accuracy: As shares of 1, [R, T].
        test_accuracy: As shares of 1, [R, T].
        phases: The step at which memorisation, circuit formation and cleanup end, [R, 3]; nan if they did not.
        shown: The run that is drawn strong.
        xscale: Of the steps.
    """
    data = {"train_loss": train_loss, "test_loss": test_loss}
    shares = {"train_accuracy": train_accuracy, "test_accuracy": test_accuracy}
    _check(steps, phases, shown, **data, **shares)
    figure, (loss, accuracy) = style.panels(style.PAGE, 2.5, columns=2)
    train, test = Line(train_loss, style.TRAIN), Line(test_loss, style.TEST)
    _log_loss(loss)
    _panel(loss, steps, {"train": train, "test": test}, phases, shown, xscale)
    train, test = train._replace(values=100 * train_accuracy), test._replace(values=100 * test_accuracy)
    accuracy.set(ylabel="accuracy (%)", ylim=(-3, 103), yticks=range(0, 101, 25))
    _panel(accuracy, steps, {"train": train, "test": test}, phases, shown, xscale)
    style.letter(loss, "a")
    style.letter(accuracy, "b")
    _note(figure, len(phases), shown)
    return figure


@style.house
def progress(
    steps: np.ndarray,
    train_loss: np.ndarray,
    test_loss: np.ndarray,
    restricted_loss: np.ndarray,
    excluded_loss: np.ndarray,
    phases: np.ndarray,
    shown: int = 0,
    *,
    xscale: XScale = "linear",
    note: str = "",
) -> Figure:
    """The two progress measures beside the training and the test loss, in a single column.

    Args:
        steps: [T].
        train_loss: In nats, [R, T].
        test_loss: In nats, [R, T].
        restricted_loss: Over all pairs, [R, T].
        excluded_loss: Over the training pairs, [R, T].
        phases: As of `learning`.
        shown: The run that is drawn strong.
        xscale: Of the steps.
        note: A line below the figure.
    """
    _check(
        steps,
        phases,
        shown,
        train_loss=train_loss,
        test_loss=test_loss,
        restricted_loss=restricted_loss,
        excluded_loss=excluded_loss,
    )
    figure, (ax,) = style.panels(style.COLUMN, 2.5)
    _log_loss(ax)
    lines = {
        "train": Line(train_loss, style.TRAIN),
        "test": Line(test_loss, style.TEST),
        "restricted": Line(restricted_loss, style.RESTRICTED, (0, (4, 1.2))),
        "excluded": Line(excluded_loss, style.EXCLUDED, (0, (4, 1.2, 1, 1.2))),
    }
    _panel(ax, steps, lines, phases, shown, xscale)
    _note(figure, len(phases), shown, note)
    return figure


@style.house
def structure(
    steps: np.ndarray,
    gini_embedding: np.ndarray,
    gini_neuron_logit: np.ndarray,
    sum_of_squares: np.ndarray,
    phases: np.ndarray,
    shown: int = 0,
    by_name: Mapping[str, np.ndarray] | None = None,
    *,
    xscale: XScale = "linear",
) -> Figure:
    """Gini coefficients of the Fourier spectra and sums of squared weights, in two panels of a double column.

    Args:
        steps: [T].
        gini_embedding: In 0 … 1, [R, T].
        gini_neuron_logit: In 0 … 1, [R, T].
        sum_of_squares: Over all weights, [R, T].
        phases: As of `learning`.
        shown: The run that is drawn strong.
        by_name: The sum for each group of weights, [R, T]; of the shown run only.
        xscale: Of the steps.
    """
    groups = dict(by_name or {})
    measures = {"gini_embedding": gini_embedding, "gini_neuron_logit": gini_neuron_logit}
    _check(steps, phases, shown, **measures, sum_of_squares=sum_of_squares, **groups)
    figure, (gini, squares) = style.panels(style.PAGE, 2.5, columns=2)
    gini.set(ylabel="Gini coefficient", ylim=(0, 1))
    lines = {
        "embedding": Line(gini_embedding, style.SERIES[0]),
        "neuron–logit": Line(gini_neuron_logit, style.SERIES[1], (0, (4, 1.2))),
    }
    _panel(gini, steps, lines, phases, shown, xscale)
    lines = {"total": Line(sum_of_squares, style.EXCLUDED)}
    for i, (name, values) in enumerate(groups.items()):
        turn, hue = divmod(i, len(style.SERIES))
        lines[name] = Line(values, style.SERIES[hue], ("-", (0, (4, 1.2)), (0, (1, 1)))[turn % 3], others=False)
    _panel(squares, steps, lines, phases, shown, xscale)
    squares.set(ylabel="sum of squared weights")
    squares.set_ylim(bottom=0)
    style.letter(gini, "a")
    style.letter(squares, "b")
    _note(figure, len(phases), shown)
    return figure
