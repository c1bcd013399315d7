"""When things happen in a training: the step at which a level is crossed, the phases of grokking. They are asked of
measures along saved points, so that a single one is refused. numpy in, numpy out; nan where something was not reached."""

from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from toylab.shapes import shaped

LEARNING_PHASES = ("comprehension", "grokking", "memorisation", "confusion")


@shaped
def first_step(steps: Real[np.ndarray, " T"], true: Bool[np.ndarray, "*runs T"]) -> Float[np.ndarray, "*runs"]:
    """The first step at which something holds.

    Args:
        steps: Of the saved points, [T].
        true: Whether it holds, [..., T].

    Returns:
        [...]; nan where it never holds.

    Raises:
        ValueError: Where there are fewer than two steps, or where they do not ascend.
    """
    _ascending(steps)
    return np.where(true.any(axis=-1), steps[true.argmax(axis=-1)], np.nan)


@shaped
def first_below(
    steps: Real[np.ndarray, " T"], values: Real[np.ndarray, "*runs T"], level: float
) -> Float[np.ndarray, "*runs"]:
    """The step at which values first lie below a level, between saved points by a straight line.

    Args:
        steps: Of the saved points, [T].
        values: Such as a loss, [..., T]; nan where a run has no point.
        level: In units of the values.

    Returns:
        [...]; the first step where they lie below from the start, nan where they never do.

    Raises:
        ValueError: Where there are fewer than two steps, or where they do not ascend.
    """
    _ascending(steps)
    below = values < level
    after = below.argmax(axis=-1)
    low, high = _beside(values, after)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(after > 0, (low - level) / (low - high), 0)
    return np.where(below.any(axis=-1), _between(steps, after, share), np.nan)


@shaped
def lost(
    steps: Real[np.ndarray, " T"], values: Real[np.ndarray, "*runs T"], level: float
) -> Float[np.ndarray, "*runs"]:
    """The first saved step after that of the highest value at which values lie below a level: when what was had is lost.

    Args:
        steps: Of the saved points, [T].
        values: Such as an accuracy, [..., T]; nan where a run has no point. Of equal highest values the first counts.
        level: In units of the values.

    Returns:
        [...]; nan where they never come to lie below it.

    Raises:
        ValueError: Where there are fewer than two steps, or where they do not ascend.
    """
    highest = np.where(np.isnan(values), -np.inf, values).argmax(axis=-1)
    return first_step(steps, (values < level) & (np.arange(values.shape[-1]) > highest[..., None]))


@shaped
def halfway(steps: Real[np.ndarray, " T"], values: Real[np.ndarray, "*runs T"]) -> Float[np.ndarray, "*runs"]:
    """The step at which values have first gone half their way from the start to the end, rising or falling.

    Args:
        steps: Of the saved points, [T].
        values: [..., T]; the end is the last that is not nan.

    Returns:
        [...]; between saved points by a straight line. It is nan where start and end are equal.

    Raises:
        ValueError: Where there are fewer than two steps, or where they do not ascend.
    """
    _ascending(steps)
    start = values[..., :1]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (values - start) / (_end(values) - start)
        after = (share >= 0.5).argmax(axis=-1)
        low, high = _beside(share, after)
        part = (0.5 - low) / (high - low)
    return np.where((share >= 0.5).any(axis=-1), _between(steps, after, part), np.nan)


@shaped
def half_risen(steps: Real[np.ndarray, " T"], values: Real[np.ndarray, "*runs T"]) -> Float[np.ndarray, "*runs"]:
    """The first saved step, from the lowest value on, at which half of the rise to the last value is done.

    It is for what falls before it rises, where `halfway` would be of the fall.

    Args:
        steps: Of the saved points, [T].
        values: [..., T]; the last is that which is not nan.

    Raises:
        ValueError: Where there are fewer than two steps, or where they do not ascend.
    """
    low = np.where(np.isnan(values), np.inf, values)
    since = np.arange(values.shape[-1]) >= low.argmin(axis=-1)[..., None]
    return first_step(steps, since & (values >= (low.min(axis=-1, keepdims=True) + _end(values)) / 2))


@shaped
def steps_near(
    steps: Real[np.ndarray, " T"], values: Real[np.ndarray, "*runs T"], level: float, width: float
) -> Real[np.ndarray, "*runs"]:
    """The steps that are spent near a level, as on a plateau.

    A saved point counts with the steps since the one before if there |value − level| < width.

    Args:
        steps: Of the saved points, [T].
        values: [..., T].
        level, width: In units of the values.

    Returns:
        [...], in the dtype of `steps`.

    Raises:
        ValueError: Where there are fewer than two steps, or where they do not ascend.
    """
    _ascending(steps)
    return ((np.abs(values[..., 1:] - level) < width) * np.diff(steps)).sum(axis=-1)


@shaped
def largest_fall(
    steps: Real[np.ndarray, " T"], values: Real[np.ndarray, "*runs T"], factor: float = 2.0
) -> Float[np.ndarray, "*runs"]:
    """The largest fall of values within a factor of steps: how much of a curve comes at once.

    Args:
        steps: Of the saved points, [T].
        values: [..., T]; points that are nan are left out.
        factor: Between the steps at which a fall ends and begins, at most.

    Returns:
        [...] in units of the values; 0 where they never fall, nan where no two points are near enough.

    Raises:
        ValueError: Where there are fewer than two steps, or where they do not ascend.
    """
    _ascending(steps)
    first, last = np.triu_indices(len(steps), 1)
    near = steps[last] <= factor * steps[first]
    falls = values[..., first[near]] - values[..., last[near]]
    known = ~np.isnan(falls)
    most = np.where(known, falls, 0).max(axis=-1, initial=0)
    return np.where(known.any(axis=-1), most, np.nan)


@shaped
def bump(steps: Real[np.ndarray, " T"], values: Real[np.ndarray, "*runs T"]) -> Float[np.ndarray, "*runs"]:
    """The height of a curve above its convex hull from below: 0 of a curve that falls ever more slowly.

    Args:
        steps: Of the saved points, [T].
        values: [..., T]; points that are nan are left out.

    Returns:
        [...] in units of the values; nan where all are nan.

    Raises:
        ValueError: Where there are fewer than two steps, or where they do not ascend.
    """
    _ascending(steps)
    height = np.where(np.isnan(values).all(axis=-1), np.nan, 0)
    for i, j, k in combinations(range(len(steps)), 3):
        share = (steps[j] - steps[i]) / (steps[k] - steps[i])
        chord = (1 - share) * values[..., i] + share * values[..., k]
        height = np.fmax(height, values[..., j] - chord)
    return height


@shaped
def power_law_exponent(
    time: Real[np.ndarray, " T"],
    values: Real[np.ndarray, "*runs T"],
    first: float = 0.0,
    last: float = np.inf,
    floor: float = 0.0,
) -> Float[np.ndarray, "*runs"]:
    """The exponent b of values ∝ time^b: the slope of log value over log time, by least squares.

    Args:
        time: Of the saved points, [T]. Those that are not positive are left out.
        values: Positive, [..., T].
        first: The earliest time that is fitted, itself included.
        last: The latest, itself included.
        floor: What smaller values are taken as, where some are 0.

    Returns:
        [...]; nan where fewer than two times are fitted, and for values of 0 without a floor.
    """
    fitted = (time >= first) & (time <= last) & (time > 0)
    if fitted.sum() < 2:
        return np.full(values.shape[:-1], np.nan)
    x = np.log(time[fitted].astype(np.float64))
    x = x - x.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.log(np.maximum(values[..., fitted].astype(np.float64), floor))
        return np.where(np.isfinite(y).all(axis=-1), (y * x).sum(axis=-1) / (x**2).sum(), np.nan)


@shaped
def share_near(
    steps: Real[np.ndarray, " T"], values: Real[np.ndarray, "*runs T"], level: float, width: float, until: float
) -> Float[np.ndarray, "*runs"]:
    """Of the steps until values first lie above a level, those that are spent near another: how much of a rise waits there.

    A rise at constant speed from 0 spends 2 width / until of its time within `width` of a level.

    Args:
        steps: Of the saved points, [T].
        values: [..., T].
        level, width, until: In units of the values; `until` is at least level + width.

    Returns:
        0 to 1, [...]; nan where they never lie above `until`, or do from the start.

    Raises:
        ValueError: Where there are fewer than two steps, where they do not ascend, and for a lower `until`.
    """
    if not until >= level + width:
        raise ValueError(f"until is {until:g}, it must be at least level + width, {level + width:g}")
    end = first_below(steps, -values, -until)
    within = np.where(steps <= end[..., None], values, np.inf)  # what comes later does not count
    with np.errstate(invalid="ignore"):
        return np.where(end > steps[0], steps_near(steps, within, level, width) / (end - steps[0]), np.nan)


@shaped
def learning_phases(
    steps: Real[np.ndarray, " T"],
    train_accuracy: Real[np.ndarray, "*runs T"],
    test_accuracy: Real[np.ndarray, "*runs T"],
    fitted: float = 0.9,
    delay: float = 1000,
) -> Int[np.ndarray, "*runs"]:
    """The phase of each run (Liu et al. 2022, arXiv 2205.10343), within its steps.

    Confusion: the training set is never fitted. Memorisation: it is, the test set is not. Grokking: the test set is fitted
    `delay` steps or more after the training set. Comprehension: it is fitted sooner.

    Args:
        steps: Of the saved points, [T].
        train_accuracy: Share of 1, [..., T].
        test_accuracy: Share of 1, [..., T].
        fitted: The accuracy from which on a set counts as fitted; 0.9 is the paper's.
        delay: In steps, which depend on the task: 1,000 is ours.

    Returns:
        Indices into `LEARNING_PHASES`; −1 where an accuracy is nan throughout.

    Raises:
        ValueError: Where there are fewer than two steps, or where they do not ascend.
    """
    train, test = first_step(steps, train_accuracy >= fitted), first_step(steps, test_accuracy >= fitted)
    learned = np.where(test - train < delay, 0, 1)
    phases = np.where(np.isnan(train), 3, np.where(np.isnan(test), 2, learned))
    unknown = np.isnan(train_accuracy).all(axis=-1) | np.isnan(test_accuracy).all(axis=-1)
    return np.where(unknown, -1, phases)


@shaped
def grokking_phases(
    steps: Real[np.ndarray, " T"],
    test_loss: Real[np.ndarray, "*runs T"],
    sum_of_squares: Real[np.ndarray, "*runs T"],
    n_classes: int,
) -> Float[np.ndarray, "*runs 3"]:
    """The steps at which memorisation, circuit formation and cleanup end (Nanda et al. 2023, arXiv 2301.05217).

    Memorisation ends where the test loss peaks. Circuit formation ends where the test loss first falls below ½ log
    n_classes, half the loss of guessing, which no network that only memorises has on unseen pairs. Cleanup ends where
    Σw² has lost 95 % of what it loses in all. The paper tells them apart by eye, at 1.4k, 9.4k and 14k steps; these
    definitions are ours.

    Args:
        steps: Of the saved points, [T].
        test_loss: Mean cross-entropy in nats, [..., T].
        sum_of_squares: Σw² of all weights, [..., T].
        n_classes: The number of classes.

    Returns:
        [..., 3]; nan where a phase is not reached, and for what comes after a run's end. A phase is nan where what it
        is read from is nan or infinite throughout, and so are those after it.

    Raises:
        ValueError: Where there are fewer than two steps, where they do not ascend, and for fewer than two classes.
    """
    _ascending(steps)
    if n_classes < 2:
        raise ValueError(f"n_classes is {n_classes}, it must be at least 2")
    seen = np.isfinite(test_loss)
    peak = np.where(seen.any(axis=-1), steps[np.where(seen, test_loss, -np.inf).argmax(axis=-1)], np.nan)
    formed = first_step(steps, (test_loss < np.log(n_classes) / 2) & (steps >= peak[..., None]))
    known = np.isfinite(sum_of_squares)
    end = np.take_along_axis(sum_of_squares, _last(known)[..., None], axis=-1)
    most = np.where(known, sum_of_squares, -np.inf).max(axis=-1, keepdims=True)
    lost = sum_of_squares <= end + 0.05 * (most - end)
    return np.stack([peak, formed, first_step(steps, lost & (steps >= formed[..., None]))], axis=-1)


def _beside(values: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values [...] of [..., T] before a point and at it; those of the first two for the first."""
    after = np.maximum(after, 1)[..., None]
    return tuple(np.take_along_axis(values, at, axis=-1)[..., 0] for at in (after - 1, after))  # type: ignore[return-value]


def _between(steps: np.ndarray, after: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The step at a share of the way from the point before to a point; that of the first for the first."""
    before = np.maximum(after - 1, 0)
    return steps[before] + np.where(after > 0, share, 0) * (steps[after] - steps[before])


def _end(values: np.ndarray) -> np.ndarray:
    """[..., 1]: the last of values [..., T] that is not nan."""
    return np.take_along_axis(values, _last(~np.isnan(values))[..., None], axis=-1)


def _last(known: np.ndarray) -> np.ndarray:
    """Index of the last point that is known; 0 where none is."""
    return np.where(known.any(axis=-1), known.shape[-1] - 1 - known[..., ::-1].argmax(axis=-1), 0)


def _ascending(steps: np.ndarray) -> None:
    if len(steps) < 2:
        raise ValueError(f"steps has length {len(steps)}, a trend needs at least two saved points")
    if not (np.diff(steps) > 0).all():
        raise ValueError("steps must ascend")
