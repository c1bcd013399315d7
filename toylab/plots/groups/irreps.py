"""Which irreducible representations networks learn, when, and whether each seed learns the same (Chughtai et al. 2023)."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from toylab.plots import labels, style

SHADES = "Blues"
MANY, SMALLEST = 10, 5.0  # seeds above which a table is wider, its numbers smaller, points
N_SHADES = 16  # of such a table: the file then needs no more colours than a palette has
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))  # lines beyond the colours


@style.house
def learned(
    steps: np.ndarray,
    accuracy: tuple[np.ndarray, np.ndarray],
    similarity: np.ndarray,
    final: np.ndarray,
    order: np.ndarray,
    names: Sequence[str],
    shown: int,
    seeds: Sequence[int] | None = None,
) -> Figure:
    """Three panels, a page wide: accuracies of every seed, similarities of one seed through training, and the last of
    each seed.

    Args:
        steps: [T].
        accuracy: Of train and test, [R, T].
        similarity: Of the logits with each irrep, of the seed `shown`, [T, K]. Its key irreps are coloured.
        final: The last similarity of each seed and irrep, [R, K].
        order: The place at which it was learned, [R, K]; 0 where it is not key.
        names: Of the irreps.
        shown: The run, by its place among them.
        seeds: Of the runs, [R]; None for 0, 1, 2, ….
    """
    seeds = range(len(final)) if seeds is None else seeds
    if not order.shape == final.shape == (len(final), len(names)) or similarity.shape != (len(steps), len(names)):
        raise ValueError(
            f"similarity, final and order have shapes {similarity.shape}, {final.shape} and {order.shape}; with"
            f" {len(steps)} steps and {len(names)} irreps they are [T, K], [R, K] and [R, K]"
        )
    figure, axes = style.panels(style.PAGE, max(2.5, 1 + 0.15 * len(names)), 3)
    figure.get_layout_engine().set(wspace=0.06)  # type: ignore[union-attr, call-arg]  # labels of b beside those of c
    _accuracies(axes[0], steps, accuracy, shown)
    _similarities(axes[1], steps, similarity, order[shown], names)
    if len(final) > MANY:
        axes[0].get_gridspec().set_width_ratios([1, 1, 1.7])  # type: ignore[union-attr]
    _table(figure, axes[2], final, order, names, seeds)
    for ax, mark in zip(axes, "abc", strict=True):
        style.letter(ax, mark, lift=4)
    style.note(
        figure, f"strong lines in a, and b: seed {seeds[shown]}; numbers in c: the order in which irreps are learned"
    )
    return figure


def _accuracies(ax: Axes, steps: np.ndarray, accuracy: tuple[np.ndarray, np.ndarray], shown: int) -> None:
    style.step_axis(ax, steps, "log")
    for values, color in zip(accuracy, (style.TRAIN, style.TEST), strict=True):
        for run, own in enumerate(values):
            ax.plot(steps, own, color=color, lw=1.3 if run == shown else 0.6, alpha=1 if run == shown else 0.4)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(ylim=(-0.03, 1.03), ylabel="accuracy")
    handles = [Line2D([], [], color=c, label=name) for c, name in ((style.TRAIN, "train"), (style.TEST, "test"))]
    put: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 2}
    ax.legend(handles=handles, frameon=False, fontsize=labels.SMALL, handlelength=1.2, borderpad=0, **put)


def _similarities(ax: Axes, steps: np.ndarray, similarity: np.ndarray, order: np.ndarray, names: Sequence[str]) -> None:
    style.step_axis(ax, steps, "log")
    ax.plot(steps, similarity[:, order == 0], color="#BBBBBB", lw=0.6)
    ends, texts, colors = [], [], []
    for i, k in enumerate(np.argsort(np.where(order > 0, order, np.inf))[: int((order > 0).sum())]):
        color = style.SERIES[i % 6]
        ax.plot(steps, similarity[:, k], color=color, ls=DASHES[i // 6 % 3], zorder=3)
        known = np.flatnonzero(np.isfinite(similarity[:, k]))
        if known.size:
            ends.append(similarity[known[-1], k])
            texts.append(shortened(names[k]))
            colors.append(color)
            ax.hlines(ends[-1], steps[known[-1]], steps[-1], color=color, lw=0.6, ls=(0, (1, 3)))
    ax.set_ylabel("logit similarity")
    labels.MarginLabels(ax, "right", np.array(ends), texts, colors)


def _table(
    figure: Figure, ax: Axes, final: np.ndarray, order: np.ndarray, names: Sequence[str], seeds: Sequence[int]
) -> None:
    most = float(np.nanmax(final, initial=0.1))
    every, size = (1, labels.SMALL) if len(final) <= MANY else (5, SMALLEST)
    shades = SHADES if len(final) <= MANY else matplotlib.colormaps[SHADES].resampled(N_SHADES)
    image = ax.imshow(np.clip(final, 0, None).T, cmap=shades, norm=PowerNorm(0.5, 0, most), aspect="auto")
    for run, k in zip(*np.nonzero(order), strict=True):
        ink = "white" if final[run, k] > 0.3 * most else "black"  # half of the shades: square roots
        ax.text(run, k, f"{order[run, k]}", ha="center", va="center", fontsize=size, color=ink)
    ax.set_xticks(range(0, len(final), every), [str(seed) for seed in seeds[::every]])
    ax.set_yticks(range(len(names)), [shortened(name) for name in names])
    ax.set_xlabel("seed")
    for spine in ax.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=ax, fraction=0.05, pad=0.03)
    bar.set_ticks([shade for shade in (0, 0.05, 0.1, 0.2, 0.4, 0.8) if shade <= most])
    bar.set_label("similarity at the end", fontsize=labels.SMALL)
    bar.ax.tick_params(labelsize=labels.SMALL, width=0.6, length=2)
    bar.outline.set_visible(False)


def shortened(name: str) -> str:
    """An irrep's name as a figure has it: "s5_5d_a" is "5d a", "standard_sign" is "standard·sign", "freq_3" is "k = 3"."""
    first, _, rest = name.partition("_")
    if first == "freq":
        return f"k = {rest}"
    if first[:1] in "sa" and first[1:].isdigit():
        return rest.replace("_", " ")
    return name.replace("_", "·")
