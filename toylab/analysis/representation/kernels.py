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
    function: Callable[[Any, Array], Array], params: Any, x: Real[ArrayLike, "B ..."], *, batch_size: int = 16
) -> Float[Array, "B B"]:
    """The empirical neural tangent kernel K_ij = Σ_c ⟨∂f_c(x_i), ∂f_c(x_j)⟩ over all parameters (Jacot et al. 2018, arXiv
    1806.07572).

    It is the trace over outputs, not divided by C. All Jacobians are held, B·C·(number of parameters) numbers.

    Args:
        function: f(params, x) → outputs [B] or [B, C].
        params: The point.
        x: Examples, [B, …].
        batch_size: How many examples are differentiated at a time.

    Returns:
        [B, B].
    """
    x = jnp.asarray(x)

    def rows(one: Array) -> Array:
        jacobian = jax.jacrev(lambda p: function(p, one[None])[0].reshape(-1))(params)  # leaves [C, …]
        return jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(jacobian)], axis=1)

    gradients = jax.lax.map(rows, x, batch_size=batch_size)  # [B, C, P]
    flat = gradients.reshape(len(x), -1)
    return jnp.matmul(flat, flat.T, precision="highest")


@shaped
def kernel_movement(K: Real[ArrayLike, "n n"], K0: Real[ArrayLike, "n n"]) -> Float[Array, ""]:
    """‖K − K0‖ / ‖K0‖, Frobenius: 0 in the lazy limit (Kumar et al. 2023).

    Args:
        K: The kernel.
        K0: The kernel at the start.
    """
    K0, power = scaled(floating(K0))
    return jnp.linalg.norm(floating(K) / power - K0) / jnp.linalg.norm(K0)
