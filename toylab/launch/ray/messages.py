"""Messages between the driver and its workers: small files in the sweep's folder, which all of them can read.

While the driver runs, the folder `cluster/` there holds

control       from the driver to all workers: the driver's token, or "stop" · read by `is_current` and `StopSignal`
start.npz     from the driver to all workers: the params to start from, if any
GROUP.jsonl   from a worker to the driver: progress, one JSON object a line · `ProgressWriter` → `ProgressReader`

A worker stops when the control file does not hold the token of the driver that started it.
"""

import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from toylab import store, sweep
from toylab.base import Config

FOLDER, CONTROL, START, STOP = "cluster", "control", "start.npz", "stop"
OWNER, LOCK = "owner.json", "lock"  # of store.locked
WRITE_SECONDS, CHECK_SECONDS = 2.0, 0.5  # at least, between two lines of progress; between two readings of control
FIELDS = {  # of a progress line
    "attempt": str,
    "first": bool,
    "step": int,
    "last": int,
    "committed": int | None,
    "measures": dict,
    **dict.fromkeys(("ended", "messages", "runs", "steps", "diverged"), list),
}


@contextlib.contextmanager
def message_folder(folder: Path, spec: sweep.Spec, groups: Iterable[str]) -> Iterator[str]:
    """Makes the folder for messages, and removes it when the driver is done.

    Args:
        folder: of the sweep.
        spec: its `start` is written there for the workers.
        groups: names of the groups that are trained.

    Yields:
        The driver's token.

    Raises:
        Refused: where the folder is a link or a file. Nothing behind a link is touched.
    """
    place, token = folder / FOLDER, secrets.token_hex(8)
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        what = "a link" if place.is_symlink() else "a file"
        raise store.Refused(f"{place} is {what}: remove it, a driver and its workers need a folder of their own there.")
    place.mkdir(exist_ok=True)
    ours = [CONTROL, START, *(f"{name}.jsonl" for name in groups)]
    with store.locked(place) as mine:
        try:
            _remove(place, ours)  # what a killed driver has left
            if spec.start is not None and not isinstance(spec.start, sweep.Starts):
                store.write_arrays(place / START, {name: np.asarray(x) for name, x in spec.start.items()})
            with (place / CONTROL).open("x", encoding="utf-8") as file:
                file.write(token)
            yield token
        finally:
            with contextlib.suppress(store.StoreError, OSError):  # Lost: the folder belongs to another driver by now
                mine()
                _remove(place, [*ours, OWNER, LOCK])
                place.rmdir()


def _remove(place: Path, names: Iterable[str]) -> None:
    """Removes files by name. Of a link only the link is removed; folders stay."""
    for name in names:
        with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            (place / name).unlink()


def request_stop(folder: Path, token: str) -> None:
    """Asks all workers of the driver with this token to commit the points in hand and to stop."""
    with contextlib.suppress(OSError):  # workers stop as well where there is no control file
        if is_current(folder, token):
            (folder / FOLDER / CONTROL).write_text(STOP, "utf-8")


def is_current(folder: Path, token: str) -> bool:
    """Whether the driver with this token still wants its groups trained.

    The file is opened anew each time, so that a network file system asks its server.

    Raises:
        OSError: where the folder cannot be seen from this machine.
    """
    try:
        return (folder / FOLDER / CONTROL).read_text("utf-8") == token
    except FileNotFoundError:
        raise OSError(f"{folder} is not to be seen on {os.uname().nodename}") from None


class StopSignal:
    """Tells a worker whether to stop. The control file is read twice a second at most."""

    def __init__(self, folder: Path, token: str) -> None:
        self.folder, self.token, self.at, self.stop = folder, token, -CHECK_SECONDS, False

    def is_set(self) -> bool:
        if time.monotonic() - self.at > CHECK_SECONDS:
            try:
                self.stop = self.stop or not is_current(self.folder, self.token)
            except OSError:
                self.stop = True  # the driver is gone
            self.at = time.monotonic()
        return self.stop


class ProgressWriter:
    """A worker's `report`: every few seconds it appends a line with the new points and messages to the group's file.

    The first line of an attempt has all points from the start of training.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.attempt, self.messages = path, secrets.token_hex(4), list[str]()
        self.n_points, self.at = -1, -WRITE_SECONDS

    def __call__(self, progress: sweep.Progress) -> None:
        self.messages += progress.messages
        over = progress.step == progress.last or bool(progress.ended.all())
        if time.monotonic() - self.at < WRITE_SECONDS and not over:
            return
        first, self.at = self.n_points < 0, time.monotonic()
        new = max(self.n_points, 0)
        line = {
            "attempt": self.attempt,
            "first": first,
            "step": progress.step,
            "last": progress.last,
            "measures": {name: rows[:, new:].tolist() for name, rows in progress.measures.items()},
            "ended": progress.ended.tolist(),
            "messages": self.messages,
            "runs": progress.runs,
            "steps": progress.steps[new:],
            "committed": progress.committed,
            "diverged": progress.diverged,
        }
        self.n_points, self.messages = len(progress.steps), []
        with (
            contextlib.suppress(OSError),
            self.path.open("a", encoding="utf-8") as file,
        ):  # the driver may be gone; a full disk shows soon
            file.write(
                ("\n" if first else "") + json.dumps(line) + "\n"
            )  # a killed worker may have left a line without its end


class ProgressReader:
    """The driver's view of one group: reads the lines of its workers and passes them on to `report`."""

    def __init__(
        self,
        folder: Path,
        name: str,
        configs: Sequence[Config],
        spec: sweep.Spec,
        report: Callable[[sweep.Progress], None],
    ) -> None:
        self.path, self.report, self.read, self.attempt = folder / FOLDER / f"{name}.jsonl", report, 0, ""
        self.latest = sweep.Progress(name, 0, int(spec.saves[-1]), {}, np.zeros(len(configs), bool))

    def report_new(self) -> None:
        """Reports every line that was written since the last call."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.read)
                lines = file.read()
        except FileNotFoundError:
            return
        whole = lines.rfind(b"\n") + 1
        self.read += whole
        for line in lines[:whole].splitlines():
            if (news := _parsed(line, self.latest)) and (news["first"] or news["attempt"] == self.attempt):
                self._add(news)  # lines of an older attempt are from a worker that was taken for dead

    def _add(self, news: dict[str, Any]) -> None:
        before = {} if news["first"] else self.latest.measures
        self.attempt, new = news["attempt"], news["measures"]
        self.latest = sweep.Progress(
            group=self.latest.group,
            step=news["step"],
            last=news["last"],
            measures={name: np.concatenate([before[name], rows], 1) if before else rows for name, rows in new.items()},
            ended=np.array(news["ended"], bool),
            runs=tuple(news["runs"]),
            steps=(*(self.latest.steps if before else ()), *news["steps"]),
            committed=news["committed"],
            diverged=tuple(news["diverged"]),
        )
        self.report(replace(self.latest, messages=tuple(news["messages"])))

    def report_message(self, message: str) -> None:
        """Reports a message of the driver itself."""
        self.report(replace(self.latest, messages=(message,)))


def _parsed(line: bytes, latest: sweep.Progress) -> dict[str, Any] | None:
    """A line of progress, its measures as arrays; None where it is none, as after a worker was killed in the middle."""
    try:
        news = json.loads(line)
        if not isinstance(news, dict) or not all(isinstance(news[name], kind) for name, kind in FIELDS.items()):
            return None
        shape = len(latest.ended), len(news["steps"])
        measures = {name: np.array(rows) for name, rows in news["measures"].items()}
    except (ValueError, KeyError, RecursionError):
        return None
    fit = all(rows.shape[:2] == shape and rows.dtype.kind in "biuf" for rows in measures.values())
    goes_on = news["first"] or not latest.measures or set(measures) == set(latest.measures)
    is_whole = fit and goes_on and len(news["ended"]) == shape[0] and len(news["diverged"]) in (0, shape[0])
    return {**news, "measures": measures} if is_whole else None
