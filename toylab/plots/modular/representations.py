"""Representations of numbers on a line: through training, and the accuracy that they predict (Liu et al. 2022)."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from toylab.plots import labels, style

FIRST_COLUMN = 0.9  # of the colour map: yellow is too light for lines


@style.house
def through_training(panels: Mapping[str, tuple[np.ndarray, np.ndarray]], xlabels: Sequence[str]) -> Figure:
    """The position of each number by panel, one line each.

    Args:
        panels: Title → steps [T] and positions [T, p].
        xlabels: One for each panel.
    """
    figure, axes = style.panels(style.PAGE, 2.6, len(panels))
    for i, (ax, (title, (steps, positions)), xlabel) in enumerate(zip(axes, panels.items(), xlabels, strict=True)):
        if positions.shape[:1] != steps.shape or positions.ndim != 2:
            raise ValueError(f"{title} has positions {positions.shape}; with {len(steps)} steps they are [T, p]")
        colors = list(matplotlib.colormaps["viridis"](np.linspace(0, FIRST_COLUMN, positions.shape[1])))
        for color, line in zip(colors, positions.T, strict=True):
            ax.plot(steps, line, color=color, lw=1.2)
        ax.set(xlim=(steps[0], steps[-1]), xlabel=xlabel, ylabel="z-scored embedding")
        ax.set_title(title, fontsize=8)
        labels.MarginLabels(ax, "right", positions[-1], [str(number) for number in range(positions.shape[1])], colors)
        style.letter(ax, "abcdefgh"[i], lift=4)
    return figure


@style.house
def shares(x: np.ndarray, lines: Mapping[str, np.ndarray], xlabel: str, ylabel: str = "share of runs") -> Figure:
    """Shares of runs over a quantity of the sweep, by name.

    Args:
        x: [N].
        lines: Name → shares [N].
        xlabel: Of x.
        ylabel: Of the shares.
    """
    figure, (ax,) = style.panels(style.COLUMN, 2.4)
    for (name, values), color in zip(lines.items(), style.SERIES, strict=False):
        if values.shape != x.shape:
            raise ValueError(f"{name} has shape {values.shape}; with {len(x)} values of x it is [{len(x)}]")
        ax.plot(x, values, "-o", color=color, lw=1.2, ms=3)
    ax.set(ylim=(-0.03, 1.03), xlabel=xlabel, ylabel=ylabel)
    labels.MarginLabels(
        ax, "right", np.array([values[-1] for values in lines.values()]), list(lines), style.SERIES[: len(lines)]
    )
    return figure


@style.house
def predicted(share: np.ndarray, accuracy: np.ndarray, foreseen: np.ndarray) -> Figure:
    """Accuracy over the share of training pairs, measured and predicted by the representation, and one over the other.

    Args:
        share: Of all pairs that is trained on, [R].
        accuracy: Over all pairs, [R].
        foreseen: What the representation predicts of it, [R].
    """
    shapes = {np.shape(share), np.shape(accuracy), np.shape(foreseen)}
    if len(shapes) > 1 or np.ndim(share) != 1:
        raise ValueError(f"share, accuracy and foreseen have the shapes {sorted(map(str, shapes))}: they are [R]")
    figure, axes = style.panels(style.PAGE, 2.5, 3)
    for ax, values, ylabel in ((axes[0], accuracy, "accuracy"), (axes[1], foreseen, "predicted accuracy")):
        ax.plot([0, 1], [0, 1], color="#777777", lw=0.8, ls=(0, (4, 2)))
        ax.plot(share, values, "o", ms=3, mew=0, alpha=0.5, color=style.SERIES[0])
        ax.set(xlabel="share of pairs trained on", ylabel=ylabel)
    axes[2].plot([0, 1], [0, 1], color="#777777", lw=0.8, ls=(0, (4, 2)))
    axes[2].plot(foreseen, accuracy, "o", ms=3, mew=0, alpha=0.5, color=style.SERIES[0])
    axes[2].set(xlabel="predicted accuracy", ylabel="accuracy")
    for letter, ax in zip("abc", axes, strict=True):
        ax.set(xlim=(0, 1.03), ylim=(0, 1.03), aspect="equal")
        style.letter(ax, letter, lift=4)
    return figure


@style.house
def rates(slowest: np.ndarray, time: np.ndarray, law: tuple[float, float]) -> Figure:
    """When the representation is learned, over the slowest rate of its dynamics, with a law time = factor · rate^−exponent.

    Args:
        slowest: λ₃ of each training set, [R].
        time: To the representation, [R]; nan where it does not come.
        law: Exponent and factor.
    """
    if np.shape(slowest) != np.shape(time) or np.ndim(time) != 1:
        raise ValueError(f"slowest and time have the shapes {np.shape(slowest)} and {np.shape(time)}: they are [R]")
    figure, (ax,) = style.panels(style.COLUMN, 2.6)
    known = np.isfinite(time) & (slowest > 0)
    ax.plot(slowest[known], time[known], "o", ms=3.5, mew=0, alpha=0.6, color=style.SERIES[0])
    if known.any():
        ends = np.array([slowest[known].min(), slowest[known].max()])
        ax.plot(ends, law[1] * ends ** -law[0], color="#444444", lw=0.9, ls=(0, (4, 2)))
        name = f"time ∝ λ$_3$ to the power −{law[0]:g}"
        ax.annotate(name, (ends[0], law[1] * ends[0] ** -law[0]), (6, 4), textcoords="offset points", fontsize=7)
    ax.set(xscale="log", yscale="log", xlabel="λ$_3$ of the training set", ylabel="time to RQI > 0.95")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    return figure
