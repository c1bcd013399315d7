"""Views of planes: what they draw is what the whole network computes."""

import numpy as np
import pytest
from one_run import FIVE, adds, at, forms, recording, started

from toylab.explore.views import planes
from toylab.models import ModularMLP, PizzaTransformer
from toylab.tasks import ModularPairs


@pytest.mark.parametrize(
    "config",
    [
        FIVE,
        adds(8, 40, n_ctx=3, n_heads=2, n_layers=2),
        adds(5, 15, ModularPairs, PizzaTransformer, n_heads=2),
        adds(5, 15, module=ModularMLP),
    ],
    ids=["p = 5", "p = 8, two layers", "pizza", "MLP"],
)
def test_planes_are_what_the_network_computes(config):
    p, made = config.task.p, recording(config, [started(config, 1), started(config, 2)])
    moment = at(made)
    logits, cache = config.net.apply(moment.params, made.data(0)["tokens"])
    drawn = planes.logit_plane.pictures(moment, c=3)
    close = {"rtol": 0, "atol": 1e-5 * float(np.abs(logits).max())}  # sums of 24 products of float32, one after another
    centred = np.asarray(logits[:, 3] - logits[:, 3].mean()).reshape(p, p)
    np.testing.assert_allclose(drawn[0].values, centred, **close)
    assert (drawn[1].values ** 2).sum() == pytest.approx(1, rel=1e-4)
    mlp = np.asarray(cache["mlp_post"][-1]).reshape(p * p, -1, 12)[:, -1, 4].reshape(p, p)
    neuron = planes.neuron_plane.pictures(moment, neuron=4)
    np.testing.assert_allclose(neuron[0].values, mlp, atol=1e-5 * np.abs(mlp).max())
    assert forms(neuron) == forms(planes.neuron_plane.pictures(at(made, 0), neuron=4))
    controls = planes.neuron_plane.controls(moment)
    assert ("layer" in controls) == (cache["mlp_post"].shape[0] > 1) and controls["neuron"].high == 11
    if "pattern" not in cache:
        assert planes.attention_plane.lacks(moment) is None
        return
    drawn = planes.attention_plane.pictures(moment, head=1, key="b")
    np.testing.assert_allclose(drawn[0].values, np.asarray(cache["pattern"][-1, :, 1, -1, 1]).reshape(p, p), atol=1e-6)
    names = planes.attention_plane.controls(moment)["key"].options
    assert names == (["a", "b"] if isinstance(config.task, ModularPairs) else ["a", "b", "="])
    scores = planes.attention_plane.pictures(moment, head=1, key="b", shown="scores before the softmax")
    expected = np.asarray(cache["scores"][-1, :, 1, -1, 1]).reshape(p, p)
    np.testing.assert_allclose(scores[0].values, expected, atol=1e-5 * np.abs(expected).max())


def test_a_network_of_one_wave_has_its_energy_at_one_pair_of_frequencies():
    """Quadratic neurons of a circle that both operands share: x² − y² of the sum of two points on it."""
    config = adds(5, 15, module=ModularMLP, embedding="shared", activation="quadratic", d_model=2, d_mlp=4)
    angle = 2 * np.pi * np.arange(5) / 5
    W_in = np.array([[1, 0, 1, 1], [0, 1, 1, -1]], np.float32) / np.array([1, 1, 2**0.5, 2**0.5], np.float32)
    W_U = np.zeros((4, 6), np.float32)
    W_U[:, 0] = 1, -1, 0, 0  # (cos a + cos b)² − (sin a + sin b)² = cos 2a + cos 2b + 2 cos (a + b)
    params = {
        "W_E": np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)[[0, 1, 2, 3, 4, 0]],
        "W_in": np.stack([W_in, W_in]), "W_U": W_U,
    }  # fmt: skip
    plane, energy = planes.logit_plane.pictures(at(recording(config, [params])), c=0)
    a, b = np.meshgrid(angle, angle, indexing="ij")
    np.testing.assert_allclose(plane.values, np.cos(2 * a) + np.cos(2 * b) + 2 * np.cos(a + b), atol=1e-5)
    expected = np.zeros((3, 3))
    expected[1, 1], expected[0, 2], expected[2, 0] = 4 / 6, 1 / 6, 1 / 6  # squares of the amplitudes 2, 1, 1
    np.testing.assert_allclose(energy.values**2, expected, atol=1e-5)
    assert energy.title == "√ share of energy; (1, 1) has 67 %"
