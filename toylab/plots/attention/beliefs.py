"""Where beliefs are found: the R² of their regression from the residual stream after each layer, beside controls."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from toylab.plots import labels, style

MARKS = ("o", "s", "^", "D")


@style.house
def by_layer(r2: Mapping[str, np.ndarray]) -> Figure:
    """R² of beliefs after each layer: a mark for each seed, a line through their medians.

    Args:
        r2: By name, such as "trained" and "untrained", [R, L + 2]: from the embedding, from the residual after each layer,
            and last from all of them side by side.
    """
    if not r2 or len(r2) > len(MARKS):
        raise ValueError(f"r2 has {len(r2)} entries; it has 1 to {len(MARKS)}")
    sizes = {np.shape(values)[1:] for values in r2.values()}
    if len(sizes) > 1 or not all(np.ndim(values) == 2 and np.shape(values)[1] > 2 for values in r2.values()):
        raise ValueError(f"r2 has shapes {[np.shape(values) for values in r2.values()]}; they are [R, L + 2] of one L")
    n_layers = next(iter(sizes))[0] - 2
    figure, (ax,) = style.panels(style.COLUMN, 2.3)
    at = np.append(np.arange(n_layers + 1), n_layers + 1.5)
    for (_, values), color, mark in zip(r2.items(), style.SERIES, MARKS, strict=False):
        middle = np.median(values, axis=0)
        ax.plot(at[:-1], middle[:-1], color=color, zorder=2)
        ax.plot(np.tile(at, (len(values), 1)).T, values.T, ls="", marker=mark, ms=3.5, mfc="none", mec=color, mew=0.8)
        ax.plot(at[-1:] + np.array([-0.25, 0.25]), middle[[-1, -1]], color=color, zorder=2)
    ax.axvline(n_layers + 0.75, color="#B4B4B4", lw=0.5)
    ax.set_xticks(at, [*map(str, range(n_layers + 1)), "all"])
    ax.set(
        xlim=(-0.4, at[-1] + 0.4),
        ylim=(0, 1),
        xlabel="residual stream after layer (0: embedding)",
        ylabel="$R^2$ of beliefs",
    )
    ends = np.array([np.median(values, axis=0)[-1] for values in r2.values()])
    labels.MarginLabels(ax, "right", ends, list(r2), style.SERIES[: len(r2)])
    return figure
