"""A line of log y over x, by least squares, or by a log-normal model of censored times."""

import warnings
from typing import Any, NamedTuple

import numpy as np
import statsmodels.api as sm
from scipy import stats
from statsmodels.base.model import GenericLikelihoodModel

LEAST_SPREAD = 1e-3  # of the residuals that the fit begins with


class CensoredNormal(GenericLikelihoodModel):
    """z = a + b x + σ ε, where z of a run that was not `seen` is only known to be larger. Parameters: a, b, log σ."""

    def __init__(self, z: np.ndarray, x: np.ndarray, seen: np.ndarray, **rest: Any) -> None:
        super().__init__(z, sm.add_constant(x), seen=seen, extra_params_names=["log σ"], **rest)

    def loglikeobs(self, params: np.ndarray) -> np.ndarray:
        """[n]: log φ((z − a − b x) / σ) − log σ where seen, log of the upper tail where not."""
        z, sigma = (self.endog - self.exog @ params[:-1]) / np.exp(params[-1]), np.exp(params[-1])
        return np.where(self.seen, stats.norm.logpdf(z) - np.log(sigma), stats.norm.logsf(z))


class Line(NamedTuple):
    """log y = start + slope x, and the ends of the slope's interval; nan where the fit finds no maximum."""

    start: float
    slope: float
    low: float
    high: float


NO_LINE = Line(np.nan, np.nan, np.nan, np.nan)


def line(x: np.ndarray, y: np.ndarray, seen: np.ndarray, level: float = 0.95) -> Line:
    """The line log y = a + b x + σ ε, and the interval of b.

    Where all events were seen: ordinary least squares, with errors that need no equal variances (HC3). Where some were
    not: the log-normal model of accelerated failure times, by maximum likelihood, with k − 3 degrees of freedom for k seen
    events, as least squares has.

    Args:
        x: [n].
        y: [n], positive: the time of the event, or the last time looked at.
        seen: [n], whether the event had come by then.
        level: of the interval.

    Returns:
        The line.
    """
    z, right = np.log(y), sm.add_constant
    if seen.all():
        fitted = sm.OLS(z, right(x)).fit(cov_type="HC3", use_t=True)
        low, high = fitted.conf_int(alpha=1 - level)[1]
        return Line(*map(float, (*fitted.params, low, high)))
    free = int(seen.sum()) - 3
    if free < 1 or len(np.unique(x[seen])) < 2:
        return NO_LINE
    middle_x, unit_x = x.mean(), x.std()  # the fit is well scaled where both vary by about 1
    middle_z, unit_z = z[seen].mean(), z[seen].std() or 1.0
    x, z = (x - middle_x) / unit_x, (z - middle_z) / unit_z
    of_seen = sm.OLS(z[seen], right(x[seen])).fit()
    start = [*of_seen.params, np.log(max(of_seen.resid.std(), LEAST_SPREAD))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its result says whether it converged
        for method in ("newton", "bfgs", "nm"):
            fitted = CensoredNormal(z, x, seen).fit(start_params=start, method=method, disp=0, maxiter=2000)
            if converged := fitted.mle_retvals["converged"] and np.isfinite(fitted.bse).all():
                break
    if not converged:
        return NO_LINE
    a, b = map(float, fitted.params[:2])
    error = float(fitted.bse[1]) * np.sqrt(seen.sum() / free)
    reach = float(error * stats.t.ppf((1 + level) / 2, free))
    unit = float(unit_z / unit_x)
    return Line(float(middle_z + unit_z * a - b * unit * middle_x), b * unit, (b - reach) * unit, (b + reach) * unit)
