"""Closed forms that superposition is drawn against: k-gons of one-hot features, and the first-order phase diagram.

Numbers of theory are computed on the host, in float64. `one_hot_loss` alone is an array function of weights.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real
from numpy.typing import NDArray

from toylab.analysis.numbers import floating
from toylab.analysis.superposition.polytopes import rows
from toylab.shapes import shaped

Numbers = NDArray[np.float64]


class KGon(NamedTuple):
    """A critical point of `one_hot_loss` with k of c features in a regular polygon and the others at W_i = 0."""

    norm: float  # l*, of the k features
    bias: float  # b* ≤ 0, of the k features
    dead_bias: Numbers  # of the c − k others [c − k]: first the +1/(2c), then the negative ones
    loss: float
    h: float  # 3·Σ over the k features of their losses; h_k of the table of Chen et al.
    all_neighbours: bool  # whether every neighbour at an acute angle is read (see `kgon`)


@shaped
def one_hot_loss(
    W: Real[ArrayLike, "*#batch n_features n_hidden"], b: Real[ArrayLike, "*#batch n_features"]
) -> Float[Array, "*batch"]:
    """The exact loss of x' = ReLU(x W Wᵀ + b) on x = μ·e_i, with i uniform and μ ~ U[0, 1].

    L = (1/c) Σ_i ∫ ‖x − x'‖² dμ (Chen et al. 2023, arXiv 2310.06301), summed over features. Each integrand is a
    quadratic in μ where the ReLU is on, an interval, so the integral is a cubic in its ends. Differentiable.

    Args:
        W: Features, [..., c, m].
        b: Biases, [..., c].

    Returns:
        [...].

    Raises:
        ValueError: For W as in `polytopes.rows`, and b that does not fit.
    """
    W, b = rows(W), floating(b)
    g = jnp.matmul(W, W.mT, precision="highest")  # [..., i, j]: input i, output j
    b = jnp.broadcast_to(b[..., None, :], g.shape)
    crossing = jnp.clip(-b / jnp.where(g == 0, 1, g), 0, 1)
    low = jnp.where(g > 0, crossing, 0)
    high = jnp.where(g < 0, crossing, jnp.where((g > 0) | (b > 0), 1, 0))
    one, two, three = (high**k - low**k for k in (1, 2, 3))
    output = g**2 * three / 3 + g * b * two + b**2 * one  # ∫ x'_j²
    target = jnp.diagonal(1 / 3 - 2 * (g * three / 3 + b * two / 2), axis1=-2, axis2=-1)  # ∫ μ² − 2μx'_i
    return (output.sum((-2, -1)) + target.sum(-1)) / W.shape[-2]


def kgon(c: int, k: int, plus: int = 0) -> KGon:
    """The k-gon of c one-hot features in two dimensions (Chen et al. 2023, solved anew).

    With g = l² and t = −b/g, a feature of the polygon adds 1/3 − 2g·P(t) + g²·Q(t), P = (1−t)²(2+t)/6 and
    Q = Σ_j (cos_j − t)₊³/(3 cos_j) over the k cosines that are positive. This is quadratic in g, so g = P/Q, and t is
    the root of 2(1+t)·3Q = (1−t)(2+t)·R, R = Σ_j (cos_j − t)₊²/cos_j. A dead feature adds 1/3, less 1/(4c) with the
    positive bias. The loss is the sum over c. By symmetry a critical point among polygons is one of the whole loss.

    There is one for every k ≥ 3 (t = 0, l = 1, no loss for k = 3, 4). Deviation: the paper reports none for c = k = 9,
    10, 11, 13. There the threshold t lies above the smallest positive cosine, so that only the nearer neighbours are read
    (`all_neighbours` is False), and the gradient vanishes all the same.

    Args:
        c: The number of features.
        k: The number of corners.
        plus: How many of the c − k dead biases are +1/(2c); the others are below 0. The paper's k⁺ and k⁺⁺ have 1 and 2.

    Raises:
        ValueError: Unless 3 ≤ k ≤ c and 0 ≤ plus ≤ c − k.
    """
    if not 3 <= k <= c:
        raise ValueError(f"k is {k}, a polygon of c = {c} features has from 3 to {c} corners")
    if not 0 <= plus <= c - k:
        raise ValueError(f"plus is {plus}, it must lie between 0 and the {c - k} dead features")
    cosines = np.cos(2 * np.pi * np.arange(k) / k)
    cosines = cosines[cosines > 1e-9]  # a right angle is none

    def sums(t: float) -> tuple[float, float]:
        above = np.maximum(cosines - t, 0)
        return float((above**3 / cosines).sum()), float((above**2 / cosines).sum())

    def too_low(t: float) -> bool:
        cubes, squares = sums(t)
        return 2 * (1 + t) * cubes < (1 - t) * (2 + t) * squares

    low, high = 0.0, float(np.sort(cosines)[-2]) if k > 4 else 0.0  # beyond the second cosine nothing is gained
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if too_low(middle) else (low, middle)
    P, Q = (1 - low) ** 2 * (2 + low) / 6, sums(low)[0] / 3
    h = k * (1 - 3 * P**2 / Q)
    dead_bias = np.where(np.arange(c - k) < plus, 1 / (2 * c), -0.5)
    loss = (h + c - k) / (3 * c) - plus / (4 * c**2)
    return KGon(float(np.sqrt(P / Q)), 0.0 - low * P / Q, dead_bias, float(loss), float(h), bool(low <= cosines.min()))


def kgon_loss(c: int, k: int, plus: int = 0) -> float:
    """The loss of `kgon`, same arguments and errors."""
    return kgon(c, k, plus).loss


def kgon_weights(c: int, k: int, plus: int = 0) -> tuple[Numbers, Numbers]:
    """W [c, 2] and b [c] of `kgon`: the polygon's features first, counter-clockwise, then the dead ones."""
    point = kgon(c, k, plus)
    angle = 2 * np.pi * np.arange(k) / k
    W = np.zeros((c, 2))
    W[:k] = point.norm * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return W, np.concatenate([np.full(k, point.bias), point.dead_bias])


@shaped
def phase_losses(
    importance: Real[ArrayLike, "*#batch"], density: Real[ArrayLike, "*#batch"], n: int = 2
) -> dict[str, Numbers]:
    """Losses of the candidate weights of the phase diagram, summed over features (Elhage et al. 2022): n = m + 1.

    There is one extra feature of importance I among others of importance 1. Each x_i is 0 with probability 1 − p and else
    U[0, 1]; V = p/3 − p²/4 is its variance. Norms and biases are those of the paper's theory, not optimal: trained
    losses may lie below.

    Args:
        importance: I; broadcast against `density`.
        density: p.
        n: The number of features, 2 or 3.

    Returns:
        A dict.

        - `ignored`: I·V. The extra feature is left out; its bias is the mean.
        - `superposed`: (1 + I)p²/6. It shares a dimension as antipode.
        - `dedicated`: V. It has a dimension, and another feature is left out.
        - `others_superposed`, for n = 3: p²/3. It has a dimension, and the others share one.

    Raises:
        ValueError: For importance ≤ 0, density outside (0, 1], and n other than 2 and 3.
    """
    extra, p = np.broadcast_arrays(_positive("importance", importance), _positive("density", density))
    if (p > 1).any():
        raise ValueError(f"density is {p.max()}, it must lie in (0, 1]")
    V = p / 3 - p**2 / 4
    losses = {"ignored": extra * V, "superposed": (1 + extra) * p**2 / 6, "dedicated": V}
    return losses if _two_or_three(n) == 2 else losses | {"others_superposed": p**2 / 3}


@shaped
def phase_winners(
    importance: Real[ArrayLike, "*#batch"], density: Real[ArrayLike, "*#batch"], n: int = 2
) -> tuple[Bool[np.ndarray, "*batch 3"], Numbers]:
    """What becomes of the extra feature by theory: the classes with the least of `phase_losses`.

    The classes are 0, ignored; 1, superposed; 2, it has a dimension of its own. For n = 3 the others may share one then.

    Args:
        importance: I of the extra feature; broadcast against `density`.
        density: p of every feature.
        n: The number of features, 2 or 3.

    Returns:
        Whether a class has the least loss [..., 3] (more than one on a boundary), and that loss [...].

    Raises:
        ValueError: as of `phase_losses`.
    """
    losses = phase_losses(importance, density, n)
    by_class = [losses["ignored"], losses["superposed"], losses["dedicated"]]
    by_class[2] = np.minimum(by_class[2], losses.get("others_superposed", np.inf))
    stacked = np.stack(by_class, axis=-1)
    least = stacked.min(axis=-1)
    return stacked <= least[..., None] * (1 + 1e-6), least


@shaped
def phase_boundary(importance: Real[ArrayLike, "..."], n: int = 2) -> Numbers:
    """p*(I): below this density the best of `phase_losses` has two features in superposition.

    It is 4I/(2 + 5I) for I ≤ 1. Beyond, it is 4/(5 + 2I) for n = 2, and 4/7 for n = 3, where the pair no longer holds the
    extra feature. The triple point is (1, 4/7).

    Args:
        importance: I.
        n: The number of features, 2 or 3.

    Raises:
        ValueError: For importance ≤ 0, and n other than 2 and 3.
    """
    extra = _positive("importance", importance)
    return np.where(extra <= 1, 4 * extra / (2 + 5 * extra), 4 / (5 + 2 * extra) if _two_or_three(n) == 2 else 4 / 7)


def phase_curves(n: int = 2) -> list[tuple[Numbers, Numbers]]:
    """The boundaries of the phase diagram by theory, to be drawn: importance [K] and density [K] of each.

    They are `phase_boundary` for importances from 0.1 to 10, and the line I = 1 above it, where the extra feature takes
    over the dimension; for n = 3 it does so below too.

    Args:
        n: The number of features, 2 or 3.

    Raises:
        ValueError: For other n.
    """
    weights = np.geomspace(0.1, 10, 201)
    across = np.array([4 / 7 if _two_or_three(n) == 2 else 0.01, 1.0])
    return [(weights, phase_boundary(weights, n)), (np.ones(2), across)]


@shaped
def two_digons_loss(density: Real[ArrayLike, "*#batch"], rare: Real[ArrayLike, "*#batch"]) -> Numbers:
    """2p²/3 + q/3 − q²/4: the loss of five features in the plane as two antipodal pairs beside one that is left out.

    The weights are those of `phase_losses`: norms 1 and no bias in a pair, the mean as bias of the fifth feature.

    Args:
        density: p of the four features in pairs.
        rare: q of the feature that is left out.

    Raises:
        ValueError: For densities outside (0, 1].
    """
    p, q = _positive("density", density), _positive("rare", rare)
    if (p > 1).any() or (q > 1).any():
        raise ValueError(f"densities are up to {max(p.max(), q.max())}, they must lie in (0, 1]")
    return 2 * p**2 / 3 + q / 3 - q**2 / 4


def _positive(name: str, value: ArrayLike) -> Numbers:
    array = np.asarray(value, float)
    if not (array > 0).all():
        raise ValueError(f"{name} is {array.min()}, it must be above 0")
    return array


def _two_or_three(n: int) -> int:
    if n not in (2, 3):
        raise ValueError(f"n is {n}, the phase diagrams with a closed form have 2 or 3 features")
    return n
