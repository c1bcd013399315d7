"""The slope of log y over x, by least squares, or by a log-normal model of censored times."""

import warnings
from typing import Any

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


def slope(x: np.ndarray, y: np.ndarray, seen: np.ndarray, level: float) -> tuple[float, float, float]:
    """The slope b of log y = a + b x + σ ε, and its interval.

    Where all events were seen: ordinary least squares, with errors that need no equal variances (HC3). Where some were
    not: the log-normal model of accelerated failure times, by maximum likelihood, with k − 3 degrees of freedom for k seen
    events, as least squares has.

    Args:
        x: [n].
        y: [n], positive: the time of the event, or the last time looked at.
        seen: [n], whether the event had come by then.
        level: of the interval.

    Returns:
        b, and the ends of its interval; nan where the fit finds no maximum.
    """
    z, right = np.log(y), sm.add_constant
    if seen.all():
        fitted = sm.OLS(z, right(x)).fit(cov_type="HC3", use_t=True)
        low, high = fitted.conf_int(alpha=1 - level)[1]
        return float(fitted.params[1]), float(low), float(high)
    free = int(seen.sum()) - 3
    if free < 1 or len(np.unique(x[seen])) < 2:
        return np.nan, np.nan, np.nan
    unit_x, unit_z = x.std(), z[seen].std() or 1.0  # the fit is well scaled where both vary by about 1
    x, z = (x - x.mean()) / unit_x, (z - z[seen].mean()) / unit_z
    of_seen = sm.OLS(z[seen], right(x[seen])).fit()
    start = [*of_seen.params, np.log(max(of_seen.resid.std(), LEAST_SPREAD))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its result says whether it converged
        fitted = CensoredNormal(z, x, seen).fit(start_params=start, method="newton", disp=0, maxiter=200)
    if not fitted.mle_retvals["converged"] or not np.isfinite(fitted.bse).all():
        return np.nan, np.nan, np.nan
    b, error = float(fitted.params[1]), float(fitted.bse[1]) * np.sqrt(seen.sum() / free)
    reach = float(error * stats.t.ppf((1 + level) / 2, free))
    unit = float(unit_z / unit_x)
    return b * unit, (b - reach) * unit, (b + reach) * unit
