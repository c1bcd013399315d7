"""Pictures over one axis, and tables: the data of their sources, and the plots that draw them."""

import textwrap
from typing import Any

import numpy as np
from bokeh.models import (
    Column,
    CustomJS,
    DataTable,
    Div,
    HoverTool,
    Legend,
    LegendItem,
    NumberFormatter,
    StringFormatter,
    TableColumn,
    UIElement,
)

from toylab.explore.pictures import Bars, Lines, Table
from toylab.explore.plots import colours
from toylab.explore.plots.frames import HEAD, NUMBER, WIDE, Data, Sources, escaped, greatest, head, plain, plot

MOST_KEYS = 14  # entries of a legend


def lines_data(picture: Lines) -> list[Data]:
    n = len(picture.lines)
    few = n <= len(colours.OKABE_ITO)
    palette = colours.OKABE_ITO[:n] if few else [colours.RISING[i] for i in np.linspace(0, 255, n).astype(int)]
    lines = {
        "xs": [picture.x] * n,
        "ys": [np.where(value > 0, value, np.nan) if picture.log_y else value for value in picture.lines.values()],
        "name": [plain(name) for name in picture.lines],
        "colour": list(palette),
    }
    return [head(picture.title, picture.x_label, picture.y_label, wrap=WIDE, at=picture.at), lines]


def lines_plot(picture: Lines, sources: Sources) -> UIElement:
    top, lines = sources
    plotted = plot(top, fixed=False, log=(picture.log_x, picture.log_y), height=270)
    drawn = plotted.multi_line(
        "xs", "ys", line_color="colour", line_width=2, source=lines, hover_line_width=3.5, hover_line_color="colour"
    )
    for side in (plotted.x_range, plotted.y_range):
        side.renderers = [drawn]
    plotted.vspan(x="at", source=top, line_color="#888888", line_width=1.5, line_dash="dashed")
    tips = [("", "@name"), (plain(picture.x_label) or "x", f"$snap_x{{{NUMBER}}}")]
    tips.append((plain(picture.y_label) or "y", f"$snap_y{{{NUMBER}}}"))
    formats = {"$snap_x": "printf", "$snap_y": "printf"}
    plotted.add_tools(HoverTool(tooltips=tips, formatters=formats, line_policy="nearest", renderers=[drawn]))
    if 1 < len(picture.lines) <= MOST_KEYS:
        longest = max(len(name) for name in picture.lines)
        item = LegendItem(label={"field": "name"}, renderers=[drawn])
        _key(plotted, [item], columns=int(np.clip(72 // (longest + 5), 1, len(picture.lines))))
    return plotted


def _key(plotted: Any, items: list[LegendItem], columns: int) -> None:
    """A legend above the plot, without a frame."""
    key = Legend(items=items, orientation="horizontal", ncols=columns, border_line_color=None, background_fill_alpha=0)
    key.update(padding=0, margin=2, spacing=8, label_text_font_size="11px", glyph_height=14, label_standoff=4)
    plotted.add_layout(key, "above")


def bars_data(picture: Bars) -> list[Data]:
    heights = picture.heights
    n = len(heights)
    limit = greatest(heights, picture.limit) * 1.05
    below = -limit if (heights < 0).any() else 0.0
    marked = np.zeros(n, bool) if picture.marked is None else np.asarray(picture.marked, bool)
    names = [plain(name) for name in picture.names] if picture.names is not None else [str(i) for i in range(n)]
    bars = {"x": np.arange(n), "name": names, "height": heights}
    bars |= {"plain": np.where(marked, np.nan, heights), "marked": np.where(marked, heights, np.nan)}
    ends: Data = {"x_ends": (-0.7, max(n, 1) - 0.3), "y_ends": (below, limit)}
    return [head(picture.title, picture.x, picture.y, wrap=WIDE, x_names=picture.names, **ends), bars]


def bars_plot(picture: Bars, sources: Sources) -> UIElement:
    top, bars = sources
    plotted = plot(top, height=240, whole="x")
    drawn = {
        which: plotted.vbar(x="x", top=which, width=0.8, source=bars, fill_color=colour, line_color=None)
        for which, colour in (("plain", colours.PLAIN), ("marked", colours.MARKED))
    }
    if picture.marked is not None and picture.mark:
        _key(
            plotted,
            [
                LegendItem(
                    label={"value": "\n".join(textwrap.wrap(plain(picture.mark), WIDE))}, renderers=[drawn["marked"]]
                )
            ],
            columns=1,
        )
    tips = [(plain(picture.x) or "number", "@name"), (plain(picture.y) or "height", f"@height{{{NUMBER}}}")]
    plotted.add_tools(HoverTool(tooltips=tips, formatters={"@height": "printf"}, renderers=list(drawn.values())))
    plotted.xgrid.visible = False
    return plotted


def table_data(picture: Table) -> list[Data]:
    rows = {f"c{i}": [_cell(value) for value in column] for i, column in enumerate(picture.columns.values())}
    return [{"title": [escaped(picture.title)]}, rows]


def _cell(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value if isinstance(value, int | float) else str(value)


def table_plot(picture: Table, sources: Sources) -> UIElement:
    top, rows = sources
    title = Div(text=top.data["title"][0], styles={"font-weight": "bold", "font-size": "13px"})
    top.tags = [HEAD]
    top.js_on_change("data", CustomJS(args={"head": top, "title": title}, code='title.text = head.data["title"][0]'))
    columns = []
    for i, (name, values) in enumerate(picture.columns.items()):
        numeric = all(isinstance(value, int | float | np.number) for value in values)
        shown = NumberFormatter(format="0.[0000]", nan_format="–") if numeric else StringFormatter()
        columns.append(TableColumn(field=f"c{i}", title=escaped(name), formatter=shown))
    n = len(next(iter(picture.columns.values()), ()))
    height = int(np.clip(30 + 25 * n, 60, 320))
    table = DataTable(source=rows, columns=columns, height=height, index_position=None, sizing_mode="stretch_width")
    return Column(children=[title, table], sizing_mode="stretch_width", styles={"flex": "1 1 290px"})
