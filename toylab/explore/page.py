"""The whole page: its parts linked by the chosen runs and the step."""

from collections.abc import Mapping, Sequence

from bokeh.models import Slider, UIElement

from toylab.explore.declaring import View
from toylab.explore.drawing import Data, Panel
from toylab.explore.moment import Moment
from toylab.explore.recording import Recording


class Page:
    """The page of a recording, for one session of a browser or for one exported file.

    title      of the page
    roots      named roots of template.html: head, runs, curves, sweep, views, claims
    slider     the number of the saved point; its title names the step
    panels     of the views that the run looked at can be shown in, by view name: made when first visible if live, all if not
    recording, run, at    what is looked at
    """

    title: str
    roots: dict[str, UIElement]
    slider: Slider
    panels: dict[str, Panel]
    recording: Recording
    run: int
    at: int

    def __init__(self, parts: Mapping[str, Recording], views: Sequence[View], *, live: bool) -> None:
        raise NotImplementedError

    def moment(self, at: int | None = None) -> Moment:
        """The run looked at, at a saved point; None: the one shown."""
        raise NotImplementedError

    def show(self, at: int) -> None:
        """Sets the point, and draws what is visible."""
        raise NotImplementedError

    def data(self, view: str, at: int) -> list[Data]:
        """What the sources of a view's panel hold at a saved point of the run looked at, with the colour limits that are
        fixed over steps: a frame of an exported file."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Shows what Recording.refresh() found: longer curves, a longer slider, messages. The selection stays; where the
        slider stood at its end it follows the end."""
        raise NotImplementedError

    def say(self, message: str) -> None:
        """Says a sentence in the head, such as that training goes on; "" takes it away."""
        raise NotImplementedError
