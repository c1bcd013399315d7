"""Quantities of measures through training, on measures whose answers are known by hand."""

import numpy as np
import pytest

from toylab.analysis import development

STEPS = np.array([0, 100, 200, 400, 800])
M = {
    "steps": STEPS,
    "valid": np.array([[True] * 5, [True] * 4 + [False]]),
    "in_context/score": np.array([[0.0, 0, -1, -4, -4], [0, -1, -2, -3, -4]]),
    "heads/previous_token": np.zeros((2, 5, 2, 2)),
    "heads/induction": np.zeros((2, 5, 2, 2)),
    "circuits/K_composition": np.zeros((2, 5, 2, 2)),
    "circuits/Q_composition": np.full((2, 5, 2, 2), 0.2),
    "circuits/V_composition": np.full((2, 5, 2, 2), 0.1),
    "ablation/zero": np.zeros((2, 5, 2, 2)),
    "path_ablation/q": np.full((2, 5, 2), 0.5),
    "path_ablation/k": np.full((2, 5, 2), 2.0),
    "path_ablation/v": np.full((2, 5, 2), 1.0),
    "final/eigenvalues/copying": np.array([[[-1.0, 0.2], [0.9, 0.5]]] * 2),
    "final/eigenvalues/matching": np.array([[[0.4, 0.3], [-1, -1]]] * 2),
    "final/eigenvalues/composed_matching": np.zeros((2, 2, 2, 2, 2)),
}
M["heads/previous_token"][0, -1, 0, 1] = M["heads/previous_token"][1, 3, 0, 0] = 1  # heads 1 and 0, at the last points
M["heads/induction"][:, :, 1, 0] = [0, 0, 0.5, 1, 1]
M["circuits/K_composition"][:, :, 1, 0] = 0.6
M["ablation/zero"][:, :, 0, 1] = 3
M["final/eigenvalues/composed_matching"][:, 1, 0, 0, 1] = 0.7  # the first head of layer 1, through head 1


def test_the_previous_token_head_is_that_of_each_runs_last_point():
    np.testing.assert_array_equal(development.previous_token_head(M), [1, 0])
    np.testing.assert_array_equal(development.ablated(M)[:, -1], [3, 0])


def test_what_comes_at_once():
    np.testing.assert_array_equal(development.burst(M), [3, 1])  # from step 200 to 400; from 100 on by 1 a doubling
    np.testing.assert_array_equal(development.at_once(M), [0.75, 0.25])


def test_composition_by_norms_and_by_ablation_and_from_the_previous_token_head():
    np.testing.assert_allclose(development.by_norms(M), 3)
    np.testing.assert_allclose(development.by_ablation(M), 2)
    np.testing.assert_allclose(development.from_previous(M), [0.6, -0.6])


def test_the_corner_is_the_lesser_of_copying_and_matching_through_the_previous_token_head():
    np.testing.assert_allclose(development.induction_corner(M), [0.7, 0])
    np.testing.assert_allclose(development.corner_alone(M), [0.5, -0.2])  # head 1 of layer 0 has 0.2


def test_leads_are_between_the_steps_at_which_curves_are_halfway():
    np.testing.assert_allclose(development.halfway(M, "in-context score"), [266 + 2 / 3, 200])
    np.testing.assert_allclose(development.lead(M, "induction score", "in-context score"), [66 + 2 / 3, 0])
    np.testing.assert_allclose(development.together(M), [0.75, 1])


def test_the_bump_of_a_loss_is_in_steps_or_in_their_logarithms():
    m = {"steps": STEPS, "loss": np.array([[4.0, 3, 2, 1, 0]])}
    assert development.bump(m)[0] == pytest.approx(0)
    assert development.bump(m, log_steps=True)[0] == pytest.approx(0)
    m["loss"] = np.array([[4.0, 4, 4, 0, 0]])  # at 200 the chords from 0, and in log steps from 100, to 400 are at 2
    assert development.bump(m)[0] == pytest.approx(2) and development.bump(m, log_steps=True)[0] == pytest.approx(2)
