"""The house style: sizes, colours, step axes, labels beside the axes, PNG files that redraw identically.

Figures are built on `matplotlib.figure.Figure` alone: no pyplot, so no global figure list and no display.
"""

import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec

import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox, IdentityTransform

P = ParamSpec("P")
XScale = Literal["linear", "log"]

COLUMN, PAGE = 3.4, 7.0  # widths of a single and of a double column, inches
SMALL = 7.0  # points: tick labels and the labels beside lines; all other text has 8
TRAIN, TEST, RESTRICTED, EXCLUDED = "#004488", "#D55E00", "#009E73", "#000000"  # told apart in deuteranopia
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#777777")  # Okabe & Ito 2008
PHASES = (  # name, tint of the band, ink of the name
    ("memorisation", "#F6E7C8", "#7A5200"),
    ("circuit formation", "#DBE8F3", "#2F5A80"),
    ("cleanup", "#E2EFDA", "#3F6B2C"),
)
HOUSE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs on every machine
    "font.size": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.3,
    "savefig.dpi": 200,
}
TICKS: dict[str, Any] = {"labelsize": SMALL, "width": 0.6, "length": 2.5, "pad": 2}


def house(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run a drawing function under matplotlib's defaults and HOUSE, whatever the caller's own settings.

    The layout is made once and then kept: made again by a second draw it could come out otherwise.
    """

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.style.context(HOUSE, after_reset=True):
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            return figure

    return styled


def panels(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A constrained figure of width × height inches and its axes, row by row."""
    figure = Figure(figsize=(width, height), dpi=HOUSE["savefig.dpi"], layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes:
        # ticks are made when first drawn, when the style is no longer in force: give it to the axis instead
        ax.tick_params(which="major", **TICKS)
        ax.tick_params(which="minor", **(TICKS | {"length": 1.5, "width": 0.4}))
    return figure, axes


def letter(ax: Axes, mark: str, title: str = "", lift: float = 8) -> None:
    """A bold panel letter, and a title if given, `lift` points above the upper left corner."""
    put: dict[str, Any] = {
        "xy": (0, 1),
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "va": "bottom",
    }
    ax.annotate(mark, xytext=(-24, lift), weight="bold", fontsize=9, ha="left", **put)
    if title:
        ax.annotate(title, xytext=(0, lift), ha="left", **put)


def note(figure: Figure, text: str) -> None:
    """One pale line below all panels."""
    figure.supxlabel(text, fontsize=SMALL, color="#666666")


def step_axis(ax: Axes, steps: np.ndarray, xscale: XScale) -> None:
    """Set up an x axis in optimiser steps. A log axis keeps step 0, on a short linear piece."""
    if xscale not in ("linear", "log"):
        raise ValueError(f"xscale is {xscale!r}; it is 'linear' or 'log'")
    if xscale == "log":
        first = float(min(steps[steps > 0], default=1))
        ax.set_xscale("symlog", linthresh=first, linscale=0.3, subs=range(2, 10))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    end = steps[-1] if steps[-1] > steps[0] else steps[0] + 1
    ax.set_xlim(float(steps[0]), float(end))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:g}k" if x >= 1000 else f"{x:g}"))
    ax.set_xlabel("optimiser step")


def mark_phases(ax: Axes, start: float, ends: np.ndarray, *, fill: bool = True) -> None:
    """Mark phases by the steps [3] at which they end: bands (over an image, lines), names above the axes.

    A phase whose end is nan, because the run stopped before it, is not drawn, nor are those after it.
    """
    last = ax.get_xlim()[1]
    spans, names, inks = [], [], []
    for end, (name, tint, ink) in zip(ends, PHASES, strict=True):
        if not (np.isfinite(end) and start < last):
            break
        if end > start:
            if fill:
                ax.axvspan(start, min(end, last), color=tint, lw=0, zorder=-2)
            ax.axvline(min(end, last), color=ink if fill else "white", lw=0.6, ls=(0, (2, 2)), zorder=2)
            spans.append((start, min(end, last)))
            names.append(name)
            inks.append(ink)
            start = end
    MarginLabels(ax, "top", np.array(spans), names, inks)


def save(figure: Figure, path: str | Path) -> Path:
    """Write a PNG at 200 dpi: whole or not at all, and the same bytes whenever the same figure is drawn."""
    path = Path(path)
    if path.suffix != ".png":
        raise ValueError(f"path is {str(path)!r}; figures are saved as .png")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with matplotlib.style.context(HOUSE, after_reset=True):
            figure.savefig(part, format="png", dpi=HOUSE["savefig.dpi"], metadata={"Software": None})
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


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
