"""What a network computes over the plane of all pairs (a, b) modulo p: one neuron, one entry of attention, one logit; their
energy by pairs of frequencies; and the numbers in the plane of a frequency (Nanda et al. 2023, arXiv 2301.05217).

The functions that run a network compute what the one chosen quantity needs. Where the network is one of the lab's with one
layer, the other neurons and heads are cut from its weights before it runs, which changes no digit but for rounding: a
twentieth to a third of the time. Choices may be traced, so that one compiled program serves them all.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Real

from toylab.analysis.modular.fourier import basis, by_frequency, waves
from toylab.analysis.modular.networks import last_logits
from toylab.analysis.numbers import ROUNDING, centred, floating, norm, unit
from toylab.base import Network, Params
from toylab.shapes import shaped
from toylab.shapes.indices import check_range, nan_outside

BLOCK = 1 << 14  # pairs that a network is run on at once
HEADS = {"W_Q": 1, "W_K": 1, "W_V": 1, "W_O": 1, "b_Q": 1, "b_K": 1, "b_V": 1, "W_rel": 1}  # their axis in each param
NEURONS = {"W_in": 2, "b_in": 1, "W_out": 1}
CLASSES = {"W_U": 1, "b_U": 0}


@shaped
def pair_spectrum(x: Real[ArrayLike, "p p"]) -> Float[Array, "p//2+1 p//2+1"]:
    """Energy of each pair of frequencies, k along a and l along b.

    Entry [k, l] is the sum of squares of F (x − mean x) Fᵀ, F as of `fourier.basis`, over the rows of k (cosine and sine)
    and the columns of l. The entries sum to Σ (x − mean x)². A function of a + b alone has k = l.

    Args:
        x: A quantity over all pairs (a, b).

    Returns:
        [p//2 + 1, p//2 + 1], in units of x squared; entry [0, 0] is 0.
    """
    x = centred(floating(x), None)
    F = basis(len(x)).astype(x.dtype)
    found = jnp.matmul(jnp.matmul(F, x, precision="highest"), F.T, precision="highest")
    power = (found**2).at[0, 0].multiply(0)  # the mean's rounding
    return by_frequency(by_frequency(power).T).T


@shaped
def frequency_plane(W_E: Real[ArrayLike, "p n"], k: Integer[ArrayLike, ""]) -> Float[Array, "p 2"]:
    """The numbers 0 … p−1 in the plane of frequency k: W_E on two orthonormal directions of the embedding.

    The first is that of Σ_n cos(2πkn/p) W_E[n], the second that of Σ_n sin(2πkn/p) W_E[n] less its part along the first
    (Gram–Schmidt), so that distances are not distorted. On a circle number n stands at angle 2πkn/p.

    Args:
        W_E: The embeddings of the numbers.
        k: The frequency, 1 … (p − 1)//2.

    Returns:
        [p, 2], in units of W_E. The second column is 0 where cosine and sine have one direction, and what W_E has only of
        rounding is 0.

    Raises:
        ValueError: For a frequency that is not there (nan under jit), and for p below 3.
    """
    W_E, k = floating(W_E), jnp.asarray(k)
    p = len(W_E)
    if p < 3:
        raise ValueError(f"W_E has {p} rows, it must have at least 3: other moduli have no frequency with a sine")
    check_range("k − 1", k - 1, (p - 1) // 2, "a plane", "frequencies")
    directions = jnp.matmul(waves(p)[k - 1].astype(W_E.dtype), W_E, precision="highest")
    rounding = ROUNDING * jnp.finfo(W_E.dtype).eps
    cosine, sine = jnp.where(norm(directions, 1, keepdims=True) <= rounding * norm(W_E, (0, 1)), 0, directions)
    first = unit(cosine)
    rest = sine - jnp.dot(sine, first, precision="highest") * first
    axes = jnp.stack([first, unit(jnp.where(norm(rest, 0) <= rounding * norm(sine, 0), 0, rest))], axis=1)
    return nan_outside(jnp.matmul(W_E, axes, precision="highest"), k - 1, (p - 1) // 2)


@shaped
def neuron_plane(
    net: Network,
    params: Params,
    tokens: Real[ArrayLike, "n_pairs n_tokens"],
    neuron: Integer[ArrayLike, ""],
    layer: int = -1,
) -> Float[Array, "p p"]:
    """The activation of a neuron at the last position, over all pairs.

    Args:
        net: A network whose cache has `mlp_post`.
        params: Its weights.
        tokens: All pairs, row a·p + b.
        neuron: Its number.
        layer: Of the hidden layers; static.

    Returns:
        [p, p], rows a; nan for a neuron that is not there.

    Raises:
        ValueError: If the number of pairs is no square, or the network has no MLP.
    """
    narrow = _sums_neurons(net, params)
    weights, at = (_only(params, NEURONS, neuron), 0) if narrow else (params, neuron)

    def values(tokens: Array) -> Array:
        cache = net.apply(weights, tokens, full=False)[1] if narrow else {}
        cache = cache if "mlp_post" in cache else net.apply(weights, tokens)[1]
        if "mlp_post" not in cache:
            raise ValueError("the network has no mlp_post in its cache: it has no neurons to look at")
        post = cache["mlp_post"][layer]
        return _entry(post.reshape(len(tokens), -1, post.shape[-1])[:, -1], at)

    return _over_pairs(values, tokens) * _known(neuron, params["W_in"].shape[2] if narrow else None)


@shaped
def attention_plane(
    net: Network,
    params: Params,
    tokens: Real[ArrayLike, "n_pairs n_tokens"],
    head: Integer[ArrayLike, ""],
    key: Integer[ArrayLike, ""],
    layer: int = -1,
    activation: Literal["pattern", "scores"] = "pattern",
) -> Float[Array, "p p"]:
    """What the last position's query gives to one key position, over all pairs.

    Args:
        net: A network whose cache has `pattern` and `scores`.
        params: Its weights.
        tokens: All pairs, row a·p + b.
        head: The head.
        key: The position that is looked at.
        layer: Of the layers; static.
        activation: The pattern, or the scores before the softmax; static.

    Returns:
        [p, p], rows a; nan for a head or position that is not there.

    Raises:
        ValueError: If the number of pairs is no square, or the network has no attention.
    """
    narrow = _lab(net) and {"W_Q", "W_O"} <= set(params) and len(params["W_Q"]) == 1
    weights, at = (_only(params, HEADS, head), 0) if narrow else (params, head)

    def values(tokens: Array) -> Array:
        cache = net.apply(weights, tokens)[1]
        if activation not in cache:
            raise ValueError(f"the network has no {activation} in its cache: it has no attention to look at")
        return _entry(_entry(cache[activation][layer][:, :, -1], at), key)

    return _over_pairs(values, tokens) * _known(head, params["W_Q"].shape[1] if narrow else None)


@shaped
def logit_plane(
    net: Network, params: Params, tokens: Real[ArrayLike, "n_pairs n_tokens"], c: Integer[ArrayLike, ""]
) -> Float[Array, "p p"]:
    """The logit of class c at the last position, over all pairs.

    Args:
        net: The network.
        params: Its weights.
        tokens: All pairs, row a·p + b.
        c: The class.

    Returns:
        [p, p], rows a; nan for a class that is not there.

    Raises:
        ValueError: If the number of pairs is no square.
    """
    narrow = _lab(net) and "W_U" in params
    weights, at = (_only(params, CLASSES, c), 0) if narrow else (params, c)
    adds = narrow and _sums_neurons(net, params) and not any(name.startswith(("ln", "W_R")) for name in params)

    def values(tokens: Array) -> Array:
        if not adds:
            return _entry(last_logits(net, weights, tokens), at)
        cache = net.apply(weights, tokens, full=False)[1]
        if "mlp_post" not in cache:
            return last_logits(net, weights, tokens)[:, 0]
        # what the neurons do to this one logit is a vector, and W_out needs not meet every pair
        none = {name: jax.lax.slice_in_dim(weights[name], 0, 0, axis=axis) for name, axis in NEURONS.items()}
        without = last_logits(net, {**weights, **none}, tokens)[:, 0]
        to_logit = jnp.matmul(weights["W_out"][-1], weights["W_U"][:, 0], precision="highest")
        return without + jnp.matmul(cache["mlp_post"][-1, :, -1], to_logit)

    return _over_pairs(values, tokens) * _known(c, params["W_U"].shape[1] if narrow else None)


def _lab(net: Network) -> bool:
    """Whether it is one of the lab's networks, in which heads, neurons and classes meet in sums alone."""
    module = getattr(net, "module", None)
    return str(getattr(module, "__module__", "")).startswith("toylab.models.") and not getattr(net, "clamps", ())


def _sums_neurons(net: Network, params: Params) -> bool:
    """Whether it is a transformer of the lab with one layer and an MLP."""
    return _lab(net) and set(NEURONS) <= set(params) and params["W_in"].ndim == 3 and len(params["W_in"]) == 1


def _only(params: Params, axes: dict[str, int], index: ArrayLike) -> Params:
    """The params with one entry alone along these axes."""
    kept = {
        name: jax.lax.dynamic_slice_in_dim(params[name], index, 1, axis)
        for name, axis in axes.items()
        if name in params
    }
    return {**params, **kept}


def _entry(x: Array, index: ArrayLike) -> Array:
    """Entry `index` along axis 1; nan where it is not there. A negative one is not counted from the end."""
    index = jnp.where(jnp.asarray(index) < 0, x.shape[1], index)
    return jnp.take(x, index, axis=1, mode="fill", fill_value=jnp.nan)


def _known(index: ArrayLike, n: int | None) -> Array:
    """1, or nan where the index is beyond n entries, of which a slice would take the last."""
    one = jnp.ones(())
    return one if n is None else jnp.where((jnp.asarray(index) >= 0) & (jnp.asarray(index) < n), one, jnp.nan)


def _over_pairs(values: Callable[[Array], Array], tokens: ArrayLike) -> Float[Array, "p p"]:
    """What `values` gives for tokens [n, T], [n] each, over all pairs; by blocks where they are many."""
    tokens = jnp.asarray(tokens)
    n = len(tokens)
    p = round(n**0.5)
    if p * p != n or not n:
        raise ValueError(f"tokens has shape {tokens.shape}: it must be [p², n_tokens], all pairs")
    if n <= BLOCK:
        return values(tokens).reshape(p, p)
    blocks = jnp.pad(tokens, [(0, -n % BLOCK), (0, 0)], mode="edge").reshape(-1, BLOCK, tokens.shape[1])
    return jax.lax.map(values, blocks).reshape(-1)[:n].reshape(p, p)
