"""Claims about the value of a typical run: Identity, Number, Median, Within. Values are [n], one a run, seed or set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from toylab import claims
from toylab.claims.counts import Verdict
from toylab.claims.kinds.kind import against, beside, of_median_with_gaps, off_scale
from toylab.claims.outcome import Outcome, ratio_to, undecided
from toylab.claims.scales import SCALES, Interval, Scale, ScaleName


@dataclass(frozen=True)
class Identity:
    """Every value is the paper's, within a slack for rounding or for the spacing of saved steps."""

    paper: float
    slack: float = 0.0
    least: ClassVar[int] = 1
    per_run: ClassVar[bool] = True
    tests: ClassVar[bool] = False

    def check(self) -> str:
        return "" if self.slack >= 0 else f"its slack is {self.slack:g}: give 0 or more"

    def rule(self, unit: str) -> str:
        return f"{self.paper:g}{unit}" + (f" ± {self.slack:g}" if self.slack else "")

    def outcome(self, values: np.ndarray, level: float) -> Outcome:
        same = np.abs(values - self.paper) <= self.slack
        interval = float(np.min(values)), float(np.max(values))
        found = float(np.median(values))
        reason = "" if same.all() else f"{(~same).sum()} of {len(values)} values are others."
        verdict: Verdict = "agrees" if same.all() else "differs"
        ratio = ratio_to(self.paper, found, interval)
        allowed = None if ratio else (self.paper - self.slack, self.paper + self.slack)
        return Outcome(verdict, found, interval, len(values), "all", ratio, allowed=allowed, reason=reason)


@dataclass(frozen=True)
class Number:
    """A number of a single run of the paper's: it lies where one more run of ours would, by the prediction interval.

    agrees      the paper's value lies in the interval, which is no wider than `widest`
    differs     it lies outside (direction only: where `null` is given and our median is on the paper's side of it for sure)
    undecided   it lies inside, but the interval is wider

    paper    the value
    widest   the widest prediction interval that may decide: a factor on the log scale, else a difference on the scale
    scale    on which values are taken as normal
    null     the value of no effect
    """

    paper: float
    widest: float
    scale: ScaleName = "linear"
    null: float | None = None
    least: ClassVar[int] = 6
    per_run: ClassVar[bool] = True
    tests: ClassVar[bool] = False

    def check(self) -> str:
        if what := off_scale(self.scale, paper=self.paper):
            return what
        return "" if self.widest > (self.scale == "log") else f"its widest interval is {self.widest:g}"

    def rule(self, unit: str) -> str:
        width = f"a factor {self.widest:g}" if self.scale == "log" else f"{self.widest:g}"
        return f"{self.paper:g}{unit} in the prediction interval, no wider than {width}"

    def outcome(self, values: np.ndarray, level: float) -> Outcome:
        scale = SCALES[self.scale]
        if (off := ~scale.holds(values)).any():
            return undecided(f"{off.sum()} of {len(values)} runs have no value on the {self.scale} scale.", len(values))
        interval = claims.intervals.of_prediction(values, level, scale)
        middle = float(scale.back(scale.to(values).mean()))
        width = scale.width(*interval)
        verdict: Verdict
        reason, seeds = "", None
        if not interval[0] <= self.paper <= interval[1]:
            verdict = "differs"
            reason = f"The paper's run is outside the {level:.0%} prediction interval."
            if self.null is not None and beside(self.null, self.paper, claims.intervals.of_median(values, level)):
                verdict = "direction only"
        elif width > self.widest:
            verdict = "undecided"
            reason = (
                f"The prediction interval has the width {width:.3g}, more than {self.widest:g}: runs spread too far."
            )
        else:
            verdict = "agrees"
        ratio = ratio_to(self.paper, middle, interval)
        allowed = None if ratio else (self.paper, self.paper)
        return Outcome(
            verdict, middle, interval, len(values), "one more run", ratio, None, allowed, None, reason, seeds
        )


@dataclass(frozen=True)
class Median:
    """A number of several of the paper's runs: the ratio or difference of medians, and a margin within which they are one.

    agrees      the interval lies within the margin (two one-sided tests: that of level 2·level − 1)
    differs     it lies outside (direction only: as in `Number`)
    undecided   it crosses the margin's end

    Where runs have no value (nan) the interval is that of the median whatever these are, as in `Within`.

    paper    the paper's median or mean, or all its values
    margin   a factor on the log scale, else a distance on the scale
    scale    on which the margin is measured
    error    the standard error of the paper's value on the scale, where its runs are not given one by one
    null     the value of no effect
    """

    paper: float | Sequence[float]
    margin: float
    scale: ScaleName = "linear"
    error: float = 0.0
    null: float | None = None
    least: ClassVar[int] = 6
    per_run: ClassVar[bool] = True
    tests: ClassVar[bool] = False

    @property
    def value(self) -> float:
        return float(np.median(self.paper))

    def check(self) -> str:
        if what := off_scale(self.scale, paper=self.paper):
            return what
        return "" if self.margin > (self.scale == "log") else f"its margin is {self.margin:g}"

    def rule(self, unit: str) -> str:
        around = f"a factor {self.margin:g}" if self.scale == "log" else f"{self.margin:g}"
        return f"median within {around} of {self.value:g}{unit}"

    def outcome(self, values: np.ndarray, level: float) -> Outcome:
        scale = SCALES[self.scale]
        if (off := ~(scale.holds(values) | np.isnan(values))).any() or np.isnan(values).all():
            n_off = off.sum() or len(values)
            return undecided(f"{n_off} of {len(values)} runs have no value on the {self.scale} scale.", len(values))
        found = float(np.nanmedian(values))
        of_interval = self._with_gaps if np.isnan(values).any() else self._interval
        inner, outer = (of_interval(values, at, scale) for at in (2 * level - 1, level))
        margin = scale.around(self.value, self.margin)
        verdict, reason, seeds = against(margin, inner, outer, scale, len(values), found)
        if verdict == "differs" and self.null is not None and beside(self.null, self.value, outer):
            verdict = "direction only"
        ratio = ratio_to(self.value, found, outer)
        allowed = None if ratio else margin
        return Outcome(verdict, found, outer, len(values), "median", ratio, None, allowed, None, reason, seeds)

    def _interval(self, values: np.ndarray, level: float, scale: Scale) -> Interval:
        """Of our median, widened by what is not known of the paper's."""
        samples = [scale.to(values)]
        if np.size(self.paper) > 1:
            samples.append(scale.to(np.asarray(self.paper, float)))
        own = float(scale.to(np.median(values)))
        theirs = float(scale.to(self.value))

        def apart(ours: np.ndarray, paper: Any = theirs, axis: int = -1) -> np.ndarray:
            of_paper = paper if np.ndim(paper) == 0 else np.median(paper, axis=axis)
            return np.median(ours, axis=axis) - of_paper

        low, high = claims.intervals.bootstrapped(samples, apart, level)
        middle = own - theirs
        more = self.error * float(claims.intervals.normal_reach(level))
        low = middle - np.hypot(middle - low, more)
        high = middle + np.hypot(high - middle, more)
        return float(scale.back(theirs + low)), float(scale.back(theirs + high))

    def _with_gaps(self, values: np.ndarray, level: float, scale: Scale) -> Interval:
        """The same where runs have no value, whatever these are: by order statistics, as `Within`. An end that hangs on
        them is infinite."""
        middle = float(scale.to(np.nanmedian(values)))
        ends = [float(scale.to(end)) if np.isfinite(end) else end for end in of_median_with_gaps(values, level)]
        theirs = np.asarray(self.paper, float)
        more = self.error * float(claims.intervals.normal_reach(level))
        if theirs.size > 1:
            spread = claims.intervals.bootstrapped([scale.to(theirs)], np.median, level)
            more = max(abs(end - float(scale.to(self.value))) for end in spread)
        low, high = middle - np.hypot(middle - ends[0], more), middle + np.hypot(ends[1] - middle, more)
        found = [float(scale.back(end)) if np.isfinite(end) else float(end) for end in (low, high)]
        return found[0], found[1]


@dataclass(frozen=True)
class Within:
    """A paper's words as a range: the median lies in it.

    agrees      the interval of the median lies within
    differs     it lies outside
    undecided   it crosses an end

    low, high   the range; one may be infinite
    scale       for the number of seeds that would decide
    """

    low: float = -np.inf
    high: float = np.inf
    scale: ScaleName = "linear"
    least: ClassVar[int] = 6
    per_run: ClassVar[bool] = True
    tests: ClassVar[bool] = False

    def check(self) -> str:
        finite = [end for end in (self.low, self.high) if np.isfinite(end)]
        return "" if finite and self.low <= self.high else f"its range is {self.low:g} to {self.high:g}"

    def rule(self, unit: str) -> str:
        if np.isneginf(self.low):
            return f"median ≤ {self.high:g}{unit}"
        return (
            f"median ≥ {self.low:g}{unit}" if np.isposinf(self.high) else f"median {self.low:g} to {self.high:g}{unit}"
        )

    def outcome(self, values: np.ndarray, level: float) -> Outcome:
        interval = of_median_with_gaps(values, level)
        found = float(np.median(values[~np.isnan(values)])) if (~np.isnan(values)).any() else np.nan
        verdict, reason, seeds = against(
            (self.low, self.high), interval, interval, SCALES[self.scale], len(values), found
        )
        allowed = (self.low, self.high)
        return Outcome(verdict, found, interval, len(values), "median", allowed=allowed, reason=reason, seeds=seeds)
