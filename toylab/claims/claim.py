"""A claim: what a paper says or what we found, as a quantity of the measures and a rule that is fixed beforehand."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from toylab.claims.kinds import Kind
from toylab.claims.outcome import Outcome, undecided

Ledger = Literal["replication", "finding", "check"]
Degree = Literal["exact", "scaled", "analogue"]  # of a set-up, ever farther from the paper's
Quantity = Callable[[Any], np.ndarray]
SPENT = {1: (0.05,), 2: (0.02, 0.03), 3: (0.01, 0.02, 0.02)}  # error probability at each look, by the number of looks
MOST_LISTED = 200  # values that claims.json lists; of more it has the number
DIGITS = 6  # of the values there


@dataclass(frozen=True)
class Source:
    """What a claim is taken from.

    paper   authors and year
    where   section, figure, table, or released file
    says    the number or a few words of it
    n       runs behind it; None where the paper does not say
    """

    paper: str
    where: str = ""
    says: str = ""
    n: int | None = None

    def __str__(self) -> str:
        return ", ".join(part for part in (self.paper, self.where) if part)


@dataclass(frozen=True)
class Fidelity:
    """How near our set-up is to the paper's: exact, scaled (smaller), or analogue (another one), and what is different."""

    degree: Degree
    different: str = ""


EXACT = Fidelity("exact")


def scaled(different: str) -> Fidelity:
    """The paper's set-up, smaller: as "width 64, not 128"."""
    return Fidelity("scaled", different)


def analogue(different: str) -> Fidelity:
    """Another set-up than the paper's, in which the same should be seen."""
    return Fidelity("analogue", different)


@dataclass(frozen=True)
class Claim:
    """A statement about trained networks, judged from their measures by the rule of its kind.

    name       of the claim, unique on its page
    source     of a replication; of a finding None, or what it goes beyond
    quantity   of the part's measures: [n], a value of each run, seed or set of fits, or [n, …] as the kind says
    kind       the rule with its bounds, margin and scale
    ledger     "replication": a paper or its release states it; "finding": we saw it, and no paper says so; "check":
               released weights, measured by our analyzers, give what their paper prints: of our code, not of nature
    fidelity   how near the set-up is to the paper's. Only where it is exact can a verdict be "differs"
    unit, each   of a value, and what has one
    looks      numbers of values at which the claim is judged, the last of them the most. The error of 5 % is spent on them
    variants   other reasonable quantities by name (threshold, centring, selection, stop), judged by the same rule
    event      claims of one event share it and are counted once
    family     claims tested together share it: their kind's tests (of `Excess`) are corrected for it (Holm)
    needs      what would test the claim, if this set-up cannot: the verdict is then "not at this scale", with this sentence
    options    of the command that tests it at the page's scale paper, besides the scale and the part
    """

    name: str
    source: Source | None
    quantity: Quantity
    kind: Kind
    ledger: Ledger = "replication"
    fidelity: Fidelity = EXACT
    unit: str = ""
    each: str = "run"
    looks: tuple[int, ...] = (20,)
    variants: Mapping[str, Quantity] = field(default_factory=dict)
    event: str = ""
    family: str = ""
    needs: str = ""
    options: str = ""

    @property
    def rule(self) -> str:
        return self.kind.rule(f" {self.unit}" if self.unit else "")

    def values(self, measures: Any) -> np.ndarray:
        """The quantity, [n, …]; nan of a run that has nothing of what is asked, without numpy's warning."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN|invalid value|divide by zero", RuntimeWarning)
            return np.atleast_1d(np.asarray(self.quantity(measures), float))

    def judge(self, measures: Any, under: str = "") -> dict[str, Any]:
        """Judges the claim.

        If the quantity cannot be computed of these runs, because fields were set to other values than the page's, the claim
        is not applicable.

        Args:
            measures: of the claim's part.
            under: the fields that were set, for the verdict.

        Returns:
            What claims.json has of it.
        """
        judged = self._stated()
        try:
            values = self.values(measures)
        except Exception as error:  # it exists for the page's own runs, not for all others
            return {**judged, **_without(f"Not applicable{under and f' under {under}'} ({_line(error)}).")}
        if not len(values):
            return {**judged, **_without(f"Not applicable{under and f' under {under}'} (no run has it).")}
        outcome, level = self.outcome(values)
        others = {name: self._variant(quantity, measures) for name, quantity in self.variants.items()}
        judged |= _numbers(outcome, level, values)
        if self.sequential and len(values) > self.looks[-1]:
            judged["given"] = len(values)
        judged |= {"verdict": self._verdict(outcome), "reason": self._reason(outcome, others), "variants": others}
        return judged

    def outcome(self, values: np.ndarray) -> tuple[Outcome, float]:
        """What the rule finds of values [n, …], and the level of its interval.

        At each number of `looks` in turn, until it decides: a direction alone does not where more values would decide the
        rest of the rule. With fewer values than the first, what is found is shown at 0.95 and stays undecided; values
        beyond the last are not looked at.
        """
        if not self.sequential:
            return self._at(values, 0.95), 0.95
        level = 0.95
        found = None
        for look, error in zip(self.looks, SPENT[len(self.looks)], strict=True):
            if len(values) < look:
                break
            level = 1 - error
            found = self._at(values[:look], level)
            if found.verdict != "undecided" and not (found.verdict == "direction only" and found.seeds):
                return found, level
        if found is not None:
            return found, level
        early = self._at(values, 0.95)
        missing = f"{len(values)} of {self.looks[0]} planned values."
        kept = {
            name: getattr(early, name)
            for name in ("estimate", "interval", "n", "shows", "ratio", "share", "allowed", "details")
        }
        return Outcome("undecided", **kept, reason=missing, seeds=self.looks[0]), 0.95

    @property
    def sequential(self) -> bool:
        """Whether values come run by run, so that looks are counted in them."""
        return self.kind.per_run and self.kind.least > 1

    def _at(self, values: np.ndarray, level: float) -> Outcome:
        if len(values) < self.kind.least:
            reason = f"{len(values)} values; the rule needs {self.kind.least}."
            found = float(np.nanmedian(values)) if values.ndim == 1 and not np.isnan(values).all() else math.nan
            return undecided(reason, len(values), found, self.kind.least)
        return self.kind.outcome(values, level)

    def _variant(self, quantity: Quantity, measures: Any) -> str:
        try:
            outcome, _ = self.outcome(replace(self, quantity=quantity).values(measures))
        except Exception as error:
            return f"not applicable ({_line(error)})"
        return self._verdict(outcome)

    def _verdict(self, outcome: Outcome) -> str:
        """Of an outcome, as the set-up allows: what fails in another set-up than the paper's is no difference."""
        if self.needs or (outcome.verdict == "differs" and self.fidelity.degree != "exact"):
            return "not at this scale"
        return outcome.verdict

    def _reason(self, outcome: Outcome, others: Mapping[str, str]) -> str:
        verdict = self._verdict(outcome)
        said = [outcome.reason] if verdict != "agrees" and outcome.reason else []
        if verdict == "not at this scale":
            said.append(self.needs or f"The set-up is {self.fidelity.degree}: {self.fidelity.different}.")
        if flips := [name for name, other in others.items() if other != verdict]:
            said.append(f"It depends on the choice: {'; '.join(f'{name} {others[name]}' for name in flips)}.")
        return " ".join(said)

    def _stated(self) -> dict[str, Any]:
        source = (
            None
            if self.source is None
            else {name: getattr(self.source, name) for name in ("paper", "where", "says", "n")}
        )
        return {
            "name": self.name,
            "ledger": self.ledger,
            "source": source,
            "rule": self.rule,
            "unit": self.unit,
            "each": self.each,
            "fidelity": self.fidelity.degree,
            "different": self.fidelity.different,
            "event": self.event,
            "family": self.family,
        }


def _numbers(outcome: Outcome, level: float, values: np.ndarray) -> dict[str, Any]:
    listed = [rounded(value) for value in values] if values.size <= MOST_LISTED else []
    return {
        "estimate": rounded(outcome.estimate),
        "interval": rounded(outcome.interval),
        "shows": outcome.shows,
        "level": round(level, 3),
        "n": outcome.n,
        "ratio": rounded(outcome.ratio),
        "share": rounded(outcome.share),
        "allowed": rounded(outcome.allowed),
        "p": rounded(outcome.p),
        "seeds": outcome.seeds,
        "details": rounded(outcome.details),
        "values": listed,
    }


def _without(reason: str) -> dict[str, Any]:
    return {"n": 0, "values": [], "verdict": "not applicable", "reason": reason, "variants": {}}


def rounded(value: Any) -> Any:
    """Numbers to six digits, in whatever they stand; None for what is not finite."""
    if isinstance(value, Mapping):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, (tuple, list, np.ndarray)):
        return [rounded(one) for one in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def _line(error: BaseException) -> str:
    lines = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
