"""Claims about how many runs have something: Direction, the sign of an effect, and Proportion. Values are [n]."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from toylab import claims
from toylab.claims.counts import Verdict
from toylab.claims.kinds.kind import against, off_scale
from toylab.claims.outcome import Outcome, ratio_to, seeds_needed, undecided
from toylab.claims.scales import SCALES, ScaleName


@dataclass(frozen=True)
class Direction:
    """The sign of an effect within each run: A beyond B, A before B. Values are effects, positive as the paper says.

    agrees      Wilson's interval of P(effect > null) lies above 1/2 and the median's above `null`; with `always`, the first
                above 0.8; with `amount`, the median's within the margin of it
    direction only   all that, but the amount lies outside the margin, or is not known well enough
    differs     the first lies below 1/2, and the median's not above `null`
    undecided   otherwise

    null            the value of no effect
    always          the paper says so of every run
    amount, margin  the size that the paper gives, and the distance within which it is the same (a factor on the log scale)
    scale           of the amount
    """

    null: float = 0.0
    always: bool = False
    amount: float | None = None
    margin: float | None = None
    scale: ScaleName = "linear"
    least: ClassVar[int] = 6
    per_run: ClassVar[bool] = True
    tests: ClassVar[bool] = False
    mostly: ClassVar[float] = 0.8  # the least share that "always" may mean

    def check(self) -> str:
        if (self.amount is None) != (self.margin is None):
            return "it has one of amount and margin: give both or none"
        return "" if self.amount is None else off_scale(self.scale, amount=self.amount, null=None)

    def rule(self, unit: str) -> str:
        sign = f"> {self.null:g}{unit} in {'nearly every run' if self.always else 'most runs'}"
        if self.amount is None:
            return sign
        around = f"a factor {self.margin:g}" if self.scale == "log" else f"{self.margin:g}"
        return f"{sign}, median within {around} of {self.amount:g}{unit}"

    def outcome(self, values: np.ndarray, level: float) -> Outcome:
        n, k = len(values), int((values > self.null).sum())
        share = claims.intervals.wilson(k, n, level)
        filled = np.where(np.isnan(values), -np.inf, values)  # a run without a value has no effect of the paper's sign
        found, interval = float(np.median(filled)), claims.intervals.of_median(filled, level)
        least = self.mostly if self.always else 0.5
        reason, seeds = "", None
        verdict: Verdict
        if share[0] > least and interval[0] > self.null:
            verdict = "agrees"
        elif share[1] < 0.5 and interval[1] <= self.null:
            verdict, reason = "differs", f"The effect has not the paper's sign in {n - k} of {n} runs."
        elif share[0] > 0.5 and interval[0] > self.null:
            verdict, reason = (
                "direction only",
                f"The effect is there in {k} of {n} runs, not surely in nearly every one.",
            )
            seeds = seeds_needed(SCALES["linear"], n, k / n, share, self.mostly)
        else:
            verdict, reason = "undecided", f"The effect has the paper's sign in {k} of {n} runs."
            seeds = seeds_needed(SCALES["linear"], n, k / n, share, 0.5)
        if verdict == "agrees" and self.amount is not None and self.margin is not None:
            scale = SCALES[self.scale]
            margin = scale.around(self.amount, self.margin)
            inner = claims.intervals.of_median(filled, 2 * level - 1)
            of_amount, reason, seeds = against(margin, inner, interval, scale, n, found)
            verdict = "agrees" if of_amount == "agrees" else "direction only"
        ratio = None if self.amount is None else ratio_to(self.amount, found, interval)
        return Outcome(verdict, found, interval, n, "median", ratio, (k / n, *share), reason=reason, seeds=seeds)


@dataclass(frozen=True)
class Proportion:
    """The share of runs with a property. Values are 1 or 0 (true or false).

    Against k of n of the paper's runs: differs if Fisher's exact test says so. Agrees if it does not, Jeffreys' interval is
    no wider than `widest`, and Newcombe's interval of the difference to the paper's share lies within ± `widest` (two
    one-sided tests): a paper's few runs may be too few to agree with. Else undecided. Against `least_share`: agrees if the
    interval lies above it, differs if below.

    k, n         of the paper
    widest       the widest interval that may decide for agreement, and the largest difference that is none
    least_share  what the paper's words ask for, where it counts nothing
    """

    k: int | None = None
    n: int | None = None
    widest: float = 0.4
    least_share: float | None = None
    least: ClassVar[int] = 6
    per_run: ClassVar[bool] = True
    tests: ClassVar[bool] = False

    def check(self) -> str:
        counted = self.k is not None and self.n is not None
        if counted == (self.least_share is not None) or (self.k is None) != (self.n is None):
            return "give the paper's k and n, or the least share"
        if self.k is not None and self.n is not None and not 0 <= self.k <= self.n:
            return f"its paper has {self.k} of {self.n}"
        return "" if self.least_share is None or 0 < self.least_share < 1 else "its least share is not between 0 and 1"

    def rule(self, unit: str) -> str:
        if self.least_share is not None:
            return f"in at least {self.least_share:.0%} of runs"
        return f"share within {self.widest:g} of {self.k} of {self.n}, interval no wider than {self.widest:g}"

    def outcome(self, values: np.ndarray, level: float) -> Outcome:
        if (gaps := np.isnan(values).sum()) or not np.isin(values, (0, 1)).all():
            return undecided(
                f"{gaps} of {len(values)} runs have no value." if gaps else "values are not 0 or 1.", len(values)
            )
        n, k = len(values), int(values.sum())
        interval, found = claims.intervals.jeffreys(k, n, level), k / n
        p, reason, seeds = None, "", None
        verdict: Verdict
        if self.k is None or self.n is None:
            at_least = (self.least_share or 0.0, 1.0)
            verdict, reason, seeds = against(at_least, interval, interval, SCALES["linear"], n, found)
        else:
            p = claims.intervals.fisher(k, n, self.k, self.n)
            if p < 1 - level:
                verdict, reason = "differs", f"{k} of {n} against {self.k} of {self.n}: Fisher's p is {p:.2g}."
            elif interval[1] - interval[0] > self.widest:
                verdict, reason = "undecided", f"The interval has the width {interval[1] - interval[0]:.2g}."
                seeds = int(np.ceil(n * ((interval[1] - interval[0]) / self.widest) ** 2))
            elif (apart := np.abs(claims.intervals.newcombe(k, n, self.k, self.n, 2 * level - 1)).max()) > self.widest:
                verdict, reason = "undecided", f"The shares may differ by {apart:.2g}: the paper has {self.n} runs."
            else:
                verdict = "agrees"
        ratio = None if not self.k or not self.n else ratio_to(self.k / self.n, found, interval)
        return Outcome(verdict, found, interval, n, "share", ratio, (found, *interval), None, p, reason, seeds)
