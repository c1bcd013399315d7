import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from scipy.optimize import linear_sum_assignment

from toylab.analysis.attention import circuits
from toylab.analysis.eigenvalues import by_qr, eigenvalues

rng = np.random.default_rng(0)
GAUSS = rng.normal(size=(3, 6, 6))
ROTATION = [[0.0, -1.0], [1.0, 0.0]]
MATRICES = {
    "gauss": GAUSS,
    "symmetric": GAUSS + GAUSS.swapaxes(-1, -2),
    "rank one": GAUSS[:, :, :1] * GAUSS[:, :1],
    "triangular": np.triu(GAUSS),
    "permutation": np.eye(7)[None, np.roll(np.arange(7), 1)],  # all of modulus 1: an unshifted iteration stands still
    "rotations": np.kron(np.eye(3), ROTATION)[None],
    "two": GAUSS[:, :2, :2],
    "rank one of many": np.ones((1, 32, 32)) + 1e-9 * rng.normal(size=(32, 32)),
    "zero": np.zeros((1, 5, 5)),
    "identity": np.eye(5)[None],
    "number": GAUSS[:, :1, :1],
}


def distance(found, wanted):
    """The largest, of eigenvalues paired as they fit best."""
    apart = np.abs(np.asarray(found)[:, None] - wanted)
    return apart[linear_sum_assignment(apart)].max()


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("method", [by_qr, eigenvalues])
def test_against_float64(name, method):
    M = MATRICES[name]
    wanted = np.linalg.eigvals(M)
    found = jax.jit(method)(jnp.asarray(M, jnp.float32))
    size = max(np.abs(wanted).max(), 1)
    assert max(distance(*pair) for pair in zip(found, wanted, strict=True)) < 3e-5 * size


@pytest.mark.parametrize("c", [2.0**-100, 1e-25, 1e-14, 1e14, 1e25, 2.0**100])
def test_no_scale_is_too_small_or_too_large(c):
    """jax.numpy.linalg.eigvals of 1e-14·M is 40 times too large in float32 on CPU."""
    M = np.float32(GAUSS * c)
    wanted = np.linalg.eigvals(M.astype(float))
    for found, want in zip(np.asarray(eigenvalues(M), complex), wanted, strict=True):
        assert distance(found / c, want / c) < 1e-4


def test_what_is_not_finite_is_nan():
    M = np.float32(GAUSS)
    M[1, 0, 0], M[2, 3, 3] = np.nan, np.inf
    assert np.isnan(eigenvalues(M)).all(1).tolist() == [False, True, True]


def test_a_program_for_devices_without_lapack():
    heads = {name: jnp.ones((2, 1, 8, 4)) for name in ("W_Q", "W_K", "W_V")}
    params = heads | {"W_O": jnp.ones((2, 1, 4, 8)), "W_E": jnp.ones((6, 8)), "W_U": jnp.ones((8, 6))}
    for score in (circuits.copying_score, circuits.matching_score, circuits.ov_eigenvalues):
        for platform in ("tpu", "cuda"):
            assert export.export(jax.jit(score), platforms=[platform])(params).platforms == (platform,)
