"""The whole page: its parts linked by the chosen runs and the step."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.models import InlineStyleSheet, Slider, UIElement

from toylab.explore.declaring import View
from toylab.explore.moment import Moment
from toylab.explore.page.head import Head
from toylab.explore.page.linking import asset, linked, template
from toylab.explore.page.moments import Moments
from toylab.explore.page.panels.analyses import Analyses
from toylab.explore.page.panels.claims import Claims
from toylab.explore.page.panels.curves import Curves
from toylab.explore.page.panels.runs import Runs
from toylab.explore.page.panels.sweep import Sweep
from toylab.explore.page.panels.views import Views, dressed
from toylab.explore.page.turns import Turns
from toylab.explore.plots.drawing import Data, Panel
from toylab.explore.plots.limits import Limits
from toylab.explore.recording import Recording

OFTEN = 500  # milliseconds between looks at how far an analyzer is
MOST_WITH_PHASES = 64  # runs whose phases are all sent; of more those of the run looked at


class Page:
    """The page of a recording, for one session of a browser or for one exported file.

    title      of the page
    roots      named roots of template.html: head, runs, curves, sweep, views, claims
    slider     the number of the saved point; its title names the step
    run_select the number of the run looked at, as a text
    panels     of the views that the run looked at can be shown in, by view name: made when first visible if live, else all
    recording, run, at    what is looked at

    Args:
        parts: the recordings by the names of the parts, in their order; "" for the only one.
        views: in the order of their tabs.
        live: whether Python stands behind the page: then the slider, the runs and the controls redraw the views.
        figures: the address of a figure by its number among those of all parts; "" where none can be opened. None:
            `figure/{number}` if live, else "".
    """

    def __init__(
        self, parts: Mapping[str, Recording], views: Sequence[View], *, live: bool, figures: str | None = None
    ) -> None:
        if not parts:
            raise ValueError("parts has 0 recordings: it must have at least one.")
        self.parts, self.live = dict(parts), live
        self.recording = next(iter(self.parts.values()))
        self.run = self.at = 0
        self._document: Document | None = None
        self._quiet = self._begun = False
        self._end = self._step = 0
        self._turns = Turns(self._draw)
        self._moments = Moments(self.recording)
        self._limits = Limits()
        self._head, self._runs, self._sweep, self._claims = Head(list(self.parts), live), Runs(), Sweep(), Claims()
        self._address = ("figure/{number}" if live else "") if figures is None else figures
        self._curves = Curves(self._runs.kept)
        self._analyses = Analyses(lambda: (self._runs.source.selected.indices or None, self.at))
        self._curves.model.children = [*self._curves.model.children, self._analyses.model]
        self.slider: Slider = self._head.slider
        self.run_select = self._head.run
        sheet = InlineStyleSheet(css=asset("widgets.css"))
        self._views = Views(views, self._control_changed if live else None, sheet)
        panels: dict[str, Any] = {"head": self._head, "runs": self._runs, "curves": self._curves, "sweep": self._sweep}
        panels |= {"views": self._views, "claims": self._claims}
        self.roots: dict[str, UIElement] = {name: panel.model for name, panel in panels.items()}
        for name, root in self.roots.items():
            root.name = name
        self._start = linked(self._head, self._runs, self._curves, self._sweep)
        self._fill()
        dressed(sheet, *self.roots.values())
        if live:
            self.slider.on_change("value", lambda attribute, old, new: self._go(round(new)))
            self.run_select.on_change("value", lambda attribute, old, new: self._look(int(new or 0)))
            self._head.part.on_change("value", lambda attribute, old, new: self._open(new))
            self._views.tabs.on_change("active", lambda attribute, old, new: self._later(None))
            self._views.tabs.on_change("tags", lambda attribute, old, new: self._turns.seen(new))

    @property
    def title(self) -> str:
        return self.recording.title

    @property
    def panels(self) -> dict[str, Panel]:
        return {name: shown.panel for name, shown in self._views.shown.items() if shown.panel is not None}

    def add_to(self, document: Document) -> None:
        """Puts the page into a document: roots, template, title, and what links its panels in the browser."""
        self._document = document
        document.title, document.template = self.title, template()
        for root in self.roots.values():
            document.add_root(root)
        document.js_on_event("document_ready", self._start)
        if self.live and document.session_context is not None:
            # what is in the measures is seen at once; weights are read, and programs compiled, when the page stands
            document.on_event("document_ready", lambda event: self._begin())
            document.add_periodic_callback(self._analyses.follow, OFTEN)
        elif self.live:
            self._begin()

    def moment(self, at: int | None = None) -> Moment:
        """The run looked at, at a saved point; None: the one shown. Where the run has none there, its last one before."""
        return self._moments.at(self.run, self.at if at is None else at)

    def show(self, at: int) -> None:
        """Sets the point, and draws what is visible.

        Raises:
            ValueError: for a number that is of no saved point.
        """
        if not 0 <= at < max(len(self.recording.steps), 1):
            raise ValueError(f"at is {at}: the saved points are 0 to {len(self.recording.steps) - 1}.")
        self._set_at(at)
        self._quiet, self.slider.value = True, at
        self._quiet = False
        self._later(None)

    def data(self, view: str, at: int) -> list[Data]:
        """What the sources of a view's panel hold at a saved point of the run looked at, with the colour limits that are
        fixed over steps: a frame of an exported file.

        Raises:
            KeyError: for a view that this run is not shown in.
            ValueError, LookupError: as the view does.
        """
        shown = self._views.shown[view]
        return Panel.data_of(self._limits.drawn(shown.view, self.moment(at), shown.values))

    def look(self, run: int) -> None:
        """Looks at another run, and draws it."""
        self._quiet, self.run_select.value = True, str(run)
        self._quiet = False
        self._set_run(run)
        self._later(None)

    def refresh(self) -> None:
        """Shows what Recording.refresh() found: longer curves, a longer slider, messages. The selection stays; where the
        slider stood at the run's last point it follows that."""
        # points may have come between those that there were: the step stays, not its number
        at_end = self.at >= self._end
        self.at = int(np.searchsorted(self.recording.steps, self._step))
        self._moments.forget()
        self._limits.forget()
        self._fill(follow=at_end)

    def say(self, message: str) -> None:
        """Says a sentence in the head, such as that training goes on; "" takes it away."""
        self._head.say(message)

    def _fill(self, follow: bool = True) -> None:
        recording = self.recording
        last = max(len(recording.steps) - 1, 0)
        self.run = min(self.run, max(len(recording.runs) - 1, 0))
        own = np.flatnonzero(recording.valid[self.run]) if len(recording.runs) else np.arange(0)
        self._end = int(own[-1]) if len(own) else last
        self.at = self._end if follow else min(self.at, last)
        self._runs.fill(recording)
        said = self._curves.fill(recording, self._phases())
        self._sweep.fill(recording)
        self._claims.fill(recording.claims, self._figures())
        self.roots["claims"].visible = bool(recording.claims)
        self._quiet = True
        self._head.fill(recording, self.at, self.run, [said] if said else [])
        self._quiet = False
        self._set_at(self.at)
        self._curves.done()
        if self._begun or not self.live:
            self._begin()

    def _begin(self) -> None:
        """Makes the views, and draws them."""
        self._begun = True
        if self.live:
            self._analyses.fill(self.recording)
        self._fit()
        self._later(None)

    def _figures(self) -> dict[str, str]:
        """The addresses of the figures, by name."""
        if not self._address:
            return {}
        before = sum(len(one.figures) for one in takewhile(lambda one: one is not self.recording, self.parts.values()))
        return {name: self._address.format(number=number) for number, name in enumerate(self.recording.figures, before)}

    def _phases(self) -> dict[int, list[tuple[str, float, float]]]:
        n = len(self.recording.runs)
        asked = range(n) if n <= MOST_WITH_PHASES else [self.run]
        return {run: list(self.recording.phases(run)) for run in asked}

    def _fit(self) -> None:
        why = self._moments.lacking(self.run)
        self._views.none(why) if why else self._views.fit(self.moment(len(self.recording.steps) - 1))

    def _open(self, part: str) -> None:
        if self._quiet or self.parts[part] is self.recording:
            return
        self.recording, self.run = self.parts[part], 0
        self._moments = Moments(self.recording)
        self._limits.forget()
        self._runs.source.selected.indices = []
        self._fill()

    def _look(self, run: int) -> None:
        if not self._quiet and run != self.run:
            self._set_run(run)
            self._later(None)

    def _set_run(self, run: int) -> None:
        self.run = run
        if len(self.recording.runs) > MOST_WITH_PHASES:
            self._curves.fill_phases(self._phases())
        if self._begun:
            self._fit()

    def _set_at(self, at: int) -> None:
        self.at = at
        self._step = int(self.recording.steps[at]) if len(self.recording.steps) else 0

    def _go(self, at: int) -> None:
        if not self._quiet and at != self.at:
            self._set_at(at)
            self._later(None)

    def _control_changed(self, view: str) -> None:
        self._later({view})

    def _later(self, views: set[str] | None) -> None:
        """Draws these views, None: all of the visible tab, those on the screen first."""
        asked = [shown.view.name for shown in self._views.visible() if views is None or shown.view.name in views]
        first = [name for name in asked if name in self._views.tabs.tags] or asked
        self._turns.ask(first, self._document, [name for name in asked if name not in first])

    def _draw(self, name: str) -> None:
        """Draws a view at what is now looked at."""
        visible = {shown.view.name: shown for shown in self._views.visible()}
        if name not in visible or self._moments.lacking(self.run):
            return
        moment = self.moment()
        step = int(self.recording.steps[self.at])
        there = f"{moment.name} has no point at step {step:,}: the views are of step {moment.step:,}."
        self._views.say("" if moment.at == self.at else there)
        visible[name].show(moment, self._limits.drawn)
