"""Curves: measures against the step, a line a run."""

from collections.abc import Mapping

import numpy as np
from bokeh.models import (
    CDSView,
    Column,
    ColumnDataSource,
    DataRange1d,
    Div,
    HoverTool,
    IndexFilter,
    Legend,
    LegendItem,
    LinearAxis,
    LinearScale,
    LogAxis,
    LogScale,
    MultiChoice,
    Range1d,
    Row,
    Select,
    Span,
)
from bokeh.plotting import figure

from toylab.explore.plots.frames import BACK, PALE, escaped, plain
from toylab.explore.recording import Recording

MOST = 4  # measures at once
DASHES = ("solid", "dashed", "dotted", "dotdash")
ALL_VALUES = 6_000_000  # of all scalar measures together, that a browser is sent
FIRST = (("train_loss", "test_loss"), ("train_accuracy", "test_accuracy"), ("loss",), ("accuracy",))


class Curves:
    """The figure of the curves, and what all panels read: the measures at every point.

    steps, measures    sources: step [T]; m0, m1, … [R·T], run by run
    lines, bands, medians, phases    sources of what is drawn, filled in the browser
    """

    def __init__(self, kept: object) -> None:
        self.names: list[str] = []
        self.steps = ColumnDataSource(data={"step": []})
        self.measures = ColumnDataSource(data={})
        ys = [f"ys{k}" for k in range(MOST)]
        self.lines = ColumnDataSource(data={name: [] for name in ("xs", *ys, "name", "colour")})
        self.bands = ColumnDataSource(data={"xs": [], "ys": [], "colour": []})
        self.medians = ColumnDataSource(data={"xs": [], "ys": [], "colour": [], "dash": [], "name": []})
        self.version = ColumnDataSource(data={"number": [0]})
        self.phases = ColumnDataSource(data={name: [] for name in ("run", "name", "start", "end", "height", "alpha")})
        self.of_run = IndexFilter(indices=[])
        self.choice = MultiChoice(title="Measures", options=[], value=[], max_items=MOST, min_width=170)
        self.choice.sizing_mode = "stretch_width"
        self.mode = Select(title="Show", options=[("each", "each run"), ("band", "median and quartiles")], value="each")
        self.x = Select(title="Step axis", options=["linear", "log"], value="linear")
        self.y = Select(title="Value axis", options=["linear", "log"], value="linear")
        for narrow in (self.mode, self.x, self.y):
            narrow.width = 84 if narrow is not self.mode else 150
        self.note = Div(text="", css_classes=["note"], visible=False)
        self.figure = self._figure(kept)
        self.model = Column(
            children=[
                Row(
                    children=[self.choice, self.mode, self.x, self.y], sizing_mode="stretch_width", css_classes=["wrap"]
                ),
                self.note,
                self.figure,
            ],
            sizing_mode="stretch_width",
        )

    def _figure(self, kept: object) -> figure:
        ranges = {"x_range": DataRange1d(range_padding=0.01), "y_range": DataRange1d(range_padding=0.05)}
        plotted = figure(
            height=300, sizing_mode="stretch_width", min_width=290, title="Measures against the step", **ranges,
            tools="wheel_zoom,box_zoom,reset,save", active_drag=None, active_scroll=None,
        )  # fmt: skip
        plotted.toolbar.autohide, plotted.toolbar.logo = True, None
        plotted.extra_y_ranges = {"phases": Range1d(0, 1)}
        plotted.extra_y_scales = {"phases": LinearScale()}
        plotted.vstrip(
            x0="start", x1="end", source=self.phases, view=CDSView(filter=self.of_run), fill_color="#8C8C8C",
            fill_alpha="alpha", line_color=None, level="underlay",
        )  # fmt: skip
        named = plotted.text(
            x="start", y="height", text="name", source=self.phases, view=CDSView(filter=self.of_run), y_range_name="phases",
            text_font_size="10px", x_offset=3,
        )  # fmt: skip
        named.glyph.tags = ["ink"]
        self.band_drawn = plotted.patches(
            "xs", "ys", source=self.bands, fill_color="colour", fill_alpha=0.2, line_color=None
        )
        self.median_drawn = plotted.multi_line(
            "xs", "ys", source=self.medians, line_color="colour", line_width=2.4, line_dash="dash"
        )
        view = CDSView(filter=kept)
        self.drawn = [
            plotted.multi_line(
                "xs", f"ys{k}", source=self.lines, view=view, line_color="colour", line_dash=dash, line_width=1.5,
                selection_line_width=2, nonselection_line_alpha=1.0, nonselection_line_color=PALE,
                nonselection_line_width=1,
                hover_line_width=3, hover_line_alpha=1.0, hover_line_color="colour", visible=k == 0,
            )
            for k, dash in enumerate(DASHES)
        ]  # fmt: skip
        for one in self.drawn:
            one.nonselection_glyph.tags = [BACK]
        ranged = [*self.drawn, self.band_drawn]
        plotted.x_range.renderers = plotted.y_range.renderers = ranged
        plotted.x_range.only_visible = plotted.y_range.only_visible = True
        # an overlay: where it moves, the curves below it are not drawn anew
        self.now = Span(location=0, dimension="height", line_color="#888888", line_width=2, level="overlay")
        plotted.add_layout(self.now)
        tips = [("run", "@name"), ("step", "$snap_x{0,0}"), ("value", "$snap_y{%0.4g}")]
        plotted.add_tools(
            HoverTool(
                tooltips=tips,
                formatters={"$snap_y": "printf"},
                line_policy="nearest",
                renderers=[*self.drawn, self.median_drawn],
            )
        )
        items = [LegendItem(label={"value": ""}, renderers=[one], visible=False) for one in self.drawn]
        self.legend = Legend(items=items, orientation="horizontal", ncols=2, border_line_color=None)
        self.legend.update(background_fill_alpha=0, padding=0, margin=2, label_text_font_size="11px", glyph_width=34)
        plotted.add_layout(self.legend, "above")
        # both kinds of axes are there from the start, for the browser to change between them
        self.log_axes = [LogAxis(visible=False), LogAxis(visible=False)]
        plotted.add_layout(self.log_axes[0], "below")
        plotted.add_layout(self.log_axes[1], "left")
        self.scales = [LinearScale(), LogScale(), LinearScale(), LogScale()]
        for axis in (plotted.xaxis[0], self.log_axes[0]):
            axis.axis_label, axis.axis_label_text_font_style = "step", "normal"
        self.linear_axes: list[LinearAxis] = [plotted.xaxis[0], plotted.yaxis[0]]
        return plotted

    def fill(self, recording: Recording, phases: Mapping[int, list[tuple[str, float, float]]]) -> str:
        """Puts the measures of a recording in place of those that are there; a sentence where not all points are sent."""
        names = list(recording.scalars)
        n_runs, n_steps = recording.valid.shape
        every = max(1, -(-n_runs * n_steps * max(len(names), 1) // ALL_VALUES))
        # the last point is always there, and those before it at even distances
        self.sent = np.arange(n_steps - 1, -1, -every)[::-1] if n_steps else np.arange(0)
        values = {
            f"m{j}": recording.measures[name][:, self.sent].astype(np.float32).ravel() for j, name in enumerate(names)
        }
        self.steps.data = {"step": recording.steps[self.sent].astype(float), "at": self.sent.astype(float)}
        values["there"] = recording.valid[:, self.sent].astype(np.float32).ravel()
        self.measures.data = values
        if names != self.names:
            # measures may have joined: what is chosen stays, whatever its number is now
            kept = [self.names[int(own[1:])] for own in self.choice.value]
            chosen = [name for name in kept if name in names]
            fresh = not chosen
            chosen = chosen or next((list(own) for own in FIRST if all(one in names for one in own)), names[:1])
            self.names = names
            self.choice.options = [(f"m{j}", escaped(name)) for j, name in enumerate(names)]
            self.choice.value = [f"m{names.index(name)}" for name in chosen]
            losses = [np.asarray(recording.measures[name]) for name in chosen if "loss" in name]
            positive = losses and all((own[np.isfinite(own)] > 0).all() for own in losses)
            if fresh:
                self.y.value = "log" if positive else "linear"
        self.fill_phases(phases)
        return "" if every == 1 else f"Of the {n_steps} saved points every {every}th is in the curves."

    def done(self) -> None:
        """Tells the browser that all panels are filled, and to be drawn anew."""
        self.version.data = {"number": [self.version.data["number"][0] + 1]}

    def fill_phases(self, phases: Mapping[int, list[tuple[str, float, float]]]) -> None:
        """Puts the phases of these runs in place of those that are there."""
        rows = [(run, *one) for run, own in phases.items() for one in own]
        self.phases.data = {
            "run": [float(row[0]) for row in rows],
            "name": [plain(row[1]) for row in rows],
            "start": [float(row[2]) for row in rows],
            "end": [float(row[3]) for row in rows],
            # names are one above the other: phases may be short
            "height": [0.02 + 0.055 * (i % 4) for own in phases.values() for i in range(len(own))],
            "alpha": [0.06 + 0.09 * (i % 2) for own in phases.values() for i in range(len(own))],
        }
