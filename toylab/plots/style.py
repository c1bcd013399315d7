"""The house style: sizes, colours, step axes, labels beside the axes, PNG files that redraw identically.

Figures are built on `matplotlib.figure.Figure` alone: no pyplot, so no global figure list and no display.
"""

import io
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from PIL import Image

from toylab.plots.labels import SMALL, MarginLabels
from toylab.plots.palette import reduced
from toylab.store import durable

P = ParamSpec("P")
XScale = Literal["linear", "log"]

COLUMN, PAGE = 3.4, 7.0  # widths of a single and of a double column, inches
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


MOST_FRAMES = 80  # of a GIF, which stays below about 1.5 MB
GIF_DPI = 140  # a column is 476 pixels wide
GIF_COLORS = 96  # one palette for all frames
HOLD = 1.5  # seconds for which the last frame of a GIF stands before it starts again


@dataclass(frozen=True)
class Animation:
    """A figure and `show`, which moves what it shows to frame 0..n_frames - 1; saved as a GIF that repeats."""

    figure: Figure
    show: Callable[[int], object]
    n_frames: int
    fps: float = 12

    def __post_init__(self) -> None:
        if not 1 <= self.n_frames <= MOST_FRAMES:
            raise ValueError(f"n_frames is {self.n_frames}; an animation has 1 to {MOST_FRAMES} frames")


Drawing = TypeVar("Drawing", Figure, Animation)


def house(draw: Callable[P, Drawing]) -> Callable[P, Drawing]:
    """Run a drawing function under matplotlib's defaults and HOUSE, whatever the caller's own settings.

    The layout is made once and then kept: made again by a second draw it could come out otherwise.
    """

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Drawing:
        with matplotlib.style.context(HOUSE, after_reset=True):
            drawing = draw(*args, **kwargs)
            figure = drawing.figure if isinstance(drawing, Animation) else drawing
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            return drawing

    return styled


def panels(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A constrained figure of width × height inches and its axes, row by row."""
    figure = Figure(figsize=(width, height), dpi=HOUSE["savefig.dpi"], layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes:
        ticks(ax)
    return figure, axes


def ticks(ax: Axes) -> None:
    """Give an axes the ticks of the house; they are made when first drawn, when the style is no longer in force."""
    ax.tick_params(which="major", **TICKS)
    ax.tick_params(which="minor", **(TICKS | {"length": 1.5, "width": 0.4}))


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
    """Pale lines below all panels, broken where they are wider than the figure."""
    told = figure.supxlabel(text, fontsize=SMALL, color="#666666")
    if (wide := told.get_window_extent().width / figure.bbox.width) > 1:
        fitting = int(0.95 * max(map(len, text.split("\n"))) / wide)  # letters differ in width
        told.set_text("\n".join(part for line in text.split("\n") for part in textwrap.wrap(line, fitting)))


def step_axis(ax: Axes, steps: np.ndarray, xscale: XScale) -> None:
    """Set up an x axis in optimiser steps. A log axis keeps step 0, on a short linear piece."""
    if xscale not in ("linear", "log"):
        raise ValueError(f"xscale is {xscale!r}; it is 'linear' or 'log'")
    if xscale == "log":
        first = float(min(steps[steps > 0], default=1))
        ax.set_xscale("symlog", linthresh=first, linscale=0.3, subs=range(2, 10))
        decades = 10.0 ** np.arange(np.ceil(np.log10(first)), np.log10(max(first, float(steps[-1]))) + 1e-9)
        numbered = decades[:: -(-len(decades) // 6)] if len(decades) else [first]
        ax.xaxis.set_major_locator(FixedLocator([0, *numbered]))  # none within the linear piece, where 0 is near
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


def suffix(drawing: Figure | Animation) -> str:
    """The suffix of the file that `save` writes: ".png" of a figure, ".gif" of an animation."""
    return ".gif" if isinstance(drawing, Animation) else ".png"


def save(drawing: Figure | Animation, path: str | Path) -> Path:
    """Write a PNG at 200 dpi, or a GIF: whole or not at all, and the same bytes whenever the same is drawn."""
    path = Path(path)
    if path.suffix != suffix(drawing):
        kind = "animations" if isinstance(drawing, Animation) else "figures"
        raise ValueError(f"path is {str(path)!r}; {kind} are saved as {suffix(drawing)}")
    durable.make(path.parent)
    durable.replace(path, lambda beside: _write(drawing, beside))
    return path


def _write(drawing: Figure | Animation, path: Path) -> None:
    with matplotlib.style.context(HOUSE, after_reset=True):
        if isinstance(drawing, Animation):
            _write_gif(drawing, path)
        else:
            dpi = HOUSE["savefig.dpi"]
            reduced(_picture(drawing, dpi)).save(path, format="PNG", dpi=(dpi, dpi), optimize=True)


def _picture(figure: Figure, dpi: int) -> Image.Image:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=dpi, pil_kwargs={"compress_level": 0})
    return Image.open(picture)


def _frame(animation: Animation, i: int) -> Image.Image:
    animation.show(i)
    return _picture(animation.figure, GIF_DPI).convert("RGB")


def _write_gif(animation: Animation, path: Path) -> None:
    """All frames in one palette taken from a few of them, undithered: small files, and nothing flickers."""
    frames = [_frame(animation, i) for i in range(animation.n_frames)]
    few = frames[:: -(-len(frames) // 6)] + frames[-1:]
    montage = Image.fromarray(np.concatenate([np.asarray(frame) for frame in few]))
    palette = montage.quantize(GIF_COLORS, Image.Quantize.MAXCOVERAGE)
    drawn = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    tick = round(1000 / animation.fps)
    durations = [tick] * (len(frames) - 1) + [max(tick, round(1000 * HOLD))]
    first, *others = drawn
    first.save(path, format="GIF", save_all=True, append_images=others, duration=durations, loop=0)
