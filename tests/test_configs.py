"""A config as data: leaves cast by field, refusals of one sentence, digests that do not depend on the process."""

import json
import subprocess
import sys
from functools import partial

import jax
import numpy as np
import pytest

from toylab import configs as cfg
from toylab.base import Config
from toylab.models import ModularMLP, Net, Transformer
from toylab.optim import SGD, AdamW
from toylab.tasks.modular import ModularArithmetic, python_order

TASK = ModularArithmetic(p=7, n_train=20)
MLP = Net.of(ModularMLP, d_vocab=7, d_vocab_out=7, d_model=4, d_mlp=8)
NET = Net.of(Transformer, d_vocab=8, d_vocab_out=8, n_ctx=3, d_model=8, n_heads=2, d_mlp=8)
CONFIG = Config(task=TASK, net=NET, optimizer=AdamW())


def changed(config=CONFIG, **changes):
    """The config with `optimizer__lr=…`, `net__d_model=…`, `seed=…` set."""
    for path, value in changes.items():
        part, _, name = path.partition("__")
        inner = getattr(config, part)
        if name:
            value = inner.with_fields(**{name: value}) if part == "net" else inner.replace(**{name: value})
        config = config.replace(**{part: value})
    return config


def identity(value, layer):
    return value


def zero(value, layer):
    return 0 * value


def test_check_makes_every_leaf_float32_or_int32_by_its_fields_type():
    loose = changed(optimizer__lr=1, optimizer__weight_decay=np.float64(0), seed=3.0, net__init_scale=2)
    tight = cfg.check(loose)
    assert tight.optimizer.lr.dtype == tight.net.init_scale.dtype == tight.task.corruption.dtype == np.float32
    assert tight.seed.dtype == tight.data_seed.dtype == np.int32
    assert all(np.asarray(x).dtype in (np.float32, np.int32) for x in jax.tree.leaves(tight))
    order = cfg.check(changed(task__order=python_order(7, 0).astype(np.int64))).task.order
    assert order.dtype == np.int32


def test_1_and_1_point_0_are_the_same_config():
    variants = [
        changed(optimizer__lr=lr, seed=seed, task__n_train=n, optimizer__b1=0, optimizer__warmup=w)
        for lr, seed, n, w in [
            (1, 3, 20, 10),
            (1.0, 3.0, 20.0, 10.0),
            (np.float32(1), np.int64(3), np.int32(20), np.float64(10)),
            (jax.numpy.ones(()), jax.numpy.int32(3), np.array(20), np.int8(10)),
        ]
    ]
    assert len({cfg.digest(cfg.check(variant)) for variant in variants}) == 1
    assert len({str(cfg.family(cfg.check(variant))) for variant in variants}) == 1


@pytest.mark.parametrize("net", [NET, MLP])
def test_check_is_idempotent_and_keeps_what_it_does_not_cast(net):
    config = changed(net=net, task__order=python_order(7, 0), optimizer=SGD())
    once = cfg.check(config)
    twice = cfg.check(once)
    assert cfg.digest(once) == cfg.digest(twice) and cfg.family(once) == cfg.family(twice)
    np.testing.assert_array_equal(once.task.order, config.task.order)
    assert once.net.sizes == net.sizes and once.net.module is net.module
    clamped = changed(net=NET.replace(clamps=(("z", zero),)))
    assert cfg.check(clamped).net.clamps == (("z", zero),)


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer__lr": "fast"}, r"optimizer\.lr is 'fast': it must be a number"),
        ({"optimizer__lr": True}, r"optimizer\.lr is True: it must be a number"),
        ({"optimizer__lr": None}, r"optimizer\.lr is None: it must be a number"),
        ({"optimizer__lr": NAN}, r"optimizer\.lr is nan: it must be a number"),
        ({"optimizer__lr": INF}, r"optimizer\.lr is inf: it must be a number"),
        ({"optimizer__lr": np.ones(2)}, r"optimizer\.lr is array.*: it must be a number"),
        ({"optimizer__weight_decay": -0.5}, r"optimizer\.weight_decay is -0\.5: it must be .* at least 0"),
        ({"optimizer__b2": 1}, r"optimizer\.b2 is 1\.0: it must lie in \[0, 1\)"),
        ({"optimizer__warmup": 2.5}, r"optimizer\.warmup is 2\.5: it must be a whole number"),
        ({"seed": 1.5}, r"seed is 1\.5: it must be a whole number"),
        ({"seed": "3"}, r"seed is '3': it must be a whole number"),
        ({"data_seed": None}, r"data_seed is None: it must be a whole number"),
        ({"task__n_train": 0}, r"task\.n_train is 0: it must lie between 1 and 49"),
        ({"task__n_train": 50}, r"task\.n_train is 50: it must lie between 1 and 49"),
        ({"task__n_train": 20.5}, r"task\.n_train is 20\.5: it must be a whole number"),
        ({"task__p": 6, "task__op": "divide"}, r"task\.p is 6: it must be prime"),
        ({"task__p": True}, r"task\.p is True: it must be a whole number"),
        ({"task__op": "multply"}, r"task\.op is 'multply': did you mean multiply\? it must be one of add, .*random"),
        ({"task__op": 3}, r"task\.op is 3: it must be one of add"),
        ({"task__pairs": "all"}, r"task\.pairs is 'all': it must be one of ordered, unordered"),
        ({"task__corruption": "some"}, r"task\.corruption is 'some': it must be a number"),
        ({"net__d_model": 9}, r"net\.d_model is 9: it must be divisible by net\.n_heads, which is 2"),
        ({"net__d_model": "8"}, r"net\.d_model is '8': it must be a whole number"),
        ({"net__n_layers": 0}, r"net\.n_layers is 0: it must be at least 1"),
        ({"net__n_heads": -2}, r"net\.n_heads is -2: it must be at least 1"),
        ({"net__activation": "rel"}, r"net\.activation is 'rel': did you mean relu\?"),
        ({"net__readout": "first"}, r"net\.readout is 'first': it must be one of last, all"),
        ({"net__layer_norm": 1}, r"net\.layer_norm is 1: it must be true or false"),
        ({"net__init_scale": 0}, r"net\.init_scale is 0\.0: it must be above 0"),
        ({"net__d_vocab": 7}, r"net\.d_vocab is 7: task\.p = 7 needs 8"),
        ({"net__d_vocab_out": 6}, r"net\.d_vocab_out is 6: task\.p = 7 needs at least 7"),
        ({"net__n_ctx": 2}, r"net\.n_ctx is 2: the task has 3 positions"),
        pytest.param({"optimizer__weight_decay": -0.1}, r"optimizer\.weight_decay is -0\.1:"),
        pytest.param({"seed": INF}, r"seed is inf: it must be a whole number"),
        pytest.param({"seed": NAN}, r"seed is nan: it must be a whole number"),
        pytest.param({"task__n_train": INF}, r"task\.n_train is inf: it must be a whole number"),
        pytest.param({"seed": 2**31}, r"seed is 2147483648: "),
        pytest.param({"task__order": np.arange(49.0)}, r"task\.order "),
        pytest.param({"task__order": "abc"}, r"task\.order "),
    ],
)  # fmt: skip
def test_check_refuses_with_one_sentence_that_names_field_and_value(change, message):
    with pytest.raises(ValueError, match=f"^{message}.*\\.$") as error:
        cfg.check(changed(**change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("optimizer.lr", "3e-4", 3e-4),
        ("optimizer.warmup", "0", 0),
        ("net.d_model", "16", 16),
        ("net.init_scale", "0.5", 0.5),
        ("net.activation", "gelu", "gelu"),
        ("net.layer_norm", "True", True),
        ("net.causal", "false", False),
        ("task.op", "x2+y2", "x2+y2"),
        ("task.n_train", "30", 30),
        ("seed", "-4", -4),
        ("data_seed", "5", 5),
    ],
)
def test_override_sets_the_field_at_a_path_and_no_other(path, text, value):
    new = cfg.override(CONFIG, path, text)
    part, _, name = path.partition(".")
    found = getattr(getattr(new, part), name) if name else getattr(new, part)
    assert found == value and type(found) is type(value)
    before, after = (cfg.canonical(cfg.check(config)) for config in (CONFIG, new))
    assert [line.split(":")[0] for line in cfg.differences(before, after)] == [path]


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("optimizer.weight_dcay", "1", r"optimizer\.weight_dcay is no field: did you mean optimizer\.weight_decay\?"),
        ("optimzer.lr", "1", r"optimzer\.lr is no field: did you mean optimizer\.lr\?"),
        ("net.dmodel", "1", r"net\.dmodel is no field: did you mean net\.d_model\?"),
        ("tsk.n_train", "1", r"tsk\.n_train is no field: did you mean task\.n_train\?"),
        ("sed", "1", r"sed is no field: did you mean seed\?"),
        ("zzz", "1", r"zzz is no field: known are task\.p, task\.n_train, .*more\."),
        ("optimizer.lr.x", "1", r"optimizer\.lr\.x is no field: lr has no parts\."),
        ("optimizer", "1", r"optimizer is '1', which is no class of its kind: it must be one of Adam, .*\."),
        ("net", "1", r"net is '1', which is no class of its kind: it must be one of .*Transformer, .*\."),
        ("optimizer.lr", "fast", r"optimizer\.lr is 'fast': it must be a number\."),
        ("net.d_model", "8.5", r"net\.d_model is '8\.5': it must be a whole number\."),
        ("seed", "", r"seed is '': it must be a whole number\."),
        ("net.layer_norm", "1", r"net\.layer_norm is '1': it must be true or false\."),
        ("task.order", "1", r"task\.order cannot be set from the command line: .*\."),
    ],
)
def test_override_refuses_with_one_sentence(path, text, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        cfg.override(CONFIG, path, text)


def test_canonical_is_json_and_says_what_the_user_wrote():
    config = cfg.check(changed(task__order=python_order(7, 0), net=NET.replace(clamps=(("z", zero),))))
    found = cfg.canonical(config)
    assert json.loads(json.dumps(found)) == found
    assert found["optimizer"]["lr"] == 0.001 and found["optimizer"]["eps"] == 1e-8
    assert found["task"]["order"] == python_order(7, 0).tolist()
    assert found["type"] == "toylab.base.Config"
    assert found["net"]["module"] == "toylab.models.transformer.Transformer"
    assert found["net"]["clamps"][0][1].endswith("test_configs.zero")


def test_every_field_is_in_the_digest():
    changes = [
        {}, {"seed": 1}, {"data_seed": 1}, {"task__p": 5, "task__n_train": 20}, {"task__n_train": 21},
        {"task__op": "multiply"}, {"task__pairs": "unordered"}, {"task__corruption": 0.5},
        {"task__order": python_order(7, 0)}, {"task__order": python_order(7, 1)}, {"optimizer__lr": 2e-3},
        {"optimizer__b1": 0.8}, {"optimizer__eps": 2e-8}, {"optimizer": SGD()}, {"net": MLP},
        {"net__d_mlp": 0}, {"net__init_scale": 2}, {"net__causal": False}, {"net__activation": "gelu"},
        {"net": NET.replace(clamps=(("z", zero),))}, {"net": NET.replace(clamps=(("z", identity),))},
    ]  # fmt: skip
    digests = [cfg.digest(cfg.check(changed(**change))) for change in changes]
    assert len(set(digests)) == len(changes)
    assert all(len(digest) == 64 and int(digest, 16) >= 0 for digest in digests)


@pytest.mark.parametrize("f", [lambda value, layer: value, partial(zero)], ids=["lambda", "partial"])
def test_a_clamp_without_a_name_of_its_own_is_refused(f):
    with pytest.raises(ValueError, match=r"^net\.clamps .*\.$"):
        cfg.check(changed(net=NET.replace(clamps=(("z", f),))))


@pytest.mark.slow
def test_the_digest_is_the_same_in_another_process():
    code = (
        "from test_configs import CONFIG, cfg, changed, python_order\n"
        "print(cfg.digest(cfg.check(changed(task__order=python_order(7, 0)))))"
    )
    path = [entry for entry in sys.path if entry]
    environment = {"PYTHONHASHSEED": "12345", "PYTHONPATH": ":".join(path), "JAX_PLATFORMS": "cpu"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == cfg.digest(cfg.check(changed(task__order=python_order(7, 0))))


def test_differences_name_each_field_with_both_values():
    new = changed(optimizer__lr=0.1, net__init_scale=2.0, net__d_mlp=16, seed=4)
    before, after = (cfg.canonical(cfg.check(config)) for config in (CONFIG, new))
    assert cfg.differences(before, after) == [
        "net.d_mlp: 8 → 16", "net.init_scale: 1.0 → 2.0", "optimizer.lr: 0.001 → 0.1", "seed: 0 → 4",
    ]  # fmt: skip
    assert cfg.differences(before, before) == []


def test_leaves_leave_the_family_and_structure_does_not():
    def family(**changes):
        return cfg.family(cfg.check(changed(**changes)))

    same = family()
    assert hash(same) == hash(family())
    for change in ({"seed": 5}, {"optimizer__lr": 1}, {"task__corruption": 0.5}, {"net__init_scale": 0.1}):
        assert family(**change) == same
    for change in (
        {"task__n_train": 21}, {"task__op": "multiply"}, {"net__d_model": 16}, {"optimizer__b1": 0.5},
        {"optimizer": SGD()}, {"net": MLP}, {"data_seed": 1}, {"task__order": python_order(7, 0)},
        {"net": NET.replace(clamps=(("z", zero),))},
    ):  # fmt: skip
        assert family(**change) != same
    assert family(task__order=python_order(7, 0)) == family(task__order=python_order(7, 1))


def test_runs_whose_data_seed_no_other_has_are_a_family():
    def runs(*data_seeds, **other):
        return [cfg.check(changed(seed=i, data_seed=s, **other)) for i, s in enumerate(data_seeds)]

    def sizes(configs, **rule):
        return [len(members) for members in cfg.families(configs, **rule).values()]

    assert sizes(runs(1, 2, 3)) == [3] and sizes(runs(1, 2, 3), together=False) == [1, 1, 1]
    assert sizes(runs(1, 1, 2, 2, 2)) == [2, 3]  # those of one data_seed draw their batches once
    assert sizes(runs(1, 7, 7, 2)) == [2, 2] and sizes(runs(0, 0, 0)) == [3]
    assert sizes([*runs(1, 2), *runs(1, 2, net__d_model=16)]) == [2, 2]
    assert [config.data_seed for config in next(iter(cfg.families(runs(1, 7, 7, 2)).values()))] == [1, 2]
    assert cfg.stack(runs(1, 2)).data_seed.tolist() == [1, 2]


def test_stack_puts_the_runs_first_and_keeps_one_data_seed():
    runs = [
        cfg.check(changed(optimizer__lr=lr, seed=i, data_seed=7, task__order=python_order(7, i)))
        for i, lr in enumerate([0.1, 0.2, 0.3])
    ]
    batch = cfg.stack(runs)
    np.testing.assert_array_equal(batch.optimizer.lr, np.float32([0.1, 0.2, 0.3]))
    np.testing.assert_array_equal(batch.seed, [0, 1, 2])
    assert batch.seed.dtype == np.int32 and batch.optimizer.lr.dtype == np.float32
    assert batch.task.order.shape == (3, 49) and batch.net.init_scale.shape == (3,)
    assert np.shape(batch.data_seed) == () and batch.data_seed == 7
    assert jax.tree.structure(batch) == jax.tree.structure(runs[0])
