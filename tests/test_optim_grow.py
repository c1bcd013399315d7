"""Steps that grow, against numpy in float64, and the time that they have behind them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from steps_of import params_after

from toylab import configs as cfg
from toylab import train
from toylab.analysis import flow
from toylab.base import Config
from toylab.models import DiagonalNet, Net
from toylab.optim import SGD, Chain, Grow
from toylab.tasks import SparseLinear

STEPS = 100
START = {"w": np.float32([1.0, -2.0])}
GRADIENTS = {"w": np.random.default_rng(0).normal(size=(STEPS, 2)).astype(np.float32)}


def rates(lr, rate, most, n):
    return lr * np.minimum((1 + rate) ** np.arange(n, dtype=np.float64), most)


@pytest.mark.parametrize("most", [1.0, 7.5, 1e9])
def test_a_step_grows_by_its_rate_to_the_most(most):
    """A factor is exp(k log(1 + rate)) in float32, 4.9 at most here: a relative error of ten roundings, and 100 sums."""
    found = params_after(Chain(SGD(lr=0.01, weight_decay=0.1), after=(Grow(0.05, most),)).check(), GRADIENTS, START)[
        "w"
    ]
    w = np.float64(START["w"])
    for k, lr in enumerate(rates(0.01, 0.05, most, STEPS)):
        w = w - lr * (GRADIENTS["w"][k] + 0.1 * w)
        np.testing.assert_allclose(found[k], w, rtol=2e-5, atol=2e-5)


def test_a_long_growth_stays_finite():
    """(1 + rate)^k itself would be beyond float32."""
    update = Grow(1.0, 8.0).transform()
    state = update.init({"w": jnp.ones(1)})._replace(count=jnp.int32(10**6))
    np.testing.assert_allclose(update.update({"w": jnp.ones(1)}, state)[0]["w"], 8, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rate": -0.1}, r"^optimizer\.after\.0\.rate is -0\.1: it must be a finite number, at least 0\.$"),
        ({"most": 0.5}, r"^optimizer\.after\.0\.most is 0\.5: it must be a finite factor, at least 1\.$"),
        ({"most": float("inf")}, r"^optimizer\.after\.0\.most is inf: "),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Chain(SGD(), after=(Grow(**given),)).check()
    with pytest.raises(ValueError, match="it goes into after"):
        Chain(SGD(), before=(Grow(),)).check()


def test_the_time_gone_by_is_the_sum_of_the_rates():
    """In float64 on both sides: a sum of 300 terms, and of powers up to the 300th."""
    steps = np.array([0, 1, 2, 50, 299, 300])
    lr, rate, most = np.array([0.1, 0.3, 1e-4, 2.0]), np.array([0.05, 0.0, 1e-3, 0.5]), np.array([20.0, 3.0, 1e9, 1.0])
    found = flow.elapsed(steps, lr, rate, most)
    for i in range(4):
        added = np.append(0, np.cumsum(rates(lr[i], rate[i], most[i], 300)))
        np.testing.assert_allclose(found[i], added[steps], rtol=1e-11)
    assert flow.elapsed(steps, lr[0], rate[0], most[0]).shape == (6,)


def test_training_follows_the_flow_over_that_time():
    """From a tiny start the logistic loss is linear: u and v of a diagonal network grow as exp((±1 − λ) t), but for
    half a step, 0.025 at most, of the exponent."""
    task = SparseLinear(d=4, s=1, n_train=1, n_test=1)
    optimizer = Chain(SGD(lr=1e-3, weight_decay=0.1), after=(Grow(0.02, 50.0),))
    config = cfg.check(Config(task, Net.of(DiagonalNet, d_in=4, alpha=1e-3), optimizer))
    state, _ = jax.jit(train.advance)(config, train.init(config), jnp.array([0, 200]))
    time = flow.elapsed(np.array([200]), 1e-3, 0.02, 50.0)[0]
    grown = np.log(sum(float(jnp.sum(w**2)) for w in state.params.values()) / 1e-6) / 2
    assert time > 2
    assert grown == pytest.approx(np.log(np.cosh(2 * time)) / 2 - 0.1 * time, rel=0.025)
