"""Polytopes that features form: a gallery with their edges, and dimensionalities with the graphs of features beside them.

After the figures of Elhage et al. 2022, geometry of uniform superposition.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from toylab.plots import arrows, labels, style

EDGE = "#BBBBBB"
NEAR = 1.05  # an edge is up to this times as long as the shortest at one of its ends
SMALL = 0.3  # of the largest norm: what is shorter is not learned


def edges(W: np.ndarray) -> np.ndarray:
    """Pairs [E, 2] of features that are neighbours by their angle: as near as the nearest of one of the two.

    Antipodes are none, and a feature that is not learned has none.
    """
    norms = np.linalg.norm(W, axis=1)
    there = norms > SMALL * norms.max(initial=1e-12)
    unit = W / np.maximum(norms, 1e-12)[:, None]
    cosines = unit @ unit.T
    apart = np.where(there & there[:, None] & ~np.eye(len(W), dtype=bool), np.arccos(np.clip(cosines, -1, 1)), np.inf)
    nearest = apart.min(axis=1)
    found = (apart <= NEAR * np.maximum(nearest, nearest[:, None])) & (apart < 0.9 * np.pi)
    return np.argwhere(np.triu(found))


def _polytope(ax: Axes, W: np.ndarray, radius: float) -> None:
    arrows.Arrows(ax, W, arrows.colors(len(W), np.zeros(len(W), int)), radius)
    points = arrows.seen(W)[:, :2]
    ax.add_collection(LineCollection(points[edges(W)].tolist(), color=EDGE, lw=0.8, zorder=1), autolim=False)


@style.house
def gallery(W: Sequence[np.ndarray], titles: Sequence[str]) -> Figure:
    """Each model's features as arrows, with edges between neighbours, one panel a model.

    Args:
        W: Features [n, 2 or 3], of models of any size.
        titles: Such as "pentagon", a line or two.
    """
    if not len(W) or len(W) != len(titles):
        raise ValueError(f"W has {len(W)} models and titles {len(titles)} entries; give one title for each model")
    for each in W:
        arrows.check(np.asarray(each)[None], "R n")
    columns = min(len(W), 4)
    rows = -(-len(W) // columns)
    width = style.PAGE if columns > 2 else style.COLUMN
    lines = 1 + max(title.count("\n") for title in titles)
    figure, axes = style.panels(width, 0.2 + (width / columns + 0.14 * lines) * rows, columns, rows)
    for ax, features, title in zip(axes, W, titles, strict=False):
        _polytope(ax, features, arrows.reach(features))
        ax.set_title(title, fontsize=labels.SMALL, pad=2)
    for ax in axes[len(W) :]:
        ax.remove()
    style.note(figure, "dotted: radius 1; grey: between neighbours by their angle")
    return figure
