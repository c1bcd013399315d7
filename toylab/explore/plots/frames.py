"""What all plots share: a figure whose title, axes and limits are in a source of one row, and the texts that go into it."""

import html
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.models import (
    BasicTicker,
    ColorBar,
    ColumnDataSource,
    CustomJS,
    DataRange1d,
    FixedTicker,
    LinearColorMapper,
    LogTicker,
    Range1d,
)
from bokeh.plotting import figure

Data = dict[str, Any]
Sources = list[ColumnDataSource]
INK = ["ink"]  # tag of texts inside plots: the page sets their colour for light and dark
NUMBER = "%0.4g"
NARROW, WIDE = 34, 42  # characters of a title that stand beside each other above a square plot, and above a wide one
FEW = 26  # names beside an axis that can be read
BACK = "back"  # tag of glyphs that the page gives the colour of rules: opaque lines are drawn in a third of the time
PALE = "#D5DAE0"  # that colour, in light
HEAD = "head"  # tag of the sources that plots follow
SIDE = 232  # pixels of a square frame

# sets what no glyph can take from a source: here Python only ever sets data, live and in an exported file
FOLLOW = """
const one = (name) => head.data[name][0]
const own = {sync: false}  // nothing of this goes back to the server
if (title.text !== one("title")) title.setv({text: one("title")}, own)
for (const [axis, range, ends, label, names] of [[x_axis, x_range, ["x0", "x1"], "x", "x_names"],
                                                 [y_axis, y_range, ["y0", "y1"], "y", "y_names"]]) {
  const [start, end] = ends.map(one)
  if (fixed && !Number.isNaN(start) && (range.start !== start || range.end !== end)) {
    range.setv({start, end, reset_start: start, reset_end: end}, own)
  }
  if (axis.axis_label !== one(label)) axis.setv({axis_label: one(label)}, own)
  const now = Array.from(one(names))
  const before = axis.tags[0] ?? []
  if (now.length != before.length || now.some((name, i) => name !== before[i])) {
    axis.setv({tags: [now], major_label_overrides: new Map(now.map((name, i) => [i, name]))}, own)
    if (axis.ticker.ticks !== undefined) axis.ticker.setv({ticks: now.map((_, i) => i)}, own)
  }
}
if (mapper !== null && (mapper.low !== one("low") || mapper.high !== one("high"))) {
  mapper.setv({low: one("low"), high: one("high")}, own)
}
"""


def plain(text: object) -> str:
    """A text that Bokeh shows as it is: no part of it is read as TeX."""
    said = str(text)
    for mark in ("$$", "\\[", "\\]", "\\(", "\\)"):
        said = said.replace(mark, mark[0] + "\u200b" + mark[1])
    return said


def escaped(text: object) -> str:
    """A text to be put into HTML."""
    return html.escape(plain(text))


def greatest(values: np.ndarray, limit: float | None) -> float:
    """The limit, or the greatest finite absolute value; 1 where that is 0 or there is none."""
    if limit is None:
        limit = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    return limit if limit > 0 else 1.0


def head(
    title: str,
    x: str = "",
    y: str = "",
    *,
    low: float = 0.0,
    high: float = 1.0,
    x_ends: tuple[float, float] = (np.nan, np.nan),
    y_ends: tuple[float, float] = (np.nan, np.nan),
    at: float | None = None,
    x_names: Sequence[str] | None = None,
    y_names: Sequence[str] | None = None,
    wrap: int = 1000,
) -> Data:
    """The source of one row; ends that are nan follow the points. The title has at most `wrap` characters a line."""
    cells = {
        "title": "\n".join(textwrap.wrap(plain(title), wrap)),
        "x": plain(x),
        "y": plain(y),
        "low": low,
        "high": high,
    }
    ends = {"x0": x_ends[0], "x1": x_ends[1], "y0": y_ends[0], "y1": y_ends[1]}
    names = {"x_names": [plain(name) for name in x_names or ()], "y_names": [plain(name) for name in y_names or ()]}
    at_ = float("nan") if at is None else float(at)
    return {name: [cell] for name, cell in (cells | ends | names | {"at": at_}).items()}


def _around(width: int, height: int, bar: bool) -> Data:
    """The size of a figure whose frame has this one. Borders are the least that axes and title take."""
    left, right, top, bottom = 56, 52 if bar else 16, 28, 48
    borders = {"min_border_left": left, "min_border_right": right, "min_border_top": top, "min_border_bottom": bottom}
    return {"width": width + left + right, "height": height + top + bottom, "styles": {"flex": "0 0 auto"}} | borders


def plot(
    source: ColumnDataSource,
    *,
    frame: tuple[int, int] | None = None,
    fixed: bool = True,
    log: tuple[bool, bool] = (False, False),
    whole: str = "",
    mapper: LinearColorMapper | None = None,
    **size: Any,
) -> figure:
    """A figure that follows `source`, as `head` makes it.

    Args:
        source: its title, labels, limits.
        frame: width and height of the frame in pixels; None: as wide as there is room.
        fixed: whether its axes end where the source says; else where the points do.
        log: whether its x and its y axis are logarithmic.
        whole: the sides, of x and y, that number things: they have ticks at whole numbers alone.
        mapper: of a heat map, drawn beside it.
        **size: as of Bokeh's figure.
    """
    now = {name: cells[0] for name, cells in source.data.items()}
    ranges = {
        f"{side}_range": Range1d(now[f"{side}0"], now[f"{side}1"]) if fixed else DataRange1d(range_padding=0.04)
        for side in "xy"
    }
    shape: dict[str, Any] = {"sizing_mode": "stretch_width", "min_width": 290, "styles": {"flex": "1 1 290px"}}
    if frame is not None:
        shape = _around(*frame, mapper is not None)
    kinds = {f"{side}_axis_type": "log" if is_log else "linear" for side, is_log in zip("xy", log, strict=True)}
    plotted = figure(
        title=now["title"],
        tools="pan,wheel_zoom,box_zoom,reset,save",
        active_drag=None,
        **ranges,
        **kinds,
        **(shape | size),
    )
    plotted.toolbar.autohide = True
    plotted.toolbar.logo = None
    plotted.title.text_font_size = "12px"
    for side, axis, is_log in zip("xy", (plotted.xaxis[0], plotted.yaxis[0]), log, strict=True):
        names = now[f"{side}_names"]
        axis.axis_label, axis.axis_label_text_font_style = now[side], "normal"
        axis.major_label_overrides, axis.tags = dict(enumerate(names)), [names]
        if 0 < len(names) <= FEW:
            axis.ticker = FixedTicker(ticks=list(range(len(names))))
        elif is_log:
            axis.ticker = LogTicker(desired_num_ticks=5)
        else:
            axis.ticker = BasicTicker(desired_num_ticks=5, min_interval=1 if side in whole else 0)
        room = 450 if frame is None else frame[0]  # of names beside each other, with gaps
        if side == "x" and 0 < len(names) <= FEW and 6.5 * sum(map(len, names)) + 5 * len(names) > room:
            axis.major_label_orientation = 0.9
    if mapper is not None:
        bar = ColorBar(color_mapper=mapper, width=9, padding=2, margin=4, ticker=BasicTicker(desired_num_ticks=5))
        plotted.add_layout(bar, "right")
    source.tags = [HEAD]
    follow = CustomJS(
        args={
            "head": source,
            "title": plotted.title,
            "x_axis": plotted.xaxis[0],
            "y_axis": plotted.yaxis[0],
            "x_range": plotted.x_range,
            "y_range": plotted.y_range,
            "mapper": mapper,
            "fixed": fixed,
        },
        code=FOLLOW,
    )
    source.js_on_change("data", follow)
    return plotted
