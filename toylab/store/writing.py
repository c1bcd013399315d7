"""Chunks committed in the background, what broken writes leave, and the chunk to go on from.

A chunk is written beside its place, brought to the disk and renamed into it, so it is there whole or not at all. Resume
points are thinned out: the newest two chunks keep theirs, and every eighth.
"""

import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

from toylab.store import durable
from toylab.store.chunk import FILES, SCHEMA, STATE, chunks, described, file_digests, has_state, read_chunk
from toylab.store.errors import Damaged, Gone, Lost, StoreError, remedy, system_number
from toylab.store.files import Arrays, write_json
from toylab.store.orbax import save

BROKEN = re.compile(
    r"writing-(state-)?\d+-[0-9a-f]{16}(\..*)?|\.[a-z]+\.json\.[0-9a-f]{16}"
)  # of a write that was cut short
NEWEST, EVERY = 2, 8  # chunks that keep their resume point
AROUND = (
    260_000  # bytes on disk that a chunk takes beside its arrays: about 50 small files and folders in blocks of 4 KiB
)


def write_chunk(
    folder: Path,
    step: int,
    items: Mapping[str, Arrays],
    info: Mapping[str, Any],
    mine: Callable[[], None] = lambda: None,
) -> None:
    """Commits one chunk. `items`: name → flat dict of arrays (trajectory, measures, probes, state); `mine` is asked just
    before, and raises if the folder is another's by now, or gone. StoreError where the disk fails; ValueError, or what
    Orbax raises, where the arrays cannot be saved on any."""
    items = {name: arrays for name, arrays in items.items() if arrays}
    about = {name: {key: described(value) for key, value in arrays.items()} for name, arrays in items.items()}
    if empty := [f"{name}/{key}" for name, arrays in items.items() for key, value in arrays.items() if not value.size]:
        raise ValueError(f"{empty[0]} has no numbers in it: an empty array cannot be saved.")
    record = {**info, "schema": SCHEMA, "step": step, "arrays": about}
    beside = folder / _writing(f"{step}")
    mine()
    try:
        save(beside, items, record)
        write_json(beside / FILES, file_digests(beside), sealed=True)
        for path in (*beside.rglob("*"), beside):
            durable.sync(path)
        mine()
        durable.rename(beside, folder / str(step))
        _thin_out(folder)
    except (Lost, Gone):
        _remove(beside)
        raise
    except Exception as error:  # Orbax and tensorstore raise their own kinds for a full disk
        _remove(beside)
        mine()  # whoever has the folder by now has removed what was written here
        if (number := system_number(error)) is None:
            raise
        done = [before for before in chunks(folder) if before < step]
        raise StoreError(
            f"the points up to step {step} could not be written to {folder} ({os.strerror(number)}). "
            f"{f'All points up to step {done[-1]} are safe' if done else 'Nothing was committed yet'}; "
            f"{remedy(number)} and run the same command again: it goes on from there."
        ) from error


class Writer:
    """Commits chunks in the background, one at a time: training goes on meanwhile, and no more than two chunks are in
    memory, the one that is written and the one that is collected."""

    def __init__(self, folder: Path, mine: Callable[[], None] = lambda: None) -> None:
        self.folder, self.mine = folder, mine
        self.thread = ThreadPoolExecutor(1)
        self.pending: Future[None] | None = None
        self.committed: int | None = None  # the last step that is known to be on the disk

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.wait()
        finally:
            self.thread.shutdown()

    def commit(self, step: int, items: Mapping[str, Arrays], info: Mapping[str, Any]) -> None:
        self.wait()
        self.pending = self.thread.submit(self._write, step, items, info)

    def _write(self, step: int, items: Mapping[str, Arrays], info: Mapping[str, Any]) -> None:
        write_chunk(self.folder, step, items, info, self.mine)
        self.committed = step

    def wait(self) -> None:
        """Until everything handed in is committed; raises what went wrong with it."""
        pending, self.pending = self.pending, None
        if pending:
            pending.result()


def newest_sound_chunk(
    folder: Path, is_over: Callable[[dict[str, Any]], bool] = lambda info: False
) -> tuple[Arrays | None, dict[str, Any], list[str]]:
    """The newest chunk that is what was written and can be gone on from: its resume point (None without any chunk; empty
    where `is_over(info)`, so that nothing goes on; it may refuse), its info, and a message for each chunk set aside before
    it."""
    messages: list[str] = []
    for step in reversed(chunks(folder)):
        try:
            _, info = read_chunk(folder, step, ())
            if is_over(info):
                return {}, info, messages
            items, _ = read_chunk(folder, step, (STATE,))
            if STATE in items or STATE not in info["arrays"]:
                return items.get(STATE, {}), info, messages
            what = f"the chunk at step {step} in {folder} has no resume point any more"
        except Damaged as error:
            what = str(error)
        aside = _unused(folder / f"damaged-{step}")
        durable.rename(folder / str(step), aside)
        messages.append(f"{what}. It is set aside as {aside.name}, and training goes on from the chunk before.")
    return None, {}, messages


def _unused(path: Path) -> Path:
    """The path, numbered if there is something already: what was set aside before is not ours to delete."""
    names = (path.with_name(f"{path.name}-{i}" if i else path.name) for i in count())
    return next(name for name in names if not os.path.lexists(name))


def _thin_out(folder: Path) -> None:
    """Drops the resume points that are not kept. Renamed first, and that to the disk, so that a chunk has the whole of its
    state or none."""
    done = chunks(folder)
    for i, step in enumerate(done[:-NEWEST]):
        if i % EVERY and has_state(folder, step):
            gone = folder / _writing(f"state-{step}")
            durable.rename(folder / str(step) / STATE, gone)
            _remove(gone)


def broken(folder: Path) -> list[Path]:
    """What writes that were cut short have left."""
    return [path for path in folder.iterdir() if BROKEN.fullmatch(path.name)]


def clear(left: Sequence[Path]) -> None:
    """Removes what `broken` has listed, before its lister took the folder: nothing of a later owner is among it."""
    for path in left:
        _remove(path)


def _writing(what: str) -> str:
    """A name that no other process, and no other write, has."""
    return f"writing-{what}-{secrets.token_hex(8)}"


def _remove(path: Path) -> None:
    """What was written under that name; of a link neither it nor what it leads to."""
    for each in (path, *path.parent.glob(f"{path.name}.*")):  # Orbax writes beside it first
        if each.is_file() and not each.is_symlink():
            each.unlink(missing_ok=True)
        shutil.rmtree(each, ignore_errors=True)
