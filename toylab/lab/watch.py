"""How a person sees training and stops it: a live display on a terminal, plain lines elsewhere; Ctrl-C and SIGTERM; and
the log that stays."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn
from rich.progress import Progress as Display

from toylab.display import BAR_WIDTH, Line, Pace
from toylab.store import durable
from toylab.sweep import Interrupted, Progress
from toylab.sweep.progress import is_over, line_parts

LINE_SECONDS = 5.0  # between two plain lines
QUIET_SECONDS = 2.0  # after which a plain "compiling…" is printed: what is finished already is over by then
BARS = 8  # of groups that are over
Milestone = tuple[str, Callable[[dict[str, np.ndarray]], np.ndarray]]


class Watch:
    """Told of every segment. The first Ctrl-C or SIGTERM asks training to commit and stop; a second ends the process at
    once, and nothing committed is lost."""

    def __init__(self, milestone: Milestone, others: Sequence[Any] = ()) -> None:
        """
        Args:
            milestone: a word, and a function of measures [R, t] that says which runs have reached it.
            others: further reports to call after every segment, as Log and Events. Those with a `close` are closed at the
                end, with the error that there was, if any.
        """
        self.milestone, self.others = milestone, others
        self.asked = False
        self.line_at = 0.0
        self.begun: dict[str, tuple[int, int]] = {}  # by group: points and step it had at first; several may go at once
        self.paces: dict[str, Pace] = {}  # of those that have landed a segment here
        self.bars: dict[str, Any] = {}
        self.trained = False  # whether any step was taken

    def __enter__(self) -> "Watch":
        columns = (BarColumn(BAR_WIDTH), Line())
        self.display = Display(*columns) if sys.stdout.isatty() else None
        if self.display:
            self.display.start()
        self.handlers = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        self._compile()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        for other in self.others:
            if hasattr(other, "close"):
                other.close(error)
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.timer.cancel()
        if self.display:
            self.display.update(self.compiling, visible=False)
            self.display.stop()

    def _ask(self, number: int, frame: object) -> None:
        if self.asked:
            if self.display:
                self.display.console.show_cursor(True)
            os._exit(128 + number)
        self.asked = True
        print("stopping after the points in hand; once more ends at once", file=sys.stderr, flush=True)

    def interrupted(self) -> bool:
        return self.asked

    def __call__(self, progress: Progress) -> None:
        for other in self.others:
            other(progress)
        for message in progress.messages:
            print(message, flush=True)
        now = time.perf_counter()
        if progress.group not in self.begun:
            self.begun[progress.group] = len(progress.steps), progress.step
            self._make_room()
            self.bars[progress.group] = self.display and self.display.add_task(progress.group, total=progress.last)
        points, from_step = self.begun[progress.group]
        self.trained |= progress.step > from_step
        over, first = is_over(progress), progress.group not in self.paces
        if landed := len(progress.steps) > points or progress.step > from_step:
            self.paces.setdefault(progress.group, Pace(now - self.since)).add(now, progress.step)
        self._waits(over, landed)
        self._show(progress, over, landed, first, now)

    def _show(self, progress: Progress, over: bool, landed: bool, first: bool, now: float) -> None:
        line = self._line(progress, over)
        if self.display:
            self.display.update(
                self.bars[progress.group],
                completed=progress.last if over else progress.step,
                description=line,
                visible=landed or over,
            )
        elif landed and ((first and not self.line_at) or over or now - self.line_at > LINE_SECONDS):
            print(line, flush=True)
            self.line_at = now

    def _compile(self) -> None:
        """Notes that a group compiles: nothing happens until its first segment is done."""
        self.since = time.perf_counter()
        self.timer = threading.Timer(QUIET_SECONDS, print, ("compiling…",), {"flush": True})
        self.timer.daemon = True
        if self.display:
            self.compiling = self.display.add_task("compiling…", total=None, since=self.since)
        else:
            self.timer.start()

    def _waits(self, over: bool, landed: bool) -> None:
        """Whether the groups at hand still compile: none has landed a segment that is not over."""
        if landed:
            self.timer.cancel()
            if self.display:
                self.display.update(self.compiling, visible=False)
        if over and landed:  # the next group, if there is one
            self._compile()

    def _make_room(self) -> None:
        """A terminal cuts off what is below its last line: the bars that still move."""
        if self.display:
            for task in [task for task in self.display.tasks if task.finished and task.visible][:-BARS]:
                self.display.update(task.id, visible=False)

    def _line(self, progress: Progress, over: bool) -> str:
        """The milestone first, and then what a narrow terminal may cut off."""
        word, reached = self.milestone
        milestone = (
            [f"{word} {int(np.sum(reached(progress.measures)))}/{len(progress.ended)}"] if progress.measures else []
        )
        return " · ".join([*milestone, *line_parts(progress, self.paces.get(progress.group), over)])


class Log:
    """A line an event, `key=value` with quotes where a value has spaces, appended: `grep event=diverged log.txt`.

    A page of several parts has the part in each line; groups of two parts may have one name. Events: begin, resume,
    commit, ended and diverged (a run), damaged, note, stopped, failed, finished."""

    def __init__(self, path: Path, part: str = "") -> None:
        self.path, self.lines = path, list[str]()
        self.of = {"part": part} if part else {}
        self.seen: dict[str, Progress] = {}  # the last report of each group that is not over and done with

    def __call__(self, progress: Progress) -> None:
        before = self.seen.get(progress.group)
        if before is None:
            self._close(error=None, over=True)  # groups before this one
            if not is_over(progress):
                fresh = progress.committed is None
                self._write(progress, "begin" if fresh else "resume", runs=len(progress.ended), last=progress.last)
        elif progress.committed != before.committed:
            self._write(progress, "commit", step=progress.committed, ended=int(progress.ended.sum()))
        for message in progress.messages:
            self._write(progress, "damaged" if " is damaged" in message else "note", message=message)
        if before is not None:
            for run in np.flatnonzero(progress.ended & ~before.ended):
                gone = progress.diverged[run] if progress.diverged else None
                event, step = ("ended", last_step(progress, int(run))) if gone is None else ("diverged", gone)
                self._write(progress, event, step=step, run=progress.runs[run])
        if before is not None or not is_over(progress):
            self.seen[progress.group] = progress
        self._to_disk()

    def close(self, error: BaseException | None = None) -> None:
        """Training is over, or `error` has ended it."""
        self._close(error, over=False)
        self._to_disk()

    def _close(self, error: BaseException | None, over: bool) -> None:
        """Of all groups, or those that are over: several may go at once."""
        for progress in [progress for progress in self.seen.values() if is_over(progress) or not over]:
            if error is None or (is_over(progress) and progress.committed == progress.step):
                self._write(progress, "finished" if is_over(progress) else "failed")  # a failed group lets others go on
            elif isinstance(error, Interrupted | KeyboardInterrupt | SystemExit):
                self._write(progress, "stopped")
            else:
                self._write(progress, "failed", error=str(error))
            del self.seen[progress.group]

    def _write(self, progress: Progress, event: str, **values: object) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        pairs = {"time": now, **self.of, "group": progress.group, "event": event, "step": progress.step, **values}
        self.lines.append(" ".join(f"{key}={_quoted(str(value))}" for key, value in pairs.items()) + "\n")

    def _to_disk(self) -> None:
        if self.lines:
            with contextlib.suppress(OSError):  # a full disk is the store's to tell
                durable.append(self.path, "".join(self.lines))
            self.lines = []


def _quoted(value: str) -> str:
    return value if value and not set(value) & set(' "\n') else json.dumps(value, ensure_ascii=False)


def last_step(progress: Progress, run: int) -> int:
    """The step of a run's last point: after it all is nan."""
    known = np.any([np.isfinite(rows[run]) for rows in progress.measures.values() if rows.ndim == 2], axis=0)
    return progress.steps[int(np.flatnonzero(known)[-1])] if known.any() else progress.step
