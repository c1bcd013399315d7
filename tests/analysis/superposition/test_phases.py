"""What becomes of an extra feature, judged on diagrams made from theory itself."""

import numpy as np
import pytest

from toylab.analysis import phases, population, theory

WEIGHTS, DENSITIES = np.geomspace(0.1, 10, 6), np.geomspace(0.02, 0.9, 5)


def by_theory(n):
    return theory.phase_winners(WEIGHTS[:, None], DENSITIES, n)[0].argmax(axis=2)[..., None]


def test_classes_of_features():
    """Not represented, however mixed; sharing; alone; unknown."""
    found = phases.classes([0.2, 0.2, 1.0, 1.0, np.nan, 1.0], [0.0, 2.0, 0.9, 0.1, 0.1, np.nan])
    assert found.tolist() == [0, 0, 1, 2, -1, -1]


@pytest.mark.parametrize("n", [2, 3])
def test_theory_agrees_with_itself_and_wrong_cells_are_counted(n):
    right = by_theory(n)
    found = np.concatenate([right, (right + 1) % 3, np.full_like(right, -1)], axis=2)
    np.testing.assert_allclose(phases.agreement(found, WEIGHTS, DENSITIES, n), [1, 0, 0])
    np.testing.assert_allclose(phases.agreement(found, WEIGHTS, DENSITIES, n, high=0.5, near=0.1), [1, 0, 0])
    assert np.isnan(phases.agreement(found, WEIGHTS, DENSITIES, n, low=100)).all()


def test_the_triple_point_lies_between_ignored_and_dedicated():
    found = np.array([[0, 0, 2], [0, 1, 2], [1, 1, 2], [2, 1, 2]])
    np.testing.assert_allclose(phases.triple_importance(found, [0.1, 0.5, 1, 2]), [1, np.nan, np.nan])


@pytest.mark.parametrize("n", [2, 3])
def test_curves_of_theory_meet_at_the_triple_point(n):
    (weights, density), (ones, across) = theory.phase_curves(n)
    assert density.max() == pytest.approx(4 / 7) and weights[np.isclose(density, 4 / 7)].min() == pytest.approx(1)
    assert (ones == 1).all() and across.max() == 1 and across.min() == pytest.approx(4 / 7 if n == 2 else 0.01)


def test_two_digons_have_the_expected_loss_of_their_weights():
    """Summed over patterns of what is on, for W of two antipodal pairs and a feature left out at its mean."""
    W = np.array([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    for p, q in ((0.05, 0.02), (0.3, 0.6)):
        density = np.array([q, p, p, p, p])
        loss = population.population_loss(W, np.array([q / 2, 0, 0, 0, 0]), density)
        assert float(loss) == pytest.approx(float(theory.two_digons_loss(p, q)), abs=2e-4)
    with pytest.raises(ValueError, match="densities are up to"):
        theory.two_digons_loss(0.5, 2.0)


def test_a_pair_gives_way_where_another_minimum_is_lower():
    norms = np.array([[[1.0, 1.0]] * 4, [[1.0, 0.1]] * 4])
    losses = np.array([[1.0, 2, 4, 6], [2.0, 3, 3, 3]])
    np.testing.assert_allclose(population.pair_boundary([0.1, 0.2, 0.8, 0.9], losses, norms), [0.4])
    np.testing.assert_allclose(population.pair_boundary([0.1, 0.2, 0.8, 0.9], losses[::-1], norms), [np.nan])
