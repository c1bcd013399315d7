"""Each kind of picture: the data of its sources, and the plot that draws them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from bokeh.models import UIElement

from toylab.explore.pictures import Bars, Dots, Graph, Heatmap, Lines, Picture, Table
from toylab.explore.plots import charts, planes
from toylab.explore.plots.frames import Data, Sources


class Kind(NamedTuple):
    """How one kind of picture is drawn: data of its sources, the plot, and what may not change while it stands."""

    data: Callable[[Any], list[Data]]
    make: Callable[[Any, Sources], UIElement]
    form: Callable[[Any], tuple[object, ...]]


KINDS = {
    Heatmap: Kind(
        planes.heatmap_data, planes.heatmap_plot, lambda it: (it.colours, it.columns is None, it.rows is None)
    ),
    Lines: Kind(
        charts.lines_data, charts.lines_plot, lambda it: (it.log_x, it.log_y, 1 < len(it.lines) <= charts.MOST_KEYS)
    ),
    Dots: Kind(
        planes.dots_data,
        planes.dots_plot,
        lambda it: (it.square, it.joined, it.from_origin, it.names is None, it.values is None),
    ),
    Bars: Kind(charts.bars_data, charts.bars_plot, lambda it: (it.names is None, it.marked is None)),
    Graph: Kind(planes.graph_data, planes.graph_plot, lambda it: ()),
    Table: Kind(charts.table_data, charts.table_plot, lambda it: tuple(it.columns)),
}


def of(picture: Picture) -> Kind:
    """How a picture is drawn."""
    return KINDS[type(picture)]
