"""How alike two representations are, and how far a network's kernel moves: linear CKA, the neural tangent kernel."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from toylab.analysis.numbers import centred as of_columns
from toylab.analysis.numbers import floating, scaled, varying
from toylab.shapes import shaped


@shaped
def alignment(K: Real[ArrayLike, "n n"], L: Real[ArrayLike, "n n"], *, centred: bool = True) -> Float[Array, ""]:
    """⟨K, L⟩ / (‖K‖ ‖L‖) of two kernels, Frobenius (CKA, Cortes et al. 2012; Kornblith et al. 2019, arXiv 1905.00414).

    With L = yyᵀ it is the alignment with labels y by which Kumar et al. 2023 (arXiv 2310.06110) tell lazy from rich.

    Args:
        K: [n, n].
        L: [n, n].
        centred: Whether each is centred by 1 − 1/n on both sides.

    Returns:
        A scalar: 1 for equal kernels up to scale, nan where one is 0 (centred, of features that do not vary).
    """
    K, L = floating(K), floating(L)
    if centred:
        K, L = (varying(x, x - x.mean(0) - x.mean(1)[:, None] + x.mean(), None) for x in (K, L))
    K, L = scaled(K)[0], scaled(L)[0]
    return jnp.sum(K * L) / (jnp.linalg.norm(K) * jnp.linalg.norm(L))


@shaped
def linear_cka(x: Real[ArrayLike, "n d"], y: Real[ArrayLike, "n e"]) -> Float[Array, ""]:
    """‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖), Frobenius, with columns centred (Kornblith et al. 2019, biased form).

    It is `alignment(XXᵀ, YYᵀ)` without n² numbers, and the same for any rotation, scale or shift of either.

    Args:
        x: Features, [n, d].
        y: Features, [n, e].

    Returns:
        A scalar in [0, 1]; nan where features do not vary.
    """
    x, y = (scaled(of_columns(floating(value), 0))[0] for value in (x, y))
    cross, own, other = (jnp.matmul(a.T, b, precision="highest") for a, b in ((y, x), (x, x), (y, y)))
    return jnp.sum(cross**2) / (jnp.linalg.norm(own) * jnp.linalg.norm(other))


@shaped
def ntk(
    function: Callable[[Any, Array], Array],
    params: Any,
    x: Real[ArrayLike, "B ..."],
    other: Real[ArrayLike, "n ..."] | None = None,
    *,
    batch_size: int = 16,
) -> Float[Array, "B n"]:
    """The empirical neural tangent kernel K_ij = Σ_c ⟨∂f_c(x_i), ∂f_c(x′_j)⟩ over all parameters (Jacot et al. 2018, arXiv
    1806.07572).

    It is the trace over outputs, not divided by C. All Jacobians are held, B·C·(number of parameters) numbers.

    Args:
        function: f(params, x) → outputs [B] or [B, C].
        params: The point.
        x: Examples, [B, …].
        other: The examples x′ of the columns, [n, …]; x itself if None.
        batch_size: How many examples are differentiated at a time.

    Returns:
        [B, n].
    """

    def rows(one: Array) -> Array:
        jacobian = jax.jacrev(lambda p: function(p, one[None])[0].reshape(-1))(params)  # leaves [C, …]
        return jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(jacobian)], axis=1)

    def gradients(x: ArrayLike) -> Array:
        of_each = jax.lax.map(rows, jnp.asarray(x), batch_size=batch_size)  # [B, C, P]
        return of_each.reshape(len(of_each), -1)

    left = gradients(x)
    return jnp.matmul(left, (left if other is None else gradients(other)).T, precision="highest")


@shaped
def kernel_movement(K: Real[ArrayLike, "n n"], K0: Real[ArrayLike, "n n"]) -> Float[Array, ""]:
    """‖K − K0‖ / ‖K0‖, Frobenius: 0 in the lazy limit (Kumar et al. 2023).

    Args:
        K: The kernel.
        K0: The kernel at the start.
    """
    K0, power = scaled(floating(K0))
    return jnp.linalg.norm(floating(K) / power - K0) / jnp.linalg.norm(K0)


@shaped
def kernel_descent(
    K: Real[ArrayLike, "n n"],
    K_test: Real[ArrayLike, "m n"],
    missing: Real[ArrayLike, " n"],
    missing_test: Real[ArrayLike, " m"],
    rate: Real[ArrayLike, ""],
    steps: Real[ArrayLike, " T"],
) -> tuple[Float[Array, " T"], Float[Array, " T"]]:
    """Train and test loss of a network whose tangent kernel stays as it is: the lazy limit, in closed form.

    Gradient descent on the mean squared error of a model that is linear in its weights takes what is missing, the target
    less the output at the start, down as `r(t) = (1 − 2·rate/n · K)^t r(0)`; the test set follows with the coefficients
    `K⁻¹ (r(0) − r(t))`. At t = ∞ it is kernel regression (Jacot et al. 2018, arXiv 1806.07572; Lee et al. 2019, arXiv
    1902.06720).

    Args:
        K: The kernel of the training examples, as `ntk`, [n, n].
        K_test: The kernel of test and training examples, [m, n].
        missing: Target less output at the start, of the training examples, [n].
        missing_test: That of the test examples, [m].
        rate: The learning rate of descent on the mean squared error.
        steps: Whole numbers of steps from 0 on, or inf for the end of training, [T].

    Returns:
        Mean squares of what is missing then, of the training and of the test examples, [T] each. Directions whose
        eigenvalue is within rounding of 0 are never learned. Above a rate of n / λ_max descent diverges, and so do they.
    """
    K, steps = floating(K), floating(steps)
    values, vectors = jnp.linalg.eigh(K)
    seen = values > len(K) * jnp.finfo(K.dtype).eps * values[-1]
    values = jnp.where(seen, values, 1)
    speed = 2 * jnp.asarray(rate) / len(K) * values
    stays = jnp.where(speed < 0.5, jnp.log1p(-jnp.minimum(speed, 0.5)), jnp.log(jnp.abs(1 - speed)))  # log |1 − speed|
    odd = (speed > 1) & (jnp.mod(steps, 2) == 1)[:, None]
    grown = jnp.where(steps[:, None] == 0, 0 * speed, steps[:, None] * stays)
    learned = jnp.where(odd, 1 + jnp.exp(grown), -jnp.expm1(grown))  # [T, n]: 1 − (1 − speed)^t
    coefficients = jnp.where(seen, learned * (vectors.T @ jnp.asarray(missing)), 0) / values
    weights = jnp.matmul(coefficients, vectors.T, precision="highest")  # [T, n]

    def loss(kernel: ArrayLike, start: ArrayLike) -> Array:
        found = jnp.matmul(weights, floating(kernel).T, precision="highest")
        return jnp.mean((jnp.asarray(start) - found) ** 2, axis=1)

    return loss(K, missing), loss(K_test, missing_test)


@shaped
def kernel_regression(
    K: Real[ArrayLike, "n n"], K_test: Real[ArrayLike, "m n"], targets: Real[ArrayLike, "n C"]
) -> Float[Array, "m C"]:
    """K_test K⁺ Y, the predictions of least squares of least norm with a kernel: where gradient descent ends if the kernel
    stays as it is, from outputs of 0 (Jacot et al. 2018, arXiv 1806.07572).

    From other outputs, give what is missing as targets and add the outputs of the test examples.

    Args:
        K: The kernel of the training examples, as `ntk`, [n, n].
        K_test: The kernel of test and training examples, [m, n].
        targets: Y of the training examples, [n, C].

    Returns:
        [m, C]. Directions whose eigenvalue is within rounding of 0, √n ε λ_max, are left out.
    """
    K, power = scaled(floating(K))
    values, vectors = jnp.linalg.eigh(K)
    seen = values > len(K) ** 0.5 * jnp.finfo(K.dtype).eps * values[-1]
    along = jnp.matmul(vectors.T, floating(targets), precision="highest")
    found = jnp.where(seen[:, None], along / jnp.where(seen, values, 1)[:, None], 0 * along)
    return jnp.matmul(jnp.matmul(floating(K_test) / power, vectors, precision="highest"), found, precision="highest")
