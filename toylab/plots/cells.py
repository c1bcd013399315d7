"""A sweep's runs by cell: one cell for each pair of values that two columns take, with any measure of its runs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from toylab.plots import fields

Column = str | np.ndarray


class Cells(NamedTuple):
    """Runs by cell: x [X] and y [Y] rise; values [Y, X, S] of the S most runs that a cell has, of which `held` are runs.

    A run that is held may have the value nan: it was trained, but has none (it never generalised, say)."""

    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    held: np.ndarray


def of_columns(measures: Any, x: Column, y: Column, value: Column) -> Cells:
    """The runs by the values of two columns: each an array [R], or a name: of a measure, or of a field as task.n_train.

    Args:
        measures: A Sweep, or arrays by name, as the Measures of a page. One over training [R, T] is taken at each run's
            last saved point, by `valid`.
        x: The column across.
        y: The column upwards.
        value: What is drawn.
    """
    across, up, found = (_column(measures, name, column) for name, column in (("x", x), ("y", y), ("value", value)))
    if not len(across) == len(up) == len(found):
        raise ValueError(f"x, y and value are of {len(across)}, {len(up)} and {len(found)} runs; they are of the same")
    xs, column = np.unique(across, return_inverse=True)
    ys, row = np.unique(up, return_inverse=True)
    held = np.zeros((len(ys), len(xs)), int)
    np.add.at(held, (row, column), 1)
    values = np.full((*held.shape, held.max(initial=1)), np.nan)
    taken = np.zeros_like(held)
    for i, j, own in zip(row, column, found, strict=True):
        values[i, j, taken[i, j]] = own
        taken[i, j] += 1
    return Cells(xs, ys, values, np.arange(values.shape[2]) < held[..., None])


def _column(measures: Any, role: str, column: Column) -> np.ndarray:
    values = fields.array(measures, column, role) if isinstance(column, str) else np.asarray(column)
    valid = measures.get("valid") if isinstance(measures, Mapping) else measures.valid
    if isinstance(column, str) and values.ndim == 2 and valid is not None:
        values = values[np.arange(len(values)), valid.shape[1] - 1 - valid[:, ::-1].argmax(axis=1)]
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise ValueError(f"{role} has shape {values.shape} of {values.dtype}; it is one number a run, [R]")
    return values.astype(float)


def median(cells: Cells) -> np.ndarray:
    """The median over the runs of each cell, a run without a value counting as beyond all others.

    Of an even number it is the lower middle one, so that it is always a run's.

    Args:
        cells: The runs by cell.

    Returns:
        [Y, X]; nan where that is the median, and where no run is held.
    """
    ranked = np.sort(np.where(np.isnan(cells.values), np.inf, cells.values), axis=2)  # [Y, X, S]
    middle = np.maximum(cells.held.sum(axis=2) - 1, 0) // 2
    found = np.take_along_axis(ranked, middle[..., None], axis=2)[..., 0]
    return np.where(np.isfinite(found), found, np.nan)


def commonest(cells: Cells, n: int) -> np.ndarray:
    """The category that most runs of a cell have, of several the first.

    Args:
        cells: The runs by cell.
        n: The number of categories.

    Returns:
        [Y, X]; nan where none has any.
    """
    counts = np.stack([(cells.values == k).sum(axis=2) for k in range(n)], axis=2)  # [Y, X, n]
    return np.where(counts.any(axis=2), counts.argmax(axis=2), np.nan)
