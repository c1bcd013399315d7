import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import exact, padded, polygon, rotation, simplex, solid, together_orthogonal
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from toylab.analysis.superposition import geometry
from toylab.analysis.superposition.geometry import (
    NOTEBOOK,
    arrangement,
    capacity,
    dimensionality,
    dims_per_feature,
    feature_norms,
    features,
    gram,
    gram_matrix,
    net_interference,
    polysemanticity,
    sample_dimensionality,
    superposition,
)

MEASURES = {
    "norms": feature_norms,
    "dimensionality": dimensionality,
    "capacity": capacity,
    "superposition": superposition,
    "polysemanticity": polysemanticity,
    "net_interference": lambda W: net_interference(W, 0.3),
    "dims_per_feature": dims_per_feature,
    "gram": gram,
}
every = jax.jit(lambda W: {name: fn(W) for name, fn in MEASURES.items()})


def measured(W: np.ndarray, dtype: type) -> dict[str, np.ndarray]:
    """Every measure of W, with zero rows and columns around it that must change none and be 0 themselves."""
    n, m = W.shape
    found = exact(every, padded(W, 40, 10).astype(dtype))
    assert not any(found[name][n:].any() for name in set(MEASURES) - {"dims_per_feature"})
    inside = {name: value[:n] for name, value in found.items() if value.ndim == 1}
    return inside | {"gram": found["gram"][:n, :n], "dims_per_feature": found["dims_per_feature"] * (m / 10)}


NAMED = {  # W and D of each feature, from theory: m/n for what is regular, the parts' for a sum
    "hexagon": (polygon(6), [1 / 3] * 6),
    "heptagon": (polygon(7), [2 / 7] * 7),
    "5-simplex": (simplex(5), [5 / 6] * 6),
    "cube": (solid("cube"), [3 / 8] * 8),
    "icosahedron": (solid("icosahedron"), [1 / 4] * 12),
    "dodecahedron": (solid("dodecahedron"), [3 / 20] * 20),
    "square antiprism": (solid("square antiprism"), [3 / 8] * 8),
    "pentagonal bipyramid": (together_orthogonal(polygon(5), simplex(1)), [2 / 5] * 5 + [1 / 2] * 2),
    "three parts": (together_orthogonal(np.eye(1), simplex(3), simplex(2)), [1.0] + [3 / 4] * 4 + [2 / 3] * 3),
}
WEIGHTS = arrays(np.float64, (4, 3), elements=st.floats(-2, 2).map(lambda w: w if abs(w) > 1e-6 else 0.0))


@pytest.mark.parametrize("name", NAMED)
def test_named_polytopes(name):
    W, D = NAMED[name]
    for scale in (1.0, 0.37):
        found = measured(scale * W, np.float64)
        np.testing.assert_allclose(found["dimensionality"], D, atol=1e-10)
        np.testing.assert_allclose(found["capacity"], D, atol=1e-10)
        # Σ_j (Ŵ_i·W_j)² is the own square and the others' interference
        np.testing.assert_allclose(found["superposition"], scale**2 * (1 / np.array(D) - 1), atol=1e-10)
    np.testing.assert_allclose(measured(W, np.float32)["dimensionality"], D, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(WEIGHTS)
def test_capacity_is_dimensionality_and_both_are_shares(W):
    D, C = exact(dimensionality, W), exact(capacity, W)
    np.testing.assert_allclose(C, D, atol=1e-12)
    assert (D >= 0).all() and (D <= 1 + 1e-12).all() and D.sum() <= np.linalg.matrix_rank(W) + 1e-9
    zero = ~W.any(axis=1)
    assert (D[zero] == 0).all() and (exact(superposition, W)[zero] == 0).all()


@settings(max_examples=20, deadline=None)
@given(WEIGHTS, st.integers(0, 1000), st.sampled_from([1e-30, 1e-4, 3.0, 1e15]))
def test_dimensionality_knows_no_rotation_and_no_common_scale(W, seed, scale):
    turned = W @ rotation(3, np.random.default_rng(seed))
    np.testing.assert_allclose(exact(dimensionality, turned), exact(dimensionality, W), atol=1e-10)
    np.testing.assert_allclose(exact(superposition, turned), exact(superposition, W), atol=1e-10)
    scaled = (scale * W).astype(np.float32)  # 1e-30 squared is no float32
    np.testing.assert_allclose(dimensionality(scaled), exact(dimensionality, W), atol=1e-5)
    np.testing.assert_allclose(capacity(scaled), exact(dimensionality, W), atol=1e-5)


@pytest.mark.parametrize("name", MEASURES)
def test_batch_axes_jit_and_dtype(name):
    fn = MEASURES[name]
    W = np.random.default_rng(0).normal(size=(2, 3, 5, 4))
    W[0, 1, 2] = 0
    batch = exact(fn, W)
    assert batch.dtype == np.float64 and fn(W.astype(np.float32)).dtype == jnp.float32
    assert np.isfinite(batch).all()
    for i, j in np.ndindex(2, 3):
        np.testing.assert_allclose(batch[i, j], exact(fn, W[i, j]), atol=1e-12)
    np.testing.assert_allclose(exact(jax.jit(fn), jnp.asarray(W, jnp.float32)), fn(W), atol=1e-6)


def test_nothing_is_nan_where_nothing_is_learned():
    for name, fn in MEASURES.items():
        if name != "dims_per_feature":
            assert not np.asarray(fn(np.zeros((3, 2)))).any(), name
    assert np.isinf(dims_per_feature(np.zeros((3, 2))))
    assert dims_per_feature(np.eye(3)[:, :2]) == 1


def test_interference_is_weighted_by_the_density_of_the_others():
    W = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 2.0]])
    found = exact(net_interference, W, np.array([0.5, 0.1, 0.01]), epsilon=0.0)
    np.testing.assert_allclose(found, [0.36 * 0.1, 0.36 * 0.5 + 1.6**2 * 0.01, 0.64 * 0.1], atol=1e-12)
    np.testing.assert_allclose(exact(net_interference, W, 1.0, epsilon=0.0), exact(superposition, W), atol=1e-12)
    batch = exact(net_interference, np.stack([W, W]), np.array([[0.5], [0.25]]))
    np.testing.assert_allclose(batch[0], 2 * batch[1], atol=1e-12)


def test_the_notebooks_epsilon_darkens_small_rows_only():
    W = np.array([[1.0, 0.0], [1e-5, 0.0]])
    np.testing.assert_allclose(exact(superposition, W), [1e-10, 1], atol=1e-15)
    np.testing.assert_allclose(exact(superposition, W, epsilon=NOTEBOOK), [1e-10, 1 / 4], atol=1e-12)
    np.testing.assert_allclose(exact(polysemanticity, W), [1e-5, 1 / 2], atol=1e-9)


def test_samples_are_measured_as_features_are():
    h = np.random.default_rng(1).normal(size=(2, 7, 3))
    np.testing.assert_allclose(sample_dimensionality(h), dimensionality(h), atol=1e-6)
    np.testing.assert_allclose(sample_dimensionality(3 * polygon(5)), 2 / 5, atol=1e-6)


def test_analyzers_name_their_measures():
    params = {"W": jnp.asarray(polygon(5), jnp.float32), "b": jnp.zeros(5)}
    found = features(params, None)
    assert set(found) == {"norms", "polysemanticity", "dimensionality", "dims_per_feature"}
    np.testing.assert_allclose(found["dimensionality"], 0.4, atol=1e-6)
    of_each = geometry.dimensionalities(params, None)
    np.testing.assert_array_equal(of_each["W"], params["W"])
    np.testing.assert_allclose(of_each["dimensionality"], 0.4, atol=1e-6)
    assert set(arrangement(params, None)) == {"W", "b"} and set(arrangement({"W": params["W"]}, None)) == {"W"}
    np.testing.assert_allclose(gram_matrix(params, None)["WWt"], polygon(5) @ polygon(5).T, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(MEASURES) - {"norms"}))
@pytest.mark.parametrize(("W", "match"), [
    (np.array([[1.0, np.nan]]), "W holds nan"),
    (np.ones(3), r"W has shape \(3,\)"),
    (np.ones((0, 3)), r"W has shape \(0, 3\)"),
])  # fmt: skip
def test_bad_weights(name, W, match):
    with pytest.raises(ValueError, match=match):
        MEASURES[name](W)


@pytest.mark.parametrize(("call", "match"), [
    (lambda: net_interference(np.eye(2), 0.0), "density runs from 0.0"),
    (lambda: net_interference(np.eye(2), np.array([0.5, 1.5])), "density runs from 0.5 to 1.5"),
    (lambda: net_interference(np.eye(2), np.full(3, 0.5)), r"density has shape \(3,\)"),
    (lambda: net_interference(np.eye(2), np.full((2, 2), 0.5)), r"density has shape \(2, 2\)"),
])  # fmt: skip
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()


IN_EXPECTED = {
    "norms": "norms",
    "dimensionality": "D",
    "capacity": "D",
    "superposition": "superposition_offdiag",
    "dims_per_feature": "dstar",
}


def cosines(G: np.ndarray) -> np.ndarray:
    """Of W Wᵀ; zero rows are orthogonal to all."""
    norms = np.sqrt(np.diag(G))
    return G / np.where(norms > 0, norms, 1) / np.where(norms > 0, norms, 1)[:, None]


def gram_facts(G: np.ndarray, m: int) -> dict[str, np.ndarray | bool]:
    """What expected.json derives from W Wᵀ."""
    off_diagonal = cosines(G)[~np.eye(len(G), dtype=bool)]
    eigenvalues = np.pad(np.linalg.eigvalsh(G)[::-1], (0, m))[:m]
    return {
        "tight": bool(np.isclose((cosines(G) ** 2).sum(), len(G) ** 2 / m)),  # the least that it can be
        "fro2": np.trace(G),
        "gram_eigs": eigenvalues,
        "welch_max_coherence": np.abs(off_diagonal).max(),
        "frame_potential": (cosines(G) ** 2).sum(),
    }


def cosine_counts(G: np.ndarray) -> dict[float, int]:
    values, counts = np.unique(cosines(G)[np.triu_indices(len(G), 1)].round(6) + 0.0, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def test_reference_polytopes(reference):
    folder = reference / "superposition" / "exact"
    expected, weights = json.loads((folder / "expected.json").read_text()), dict(np.load(folder / "W.npz"))
    assert len(weights) == 28
    for name, W in weights.items():
        theirs, ours, single = expected[name], measured(W, np.float64), measured(W, np.float32)
        for measure, key in IN_EXPECTED.items():
            np.testing.assert_allclose(ours[measure], theirs[key], atol=1e-10, rtol=1e-10, err_msg=f"{name} {key}")
            np.testing.assert_allclose(single[measure], theirs[key], atol=1e-5, rtol=1e-5, err_msg=f"{name} {key}")
        if "expected_D" in theirs:
            np.testing.assert_allclose(ours["dimensionality"], theirs["expected_D"], atol=1e-10)
        of_gram = gram_facts(ours["gram"], W.shape[1])
        for key, value in of_gram.items():
            np.testing.assert_allclose(value, theirs[key], atol=1e-10, rtol=1e-10, err_msg=f"{name} {key}")
        assert cosine_counts(ours["gram"]) == {float(k): v for k, v in theirs["cos_multiset"].items()}, name
        np.testing.assert_allclose(ours["dimensionality"].sum(), theirs["sum_D"], atol=1e-10)


def test_reference_models(reference):
    """superposition with the notebook's epsilon, which these files have and the exact polytopes do not."""
    folder = reference / "superposition" / "trained"
    cases = sorted(folder.glob("*.metrics.npz"))
    assert len(cases) >= 5
    for path in cases:
        theirs, model = np.load(path), np.load(folder / path.name.replace(".metrics", ""))
        ours = as_released(model["W"], model["feature_probability"][:, None])
        for key, value in ours.items():
            np.testing.assert_allclose(value, theirs[f"{key}_f64"], atol=1e-5, err_msg=f"{path.name} {key}")


@jax.jit
def as_released(W: jax.Array, density: jax.Array) -> dict[str, jax.Array]:
    return {
        "norms": feature_norms(W),
        "dimensionality": dimensionality(W),
        "capacity": capacity(W),
        "superposition": superposition(W, epsilon=NOTEBOOK),
        "polysemanticity": polysemanticity(W),
        "net_interference": net_interference(W, density),
        "dstar": dims_per_feature(W),
        "WtW": gram(W),
    }
