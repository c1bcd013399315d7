"""Latents as detectors: dictionaries made by hand, and the analyzer on a perfect autoencoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.superposition import detection
from toylab.base import Config, Run
from toylab.models import Net, SparseAutoencoder
from toylab.tasks import MixedFeatures

TRUTH = np.eye(4)
DICTIONARY = np.array([[1, 0, 0, 0], [0.9, 0.1, 0, 0], [0, 0, 2, 0]])  # two of feature 0, one of feature 2
CODES = np.array([[1, 0, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0]]) * 0.5  # feature 3 never fires
LATENTS = np.array([[1, 0, 0], [1, 0, 1], [1, 0, 0], [0, 0, 1]])  # the first fires once too often, the second never


def test_precision_and_recall_are_counted():
    found = detection.detection(TRUTH, DICTIONARY, CODES, LATENTS)
    np.testing.assert_allclose(found["precision"], [2 / 3, np.nan, 1], rtol=1e-6)
    np.testing.assert_allclose(found["recall"], [1, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(found["f1"], [4 / 5, 0, 1], rtol=1e-6)
    assert np.isnan(detection.detection(TRUTH, np.eye(4)[3:], CODES, LATENTS[:, :1])["recall"]).all()


def test_uniqueness_counts_features():
    np.testing.assert_allclose(detection.uniqueness(TRUTH, DICTIONARY), 2 / 3, rtol=1e-6)
    np.testing.assert_allclose(detection.uniqueness(TRUTH, DICTIONARY, np.array([True, False, True])), 1)
    both = detection.uniqueness(TRUTH, np.stack([np.eye(4), np.ones((4, 4))]))
    np.testing.assert_allclose(both, [1, 1 / 4])  # all ties go to the first feature
    assert np.isnan(detection.uniqueness(TRUTH, DICTIONARY, np.zeros(3, bool)))
    assert np.isnan(detection.uniqueness(TRUTH * np.nan, DICTIONARY))


def test_only_what_fires_is_to_be_recovered():
    every = detection.firing_recovery(TRUTH, DICTIONARY, CODES)
    near = 0.1 / np.hypot(0.9, 0.1)  # feature 1 by the second element
    np.testing.assert_allclose(
        [every["mmcs"], every["share"], every["n_firing"]], [(2 + near) / 3, 2 / 3, 3], rtol=1e-6
    )
    living = detection.firing_recovery(TRUTH, DICTIONARY, CODES, LATENTS)
    np.testing.assert_allclose([living["mmcs"], living["share"]], [2 / 3, 2 / 3], rtol=1e-6)
    none = detection.firing_recovery(TRUTH, DICTIONARY, 0 * CODES, LATENTS)
    assert np.isnan([none["mmcs"], none["share"]]).all() and none["n_firing"] == 0
    assert np.isnan(detection.firing_recovery(TRUTH, DICTIONARY, CODES, 0 * LATENTS)["mmcs"])


def test_a_perfect_autoencoder_has_perfect_scores():
    """Orthogonal features, a dictionary of them, no bias: latents are the codes."""
    task = MixedFeatures(n_truth=8, d_model=8, active=2.0)
    net = Net.of(SparseAutoencoder, d_model=8, d_dict=8)
    found = detection.detection_scores(
        {"W_dec": jnp.eye(8), "b_enc": jnp.full(8, -1e-6)}, Run(Config(task, net, None), {"truth": jnp.eye(8)})
    )  # a bias takes the roundings of 0 off
    for name in ("precision", "uniqueness", "mmcs", "share"):
        np.testing.assert_allclose(found[name], 1, rtol=1e-6, err_msg=name)
    np.testing.assert_allclose([found["recall"], found["f1"]], 1, rtol=1e-3)  # of 8,000 codes a few are below the bias


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match=r"codes has shape \(0, 4\): it must be"):
        detection.detection(TRUTH, DICTIONARY, np.ones((0, 4)), np.ones((0, 3)))
    with pytest.raises(ValueError, match=r"latents has shape \(4, 4\)"):
        detection.detection(TRUTH, DICTIONARY, CODES, np.ones((4, 4)))
    assert np.isnan(jax.jit(detection.uniqueness)(TRUTH, DICTIONARY * np.nan))
