"""What a view is, and the controls that it may have. A view of your own is one file:

    from toylab.explore import Bars, Moment, view

    @view("lengths", family="mine", title="Lengths of the rows of W_E", needs=("W_E",))
    def lengths(moment: Moment) -> Bars:
        return Bars(np.linalg.norm(moment.params["W_E"], axis=1), "Lengths of the rows of W_E", x="number")

and `toylab explore FOLDER --view mine.py` shows it (an installed module: `--view package.module`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toylab.explore.moment import Moment
from toylab.explore.pictures import Picture


@dataclass(frozen=True)
class Choice:
    """A control: one of some values."""

    label: str
    """What is chosen."""
    options: Sequence[str]
    """The values, as they are shown."""
    value: str
    """The one at first."""


@dataclass(frozen=True)
class Whole:
    """A control: a whole number in a range, both ends included."""

    label: str
    """What the number is."""
    low: int
    """The least."""
    high: int
    """The greatest."""
    value: int
    """The one at first."""


@dataclass(frozen=True)
class Typed:
    """A control: a line of text, such as a sequence of tokens. The view raises ValueError for what it cannot read."""

    label: str
    """What is typed."""
    value: str
    """The text at first."""


@dataclass(frozen=True)
class Again:
    """A control: a button, such as for another random sequence. Its value is how often it was pressed."""

    label: str
    """What the button does."""


Control = Choice | Whole | Typed | Again
Controls = Mapping[str, Control]


@dataclass(frozen=True)
class View:
    """A way to look at a run at a saved point."""

    name: str
    """By which it is called, as in `--views`: words joined by hyphens."""
    family: str
    """The tab that it stands in."""
    title: str
    """Its heading."""
    draw: Callable[..., Picture | Sequence[Picture]]
    """A moment, and the values of the controls by name → pictures: as many, of the same kinds, at every step. Raises
    ValueError, in a sentence, where a control's value cannot be used."""
    lacks: Callable[[Moment], str | None]
    """Why this run cannot be shown so, in a sentence; "" where it can; None where nobody would expect it, as the circles of
    a ReLU model. It reads no weights."""
    controls: Callable[[Moment], Controls] = field(default=lambda moment: {})
    """The controls for a run, given its last point."""

    def pictures(self, moment: Moment, **values: Any) -> list[Picture]:
        """What it draws, as a list."""
        found = self.draw(moment, **values)
        return [found] if isinstance(found, Picture) else list(found)


def view(
    name: str,
    *,
    family: str,
    title: str,
    needs: Sequence[str] = (),
    measures: Sequence[str] = (),
    fits: Callable[[Moment], str | None] | None = None,
    controls: Callable[[Moment], Controls] | None = None,
) -> Callable[[Callable[..., Picture | Sequence[Picture]]], View]:
    """Makes a View of a function.

    Args:
        name, family, title: as of View.
        needs: the params that it reads.
        measures: the measures that it reads.
        fits: asked first: None where nobody would expect the view of such a run, else as `lacks` of View.
        controls: as of View.
    """

    def lacks(moment: Moment) -> str | None:
        if (why := fits(moment) if fits else "") != "":
            return why
        if absent := [one for one in needs if one not in moment.shapes]:
            return moment.recording.no_params or f"{', '.join(absent)} is not recorded."
        absent = [one for one in measures if not moment.has(one)]
        return f"{', '.join(absent)} is not measured." if absent else ""

    def made(draw: Callable[..., Picture | Sequence[Picture]]) -> View:
        return View(name, family, title, draw, lacks, controls or (lambda moment: {}))

    return made
