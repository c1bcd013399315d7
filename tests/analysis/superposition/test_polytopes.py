import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import padded, polygon, rotation, simplex, solid, together_orthogonal
from hypothesis import given, settings
from hypothesis import strategies as st

from toylab.analysis.superposition import polytopes
from toylab.analysis.superposition.geometry import SHAPES, describe, polytope, shapes

SOLIDS = {
    "cube": solid("cube"),
    "icosahedron": solid("icosahedron"),
    "dodecahedron": solid("dodecahedron"),
    "square antiprism": solid("square antiprism"),
}
BLOCKS = {  # those that are one block: the name of the shape, the words for the whole
    "digon": (simplex(1), "digon"),
    "triangle": (simplex(2), "triangle"),
    "tetrahedron": (simplex(3), "tetrahedron"),
    "4-simplex": (simplex(4), "simplex"),
    "6-simplex": (simplex(6), "simplex"),
    "pentagon": (polygon(5), "pentagon"),
    "hexagon": (polygon(6), "hexagon"),
    "heptagon": (polygon(7), "heptagon"),
    "octagon": (polygon(8), "octagon"),
    "9-gon": (polygon(9), "polygon"),
    "17-gon": (polygon(17), "polygon"),
    "3 copies": (np.tile([[0.6, 0.8]], (3, 1)), "copies"),
    **{name: (W, name) for name, W in SOLIDS.items()},
}
SUMS = {
    "3 dedicated": np.eye(3),
    "square": polygon(4),
    "octahedron": together_orthogonal(*[simplex(1)] * 3),
    "triangular bipyramid": together_orthogonal(simplex(2), simplex(1)),
    "pentagonal bipyramid": together_orthogonal(simplex(1), polygon(5)),
    "hexagonal bipyramid": together_orthogonal(polygon(6), simplex(1)),
    "4 digons": together_orthogonal(*[simplex(1)] * 4),
    "3 digons + triangle": together_orthogonal(simplex(1), simplex(2), simplex(1), simplex(1)),
    "2 dedicated + 2 tetrahedra": together_orthogonal(simplex(3), np.eye(2), simplex(3)),
    "2 5-simplices": together_orthogonal(simplex(5), simplex(5)),
    "2 × 3 copies": together_orthogonal(np.ones((3, 1)), np.ones((3, 1))),
    "2 unknown of 2": together_orthogonal(polygon(8)[:2], polygon(8)[:2]),
}
EVERY = {words: W for words, (W, _) in BLOCKS.items()} | SUMS


@pytest.mark.parametrize("atol", [1e-5, 0.1])
@pytest.mark.parametrize("words", BLOCKS)
def test_a_connected_shape_is_one_block_with_its_name(words, atol):
    W, name = BLOCKS[words]
    found = {key: value[: len(W)] for key, value in polytope(padded(W, 21, 10), atol).items()}
    assert {SHAPES[i] for i in found["shape"]} == {name}
    assert set(found["size"].tolist()) == {len(W)} and set(found["block"].tolist()) == {0}


@pytest.mark.parametrize("atol", [1e-5, 0.1])
@pytest.mark.parametrize("words", EVERY)
def test_the_whole_is_named_by_its_factors(words, atol):
    assert describe(padded(EVERY[words], 21, 10), atol) == f"{words}, {21 - len(EVERY[words])} absent"


def test_nothing_and_no_absent_feature():
    assert describe(np.zeros((2, 3))) == "2 absent"
    assert describe(polygon(4)) == "square"


def test_blocks_are_numbered_by_their_first_feature_and_absent_ones_stand_apart():
    W = together_orthogonal(simplex(1), np.zeros((1, 1)), simplex(2), np.eye(1))[[0, 3, 6, 1, 2, 4, 5]]
    found = {name: value.tolist() for name, value in polytope(W, 0.1).items()}
    assert found["block"] == [0, 1, 2, 0, -1, 1, 1]
    assert found["size"] == [2, 3, 1, 2, 0, 3, 3]
    names = ["digon", "triangle", "dedicated", "digon", "absent", "triangle", "triangle"]
    assert [SHAPES[i] for i in found["shape"]] == names


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(EVERY)), st.integers(0, 1000), st.sampled_from([1e-30, 1e-6, 0.3, 1.0, 1e5]))
def test_rotation_scale_order_and_small_noise_change_no_name(words, seed, scale):
    W, rng = padded(EVERY[words], 21, 10), np.random.default_rng(seed)
    noisy = W + 0.005 * rng.normal(size=W.shape)  # cosines move by a few hundredths
    moved = scale * rng.permutation(noisy @ rotation(10, rng))
    assert describe(moved) == f"{words}, {21 - len(EVERY[words])} absent"


def test_norms_may_differ_but_cosines_may_not():
    norms = np.array([1.0, 0.9, 0.8, 0.7, 0.6])[:, None]
    assert describe(norms * polygon(5), 1e-6) == "pentagon"
    bent = np.array([[1.0, 0.0], [np.cos(np.radians(170)), np.sin(np.radians(170))]])
    assert describe(bent) == "digon"
    assert describe(bent, 1e-3) == "unknown of 2"
    assert describe(solid("square antiprism", z2=0.2)) == "unknown of 8"


def test_no_two_shapes_of_one_size_are_within_twice_the_tolerance_of_trained_weights():
    every = [W for W, _ in BLOCKS.values()] + [simplex(n - 1) for n in (8, 12, 20)] + [polygon(n) for n in (12, 20)]
    for a, b in itertools.combinations([np.sort(W @ W.T, axis=1)[0] for W in every if len(W) > 1], 2):
        assert len(a) != len(b) or np.abs(a - b).max() > 0.2 or np.array_equal(a.round(6), b.round(6))


def test_components_reach_along_a_chain():
    """Neighbours alone overlap: 40 features in a shuffled chain are one block, and two where it is cut."""
    n = 40
    chain = np.eye(n) + np.eye(n, k=1) * 0.5
    order = np.random.default_rng(0).permutation(n)
    assert set(polytope(chain[order], 0.1)["block"].tolist()) == {0}
    chain[19, 20] = 0
    side = np.asarray(polytope(chain[order], 0.1)["block"]) == np.asarray(polytope(chain[order], 0.1)["block"])[0]
    np.testing.assert_array_equal(side, (order < 20) == (order[0] < 20))


@pytest.mark.slow
def test_what_an_arrangement_consists_of():
    shape = [
        [SHAPES.index(name) for name in row] for row in (["digon"] * 4 + ["absent"], ["digon"] * 5, ["pentagon"] * 5)
    ]
    assert polytopes.consists_of(shape, {"digon": 4}).tolist() == [True, False, False]
    assert polytopes.consists_of(shape, {"pentagon": 5}).tolist() == [False, False, True]


def test_neighbours_of_a_polygon():
    angle = 2 * np.pi * np.array([0, 2, 4, 1, 3]) / 5 + 1
    W = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.array([[1], [2], [1], [1], [0.5]])
    np.testing.assert_allclose(polytopes.neighbours(W), np.cos(2 * np.pi / 5), atol=1e-6)
    np.testing.assert_allclose(polytopes.neighbours(np.eye(2)), 0, atol=1e-6)
    assert np.isnan(polytopes.neighbours(np.array([[1, np.nan], [0, 1]]))).all()


def test_a_batch_axis_jit_and_vmap_change_nothing():
    batch = np.stack([polygon(6), together_orthogonal(simplex(2), simplex(2))[:, [0, 2]], np.zeros((6, 2))])
    alone = [polytope(W, 0.1) for W in batch]
    found = (
        polytope(batch[None], 0.1),
        jax.jit(polytope)(batch[None], 0.1),
        jax.vmap(jax.vmap(lambda W: polytope(W, 0.1)))(jnp.asarray(batch[None])),
    )
    for way in found:
        for name in ("block", "shape", "size"):
            assert way[name].shape == (1, 3, 6) and jnp.issubdtype(way[name].dtype, jnp.integer)
            np.testing.assert_array_equal(way[name][0], np.stack([one[name] for one in alone]))


def test_the_analyzer_leaves_out_what_is_half_learned_and_nan_of_ended_runs():
    W = np.concatenate([polygon(4), 0.4 * polygon(8)[1:2]])
    assert describe(W) == "unknown of 5"
    found = shapes({"W": jnp.asarray(W)}, None)
    assert [SHAPES[i] for i in found["shape"]] == ["digon"] * 4 + ["absent"]
    ended = jax.jit(lambda W: shapes({"W": W}, None))(np.full((5, 2), np.nan))
    assert {SHAPES[i] for i in ended["shape"]} == {"absent"}


@pytest.mark.parametrize(("call", "match"), [
    (lambda: polytope(np.eye(2), 0.0), "atol is 0.0"),
    (lambda: polytope(np.eye(2), 0.1, min_norm=1.5), "min_norm is 1.5"),
    (lambda: polytope(np.ones(3), 0.1), r"W has shape \(3,\)"),
    (lambda: polytope(np.array([[np.nan]]), 0.1), "W holds nan"),
    (lambda: describe(np.zeros((2, 3, 4))), r"W has shape \(2, 3, 4\)"),
])  # fmt: skip
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_reference_polytopes(reference):
    weights = dict(np.load(reference / "superposition" / "exact" / "W.npz"))
    words = {
        "orthogonal_3": "3 dedicated", "square_two_digons": "square", "octahedron_three_digons": "octahedron",
        "square_antiprism_tight": "square antiprism", "k_parallel_3": "3 copies", "5_cell": "4-simplex",
        "triangular_bipyramid": "triangular bipyramid", "one_zero_feature": "square",
        "pentagon_unequal_norms": "pentagon", "square_antiprism_flat_z2_0.2": "unknown of 8",
        "digon_angle_170deg": "unknown of 2", "random_gauss_40x8": None,
    }  # fmt: skip
    for name, W in weights.items():
        plain = name.removesuffix("__rot_scaled")
        if expected := words.get(plain, plain):
            absent = 21 - W.any(axis=1).sum()
            assert describe(padded(W, 21, 10), 1e-5) == f"{expected}, {absent} absent", name


def test_trained_models(reference):
    """Shapes that their D and norms in the reference data imply."""
    folder = reference / "superposition"
    level6 = np.load(folder / "trained" / "geomfull_n200_m20_level6.npz")["W"][0]
    assert describe(level6) == "19 digons, 162 absent"
    dense = np.load(folder / "trained" / "feat_n20_m5.npz")["W"][0]
    assert describe(dense) == "5 dedicated, 15 absent"
    assert {describe(W) for W in np.load(folder / "phenomena" / "penta_S0.97.npz")["W"]} == {"pentagon"}
    assert describe(np.load(folder / "phenomena" / "dd_T5.npz")["h"]) == "pentagon"
    some = np.load(folder / "phenomena" / "penta_S0.9.npz")["W"]
    assert sum(describe(W, min_norm=0.5) == "pentagon" for W in some) == 16
    assert sum(describe(W, min_norm=0.5) == "square, 1 absent" for W in some) == 16
