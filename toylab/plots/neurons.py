"""The weights of single neurons as stacked bars, one colour a feature (after Elhage et al. 2022).

W [P, n, m]: panels, features, neurons.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator

from toylab.plots import labels, style

FEATURES = LinearSegmentedColormap.from_list("features", ["#1B1464", "#3F6BB5", "#56B4E9", "#E8B84A", "#C2417C"])
LEAST = 0.05  # of a panel's largest weight: smaller ones are left out, or many features turn the bars to dust


def by_first_feature(W: np.ndarray) -> np.ndarray:
    """W [n, m] with its neurons in the order of the features of their largest weights."""
    size = np.nan_to_num(np.abs(W))
    return W[:, np.lexsort((-size.max(axis=0), size.argmax(axis=0)))]


def _stack(ax: Axes, W: np.ndarray, colors: np.ndarray) -> None:
    """Weights [n, m] on each other, the first feature nearest the axis; negative ones downwards."""
    m = W.shape[1]
    W = np.nan_to_num(W)
    W = np.where(np.abs(W) >= LEAST * np.abs(W).max(), W, 0)
    for sign in (1, -1):
        size = np.maximum(sign * W, 0)
        base = np.cumsum(size, axis=0) - size
        for i in np.flatnonzero(size.any(axis=1)):
            at = np.flatnonzero(size[i])
            edge: dict[str, Any] = {"ec": "white", "lw": 0.3 if m <= 20 else 0.1}
            ax.bar(at, sign * size[i, at], bottom=sign * base[i, at], width=0.85, color=colors[i], **edge)
    ax.axhline(0, color="black", lw=0.5)
    ax.set_xlim(-0.6, m - 0.4)
    numbered = [0, m - 1] if m > 8 else list(range(m))
    ax.xaxis.set_major_locator(FixedLocator(numbered))
    ax.set_xticklabels([str(neuron + 1) for neuron in numbered])


@style.house
def stacked(
    W: np.ndarray, titles: Sequence[str], columns: int, ylabel: str = "weights", names: Sequence[str] = ()
) -> Figure:
    """Every neuron's weights stacked on each other, one panel a W [n, m] of W [P, n, m], titles [P].

    `columns` panels stand beside each other; all share one y axis. Features have the colours of a bar from the first to
    the last, or of a key with their `names` [n].
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
    colors = np.array([style.SERIES[i] for i in range(n)]) if names else FEATURES(np.linspace(0, 1, n))
    reach = [np.nansum(np.maximum(sign * W, 0), axis=1).max(initial=0) for sign in (-1, 1)]
    room = 0.05 * max(sum(reach), 1e-9)
    for i, (ax, weights, title) in enumerate(zip(axes, W, titles, strict=False)):
        _stack(ax, weights, colors)
        ax.set_ylim(-reach[0] - room * (reach[0] > 0), reach[1] + room)
        ax.set_title(title, fontsize=labels.SMALL, pad=3)
        if i % columns:
            ax.tick_params(labelleft=False)
        else:
            ax.set_ylabel(ylabel)
        if not np.isfinite(weights).all():
            ax.text(0.5, 0.5, "no data", transform=ax.transAxes, fontsize=labels.SMALL, ha="center", va="center")
    for ax in axes[panels:]:
        ax.remove()
    if names:
        patches = [Patch(color=color) for color in colors]
        put: dict[str, Any] = {
            "loc": "outside right upper",
            "frameon": False,
            "fontsize": labels.SMALL,
            "handlelength": 1,
        }
        figure.legend(patches, list(names), **put)
    elif n > 1:
        shades = ScalarMappable(BoundaryNorm(np.arange(n + 1) + 0.5, n), FEATURES.resampled(n))
        bar = figure.colorbar(shades, ax=axes[:panels], pad=0.01, aspect=14 * rows, fraction=0.04)
        bar.set_ticks([1, n] if n > 10 else list(range(1, n + 1)))
        bar.ax.minorticks_off()
        bar.set_label("feature, by importance")
        style.ticks(bar.ax)
        bar.ax.tick_params(length=0)
    figure.supxlabel("neuron", fontsize=8)
    return figure
