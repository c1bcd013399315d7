"""An axes with a row of arrangements above it: what the solutions look like along the x axis."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from toylab.plots import arrows, labels, style


def axes(pictures: Mapping[float, np.ndarray], tints: np.ndarray, falling: bool = False) -> tuple[Figure, Axes]:
    """A page-wide figure: features W [n, 2] by their x, titled with it, evenly spaced in the order of x or, if `falling`,
    from the highest on; the axes below.

    Each picture stands over its x where these are evenly spaced along the axis, half a step from its ends. The features'
    colours are tints [n, 3].
    """
    engine = ConstrainedLayoutEngine(wspace=0, w_pad=0.02)
    figure = Figure(figsize=(style.PAGE, 3.4), dpi=style.HOUSE["savefig.dpi"], layout=engine)
    side = min(0.95 * style.PAGE / len(pictures), 0.8)
    grid = figure.add_gridspec(2, len(pictures), height_ratios=(side, 2.8 - side))
    radius = arrows.reach(np.stack(list(pictures.values())))
    for i, (at, W) in enumerate(sorted(pictures.items(), reverse=falling)):
        place = figure.add_subplot(grid[0, i])
        arrows.Arrows(place, W, tints, radius)
        place.set_title(f"{at:.2g}", fontsize=labels.SMALL, pad=2)
    ax = figure.add_subplot(grid[1, :])
    style.ticks(ax)
    return figure, ax
