"""What irreducible representations explain of a network that composes group elements: of its logits, by their cosine with
traces, and of its weights and activations, by shares of energy (Chughtai et al. 2023, A toy model of universality, arXiv
2302.03025).

Semantics are those of the code behind the published numbers; every deviation is said. g elements, K irreps, `reps` from
`irreps.representations`; arrays over inputs are [g, g, …] for (a, b). Shares are of 1. Everything works under jit (reps
being static there).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Integer, Real

from toylab.analysis.groups.irreps import Representations, check_axis
from toylab.analysis.numbers import centred, check_finite, floating, kept, ratio, scaled
from toylab.shapes import shaped

KEY = 0.005  # Chughtai et al. 2023's code


@shaped
def logit_similarity(logits: Real[ArrayLike, "g g g"], reps: Representations) -> Float[Array, " K"]:
    """Cosine of the logits, centred over c for each input, with tr ρ(a)ρ(b)ρ(c⁻¹), for each irrep ρ.

    That trace depends on h = abc⁻¹ alone, so the logits are first summed by it. Its norm over the cube is g·‖χ‖.

    Args:
        logits: Logits of all pairs, [g, g, g].
        reps: The irreps.

    Returns:
        [K]; 0 for the trivial irrep, which centring takes out.

    Raises:
        ValueError: For other shapes.
    """
    check_axis("logits", logits, "[g, g, g]", reps)
    z = centred(scaled(floating(logits))[0], -1)
    by_element = by_product(by_product(z, reps)[:, reps.inverse], reps)  # [g]: first by ab and c, then by abc⁻¹
    characters = jnp.asarray(reps.characters, z.dtype)
    lengths = len(reps.table) * jnp.linalg.norm(characters, axis=1) * jnp.linalg.norm(z)
    return kept(jnp.arange(len(characters)) > 0, ratio(_dot(characters, by_element), lengths))


@shaped
def key_representations(similarity: Real[ArrayLike, " K"], threshold: float = KEY) -> Bool[Array, " K"]:
    """The irreps that a network uses: those with a logit similarity above a threshold, the trivial one apart.

    Args:
        similarity: Of each irrep.
        threshold: The least similarity; by default that of the code of Chughtai et al. 2023.

    Returns:
        A mask [K].

    Raises:
        ValueError: For nan.
    """
    check_finite("similarity", similarity)
    return (jnp.asarray(similarity) > threshold).at[0].set(False)


@shaped
def logit_fve(similarity: Real[ArrayLike, " K"], key: Bool[ArrayLike, " K"] | None = None) -> Float[Array, ""]:
    """Σ similarity² over the key irreps: the share of the centred logits' energy that their traces explain.

    Args:
        similarity: Of each irrep.
        key: Mask of the key irreps; by default all but the trivial one, as in the code. The two differ by less than 1e-4 in
            the published models.

    Returns:
        A scalar.
    """
    squares = floating(similarity)[1:] ** 2
    return squares.sum() if key is None else kept(jnp.asarray(key)[1:], squares).sum()


@shaped
def element_fve(x: Real[ArrayLike, "g m"], reps: Representations) -> Float[Array, " K"]:
    """Share of the energy Σ x² of functions on the group in the span of each irrep's matrix elements.

    It is not centred: the trivial irrep holds the mean.

    Args:
        x: Functions on the group, [g, m].
        reps: The irreps.

    Returns:
        [K]; the sum is 1.
    """
    check_axis("x", x, "[g, m]", reps)
    x, _ = scaled(floating(x))
    return _energies(x, reps) / jnp.sum(x**2)


@shaped
def hidden_fve(hidden: Real[ArrayLike, "g g m"], reps: Representations) -> dict[str, Float[Array, " K"]]:
    """Shares of the variance of hidden activations over all inputs in the spans of ρ(a), ρ(b) and ρ(ab), for each irrep.

    Each neuron is centred over inputs. Deviation: the published code orthonormalises, in float32, all four entries of a
    rotation of C_n, of which two are independent. Its two other directions are rounding noise, left out here. On a
    network of 13 ideal cosines of C113 they add 0.01 (LAPACK) to 0.03 (torch) to the sum of "total" over key irreps,
    0.003 to that of "ab", nothing to the losses.

    Args:
        hidden: Activations of all inputs, [g, g, m].
        reps: The irreps.

    Returns:
        A dict of arrays [K]: `a`, `b`, `ab`, and their sum `total`; nan where no neuron varies.
    """
    check_axis("hidden", hidden, "[g, g, m]", reps)
    h = scaled(centred(floating(hidden), (0, 1)))[0]
    g = len(h)
    sums = {"a": h.sum(1), "b": h.sum(0), "ab": by_product(h, reps)}
    energy = jnp.sum(h**2)
    shares = {
        name: _energies(x, reps) / (g * energy) for name, x in sums.items()
    }  # an input of a stands for g of (a, b)
    return {**shares, "total": shares["a"] + shares["b"] + shares["ab"]}


@shaped
def order_learned(
    similarity: Real[ArrayLike, "T K"], key: Bool[ArrayLike, " K"], threshold: float = 0.05
) -> Integer[np.ndarray, " K"]:
    """The place (1, 2, …) at which each key irrep is learned over checkpoints.

    As in the published code, at each checkpoint the first key irrep (in the order of names) that is not yet learned and
    has a similarity above the threshold is learned, one a checkpoint at most. Those that never are follow in the order
    of names.

    Args:
        similarity: Of each checkpoint and irrep, [T, K].
        key: Mask of the key irreps.
        threshold: The least similarity.

    Returns:
        int [K]; 0 for irreps that are not key.

    Raises:
        ValueError: For fewer than two checkpoints, and where all is nan.
    """
    similarity, key = np.asarray(similarity), np.asarray(key)
    if np.isnan(similarity).all():
        raise ValueError("similarity is nan throughout: an order of learning needs checkpoints that are finite.")
    if len(similarity) < 2:
        raise ValueError(f"similarity has {len(similarity)} checkpoints: an order of learning needs at least 2.")
    learned: list[int] = []
    for row in similarity:
        new = [k for k in np.flatnonzero(key & (row > threshold)) if k not in learned]
        learned += [int(k) for k in new[:1]]
    learned += [int(k) for k in np.flatnonzero(key) if k not in learned]
    places = np.zeros(len(key), int)
    places[learned] = np.arange(1, len(learned) + 1)
    return places


@shaped
def by_product(x: Real[ArrayLike, "g g ..."], reps: Representations) -> Real[Array, "g ..."]:
    """Σ over the inputs (a, b) with ab = s. Such inputs are (a, a⁻¹s).

    Args:
        x: Anything over all inputs, [g, g, …].
        reps: The irreps, whose group it is.

    Returns:
        [g, …].
    """
    g = len(reps.table)
    return jnp.asarray(x)[np.arange(g)[:, None], reps.table[reps.inverse]].sum(axis=0)


def _energies(x: Array, reps: Representations) -> Array:
    """[K]: the energy of x [g, m] in the span of each irrep's matrix elements."""
    rows = jnp.sum(_dot(jnp.asarray(reps.basis, x.dtype).T, x) ** 2, axis=1)
    return jax.ops.segment_sum(rows, reps.owner, num_segments=len(reps.irreps), indices_are_sorted=True)


def _dot(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")
