"""Each kind's rule: at values known from elsewhere, at its borders, and its error rates over many draws."""

import numpy as np
import pytest

from toylab.claims import (
    Cells,
    Direction,
    Excess,
    Existence,
    Identity,
    Law,
    Median,
    Number,
    Proportion,
    Ratio,
    Within,
    intervals,
    regression,
)
from toylab.claims.kinds.sets import best_has
from toylab.claims.scales import SCALES

GROKKED = np.array([3305.0, 8301.0, 2734.0, 6588.0, 4447.0])  # steps of five seeds; the paper's one run took 7,930


def draws(n_draws, n, make):
    return [make(np.random.default_rng(seed), n) for seed in range(n_draws)]


def share_of(kind, verdict, samples, level=0.95):
    return np.mean([kind.outcome(values, level).verdict == verdict for values in samples])


def standard_errors(p, n, k=4):
    """k standard errors of a share of n draws: beyond it lies 1 of 16,000."""
    return k * np.sqrt(p * (1 - p) / n)


def test_one_more_run_lies_in_the_prediction_interval_on_the_log_scale():
    low, high = intervals.of_prediction(GROKKED, 0.95, SCALES["log"])
    assert (round(low, -1), round(high, -1)) == (1140, 19060)  # by hand: exp(mean ± 2.776 · sd · √(6/5)) of the logs


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        (Number(7930, widest=20, scale="log"), "agrees"),
        (Number(7930, widest=5, scale="log"), "undecided"),
        (Number(30_000, widest=20, scale="log"), "differs"),
        (Number(30_000, widest=20, scale="log", null=1000), "direction only"),
        (Number(500, widest=20, scale="log", null=1000), "differs"),
    ],
)
def test_a_number_of_one_run(kind, verdict):
    twice = np.concatenate([GROKKED, GROKKED])  # ten values: the interval is 1,650 to 13,130
    assert kind.outcome(twice, 0.95).verdict == verdict


def test_a_run_without_a_value_leaves_a_number_undecided():
    values = np.array([*GROKKED, np.nan, 4000.0])
    assert "1 of 7 runs have no value" in Number(7930, 20, "log").outcome(values, 0.95).reason
    assert Number(7930, 20, "log").outcome(np.array([*GROKKED, 0.0]), 0.95).verdict == "undecided"


def test_the_paper_s_run_of_the_same_set_up_is_called_different_one_time_in_twenty():
    def make(rng, n):
        return np.exp(rng.normal(8, 0.5, n + 1))

    found = [Number(values[-1], 100, "log").outcome(values[:-1], 0.95).verdict for values in draws(2000, 20, make)]
    assert abs(np.mean(np.array(found) == "differs") - 0.05) < standard_errors(0.05, 2000)


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, "agrees"), (0.3, "differs"), (0.1, "undecided")])
def test_a_median_against_a_margin(shift, verdict):
    values = np.exp(np.linspace(-0.1, 0.1, 21) + shift)
    assert Median(1.0, 1.1, "log").outcome(values, 0.95).verdict == verdict


@pytest.mark.slow
def test_two_medians_that_are_a_margin_apart_are_called_the_same_one_time_in_twenty():
    """At the margin's end the two one-sided tests err at most so often."""

    def make(rng, n):
        return rng.normal(0.5, 1.0, n)

    assert share_of(Median(0.0, 0.5), "agrees", draws(150, 40, make)) < 0.05 + standard_errors(0.05, 150)
    near = share_of(Median(0.5, 0.5), "agrees", draws(40, 200, make))
    assert near > 0.9


def test_what_is_unknown_of_the_paper_s_median_widens_the_interval():
    values, paper = np.linspace(0.9, 1.1, 21), np.linspace(0.8, 1.2, 11)

    def width(kind):
        low, high = kind.outcome(values, 0.95).interval
        return high - low

    assert width(Median(1.0, 0.1)) < width(Median(1.0, 0.1, error=0.1))
    assert width(Median(1.0, 0.1)) < width(Median(tuple(paper), 0.1))


@pytest.mark.parametrize(
    ("missing", "kind", "verdict"),
    [
        (2, Median(1.5, 1.5, "log"), "agrees"),
        (2, Median(5.0, 1.5, "log"), "differs"),
        (2, Median(5.0, 1.5, "log", null=1), "direction only"),
        (8, Median(1.5, 1.5, "log"), "undecided"),
        (20, Median(1.5, 1.5, "log"), "undecided"),
        (2, Median((1.4, 1.5, 1.6), 1.5, "log"), "agrees"),
    ],
)
def test_a_median_where_runs_have_no_value_whatever_it_is(missing, kind, verdict):
    """Of 20 values the interval of the median has ranks 6 and 15: 2 gaps leave it within 1 to 2, 8 leave it without end."""
    values = np.linspace(1, 2, 20)
    values[::-1][:missing] = np.nan
    outcome = kind.outcome(values, 0.95)
    assert outcome.verdict == verdict
    if verdict == "agrees":
        low, high = Within(0, 9).outcome(values, 0.95).interval
        found = outcome.interval
        assert found[0] <= low * (1 + 1e-9) and found[1] >= high * (1 - 1e-9)


def test_within_counts_a_missing_value_against_both_ends():
    values = np.linspace(1, 2, 20)
    assert Within(0.9, 2.1).outcome(values, 0.95).verdict == "agrees"
    values[:8] = np.nan
    assert Within(0.9, 2.1).outcome(values, 0.95).verdict == "undecided"
    assert Within(high=3).outcome(values[8:], 0.95).verdict == "agrees"
    assert Within(low=3).outcome(values[8:], 0.95).verdict == "differs"


@pytest.mark.parametrize(
    ("positive", "of", "kind", "verdict"),
    [
        (6, 6, Direction(), "agrees"),
        (5, 6, Direction(), "undecided"),
        (0, 6, Direction(), "differs"),
        (20, 20, Direction(always=True), "agrees"),
        (17, 20, Direction(always=True), "direction only"),
        (17, 20, Direction(), "agrees"),
        (10, 20, Direction(), "undecided"),
    ],
)
def test_a_direction_by_the_number_of_runs_with_it(positive, of, kind, verdict):
    effects = np.concatenate([np.linspace(1, 2, positive), -np.linspace(1, 2, of - positive)])
    outcome = kind.outcome(effects, 0.95)
    assert outcome.verdict == verdict and outcome.share[0] == pytest.approx(positive / of)


def test_runs_without_an_effect_count_against_it():
    effects = np.array([1.0] * 6 + [np.nan] * 6)
    assert Direction().outcome(effects, 0.95).verdict == "undecided"


def test_a_direction_without_the_amount_is_a_direction_only():
    values = np.linspace(1.9, 2.1, 20)
    assert Direction(null=1, amount=2, margin=1.2, scale="log").outcome(values, 0.95).verdict == "agrees"
    assert Direction(null=1, amount=4.7, margin=1.2, scale="log").outcome(values, 0.95).verdict == "direction only"


@pytest.mark.slow
def test_no_effect_is_called_one_at_most_one_time_in_twenty():
    def make(rng, n):
        return rng.normal(size=n)

    for verdict in ("agrees", "differs"):
        assert share_of(Direction(), verdict, draws(600, 20, make)) < 0.025 + standard_errors(0.025, 600)


def test_intervals_of_shares_against_published_tables():
    assert np.round(intervals.wilson(17, 32, 0.95), 2).tolist() == [0.36, 0.69]
    assert np.round(intervals.wilson(46, 48, 0.95), 2).tolist() == [0.86, 0.99]
    assert round(intervals.fisher(2, 3, 28, 29), 2) == 0.18 and round(intervals.fisher(5, 6, 28, 29), 2) == 0.32
    assert np.round(intervals.jeffreys(10, 20, 0.95), 3).tolist() == [0.293, 0.707]  # Beta(10.5, 10.5)
    assert intervals.jeffreys(0, 5, 0.95)[0] == 0 and intervals.jeffreys(5, 5, 0.95)[1] == 1


@pytest.mark.parametrize(
    ("ours", "verdict"), [((2, 3), "undecided"), ((20, 20), "agrees"), ((10, 20), "differs"), ((17, 20), "agrees")]
)
def test_a_proportion_against_28_of_29(ours, verdict):
    k, n = ours
    values = np.array([1.0] * k + [0.0] * (n - k))
    assert Proportion(28, 29).outcome(values, 0.95).verdict == verdict


@pytest.mark.parametrize(
    ("ours", "paper", "verdict"),
    [((20, 20), (3, 3), "undecided"), ((20, 20), (6, 6), "agrees"), ((7, 20), (3, 3), "undecided"),
     ((60, 60), (12, 12), "agrees"), ((19, 140), (0, 14), "agrees")],
)  # fmt: skip
def test_a_paper_of_few_runs_is_no_paper_to_agree_with(ours, paper, verdict):
    """The largest difference that three of three leave open, at the level of two one-sided tests, is .47."""
    values = np.repeat([1.0, 0.0], [ours[0], ours[1] - ours[0]])
    outcome = Proportion(*paper).outcome(values, 0.95)
    assert outcome.verdict == verdict
    if paper == (3, 3) and ours == (20, 20):
        assert "the paper has 3 runs" in outcome.reason


def test_the_interval_of_a_difference_of_shares_is_the_published_one():
    """Newcombe 1998, table II, method 10: 56/70 less 48/80, and 9/10 less 3/10."""
    assert np.round(intervals.newcombe(56, 70, 48, 80, 0.95), 4).tolist() == [0.0524, 0.3339]
    assert np.round(intervals.newcombe(9, 10, 3, 10, 0.95), 4).tolist() == [0.1705, 0.8090]


def test_no_effect_in_any_run_is_not_the_paper_s_sign():
    outcome = Direction().outcome(np.zeros(20), 0.95)
    assert outcome.verdict == "differs" and "not the paper's sign in 20 of 20" in outcome.reason
    assert Direction().outcome(np.r_[np.zeros(10), np.ones(10)], 0.95).verdict == "undecided"


def test_a_proportion_against_words():
    assert Proportion(least_share=0.5).outcome(np.ones(20), 0.95).verdict == "agrees"
    assert Proportion(least_share=0.5).outcome(np.zeros(20), 0.95).verdict == "differs"
    assert Proportion(least_share=0.5).outcome(np.array([0.0, 1.0] * 10), 0.95).verdict == "undecided"
    assert Proportion(least_share=0.5).outcome(np.array([0.3, 1.0]), 0.95).verdict == "undecided"


def rows_of_law(rng, exponent=-0.9, censored_above=np.inf, sizes=(8, 16, 32, 64, 128), seeds=5):
    x = np.repeat(sizes, seeds).astype(float)
    y = 3 * x**exponent * np.exp(0.1 * rng.normal(size=len(x)))
    return np.stack([x, np.minimum(y, censored_above), y < censored_above], axis=1)


@pytest.mark.parametrize("cap", [np.inf, 0.3])
def test_a_law_finds_its_exponent_with_and_without_censored_runs(cap):
    outcome = Law((-0.92, -0.9), widest=0.3).outcome(rows_of_law(np.random.default_rng(0), censored_above=cap), 0.95)
    assert outcome.verdict == "agrees" and abs(outcome.estimate + 0.9) < 0.1
    assert Law((-0.5, -0.5), widest=0.3).outcome(rows_of_law(np.random.default_rng(0)), 0.95).verdict == "differs"


def test_a_censored_fit_is_that_of_another_library():
    """lifelines 0.30.3, LogNormalAFTFitter, on these rows: 8.046216 − 0.402819 x."""
    rng = np.random.default_rng(0)
    x = np.repeat(np.arange(5.0), 20)
    y = np.exp(8 - 0.4 * x + 0.3 * rng.normal(size=100))
    start, found, low, high = regression.line(x, np.minimum(y, 2500), y < 2500, 0.95)
    assert (
        start == pytest.approx(8.046216, abs=2e-5)
        and found == pytest.approx(-0.402819, abs=2e-6)
        and low < -0.449433
        and high > -0.356205
    )  # a little wider: t


def test_an_interval_of_a_censored_slope_has_it_nineteen_times_in_twenty():
    hits = 0
    for seed in range(200):
        rows = rows_of_law(np.random.default_rng(seed), censored_above=0.3, seeds=7)
        _, _, low, high = regression.line(np.log(rows[:, 0]), rows[:, 1], rows[:, 2].astype(bool), 0.95)
        hits += low <= -0.9 <= high
    assert abs(hits / 200 - 0.95) < standard_errors(0.95, 200)


def test_a_law_per_step_gives_a_factor():
    rng = np.random.default_rng(1)
    x = np.repeat(np.arange(0.26, 0.305, 0.01), 10)
    y = 1000 * 1.45 ** ((0.3 - x) / 0.01) * np.exp(0.2 * rng.normal(size=len(x)))
    outcome = Law((1.4, 1.5), widest=0.2, per="step", step=-0.01).outcome(np.stack([x, y], axis=1), 0.95)
    assert outcome.verdict == "agrees" and outcome.interval[0] < 1.45 < outcome.interval[1]


def test_a_law_needs_sizes_and_values():
    assert "sizes" in Law((-1, -1), 1).outcome(np.ones((20, 2)), 0.95).reason
    assert "no value" in Law((-1, -1), 1).outcome(np.array([[1.0, np.nan]] * 20), 0.95).reason


@pytest.mark.parametrize(("better", "verdict"), [(2, "undecided"), (3, "differs"), (100, "differs")])
def test_a_pattern_is_missed_by_more_fits_than_another_draw_would_miss(better, verdict):
    """Resampled, 100 fits have none of two with the probability (1 − 2/100)^100 = 0.13, none of three with 0.048."""
    losses = np.arange(100.0)
    fits = np.stack([losses, losses == better], axis=1)
    assert Existence(k=100).outcome(fits, 0.95).verdict == verdict
    assert Existence(k=100).outcome(fits, 0.97).verdict == ("undecided" if better < 4 else "differs")


def test_the_best_of_all_has_the_pattern():
    fits = np.array([[1.0, 1], [1.1, 0], [1.2, 1], [np.nan, 1]])
    outcome = Existence(k=3).outcome(fits, 0.95)
    assert outcome.verdict == "agrees" and outcome.details["gap"] == pytest.approx(0.1)
    few = Existence(k=3).outcome(fits * [1, -1] + [0, 1], 0.95)  # (1 − 1/3)³ = 0.30: another three may have none of it
    assert few.verdict == "undecided" and "and 1 of them are better" in few.reason and "0.3." in few.reason
    assert Existence(k=1000).outcome(fits * [1, -1] + [0, 1], 0.95).verdict == "undecided"  # fewer than the paper's
    with_error = np.column_stack([fits[:3], [0.1] * 3])
    assert Existence(k=3).outcome(with_error, 0.95).verdict == "undecided"  # a gap of one standard error


def test_the_curve_over_k_counts_all_subsets():
    from itertools import combinations

    has = np.array([False, True, True, False, True, False])
    for k in range(1, 7):
        every = np.mean([has[min(subset)] for subset in combinations(range(6), k)])
        assert best_has(has, k) == pytest.approx(every)


def test_an_excess_over_a_density():
    assert Excess(2).outcome(np.array([[20.0, 5], [10, 5]]), 0.95).verdict == "agrees"
    assert Excess(2).outcome(np.array([[4.0, 4]]), 0.95).verdict == "undecided"
    assert Excess(2).outcome(np.array([[100.0, 100]]), 0.95).verdict == "differs"
    assert Excess(2).outcome(np.array([[0.0, 0]]), 0.95).verdict == "undecided"


def test_a_ratio_of_totals_is_pooled_and_within_its_margin_or_not():
    expected = np.linspace(5.0, 25.0, 40)  # runs of different weight: the mean of their ratios is another
    counts = expected * np.where(np.arange(40) % 2, 1.3, 0.7)
    outcome = Ratio(1.5).outcome(np.stack([counts, expected], axis=1), 0.95)
    assert outcome.verdict == "agrees" and outcome.estimate == pytest.approx(counts.sum() / expected.sum())
    assert outcome.estimate != pytest.approx((counts / expected).mean(), rel=1e-3)
    assert Ratio(1.5, paper=3).outcome(np.stack([counts, expected], axis=1), 0.95).verdict == "differs"
    assert Ratio(1.01).outcome(np.stack([counts, expected], axis=1), 0.95).verdict == "undecided"
    assert Ratio(1.5).outcome(np.stack([0 * counts, expected], axis=1), 0.95).verdict == "undecided"
    assert Ratio(1.5).outcome(np.stack([counts, 0 * expected], axis=1), 0.95).verdict == "undecided"


def test_a_ratio_at_the_margin_agrees_at_most_one_time_in_twenty():
    def counted(rng, n):
        return np.stack([rng.poisson(17.5 * 1.1, n), np.full(n, 17.5)], axis=1).astype(float)

    samples = draws(100, 40, counted)
    assert share_of(Ratio(1.1), "agrees", samples) < 0.05 + standard_errors(0.05, 100)
    middle = draws(20, 40, lambda rng, n: counted(rng, n) / [1.1, 1])
    assert share_of(Ratio(1.1), "agrees", middle) > 0.5


def test_cells_that_agree_beyond_chance():
    ours = np.array([0, 1] * 50)
    assert Cells(0.6).outcome(np.stack([ours, ours], axis=1), 0.95).verdict == "agrees"
    assert Cells(0.6).outcome(np.stack([ours, 1 - ours], axis=1), 0.95).verdict == "differs"
    assert Cells(0.6).outcome(np.ones((20, 2)), 0.95).verdict == "undecided"
    near = Cells(0.6).outcome(np.stack([ours, np.where(np.arange(len(ours)) == 0, 1 - ours, ours)], axis=1), 0.95)
    assert near.verdict == "agrees" and near.interval[1] == 1  # no κ is above 1


@pytest.mark.parametrize(("values", "verdict"), [([860, 860], "agrees"), ([860, 862], "differs")])
def test_an_identity(values, verdict):
    assert Identity(860).outcome(np.array(values, float), 0.95).verdict == verdict
    assert Identity(860, slack=3).outcome(np.array(values, float), 0.95).verdict == "agrees"


def test_seeds_that_would_decide_come_from_the_width():
    values = np.linspace(0.0, 2.0, 20)
    outcome = Within(low=0.9).outcome(values, 0.95)
    assert outcome.verdict == "undecided" and outcome.seeds > 20
    assert Within(low=1.0).outcome(values, 0.95).seeds is None  # the estimate is on the border


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Number(-1, 2, "log"), "paper is not on the log scale"),
        (Number(1, 1, "log"), "widest"),
        (Number(1, 1, "root"), "there are linear, log, logit, fisher"),
        (Median(0.5, 0), "margin"),
        (Within(), "range is -inf to inf"),
        (Within(2, 1), "range"),
        (Direction(amount=1), "both or none"),
        (Proportion(), "k and n, or the least share"),
        (Proportion(3, 2), "3 of 2"),
        (Proportion(least_share=1), "not between"),
        (Law((2, 1), 1), "prediction"),
        (Law((1, 2), 0), "widest"),
        (Existence(0), "best of 0"),
        (Excess(1), "more than 1"),
        (Ratio(1), "factor above 1"),
        (Ratio(2, paper=0), "more than 0"),
        (Cells(1), "between 0 and 1"),
        (Identity(1, -1), "slack"),
    ],
)
def test_a_kind_that_cannot_be(kind, wrong):
    assert wrong in kind.check()
