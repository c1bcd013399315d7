"""The views in tabs by family: each with its heading, its controls, what it says, and its pictures."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bokeh.models import (
    Button,
    Column,
    Div,
    InlineStyleSheet,
    Row,
    Select,
    Slider,
    Spinner,
    TabPanel,
    Tabs,
    TextInput,
    UIElement,
)

from toylab.explore.declaring import Again, Choice, Control, View, Whole
from toylab.explore.moment import Moment
from toylab.explore.pictures import Picture
from toylab.explore.plots.drawing import Panel
from toylab.explore.plots.frames import escaped, plain
from toylab.explore.wording import sentence

FADED = 0.3  # opacity of pictures that are not of what is now looked at
MOST_ON_SLIDER = 256  # numbers that a slider can be set to with a mouse

Draw = Callable[[View, Moment, dict[str, Any]], list[Picture]]


class Shown:
    """A view on the page.

    Args:
        view: what is shown.
        lacking: why it cannot be, in a sentence; "" where it can.
        controls: of the run.
        changed: called with the view's name when a control has a new value; None where controls cannot be used.
        sheet: of the page.
    """

    def __init__(
        self,
        view: View,
        lacking: str,
        controls: Mapping[str, Control],
        changed: Callable[[str], None] | None,
        sheet: InlineStyleSheet,
    ) -> None:
        self.view, self.lacking, self.sheet = view, lacking, sheet
        self.values: dict[str, Any] = {name: first(control) for name, control in controls.items()}
        self.panel: Panel | None = None
        heading = Div(text=f"<h3>{escaped(view.title)}</h3>", sizing_mode="stretch_width")
        self.note = Div(text="", css_classes=["note"], sizing_mode="stretch_width", visible=False)
        children: list[UIElement] = [heading]
        if lacking:
            self.say(lacking)
        elif controls and changed:
            made = [self._widget(name, control, changed) for name, control in controls.items()]
            children.append(Row(children=made, sizing_mode="stretch_width", styles={"flex-wrap": "wrap"}))
        elif said := [
            f"{one.label} {self.values[name]}" for name, one in controls.items() if not isinstance(one, Again)
        ]:
            children.append(Div(text=f"<p>{escaped(', '.join(said))}</p>", css_classes=["quiet"]))
        if changed and not lacking:
            self.say("Being computed.")
        self.model = Column(children=[*children, self.note], sizing_mode="stretch_width", css_classes=["view"])
        self.model.tags = ["view", view.name]

    def _widget(self, name: str, control: Control, changed: Callable[[str], None]) -> UIElement:
        def took(value: Any) -> None:
            if self.values[name] != value:
                self.values[name] = value
                changed(self.view.name)

        widget = as_widget(control)
        if isinstance(widget, Button):
            widget.on_click(lambda: took(self.values[name] + 1))
        else:
            widget.on_change("value", lambda attribute, old, new: took(new))
        return widget

    def say(self, sentence: str, *, alarm: bool = False) -> bool:
        """Says something below the controls, "" takes it away; whether it was not said before."""
        return put(self.note, sentence, "alert" if alarm else "note")

    def show(self, moment: Moment, draw: Draw) -> None:
        """Draws it at a moment. What goes wrong is said, and the pictures that are there stay, faded: they show another."""
        if self.lacking:
            return
        try:
            pictures = draw(self.view, moment, self.values)
            if self.panel is not None and self.panel.fits(pictures):
                self.panel.show(pictures)
            else:
                self.panel = Panel(pictures)
                dressed(self.sheet, self.panel.model)
                kept = self.model.children[: self.model.children.index(self.note) + 1]
                self.model.children = [*kept, self.panel.model]
        except (ValueError, LookupError) as refused:
            self.say(sentence(refused), alarm=True)
        except Exception as failed:  # a view of the user's: it says what is wrong with it, and the others go on
            if self.say(f"{self.view.name} failed with {type(failed).__name__}: {sentence(failed)}", alarm=True):
                logging.getLogger(__name__).exception("the view %s failed", self.view.name)
        else:
            self.say("")
            self._fade(1.0)
            return
        self._fade(FADED)

    def _fade(self, opacity: float) -> None:
        if self.panel is not None and self.panel.model.styles.get("opacity", "1.0") != f"{opacity}":
            self.panel.model.styles = {**self.panel.model.styles, "opacity": f"{opacity}"}


class Views:
    """Tabs by family. Only the pictures in the visible tab are drawn, all where nothing of the page can be `changed`. The
    tags of `tabs` are the names of the views on the screen, as the browser says (script.js)."""

    def __init__(self, views: Sequence[View], changed: Callable[[str], None] | None, sheet: InlineStyleSheet) -> None:
        self.views, self.changed, self.sheet = views, changed, sheet
        self.shown: dict[str, Shown] = {}
        self.tabs = Tabs(tabs=[], sizing_mode="stretch_width")
        self.nothing = Div(text="<p>Weights are being read.</p>", sizing_mode="stretch_width")
        self.note = Div(text="", css_classes=["note"], sizing_mode="stretch_width", visible=False)
        self.absent = Div(text="", sizing_mode="stretch_width", css_classes=["quiet"], visible=False)
        self.model = Column(children=[self.note, self.nothing, self.absent], sizing_mode="stretch_width")
        self._made_for: object = None

    def fit(self, moment: Moment) -> None:
        """Makes the tabs for a run, given its last point. Where they would be the same they stay, with all controls."""
        wanted: list[tuple[View, str, Mapping[str, Control]]] = []
        without = []  # weights; the head says why there are none
        for view in self.views:
            try:
                lacking = view.lacks(moment)
                controls = {} if lacking != "" else dict(view.controls(moment))
            except LookupError as damaged:
                lacking, controls = sentence(damaged), {}
            except Exception as failed:
                lacking, controls = f"{view.name} failed with {type(failed).__name__}: {sentence(failed)}", {}
            if lacking and lacking == moment.recording.no_params:
                without.append(view.title)
            elif lacking is not None:
                wanted.append((view, lacking, controls))
        said = f"<p>Absent without weights: {escaped('; '.join(without))}.</p>" if without else ""
        self.absent.update(text=said, visible=bool(said))
        asked = [(view.name, lacking, controls) for view, lacking, controls in wanted], dict(moment.shapes)
        if asked == self._made_for:
            if self.tabs.tabs:
                self._put(self.tabs)
            return
        self._made_for = asked
        family = self.family()
        self.shown = {
            view.name: Shown(view, lacking, controls, self.changed, self.sheet) for view, lacking, controls in wanted
        }
        families = list(dict.fromkeys(view.family for view, _, _ in wanted))
        tabs = []
        for name in families:
            own = [shown.model for shown in self.shown.values() if shown.view.family == name]
            tabs.append(TabPanel(title=plain(name), child=Column(children=own, sizing_mode="stretch_width")))
        self.tabs.tabs = tabs
        dressed(self.sheet, self.tabs)
        self.tabs.active = families.index(family) if family in families else 0
        if tabs:
            self._put(self.tabs)
        else:
            self.nothing.text = "<p>There is no view of such a run.</p>"
            self._put(self.nothing)

    def none(self, why: str) -> None:
        """Shows a sentence in place of the tabs: what they show is of another run."""
        self.say("")
        self.nothing.text = f"<p>{escaped(why)}</p>"
        self.absent.visible = False
        self._put(self.nothing)

    def _put(self, shown: UIElement) -> None:
        if self.model.children != [self.note, shown, self.absent]:
            self.model.children = [self.note, shown, self.absent]

    def say(self, sentence: str) -> None:
        """Says something above all views; "" takes it away."""
        put(self.note, sentence, "note")

    def family(self) -> str:
        """The family whose tab is visible."""
        families = list(dict.fromkeys(shown.view.family for shown in self.shown.values()))
        return families[self.tabs.active] if self.tabs.active is not None and self.tabs.active < len(families) else ""

    def visible(self) -> list[Shown]:
        """What is to be drawn."""
        return [one for one in self.shown.values() if self.changed is None or one.view.family == self.family()]


def put(note: Div, sentence: str, role: str) -> bool:
    """Puts a sentence into a note, "" hides it; whether it changed."""
    text = f'<span role="{role}">{escaped(sentence)}</span>' if sentence else ""
    changed = bool(note.text != text)
    if changed:
        note.update(text=text, visible=bool(text))
    return changed


def first(control: Control) -> Any:
    """The value of a control at first."""
    return 0 if isinstance(control, Again) else control.value


def as_widget(control: Control) -> UIElement:
    """The widget of a control."""
    label = escaped(control.label)
    if isinstance(control, Again):
        return Button(label=plain(control.label), align="end", width_policy="min")
    if isinstance(control, Choice):
        return Select(
            title=label,
            options=[(one, plain(one)) for one in control.options],
            value=control.value,
            width=min(70 + 8 * max([10, *map(len, control.options)]), 320),
        )
    if isinstance(control, Whole):
        ends = {"low": control.low, "high": control.high, "value": control.value}
        if 0 < control.high - control.low <= MOST_ON_SLIDER:
            return Slider(title=label, start=ends["low"], end=ends["high"], value=ends["value"], step=1, width=190)
        return Spinner(title=label, **ends, step=1, width=110)
    return TextInput(title=label, value=control.value, width=300)


def dressed(sheet: InlineStyleSheet, *models: Any) -> None:
    """Gives models, and all that they hold, the style sheet of the page, which Bokeh's shadow roots keep out."""
    for model in models:
        for one in model.references():
            if isinstance(one, UIElement) and sheet not in one.stylesheets:
                one.stylesheets = [*one.stylesheets, sheet]
