"""How well edges of a circuit are found, recall over thresholds and ROC curves, and what patching and scrubbing show."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toylab.plots import labels, style

CHOSEN, OTHERS = style.SERIES[1], "#9A9A9A"


@style.house
def recall_curves(thresholds: np.ndarray, panels: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Recall of several methods over thresholds, a panel for each circuit; drawn slightly apart, where they coincide too.

    Args:
        thresholds: [N].
        panels: By circuit and method, [N].
    """
    figure, axes = style.panels(style.PAGE, 2.1, len(panels))
    names = list(next(iter(panels.values())))
    for ax, (title, curves) in zip(axes, panels.items(), strict=True):
        for i, name in enumerate(names):
            lift = 0.012 * (i - (len(names) - 1) / 2)
            ax.plot(thresholds, curves[name] + lift, "o-", ms=2.4, mew=0, color=style.SERIES[i], lw=1.1, label=name)
        ax.set(xscale="log", ylim=(-0.06, 1.06), xlabel="threshold", title=title)
        ax.title.set_fontsize(8)
        labels.log_numbers(ax.xaxis)
    axes[0].set_ylabel("recall of true edges")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names), frameon=False,
        fontsize=labels.SMALL,
    )  # fmt: skip
    return figure


@style.house
def roc_curves(panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray, float]]]) -> Figure:
    """Receiver operating curves.

    Args:
        panels: By panel and method: false and true positive rates [seeds, points], and the median area under them.
    """
    figure, axes = style.panels(style.PAGE, 2.6, len(panels))
    for ax, (title, methods) in zip(axes, panels.items(), strict=True):
        ax.plot([0, 1], [0, 1], color="#B0B0B0", lw=0.6, ls=(0, (4, 2)), zorder=1)
        for i, (name, (false_rate, true_rate, area)) in enumerate(methods.items()):
            for x, y in zip(false_rate, true_rate, strict=True):
                ax.plot(x, y, color=style.SERIES[i], lw=2.6 - 0.6 * i, alpha=0.8)  # thinner above: none hides another
            ax.plot([], [], color=style.SERIES[i], lw=1.4, label=f"{name}: {area:.2f}")
        ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.06), xlabel="false positive rate", title=title)
        ax.title.set_fontsize(8)
        ax.legend(
            loc="lower right", frameon=False, fontsize=labels.SMALL, title="area, median", title_fontsize=labels.SMALL
        )
    axes[0].set_ylabel("true positive rate")
    return figure


@style.house
def patching_maps(residual: np.ndarray, z: np.ndarray, paths: np.ndarray, marks: Mapping[int, str]) -> Figure:
    """What patching restores of the logit difference.

    Args:
        residual: [L, P].
        z: [L, H, P].
        paths: [q k v, H, H], from heads of layer 0 to inputs of heads of layer 1.
        marks: Positions and their names.
    """
    figure = Figure(figsize=(style.PAGE, 2.3), dpi=style.HOUSE["savefig.dpi"], layout="constrained")
    axes: list[Axes] = list(figure.subplots(1, 3, gridspec_kw={"width_ratios": (1.0, 1.0, 0.62)}))
    n_heads = z.shape[1]
    names = [f"L{layer}H{head}" for layer in range(len(z)) for head in range(n_heads)]
    tables = residual, z.reshape(-1, z.shape[-1]), paths.transpose(1, 2, 0).reshape(n_heads, -1)
    image: Any = None
    for ax, table in zip(axes, tables, strict=True):
        style.ticks(ax)
        image = ax.imshow(
            table, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", interpolation="nearest", rasterized=True
        )
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    axes[0].set_yticks(range(len(residual)), [f"into L{layer}" for layer in range(len(residual))])
    axes[1].set_yticks(range(len(names)), names)
    axes[2].set_yticks(range(n_heads), [f"L0H{head}" for head in range(n_heads)])
    axes[2].set_xticks(range(3 * n_heads), [f"{kind}" for _ in range(n_heads) for kind in "qkv"])
    axes[2].set_xlabel("path to an input of layer 1")
    centres = 3 * np.arange(n_heads) + 1.0
    labels.MarginLabels(axes[2], "top", centres, [f"L1H{head}" for head in range(n_heads)], ["black"] * n_heads)
    for edge in centres[1:] - 1.5:
        axes[2].axvline(edge, color="black", lw=0.6)
    for ax, title in zip(axes, ("residual stream", "head output z"), strict=False):
        ax.set(xlabel=f"{title} at position", xticks=[0, residual.shape[1] - 1])
        labels.MarginLabels(ax, "top", np.array(list(marks), float), list(marks.values()), ["black"] * len(marks))
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=14, label="share restored")
    style.ticks(bar.ax)
    return figure


def induction_patching(residual: np.ndarray, z: np.ndarray, paths: np.ndarray) -> Figure:
    """`patching_maps` of a random block that stands twice.

    Marked are the last token, where it first stood, and its successor there.

    Args:
        residual: [L, P].
        z: [L, H, P].
        paths: [q k v, H, H].
    """
    last = residual.shape[-1] - 1
    return patching_maps(
        residual, z, paths, {last // 2: "same token", last // 2 + 1: "its successor", last: "last token"}
    )


@style.house
def edges_through_training(
    steps: np.ndarray, loss: np.ndarray, effects: np.ndarray, chosen: np.ndarray, name: str
) -> Figure:
    """How much each edge matters as training goes on, a panel a run.

    Args:
        steps: [T].
        loss: [R, T].
        effects: Of edges cut alone, [R, T, E].
        chosen: Which edges stand out, [R, E].
        name: Of those.
    """
    figure, axes = style.panels(style.PAGE, 2.2, len(loss))
    top = float(effects.max()) * 1.08 or 1.0
    for run, (ax, at) in enumerate(zip(axes, chosen, strict=True)):
        ax.plot(steps, effects[run][:, ~at], color=OTHERS, lw=0.8)
        ax.plot(steps, effects[run][:, at], "o-", ms=2.2, color=CHOSEN)
        second: Any = ax.twinx()
        second.plot(steps, loss[run], color=style.TRAIN, lw=1.0, ls=(0, (4, 1.5)))
        second.set(ylim=(0, float(loss.max()) * 1.05))
        second.spines["right"].set_visible(True)
        style.ticks(second)
        style.step_axis(ax, steps, "linear")
        ax.set(ylim=(0, top), title=f"seed {run}")
        ax.title.set_fontsize(8)
        if run + 1 < len(loss):
            second.set_yticklabels([])
        else:
            second.set_ylabel("second-half loss (nats)", color=style.TRAIN)
        if run:
            ax.set_yticklabels([])
    axes[0].set_ylabel("KL when cut (nats)")
    handles = [
        Line2D([], [], color=CHOSEN, marker="o", ms=2.4, label=name),
        Line2D([], [], color=OTHERS, lw=0.8, label="other edges between heads"),
        Line2D([], [], color=style.TRAIN, lw=1.0, ls=(0, (4, 1.5)), label="loss"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=labels.SMALL)
    return figure


@style.house
def explained(shares: np.ndarray, names: Sequence[str]) -> Figure:
    """Shares of loss explained: a dot a run, a bar at the median.

    Args:
        shares: [R, hypotheses].
        names: Of the hypotheses.
    """
    figure, (ax,) = style.panels(style.COLUMN, 2.1)
    for i, values in enumerate(shares.T):
        ax.plot([i - 0.25, i + 0.25], [np.median(values)] * 2, color="black", lw=1.2)
        ax.plot(
            i + 0.1 * (np.arange(len(values)) - (len(values) - 1) / 2), values, "o", ms=4, color=style.SERIES[0], mew=0
        )
    for level in (0, 1):
        ax.axhline(level, color="#B0B0B0", lw=0.6, zorder=0)
    ax.set_xticks(range(len(names)), names)
    ax.set(ylabel="share of loss explained", ylim=(min(-0.05, float(shares.min()) - 0.05), 1.05))
    ax.tick_params(axis="x", length=0)
    return figure
