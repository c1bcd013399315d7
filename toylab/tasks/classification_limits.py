"""Exact accuracies in in-context classification: of guesses from labels alone, of the nearest class."""

import jax
import numpy as np


def labels_alone(labels: np.ndarray, n_pairs: int, n_labels: int) -> float:
    """Exact accuracy of the best guess at the label of a known item from the labels of other items of its task.

    Tasks and classes are equally likely, and no class has the same label in two tasks. The labels ℓ_1 … ℓ_N have the
    probability Π_n c_τ(ℓ_n)/K in task τ, where c_τ counts its classes with that label. So the best guess at the task is
    right with probability Σ_{ℓ_1…ℓ_N} max_τ Π_n c_τ(ℓ_n) / (T K^N). It is what Minegishi et al.'s second phase can
    reach, whose circuit attends to labels alone (SCC). The L^N products take few values, which are counted instead of
    listed.

    Args:
        labels: The label of each class in each task, int [T, K].
        n_pairs: N.
        n_labels: L.
    """
    n_tasks, n_classes = labels.shape
    counts = np.stack([np.bincount(row, minlength=n_labels) for row in labels], axis=1).astype(float)  # [L, T]
    kinds, times = np.unique(counts, axis=0, return_counts=True)
    products: np.ndarray = np.ones((1, n_tasks))
    ways: np.ndarray = np.ones(1)
    for _ in range(n_pairs):
        longer = (products[:, None] * kinds).reshape(-1, n_tasks)
        weight = (ways[:, None] * times).ravel()
        keep = longer.any(axis=1)
        products, index = np.unique(longer[keep], axis=0, return_inverse=True)
        ways = np.bincount(index.ravel(), weight[keep])
    return float((ways * products.max(axis=1)).sum() / (n_tasks * float(n_classes) ** n_pairs))


def confusion(noise: float, dim: int) -> float:
    """Probability that an item lies nearer to the mean of another class than to that of its own: exact.

    With Δ the difference of the means, it does where ε η·Δ > |Δ|²/2. η·Δ/|Δ| has variance 1/D and |Δ|² D/2 is χ² with D
    degrees of freedom, so this is the tail of Student's t with D = dim degrees beyond √(D/2)/ε. The nearest mean is Bayes'
    guess at a class, right with probability at least 1 − (K − 1)·confusion.

    Args:
        noise: ε.
        dim: D.
    """
    if noise == 0:
        return 0.0
    t_squared = dim / (2 * noise**2)
    return float(jax.scipy.special.betainc(dim / 2, 0.5, dim / (dim + t_squared)) / 2)
