"""How well a dictionary has found the features it was trained on, and what its latents do.

Rows are features or dictionary elements, of any length; leading axes are a batch. Cosines keep their sign: codes are
not negative, so an element that points away from a feature has not found it.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, PRNGKeyArray, Real

from toylab.analysis.numbers import centred, check_finite, floating, nan_where, ratio, scaled, unit
from toylab.base import Params, Run
from toylab.shapes import shaped

RECOVERED = 0.9  # cosine above which a feature counts as found, by convention


@shaped
def max_cosines(
    truth: Real[ArrayLike, "*#batch n d"],
    dictionary: Real[ArrayLike, "*#batch k d"],
    living: Bool[ArrayLike, "*#batch k"] | None = None,
) -> Float[Array, "*batch n"]:
    """max_j cos(t_i, w_j): how well the best element of a dictionary matches each true feature.

    Args:
        truth: True features, [..., n, d].
        dictionary: Elements, [..., k, d].
        living: A mask of the elements that count, such as `~dead_latents(latents)`; None: all.

    Returns:
        [..., n] in −1 to 1. A zero row has cosine 0 with everything. nan where no element counts.

    Raises:
        ValueError: Where d differs or a matrix is empty.
    """
    found = cosines(truth, dictionary)
    if living is None:
        return jnp.max(found, axis=-1)
    counted = jnp.asarray(living)[..., None, :]
    best = jnp.max(jnp.where(counted | jnp.isnan(found), found, -jnp.inf), axis=-1)
    return nan_where(~counted.any(axis=-1), best)


@shaped
def cosines(
    truth: Real[ArrayLike, "*#batch n d"], dictionary: Real[ArrayLike, "*#batch k d"]
) -> Float[Array, "*batch n k"]:
    """cos(t_i, w_j) between true features and elements of a dictionary.

    Args:
        truth: True features, [..., n, d].
        dictionary: Elements, [..., k, d].

    Returns:
        [..., n, k] in −1 to 1. A zero row has cosine 0 with everything.

    Raises:
        ValueError: Where d differs or a matrix is empty.
    """
    truth, dictionary = floating(truth), floating(dictionary)
    if not dictionary.size:
        raise ValueError(f"dictionary has shape {dictionary.shape}: it must be [..., k, d] with at least one element.")
    return jnp.einsum("...nd,...kd->...nk", unit(truth), unit(dictionary), precision="highest")


@shaped
def mmcs(truth: Real[ArrayLike, "*#batch n d"], dictionary: Real[ArrayLike, "*#batch k d"]) -> Float[Array, "*batch"]:
    """Mean max cosine similarity: the mean of `max_cosines` over true features (Sharkey et al. 2022).

    Args:
        truth: True features, [..., n, d].
        dictionary: Elements, [..., k, d].

    Returns:
        [...]; 1 for a dictionary that holds every feature, in any order. `random_floor` has what a random one reaches.
    """
    return jnp.mean(max_cosines(truth, dictionary), axis=-1)


@shaped
def recovered_share(
    truth: Real[ArrayLike, "*#batch n d"], dictionary: Real[ArrayLike, "*#batch k d"], threshold: float = RECOVERED
) -> Float[Array, "*batch"]:
    """Share of true features with an element at a cosine above a threshold.

    Args:
        truth: True features, [..., n, d].
        dictionary: Elements, [..., k, d].
        threshold: The cosine.

    Returns:
        [...] in 0 to 1; nan of nan.
    """
    best = max_cosines(truth, dictionary)
    return jnp.mean(nan_where(jnp.isnan(best), best > threshold), axis=-1)


@shaped
def random_floor(
    key: PRNGKeyArray, truth: Real[ArrayLike, "n d"], n_elements: int, n_draws: int = 100
) -> dict[str, Float[Array, ""]]:
    """MMCS of dictionaries of random directions. An MMCS says nothing without it.

    In closed form the mean is 1 − ∫ F(c)^n_elements dc over −1 to 1, where (1 + c)/2 ~ Beta((d−1)/2, (d−1)/2) has the
    distribution F: 0.404 for 64 elements in R^32, 0.443 for 128.

    Args:
        key: Of the draws.
        truth: True features, [n, d].
        n_elements: The size of a dictionary.
        n_draws: The number of dictionaries.

    Returns:
        A dict of scalars: `mean`, and the standard deviation `std` over dictionaries.
    """
    truth = floating(truth)
    if n_elements < 1 or n_draws < 2:
        raise ValueError(f"n_elements is {n_elements} and n_draws {n_draws}: they must be at least 1 and 2.")

    def draw(key: Array) -> Array:
        return mmcs(truth, jax.random.normal(key, (n_elements, truth.shape[-1]), truth.dtype))

    found = jax.lax.map(draw, jax.random.split(key, n_draws))
    return {"mean": jnp.mean(found), "std": jnp.std(found, ddof=1)}


@shaped
def l0(latents: Real[ArrayLike, "*batch B k"]) -> Float[Array, "*batch"]:
    """Number of latents that are on, averaged over samples.

    Args:
        latents: [..., B, k].

    Returns:
        [...]; nan of nan.
    """
    latents = _samples(latents)
    return jnp.mean(jnp.sum(nan_where(jnp.isnan(latents), latents != 0), axis=-1), axis=-1)


@shaped
def dead_latents(latents: Real[ArrayLike, "*batch B k"]) -> Bool[Array, "*batch k"]:
    """The latents that are 0 in every sample. Their number depends on how many samples are looked at.

    Sharkey et al. 2022 look at 10 batches.

    Args:
        latents: [..., B, k].

    Returns:
        A mask [..., k].

    Raises:
        ValueError: For nan.
    """
    check_finite("latents", latents)
    return jnp.all(_samples(latents) == 0, axis=-2)


@shaped
def effective_features(latents: Real[ArrayLike, "*batch B k"]) -> Float[Array, "*batch"]:
    """exp H(q), with q_j the share of latent j in Σ |latent| over samples (Bereska 2025, on an autoencoder's activations).

    Args:
        latents: [..., B, k].

    Returns:
        [...] in 1 to k; 0 where all latents are zero.
    """
    mass = jnp.sum(jnp.abs(scaled(_samples(latents), (-2, -1))[0]), axis=-2)  # [..., k]
    total = jnp.sum(mass, axis=-1, keepdims=True)
    share = ratio(mass, total)
    return jnp.where(total[..., 0] == 0, 0, jnp.exp(jnp.sum(jax.scipy.special.entr(share), axis=-1)))


@shaped
def fraction_variance_unexplained(
    x: Real[ArrayLike, "*batch B d"], x_hat: Real[ArrayLike, "*batch B d"]
) -> Float[Array, "*batch"]:
    """Σ‖x − x̂‖² / Σ‖x − mean x‖² over samples.

    Args:
        x: Samples, [..., B, d].
        x_hat: Their reconstructions.

    Returns:
        [...]: 0 is exact, 1 as good as the mean; more is possible. nan where x does not vary but for rounding.

    Raises:
        ValueError: Where the shapes differ.
    """
    x, power = scaled(_samples(x), (-2, -1))
    residual = jnp.sum((x - _samples(x_hat) / power) ** 2, axis=(-2, -1))
    total = jnp.sum(centred(x, -2) ** 2, axis=(-2, -1))
    return nan_where(total == 0, residual / total)


def _samples(x: ArrayLike) -> Array:
    x = floating(x)
    if not x.shape[-2]:
        raise ValueError(f"the array has shape {x.shape}: it must be [..., samples, values] with at least one sample.")
    return x


def recovery(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: how well the decoder's rows recover the run's true features.

    Returns:
        A dict of scalars: `mmcs`, and the `share` recovered.
    """
    truth, dictionary = run.data["truth"], params["W_dec"]
    return {"mmcs": mmcs(truth, dictionary), "share": recovered_share(truth, dictionary)}


def activity(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: what the latents do on the run's fixed sample.

    Returns:
        A dict of scalars: the share of `dead` latents, and the number of `effective` features.
    """
    latents = run.config.net.apply(params, run.data["x"], full=False)[1]["latents"][0]  # [B, k]
    dead = nan_where(jnp.isnan(latents).any(axis=0), dead_latents(latents))
    return {"dead": jnp.mean(dead), "effective": effective_features(latents)}


def floor(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: `random_floor` for the run's true features and the size of its dictionary.

    Returns:
        A dict of scalars: `mean` and `std`.
    """
    return random_floor(jax.random.key(0), run.data["truth"], len(params["W_dec"]))
