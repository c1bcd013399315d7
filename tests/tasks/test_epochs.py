"""Minibatches by epochs: the order of an epoch is drawn once, and no bit differs from drawing it at each step.

Perceptrons of ±1 inputs, learning rate and batches powers of two, started at 0: every number of their training is a whole
multiple of 2⁻⁵ below 2¹⁹, so float32 rounds none, and two programs must agree in every bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_sweeps import only

from toylab import configs as cfg
from toylab import sweep, train
from toylab.base import Config
from toylab.models import Dense, Net
from toylab.optim import SGD
from toylab.protocol import batch_key
from toylab.sweep import Interrupted, Plan, Spec, lanes, memory
from toylab.tasks import SparseParity

N, BATCH, LENGTH = 30, 4, 8  # an epoch: seven batches of 4 and one of 2
SAVES = (0, 1, 5, 8, 9, 23, 24, 40, 41, 60)


def perceptron(seed=0, data_seed=None):
    task = SparseParity(n_train=N, n_test=4, batch_size=BATCH, n_bits=9, k=3)
    net = Net.of(Dense, d_in=9, d_out=1, widths=(), output_bias=False)
    return cfg.check(Config(task, net, SGD(lr=0.125), seed, seed if data_seed is None else data_seed))


START = {"W_out": np.zeros((9, 1), np.float32)}
RUNS = [perceptron(seed) for seed in range(3)]


def drawn_at_each_step(config, saves=SAVES):
    """W [T, 9, 1] at the saved steps, in numpy float64."""
    data = {name: np.float64(value) for name, value in train.data(config).items()}
    key, w, found = jax.random.key(config.data_seed), np.zeros((9, 1)), []
    for step in range(saves[-1] + 1):
        if step in saves:
            found.append(w)
        order = np.asarray(jax.random.permutation(jax.random.fold_in(key, step // LENGTH), N))
        chosen = order[step % LENGTH * BATCH :][:BATCH]
        x, side = data["x"][chosen], 2 * data["y"][chosen, None] - 1
        w = w + 0.125 * (side * x * (side * (x @ w) < 1)).sum(axis=0)[:, None] / len(chosen)
    return np.stack(found)


EXPECTED = {}


def expected(config):
    streams = int(config.seed), int(config.data_seed)
    return EXPECTED.setdefault(streams, drawn_at_each_step(config))


def test_the_reference_depends_on_the_order_and_is_exact():
    one, other = expected(perceptron(0)), expected(perceptron(0, data_seed=1))
    assert (one[1:] != other[1:]).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(one * 32, np.round(one * 32))


@pytest.mark.parametrize(
    "gaps", [np.diff(SAVES, prepend=0), [0, 1, 4, 3, 1, 14, 1, 16, 1, 19, 0, 0]], ids=["points", "padded"]
)
def test_a_run_alone_has_the_bits_of_orders_drawn_at_each_step(gaps):
    config = perceptron(0)
    state, points = jax.jit(train.advance)(config, train.init(config, START), np.array(gaps))
    np.testing.assert_array_equal(points.params["W_out"][: len(SAVES)], expected(config))
    assert state.step == SAVES[-1]


def test_single_steps_go_the_same_way():
    config = perceptron(0)
    state, data, key = train.init(config, START), train.data(config), jax.random.key(0)
    step = jax.jit(train.step)
    for _ in range(SAVES[5]):
        state = step(config, data, key, state)
    np.testing.assert_array_equal(state.params["W_out"], expected(config)[5])


@pytest.mark.parametrize("data_seed", [None, 0], ids=["own streams", "one stream"])
@pytest.mark.parametrize("lane", [1, 2, 3])
def test_lanes_have_the_bits_of_orders_drawn_at_each_step(tmp_path, lane, data_seed):
    runs = [perceptron(seed, data_seed) for seed in range(3)]
    sweep.run(runs, Spec(saves=SAVES, start=START), tmp_path, plan=Plan(lane, 3, 6))
    for i, run in enumerate(runs):
        np.testing.assert_array_equal(only(tmp_path).params["W_out"][i], expected(run))


@pytest.mark.parametrize("last", [1, 9, 23])
def test_a_run_resumed_amid_an_epoch_goes_on_with_its_order(tmp_path, last):
    spec, reached = Spec(saves=SAVES, start=START), []
    with pytest.raises(Interrupted):
        sweep.run(
            RUNS, spec, tmp_path, plan=Plan(lane=2, segment=1, chunk=2),
            report=lambda progress: reached.append(progress.step), interrupted=lambda: reached[-1] >= last,
        )  # fmt: skip
    assert last <= (stopped := only(tmp_path).steps[-1]) < SAVES[-1] and stopped % LENGTH
    sweep.run(RUNS, spec, tmp_path)
    for i, run in enumerate(RUNS):
        np.testing.assert_array_equal(only(tmp_path).params["W_out"][i], expected(run))


def loops(jaxpr, depth=0):
    """The operations of a jaxpr and of all within it that this device runs, each with the number of loops around it."""
    for equation in jaxpr.eqns:
        yield equation, depth
        for part in memory.parts(equation, jax.default_backend()):
            yield from loops(part, depth + (equation.primitive.name in ("while", "scan")))


@pytest.mark.parametrize("width", [1, 3])
def test_the_order_is_drawn_outside_of_the_loop_over_steps(width):
    """The sort of a permutation stands one loop further out than the gradient, in a lane too. No loop of a lane asks each
    run whether it goes on: all are at the same step."""
    config, state = RUNS[0], train.init(RUNS[0], START)
    if width > 1:
        config, state = cfg.stack(RUNS), lanes.stacked([state] * 3).replace(step=jnp.int32(0))
    function = lanes.compiled(width, (), None)
    found = list(loops(jax.make_jaxpr(function)(config, state, np.array([3, 9])).jaxpr))
    deepest = {
        name: max(depth for one, depth in found if one.primitive.name == name) for name in ("sort", "dot_general")
    }
    assert deepest["sort"] == deepest["dot_general"] - 1 > 0
    asked = [one.params["cond_jaxpr"].jaxpr for one, _ in found if one.primitive.name == "while"]
    assert asked and all("reduce_or" not in str(jaxpr) for jaxpr in asked)


def test_batch_key_gives_the_batch_of_any_step():
    task, key, seen = RUNS[0].task, jax.random.key(4), []
    for step in range(LENGTH):
        chosen, there = batch_key(task, key, jnp.int32(LENGTH + step))
        seen += np.asarray(chosen)[np.asarray(there)].tolist()
    order = jax.random.permutation(jax.random.fold_in(key, 1), N)
    np.testing.assert_array_equal(seen, order)
    assert task.replace(batch_size=N).epoch_steps == task.replace(batch_size=0).epoch_steps == 0
