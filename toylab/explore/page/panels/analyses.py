"""Analyzers computed when they are asked for: their numbers join the measures."""

from collections.abc import Callable, Sequence

from bokeh.models import Button, Column, Div, Row, Select

from toylab.explore.page.panels.views import put
from toylab.explore.plots.frames import plain
from toylab.explore.recording import Recording

EVERY, HERE = "every", "here"


class Analyses:
    """A choice of the analyzer and the steps, a button, and how far it is.

    Args:
        chosen: gives the runs that are selected, all if none is, and the point that is shown.
    """

    def __init__(self, chosen: Callable[[], tuple[list[int] | None, int]]) -> None:
        self.chosen = chosen
        self.recording: Recording | None = None
        self.name = Select(title="Analyzer", options=[], width=190)
        self.steps = Select(
            title="At", options=[(EVERY, "all saved steps"), (HERE, "the step shown")], value=EVERY, width=150
        )
        self.button = Button(label="Compute for the selected runs", align="end", width=210)
        self.cancel = Button(label="Stop", align="end", width=70, visible=False)
        self.note = Div(text="", css_classes=["note"], sizing_mode="stretch_width", visible=False)
        row = Row(children=[self.name, self.steps, self.button, self.cancel], sizing_mode="stretch_width")
        row.css_classes = ["wrap"]
        self.model = Column(children=[row, self.note], sizing_mode="stretch_width", visible=False)
        self.button.on_click(self._ask)
        self.cancel.on_click(self._stop)

    def fill(self, recording: Recording) -> None:
        """Offers the analyzers of a recording; hidden where it has none to offer."""
        self.recording = recording
        names: Sequence[str] = recording.on_demand.names if recording.on_demand is not None else []
        options = [(name, plain(name)) for name in names]
        if self.name.options != options:
            self.name.options = options
            self.name.value = names[0] if names else ""
        self.model.visible = bool(names)

    def _ask(self) -> None:
        if self.recording is None or self.recording.on_demand is None:
            return
        runs, at = self.chosen()
        try:
            self.recording.on_demand.ask(self.name.value, runs, None if self.steps.value == EVERY else [at])
        except ValueError as refused:
            self.say(str(refused), "alert")
        else:
            self.follow()

    def _stop(self) -> None:
        if self.recording is not None and self.recording.on_demand is not None:
            self.recording.on_demand.cancel()
            self.follow()

    def follow(self) -> None:
        """Says how far the newest requests are; called again and again while any goes on."""
        on_demand = self.recording.on_demand if self.recording is not None else None
        requests = list(on_demand.requests.values()) if on_demand is not None else []
        going = [one for one in requests if one.state in ("waits", "computes")]
        told = [f"{one.name}: {one.done:,} of {len(one.points):,} points" for one in going]
        told += [one.message for one in requests if one.message]
        if requests and not going and not told:
            told = [f"{one.name}: {one.state}, {one.done:,} points." for one in requests[-1:]]
        self.cancel.visible = bool(going)
        self.say(" ".join(told), "status")

    def say(self, sentence: str, role: str) -> None:
        """Says something below the button; "" takes it away."""
        put(self.note, sentence, role)
