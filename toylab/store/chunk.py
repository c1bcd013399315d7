"""Chunks: `<folder>/<step>/` holds every saved point of a group since the chunk before, and the state to go on from.

A chunk is written beside its place, brought to the disk and renamed into it, so it is there whole or not at all. Orbax
does not notice a flipped bit and silently returns another shape or dtype than was asked for, so each chunk carries the
sha256, shape and dtype of every array, and reading checks them. Resume points are thinned out: the newest two chunks keep
theirs, and every eighth.
"""

import hashlib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import jax
import numpy as np

from toylab.store.errors import Damaged, Lost, Refused, StoreError, Unread, first_line, is_unread, newer
from toylab.store.files import Arrays, opened, read_json, seal, write_json

SCHEMA = 2  # 1: no `diverged` in a chunk's info, every chunk with a state
FILES = "files.json"  # in a chunk: the sha256 of all its other files
STATE = "state"  # the item that a chunk may lose
BROKEN = re.compile(r"writing-(state-)?\d+-[0-9a-f]{16}(\..*)?")  # of a write that was cut short
NEWEST, EVERY = 2, 8  # chunks that keep it
AROUND = (
    260_000  # bytes on disk that a chunk takes beside its arrays: about 50 small files and folders in blocks of 4 KiB
)


def chunks(folder: Path) -> list[int]:
    """The committed chunks of a group by the step of their last point, ascending."""
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal()) if folder.is_dir() else []


def write_chunk(
    folder: Path,
    step: int,
    items: Mapping[str, Arrays],
    info: Mapping[str, Any],
    mine: Callable[[], None] = lambda: None,
) -> None:
    """Commits one chunk. `items`: name → flat dict of arrays (trajectory, measures, probes, state); `mine` is asked just
    before, and raises if the folder is another's by now."""
    items = {name: arrays for name, arrays in items.items() if arrays}
    described = {name: {key: _describe(value) for key, value in arrays.items()} for name, arrays in items.items()}
    record = {**info, "schema": SCHEMA, "step": step, "arrays": described}
    beside = folder / _writing(f"{step}")
    try:
        _save(beside, items, record)
        write_json(beside / FILES, _file_digests(beside), sealed=True)
        _to_disk(beside)
        mine()
        os.rename(beside, folder / str(step))
        _to_disk(folder)
        _thin_out(folder)
    except Lost:
        _remove(beside)
        raise
    except Exception as error:  # Orbax and tensorstore raise their own kinds for a full disk
        _remove(beside)
        mine()  # whoever has the folder by now has removed what was written here
        done = chunks(folder)
        raise StoreError(
            f"the points up to step {step} could not be written to {folder} ({first_line(error)}). "
            f"{f'All points up to step {done[-1]} are safe' if done else 'Nothing was committed yet'}; "
            "make room and run the same command again: it goes on from there."
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


def has_state(folder: Path, step: int) -> bool:
    """Whether one can go on from a chunk."""
    return (folder / str(step) / STATE).is_dir()


def read_chunk(
    folder: Path, step: int, names: tuple[str, ...] | None = None
) -> tuple[dict[str, Arrays], dict[str, Any]]:
    """The arrays and info of one chunk (`names`: only these items), or Damaged."""
    had_state = has_state(folder, step)
    try:
        return _read_chunk(folder, step, names)
    except Damaged:
        if had_state and not has_state(folder, step):  # another process trains, and has just thinned it out
            return _read_chunk(folder, step, names)
        raise


def _read_chunk(folder: Path, step: int, names: tuple[str, ...] | None) -> tuple[dict[str, Arrays], dict[str, Any]]:
    path = (folder / str(step)).absolute()
    try:
        written = read_json(path / FILES, sealed=True)
        if not has_state(folder, step):
            written = {name: digest for name, digest in written.items() if not name.startswith(f"{STATE}/")}
        if written != _file_digests(path):
            raise ValueError("a file in it differs from what was written")
        info = opened(_restore(path, {"info": "json"})["info"])
        if isinstance(info.get("schema"), int) and info["schema"] > SCHEMA:
            raise newer(path, info["schema"], SCHEMA)
        if info.get("schema") not in range(1, SCHEMA + 1) or info.get("step") != step:
            raise ValueError(f"its info says schema {info.get('schema')}, step {info.get('step')}")
        wanted = [name for name in info["arrays"] if names is None or name in names]
        wanted = [name for name in wanted if name != STATE or has_state(folder, step)]
        items = _restore(path, dict.fromkeys(wanted, "arrays"))
        for name in wanted:
            _verify(name, items[name], info["arrays"][name])
    except (Refused, Unread, MemoryError):
        raise
    except Exception as error:  # whatever a flipped bit makes of it
        if is_unread(error):
            raise Unread(f"the chunk at step {step} in {folder} cannot be read: {first_line(error)}.") from error
        raise Damaged(f"the chunk at step {step} in {folder} is damaged: {first_line(error)}") from error
    return {name: {key: np.asarray(value) for key, value in items[name].items()} for name in wanted}, info


def read_info(folder: Path, step: int) -> dict[str, Any]:
    """A chunk's info alone, or Damaged. That its files are all there is looked at, their bytes are not read."""
    path = folder / str(step)
    try:
        written = set(read_json(path / FILES, sealed=True))
        there = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file() and file.name != FILES}
        gone = {name for name in written - there if not name.startswith(f"{STATE}/")}
        if gone or (there - written):
            raise ValueError(
                f"files are missing from it ({', '.join(sorted(gone)[:3])})" if gone else "it has foreign files"
            )
        return opened(json.loads((path / "info" / "metadata").read_text("utf-8")))  # where Orbax puts a JSON item
    except Unread:
        raise
    except Exception as error:  # whatever a flipped bit makes of it
        raise Damaged(f"the chunk at step {step} in {folder} is damaged: {first_line(error)}") from error


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
        shutil.rmtree(each, ignore_errors=True)


def _file_digests(path: Path) -> dict[str, Any]:
    """sha256 of every file of a chunk: checked before Orbax opens any, which does not take all damage quietly."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != FILES)
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def newest_sound_chunk(folder: Path) -> tuple[dict[str, Arrays] | None, dict[str, Any], list[str]]:
    """The newest chunk that is what was written and can be gone on from, its info, and a message for each chunk set aside
    before it: damaged, or without the state to go on from."""
    messages: list[str] = []
    for step in reversed(chunks(folder)):
        try:
            items, info = read_chunk(folder, step)
            if STATE in items or STATE not in info["arrays"]:
                return items, info, messages
            what = f"the chunk at step {step} in {folder} has no resume point any more"
        except Damaged as error:
            what = str(error)
        aside = _unused(folder / f"damaged-{step}")
        os.rename(folder / str(step), aside)
        messages.append(f"{what}. It is set aside as {aside.name}, and training goes on from the chunk before.")
    return None, {}, messages


def _unused(path: Path) -> Path:
    """The path, numbered if there is something already: what was set aside before is not ours to delete."""
    names = (path.with_name(f"{path.name}-{i}" if i else path.name) for i in count())
    return next(name for name in names if not os.path.lexists(name))


def _thin_out(folder: Path) -> None:
    """Drops the resume points that are not kept. Renamed first, so that a chunk has the whole of its state or none."""
    done = chunks(folder)
    for i, step in enumerate(done[:-NEWEST]):
        if i % EVERY and has_state(folder, step):
            gone = folder / _writing(f"state-{step}")
            os.rename(folder / str(step) / STATE, gone)
            _remove(gone)


def _to_disk(path: Path) -> None:
    """fsync of a file, or of a folder's entries and of everything below it that is being written."""
    inside = path.rglob("*") if path.name.startswith("writing-") else ()
    for each in (*inside, path):
        handle = os.open(each, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _orbax() -> Any:
    import orbax.checkpoint as ocp  # takes a second, so only where something is read or written

    logging.getLogger("absl").setLevel(logging.ERROR)
    if jax.distributed.is_initialized():
        _keep_to_this_process()
    return ocp


@cache
def _keep_to_this_process() -> None:
    """Under jax.distributed Orbax waits for all processes at every save, and process 0 alone writes numpy arrays. Each
    process has groups of its own: Orbax is made to see one. No option of its own goes that far."""
    from orbax.checkpoint._src.multihost import multihost

    multihost.process_index = lambda: 0
    multihost.process_count = lambda: 1
    multihost.should_skip_process_sync = lambda processes=None: True
    multihost.is_jax_distributed_client_initialized = lambda: False


def _save(path: Path, items: Mapping[str, Arrays], record: Mapping[str, Any]) -> None:
    ocp = _orbax()
    arguments = {name: ocp.args.PyTreeSave(arrays) for name, arrays in items.items()}
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        whole = ocp.args.Composite(**arguments, info=ocp.args.JsonSave(seal(record)))
        checkpointer.save(path.absolute(), args=whole)


def _restore(path: Path, items: Mapping[str, str]) -> Any:
    ocp = _orbax()
    kinds = {"json": ocp.args.JsonRestore, "arrays": ocp.args.PyTreeRestore}
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        return checkpointer.restore(
            path, args=ocp.args.Composite(**{name: kinds[kind]() for name, kind in items.items()})
        )


def _describe(array: np.ndarray) -> dict[str, Any]:
    array = np.ascontiguousarray(array)
    return {
        "shape": list(np.shape(array)),
        "dtype": array.dtype.str,
        "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
    }


def _verify(name: str, arrays: Mapping[str, Any], described: Mapping[str, Any]) -> None:
    if set(arrays) != set(described):
        raise ValueError(f"{name} holds {sorted(arrays)}, written were {sorted(described)}")
    for key, value in arrays.items():
        if _describe(np.asarray(value)) != described[key]:
            raise ValueError(f"{name}/{key} differs from what was written (shape, dtype or sha256)")
