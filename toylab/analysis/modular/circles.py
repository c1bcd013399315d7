"""Circles in the embedding of Z_p (Zhong et al. 2023, arXiv 2306.17844): how circular its principal components are, and
what one circle alone makes the network say.

Array functions: jax in, the input's dtype out, usable under jit and vmap. They follow the authors' released code; what
it does with rows beyond the p numbers (a second operand's vocabulary, an "=") is said where it matters.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.lax import dynamic_slice_in_dim
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Real

from toylab.analysis.modular.inputs import check_modulus
from toylab.analysis.numbers import centred, floating, scaled
from toylab.shapes import shaped


class Components(NamedTuple):
    """A principal component analysis: `mean + scores @ directions` gives the rows back."""

    mean: Float[Array, " d"]
    scores: Float[Array, "n r"]  # r = min(n, d), by falling variance
    directions: Float[Array, "r d"]  # orthonormal rows

    def pair(self, u: Integer[ArrayLike, ""]) -> tuple[Float[Array, "n 2"], Float[Array, "2 d"]]:
        """Scores [n, 2] and directions [2, d] of circle u, from 0: components 2u and 2u+1."""
        return dynamic_slice_in_dim(self.scores, 2 * u, 2, 1), dynamic_slice_in_dim(self.directions, 2 * u, 2)


@shaped
def components(W_E: Real[ArrayLike, "d_vocab d_model"]) -> Components:
    """The principal components of the rows of W_E, all of them centred together.

    Signs are those of the decomposition. Components of (nearly) equal variance may turn into each other: compare planes,
    not vectors.

    Args:
        W_E: The rows, [n, d].

    Raises:
        ValueError: Unless there are at least two rows and two columns.
    """
    W_E, power = scaled(floating(W_E))
    if min(W_E.shape) < 2:
        raise ValueError(f"W_E has shape {W_E.shape}, it must be [d_vocab, d_model] with at least 2 of each")
    mean = W_E.mean(0)
    left, sizes, directions = jnp.linalg.svd(W_E - mean, full_matrices=False)
    rounding = max(W_E.shape) * jnp.finfo(W_E.dtype).eps * jnp.abs(W_E).max()
    sizes = jnp.where(sizes > rounding, sizes, 0)  # of a W_E of low rank, whose other components would be noise
    return Components(mean * power[0, 0], left * sizes * power, directions)


@shaped
def circularities(scores: Real[ArrayLike, "n r"], p: int) -> Float[Array, " r"]:
    """How close each component is to one wave over Z_p.

    With v = score / (‖score‖ √p), the norm over all n rows, it is the largest over k of 2 |Σ_t v_t e^{2πi kt/p}|², with t
    over the first p rows, clipped at 1. For a prime p the authors' strides v_{tj mod p} against e^{2πi t/p} are the
    frequencies k = 1/j. As in their code, rows beyond p count in the norm and are not looked at: with separate vocabularies
    of the two operands, n = 2p, no component can pass much above ½.

    Args:
        scores: Scores of r components, [n, r], n ≥ p.
        p: The modulus.

    Returns:
        [r] in [0, 1]; 0 for a component that is zero.
    """
    scores, _ = scaled(floating(scores), 0)
    norm = jnp.linalg.norm(scores, axis=0)
    power = 2 * (jnp.abs(_waves(p, scores) @ scores[:p]) ** 2).max(0)
    return jnp.clip(power / jnp.where(norm > 0, norm, 1) ** 2 / p, 0, 1)


@shaped
def circularity_of(W_E: Real[ArrayLike, "d_vocab d_model"], p: int) -> Float[Array, ""]:
    """The mean circularity of the first four principal components of W_E.

    Args:
        W_E: The rows, [n, d], n ≥ p.
        p: The modulus, an odd prime.

    Returns:
        A scalar in [0, 1].
    """
    check_modulus(p)
    return circularities(components(W_E).scores[:, :4], p).mean()


@shaped
def circle_frequency(scores: Real[ArrayLike, "n 2"], p: int) -> Integer[Array, ""]:
    """The frequency k that the two components of a circle run through together.

    It is the k of the largest |Σ_t z_t e^{∓2πi kt/p}| for z = first + i·second, over the first p rows and both signs. A
    turn in the plane counts, so a pair of two unlike waves has the frequency of the stronger turn. It is 1/stride of
    the authors' code.

    Args:
        scores: Scores of the two components, [n, 2].
        p: The modulus.

    Returns:
        k in 1 … (p−1)/2; 0 where a score is nan.
    """
    scores, _ = scaled(floating(scores))
    turns = _waves(p, scores) @ (scores[:p, 0] + 1j * scores[:p, 1])  # k = 1 … p−1
    size = jnp.abs(turns)
    half = (p - 1) // 2
    return jnp.where(jnp.isnan(size).any(), 0, jnp.maximum(size[:half], size[::-1][:half]).argmax() + 1)


@shaped
def alone(
    W_E: Real[Array, "*operands d_vocab d_model"], circles: Integer[ArrayLike, " m"], p: int
) -> tuple[Real[Array, "m *operands d_vocab d_model"], Integer[Array, " m"]]:
    """W_E with each circle alone: the mean of all rows and the circle's two components of each.

    This is the inverse of the principal component analysis, as the authors have it.

    Args:
        W_E: The embedding, or one table for each operand.
        circles: Indices of circles, [m].
        p: The modulus, an odd prime.

    Returns:
        The embeddings [m, *W_E.shape] and the frequencies [m] of the circles.
    """
    check_modulus(p)
    found = components(W_E.reshape(-1, W_E.shape[-1]))

    def one(u: Array) -> tuple[Array, Array]:
        scores, directions = found.pair(u)
        rows = found.mean + jnp.matmul(scores, directions, precision="highest")
        return rows.reshape(W_E.shape), circle_frequency(scores, p)

    return jax.vmap(one)(jnp.asarray(circles))


@shaped
def explained(
    logits: Real[ArrayLike, "p p d_vocab_out"], frequency: Integer[ArrayLike, ""]
) -> dict[str, Float[Array, ""]]:
    """Shares of the variance of the logits over (a, b, c) that four formulas of one frequency k explain (Zhong et al.
    2023).

    With w = 2πk/p, S_c = cos wa + cos wb, S_s = sin wa + sin wb and w' = half of w mod p:

        clock           cos w(a+b−c)
        pizza           |cos(wc/2) S_c + sin(wc/2) S_s| − |−sin(wc/2) S_c + cos(wc/2) S_s|
        pizza_appendix  (|S_c| − |S_s|) cos wc − (|S_c − S_s| − |S_c + S_s|) sin(wc)/√2
        accompanying    −[cos w'c (cos 2w'a + cos 2w'b) + sin w'c (sin 2w'a + sin 2w'b)]

    Logits and formula are z-scored over the whole cube. The share is 1 − Var(logits − formula), which is 2ρ − 1 for their
    correlation ρ. Only that correlation is computed, with S_c = 2 cos(w(a+b)/2) cos(w(a−b)/2) and
    S_s = 2 sin(w(a+b)/2) cos(w(a−b)/2), by which the pizzas are g(a−b) times functions of a+b and c.

    Args:
        logits: Logits of all pairs, [p, p, ≥ p], p odd; classes beyond p are dropped.
        frequency: k, no multiple of p.

    Returns:
        A dict of scalars: `clock`, `pizza`, `pizza_appendix` and `accompanying`. 1 is all of the variance, 0 a correlation
        of ½, −1 none (also where the logits are constant).
    """
    p = len(logits := floating(logits))
    logits = centred(scaled(logits[..., :p])[0], None)
    n = np.arange(p)
    k = jnp.asarray(frequency)
    half = (k * ((p + 1) // 2)) % p  # k/2 mod p
    plus, minus = (n[:, None] + n) % p, (n[:, None] - n) % p
    dtype = logits.dtype

    def angle(m: Array, over: float = 1.0) -> Array:
        return (2 * np.pi / over / p) * ((m * n) % p).astype(dtype)

    w, v, x = angle(k), angle(half), angle(k, 2.0)  # x = wn/2, up to a multiple of π
    g = 2 * jnp.abs(jnp.cos(x))
    h = jnp.abs(jnp.cos(x)) - jnp.abs(jnp.sin(x))
    turned = jnp.abs(jnp.cos(x + np.pi / 4)) - jnp.abs(jnp.sin(x + np.pi / 4))
    over_c = jnp.stack([jnp.cos(w), jnp.sin(w), jnp.cos(v), jnp.sin(v)], axis=1)
    cw, sw, cv, sv = jnp.moveaxis(jnp.matmul(logits, over_c, precision="highest"), -1, 0)  # each [a, b]
    products = {
        "clock": jnp.cos(w)[plus] * cw + jnp.sin(w)[plus] * sw,
        "pizza": g[minus] * (logits * h[minus][plus]).sum(-1),  # h[minus][s, c] is h(s − c)
        "pizza_appendix": g[minus] * (h[plus] * cw - turned[plus] * sw),
        "accompanying": -_outer_sum(jnp.cos(w)) * cv - _outer_sum(jnp.sin(w)) * sv,
    }
    g2 = (g**2).sum()
    means = {"pizza": h.sum() * g.sum() / p**2}  # of the others 0
    squares: dict[str, Array | float] = {  # sums over the cube
        "clock": p**3 / 2,
        "pizza": p * g2 * (h**2).sum() - p**3 * means["pizza"] ** 2,
        "pizza_appendix": p / 2 * g2 * ((h**2).sum() + (turned**2).sum()),
        "accompanying": p**3,
    }
    norm = jnp.sqrt((logits**2).sum())
    norm = jnp.where(norm > 0, norm, 1)
    return {
        name: 2 * product.sum() / (norm * jnp.sqrt(jnp.asarray(squares[name], dtype))) - 1
        for name, product in products.items()
    }


def _outer_sum(x: Array) -> Array:
    return x[:, None] + x


def _waves(p: int, like: Array) -> Array:
    """e^{−2πi kt/p}, [k = 1 … p−1, t]."""
    k, t = np.arange(1, p)[:, None], np.arange(p)
    kind = jnp.complex128 if like.dtype == jnp.float64 else jnp.complex64
    return jnp.asarray(np.exp(-2j * np.pi * (k * t % p) / p), kind)
