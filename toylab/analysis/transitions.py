"""When things happen in a training: the step at which a level is crossed, the phases of grokking. They are asked of
measures along saved points, so that a single one is refused. numpy in, numpy out; nan where something was not reached."""

import numpy as np
from jaxtyping import Bool, Float, Real

from toylab.shapes import shaped


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


def _last(known: np.ndarray) -> np.ndarray:
    """Index of the last point that is known; 0 where none is."""
    return np.where(known.any(axis=-1), known.shape[-1] - 1 - known[..., ::-1].argmax(axis=-1), 0)


def _ascending(steps: np.ndarray) -> None:
    if len(steps) < 2:
        raise ValueError(f"steps has length {len(steps)}, a trend needs at least two saved points")
    if not (np.diff(steps) > 0).all():
        raise ValueError("steps must ascend")
