"""Neurons told apart by the purity of their waves: what is left when they go from either end, and how they are spread.

Shares are of 1. Axes: R runs, K points of an axis, N neurons."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toylab.plots import labels, style

LIMIT = "#444444"
SETS = {"train": "training set", "wrong": "its wrong labels", "right": "its right labels", "test": "test set"}


@style.house
def pruning(
    share: np.ndarray, panels: Mapping[str, Mapping[str, np.ndarray]], limits: Mapping[str, float] | None = None
) -> Figure:
    """Accuracies over the share of neurons that is pruned, a panel for each order in which they go, a page wide.

    Thin lines are runs, strong ones their median.

    Args:
        share: Of neurons that are pruned, rising, [K].
        panels: By title: accuracies by name, [R, K]. One name has one colour in all panels.
        limits: Levels to be marked, by name.

    Raises:
        ValueError: For no panel or more than three, and where an accuracy is not [R, K].
    """
    if not 1 <= len(panels) <= 3:
        raise ValueError(f"panels has {len(panels)} entries; it has 1 to 3")
    for curves in panels.values():
        for name, values in curves.items():
            if values.ndim != 2 or values.shape[1] != len(share):
                raise ValueError(f"{name} has shape {values.shape}; with {len(share)} shares it is [R, {len(share)}]")
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    colors = {name: style.SERIES[i % len(style.SERIES)] for i, name in enumerate(names)}
    figure, axes = style.panels(style.PAGE, 2.9, len(panels))
    for i, (ax, (title, curves)) in enumerate(zip(axes, panels.items(), strict=True)):
        for name, values in curves.items():
            for run in values if len(values) > 1 else ():
                ax.plot(100 * share, 100 * run, color=colors[name], lw=0.5, alpha=0.35)
            ax.plot(100 * share, 100 * np.median(values, axis=0), color=colors[name], zorder=3)
        for level in (limits or {}).values():
            ax.axhline(100 * level, color=LIMIT, lw=0.7, ls=(0, (4, 2)), zorder=1)
        ax.set(xlim=(100 * share[0], 100 * share[-1]), ylim=(-3, 103), yticks=range(0, 101, 25))
        ax.set(xlabel=f"neurons pruned (%), {title}", ylabel="accuracy (%)" if i == 0 else "")
        style.letter(ax, "abc"[i], lift=2)
    handles = [Line2D([], [], color=colors[name], label=name) for name in names]
    handles += [Line2D([], [], color=LIMIT, lw=0.7, ls=(0, (4, 2)), label=name) for name in limits or {}]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(len(handles), 5), frameon=False, fontsize=labels.SMALL,
        handlelength=1.8, columnspacing=1.4,
    )  # fmt: skip
    return figure


def both_ends(
    least: Mapping[str, np.ndarray], most: Mapping[str, np.ndarray], limits: Mapping[str, float] | None = None
) -> Figure:
    """Accuracies over the share of neurons that is pruned, the least pure first and, beside that, the purest first.

    Args:
        least: Accuracies of `SETS`, or of some of them, while the least pure go, [R, K] over shares 0 to 1.
        most: The same while the purest go.
        limits: As of `pruning`.

    Raises:
        ValueError: For a set that is none of `SETS`, and as of `pruning`.
    """
    if unknown := sorted({*least, *most} - set(SETS)):
        raise ValueError(f"least and most have the sets {unknown}; they are some of {', '.join(SETS)}")
    panels = {
        f"the {shown} first": {SETS[of]: values for of, values in curves.items()}
        for shown, curves in (("least pure", least), ("purest", most))
    }
    shares = np.linspace(0, 1, next(iter(least.values())).shape[-1] if least else 0)
    return pruning(shares, panels, limits)


@style.house
def purities(ipr: Mapping[str, np.ndarray], bins: int = 25) -> Figure:
    """Histograms of the inverse participation ratios of neurons, those of all runs together: panels in rows of four.

    Args:
        ipr: By title, [R, N], from 0 to 1; nan for a neuron without weights, whose share the panel states.
        bins: Of the axis from 0 to 1.

    Raises:
        ValueError: For no panel, or where one is not [R, N].
    """
    if not ipr:
        raise ValueError("ipr is empty; it has at least one panel")
    for title, values in ipr.items():
        if values.ndim != 2:
            raise ValueError(f"{title} has shape {values.shape}; it is [R, N]")
    columns = min(len(ipr), 4)
    rows = -(-len(ipr) // columns)
    figure, axes = style.panels(style.PAGE, 0.3 + 1.6 * rows, columns, rows)
    edges, most = np.linspace(0, 1, bins + 1), 0.0
    for i, (ax, (title, values)) in enumerate(zip(axes, ipr.items(), strict=False)):
        living = values[np.isfinite(values)]
        counts = 100 * np.histogram(np.clip(living, 0, 1), edges)[0] / max(values.size, 1)
        ax.stairs(counts, edges, fill=True, color=style.SERIES[0], alpha=0.75)
        dead = 100 * (1 - living.size / max(values.size, 1))
        ax.set_title(title, fontsize=labels.SMALL, pad=3)
        if dead >= 0.5:
            ax.annotate(f"{dead:.0f} % without\nweights", (0.95, 0.93), xycoords="axes fraction", ha="right", va="top",
                        fontsize=labels.SMALL)  # fmt: skip
        ax.set(
            xlim=(0, 1), xticks=(0, 0.5, 1), xlabel="IPR of a neuron", ylabel="neurons (%)" if i % columns == 0 else ""
        )
        most = max(most, float(counts.max(initial=0)))
    for ax in axes[: len(ipr)]:
        ax.set_ylim(0, 1.08 * most or 1)
        ax.tick_params(labelleft=ax in axes[::columns])
    for ax in axes[len(ipr) :]:
        ax.remove()
    return figure
