"""Feature graphs: which features interfere with which, one picture for each model.

After the graphs beside the dimensionalities of features in Elhage et al. 2022, geometry of uniform superposition.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure

from toylab.plots import labels, style

ROOM = 0.55  # between components; a single feature has no extent, and two lie 1 apart
SHADES = "viridis"


def layout(W: np.ndarray) -> np.ndarray:
    """Places [n, 2] of a component's features W [n, m]: in the plane in which their directions lie most, at most 1 from the
    middle. Two features lie side by side, one lies at the origin."""
    unit = W / np.maximum(np.linalg.norm(W, axis=1, keepdims=True), 1e-12)
    if len(W) <= 2:
        return np.array([[0.0, 0.0]]) if len(W) == 1 else np.array([[-1.0, 0.0], [1.0, 0.0]])
    across, weight, _ = np.linalg.svd(unit, full_matrices=False)
    placed = (across * weight)[:, :2]
    placed = np.pad(placed, ((0, 0), (0, 2 - placed.shape[1])))
    return placed / max(float(np.linalg.norm(placed, axis=1).max()), 1e-12)


def packed(extents: np.ndarray) -> np.ndarray:
    """Centres [n, 2] of boxes of these widths and heights [n, 2], in rows that fill a square from above, highest first."""
    sides, centres = extents + ROOM, np.zeros(extents.shape)
    width = max(1.3 * float(np.sqrt(sides.prod(axis=1).sum())), float(sides[:, 0].max(initial=0)))
    x, y, height = 0.0, 0.0, 0.0
    for one in np.lexsort((-sides[:, 0], -sides[:, 1])):
        across, down = sides[one]
        if x + across > width + 1e-9:
            x, y, height = 0.0, y + height, 0.0
        centres[one] = x + across / 2, -(y + down / 2)
        x, height = x + across, max(height, down)
    return centres


def _graph(
    ax: Axes, W: np.ndarray, block: np.ndarray, D: np.ndarray, least: float, span: tuple[float, float]
) -> PathCollection:
    members = [np.flatnonzero(block == name) for name in np.unique(block) if name >= 0]
    drawn = [0.35 * len(own) ** 0.5 * layout(W[own]) for own in members]
    low, high = (np.array([end(one, axis=0) for one in drawn]).reshape(-1, 2) for end in (np.min, np.max))
    places = np.full((len(W), 2), np.nan)
    for own, one, centre, middle in zip(members, drawn, packed(high - low), (low + high) / 2, strict=True):
        places[own] = one - middle + centre
    unit = W / np.maximum(np.linalg.norm(W, axis=1, keepdims=True), 1e-12)
    cosines = np.abs(unit @ unit.T)
    there = np.isfinite(places[:, 0])
    pairs = np.argwhere(np.triu((cosines >= least) & there & there[:, None], k=1))
    shade = 0.85 - 0.6 * cosines[tuple(pairs.T)]
    lines = LineCollection(places[pairs].tolist(), colors=[(grey,) * 3 for grey in shade], lw=0.5, zorder=1)
    ax.add_collection(lines)
    size = float(np.clip(800 / max(there.sum(), 1), 3, 20))
    x, y = places[there].T
    dots = ax.scatter(x, y, c=D[there], cmap=SHADES, vmin=span[0], vmax=span[1], s=size, lw=0, zorder=2)
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xticks=[], yticks=[])
    ax.margins(0.06)
    ax.spines[:].set_visible(False)
    return dots


@style.house
def feature_graphs(
    W: Sequence[np.ndarray], block: Sequence[np.ndarray], D: Sequence[np.ndarray], titles: Sequence[str],
    least: float = 0.2,
) -> Figure:  # fmt: skip
    """Each model's features as dots, coloured by dimensionality, with a line between two that interfere.

    Components of the graph are drawn apart, each in the plane in which its features' directions lie most.

    Args:
        W: Features [n, m] of each model.
        block: [n] of each model: the component of a feature, −1 of one that is not drawn, as of `analysis.polytope`.
        D: Dimensionalities [n] of each model.
        titles: A line or two for each model.
        least: |cos| of two features from which on they are joined.
    """
    if not len(W) or not len(W) == len(block) == len(D) == len(titles):
        raise ValueError("W, block, D and titles must have one entry for each model, and at least one")
    for features, own, values in zip(W, block, D, strict=True):
        if np.ndim(features) != 2 or np.shape(own) != (len(features),) or np.shape(values) != (len(features),):
            shapes = ", ".join(str(np.shape(one)) for one in (features, own, values))
            raise ValueError(f"W, block and D of a model have shapes {shapes}; they are [n, m], [n] and [n]")
    columns = min(len(W), 3)
    rows = -(-len(W) // columns)
    figure, axes = style.panels(style.PAGE, 0.5 + 2.2 * rows, columns, rows)
    shown = np.concatenate([np.asarray(values)[np.asarray(own) >= 0] for own, values in zip(block, D, strict=True)])
    if not shown.size:
        raise ValueError("no model has a feature with a component; block is −1 of those that are not drawn")
    span = float(shown.min()), float(shown.max())
    for ax, features, own, values, title in zip(axes, W, block, D, titles, strict=False):
        dots = _graph(ax, np.asarray(features), np.asarray(own), np.asarray(values), least, span)
        ax.set_title(title, fontsize=labels.SMALL, pad=2)
    for ax in axes[len(W) :]:
        ax.remove()
    bar = figure.colorbar(
        dots, ax=axes[: len(W)], label="dimensionality $D_i$", pad=0.01, aspect=15 * rows, fraction=0.03
    )
    style.ticks(bar.ax)
    style.note(figure, f"line: |cos| of two features of {least:g} or more, darker the larger")
    return figure
