"""Margins of classifiers for their norm, and the largest that a linear one can have, to which an early or late bias leads.

An L2 max-margin predictor is where a kernel ends, an L1 one where a deep diagonal network does (Lyu et al. 2023, arXiv
2311.18817). Labels are 0 and 1, and y = 2 · label − 1.
"""

from collections.abc import Mapping
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Num, Real

from toylab.analysis.norms import weight_norms
from toylab.analysis.numbers import floating, norm, ratio
from toylab.shapes import shaped
from toylab.shapes.indices import check_range, nan_outside

Order = Literal[1, 2]


@shaped
def linear_margin(
    x: Real[ArrayLike, "n d"], labels: Integer[ArrayLike, " n"], w: Real[ArrayLike, "*batch d"], order: Order = 2
) -> Float[Array, "*batch"]:
    """min_i y_i x_i · w / ‖w‖ of linear predictors.

    Args:
        x: Inputs, [n, d].
        labels: [n], 0 or 1.
        w: Predictors, [..., d].
        order: Of the norm.

    Returns:
        [...]; 0 for w = 0.

    Raises:
        ValueError: For another order, and for another label where its value is known; under jit that gives nan.
    """
    _check_order(order)
    w = floating(w)
    margins = jnp.matmul(w, _signed(x, labels).T.astype(w.dtype), precision="highest")
    length = norm(w, -1) if order == 2 else jnp.abs(w).sum(axis=-1)
    return ratio(margins.min(axis=-1), length)


@shaped
def best_margin(
    x: Real[ArrayLike, "n d"], labels: Integer[ArrayLike, " n"], order: Order = 2
) -> tuple[float, np.ndarray]:
    """The largest of `linear_margin` over all predictors, in float64 on the host.

    For order 2 it is the distance of the convex hull of the y_i x_i from the origin, by non-negative least squares; for
    order 1 a linear program.

    Args:
        x: Inputs, [n, d].
        labels: [n], 0 or 1.
        order: Of the norm.

    Returns:
        The margin, and a predictor [d] of norm 1 that has it. The margin is 0, and the predictor too, where no hyperplane
        through the origin separates the labels.

    Raises:
        ValueError: For another order or label.
        RuntimeError: Where the solver finds no end.
    """
    from scipy import optimize

    _check_order(order)
    signed = np.asarray(_signed(x, labels), np.float64)
    if order == 2:
        # of a ≥ 0 with any sum s the least s² γ² + (s − 1)² has the direction of the hull's nearest point
        weights, _ = optimize.nnls(
            np.vstack([signed.T, np.ones(len(signed))]), np.append(np.zeros(signed.shape[1]), 1.0)
        )
        nearest = signed.T @ weights / weights.sum()
        margin = float(np.linalg.norm(nearest))
        separates = margin > 0 and (signed @ nearest).min() > 0
        return (margin, nearest / margin) if separates else (0.0, np.zeros(signed.shape[1]))
    n, d = signed.shape
    constraints = np.vstack([np.hstack([-signed, signed, np.ones((n, 1))]), np.append(np.ones(2 * d), 0.0)])
    found = optimize.linprog(
        np.append(np.zeros(2 * d), -1.0), A_ub=constraints, b_ub=np.append(np.zeros(n), 1.0), method="highs"
    )
    if not found.success:
        raise RuntimeError(f"no largest margin was found: {found.message}")
    w = found.x[:d] - found.x[d : 2 * d]
    return (-float(found.fun), w) if -found.fun > 0 else (0.0, np.zeros(d))


@shaped
def homogeneous_margin(
    margins: Real[ArrayLike, "*batch n"], params: Mapping[str, Num[ArrayLike, "..."]], degree: float
) -> Float[Array, "*batch"]:
    """min_i margin_i / ‖θ‖^degree, which is free of the weights' scale in a network homogeneous of this degree in them.

    Args:
        margins: Of examples, [..., n], as of `losses.margin`.
        params: All weights θ.
        degree: The number of layers, or more where an activation is a power.
    """
    margins = floating(margins)
    return margins.min(axis=-1) / weight_norms(params)["total"] ** degree


def _signed(x: ArrayLike, labels: ArrayLike) -> Array:
    """y_i x_i [n, d]."""
    check_range("labels", labels, 2, "a margin", "classes")
    labels = jnp.asarray(labels)
    return nan_outside(floating(x) * (2 * labels - 1)[:, None], labels, 2)


def _check_order(order: int) -> None:
    if order not in (1, 2):
        raise ValueError(f"order is {order}: the norm is of order 1 or 2.")
