"""How driver and workers speak: through small files in the sweep's folder, which all of them see.

While the driver lives, `cluster/` there holds its orders, the params to start from, and what each worker last said of its
group. Orders that do not carry the driver's token say stop.
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

ROOM, ORDERS, START, STOP = "cluster", "orders", "start.npz", "stop"
OWNER, LOCK = "owner.json", "lock"  # of store.locked
SAY_SECONDS, ASK_SECONDS = 2.0, 0.5
SAID = {
    "attempt": str,
    "first": bool,
    "step": int,
    "last": int,
    "committed": int | None,
    "measures": dict,
    **dict.fromkeys(("ended", "messages", "runs", "steps", "diverged"), list),
}


@contextlib.contextmanager
def opened(folder: Path, spec: sweep.Spec, groups: Iterable[str]) -> Iterator[str]:
    """The folder through which driver and workers of these groups speak, while the driver lives; the token of its orders.
    Refused where it is a link: what lies behind that is not the driver's."""
    place, token = folder / ROOM, secrets.token_hex(8)
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        what = "a link" if place.is_symlink() else "a file"
        raise store.Refused(f"{place} is {what}: remove it, a driver and its workers need a folder of their own there.")
    place.mkdir(exist_ok=True)
    ours = [ORDERS, START, *(f"{name}.jsonl" for name in groups)]
    with store.locked(place) as mine:
        try:
            _remove(place, ours)  # what a driver that was killed has left
            if spec.start is not None:
                store.write_arrays(place / START, {name: np.asarray(x) for name, x in spec.start.items()})
            with (place / ORDERS).open("x", encoding="utf-8") as file:
                file.write(token)
            yield token
        finally:
            with contextlib.suppress(store.StoreError, OSError):  # Lost: they are another driver's by now
                mine()
                _remove(place, [*ours, OWNER, LOCK])
                place.rmdir()


def _remove(place: Path, names: Iterable[str]) -> None:
    """Files by name: of a link the link alone, and no folder."""
    for name in names:
        with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            (place / name).unlink()


def stop(folder: Path, token: str) -> None:
    """Tells every worker to commit what it has in hand and to stop, if they are this driver's."""
    with contextlib.suppress(OSError):  # no orders say stop as well
        if has_orders(folder, token):
            (folder / ROOM / ORDERS).write_text(STOP, "utf-8")


def has_orders(folder: Path, token: str) -> bool:
    """Whether the driver with this token wants its groups trained. Opened anew each time: a network file system then asks
    the server."""
    try:
        return (folder / ROOM / ORDERS).read_text("utf-8") == token
    except FileNotFoundError:
        raise OSError(f"{folder} is not to be seen on {os.uname().nodename}") from None


class Asked:
    """Whether training shall stop, looked up twice a second at most."""

    def __init__(self, folder: Path, token: str) -> None:
        self.folder, self.token, self.at, self.stop = folder, token, -ASK_SECONDS, False

    def to_stop(self) -> bool:
        if time.monotonic() - self.at > ASK_SECONDS:
            try:
                self.stop = self.stop or not has_orders(self.folder, self.token)
            except OSError:
                self.stop = True  # the driver is gone
            self.at = time.monotonic()
        return self.stop


class Said:
    """A report that appends to the group's file what is new every few seconds: points, messages, how far the disk has it.
    The first line of an attempt has everything from the start."""

    def __init__(self, path: Path) -> None:
        self.path, self.attempt, self.messages = path, secrets.token_hex(4), list[str]()
        self.n_points, self.at = -1, -SAY_SECONDS

    def __call__(self, progress: sweep.Progress) -> None:
        self.messages += progress.messages
        over = progress.step == progress.last or bool(progress.ended.all())
        if time.monotonic() - self.at < SAY_SECONDS and not over:
            return
        first, self.at = self.n_points < 0, time.monotonic()
        new = max(self.n_points, 0)
        said = {
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
            file.write(("\n" if first else "") + json.dumps(said) + "\n")  # after what a killed worker left unended


class Heard:
    """What the driver knows of a group, from what its workers said; reported when there is news."""

    def __init__(
        self,
        folder: Path,
        name: str,
        configs: Sequence[Config],
        spec: sweep.Spec,
        report: Callable[[sweep.Progress], None],
    ) -> None:
        self.path, self.report, self.read, self.attempt = folder / ROOM / f"{name}.jsonl", report, 0, ""
        self.latest = sweep.Progress(name, 0, int(spec.saves[-1]), {}, np.zeros(len(configs), bool))

    def tell(self) -> None:
        """Reports what has been said since."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.read)
                lines = file.read()
        except FileNotFoundError:
            return
        whole = lines.rfind(b"\n") + 1
        self.read += whole
        for line in lines[:whole].splitlines():
            if (said := _message(line, self.latest)) and (said["first"] or said["attempt"] == self.attempt):
                self._hear(said)  # else of a worker that was taken for dead

    def _hear(self, said: dict[str, Any]) -> None:
        before = {} if said["first"] else self.latest.measures
        self.attempt, new = said["attempt"], said["measures"]
        self.latest = sweep.Progress(
            group=self.latest.group,
            step=said["step"],
            last=said["last"],
            measures={name: np.concatenate([before[name], rows], 1) if before else rows for name, rows in new.items()},
            ended=np.array(said["ended"], bool),
            runs=tuple(said["runs"]),
            steps=(*(self.latest.steps if before else ()), *said["steps"]),
            committed=said["committed"],
            diverged=tuple(said["diverged"]),
        )
        self.report(replace(self.latest, messages=tuple(said["messages"])))

    def say(self, message: str) -> None:
        """A message of the driver's own."""
        self.report(replace(self.latest, messages=(message,)))


def _message(line: bytes, latest: sweep.Progress) -> dict[str, Any] | None:
    """What a worker said, its measures as arrays; None of a line that is none: of a worker that was killed, say."""
    try:
        said = json.loads(line)
        if not isinstance(said, dict) or not all(isinstance(said[name], kind) for name, kind in SAID.items()):
            return None
        shape = len(latest.ended), len(said["steps"])
        measures = {name: np.array(rows) for name, rows in said["measures"].items()}
    except (ValueError, KeyError, RecursionError):
        return None
    fit = all(rows.shape[:2] == shape and rows.dtype.kind in "biuf" for rows in measures.values())
    goes_on = said["first"] or not latest.measures or set(measures) == set(latest.measures)
    is_whole = fit and goes_on and len(said["ended"]) == shape[0] and len(said["diverged"]) in (0, shape[0])
    return {**said, "measures": measures} if is_whole else None
