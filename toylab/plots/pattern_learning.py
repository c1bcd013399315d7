"""Accuracies of networks beside those of patterns that are learned at speeds of their own (Davies et al. 2023)."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toylab.plots import labels, style
from toylab.plots.attention.stages import median

INKS = {"train": style.TRAIN, "test": style.TEST}
PATTERNS = ("#009E73", "#777777", "#CC79A7", "#000000", "#56B4E9")  # none of them an ink of the accuracies
POINTS = 300  # of a curve
BESIDE = 1.15  # inches of a column that labels take


class Panel(NamedTuple):
    """Networks over steps, or over a size on a log axis, and a formula beside them.

    accuracies   measured at the places x [N]: "train" and "test", [N, S] with a column each seed, nan where it has none
    formula      places [T] → curves [T] by name: train and test, and what each pattern predicts; one name has one ink
    """

    xlabel: str
    x: np.ndarray
    accuracies: Mapping[str, np.ndarray]
    formula: Callable[[np.ndarray], Mapping[str, np.ndarray]]
    steps: bool = False
    title: str = ""


def _check(panels: Sequence[Panel]) -> None:
    if not 1 <= len(panels) <= 3:
        raise ValueError(f"panels has {len(panels)} entries; it has 1 to 3")
    for panel in panels:
        if not panel.x.size or (np.diff(panel.x) <= 0).any() or not (panel.steps or panel.x[0] > 0):
            raise ValueError("x must be increasing places [N], above 0 where they are no steps")
        for name, values in panel.accuracies.items():
            if name not in INKS:
                raise ValueError(f"accuracies has {name!r}; their names are train and test")
            if values.ndim != 2 or len(values) != len(panel.x):
                raise ValueError(f"{name} has shape {values.shape}; with {len(panel.x)} places it is [N, seeds]")


def _axis(ax: Axes, panel: Panel, room: float) -> None:
    if panel.steps:
        style.step_axis(ax, panel.x, "log")
    else:
        ax.set_xscale("log")
        ax.set_xlim(panel.x.min() / 1.15, panel.x.max() * 1.15)
        labels.ticks_at(ax.xaxis, panel.x, [f"{size:,g}" for size in panel.x], room)
    ax.set(xlabel=panel.xlabel, ylim=(-0.02, 1.04))


@style.house
def beside_formula(panels: Sequence[Panel]) -> Figure:
    """A column for each panel: above the accuracies, measured as points and by the formula as lines; below the patterns.

    Args:
        panels: One to three.
    """
    _check(panels)
    figure, axes = style.panels(style.PAGE, 4.0, len(panels), 2)
    places = [np.geomspace(max(panel.x[0], 1) if panel.steps else panel.x[0], panel.x[-1], POINTS) for panel in panels]
    curves = [panel.formula(at) for panel, at in zip(panels, places, strict=True)]
    patterns = [name for name in dict.fromkeys(name for each in curves for name in each) if name not in INKS]
    if len(patterns) > len(PATTERNS):
        raise ValueError(f"formula has {len(patterns)} patterns; at most {len(PATTERNS)} can be told apart")
    inks = INKS | dict(zip(patterns, PATTERNS, strict=False))
    for i, (panel, at, drawn) in enumerate(zip(panels, places, curves, strict=True)):
        top, low = axes[i], axes[len(panels) + i]
        for name, values in panel.accuracies.items():
            top.plot(panel.x, values, "o", ms=2, mew=0, color=INKS[name], alpha=0.3, zorder=2)
            top.plot(panel.x, median(values.T), "o", ms=3.6, color=INKS[name], mec="white", mew=0.4, zorder=4)
        for ax, names in ((top, [*INKS]), (low, [name for name in patterns if name in drawn])):
            for name in names:
                ax.plot(at, drawn[name], color=inks[name], zorder=3)
            _axis(ax, panel, style.PAGE / len(panels) - BESIDE)
            named = [name for name in names if np.isfinite(drawn[name][-1])]
            ends = np.array([drawn[name][-1] for name in named])
            labels.MarginLabels(ax, "right", ends, named, [inks[name] for name in named])
        top.tick_params(labelbottom=False)
        top.set_xlabel("")
        if i == 0:
            top.set_ylabel("accuracy")
            low.set_ylabel("share predicted by a pattern")
        style.letter(top, "abc"[i], panel.title, lift=4)
    style.note(figure, "small points: seeds; large: their medians; lines: the formula, fitted to the medians")
    return figure
