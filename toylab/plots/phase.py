"""Phase diagrams: any two columns of a sweep against any measure, a number or a category in each cell.

`of_columns` (cells.py) sorts the runs into cells, `diagram` draws them.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import offset_copy

from toylab.plots import labels, style
from toylab.plots.cells import Cells, commonest, median, of_columns

__all__ = ["Axis", "Panel", "diagram", "edges", "of_columns"]

AREAS = ("#F5E663", "#E69F00", "#0072B2", "#4A4A4A", "#CC79A7", "#9FD8C4")  # told apart in deuteranopia, and in grey
NOTHING = "#DDDDDD"
DOT: dict[str, Any] = {"marker": "o", "ms": 3.6, "mec": "black", "mew": 0.5, "ls": ""}
SPREAD = 0.25  # of the colour scale: seeds further apart than this disagree

Scale = Literal["linear", "log", "even"]


class Axis(NamedTuple):
    """Its label; linear, log, or even (cells of one width, whatever the values); what stands at the values if not they."""

    label: str
    scale: Scale = "linear"
    numbers: Sequence[str] | None = None


class Panel(NamedTuple):
    """Numbers (`label` beside the colour bar, with their unit; `log` colours) or, if `categories` names them, classes
    0, 1, …; `none` says what a run without a value is."""

    cells: Cells
    x: Axis
    y: Axis
    label: str = ""
    categories: Sequence[str] = ()
    log: bool = False
    none: str = "no value"
    title: str = ""
    limits: tuple[float, float] | None = None  # of the colours, such as those of panels that are compared


def edges(centres: np.ndarray) -> np.ndarray:
    """Cell edges [N + 1] half-way between `centres` [N] on a log axis; a lone cell is a factor 2 wide."""
    return np.exp(_between(np.log(centres), np.log(2)))


def _between(centres: np.ndarray, lone: float) -> np.ndarray:
    gaps = np.diff(centres) if len(centres) > 1 else np.array([lone])
    inner = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[centres[0] - gaps[0] / 2], inner, [centres[-1] + gaps[-1] / 2]])


def _placed(centres: np.ndarray, axis: Axis, role: str) -> tuple[np.ndarray, np.ndarray]:
    """Centres [N] and edges [N + 1] of the cells on the axis as drawn."""
    if axis.scale not in ("linear", "log", "even"):
        raise ValueError(f"scale of {role} is {axis.scale!r}; it is 'linear', 'log' or 'even'")
    if axis.scale == "log" and not (centres > 0).all():
        raise ValueError(f"{role} has the value {centres.min():g}; a log axis has positive ones, 'even' has any")
    if axis.numbers is not None and len(axis.numbers) != len(centres):
        raise ValueError(f"numbers of {role} has {len(axis.numbers)} entries; it has {len(centres)} values")
    if axis.scale == "even":
        centres = np.arange(len(centres), dtype=float)
    return centres, edges(centres) if axis.scale == "log" else _between(centres, 1.0)


def _marks(ax: Axes, panel: Panel, x: np.ndarray, y: np.ndarray, norm: Normalize) -> None:
    """Where the runs of a cell disagree: a dot in the colour of each other category, or a black one between numbers."""
    for row, column in np.argwhere(panel.cells.held.sum(axis=2) > 1):
        colors = _other_colors(panel, row, column, norm)
        for i, color in enumerate(colors):
            put = offset_copy(
                ax.transData, ax.get_figure(root=True), x=(i - (len(colors) - 1) / 2) * 4.5, units="points"
            )
            ax.plot(x[column], y[row], **DOT, mfc=color, transform=put)


def _other_colors(panel: Panel, row: int, column: int, norm: Normalize) -> list[str]:
    own = panel.cells.values[row, column, panel.cells.held[row, column]]
    known = own[np.isfinite(own)]
    if not panel.categories:
        apart = known.size and np.ptp(np.asarray(norm(known))) > SPREAD
        return ["black"] if apart or 0 < known.size < len(own) else []
    most = commonest(panel.cells, len(panel.categories))[row, column]
    others = [AREAS[k] for k in range(len(panel.categories)) if k != most and (own == k).any()]
    return others + [NOTHING] * (0 < known.size < len(own))


def _norm(panel: Panel) -> Normalize:
    if panel.categories:
        return Normalize(-0.5, len(panel.categories) - 0.5)
    values = panel.cells.values[np.isfinite(panel.cells.values)]
    if panel.log and not (values > 0).all():
        raise ValueError(f"value of {panel.label!r} has {values.min():g}; log colours are of positive numbers")
    low, high = panel.limits or ((values.min(), values.max()) if values.size else (1.0, 1.0))
    return (LogNorm if panel.log else Normalize)(low, high if high > low else low * 1.1 + (not panel.log))


def _draw(figure: Figure, ax: Axes, panel: Panel) -> None:
    cells, norm = panel.cells, _norm(panel)
    (x, across), (y, up) = _placed(cells.x, panel.x, "x"), _placed(cells.y, panel.y, "y")
    scales = {"xscale": panel.x.scale, "yscale": panel.y.scale}
    ax.set(**{name: "log" if scale == "log" else "linear" for name, scale in scales.items()})
    ax.set(xlim=across[[0, -1]], ylim=up[[0, -1]], xlabel=panel.x.label, ylabel=panel.y.label, facecolor=NOTHING)
    ax.spines[:].set_visible(True)
    shown = commonest(cells, len(panel.categories)) if panel.categories else median(cells)
    colors = ListedColormap(AREAS[: len(panel.categories)]) if panel.categories else "viridis"
    mesh = ax.pcolormesh(across, up, np.ma.masked_invalid(shown), cmap=colors, norm=norm, rasterized=True)
    missing = ~cells.held.any(axis=2)
    if missing.any():
        empty = np.ma.masked_array(np.zeros(missing.shape), ~missing)
        ax.pcolor(across, up, empty, hatch="/////", cmap=ListedColormap(["#FFFFFF"]), edgecolor="#888888", lw=0)
    _marks(ax, panel, x, y, norm)
    for own, places, values, axis in ((ax.xaxis, x, cells.x, panel.x), (ax.yaxis, y, cells.y, panel.y)):
        labels.ticks_at(own, places, axis.numbers or labels.numbers(values))
    if panel.title:
        ax.set_title(panel.title, fontsize=8)
    if not panel.categories:
        bar = figure.colorbar(mesh, ax=ax, label=panel.label, pad=0.02)
        bar.outline.set_linewidth(0.6)
        style.ticks(bar.ax)
        if panel.log:
            labels.log_numbers(bar.ax.yaxis)


def _legend(panels: Sequence[Panel]) -> list[Patch | Line2D]:
    """What is drawn, and nothing else."""

    def area(color: str, label: str, **hatched: Any) -> Patch:
        return Patch(fc=color, ec="#888888", lw=0.5, label=label, **hatched)

    handles: dict[str, Patch | Line2D] = {}
    for panel in panels:
        for name, color in zip(panel.categories, AREAS, strict=False):
            handles[name] = area(color, name)
        held, valued = panel.cells.held, np.isfinite(panel.cells.values)
        if (held & ~valued).any():
            handles[panel.none] = area(NOTHING, panel.none)
        norm = _norm(panel)
        if any(_other_colors(panel, row, column, norm) for row, column in np.argwhere(held.sum(axis=2) > 1)):
            label = "dot: phase of another seed" if panel.categories else "dot: seeds far apart"
            handles[label] = Line2D([], [], **DOT, mfc="white" if panel.categories else "black", label=label)
        if not held.any(axis=2).all():
            handles["no run"] = area("white", "no run", hatch="////")
    return list(handles.values())


@style.house
def diagram(*panels: Panel) -> Figure:
    """Phase diagrams beside each other: a column wide if there is one, else two in a row of a page.

    Each cell has the median of its runs (or their commonest category). A dot marks cells whose runs disagree: in the
    colour of each other category, or where numbers span over a quarter of the colour scale or only some have one. Cells
    without a run are hatched.

    Args:
        *panels: At least one.

    Raises:
        ValueError: For no panel, more categories than colours can be told apart, and a value that is no category.
    """
    if not panels:
        raise ValueError("panels has 0 entries; it has at least one")
    for panel in panels:
        known = panel.cells.values[np.isfinite(panel.cells.values)]
        n = len(panel.categories)
        if n > len(AREAS):
            raise ValueError(f"categories has {n} entries; at most {len(AREAS)} colours can be told apart")
        if n and not np.isin(known, np.arange(n)).all():
            raise ValueError(f"value has {np.unique(known)[-1]:g}; with {n} categories it is 0 to {n - 1}")
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure, axes = style.panels(style.PAGE if columns > 1 else style.COLUMN, 0.35 + 2.55 * rows, columns, rows)
    for i, (ax, panel) in enumerate(zip(axes, panels, strict=False)):
        _draw(figure, ax, panel)
        if len(panels) > 1:
            style.letter(ax, "abcdefgh"[i], lift=4)
    for ax in axes[len(panels) :]:
        ax.remove()
    if handles := _legend(panels):
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=2 if columns == 1 else min(len(handles), 4),
            frameon=False,
            fontsize=labels.SMALL,
            handlelength=1.4,
            columnspacing=1.4,
        )
    return figure
