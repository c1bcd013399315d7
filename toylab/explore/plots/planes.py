"""Pictures of planes: heat maps, points, graphs: the data of their sources, and the plots that draw them."""

from typing import Any

import numpy as np
from bokeh.models import CustomJSHover, HoverTool, LinearColorMapper, UIElement

from toylab.explore.pictures import Dots, Graph, Heatmap
from toylab.explore.plots import colours
from toylab.explore.plots.frames import INK, NARROW, NUMBER, SIDE, WIDE, Data, Sources, greatest, head, plain, plot

MOST_NAMES = 160  # texts beside points that can be read


def heatmap_data(picture: Heatmap) -> list[Data]:
    values = picture.values
    rows, columns = values.shape
    limit = greatest(values, picture.limit)
    low = -limit if picture.colours == "symmetric" else 0.0
    ends: Data = {"x_ends": (-0.5, max(columns, 1) - 0.5), "y_ends": (max(rows, 1) - 0.5, -0.5)}
    names: Data = {"x_names": picture.columns, "y_names": picture.rows}
    wrap = NARROW if columns <= 2 * rows else WIDE
    top = head(picture.title, picture.x, picture.y, wrap=wrap, low=low, high=limit, at=picture.line, **ends, **names)
    return [top, {"image": [values], "columns": [columns], "rows": [rows]}]


_NAMED = "const i = Math.round(value); const own = head.data[names][0]; return own.length ? `${own[i] ?? ''}` : `${i}`"


def heatmap_plot(picture: Heatmap, sources: Sources) -> UIElement:
    top, image = sources
    rows, columns = picture.values.shape
    palette = colours.SYMMETRIC if picture.colours == "symmetric" else colours.SEQUENTIAL
    low, high = top.data["low"][0], top.data["high"][0]
    mapper = LinearColorMapper(palette=palette, low=low, high=high, nan_color=colours.NOTHING)
    wide, tall = columns > 2 * rows, rows > 3 * columns
    size: dict[str, Any] = {"height": int(np.clip(110 + 22 * rows, 150, 300))} if wide else {}
    frame = None if wide else (120, SIDE) if tall else (SIDE, SIDE)
    plotted = plot(top, frame=frame, mapper=mapper, whole="xy", **size)
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


def dots_data(picture: Dots) -> list[Data]:
    x, y = picture.x, picture.y
    n = len(x)
    limit = greatest(np.concatenate([x, y]), picture.limit) * (1.08 if picture.names is None else 1.18)
    ends: Data = {"x_ends": (-limit, limit), "y_ends": (-limit, limit)} if picture.square else {}
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


def dots_plot(picture: Dots, sources: Sources) -> UIElement:
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


def graph_data(picture: Graph) -> list[Data]:
    x, y, weights = picture.x, picture.y, picture.weights
    limit = greatest(weights, picture.limit)
    pairs = np.array(picture.edges, int).reshape(-1, 2)
    width = np.nan_to_num(np.abs(weights) / limit).clip(0, 1)
    ends: Data = {f"{side}_ends": _around(values) for side, values in (("x", x), ("y", y))}
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


def graph_plot(picture: Graph, sources: Sources) -> UIElement:
    top, nodes, edges = sources
    plotted = plot(top, frame=(320, 300))  # no stretching: a circle of features stays one
    lines = plotted.segment(
        "x0",
        "y0",
        "x1",
        "y1",
        source=edges,
        line_width="width",
        line_alpha="alpha",
        line_color="colour",
        line_cap="round",
    )
    plotted.scatter("x", "y", source=nodes, size=12, fill_color="#8C8C8C", line_color="#FFFFFF")
    named = plotted.text(
        "x",
        "y",
        text="name",
        source=nodes,
        y_offset=-9,
        text_align="center",
        text_baseline="bottom",
        text_font_size="11px",
    )
    named.glyph.tags = INK
    plotted.axis.visible = plotted.grid.visible = False
    tips = [("from", "@start"), ("to", "@end"), ("weight", f"@weight{{{NUMBER}}}")]
    plotted.add_tools(HoverTool(tooltips=tips, formatters={"@weight": "printf"}, renderers=[lines]))
    return plotted
