"""Addition towards random vectors: its pairs, split, batches, losses and accuracies against plain ones, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis import representation as rep
from toylab.base import Config
from toylab.configs import check
from toylab.models import Net, SumDecoder
from toylab.optim import AdamW
from toylab.tasks import Addition

KEY = jax.random.key(0)


def network(d_out=30, p=10):
    return Net.of(SumDecoder, d_vocab=p, d_vocab_out=d_out, d_mlp=8)


def test_pairs_stand_as_in_the_analyzers_and_each_is_trained_or_tested_on():
    data = Addition(n_train=20).data(KEY)
    np.testing.assert_array_equal(data["tokens"], rep.pairs(10).pairs)
    np.testing.assert_array_equal(data["sums"], rep.pairs(10).pairs.sum(axis=1))
    assert sorted([*data["train"].tolist(), *data["test"].tolist()]) == list(range(55))
    np.testing.assert_array_equal(np.flatnonzero(data["train_mask"]), np.sort(data["train"]))
    assert data["targets"].shape == (19, 30) and abs(float(data["targets"].std()) - 1) < 0.15  # 570 draws: 5 errors


def test_losses_and_accuracies_are_the_plain_ones():
    task, net = Addition(label_scale=2.0), network()
    params, data = net.init(KEY), task.data(KEY)
    outputs = np.asarray(net.apply(params, data["tokens"])[0], float)
    wanted = np.asarray(data["targets"], float)
    squares = ((outputs - wanted[np.asarray(data["sums"])]) ** 2).mean(axis=1)
    nearest = ((outputs[:, None] - wanted) ** 2).sum(axis=2).argmin(axis=1) == np.asarray(data["sums"])
    found = task.measure(net.apply, params, data)
    for name in ("train", "test"):
        assert float(found[f"{name}_loss"]) == pytest.approx(squares[np.asarray(data[name])].mean(), rel=1e-5)
        assert float(found[f"{name}_accuracy"]) == pytest.approx(nearest[np.asarray(data[name])].mean())
    assert float(found["accuracy"]) == pytest.approx(nearest.mean())
    assert float(task.loss(net.apply, params, data, KEY)) == pytest.approx(float(found["train_loss"]), rel=1e-6)


def test_a_decoder_that_knows_the_targets_is_right_and_one_of_nan_is_neither():
    task = Addition()
    data = task.data(KEY)
    perfect = task.measure(lambda params, tokens: (data["targets"][tokens.sum(axis=1)], {}), {}, data)
    assert float(perfect["accuracy"]) == pytest.approx(1) and float(perfect["test_loss"]) == 0
    broken = task.measure(lambda params, tokens: (jnp.full((len(tokens), 30), jnp.nan), {}), {}, data)
    assert np.isnan(float(broken["accuracy"])) and np.isnan(float(broken["train_loss"]))


def test_batches_are_of_training_pairs_without_repetition_and_cross_entropy_counts_sums():
    task = Addition(n_train=50, batch_size=45, loss_kind="cross_entropy")
    data, seen = task.data(KEY), []

    def apply(params, tokens):
        seen.append(np.asarray(tokens))
        return jax.nn.one_hot(tokens.sum(axis=1), 19) * 1e3, {}

    assert float(task.loss(apply, {}, data, KEY)) == 0
    task.loss(apply, {}, data, jax.random.key(1))
    first, second = ({tuple(pair) for pair in tokens} for tokens in seen)
    trained = {tuple(pair) for pair in np.asarray(data["tokens"])[np.asarray(data["train"])]}
    assert len(first) == len(second) == 45 and first != second and first | second <= trained
    assert float(task.measure(apply, {}, data)["accuracy"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"p": 2}, r"task\.p is 2"), ({"n_train": 0}, r"task\.n_train is 0"), ({"n_train": 56}, "between 1 and 55"),
        ({"batch_size": 0}, r"task\.batch_size is 0"), ({"loss_kind": "hinge"}, r"task\.loss_kind is 'hinge'"),
        ({"d_out": 0}, r"task\.d_out is 0"), ({"label_scale": float("nan")}, r"task\.label_scale is nan"),
    ],
)  # fmt: skip
def test_bad_fields_are_one_sentence(fields, words):
    with pytest.raises(ValueError, match=words):
        Addition(**fields).check()


@pytest.mark.parametrize(
    ("task", "net", "words"),
    [
        (Addition(), network(p=11), r"net\.d_vocab is 11: it must be task\.p, which is 10"),
        (Addition(), network(31), r"net\.d_vocab_out is 31: it must be task\.d_out, which is 30"),
        (Addition(loss_kind="cross_entropy"), network(30), r"it must be 2 task\.p − 1, which is 19"),
    ],
)
def test_a_net_of_another_size_is_refused(task, net, words):
    with pytest.raises(ValueError, match=words):
        check(Config(task, net, AdamW()))
