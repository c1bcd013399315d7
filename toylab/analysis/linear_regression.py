"""Linear regression by gradient flow on Gaussian inputs, in the limit of many: losses at every time, in closed form."""

import numpy as np
from jaxtyping import Float, Real

from toylab.shapes import shaped

NODES = 4000  # of the quadrature


@shaped
def flow_losses(times: Real[np.ndarray, " T"], ratio: float) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]]:
    """Train and test loss of a linear student, mean squared errors in units of the teacher's squared length.

    Eigenvalues ν of the inputs' covariance have the density of Marchenko and Pastur, and what the student lacks along each
    decays as e^{−νt}: `L_test = ∫ρ e^{−2νt}`, `L_train = ∫ρ ν e^{−2νt}` (Levi et al. 2023, arXiv 2310.16441). Where
    there are more dimensions than examples a share 1 − 1/ratio of the directions is never seen.

    Args:
        times: t, the step times the rate of gradient descent on half the mean squared error, from 0 on, [T].
        ratio: Dimensions of the input over examples, above 0 and not 1.

    Returns:
        L_train [T] and L_test [T]; at t = 0 both are 1.

    Raises:
        ValueError: For a ratio that is not above 0, or 1, where the integral does not converge to these digits; for a time
            below 0.
    """
    if not 0 < ratio < np.inf or ratio == 1:
        raise ValueError(f"ratio is {ratio}: it must be above 0, and not 1.")
    if (times < 0).any():
        raise ValueError(f"times has {times.min()}: it must be 0 or more.")
    angle = (np.arange(NODES) + 0.5) * np.pi / NODES
    value = 1 + ratio + 2 * ratio**0.5 * np.cos(angle)  # ν
    weight = 2 / NODES * np.sin(angle) ** 2 / value  # ρ dν
    left = np.exp(-2 * np.outer(times, value))
    return left @ (weight * value), left @ weight + max(1 - 1 / ratio, 0)


def time_below(level: float, ratio: float, test: bool = True, most: float = 1e7) -> float:
    """The time at which a loss of `flow_losses` falls to a level.

    Args:
        level: In its units.
        ratio: Dimensions over examples.
        test: Whether of the test loss, else of the training loss.
        most: The latest time that is looked at.

    Returns:
        t, by bisection to 1e-6 of itself; inf where it has not come down by `most`.

    Raises:
        ValueError: As of `flow_losses`, and for a level not above 0.
    """
    if not level > 0:
        raise ValueError(f"level is {level}: it must be above 0.")

    def loss(t: float) -> float:
        return float(flow_losses(np.array([t]), ratio)[int(test)][0])

    if loss(most) > level:
        return float("inf")
    low, high = 0.0, most
    while high - low > 1e-6 * high and high > 1e-12:
        middle = (low + high) / 2 if low == 0 and high < 1e-3 else (max(low, 1e-9) * high) ** 0.5
        low, high = (low, middle) if loss(middle) <= level else (middle, high)
    return high
