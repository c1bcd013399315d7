"""The head of the page: what is looked at, the step, playing, and what is to be said."""

from collections.abc import Sequence

from bokeh.models import Column, Div, Row, Select, Slider, Toggle

from toylab.explore.page.panels.runs import is_numeric, ordered, shortened
from toylab.explore.plots.frames import escaped, plain
from toylab.explore.recording import Recording

SPEEDS = [("2", "2 a second"), ("5", "5 a second"), ("10", "10 a second"), ("20", "20 a second")]
MOST_TOLD = 3  # columns beside a run's name
SHOWN = 6  # messages; of more it is said how many there are


class Head:
    """Title, part, run, step, play, messages.

    Args:
        parts: the names of the parts.
        live: whether another part can be opened.
    """

    def __init__(self, parts: Sequence[str], live: bool) -> None:
        self.title = Div(text="", css_classes=["title"])
        self.part = Select(
            title="Part", options=list(parts), value=parts[0], width=200, visible=live and len(parts) > 1
        )
        self.run = Select(title="Run looked at", options=[("0", "")], value="0", width=300)
        self.slider = Slider(
            title="step",
            start=0,
            end=1,
            value=0,
            step=1,
            show_value=False,
            margin=(24, 12, 0, 8),
            sizing_mode="stretch_width",
        )
        self.slider.css_classes = ["step"]
        self.step = Div(text="", css_classes=["now"], width=210, align="end")
        self.play = Toggle(label="Play", width=76, align="end")
        self.speed = Select(title="Points", options=SPEEDS, value="5", width=110)
        self.messages = Div(text=_status([]), sizing_mode="stretch_width", margin=(0, 5, 0, 5))
        self._said = ""
        self._messages: list[str] = []
        first = Row(children=[self.title, self.part, self.run], sizing_mode="stretch_width", css_classes=["wrap"])
        second = Row(children=[self.play, self.speed, self.step, self.slider], sizing_mode="stretch_width")
        self.title.sizing_mode = "stretch_width"
        self.model = Column(children=[first, second, self.messages], sizing_mode="stretch_width")

    def fill(self, recording: Recording, at: int, run: int, said: Sequence[str]) -> None:
        """Puts a recording in place of the one that is there."""
        self.title.text = f"<h1>{escaped(recording.title)}</h1>"
        options = [(str(i), label(recording, i)) for i in range(len(recording.runs))] or [("0", "no runs")]
        if self.run.options != options:
            self.run.options = options
        self.run.value = str(run)
        last = len(recording.steps) - 1
        step = f"step {int(recording.steps[at]):,} ({at + 1} of {last + 1})" if last >= 0 else "no saved points"
        self.slider.update(end=max(last, 1), value=at, disabled=last < 1, title=step)
        self.step.text = self.slider.title
        self.play.disabled = last < 1
        absent = recording.no_params if not any(recording.shapes) else ""
        self._messages = [one for one in (absent, *said, *recording.messages) if one]
        self._show()

    def say(self, message: str) -> None:
        """Says a sentence before all others."""
        self._said = message
        self._show()

    def _show(self) -> None:
        text = _status([self._said, *self._messages] if self._said else self._messages)
        if self.messages.text != text:
            self.messages.text = text


def label(recording: Recording, run: int) -> str:
    """A run's name, with what tells it from the others."""
    short = shortened(list(recording.columns))
    told = []
    for name in [name for name in ordered(recording) if name in recording.varying][:MOST_TOLD]:
        value = recording.columns[name][run]
        told.append(f"{short[name]} {value:g}" if is_numeric(recording.columns[name]) else f"{value}")
    return plain(" · ".join([recording.runs[run], *told]))


def _status(messages: Sequence[str]) -> str:
    shown = list(messages[:SHOWN])
    if len(messages) > SHOWN:
        shown.append(f"{len(messages) - SHOWN} more messages.")
    said = "".join(f"<p>{escaped(message)}</p>" for message in shown)
    return f'<div role="status" aria-live="polite">{said}</div>'
