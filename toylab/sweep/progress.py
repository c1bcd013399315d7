"""How training is shown to whoever calls `run` from Python: bars on a terminal and in Jupyter, nothing elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from toylab.sweep.group import Progress

if TYPE_CHECKING:
    from toylab.display import Bars, Pace

Report = Callable[[Progress], None]
Wanted = Report | Literal["auto"] | None


@contextlib.contextmanager
def reporting(report: Wanted) -> Iterator[Report]:
    """The report to call: a function as given; none for None; bars for "auto", where somebody can see them."""
    if callable(report):
        yield report
        return
    if report not in (None, "auto"):
        raise ValueError(f"report is {report!r}: it must be a function of the progress, None, or left out.")
    if report == "auto":
        from toylab import display

        if display.is_watched():
            with display.bars() as bars:
                yield Shown(bars)
            return
    yield lambda progress: None


class Shown:
    """A report: a bar for each group with its step, the time left and the newest measures."""

    def __init__(self, bars: "Bars") -> None:
        self.bars, self.since = bars, time.perf_counter()
        self.paces: dict[str, Pace] = {}

    def __call__(self, progress: Progress) -> None:
        from toylab.display import Pace

        for message in progress.messages:
            self.bars.say(message)
        now, over = time.perf_counter(), is_over(progress)
        pace = self.paces.setdefault(progress.group, Pace(now - self.since))
        pace.add(now, progress.step)
        parts = line_parts(progress, pace if len(pace.landed) > 1 else None, over)
        line = " · ".join([progress.group, *parts])
        self.bars.update(progress.group, progress.last if over else progress.step, progress.last, line)


def line_parts(progress: Progress, pace: "Pace | None", over: bool) -> list[str]:
    """What a line says of a group: step, time left, pace, the newest measures, and how many runs have ended."""
    from toylab.display import clock

    parts = [f"step {progress.step:,}/{progress.last:,}"]
    if pace and len(pace.landed) == 1:
        parts.append(f"compiled in {pace.compiled:.0f} s")
    if pace and (rate := pace.rate()):
        left = [] if over else [f"at most {clock((progress.last - progress.step) / rate)} left"]
        parts += [*left, f"{rate:.3g} steps/s"]
    parts += [f"{name.replace('_', ' ')} {value:.3g}" for name, value in latest(progress.measures).items()]
    return [*parts, f"ended {int(progress.ended.sum())}/{len(progress.ended)}"]


def is_over(progress: Progress) -> bool:
    """Whether a group has no more to train."""
    return progress.step == progress.last or bool(progress.ended.all())


def latest(measures: dict[str, np.ndarray]) -> dict[str, float]:
    """The median over runs of each measure's last known value."""
    found = {}
    for name, rows in sorted(measures.items(), reverse=True):
        last = [row[np.isfinite(row)][-1] for row in rows if np.isfinite(row).any()]
        if last:
            found[name] = float(np.median(last))
    return found
