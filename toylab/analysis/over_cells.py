"""Runs sorted into cells of a diagram, where along a parameter something changes, and correlations. On the host."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Integer, Real

from toylab.analysis.numbers import centred, check_finite, floating, scaled
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
    return [np.flatnonzero(cell == i) for i in range(cell.max(initial=-1) + 1)]


@shaped
def table(rows: Real[ArrayLike, " R"], columns: Real[ArrayLike, " R"]) -> Int[np.ndarray, "K N"]:
    """The run in each cell of a table, such as of seeds and widths.

    Args:
        rows: What the rows of the table are told by, a value a run.
        columns: The same of its columns.

    Returns:
        Indices of runs, [K, N], in the order of rising values.

    Raises:
        ValueError: A cell has no run or several, there is no run, or a value is nan or inf.
    """
    if not np.size(rows):
        raise ValueError("rows and columns have 0 runs: a table has at least one")
    check_finite("rows", rows)
    check_finite("columns", columns)
    row, column = (np.unique(np.asarray(one), return_inverse=True)[1] for one in (rows, columns))
    shape = row.max() + 1, column.max() + 1
    runs = np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1])
    if (runs != 1).any():
        raise ValueError(f"a cell has {runs.max() if runs.max() > 1 else 0} runs: it must have one")
    return np.lexsort((column, row)).reshape(shape)


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
def correlation(x: Real[ArrayLike, "*batch N"], y: Real[ArrayLike, "*batch N"]) -> Float[np.ndarray, "*batch"]:
    """Pearson's correlation Σ (x − x̄)(y − ȳ) / √(Σ (x − x̄)² · Σ (y − ȳ)²) over the last axis.

    Args:
        x: A series for each entry of the batch.
        y: Another one.

    Returns:
        −1 to 1; nan where a series is constant but for rounding, or has nan in it.
    """
    x, y = (scaled(centred(floating(each), axis=-1), axis=-1)[0] for each in (x, y))
    found = jnp.sum(x * y, axis=-1) / jnp.sqrt(jnp.sum(x**2, axis=-1) * jnp.sum(y**2, axis=-1))
    return np.asarray(found)


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


@shaped
def lowest_in_sets(
    losses: Real[ArrayLike, " R"], runs: Integer[ArrayLike, " K"], n_sets: int = 1
) -> Int[np.ndarray, " n_sets"]:
    """The run of the lowest loss in each of some disjoint sets of runs, in their order; sets differ in size by one at most.

    Args:
        losses: The loss of every run. One that is nan is not the lowest; where all of a set are, its first run is.
        runs: Indices of the runs that are divided, those of a cell for instance.
        n_sets: The number of sets.

    Returns:
        Indices of runs, one a set.

    Raises:
        ValueError: `n_sets` is not between 1 and K.
    """
    losses, runs = np.asarray(losses), np.asarray(runs)
    if not 1 <= n_sets <= len(runs):
        raise ValueError(f"n_sets is {n_sets}, it must lie between 1 and the {len(runs)} runs")
    losses = np.where(np.isnan(losses), np.inf, losses)
    return np.array([each[losses[each].argmin()] for each in np.array_split(runs, n_sets)])


@shaped
def switch(
    x: Real[ArrayLike, " N"], first: Real[ArrayLike, "K N"], second: Real[ArrayLike, "K N"], n_sets: int = 1
) -> Float[np.ndarray, " n_sets"]:
    """Where, along a parameter, the lowest loss of the second kind of solution falls below that of the first kind.

    Args:
        x: The parameter, positive and rising.
        first: Losses of the runs at each x that found a solution of the first kind, nan of the others.
        second: The same of the second kind.
        n_sets: Into how many disjoint sets, in their order, the K runs are divided; K is a multiple of it.

    Returns:
        The parameter for each set, between two values log-linearly (see `crossing`); nan where the lead does not change.

    Raises:
        ValueError: K is no multiple of `n_sets`.
    """
    x, first, second = np.asarray(x), np.asarray(first), np.asarray(second)
    if n_sets < 1 or len(first) % n_sets:
        raise ValueError(f"n_sets is {n_sets}, it must divide the {len(first)} runs at each x")
    sets = [loss.T.reshape(len(x), n_sets, -1) for loss in (first, second)]  # [N, n_sets, K // n_sets]
    lowest = [np.where(np.isfinite(loss), loss, np.inf).min(axis=2) for loss in sets]
    with np.errstate(invalid="ignore"):
        lead = np.log(lowest[0]) - np.log(lowest[1])
    return np.array([crossing(np.log(x), own) for own in lead.T])


@shaped
def rarer_share(
    x: Real[ArrayLike, " N"], first: Real[ArrayLike, "K N"], second: Real[ArrayLike, "K N"], at: Real[ArrayLike, " S"]
) -> Float[np.ndarray, " 2"]:
    """The share of the rarer of two kinds of solutions beside a switch; in a first-order change both are found.

    Args:
        x: The parameter, rising.
        first: Losses of the runs at each x that found a solution of the first kind, nan of the others.
        second: The same of the second kind.
        at: The values of x at which the winner changes, as of `switch`; their median counts, nan left out.

    Returns:
        The share among the runs at the last x below the switch, and at the next; where `at` is nan, at the first two.
    """
    x, at = np.asarray(x), np.asarray(at)
    shares = np.stack([np.isfinite(loss).mean(axis=0) for loss in (np.asarray(first), np.asarray(second))]).min(axis=0)
    above = np.searchsorted(x, np.nanmedian(at)) if np.isfinite(at).any() else 1
    above = np.clip(above, 1, len(x) - 1)
    return shares[[above - 1, above]]
