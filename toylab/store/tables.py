"""Writes parquet tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toylab.store.files import replaced


class Repeated(NamedTuple):
    """A column of plain values (None is null), each of which is repeated in many rows."""

    values: Sequence[Any]
    rows: np.ndarray  # [N]: the index of the value in each row
    kind: type = str  # of a column that has only nulls


class Stretches(NamedTuple):
    """A column of numbers in pieces. A whole number n as a piece is n nulls."""

    pieces: Sequence[np.ndarray | int]


Column = Repeated | Stretches | np.ndarray | Sequence[Any]


def write_table(path: Path, columns: Mapping[str, Column]) -> None:
    """Writes a parquet table, completely or not at all.

    Args:
        path: of the file.
        columns: by name, of equal length. All but Stretches are dictionary-encoded, since measures rarely repeat.

    Raises:
        StoreError: where it cannot be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({name: _arrow(column) for name, column in columns.items()})
    repeating = [name for name, column in columns.items() if not isinstance(column, Stretches)]
    replaced(path, lambda beside: parquet.write_table(table, beside, use_dictionary=repeating))


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
