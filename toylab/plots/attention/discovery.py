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
    """Recall of several methods over thresholds, a panel for each circuit. Each method is drawn a little aside along the
    thresholds, so that those that coincide are seen; recalls are as they are.

    Args:
        thresholds: [N].
        panels: By circuit and method, [N].
    """
    figure, axes = style.panels(style.PAGE, 2.3, len(panels))
    names = list(next(iter(panels.values())))
    for ax, (title, curves) in zip(axes, panels.items(), strict=True):
        for i, name in enumerate(names):
            aside = 10 ** (0.11 * (i - (len(names) - 1) / 2))
            ax.plot(
                thresholds * aside, curves[name], "o-", ms=2.4, mew=0, color=style.SERIES[i], lw=1.1, label=name,
                clip_on=False,
            )  # fmt: skip
        ax.set(xscale="log", ylim=(0, 1), xlabel="threshold", title=title)
        ax.title.set_fontsize(8)
        labels.log_numbers(ax.xaxis)
    axes[0].set_ylabel("recall of true edges")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(names), frameon=False,
        fontsize=labels.SMALL,
    )  # fmt: skip
    style.note(figure, "thresholds are the same for all methods; points are drawn side by side")
    return figure


@style.house
def roc_curves(panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray, float]]]) -> Figure:
    """Receiver operating curves, a row of small panels for each condition, a column for each method.

    Args:
        panels: By condition and method: false and true positive rates [seeds, points], and the median area under them.
    """
    methods = list(next(iter(panels.values())))
    figure, axes = style.panels(style.PAGE, 0.55 + 1.6 * len(panels), len(methods), len(panels))
    for row, (condition, curves) in enumerate(panels.items()):
        for column, name in enumerate(methods):
            ax, (false_rate, true_rate, area) = axes[row * len(methods) + column], curves[name]
            ax.plot([0, 1], [0, 1], color="#B0B0B0", lw=0.6, ls=(0, (4, 2)), zorder=1)
            for x, y in zip(false_rate, true_rate, strict=True):
                ax.plot(x, y, color=style.SERIES[0], lw=0.9, alpha=0.5)
            ax.text(
                0.97, 0.05, f"area {area:.2f}", ha="right", va="bottom", fontsize=labels.SMALL, transform=ax.transAxes
            )
            ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.06), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
            if row == 0:
                ax.set_title(name, fontsize=8)
            if row + 1 == len(panels):
                ax.set_xlabel("false positive rate")
            else:
                ax.set_xticklabels([])
            if column:
                ax.set_yticklabels([])
            else:
                ax.set_ylabel(f"{condition}\ntrue positive rate")
    style.note(figure, "a line for each seed; area: median over seeds")
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
    steps: np.ndarray, loss: np.ndarray, effects: np.ndarray, chosen: np.ndarray, name: str, titles: Sequence[str] = ()
) -> Figure:
    """How much each edge matters as training goes on: a column for each run, its loss above its edges.

    Args:
        steps: [T].
        loss: [R, T].
        effects: Of edges cut alone, [R, T, E].
        chosen: Which edges stand out, [R, E].
        name: Of those.
        titles: Of the runs.
    """
    n = len(loss)
    figure = Figure(figsize=(style.PAGE, 3.4), dpi=style.HOUSE["savefig.dpi"], layout="constrained")
    rows = figure.subplots(2, n, squeeze=False, gridspec_kw={"height_ratios": (1, 1.6)})
    top, highest = float(effects.max()) * 1.08 or 1.0, float(loss.max()) * 1.05
    for run, at in enumerate(chosen):
        above, ax = rows[0, run], rows[1, run]
        above.plot(steps, loss[run], color="black", lw=1.0)
        ax.plot(steps, effects[run][:, ~at], color=OTHERS, lw=0.8)
        ax.plot(steps, effects[run][:, at], "o-", ms=2.2, color=CHOSEN)
        for each in (above, ax):
            style.ticks(each)
            style.step_axis(each, steps, "linear")
        above.set(ylim=(0, highest), xlabel="")
        above.tick_params(labelbottom=False)
        above.set_title(titles[run] if titles else f"run {run}", fontsize=8)
        ax.set(ylim=(0, top))
        if run:
            above.set_yticklabels([])
            ax.set_yticklabels([])
    rows[0, 0].set_ylabel("second-half\nloss (nats)")
    rows[1, 0].set_ylabel("KL when cut (nats)")
    handles = [
        Line2D([], [], color=CHOSEN, marker="o", ms=2.4, label=name),
        Line2D([], [], color=OTHERS, lw=0.8, label="other edges between heads"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=labels.SMALL)
    return figure


@style.house
def explained(
    shares: np.ndarray, losses: Mapping[str, np.ndarray], names: Sequence[str], levels: Mapping[str, float]
) -> Figure:
    """What hypotheses explain of a loss: the share, and the losses that it is made of.

    Args:
        shares: [R, hypotheses].
        losses: By name [R, hypotheses], nats; such as of the network, scrubbed, and where nothing may depend on anything.
        names: Of the hypotheses.
        levels: Shares to compare with, by name, drawn as dashed lines.
    """
    figure, (left, right) = style.panels(style.PAGE, 2.4, 2)
    _dots(left, shares, style.SERIES[0], 0)
    for level in (0, 1):
        left.axhline(level, color="#B0B0B0", lw=0.6, zorder=0)
    for name, paper in levels.items():
        left.axhline(paper, color=CHOSEN, lw=0.8, ls=(0, (4, 2)), zorder=1)
        left.annotate(name, (1, paper), (-2, 2), xycoords=("axes fraction", "data"), textcoords="offset points",
                      ha="right", va="bottom", fontsize=labels.SMALL, color=CHOSEN)  # fmt: skip
    left.set(ylabel="share of loss explained", ylim=(min(-0.05, float(shares.min()) - 0.05), 1.05))
    for i, values in enumerate(losses.values()):
        _dots(right, values, style.SERIES[i], 0.24 * (i - (len(losses) - 1) / 2))
    right.set(ylabel="second-half loss (nats)", ylim=(0, None))
    for ax in (left, right):
        ax.set_xticks(range(len(names)), names)
        ax.tick_params(axis="x", length=0)
    handles = [
        Line2D([], [], color=style.SERIES[i], marker="o", ls="", ms=4, mew=0, label=k) for i, k in enumerate(losses)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=labels.SMALL)
    style.letter(left, "a")
    style.letter(right, "b")
    style.note(figure, f"a dot for each of {len(shares)} runs; bar: median")
    return figure


def _dots(ax: Axes, values: np.ndarray, color: str, aside: float) -> None:
    """A dot for each run [R, N], those of one place side by side, and a bar at the median."""
    spread = np.linspace(-0.08, 0.08, len(values)) if len(values) > 1 else np.zeros(1)
    for i, own in enumerate(values.T):
        ax.plot(i + aside + spread, own, "o", ms=2.6, mew=0, color=color, alpha=0.7)
        ax.plot([i + aside - 0.1, i + aside + 0.1], [np.median(own)] * 2, color="black", lw=1.0)
