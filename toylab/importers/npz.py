"""numpy's .npz: every header is read before any array, and nothing but plain numbers is made of it.

numpy's own reader takes a header as Python source and unpacks whatever an archive holds.
"""

import math
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toylab.importers import archives
from toylab.importers.naming import Refusal, printable
from toylab.importers.safetensors import MAX_AXES, is_vast

MAGIC = b"\x93NUMPY"
LENGTHS = {b"\x01\x00": 2, b"\x02\x00": 4}  # version → bytes of the header's length
MAX_HEADER = 10_000
ITEMS = {"descr": r"'([^']{1,40})'", "fortran_order": "(True|False)", "shape": r"\(([\d, L]*)\)"}
HEADER = re.compile(
    r"\{\s*" + "".join(rf"(?:'\w+':\s*(?:{'|'.join(ITEMS.values())})\s*,?\s*)" for _ in ITEMS) + r"\}\s*"
)
DTYPE = re.compile(r"[<>|=]?[A-Za-z]\d*(\[\w+\])?")


@dataclass(frozen=True)
class Head:
    """What a member says of its array; n_bytes: its own."""

    shape: tuple[int, ...]
    dtype: np.dtype
    by_columns: bool
    n_bytes: int


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name."""
    return _members(path, lambda archive, entry, head: _array(archive.read(entry), head))


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays, by their headers alone."""
    return _members(path, lambda archive, entry, head: head.shape)


def _members(path: Path, made: Callable[[zipfile.ZipFile, zipfile.ZipInfo, Head], Any]) -> dict[str, Any]:
    """What is made of each member, after all headers were read."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archives.checked(path, archive)
            named = {entry.filename.removesuffix(".npy"): entry for entry in entries}
            if len(named) < len(entries):
                raise Refusal(f"{path} has an array twice, with .npy and without: each must stand there once.")
            heads = {name: _head(path, archive, entry, name) for name, entry in named.items()}
            return {name: made(archive, named[name], head) for name, head in heads.items()}
    except Refusal:
        raise
    except Exception as error:  # zip, zlib and struct each raise their own
        raise Refusal(f"{path} is no .npz archive, or cut short.") from error


def _head(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> Head:
    try:
        with archive.open(entry) as file:
            magic, version = file.read(6), file.read(2)
            n_length = LENGTHS[version] if magic == MAGIC else 0
            length = int.from_bytes(file.read(n_length), "little")
            text = file.read(length).decode("latin1") if 0 < length <= MAX_HEADER else ""
        descr, by_columns, shape = _items(text)
        dtype = np.dtype(descr)
    except Exception as error:
        raise Refusal(f"{path} is damaged: {printable(name)} is no array.") from error
    head = Head(shape, dtype, by_columns, 8 + n_length + length)
    if dtype.hasobject:
        raise Refusal(f"{path} has {printable(name)} of dtype object, a pickle: it must hold plain numbers.")
    whole = dtype.itemsize and math.prod(shape) * dtype.itemsize == entry.file_size - head.n_bytes
    if not whole or len(shape) > MAX_AXES or is_vast(shape):
        raise Refusal(
            f"{path} is damaged: {printable(name)} {printable(list(shape))} of {printable(dtype)} does not have its number "
            "of bytes."
        )
    return head


def _items(text: str) -> tuple[str, bool, tuple[int, ...]]:
    """dtype, whether columns lie together, and shape, of a header: a Python dict with three keys."""
    if not HEADER.fullmatch(text):
        raise ValueError(text)
    found = {name: re.findall(rf"'{name}':\s*{pattern}", text) for name, pattern in ITEMS.items()}
    (descr,), (by_columns,), (shape,) = found["descr"], found["fortran_order"], found["shape"]
    if not DTYPE.fullmatch(descr):
        raise ValueError(descr)
    axes = [axis.strip().rstrip("L") for axis in shape.split(",")]  # Python 2 wrote 3L
    return descr, by_columns == "True", tuple(int(axis) for axis in axes if axis)


def _array(raw: bytes, head: Head) -> np.ndarray:
    if not math.prod(head.shape):
        return np.zeros(head.shape, head.dtype)
    flat = np.frombuffer(raw, head.dtype, offset=head.n_bytes)
    return flat.reshape(head.shape[::-1]).T if head.by_columns else flat.reshape(head.shape)
