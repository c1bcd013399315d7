"""Fourier analysis over Z_p of embeddings, neurons and logits (Nanda et al. 2023, arXiv 2301.05217).

A frequency k runs from 0 (the constant) to p//2. Arrays over frequencies have p//2 + 1 entries. Key frequencies are a
bool mask over them. Every energy is a plain sum of squares. Inputs are numpy or jax arrays; the output has the floating
dtype of the input. Everything works under jit and vmap.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Real, Shaped

from toylab.analysis.numbers import centred, check_finite, floating, kept, nan_where, ratio, scaled
from toylab.base import Params, Run
from toylab.shapes import shaped


def basis(p: int) -> Float[Array, "p p"]:
    """The real Fourier basis F of Z_p, with orthonormal rows (Nanda et al. 2023).

    Row 0 is the constant 1/√p. Rows 2k−1 and 2k are √(2/p)·cos(2πkn/p) and √(2/p)·sin(2πkn/p), k = 1, 2, …. The
    coefficients of a signal x are F @ x. The paper has odd p only. For even p the last row is (−1)^n/√p, the cosine of
    k = p/2, whose sine vanishes.

    Args:
        p: The modulus.

    Returns:
        F [p, p].

    Raises:
        ValueError: For p < 1.
    """
    if p < 1:
        raise ValueError(f"p is {p}, the modulus must be at least 1")
    return jnp.concatenate([jnp.full((1, p), p**-0.5), waves(p).reshape(-1, p)])[:p]


def waves(p: int) -> Float[Array, "p//2 2 p"]:
    """The non-constant rows of `basis`, by frequency.

    Args:
        p: The modulus.

    Returns:
        [p//2, 2, p]: cosine and sine of each frequency; the sine of k = p/2 is 0.
    """
    k, n = np.arange(1, p // 2 + 1)[:, None], np.arange(p)
    angle = 2 * np.pi * (k * n % p) / p  # reduced as integers, so that large k·n costs no digits
    rows = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.sqrt(2 / p)
    if p % 2 == 0:
        rows[-1] = [(-1.0) ** n / np.sqrt(p), 0 * n]
    return jnp.asarray(rows)


@shaped
def spectrum(x: Real[ArrayLike, "*axes"], axis: int = 0) -> Float[Array, " p//2+1"]:
    """Energy of each frequency along one axis, summed over all other axes.

    Entry k is Σ (cos row of F·x)² + Σ (sin row of F·x)². The entries sum to ‖x‖² (Parseval). The figures of Nanda et al.
    2023 show the square root of each row.

    Args:
        x: The signals.
        axis: The axis over Z_p, of length p.

    Returns:
        Energies [p//2 + 1], in units of x squared.

    Raises:
        ValueError: For a scalar x.
    """
    x = floating(x)
    if x.ndim == 0:
        raise ValueError("x is a scalar, it must have an axis of length p")
    x = jnp.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)
    return by_frequency((_dot(basis(len(x)), x) ** 2).sum(1))


@shaped
def by_frequency(power: Real[ArrayLike, "p ..."]) -> Real[Array, "p//2+1 ..."]:
    """The sum of the cosine and the sine of each frequency, for numbers in the order of `basis`, [p, …]."""
    power = jnp.asarray(power)
    # an even p has no sine for its last cosine
    pairs = jnp.pad(power[1:], [(0, 1 - len(power) % 2), *[(0, 0)] * (power.ndim - 1)]).reshape(-1, 2, *power.shape[1:])
    return jnp.concatenate([power[:1], pairs.sum(1)])


@shaped
def key_frequencies(
    energy: Real[ArrayLike, " p//2+1"],
    *,
    threshold: float = 0.02,  # gives the key sets of the saved runs; the paper says "non-negligible"
) -> Bool[Array, " p//2+1"]:
    """Which frequencies matter: those with more than a share of the non-constant energy.

    Nanda et al. 2023 keep what is of "non-negligible norm", without a number. The 2 % is ours: it gives the published key
    sets of their float32 run (logits and W_E) and of the embeddings of Zhong et al. 2023.

    Args:
        energy: A spectrum, or the squares of `logit_coefficients`.
        threshold: The share.

    Returns:
        A mask [p//2 + 1]. Entry 0, the constant, is never key. Where there is no energy, nothing is.

    Raises:
        ValueError: Unless `energy` has one axis, and for nan.
    """
    check_finite("energy", energy)
    energy, _ = scaled(floating(energy))
    return (energy > threshold * energy[1:].sum()).at[0].set(False)


@shaped
def neuron_frequencies(acts: Real[ArrayLike, "p p n"]) -> tuple[Int[Array, " n"], Float[Array, " n"]]:
    """The frequency of each neuron, and the share of its variance there (Nanda et al. 2023).

    The share of k is the energy of the 2-D transform in the block {1, cos k, sin k} ⊗ {1, cos k, sin k} without its
    constant, over the whole variance. The frequency is the k of the largest share. Deviation: the authors' code never tries
    the last frequency (p−1)/2; here k runs to p//2.

    Args:
        acts: Activations over all inputs (a, b). They are centred here.

    Returns:
        Frequencies, int [n], and shares in [0, 1], [n]. A neuron that does not vary has frequency 0 and share 0. One with
        nan has frequency 0 and share nan.

    Raises:
        ValueError: Unless the shape is [p, p, n].
    """
    acts, _ = scaled(floating(acts), (0, 1))
    p = modulus("acts", acts)
    deviation = acts - acts.mean((0, 1))
    one, pairs = jnp.full((1, p), p**-0.5), waves(p)  # 1; cos k, sin k
    over_a = _dot(jnp.concatenate([one, pairs.reshape(-1, p)]), deviation.reshape(p, -1)).reshape(-1, p, acts.shape[2])
    three = jnp.concatenate([jnp.broadcast_to(one, (p // 2, 1, p)), pairs], axis=1)
    # repeated and not broadcast: XLA would copy all of over_a to share a factor
    waves_of_a = _dot(jnp.repeat(three, 2, axis=0), over_a[1:]).reshape(p // 2, 6, -1)
    mean_over_a = _dot(pairs.reshape(-1, p), over_a[0]).reshape(p // 2, 2, -1)
    energy = (waves_of_a**2).sum(1) + (mean_over_a**2).sum(1)  # [k, n]
    total = (deviation**2).sum((0, 1))
    constant = total <= (p * jnp.finfo(acts.dtype).eps) ** 2 * (acts**2).sum((0, 1))  # but for rounding
    share = jnp.where(constant, 0, energy / jnp.where(constant, 1, total))
    return jnp.where(constant | jnp.isnan(total), 0, share.argmax(0) + 1), share.max(0)


@shaped
def by_sum(x: Shaped[ArrayLike, "p p ..."]) -> Shaped[Array, "p p ..."]:
    """Inputs sorted by s = a + b mod p: entry [s, b, …] of the result is x[s − b, b, …].

    A mean over axis 1 is then the part of x that depends on a + b alone. For a − b, give x[:, -arange(p)].

    Args:
        x: Anything over all pairs (a, b), [p, p, …].
    """
    x = jnp.asarray(x)
    n = np.arange(modulus("x", x))
    return x[(n[:, None] - n) % len(n), n]


@shaped
def logit_coefficients(logits: Real[ArrayLike, "p p p"]) -> Float[Array, " p//2+1"]:
    """⟨logits, cos(2πk(a+b−c)/p)⟩, with the cosine of unit norm over the cube (a, b, c) (Nanda et al. 2023).

    Args:
        logits: Logits of all pairs; drop classes beyond p first.

    Returns:
        Signed coefficients [p//2 + 1], in units of the logits times p^{3/2}. Entry 0 belongs to the constant. The squares
        are energies and sum to at most ‖logits‖².

    Raises:
        ValueError: For other shapes.
    """
    logits = floating(logits)
    p = modulus("logits", logits)
    summed = by_sum(logits).sum(1)  # [s, c]
    w = waves(p).astype(logits.dtype)
    products = (_dot(w, summed) * w).sum((1, 2))  # cos ks cos kc + sin ks sin kc, summed
    norm = np.full(p // 2, np.sqrt(2 * p))
    norm[p // 2 - 1 :] *= 1 if p % 2 else 0.5**0.5  # cos² averages 1 and not ½ at k = p/2
    constant = summed.sum() / p**1.5
    return jnp.concatenate([constant[None], products / norm]).astype(logits.dtype)


@shaped
def logit_fve(
    logits: Real[ArrayLike, "p p p"], key: Bool[ArrayLike, " p//2+1"], centring: Literal["input", "global"] = "input"
) -> Float[Array, ""]:
    """Share of the logits' variance in the key cosines: Σ_key ⟨logits, cos_k⟩² / ‖centred logits‖².

    Args:
        logits: Logits of all pairs.
        key: Mask of the key frequencies.
        centring: "input" subtracts the mean over c of every input, which a softmax does not see. "global" subtracts one
            mean of the cube. Nanda et al. 2023 do not say which; in their float32 run these give .472 and .330.

    Returns:
        A scalar in [0, 1]; 0 where the logits do not vary, nan of nan.

    Raises:
        ValueError: For other shapes and an unknown centring.
    """
    if centring not in ("input", "global"):
        raise ValueError(f'centring is {centring!r}, it must be "input" or "global"')
    logits, _ = scaled(floating(logits))
    p = modulus("logits", logits)
    energy = kept(key_mask(key, p), logit_coefficients(logits) ** 2).sum()
    return ratio(energy, (centred(logits, 2 if centring == "input" else None) ** 2).sum())


@shaped
def modulus(name: str, x: Shaped[Array, "p p ..."]) -> int:
    """p, of an array whose first two axes run over Z_p.

    Raises:
        ValueError: For p < 2.
    """
    if len(x) < 2:
        raise ValueError(f"{name} has shape {x.shape}, p must be at least 2")
    return len(x)


@shaped
def key_mask(key: Bool[ArrayLike, " n_frequencies"], p: int) -> Bool[Array, " p//2+1"]:
    """`key` as a bool array [p//2 + 1] with the constant left out.

    Raises:
        ValueError: For a wrong size.
    """
    key = jnp.asarray(key)
    if len(key) != p // 2 + 1:
        raise ValueError(f"key has shape {key.shape}, it must be a bool mask [p//2 + 1] = [{p // 2 + 1}]")
    return key.at[0].set(False)


def _dot(a: Array, b: Array) -> Array:
    """a @ b in b's dtype, with full precision on accelerators too, whose default keeps three digits."""
    return jnp.matmul(a.astype(b.dtype), b, precision="highest")


def task_modulus(run: Run) -> int:
    """p, which the modular task has and the Task protocol does not ask for."""
    return run.config.task.p  # type: ignore[attr-defined]


def logit_cube(params: Params, run: Run) -> Float[Array, "p p p"]:
    """The logits of all inputs, [p, p, p]: the last position is read, classes beyond p ("=") are dropped."""
    p = task_modulus(run)
    logits, _ = run.config.net.apply(params, run.data["tokens"], full=False)
    return logits.reshape(p * p, -1, logits.shape[-1])[:, -1, :p].reshape(p, p, p)


def number_rows(params: Params, run: Run) -> Float[Array, "p n"]:
    """The rows of W_E that are numbers, [p, n]; the embeddings of separate operands stand side by side."""
    p = task_modulus(run)
    return jnp.moveaxis(params["W_E"], -2, 0)[:p].reshape(p, -1)


def neuron_to_logit(params: Params, run: Run) -> Float[Array, "d_mlp p"]:
    """W_L = W_out W_U of the last layer, or W_U where neurons are read out directly, [d_mlp, p]."""
    W_U = params["W_U"][:, : task_modulus(run)]
    return _dot(params["W_out"][-1], W_U) if "W_out" in params else W_U


def embedding(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the Fourier spectrum of the embedding.

    Returns:
        A dict: `spectrum` [p//2 + 1], the energy of W_E over the numbers.
    """
    return {"spectrum": spectrum(number_rows(params, run))}


def neuron_logit(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the Fourier spectrum of the map from neurons to logits.

    Returns:
        A dict: `spectrum` [p//2 + 1], the energy of W_L over the classes.
    """
    return {"spectrum": spectrum(neuron_to_logit(params, run), axis=1)}


def neurons(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the neurons of the last layer at the last position, over all inputs.

    Returns:
        A dict of arrays [d_mlp].

        - `frequency` int and `fraction`: as of `neuron_frequencies`.
        - `variance`: over all inputs.

    Raises:
        ValueError: For a network without neurons.
    """
    p = task_modulus(run)
    net, tokens = run.config.net, run.data["tokens"]
    cache = net.apply(params, tokens, full=False)[1]  # which may have the last position's alone, at a third of the cost
    if "mlp_post" not in cache:
        cache = net.apply(params, tokens)[1]
    if "mlp_post" not in cache:
        raise ValueError("net.d_mlp is 0: this page's analysis of neurons needs an MLP, of at least 1.")
    acts = floating(cache["mlp_post"][-1])  # [p², (T,) n]
    last = acts.reshape(p * p, -1, acts.shape[-1])[:, -1].reshape(p, p, -1)
    frequency, fraction = neuron_frequencies(last)
    return {"frequency": frequency, "fraction": fraction, "variance": last.var(axis=(0, 1))}


def neuron_census(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: how many neurons have a single frequency, that is more than 85 % of their variance at one.

    Returns:
        A dict.

        - `single` []: their share of all neurons.
        - `single_by_variance` []: their share of the variance of all neurons.
        - `count` int [p//2 + 1]: how many of them have each frequency.
    """
    found = neurons(params, run)
    single, frequencies = found["fraction"] > 0.85, jnp.arange(task_modulus(run) // 2 + 1)
    count = jnp.sum(single & (found["frequency"] == frequencies[:, None]), axis=1)
    by_variance = jnp.sum(kept(single, found["variance"])) / jnp.sum(found["variance"])
    share = nan_where(jnp.isnan(found["fraction"]), single).mean()
    return {"single": share, "single_by_variance": by_variance, "count": count}


def numbers(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of the last point, for figures.

    Returns:
        A dict: `W_E` [p, n], the embeddings of the numbers.
    """
    return {"W_E": number_rows(params, run)}


def logits(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the cosines in the logits.

    Returns:
        A dict.

        - `coefficients` [p//2 + 1]: as of `logit_coefficients`.
        - `key` bool [p//2 + 1]: the key frequencies among them.
        - `fve` and `fve_global` []: `logit_fve` with either centring.
    """
    cube = logit_cube(params, run)
    coefficients = logit_coefficients(cube)
    key = key_frequencies(scaled(coefficients)[0] ** 2)
    fve = {"fve": logit_fve(cube, key), "fve_global": logit_fve(cube, key, "global")}
    return {"coefficients": coefficients, "key": key, **fve}
