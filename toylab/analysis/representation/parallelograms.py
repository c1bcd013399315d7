"""Representations of numbers that make addition follow: parallelograms and what they predict (Liu et al. 2022, Towards
Understanding Grokking: an effective theory, arXiv 2205.10343; code: ejmichaud/grokking-squared, MIT).

The task is i + j for i ≤ j < p, without a modulus. Where E_i + E_j = E_m + E_n for i + j = m + n, what a decoder says of
one pair it says of the other.
"""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Integer, Real

from toylab.analysis.numbers import centred, floating, nan_where, scaled
from toylab.shapes import shaped

THRESHOLD = 0.01  # of the squared gap, in units of the representation's variance
RANK = 1e-8  # eigenvalues below it are 0 in the authors' code


class Pairs(NamedTuple):
    """All p(p + 1)/2 pairs, and the parallelograms of two pairs with one sum."""

    pairs: Integer[np.ndarray, "P 2"]  # i ≤ j, row by row
    joined: Integer[np.ndarray, "Q 2"]  # numbers of two pairs
    equations: Integer[np.ndarray, "Q p"]  # E_i + E_j − E_m − E_n as a row


@lru_cache(maxsize=32)
def pairs(p: int) -> Pairs:
    if p < 3:
        raise ValueError(f"p is {p}: parallelograms need at least 3 numbers.")
    rows = np.stack(np.triu_indices(p), axis=1)
    sums = rows.sum(axis=1)
    first, second = np.nonzero(np.triu(sums[:, None] == sums, 1))
    unit = np.eye(p, dtype=int)
    totals = unit[rows].sum(axis=1)
    return Pairs(rows, np.stack([first, second], axis=1), totals[first] - totals[second])


@shaped
def z_scored(E: Real[ArrayLike, " p *d"]) -> Float[Array, "p d"]:
    """Each dimension with mean 0 and variance 1, with p − 1 in the denominator (torch.std; numpy's default would move RQI).

    Args:
        E: [p] or [p, d].

    Returns:
        [p, d]; nan for a dimension that is constant but for rounding.
    """
    E, _ = scaled(_by_dimension(E), 0)
    deviation = centred(E, 0)
    return nan_where(jnp.abs(deviation).max(axis=0) == 0, deviation / E.std(axis=0, ddof=1))


@shaped
def gaps(E: Real[ArrayLike, " p *d"]) -> Float[Array, " Q"]:
    """Of each parallelogram of `pairs(p)`, the mean over dimensions of (E_i + E_j − E_m − E_n)², E z-scored.

    Args:
        E: [p] or [p, d].

    Returns:
        [Q].
    """
    E = z_scored(E)
    equations = jnp.asarray(pairs(len(E)).equations, E.dtype)
    return jnp.mean(jnp.matmul(equations, E, precision="highest") ** 2, axis=1)


@shaped
def rqi(E: Real[ArrayLike, " p *d"], threshold: float = THRESHOLD) -> Float[Array, ""]:
    """Representation quality index: the share of the parallelograms i + n = j + m with i < j ≤ m < n whose gap is small.

    Those with j = m stand for pairs (j, j). The gap is a mean over dimensions, as in the authors' code; with the one
    dimension of the paper's toy it is the squared norm.

    Args:
        E: [p] or [p, d].
        threshold: The largest gap.

    Returns:
        A scalar: 1 for numbers on a line at equal distances, nan where a dimension is constant.
    """
    gap = gaps(E)  # two different pairs of one sum are always such a parallelogram: one lies within the other
    return jnp.where(jnp.isnan(gap).any(), jnp.nan, (gap < threshold).mean(dtype=gap.dtype))


@shaped
def predicted_accuracy(
    E: Real[ArrayLike, " p *d"], train: Bool[ArrayLike, " p*(p+1)//2"], threshold: float = THRESHOLD
) -> Float[Array, ""]:
    """The share of all pairs that are trained on, or joined to such a pair by a learned parallelogram.

    Args:
        E: [p] or [p, d].
        train: Mask of the training pairs.
        threshold: As of `rqi`.

    Returns:
        A scalar; nan where `rqi` is.
    """
    gap = gaps(E)
    reached = _reached(gap < threshold, jnp.asarray(train), len(floating(E)))
    return jnp.where(jnp.isnan(gap).any(), jnp.nan, reached.mean(dtype=gap.dtype))


@shaped
def ideal_accuracy(p: int, train: Bool[ArrayLike, " p*(p+1)//2"]) -> float:
    """The share of all pairs right by every parallelogram that follows from those within the training set.

    A parallelogram follows where its equation is a linear combination of theirs. On the host, float64.

    Args:
        p: The number of numbers.
        train: Mask of the training pairs.
    """
    every = pairs(p)
    given = _trained(every, train, p)
    equations = every.equations.astype(float)
    values, vectors = np.linalg.eigh(equations[given].T @ equations[given])
    free = vectors[:, values < RANK]  # directions in which the representation may still move
    follows = (np.abs(equations @ free) < 1e-6).all(axis=1)
    return float(np.asarray(_reached(jnp.asarray(follows), jnp.asarray(train), p)).mean())


@shaped
def degrees_of_freedom(p: int, train: Bool[ArrayLike, " p*(p+1)//2"]) -> int:
    """Dimensions in which E [p] may move with all training parallelograms kept: 2, shift and scale, if addition follows.

    Args:
        p: The number of numbers.
        train: Mask of the training pairs.
    """
    every = pairs(p)
    return p - int(np.linalg.matrix_rank(every.equations[_trained(every, train, p)].astype(float), tol=RANK**0.5))


@shaped
def parallelogram_eigenvalues(p: int, train: Bool[ArrayLike, " p*(p+1)//2"]) -> Float[Array, " p"]:
    """Eigenvalues of AᵀA, ascending, with a row of A for each parallelogram of two training pairs.

    The first two are 0: shift and scale of E. The third is the rate at which the effective dynamics come to equal
    distances, 2λ₃/Z0; where it is 0 as well, the training set does not determine the representation. May be traced.

    Args:
        p: The number of numbers.
        train: Mask of the training pairs.

    Returns:
        [p], with a rounding error of some 1e-6 of the last.
    """
    every = pairs(p)
    given = jnp.asarray(train)
    _check_mask(every, given, p)
    rows = jnp.where(given[every.joined].all(axis=1)[:, None], jnp.asarray(every.equations, float), 0)
    return jnp.linalg.eigvalsh(jnp.matmul(rows.T, rows, precision="highest"))


@shaped
def effective_loss(
    E: Real[ArrayLike, " p *d"], train: Bool[ArrayLike, " p*(p+1)//2"] | None = None
) -> Float[Array, ""]:
    """ℓ_eff = ℓ0/Z0, with ℓ0 = Σ |E_i + E_j − E_m − E_n|² over parallelograms and Z0 = Σ|E|² (Liu et al. 2022).

    Args:
        E: As it is, [p] or [p, d].
        train: Mask of the training pairs, whose parallelograms alone count; by default all.
    """
    E, _ = scaled(_by_dimension(E))
    every = pairs(len(E))
    some = every.equations if train is None else every.equations[_trained(every, train, len(E))]
    return jnp.sum(jnp.matmul(jnp.asarray(some, E.dtype), E, precision="highest") ** 2) / jnp.sum(E**2)


@shaped
def effective_dynamics(
    E: Real[ArrayLike, " p"], steps: int, lr: float = 1e-3, train: Bool[ArrayLike, " p*(p+1)//2"] | None = None
) -> Float[Array, "steps+1 p"]:
    """The gradient flow of `effective_loss`: dE = 2ℓ0/Z0²·E − 2/Z0·AᵀAE.

    The authors start from z-scored E and keep Z0 at its first value. Here it is that of the current E, which the flow
    conserves.

    Args:
        E: The start, [p].
        steps: How many.
        lr: Of each step.
        train: As of `effective_loss`.

    Returns:
        [steps + 1, p].
    """
    E = floating(E)
    slope = jax.grad(lambda x: effective_loss(x, train))

    def step(E: Array, _: None) -> tuple[Array, Array]:
        E = E - lr * slope(E)
        return E, E

    return jnp.concatenate([E[None], jax.lax.scan(step, E, None, length=steps)[1]])


def _by_dimension(E: ArrayLike) -> Array:
    """[p, d] also of numbers [p]."""
    E = floating(E)
    if E.ndim > 2 or len(E) < 3:
        raise ValueError(f"E has shape {E.shape}: it must be [p] or [p, d] with p of 3 at least.")
    return E[:, None] if E.ndim == 1 else E


def _trained(every: Pairs, train: ArrayLike, p: int) -> np.ndarray:
    """bool [Q]: parallelograms of two training pairs."""
    given = np.asarray(train)
    _check_mask(every, given, p)
    return np.asarray(given[every.joined].all(axis=1))


def _check_mask(every: Pairs, given: Array | np.ndarray, p: int) -> None:
    if len(given) != len(every.pairs):  # of p alone: where there is E, its length has been compared already
        wanted = f"booleans [{len(every.pairs)}], the pairs i ≤ j < {p}"
        raise ValueError(f"train has shape {given.shape}, it must be {wanted}.")


def _reached(learned: Array, train: Array, p: int) -> Array:
    """bool [P]: training pairs, and those joined to one by a learned parallelogram."""
    every = pairs(p)
    first, second = every.joined.T
    zero = jnp.zeros(len(every.pairs), int)
    joined = zero.at[first].add(learned & train[second]).at[second].add(learned & train[first])
    return train | (joined > 0)
