"""How a loss falls with the width of a model: lines against theory, and maps of the fitted exponent.

After Liu et al. 2025 (Superposition yields robust neural scaling). Axes: M widths, S seeds.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from toylab.plots import labels, style

DASHES = ((0, (4, 2)), (0, (1, 1.5)), (0, (6, 1.5, 1, 1.5)))  # of lines that are not medians


class Line(NamedTuple):
    """One quantity at every width: measured [S, M], and what it is held against [M], by name; one name has one style."""

    measured: np.ndarray
    against: Mapping[str, np.ndarray] = MappingProxyType({})


class Panel(NamedTuple):
    """Lines by name; one name has one colour in all panels."""

    title: str
    ylabel: str
    lines: Mapping[str, Line]
    log: bool = True


class Map(NamedTuple):
    """values [Y, X] at the rows and columns of a table."""

    title: str
    values: np.ndarray
    low: float
    high: float


def _panel(ax: Axes, m: np.ndarray, panel: Panel, colors: Mapping[str, str], dashes: Mapping[str, Any]) -> None:
    ends = []
    for name, line in panel.lines.items():
        if line.measured.ndim != 2 or line.measured.shape[1] != len(m):
            raise ValueError(f"{name} has shape {line.measured.shape}; with {len(m)} widths it is [S, {len(m)}]")
        color = colors[name]
        for other, values in line.against.items():
            ax.plot(m, values, color=color, lw=1, ls=dashes[other], zorder=2)
        for each in line.measured:
            ax.plot(m, each, "o", color=color, ms=2.2, mew=0, alpha=0.5, zorder=3)
        held = np.isfinite(line.measured).any(axis=0)
        median = np.full(len(m), np.nan)
        median[held] = np.nanmedian(line.measured[:, held], axis=0)
        ax.plot(m, median, color=color, lw=1.3, zorder=4)
        ends.append(median[held][-1] if held.any() else np.nan)
    ax.set(xscale="log", yscale="log" if panel.log else "linear", xlabel="hidden dimensions $m$", ylabel=panel.ylabel)
    ax.set_title(panel.title, fontsize=8)
    ax.set_xlim(m.min() / 1.1, m.max() * 1.1)
    ax.xaxis.set_major_locator(FixedLocator(list(m)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    ax.xaxis.set_minor_locator(NullLocator())
    if panel.log:
        labels.log_numbers(ax.yaxis)
    else:
        ax.set_ylim(bottom=0)
    known = [i for i, end in enumerate(ends) if np.isfinite(end)]
    names = [list(panel.lines)[i] for i in known]
    labels.MarginLabels(ax, "right", np.array([ends[i] for i in known]), names, [colors[name] for name in names])


@style.house
def widths(m: np.ndarray, panels: Sequence[Panel]) -> Figure:
    """Panels of quantities against the width (log axis): a dot a seed, a line through the medians, and thin lines that they
    are held against, named above.

    Args:
        m: [M].
        panels: Beside each other.
    """
    if not len(panels):
        raise ValueError("panels is empty; it has at least one")
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    if len(names) > len(style.SERIES):
        raise ValueError(f"panels name {len(names)} lines; at most {len(style.SERIES)} colours can be told apart")
    others = list(dict.fromkeys(name for panel in panels for line in panel.lines.values() for name in line.against))
    if len(others) > len(DASHES):
        raise ValueError(f"panels name {len(others)} lines to hold against; at most {len(DASHES)} can be told apart")
    colors, dashes = (dict(zip(*pair, strict=False)) for pair in ((names, style.SERIES), (others, DASHES)))
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure, axes = style.panels(style.PAGE if columns > 1 else style.COLUMN, 0.2 + 2.2 * rows, columns, rows)
    for i, (ax, panel) in enumerate(zip(axes, panels, strict=False)):
        _panel(ax, m, panel, colors, dashes)
        if len(panels) > 1:
            style.letter(ax, "abcdefgh"[i], lift=4)
    for ax in axes[len(panels) :]:
        ax.remove()
    if dashes:
        handles = [Line2D([], [], color="#444444", lw=1, ls=dash, label=name) for name, dash in dashes.items()]
        figure.legend(
            handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=labels.SMALL
        )
    style.note(figure, "dots: seeds; solid: their median")
    return figure


def _number(value: float) -> str:
    return f"{value:.2g}".replace("-", "−")


@style.house
def maps(tables: Sequence[Map], x: np.ndarray, y: np.ndarray, xlabel: str, ylabel: str) -> Figure:
    """Tables of numbers, each cell with its value written in; nan is left grey.

    Args:
        tables: Beside each other.
        x: Of the columns, [X]; of up to 8 each is numbered, so that values need not be evenly spaced.
        y: Of the rows, [Y].
        xlabel: Of the axes.
        ylabel: Of the axes.
    """
    for table in tables:
        if table.values.shape != (len(y), len(x)):
            raise ValueError(f"{table.title} has shape {table.values.shape}; it is [Y, X] = {(len(y), len(x))}")
    figure, axes = style.panels(style.PAGE, 0.7 + 0.34 * len(y), len(tables))
    for i, (ax, table) in enumerate(zip(axes, tables, strict=True)):
        mesh = ax.pcolormesh(table.values, vmin=table.low, vmax=table.high, cmap="cividis", rasterized=True)
        ax.set_facecolor("#D4D4D4")
        for (row, column), value in np.ndenumerate(table.values):
            pale = value < (table.low + table.high) / 2
            if np.isfinite(value):
                put: dict[str, Any] = {
                    "ha": "center",
                    "va": "center",
                    "fontsize": labels.SMALL,
                    "color": "white" if pale else "black",
                }
                ax.text(column + 0.5, row + 0.5, f"{value:.2f}".replace("-", "−"), **put)
        some = slice(None, None, 1 if len(x) <= 8 else -(-len(x) // 5))  # columns numbered
        ticks = (np.arange(len(x)) + 0.5)[some], [_number(value) for value in x[some]]
        ax.set_xticks(*ticks, fontsize=labels.SMALL if len(ticks[0]) > 5 else None)
        ax.set(yticks=np.arange(len(y)) + 0.5, yticklabels=[_number(value) for value in y])
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.spines[:].set_visible(False)
        style.letter(ax, "abcdefgh"[i], table.title, lift=3)
        bar = figure.colorbar(mesh, ax=ax, pad=0.02, aspect=12)
        style.ticks(bar.ax)
    return figure
