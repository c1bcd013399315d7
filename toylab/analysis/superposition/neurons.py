"""What single neurons of a ReLU hidden layer stand for: canonical weights, the features of each, blocks, a motif.

W_in and W_out [..., n_features, n_neurons]: rows are features, columns neurons; tied models have W in both places.
Elhage et al. 2022 (Toy Models of Superposition), sections on a privileged basis and on computation in superposition.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Real

from toylab.analysis.numbers import check_finite, floating, nan_where
from toylab.base import Params, Run
from toylab.shapes import shaped

STRONG = 0.5  # of a neuron's largest weight: from there on a feature is one of the neuron's (bound ours)
ALIVE = 0.1  # largest |in · out| from which on a neuron does something; 1 computes a feature alone (bound ours)
RATIO = 2.0  # the paper's example of the asymmetric motif has 4; halfway, on a log scale, to none (bound ours)


@shaped
def rescaled(
    W_in: Real[ArrayLike, "*batch n_features n_neurons"], W_out: Real[ArrayLike, "*batch n_features n_neurons"]
) -> tuple[Float[Array, "*batch n_features n_neurons"], Float[Array, "*batch n_features n_neurons"]]:
    """Each neuron divided on its way in by its largest |weight| and multiplied by it on its way out.

    ReLU(c z) = c ReLU(z) for c > 0, so the network computes the same. A neuron without weights stays as it is.

    Args:
        W_in: Weights in, [..., n, m].
        W_out: Weights out, [..., n, m].

    Returns:
        The canonical weights in and out.
    """
    W_in, W_out = floating(W_in), floating(W_out)
    largest = jnp.abs(W_in).max(-2, keepdims=True)
    scale = jnp.where(largest == 0, 1, largest)
    return W_in / scale, W_out * scale


@shaped
def effective(
    W_in: Real[ArrayLike, "*batch n_features n_neurons"], W_out: Real[ArrayLike, "*batch n_features n_neurons"]
) -> Real[Array, "*batch n_features n_neurons"]:
    """in_i · out_i: how much of feature i itself goes through each neuron, whatever the neuron's scale.

    Args:
        W_in: Weights in, [..., n, m].
        W_out: Weights out, [..., n, m].

    Returns:
        [..., n, m].
    """
    return floating(W_in) * floating(W_out)


@shaped
def alive(
    W_in: Real[ArrayLike, "*batch n_features n_neurons"], W_out: Real[ArrayLike, "*batch n_features n_neurons"]
) -> Bool[Array, "*batch n_neurons"]:
    """Neurons through which some feature passes: max_i |in_i · out_i| > `ALIVE`.

    Args:
        W_in: Weights in, [..., n, m].
        W_out: Weights out, [..., n, m].

    Returns:
        A mask [..., m].

    Raises:
        ValueError: For nan.
    """
    check_finite("W_in", W_in)
    check_finite("W_out", W_out)
    return jnp.abs(effective(W_in, W_out)).max(-2) > ALIVE


@shaped
def held(
    weights: Real[ArrayLike, "*batch n_features n_neurons"], least: float = STRONG
) -> Bool[Array, "*batch n_features n_neurons"]:
    """The features of each neuron: |w| > least · max |w|.

    Args:
        weights: [..., n, m].
        least: The share of the neuron's largest weight.

    Returns:
        A mask [..., n, m]. A neuron without weights has no feature.

    Raises:
        ValueError: For nan.
    """
    check_finite("weights", weights)
    size = jnp.abs(floating(weights))
    return size > least * size.max(-2, keepdims=True)


@shaped
def polysemantic_share(
    features: Real[ArrayLike, "*batch n_features n_neurons"] | Bool[ArrayLike, "*batch n_features n_neurons"],
    living: Bool[ArrayLike, "*batch n_neurons"],
) -> Float[Array, "*batch"]:
    """The share of living neurons with two features or more.

    Args:
        features: Which features a neuron has, [..., n, m].
        living: Which neurons count, [..., m].

    Returns:
        [...]; nan where no neuron lives.
    """
    count = jnp.asarray(features).sum(-2)
    several = nan_where(jnp.isnan(count), (count > 1) & jnp.asarray(living))
    n_living = jnp.asarray(living).sum(-1)
    return jnp.where(n_living > 0, several.sum(-1) / jnp.maximum(n_living, 1), jnp.nan)


@shaped
def blocks(
    features: Real[ArrayLike, "*batch n_features n_neurons"] | Bool[ArrayLike, "*batch n_features n_neurons"],
) -> tuple[Int[Array, "*batch n_neurons"], Int[Array, "*batch n_neurons"]]:
    """The size of each neuron's block, as in "3 features in 2 neurons".

    Neurons with a feature in common are in one block, and so on from neuron to neuron.

    Args:
        features: Which features a neuron has, [..., n, m].

    Returns:
        The number of features and the number of neurons in the block of each neuron, int [..., m].
    """
    features = jnp.asarray(features).astype(jnp.float32)  # [..., n, m]
    n_neurons = features.shape[-1]
    near = (features.swapaxes(-1, -2) @ features > 0).astype(jnp.float32)  # [..., m, m]
    reach = jnp.maximum(near, jnp.eye(n_neurons))
    for _ in range(max(n_neurons - 1, 1).bit_length()):  # paths of twice the length each time
        reach = (reach @ reach > 0).astype(jnp.float32)
    of_block = (features @ reach > 0).sum(-2)  # [..., m]
    return of_block.astype(jnp.int32), reach.sum(-2).astype(jnp.int32)


@shaped
@partial(jnp.vectorize, signature="(n,m),(n,m)->(m),(m)")
def asymmetric(
    W_in: Real[Array, "*batch n_features n_neurons"], W_out: Real[Array, "*batch n_features n_neurons"]
) -> tuple[Bool[Array, "*batch n_neurons"], Bool[Array, "*batch n_neurons"]]:
    """Neurons of the asymmetric motif, and those of them whose harm is inhibited (Elhage et al. 2022).

    Such a neuron serves two features a and b unevenly and by opposite signs: in [2, −1/2], out [1/2, 2]. Where a alone
    is on it raises b by |in_a| · out_b, far above both, and other neurons must hold b down. Here the features are those
    of the two largest |in_i| · out_i, within a factor 2 of each other, with in_a and in_b of opposite signs, |in_a| ≥
    RATIO · |in_b| and out_b ≥ RATIO · out_a. The neuron is inhibited where the negative weights to b of the neurons
    that a excites take away at least half of that rise. The bounds are ours. The neuron's scale does not matter.

    Args:
        W_in: Weights in, [..., n, m].
        W_out: Weights out, [..., n, m].

    Returns:
        Two masks [..., m].
    """
    through = jnp.abs(W_in) * W_out  # [n, m], above 0 where a feature's size is passed on
    top, size = jnp.argsort(-through, axis=0)[:2], -jnp.sort(-through, axis=0)[:2]  # [2, m]
    neuron = jnp.arange(W_in.shape[1])
    swap = jnp.abs(W_in[top[0], neuron]) < jnp.abs(W_in[top[1], neuron])
    a, b = jnp.where(swap, top[1], top[0]), jnp.where(swap, top[0], top[1])  # [m]: strong and weak on the way in
    a_in, b_in, a_out, b_out = W_in[a, neuron], W_in[b, neuron], W_out[a, neuron], W_out[b, neuron]
    motif = (size[0] > ALIVE) & (size[1] >= 0.5 * size[0]) & (a_in * b_in < 0)
    motif &= (jnp.abs(a_in) >= RATIO * jnp.abs(b_in)) & (b_out >= RATIO * a_out)
    excited = jax.nn.relu(jnp.sign(a_in)[:, None] * W_in[a])  # [m, m']: by each neuron's a, on its side
    taken = -(excited * jnp.minimum(W_out[b], 0)).sum(axis=1)  # [m]
    return motif, motif & (taken >= 0.5 * jnp.abs(a_in) * b_out)


@shaped
def n_own_sets(excites: Bool[ArrayLike, "*batch n_features n_neurons"], size: int = 2) -> Int[np.ndarray, "*batch"]:
    """How many different sets of `size` neurons are those of a feature: each stands for features that nothing else tells.

    Features that excite the same neurons cannot be told apart by them.

    Args:
        excites: Which features excite a neuron, [..., n, m].
        size: The number of neurons of a feature, 2 for pairs. On the host.

    Returns:
        int [...].
    """
    excites = np.asarray(excites, bool)
    models = excites.reshape(-1, *excites.shape[-2:])
    found = [len(np.unique(rows[rows.sum(axis=1) == size], axis=0)) for rows in models]
    return np.array(found, int).reshape(excites.shape[:-2])


@shaped
def both_signs(weights: Real[ArrayLike, "*batch n_features n_neurons"]) -> Bool[Array, "*batch n_features"]:
    """Features with exactly one neuron for values above 0 and one for values below: |w| > `STRONG`, of either sign.

    Args:
        weights: Weights in, each neuron's largest at 1 as of `rescaled`, [..., n, m].

    Returns:
        A mask [..., n].

    Raises:
        ValueError: For nan.
    """
    check_finite("weights", weights)
    weights = floating(weights)
    return ((weights > STRONG).sum(-1) == 1) & ((weights < -STRONG).sum(-1) == 1)


def motif(W_in: np.ndarray, W_out: np.ndarray, inhibited: np.ndarray, others: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """The clearest neuron of the asymmetric motif, its two features, and the neurons that hold the second one down.

    Of the inhibited neurons (`asymmetric`) it is that whose second feature passes best. On the host.

    Args:
        W_in: Weights in, [n, m].
        W_out: Weights out, [n, m].
        inhibited: Which neurons are of the motif, [m]; where none is, what is returned says nothing.
        others: How many neurons that hold down are returned, the strongest first.

    Returns:
        Indices of the two features, the strongly read one first, [2]; of the neuron and the others, [1 + others].
    """
    through = np.where(inhibited, np.sort(np.abs(W_in) * W_out, axis=0)[-2], -np.inf)
    neuron = int(through.argmax())
    two = np.argsort(-np.abs(W_in[:, neuron]) * W_out[:, neuron])[:2]
    a, b = two[np.argsort(-np.abs(W_in[two, neuron]))]
    held_down = np.maximum(np.sign(W_in[a, neuron]) * W_in[a], 0) * np.minimum(W_out[b], 0)
    return np.array([a, b]), np.array([neuron, *np.argsort(held_down)[:others]])


def census(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of untied models. Either sign of a weight counts, since features go both ways.

    Returns:
        A dict.

        - `W_in`, `W_out` [n, m]: canonical weights, in half precision.
        - `count` int [m]: features of each neuron; `alive`, `motif`, `inhibited` bool [m].
        - `polysemantic`, `polysemantic_effective` []: shares of the living neurons, by their weights in and by in · out.
    """
    W_in, W_out = rescaled(params["W_in"], params["W_out"])
    living, features = alive(W_in, W_out), held(W_in)
    motif, inhibited = asymmetric(W_in, W_out)
    return {
        "W_in": W_in.astype(jnp.float16),
        "W_out": W_out.astype(jnp.float16),
        "count": features.sum(-2),
        "alive": living,
        "motif": motif,
        "inhibited": inhibited,
        "polysemantic": polysemantic_share(features, living),
        "polysemantic_effective": polysemantic_share(held(effective(W_in, W_out)), living),
    }


def tied_census(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of tied models of features that are never negative.

    Only what excites a neuron is counted: a weight below 0 can but silence it.

    Returns:
        A dict.

        - `W` in half precision, `excites` bool [n, m].
        - `count` [m]: features of each neuron; `block_features`, `block_neurons` [m]: the size of its block.
        - `polysemantic` []: the share of the living neurons.
    """
    W = params["W"]
    living, excites = alive(W, W), held(jax.nn.relu(W))
    of_features, of_neurons = blocks(excites & living)
    return {
        "W": W.astype(jnp.float16),
        "excites": excites & living,
        "count": excites.sum(-2),
        "block_features": of_features,
        "block_neurons": of_neurons,
        "polysemantic": polysemantic_share(excites, living),
    }
