"""Networks tied to their embeddings: formulas written out, and the loss of distances."""

import jax
import numpy as np
import pytest

from toylab import configs as cfg
from toylab import losses
from toylab.base import Config
from toylab.models import Dense, Net, TiedMLP
from toylab.optim import Adam
from toylab.tasks import ModularPairs, RandomLabels

TOKENS = np.array([[0, 3], [2, 2], [4, 1]])


def made(**fields):
    net = Net.of(TiedMLP, **{"d_vocab": 6, "d_vocab_out": 5, "d_model": 3, "d_mlp": 7, **fields}).check()
    return net, net.init(jax.random.key(0))


def hidden(params):
    p = {name: np.float64(value) for name, value in params.items()}
    pre = sum(p["W_E"][TOKENS[:, i]] @ p["W_in"][i] for i in (0, 1)) + p["b_in"]
    return pre / (1 + np.exp(-pre)) @ p["W_mid"] + p["b_mid"], p


def test_products_are_those_with_the_embeddings():
    net, params = made()
    h, p = hidden(params)
    found, cache = net.apply(params, TOKENS)
    np.testing.assert_allclose(found, h @ p["W_E"][:5].T + p["b_U"], rtol=1e-5, atol=1e-6)
    assert cache["mlp_post"].shape == (1, 3, 7) and net.apply(params, TOKENS, full=False)[1] == {}
    changed = net.apply(params, TOKENS, patch={"mlp_post": lambda post, layer: 0 * post})[0]
    np.testing.assert_allclose(changed, np.tile(p["b_mid"] @ p["W_E"][:5].T + p["b_U"], (3, 1)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("exponent", [1.0, 2.5])
def test_distances_are_those_to_the_embeddings(exponent):
    net, params = made(unembedding="distances", exponent=exponent)
    h, p = hidden(params)
    squared = ((h[:, None] - p["W_E"][:5]) ** 2).sum(axis=-1) + 1e-4
    np.testing.assert_allclose(net.apply(params, TOKENS)[0], -(squared**exponent), rtol=2e-5)
    assert "b_U" not in params


def test_the_harmonic_loss_is_that_of_inverse_powers_and_has_no_scale():
    rng = np.random.default_rng(0)
    distances, labels = rng.uniform(0.1, 3, (40, 9)) ** 4, rng.integers(0, 9, 40)
    expected = -np.log((1 / distances)[np.arange(40), labels] / (1 / distances).sum(axis=1))
    # the log of float32 rounds by 1e-7 of itself, at most 1e-6 of the loss, as does the cross-entropy
    np.testing.assert_allclose(losses.harmonic(np.float32(-distances), labels), expected, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(losses.harmonic(np.float32(-1024 * distances), labels), expected, rtol=2e-5, atol=2e-6)
    nearest = losses.right(np.float32(-distances), distances.argmin(axis=1))
    assert np.asarray(nearest).all() and np.isnan(losses.harmonic(np.float32([[-1.0, 2.0]]), np.array([0])))[0]


def test_a_step_goes_downhill():
    net, params = made(unembedding="distances")
    labels = np.array([0, 4, 2])

    def loss(params):
        return losses.harmonic(net.apply(params, TOKENS)[0], labels).mean()

    value, gradient = jax.value_and_grad(loss)(params)
    squared = sum(float((g**2).sum()) for g in gradient.values())
    step = 1e-3 / squared**0.5
    after = loss({name: params[name] - step * gradient[name] for name in params})
    # a step of length 1e-3 along the gradient: the change is −1e-3 ‖g‖ but for terms of 1e-6, and rounding of 1e-7
    np.testing.assert_allclose(value - after, 1e-3 * squared**0.5, rtol=0.05)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"net\.d_vocab_out is 7: classes are tokens, and d_vocab is 6"):
        made(d_vocab_out=7)
    net, params = made()
    with pytest.raises(ValueError, match=r"patch names \['embed'\]: the activations are mlp_pre, mlp_post"):
        net.apply(params, TOKENS, patch={"embed": lambda x, layer: x})
    far = Net.of(TiedMLP, d_vocab=5, d_vocab_out=5, unembedding="distances")
    near = Net.of(TiedMLP, d_vocab=5, d_vocab_out=5)
    for task, one, sentence in (
        (ModularPairs(p=5, n_train=10), far, r"task\.loss_kind is 'cross_entropy': the net gives distances"),
        (
            ModularPairs(p=5, n_train=10, loss_kind="harmonic"),
            near,
            r"task\.loss_kind is 'harmonic': the net must give",
        ),
        (
            RandomLabels(n_train=10, d=4, loss_kind="harmonic"),
            Net.of(Dense, d_in=4, d_out=2),
            r"task\.loss_kind is 'harmonic': the net must give distances",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            cfg.check(Config(task, one, Adam()))
    cfg.check(Config(ModularPairs(p=5, n_train=10, loss_kind="harmonic"), far, Adam()))
