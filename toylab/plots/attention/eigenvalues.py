"""Heads by the eigenvalues of their circuits: OV against QK, as Elhage et al. 2021 look for induction heads."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toylab.plots import labels, style

MARKS = "os^Dv"  # by layer


@style.house
def scatter(panels: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """A mark for each head of all runs: how positive its eigenvalues are, coloured by its prefix-matching score.

    Args:
        panels: By name, three arrays [R, L, H]: Σλ/Σ|λ| of OV, of QK, and the prefix-matching score, nan for no head.
    """
    figure, axes = style.panels(style.PAGE, 2.6, max(len(panels), 3))
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    marks = None
    for ax, (title, (copying, matching, prefix)) in zip(axes, panels.items(), strict=False):
        for layer in range(copying.shape[1]):
            marks = ax.scatter(
                copying[:, layer].ravel(), matching[:, layer].ravel(), c=prefix[:, layer].ravel(), cmap="viridis",
                vmin=0, vmax=1, s=11, marker=MARKS[layer], lw=0, alpha=0.8, zorder=3,
            )  # fmt: skip
        for line in (ax.axhline, ax.axvline):
            line(0, color="#B0B0B0", lw=0.6, zorder=1)
        ax.set(xlim=(-1.08, 1.08), ylim=(-1.08, 1.08), xlabel="OV: Σλ / Σ|λ|", title=title, aspect="equal")
        ax.title.set_fontsize(8)
    axes[0].set_ylabel("QK: Σλ / Σ|λ|")
    if marks is not None:
        style.ticks(figure.colorbar(marks, ax=axes, label="prefix matching", pad=0.01, aspect=16, shrink=0.7).ax)
    depth = max((copying.shape[1] for copying, *_ in panels.values()), default=0)
    handles = [
        Line2D([], [], marker=MARKS[i], color="#555555", ls="", ms=4, mew=0, label=f"layer {i}") for i in range(depth)
    ]
    style.note(figure, "QK of layer 0: of tokens; above: of tokens with what the previous-token head has written")
    figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False, fontsize=labels.SMALL)
    return figure
