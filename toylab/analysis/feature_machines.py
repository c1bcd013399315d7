"""Recursive feature machines: kernel regression that learns its features without gradient descent (Mallinar et al. 2024,
arXiv 2407.20199, by its formulas). numpy in, numpy out, in float64 on the host."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Real

from toylab.shapes import shaped


class Machine(NamedTuple):
    """outputs [T, m, c], what each iteration says of the test examples; M [T, d, d], the metric that each leaves."""

    outputs: np.ndarray
    M: np.ndarray


@shaped
def recursive_features(
    x: Real[np.ndarray, "n d"],
    y: Real[np.ndarray, "n c"],
    x_test: Real[np.ndarray, "m d"],
    n_iterations: int = 10,
    bandwidth: float = 2.5,
    ridge: float = 0.0,
) -> Machine:
    """Alternates kernel regression and a new metric from the gradients of what it found.

    `K_M(x, z) = exp(−(x − z)ᵀ M (x − z) / (2 bandwidth²))`, `f(x) = Σ_i a_i K_M(x, x_i)` with `a = (K + ridge)⁻¹ y`, then
    `M ← (mean_j Σ_c g_c(x_j) g_c(x_j)ᵀ)^{1/2}` with the gradients g = ∇f less their mean over examples. M begins as 1.

    Args:
        x: Training examples, [n, d], all different.
        y: What they should give, as one-hot labels, [n, c].
        x_test: Test examples, [m, d].
        n_iterations: Regressions, at least 1.
        bandwidth: In units of x.
        ridge: Added to the kernel's diagonal.

    Returns:
        The `Machine`.

    Raises:
        ValueError: For fewer iterations than one, a bandwidth not above 0, a kernel that has no inverse.
    """
    if n_iterations < 1:
        raise ValueError(f"n_iterations is {n_iterations}: it must be at least 1.")
    if not bandwidth > 0:
        raise ValueError(f"bandwidth is {bandwidth}: it must be above 0.")
    x, y, x_test = (np.asarray(value, np.float64) for value in (x, y, x_test))
    M = np.eye(x.shape[1])
    said, metrics = [], []
    for _ in range(n_iterations):
        K = _kernel(x, x, M, bandwidth)
        a = np.linalg.solve(K + ridge * np.eye(len(x)), y)
        said.append(_kernel(x_test, x, M, bandwidth) @ a)
        terms = (K @ (a[:, :, None] * x[:, None]).reshape(len(x), -1)).reshape(*y.shape, -1)  # Σ_i a_i K x_i, [n, c, d]
        gradients = (terms - (K @ a)[:, :, None] * x[:, None]) @ M / bandwidth**2
        centred = (gradients - gradients.mean(axis=0)).reshape(-1, x.shape[1])
        values, vectors = np.linalg.eigh(centred.T @ centred / len(x))
        M = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
        metrics.append(M)
    return Machine(np.stack(said), np.stack(metrics))


def _kernel(x: np.ndarray, z: np.ndarray, M: np.ndarray, bandwidth: float) -> np.ndarray:
    """[n, m]"""
    of_x, of_z = np.einsum("nd,de,ne->n", x, M, x), np.einsum("md,de,me->m", z, M, z)
    squared = of_x[:, None] + of_z - 2 * x @ M @ z.T
    return np.exp(-np.maximum(squared, 0) / (2 * bandwidth**2))


@shaped
def circulant_share(block: Real[np.ndarray, "p p"], sign: int = -1) -> Float[np.ndarray, ""]:
    """The share of a matrix's variance that its means over i + sign·j mod p explain: 1 for a circulant one.

    With one-hot pairs (a, b) the block of M between a and b is circulant in a − b where the machine adds (Mallinar et al.
    2024), and its deviation from that is their measure of progress.

    Args:
        block: [p, p].
        sign: −1: constant where i − j is; 1: where i + j is.

    Returns:
        0 to 1; nan of a block that does not vary.
    """
    block = np.asarray(block, np.float64)
    index = np.arange(len(block))
    group = (index[:, None] + sign * index) % len(block)
    means = np.bincount(group.ravel(), block.ravel(), len(block)) / len(block)
    total = np.sum((block - block.mean()) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(1 - np.sum((block - means[group]) ** 2) / total)
