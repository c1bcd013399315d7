"""The time of gradient flow: what gradient descent with growing steps has behind it after a number of them."""

import numpy as np
from jaxtyping import Float, Real

from toylab.shapes import shaped


@shaped
def elapsed(
    steps: Real[np.ndarray, " T"],
    lr: Real[np.ndarray, "*runs"],
    rate: Real[np.ndarray, "*runs"],
    most: Real[np.ndarray, "*runs"],
) -> Float[np.ndarray, "*runs T"]:
    """Σ_{k < step} lr · min((1 + rate)^k, most): the learning rates of `SGD` under `Grow`, added up.

    In closed form lr times `((1 + rate)^min(step, q) − 1) / rate + most · max(step − q, 0)`, of which q = ⌈log most /
    log(1 + rate)⌉ steps grow.
    The time is in units of 1 over the gradient's: where weights decay by w, `w · elapsed` is how far log ‖θ‖ falls by it.

    Args:
        steps: Numbers of steps, [T].
        lr: Of the first step, [...].
        rate: By how much a step exceeds the one before, a share of it, [...]; 0 for steps of one size.
        most: The largest step over the first, at least 1, [...].

    Returns:
        [..., T], float64.
    """
    lr, rate, most = (np.asarray(given, np.float64)[..., None] for given in (lr, rate, most))
    growth = np.log1p(rate)
    with np.errstate(divide="ignore", invalid="ignore"):
        grows = np.where(growth == 0, np.inf, np.ceil(np.log(most) / growth))
        growing = np.minimum(steps, grows)
        summed = np.where(growth == 0, growing, np.expm1(growing * growth) / rate)
    rest = np.maximum(steps - grows, 0)
    return lr * (summed + np.where(rest > 0, most * rest, 0))
