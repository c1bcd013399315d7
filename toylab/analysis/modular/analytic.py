"""Modular addition solved on paper: networks of squared neurons whose weights are cosines, to be drawn beside trained ones.

f_c(a, b) = Σ_i (u_i[a] + v_i[b])² w_i[c], of N neurons. Gromov 2023 (arXiv 2301.02679) chooses frequencies and phases at
random; Morwani et al. 2023 (arXiv 2311.07568) show which choice has the largest margin for its norm. In both a neuron has
one frequency and phases with θ_u + θ_v = θ_w: then it adds to the right class whatever a and b.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Real

from toylab.analysis import norms
from toylab.analysis.numbers import floating, ratio, scaled
from toylab.base import Params, Run
from toylab.losses import right
from toylab.shapes import shaped


class SquaredNet(NamedTuple):
    """The rows of N neurons, [N, p] each."""

    u: Float[Array | np.ndarray, "N p"]
    v: Float[Array | np.ndarray, "N p"]
    w: Float[Array | np.ndarray, "N p"]

    def params(self) -> dict[str, np.ndarray]:
        """As params of `ModularMLP(d_vocab=p, d_vocab_out=p, d_model=N, d_mlp=N, activation="quadratic")`."""
        u, v, w = (np.asarray(x) for x in self)
        one = np.eye(len(u), dtype=u.dtype)
        return {"W_E": np.stack([u.T, v.T]), "W_in": np.stack([one, one]), "W_U": w}


class Waves(NamedTuple):
    """Of each neuron, [N]."""

    frequency: Integer[Array, " N"]  # 1 to p//2: where u, v and w together have most energy; 0 for nan
    share: Float[Array, " N"]  # of their energy apart from the mean, that of this frequency; the least of the three
    phase: Float[Array, " N"]  # θ_u + θ_v − θ_w at this frequency, radians in (−π, π]


@shaped
def gromov(
    p: int,
    n: int,
    *,
    seed: int = 0,
    frequencies: Integer[ArrayLike, " n"] | None = None,
    phases: Real[ArrayLike, "n 2"] | None = None,
) -> SquaredNet:
    """The solution of Gromov 2023: u(a) = cos(2πσa/p + φ₁), v(b) = cos(2πσb/p + φ₂), w(c) = cos(2πσc/p + φ₁ + φ₂).

    Other neurons' cross terms are noise, which many neurons average out: at p = 97, 64 of them get 96 % of all pairs right
    (standard deviation between seeds 1 %), 256 all.

    Args:
        p: The modulus.
        n: The number of neurons.
        seed: Of the phases that are drawn.
        frequencies: σ of each neuron; by default 1, 2, …, p−1 in turn, since chance would leave some out.
        phases: φ₁ and φ₂ of each neuron; by default drawn from the circle.

    Returns:
        The rows of the neurons, float64.

    Raises:
        ValueError: For p < 3, n < 1, and arrays of another length than n.
    """
    _check(p)
    if n < 1:
        raise ValueError(f"n is {n}: the network must have at least 1 neuron.")
    drawn = np.random.default_rng(seed).uniform(-np.pi, np.pi, (n, 2))
    sigma = np.arange(n) % (p - 1) + 1 if frequencies is None else np.asarray(frequencies)
    phi = drawn if phases is None else np.asarray(phases, float)
    if len(sigma) != n or len(phi) != n:
        shapes = f"frequencies has shape {sigma.shape} and phases {phi.shape}"
        raise ValueError(f"{shapes}: they must be [n] and [n, 2] with n = {n}.")
    angle = 2 * np.pi * (sigma[:, None] * np.arange(p) % p) / p
    first, second = phi[:, :1], phi[:, 1:]
    return SquaredNet(np.cos(angle + first), np.cos(angle + second), np.cos(angle + first + second))


def max_margin_network(p: int) -> SquaredNet:
    """The 4(p − 1) neurons with the largest normalised margin there is (Morwani et al. 2023).

    There are 8 neurons for each frequency ω: cos ω(a+b−c) is a sum of four products of three cosines or sines, and each
    product is 4uvw = (u + v)²w − (u − v)²w. All frequencies together make f_c = 2p·[c = a + b] − 2.

    Args:
        p: The modulus, odd.

    Raises:
        ValueError: For even p, and p < 3.
    """
    if p % 2 == 0:
        raise ValueError(f"p is {p}: the network of the largest margin is known for odd p.")
    k = np.arange(1, (p - 1) // 2 + 1)
    quarter = np.pi / 2
    phases = np.array(
        [(0, 0), (-quarter, -quarter), (-quarter, 0), (0, -quarter)]
    )  # cos cos, sin sin, sin cos, cos sin
    phases = np.concatenate([phases, phases + np.array([0, np.pi])])
    return gromov(p, 8 * len(k), frequencies=np.repeat(k, 8), phases=np.tile(phases, (len(k), 1)))


def max_margin(p: int) -> float:
    """γ* = √(2/27) / (√p (p − 1)): the largest normalised margin (Morwani et al. 2023). p = 71: 4.6143e-4."""
    _check(p)
    return float(np.sqrt(2 / 27) / (np.sqrt(p) * (p - 1)))


@shaped
def logits(u: Real[ArrayLike, "N p"], v: Real[ArrayLike, "N p"], w: Real[ArrayLike, "N p"]) -> Float[Array, "p p p"]:
    """f_c(a, b) = Σ_i (u_i[a] + v_i[b])² w_i[c].

    Args:
        u: Weights of the first operand, [N, p].
        v: Weights of the second operand, [N, p].
        w: Weights to the classes, [N, p].

    Returns:
        Logits [p, p, p].
    """
    u, v, w = floating(u), floating(v), floating(w)
    hidden = (u.T[:, None] + v.T[None]) ** 2  # [a, b, N]
    return jnp.matmul(hidden, w, precision="highest")


@shaped
def accuracy(cube: Real[ArrayLike, "p p p"]) -> Float[Array, ""]:
    """Share of the pairs whose largest logit is that of a + b mod p.

    Args:
        cube: Logits of all pairs.
    """
    cube = floating(cube)
    return right(cube, _sums(len(cube))).mean()


@shaped
def normalised_margin(
    u: Real[ArrayLike, "N p"], v: Real[ArrayLike, "N p"], w: Real[ArrayLike, "N p"]
) -> Float[Array, ""]:
    """min over (a, b) and c ≠ a + b of f_{a+b} − f_c, over Σ_i (‖u_i‖² + ‖v_i‖² + ‖w_i‖²)^{3/2} (Morwani et al. 2023).

    It is free of the scale of the weights, since f is cubic in them.

    Args:
        u: Weights of the first operand, [N, p].
        v: Weights of the second operand, [N, p].
        w: Weights to the classes, [N, p].

    Returns:
        A scalar; below 0 where some pair is wrong.
    """
    u, v, w = scaled(jnp.stack([floating(u), floating(v), floating(w)]))[0]
    cube = logits(u, v, w)
    answer = jnp.arange(len(cube)) == _sums(len(cube))[..., None]
    margin = jnp.where(answer, cube, 0).sum(-1) - jnp.where(answer, -jnp.inf, cube).max(-1)
    return margin.min() / jnp.sum(jnp.sum(u**2 + v**2 + w**2, axis=1) ** 1.5)


@shaped
def ipr(x: Real[ArrayLike, "N p"], r: int = 2) -> Float[Array, " N"]:
    """Inverse participation ratio of each row in Fourier space: Σ_k (|F_k|/‖F‖)^{2r} (Gromov 2023).

    F is the half spectrum k = 0 … p//2 (rfft), as in the code of Doshi et al. 2023. A cosine of the circle of p has 1,
    white noise about 4/p for r = 2 (0.041 at p = 97).

    Args:
        x: The rows, [N, p].
        r: The exponent, at least 1.

    Returns:
        [N]; nan for a row of zeros.

    Raises:
        ValueError: For r < 1.
    """
    if r < 1:
        raise ValueError(f"r is {r}: it must be at least 1.")
    power = jnp.abs(jnp.fft.rfft(scaled(floating(x), 1)[0], axis=1)) ** 2
    return jnp.sum((power / power.sum(axis=1, keepdims=True)) ** r, axis=1)


@shaped
def purity(u: Real[ArrayLike, "N p"], v: Real[ArrayLike, "N p"], w: Real[ArrayLike, "N p"]) -> Float[Array, " N"]:
    """How near each neuron is to a wave: the mean of `ipr` of its three rows, as in the code of Doshi et al. 2023.

    Args:
        u: Weights of the first operand, [N, p].
        v: Weights of the second operand, [N, p].
        w: Weights to the classes, [N, p].

    Returns:
        [N], 1 for a pure wave; nan where a row is all zeros.
    """
    return (ipr(u) + ipr(v) + ipr(w)) / 3


@shaped
def waves(u: Real[ArrayLike, "N p"], v: Real[ArrayLike, "N p"], w: Real[ArrayLike, "N p"]) -> Waves:
    """The frequency of each neuron, how pure it is, and how far its phases are from θ_u + θ_v = θ_w.

    Phases are those of x = cos(2πka/p + θ_x). At the largest margin share is 1, phase 0, and every frequency is used
    (Morwani et al. 2023).

    Args:
        u: Weights of the first operand, [N, p].
        v: Weights of the second operand, [N, p].
        w: Weights to the classes, [N, p].
    """
    rows, own = scaled(jnp.stack([floating(u), floating(v), floating(w)]), -1)
    spectra = jnp.fft.rfft(rows, axis=-1)[..., 1:]  # [3, N, k]
    power = jnp.abs(spectra) ** 2
    k = jnp.argmax((power * (own / own.max(axis=0)) ** 2).sum(axis=0), axis=-1)
    share = ratio(jnp.take_along_axis(power, k[None, :, None], axis=-1)[..., 0], power.sum(axis=-1)).min(axis=0)
    at = jnp.take_along_axis(spectra, k[None, :, None], axis=-1)[..., 0]
    return Waves(jnp.where(jnp.isnan(share), 0, k + 1), share, jnp.angle(at[0] * at[1] * jnp.conj(at[2])))


def _check(p: int) -> None:
    if p < 3:
        raise ValueError(f"p is {p}: the modulus must be at least 3.")


def _sums(p: int) -> np.ndarray:
    return np.add.outer(np.arange(p), np.arange(p)) % p


def neuron_rows(params: Params, run: Run) -> SquaredNet:
    """u, v and w of a `ModularMLP` for addition mod p, whatever its activation."""
    p = run.config.task.p  # type: ignore[attr-defined]
    if "W_E" in params:
        pair = jnp.broadcast_to(params["W_E"], (2, *params["W_E"].shape[-2:]))[:, :p]
        u, v = jnp.matmul(pair, params["W_in"], precision="highest")
    else:
        u, v = params["W_in"][:, :p]
    return SquaredNet(u.T, v.T, params["W_U"][:, :p])


def size(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of `ModularMLP`: its weights.

    Returns:
        A dict of scalars: `norm`, that of all weights; `neurons`, the number over which their squares are spread
        (`norms.effective_rows`).
    """
    rows = jnp.concatenate(neuron_rows(params, run), axis=1)
    return {"norm": norms.weight_norms(params)["total"], "neurons": norms.effective_rows(rows)}


def structure(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of `ModularMLP`: its neurons as waves, and its margin.

    Returns:
        A dict.

        - `ipr` [N]: `purity`.
        - `frequency`, `share`, `phase` [N]: as of `waves`.
        - `margin` []: the normalised margin; nan unless the activation is quadratic.
        - `margin_share` []: the margin over its largest possible value.
    """
    u, v, w = neuron_rows(params, run)
    squared = run.config.net.activation == "quadratic"  # type: ignore[attr-defined]
    margin = normalised_margin(u, v, w) if squared else jnp.full((), jnp.nan, u.dtype)
    return {
        "ipr": purity(u, v, w),
        **waves(u, v, w)._asdict(),
        "margin": margin,
        "margin_share": margin / max_margin(u.shape[1]),
    }
