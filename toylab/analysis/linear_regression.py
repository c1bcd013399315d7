"""Linear regression in closed form.

By gradient flow on many Gaussian inputs: the losses at every time. By gradient descent with L2 decay and fewer examples
than dimensions: the time at which what the examples do not see of the start is forgotten.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from toylab.analysis.numbers import floating
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


@shaped
def unseen_loss(
    w: Real[ArrayLike, " d"], x: Real[ArrayLike, "n d"], deviations: Real[ArrayLike, " d"]
) -> Float[Array, ""]:
    """The test loss of what a linear student has outside the span of its examples: q = Σ s² (w − P w)².

    P projects onto the rows of x. No gradient of the training loss has a part there: it only decays.

    Args:
        w: The student's weights.
        x: The training inputs, of full rank n < d.
        deviations: Standard deviation s of each dimension of the inputs, which are uncorrelated.

    Returns:
        A mean squared error, scalar.
    """
    w, x, deviations = floating(w), floating(x), floating(deviations)
    seen, _ = jnp.linalg.qr(x.T)  # [d, n], orthonormal columns that span the rows of x
    left = w - jnp.matmul(seen, jnp.matmul(seen.T, w, precision="highest"), precision="highest")
    return ((deviations * left) ** 2).sum()


@shaped
def forgetting_steps(
    unseen: Real[np.ndarray, "*runs"], level: float, rate: Real[np.ndarray, "*runs"]
) -> Float[np.ndarray, "*runs"]:
    """The steps after which decay has brought the unseen loss to a level: ln √(q/θ) / (−ln(1 − lr·κ)), 0 from below.

    With what is seen long fitted it is when ridge regression generalises: ln √(q/θ) / (lr·κ) for a small rate (Xu 2026,
    arXiv 2601.19791).

    Args:
        unseen: q at the start, as of `unseen_loss`.
        level: θ, in its units, above 0.
        rate: lr·κ, the share of a weight that a step of decay takes, above 0 and below 1.

    Raises:
        ValueError: For a level or a rate out of its range.
    """
    if not level > 0:
        raise ValueError(f"level is {level}: it must be above 0.")
    if not ((rate > 0) & (rate < 1)).all():
        raise ValueError(
            f"rate has {np.ravel(rate)[~((rate > 0) & (rate < 1)).ravel()][0]}: it must be above 0 and below 1."
        )
    return np.log(np.maximum(unseen / level, 1)) / 2 / -np.log1p(-rate)
