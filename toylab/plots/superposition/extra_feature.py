"""Phase diagrams over importance and density: what becomes of the extra feature, measured and by theory.

As in Elhage et al. 2022: the extra feature is not represented, is stored in superposition, or gets a dimension of its
own. Sparser lies to the right, as in all figures here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from toylab.plots import style
from toylab.plots.phase import edges

REGIONS = ("not represented", "in superposition", "dedicated dimension")
COLORS = ("#E4E4E4", "#56B4E9", "#E69F00")  # told apart in deuteranopia and by lightness
MISSING = "#FFFFFF"


class Diagram(NamedTuple):
    """One panel. Importance [I] and density [P] rise, in log steps; shares of the three REGIONS [I, P, 3] sum to 1.

    Shares are those of the runs of a cell; np.eye(3)[classes] gives them where a cell has one class (0, 1, 2). Cells
    that are nan are hatched. Boundaries are exact curves, (importance [K], density [K]) each.
    """

    title: str
    importance: np.ndarray
    density: np.ndarray
    shares: np.ndarray
    boundaries: Sequence[tuple[np.ndarray, np.ndarray]] = ()


def _check(diagram: Diagram) -> None:
    for name, values in (("importance", diagram.importance), ("density", diagram.density)):
        if values.ndim != 1 or not values.size or not (values > 0).all() or (np.diff(values) <= 0).any():
            raise ValueError(
                f"{name} of {diagram.title!r} must be positive rising numbers, since its axis is logarithmic"
            )
    shape = (len(diagram.importance), len(diagram.density), len(REGIONS))
    if diagram.shares.shape != shape:
        raise ValueError(
            f"shares of {diagram.title!r} have shape {diagram.shares.shape}; here it is [I, P, 3] = {shape}"
        )


def _limits(centres: np.ndarray) -> np.ndarray:
    """The axis ends in the middle of its outer cells, so that it spans what was measured and no density above 1."""
    return centres[[0, -1]] if len(centres) > 1 else edges(centres)


def _decades(ax: Axes) -> None:
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        whole = 10.0 ** np.arange(np.ceil(np.log10(low) - 1e-9), np.floor(np.log10(high) + 1e-9) + 1)
        steps = [
            m * d for d in 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high))) for m in range(1, 10)
        ]
        axis.set_major_locator(FixedLocator(list(whole) if len(whole) > 1 else [low, high]))
        axis.set_minor_locator(FixedLocator([s for s in steps if low <= s <= high]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
        axis.set_minor_formatter(NullFormatter())


def _panel(ax: Axes, diagram: Diagram) -> None:
    colors = np.array([to_rgb(color) for color in COLORS])
    x, y = edges(diagram.density), edges(diagram.importance)
    (top, bottom), (right, left) = _limits(diagram.importance), _limits(diagram.density)
    ax.set(xscale="log", yscale="log", xlim=(left, right), ylim=(top, bottom))
    missing = ~np.isfinite(diagram.shares).all(axis=2)
    cells = np.clip(np.where(missing[..., None], 1.0, diagram.shares @ colors), 0, 1)
    ax.pcolormesh(x, y, cells, rasterized=True)
    if missing.any():
        hatch = np.ma.masked_array(np.zeros(missing.shape), ~missing)
        ax.pcolor(x, y, hatch, hatch="/////", cmap=ListedColormap(["#FFFFFF"]), edgecolor="#888888", lw=0)
    for importance, density in diagram.boundaries:
        ax.plot(density, importance, color="white", lw=2.4, zorder=3, solid_capstyle="butt")
        ax.plot(density, importance, color="black", lw=1.2, zorder=4, solid_capstyle="butt")
    ax.set_box_aspect(1)
    ax.set_title(diagram.title, fontsize=8)
    _decades(ax)


@style.house
def phase_diagrams(diagrams: Sequence[Diagram]) -> Figure:
    """Phase diagrams beside each other (three in a row), theory's boundaries drawn over them.

    Colours of a cell are mixed by the shares of its runs.

    Args:
        diagrams: One to six.

    Raises:
        ValueError: For another number, and for shapes that do not fit.
    """
    if not 1 <= len(diagrams) <= 6:
        raise ValueError(f"diagrams has {len(diagrams)} entries; a figure holds 1 to 6")
    for diagram in diagrams:
        _check(diagram)
    columns = len(diagrams) if len(diagrams) <= 3 else -(-len(diagrams) // 2)
    rows = -(-len(diagrams) // columns)
    width = style.COLUMN if columns == 1 else style.PAGE
    side = min((width - 0.5) / columns - (0.1 if columns == 1 else 0.25), 2.9)
    figure, axes = style.panels(width, 0.6 + rows * (side + 0.4), columns, rows)
    for i, (ax, diagram) in enumerate(zip(axes, diagrams, strict=False)):
        _panel(ax, diagram)
        if i % columns == 0:
            ax.set_ylabel("relative importance of the extra feature")
        if i >= len(diagrams) - columns:
            ax.set_xlabel("density $p$ = 1 − $S$")
    for ax in axes[len(diagrams) :]:
        ax.remove()
    handles: list[Patch | Line2D] = [
        Patch(fc=c, ec="#888888", lw=0.5, label=n) for c, n in zip(COLORS, REGIONS, strict=True)
    ]
    if any(diagram.boundaries for diagram in diagrams):
        handles.append(Line2D([], [], color="black", lw=1.2, label="theory"))
    if any(not np.isfinite(diagram.shares).all() for diagram in diagrams):
        handles.append(Patch(fc="white", ec="#888888", hatch="////", lw=0.5, label="no data"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=2 if columns == 1 else len(handles),
        frameon=False,
        fontsize=7,
        handlelength=1.4,
        columnspacing=1.4,
    )
    return figure
