"""Progress on a terminal or in Jupyter: bars of rich with lines of text, and how fast something goes."""

import contextlib
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.text import Text

BAR_WIDTH = 12  # so that 80 columns show the milestone, the step and the time left


def is_watched() -> bool:
    """Whether bars can be seen: on a terminal, or in Jupyter, where rich draws them with ipywidgets."""
    return find_spec("ipywidgets") is not None if Console().is_jupyter else sys.stdout.isatty()


class Line(ProgressColumn):
    """A task's line as plain text; of one that compiles with the time that it has taken."""

    max_refresh = None

    def render(self, task: Task) -> Text:
        since = task.fields.get("since")
        passed = f" {clock(time.perf_counter() - since)}" if since is not None else ""
        return Text(task.description + passed, no_wrap=True, overflow="ellipsis")


class Bars:
    """A bar for each name. They appear with the first update, and stay when all is done."""

    def __init__(self, rich: Progress) -> None:
        self.rich, self.tasks = rich, dict[str, Any]()

    def update(self, name: str, done: int, total: int, line: str) -> None:
        if name not in self.tasks:
            self.tasks[name] = self.rich.add_task(line, total=total)
        self.rich.update(self.tasks[name], completed=done, description=line)

    def say(self, message: str) -> None:
        """Prints a line above the bars."""
        self.rich.console.print(message, markup=False, highlight=False)


@contextlib.contextmanager
def bars() -> Iterator[Bars]:
    with Progress(BarColumn(BAR_WIDTH), Line()) as rich:
        try:
            yield Bars(rich)
        finally:
            if rich.console.is_jupyter:
                rich.refresh()  # there rich itself leaves out the last state


class Pace:
    """How fast a group trains. The first segment is no part of it: it waits for the compile."""

    def __init__(self, compiled: float) -> None:
        self.compiled = compiled  # s until the first segment, which it has in it
        self.landed: list[tuple[float, int]] = []  # when a segment was over, and at which step

    def add(self, now: float, step: int) -> None:
        self.landed.append((now, step))

    def rate(self) -> float | None:
        """Steps a second over the later half of what was trained: the first points lie dense, and cost more a step."""
        now, step = self.landed[-1]
        middle = (self.landed[0][1] + step) / 2
        since, from_step = next((at, s) for at, s in reversed(self.landed) if s <= middle)
        return (step - from_step) / (now - since) if step > from_step and now > since else None


def clock(seconds: float) -> str:
    """0:05, 12:30, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
