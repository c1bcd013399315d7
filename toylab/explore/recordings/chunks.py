"""Params of one run at one saved step, read chunk by chunk. A few chunks are kept; the next is read ahead."""

import contextlib
import ctypes
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from toylab import store
from toylab.explore.recording import Arrays
from toylab.explore.wording import sentence
from toylab.store.orbax import restore

LIMIT = 256 << 20  # bytes of params that are kept
Files = tuple[tuple[str, int, int], ...]  # of a chunk: name, time of change, bytes
Key = tuple[Path, int, int]  # folder, step, and the run whose params are kept; -1 for those of all


def give_back() -> None:
    """Returns freed memory to the system: glibc keeps what the threads that read have freed, here some 250 MB."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


class Chunks:
    """Params of chunks. A chunk's digests are checked when it is first read; while the times and sizes of its files are the
    same it is trusted. A chunk of more than half of what may be kept is kept for the run that is looked at alone."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._kept: OrderedDict[Key, tuple[Files, Arrays]] = OrderedDict()
        self._sound: dict[tuple[Path, int], Files] = {}
        self._ahead: dict[tuple[Path, int], Future[Any]] = {}
        self._lock = threading.RLock()
        self._reading = threading.Lock()  # one chunk at a time: each takes three times its bytes
        self._reader = ThreadPoolExecutor(1, "read-ahead")

    def at(self, folder: Path, step: int, row: int, point: int) -> Arrays:
        """The params of a run at a point.

        Args:
            folder, step: of the chunk.
            row: of the run in its group.
            point: the place of the point in the chunk.

        Raises:
            LookupError: in a sentence, where the chunk is damaged, gone, or cannot be read now.
        """
        arrays, of = self._chunk(folder, step, row)
        try:
            return {name: np.array(value[of, point]) for name, value in arrays.items()}
        except IndexError:
            raise LookupError(
                f"the chunk at step {step} in {folder} holds other points than its record says."
            ) from None

    def ahead(self, folder: Path, step: int, row: int) -> None:
        """Reads a chunk in the background, if it is not kept. What goes wrong is told when it is looked at."""
        with self._lock:
            waiting = self._ahead.get((folder, step))
            if self._of(folder, step, row) is None and (waiting is None or waiting.done()):
                self._ahead = {key: future for key, future in self._ahead.items() if not future.done()}
                with contextlib.suppress(RuntimeError):  # closed
                    self._ahead[folder, step] = self._reader.submit(self._read, folder, step, row)

    def close(self) -> None:
        """Ends reading ahead."""
        self._reader.shutdown(wait=True, cancel_futures=True)

    def _of(self, folder: Path, step: int, row: int) -> Key | None:
        return next((key for key in ((folder, step, -1), (folder, step, row)) if key in self._kept), None)

    def _chunk(self, folder: Path, step: int, row: int) -> tuple[Arrays, int]:
        """The params of a chunk [R, k, …], and the row of the run in them."""
        with self._lock:
            waiting = self._ahead.get((folder, step))
        if waiting is not None and not waiting.cancelled():
            waiting.exception()
        with self._lock:
            key = self._of(folder, step, row)
            if key is not None and self._kept[key][0] == self._files(folder, step):
                self._kept.move_to_end(key)
                return self._kept[key][1], row if key[2] < 0 else 0
        return self._read(folder, step, row)

    def _read(self, folder: Path, step: int, row: int) -> tuple[Arrays, int]:
        with self._reading:
            try:
                return self._read_one(folder, step, row)
            finally:
                give_back()

    def _read_one(self, folder: Path, step: int, row: int) -> tuple[Arrays, int]:
        files = self._files(folder, step)
        try:
            arrays = self._restored(folder, step) if self._sound.get((folder, step)) == files else None
            if arrays is None:
                arrays = store.read_chunk(folder, step, ("traj",), alone=True)[0].get("traj", {})
        except store.StoreError as error:
            with self._lock:
                self._sound.pop((folder, step), None)
            raise LookupError(sentence(error)) from error
        whole = sum(value.nbytes for value in arrays.values()) <= self.limit // 2
        if not whole:
            arrays, of = {name: np.array(value[row : row + 1]) for name, value in arrays.items()}, 0
        else:
            of = row
        with self._lock:
            self._sound[folder, step] = files
            for key in [key for key in self._kept if key[:2] == (folder, step) and (whole or key[2] == row)]:
                del self._kept[key]
            self._kept[folder, step, -1 if whole else row] = files, arrays
            held = [sum(value.nbytes for value in own.values()) for _, own in self._kept.values()]
            while len(held) > 1 and sum(held) > self.limit:
                self._kept.popitem(last=False)
                held = held[1:]
        return arrays, of

    @staticmethod
    def _restored(folder: Path, step: int) -> Arrays | None:
        """The params of a chunk that was found sound; None where they are not as its record says."""
        try:
            described: Mapping[str, Any] = store.read_info(folder, step)["arrays"].get("traj", {})
            arrays = restore((folder / str(step)).absolute(), "traj", tuple(described))
        except Exception:  # damage can raise anything: reading with digests says what it is
            return None
        found = {name: np.asarray(value) for name, value in arrays.items()}
        fits = {name: (list(value.shape), value.dtype.str) for name, value in found.items()}
        return found if fits == {name: (one["shape"], one["dtype"]) for name, one in described.items()} else None

    @staticmethod
    def _files(folder: Path, step: int) -> Files:
        """What of a chunk's files changes where they are written anew. Raises LookupError where they are gone."""
        place = folder / str(step)
        try:
            found = []
            for item in ("traj", "info"):
                for parent, _, names in os.walk(place / item):
                    for name in names:
                        of = os.stat(os.path.join(parent, name))
                        found.append((os.path.join(parent, name), of.st_mtime_ns, of.st_size))
        except OSError as error:
            raise LookupError(
                f"the chunk at step {step} in {folder} cannot be read: {store.first_line(error)}."
            ) from error
        if not found:
            raise LookupError(f"the chunk at step {step} in {folder} is gone: its weights cannot be shown.")
        return tuple(sorted(found))
