"""Loss landscapes reduced to one coordinate, the norm of the weights, with the paths of free runs drawn over them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toylab.plots import labels, style
from toylab.plots.attention.stages import LIMIT, median

OTHERS = ("#009E73", "#CC79A7", "#56B4E9", "#000000")  # inks of names that are neither train nor test
GREY = "#777777"


class Path(NamedTuple):
    """A run, or the median of several: norms and values through training, [T]; nan where it has none."""

    norms: np.ndarray
    values: np.ndarray


class Panel(NamedTuple):
    """Curves [N, S] over N fixed norms by name, a column each seed, and paths of free runs by name.

    One name has one ink in all panels; train and test have those of the house. `marks` are values by name, drawn dashed."""

    ylabel: str
    curves: Mapping[str, np.ndarray]
    paths: Mapping[str, Sequence[Path]] = {}
    marks: Mapping[str, float] = {}
    log: bool = True
    ylim: tuple[float, float] | None = None
    title: str = ""


def _check(norms: np.ndarray, panels: Sequence[Panel]) -> None:
    if norms.ndim != 1 or not norms.size or not (norms > 0).all() or (np.diff(norms) <= 0).any():
        raise ValueError("norms must be increasing positive numbers [N]")
    if not 1 <= len(panels) <= 3:
        raise ValueError(f"panels has {len(panels)} entries; it has 1 to 3")
    for panel in panels:
        for name, values in panel.curves.items():
            if values.ndim != 2 or len(values) != len(norms):
                raise ValueError(f"{name} has shape {values.shape}; with {len(norms)} norms it is [{len(norms)}, S]")
        for name, paths in panel.paths.items():
            for path in paths:
                if path.norms.ndim != 1 or path.norms.shape != path.values.shape:
                    shapes = f"norms {path.norms.shape} and values {path.values.shape}"
                    raise ValueError(f"a path of {name} has {shapes}; both are [T]")


def _inks(panels: Sequence[Panel]) -> dict[str, str]:
    names = dict.fromkeys(name for panel in panels for name in (*panel.curves, *panel.paths))
    others = [name for name in names if name not in ("train", "test")]
    known = {name: OTHERS[i % len(OTHERS)] for i, name in enumerate(others)}
    return known | {"train": style.TRAIN, "test": style.TEST}


def _panel(ax: Axes, norms: np.ndarray, panel: Panel, inks: Mapping[str, str]) -> None:
    ends: list[tuple[float, str, str]] = []
    for name, values in panel.curves.items():
        middle = median(values.T)
        ax.plot(norms, middle, color=inks[name], lw=4, alpha=0.25, solid_capstyle="butt", zorder=2)
        ax.plot(norms, values, "o", ms=2.2, mew=0, color=inks[name], alpha=0.6, zorder=3)
        known = np.flatnonzero(np.isfinite(middle))
        ends += [(float(middle[known[-1]]), name, inks[name])] if known.size else []
    for name, paths in panel.paths.items():
        for path in paths:
            there = np.isfinite(path.norms) & np.isfinite(path.values)
            x, y = path.norms[there], path.values[there]
            ax.plot(x, y, color=inks[name], lw=1, zorder=4)
            ax.plot(x[:1], y[:1], "o", ms=3.6, mfc="white", mec=inks[name], mew=0.9, zorder=5)
            ax.plot(x[-1:], y[-1:], "s", ms=3.2, color=inks[name], zorder=5)
    for name, value in panel.marks.items():
        ax.axhline(value, color=LIMIT, lw=0.7, ls=(0, (4, 2)), zorder=1)
        ends.append((value, name, LIMIT))
    ax.set(xscale="log", xlabel="norm of the weights", ylabel=panel.ylabel)
    if panel.log and any(end[0] > 0 for end in ends):
        ax.set_yscale("log")
    if panel.ylim is not None:
        ax.set_ylim(*panel.ylim)
    ax.set_xlim(*ax.get_xlim())
    labels.ticks_at(ax.xaxis, norms, [f"{norm:.2g}" for norm in norms])
    if ax.get_yscale() == "log":
        labels.log_numbers(ax.yaxis)
    at = np.array([end[0] for end in ends])
    labels.MarginLabels(ax, "right", at, [end[1] for end in ends], [end[2] for end in ends])


def _legend(panels: Sequence[Panel], inks: Mapping[str, str]) -> list[Line2D]:
    """What is drawn, and nothing else."""
    handles = [Line2D([], [], color=GREY, lw=4, alpha=0.4, label="fixed norm: median; dots: seeds")]
    start: dict[str, Any] = {"marker": "o", "mfc": "white", "ms": 4}
    if paths := dict.fromkeys(name for panel in panels for name in panel.paths):
        handles.append(Line2D([], [], color=GREY, lw=1, **start, label="free run, from ○ to ■"))
        alone = [name for name in paths if not any(name in panel.curves for panel in panels)]
        handles += [Line2D([], [], color=inks[name], lw=1, label=name) for name in alone]
    return handles


@style.house
def landscape(norms: np.ndarray, *panels: Panel) -> Figure:
    """Values over the norm of the weights, on log axes: what training at a fixed norm ends with, and how free runs move.

    Of each name the fixed norms are a broad pale line through the medians of the seeds, which are dots. A free run is a
    thin line from a ring to a square.

    Args:
        norms: [N], increasing.
        *panels: One to three, beside each other; a lone one is a page wide too.

    Raises:
        ValueError: For norms that do not increase, other numbers of panels, and shapes that do not fit.
    """
    _check(norms, panels)
    figure, axes = style.panels(style.PAGE, 3.2, len(panels))
    inks = _inks(panels)
    for i, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
        _panel(ax, norms, panel, inks)
        if len(panels) > 1 or panel.title:
            style.letter(ax, "abc"[i] if len(panels) > 1 else "", panel.title, lift=4)
    figure.legend(
        handles=_legend(panels, inks),
        loc="outside lower center",
        ncols=5,
        frameon=False,
        fontsize=labels.SMALL,
        handlelength=1.8,
        columnspacing=1.4,
    )
    return figure
