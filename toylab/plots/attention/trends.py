"""How a result depends on settings: a panel for each setting, a line through its levels, every seed as a point."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from toylab.plots import labels, style
from toylab.plots.attention.stages import median


class Trend(NamedTuple):
    """A setting's name, its levels [N], curves [N, seeds] by name, nan where a seed has none, and limits [N] by name."""

    setting: str
    levels: np.ndarray
    curves: Mapping[str, np.ndarray]
    limits: Mapping[str, np.ndarray] = {}


@style.house
def trends(
    settings: Sequence[Trend], ylabel: str, *, ylim: tuple[float, float] = (0, 1.02), log: bool = False
) -> Figure:
    """Panels side by side, a page wide: levels on a log axis, the median of the seeds as a line, limits dashed.

    Args:
        settings: A panel each.
        ylabel: Of all.
        ylim: Of all; above 0 on a log axis.
        log: Whether the values are on a log axis.
    """
    if not settings:
        raise ValueError("settings is empty; it has at least one")
    for setting in settings:
        for name, values in setting.curves.items():
            if values.ndim != 2 or len(values) != len(setting.levels):
                raise ValueError(f"{name} has shape {values.shape}; with {len(setting.levels)} levels it is [N, seeds]")
    if log and not ylim[0] > 0:
        raise ValueError(f"ylim begins at {ylim[0]:g}; on a log axis it begins above 0")
    names = list(dict.fromkeys(name for setting in settings for name in setting.curves))
    figure, axes = style.panels(style.PAGE, 2.3, len(settings))
    for i, (ax, setting) in enumerate(zip(axes, settings, strict=True)):
        ends, inks = [], []
        for name, values in setting.curves.items():
            inks.append(style.SERIES[names.index(name) % len(style.SERIES)])
            middle = median(values.T)
            ax.plot(setting.levels, middle, color=inks[-1], zorder=3)
            ax.plot(setting.levels, values, "o", ms=2.5, color=inks[-1], zorder=4, clip_on=False)
            ends.append(middle[np.isfinite(middle)][-1] if np.isfinite(middle).any() else ylim[0])
        for values in setting.limits.values():
            ax.plot(setting.levels, values, color="#444444", lw=0.7, ls=(0, (4, 2)), zorder=2)
            ends.append(values[-1])
            inks.append("#444444")
        ax.set_xscale("log")
        ax.set_xticks(setting.levels, [f"{level:,g}" for level in setting.levels])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set(xlabel=setting.setting, ylabel=ylabel if i == 0 else "", yscale="log" if log else "linear", ylim=ylim)
        if log:
            labels.log_numbers(ax.yaxis)
        labels.MarginLabels(ax, "right", np.array(ends), [*setting.curves, *setting.limits], inks)
        style.letter(ax, "abcdefgh"[i], lift=2)
    style.note(figure, "points: seeds; lines: their median")
    return figure
