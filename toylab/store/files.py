"""Small files, each written whole and to the disk, or not at all: JSON (sealed by a digest), npz, text."""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from toylab.store import durable
from toylab.store.errors import Damaged, StoreError, Unread, first_line, is_unread

NAMES = "names"  # in an npz: all its arrays, since a zip whose directory is damaged may drop some without a word
ZIP = b"PK\x03\x04"
KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
Arrays = dict[str, np.ndarray]


def write_json(path: Path, value: Mapping[str, Any], *, sealed: bool = False) -> None:
    """Atomically; `sealed` adds a digest that `read_json` checks."""
    text = _lines(seal(value) if sealed else value)
    write_text(path, text + "\n")


def _lines(value: Any, deep: int = 4) -> str:
    """JSON with a line for every entry down to some depth and for every object in a list, and what lies deeper on one: a
    manifest has a line a run, claims.json one a claim."""
    pad = " " * (5 - deep)
    if deep and value and isinstance(value, Mapping):
        inner = [f"{_json(str(key))}: {_lines(item, deep - 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(pad + line for line in inner) + f"\n{pad[1:]}}}"
    if deep and value and isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
        return "[\n" + ",\n".join(pad + _json(item) for item in value) + f"\n{pad[1:]}]"
    return _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=True)


def read_json(path: Path, *, sealed: bool = False) -> dict[str, Any]:
    """A JSON object; Damaged where there is none, or it is not what was `sealed`."""
    try:
        with open_file(path) as file:
            value = _parsed(file.read())
        return opened(value) if sealed else value
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        if is_unread(error):
            raise Unread(f"{path} cannot be read: {first_line(error)}.") from error
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise Damaged(f"{path} is not there") from error
        why = "it is nested too deeply" if isinstance(error, RecursionError) else first_line(error)
        raise Damaged(f"{path} is damaged: {why}") from error


def _parsed(text: bytes) -> dict[str, Any]:
    if not text.strip(b"\0"):
        raise ValueError(f"its {len(text)} bytes are all 0" if text else "it is empty")
    value = json.loads(text.decode(), object_pairs_hook=_distinct)
    if not isinstance(value, dict):
        raise ValueError("it holds no JSON object")
    if b"\\ud" in text.lower():
        _json(value).encode()  # ValueError of a half of a character, which could not be printed
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{json.dumps(twice)[:60]} stands in it twice")
    return found


def open_file(path: Path, flags: int = os.O_RDONLY) -> BinaryIO:
    """For reading; ValueError of what is no file. A FIFO is not waited for."""
    handle = os.open(path, flags | os.O_NONBLOCK, 0o666)
    kind = stat.S_IFMT(os.fstat(handle).st_mode)
    if kind != stat.S_IFREG:
        os.close(handle)
        raise ValueError(f"it is {KINDS.get(kind, 'a device')}, and must be a file")
    return os.fdopen(handle, "rb")


def write_text(path: Path, text: str) -> None:
    replaced(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A compressed npz, atomically."""

    def write(beside: Path) -> None:
        with beside.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **{NAMES: np.array(sorted(arrays))}, **dict(arrays))

    replaced(path, write)


def read_arrays(path: Path) -> Arrays:
    """What `write_arrays` has written: all of it, or Damaged."""
    try:
        with open_file(path) as opened:  # np.load leaks a file it fails on
            if opened.read(4) != ZIP:
                raise ValueError("it is no .npz")
            opened.seek(0)
            with np.load(opened, allow_pickle=False) as file:
                return _all_of(file)
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"{path} is not there: run the stage before it first (train, analyze, then draw).") from None
    except Exception as error:
        if is_unread(error):
            raise Unread(f"{path} cannot be read: {first_line(error)}.") from error
        raise Damaged(f"{path} is damaged: {first_line(error)}") from error


def _all_of(file: Any) -> Arrays:
    names = set(file.files)
    if NAMES not in names:
        raise ValueError("it lacks the list of its arrays")
    if len(file.files) > len(names) or sorted(_array(file, NAMES)) != sorted(names - {NAMES}):
        raise ValueError("arrays are missing from it, or stand in it twice")
    return {name: _array(file, name) for name in file.files if name != NAMES}


def _array(file: Any, name: str) -> np.ndarray:
    try:
        return file[name]
    except ValueError as error:
        if "pickle" in str(error):  # numpy's own words tell how to allow it
            raise ValueError(f"{json.dumps(name)[:60]} holds Python objects, which are never read") from None
        raise


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
    return {**value, "digest": _digest(value)}


def opened(value: Mapping[str, Any]) -> dict[str, Any]:
    content = {key: inner for key, inner in value.items() if key != "digest"}
    if value.get("digest") != _digest(content):
        raise ValueError("its digest does not fit its content")
    return content


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def replaced(path: Path, write: Callable[[Path], object]) -> None:
    """`durable.replace`, with what is safe where it fails."""
    try:
        durable.replace(path, write)
    except OSError as error:
        raise StoreError(
            f"{path} could not be written ({first_line(error)}): what was there before is unchanged."
        ) from error
