"""The dynamics: batched equals alone, chunked and resumed equal straight bit for bit, and what is recorded is what was."""

import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from toylab import configs as cfg
from toylab import train
from toylab.base import Config, static
from toylab.models import ModularMLP, Net, Transformer
from toylab.optim import SGD, AdamW
from toylab.tasks.modular import ModularArithmetic, python_order

QUICK = {"xla_backend_optimization_level": 0}  # halves the time to compile
TASK = ModularArithmetic(p=7, n_train=20)
MLP = Net.of(ModularMLP, d_vocab=7, d_vocab_out=7, d_model=8, d_mlp=16)
TRANSFORMER = Net.of(Transformer, d_vocab=8, d_vocab_out=8, n_ctx=3, d_model=8, n_heads=2, d_mlp=8)
CONFIG = cfg.check(Config(task=TASK, net=MLP, optimizer=AdamW(lr=0.01, weight_decay=1.0, warmup=10)))
advance = jax.jit(train.advance, compiler_options=QUICK)  # of one config always as many points: one compile
init = jax.jit(train.init, compiler_options=QUICK)


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def straight(config, gaps, params=None):
    return train.advance(config, train.init(config, params), gaps)


def given(net, seed):
    """Initial params drawn by numpy, which need no compile."""
    rng, shapes = np.random.default_rng(seed), jax.eval_shape(net.init, jax.random.key(0))
    return {name: np.float32(0.3 * rng.normal(size=x.shape)) for name, x in shapes.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("net", "steps"), [(MLP, 20), (TRANSFORMER, 5)], ids=["mlp", "transformer"])
def test_runs_batched_over_every_leaf_equal_runs_alone(net, steps):
    runs = [
        cfg.check(
            Config(
                task=TASK.replace(corruption=corruption, order=python_order(7, seed)),
                net=net.with_fields(init_scale=scale),
                optimizer=AdamW(lr=lr, weight_decay=decay, warmup=3),
                seed=seed,
            )
        )
        for corruption, scale, lr, decay, seed in [(0, 1, 1e-3, 1, 0), (0.2, 0.5, 1e-2, 0, 1), (0.5, 2, 3e-3, 0.3, 7)]
    ]
    gaps, axes = np.array([0, 1, steps - 1]), jax.tree.map(lambda _: 0, runs[0]).replace(data_seed=None)
    starts = [given(net, run.seed) if net is TRANSFORMER else None for run in runs]  # None: its own
    starts_together = jax.tree.map(lambda *x: np.stack(x), *starts)
    over_runs = jax.jit(jax.vmap(straight, in_axes=(axes, None, 0)), compiler_options=QUICK)
    state, trajectory = over_runs(cfg.stack(runs), gaps, starts_together)
    for i, run in enumerate(runs):
        start = init(run) if starts[i] is None else train.init(run, starts[i])
        own_state, own = advance(run, start, gaps)
        assert own_state.step == state.step[i] == steps
        for name, expected in own.params.items():
            off = np.linalg.norm(trajectory.params[name][i] - expected)
            assert off <= 1e-5 * np.linalg.norm(expected), name
        for name, expected in own.measures.items():
            np.testing.assert_allclose(trajectory.measures[name][i], expected, rtol=1e-5)
    losses = np.asarray(trajectory.measures["train_loss"])
    assert len(np.unique(losses[:, 0])) == len(np.unique(losses[:, -1])) == 3


BITS = cfg.check(
    Config(task=TASK.replace(order=python_order(7, 0)), net=TRANSFORMER, optimizer=AdamW(lr=0.01, warmup=3), seed=5)
)


def leaves(tree):
    return {jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def write_straight_and_chunked(folder):
    """In a process of its own: nine steps in one go and in two chunks, and the state after the first chunk."""
    go, start = jax.jit(train.advance), jax.jit(train.init)(BITS)
    end, points = go(BITS, start, np.array([0, 4, 5]))
    np.savez(folder / "straight.npz", **leaves((end, points)))
    state, first = go(BITS, start, np.array([0, 1, 3]))
    np.savez(folder / "state.npz", **leaves(state))
    state, second = go(BITS, state, np.array([2, 3, 0]))  # the last is padding
    points = jax.tree.map(lambda a, b: np.stack([a[0], a[2], b[1]]), first, second)
    np.savez(folder / "chunked.npz", **leaves((state, points)))


def write_resumed(folder):
    shapes = jax.eval_shape(train.init, BITS)
    saved = np.load(folder / "state.npz")
    state = jax.tree.unflatten(jax.tree.structure(shapes), [saved[name] for name in saved.files])
    end, points = jax.jit(train.advance)(BITS, state, np.array([5, 0, 0]))
    np.savez(folder / "resumed.npz", **leaves((end, points)))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin a process to one core")
def test_chunked_and_resumed_equal_straight_bit_for_bit(tmp_path):
    core = min(os.sched_getaffinity(0))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    for function in (write_straight_and_chunked, write_resumed):
        code = (
            f"import os; os.sched_setaffinity(0, {{{core}}})\n"  # before jax counts the cores
            "import sys, pathlib, test_train\n"
            f"test_train.{function.__name__}(pathlib.Path(sys.argv[1]))"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=True)
    one, chunked, resumed = (np.load(tmp_path / f"{name}.npz") for name in ("straight", "chunked", "resumed"))
    assert set(one) == set(chunked) == set(resumed)
    for name in one:
        assert one[name].tobytes() == chunked[name].tobytes(), name
        last = resumed[name] if name.startswith("[0]") else resumed[name][0]  # the state, or the last point
        assert (one[name] if name.startswith("[0]") else one[name][-1]).tobytes() == last.tobytes(), name
    assert (
        one["[0].step"] == 9
        and (one["[1].params['W_E']"][1:] != one["[1].params['W_E']"][:-1]).any(axis=(1, 2))[1:].all()
    )


def test_gaps_of_length_zero_change_nothing():
    plain, points = advance(CONFIG, init(CONFIG), np.array([0, 3, 2, 0, 0, 0]))
    padded, others = advance(CONFIG, init(CONFIG), np.array([0, 0, 3, 0, 0, 2]))
    equal(plain, padded)
    assert plain.step == 5
    for i, j in [(0, 0), (0, 1), (1, 2), (1, 3), (1, 4), (2, 5), (3, 5), (5, 5)]:
        equal(jax.tree.map(lambda x, i=i: x[i], points), jax.tree.map(lambda x, j=j: x[j], others))


def test_a_point_lies_after_its_gaps_steps():
    config, key = CONFIG, jax.random.key(0)
    state, points = advance(config, init(config), np.array([0, 1, 3, 0, 1, 0]))
    one_step = jax.jit(partial(train.step, config, train.data(config), key), compiler_options=QUICK)
    states = [init(config)]
    for _ in range(5):
        states.append(one_step(states[-1]))
    for i, n in enumerate([0, 1, 4, 4, 5, 5]):
        for name, x in points.params.items():
            np.testing.assert_allclose(x[i], states[n].params[name], rtol=1e-5, atol=1e-7)
    equal(state.params, jax.tree.map(lambda x: x[-1], points.params))
    assert state.step == states[5].step == 5


def test_step_0_of_the_warm_up_leaves_the_params_unchanged_and_the_loss_then_falls():
    _, points = advance(CONFIG, init(CONFIG), np.array([0, 1, 1, 10, 50, 100]))
    losses = np.asarray(points.measures["train_loss"])
    equal(*(jax.tree.map(lambda x, i=i: x[i], points.params) for i in (0, 1)))
    assert losses[0] == losses[1] and (np.diff(losses)[1:] < 0).all() and losses[-1] < 0.5 * losses[0]


def test_measures_are_those_of_the_recorded_params():
    _, points = advance(CONFIG, init(CONFIG), np.array([0, 10, 10, 10, 10, 10]))
    found, measure = train.data(CONFIG), jax.jit(CONFIG.task.measure, static_argnums=0, compiler_options=QUICK)
    for i in (0, 5):
        expected = measure(CONFIG.net.apply, jax.tree.map(lambda x, i=i: x[i], points.params), found)
        assert set(points.measures) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(points.measures[name][i], value, rtol=1e-5)


def test_given_params_are_the_start():
    own = init(CONFIG)
    params = jax.tree.map(lambda x: 0.5 * x + 0.1, own.params)
    state = train.init(CONFIG, params)
    equal(state.params, params)
    equal(state.opt_state, own.opt_state)
    assert state.step == 0 and state.step.dtype == jnp.int32
    _, points = advance(CONFIG, state, np.array([0, 5, 0, 0, 0, 0]))
    equal(jax.tree.map(lambda x: x[0], points.params), params)
    again, _ = advance(CONFIG, train.init(CONFIG, own.params), np.array([0, 5, 0, 0, 0, 0]))
    equal(again, advance(CONFIG, own, np.array([0, 5, 0, 0, 0, 0]))[0])


def test_probes_run_and_keep_records_only_what_it_names():
    def probe(params, run):
        return {"sum": params["W_U"].sum(), "pairs": run.data["train_mask"].sum(), "lr": run.config.optimizer.lr}

    gaps = np.array([0, 10, 10])
    go = jax.jit(partial(train.advance, probes={"mine": probe}, keep=("W_U",)), compiler_options=QUICK)
    state, points = go(CONFIG, init(CONFIG), gaps)
    assert set(points.params) == {"W_U"} and set(state.params) == {"W_E", "W_in", "W_U"}
    assert points.params["W_U"].shape == (3, 16, 7)
    assert set(points.probes) == {"mine"} and set(points.probes["mine"]) == {"sum", "pairs", "lr"}
    np.testing.assert_allclose(points.probes["mine"]["sum"], points.params["W_U"].sum(axis=(1, 2)), 1e-4, 1e-5)
    np.testing.assert_array_equal(points.probes["mine"]["pairs"], 20)
    np.testing.assert_array_equal(points.probes["mine"]["lr"], np.float32(0.01))


class Noise(struct.PyTreeNode):
    """A task whose gradient is the fresh batch itself, and whose data is its key."""

    n: int = static(default=4)

    def check(self):
        return self

    def data(self, key):
        return jax.random.key_data(key)

    def loss(self, apply, params, data, key):
        return jnp.sum(params["w"] * jax.random.normal(key, (self.n,)))

    def measure(self, apply, params, data):
        return {}


class Echo(struct.PyTreeNode):
    """A net whose weights are its key."""

    def init(self, key):
        return {"w": jax.random.key_data(key)}


def test_seed_gives_weights_and_data_a_key_each_and_data_seed_neither():
    keys = []
    for seed, data_seed in [(0, 0), (0, 1), (1, 0)]:
        config = Config(task=Noise(), net=Echo(), optimizer=SGD(), seed=seed, data_seed=data_seed)
        expected = jax.random.key_data(jax.random.split(jax.random.key(seed)))
        keys.append([train.init(config).params["w"], train.data(config)])
        np.testing.assert_array_equal(keys[-1], expected)
    assert len(np.unique(np.concatenate(keys), axis=0)) == 4


@pytest.mark.parametrize("data_seed", [0, 3])
def test_the_batch_of_a_step_comes_from_data_seed_and_step_alone(data_seed):
    config = cfg.check(Config(task=Noise(), net=MLP, optimizer=SGD(lr=1.0), data_seed=data_seed))
    state = train.init(config, {"w": jnp.zeros(4)})
    for gaps in ([5, 0], [2, 3]):
        _, points = advance(config, state, np.array(gaps))
        key = jax.random.key(data_seed)
        batches = [jax.random.normal(jax.random.fold_in(key, i), (4,)) for i in range(5)]
        np.testing.assert_allclose(points.params["w"][-1], -np.sum(batches, axis=0), rtol=1e-5)


def test_the_initial_loss_at_p_113_is_nandas():
    net = Net.of(Transformer, d_vocab=114, d_vocab_out=114, n_ctx=3)
    config = cfg.check(Config(task=ModularArithmetic(), net=net, optimizer=AdamW()))

    @partial(jax.jit, compiler_options=QUICK)
    def losses(config):
        params, found = train.init(config).params, train.data(config)
        return {
            name: x for name, x in config.task.measure(partial(config.net.apply, full=False), params, found).items()
        }

    for seed in range(3):
        found = losses(config.replace(seed=np.int32(seed)))
        assert 4.75 < found["train_loss"] < 4.79 and 4.75 < found["test_loss"] < 4.79  # his runs: 4.764 to 4.777
