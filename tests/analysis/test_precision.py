"""Softmax collapse, gradients whose classes do not cancel, and spikes: against what is known by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab import train
from toylab.analysis import precision
from toylab.base import Config, Run
from toylab.models import ModularMLP, Net
from toylab.optim import Adam
from toylab.tasks import ModularArithmetic


def test_a_softmax_has_collapsed_where_its_sum_rounds_to_one():
    margins = np.float32([10, 16, 17, 18, 40])  # exp(−16.6) is half of float32's epsilon
    logits = np.stack([margins, np.zeros(5, np.float32)], axis=1)
    assert precision.softmax_collapse(logits) == np.float32(0.6)
    with jax.enable_x64():
        np.testing.assert_allclose(precision.softmax_collapse(logits.astype(np.float64)), 0.2)
    np.testing.assert_array_equal(precision.softmax_collapse(np.stack([logits, logits + 50])), np.float32([0.6, 0.6]))
    assert np.isnan(precision.softmax_collapse(np.full((2, 3), np.nan, np.float32)))


def test_a_gradient_without_the_labels_part_violates_the_zero_sum_by_the_root_of_the_other_classes():
    features, n_classes = np.float32([[1, 2], [3, -1]]), 24
    others = np.full((2, n_classes), 0.1, np.float32)
    others[:, 0] = 0  # both have label 0, whose part is lost
    np.testing.assert_allclose(precision.zero_sum_violation(features.T @ others), 23**0.5, rtol=1e-6)
    others[:, 0] = -2.3
    assert precision.zero_sum_violation(features.T @ others) < 1e-6
    assert precision.zero_sum_violation(np.zeros((2, 3), np.float32)) == 0


@pytest.mark.parametrize("loss_kind", ["cross_entropy", "naive_cross_entropy"])
def test_only_the_naive_loss_of_collapsed_samples_violates_it(loss_kind):
    task = ModularArithmetic(p=7, n_train=30, loss_kind=loss_kind).check()
    net = Net.of(ModularMLP, d_vocab=8, d_vocab_out=7, d_model=16, d_mlp=64)
    config = Config(task, net, Adam(lr=1e-2))
    state, _ = train.advance(config, train.init(config), jnp.array([300]))
    run = Run(config=config, data=train.data(config))
    large = state.params | {
        "W_U": 3 * state.params["W_U"]
    }  # the margins of a fitted network, so large that all collapse
    found = precision.last_layer(large, run)
    assert found["collapse"] == 1 and precision.last_layer(state.params, run)["collapse"] < 1
    assert (found["violation"] > 1) == (loss_kind == "naive_cross_entropy")
    assert (found["violation"] < 1e-5) == (loss_kind == "cross_entropy")
    assert precision.last_layer(state.params, run)["violation"] < 1e-2
    W_U = np.asarray(large["W_U"], np.float64)
    np.testing.assert_allclose(found["norm"], np.linalg.norm(W_U), rtol=1e-6)
    np.testing.assert_allclose(found["mean_class"], np.linalg.norm(W_U.mean(axis=1)), rtol=1e-5)


def test_a_spike_begins_once():
    steps = np.arange(0, 2000, 100)
    loss = np.full(20, 1e-3)
    loss[5:8] = 0.02, 1.0, 0.02  # one spike, at 500 and for two points more
    loss[15] = 0.5
    found = precision.spikes(steps, np.stack([loss, 1e-9 * loss, np.geomspace(1, 1e-9, 20)]))
    assert steps[found[0]].tolist() == [500, 1500] and not found[1:].any()
    assert steps[precision.spikes(steps, loss, rise=100)].tolist() == [600, 1500]
    short = np.where(steps > 600, np.nan, loss)
    assert steps[precision.spikes(steps, short)].tolist() == [500]
    with pytest.raises(ValueError, match="must ascend"):
        precision.spikes(steps[::-1], loss)
