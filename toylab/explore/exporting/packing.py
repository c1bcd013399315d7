"""Frames of an exported file: what the plots hold at some saved points, packed into one block of bytes.

A column of a source that is the same in every frame is left out. Images have 8 or 16 bits a number, evenly from the least
to the greatest value of all frames, with one code for nan: 8 bits where the error, half a step, is then at most `ERROR` of
the colour scale; else 16, where it is so with these. What is left, and all other numbers, are float32. Texts are JSON.
"""

import gzip
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

ERROR = 0.005  # of the colour scale, the greatest
LEVELS = {"u1": 254, "u2": 65534}  # codes of numbers; the code above is nan


def packed(frames: Sequence[Sequence[dict[str, Any]]], *, keep_constant: bool = False) -> tuple[list[Any], bytes]:
    """The columns of one run and their bytes.

    Args:
        frames: of each saved point what each source holds: arrays or lists by column, as `Page.data` gives them.
        keep_constant: whether columns that never change are packed too, once: where other runs have others.

    Returns:
        A record a column, with the source's number, the column's name, how it is packed, and where in the bytes.
    """
    columns, blocks, at = [], [], 0
    for number, first in enumerate(frames[0]):
        for name in first:
            values = [frame[number][name] for frame in frames]
            constant = all(_alike(value, values[0]) for value in values[1:])
            if constant and not keep_constant:
                continue
            record, block = _column(values[:1] if constant else values, _scale(frames, number, name))
            columns.append({"source": number, "column": name, "at": at, **record})
            blocks.append(block)
            at += len(block)
    return columns, b"".join(blocks)


def block(runs: Sequence[dict[str, Any]], contents: Sequence[bytes]) -> bytes:
    """All runs in one compressed block: the length of the header in 4 bytes, the header as JSON, the runs' bytes.

    Args:
        runs: of each run its name, `points` (the numbers of its saved points) and `columns`, as `packed` gives them.
        contents: of each run its bytes.
    """
    begins = np.cumsum([0, *map(len, contents)])[:-1].tolist()
    header = json.dumps(
        [{**run, "at": at} for run, at in zip(runs, begins, strict=True)], separators=(",", ":")
    ).encode()
    header += b" " * (-len(header) % 4)
    return gzip.compress(len(header).to_bytes(4, "little") + header + b"".join(contents), 9, mtime=0)


def _column(values: list[Any], scale: float) -> tuple[dict[str, Any], bytes]:
    """How a column is packed, and its bytes, a multiple of 4. `shapes` and `lengths` are those of each frame, or of all."""
    flat = [_flat(value) for value in values]
    shapes = [shape for shape, _ in flat if shape is not None]
    arrays = [numbers for _, numbers in flat if numbers is not None]
    if len(arrays) < len(values):
        text = json.dumps([_plain(value) for value in values], ensure_ascii=False, allow_nan=False).encode()
        return {"kind": "json", "bytes": len(text)}, text + b"\0" * (-len(text) % 4)
    record = {"frames": len(values), "shapes": _once(shapes), "lengths": _once([len(one) for one in arrays])}
    numbers = np.concatenate(arrays)
    is_image = all(shape and all(len(one) == 2 for one in shape) for shape in shapes)
    found = quantised(numbers, scale) if is_image else None
    if found is None:
        return {**record, "kind": "f4"}, numbers.astype("<f4").tobytes()
    codes, low, step = found
    content = codes.tobytes()
    return {**record, "kind": codes.dtype.str[1:], "low": low, "step": step}, content + b"\0" * (-len(content) % 4)


def _once(each: list[Any]) -> list[Any]:
    """One entry where all are the same."""
    return each[:1] if all(one == each[0] for one in each) else each


def quantised(numbers: np.ndarray, scale: float) -> tuple[np.ndarray, float, float] | None:
    """Codes of 8 or 16 bits, with the value of code 0 and the step between codes: value = low + step · code. The code above
    LEVELS is nan.

    Args:
        numbers: [...], finite or nan.
        scale: what the error is compared with: ERROR of it is allowed.

    Returns:
        None where 16 bits are too few, or a number is infinite.
    """
    known = numbers[~np.isnan(numbers)]
    if not np.isfinite(known).all():
        return None
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    for kind, levels in LEVELS.items():
        step = (high - low) / levels
        if step / 2 <= ERROR * scale:
            codes = np.rint((numbers - low) / step) if step else np.zeros_like(numbers)
            return np.where(np.isnan(numbers), levels + 1, codes).astype(f"<{kind}"), low, step
    return None


def _scale(frames: Sequence[Sequence[dict[str, Any]]], number: int, name: str) -> float:
    """Where the colours of an image end: `high` of the source before it, which has the title and the limits of its plot, or
    the greatest absolute value of all frames."""
    if number and "high" in frames[0][number - 1]:
        return float(np.min(np.abs([frame[number - 1]["high"] for frame in frames])))
    found = [flat for frame in frames if (flat := _flat(frame[number][name])[1]) is not None and flat.size]
    return float(np.nanmax(np.abs(np.concatenate(found)), initial=0.0)) if found else 0.0


def _flat(value: Any) -> tuple[list[list[int]], np.ndarray] | tuple[None, None]:
    """The shapes of a column's entries, and all their numbers in one array. Plain numbers have no shapes: []. (None, None)
    where it holds something else than numbers and arrays of one or two axes."""
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "fiub":
        return [], value.astype(np.float32)
    if not isinstance(value, list | tuple | np.ndarray):
        return None, None
    if all(isinstance(one, int | float | np.number) for one in value):
        return [], np.array(value, np.float32)
    if not all(isinstance(one, np.ndarray | list) for one in value):
        return None, None
    arrays = [np.asarray(one) for one in value]
    if any(one.dtype.kind not in "fiub" or one.ndim not in (1, 2) for one in arrays):
        return None, None
    return [list(one.shape) for one in arrays], np.concatenate([one.ravel() for one in arrays]).astype(np.float32)


def _alike(one: Any, other: Any) -> bool:
    shapes, flat = _flat(one)
    if flat is not None:
        others, numbers = _flat(other)
        return shapes == others and numbers is not None and np.array_equal(flat, numbers, equal_nan=True)
    return _plain(one) == _plain(other)


def _plain(value: Any) -> Any:
    """As JSON has it; nan is null."""
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not np.isfinite(value) else value
