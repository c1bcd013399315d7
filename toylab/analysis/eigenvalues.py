"""Eigenvalues of real matrices without symmetry, on every device and at every scale.

LAPACK's float32, which jax has on CPU, is off for entries below 1e-12 or above 1e12, and on TPU jax has no such
decomposition. So matrices are divided by a power of two, and elsewhere than on CPU the shifted QR algorithm runs here
(Golub and Van Loan, Matrix Computations, 7.4 to 7.5), in complex numbers and without a matrix
product, which a device may round.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Complex, Real

from toylab.analysis.numbers import floating, scaled
from toylab.shapes import shaped

MOST = 30  # QR steps for each eigenvalue, as in LAPACK; two or three are usual
STUCK = 10  # steps after which an unusual shift is taken, as in LAPACK


@shaped
def eigenvalues(M: Real[ArrayLike, "*batch d d"]) -> Complex[Array, "*batch d"]:
    """The eigenvalues of real matrices.

    Args:
        M: [..., d, d].

    Returns:
        Complex [..., d], in no order; nan for a matrix that is not finite, or where the iteration does not converge.
    """
    M, power = scaled(floating(M), (-2, -1))
    finite = jnp.isfinite(M).all((-2, -1), keepdims=True)
    values = jax.lax.platform_dependent(jnp.where(finite, M, 0), cpu=jnp.linalg.eigvals, default=by_qr)
    return jnp.where(finite[..., 0], values * power[..., 0], jnp.nan)


def by_qr(M: Array) -> Array:
    """The eigenvalues of finite [..., d, d], of entries about 1."""
    return jnp.vectorize(_by_qr, signature="(d,d)->(d)")(M.astype(jnp.result_type(M, jnp.complex64)))


def _by_qr(H: Array) -> Array:
    d = len(H)
    H = jax.lax.fori_loop(0, max(d - 2, 0), _reflected, H)  # upper Hessenberg
    at, rounding = jnp.arange(d), jnp.finfo(H.dtype).eps * jnp.max(jnp.abs(H), initial=0)

    def turn(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        """One step on the last block that has not fallen apart, or one eigenvalue less to find."""
        H, last, steps = state
        small = jnp.abs(jnp.diagonal(H, -1)) <= rounding
        cut = jnp.concatenate([jnp.ones(1, bool), small])  # row k does not hang on row k - 1
        first = jnp.max(jnp.where(cut & (at <= last), at, 0))
        found = first == last
        H = jax.lax.cond(found, lambda H: H, lambda H: _step(H, first, last, steps), H)
        return H, last - found, jnp.where(found, 0, steps + 1)

    start = (H, jnp.asarray(d - 1), jnp.asarray(0))
    H, last, _ = jax.lax.while_loop(lambda state: (state[1] > 0) & (state[2] < MOST), turn, start)
    return jnp.where(last > 0, jnp.nan, jnp.diagonal(H))


def _reflected(k: Array, H: Array) -> Array:
    """H after a Householder reflection, from both sides, that leaves of column k nothing below the subdiagonal."""
    at = jnp.arange(len(H))
    x = jnp.where(at > k, H[:, k], 0)
    length = jnp.linalg.norm(x)
    phase = jnp.where(x[k + 1] == 0, 1, x[k + 1] / jnp.where(x[k + 1] == 0, 1, jnp.abs(x[k + 1])))
    v = x + jnp.where(at == k + 1, phase * length, 0)
    v = v * jnp.sqrt(2) / jnp.where(length > 0, jnp.linalg.norm(v), 1)
    H = H - v[:, None] * jnp.sum(v.conj()[:, None] * H, axis=0)
    return H - jnp.sum(H * v, axis=1)[:, None] * v.conj()


def _step(H: Array, first: Array, last: Array, steps: Array) -> Array:
    """QR = H − μ in rows first … last, by rotations; then RQ + μ, which has the same eigenvalues."""
    a, b, c, d = H[last - 1, last - 1], H[last - 1, last], H[last, last - 1], H[last, last]
    half, root = (a - d) / 2, jnp.sqrt(((a - d) / 2) ** 2 + b * c)
    shift = d + half + jnp.where(jnp.abs(half + root) < jnp.abs(half - root), root, -root)  # the one nearer to d
    shift = jnp.where(steps % STUCK == STUCK - 1, d + jnp.abs(c), shift)
    eye = jnp.eye(len(H), dtype=H.dtype)

    def left(k: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        R, cosines, sines = state
        x, y = R[k, k], R[k + 1, k]
        length = jnp.sqrt(jnp.abs(x) ** 2 + jnp.abs(y) ** 2)
        cos = jnp.where(length > 0, x / jnp.where(length > 0, length, 1), 1)
        sin = jnp.where(length > 0, y / jnp.where(length > 0, length, 1), 0)
        upper, lower = R[k], R[k + 1]
        R = R.at[k].set(cos.conj() * upper + sin.conj() * lower).at[k + 1].set(cos * lower - sin * upper)
        return R, cosines.at[k].set(cos), sines.at[k].set(sin)

    def right(k: Array, R: Array) -> Array:
        before, after = R[:, k], R[:, k + 1]
        return (
            R.at[:, k]
            .set(cosines[k] * before + sines[k] * after)
            .at[:, k + 1]
            .set(cosines[k].conj() * after - sines[k].conj() * before)
        )

    none = jnp.zeros(len(H), H.dtype)
    R, cosines, sines = jax.lax.fori_loop(first, last, left, (H - shift * eye, none, none))
    return jax.lax.fori_loop(first, last, right, R) + shift * eye
