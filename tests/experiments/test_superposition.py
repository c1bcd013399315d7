"""Trained toy models meet what reference trainings of the same set-up gave."""

import numpy as np
import pytest

from toylab import configs as cfg
from toylab.analysis.superposition import geometry
from toylab.experiments.superposition import superposition as page
from toylab.experiments.superposition import superposition_uniform
from toylab.sweep.lanes import Lane, first_states

pytestmark = pytest.mark.slow


def trained(configs, n_steps):
    """params and loss [R] of all runs, as one lane."""
    configs = [cfg.check(config) for config in configs]
    state = first_states(configs)
    lane = Lane(configs, state, list(range(len(configs))), len(configs), (), None)
    point = lane.advance(np.array([n_steps]), 1)
    return {name: value[:, 0] for name, value in point["traj"].items()}, point["measures"]["loss"][:, 0]


def levels_of_the_notebook(*which):
    every = superposition_uniform.models(200, 20, 20, range(1))
    return [every[level] for level in which]


def test_uniform_superposition_at_full_notebook_size():
    """n = 200, m = 20: D* and the clusters of D at 1/(1−S) = 2.575 and 6.63; 4,000 steps are enough for both."""
    params, _ = trained(levels_of_the_notebook(6, 12), 4000)
    dstar, D = np.asarray(geometry.dims_per_feature(params["W"])), np.asarray(geometry.dimensionality(params["W"]))
    np.testing.assert_allclose(dstar, [0.511, 0.302], atol=0.02)  # seeds differ by 0.005
    assert (np.abs(D[0] - 0.5) < 0.01).sum() >= 34
    assert ((D[1] > 0.28) & (D[1] < 0.35)).sum() >= 60


def test_capacities_of_trained_models_fill_the_hidden_dimensions():
    params, _ = trained(levels_of_the_notebook(6), 4000)
    assert geometry.capacity(params["W"]).sum() == pytest.approx(20, rel=0.01)


def test_five_equal_features_in_the_plane_become_a_pentagon():
    """S = 0.97: every seed, with the norm and the bias of the reference, on the way to 1.170 and −0.282 at S → 1."""
    params, loss = trained(page.equal(5, 2, [0.03], range(16)), 4000)
    D, norms = geometry.dimensionality(params["W"]), geometry.feature_norms(params["W"])
    np.testing.assert_allclose(D, 0.4, atol=0.01)
    np.testing.assert_allclose(norms, 1.149, atol=0.02)
    np.testing.assert_allclose(params["b"], -0.260, atol=0.02)
    assert loss.min() == pytest.approx(0.0008, rel=0.25)  # given by one digit; seeds differ by 4 %, batches by as much


def test_dense_features_are_the_identity_on_the_top_five():
    params, _ = trained(page.notebook(20, 5, page.SPARSITIES[:1], range(2), 0.7), 10_000)
    norms = np.asarray(geometry.feature_norms(params["W"]))
    assert np.abs(norms[:, :5] - 1).max() < 0.02 and norms[:, 5:].max() < 0.05
    np.testing.assert_allclose(params["b"][:, 5:], 0.5, atol=0.02)
