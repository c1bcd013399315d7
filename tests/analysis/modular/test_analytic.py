"""Networks written down: Gromov's random cosines, and the one of the largest margin."""

import jax
import numpy as np
import pytest

from toylab.analysis.modular import analytic, progress
from toylab.base import Config, Run
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.tasks import ModularArithmetic


def test_gromovs_network_gets_as_much_right_as_measured():
    """Catalogue: p = 97, mean of 3 seeds, .66, .971, .9996 and 1 with 32, 64, 128 and 256 neurons."""
    score = jax.jit(lambda u, v, w: analytic.accuracy(analytic.logits(u, v, w)))
    means = {n: np.mean([score(*analytic.gromov(97, n, seed=seed)) for seed in range(3)]) for n in (32, 64, 256)}
    assert means[32] == pytest.approx(0.66, abs=0.06) and means[64] == pytest.approx(
        0.971, abs=0.015
    )  # 1 % between seeds
    assert means[256] == 1


@pytest.mark.parametrize("p", [5, 9, 71])
def test_the_margin_of_the_analytic_network_is_the_closed_form(p):
    with jax.enable_x64():
        net = analytic.max_margin_network(p)
        assert len(net.u) == 4 * (p - 1)
        margin = float(analytic.normalised_margin(*net))
        assert margin == pytest.approx(analytic.max_margin(p), rel=1e-10)
        if p == 71:
            assert margin == pytest.approx(4.6143e-4, abs=5e-9)
        if p == 5:
            wanted = 2 * p * (np.arange(p) == analytic._sums(p)[..., None]) - 2
            np.testing.assert_allclose(analytic.logits(*net), wanted, atol=1e-10)
            assert float(analytic.normalised_margin(*(7 * x for x in net))) == pytest.approx(margin)
            noise = np.random.default_rng(0).standard_normal((3, *net.u.shape))
            for size in (0.01, 0.1):  # the largest: nothing near it has more
                moved = [x + size * d for x, d in zip(net, noise, strict=True)]
                assert float(analytic.normalised_margin(*moved)) < margin


def test_waves_of_neurons():
    with jax.enable_x64():
        net = analytic.max_margin_network(9)
        found = analytic.waves(*net)
        assert found.frequency.tolist() == np.repeat([1, 2, 3, 4], 8).tolist()
        np.testing.assert_allclose(found.share, 1)
        np.testing.assert_allclose(found.phase, 0, atol=1e-9)
        out = analytic.waves(net.u, net.v, np.roll(net.w, 1, axis=1))  # c one later: θ_w falls by 2πk/9
        np.testing.assert_allclose(out.phase, 2 * np.pi * np.repeat([1, 2, 3, 4], 8) / 9, atol=1e-9)


def test_ipr_of_a_cosine_and_of_noise():
    assert np.asarray(analytic.ipr(analytic.gromov(97, 8).u)) == pytest.approx(1, abs=1e-4)
    noise = np.random.default_rng(0).standard_normal((4000, 97))
    assert float(analytic.ipr(noise).mean()) == pytest.approx(0.041, abs=0.001)
    x = np.abs(noise[0])  # Gini as Gromov has it: mean |x_i − x_j| over twice the mean
    assert float(progress.gini(x)) == pytest.approx(np.abs(x[:, None] - x).mean() / (2 * x.mean()), rel=1e-5)


def test_the_network_is_a_modular_mlp():
    net = analytic.max_margin_network(7)
    module = Net.of(ModularMLP, d_vocab=7, d_vocab_out=7, d_model=24, d_mlp=24, activation="quadratic")
    task = ModularArithmetic(p=7, n_train=20)
    params = {name: np.asarray(x, np.float32) for name, x in net.params().items()}
    a, b = np.divmod(np.arange(49), 7)
    found, _ = module.apply(params, np.stack([a, b], axis=1))
    np.testing.assert_allclose(found.reshape(7, 7, 7), analytic.logits(*net), atol=1e-4)
    measured = jax.jit(analytic.structure)(
        params, Run(config=Config(task=task, net=module, optimizer=AdamW()), data={})
    )
    assert float(measured["margin_share"]) == pytest.approx(1, abs=1e-4)
    assert np.asarray(measured["ipr"]) == pytest.approx(1, abs=1e-4)


def test_the_neurons_of_a_network_without_an_embedding_are_its_weights():
    u, v, w = (np.float32(rows) for rows in analytic.gromov(7, 12))
    net = Net.of(ModularMLP, d_vocab=8, d_vocab_out=8, d_mlp=12, embedding="none", activation="quadratic")
    params = {"W_in": np.zeros((2, 8, 12), np.float32), "W_U": np.zeros((12, 8), np.float32)}
    params["W_in"][:, :7], params["W_U"][:, :7] = (u.T, v.T), w  # 7 stands for "=", and is none of the numbers
    run = Run(config=Config(task=ModularArithmetic(p=7, n_train=20), net=net, optimizer=AdamW()), data={})
    rows = analytic.neuron_rows(params, run)
    for name, given in (("u", u), ("v", v), ("w", w)):
        np.testing.assert_array_equal(getattr(rows, name), given)
    a, b = np.divmod(np.arange(49), 7)
    found = net.apply(params, np.stack([a, b], axis=1))[0][:, :7]
    np.testing.assert_allclose(found.reshape(7, 7, 7), analytic.logits(u, v, w), atol=1e-4)


def test_purity_is_the_mean_of_three_rows():
    wave = np.cos(2 * np.pi * 2 * np.arange(9) / 9)[None]
    flat = np.eye(9)[:1]  # all 5 frequencies of the half spectrum alike: 1/5
    assert float(analytic.purity(wave, wave, wave)[0]) == pytest.approx(1, abs=1e-5)
    assert float(analytic.purity(wave, wave, flat)[0]) == pytest.approx((1 + 1 + 1 / 5) / 3, abs=1e-5)
    assert np.isnan(analytic.purity(wave, wave, np.zeros((1, 9)))[0])


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"^p is 8: the network of the largest margin is known for odd p\.$"):
        analytic.max_margin_network(8)
    with pytest.raises(
        ValueError, match=r"^w has shape \(7, 4\) .* real numbers \[N, p\] with N = 4 and p = 7 as in u$"
    ):
        net = analytic.gromov(7, 4)
        analytic.normalised_margin(net.u, net.v, net.w.T)
