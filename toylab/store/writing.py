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
from toylab.store.chunk import FILES, SCHEMA, STATE, array_record, chunks, file_digests, has_state, read_chunk
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
    """Commits one chunk.

    Args:
        folder: of the group.
        step: of the chunk's last point.
        items: flat dicts of arrays by name (traj, measures, probes, state).
        info: the chunk's record.
        mine: called just before the commit; raises if the folder was taken over by another process, or is gone.

    Raises:
        StoreError: where the disk fails.
        ValueError: where an array is empty.
        Lost, Gone: from `mine`.
    """
    items = {name: arrays for name, arrays in items.items() if arrays}
    about = {name: {key: array_record(value) for key, value in arrays.items()} for name, arrays in items.items()}
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
    except Exception as error:  # Orbax and tensorstore raise classes of their own for a full disk
        _remove(beside)
        mine()  # a new owner of the folder has removed what was written here
        if (number := system_number(error)) is None:
            raise
        done = [before for before in chunks(folder) if before < step]
        raise StoreError(
            f"the points up to step {step} could not be written to {folder} ({os.strerror(number)}). "
            f"{f'All points up to step {done[-1]} are safe' if done else 'Nothing was committed yet'}; "
            f"{remedy(number)} and run the same command again: it goes on from there."
        ) from error


class Writer:
    """Commits chunks in a background thread, one at a time, while training goes on. At most two chunks are in memory: the
    one that is being written and the one that is being collected."""

    def __init__(self, folder: Path, mine: Callable[[], None] = lambda: None) -> None:
        self.folder, self.mine = folder, mine
        self.thread = ThreadPoolExecutor(1)
        self.pending: Future[None] | None = None
        self.committed: int | None = None  # the last step that is known to be on disk

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.wait()
        finally:
            self.thread.shutdown()

    def commit(
        self,
        step: int,
        items: Mapping[str, Arrays],
        info: Mapping[str, Any],
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """Waits for the previous chunk, then starts to write this one, after `before` has run."""
        self.wait()
        self.pending = self.thread.submit(self._write, step, items, info, before)

    def _write(
        self, step: int, items: Mapping[str, Arrays], info: Mapping[str, Any], before: Callable[[], None]
    ) -> None:
        before()
        write_chunk(self.folder, step, items, info, self.mine)
        self.committed = step

    def wait(self) -> None:
        """Waits until everything is committed. Raises the error if that failed."""
        pending, self.pending = self.pending, None
        if pending:
            pending.result()


def newest_sound_chunk(
    folder: Path, is_over: Callable[[dict[str, Any]], bool] = lambda info: False
) -> tuple[Arrays | None, dict[str, Any], list[str]]:
    """The newest chunk that is undamaged and from which training can be resumed. Newer ones are renamed to damaged-STEP.

    Args:
        folder: of the group.
        is_over: whether a chunk, by its info, is the last, so that no resume point is needed. It may raise Refused.

    Returns:
        The resume point (None if there is no chunk, empty if the group is over), the chunk's info, and a message for each
        chunk that was set aside.
    """
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
        aside = set_aside(folder / str(step))
        messages.append(f"{what}. It is set aside as {aside.name}, and training goes on from the chunk before.")
    return None, {}, messages


def set_aside(path: Path) -> Path:
    """Renames a folder to damaged-NAME; returns the new path."""
    aside = _unused(path.with_name(f"damaged-{path.name}"))
    durable.rename(path, aside)
    return aside


def _unused(path: Path) -> Path:
    """The path, with a number if it exists already: what was set aside earlier is kept."""
    names = (path.with_name(f"{path.name}-{i}" if i else path.name) for i in count())
    return next(name for name in names if not os.path.lexists(name))


def _thin_out(folder: Path) -> None:
    """Removes the resume points of older chunks, but those of every EVERY-th. Each is renamed first, so that a chunk has a
    complete resume point or none."""
    done = chunks(folder)
    for i, step in enumerate(done[:-NEWEST]):
        if i % EVERY and has_state(folder, step):
            gone = folder / _writing(f"state-{step}")
            durable.rename(folder / str(step) / STATE, gone)
            _remove(gone)


def broken(folder: Path) -> list[Path]:
    """Files and folders of writes that were cut short."""
    return [path for path in folder.iterdir() if BROKEN.fullmatch(path.name)]


def clear(left: Sequence[Path]) -> None:
    """Removes what `broken` has listed. The list is made before the lock is taken, so it has nothing of a later owner."""
    for path in left:
        _remove(path)


def _writing(what: str) -> str:
    """A name that no other process and no other write uses."""
    return f"writing-{what}-{secrets.token_hex(8)}"


def _remove(path: Path) -> None:
    """Removes what was written under that name. Links and their targets stay."""
    for each in (path, *path.parent.glob(f"{path.name}.*")):  # Orbax writes to names like this first
        if each.is_file() and not each.is_symlink():
            each.unlink(missing_ok=True)
        shutil.rmtree(each, ignore_errors=True)
