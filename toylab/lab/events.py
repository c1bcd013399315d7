"""Measures as TensorBoard event files, in a folder for each run (extra `tensorboard`)."""

import struct
import time
from pathlib import Path
from typing import Any

import numpy as np

from toylab.sweep import Progress

FILE = "events.out.tfevents.toylab"  # TensorBoard recognizes event files by the word tfevents
WORD = struct.Struct("<Q"), struct.Struct("<I")  # a record: length, its checksum, content, its checksum


def check() -> None:
    """Raises ValueError if the extra is not installed."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise ValueError("--tensorboard needs its extra: pip install 'toylab[tensorboard]'.") from None


class Events:
    """A `report` that appends each run's new points after every segment.

    Each file is opened, written and closed at once, so any number of runs works. When a group begins, its files are cut
    back to the first event that is no point of the run's so far, or before which one is missing, and missing points are
    filled in. So no point appears twice, however often training was killed or points between were asked for, and training
    a finished sweep again exports it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: dict[tuple[str, str], int] = {}  # (group, run) → number of its points in the file

    def __call__(self, progress: Progress) -> None:
        names = sorted(name for name, value in progress.measures.items() if value.ndim == 2)
        for r, run in enumerate(progress.runs):
            done = self.written.pop((progress.group, run), None)
            try:
                if done is None:
                    known = np.isfinite([progress.measures[name][r] for name in names]).any(axis=0) if names else ()
                    last = _cut_back(self._path(run), np.array(progress.steps, int)[np.flatnonzero(known)].tolist())
                    done = int(np.searchsorted(progress.steps, last, side="right"))
                values = np.array([progress.measures[name][r, done:] for name in names], float)  # [measures, new]
                self._append(run, names, progress.steps[done:], values)
            except OSError:  # the store reports a full disk; points missing here are added after the next segment
                continue
            self.written[progress.group, run] = max(done, len(progress.steps))

    def _path(self, run: str) -> Path:
        return self.folder / run / FILE

    def _append(self, run: str, names: list[str], steps: tuple[int, ...], values: np.ndarray) -> None:
        """Appends the finite values: nan after a run's end is no event."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        records = b""
        for step, at in zip(steps, values.T, strict=True):
            known = [
                Summary.Value(tag=name, simple_value=value)
                for name, value in zip(names, at, strict=True)
                if np.isfinite(value)
            ]
            if known:
                records += _record(Event(wall_time=time.time(), step=step, summary=Summary(value=known)))
        if records:
            path = self._path(run)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                if not file.tell():
                    records = _record(Event(wall_time=time.time(), file_version="brain.Event:2")) + records
                file.write(records)


def _record(event: Any) -> bytes:
    content = event.SerializeToString()
    length, checksum = WORD
    size = length.pack(len(content))
    return size + checksum.pack(_masked(size)) + content + checksum.pack(_masked(content))


def _masked(content: bytes) -> int:
    """The checksum of a TFRecord."""
    from tensorboardX.crc32c import crc32c

    crc = crc32c(content)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _cut_back(path: Path, steps: list[int]) -> int:
    """Removes incomplete records, and events from the first on that is not the next of `steps`; returns the step of the
    last remaining event, or −1."""
    from tensorboardX.proto.event_pb2 import Event

    if not path.exists():
        return -1
    content, at, last, following = path.read_bytes(), 0, -1, iter(steps)
    length, checksum = WORD
    while at + 12 <= len(content):
        end = at + 12 + length.unpack_from(content, at)[0] + 4
        body = content[at + 12 : end - 4]
        if end > len(content) or checksum.unpack_from(content, end - 4)[0] != _masked(body):
            break
        event = Event.FromString(body)
        if event.HasField("summary"):
            if event.step != next(following, None):
                break
            last = event.step
        at = end
    with path.open("r+b") as file:
        file.truncate(at)
    return last
