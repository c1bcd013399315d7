"""Runs sorted into cells of a diagram, and where along a parameter something changes. On the host, in numpy."""

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Integer, Real

from toylab.analysis.numbers import check_finite
from toylab.shapes import shaped


@shaped
def cells(key: Real[ArrayLike, "R d"]) -> list[Int[np.ndarray, " K"]]:
    """The runs of each cell: those whose rows of `key` are equal.

    Args:
        key: What a cell is told by, such as importance and density; one row a run.

    Returns:
        Indices of runs, an array a cell, in the order of rising `key`.

    Raises:
        ValueError: `key` has nan or inf in it.
    """
    check_finite("key", key)
    _, cell = np.unique(np.asarray(key), axis=0, return_inverse=True)
    cell = cell.ravel()
    return [np.flatnonzero(cell == i) for i in range(cell.max() + 1)]


@shaped
def class_shares(classes: Integer[ArrayLike, "*batch K"], n_classes: int = 3) -> Float[np.ndarray, "*batch n_classes"]:
    """The share of each class 0, 1, … among the last axis of `classes`."""
    classes = np.asarray(classes)
    return np.stack([(classes == one).mean(axis=-1) for one in range(n_classes)], axis=-1)


@shaped
def end_of_stretch(x: Real[ArrayLike, " N"], holds: Bool[ArrayLike, "N S"]) -> Float[np.ndarray, " S"]:
    """Where the first unbroken stretch on which something holds ends: √(x_i x_{i+1}), half-way on a log axis.

    Args:
        x: The parameter, positive and rising.
        holds: Whether it holds at each x, for each of S series.

    Returns:
        The end for each series; nan where it does not hold at the first x, or holds at every x.
    """
    x, holds = np.asarray(x, np.float64), np.asarray(holds)
    first = np.where(holds.all(axis=0), 0, holds.argmin(axis=0))
    return np.where(first > 0, np.sqrt(x[first] * x[first - 1]), np.nan)


@shaped
def crossing(x: Real[ArrayLike, " N"], lead: Real[ArrayLike, " N"]) -> float:
    """exp(x) where `lead` first rises through 0, by linear interpolation in x.

    Args:
        x: The logarithm of a parameter, rising.
        lead: A difference at each x, for instance of two log losses.

    Returns:
        The parameter; nan where `lead` does not rise through 0, or is not finite beside that place.
    """
    x, lead = np.asarray(x), np.asarray(lead)
    i = int((lead > 0).argmax())
    if i == 0 or not np.isfinite(lead[i - 1 : i + 1]).all():
        return np.nan
    return float(np.exp(np.interp(0, lead[i - 1 : i + 1], x[i - 1 : i + 1])))


@shaped
def rank_correlation(values: Real[ArrayLike, "*batch N"]) -> Float[np.ndarray, "*batch"]:
    """Spearman's correlation of values with their place 1 … N: 1 where they rise throughout.

    Args:
        values: The values of each series along a parameter.

    Returns:
        The correlation of ranks, ties at their mean; nan where all values are equal, or one is nan.
    """
    values = np.asarray(values)
    below = (values[..., None, :] < values[..., :, None]).sum(axis=-1)
    equal = (values[..., None, :] == values[..., :, None]).sum(axis=-1)
    ranks = np.where(np.isnan(values).any(axis=-1, keepdims=True), 0, below + (equal - 1) / 2).reshape(
        -1, values.shape[-1]
    )
    place = np.arange(values.shape[-1])
    found = [np.corrcoef(place, row)[0, 1] if np.ptp(row) else np.nan for row in ranks]
    return np.array(found).reshape(values.shape[:-1])
