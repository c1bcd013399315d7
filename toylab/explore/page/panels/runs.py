"""The runs: a table, a row a run, whose selection is that of the page."""

from collections.abc import Sequence

import numpy as np
from bokeh.models import (
    BooleanFilter,
    CDSView,
    Column,
    ColumnDataSource,
    DataTable,
    Div,
    HTMLTemplateFormatter,
    MultiChoice,
    Row,
    Select,
    StringFormatter,
    TableColumn,
    TextInput,
)

from toylab.explore.plots.colours import PLAIN
from toylab.explore.plots.frames import escaped, plain
from toylab.explore.recording import Recording

NONE = "none"
SEEDS = ("seed", "data_seed", "task.seed")
MOST_SHOWN = 6  # columns of a table that fit beside each other
_SWATCH = (
    '<span style="display:block;width:12px;height:12px;margin:4px;border-radius:6px;background:<%- colour %>"></span>'
)
_NUMBER = '<%- value === null || Number.isNaN(value) ? "–" : Number(Number(value).toPrecision(5)) %>'


class Runs:
    """The table of runs with its filter and its colours.

    source     name, colour and c0, c1, … of each run: the columns of the configs
    columns    of each column: id ("c0"), label, whether it is of numbers, whether it varies
    """

    def __init__(self) -> None:
        self.source = ColumnDataSource(data={"name": [], "colour": []})
        self.columns = ColumnDataSource(data={"id": [], "label": [], "numeric": [], "varies": []})
        self.kept = BooleanFilter(booleans=None)
        self.filter = TextInput(title="Filter", placeholder="text, or weight_decay > 0.5 and seed = 1", min_width=200)
        self.colour = Select(title="Colour by", options=[(NONE, "nothing")], value=NONE, width=190)
        self.more = MultiChoice(title="Columns", options=[], value=[], placeholder="more columns", min_width=200)
        self.note = Div(text="", css_classes=["note"], visible=False)
        self.count = Div(text="", css_classes=["quiet"])
        self.legend = Div(text="", sizing_mode="stretch_width", css_classes=["legend"])
        self.table = DataTable(
            source=self.source,
            view=CDSView(filter=self.kept),
            columns=[],
            height=230,
            row_height=24,
            index_position=None,
            sizing_mode="stretch_width",
            reorderable=False,
            selectable=True,
            scroll_to_selection=True,
        )
        for widget in (self.filter, self.more):
            widget.sizing_mode = "stretch_width"
        self.model = Column(
            children=[
                Row(children=[self.filter, self.colour], sizing_mode="stretch_width"),
                self.note,
                self.legend,
                self.table,
                self.count,
                self.more,
            ],
            sizing_mode="stretch_width",
        )

    def fill(self, recording: Recording) -> None:
        """Puts the runs of a recording in place of those that are there. The selection stays."""
        names = ordered(recording)
        data: dict[str, object] = {"name": [plain(name) for name in recording.runs]}
        data |= {"colour": [PLAIN] * len(recording.runs)}
        numeric = [is_numeric(recording.columns[name]) for name in names]
        for i, (name, is_number) in enumerate(zip(names, numeric, strict=True)):
            values = np.asarray(recording.columns[name])
            data[f"c{i}"] = values.astype(float) if is_number else [plain(value) for value in values]
        varies = [name in recording.varying for name in names]
        ids = [f"c{i}" for i in range(len(names))]
        about = {"id": ids, "label": [plain(name) for name in names], "numeric": numeric, "varies": varies}
        changed = self.columns.data["label"] != about["label"] or self.columns.data["varies"] != varies
        self.columns.data, self.source.data = about, data
        if not changed and self.table.columns:
            return
        short = shortened(names)
        options = [(own, escaped(short[name])) for own, name in zip(ids, names, strict=True)]
        shown = [own for own, differs in zip(ids, varies, strict=True) if differs][:MOST_SHOWN]
        self.more.update(options=options, value=shown)
        self.colour.options = [(NONE, "nothing"), *zip(ids, map(plain, names), strict=True)]
        self.colour.value = self._first_colour(names, varies)
        self.table.columns = [
            TableColumn(
                field="colour", title="", width=24, sortable=False, formatter=HTMLTemplateFormatter(template=_SWATCH)
            ),
            TableColumn(field="name", title="run", width=190, formatter=StringFormatter()),
            *(
                TableColumn(
                    field=own,
                    title=escaped(short[name]),
                    width=80,
                    visible=own in shown,
                    formatter=HTMLTemplateFormatter(template=_NUMBER) if is_number else StringFormatter(),
                )
                for own, name, is_number in zip(ids, names, numeric, strict=True)
            ),
        ]

    @staticmethod
    def _first_colour(names: Sequence[str], varies: Sequence[bool]) -> str:
        """Of the columns that vary the first that is no seed; a seed where nothing else varies."""
        for wanted in (lambda name: name not in SEEDS, lambda name: True):
            for i, (name, differs) in enumerate(zip(names, varies, strict=True)):
                if differs and wanted(name):
                    return f"c{i}"
        return NONE


def is_numeric(values: np.ndarray) -> bool:
    """Whether a column is of numbers."""
    return np.asarray(values).dtype.kind in "fiub"


def shortened(names: Sequence[str]) -> dict[str, str]:
    """The last part of each dotted name where no other has the same, else the whole."""
    lasts = [name.rsplit(".", 1)[-1] for name in names]
    return {name: last if lasts.count(last) == 1 else name for name, last in zip(names, lasts, strict=True)}


def ordered(recording: Recording) -> list[str]:
    """The names of the columns, first those that vary, seeds last among them."""
    return sorted(recording.columns, key=lambda name: (name not in recording.varying, name in SEEDS))
