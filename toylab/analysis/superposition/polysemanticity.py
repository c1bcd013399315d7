"""How many features a neuron stands for: counts of collisions, sparsity of weights, monosemantic neurons.

W is [..., n_features, n_neurons] with any batch axes in front: rows are features, columns neurons.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Real

from toylab.analysis.numbers import check_finite, floating, kept, nan_where, scaled
from toylab.analysis.over_cells import rank_correlation
from toylab.base import Params, Run
from toylab.shapes import shaped

MONOSEMANTIC = 0.999  # Jermyn et al. 2022, released code


@shaped
def strong_features(
    W: Real[ArrayLike, "*batch n_features n_neurons"], low: float = 0.8, high: float = 1.2
) -> Int[Array, "*batch n_neurons"]:
    """Of how many features a neuron is the one that stands for them: low ≤ |w| ≤ high.

    A neuron is polysemantic if it has two or more (Lecomte et al. 2023, arXiv 2312.03096, released code).

    Args:
        W: Weights, [..., n, m].
        low: The least |w|.
        high: The largest |w|.

    Returns:
        int [..., m].

    Raises:
        ValueError: For nan.
    """
    check_finite("W", W)
    size = jnp.abs(floating(W))
    return ((size >= low) & (size <= high)).sum(-2)


@shaped
def polysemantic_neurons(W: Real[ArrayLike, "*batch n_features n_neurons"]) -> Int[Array, "*batch"]:
    """The number of neurons that stand for two features or more.

    Args:
        W: Weights, [..., n, m].

    Returns:
        int [...].
    """
    return (strong_features(W) >= 2).sum(-1)


@shaped
def expected_collisions(n_features: int, n_neurons: Real[ArrayLike, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Polysemantic neurons when each of n features falls by chance on one of m neurons, and on one of two signs.

    It is ½ m [1 − (1 − 1/m)^n − (n/m)(1 − 1/m)^{n−1}], for many neurons n²/(4m). The bracket is the chance that two
    features or more fall on a neuron. The half: of two features with equal signs one has to give way, while those with
    opposite signs do not see each other through the ReLU. Lecomte et al. 2023 state the limit, which counts pairs. The
    form at finite m, which counts neurons, is ours (with three features on a neuron the half is approximate).

    Args:
        n_features: n.
        n_neurons: m, of any shape.

    Returns:
        Of the shape of `n_neurons`, float64.

    Raises:
        ValueError: Where one of them is below 1.
    """
    if n_features < 1 or np.any(np.asarray(n_neurons) < 1):
        raise ValueError(f"n_features is {n_features} and n_neurons {n_neurons}: both must be at least 1.")
    m = np.asarray(n_neurons, np.float64)  # the terms nearly cancel
    return 0.5 * m * (1 - (1 - 1 / m) ** n_features - (n_features / m) * (1 - 1 / m) ** (n_features - 1))


@shaped
def collisions_of_many(n_features: int, n_neurons: Real[ArrayLike, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """n²/(4m): `expected_collisions` for many neurons, half of all pairs on one (Lecomte et al. 2023).

    Args:
        n_features: n.
        n_neurons: m, of any shape.

    Returns:
        Of the shape of `n_neurons`, float64.
    """
    return n_features**2 / (4 * np.asarray(n_neurons, np.float64))


@shaped
def l1_decay(time: Real[ArrayLike, "*shape"], start: float, rate: float) -> Float[np.ndarray, "*shape"]:
    """‖w‖₁ = 1/(1/‖w‖₁(0) + λt) of a unit feature under dw/dt = (1 − ‖w‖²) w − λ sign w (Lecomte et al. 2023).

    It falls as the l1 term wins one weight after the other, as if those left were alike: their number is its square.

    Args:
        time: t, of any shape.
        start: ‖w‖₁ at time 0: √m of m weights that are alike, √(2m/π) of normal ones.
        rate: λ.

    Returns:
        Of the shape of `time`, float64.
    """
    return 1 / (1 / start + rate * np.asarray(time, np.float64))


@shaped
def fourth_norm(W: Real[ArrayLike, "*batch n_features n_neurons"]) -> Real[Array, "*batch n_features"]:
    """Σ_k w_ik⁴: 1 for a unit feature on one neuron, 3/m for a random one over m.

    Args:
        W: Weights, [..., n, m].

    Returns:
        [..., n].
    """
    return (floating(W) ** 4).sum(-1)


@shaped
def monosemanticity(activations: Real[ArrayLike, "*batch n_features n_neurons"]) -> Float[Array, "*batch n_neurons"]:
    """max_f a_f / Σ_f a_f: the largest share of a feature in what excites a neuron (Jermyn et al. 2022, arXiv 2211.09169).

    Args:
        activations: Of each neuron with one feature on at a time, [..., n, m].

    Returns:
        [..., m]; 0 for a neuron that never fires.
    """
    a, _ = scaled(floating(activations), -2)
    total = a.sum(-2)
    return jnp.where(total <= 0, 0, a.max(-2) / jnp.where(total <= 0, 1, total))


@shaped
def decoder_activations(
    params: Annotated[
        Mapping[str, Array],
        {
            "W_E": Real[ArrayLike, "n_features n_hidden"],
            "W_in": Real[ArrayLike, "n_hidden d_mlp"],
            "b_in": Real[ArrayLike, " d_mlp"],
        },
    ],
) -> Float[Array, "n_features d_mlp"]:
    """What each feature alone, at 1, makes of the hidden layer: ReLU(W_E W_in + b_in).

    Args:
        params: Weights of a FeatureDecoder.

    Returns:
        [n_features, d_mlp].
    """
    return jax.nn.relu(jnp.matmul(params["W_E"], params["W_in"], precision="highest") + params["b_in"])


@shaped
def allocation(
    C: Real[np.ndarray, "*batch levels n_features"], n_hidden: int, low: float = 0.05
) -> dict[str, Float[np.ndarray, "*batch"]]:
    """How m dimensions are shared out at levels of sparsity, in a few numbers (after Scherlis et al. 2022).

    Args:
        C: Capacities, of features from the most important on, at levels from the densest on, [..., L, n].
        n_hidden: m, less than n.
        low: A feature with a capacity between `low` and 1 − `low` shares its dimensions.

    Returns:
        A dict of arrays [...]:

            spent     Σ C over m, at the level where it is least
            kept      at the densest level the least C among the m most important features
            ignored   there the largest C among the others
            sharing   Spearman's correlation of sparsity with the number of features that share
            ordered   that of importance with C, mean over levels
    """
    C = C.astype(np.float64)
    shared = np.where(np.isnan(C).any(axis=-1), np.nan, (np.abs(C - 0.5) < 0.5 - low).sum(axis=-1))
    return {
        "spent": (C.sum(axis=-1) / n_hidden).min(axis=-1),
        "kept": C[..., 0, :n_hidden].min(axis=-1),
        "ignored": C[..., 0, n_hidden:].max(axis=-1),
        "sharing": rank_correlation(shared),
        "ordered": -rank_correlation(C).mean(axis=-1),
    }


def collisions(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer.

    Returns:
        A dict of scalars: `polysemantic`, the number of such neurons, and `on_one_neuron`, the share of features with
        exactly one strong weight.
    """
    W = params["W"]
    strong = strong_features(jnp.swapaxes(W, -1, -2))  # [n_features]
    one = nan_where(jnp.isnan(W).any(-1), strong == 1)
    return {"polysemantic": polysemantic_neurons(W), "on_one_neuron": one.mean(-1)}


def fourth_norms(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer.

    Returns:
        A dict: `mean` [], the mean of `fourth_norm` over features.
    """
    return {"mean": fourth_norm(params["W"]).mean(-1)}


def sparsity(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer for SGD with an l1 term: the weights that it has not won over yet.

    A weight that it has won over goes to and fro within one step of it, lr · l1. From two steps on a weight is left.

    Returns:
        A dict of scalars: `left`, the number of weights left, and `l1_norm`, Σ|w| over them.
    """
    config: Any = run.config
    size = jnp.abs(params["W"])
    left = size > 2 * config.optimizer.lr * config.task.l1
    return {"left": left.sum((-2, -1)), "l1_norm": kept(left, size).sum((-2, -1))}


def neurons(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of a FeatureDecoder.

    Returns:
        A dict: `monosemanticity` [d_mlp], `per_feature` [], monosemantic neurons over features, and `bias` [], the mean of
        b_in.
    """
    mono = monosemanticity(decoder_activations(params))
    n_features = params["W_E"].shape[-2]
    return {
        "monosemanticity": mono,
        "per_feature": nan_where(jnp.isnan(mono), mono > MONOSEMANTIC).sum(-1) / n_features,
        "bias": params["b_in"].mean(-1),
    }
