"""Patterns that are learned at speeds of their own: grokking and double descent by one formula (Davies et al. 2023, arXiv
2303.06173; the formula is written out in the authors' notebook, github.com/xanderdavies/unifying-grok-dd)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Real
from scipy.optimize import least_squares
from scipy.special import expit

from toylab.analysis.numbers import check_finite
from toylab.shapes import shaped


class Patterns(NamedTuple):
    """Patterns by number. γ `most`: the share of examples that each can predict in the end; α `speed` and b `place` of its
    sigmoid over training steps or sizes of a model; g `generality`: the share of unseen examples on which it is right; the
    number of the pattern that is `preferred` wherever it predicts, if there is one; their names."""

    most: np.ndarray
    speed: np.ndarray
    place: np.ndarray
    generality: np.ndarray
    preferred: int | None
    names: tuple[str, ...]

    def stretched(self, factor: float) -> "Patterns":
        """The same on an axis that is `factor` times as long: places are multiplied by it, speeds divided."""
        return self._replace(speed=self.speed / factor, place=self.place * factor)

    def curves(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """At places x [T]: accuracies "train" and "test", and by its name what each pattern predicts, [T]."""
        predicted = predictiveness(np.asarray(x, float), self.most, self.speed, self.place)
        train, test = accuracies(predicted, self.generality, self.preferred)
        return {"train": train, "test": test, **dict(zip(self.names, predicted, strict=True))}


# The figure of the authors' notebook, over 300 epochs. What is preferred there comes last.
GROKKING = Patterns(
    np.array([1.0, 1.0]), np.array([0.15, 0.05]), np.array([50.0, 200.0]), np.array([0.0, 1.0]), 1,
    ("overfitting", "generalising"),
)  # fmt: skip
DOUBLE_DESCENT = Patterns(
    np.array([0.7, 1.0, 0.2]), np.array([0.15, 0.15, 0.05]), np.array([30.0, 50.0, 200.0]), np.array([1.0, 0.0, 1.0]), 2,
    ("heuristics", "overfitting", "generalising"),
)  # fmt: skip
EPOCHS = 300


@shaped
def predictiveness(
    x: Real[np.ndarray, " T"],
    most: Real[np.ndarray, " n"],
    speed: Real[np.ndarray, " n"],
    place: Real[np.ndarray, " n"],
) -> Float[np.ndarray, "n T"]:
    """The share of examples that each pattern predicts: p_i(x) = γ_i / (1 + e^{−α_i (x − b_i)}).

    Args:
        x: Steps of training, or sizes of a model, on whatever axis (such as log₂ of a width), [T].
        most: γ_i, 0 to 1.
        speed: α_i, 0 or more, in units of 1/x.
        place: b_i, in units of x: where a half of γ_i is reached.

    Returns:
        [n, T].

    Raises:
        ValueError: For a γ outside of 0 to 1, or a speed below 0.
    """
    _shares("most", most)
    if (speed < 0).any():
        raise ValueError(f"speed has {speed.min():g}: it must be 0 or more.")
    with np.errstate(invalid="ignore"):
        return most[:, None] * expit(speed[:, None] * (x - place[:, None]))


@shaped
def usage(predictive: Real[np.ndarray, "n T"], preferred: int | None = None) -> Float[np.ndarray, "n T"]:
    """The share of examples that are classified by each pattern.

    Whether a pattern predicts an example is independent of the others. Of those that do, each is used alike often, so that
    u_i = p_i · E[1 / (1 + M)], where M of the others predict, = p_i ∫₀¹ ∏_{j ≠ i} (1 − p_j + p_j s) ds. A preferred one
    is used wherever it predicts: its u is its p, and the others share the rest, 1 − p.

    Args:
        predictive: p_i, 0 to 1, [n, T].
        preferred: The number of a pattern, or None.

    Returns:
        [n, T]; their sum is 1 − ∏_i (1 − p_i).

    Raises:
        ValueError: For a share outside of 0 to 1, or a number that no pattern has.
    """
    _shares("predictive", predictive)
    n = len(predictive)
    if preferred is not None and not 0 <= preferred < n:
        raise ValueError(f"preferred is {preferred}: it must be None or a pattern, 0 to {n - 1}.")
    nodes, weights = np.polynomial.legendre.leggauss(n // 2 + 1)  # exact: the product has the degree n − 1 at most
    left = 1 - np.multiply.outer((1 - nodes) / 2, predictive)  # 1 − p_j + p_j s, [nodes, n, T]
    others = [i for i in range(n) if i != preferred]
    shares = predictive * np.ones(1, predictive.dtype)
    for i in others:
        rest = left[:, [j for j in others if j != i]].prod(axis=1)
        shares[i] = predictive[i] * (weights @ rest) / 2
    if preferred is not None:
        shares[others] *= 1 - predictive[preferred]
    return shares


@shaped
def accuracies(
    predictive: Real[np.ndarray, "n T"], generality: Real[np.ndarray, " n"], preferred: int | None = None
) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]]:
    """Train and test accuracy of a network of patterns: `train = 1 − ∏(1 − p_i)`, `test = Σ g_i u_i`, u of `usage`.

    With a pattern that overfits (γ = 1, g = 0) before one that generalises and is preferred (γ = 1, g = 1) it groks: the
    delay is the difference of their places. Where before both a third generalises on a part (γ < 1, g = 1), test accuracy
    falls before it rises again: double descent.

    Args:
        predictive: p_i, 0 to 1, [n, T].
        generality: g_i, 0 to 1.
        preferred: The number of a pattern, or None.

    Returns:
        Train and test accuracy, [T] each.

    Raises:
        ValueError: For a share outside of 0 to 1, or a number that no pattern has.
    """
    _shares("generality", generality)
    used = usage(predictive, preferred)
    return 1 - (1 - predictive).prod(axis=0), generality @ used


@shaped
def fit_grokking(x: Real[np.ndarray, " T"], train: Real[np.ndarray, "T S"], test: Real[np.ndarray, "T S"]) -> Patterns:
    """Two patterns, one that overfits and one that generalises: the speed and the place of both, fitted by least squares.

    Both can predict everything (γ = 1). The descent begins at `GROKKING`, stretched to the axis, and what it finds is a
    least squares solution that is reached from there: others may be lower.

    Args:
        x: Steps, or sizes, [T].
        train, test: Accuracies of S seeds, whose medians are fitted; points that are nan are left out.

    Returns:
        The patterns; what was to be fitted is nan where all train or all test accuracies are.

    Raises:
        ValueError: For a place that is nan or inf.
    """
    return _fitted(x, train, test, GROKKING, np.array([[0, 0], [1, 1], [1, 1]], bool))


@shaped
def fit_double_descent(
    x: Real[np.ndarray, " T"], train: Real[np.ndarray, "T S"], test: Real[np.ndarray, "T S"]
) -> Patterns:
    """The same with heuristics that are known before x begins: their share γ too is fitted, five numbers in all.

    Args:
        x: Sizes, or steps, [T].
        train, test: As of `fit_grokking`, and so what is returned and refused.
    """
    start = DOUBLE_DESCENT._replace(most=np.array([0.7, 1.0, 1.0]), place=np.array([-np.inf, 50.0, 200.0]))
    return _fitted(x, train, test, start, np.array([[1, 0, 0], [0, 1, 1], [0, 1, 1]], bool))


def _fitted(x: np.ndarray, train: np.ndarray, test: np.ndarray, start: Patterns, free: np.ndarray) -> Patterns:
    """γ, α and b (rows of `free`) of patterns; γ within 0 to 1, α from 0 on."""
    check_finite("x", x)
    unit = float(np.abs(x).max(initial=0)) or 1.0
    values = np.stack([start.most, start.speed * EPOCHS, start.place / EPOCHS])  # on an axis of length 1
    medians = [_median(each) for each in (train, test)]

    def patterns(numbers: np.ndarray) -> Patterns:
        now = values.copy()
        now[free] = numbers
        return start._replace(most=now[0], speed=now[1], place=now[2])

    if any(np.isnan(each).all() for each in medians):
        return patterns(np.full(free.sum(), np.nan))

    def off(numbers: np.ndarray) -> np.ndarray:
        found = patterns(numbers).curves(x / unit)
        return np.nan_to_num(np.concatenate([found["train"] - medians[0], found["test"] - medians[1]]))

    low, high = (
        np.broadcast_to(np.array(ends)[:, None], free.shape)[free] for ends in ((0, 0, -np.inf), (1, np.inf, np.inf))
    )
    return patterns(least_squares(off, values[free], bounds=(low, high)).x).stretched(unit)


def _median(values: np.ndarray) -> np.ndarray:
    """[T]: of the seeds [T, S] that are not nan; nan where all are."""
    known = ~np.isnan(values).all(axis=1)
    middle = np.full(len(values), np.nan)
    middle[known] = np.nanmedian(values[known], axis=1)
    return middle


def _shares(name: str, values: np.ndarray) -> None:
    outside = values[(values < 0) | (values > 1)]
    if outside.size:
        raise ValueError(f"{name} has {outside[0]:g}: it must be 0 to 1.")
