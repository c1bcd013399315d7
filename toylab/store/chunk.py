"""Reading chunks. `<folder>/<step>/` holds the points of a group since the previous chunk, and the state to resume from.

Orbax does not notice a flipped bit, and may silently return another shape or dtype than was requested. Therefore each
chunk has the sha256, shape and dtype of every array, and reading checks them. How chunks are written is in writing.py.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toylab.store.errors import Damaged, Refused, Unread, first_line, is_unread, newer
from toylab.store.files import Arrays, read_json
from toylab.store.orbax import restore

SCHEMA = (
    5  # older: 1, no `diverged` in a chunk's info · 2, no `group` in it · 3, a plan's `segment` is `beat` · 4, one pass
)
FILES = "files.json"  # in a chunk: the sha256 of all its other files
INFO, STATE = "info", "state"  # items: the chunk's record; its resume point, which may be removed later
STEP = re.compile(r"0|[1-9][0-9]{0,9}")


def chunks(folder: Path) -> list[int]:
    """The committed chunks of a group: the steps of their last points, ascending."""
    try:
        return sorted(int(name) for name in os.listdir(folder) if STEP.fullmatch(name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def has_state(folder: Path, step: int) -> bool:
    """Whether a chunk still has its resume point."""
    return (folder / str(step) / STATE).is_dir()


def read_chunk(
    folder: Path, step: int, names: tuple[str, ...] | None = None, *, alone: bool = False
) -> tuple[dict[str, Arrays], dict[str, Any]]:
    """Reads one chunk and checks it.

    Args:
        folder: of the group.
        step: of the chunk.
        names: the items to read; None for all. The resume point ("state") is checked only if it is read, so that damage
            to it does not keep points from being read.
        alone: check the files of these items only, not of all points.

    Returns:
        Arrays by item and name, and the chunk's info.

    Raises:
        Damaged: where the content is not what was written.
        Unread: where it cannot be read now.
        Refused: where a newer version of toylab wrote it.
    """
    had_state = has_state(folder, step)
    try:
        return _read_chunk(folder, step, names, alone)
    except Damaged:
        if had_state and not has_state(folder, step):  # another process trains and has just removed the resume point
            return _read_chunk(folder, step, names, alone)
        raise


def _read_chunk(
    folder: Path, step: int, names: tuple[str, ...] | None, alone: bool
) -> tuple[dict[str, Arrays], dict[str, Any]]:
    path = (folder / str(step)).absolute()
    with_state = (names is None or STATE in names) and has_state(folder, step)

    def is_judged(file: str) -> bool:
        item, _, inside = file.partition("/")
        if item in (INFO, STATE) or not inside:  # other files are Orbax's own and are not read
            return item == INFO or (item == STATE and with_state)
        return not alone or names is None or item in names

    try:
        if (written := _recorded_digests(path)) is not None:
            written = {file: digest for file, digest in written.items() if is_judged(file)}
            found = file_digests(path, is_judged)
            if differ := sorted(file for file in written | found if written.get(file) != found.get(file)):
                raise ValueError(f"{', '.join(differ[:3])} differs from what was written")
        info = _info(path)
        if isinstance(info.get("schema"), int) and info["schema"] > SCHEMA:
            raise newer(path, info["schema"], SCHEMA)
        if info.get("schema") not in range(1, SCHEMA + 1) or info.get("step") != step:
            raise ValueError(f"its info says schema {info.get('schema')}, step {info.get('step')}")
        wanted = [name for name in info["arrays"] if names is None or name in names]
        wanted = [name for name in wanted if name != STATE or with_state]
        items = {name: restore(path, name, tuple(info["arrays"][name])) for name in wanted}
        for name in wanted:
            _verify(name, items[name], info["arrays"][name])
    except (Refused, Unread, MemoryError):
        raise
    except Exception as error:  # a flipped bit can raise anything
        if is_unread(error):
            raise Unread(f"the chunk at step {step} in {folder} cannot be read: {first_line(error)}.") from error
        raise Damaged(f"the chunk at step {step} in {folder} is damaged: {first_line(error)}") from error
    return {name: {key: np.asarray(value) for key, value in items[name].items()} for name in wanted}, info


def read_info(folder: Path, step: int) -> dict[str, Any]:
    """A chunk's info. Checks that all files of its points exist, but not their bytes; raises Damaged otherwise."""
    path = folder / str(step)
    try:
        there = set(_files(path))
        written = there if (named := _recorded_digests(path)) is None else set(named)
        inside = {file for file in written ^ there if "/" in file and not file.startswith(f"{STATE}/")}
        if gone := inside - there:
            raise ValueError(f"files are missing from it ({', '.join(sorted(gone)[:3])})")
        if inside:
            raise ValueError("it has foreign files")
        return _info(path)
    except Unread:
        raise
    except Exception as error:  # a flipped bit can raise anything
        raise Damaged(f"the chunk at step {step} in {folder} is damaged: {first_line(error)}") from error


def spare_damage(folder: Path, step: int) -> str:
    """A sentence about damage to a chunk that loses no point; "" if there is none. The points are not read."""
    path = folder / str(step)
    if (written := _recorded_digests(path)) is None:
        return f"{FILES} of the chunk at step {step} is damaged"
    with_state = has_state(folder, step)

    def is_spare(file: str) -> bool:
        return "/" not in file or (with_state and file.startswith(f"{STATE}/"))

    written, found = {file: digest for file, digest in written.items() if is_spare(file)}, file_digests(path, is_spare)
    differ = sorted(file for file in written | found if written.get(file) != found.get(file))
    return f"{', '.join(differ[:3])} of the chunk at step {step} is damaged" if differ else ""


def _recorded_digests(path: Path) -> dict[str, Any] | None:
    """The sha256 of a chunk's files as written; None if the list is damaged. The info has the digest of every array too."""
    try:
        return read_json(path / FILES, sealed=True)
    except Damaged:
        return None


def _info(path: Path) -> dict[str, Any]:
    return read_json(path / INFO / "metadata", sealed=True)  # where Orbax puts a JSON item


def file_digests(path: Path, is_judged: Callable[[str], bool] = lambda file: True) -> dict[str, str]:
    """The sha256 of a chunk's files. They are checked before Orbax opens one, because Orbax can crash on damaged files."""
    names = sorted(name for name in _files(path) if name.rpartition("/")[2] != FILES and is_judged(name))
    return {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in names}


def _files(folder: str | Path, within: str = "") -> Iterator[str]:
    """The paths of all files below a folder, from it on. Links to folders are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{within}{entry.name}/")
            elif entry.is_file():
                yield within + entry.name


def array_record(array: np.ndarray) -> dict[str, Any]:
    """Shape, dtype and sha256 of an array."""
    array = np.ascontiguousarray(array)
    return {
        "shape": list(np.shape(array)),
        "dtype": array.dtype.str,
        "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
    }


def _verify(name: str, arrays: Mapping[str, Any], written: Mapping[str, Any]) -> None:
    if set(arrays) != set(written):
        raise ValueError(f"{name} holds {sorted(arrays)}, written were {sorted(written)}")
    for key, value in arrays.items():
        if array_record(np.asarray(value)) != written[key]:
            raise ValueError(f"{name}/{key} differs from what was written (shape, dtype or sha256)")
