"""Logit and tuned lens: the last depth is the network, networks that are affine have lenses without loss, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.attention import lens
from toylab.analysis.attention.read_out import logit_lens
from toylab.base import Config, Run
from toylab.models import BiasedTransformer, Net

SIZES = {"d_vocab": 20, "d_vocab_out": 20, "n_ctx": 6, "n_layers": 2, "d_model": 8, "n_heads": 2, "readout": "all"}
QUICK = {"xla_backend_optimization_level": 0}


def network(seed=0, **changes):
    net = Net.of(BiasedTransformer, **{**SIZES, "d_mlp": 0, **changes})
    keys = iter(jax.random.split(jax.random.key(seed), 40))
    params = net.init(next(keys))
    return net, {name: value + 0.2 * jax.random.normal(next(keys), value.shape) for name, value in params.items()}


def quick(function):
    return jax.jit(function, compiler_options=QUICK)


def test_the_last_depth_is_the_network():
    net, params = network(layer_norm=True, d_mlp=12)
    tokens = jax.random.randint(jax.random.key(1), (3, 6), 0, 20)
    logits, cache = net.apply(params, tokens)
    resid = lens.residual_stream(cache)
    found = logit_lens(params, resid)
    np.testing.assert_allclose(found[-1], logits, atol=1e-5)  # sums of 8 terms of size 1
    np.testing.assert_array_equal(resid[1], cache["resid_pre"][1])
    p, q = (np.asarray(jax.nn.softmax(x), float) for x in (logits, found))
    wanted = (p * np.log(p / q)).sum(-1).mean((1, 2))
    np.testing.assert_allclose(lens.lens_kl(found, logits), wanted, atol=1e-5)
    assert (wanted[:2] > 0.01).all()


@pytest.fixture(scope="module")
def affine():
    """At a first position attention is on itself: without LayerNorm and MLP the network is affine in every residual."""
    net, params = network()
    logits, cache = net.apply(params, jnp.arange(20)[:, None])
    return params, logits, lens.residual_stream(cache)


def test_least_squares_finds_what_later_layers_do(affine):
    params, _, resid = affine
    with jax.enable_x64():
        W, h = {name: np.asarray(value, float) for name, value in params.items()}, np.array(resid[:, :, 0], float)
        layer = lambda x, i: x + ((x @ W["W_V"][i] + W["b_V"][i][:, None]) @ W["W_O"][i]).sum(0) + W["b_O"][i]  # noqa: E731
        h[1] = layer(h[0], 0)
        h[2] = layer(h[1], 1)
        A, b = (np.asarray(x) for x in lens.least_squares_lens(h, ridge=1e-13))
    own = np.eye(8) + (W["W_V"] @ W["W_O"]).sum(1)  # [L, D, D]
    for depth, wanted in enumerate([own[0] @ own[1], own[1], np.eye(8)]):
        np.testing.assert_allclose(A[depth], wanted, atol=1e-8)  # a condition of 1e3 on a ridge of 1e-13
        np.testing.assert_allclose(h[depth] @ A[depth] + b[depth], h[2], atol=1e-8)
    np.testing.assert_allclose(resid[:, :, 0], h, atol=1e-5)


def test_the_tuned_lens_of_an_affine_network_loses_nothing(affine):
    params, logits, resid = affine
    before = lens.lens_kl(logit_lens(params, resid), logits)
    A, b, losses = quick(lambda params, h: lens.tuned_lens(params, h, 60))(params, resid)
    after = lens.lens_kl(logit_lens(params, lens.translated(resid, A, b)), logits)
    np.testing.assert_allclose(losses[:, 0], before, rtol=1e-4, atol=1e-6)
    assert (before[:2] > 0.05).all() and (after[:2] < 1e-3 * before[:2]).all()  # 0 at the end of the descent
    np.testing.assert_array_equal(A[-1], np.eye(8))
    assert (np.diff(losses) <= 1e-6).all()  # each step's line search descends, but for rounding


def test_no_lens_is_below_the_tuned_one():
    """Without LayerNorm the loss is convex: at its least there is no slope, and any other translator loses more."""
    net, params = network(d_mlp=12)
    logits, cache = net.apply(params, jax.random.randint(jax.random.key(1), (30, 6), 0, 20))
    resid = lens.residual_stream(cache)[:2]
    resid = jnp.concatenate([resid, cache["resid_post"][-1:]])
    closed = lens.least_squares_lens(resid)
    kl = lambda A, b: lens.lens_kl(logit_lens(params, lens.translated(resid, A, b)), logits)  # noqa: E731
    ends = [quick(lambda h, start=start: lens.tuned_lens(params, h, 150, start))(resid)[:2] for start in (None, closed)]
    found = [kl(*end) for end in ends]
    np.testing.assert_allclose(found[0][:2], found[1][:2], atol=2e-3)  # nats; both starts end at the least loss
    identity = jnp.broadcast_to(jnp.eye(8), (3, 8, 8)), jnp.zeros((3, 8))
    assert (found[1][:2] < kl(*closed)[:2]).all() and (kl(*closed)[:2] < kl(*identity)[:2]).all()


def test_what_does_not_vary_keeps_its_translator():
    resid = np.random.default_rng(0).normal(size=(2, 50, 4))
    resid[..., 3] = 7
    A, b = lens.least_squares_lens(resid)
    np.testing.assert_allclose(A[:, 3], np.eye(4)[[3, 3]], atol=1e-6)
    np.testing.assert_allclose(lens.translated(resid, A, b)[..., 3], 7, atol=1e-5)


def test_the_analyzers_judge_on_other_sequences():
    net, params = network(layer_norm=True)
    run = Run(Config(None, net, None), {"tokens": jax.random.randint(jax.random.key(1), (64, 5), 0, 20)})
    plain, tuned = lens.logit_lens_losses(params, run), quick(lens.tuned_lens_losses)(params, run)
    assert plain["kl"].shape == plain["loss"].shape == tuned["tuned"].shape == (3,)
    np.testing.assert_allclose([plain["kl"][-1], tuned["logit"][-1]], 0, atol=1e-5)
    assert (tuned["tuned"][:2] < tuned["logit"][:2]).all()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: lens.residual_stream({"post": np.ones((1, 2))}), "the cache has post: the lens needs resid_pre"),
        (lambda: logit_lens({"W_E": np.ones((3, 4))}, np.ones(4)), "W_U must read the residual stream, without W_R."),
        (lambda: logit_lens({"W_U": np.ones((3, 4))}, np.ones(4)), "resid has shape (4,)"),
        (lambda: lens.least_squares_lens(np.ones((2, 0, 4))), "resid has shape (2, 0, 4): it must be"),
        (lambda: lens.least_squares_lens(np.ones((2, 3, 4)), ridge=0), "ridge is 0: it must be above 0."),
        (lambda: lens.tuned_lens({"W_U": np.ones((4, 3))}, np.ones((2, 3, 4)), steps=0), "steps is 0: it must be"),
        (lambda: lens.tuned_lens({"W_U": np.ones((4, 3))}, np.ones((2, 3, 4)), start=(np.ones((4, 4)), np.ones(4))),
         "start has the shapes [(4, 4), (4,)]: (A, b) must be [2, 4, 4] and [2, 4]."),
    ],
)  # fmt: skip
def test_what_has_no_lens_is_refused(call, sentence):
    with pytest.raises(ValueError) as caught:
        call()
    assert sentence in str(caught.value)


def test_of_nan_no_translator_comes():
    A, b, losses = quick(lambda h: lens.tuned_lens({"W_U": jnp.ones((4, 3))}, h, 2))(jnp.full((2, 3, 4), jnp.nan))
    assert np.isnan(A).all() and np.isnan(b).all() and np.isnan(losses).all()
