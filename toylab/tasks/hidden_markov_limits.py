"""Exact limits of hidden Markov models: beliefs, optimal predictions, entropies of the next symbol, bounds of the rate.

`T [symbols, from, to]` as in hmm.py. Entropies, in nats, are computed in float64 by following every distinct belief that
the process can reach, with its probability, one symbol after the other; beliefs that agree are merged, so that a process
with finitely many is followed to any depth, and one like Mess3 costs symbols^depth.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab.shapes.indices import check_range, nan_outside

SAME = 1e-11  # beliefs that differ by less are one


def transition_tensor(T: Any, name: str = "T") -> np.ndarray:
    """A transition tensor as float64, with rows that sum to 1 exactly.

    Args:
        T: [symbols, from, to].
        name: For the message.

    Raises:
        ValueError: For what is none.
    """
    T = np.asarray(T, np.float64)
    if T.ndim != 3 or T.shape[1] != T.shape[2] or not T.size:
        raise ValueError(f"{name} has shape {T.shape}: it must be [symbols, states from, states to].")
    if not np.all(T >= 0):
        raise ValueError(f"{name} has an entry of {T.min()!s}: probabilities must be at least 0.")
    rows = T.sum(axis=(0, 2))
    if np.any(wrong := ~(np.abs(rows - 1) < 1e-5)):
        state = int(wrong.argmax())
        raise ValueError(
            f"{name} has a row of state {state} that sums to {rows[state]:.6g} over symbols and states to: it must be 1."
        )
    T = T / rows[:, None]
    if np.linalg.matrix_rank(T.sum(axis=0) - np.eye(len(rows)), tol=1e-9) < len(rows) - 1:
        raise ValueError(f"{name} has several sets of states that are never left: the stationary law must be unique.")
    return T


def stationary(T: Any) -> Any:
    """The law π over states with π Σ_x T[x] = π.

    Args:
        T: Numpy, then in float64; or jax, then in its dtype and traceable.

    Returns:
        [states].
    """
    T, xp = _arrays(T)
    system = T.sum(axis=0).T - xp.eye(T.shape[1], dtype=T.dtype)
    system = xp.concatenate([system[:-1], xp.ones_like(system[:1])])  # one equation is redundant: Σπ = 1 in its place
    return xp.linalg.solve(system, xp.eye(T.shape[1], dtype=T.dtype)[-1])


def belief_states(T: Any, tokens: Any) -> Any:
    """The posterior over hidden states after 0, 1, …, P symbols.

    Entry 0 is the stationary law. Entry t is η_t = η_{t−1} T[x_t] / Σ(η_{t−1} T[x_t]) (Shai et al. 2024), that over the
    state which the t-th symbol leads to. From the first symbol on that is impossible, beliefs are all 0.

    Args:
        T: [symbols, from, to].
        tokens: Symbols, int [N, P]. With a jax T or tokens it is traceable and in T's dtype, else numpy in float64.

    Returns:
        [N, P + 1, states].

    Raises:
        ValueError: For what is no symbol; under jit nan.
    """
    T, xp, tokens = _with_symbols(T, tokens)
    beliefs = [xp.broadcast_to(stationary(T), (len(tokens), T.shape[1]))]
    for symbols in tokens.T:
        joint = xp.einsum("ni,nij->nj", beliefs[-1], T[symbols])
        total = joint.sum(axis=1, keepdims=True)
        beliefs.append(xp.where(total > 0, joint / xp.where(total > 0, total, 1), 0))
    return nan_outside(xp.stack(beliefs, axis=1), tokens, len(T), over=1)


def next_symbol(T: Any, beliefs: Any) -> Any:
    """The law of the next symbol, which is the optimal prediction.

    Args:
        T: [symbols, from, to].
        beliefs: [..., states].

    Returns:
        [..., symbols].
    """
    T, xp = _arrays(jnp.asarray(T) if isinstance(beliefs, Array) else T)
    return xp.einsum("...i,xi->...x", beliefs, T.sum(axis=2))


def probability(T: Any, tokens: Any) -> Any:
    """How probable sequences are from the stationary start.

    Args:
        T: [symbols, from, to].
        tokens: [N, P]; numpy or jax as in `belief_states`.

    Returns:
        [N].
    """
    T, xp, tokens = _with_symbols(T, tokens)
    law = xp.broadcast_to(stationary(T), (len(tokens), T.shape[1]))
    for symbols in tokens.T:
        law = xp.einsum("ni,nij->nj", law, T[symbols])
    return nan_outside(law.sum(axis=1), tokens, len(T), over=1)


def _with_symbols(T: Any, tokens: Any) -> tuple[Any, Any, Any]:
    """`_arrays`, and tokens as an array of T's symbols."""
    T, xp = _arrays(jnp.asarray(T) if isinstance(tokens, Array) else T)
    tokens = tokens if isinstance(tokens, Array) else np.asarray(tokens)
    check_range("tokens", tokens, len(T), "T", "symbols")
    return T, xp, tokens


def _arrays(T: Any) -> tuple[Any, Any]:
    """T and the library to compute with: jax for a jax array, else numpy in float64."""
    return (T, jnp) if isinstance(T, jax.Array) else (transition_tensor(T), np)


def reachable(T: Any, depth: int, first: np.ndarray | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The distinct beliefs after t symbols and their probabilities, for t = 0, …, depth.

    Args:
        T: [symbols, from, to].
        depth: The last t.
        first: The belief to start from; by default the stationary law.

    Yields:
        Beliefs [n, states] and probabilities [n].
    """
    T = transition_tensor(T)
    beliefs = (stationary(T) if first is None else np.asarray(first, float))[None]
    weights = np.ones(1)
    for t in range(depth + 1):
        yield beliefs, weights
        if t < depth:
            joint = np.einsum("ni,xij->nxj", beliefs, T).reshape(-1, T.shape[1])
            share = joint.sum(axis=1)
            weights = np.repeat(weights, len(T)) * share
            possible = share > 1e-15
            beliefs, weights = _merged(joint[possible] / share[possible, None], weights[possible])


def _merged(beliefs: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, first, which = np.unique(_cells(beliefs), axis=0, return_index=True, return_inverse=True)
    return beliefs[first], np.bincount(which.reshape(-1), weights)


def _cells(beliefs: np.ndarray) -> np.ndarray:
    """int64 [n, states]: equal for beliefs that are the same; cells are shifted so that no fraction lies on their edge."""
    return np.round(beliefs / SAME + 0.1234).astype(np.int64)


def distinct_beliefs(T: Any, depth: int) -> np.ndarray:
    """The distinct beliefs after 0 to depth symbols, the prior first; all there are if depth suffices.

    Args:
        T: [symbols, from, to].
        depth: The most symbols.

    Returns:
        [n, states].
    """
    every = np.concatenate([beliefs for beliefs, _ in reachable(T, depth)])
    return every[np.sort(np.unique(_cells(every), axis=0, return_index=True)[1])]


def myopic_entropies(T: Any, n: int, first: np.ndarray | None = None) -> np.ndarray:
    """H(X_t | X_1 … X_{t−1}) for t = 1 … n: the least loss of a prediction that knows t − 1 symbols.

    These are the myopic entropy rates of Riechers & Crutchfield 2018.

    Args:
        T: [symbols, from, to].
        n: The last t.
        first: The belief to start from; by default the stationary law.

    Returns:
        [n] in nats.
    """
    if n < 1:
        raise ValueError(f"n is {n}: it must be at least 1, the number of predictions.")
    T = transition_tensor(T)
    return np.array([weights @ _entropy(next_symbol(T, at)) for at, weights in reachable(T, n - 1, first)])


def mean_limit(T: Any, n_ctx: int) -> float:
    """The least mean loss over predictions that know 1, …, n_ctx symbols, in nats.

    Args:
        T: [symbols, from, to].
        n_ctx: The most symbols.
    """
    return float(myopic_entropies(T, n_ctx + 1)[1:].mean())


def entropy_rate_bounds(T: Any, n: int) -> tuple[float, float]:
    """H(X_n | X_1 … X_{n−1}, S_0) ≤ rate ≤ H(X_n | X_1 … X_{n−1}), with S_0 the state before the first symbol.

    The left is the rate itself where symbols and states determine the next state (Cover & Thomas 2006, on functions of
    Markov chains).

    Args:
        T: [symbols, from, to].
        n: The number of symbols.

    Returns:
        Both bounds in nats.
    """
    T = transition_tensor(T)
    known = [myopic_entropies(T, n, first)[-1] for first in np.eye(T.shape[1])]
    return float(stationary(T) @ known), float(myopic_entropies(T, n)[-1])


def unigram_loss(T: Any) -> float:
    """The loss of the best prediction that knows no symbol: the entropy of the stationary law of symbols, in nats."""
    T = transition_tensor(T)
    return float(_entropy(next_symbol(T, stationary(T))))


def bigram_loss(T: Any) -> float:
    """The loss of the best prediction from the last symbol alone: `H(X_1 X_2) − H(X_1)` in nats."""
    T = transition_tensor(T)
    pairs = np.einsum("i,xij,yjk->xy", stationary(T), T, T)
    return float(_entropy(pairs.reshape(-1)) - _entropy(pairs.sum(axis=1)))


def _entropy(p: np.ndarray) -> np.ndarray:
    """−Σ p ln p over the last axis, with 0 ln 0 = 0."""
    return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1)
