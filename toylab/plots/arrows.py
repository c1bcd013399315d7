"""Features as arrows from the origin, in the plane (m = 2) or seen in space (m = 3) with nearer ones darker.

Rows of W [n, m] are features, as in Elhage et al. 2022. The dotted circle has radius 1, the norm of a feature that the
model passes on unchanged.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle

from toylab.plots import style

ELEVATION = np.deg2rad(22)  # of the eye above the plane of the first two hidden dimensions
TURN = np.deg2rad(25)  # of the eye around the third hidden dimension
FADE = 0.75  # share of white in what lies farthest back
MANY = 20  # features, from which on arrows are thinner


def seen(W: np.ndarray, turn: float = TURN) -> np.ndarray:
    """Features W [n, m] as the eye sees them: across, up and towards the eye, [n, 3], distances as drawn kept.

    For m = 2 this is the plane itself, at depth 0. For m = 3 it is a parallel projection from `turn` radians around the
    third hidden dimension, ELEVATION above the plane of the first two.
    """
    if W.shape[1] == 2:
        return np.column_stack([W, np.zeros(len(W))])
    x, y, z = W.T
    across = np.cos(turn) * x - np.sin(turn) * y
    away = np.sin(turn) * x + np.cos(turn) * y
    up = np.cos(ELEVATION) * z - np.sin(ELEVATION) * -away
    return np.column_stack([across, up, np.sin(ELEVATION) * z - np.cos(ELEVATION) * away])


def colors(n: int, groups: np.ndarray | None = None) -> np.ndarray:
    """RGB [n, 3]: one colour for each group [n] of features; without groups for each feature, or one for all of many."""
    if groups is None:
        groups = np.arange(n) if n <= len(style.SERIES) else np.zeros(n, int)
    if np.shape(groups) != (n,):
        raise ValueError(f"groups has shape {np.shape(groups)}; it is one number for each feature, {(n,)}")
    _, order = np.unique(groups, return_inverse=True)
    return np.array([to_rgb(style.SERIES[i % len(style.SERIES)]) for i in order])


def check(W: np.ndarray, axes: str) -> None:
    """W has shape `axes`, such as "R n", and two or three hidden dimensions."""
    if W.ndim != len(axes.split()) + 1 or W.shape[-1] not in (2, 3) or 0 in W.shape:
        wanted = ", ".join([*axes.split(), "2 or 3"])
        raise ValueError(f"W has shape {W.shape}; arrows can be drawn for [{wanted}]")


def reach(W: np.ndarray) -> float:
    """The half-width of an axes that holds every feature of W [..., m] from every side, and the circle of radius 1."""
    norms = np.linalg.norm(W, axis=-1)
    return 1.12 * max(1.0, float(np.max(norms, initial=0, where=np.isfinite(norms))))


class Arrows:
    """The arrows in one square axes, drawn for `W` [n, m] and moved by `show`. Features that are not finite vanish."""

    def __init__(self, ax: Axes, W: np.ndarray, colors: np.ndarray, radius: float, turn: float = TURN) -> None:
        self.colors, self.three = colors, W.shape[1] == 3
        ax.set(xlim=(-radius, radius), ylim=(-radius, radius), aspect="equal", xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        self.few = len(W) <= MANY
        self.circles = LineCollection([], lw=0.5, zorder=0)
        if self.three:
            ax.add_collection(self.circles, autolim=False)
        else:
            ax.axhline(0, color="#DDDDDD", lw=0.5, zorder=0)
            ax.axvline(0, color="#DDDDDD", lw=0.5, zorder=0)
        ax.add_patch(Circle((0, 0), 1, fill=False, ec="#999999", lw=0.5, ls=(0, (1, 2)), zorder=0))
        self.shafts = LineCollection([], lw=1.2 if self.few else 0.6, zorder=2)
        ax.add_collection(self.shafts, autolim=False)
        self.tips: PathCollection = ax.scatter([], [], lw=0, zorder=3, clip_on=False)  # dots have a size of their own
        self.show(W, turn)

    def show(self, W: np.ndarray, turn: float = TURN) -> None:
        """Move to W [n, m], seen from `turn` radians around the third dimension."""
        finite = np.isfinite(W).all(axis=1)
        points = seen(W[finite], turn)
        order = np.argsort(points[:, 2], kind="stable")  # the nearest last, on top
        points, tints = points[order], self.colors[finite][order]
        far = np.clip((1 - points[:, 2:]) / 2, 0, 1) if self.three else np.zeros((len(points), 1))
        tints = tints + FADE * far * (1 - tints)
        self.shafts.set_segments([np.array([[0, 0], point]) for point in points[:, :2]])
        self.shafts.set_color(tints)
        self.tips.set_offsets(points[:, :2])
        self.tips.set_facecolor(tints)
        size = 14.0 if self.few else 5.0
        self.tips.set_sizes(size * (1.3 - 0.8 * far[:, 0]))
        if self.three:
            self._show_circles(turn)

    def _show_circles(self, turn: float) -> None:
        """The unit circles of the three coordinate planes, pale where they lie behind."""
        angle = np.linspace(0, 2 * np.pi, 49)
        flat = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
        lines, tints = [], []
        for axis in range(3):
            circle = seen(np.roll(flat, axis, axis=1), turn)
            lines += [circle[i : i + 2, :2] for i in range(48)]
            tints += ["#BBBBBB" if depth > 0 else "#E6E6E6" for depth in circle[:-1, 2] + circle[1:, 2]]
        self.circles.set_segments(lines)
        self.circles.set_color(tints)
