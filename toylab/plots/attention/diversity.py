"""What a network makes of its training tasks over their number: which of four solutions it is nearest to.

The solutions, last axis of every distance: by unigrams or bigrams, by retrieval or inference, as in `NAMES`. Distances are
KL(solution ‖ network) in nats. Phase diagrams after Park et al. 2024 (arXiv 2412.01003).
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from toylab.plots import labels, style

NAMES = ("unigram retrieval", "bigram retrieval", "unigram inference", "bigram inference")
COLORS = (style.SERIES[4], style.SERIES[1], style.SERIES[5], style.SERIES[0])
PALETTE = (style.SERIES[2], style.SERIES[3])


def _medians(numbers: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers that occur, ascending [N], and the median over their runs of values [R, …] → [N, …]."""
    known = np.unique(numbers)
    return known, np.stack([np.median(values[numbers == n], axis=0) for n in known])


def _check(numbers: np.ndarray, **arrays: np.ndarray) -> None:
    for name, values in arrays.items():
        if len(values) != len(numbers):
            raise ValueError(f"{name} has {len(values)} runs; numbers has {len(numbers)}")


def _number_axis(axis: object, known: np.ndarray) -> None:
    axis.set_ticks(np.arange(len(known)), [f"{n:,}" for n in known])  # type: ignore[attr-defined]


@style.house
def phases(steps: np.ndarray, numbers: np.ndarray, trained: np.ndarray, new: np.ndarray) -> Figure:
    """The nearest solution at each saved step and number of chains, on sequences of trained and of new chains.

    A cell is the paler, the less the nearest leads over the next. The median over runs of a number counts.

    Args:
        steps: [T].
        numbers: Of chains, [R].
        trained: Distances, [R, T, 4].
        new: Distances, [R, T, 4].
    """
    _check(numbers, trained=trained, new=new)
    figure, axes = style.panels(style.PAGE, 2.5, 2)
    for ax, name, distances, mark in zip(axes, ("trained", "new"), (trained, new), "ab", strict=True):
        known, values = _medians(numbers, distances[:, 1:])
        nearest = values.argmin(axis=-1)  # [N, T − 1]
        best, second = np.moveaxis(np.sort(values, axis=-1)[..., :2], -1, 0)
        lead = 0.25 + 0.75 * np.clip(1 - best / second, 0, 1)
        edges = np.sqrt(steps[1:-1] * steps[2:])
        edges = np.concatenate([[steps[1] ** 1.5 / steps[2] ** 0.5], edges, [steps[-1]]])
        rows = np.arange(len(known) + 1) - 0.5
        ax.pcolormesh(
            edges, rows, nearest, cmap=ListedColormap(COLORS), vmin=-0.5, vmax=3.5, alpha=lead, rasterized=True
        )
        ax.set_xscale("log")
        labels.log_numbers(ax.xaxis)
        ax.set_xlabel("optimiser step")
        _number_axis(ax.yaxis, known)
        ax.set_ylabel("chains" if ax is axes[0] else "")
        style.letter(ax, mark, f"on {name} chains")
    entries = [Patch(color=color, label=name) for name, color in zip(NAMES, COLORS, strict=True)]
    figure.legend(handles=entries, loc="outside upper center", ncols=4, frameon=False, fontsize=labels.SMALL)
    style.note(figure, "colour: nearest solution by KL, median seed; paler: the next is as near")
    return figure


@style.house
def over_number(
    numbers: np.ndarray, losses: Mapping[str, np.ndarray], limits: Mapping[str, np.ndarray], distances: np.ndarray
) -> Figure:
    """The end of training, over the number of chains.

    Args:
        numbers: Of chains, [R].
        losses: By name, [R].
        limits: The exact limit of each, [R].
        distances: To the solutions, [R, 4].
    """
    _check(numbers, distances=distances, **losses)
    _check(numbers, **limits)
    figure, axes = style.panels(style.PAGE, 2.4, 2)
    for (name, values), color in zip(losses.items(), PALETTE, strict=False):
        _line(axes[0], numbers, values, name, color)
        known, limit = _medians(numbers, limits[name])
        axes[0].plot(np.arange(len(known)), limit, color=color, ls=(0, (3, 2)), lw=0.8, label="_exact")
    axes[0].set_ylabel("loss (nats)")
    for i, (name, color) in enumerate(zip(NAMES, COLORS, strict=True)):
        _line(axes[1], numbers, distances[:, i], name, color)
    axes[1].set_ylabel("KL(solution ‖ network),\nnew chains (nats)")
    axes[1].set_yscale("log")
    labels.log_numbers(axes[1].yaxis)
    for ax, mark in zip(axes, "ab", strict=True):
        ax.set_xlabel("chains")
        _number_axis(ax.xaxis, np.unique(numbers))
        named = [line for line in ax.lines if str(line.get_label())[0] != "_"]
        ends = [np.asarray(line.get_ydata())[-1] for line in named]
        inks = [str(line.get_color()) for line in named]
        labels.MarginLabels(ax, "right", np.array(ends), [str(line.get_label()) for line in named], inks)
        style.letter(ax, mark)
    style.note(
        figure,
        "dots: seeds; lines: their median; dashed: exact loss of bigram retrieval (trained) and inference (new)",
    )
    return figure


def _line(ax: Axes, numbers: np.ndarray, values: np.ndarray, name: str, color: str) -> None:
    known, middle = _medians(numbers, values)
    ax.plot(np.arange(len(known)), middle, color=color, label=name)
    ax.plot(np.searchsorted(known, numbers), values, "o", ms=2, color=color, alpha=0.6, label="_seeds")
