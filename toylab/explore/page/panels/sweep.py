"""The sweep: two columns of the configs against a measure at the step, and parallel coordinates."""

from bokeh.models import Column, ColumnDataSource, Div, FixedTicker, HoverTool, Range1d, Row, Select
from bokeh.plotting import figure

from toylab.explore.page.panels.runs import NONE, SEEDS, ordered
from toylab.explore.plots.frames import BACK, PALE, plain
from toylab.explore.recording import Recording


class Sweep:
    """Cells, and parallel coordinates. Sources are filled in the browser.

    cells    x, y: places on the axes; value: median of the runs; n: how many they are
    threads, knots, ends    parallel coordinates: a line a run, its points, the ends of the axes
    """

    def __init__(self) -> None:
        cells = ("x", "y", "x_value", "y_value", "value", "n", "colour", "fresh")
        self.cells = ColumnDataSource(data={name: [] for name in cells})
        self.threads = ColumnDataSource(data={name: [] for name in ("xs", "ys", "name", "colour")})
        self.knots = ColumnDataSource(data={name: [] for name in ("x", "y", "run", "name", "value")})
        self.ends = ColumnDataSource(data={name: [] for name in ("x", "y", "text", "baseline", "shift")})
        self.x = Select(title="Across", options=[], width=170)
        self.y = Select(title="Upwards", options=[], width=170)
        self.value = Select(title="Value at the step", options=[], width=190)
        self.legend = Div(text="", css_classes=["legend"], sizing_mode="stretch_width")
        self.note = Div(text="", css_classes=["quiet"], sizing_mode="stretch_width", visible=False)
        selects = [self.x, self.y, self.value]
        self.choices = Row(children=selects, sizing_mode="stretch_width", css_classes=["wrap"])
        self.plane, self.parallel = self._plane(), self._parallel()
        self.model = Column(
            children=[
                self.choices,
                self.legend,
                self.plane,
                self.note,
                self.parallel,
            ],
            sizing_mode="stretch_width",
        )

    def _plane(self) -> figure:
        ranges = {"x_range": Range1d(-0.5, 0.5), "y_range": Range1d(-0.5, 0.5)}
        plotted = figure(
            height=290, sizing_mode="stretch_width", min_width=290, title="The sweep at the step", **ranges,
            tools="tap,box_select,reset,save", active_drag="box_select",
        )  # fmt: skip
        drawn = plotted.rect(
            "x", "y", 0.97, 0.95, source=self.cells, fill_color="colour", line_color=None, selection_line_color="#E69F00",
            selection_line_width=3, nonselection_fill_alpha=0.35, nonselection_line_color=None,
        )  # fmt: skip
        tips = [("", "@x_value"), ("", "@y_value"), ("median", "@value{%0.4g}"), ("runs", "@n")]
        plotted.add_tools(HoverTool(tooltips=tips, formatters={"@value": "printf"}, renderers=[drawn]))
        plotted.grid.visible = False
        return _quiet(plotted)

    def _parallel(self) -> figure:
        ranges = {"x_range": Range1d(-0.5, 3.5), "y_range": Range1d(-0.16, 1.14)}
        plotted = figure(
            height=270, sizing_mode="stretch_width", min_width=290, title="All columns that vary", **ranges,
            tools="tap,box_select,reset,save", active_drag="box_select", visible=False,
        )  # fmt: skip
        lines = plotted.multi_line(
            "xs", "ys", source=self.threads, line_color="colour", selection_line_width=2, nonselection_line_alpha=1.0,
            nonselection_line_color=PALE, nonselection_line_width=1,
        )  # fmt: skip
        lines.nonselection_glyph.tags = [BACK]
        drawn = plotted.scatter(
            "x", "y", source=self.knots, size=8, fill_color=None, line_color=None, selection_fill_color=None,
            nonselection_fill_color=None, selection_line_color=None, nonselection_line_color=None,
        )  # fmt: skip
        named = plotted.text(
            "x", "y", text="text", source=self.ends, text_align="center", text_baseline="baseline", y_offset="shift",
            text_font_size="10px",
        )  # fmt: skip
        named.glyph.tags = ["ink"]
        plotted.add_tools(HoverTool(tooltips=[("run", "@name"), ("", "@value")], renderers=[drawn]))
        plotted.yaxis.visible = False
        plotted.xgrid.grid_line_width = 2
        return _quiet(plotted)

    def fill(self, recording: Recording) -> None:
        """Offers the columns and measures of a recording. What is chosen stays where it is still there."""
        names = ordered(recording)
        ids = {name: f"c{i}" for i, name in enumerate(names)}
        varying = [name for name in names if name in recording.varying]
        columns = [(ids[name], plain(name)) for name in varying]
        measures = [(f"m{j}", plain(name)) for j, name in enumerate(recording.scalars)]
        # seeds are an axis only where nothing else is: a cell has the median of its runs
        first = [name for name in varying if name not in SEEDS] or varying[:1]
        self._offer(self.x, [(NONE, "nothing"), *columns], ids[first[0]] if first else NONE)
        self._offer(self.y, [(NONE, "nothing"), *columns], ids[first[1]] if len(first) > 1 else NONE)
        self.choices.visible = bool(varying)
        nothing = "" if varying else "No field of the configs varies between these runs."
        self.note.update(text=nothing, visible=bool(nothing))
        wanted = ("test_loss", "test_accuracy", "loss", "accuracy")
        chosen = next((own for name in wanted for own, label in measures if label == name), None)
        self._offer(self.value, measures, chosen or (measures[0][0] if measures else ""))

    @staticmethod
    def _offer(select: Select, options: list[tuple[str, str]], first: str) -> None:
        if select.options == options:
            return
        before = dict(select.options).get(select.value)  # what was chosen stays, whatever its number is now
        by_label = {label: own for own, label in options}
        select.options = options
        select.value = by_label.get(before, first) if before not in (None, "nothing") else first


def _quiet(plotted: figure) -> figure:
    plotted.toolbar.autohide, plotted.toolbar.logo = True, None
    plotted.xaxis.axis_label_text_font_style = plotted.yaxis.axis_label_text_font_style = "normal"
    plotted.xaxis.ticker, plotted.yaxis.ticker = FixedTicker(ticks=[0]), FixedTicker(ticks=[0])
    plotted.xaxis.major_label_orientation = 0.6
    return plotted
