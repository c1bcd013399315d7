"""Pictures as Bokeh models: the data of their sources, and new data in place."""

import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra explore has bokeh")

from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.models import DataTable, Div, LinearColorMapper, Plot
from bokeh.resources import INLINE

from toylab.explore.pictures import Bars, Dots, Graph, Heatmap, Lines, Table
from toylab.explore.plots import colours
from toylab.explore.plots.drawing import Panel
from toylab.explore.plots.frames import plain
from toylab.explore.plots.limits import reach

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'@x{} %"


def one_of_each(scale: float = 1.0) -> list[Any]:
    """Every kind of picture."""
    angle = 2 * np.pi * np.arange(7) / 7
    return [
        Heatmap(scale * np.array([[1.0, np.nan], [-2.0, 0.5]]), f"a map {scale}", rows=["a", "b"], line=1.0),
        Lines(np.arange(1, 5), {"one": scale * np.arange(4.0), "two": np.ones(4)}, "lines", log_y=True, at=2.0),
        Dots(
            scale * np.cos(angle),
            np.sin(angle),
            "dots",
            values=np.arange(7),
            cyclic=True,
            joined=True,
            from_origin=True,
        ),
        Bars(scale * np.array([1.0, 3.0]), "bars", marked=np.array([False, True]), mark="the key ones"),
        Graph(np.zeros(2), np.arange(2), ["p", "q"], [(0, 1)], np.array([-0.5 * scale]), "a graph"),
        Table({"name": ["x", "y"], "value": [1.5, scale]}, "a table"),
    ]


def heads(panel: Panel) -> list[dict[str, Any]]:
    """What the sources of one row hold."""
    return [
        {name: cells[0] for name, cells in source.data.items()} for source in panel.sources if "title" in source.data
    ]


def test_all_sources_are_in_the_page_so_that_new_titles_and_limits_are_sent():
    for picture in one_of_each():
        panel, document = Panel([picture]), Document()
        document.add_root(panel.model)
        assert all(source.document is document for source in panel.sources)


def test_axes_that_number_things_have_whole_ticks_and_names_do_not_overlap():
    numbered = Panel([Heatmap(np.eye(2), "a map"), Bars(np.ones(2), "bars"), Dots(np.ones(2), np.ones(2), "dots")])
    plots = numbered.model.children
    least = [[axis.ticker.min_interval for axis in (plot.xaxis[0], plot.yaxis[0])] for plot in plots]
    assert least == [[1, 1], [1, 0], [0, 0]]
    for name, turned in (("1", False), ("31", True)):  # 16 names of two digits are wider than 232 pixels
        (plot,) = Panel([Heatmap(np.eye(16), "a map", columns=[name] * 16)]).model.children
        assert (plot.xaxis[0].major_label_orientation == 0.9) is turned


def test_the_sources_hold_what_data_of_says():
    panel, data = Panel(one_of_each()), Panel.data_of(one_of_each())
    assert len(panel.sources) == len(data) == 2 + 2 + 3 + 2 + 3 + 2
    for source, own in zip(panel.sources, data, strict=True):
        assert source.data.keys() == own.keys()
        for name, column in own.items():
            np.testing.assert_equal(list(source.data[name]), list(column))


def test_show_sets_data_alone():
    panel = Panel(one_of_each())
    before = {model.id for model in panel.model.references()}
    panel.show(one_of_each(2.0))
    assert {model.id for model in panel.model.references()} == before
    assert [head["title"] for head in heads(panel)][:2] == ["a map 2.0", "lines"]
    np.testing.assert_array_equal(panel.sources[1].data["image"][0], [[2.0, np.nan], [-4.0, 1.0]])


def test_a_panel_refuses_other_kinds_of_pictures():
    panel = Panel(one_of_each())
    for other in (one_of_each()[1:], [*one_of_each()[:-1], one_of_each()[0]]):
        assert not panel.fits(other)
        with pytest.raises(ValueError, match="this panel was made for"):
            panel.show(other)
    lines = Lines(np.arange(3), {"one": np.ones(3)}, "linear where it was logarithmic")
    assert not Panel([Lines(lines.x, lines.lines, "", log_x=True)]).fits([lines])


def test_a_heat_map_is_white_at_0_and_blank_at_nan():
    panel = Panel([Heatmap(np.array([[4.0, np.nan, -1.0]]), "")])
    (mapper,) = panel.model.select({"type": LinearColorMapper})
    assert (mapper.low, mapper.high, mapper.nan_color) == (-4.0, 4.0, "rgba(0, 0, 0, 0)")
    assert len(mapper.palette) % 2 and mapper.palette[len(mapper.palette) // 2] == "#ffffff"
    rising = Panel([Heatmap(np.array([[0.0, 3.0]]), "", colours="positive", limit=5.0)])
    (mapper,) = rising.model.select({"type": LinearColorMapper})
    assert (mapper.low, mapper.high, mapper.palette[0]) == (0.0, 5.0, "#ffffff")


def test_row_0_of_a_heat_map_is_above():
    (figure,) = Panel([Heatmap(np.zeros((3, 2)), "")]).model.select({"type": Plot})
    assert (figure.y_range.start, figure.y_range.end) == (2.5, -0.5)
    assert (figure.x_range.start, figure.x_range.end) == (-0.5, 1.5)


def test_a_closed_path_returns_to_its_first_point():
    dots = Dots(np.array([1.0, 2.0, 3.0]), np.zeros(3), "", joined=True)
    assert list(Panel.data_of([dots])[2]["x"]) == [1.0, 2.0, 3.0, 1.0]
    assert list(Panel.data_of([Dots(dots.x, dots.y, "")])[2]["x"]) == []


def test_what_a_logarithmic_axis_cannot_show_is_left_out():
    lines = Lines(np.arange(1, 4), {"loss": np.array([-1.0, 0.0, 2.0])}, "", log_y=True)
    np.testing.assert_array_equal(Panel.data_of([lines])[1]["ys"][0], [np.nan, np.nan, 2.0])


@pytest.mark.parametrize(
    "empty",
    [
        Heatmap(np.zeros((0, 0)), ""),
        Heatmap(np.full((2, 2), np.nan), ""),
        Lines(np.zeros(0), {}, ""),
        Dots(np.zeros(0), np.zeros(0), "", joined=True, from_origin=True),
        Bars(np.zeros(0), ""),
        Graph(np.zeros(0), np.zeros(0), [], [], np.zeros(0), ""),
        Table(),
    ],
    ids=lambda picture: type(picture).__name__,
)
def test_a_picture_of_nothing_has_axes_of_some_length(empty):
    panel = Panel([empty])
    (head,) = heads(panel)
    ends = [head[name] for name in ("x0", "x1", "y0", "y1", "low", "high") if name in head]
    assert not np.isinf(ends).any() and all(a != b for a, b in zip(ends[::2], ends[1::2], strict=True))


def test_reach_is_how_far_a_picture_goes_where_it_has_no_limit_of_its_own():
    expected = [2.0, None, 1.0, 3.0, 0.5, None]
    assert [reach(picture) for picture in one_of_each()] == expected
    assert reach(Heatmap(np.array([[7.0]]), "", limit=1.0)) is None


def test_texts_are_shown_as_they_are_and_never_as_html():
    table = Table({EVIL: [EVIL]}, EVIL)
    panel = Panel([table, Heatmap(np.zeros((1, 1)), EVIL, x=EVIL, rows=[EVIL])])
    (made,) = panel.model.select({"type": DataTable})
    (title,) = panel.model.select({"type": Div})
    assert all("<" not in text for text in (made.columns[0].title, title.text))
    document = Document()
    document.add_root(panel.model)
    assert "<script>alert" not in file_html(document, INLINE, title="x").split("<body>")[1]


def test_texts_are_not_read_as_tex():
    assert all(mark not in plain(r"$$x$$ \[y\] \(z\)") for mark in ("$$", r"\[", r"\(", r"\)"))


def test_hues_are_of_one_lightness():
    """Relative luminance (WCAG) of the circle of hues stays within a factor 1.6, so that none stands out."""
    rgb = np.array([[int(hue[i : i + 2], 16) / 255 for i in (1, 3, 5)] for hue in colours.CYCLIC])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    assert luminance.max() / luminance.min() < 1.6
    assert len(set(colours.CYCLIC)) > 200


def test_cyclic_values_close_the_circle_and_rising_ones_do_not():
    values = np.arange(4.0)
    assert colours.of_values(values, cyclic=True) == [colours.CYCLIC[i] for i in (0, 64, 128, 192)]
    assert colours.of_values(values, cyclic=False)[::3] == [colours.RISING[0], colours.RISING[255]]
    assert colours.of_values(np.array([np.nan, 1.0]), cyclic=False)[0] == colours.UNKNOWN


def test_new_data_is_set_in_milliseconds():
    """Budget 5 ms of processor time on an idle machine; here the least of many, with room for slow ones."""
    panel, pictures = Panel(one_of_each()), one_of_each(3.0)
    took = []
    for _ in range(20):
        begun = time.process_time()
        panel.show(pictures)
        took.append(time.process_time() - begun)
    assert min(took) < 0.02
