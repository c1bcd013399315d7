"""Claims about many runs together: Law over sizes, Existence among the best of K, Excess over a density, Ratio of totals,
Cells of a map."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from toylab import claims
from toylab.claims.counts import Verdict
from toylab.claims.kinds.kind import against
from toylab.claims.outcome import Outcome, ratio_to, undecided
from toylab.claims.scales import SCALES, Interval


@dataclass(frozen=True)
class Law:
    """An exponent, or a factor for each step of x, by regression over sizes × seeds; times may be censored.

    Values are [n, 2] rows (x, y), or [n, 3] rows (x, y, seen): y is a time, and where `seen` is 0 the event had not come
    by then.

    agrees      the interval meets the prediction, and is no wider than `widest`
    differs     it does not meet it
    undecided   it meets it, and is wider

    prediction   what theory or paper gives, finite-size where theory does, as low and high
    widest       the widest interval that may decide for agreement
    per          "power": y ∝ x^b, the estimate is b; "step": y ∝ e^{b x}, the estimate is e^{b·step}
    step         the change of x that the factor is for
    """

    prediction: tuple[float, float]
    widest: float
    per: Literal["power", "step"] = "power"
    step: float = 1.0
    least: ClassVar[int] = 10
    per_run: ClassVar[bool] = False
    tests: ClassVar[bool] = False
    sizes: ClassVar[int] = 3  # fewest values of x

    def check(self) -> str:
        if not self.prediction[0] <= self.prediction[1]:
            return f"its prediction is {self.prediction[0]:g} to {self.prediction[1]:g}"
        if self.per not in ("power", "step") or not self.step:
            return f"it is per {self.per!r} with step {self.step:g}"
        return "" if self.widest > 0 else f"its widest interval is {self.widest:g}"

    def rule(self, unit: str) -> str:
        low, high = self.prediction
        wanted = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        what = "exponent" if self.per == "power" else f"factor for a change by {self.step:g}:"
        return f"{what} {wanted}, interval no wider than {self.widest:g}"

    def outcome(self, values: np.ndarray, level: float) -> Outcome:
        rows = values[~np.isnan(values).any(axis=1)]
        n, gaps = len(rows), len(values) - len(rows)
        if gaps:
            return undecided(f"{gaps} of {len(values)} runs have no value: say when they were censored.", n)
        positive = (rows[:, 1] > 0).all() and (self.per == "step" or (rows[:, 0] > 0).all())
        if not positive or len(np.unique(rows[:, 0])) < self.sizes:
            return undecided(f"a law needs positive values at {self.sizes} sizes.", n)
        x = np.log(rows[:, 0]) if self.per == "power" else rows[:, 0] / self.step
        seen = rows[:, 2].astype(bool) if rows.shape[1] == 3 else np.ones(n, bool)
        _, slope, low, high = claims.regression.line(x, rows[:, 1], seen, level)
        if np.isnan(slope):
            return undecided("the fit of the censored runs finds no maximum: too few events were seen.", n)
        found = (slope, low, high) if self.per == "power" else tuple(float(np.exp(b)) for b in (slope, low, high))
        interval = found[1], found[2]
        meets = interval[0] <= self.prediction[1] and interval[1] >= self.prediction[0]
        verdict: Verdict = "differs"
        reason, seeds = "The interval does not meet the prediction.", None
        if meets and interval[1] - interval[0] <= self.widest:
            verdict, reason = "agrees", ""
        elif meets:
            verdict, reason = "undecided", f"The interval has the width {interval[1] - interval[0]:.2g}."
            seeds = int(np.ceil(n * ((interval[1] - interval[0]) / self.widest) ** 2))
        middle = float(np.mean(self.prediction))
        sign = np.sign(middle)
        ratio = ratio_to(
            abs(middle), sign * found[0], (min(sign * end for end in interval), max(sign * end for end in interval))
        )
        details = {"censored": int((~seen).sum()), "sizes": len(np.unique(rows[:, 0]))}
        return Outcome(
            verdict,
            found[0],
            interval,
            n,
            "slope" if self.per == "power" else "factor",
            ratio,
            allowed=None if ratio else self.prediction,
            reason=reason,
            seeds=seeds,
            details=details,
        )


@dataclass(frozen=True)
class Existence:
    """The best of all K fits has a pattern. Values are [K, 2] rows (loss, pattern), or [K, 3] with the loss's error.

    agrees      the fit of the lowest loss has it, and is below the best fit without it by two standard errors
    differs     it has not, of at least `k` fits, the gap is as clear, and so many fits without it are better than any with
                it that another draw of K, resampled from these, has none of them with a probability below 1 − level
    undecided   otherwise

    `details` has the gap to the best fit of the other sort, relative to the loss, and the probability that the best
    of 1, 2, 4, … of our fits has the pattern, over all subsets of that size.

    k   fits from which on the absence counts: of as many the paper took the best, where it says so
    """

    k: int
    least: ClassVar[int] = 2
    per_run: ClassVar[bool] = False
    tests: ClassVar[bool] = False

    def check(self) -> str:
        return "" if self.k >= 1 else f"it is of the best of {self.k}"

    def rule(self, unit: str) -> str:
        return f"in the best of all fits; from {self.k:,} on its absence counts"

    def outcome(self, values: np.ndarray, level: float) -> Outcome:
        rows = values[~np.isnan(values).any(axis=1)]  # a fit that diverged is not the best
        if not len(rows):
            return undecided("no fit has a loss.", 0)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        has = rows[:, 1] > 0
        n, seen = len(rows), bool(has[0])
        other = int(np.argmax(has != seen)) if (has != seen).any() else None
        gap = None if other is None else float(rows[other, 0] - rows[0, 0])
        error = 0.0 if rows.shape[1] < 3 or other is None else float(np.hypot(rows[0, 2], rows[other, 2]))
        clear = gap is None or gap > 2 * error
        verdict: Verdict = "undecided"
        reason = f"The gap to the next sort of fit, {gap or 0:.2g}, is within two standard errors of the losses."
        if clear and seen:
            verdict, reason = "agrees", ""
        elif clear and n >= self.k:
            better = n if other is None else other
            missed = (1 - better / n) ** n  # bootstrap: the probability that none of the better ones is drawn again
            if missed < 1 - level:
                verdict, reason = "differs", f"The best of {n:,} fits does not have it."
            else:
                found = f"The best of {n:,} fits does not have it, and {better} of them are better than all that do"
                reason = f"{found}: another draw has none of these with the probability {missed:.2g}."
        elif clear:
            reason = f"Not seen in the best of {n:,} fits; from {self.k:,} on its absence counts."
        sizes = np.unique([*(2 ** np.arange(int(np.log2(n)) + 1)), n])
        curve = {str(size): best_has(has, int(size)) for size in sizes}
        details = {"gap": None if gap is None else gap / abs(rows[0, 0] or 1), "best_of": curve}
        share = (has.mean(), *claims.intervals.jeffreys(int(has.sum()), n, level))
        return Outcome(
            verdict, float(rows[0, 0]), (float(rows[0, 0]),) * 2, n, "lowest loss", None, share, None, None, reason,
            self.k if verdict == "undecided" and n < self.k else None, details,
        )  # fmt: skip


def best_has(has: np.ndarray, k: int) -> float:
    """The probability that the best of k fits, drawn without replacement, has the pattern.

    Args:
        has: [K], by ascending loss.
        k: fits drawn, at most K.

    Returns:
        Σ_i has_i C(K − 1 − i, k − 1) / C(K, k).
    """
    from scipy.special import gammaln

    n = len(has)
    i = np.arange(n - k + 1)  # the best of k is one of these

    def log_choose(a: np.ndarray | int, b: int) -> np.ndarray:
        return gammaln(np.add(a, 1)) - gammaln(b + 1) - gammaln(np.subtract(a, b) + 1)

    return float(np.sum(has[: n - k + 1] * np.exp(log_choose(n - 1 - i, k - 1) - log_choose(n, k))))


@dataclass(frozen=True)
class Excess:
    """More counts at a line than a smooth density gives: Poisson. Values are [n, 2] rows (counted, expected), pooled.

    agrees      the exact interval of counted / expected lies above 1
    differs     it lies below `least_excess`
    undecided   otherwise

    least_excess   the least ratio that a line would be worth the name
    """

    least_excess: float
    least: ClassVar[int] = 1
    per_run: ClassVar[bool] = False
    tests: ClassVar[bool] = True

    def check(self) -> str:
        return "" if self.least_excess > 1 else f"its least excess is {self.least_excess:g}: give more than 1"

    def rule(self, unit: str) -> str:
        return f"counts above a smooth density; differs below {self.least_excess:g} times it"

    def outcome(self, values: np.ndarray, level: float) -> Outcome:
        counted, expected = np.nansum(values, axis=0)
        n = int(counted)
        if not expected > 0:
            return undecided("the density gives no counts there.", n)
        interval, p = (
            claims.intervals.poisson_ratio(counted, expected, level),
            claims.intervals.poisson_above(counted, expected),
        )
        verdict: Verdict = "undecided"
        reason = f"{counted:.0f} counted where {expected:.1f} are expected."
        if interval[0] > 1:
            verdict, reason = "agrees", ""
        elif interval[1] < self.least_excess:
            verdict = "differs"
        above = (1.0, np.inf)
        return Outcome(verdict, counted / expected, interval, n, "counted / expected", None, None, above, p, reason)


@dataclass(frozen=True)
class Ratio:
    """A ratio of totals over all runs, as of counts to what chance predicts: equivalence. Values are [n, 2] rows, one a
    run, of numerator and denominator.

    agrees      the bootstrap interval of the ratio, over runs, lies within a factor `margin` of the paper's (two one-sided
                tests: the interval of level 2·level − 1)
    differs     it lies outside
    undecided   it crosses the margin's end

    margin   the factor within which two ratios are one
    paper    the ratio that the paper gives or predicts
    """

    margin: float
    paper: float = 1.0
    least: ClassVar[int] = 6
    per_run: ClassVar[bool] = True
    tests: ClassVar[bool] = False

    def check(self) -> str:
        if not self.paper > 0:
            return f"its paper's ratio is {self.paper:g}: give more than 0"
        return "" if self.margin > 1 else f"its margin is {self.margin:g}: give a factor above 1"

    def rule(self, unit: str) -> str:
        return f"ratio of totals within a factor {self.margin:g} of {self.paper:g}{unit}"

    def outcome(self, values: np.ndarray, level: float) -> Outcome:
        n = len(values)
        if np.isnan(values).any() or not (values[:, 1] > 0).all() or not values[:, 0].sum() > 0:
            return undecided("a run has no value or nothing to divide by, or all have nothing.", n)

        def ratio(runs: np.ndarray, axis: int = -1) -> np.ndarray:
            at = runs.astype(int)
            return values[at, 0].sum(axis=axis) / values[at, 1].sum(axis=axis)

        inner, outer = (claims.intervals.bootstrapped([np.arange(n)], ratio, at) for at in (2 * level - 1, level))
        found = float(values[:, 0].sum() / values[:, 1].sum())
        scale = SCALES["log"]
        verdict, reason, seeds = against(scale.around(self.paper, self.margin), inner, outer, scale, n, found)
        return Outcome(
            verdict, found, outer, n, "ratio", ratio_to(self.paper, found, outer), reason=reason, seeds=seeds
        )


@dataclass(frozen=True)
class Cells:
    """Two maps agree cell by cell: Cohen's κ. Values are [n, 2] rows (label of ours, label of the paper's or theory's).

    agrees      κ's interval lies above `least_kappa`
    differs     it lies below
    undecided   it crosses it
    """

    least_kappa: float
    least: ClassVar[int] = 10
    per_run: ClassVar[bool] = False
    tests: ClassVar[bool] = False

    def check(self) -> str:
        return "" if 0 < self.least_kappa < 1 else f"its least κ is {self.least_kappa:g}: give between 0 and 1"

    def rule(self, unit: str) -> str:
        return f"κ of cells ≥ {self.least_kappa:g}"

    def outcome(self, values: np.ndarray, level: float) -> Outcome:
        rows = values[~np.isnan(values).any(axis=1)]
        labels, at = np.unique(rows, return_inverse=True)
        if len(labels) < 2:
            return undecided("all cells are of one sort.", len(rows))
        table = np.zeros((len(labels), len(labels)))
        np.add.at(table, tuple(at.reshape(rows.shape).T), 1)
        found, *ends = claims.intervals.kappa(table, level)
        interval: Interval = ends[0], ends[1]
        verdict, reason, _ = against((self.least_kappa, 1.0), interval, interval, SCALES["linear"], len(rows), found)
        same = float((rows[:, 0] == rows[:, 1]).mean())
        allowed = (self.least_kappa, 1.0)
        return Outcome(
            verdict, found, interval, len(rows), "κ", None, None, allowed, None, reason, None, {"same": same}
        )
