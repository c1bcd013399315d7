"""Labels in the margins of an axes that are placed when the figure is drawn, so that they never touch."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from matplotlib.transforms import Bbox, IdentityTransform

DIGIT = 0.64  # width of a digit over the size of its font
ROOM = 2.2, 1.7  # inches that the axes of a panel have at least, across and up
SMALL = 7.0  # points: tick labels and the labels beside lines; all other text has 8


def spread(wanted: np.ndarray, sizes: np.ndarray, low: float, high: float) -> np.ndarray:
    """Centres [n] nearest (least squares) to `wanted` of intervals of `sizes` kept apart within low..high.

    With gaps subtracted this is isotonic regression (pool adjacent violators), then a clip to the bounds.
    """
    order = np.argsort(wanted, kind="stable")
    half = sizes[order] / 2
    offset = np.concatenate([[0.0], np.cumsum(half[:-1] + half[1:])])
    pools: list[list[float]] = []
    for value in wanted[order] - offset:
        pools.append([value])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    first, last = low + half[0], high - half[-1] - offset[-1]
    level = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools])
    level = np.clip(level, first, last) if first <= last else np.full(len(level), (first + last) / 2)
    centres = np.empty(len(wanted))
    centres[order] = level + offset
    return centres


class MarginLabels(Artist):
    """Texts outside the top or right side of an axes, at data positions, pushed apart so that none overlap.

    at [n] (or spans [n, 2], labelled at their middle as drawn) in data units of that side. A thin leader
    joins each text to its place. Placed anew at every draw, because only then are the sizes of texts and axes
    known.
    """

    def __init__(
        self,
        ax: Axes,
        side: Literal["top", "right"],
        at: np.ndarray,
        texts: Sequence[str],
        colors: Sequence[str],
        reach: float = 8,  # points between the axes and the texts
    ) -> None:
        super().__init__()
        self.top, self.reach = side == "top", reach
        self.at = at if at.ndim == 2 else at[:, None]  # [n, 1] or [n, 2]
        pixels = IdentityTransform()
        self.texts = [
            Text(0, 0, text, color=color, fontsize=SMALL, transform=pixels)
            for text, color in zip(texts, colors, strict=True)
        ]
        for text in self.texts:
            text.set(ha="center" if self.top else "left", va="bottom" if self.top else "center_baseline")
        self.leaders = [Line2D([], [], color=color, lw=0.5, transform=pixels) for color in colors]
        self.set_clip_on(False)  # else the layout takes it for clipped and gives it no room
        ax.add_artist(self)
        for child in self.get_children():
            child.set_figure(ax.figure)

    def get_children(self) -> list[Artist]:
        return [*self.texts, *self.leaders]

    def _place(self, renderer: Any) -> None:
        if not self.texts:
            return
        ax: Any = self.axes
        box, point = ax.bbox, renderer.points_to_pixels(1)
        low, high, edge = (box.x0, box.x1, box.y1) if self.top else (box.y0, box.y1, box.x1)
        axis = 0 if self.top else 1
        transform = ax.get_xaxis_transform() if self.top else ax.get_yaxis_transform()
        places = np.zeros((self.at.size, 2))
        places[:, axis] = self.at.ravel()
        pixels = np.clip(transform.transform(places)[:, axis], low, high).reshape(self.at.shape).mean(1)
        sizes = np.array([text.get_window_extent(renderer).size[axis] for text in self.texts])
        centres = spread(pixels, sizes + (5 if self.top else 0.5) * point, low, high)
        near = np.clip(pixels, centres - 0.4 * sizes, centres + 0.4 * sizes) if self.top else centres
        out = edge + self.reach * point
        across = (edge + point, out - point)
        for i, text in enumerate(self.texts):
            along = (pixels[i], near[i])
            self.leaders[i].set_data(*(along, across) if self.top else (across, along))
            text.set_position((centres[i], out) if self.top else (out, centres[i]))

    def get_tightbbox(self, renderer: Any = None) -> Bbox | None:
        if not self.texts:
            return None
        figure: Any = self.get_figure(root=True)
        self._place(renderer or figure._get_renderer())
        return Bbox.union([text.get_window_extent() for text in self.texts])

    def draw(self, renderer: Any) -> None:
        self._place(renderer)
        for child in self.get_children():
            child.draw(renderer)


def numbers(values: Iterable[float]) -> list[str]:
    """Numbers with three digits, or as many as tell them apart; whole ones below a million with all."""
    each, found = [float(value) for value in values], list[str]()
    for digits in range(3, 18):
        found = [f"{one:,.0f}" if one.is_integer() and abs(one) < 1e6 else f"{one:.{digits}g}" for one in each]
        if len(set(found)) == len(set(each)):
            break
    return found


def log_numbers(axis: Axis) -> None:
    """Write out the numbers of a log axis of limits already set; one that spans few decades has some between decades."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    between = (1.0,) if decades > 2 else (1.0, 2.0, 5.0) if decades > 0.5 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    axis.set_major_locator(LogLocator(subs=between))
    axis.set_minor_formatter(NullFormatter())
    if high <= 1e5 and low >= 1e-4:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def ticks_at(axis: Axis, places: np.ndarray, numbers: Sequence[str], room: float | None = None) -> None:
    """A tick at each of `places` [N], rising, on an axis of limits already set; numbered where there is room beside the
    number before, on an axis of `room` inches, or of the least that a panel has."""
    low, high = axis.get_view_interval()
    log, across = axis.get_scale() == "log", isinstance(axis, XAxis)
    shares = np.log(places / low) / np.log(high / low) if log else (places - low) / (high - low)
    shown, clear = [], -np.inf  # up to where numbers are written, in points
    for place, number in zip(shares * 72 * (room or ROOM[0 if across else 1]), numbers, strict=True):
        half = SMALL * (DIGIT * (len(number) - number.count(".") / 2) if across else 1.2) / 2
        fits = place - half >= clear
        shown.append(number if fits else "")
        clear = place + half + 1.5 if fits else clear
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FixedFormatter(shown))
