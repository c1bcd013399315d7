"""What is found in trajectories, on hand-made ones, and the state of polygons."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.superposition import formation, theory

STEPS = np.array([0, 1, 2, 4, 8, 16])


def test_a_jump_is_quick_large_and_of_a_represented_feature():
    D = np.full((1, 6, 3), 0.5)
    D[0, 4:, 0] = 1.0  # between steps 4 and 8
    D[0, 4:, 1] = 0.6  # too small
    D[0, 4:, 2] = 1.0  # of a feature that is not represented
    norms = np.ones((1, 6, 3)) * [1, 1, 0.1]
    assert np.argwhere(formation.jumps(STEPS, D, norms)).tolist() == [[0, 3, 0]]
    assert not formation.jumps(STEPS, D, norms, since=5).any()


def test_falls_are_counted_once_each():
    """The loss falls like step^−2 twice, with a rest between; a slow decay is no fall."""
    fast, slow = np.array([9, 8, 2, 2, 0.5, 0.5]), np.array([9, 8, 6, 5, 4, 3.0])
    np.testing.assert_array_equal(formation.falls(STEPS, np.stack([fast, slow])), [2, 0])


def test_a_plateau_is_flat_and_of_one_state():
    loss = np.array([[1, 0.5, 0.5, 0.5, 0.2, 0.2], [0.5] * 6])
    state = np.array([[0, 1, 1, 1, 1, 1], [2, 2, 2, -1, 2, 2]])
    found = formation.plateaus(STEPS, loss, state)
    assert np.argwhere(np.isfinite(found)).tolist() == [[0, 1], [0, 2], [0, 4], [1, 1], [1, 4]]
    np.testing.assert_array_equal(found[0, [1, 2, 4]], [0.5, 0.5, 0.2])


@pytest.mark.parametrize(("k", "plus"), [(3, 0), (4, 2), (5, 1), (6, 0)])
def test_a_polygon_is_known_by_its_state_and_its_level(k, plus):
    W, b = theory.kgon_weights(6, k, plus)
    found = formation.polygon({"W": jnp.float32(W), "b": jnp.float32(b)}, None)
    assert (int(found["k"]), int(found["plus"])) == (k, plus)
    assert float(found["loss"]) == pytest.approx(formation.polygon_level(6, k, plus), rel=1e-5)
    off = float(found["bend"])
    assert abs(off) < 1e-5 if k > 3 else off <= 0  # three features lie further apart than a right angle
    turned = jax.random.normal(jax.random.key(0), (6, 2))
    assert (
        float(formation.polygon({"W": turned / jnp.linalg.norm(turned, axis=1, keepdims=True), "b": b}, None)["bend"])
        > 0.2
    )


def test_states_are_regular_polygons_and_their_losses_are_exact():
    state = formation.polygon_states([4, 5, 6], [2, 0, 0], [0.0, 0.1, 0.3])
    assert state.tolist() == [42, 50, -1]
    losses = np.array([formation.polygon_level(6, 4, 2), 1.1 * formation.polygon_level(6, 5), 1.0])
    np.testing.assert_allclose(formation.off_polygon(losses, state, 6), [0, 0.1, np.nan], atol=1e-6)


def test_a_quantity_rises_from_the_first_state_of_rest_to_the_last():
    """Runs: from state 4 to 5 by way of a stretch without rest; in one state throughout; never at rest."""
    state = np.array([[4, 4, 7, 5, 5], [4, 4, 4, 4, 4], [4, 4, 5, 5, 5]])
    resting = np.array([[1, 1, 0, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], bool)
    values = np.array([[1.0, 3, 9, 6, 8]] * 3)
    np.testing.assert_allclose(formation.rise(state, resting, values), [5, np.nan, np.nan])
    assert formation.n_visited(state, resting).tolist() == [2, 1, 0]


def test_the_share_of_features_at_a_dimensionality():
    D = np.array([[0.5, 0.51, 0.6, 0.5], [0.5, 0.5, 0.5, 0.5], [np.nan, 0.5, 0.5, 0.5]])
    norms = np.array([[1, 1, 1, 0.1], [0.1, 0.1, 0.1, 0.1], [1, 1, 1, 1]])
    np.testing.assert_allclose(formation.share_at(0.5, D, norms), [2 / 3, 0, np.nan])
