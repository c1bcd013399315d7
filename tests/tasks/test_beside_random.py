"""A modular operation beside pairs with random labels: its tokens, the loss over both by hand, and what is measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab import configs as cfg
from toylab import train
from toylab.base import Config
from toylab.models import ModularMLP, Net, Transformer
from toylab.optim import AdamW
from toylab.tasks import ModularBesideRandom

KEY = jax.random.key(3)
P, N_TRAIN, N_RANDOM = 5, 9, 7


def mlp(**fields):
    return Net.of(ModularMLP, **{"d_vocab": 2 * P, "d_vocab_out": P, "d_model": 8, "d_mlp": 8, **fields})


def task_of(**fields):
    return ModularBesideRandom(**{"p": P, "n_train": N_TRAIN, "n_random": N_RANDOM, "op": "subtract", **fields})


def test_random_pairs_are_of_other_numbers_and_each_is_there_once():
    data = task_of().check().data(KEY)
    np.testing.assert_array_equal(data["tokens"], [[a, b, 2 * P] for a in range(P) for b in range(P)])
    a, b = np.divmod(np.arange(P**2), P)
    np.testing.assert_array_equal(np.ravel(data["labels"]), (a - b) % P)
    np.testing.assert_array_equal(np.sort(np.concatenate([data["train"], data["test"]])), np.arange(P**2))
    tokens = np.asarray(data["random_tokens"])
    assert tokens.shape == (N_RANDOM, 3) and len({*map(tuple, tokens)}) == N_RANDOM
    assert (tokens[:, :2] >= P).all() and (tokens[:, :2] < 2 * P).all() and (tokens[:, 2] == 2 * P).all()


def test_random_labels_are_uniform_and_a_seeds_own():
    """800 labels of 5 classes: 160 each, with a standard deviation of 11.3; five of them."""
    task = task_of(p=29, n_train=1, n_random=800)
    labels = np.asarray(task.data(KEY)["random_labels"])
    counts = np.bincount(labels % 5, minlength=5)
    expected = 800 * np.bincount(np.arange(29) % 5) / 29
    assert np.abs(counts - expected).max() < 5 * np.sqrt(800 * 0.2 * 0.8)
    assert (labels != np.asarray(task.data(jax.random.key(4))["random_labels"])).mean() > 0.9


def test_the_loss_is_the_mean_over_both_tasks():
    task, net = task_of(), mlp().check()
    data, params = task.data(KEY), net.init(jax.random.key(0))
    tokens = np.concatenate([data["tokens"][data["train"]], data["random_tokens"]])
    labels = np.concatenate([data["train_labels"], data["random_labels"]])
    logits = np.float64(net.apply(params, jnp.asarray(tokens))[0])
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]
    assert len(losses) == N_TRAIN + N_RANDOM
    np.testing.assert_allclose(task.loss(net.apply, params, data, KEY), losses.mean(), rtol=1e-5)
    found = task.measure(net.apply, params, data)
    np.testing.assert_allclose(found["train_loss"], losses[:N_TRAIN].mean(), rtol=1e-5)
    np.testing.assert_allclose(found["random_accuracy"], (logits.argmax(1) == labels)[N_TRAIN:].mean(), rtol=1e-6)


def test_without_random_pairs_it_is_the_operation_alone():
    task, net = task_of(n_random=0), mlp().check()
    data, params = task.data(KEY), net.init(jax.random.key(0))
    found = task.measure(net.apply, params, data)
    np.testing.assert_allclose(task.loss(net.apply, params, data, KEY), found["train_loss"], rtol=1e-5)
    assert np.isnan(found["random_accuracy"])


def test_a_network_learns_both_by_heart():
    config = cfg.check(Config(task_of(), mlp(d_model=32, d_mlp=64), AdamW(lr=1e-2, weight_decay=0.0), seed=1))
    _, points = jax.jit(train.advance)(config, train.init(config), jnp.array([0, 300]))
    for name in ("train_accuracy", "random_accuracy"):
        assert points.measures[name][-1] == 1 and points.measures[name][0] < 0.8


@pytest.mark.parametrize(
    ("task", "net", "message"),
    [
        ({"n_random": -1}, mlp(), r"^task\.n_random is -1: it must lie between 0 and 25, all p² pairs\.$"),
        ({"n_random": 26}, mlp(), r"^task\.n_random is 26: "),
        ({"n_train": 0}, mlp(), r"^task\.n_train is 0: "),
        ({}, mlp(d_vocab=9), r"^net\.d_vocab is 9: task\.p = 5 needs 10, two sets of numbers and '='\.$"),
        ({}, mlp(d_vocab_out=4), r"^net\.d_vocab_out is 4: "),
        ({}, Net.of(Transformer, d_vocab=10, d_vocab_out=5, n_ctx=3), r"^net\.d_vocab is 10: task\.p = 5 needs 11"),
    ],
)
def test_what_does_not_fit_is_refused(task, net, message):
    with pytest.raises(ValueError, match=message):
        cfg.check(Config(task_of(**task), net, AdamW()))
