"""The only code that touches disk: chunks of saved points (Orbax), manifests, locks, tables (parquet), measures (npz).

A chunk `<folder>/<step>/` holds every saved point of a group since the chunk before, and the state to go on from. It is
written beside its place and renamed into it, so it is there whole or not at all. Orbax does not notice a flipped bit and
silently returns another shape or dtype than was asked for, so each chunk carries the sha256, shape and dtype of every
array, and reading checks them. Nothing is ever unpickled.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA = 1
FILES = "files.json"  # in a chunk: the sha256 of all its other files
NAMES = "names"  # in an npz: all its arrays, since a zip whose directory is damaged may drop some without a word
Arrays = dict[str, np.ndarray]


class StoreError(Exception):
    """What is wrong on disk, what is safe and what to type, for the person who reads it."""


class Refused(StoreError):
    """What was asked cannot be done as asked; nothing was touched."""


class Damaged(StoreError):
    """A chunk whose content is not what was written."""


def chunks(folder: Path) -> list[int]:
    """The committed chunks of a group by the step of their last point, ascending."""
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal()) if folder.is_dir() else []


def write_chunk(folder: Path, step: int, items: Mapping[str, Arrays], info: Mapping[str, Any]) -> None:
    """Commits one chunk. `items`: name → flat dict of arrays (trajectory, measures, probes, state)."""
    ocp = _orbax()
    items = {name: arrays for name, arrays in items.items() if arrays}
    described = {name: {key: _describe(value) for key, value in arrays.items()} for name, arrays in items.items()}
    record = {**info, "schema": SCHEMA, "step": step, "arrays": described}
    beside = folder / f"writing-{step}"
    _clear(folder)
    arguments = {name: ocp.args.PyTreeSave(arrays) for name, arrays in items.items()}
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            checkpointer.save(
                beside.absolute(),
                args=ocp.args.Composite(**arguments, info=ocp.args.JsonSave(_sealed(record))),
            )
        write_json(beside / FILES, _file_digests(beside), sealed=True)
        os.rename(beside, folder / str(step))
    except Exception as error:  # Orbax and tensorstore raise their own kinds for a full disk
        _clear(folder)
        done = chunks(folder)
        raise StoreError(
            f"the points up to step {step} could not be written to {folder} ({_first_line(error)}). "
            f"{f'All points up to step {done[-1]} are safe' if done else 'Nothing was committed yet'}; "
            "make room and run the same command again: it goes on from there."
        ) from error


def read_chunk(
    folder: Path, step: int, names: tuple[str, ...] | None = None
) -> tuple[dict[str, Arrays], dict[str, Any]]:
    """The arrays and info of one chunk (`names`: only these items), or Damaged."""
    path = (folder / str(step)).absolute()
    try:
        if read_json(path / FILES, sealed=True) != _file_digests(path):
            raise ValueError("a file in it differs from what was written")
        info = _opened(_restore(path, {"info": "json"})["info"])
        if info.get("schema") != SCHEMA or info.get("step") != step:
            raise ValueError(f"its info says schema {info.get('schema')}, step {info.get('step')}")
        wanted = [name for name in info["arrays"] if names is None or name in names]
        items = _restore(path, dict.fromkeys(wanted, "arrays"))
        for name in wanted:
            _verify(name, items[name], info["arrays"][name])
    except Exception as error:  # whatever a flipped bit makes of it
        raise Damaged(f"the chunk at step {step} in {folder} is damaged: {_first_line(error)}") from error
    return {name: {key: np.asarray(value) for key, value in items[name].items()} for name in wanted}, info


def _clear(folder: Path) -> None:
    """Removes what a broken write has left."""
    for path in folder.glob("writing-*"):
        shutil.rmtree(path, ignore_errors=True)


def _file_digests(path: Path) -> dict[str, Any]:
    """sha256 of every file of a chunk: checked before Orbax opens any, which does not take all damage quietly."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != FILES)
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def newest_sound_chunk(folder: Path) -> tuple[dict[str, Arrays] | None, dict[str, Any], list[str]]:
    """The newest chunk that is what was written, its info, and a message for each damaged one set aside before it."""
    messages: list[str] = []
    for step in reversed(chunks(folder)):
        try:
            return *read_chunk(folder, step), messages
        except Damaged as error:
            aside = folder / f"damaged-{step}"
            shutil.rmtree(aside, ignore_errors=True)
            os.rename(folder / str(step), aside)
            messages.append(f"{error}. It is set aside as {aside.name}, and training goes on from the chunk before.")
    return None, {}, messages


def write_json(path: Path, value: Mapping[str, Any], *, sealed: bool = False) -> None:
    """Atomically; `sealed` adds a digest that `read_json` checks."""
    text = json.dumps(_sealed(value) if sealed else value, indent=1, ensure_ascii=False, allow_nan=True)
    _replace(path, lambda beside: beside.write_text(text + "\n"))


def read_json(path: Path, *, sealed: bool = False) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
        if not isinstance(value, dict):
            raise ValueError("it holds no JSON object")
        return _opened(value) if sealed else value
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise Damaged(f"{path} is damaged: {_first_line(error)}") from error


def write_text(path: Path, text: str) -> None:
    _replace(path, lambda beside: beside.write_text(text))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A compressed npz, atomically."""

    def write(beside: Path) -> None:
        with beside.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **{NAMES: np.array(sorted(arrays))}, **dict(arrays))

    _replace(path, write)


def read_arrays(path: Path) -> Arrays:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:  # np.load leaks a file it fails on
            if sorted(file[NAMES]) != sorted(set(file.files) - {NAMES}):
                raise ValueError("arrays are missing from it")
            return {name: file[name] for name in file.files if name != NAMES}
    except FileNotFoundError:
        raise StoreError(f"{path} is not there: run the stage before it first (train, analyze, then draw).") from None
    except Exception as error:
        raise Damaged(f"{path} is damaged: {_first_line(error)}") from error


def write_table(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """A parquet table, atomically; any column of equal length."""
    import pyarrow as pa
    from pyarrow import parquet

    _replace(path, lambda beside: parquet.write_table(pa.table(dict(columns)), beside))


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder for this process; StoreError if another has it. The lock falls with the process, however it dies."""
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            owner = file.read().strip() or "another process"
            raise Refused(f"{folder} is in use by {owner}: wait for it or choose another --out.") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}")
        file.flush()
        yield


def make_folder(folder: Path, needed: int) -> None:
    """Creates the folder, after a look at whether it can be written and holds `needed` bytes; else StoreError, nothing
    created."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise Refused(f"--out leads to {existing}, which is a file: give a folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise Refused(f"--out leads to {existing}, which is not writable: give a folder that is.")
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise Refused(
            f"--out leads to {existing}, which has {size(free)} free: this sweep needs {size(needed)}; "
            "save fewer points or give another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"--out leads to {folder}, which cannot be made ({_first_line(error)}): give another.") from None


def size(n_bytes: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def _orbax() -> Any:
    import orbax.checkpoint as ocp  # takes a second, so only where something is read or written

    logging.getLogger("absl").setLevel(logging.ERROR)
    return ocp


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


def _sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    return {**value, "digest": _digest(value)}


def _opened(value: Mapping[str, Any]) -> dict[str, Any]:
    content = {key: inner for key, inner in value.items() if key != "digest"}
    if value.get("digest") != _digest(content):
        raise ValueError("its digest does not fit its content")
    return content


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _replace(path: Path, write: Any) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(beside)
        os.replace(beside, path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise StoreError(
            f"{path} could not be written ({_first_line(error)}): what was there before is unchanged."
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
