"""How the features of correlated pairs turn towards each other until each pair is one direction."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from toylab.plots import arrows, labels, pictured, style
from toylab.plots.phase import edges

TINTS = ("#F2F2F2", "#DDE9F4")


@style.house
def collapse(
    density: np.ndarray,
    cosines: np.ndarray,
    regimes: Mapping[str, tuple[float, float]],
    pictures: Mapping[float, np.ndarray],
    groups: np.ndarray,
) -> Figure:
    """The cosines within correlated pairs over density, sparser to the right; above, what the features look like.

    Args:
        density: [N], rising.
        cosines: Within the pairs of S models, [N, S, K].
        regimes: Bands that say what the paper saw where.
        pictures: Features W [n, 2] by density.
        groups: The pair of each feature, which gives its colour, [n].
    """
    if cosines.ndim != 3 or len(cosines) != len(density):
        raise ValueError(
            f"cosines has shape {cosines.shape}; with {len(density)} densities it is [{len(density)}, S, K]"
        )
    figure, ax = pictured.axes(pictures, arrows.colors(len(groups), groups), falling=True)
    ax.set_xscale("log")
    low, high = edges(density)[[0, -1]]
    ax.set(
        xlim=(high, low), ylim=(-0.05, 1.05), xlabel="density of a pair $p$ = 1 − $S$", ylabel="cosine within a pair"
    )
    spans = [(max(start, low), min(end, high)) for start, end in regimes.values()]
    for i, (start, end) in enumerate(spans):
        ax.axvspan(start, end, color=TINTS[i % 2], lw=0, zorder=-2)
    labels.MarginLabels(ax, "top", np.array(spans), list(regimes), ["#444444"] * len(regimes))
    models = cosines.shape[1]
    for i in range(models):  # side by side, so that models that agree are seen
        at = density * np.exp((i - (models - 1) / 2) * 0.06)
        ax.plot(
            np.repeat(at, cosines.shape[2]), cosines[:, i].ravel(), "o", ms=3, mew=0, alpha=0.8, color=style.SERIES[0]
        )
    labels.log_numbers(ax.xaxis)
    style.note(
        figure,
        f"above: the best of all; points: each pair of the best fit of each of {models} sets; bands: what the paper saw",
    )
    return figure
