"""Patterns of Davies et al. 2023: against every outcome counted, the paper's own figure, limits, fits of known curves."""

from itertools import product

import numpy as np
import pytest

from toylab.analysis import pattern_learning
from toylab.analysis.pattern_learning import (
    DOUBLE_DESCENT,
    EPOCHS,
    GROKKING,
    Patterns,
    accuracies,
    predictiveness,
    usage,
)

DRAW = np.random.default_rng(0)
EPOCH = np.arange(float(EPOCHS))
ROUND = 64 * np.finfo(float).eps  # some sixteen products and sums of numbers up to 1, each within half an eps


def test_a_pattern_is_a_sigmoid():
    most, speed, place = np.array([0.7, 1.0]), np.array([0.5, 2.0]), np.array([3.0, -1.0])
    found = predictiveness(np.array([-1e9, -1.0, 3.0, 1e9]), most, speed, place)
    np.testing.assert_allclose(found[:, [0, 3]], [[0, 0.7], [0, 1]], atol=ROUND)
    np.testing.assert_allclose([found[0, 2], found[1, 1]], [0.35, 0.5], atol=ROUND)
    step = 1e-4  # a central difference is off by step²/6 times a third derivative below α³
    rise = np.diff(predictiveness(np.array([3 - step, 3 + step]), most[:1], speed[:1], place[:1]))[0, 0] / (2 * step)
    np.testing.assert_allclose(rise, 0.7 * 0.5 / 4, atol=step**2)


def counted(predictive, preferred):
    """By every outcome of the n independent events."""
    n = len(predictive)
    shares = np.zeros_like(predictive)
    for outcome in product((0, 1), repeat=n):
        chance = np.prod([p if hit else 1 - p for p, hit in zip(predictive, outcome, strict=True)], axis=0)
        hits = [i for i in range(n) if outcome[i]]
        for i in [preferred] if preferred in hits else hits:
            shares[i] += chance / (1 if preferred in hits else len(hits))
    return shares


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_use_is_that_of_all_outcomes(n):
    predictive = DRAW.uniform(size=(n, 5))
    for preferred in (None, *range(n)):
        found = usage(predictive, preferred)
        np.testing.assert_allclose(found, counted(predictive, preferred), atol=2**n * ROUND)
        np.testing.assert_allclose(found.sum(axis=0), 1 - np.prod(1 - predictive, axis=0), atol=2**n * ROUND)


def test_three_patterns_are_those_of_the_authors_notebook():
    for patterns in (DOUBLE_DESCENT, DOUBLE_DESCENT._replace(most=np.array([0.0, 1.0, 1.0]))):
        curves = patterns.curves(EPOCH)
        p1, p2, p3 = (curves[name] for name in patterns.names)
        np.testing.assert_allclose(
            curves["train"], p1 + p2 + p3 - p1 * p2 - p1 * p3 - p2 * p3 + p1 * p2 * p3, atol=ROUND
        )
        np.testing.assert_allclose(curves["test"], p1 * (1 - p3) * (1 - p2 / 2) + p3, atol=ROUND)
    two = GROKKING.curves(EPOCH)  # without heuristics only the other two are left
    np.testing.assert_allclose([two["train"], two["test"]], [curves["train"], curves["test"]], atol=ROUND)


def test_without_a_bad_pattern_there_is_no_gap_and_no_fall():
    predictive = predictiveness(EPOCH, DRAW.uniform(size=4), DRAW.uniform(0.05, 0.2, 4), DRAW.uniform(20, 200, 4))
    for preferred in (None, 2):
        train, test = accuracies(predictive, np.ones(4), preferred)
        np.testing.assert_allclose(train, test, atol=16 * ROUND)
        assert (np.diff(test) > -ROUND).all()
        np.testing.assert_allclose(accuracies(predictive, np.zeros(4), preferred)[1], 0, atol=ROUND)


def test_heuristics_before_overfitting_give_a_dip():
    curves = DOUBLE_DESCENT.curves(EPOCH)
    peak = curves["test"][:60].argmax()
    low = peak + curves["test"][peak:].argmin()
    assert 0 < peak < low < EPOCHS - 1
    assert curves["test"][-1] - curves["test"][low] > 0.1 < curves["test"][peak] - curves["test"][low]
    assert (np.diff(curves["train"]) > -ROUND).all()  # training accuracy never falls


def test_the_delay_is_the_distance_of_the_places():
    x = np.linspace(0, 300, 3001)
    curves = GROKKING.curves(x)
    half = {name: np.interp(0.5, curves[name], x) for name in ("train", "test")}
    # test accuracy is the preferred sigmoid; before it train accuracy is that of overfitting, but for
    # p(b) = 1 / (1 + e^{0.05 · 150}) = 5.5e-4 at its place, by which its half comes 5.5e-4 / 2 / (0.15 / 4) earlier; a
    # straight line between points 0.1 apart is off by less than 0.1² · 0.15
    np.testing.assert_allclose(half["test"] - half["train"], 150, atol=5.6e-4 / 2 / (0.15 / 4) + 2 * 0.1**2 * 0.15)


KNOWN = {
    "fit_grokking": GROKKING._replace(speed=np.array([0.3, 0.1]), place=np.array([30.0, 150.0])),
    "fit_double_descent": Patterns(
        np.array([0.5, 1.0, 1.0]), np.array([1.0, 0.1, 0.08]), np.array([-np.inf, 80.0, 220.0]), np.array([1.0, 0, 1]), 2,
        DOUBLE_DESCENT.names,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("unit", [1.0, 1e6])
def test_a_fit_finds_the_patterns_of_exact_curves(name, unit):
    known, fit = KNOWN[name], getattr(pattern_learning, name)
    x = np.linspace(0, 300, 40)
    train, test = (known.curves(x)[which][:, None] + [-0.01, 0, 0.02] for which in ("train", "test"))
    train[5], test[7] = np.nan, np.nan
    found = fit(x * unit, train, test)
    # the least squares are 0 there, near which each step squares what is off: the last, of under 1e-8 in the sum of squares
    # or in the numbers, leaves less than 1e-6
    for number in ("most", "speed", "place"):
        wanted = getattr(known.stretched(unit), number)
        free = np.isfinite(wanted) & ((number == "most") | (np.array(known.names) != "heuristics"))
        np.testing.assert_allclose(getattr(found, number)[free], wanted[free], rtol=1e-5)


def test_without_values_nothing_is_fitted():
    none = np.full((4, 2), np.nan)
    found = pattern_learning.fit_double_descent(np.arange(4), np.zeros((4, 2)), none)
    assert np.isnan(found.speed[1:]).all() and np.isnan(found.place[1:]).all() and np.isnan(found.most[0])
    assert found.most[1:].tolist() == [1, 1] and np.isnan(found.curves(EPOCH)["test"]).all()


def test_stretched_is_the_same_on_a_longer_axis():
    for name, curve in DOUBLE_DESCENT.curves(EPOCH).items():
        np.testing.assert_allclose(DOUBLE_DESCENT.stretched(7).curves(7 * EPOCH)[name], curve, atol=ROUND)


P = np.full((2, 3), 0.5)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: predictiveness(EPOCH, np.array([1.5]), np.ones(1), np.ones(1)), "most has 1.5: it must be 0 to 1"),
        (lambda: predictiveness(EPOCH, np.ones(1), np.array([-2.0]), np.ones(1)), "speed has -2: it must be 0 or more"),
        (lambda: usage(P - 1), "predictive has -0.5: it must be 0 to 1"),
        (lambda: usage(P, 2), "preferred is 2: it must be None or a pattern, 0 to 1"),
        (lambda: pattern_learning.fit_grokking(np.array([0, np.nan]), P, P), "x "),
        (lambda: accuracies(P, np.array([0.0, -1.0])), "generality has -1: it must be 0 to 1"),
    ],
)
def test_what_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
