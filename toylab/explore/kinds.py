"""Each kind of picture: the data of its sources, and the plot that draws them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from bokeh.models import (
    Column,
    ColumnDataSource,
    CustomJS,
    CustomJSHover,
    DataTable,
    Div,
    HoverTool,
    Legend,
    LegendItem,
    LinearColorMapper,
    NumberFormatter,
    StringFormatter,
    TableColumn,
    UIElement,
)

from toylab.explore import colours
from toylab.explore.frames import HEAD, SIDE, Data, escaped, greatest, head, plain, plot
from toylab.explore.pictures import Bars, Dots, Graph, Heatmap, Lines, Picture, Table

INK = ["ink"]  # tag of texts inside plots: the page sets their colour for light and dark
NUMBER = "%0.4g"
MOST_NAMES = 160  # texts beside points that can be read
NARROW, WIDE = 32, 60  # characters of a title that stand beside each other above a square plot, and above a wide one
MOST_KEYS = 14  # entries of a legend

Sources = list[ColumnDataSource]


class Kind(NamedTuple):
    """How one kind of picture is drawn: data of its sources, the plot, and what may not change while it stands."""

    data: Callable[[Any], list[Data]]
    make: Callable[[Any, Sources], UIElement]
    form: Callable[[Any], tuple[object, ...]]


def _heatmap_data(picture: Heatmap) -> list[Data]:
    values = picture.values
    rows, columns = values.shape
    limit = greatest(values, picture.limit)
    low = -limit if picture.colours == "symmetric" else 0.0
    ends = {"x_ends": (-0.5, max(columns, 1) - 0.5), "y_ends": (max(rows, 1) - 0.5, -0.5)}
    names = {"x_names": picture.columns, "y_names": picture.rows}
    wrap = NARROW if columns <= 2 * rows else WIDE
    top = head(picture.title, picture.x, picture.y, wrap=wrap, low=low, high=limit, at=picture.line, **ends, **names)
    return [top, {"image": [values], "columns": [columns], "rows": [rows]}]


_NAMED = "const i = Math.round(value); const own = head.data[names][0]; return own.length ? `${own[i] ?? ''}` : `${i}`"


def _heatmap(picture: Heatmap, sources: Sources) -> UIElement:
    top, image = sources
    rows, columns = picture.values.shape
    palette = colours.SYMMETRIC if picture.colours == "symmetric" else colours.SEQUENTIAL
    low, high = top.data["low"][0], top.data["high"][0]
    mapper = LinearColorMapper(palette=palette, low=low, high=high, nan_color=colours.NOTHING)
    wide, tall = columns > 2 * rows, rows > 3 * columns
    size: dict[str, Any] = {"height": int(np.clip(110 + 22 * rows, 150, 300))} if wide else {}
    frame = None if wide else (120, SIDE) if tall else (SIDE, SIDE)
    plotted = plot(top, frame=frame, mapper=mapper, **size)
    drawn = plotted.image(
        "image", x=-0.5, y=-0.5, dw="columns", dh="rows", color_mapper=mapper, source=image, level="image"
    )
    plotted.vspan(x="at", source=top, line_color="#000000", line_width=1.5, line_dash="dashed")
    plotted.grid.visible = False
    tips = [(plain(picture.y) or "row", "$y{custom}"), (plain(picture.x) or "column", "$x{custom}")]
    own = {f"${side}": CustomJSHover(args={"head": top, "names": f"{side}_names"}, code=_NAMED) for side in "xy"}
    tips.append(("value", f"@image{{{NUMBER}}}"))
    plotted.add_tools(HoverTool(tooltips=tips, formatters=own | {"@image": "printf"}, renderers=[drawn]))
    return plotted


def _lines_data(picture: Lines) -> list[Data]:
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


def _lines(picture: Lines, sources: Sources) -> UIElement:
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


def _dots_data(picture: Dots) -> list[Data]:
    x, y = picture.x, picture.y
    n = len(x)
    limit = greatest(np.concatenate([x, y]), picture.limit) * (1.08 if picture.names is None else 1.18)
    ends = {"x_ends": (-limit, limit), "y_ends": (-limit, limit)} if picture.square else {}
    values = np.full(n, np.nan) if picture.values is None else picture.values
    if picture.rgb is not None:
        colour = colours.as_hex(picture.rgb)
    elif picture.values is not None:
        colour = colours.of_values(values, cyclic=picture.cyclic)
    else:
        colour = [colours.PLAIN] * n
    names = [plain(name) for name in picture.names] if picture.names is not None else [str(i) for i in range(n)]
    closed = np.r_[np.arange(n), 0] if picture.joined and n else np.arange(0)
    points = {"x": x, "y": y, "name": names, "value": values, "colour": colour}
    path = {"x": x[closed], "y": y[closed]}
    return [head(picture.title, picture.x_label, picture.y_label, wrap=NARROW, **ends), points, path]


def _dots(picture: Dots, sources: Sources) -> UIElement:
    top, points, path = sources
    plotted = plot(top, frame=(SIDE, SIDE), fixed=picture.square)
    if picture.joined:
        plotted.line("x", "y", source=path, line_color="#8C8C8C", line_width=1)
    if picture.from_origin:
        plotted.segment(0, 0, "x", "y", source=points, line_color="colour", line_width=2)
    n = len(picture.x)
    size = 7 if n <= 300 else 4 if n <= 2000 else 2.5
    drawn = plotted.scatter("x", "y", source=points, size=size, fill_color="colour", line_color=None)
    if not picture.square:
        plotted.x_range.renderers = plotted.y_range.renderers = [drawn]
    if picture.names is not None and n <= MOST_NAMES:
        named = plotted.text("x", "y", text="name", source=points, x_offset=5, y_offset=-3, text_font_size="11px")
        named.glyph.tags = INK
    tips = [("", "@name"), (plain(picture.x_label) or "x", f"@x{{{NUMBER}}}")]
    tips.append((plain(picture.y_label) or "y", f"@y{{{NUMBER}}}"))
    if picture.values is not None:
        tips.append(("value", f"@value{{{NUMBER}}}"))
    formats = {"@x": "printf", "@y": "printf", "@value": "printf"}
    plotted.add_tools(HoverTool(tooltips=tips, formatters=formats, renderers=[drawn]))
    return plotted


def _bars_data(picture: Bars) -> list[Data]:
    heights = picture.heights
    n = len(heights)
    limit = greatest(heights, picture.limit) * 1.05
    below = -limit if (heights < 0).any() else 0.0
    marked = np.zeros(n, bool) if picture.marked is None else np.asarray(picture.marked, bool)
    names = [plain(name) for name in picture.names] if picture.names is not None else [str(i) for i in range(n)]
    bars = {"x": np.arange(n), "name": names, "height": heights}
    bars |= {"plain": np.where(marked, np.nan, heights), "marked": np.where(marked, heights, np.nan)}
    ends = {"x_ends": (-0.7, max(n, 1) - 0.3), "y_ends": (below, limit)}
    return [head(picture.title, picture.x, picture.y, wrap=WIDE, x_names=picture.names, **ends), bars]


def _bars(picture: Bars, sources: Sources) -> UIElement:
    top, bars = sources
    plotted = plot(top, height=240)
    drawn = {
        which: plotted.vbar(x="x", top=which, width=0.8, source=bars, fill_color=colour, line_color=None)
        for which, colour in (("plain", colours.PLAIN), ("marked", colours.MARKED))
    }
    if picture.marked is not None and picture.mark:
        _key(plotted, [LegendItem(label={"value": plain(picture.mark)}, renderers=[drawn["marked"]])], columns=1)
    tips = [(plain(picture.x) or "number", "@name"), (plain(picture.y) or "height", f"@height{{{NUMBER}}}")]
    plotted.add_tools(HoverTool(tooltips=tips, formatters={"@height": "printf"}, renderers=list(drawn.values())))
    plotted.xgrid.visible = False
    return plotted


def _graph_data(picture: Graph) -> list[Data]:
    x, y, weights = picture.x, picture.y, picture.weights
    limit = greatest(weights, picture.limit)
    pairs = np.array(picture.edges, int).reshape(-1, 2)
    width = np.nan_to_num(np.abs(weights) / limit).clip(0, 1)
    ends = {f"{side}_ends": _around(values) for side, values in (("x", x), ("y", y))}
    names = [plain(name) for name in picture.names]
    edges = {"x0": x[pairs[:, 0]], "y0": y[pairs[:, 0]], "x1": x[pairs[:, 1]], "y1": y[pairs[:, 1]]}
    edges |= {"start": [names[i] for i in pairs[:, 0]], "end": [names[i] for i in pairs[:, 1]]}
    edges |= {"width": 9 * width, "alpha": 0.25 + 0.65 * width, "weight": weights}
    edges |= {"colour": [colours.NEGATIVE if weight < 0 else colours.POSITIVE for weight in weights]}
    return [head(picture.title, wrap=WIDE, **ends), {"x": x, "y": y, "name": names}, edges]


def _around(values: np.ndarray) -> tuple[float, float]:
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    room = 0.15 * (high - low) or 1.0
    return low - room, high + room


def _graph(picture: Graph, sources: Sources) -> UIElement:
    top, nodes, edges = sources
    plotted = plot(top, height=340)
    lines = plotted.segment(
        "x0", "y0", "x1", "y1", source=edges, line_width="width", line_alpha="alpha", line_color="colour", line_cap="round"
    )
    plotted.scatter("x", "y", source=nodes, size=12, fill_color="#8C8C8C", line_color="#FFFFFF")
    named = plotted.text(
        "x", "y", text="name", source=nodes, y_offset=-9, text_align="center", text_baseline="bottom", text_font_size="11px"
    )
    named.glyph.tags = INK
    plotted.axis.visible = plotted.grid.visible = False
    tips = [("from", "@start"), ("to", "@end"), ("weight", f"@weight{{{NUMBER}}}")]
    plotted.add_tools(HoverTool(tooltips=tips, formatters={"@weight": "printf"}, renderers=[lines]))
    return plotted


def _table_data(picture: Table) -> list[Data]:
    rows = {f"c{i}": [_cell(value) for value in column] for i, column in enumerate(picture.columns.values())}
    return [{"title": [escaped(picture.title)]}, rows]


def _cell(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value if isinstance(value, int | float) else str(value)


def _table(picture: Table, sources: Sources) -> UIElement:
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


KINDS = {
    Heatmap: Kind(_heatmap_data, _heatmap, lambda it: (it.colours, it.columns is None, it.rows is None)),
    Lines: Kind(_lines_data, _lines, lambda it: (it.log_x, it.log_y, 1 < len(it.lines) <= MOST_KEYS)),
    Dots: Kind(_dots_data, _dots, lambda it: (it.square, it.joined, it.from_origin, it.names is None, it.values is None)),
    Bars: Kind(_bars_data, _bars, lambda it: (it.names is None, it.marked is None)),
    Graph: Kind(_graph_data, _graph, lambda it: ()),
    Table: Kind(_table_data, _table, lambda it: tuple(it.columns)),
}


def of(picture: Picture) -> Kind:
    """How a picture is drawn."""
    return KINDS[type(picture)]
