"""Small files, each written whole or not at all: JSON (sealed by a digest), npz, parquet, text."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toylab.store.errors import Damaged, StoreError, Unread, first_line, is_unread

NAMES = "names"  # in an npz: all its arrays, since a zip whose directory is damaged may drop some without a word
Arrays = dict[str, np.ndarray]


class Repeated(NamedTuple):
    """A column of plain values (None: null) of which each stands in many rows."""

    values: Sequence[Any]
    rows: np.ndarray  # [N]: which of them
    kind: type = str  # of a column that has none


class Stretches(NamedTuple):
    """A column of numbers, piece by piece; a count stands for so many nulls."""

    pieces: Sequence[np.ndarray | int]


Column = Repeated | Stretches | np.ndarray | Sequence[Any]


def write_json(path: Path, value: Mapping[str, Any], *, sealed: bool = False) -> None:
    """Atomically; `sealed` adds a digest that `read_json` checks."""
    text = _lines(seal(value) if sealed else value)
    _replace(path, lambda beside: beside.write_text(text + "\n", "utf-8"))


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
    try:
        value = json.loads(path.read_text("utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it holds no JSON object")
        return opened(value) if sealed else value
    except (ValueError, KeyError, TypeError, OSError) as error:
        if is_unread(error):
            raise Unread(f"{path} cannot be read: {first_line(error)}.") from error
        raise Damaged(f"{path} is damaged: {first_line(error)}") from error


def write_text(path: Path, text: str) -> None:
    _replace(path, lambda beside: beside.write_text(text, "utf-8"))


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
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"{path} is not there: run the stage before it first (train, analyze, then draw).") from None
    except Exception as error:
        raise Damaged(f"{path} is damaged: {first_line(error)}") from error


def write_table(path: Path, columns: Mapping[str, Column]) -> None:
    """A parquet table, atomically; any column of equal length. Measures rarely repeat, so only the others are looked
    through for values that do."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({name: _arrow(column) for name, column in columns.items()})
    repeating = [name for name, column in columns.items() if not isinstance(column, Stretches)]
    _replace(path, lambda beside: parquet.write_table(table, beside, use_dictionary=repeating))


def _arrow(column: Column) -> Any:
    import pyarrow as pa

    if isinstance(column, Stretches):
        dtype = np.result_type(*[piece for piece in column.pieces if isinstance(piece, np.ndarray)])
        kind = pa.from_numpy_dtype(dtype)
        pieces = [
            pa.array(piece.astype(dtype, copy=False)) if isinstance(piece, np.ndarray) else pa.nulls(piece, kind)
            for piece in column.pieces
        ]
        return pa.chunked_array(pieces, type=kind)
    if isinstance(column, Repeated):
        kinds = {type(value) for value in column.values if value is not None} or {column.kind}
        as_one = next(kind for kind in (bool, int, float, str) if kinds <= _BELOW[kind])
        kind = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}[as_one]
        values = pa.array([None if value is None else as_one(value) for value in column.values], kind)
        return (values.dictionary_encode() if as_one is str else values).take(pa.array(column.rows))
    return pa.array(column)


_BELOW: dict[type, set[type]] = {
    bool: {bool},
    int: {int, bool},
    float: {float, int, bool},
    str: {str, float, int, bool},
}


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
    return {**value, "digest": _digest(value)}


def opened(value: Mapping[str, Any]) -> dict[str, Any]:
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
            f"{path} could not be written ({first_line(error)}): what was there before is unchanged."
        ) from error
