"""What a kind of claim is, and what its rules have in common."""

from typing import Any, ClassVar, Protocol

import numpy as np

from toylab import claims
from toylab.claims.counts import Verdict
from toylab.claims.outcome import Outcome, seeds_needed
from toylab.claims.scales import SCALES, Interval, Scale


class Kind(Protocol):
    """A rule.

    least     the fewest values that it can decide on, at the level 0.95
    per_run   whether each value is of another run, so that the first n of them are n independent ones
    tests     whether its outcome agrees by a test, whose p is corrected within a family
    """

    least: ClassVar[int]
    per_run: ClassVar[bool]
    tests: ClassVar[bool]

    def check(self) -> str:
        """What is wrong with the fields, in a few words; "" if nothing is."""

    def rule(self, unit: str) -> str:
        """The rule with its numbers, as the table of claims shows it."""

    def outcome(self, values: np.ndarray, level: float) -> Outcome:
        """The verdict for values [n, …] at a level."""


def against(
    margin: Interval, inner: Interval, outer: Interval, scale: Scale, n: int, found: float
) -> tuple[Verdict, str, int | None]:
    """An interval against a range: within agrees, outside differs, across undecided. `inner` decides for the first."""
    if margin[0] <= inner[0] and inner[1] <= margin[1]:
        return "agrees", "", None
    low, high = map(shown, margin)
    wanted = (
        f"{low} to {high}"
        if np.isfinite(margin).all()
        else f"{low} or more"
        if np.isfinite(margin[0])
        else f"{high} or less"
    )
    if outer[1] < margin[0] or outer[0] > margin[1]:
        return "differs", f"The interval is outside {wanted}.", None
    borders = [end for end in margin if np.isfinite(end)]
    return "undecided", f"The interval crosses an end of {wanted}.", seeds_needed(scale, n, found, outer, *borders)


def shown(value: float) -> str:
    """A number in a sentence, to four digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def of_median_with_gaps(values: np.ndarray, level: float) -> Interval:
    """The interval of the median, whatever the values are that runs do not have."""
    low = claims.intervals.of_median(np.where(np.isnan(values), -np.inf, values), level)
    high = claims.intervals.of_median(np.where(np.isnan(values), np.inf, values), level)
    return low[0], high[1]


def beside(null: float, paper: float, interval: Interval) -> bool:
    """Whether an interval lies wholly on the paper's side of no effect."""
    return interval[0] > null if paper > null else interval[1] < null


def off_scale(scale: str, **named: Any) -> str:
    if scale not in SCALES:
        return f"its scale is {scale!r}: there are {', '.join(SCALES)}"
    for name, value in named.items():
        if value is not None and not SCALES[scale].holds(np.asarray(value, float)).all():
            return f"its {name} is not on the {scale} scale"
    return ""
