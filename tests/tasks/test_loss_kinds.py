"""Kinds of loss of a supervised task: each is minimised and measured exactly, and older runs keep their names."""

from functools import partial

import jax
import numpy as np
import pytest

from toylab import configs as cfg
from toylab import losses, train
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import Adam, Chain, Orthogonal
from toylab.tasks import ModularArithmetic


def config(loss_kind="cross_entropy", optimizer=None, seed=0):
    net = Net.of(ModularMLP, d_vocab=8, d_vocab_out=7, d_model=8, d_mlp=16)
    return Config(ModularArithmetic(p=7, n_train=30, loss_kind=loss_kind), net, optimizer or Adam(lr=1e-2), seed)


@pytest.mark.parametrize("loss_kind", ["cross_entropy", "naive_cross_entropy", "stablemax", "squared_error"])
def test_the_loss_is_minimised_and_measured_without_naive_rounding(loss_kind):
    one = cfg.check(config(loss_kind))
    data, params = train.data(one), train.init(one).params
    apply = partial(one.net.apply, full=False)
    logits = apply(params, data["tokens"][data["train"]])[0]
    each = losses.KINDS[loss_kind](logits, data["train_labels"])
    np.testing.assert_allclose(one.task.loss(apply, params, data, jax.random.key(0)), each.mean(), rtol=1e-6)
    exact = losses.measured(loss_kind)(logits, data["train_labels"])
    np.testing.assert_allclose(one.task.measure(apply, params, data)["train_loss"], exact.mean(), rtol=1e-6)


def test_kinds_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"task\.loss_kind is 'logistic': it is of two classes, and the task has 7"):
        cfg.check(config("logistic"))
    with pytest.raises(ValueError, match=r"task\.loss_kind"):
        cfg.check(config("mse"))


def test_runs_of_before_keep_their_names_and_columns_say_the_default():
    runs = [config(), config("stablemax", seed=1)]
    assert "loss_kind" not in cfg.canonical(runs[0])["task"] and cfg.set_later(runs[:1]) == set()
    assert cfg.canonical(runs[1])["task"]["loss_kind"] == "stablemax"
    found = cfg.columns([cfg.canonical(run, cfg.set_later(runs)) for run in runs])
    assert found["task.loss_kind"].tolist() == ["cross_entropy", "stablemax"]
    assert "task.loss_kind" not in cfg.columns([cfg.canonical(run) for run in runs[:1]])


def test_what_some_runs_lack_is_nan_or_empty_in_their_columns():
    runs = [config(), config(optimizer=Chain(Adam(lr=0.5), before=(Orthogonal(),)), seed=1)]
    found = cfg.columns([cfg.canonical(run) for run in runs])
    np.testing.assert_array_equal(found["optimizer.lr"], np.float64([0.01, np.nan]))
    np.testing.assert_array_equal(found["optimizer.base.lr"], [np.nan, 0.5])
    assert found["optimizer.base.type"].tolist() == ["", "toylab.optim.Adam"]
    curves = cfg.columns([{"even": [1.0, 2.0], "long": [1.0]}, {"even": [3.0, 4.0], "long": [1.0, 2.0], "one": [1.0]}])
    assert curves.keys() == {"even"} and curves["even"].tolist() == [[1, 2], [3, 4]]
