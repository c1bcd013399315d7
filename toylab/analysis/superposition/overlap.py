"""Which features are represented and how much their directions overlap (Liu et al. 2025, Superposition yields robust neural
scaling). W [..., n_features, n_hidden], rows are features."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real

from toylab.analysis.numbers import check_finite, floating, nan_where, norm, unit
from toylab.base import Params, Run
from toylab.shapes import shaped

REPRESENTED = 0.5  # Liu et al. 2025: a feature counts as represented if its row is longer


@shaped
def represented(
    W: Real[ArrayLike, "*batch n_features n_hidden"], least: float = REPRESENTED
) -> Bool[Array, "*batch n_features"]:
    """Which features are represented: ‖W_i‖ > least.

    Args:
        W: Features, [..., n, m].
        least: The norm.

    Returns:
        A mask [..., n].

    Raises:
        ValueError: For nan.
    """
    check_finite("W", W)
    return norm(floating(W), -1) > least


@shaped
def mean_squared_overlap(
    W: Real[ArrayLike, "*batch n_features n_hidden"], of: Bool[ArrayLike, "*batch n_features"] | None = None
) -> Float[Array, "*batch"]:
    """Mean of (Ŵ_i · Ŵ_j)² over pairs i ≠ j of features.

    Independent random directions in m dimensions have 1/m on average. n ≥ m unit vectors have at least (n − m) / (m (n
    − 1)), with equality for tight frames (Welch 1974). Rows of zeros overlap nothing.

    Args:
        W: Features, [..., n, m].
        of: Which features count, [..., n]; None: all.

    Returns:
        [...]; nan where fewer than two features are chosen.
    """
    W = floating(W)
    chosen = jnp.ones(W.shape[:-1], W.dtype) if of is None else jnp.asarray(of).astype(W.dtype)
    directions = unit(W)
    squares = (directions @ directions.swapaxes(-1, -2)) ** 2  # [..., n, n]
    pairs = chosen[..., :, None] * chosen[..., None, :] * (1 - jnp.eye(W.shape[-2], dtype=W.dtype))
    n_pairs = pairs.sum((-1, -2))
    return jnp.where(n_pairs > 0, (squares * pairs).sum((-1, -2)) / jnp.where(n_pairs > 0, n_pairs, 1), jnp.nan)


def overlaps(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer.

    Returns:
        A dict: `norms` [n], and of the represented features their `share` [] and `mean_squared_overlap` [].
    """
    W = params["W"]
    held, norms = represented(W), norm(floating(W), -1)
    return {
        "norms": norms,
        "share": nan_where(jnp.isnan(norms), held).mean(),
        "mean_squared_overlap": mean_squared_overlap(W, held),
    }
