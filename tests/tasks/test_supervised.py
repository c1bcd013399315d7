"""Supervised tasks: the rules by hand, epochs as torch's, training towards what can be learned, what does not fit."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab import configs as cfg
from toylab import train
from toylab.base import Config
from toylab.models import Dense, DiagonalNet, FactoredMatrix, Net
from toylab.optim import SGD, Adam
from toylab.protocol import batch_key
from toylab.tasks import (
    LinearTeacher,
    MatrixCompletion,
    RandomLabels,
    SeparatedLinear,
    SparseLinear,
    SparseParity,
    SpikedTeacher,
    TeacherStudent,
)

KEY = jax.random.key(0)


def drawn(task):
    return {name: np.asarray(value) for name, value in task.check().data(KEY).items()}


def config(task, optimizer=None, **net):
    dense = Net.of(Dense, d_in=task.n_inputs, d_out=task.n_outputs, **{"widths": (32,), **net})
    return cfg.check(Config(task, dense, optimizer or Adam(lr=1e-2)))


def test_labels_follow_the_rules():
    bits = drawn(SparseParity(n_train=300))
    np.testing.assert_array_equal(bits["y"], bits["x"][:, :3].prod(axis=1) > 0)
    assert set(np.unique(bits["x"])) == {-1, 1} and bits["x_test"].shape == (1000, 40)
    assert abs(bits["y_test"].mean() - 0.5) < 4 * 0.5 / 1000**0.5
    one = drawn(SparseLinear(n_train=200, d=30))
    signs = np.linalg.lstsq(one["x"], 2.0 * one["y"] - 1, rcond=None)[0]
    assert (np.abs(signs[:3]) > 0.3).all() and np.abs(signs[3:]).max() < 0.2  # three coordinates of equal weight
    np.testing.assert_array_equal(one["y"], one["x"][:, :3] @ np.sign(signs[:3]) > 0)
    apart = drawn(SeparatedLinear(n_train=4000, d=50, gap=6.0))
    between = apart["x"][apart["y"] == 1].mean(axis=0) - apart["x"][apart["y"] == 0].mean(axis=0)
    np.testing.assert_allclose(np.abs(between), 6 / 50**0.5, atol=5 * 2 / 4000**0.5)
    plain, squared = (drawn(LinearTeacher(n_train=500, d=8, quadratic=q)) for q in (False, True))
    w = np.linalg.lstsq(plain["x"], plain["y"], rcond=None)[0]
    np.testing.assert_allclose(np.linalg.norm(w), 1, rtol=1e-5)
    np.testing.assert_allclose(plain["teacher"], w[:, 0], atol=1e-5)
    np.testing.assert_allclose(squared["y"], (squared["x"] * 8**0.5 @ w) ** 2 / 2, rtol=1e-4, atol=1e-5)
    spiked = drawn(SpikedTeacher(n_train=4000, d=12, n_spikes=3, bulk=0.2))
    spread = np.std(spiked["x"], axis=0)
    np.testing.assert_allclose(spread, [1] * 3 + [0.2] * 9, rtol=5 / (2 * 4000) ** 0.5)  # five standard errors
    assert not spiked["teacher"][3:].any() and np.linalg.norm(spiked["teacher"]) == pytest.approx(1, rel=1e-6)
    np.testing.assert_allclose(spiked["y"][:, 0], spiked["x"] @ spiked["teacher"], atol=1e-5)
    labels = drawn(RandomLabels(n_train=4000, classes=4))["y"]
    assert np.abs(np.bincount(labels) / 4000 - 0.25).max() < 5 * (3 / 16 / 4000) ** 0.5


def test_a_student_that_is_the_teacher_makes_no_error():
    task = TeacherStudent(n_train=20)
    one = config(task, widths=(100, 100), activation="tanh")
    _, weights = jax.random.split(KEY)
    apply = partial(one.net.apply, full=False)
    found = task.measure(apply, task.teacher(weights), task.data(KEY))
    assert found["train_loss"] < 1e-12 and found["test_loss"] < 1e-12 and found["test_accuracy"] == 1
    for name, value in task.teacher(weights).items():
        assert np.abs(value).max() <= 1 / (5 if name[-1] == "0" else 100) ** 0.5


def test_each_epoch_takes_every_example_once_and_ends_with_what_is_left():
    task = RandomLabels(n_train=10, n_test=0, batch_size=4, d=3).replace(loss_kind="cross_entropy").check()
    data = task.data(KEY) | {"x": jnp.eye(10, 3) * 0 + jnp.arange(10.0)[:, None]}
    seen, sizes = [], []
    for step in range(6):  # two epochs of 4, 4 and 2

        def apply(params, x, **_):
            return jnp.stack([params * x[:, 0], 0 * x[:, 0]], axis=1), {}

        key = batch_key(task, KEY, jnp.int32(step))

        def weighted(w, key=key):
            return task.loss(lambda _, x: apply(w[x[:, 0].astype(int)], x), None, data, key)

        seen.append(set(np.flatnonzero(jax.grad(weighted)(jnp.zeros(10)))))
        sizes.append(len(seen[-1]))
    first, second = (set.union(*seen[i : i + 3]) for i in (0, 3))
    assert first == second == set(range(1, 10))  # example 0 has the input 0, and so no gradient
    assert sum(sizes[:3]) == sum(sizes[3:]) == 9 and max(sizes) == 4 and seen[:3] != seen[3:]


def test_a_batch_as_large_as_the_set_is_the_set():
    task = SparseParity(n_train=64, batch_size=64)
    one, all_ = config(task), config(task.replace(batch_size=0))
    params, data = train.init(one).params, train.data(one)
    apply = partial(one.net.apply, full=False)
    key = batch_key(one.task, KEY, jnp.int32(3))
    assert one.task.loss(apply, params, data, key) == all_.task.loss(apply, params, data, key)


@pytest.mark.parametrize(
    "task",
    [
        SparseParity(n_train=100, n_bits=8, k=2, batch_size=25), SparseLinear(n_train=100, d=10),
        SeparatedLinear(n_train=100, d=10), RandomLabels(n_train=30, d=10, classes=3), LinearTeacher(n_train=100, d=5),
        TeacherStudent(n_train=50, width=10),
    ],
)  # fmt: skip
def test_a_dense_network_learns_the_training_set(task):
    one = config(task, widths=(64,))
    _, trajectory = train.advance(one, train.init(one), jnp.array([0, 800]))
    start, end = trajectory.measures["train_loss"]
    assert end < 0.2 * start and np.isfinite(trajectory.measures["test_loss"]).all()
    if task.n_classes:
        assert trajectory.measures["train_accuracy"][-1] == 1


def test_a_diagonal_network_fits_a_task_of_one_output():
    one = cfg.check(Config(SparseLinear(n_train=50, d=20), Net.of(DiagonalNet, d_in=20), SGD(lr=0.1)))
    _, trajectory = train.advance(one, train.init(one), jnp.array([0, 500]))
    assert trajectory.measures["train_loss"][-1] < 0.7 * trajectory.measures["train_loss"][0]


def test_entries_of_a_matrix_are_completed():
    task = MatrixCompletion(d=6, n_train=20, n_test=16)
    found = drawn(task)
    places = np.concatenate([found["x"], found["x_test"]])
    assert sorted(map(tuple, places.tolist())) == [(i, j) for i in range(6) for j in range(6)]  # each once
    np.testing.assert_allclose(np.concatenate([found["y"], found["y_test"]])[:, 0], places.prod(axis=1) / 36, rtol=1e-6)
    one = cfg.check(Config(task, Net.of(FactoredMatrix, d=6, alpha=0.5), SGD(lr=0.2, weight_decay=1e-3)))
    _, trajectory = train.advance(one, train.init(one), jnp.array([0, 3000]))
    assert trajectory.measures["train_loss"][-1] < 1e-3 and trajectory.measures["test_loss"][-1] < 0.1


def test_what_does_not_fit_is_refused():
    for task, sentence in (
        (
            MatrixCompletion(n_test=321),
            r"task\.n_train is 80 and task\.n_test 321: a matrix with task\.d = 20 has 400 entries",
        ),
        (SparseParity(k=0), r"task\.k is 0: it must lie between 1 and 40"),
        (SparseParity(loss_kind="squared_errors"), r"task\.loss_kind is 'squared_errors'"),
        (SparseLinear(s=4), r"task\.s is 4: it must be an odd number"),
        (RandomLabels(classes=3, loss_kind="hinge"), r"'hinge': it is of two classes, and the task has 3"),
        (TeacherStudent(loss_kind="hinge"), r"the answers are numbers, so 'squared_error'"),
        (SparseParity(batch_size=-1), r"task\.batch_size is -1"),
        (SeparatedLinear(gap=-1.0), r"task\.gap -1\.0"),
        (SpikedTeacher(n_spikes=401), r"task\.n_spikes is 401: it must lie between 1 and 400"),
        (SpikedTeacher(quadratic=True), r"task\.quadratic is True: the answers of a SpikedTeacher are linear"),
        (SpikedTeacher(bulk=0.0), r"task\.bulk is 0\.0: it must be a standard deviation above 0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            task.check()
    for net in (Net.of(FactoredMatrix, d=19), Net.of(Dense, d_in=2, d_out=1)):
        with pytest.raises(ValueError, match=r"net\.d is (19|0): it must be task\.d, which is 20"):
            cfg.check(Config(MatrixCompletion(), net, SGD()))
    with pytest.raises(ValueError, match=r"net\.d_out is 2: it must be the task's n_outputs, which is 1"):
        cfg.check(Config(SparseParity(), Net.of(Dense, d_in=40, d_out=2), SGD()))
