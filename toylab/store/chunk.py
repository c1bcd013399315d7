"""Chunks: `<folder>/<step>/` holds every saved point of a group since the chunk before, and the state to go on from.

Orbax does not notice a flipped bit and silently returns another shape or dtype than was asked for, so each chunk carries
the sha256, shape and dtype of every array, and reading checks them. How chunks are written stands in writing.py.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toylab.store.errors import Damaged, Refused, Unread, first_line, is_unread, newer
from toylab.store.files import Arrays, read_json
from toylab.store.orbax import restore

SCHEMA = 4  # older: 1, no `diverged` in a chunk's info · 2, no `group` in it · 3, a plan's `segment` is named `beat`
FILES = "files.json"  # in a chunk: the sha256 of all its other files
INFO, STATE = "info", "state"  # items: what the chunk is; what it may lose
STEP = re.compile(r"0|[1-9][0-9]{0,9}")


def chunks(folder: Path) -> list[int]:
    """The committed chunks of a group by the step of their last point, ascending."""
    return sorted(int(path.name) for path in folder.iterdir() if STEP.fullmatch(path.name)) if folder.is_dir() else []


def has_state(folder: Path, step: int) -> bool:
    """Whether a chunk has kept its resume point."""
    return (folder / str(step) / STATE).is_dir()


def read_chunk(
    folder: Path, step: int, names: tuple[str, ...] | None = None, *, alone: bool = False
) -> tuple[dict[str, Arrays], dict[str, Any]]:
    """The arrays and info of one chunk (`names`: only these items), or Damaged. Its points are judged as one, unless these
    items are to be judged `alone`; its resume point apart, where it is asked for: what only training needs takes no point
    from those who read."""
    had_state = has_state(folder, step)
    try:
        return _read_chunk(folder, step, names, alone)
    except Damaged:
        if had_state and not has_state(folder, step):  # another process trains, and has just thinned it out
            return _read_chunk(folder, step, names, alone)
        raise


def _read_chunk(
    folder: Path, step: int, names: tuple[str, ...] | None, alone: bool
) -> tuple[dict[str, Arrays], dict[str, Any]]:
    path = (folder / str(step)).absolute()
    with_state = (names is None or STATE in names) and has_state(folder, step)

    def is_judged(file: str) -> bool:
        item, _, inside = file.partition("/")
        if item in (INFO, STATE) or not inside:  # what lies beside the items is Orbax's own, and not read
            return item == INFO or (item == STATE and with_state)
        return not alone or names is None or item in names

    try:
        if (written := _written(path)) is not None:
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
        items = {name: restore(path, name) for name in wanted}
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
    """A chunk's info alone, or Damaged. Whether the files of its points are all there is looked at, their bytes are not."""
    path = folder / str(step)
    try:
        there = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
        written = there if (named := _written(path)) is None else set(named)
        inside = {file for file in written ^ there if "/" in file and not file.startswith(f"{STATE}/")}
        if gone := inside - there:
            raise ValueError(f"files are missing from it ({', '.join(sorted(gone)[:3])})")
        if inside:
            raise ValueError("it has foreign files")
        return _info(path)
    except Unread:
        raise
    except Exception as error:  # whatever a flipped bit makes of it
        raise Damaged(f"the chunk at step {step} in {folder} is damaged: {first_line(error)}") from error


def spare_damage(folder: Path, step: int) -> str:
    """What is damaged in a chunk and costs no point, in words; "" if nothing. Bytes of the points are not read."""
    path = folder / str(step)
    if (written := _written(path)) is None:
        return f"{FILES} of the chunk at step {step} is damaged"
    with_state = has_state(folder, step)

    def is_spare(file: str) -> bool:
        return "/" not in file or (with_state and file.startswith(f"{STATE}/"))

    written, found = {file: digest for file, digest in written.items() if is_spare(file)}, file_digests(path, is_spare)
    differ = sorted(file for file in written | found if written.get(file) != found.get(file))
    return f"{', '.join(differ[:3])} of the chunk at step {step} is damaged" if differ else ""


def _written(path: Path) -> dict[str, Any] | None:
    """The sha256 of a chunk's files; None where they cannot be read: every array has one of its own in the info."""
    try:
        return read_json(path / FILES, sealed=True)
    except Damaged:
        return None


def _info(path: Path) -> dict[str, Any]:
    return read_json(path / INFO / "metadata", sealed=True)  # where Orbax puts a JSON item


def file_digests(path: Path, is_judged: Callable[[str], bool] = lambda file: True) -> dict[str, str]:
    """sha256 of the files of a chunk: checked before Orbax opens any, which does not take all damage quietly."""
    found = (file for file in path.rglob("*") if file.is_file() and file.name != FILES)
    names = {str(file.relative_to(path)): file for file in sorted(found)}
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in names.items() if is_judged(name)}


def described(array: np.ndarray) -> dict[str, Any]:
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
        if described(np.asarray(value)) != written[key]:
            raise ValueError(f"{name}/{key} differs from what was written (shape, dtype or sha256)")
