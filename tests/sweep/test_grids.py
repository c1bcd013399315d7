"""Grids, zips and unions of configs: what comes out is what the words say, and nonsense gets one sentence."""

import numpy as np
import pytest

from toylab import configs as cfg
from toylab import sweep
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.sweep import grids
from toylab.tasks import ModularArithmetic

MLP = Net.of(ModularMLP, d_vocab=7, d_vocab_out=7, d_model=4, d_mlp=8)
BASE = Config(task=ModularArithmetic(p=7, n_train=20), net=MLP, optimizer=AdamW())


def decays(configs):
    return [float(config.optimizer.weight_decay) for config in configs]


def test_a_grid_is_every_combination_and_its_last_field_varies_fastest():
    configs = grids.grid(BASE, {"optimizer.weight_decay": [0.5, 1], "seed": range(3)})
    assert decays(configs) == [0.5, 0.5, 0.5, 1, 1, 1]
    assert [int(config.seed) for config in configs] == [0, 1, 2] * 2
    assert all(config.optimizer.weight_decay.dtype == np.float32 for config in configs)


def test_a_base_of_several_configs_is_laid_over_one_by_one():
    once = grids.grid(BASE, {"seed": [0, 1]})
    twice = grids.grid(once, {"optimizer.weight_decay": "2,4"})
    assert [(int(c.seed), float(c.optimizer.weight_decay)) for c in twice] == [(0, 2), (0, 4), (1, 2), (1, 4)]


def test_zipped_fields_go_together_and_are_checked_together():
    """Each p needs its own vocabulary: neither field alone would pass the check."""
    fields = {"task.p": [7, 11], "net.d_vocab": [7, 11], "net.d_vocab_out": "7,11"}
    configs = grids.zipped(BASE, fields)
    assert [(c.task.p, c.net.d_vocab, c.net.d_vocab_out) for c in configs] == [(7, 7, 7), (11, 11, 11)]
    with pytest.raises(ValueError, match=r"net\.d_vocab is 7: task\.p = 11 needs"):
        grids.grid(BASE, {"task.p": [7, 11]})


def test_a_text_and_its_values_are_the_same_config():
    text = grids.grid(BASE, {"optimizer.weight_decay": "0.1,1", "task.op": "add,subtract"})
    value = grids.grid(BASE, {"optimizer.weight_decay": np.array([0.1, 1.0]), "task.op": ["add", "subtract"]})
    assert list(map(cfg.digest, text)) == list(map(cfg.digest, value))


def test_chain_is_the_union_and_counts_duplicates():
    low, high = ({"optimizer.weight_decay": text} for text in ("0.1,1", "1,3,0.1"))
    assert decays(grids.chain(grids.grid(BASE, low), [BASE.replace(seed=5)])) == [float(np.float32(0.1)), 1, 1]
    with pytest.raises(ValueError, match=r"2 duplicate config"):
        grids.chain(grids.grid(BASE, low), grids.grid(BASE, high))
    with pytest.raises(ValueError, match="no configs"):
        grids.chain()


def test_ranges_have_both_ends_and_a_constant_ratio_or_step():
    log = grids.values("0.1:3:log8")
    assert log[0] == 0.1 and log[-1] == 3 and len(log) == 8
    np.testing.assert_allclose(np.diff(np.log(log)), np.log(30) / 7)
    assert grids.values("-1:1:lin5") == [-1, -0.5, 0, 0.5, 1]
    assert grids.values("0,1:100:log3,x") == ["0", 1, pytest.approx(10), 100, "x"]


def test_a_range_of_a_whole_field_is_rounded_and_of_a_word_is_none():
    configs = grids.grid(BASE, {"task.n_train": "5:40:log4"})
    assert [config.task.n_train for config in configs] == [5, 10, 20, 40]
    assert [config.task.op for config in grids.grid(BASE, {"task.op": "add, subtract"})] == ["add", "subtract"]
    with pytest.raises(ValueError, match="the range 1:3:lin9 has only 3 different whole numbers"):
        grids.grid(BASE, {"task.n_train": ["1:3:lin9"]})
    with pytest.raises(ValueError, match=r"task\.op is 'a:b:log2'"):
        grids.grid(BASE, {"task.op": "a:b:log2"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3:0.1:log8", "goes from 3 to 0.1: its first number must be the lower one"),
        ("1:1:lin3", "its first number must be the lower one"),
        ("0:1:log3", "starts at 0: a constant ratio needs numbers above 0"),
        ("-1:1:log3", "starts at -1: a constant ratio needs numbers above 0"),
        ("0.1:1:log1", "has 1 values: give at least 2"),
        ("0.1:1:lin-4", "has -4 values"),
        ("0.1:1:lin", "is no range: give low:high:logN"),
        ("0.1:1:geo4", "is no range"),
        ("0.1:1", "is no range"),
        ("0.1:inf:log3", "is no range"),
        ("nan:1:lin3", "is no range"),
        ("1,,2", "lacks a value"),
        ("", "lacks a value"),
    ],
)
def test_a_bad_range_is_refused_with_the_field(text, words):
    with pytest.raises(ValueError, match=f"^optimizer.lr: .*{words}.*$") as error:
        grids.grid(BASE, {"optimizer.lr": text})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "fields", "words"),
    [
        (grids.grid, {"optimizer.lr": []}, r"optimizer\.lr has no values: a grid of zero runs"),
        (grids.grid, {"optimizer.lr": 0.1}, r"optimizer\.lr is 0\.1: give a list of values, as \[0\.1\]"),
        (grids.grid, {"optimizer.lrr": [1]}, r"optimizer\.lrr is no field: did you mean optimizer\.lr\?"),
        (grids.grid, {"net": [1]}, r"net is 1, which is no class of its kind"),
        (grids.grid, {"optimizer.lr": [1, -1]}, r"optimizer\.lr is -1"),
        (grids.grid, {"optimizer.lr": [True]}, r"optimizer\.lr is True: it must be a number"),
        (grids.grid, {"seed": range(10_000), "optimizer.lr": "1:2:lin1000"}, r"10,000,000 runs: give fewer values"),
        (grids.zipped, {"seed": [1, 2], "optimizer.lr": [1]}, r"as many values each: seed has 2, optimizer\.lr has 1"),
    ],
)
def test_bad_fields_get_one_sentence(make, fields, words):
    with pytest.raises(ValueError, match=words):
        make(BASE, fields)


def test_a_base_without_configs_is_refused():
    with pytest.raises(ValueError, match="the base has no configs"):
        grids.grid([], {"seed": [1]})


def test_groups_are_cut_at_the_size_that_is_asked_and_count_duplicates():
    configs = grids.grid(BASE, {"seed": range(5), "net.d_mlp": [8, 16]})
    assert [len(members) for members in sweep.groups(configs, 2).values()] == [2, 2, 1, 2, 2, 1]
    with pytest.raises(ValueError, match="3 duplicate config"):
        sweep.groups([*configs, *configs[:3]])
