"""Recursive feature machines: kernel regression that learns its features without gradient descent (Mallinar et al. 2024,
arXiv 2407.20199, by its formulas), in float64 on the host, and what its metric has in common with a network's."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Real

from toylab.analysis.numbers import check_finite, floating, scaled, varying
from toylab.shapes import shaped


class Machine(NamedTuple):
    """outputs [T, m, c], what each iteration says of the test examples; fitted [T, n, c], of the training examples;
    M [T, d, d], the metric that each leaves."""

    outputs: np.ndarray
    fitted: np.ndarray
    M: np.ndarray


@shaped
def recursive_features(
    x: Real[np.ndarray, "n d"],
    y: Real[np.ndarray, "n c"],
    x_test: Real[np.ndarray, "m d"],
    n_iterations: int = 10,
    bandwidth: float = 2.5,
    ridge: float = 0.0,
    M: Real[np.ndarray, "d d"] | None = None,
) -> Machine:
    """Alternates kernel regression and a new metric from the gradients of what it found.

    `K_M(x, z) = exp(−(x − z)ᵀ M (x − z) / (2 bandwidth²))`, `f(x) = Σ_i a_i K_M(x, x_i)` with `a = (K + ridge)⁻¹ y`, then
    `M ← (mean_j Σ_c g_c(x_j) g_c(x_j)ᵀ)^{1/2}` with the gradients g = ∇f less their mean over examples. Entries of x that
    are 0 cost nothing: of one-hot vectors most of the time goes into the inverse.

    Args:
        x: Training examples, [n, d], all different.
        y: What they should give, as one-hot labels, [n, c].
        x_test: Test examples, [m, d].
        n_iterations: Regressions, at least 1.
        bandwidth: In units of x.
        ridge: Added to the kernel's diagonal.
        M: The first metric, [d, d], symmetric without negative eigenvalues, as `circulant_metric`; None for 1.

    Returns:
        The `Machine`.

    Raises:
        ValueError: For fewer iterations than one, a bandwidth not above 0, a metric that is not symmetric, a kernel that
            has no inverse.
    """
    if n_iterations < 1:
        raise ValueError(f"n_iterations is {n_iterations}: it must be at least 1.")
    if not bandwidth > 0:
        raise ValueError(f"bandwidth is {bandwidth}: it must be above 0.")
    x, y, x_test = (np.asarray(value, np.float64) for value in (x, y, x_test))
    metric = np.eye(x.shape[1]) if M is None else np.asarray(M, np.float64)
    if not np.allclose(metric, metric.T, rtol=1e-5, atol=1e-6 * np.abs(metric).max(), equal_nan=True):
        raise ValueError("M is not symmetric: it must be.")
    said, fitted, metrics = [], [], []
    for _ in range(n_iterations):
        K = _kernel(x, x, metric, bandwidth)
        a = np.linalg.solve(K + ridge * np.eye(len(x)), y)
        said.append(_kernel(x_test, x, metric, bandwidth) @ a)
        fitted.append(K @ a)
        metric = _root(_centred_products(x, K, a, metric / bandwidth**2))
        metrics.append(metric)
    return Machine(np.stack(said), np.stack(fitted), np.stack(metrics))


def _kernel(x: np.ndarray, z: np.ndarray, M: np.ndarray, bandwidth: float) -> np.ndarray:
    """[n, m]"""
    turned = z @ M
    of_x, of_z = np.sum(x @ M * x, axis=1), np.sum(turned * z, axis=1)
    squared = of_x[:, None] + of_z - 2 * x @ turned.T
    return np.exp(-np.maximum(squared, 0) / (2 * bandwidth**2))


def _centred_products(x: np.ndarray, K: np.ndarray, a: np.ndarray, M: np.ndarray) -> np.ndarray:
    """mean_j Σ_c g_c(x_j) g_c(x_j)ᵀ [d, d] of the centred gradients g_c(x_j) = M Σ_i a_ic K_ji (x_i − x_j)."""
    fitted = K @ a
    terms = np.empty((x.shape[1], *fitted.shape))  # [d, n, c]
    for term, column in zip(terms, x.T, strict=True):
        seen = np.flatnonzero(column)
        term[:] = K[:, seen] @ (a[seen] * column[seen, None]) - fitted * column[:, None]
    terms -= terms.mean(axis=1, keepdims=True)
    flat = terms.reshape(len(terms), -1)
    return M @ (flat @ flat.T) @ M / len(x)


class Errors(NamedTuple):
    """Of each iteration [T]: the share of examples that are right, the squared error, mean over classes, and that of the
    right class alone."""

    accuracy: np.ndarray
    loss: np.ndarray
    class_loss: np.ndarray


@shaped
def errors(outputs: Real[np.ndarray, "T m c"], y: Real[np.ndarray, "m c"]) -> Errors:
    """How far the outputs of a `Machine` are from one-hot labels.

    Args:
        outputs: [T, m, c].
        y: [m, c].

    Returns:
        The `Errors`; nan where an output or a label is.
    """
    outputs, y = np.asarray(outputs, np.float64), np.asarray(y, np.float64)
    squares = (outputs - y) ** 2
    right = np.where(np.isnan(squares).any(axis=-1), np.nan, outputs.argmax(axis=-1) == y.argmax(axis=-1))
    return Errors(right.mean(axis=1), squares.mean(axis=(1, 2)), (squares * y).sum(axis=2).mean(axis=1))


@shaped
def adding_machine(
    train: Integer[ArrayLike, " n"],
    test: Integer[ArrayLike, " m"],
    p: int,
    n_iterations: int = 10,
    bandwidth: float = 2.5,
    column: Real[ArrayLike, " p"] | None = None,
) -> dict[str, Float[Array, "..."]]:
    """`recursive_features` that adds mod p, from one-hot pairs, and its `errors`. It may stand in what is traced: the
    host computes it, in float64, by a callback.

    The callback is given less than 100 kB, which a host of one core copies at once; for more it would wait for ever.

    Args:
        train: Training pairs as a·p + b, [n], all different.
        test: Test pairs, [m].
        p: The modulus.
        n_iterations: Regressions, at least 1.
        bandwidth: Of the kernel.
        column: Of the first metric, a `circulant_metric`; None for 1.

    Returns:
        A dict of float32: `train_accuracy`, `train_loss`, `train_class_loss` [T] and the same of `test`; `M` [T, 2p, 2p].
    """

    def computed(train: Array, test: Array, *column: Array) -> dict[str, np.ndarray]:
        a, b = np.divmod(np.arange(p**2), p)
        x, y = np.concatenate([np.eye(p)[a], np.eye(p)[b]], axis=1), np.eye(p)[(a + b) % p]
        index = {"train": np.asarray(train), "test": np.asarray(test)}
        M = circulant_metric(np.asarray(column[0])) if column else None
        found = recursive_features(x[index["train"]], y[index["train"]], x[index["test"]], n_iterations, bandwidth, M=M)
        said = {"train": found.fitted, "test": found.outputs}
        sets = {of: errors(outputs, y[index[of]])._asdict() for of, outputs in said.items()}
        named = {f"{of}_{name}": value for of, own in sets.items() for name, value in own.items()} | {"M": found.M}
        return {name: np.asarray(value, np.float32) for name, value in named.items()}

    names = [f"{of}_{name}" for of in ("train", "test") for name in Errors._fields]
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(names, (n_iterations,)) | {"M": (n_iterations, 2 * p, 2 * p)}
    wanted = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    given = [jnp.asarray(each) for each in (train, test, column) if each is not None]
    return dict(jax.pure_callback(computed, wanted, *given, vmap_method="sequential"))


@shaped
def circulant_metric(column: Real[np.ndarray, " p"]) -> Float[np.ndarray, "d d"]:
    """A first metric with which pairs of one-hot vectors are added mod p at once (Mallinar et al. 2024, Observation 1).

    The root of the positive part of `[[A, C], [Cᵀ, A]]` with `A = 1 − 11ᵀ/p` and `C_ij = column_{i − j mod p}`, less the
    column's mean.

    Args:
        column: [p]; in the paper uniform draws from 0 to 1.

    Returns:
        [2p, 2p], symmetric.

    Raises:
        ValueError: For nan or inf.
    """
    column = np.asarray(column, np.float64)
    check_finite("column", column)
    p, index = len(column), np.arange(len(column))
    C = (column - column.mean())[(index[:, None] - index) % p]
    A = np.eye(p) - 1 / p
    return _root(np.block([[A, C], [C.T, A]]))


def _root(products: np.ndarray) -> np.ndarray:
    """The root of a symmetric matrix less what has negative eigenvalues."""
    values, vectors = np.linalg.eigh(products)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


@shaped
def quadratic_metric(
    W_in: Real[ArrayLike, "d h"], W_out: Real[ArrayLike, "h c"], x: Real[ArrayLike, "n d"]
) -> Float[Array, "d d"]:
    """The metric that gradients of a network `f(x) = (x W_in)² W_out` give, as those of a machine do, but not centred.

    `(mean_j Σ_c ∇f_c(x_j) ∇f_c(x_j)ᵀ)^{1/2} = (4 W_in [(W_out W_outᵀ) ∘ (mean_j h_j h_jᵀ)] W_inᵀ)^{1/2}` with h = x W_in,
    entrywise ∘. By the neural feature ansatz it is near a multiple of W_in W_inᵀ (Radhakrishnan et al. 2024).

    Args:
        W_in: [d, h].
        W_out: [h, c].
        x: Examples, [n, d].

    Returns:
        [d, d], symmetric.
    """
    W_in, W_out, x = floating(W_in), floating(W_out), floating(x)
    with jax.default_matmul_precision("highest"):
        h = x @ W_in
        values, vectors = jnp.linalg.eigh(W_in @ ((W_out @ W_out.T) * (4 / len(x) * h.T @ h)) @ W_in.T)
        return (vectors * jnp.sqrt(jnp.maximum(values, 0))) @ vectors.T


@shaped
def circulant_share(block: Real[ArrayLike, "p p"], sign: int = -1) -> Float[Array, ""]:
    """The share of a matrix's variance that its means over i + sign·j mod p explain: 1 for a circulant one.

    With one-hot pairs (a, b) the block of M between a and b is circulant in a − b where the machine adds (Mallinar et al.
    2024). Their measure of progress, the circulant deviation, is 1 less the share where the mean entry is 0, as it is of
    a machine's block, whose gradients are centred.

    Args:
        block: [p, p].
        sign: −1: constant where i − j is; 1: where i + j is.

    Returns:
        0 to 1; nan of a block that does not vary.
    """
    block = scaled(floating(block))[0]
    block = varying(block, block - block.mean(), None)
    index = jnp.arange(len(block))
    diagonals = block[index, sign * (index[:, None] - index) % len(block)]  # [k, i]: j with i + sign·j = k
    within = jnp.sum((diagonals - diagonals.mean(axis=1, keepdims=True)) ** 2)
    return 1 - within / jnp.sum(block**2)
