"""In-context classification: laws of the sequences, exact limits, predictors with known answers, what is refused."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.tasks import ItemLabelPairs
from toylab.tasks.classification_limits import confusion, labels_alone

KEY = jax.random.key(3)
QUICK = {"xla_backend_optimization_level": 0}  # halves the time to compile
MANY = 4000  # sequences: a share of 1/2 has a standard error of 0.008
SMALL = dict(n_classes=24, n_labels=8, n_pairs=4, burst=2, dim=15, n_positions=12, n_eval=1000, noise=0.01)
TASK = ItemLabelPairs(**SMALL).check()
TASKS = ItemLabelPairs(**{**SMALL, "n_tasks": 3, "burst": 1, "bursty": 0.0}).check()


@partial(jax.jit, compiler_options=QUICK)
def sequences(task):
    """One compile for all tasks of a structure: shares and noise are leaves."""
    return task.sample(KEY, MANY)


classes = jax.jit(lambda task: task.classes(), compiler_options=QUICK)
evaluation = jax.jit(lambda task, seed: task.data(jax.random.key(seed)), compiler_options=QUICK)


class Decoded:
    """What the vectors of sequences say, found by nearest mean and nearest label vector."""

    def __init__(self, task, batch=None):
        batch = {name: np.asarray(value) for name, value in (batch or sequences(task)).items()}
        known = {name: np.asarray(value) for name, value in classes(task).items()}
        content = batch["x"][..., task.n_positions :]
        self.positions = batch["x"][..., : task.n_positions]
        self.items, vectors = content[:, ::2], content[:, 1::2]
        self.labels = nearest(vectors, known["label_vectors"])  # [n, N]
        self.classes = nearest(self.items, known["means"])  # [n, N + 1]
        self.y, self.support, self.known = batch["y"], batch["support"], known


def nearest(x, points):
    return (np.sum(points**2, axis=1) - 2 * x @ points.T).argmin(axis=-1)


@pytest.fixture(scope="module")
def drawn():
    return Decoded(TASK)


def test_labels_are_those_of_their_classes_and_the_answer_is_in_the_context(drawn):
    np.testing.assert_array_equal(drawn.labels, drawn.known["labels"][0][drawn.classes[:, :-1]])
    np.testing.assert_array_equal(drawn.y, drawn.known["labels"][0][drawn.classes[:, -1]])
    np.testing.assert_array_equal(drawn.support, drawn.classes[:, :-1] == drawn.classes[:, -1:])
    assert (drawn.support.sum(axis=1) >= 2).all()  # burst
    assert ((drawn.labels == drawn.y[:, None]) | ~drawn.support).all()


def test_bursts_come_in_random_order_and_classes_evenly(drawn):
    first = drawn.classes[:, 0, None] == drawn.classes[:, 1:4]
    np.testing.assert_allclose(first.mean(axis=0), 1 / 3 + 2 / 3 / 24, atol=0.03)
    np.testing.assert_allclose(np.bincount(drawn.classes[:, -1], minlength=24) / MANY, 1 / 24, atol=0.012)
    np.testing.assert_allclose(drawn.support.mean(axis=0), 0.5 + 0.5 / 24, atol=0.03)


def test_positions_are_one_hot_in_a_row_from_a_random_offset(drawn):
    assert drawn.positions.shape == (MANY, 9, 12) and (drawn.positions.sum(axis=-1) == 1).all()
    at = drawn.positions.argmax(axis=-1)
    assert (np.diff(at, axis=1) == 1).all()
    np.testing.assert_allclose(np.bincount(at[:, 0]) / MANY, 0.25, atol=0.03)  # offsets 0 to 3


def test_items_are_the_mean_with_noise_at_unit_variance():
    task = TASK.replace(noise=0.5)
    x = Decoded(task)
    spread = x.items[:, -1] - x.known["means"][x.classes[:, -1]] / np.sqrt(1.25)
    assert np.abs(spread.mean(axis=0)).max() < 0.02
    assert (spread**2).mean() == pytest.approx(0.25 / 1.25 / 15, rel=0.1)  # a few are taken for another class
    assert (evaluation(TASK, 0)["icl"]["x"][:, ::2, 12:] ** 2).sum(axis=-1).mean() == pytest.approx(1, abs=0.03)


def test_zipf_weighs_classes_by_their_rank():
    share = np.bincount(Decoded(TASK.replace(zipf=1.0, bursty=0.0)).classes.ravel(), minlength=24) / (5 * MANY)
    np.testing.assert_allclose(share, (1 / np.arange(1, 25)) / (1 / np.arange(1, 25)).sum(), atol=0.01)


def test_sequences_that_are_not_bursty_have_independent_classes():
    x = Decoded(TASK.replace(bursty=0.25))
    supported = x.support.any(axis=1).mean()
    assert supported == pytest.approx(0.25 + 0.75 * (1 - (23 / 24) ** 4), abs=0.03)


def test_relabelled_sequences_have_labels_of_their_own_still_one_a_class():
    x = Decoded(TASK.replace(relabelled=1.0))
    assert (x.labels == x.known["labels"][0][x.classes[:, :-1]]).mean() == pytest.approx(1 / 8, abs=0.02)
    assert ((x.labels == x.y[:, None]) | ~x.support).all()
    share = TASK.replace(relabelled=0.5)
    kept = Decoded(share)
    assert (kept.y == kept.known["labels"][0][kept.classes[:, -1]]).mean() == pytest.approx(0.5 + 0.5 / 8, abs=0.03)


def test_the_sets_hold_what_they_say():
    """Classes never seen, swapped labels, no support; the same for every run."""
    icl, swap, iwl = (Decoded(TASK, evaluation(TASK, 0)[kind]) for kind in ("icl", "swap", "iwl"))
    assert ((icl.items[:, :, None] - icl.known["means"]) ** 2).sum(axis=-1).min() > 0.1  # 0.01² within a class
    assert ((icl.labels == icl.y[:, None]) == icl.support).all() and (icl.support.sum(axis=1) == 2).all()
    np.testing.assert_array_equal(swap.labels, (swap.known["labels"][0][swap.classes[:, :-1]] + 1) % 8)
    np.testing.assert_array_equal(swap.y, (swap.known["labels"][0][swap.classes[:, -1]] + 1) % 8)
    assert not iwl.support.any() and not (iwl.classes[:, :-1] == iwl.classes[:, -1:]).any()
    np.testing.assert_array_equal(iwl.y, iwl.known["labels"][0][iwl.classes[:, -1]])


@pytest.mark.slow
def test_a_task_shifts_all_labels_of_its_sequence():
    x = Decoded(TASKS, evaluation(TASKS, 0)["train"])
    shift = (x.labels - x.known["labels"][0][x.classes[:, :-1]]) % 8
    assert (shift == shift[:, :1]).all() and set(shift[:, 0]) == {0, 1, 2}
    np.testing.assert_array_equal(x.y, (x.known["labels"][0][x.classes[:, -1]] + shift[:, 0]) % 8)
    np.testing.assert_array_equal(x.known["labels"], (x.known["labels"][0] + np.arange(3)[:, None]) % 8)


def test_every_run_is_measured_on_the_same_sequences():
    jax.tree.map(np.testing.assert_array_equal, evaluation(TASK, 0), evaluation(TASK, 1))


# --- predictors with known answers


def answering(task, guess):
    """A network that gives its guess [n] of a label, made from sequences x, all the logit."""

    def apply(params, x, patch=None, *, full=True):
        return 9.0 * jax.nn.one_hot(guess(task, x), task.n_labels), {}

    return apply


def by_context(task, x):
    """The label that follows the nearest item of the context."""
    content = x[..., task.n_positions :]
    pair = jnp.argmin(jnp.sum((content[:, :-1:2] - content[:, -1:]) ** 2, axis=-1), axis=1)
    followed = jnp.take_along_axis(content[:, 1::2], pair[:, None, None], axis=1)[:, 0]
    return jnp.argmax(followed @ task.classes()["label_vectors"].T, axis=-1)


def by_weights(task, x):
    """The label of the nearest known class."""
    known = task.classes()
    near = jnp.argmin(jnp.sum((known["means"] - x[:, -1, None, task.n_positions :]) ** 2, axis=-1), axis=1)
    return known["labels"][0][near]


def by_first_pair(task, x):
    return jnp.argmax(x[:, 1, task.n_positions :] @ task.classes()["label_vectors"].T, axis=-1)


def measured(task, guess):
    found = task.measure(answering(task, guess), {}, evaluation(task, 0))
    return {name: float(value) for name, value in found.items()}


@pytest.mark.slow
def test_a_learner_from_the_context_and_one_from_the_weights_are_told_apart():
    context, weights = measured(TASK, by_context), measured(TASK, by_weights)
    assert context["accuracy"] > 0.99 and context["icl_accuracy"] > 0.99 and context["swap_accuracy"] > 0.99
    assert context["iwl_accuracy"] < 0.25  # 1/8 and a little: another class of the context may have the label
    assert weights["accuracy"] > 0.99 and weights["iwl_accuracy"] > 0.99
    assert weights["swap_accuracy"] < 0.01 and weights["icl_accuracy"] == pytest.approx(1 / 8, abs=0.06)
    assert context["loss"] == pytest.approx(np.log1p(7 * np.exp(-9)), rel=0.1)


def test_a_label_of_the_context_reaches_its_limit():
    limits = TASK.limits()
    assert limits["chance"] == 1 / 8 and limits["context_label"] == 1 / 2 and limits["in_context"] == 1
    assert measured(TASK, by_first_pair)["icl_accuracy"] == pytest.approx(limits["context_label"], abs=0.08)


def test_on_several_tasks_the_weights_reach_one_over_their_number():
    found = measured(TASKS, by_weights)
    assert found["accuracy"] == pytest.approx(TASKS.limits()["no_context"], abs=0.07)


def test_labels_alone_is_the_sum_over_all_label_sequences():
    labels = np.array([[0, 0, 1, 3, 3, 3], [1, 1, 2, 0, 0, 0], [2, 2, 3, 1, 1, 1]])
    share = [[np.mean(row == label) for label in range(4)] for row in labels]
    best = [
        max(np.prod([row[label] for label in context]) for row in share)
        for context in itertools.product(range(4), repeat=3)
    ]
    assert labels_alone(labels, 3, 4) == pytest.approx(sum(best) / 3, rel=1e-12)
    assert labels_alone(labels[:1], 3, 4) == 1
    even = np.array([[0, 1, 2, 3], [1, 2, 3, 0]])  # each label as often in each task: nothing to learn from them
    assert labels_alone(even, 5, 4) == pytest.approx(1 / 2)


def test_labels_alone_is_what_bayes_guess_reaches_on_drawn_sequences():
    x = Decoded(TASKS, evaluation(TASKS, 0)["train"])
    counts = np.stack([np.bincount(row, minlength=8) for row in x.known["labels"]])  # [T, L]
    task = np.log(np.maximum(counts, 1e-9))[:, x.labels].sum(axis=-1).argmax(axis=0)
    asked = x.classes[:, -1]
    reached = (x.known["labels"][task, asked] == x.y).mean()
    assert TASKS.limits()["labels_alone"] == pytest.approx(reached, abs=0.03)
    assert 1 / 3 < TASKS.limits()["labels_alone"] < 1


def test_confusion_is_the_share_of_items_nearer_to_another_mean():
    noise, dim, n = 2.0, 5, 40_000
    mean, other, eta = np.random.default_rng(0).normal(size=(3, n, dim)) / dim**0.5
    x = mean + noise * eta
    nearer = (((x - other) ** 2).sum(axis=1) < ((x - mean) ** 2).sum(axis=1)).mean()
    assert confusion(noise, dim) == pytest.approx(nearer, abs=0.01)
    assert confusion(0.0, 5) == 0 and confusion(0.1, 63) < 1e-12


# --- what is refused


def test_an_unknown_kind_of_sequences_is_refused():
    with pytest.raises(ValueError, match=r"^kind is 'iid': it must be one of train, icl, swap, iwl\.$"):
        TASK.sample(KEY, 3, "iid")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"burst": 3}, "task.burst is 3: it must divide task.n_pairs = 8."),
        ({"n_classes": 16}, "task.n_classes is 16: it must be at least task.n_labels = 32."),
        ({"n_positions": 16}, "task.n_positions is 16: 8 pairs and an item take 17 positions."),
        ({"n_labels": 2, "burst": 4}, "task.n_labels is 2"),
        ({"n_tasks": 32}, "task.n_labels is 32: it must exceed task.n_tasks = 32"),
        ({"noise": -0.1}, "task.noise is -0.1"),
        ({"bursty": 1.5}, "task.bursty is 1.5: it must lie in [0, 1]"),
        ({"relabelled": float("nan")}, "task.relabelled is nan"),
        ({"n_pairs": 0}, "task.n_pairs is 0: it must be at least 1."),
    ],
)
def test_bad_tasks_are_refused_in_one_sentence(fields, words):
    with pytest.raises(ValueError) as caught:
        ItemLabelPairs(**fields).check()
    assert str(caught.value).startswith(words) and "\n" not in str(caught.value)


class FakeNet:
    inputs, d_model, n_ctx, d_vocab_out, readout = "residual", 128, 17, 32, "last"


@pytest.mark.parametrize(
    ("name", "value"),
    [("inputs", "tokens"), ("d_model", 64), ("n_ctx", 16), ("d_vocab_out", 31), ("readout", "all")],
)
def test_a_net_that_does_not_fit_is_refused(name, value):
    net = FakeNet()
    ItemLabelPairs().check_net(net)
    setattr(net, name, value)
    with pytest.raises(ValueError, match=f"net.{name} is {value!r}"):
        ItemLabelPairs().check_net(net)
