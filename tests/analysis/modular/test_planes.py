"""Planes of all pairs: closed forms of their spectra, and one neuron, head and class against the whole network's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.modular import planes
from toylab.models import (
    BiasedTransformer,
    ModularMLP,
    NeoXTransformer,
    Net,
    PizzaLinear,
    PizzaTransformer,
    PostNormTransformer,
    TiedMLP,
    Transformer,
)
from toylab.plots.modular import periodic
from toylab.tasks import ModularArithmetic

P = 7
TOKENS = np.asarray(ModularArithmetic(p=P, n_train=20).data(jax.random.key(0))["tokens"])
SMALL = {"d_vocab": P + 1, "d_vocab_out": P + 1, "d_model": 8, "d_mlp": 12}
NETS = {
    "plain": Net.of(Transformer, n_ctx=3, n_heads=2, **SMALL),
    "two layers": Net.of(Transformer, n_ctx=3, n_heads=2, n_layers=2, **SMALL),
    "attention only": Net.of(Transformer, n_ctx=3, n_heads=2, **(SMALL | {"d_mlp": 0})),
    "LayerNorm, rotary": Net.of(Transformer, n_ctx=3, n_heads=2, layer_norm=True, positions="rotary", **SMALL),
    "relative, hidden read-out": Net.of(
        Transformer, n_ctx=3, n_heads=2, positions="relative", readout_layers=1, **SMALL
    ),
    "no W_O": Net.of(Transformer, n_ctx=3, n_heads=2, output_matrix=False, **SMALL),
    "all positions": Net.of(Transformer, n_ctx=3, n_heads=2, readout="all", **SMALL),
    "biased": Net.of(BiasedTransformer, n_ctx=3, n_heads=2, **SMALL),
    "postnorm": Net.of(PostNormTransformer, n_ctx=3, n_heads=2, **SMALL),
    "parallel": Net.of(NeoXTransformer, n_ctx=3, n_heads=2, **SMALL),
    "pizza": Net.of(PizzaTransformer, n_ctx=3, n_heads=2, attention_rate=0.3, **SMALL),
    "pizza, linear": Net.of(PizzaLinear, kind="beta", **SMALL),
    "MLP": Net.of(ModularMLP, **SMALL),
    "no W_U": Net.of(TiedMLP, **SMALL),
}
FAST = ("plain", "two layers", "attention only", "pizza", "MLP")  # the others compile for as long again
# Both sides sum at most 48 products of float32 a layer, in another order: √48 roundings of 6e-8 of the largest sum, over
# the six products one after another of two layers 2.5e-6; LayerNorm divides by about 1/3 of it at most.
ROUNDING = 1e-5


def weights(net):
    """Those of the start, all of them moved, so that biases and positions count."""
    params = net.init(jax.random.key(1))
    return {name: x + 0.3 * jax.random.normal(jax.random.key(i), x.shape) for i, (name, x) in enumerate(params.items())}


def same(plane, whole):
    scale = max(1.0, float(jnp.abs(whole).max()))
    np.testing.assert_allclose(np.asarray(plane).reshape(-1), np.asarray(whole), rtol=0, atol=ROUNDING * scale)


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NETS]
)
def test_one_of_each_is_as_the_whole_network_has_it(name):
    net = NETS[name]
    params = weights(net)
    logits, cache = net.apply(params, TOKENS)
    same(jax.jit(planes.logit_plane)(net, params, TOKENS, 3), logits.reshape(P * P, -1, P + 1)[:, -1, 3])
    if "mlp_post" in cache:
        post = cache["mlp_post"][-1].reshape(P * P, -1, 12)[:, -1]
        same(jax.jit(planes.neuron_plane)(net, params, TOKENS, 5), post[:, 5])
    else:
        with pytest.raises(ValueError, match="no mlp_post"):
            planes.neuron_plane(net, params, TOKENS, 0)
    if "pattern" in cache:
        for activation in ("pattern", "scores"):
            plane = partial(planes.attention_plane, activation=activation)
            same(jax.jit(plane)(net, params, TOKENS, 1, 0), cache[activation][-1][:, 1, -1, 0])
    else:
        with pytest.raises(ValueError, match="no pattern"):
            planes.attention_plane(net, params, TOKENS, 0, 0)


def test_an_earlier_layer_is_looked_at_in_the_plain_form():
    net = NETS["two layers"]
    params = weights(net)
    cache = net.apply(params, TOKENS)[1]
    same(planes.neuron_plane(net, params, TOKENS, 5, 0), cache["mlp_post"][0, :, -1, 5])
    same(planes.attention_plane(net, params, TOKENS, 1, 2, 0), cache["pattern"][0, :, 1, -1, 2])


class Mixing(Transformer):
    """A transformer of somebody's own, whose neurons meet: each is less their mean."""

    def activate(self, pre):
        return jax.nn.relu(pre - pre.mean(axis=-1, keepdims=True))


def halved(value, layer):
    return value * (jnp.arange(value.shape[-1]) < 6)


@pytest.mark.parametrize(
    "net",
    [
        Net.of(Mixing, n_ctx=3, n_heads=2, **SMALL),
        Net.of(Transformer, n_ctx=3, n_heads=2, clamps=(("mlp_post", halved),), **SMALL),
    ],
    ids=["another module", "clamped"],
)
def test_nothing_is_cut_from_a_network_in_which_neurons_may_meet(net):
    params = weights(net)
    logits, cache = net.apply(params, TOKENS)
    for neuron in (2, 9):
        same(planes.neuron_plane(net, params, TOKENS, neuron), cache["mlp_post"][0, :, -1, neuron])
    same(planes.logit_plane(net, params, TOKENS, 1), logits[:, 1])


def test_many_pairs_are_run_in_blocks(monkeypatch):
    net, params = NETS["plain"], weights(NETS["plain"])
    whole = planes.logit_plane(net, params, TOKENS, 2)
    monkeypatch.setattr(planes, "BLOCK", 20)  # three blocks, the last of nine
    same(planes.logit_plane(net, params, TOKENS, 2), whole.reshape(-1))


def test_what_is_not_there_is_nan_and_pairs_that_are_not_all_are_refused():
    net, params = NETS["plain"], weights(NETS["plain"])
    assert np.isnan(jax.jit(planes.neuron_plane)(net, params, TOKENS, 12)).all()
    assert np.isnan(jax.jit(planes.attention_plane)(net, params, TOKENS, -1, 0)).all()
    assert np.isnan(jax.jit(planes.logit_plane)(net, params, TOKENS, P + 1)).all()
    net, params = NETS["two layers"], weights(NETS["two layers"])  # in the plain form
    for head, key in ((-1, 0), (2, 0), (0, -1), (0, 3)):
        assert np.isnan(planes.attention_plane(net, params, TOKENS, head, key)).all()
    with pytest.raises(ValueError, match=r"tokens has shape \(48, 3\): it must be \[p², n_tokens\]"):
        planes.logit_plane(net, params, TOKENS[:-1], 0)


@pytest.mark.parametrize("p", [5, 8, 113])
def test_a_wave_is_at_one_pair_of_frequencies_and_no_energy_is_lost(p):
    a, b = np.meshgrid(np.arange(p), np.arange(p), indexing="ij")
    wave = 3 + np.cos(2 * np.pi * 2 * a / p) * np.sin(2 * np.pi * 1 * b / p)
    energy = np.asarray(planes.pair_spectrum(wave))
    tiny = 1e-5 * p**2  # float32: 113 terms of 6e-8 each, of amplitudes up to 113 that are squared
    assert energy[2, 1] == pytest.approx(p**2 / 4, abs=tiny) and energy.sum() == pytest.approx(p**2 / 4, abs=tiny)
    of_sum = np.cos(2 * np.pi * (p // 2) * (a + b) / p)
    mean_square = 1 if p % 2 == 0 else 0.5  # cos² of the frequency p/2 is always 1
    energy = np.asarray(planes.pair_spectrum(of_sum))
    assert energy[p // 2, p // 2] == pytest.approx(mean_square * p**2, abs=tiny)
    assert energy.shape == (p // 2 + 1, p // 2 + 1)


@pytest.mark.parametrize("p", [2, 9, 10])
def test_it_is_what_the_figures_show(p):
    x = np.random.default_rng(0).normal(size=(p, p))
    np.testing.assert_allclose(planes.pair_spectrum(x), periodic.spectrum(x), atol=1e-5 * p**2)


def test_a_constant_has_no_energy_and_nan_stays():
    assert not np.asarray(planes.pair_spectrum(np.full((5, 5), 0.1))).any()
    assert np.isnan(np.asarray(planes.pair_spectrum(np.full((5, 5), np.nan)))).all()


@pytest.mark.parametrize(("p", "k"), [(5, 2), (113, 14), (12, 3)])
def test_numbers_on_a_circle_stand_at_their_angles(p, k):
    angle = 2 * np.pi * k * np.arange(p) / p
    u, v = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 2)))[0].T
    found = planes.frequency_plane(2 * np.cos(angle)[:, None] * u + 2 * np.sin(angle)[:, None] * v, k)
    np.testing.assert_allclose(found, 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1), atol=1e-5)


def test_what_has_nothing_of_a_frequency_but_rounding_stands_at_the_origin():
    angle = 2 * np.pi * 2 * np.arange(5) / 5
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    assert not np.asarray(planes.frequency_plane(circle, 1)).any()


def test_a_plane_needs_two_directions_and_a_frequency_with_a_sine():
    assert not np.asarray(planes.frequency_plane(np.arange(5.0)[:, None], 1))[:, 1].any()
    for k, p in ((0, 5), (3, 5), (4, 8)):
        with pytest.raises(ValueError, match=r"k − 1 has .*: a plane has \d frequencies"):
            planes.frequency_plane(np.ones((p, 3)), k)
    with pytest.raises(ValueError, match="W_E has 2 rows, it must have at least 3"):
        planes.frequency_plane(np.ones((2, 3)), 1)
    assert np.isnan(jax.jit(planes.frequency_plane)(np.ones((5, 3)), 3)).all()
