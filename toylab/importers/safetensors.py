"""The safetensors format in numpy: a length, a JSON header, the arrays' bytes. Nothing in a file is ever executed, and the
header is held against the file's length before any array is made (https://github.com/huggingface/safetensors).

The library `safetensors` is not used: of an array or a text that stands in the header twice it takes one without a word, it
takes empty arrays with other axes of any size, its numpy reader has no bfloat16, its errors name no array, and it writes
arrays that are not contiguous (a transpose) with their numbers in another order. The tests exchange files with it."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from toylab.importers.naming import Refusal, printable, printable_value
from toylab.importers.strict_json import parsed
from toylab.store import durable

MAX_HEADER = 8 << 20  # bytes
MAX_BYTES = 2 << 30  # of all arrays of a source: toy models are far below
MAX_AXES = 8
METADATA = "__metadata__"
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip


Header = tuple[dict[str, Any], list[tuple[tuple[int, int], str]], dict[str, str]]
_LAST: dict[tuple[bytes, int], Header] = {}  # checkpoints of one network have one header, which is checked once


def read(path: Path, keys: Collection[str] | None = None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(arrays, metadata) of a file, or those of some keys. bfloat16 becomes float32, which is exact."""
    with path.open("rb") as file:
        header, spans, metadata = _opened(path, file)
        begin, arrays = file.tell(), {}
        for (start, stop), name in spans:
            if keys is None or name in keys:
                file.seek(begin + start)
                arrays[name] = _array(file.read(stop - start), header[name])
    return arrays, metadata


def shapes(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """(shapes, metadata) of a file, by its header alone."""
    with path.open("rb") as file:
        header, _, metadata = _opened(path, file)
    return {name: tuple(entry["shape"]) for name, entry in header.items()}, metadata


def _opened(path: Path, file: BinaryIO) -> Header:
    """The header, where each array lies, and the metadata; the file then stands at the first array."""
    n_bytes = path.stat().st_size
    length = int.from_bytes(file.read(8), "little") if n_bytes >= 8 else n_bytes
    if n_bytes < 8 or length > min(MAX_HEADER, n_bytes - 8):
        raise Refusal(f"{path} is no safetensors file, or cut short: its header should have {length} bytes.")
    body = n_bytes - 8 - length
    if body > MAX_BYTES:
        raise Refusal(f"{path} has {body:,} bytes of arrays: at most {MAX_BYTES:,} are read.")
    text = file.read(length)
    if (found := _LAST.get((text, body))) is None:
        found = _header(path, text, body)
        _LAST.clear()
        _LAST[text, body] = found
    return found


def _header(path: Path, text: bytes, body: int) -> Header:
    """A header, after it was held against the bytes of the arrays."""
    header = parsed(text, f"{path}: its header", f"{path} is no safetensors file: its header is not JSON.")
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise Refusal(f"{path} is damaged: its {METADATA} must hold texts alone.")
    spans = sorted((_span(path, name, entry, body), name) for name, entry in header.items())
    end = 0
    for (start, stop), name in spans:
        if start != end:
            raise Refusal(f"{path} is damaged: {printable(name)} begins at byte {start}, {end} is where it should.")
        end = stop
    if end != body:
        raise Refusal(f"{path} is damaged: its arrays end at byte {end}, the file at {body}.")
    return header, spans, metadata


def _span(path: Path, name: str, entry: Any, body: int) -> tuple[int, int]:
    """Where an array lies, after its header entry was held against the file."""

    def whole(values: Any, at_most: int) -> bool:
        return (
            isinstance(values, list)
            and len(values) <= at_most
            and all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in values)
        )

    said = entry if isinstance(entry, dict) else {}
    found: list[Any] = [said.get(key) for key in ("dtype", "shape", "data_offsets")]
    dtype, shape, span = found
    if not (isinstance(dtype, str) and whole(shape, MAX_AXES) and whole(span, 2) and len(span) == 2):
        raise Refusal(f"{path} is damaged: the header of {printable(name)} is {printable_value(entry)}.")
    if dtype not in DTYPES:
        raise Refusal(
            f"{path} has {printable(name)} of dtype {printable(dtype)}: it must be one of {', '.join(DTYPES)}."
        )
    start, stop = span
    if not start <= stop <= body:
        raise Refusal(f"{path} is cut short or damaged: {printable(name)} ends at byte {printable(stop)} of {body}.")
    if math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize != stop - start or is_vast(shape):
        raise Refusal(
            f"{path} is damaged: {printable(name)} {printable(shape)} of {dtype} does not have {stop - start} bytes."
        )
    return start, stop


def is_vast(shape: Sequence[int]) -> bool:
    """Whether an axis of size 0 hides others that no array can have."""
    return math.prod(max(size, 1) for size in shape) > MAX_BYTES


def _array(raw: bytes, entry: dict[str, Any]) -> np.ndarray:
    array = np.frombuffer(raw, DTYPES[entry["dtype"]]).reshape(entry["shape"])
    if entry["dtype"] == "BF16":
        return (array.astype("<u4") << 16).view("<f4")
    return array


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """The whole file or none: it is written beside its place, brought to the disk and then moved there."""
    names = {np.dtype(kind).str.lstrip("<|"): name for name, kind in DTYPES.items() if name != "BF16"}
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    end, parts = 0, []
    for name, array in sorted(arrays.items()):
        part = np.asarray(array, order="C")  # ascontiguousarray would give a scalar an axis
        raw = part.astype(part.dtype.newbyteorder("<"), copy=False).tobytes()
        dtype = names[np.dtype(part.dtype).newbyteorder("<").str.lstrip("<|")]
        header[name] = {"dtype": dtype, "shape": list(part.shape), "data_offsets": [end, end + len(raw)]}
        parts.append(raw)
        end += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the arrays begin at a multiple of 8 bytes
    content = b"".join([len(text).to_bytes(8, "little"), text, *parts])
    durable.replace(path, lambda beside: beside.write_bytes(content))
