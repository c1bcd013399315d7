"""Small files: JSON (sealed with a digest), npz and text. Each is written completely or not at all."""

import hashlib
import io
import json
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from toylab.store import durable
from toylab.store.errors import Damaged, StoreError, Unread, first_line, is_unread

NAMES = "names"  # in an npz: the names of its arrays, because a zip with a damaged directory may silently lack some
ZIP = b"PK\x03\x04"
LONGEST = 64 << 20  # bytes of an array that is packed by LZMA: 1 to 2 MB a second
WORDS = {"id": lzma.FILTER_LZMA1, "lc": 2, "lp": 2, "pb": 2, "dict_size": 8 << 20}  # contexts for numbers of four bytes
KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
Arrays = dict[str, np.ndarray]


def write_json(path: Path, value: Mapping[str, Any], *, sealed: bool = False) -> None:
    """Writes JSON, completely or not at all. `sealed` adds a digest that `read_json` checks."""
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
    """Reads a JSON object.

    Args:
        path: of the file.
        sealed: whether it has a digest, which is then checked.

    Raises:
        Damaged: where it is missing, no JSON object, or not what was sealed.
        Unread: where it cannot be read now.
    """
    try:
        with open_file(path) as file:
            value = _parsed(file.read())
        return unsealed(value) if sealed else value
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
        _json(value).encode()  # raises ValueError for half a surrogate pair, which cannot be printed
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{json.dumps(twice)[:60]} stands in it twice")
    return found


def open_file(path: Path, flags: int = os.O_RDONLY) -> BinaryIO:
    """Opens a file for reading, without waiting for a FIFO. Raises ValueError where it is no regular file."""
    handle = os.open(path, flags | os.O_NONBLOCK, 0o666)
    kind = stat.S_IFMT(os.fstat(handle).st_mode)
    if kind != stat.S_IFREG:
        os.close(handle)
        raise ValueError(f"it is {KINDS.get(kind, 'a device')}, and must be a file")
    return os.fdopen(handle, "rb")


def write_text(path: Path, text: str) -> None:
    """Writes a text, completely or not at all."""
    replaced(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a compressed npz, completely or not at all. `np.load` reads it. The same arrays give the same bytes."""

    def write(beside: Path) -> None:
        with zipfile.ZipFile(beside, "w") as archive:
            for name, array in {NAMES: np.array(sorted(arrays)), **arrays}.items():
                _add(archive, f"{name}.npy", array)

    replaced(path, write)


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    """Adds an array as .npy, by deflate or LZMA, whichever is smaller."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    raw, info = file.getbuffer(), zipfile.ZipInfo(name)
    info.compress_type, packed = zipfile.ZIP_DEFLATED, b""
    if len(raw) <= LONGEST:
        packed = lzma.compress(raw, lzma.FORMAT_RAW, filters=[WORDS])
        if len(packed) < len(zlib.compress(raw)):
            info.compress_type = zipfile.ZIP_LZMA
    with archive.open(info, "w", force_zip64=len(raw) >= 1 << 30) as member:
        if info.compress_type == zipfile.ZIP_LZMA:
            member._compressor = _Packed(packed)  # type: ignore[attr-defined]  # zipfile has no argument for the contexts
        member.write(raw)


class _Packed:
    """A compressor for zipfile that gives what has been packed before, behind the header of zip's LZMA."""

    def __init__(self, packed: bytes) -> None:
        properties = struct.pack("<BI", (WORDS["pb"] * 5 + WORDS["lp"]) * 9 + WORDS["lc"], WORDS["dict_size"])
        self.stream = struct.pack("<BBH", 9, 4, len(properties)) + properties + packed

    def compress(self, raw: bytes) -> bytes:
        return b""

    def flush(self) -> bytes:
        return self.stream


def read_arrays(path: Path) -> Arrays:
    """Reads all arrays of an npz that `write_arrays` wrote.

    Raises:
        StoreError: where it does not exist.
        Damaged: where any of its arrays is missing or damaged.
        Unread: where it cannot be read now.
    """
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
        if "pickle" in str(error):  # numpy's message says how to allow it
            raise ValueError(f"{json.dumps(name)[:60]} holds Python objects, which are never read") from None
        raise


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
    """The value with a digest of its content."""
    return {**value, "digest": _digest(value)}


def unsealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """The value without its digest. Raises ValueError where that does not fit."""
    content = {key: inner for key, inner in value.items() if key != "digest"}
    if value.get("digest") != _digest(content):
        raise ValueError("its digest does not fit its content")
    return content


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def replaced(path: Path, write: Callable[[Path], object]) -> None:
    """`durable.replace`, with StoreError where it fails."""
    try:
        durable.replace(path, write)
    except OSError as error:
        raise StoreError(
            f"{path} could not be written ({first_line(error)}): what was there before is unchanged."
        ) from error
