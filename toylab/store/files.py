"""Small files, each written whole or not at all: JSON (sealed by a digest), npz, parquet, text."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toylab.store.errors import Damaged, StoreError, first_line

NAMES = "names"  # in an npz: all its arrays, since a zip whose directory is damaged may drop some without a word
Arrays = dict[str, np.ndarray]


def write_json(path: Path, value: Mapping[str, Any], *, sealed: bool = False) -> None:
    """Atomically; `sealed` adds a digest that `read_json` checks."""
    text = json.dumps(seal(value) if sealed else value, indent=1, ensure_ascii=False, allow_nan=True)
    _replace(path, lambda beside: beside.write_text(text + "\n"))


def read_json(path: Path, *, sealed: bool = False) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
        if not isinstance(value, dict):
            raise ValueError("it holds no JSON object")
        return opened(value) if sealed else value
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise Damaged(f"{path} is damaged: {first_line(error)}") from error


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
        raise Damaged(f"{path} is damaged: {first_line(error)}") from error


def write_table(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """A parquet table, atomically; any column of equal length."""
    import pyarrow as pa
    from pyarrow import parquet

    _replace(path, lambda beside: parquet.write_table(pa.table(dict(columns)), beside))


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
