"""The weights of single neurons as stacked bars, one colour a feature (after Elhage et al. 2022).

W [P, n, m]: panels, features, neurons.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap, LogNorm, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator

from toylab.plots import labels, style

BEYOND = "#BBBBBB"  # features without a colour of their own
FEATURES = LinearSegmentedColormap.from_list("features", ["#1B1464", "#3F6BB5", "#56B4E9", "#E8B84A", "#C2417C"])


def by_first_feature(W: np.ndarray) -> np.ndarray:
    """W [n, m] with its neurons in the order of the features of their largest weights; those without weights come last."""
    size = np.nan_to_num(np.abs(W))
    return W[:, np.lexsort((-size.max(axis=0), size.argmax(axis=0), ~size.any(axis=0)))]


def _stack(ax: Axes, W: np.ndarray, colors: Sequence[Any]) -> None:
    """Weights [n, m] on each other, the first feature nearest the axis; negative ones downwards."""
    m = W.shape[1]
    for sign in (1, -1):
        size = np.maximum(sign * W, 0)
        base = np.cumsum(size, axis=0) - size
        for i in np.flatnonzero(size.any(axis=1)).tolist():
            at = np.flatnonzero(size[i])
            edge: dict[str, Any] = {"ec": "white", "lw": 0.3 if m <= 20 else 0.1}
            ax.bar(at, sign * size[i, at], bottom=sign * base[i, at], width=0.85, color=colors[i], **edge)
    ax.axhline(0, color="black", lw=0.5)
    ax.set_xlim(-0.6, m - 0.4)
    numbered = [0, m - 1] if m > 8 else list(range(m))
    ax.xaxis.set_major_locator(FixedLocator(numbered))
    ax.set_xticklabels([str(neuron + 1) for neuron in numbered])


def _scale(n: int) -> Normalize:
    """Of many features, of which the first matter most, those have most of the colours."""
    return LogNorm(1, n) if n > 40 else PowerNorm(0.5, 1, n) if n > 10 else Normalize(1, max(n, 2))


def _key(figure: Figure, axes: list[Axes], n: int, names: Sequence[str] = (), beyond: bool = False) -> None:
    """The colours of n features: names, or a bar."""
    if names:
        put: dict[str, Any] = {"loc": "outside right upper", "frameon": False, "handlelength": 1}
        patches = [Patch(color=color) for color in style.SERIES[:n]]
        figure.legend(patches, list(names), fontsize=labels.SMALL, **put)
    elif n > 1:
        steps = BoundaryNorm(np.arange(n + 1) + 0.5, n)
        shades = ScalarMappable(_scale(n), FEATURES) if n > 10 else ScalarMappable(steps, FEATURES.resampled(n))
        bar = figure.colorbar(shades, ax=axes, pad=0.01, aspect=40, fraction=0.04)
        between = (10, 20, 30) if n <= 40 else (10, 100)
        ticks = sorted({1, n, *(tick for tick in between if 1.3 * tick <= n)}) if n > 10 else list(range(1, n + 1))
        bar.set_ticks(ticks, labels=[str(tick) for tick in ticks])
        bar.ax.minorticks_off()
        bar.set_label(f"feature, by importance{' (grey: beyond)' if beyond else ''}")
        style.ticks(bar.ax)
        bar.ax.tick_params(length=0)


def _colors(n: int) -> np.ndarray:
    return FEATURES(_scale(n)(np.arange(1, n + 1)))


@style.house
def stacked(
    W: np.ndarray,
    titles: Sequence[str],
    columns: int,
    *,
    ylabel: str = "weights",
    names: Sequence[str] = (),
    least: float = 0.05,
    own_scale: bool = False,
    coloured: int = 0,
) -> Figure:
    """Every neuron's weights stacked on each other, one panel for each W.

    Features have the colours of a bar from the first to the last, or of a key with their names.

    Args:
        W: [P, n, m].
        titles: [P].
        columns: Panels that stand beside each other.
        ylabel: Of the axes.
        names: Of the features, [n].
        least: Weights below this share of the panel's largest are left out: of many features they would be dust.
        own_scale: Whether each panel has its own y axis.
        coloured: The first features, which have colours; the others are grey. 0 for all.
    """
    if W.ndim != 3 or not W.size or len(titles) != len(W):
        raise ValueError(f"W has shape {W.shape} and titles {len(titles)} entries; they are [P, n, m] and [P]")
    panels, n, _ = W.shape
    if names and len(names) != n:
        raise ValueError(f"names has {len(names)} entries; there are {n} features")
    columns = min(columns, panels)
    rows = -(-panels // columns)
    width = style.PAGE if columns > 1 else style.COLUMN
    figure, axes = style.panels(width, 0.4 + (1.25 if columns > 2 else 1.5) * rows, columns, rows)
    coloured = min(coloured or n, n)
    colors = list(style.SERIES[:n]) if names else [*_colors(coloured), *[BEYOND] * (n - coloured)]
    size = np.nan_to_num(np.abs(W))
    shown = np.where(size >= least * size.max(axis=(1, 2), keepdims=True), np.nan_to_num(W), 0)
    ends = np.stack([np.maximum(sign * shown, 0).sum(axis=1).max(axis=1) for sign in (-1, 1)], axis=1)  # [P, 2]
    ends = ends if own_scale else np.broadcast_to(ends.max(axis=0), ends.shape)
    for i, (ax, weights, title) in enumerate(zip(axes, shown, titles, strict=False)):
        _stack(ax, weights, colors)
        below, above = ends[i] + 0.05 * max(ends[i].sum(), 1e-9) * (ends[i] > 0)
        ax.set_ylim(-below, above if below + above else 1)
        ax.set_title(title, fontsize=labels.SMALL, pad=3)
        if i % columns == 0:
            ax.set_ylabel(ylabel)
        elif not own_scale:
            ax.tick_params(labelleft=False)
        if not np.isfinite(W[i]).all():
            ax.text(0.5, 0.5, "no data", transform=ax.transAxes, fontsize=labels.SMALL, ha="center", va="center")
    for ax in axes[panels:]:
        ax.remove()
    _key(figure, axes[:panels], coloured, names, coloured < n)
    figure.supxlabel("neuron", fontsize=8)
    return figure


@style.house
def with_maps(W: np.ndarray, titles: Sequence[str], columns: int) -> Figure:
    """Every neuron's weights as a heat map, features by neurons, and stacked on each other below all maps.

    Args:
        W: [P, n, m].
        titles: [P].
        columns: Panels that stand beside each other.
    """
    if W.ndim != 3 or not W.size or len(titles) != len(W):
        raise ValueError(f"W has shape {W.shape} and titles {len(titles)} entries; they are [P, n, m] and [P]")
    panels, n, m = W.shape
    columns = min(columns, panels)
    rows = -(-panels // columns)
    figure, axes = style.panels(style.PAGE, 0.6 + 2.6 * rows, columns, 2 * rows)
    maps, stacks = axes[: rows * columns], axes[rows * columns :]
    finite = np.nan_to_num(W)
    largest = max(float(np.abs(finite).max()), 1e-9)
    up, down = (1.05 * max(float(np.maximum(sign * finite, 0).sum(axis=1).max()), 0.05) for sign in (1, -1))
    for i, (above, below) in enumerate(zip(maps, stacks, strict=True)):
        if i >= panels:
            above.remove()
            below.remove()
            continue
        places = (0.5, m + 0.5, n + 0.5, 0.5)
        drawn = above.imshow(W[i], cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto", extent=places)
        above.xaxis.set_major_locator(FixedLocator(range(1, m + 1) if m <= 8 else [1, m]))
        above.yaxis.set_major_locator(FixedLocator(sorted({1, n})))
        _stack(below, finite[i], list(_colors(n)))
        below.set_ylim(-down, up)
        for ax, label in ((above, "feature"), (below, "weights")):
            ax.set_title(titles[i], fontsize=labels.SMALL, pad=3)
            if i % columns == 0:
                ax.set_ylabel(label)
            else:
                ax.tick_params(labelleft=False)
        if not np.isfinite(W[i]).all():
            above.text(0.5, 0.5, "no data", transform=above.transAxes, fontsize=labels.SMALL, ha="center", va="center")
    style.letter(maps[0], "a", lift=9)
    style.letter(stacks[0], "b", lift=9)
    bar = figure.colorbar(drawn, ax=maps[:panels], pad=0.01, aspect=40, fraction=0.04)
    bar.set_label("weight")
    style.ticks(bar.ax)
    _key(figure, stacks[:panels], n)
    figure.supxlabel("neuron", fontsize=8)
    return figure
