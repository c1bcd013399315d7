"""How heads of the second layer read from heads of the first: composition as a table and as a graph.

Composition is ‖W_OV W_QK‖/(‖W_OV‖ ‖W_QK‖) and the like (Elhage et al. 2021), for the query, the key or the value of the
later head. Independent random heads have about 1/√d_model, the baseline; what counts is how far it is exceeded.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch

from toylab.plots import labels, motion, style

Kind = Literal["Q", "K", "V"]
COLORS: dict[Kind, str] = {"Q": style.SERIES[0], "K": style.SERIES[1], "V": style.SERIES[2]}
PORTS: dict[Kind, float] = {"Q": -0.2, "K": 0.0, "V": 0.2}  # where an edge enters the box of a head, in boxes apart
THICKEST = 5.0  # points
BOX = (0.72, 0.24)  # width and height of a head; heads are 1 apart, layers too


def _check(by_kind: Mapping[Kind, np.ndarray], axes: str) -> None:
    if not by_kind or set(by_kind) - set(COLORS):
        raise ValueError(f"by_kind has {sorted(by_kind)}; it has one or more of Q, K, V")
    shapes = {np.shape(values) for values in by_kind.values()}
    if len(shapes) > 1 or len(next(iter(shapes))) != len(axes.split()):
        raise ValueError(f"by_kind has shapes {sorted(shapes)}; all are the same, [{axes}]")


@style.house
def composition(by_kind: Mapping[Kind, np.ndarray], baseline: float) -> Figure:
    """Tables of composition with its values written in; white is the baseline, red above it.

    Args:
        by_kind: [layer-0 heads, layer-1 heads] by kind.
        baseline: Of random heads.
    """
    _check(by_kind, "H0 H1")
    n_rows, n_columns = next(iter(by_kind.values())).shape
    top = max(float(np.abs(values - baseline).max()) for values in by_kind.values()) or 1.0
    width = style.COLUMN if n_columns * len(by_kind) <= 6 else style.PAGE
    cell = min((width - 0.9) / (n_columns * len(by_kind)) - 0.04, 0.5)
    figure, axes = style.panels(width, cell * n_rows + 0.75, len(by_kind))
    for i, (ax, (kind, values)) in enumerate(zip(axes, by_kind.items(), strict=True)):
        image = ax.imshow(values - baseline, cmap="RdBu_r", vmin=-top, vmax=top, rasterized=True)
        for (row, column), value in np.ndenumerate(values):
            ink = "white" if abs(value - baseline) > 0.6 * top else "black"
            put: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": labels.SMALL, "color": ink}
            ax.text(column, row, f"{value:.2f}".removeprefix("0"), **put)
        ax.set_xticks(range(n_columns), [f"H{head}" for head in range(n_columns)])
        ax.set_yticks(range(n_rows), [f"H{head}" for head in range(n_rows)] if i == 0 else [""] * n_rows)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_title(kind, fontsize=8, pad=3)
        ax.set(xlabel="layer 1", ylabel="layer 0" if i == 0 else "")
    bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=12, label="above baseline")
    style.ticks(bar.ax)
    style.note(figure, f"Frobenius composition; baseline of random heads: {baseline:.3f}")
    return figure


def _heads(ax: Axes, layer: int, n: int, side: float) -> None:
    """Boxes with the names of a layer's heads; side: inches between two heads."""
    for head in range(n):
        corner = (head - BOX[0] / 2 - (n - 1) / 2, layer - BOX[1] / 2)
        box = FancyBboxPatch(
            corner, *BOX, boxstyle="round,pad=0,rounding_size=0.06", fc="white", ec="black", lw=0.7, zorder=3
        )
        ax.add_patch(box)
        put: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": labels.SMALL, "zorder": 4}
        ax.text(head - (n - 1) / 2, layer, f"L{layer}H{head}" if side > 0.5 else f"{head}", **put)


def _graph(ax: Axes, by_kind: Mapping[Kind, np.ndarray], baseline: float, top: float, side: float) -> None:
    """Edges as wide as composition exceeds the baseline; `top` is as wide as THICKEST."""
    n_earlier, n_later = next(iter(by_kind.values())).shape
    _heads(ax, 0, n_earlier, side)
    _heads(ax, 1, n_later, side)
    for kind, values in by_kind.items():
        for (earlier, later), value in np.ndenumerate(values):
            if value > baseline:
                x = earlier - (n_earlier - 1) / 2, later - (n_later - 1) / 2 + PORTS[kind]
                y = BOX[1] / 2, 1 - BOX[1] / 2
                width = THICKEST * (value - baseline) / top
                ax.plot(x, y, color=COLORS[kind], lw=width, solid_capstyle="butt", alpha=0.85, zorder=2)
    half = max(n_earlier, n_later) / 2
    ax.set(xlim=(-half, half), ylim=(-0.2, 1.2), xticks=[], yticks=[])
    ax.set_axis_off()


def _finish(figure: Figure, by_kind: Mapping[Kind, np.ndarray], baseline: float, top: float) -> None:
    handles = [Line2D([], [], color=COLORS[kind], lw=3, label=f"{kind}-composition") for kind in by_kind]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=labels.SMALL, handlelength=1.2
    )
    said = f"width: composition above the baseline {baseline:.3f}; widest: {baseline + top:.3f}"
    style.note(figure, f"{'boxes: heads, layer 1 above layer 0; ' * (len(figure.axes) > 1)}{said}")


@style.house
def composition_graph(by_kind: Mapping[Kind, np.ndarray], baseline: float) -> Figure:
    """Heads as boxes, layer 1 above layer 0, joined by edges as wide as their composition exceeds the baseline.

    Args:
        by_kind: [layer-0 heads, layer-1 heads] for "Q", "K" and "V", or some of them.
        baseline: What does not exceed it has no edge.
    """
    _check(by_kind, "H0 H1")
    heads = max(next(iter(by_kind.values())).shape)
    width = style.COLUMN if heads <= 4 else style.PAGE
    figure, (ax,) = style.panels(width, 2.1 if heads <= 4 else 2.8)
    top = _excess(by_kind, baseline)
    _graph(ax, by_kind, baseline, top, min(width / heads, 1.0))
    _finish(figure, by_kind, baseline, top)
    return figure


@style.house
def composition_graphs(
    by_kind: Mapping[Kind, np.ndarray], steps: np.ndarray, baseline: float, *, at: Sequence[float] = ()
) -> Figure:
    """The graph of composition through training, one scale for all.

    Args:
        by_kind: [T, layer-0 heads, layer-1 heads].
        steps: [T].
        baseline: As of `composition_graph`.
        at: Columns are the saved points nearest to these steps (at most eight), else six evenly spaced over those saved.
    """
    _check(by_kind, "T H0 H1")
    if len(next(iter(by_kind.values()))) != len(steps):
        raise ValueError(f"by_kind has {len(next(iter(by_kind.values())))} saved points; steps has {len(steps)}")
    chosen = motion.stills(steps, at)
    shown = {kind: values[chosen] for kind, values in by_kind.items()}
    top = _excess(shown, baseline)
    figure, axes = style.panels(style.PAGE, 1.7, len(chosen))
    heads = max(next(iter(by_kind.values())).shape[1:])
    for i, (ax, point) in enumerate(zip(axes, chosen, strict=True)):
        each = {kind: values[i] for kind, values in shown.items()}
        _graph(ax, each, baseline, top, style.PAGE / (len(chosen) * heads))
        ax.set_title(motion.title(steps[point]), fontsize=labels.SMALL, pad=2)
    _finish(figure, by_kind, baseline, top)
    return figure


def _excess(by_kind: Mapping[Kind, np.ndarray], baseline: float) -> float:
    """The largest composition above the baseline, or 1 if none is."""
    most = max(float(values.max()) for values in by_kind.values()) - baseline
    return most if most > 0 else 1.0
