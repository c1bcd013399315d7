"""What a rule finds of a claim's values."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from toylab.claims.counts import Verdict
from toylab.claims.scales import Interval, Scale

MOST_SEEDS = 10_000  # a number of seeds beyond it is not worth naming


@dataclass(frozen=True)
class Outcome:
    """What a rule finds of a claim's values.

    verdict            by the rule, before the set-up's fidelity is looked at
    estimate, interval of the quantity that the rule names, at its level
    n                  independent values
    shows              what estimate and interval are of: "median", "one more run", …
    ratio              estimate and interval over the paper's value, None where there is no such ratio
    share              estimate and interval of the share of runs with the paper's sign or property, None for none
    allowed            the range in which the estimate agrees, where the rule is one; its ends may be infinite
    p                  of the test that the rule makes, where it makes one
    reason             why it does not agree, in one sentence; "" if it does
    seeds              how many values would decide, about; None where that is not known
    details            more of what was found, by name, for claims.json
    """

    verdict: Verdict
    estimate: float
    interval: Interval
    n: int
    shows: str = "median"
    ratio: tuple[float, float, float] | None = None
    share: tuple[float, float, float] | None = None
    allowed: Interval | None = None
    p: float | None = None
    reason: str = ""
    seeds: int | None = None
    details: dict[str, Any] | None = None


def undecided(reason: str, n: int, estimate: float = math.nan, seeds: int | None = None) -> Outcome:
    """An outcome without an interval: there are too few values for the rule, or some have none."""
    return Outcome("undecided", estimate, (-math.inf, math.inf), n, reason=reason, seeds=seeds)


def seeds_needed(scale: Scale, n: int, estimate: float, interval: Interval, *borders: float) -> int | None:
    """How many values would take the interval clear of the nearest border, for a width that goes as 1 / √n.

    None where the interval is infinite or leaves the scale, or the estimate is so near the border that more than 10,000
    were needed.
    """
    if not scale.holds(np.array([estimate, *interval])).all() or not np.isfinite([estimate, *interval]).all():
        return None
    reach = max(abs(float(scale.to(end) - scale.to(estimate))) for end in interval)
    apart = min(abs(float(scale.to(border) - scale.to(estimate))) for border in borders)
    if not apart > 0:
        return None
    needed = math.ceil(n * (reach / apart) ** 2)
    return max(needed, n + 1) if needed <= MOST_SEEDS else None


def ratio_to(paper: float, estimate: float, interval: Interval) -> tuple[float, float, float] | None:
    """Estimate and interval over the paper's value; None where that is not positive."""
    return (estimate / paper, interval[0] / paper, interval[1] / paper) if paper > 0 else None
