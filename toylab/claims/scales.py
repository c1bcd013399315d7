"""Scales on which values are compared: log for times and ratios, logit for shares, Fisher's z for correlations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

ScaleName = Literal["linear", "log", "logit", "fisher"]
Map = Callable[[Any], Any]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """A monotonic map of values to a line on which differences are comparable.

    to, back       the map and its inverse
    low, high      values lie strictly between them
    """

    name: ScaleName
    to: Map
    back: Map
    low: float = -np.inf
    high: float = np.inf

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Whether values lie on the scale: [...] → [...] bool. A nan does not."""
        return (values > self.low) & (values < self.high)

    def width(self, low: float, high: float) -> float:
        """The width of an interval of values: high / low on the log scale, else high − low on the line."""
        apart = float(self.to(high) - self.to(low))
        return float(np.exp(min(apart, 700.0))) if self.name == "log" else apart

    def around(self, value: float, margin: float) -> tuple[float, float]:
        """The values within a margin of one: a factor on the log scale, else a distance on the line."""
        step = np.log(margin) if self.name == "log" else margin
        return float(self.back(self.to(value) - step)), float(self.back(self.to(value) + step))


def _logit(p: Any) -> Any:
    from scipy import special  # takes as long to import as all claims do

    return special.logit(p)


def _expit(x: Any) -> Any:
    from scipy import special

    return special.expit(x)


SCALES: dict[str, Scale] = {
    "linear": Scale("linear", np.asarray, np.asarray),
    "log": Scale("log", np.log, np.exp, 0),
    "logit": Scale("logit", _logit, _expit, 0, 1),
    "fisher": Scale("fisher", np.arctanh, np.tanh, -1, 1),
}
