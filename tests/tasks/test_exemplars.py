"""The relabelled-exemplar task: the laws of what is drawn, its limits, and its clamps on a machine built by hand."""

import dataclasses
from functools import cache
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exemplar_machine import D_HEAD, KEY, MACHINE, NET, SMALL, SURE, C, D, N

from toylab import configs as cfg
from toylab.base import Config
from toylab.losses import cross_entropy
from toylab.models import ExemplarTransformer, Net
from toylab.optim import Adam
from toylab.tasks import RelabelledExemplars


@cache
def measuring(clamp):
    """One compile a clamp: the head is a leaf."""
    task = dataclasses.replace(SMALL, clamp=clamp, previous_head=1)
    return jax.jit(lambda params, data, head: task.replace(head=head).measure(NET.apply, params, data))


def measured(clamp, params, data, head=2):
    return {name: float(value) for name, value in measuring(clamp)(params, data, head).items()}


@pytest.fixture(scope="module")
def data():
    return jax.jit(SMALL.data)(KEY)


def test_sequences_are_two_classes_two_labels_and_one_of_the_classes_again():
    pairs = jnp.array([[0, 1], [2, 4], [1, 3]])
    batch = jax.jit(RelabelledExemplars(n_classes=7).sample, static_argnums=1)(KEY, 20_000, pairs)
    x1, l1, x2, l2, query = np.asarray(batch.tokens).T
    assert (x1 != x2).all() and {tuple(sorted(pair)) for pair in zip(l1 - 7, l2 - 7, strict=True)} == {
        (0, 1),
        (2, 4),
        (1, 3),
    }
    correct = np.asarray(batch.correct)
    first = correct == 1
    assert set(correct) == {1, 3} and (query == np.where(first, x1, x2)).all()
    assert (np.asarray(batch.labels) == np.where(first, l1, l2) - 7).all()
    se = 3.5 * 0.5 / 20_000**0.5
    assert abs(first.mean() - 0.5) < se and abs((l1 < l2).mean() - 0.5) < se
    np.testing.assert_allclose(np.bincount(x1, minlength=7) / 20_000, 1 / 7, atol=0.01)
    together = np.bincount(7 * x1 + x2, minlength=49).reshape(7, 7) / 20_000
    np.testing.assert_allclose(together, (1 - np.eye(7)) / 42, atol=0.006)


@pytest.mark.slow
def test_held_out_pairs_are_never_trained_on():
    task = RelabelledExemplars(n_eval=4000)
    data = jax.jit(task.data)(KEY)

    def labels(batch):
        return {tuple(sorted(pair)) for pair in np.asarray(batch.tokens)[:, [1, 3]] - 50}

    seen, held_out = labels(data["eval"]), labels(data["held_out"])
    assert len(seen) == 8 and len(held_out) == 2 and seen | held_out == set(combinations(range(5), 2))
    trained = []

    def spy(params, x):
        trained.append(x)
        return jnp.zeros((len(x), 5)), {}

    @jax.jit
    def batch():
        task.loss(spy, {}, data, KEY)
        return trained.pop()

    vectors = np.asarray(batch())
    assert vectors.shape == (32, 5, 517) and (vectors[:, ::2, 512:] == 0).all() and (vectors[:, 1::2, :512] == 0).all()
    assert {tuple(sorted(pair)) for pair in vectors[:, 1::2, 512:].argmax(axis=-1)} <= seen


@pytest.mark.slow
def test_exemplars_come_from_the_data_key_or_are_given(data):
    assert (np.asarray(jax.jit(RelabelledExemplars().data)(KEY)["vectors"])[:50, :512] >= 0).all()
    np.testing.assert_array_equal(data["vectors"], np.eye(C + N))


def test_limits():
    task = RelabelledExemplars()
    assert task.context_loss() == np.log(2) and task.uniform_loss() == np.log(5)
    pairs = jnp.array([[0, 1], [0, 2]])
    np.testing.assert_allclose(jax.jit(task.marginal_loss)(pairs), 0.5 * np.log(2) + 0.5 * np.log(4), rtol=1e-6)
    batch = jax.jit(task.sample, static_argnums=1)(KEY, 1000)
    only_context = np.zeros((1000, 5), np.float32)
    only_context[np.arange(1000)[:, None], np.asarray(batch.tokens)[:, [1, 3]] - 50] = 40
    loss = jax.jit(cross_entropy)(only_context, batch.labels)
    np.testing.assert_allclose(np.mean(loss), task.context_loss(), rtol=1e-5)


def test_the_machine_matches_and_copies(data):
    found = measured("none", MACHINE, data)
    assert found["accuracy"] == found["held_out_accuracy"] == 1 and found["loss"] < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clamp", "broken"),
    [
        ("previous_token", {"W_Q": 0}),  # of layer 1
        ("first_layer", {"W_V": 0, "W_O": 0}),  # of layer 1
        ("match", {"W_Q": 1, "W_K": 1}),
        ("copy", {"W_V": 1, "W_O": 1}),
        ("first_layer_and_copy", {"W_V": slice(None), "W_O": slice(None)}),
    ],
)
def test_a_clamp_mends_what_it_clamps(data, clamp, broken):
    """The machine with some parts broken: wrong as it is, right under the clamp, and of the right head only."""
    params = {name: value.copy() for name, value in MACHINE.items()}
    for name, layer in broken.items():
        params[name][layer] = 0
    if clamp.startswith("first_layer"):  # keys read the token before itself, not where head 1 would have put it
        params["W_K"][1, 2] = np.eye(D)[:, :D_HEAD]
    assert measured("one_head", params, data)["loss"] > 0.6
    assert measured(clamp, params, data)["accuracy"] == 1 and measured(clamp, params, data)["loss"] < 1e-3
    assert measured(clamp, params, data, head=0)["loss"] > 0.6


def test_copied_logits_are_scores_at_labels(data):
    task = dataclasses.replace(SMALL, clamp="copy", head=2)
    logits = np.asarray(jax.jit(lambda p: task.logits(NET.apply, p, data, data["eval"]))(MACHINE))
    labels = np.asarray(data["eval"].tokens)[:, [1, 3]] - C
    assert ((logits > -1e8).sum(axis=1) == 2).all() and (np.take_along_axis(logits, labels, axis=1) > -1e8).all()
    right = np.take_along_axis(logits, np.asarray(data["eval"].labels)[:, None], axis=1)
    np.testing.assert_allclose(right, SURE / D_HEAD**0.5, rtol=1e-5)


def test_network_starts_at_the_papers_scales():
    params = jax.jit(Net.of(ExemplarTransformer).init)(KEY)
    assert params["W_E"].shape == (517, 64) and "W_pos" not in params
    assert {name: value.shape[0] for name, value in params.items() if name[0] == "l"} == {
        "ln1_w": 2,
        "ln1_b": 2,
        "ln_final_w": 64,
        "ln_final_b": 64,
    }
    stds = {name: float(np.std(params[name])) for name in ("W_Q", "W_O", "W_U")}
    np.testing.assert_allclose(list(stds.values()), 1 / 8, rtol=0.15)
    np.testing.assert_allclose(np.std(np.asarray(params["W_E"])[:512]), 512**-0.5, rtol=0.02)
    assert 0.03 < float(np.max(np.abs(np.asarray(params["W_E"])[512:]))) <= 0.04  # truncated at two scales of 0.02


@pytest.mark.slow
def test_a_copy_clamp_trains_matching_alone(data):
    """Gradient reaches queries and keys of the one head of layer 2, and nothing that comes after its scores."""
    task, noise = dataclasses.replace(SMALL, clamp="copy", head=2), np.random.default_rng(0)
    params = {name: value + 0.1 * noise.normal(size=value.shape).astype(np.float32) for name, value in MACHINE.items()}
    gradient = jax.jit(jax.grad(lambda p: task.loss(NET.apply, p, data, KEY)))(params)
    moved = {
        name: np.abs(np.asarray(value)).sum(axis=tuple(range(2, value.ndim))) > 0 for name, value in gradient.items()
    }
    assert moved["W_K"].tolist() == moved["W_Q"].tolist() == [[True] * 3, [False, False, True]]
    assert moved["W_V"].tolist() == [[True] * 3, [False] * 3] and not moved["W_U"].any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_labels": 2}, "task.n_labels is 2: it must be at least 3."),
        ({"n_held_out": 10}, "task.n_held_out is 10: it must lie between 1 and 9, since 5 labels have 10 pairs."),
        ({"clamp": "paste"}, "task.clamp is 'paste': it must be one of none, one_head, previous_token"),
        ({"head": -1}, "task.head is -1: it must be the number of a head, from 0."),
        ({"features": np.ones((3, 2))}, r"task.features has shape \(3, 2\): it must be \[n_classes, d_features\]"),
    ],
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        RelabelledExemplars(**fields).check()


@pytest.mark.parametrize(
    ("task", "net", "message"),
    [
        ({}, {"d_features": 8}, "net.d_features is 8: it must be task.d_features = 512."),
        ({}, {"n_ctx": 4}, "net.n_ctx is 4: the task has 5 positions"),
        ({"clamp": "match"}, {"n_layers": 3}, "net.n_layers is 3: clamp match is of a network of 2 layers."),
        ({"head": 8}, {}, "task.head is 8: it must be below net.n_heads = 8."),
    ],
)
def test_a_network_that_does_not_fit_is_refused(task, net, message):
    with pytest.raises(ValueError, match=message):
        cfg.check(Config(RelabelledExemplars(**task), Net.of(ExemplarTransformer, **net), Adam()))


def test_heads_must_be_of_even_width():
    with pytest.raises(ValueError, match=r"net.d_model is 24: it must be a multiple of 2 · net.n_heads = 16"):
        Net.of(ExemplarTransformer, d_model=24).check()
