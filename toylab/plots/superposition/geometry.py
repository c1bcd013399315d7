"""What a superposition model has learned: features in the plane, and W Wᵀ with biases and norms.

Rows of W [n, m] are features, as everywhere in toylab. Axes: R runs, n features.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from toylab.plots import arrows, labels, style

IMPORTANCE = LinearSegmentedColormap.from_list("importance", ["#E8B84A", "#C2417C", "#1B1464"])  # dark: important
POLYSEMANTICITY = "cividis"  # 0: alone in its direction; 1: others excite it as strongly as itself
SIGNED = colormaps["RdBu_r"].with_extremes(bad="#D4D4D4")
ROW = 10  # feature arrangements in a row, at most
GRAMS = 7  # matrices in a row, at most


def _check_titles(titles: Sequence[str], runs: int) -> None:
    if len(titles) != runs:
        raise ValueError(f"titles has {len(titles)} entries; there are {runs} runs")


def _columns(titles: Sequence[str], most: int) -> int:
    """How many panels fit beside each other with their titles, the rows as even as can be."""
    longest = max(len(line) for title in titles for line in title.split("\n"))
    columns = int(np.clip(6.2 / (0.065 * longest + 0.08), 1, most))
    rows = -(-len(titles) // columns)
    return -(-len(titles) // rows)


def _scale(values: np.ndarray) -> Normalize:
    low, high = float(values.min()), float(values.max())
    return LogNorm(low, high) if low > 0 and high > 20 * low else Normalize(low, high)


@style.house
def arrangement(
    W: np.ndarray,
    titles: Sequence[str],
    importance: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> Figure:
    """Each run's features as arrows from the origin, one square panel a run, all on one scale.

    The figure of Elhage et al. 2022, introduction.

    Args:
        W: In weight units, [R, n, 2 or 3]. Three dimensions are seen in parallel projection, what lies behind paler.
        titles: Such as "S = 0.9", [R].
        importance: Gives the colour, [n].
        groups: Of features, [n] or [R, n], give the colour; at most seven are told apart. Without either, up to seven
            features have a colour each.
    """
    arrows.check(W, "R n")
    _check_titles(titles, len(W))
    n = W.shape[1]
    if importance is not None and np.shape(importance) != (n,):
        raise ValueError(f"importance has shape {np.shape(importance)}; it is one number for each feature, {(n,)}")
    varied = importance is not None and bool(np.ptp(importance) > 0)
    columns = _columns(titles, ROW)
    rows = -(-len(W) // columns)
    width = style.PAGE if columns > 2 else style.COLUMN
    side = min((width - 0.6 * varied) / columns, 2.4)
    lines = 1 + max(title.count("\n") for title in titles)
    figure, axes = style.panels(width, 0.2 + (side + 0.05 + 0.13 * lines) * rows, columns, rows)
    if importance is not None and varied:
        shades = ScalarMappable(_scale(importance), IMPORTANCE)
        tints = np.tile(np.asarray(shades.to_rgba(importance))[:, :3], (len(W), 1, 1))
        bar = figure.colorbar(shades, ax=axes, label="importance", pad=0.01, aspect=10 * rows, fraction=0.05)
        style.ticks(bar.ax)
    else:
        by_run = [groups] * len(W)
        if groups is not None and np.ndim(groups) == 2:
            if len(groups) != len(W):
                raise ValueError(f"groups has {len(groups)} rows; there are {len(W)} runs")
            by_run = list(groups)
        tints = np.stack([arrows.colors(n, own) for own in by_run])
    radius = arrows.reach(W)
    for ax, features, title, own in zip(axes, W, titles, tints, strict=False):
        arrows.Arrows(ax, features, own, radius)
        ax.set_title(title, fontsize=labels.SMALL, pad=2)
        if not np.isfinite(features).all(axis=1).any():
            ax.text(0, 0, "no data", fontsize=labels.SMALL, ha="center", va="center", backgroundcolor="white")
    for ax in axes[len(W) :]:
        ax.remove()
    style.note(figure, "dotted: radius 1")
    return figure


def _matrix(ax: Axes, gram: np.ndarray, b: np.ndarray, title: str, scale: Normalize) -> QuadMesh:
    """W Wᵀ [n, n], first feature on top, and b [n] in a column of its own on the right."""
    n = len(b)
    end, column = _end(n), max(0.08 * n, 0.8)
    start = end - column
    edges = np.arange(n + 1)
    ax.pcolormesh(edges, edges, gram, cmap=SIGNED, norm=scale, rasterized=True)
    mesh = ax.pcolormesh([start, end], edges, b[:, None], cmap=SIGNED, norm=scale, rasterized=True)
    ax.set(xlim=(0, end), ylim=(n, 0), xticks=[], yticks=[0.5, n - 0.5], yticklabels=["1", str(n)], aspect="equal")
    ax.spines[:].set_visible(False)
    for left, right in ((0, n), (start, end)):
        x, y = np.array([[left, right, right, left, left], [0, 0, n, n, 0]])
        ax.plot(x, y, color="#888888", lw=0.5, clip_on=False)
    for text, at in ((title, n / 2), ("$b$", start + column / 2)):
        put: dict[str, Any] = {"xytext": (0, 2.5), "textcoords": "offset points", "ha": "center", "va": "bottom"}
        ax.annotate(text, (at, 0), fontsize=labels.SMALL, annotation_clip=False, **put)
    return mesh


def _bars(matrix: Axes, norms: np.ndarray, colors: np.ndarray, top: float) -> Axes:
    """‖W_i‖ [n] below the columns of the matrix."""
    n = len(norms)
    ax = matrix.inset_axes((0, -0.6, 1, 0.5))
    ax.bar(np.arange(n) + 0.5, norms, width=0.85 if n <= 40 else 1.0, color=colors)
    ax.plot([0, n], [1, 1], color="#888888", lw=0.5, ls=(0, (1, 2)))
    ax.set(xlim=matrix.get_xlim(), ylim=(0, top), yticks=[0, 1], xticks=[0.5, n - 0.5], xticklabels=["1", str(n)])
    ax.spines.bottom.set_bounds(0, n)
    style.ticks(ax)
    return ax


@style.house
def gram_and_norms(
    gram: np.ndarray,
    b: np.ndarray,
    norms: np.ndarray,
    polysemanticity: np.ndarray,
    titles: Sequence[str],
) -> Figure:
    """W Wᵀ with the biases beside it and the norms of the features below, one block a run.

    All matrices and biases have one colour scale, 0 in the middle. Features are numbered from 1. The feature plots of
    Elhage et al. 2022.

    Args:
        gram: W Wᵀ, [R, n, n] (the paper's WᵀW, since its W is m × n).
        b: [R, n].
        norms: ‖W_i‖, [R, n].
        polysemanticity: √Σ_{j≠i} (Ŵ_i · W_j)², which colours the norms, [R, n].
        titles: [R].
    """
    runs, n = b.shape if b.ndim == 2 else (0, 0)
    expected = {"b": (runs, n), "gram": (runs, n, n), "norms": (runs, n), "polysemanticity": (runs, n)}
    for (name, shape), values in zip(expected.items(), (b, gram, norms, polysemanticity), strict=True):
        if values.shape != shape or not values.size:
            raise ValueError(f"{name} has shape {values.shape}; of R runs of n features b is [R, n] and gram [R, n, n]")
    _check_titles(titles, runs)
    columns = _columns(titles, GRAMS)
    rows = -(-runs // columns)
    figure, axes, (left, right) = _grid(n, rows, columns)
    size = max(float(np.max(abs(x), initial=0, where=np.isfinite(x))) for x in (gram, b)) or 1.0
    signed, shades = Normalize(-size, size), ScalarMappable(Normalize(0, 1), POLYSEMANTICITY)
    top = 1.1 * max(1.0, float(np.nanmax(norms, initial=0)))
    for run in range(runs):
        mesh = _matrix(axes[run], gram[run], b[run], titles[run], signed)
        colors = shades.to_rgba(np.nan_to_num(polysemanticity[run]))
        bars = _bars(axes[run], np.nan_to_num(norms[run]), colors, top)
        if run % columns == 0:
            axes[run].set_ylabel("feature $i$")
            bars.set_ylabel("‖$W_i$‖")
        else:
            axes[run].tick_params(labelleft=False)
            bars.tick_params(labelleft=False)
    for ax in axes[runs:]:
        ax.remove()
    over = "max" if np.nanmax(polysemanticity, initial=0) > 1 else "neither"
    signs = MaxNLocator(4, steps=[1, 2, 5, 10])
    figure.colorbar(mesh, cax=left, label="$W W^T$ and $b$", orientation="horizontal", ticks=signs)
    figure.colorbar(
        shades, cax=right, label="polysemanticity", orientation="horizontal", extend=over, ticks=[0, 0.5, 1]
    )
    for ax in (left, right):
        ax.xaxis.labelpad = 1
    return figure


def _grid(n: int, rows: int, columns: int) -> tuple[Figure, list[Axes], list[Axes]]:
    """Axes for the matrices, row by row, and two thin ones for the colour bars below them; laid out in inches.

    matplotlib's own layout keeps no room for the bars that hang below each matrix, whose height it does not know.
    """
    width = style.PAGE if columns > 2 else style.COLUMN
    left, right, between, head, foot, bottom = 0.5, 0.1, 0.13, 0.22, 0.2, 0.5
    cell = min((width - left - right + between) / columns - between, 2.4)
    side = cell * n / _end(n)
    row = head + 1.6 * side + foot
    height = rows * row + bottom
    figure = Figure(figsize=(width, height), dpi=style.HOUSE["savefig.dpi"])

    def add(x: float, top: float, wide: float, high: float) -> Axes:
        ax = figure.add_axes((x / width, 1 - (top + high) / height, wide / width, high / height))
        style.ticks(ax)
        return ax

    axes = [
        add(left + (i % columns) * (cell + between), head + (i // columns) * row, cell, side)
        for i in range(rows * columns)
    ]
    half = (width - left - right) / 2 - 0.1
    return figure, axes, [add(x, rows * row + 0.08, half, 0.08) for x in (left, left + half + 0.2)]


def _end(n: int) -> float:
    """Where the column of biases ends, in cells of the matrix."""
    return n + max(0.06 * n, 0.3) + max(0.08 * n, 0.8)
