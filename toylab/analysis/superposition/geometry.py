"""Geometry of features in superposition (Elhage et al. 2022, Toy Models of Superposition, arXiv 2209.10652).

Everywhere W is [..., n_features, n_hidden] with any batch axes in front: rows are features (the paper's W is the
transpose), Ŵ_i = W_i/‖W_i‖. Inputs are numpy or jax arrays, the output has the floating dtype of the input, all works
under jit and vmap; nan, inf or fewer than two axes raise ValueError where the numbers are known. What names the shapes
is in polytopes.py, what theory predicts in theory.py, what attacks do in robustness.py; `polytope`, `describe`, `SHAPES`,
`kgon_loss` and `adversarial_vulnerability` are public here.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from toylab.analysis.numbers import floating, kept, norm, ratio, scaled
from toylab.analysis.superposition.polytopes import REPRESENTED, SHAPES, describe, neighbours, polytope, rows
from toylab.analysis.superposition.robustness import adversarial_vulnerability
from toylab.analysis.superposition.theory import kgon_loss
from toylab.base import Params, Run
from toylab.shapes import shaped

__all__ = [
    "NOTEBOOK", "REPRESENTED", "SHAPES", "adversarial_vulnerability", "capacities", "capacity", "describe",
    "dimensionalities", "dimensionality", "dims_per_feature", "feature_norms", "features", "gram", "gram_matrix",
    "kgon_loss", "neighbours", "net_interference", "polysemanticity", "polytope", "represented", "sample_dimensionality",
    "samples", "shapes", "superposition",
]  # fmt: skip

PRESENT = 0.3  # the norm from which on a feature counts in pictures and lines of D_i (ours)
NOTEBOOK = 1e-5  # the paper's released notebook adds it to the norm in Ŵ, which darkens the bars of dead features


@shaped
def gram(W: Real[ArrayLike, "*batch n_features n_hidden"]) -> Float[Array, "*batch n_features n_features"]:
    """W Wᵀ: what each feature reads of each other (WᵀW in the paper).

    Args:
        W: Features, [..., n, m].

    Returns:
        [..., n, n].
    """
    W = rows(W)
    return jnp.matmul(W, W.mT, precision="highest")


@shaped
def feature_norms(W: Real[ArrayLike, "*batch n_features n_hidden"]) -> Float[Array, "*batch n_features"]:
    """‖W_i‖: about 1 for a represented feature, 0 for one that is not.

    Args:
        W: Features, [..., n, m].

    Returns:
        [..., n].
    """
    return norm(rows(W), -1)


@shaped
def dims_per_feature(W: Real[ArrayLike, "*batch n_features n_hidden"]) -> Float[Array, "*batch"]:
    """D* = m/‖W‖_F²: hidden dimensions for each represented feature (Elhage et al. 2022).

    Args:
        W: Features, [..., n, m].

    Returns:
        [...]; inf where W is 0.
    """
    W = rows(W)
    return W.shape[-1] / (W**2).sum((-2, -1))


@shaped
def superposition(
    W: Real[ArrayLike, "*batch n_features n_hidden"], *, epsilon: float = 0.0
) -> Float[Array, "*batch n_features"]:
    """Σ_{j≠i} (Ŵ_i·W_j)²: how strongly the other features fire a feature (Elhage et al. 2022).

    Args:
        W: Features, [..., n, m].
        epsilon: Added to the norm in Ŵ. 0 is the paper's formula, `NOTEBOOK` that of its notebook; they differ where norms
            are small.

    Returns:
        [..., n]: 0 for an orthogonal feature; from 1 on the others fire it as strongly as itself. 0 for zero rows.
    """
    overlaps, power = _interference(rows(W), 1, epsilon)
    return overlaps * power**2


@shaped
def polysemanticity(
    W: Real[ArrayLike, "*batch n_features n_hidden"], *, epsilon: float = NOTEBOOK
) -> Float[Array, "*batch n_features"]:
    """√ of `superposition`, with the notebook's epsilon: the colour of the bars in the paper's figures.

    Args:
        W: Features, [..., n, m].
        epsilon: As of `superposition`.

    Returns:
        [..., n].
    """
    overlaps, power = _interference(rows(W), 1, epsilon)
    return jnp.sqrt(overlaps) * power


@shaped
def net_interference(
    W: Real[ArrayLike, "*batch n_features n_hidden"], density: Real[ArrayLike, "..."], *, epsilon: float = NOTEBOOK
) -> Float[Array, "*batch n_features"]:
    """Σ_{j≠i} (Ŵ_i·W_j)² p_j, as the notebook of Elhage et al. 2022 has it.

    Args:
        W: Features, [..., n, m].
        density: p_j: a scalar, [n], or anything that broadcasts to [..., n]. One density for each model of a batch is
            [..., 1].
        epsilon: As of `superposition`.

    Returns:
        [..., n].

    Raises:
        ValueError: Where the density does not broadcast or lies outside (0, 1].
    """
    W, p = rows(W), floating(density)
    if p.ndim >= W.ndim or any(got not in (1, want) for got, want in zip(p.shape[::-1], W.shape[-2::-1], strict=False)):
        raise ValueError(f"density has shape {p.shape}, it must be a scalar or broadcast to [..., n] = {W.shape[:-1]}")
    if not isinstance(p, jax.core.Tracer) and not bool(((p > 0) & (p <= 1)).all()):
        raise ValueError(f"density runs from {p.min()} to {p.max()}, it must lie in (0, 1]")
    overlaps, power = _interference(W, jnp.broadcast_to(p.astype(W.dtype), W.shape[:-1])[..., None, :], epsilon)
    return overlaps * power**2


@shaped
def dimensionality(W: Real[ArrayLike, "*batch n_features n_hidden"]) -> Float[Array, "*batch n_features"]:
    """D_i = ‖W_i‖² / Σ_j (Ŵ_i·W_j)², j = i included: the share of a dimension that a feature has (Elhage et al. 2022).

    It is invariant to rotation and to a common scale. Its mean over features is m/n in every trained model, whatever the
    geometry: look at clusters, never at means. Deviation: the notebook clamps the norm in Ŵ at 1e-6, which gives values
    above 1 to norms below that; here there is no clamp.

    Args:
        W: Features, [..., n, m].

    Returns:
        [..., n] in [0, 1]; 0 for zero rows.
    """
    G = _scaled_gram(W)
    own = jnp.diagonal(G, axis1=-2, axis2=-1)  # ‖W_i‖²
    overlaps = G**2 / jnp.where(own > 0, own, 1)[..., None]  # (Ŵ_i·W_j)²
    return ratio(own, overlaps.sum(-1))


@shaped
def capacity(W: Real[ArrayLike, "*batch n_features n_hidden"]) -> Float[Array, "*batch n_features"]:
    """C_i = (W_i·W_i)² / Σ_j (W_i·W_j)² (Scherlis et al. 2022, arXiv 2210.01892), algebraically equal to D_i.

    Args:
        W: Features, [..., n, m].

    Returns:
        [..., n]; 0 for zero rows. Σ_i C_i is at most m.
    """
    G = _scaled_gram(W)
    largest = jnp.abs(G).max(-1, keepdims=True)  # C_i is a ratio of squares of row i alone
    G = G / jnp.where(largest > 0, largest, 1)
    return ratio(jnp.diagonal(G, axis1=-2, axis2=-1) ** 2, (G**2).sum(-1))


@shaped
def sample_dimensionality(h: Real[ArrayLike, "*batch n_samples n_hidden"]) -> Float[Array, "*batch n_samples"]:
    """D of training samples, of their hidden vectors h_i = X_i W (Henighan et al. 2023).

    It is `dimensionality` of h, with Σ_j (h_i·h_j)² = h_iᵀ (Σ_j h_j h_jᵀ) h_i: samples are too many for a T × T matrix.

    Args:
        h: Hidden vectors, [..., T, m].

    Returns:
        [..., T].
    """
    h = rows(h)
    largest = jnp.abs(h).max((-2, -1), keepdims=True)
    h = h / jnp.where(largest > 0, largest, 1)
    own = (h**2).sum(-1)  # ‖h_i‖²
    moment = jnp.matmul(h.mT, h, precision="highest")  # [..., m, m]
    return ratio(own**2, (jnp.matmul(h, moment, precision="highest") * h).sum(-1))


def _unit(x: Array, epsilon: float) -> Array:
    """Rows over (norm + epsilon); zero rows stay zero."""
    x, power = scaled(x, -1)
    length = jnp.linalg.norm(x, axis=-1, keepdims=True)
    return ratio(x, jnp.where(length > 0, length + epsilon / power, length))


def _interference(W: Array, weights: ArrayLike, epsilon: float) -> tuple[Array, Array]:
    """Σ_{j≠i} (Ŵ_i·W_j)² w_j [..., n], for w broadcast to [..., n, n] and epsilon added to the norm in Ŵ, with W_j
    divided by a power of two; and that, [..., 1]."""
    Ws, power = scaled(W, (-2, -1))
    overlaps = jnp.matmul(_unit(W, epsilon), Ws.mT, precision="highest") ** 2
    return kept(~jnp.eye(W.shape[-2], dtype=bool), overlaps * weights).sum(-1), power[..., 0]


def _scaled_gram(W: ArrayLike) -> Array:
    """`gram` of W over its largest entry, so that squares of squares do not leave the range of float32."""
    W = rows(W)
    largest = jnp.abs(W).max((-2, -1), keepdims=True)
    return gram(W / jnp.where(largest > 0, largest, 1))


def features(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the bars of the feature plots, the points of the D_i lines, and D*.

    Returns:
        A dict: `norms`, `polysemanticity` and `dimensionality` [n], and `dims_per_feature` [].
    """
    found = {"norms": feature_norms, "polysemanticity": polysemanticity, "dimensionality": dimensionality}
    return {name: fn(params["W"]) for name, fn in (found | {"dims_per_feature": dims_per_feature}).items()}


def samples(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of a fixed training sample, `run.data["train"]` [n_features, T].

    Returns:
        A dict: `hidden` [T, m], the hidden vectors of the samples, and `dimensionality` [T].

    Raises:
        ValueError: For a net whose hidden layer is not linear.
    """
    if (kind := getattr(run.config.net, "hidden", "linear")) != "linear":
        raise ValueError(f"net.hidden is {kind!r}: hidden vectors are x W of a linear hidden layer only.")
    hidden = jnp.matmul(run.data["train"].T, params["W"], precision="highest")
    return {"hidden": hidden, "dimensionality": sample_dimensionality(hidden)}


def gram_matrix(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer.

    Returns:
        A dict: `WWt` [n, n].
    """
    return {"WWt": gram(params["W"])}


def shapes(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: `polytope` at its tolerances for trained weights, 0.1 in the cosines and half the largest norm.

    Returns:
        A dict of int arrays [n]: `block`, `shape` and `size`.
    """
    return polytope(params["W"], atol=0.1, min_norm=REPRESENTED)


def arrangement(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the features themselves.

    Returns:
        A dict: `W` [n, m], and the biases `b` [n] where the model has them.
    """
    return {name: params[name] for name in ("W", "b") if name in params}


def dimensionalities(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the features and the dimensions each has for itself.

    Returns:
        A dict: `W` [n, m], and `dimensionality` [n].
    """
    return {"W": params["W"], "dimensionality": dimensionality(params["W"])}


def capacities(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of models with W [n, m].

    Returns:
        A dict: `C`, the `capacity` of each feature [n], and `D`, its `dimensionality` [n].
    """
    return {"C": capacity(params["W"]), "D": dimensionality(params["W"])}


def represented(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the dimensionalities of the features that are there, with norms of at least `PRESENT`.

    Returns:
        A dict: `dimensionality` [n], nan for the others, and `dims_per_feature` [].
    """
    W = params["W"]
    there = feature_norms(W) >= PRESENT
    return {"dimensionality": jnp.where(there, dimensionality(W), jnp.nan), "dims_per_feature": dims_per_feature(W)}
