"""How a person sees training and stops it: a live display on a terminal, plain lines elsewhere; Ctrl-C and SIGTERM."""

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Display

from toylab.sweep import Progress

LINE_SECONDS = 5.0  # between two plain lines
Milestone = tuple[str, Callable[[dict[str, np.ndarray]], np.ndarray]]


class Watch:
    """Told of every beat. The first Ctrl-C or SIGTERM asks training to commit and stop; a second ends the process at
    once, and nothing committed is lost."""

    def __init__(self, milestone: Milestone) -> None:
        """`milestone`: a word, and of measures [R, t] whether each run has got there."""
        self.milestone = milestone
        self.asked = False
        self.line_at = 0.0
        self.group, self.since, self.from_step = "", 0.0, 0
        self.trained = False  # whether any step was taken

    def __enter__(self) -> "Watch":
        columns = (BarColumn(30), TextColumn("{task.description}"))
        self.display = Display(*columns) if sys.stdout.isatty() else None
        if self.display:
            self.display.start()
        self.handlers = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        if self.display:
            self.display.stop()

    def _ask(self, number: int, frame: object) -> None:
        if self.asked:
            os._exit(128 + number)
        self.asked = True
        print("stopping after the points in hand; once more ends at once", file=sys.stderr, flush=True)

    def interrupted(self) -> bool:
        return self.asked

    def __call__(self, progress: Progress) -> None:
        for message in progress.messages:
            print(message, flush=True)
        now = time.perf_counter()
        if progress.group != self.group:
            self.group, self.since, self.from_step = progress.group, now, progress.step
            self.bar: Any = self.display and self.display.add_task(progress.group, total=progress.last)
        self.trained |= progress.step > self.from_step
        line = self._line(progress, now)
        over = progress.step == progress.last or bool(progress.ended.all())
        if self.display:
            self.display.update(self.bar, completed=progress.last if over else progress.step, description=line)
        elif progress.step > self.from_step and (now - self.line_at > LINE_SECONDS or over):
            print(line, flush=True)
            self.line_at = now

    def _line(self, progress: Progress, now: float) -> str:
        parts = [f"step {progress.step:,}/{progress.last:,}"]
        trained, taken = progress.step - self.from_step, now - self.since
        if trained and taken:
            left = round((progress.last - progress.step) * taken / trained)
            parts += [f"{trained / taken:.3g} steps/s", f"at most {left // 60}:{left % 60:02d} left"]
        parts += [f"{name.replace('_', ' ')} {value:.3g}" for name, value in latest(progress.measures).items()]
        word, reached = self.milestone
        n_runs = len(progress.ended)
        if progress.measures:
            parts.append(f"{word} {int(np.sum(reached(progress.measures)))}/{n_runs}")
        return " · ".join([*parts, f"ended {int(progress.ended.sum())}/{n_runs}"])


def latest(measures: dict[str, np.ndarray]) -> dict[str, float]:
    """The median over runs of each measure's last known value."""
    found = {}
    for name, rows in sorted(measures.items(), reverse=True):
        last = [row[np.isfinite(row)][-1] for row in rows if np.isfinite(row).any()]
        if last:
            found[name] = float(np.median(last))
    return found
