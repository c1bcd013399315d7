"""Latents of a dictionary as detectors of true features: precision and recall, uniqueness, and recovery of what fires.

A latent's feature is the true one that its element of the dictionary is nearest to by cosine, whose sign is kept
(dictionary.py). The measures are those of SynthSAEBench (Chanin & Garriga-Alonso 2026, arXiv 2602.14687); deviation:
there cosines are taken by size. A feature fires in a sample where its code is not 0, a latent where it is not 0.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real

from toylab.analysis.numbers import floating, nan_where
from toylab.analysis.superposition.dictionary import RECOVERED, cosines, max_cosines
from toylab.base import Params, Run
from toylab.shapes import shaped

SAMPLES = 4096  # fresh ones, on which an analyzer measures


@shaped
def uniqueness(
    truth: Real[ArrayLike, "*#batch n d"],
    dictionary: Real[ArrayLike, "*#batch k d"],
    living: Bool[ArrayLike, "*#batch k"] | None = None,
) -> Float[Array, "*batch"]:
    """The number of different true features that elements are nearest to, over the number of elements.

    It is 1 where no two elements share a feature, and 1/k where all do. At most n/k where there are more elements than
    features.

    Args:
        truth: True features, [..., n, d].
        dictionary: Elements, [..., k, d].
        living: A mask of the elements that count; None: all.

    Returns:
        [...] in 0 to 1; nan of nan, and where no element counts.
    """
    near = cosines(truth, dictionary)  # [..., n, k]
    counted = jnp.ones(near.shape[-1], bool) if living is None else jnp.asarray(living)
    is_nearest = jnp.arange(near.shape[-2])[:, None] == jnp.argmax(near, axis=-2)[..., None, :]
    taken = jnp.any(is_nearest & counted[..., None, :], axis=-1).sum(-1)  # [...]
    total = jnp.broadcast_to(counted.sum(-1), taken.shape)
    return nan_where(jnp.isnan(near).any((-2, -1)) | (total == 0), taken / total)


@shaped
def detection(
    truth: Real[ArrayLike, "n d"],
    dictionary: Real[ArrayLike, "k d"],
    codes: Real[ArrayLike, "B n"],
    latents: Real[ArrayLike, "B k"],
) -> dict[str, Float[Array, " k"]]:
    """How well each latent tells whether its nearest feature fires.

    Args:
        truth: True features.
        dictionary: Elements, one a latent.
        codes: Strengths of the true features in each sample.
        latents: Of the same samples.

    Returns:
        A dict of arrays [k] in 0 to 1.

        - `precision`: the share of samples where the latent fires in which its feature does; nan where the latent never
          fires.
        - `recall`: the share of samples where the feature fires in which its latent does; nan where the feature never
          fires.
        - `f1`: 2 TP / (2 TP + FP + FN), their harmonic mean; nan where neither fires.

    Raises:
        ValueError: For no samples.
    """
    codes, latents = floating(codes), floating(latents)
    if not len(codes):
        raise ValueError(f"codes has shape {codes.shape}: it must be [samples, features] with at least one sample.")
    near = cosines(truth, dictionary)
    own = codes[:, jnp.argmax(near, axis=0)]  # [B, k]
    unknown = jnp.isnan(near).any(0) | jnp.isnan(codes).any() | jnp.isnan(latents).any(0)
    fires, detected = own != 0, latents != 0
    hits, n_fires, n_detected = ((x).sum(0) for x in (fires & detected, fires, detected))
    found = {"precision": (hits, n_detected), "recall": (hits, n_fires), "f1": (2 * hits, n_fires + n_detected)}
    return {
        name: nan_where(unknown | (below == 0), above / jnp.maximum(below, 1)) for name, (above, below) in found.items()
    }


@shaped
def firing_recovery(
    truth: Real[ArrayLike, "n d"],
    dictionary: Real[ArrayLike, "k d"],
    codes: Real[ArrayLike, "B n"],
    latents: Real[ArrayLike, "B k"] | None = None,
    threshold: float = RECOVERED,
) -> dict[str, Float[Array, ""]]:
    """MMCS and the share recovered over the features that fire in the samples, by the elements whose latents do.

    A feature that no sample shows cannot be found, and an element whose latent never fires has found nothing, however
    near it happens to lie.

    Args:
        truth: True features.
        dictionary: Elements, one a latent.
        codes: Strengths of the true features in each sample.
        latents: Of the same samples; None: all elements count.
        threshold: The cosine above which a feature is recovered.

    Returns:
        A dict of scalars: `mmcs`, `share` and `n_firing`, the number of features that fire. nan where none does, or no
        latent.
    """
    codes = floating(codes)
    shown = (codes != 0).any(0)
    living = None if latents is None else (floating(latents) != 0).any(0)
    best = max_cosines(truth, dictionary, living)
    known = ~jnp.isnan(best).any() & ~jnp.isnan(codes).any() & shown.any()
    known &= True if latents is None else ~jnp.isnan(floating(latents)).any()
    found = {"mmcs": best, "share": (best > threshold).astype(best.dtype)}
    means = {name: nan_where(~known, jnp.mean(value, where=shown)) for name, value in found.items()}
    return means | {"n_firing": nan_where(jnp.isnan(codes).any(), shown.sum())}


def detection_scores(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of autoencoders on `MixedFeatures`: all of these on fresh samples, the same at every point.

    Returns:
        A dict of scalars: `precision`, `recall` and `f1`, means over the latents that fire; `uniqueness` of their
        elements; and of the features that fire `mmcs` and `share` recovered by them.
    """
    codes = run.config.task.codes(run.data, jax.random.key(99), SAMPLES)  # type: ignore[attr-defined]
    truth, dictionary = run.data["truth"], params["W_dec"]
    latents = run.config.net.apply(params, codes @ truth, full=False)[1]["latents"][0]
    found = {
        name: jnp.nanmean(value, where=(latents != 0).any(0))
        for name, value in detection(truth, dictionary, codes, latents).items()
    }
    recovery = firing_recovery(truth, dictionary, codes, latents)
    unique = uniqueness(truth, dictionary, (latents != 0).any(0))
    return found | {"uniqueness": unique, "mmcs": recovery["mmcs"], "share": recovery["share"]}
