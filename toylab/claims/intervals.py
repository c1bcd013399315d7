"""Intervals and tests, all by SciPy and statsmodels. A level is that of the interval: 0.95 leaves 2.5 % on each side.

These take a second to import, so it is imported when a claim is judged: `claims.intervals`, which is lazy."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint
from statsmodels.stats.rates import confint_poisson

from toylab.claims.scales import Interval, Scale

RESAMPLES = 4_999  # the 2.5 % quantile of so many has a standard error of a tenth of the tail
SEED = 0  # of the resampling: the same measures give the same verdict


def of_median(values: np.ndarray, level: float) -> Interval:
    """The interval of the median by order statistics, exact for any distribution.

    Args:
        values: [n], may be infinite.
        level: of the interval.

    Returns:
        Its ends; infinite where n is too small for the level (0.95 needs 6 values, 0.99 needs 8).
    """
    found = stats.quantile_test(np.sort(values), q=0, p=0.5).confidence_interval(level)
    low, high = (float(end) for end in found)
    return (-np.inf if np.isnan(low) else low), (np.inf if np.isnan(high) else high)


def of_prediction(values: np.ndarray, level: float, scale: Scale) -> Interval:
    """Where one more value of the same distribution lies: mean ± t_{n−1} s √(1 + 1/n), normal on the scale.

    Args:
        values: [n] on the scale, n ≥ 2.
        level: of the interval.
        scale: on which values are taken as normal.

    Returns:
        Its ends, as values.
    """
    on_line = scale.to(values)
    n = len(values)
    reach = stats.t.ppf((1 + level) / 2, n - 1) * on_line.std(ddof=1) * np.sqrt(1 + 1 / n)
    return float(scale.back(on_line.mean() - reach)), float(scale.back(on_line.mean() + reach))


def bootstrapped(samples: Sequence[np.ndarray], statistic: Callable[..., np.ndarray], level: float) -> Interval:
    """The bootstrap interval of a statistic of one sample or several independent ones (percentiles).

    Args:
        samples: each [n_i].
        statistic: of the samples, with an `axis`.
        level: of the interval.

    Returns:
        Its ends.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # values all alike: an interval of no width
        found = stats.bootstrap(
            tuple(samples),
            statistic,
            confidence_level=level,
            n_resamples=RESAMPLES,
            method="percentile",
            vectorized=True,
            rng=np.random.default_rng(SEED),
        ).confidence_interval
    return float(found.low), float(found.high)


def wilson(k: int, n: int, level: float) -> Interval:
    """Wilson's interval of a probability, for k of n."""
    low, high = proportion_confint(k, n, alpha=1 - level, method="wilson")
    return float(low), float(high)


def newcombe(k: int, n: int, k_other: int, n_other: int, level: float) -> Interval:
    """The interval of the difference of two shares, k/n less k_other/n_other, from Wilson's of each (Newcombe 1998).

    Args:
        k, n: of one sample.
        k_other, n_other: of the other, independent of it.
        level: of the interval.

    Returns:
        Its ends.
    """
    low, high = confint_proportions_2indep(k, n, k_other, n_other, method="newcomb", compare="diff", alpha=1 - level)
    return float(low), float(high)


def jeffreys(k: int, n: int, level: float) -> Interval:
    """Jeffreys' interval of a probability, for k of n; it reaches 0 for none and 1 for all (Brown, Cai & DasGupta 2001)."""
    low, high = proportion_confint(k, n, alpha=1 - level, method="jeffreys")
    return (0.0 if k == 0 else float(low)), (1.0 if k == n else float(high))


def fisher(k: int, n: int, other_k: int, other_n: int) -> float:
    """Fisher's exact p, two-sided, that k of n and other_k of other_n have one probability."""
    return float(stats.fisher_exact([[k, n - k], [other_k, other_n - other_k]]).pvalue)


def poisson_ratio(count: float, expected: float, level: float) -> Interval:
    """The exact interval of a Poisson rate over an expected one."""
    low, high = confint_poisson(count, expected, method="exact-c", alpha=1 - level)
    return (0.0 if count == 0 else float(low)), float(high)


def kappa(table: np.ndarray, level: float) -> tuple[float, float, float]:
    """Cohen's κ of a table of counts [c, c], with its interval, which ends at 1: agreement beyond chance."""
    found = cohens_kappa(table, return_results=True)
    reach = normal_reach(level) * found.std_kappa
    return float(found.kappa), float(found.kappa - reach), min(float(found.kappa + reach), 1.0)


def normal_reach(level: float) -> float:
    """Standard errors from the middle of a normal interval to its end."""
    return float(stats.norm.ppf((1 + level) / 2))


def poisson_above(count: float, expected: float) -> float:
    """The probability of at least so many counts, of a Poisson distribution of the expected mean."""
    return float(stats.poisson.sf(count - 1, expected))


def holm(p: Sequence[float], alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Which of several tests are significant at a level together, and their p, adjusted by Holm's method."""
    significant, adjusted, *_ = multipletests(p, alpha, method="holm")
    return significant, adjusted
