"""Many configs are checked as one is, and what they share is checked once."""

import numpy as np
import pytest
from flax import struct

from toylab import checking
from toylab import configs as cfg
from toylab.base import Config, static
from toylab.models import ModularMLP, Net
from toylab.optim import SGD, AdamW
from toylab.sweep import grid
from toylab.tasks import ModularArithmetic


def config(seed=0, data_seed=0, p=7, task=None, **optimizer):
    net = Net.of(ModularMLP, d_vocab=p, d_vocab_out=p, d_model=4, d_mlp=6)
    task = ModularArithmetic(p=p, n_train=p) if task is None else task
    return Config(task, net, AdamW(**optimizer), seed=seed, data_seed=data_seed)


def test_many_configs_are_checked_as_each_alone():
    configs = [config(seed=s, lr=lr) for s in (0, 1) for lr in (1, 1.0, 0.01)] + [config(p=5)]
    found = cfg.checked(configs)
    for one, own in zip(found, map(cfg.check, configs), strict=True):
        assert cfg.digest(one) == cfg.digest(own) and one.seed.dtype == np.int32
    assert cfg.checked(found) == found  # checked again, as where a sweep begins


def test_configs_with_equal_parts_share_them():
    a, b, other = cfg.checked([config(seed=0), config(seed=1), config(seed=1, lr=0.5)])
    assert a.task is b.task is other.task and a.net is b.net is other.net and a.optimizer is b.optimizer
    assert other.optimizer.lr == np.float32(0.5)


def test_a_part_is_checked_once_however_many_configs_have_it(monkeypatch):
    calls = []
    check = AdamW.check
    monkeypatch.setattr(AdamW, "check", lambda self: (calls.append(self), check(self))[1])
    assert len(grid(config(), {"optimizer.lr": [0.1, 0.2], "seed": range(30)})) == 60
    assert len(calls) == 2


def test_what_equals_another_number_is_still_a_value_of_its_own():
    """0.0 == -0.0 and 1 == True, but a sweep has the former two as two runs, and refuses the latter."""
    plus, minus = cfg.checked([config(weight_decay=0.0), config(weight_decay=-0.0)])
    assert not np.signbit(plus.optimizer.weight_decay) and np.signbit(minus.optimizer.weight_decay)
    with pytest.raises(ValueError, match=r"optimizer.lr is True: it must be a number"):
        cfg.checked([config(lr=1), config(lr=True)])


def test_the_config_that_is_wrong_is_named_among_many():
    with pytest.raises(ValueError, match=r"task.n_train is 99: it must lie between 1 and 49"):
        cfg.checked([config(seed=s) for s in range(5)] + [config(task=ModularArithmetic(p=7, n_train=99))])


class OwnDraws(ModularArithmetic):
    streams: str = static(default="own")


def families_of_each(configs):
    found = {}
    for one in configs:
        found.setdefault(cfg.family(one), []).append(one)
    return found


@pytest.mark.parametrize("kind", [ModularArithmetic, OwnDraws])
def test_families_are_those_of_each_config_in_the_order_of_the_configs(kind):
    """Runs that share their parts as objects, and runs that have equal ones of their own."""
    configs = [
        cfg.check(config(seed=seed, data_seed=seed % 3, p=p, task=kind(p=p, n_train=p), lr=lr))
        for seed in range(6)
        for p in (7, 5)
        for lr in (0.1, 0.2)
    ]
    for one in (configs, cfg.checked(configs)):
        brute = families_of_each(one)
        assert list(cfg.families(one, False).items()) == list(brute.items())
        assert cfg.one_of_each(one) == [members[0] for members in brute.values()]


def test_a_config_that_occurs_twice_is_noticed_whether_its_parts_are_shared_or_not():
    for twice in ([cfg.check(config()), cfg.check(config())], cfg.checked([config(), config()])):
        with pytest.raises(ValueError, match="1 duplicate"):
            cfg.distinct(twice)
    cfg.distinct(cfg.checked([config(), config(data_seed=1), config(lr=0.5)]))


def test_arrays_in_configs_are_compared_by_their_numbers():
    order = np.random.default_rng(0).permutation(49)
    same = [config(task=ModularArithmetic(p=7, n_train=7, order=order.copy())) for _ in range(2)]
    with pytest.raises(ValueError, match="1 duplicate"):
        cfg.distinct(cfg.checked(same))


class Scaled(struct.PyTreeNode):
    """An optimizer within another, as a user may write it."""

    base: SGD
    factor: float = 1.0

    def check(self):
        self.base.check()
        return self

    def transform(self):
        return self.base.transform()


def test_parts_within_parts_are_cast_and_checked():
    found = cfg.checked([config().replace(optimizer=Scaled(SGD(lr=lr))) for lr in (1, 2, 2.0)])
    assert [one.optimizer.base.lr.dtype for one in found] == [np.float32] * 3
    assert cfg.digest(found[1]) == cfg.digest(found[2]) != cfg.digest(found[0])
    with pytest.raises(ValueError, match=r"optimizer.base.lr is 'x'"):
        cfg.check(config().replace(optimizer=Scaled(SGD(lr="x"))))


def test_configs_of_a_page_of_toylab_are_traced_where_a_sweep_begins(monkeypatch):
    traced = []
    monkeypatch.setattr("toylab.protocol.check_fit", traced.append)
    with checking.fit_later():
        found = cfg.checked([config(seed=0), config(lr=0.25)])
    assert not traced
    cfg.checked(found)
    assert len(traced) == 2
