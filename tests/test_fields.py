"""Fields by their dotted paths, and parts by the names of their classes."""

import re

import pytest

from toylab import configs as cfg
from toylab import fields
from toylab.base import Config
from toylab.lab.asked import under as asked_under
from toylab.models import ModularMLP, Net, PizzaTransformer, ToyModel, Transformer
from toylab.optim import SGD, Adam, AdamW, Chain, Clip, KeepNorm
from toylab.sweep import describe, grid, zipped
from toylab.tasks import ModularArithmetic, ModularPairs

NET = Net.of(Transformer, d_vocab=6, d_vocab_out=6, n_ctx=3, d_model=8, d_mlp=16, n_heads=2, init_scale=0.5)
CONFIG = Config(ModularArithmetic(p=5, n_train=12), NET, AdamW(lr=0.01, weight_decay=0.5, clip=1.0), seed=3)
CHAINED = CONFIG.replace(optimizer=Chain(SGD(), before=(Clip(1.0),), after=(KeepNorm(),)))


# --- names


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("weight_decay", "did you mean optimizer.weight_decay?"),
        ("p", "did you mean task.p?"),
        ("n_train", "did you mean task.n_train?"),
        ("task.weight_decay", "did you mean optimizer.weight_decay?"),
        ("weight_dcay", "did you mean optimizer.weight_decay?"),
        ("net.d_mdl", "did you mean net.d_model?"),
        ("sed", "did you mean seed?"),
        ("d_vocb", "did you mean net.d_vocab?"),
        ("zzzz", "known are task.p, task.n_train, task.op, "),
        ("optimizer.zzzz", "known are optimizer.warmup, optimizer.schedule, "),
        ("seed.x", "seed has no parts."),
    ],
)
def test_an_unknown_field_is_refused_with_the_one_that_was_meant(path, hint):
    for refused in (
        lambda: cfg.override(CONFIG, path, 1),
        lambda: cfg.takes(CONFIG, path),
        lambda: grid(CONFIG, {path: [1]}),
    ):
        with pytest.raises(ValueError, match=rf"^{re.escape(f'{path} is no field: {hint}')}"):
            refused()


def test_several_fields_of_one_last_name_are_all_listed():
    with pytest.raises(ValueError, match=r"did you mean optimizer\.before\.0\.norm\?$"):
        cfg.override(CHAINED, "norm", 1)
    two = CHAINED.replace(optimizer=Chain(AdamW(), before=(Clip(1.0), Clip(2.0))))
    with pytest.raises(ValueError, match=r"did you mean optimizer\.before\.0\.norm or optimizer\.before\.1\.norm\?$"):
        cfg.override(two, "norm", 1)
    assert fields.near("lr", ["a.lr", "b.lr", "c.lr"]) == ["a.lr", "b.lr", "c.lr"]
    assert fields.hint_of("lr", ["a.lr", "b.lr", "c.lr"]) == "did you mean a.lr, b.lr or c.lr?"
    assert fields.near("base.lr", ["x.base.lr", "y.lr"]) == ["x.base.lr"]


def test_paths_are_those_of_the_canonical_config():
    """One naming: what can be set are the columns of a sweep, but for classes and what no field sets."""
    for config in (CONFIG, CHAINED):
        flat = cfg.flat(cfg.canonical(config, {"loss_kind", "undecayed"}))
        rest = {"type", "task.type", "net.type", "net.module", "net.clamps"}
        rest |= {name for name in flat if name.startswith("optimizer.") and name.endswith(".type")}
        assert set(flat) - rest == set(fields.paths(config))
        assert all(
            fields.is_part(config, fields.plain(config, name)) for name in rest - {"type", "net.clamps", "net.type"}
        )


# --- classes


@pytest.mark.parametrize("path", ["optimizer", "optimizer.type"])
@pytest.mark.parametrize("value", ["SGD", "toylab.optim.SGD", SGD])
def test_an_optimizer_by_its_name_keeps_the_fields_that_both_have(path, value):
    found = cfg.check(cfg.override(CONFIG, path, value)).optimizer
    assert type(found) is SGD and float(found.lr) == pytest.approx(0.01) and float(found.weight_decay) == 0.5
    assert found.warmup == 10 and found.momentum == 0.0
    assert cfg.override(CONFIG, path, "AdamW") == CONFIG  # nothing is lost where the class stays


@pytest.mark.parametrize("path", ["net", "net.module"])
def test_a_net_by_its_module(path):
    found = cfg.check(cfg.override(CONFIG, path, "ModularMLP")).net
    assert found.module is ModularMLP and (found.d_vocab, found.d_model, found.d_mlp) == (6, 8, 16)
    assert found.embedding == "separate" and float(found.init_scale) == 0.5


def test_a_task_and_a_part_within_a_chain_by_their_names():
    assert type(cfg.override(CONFIG, "task", "ModularPairs").task) is ModularPairs
    found = cfg.override(CHAINED, "optimizer.base", "Adam").optimizer
    assert type(found.base) is Adam and float(found.base.lr) == pytest.approx(0.1) and found.before == (Clip(1.0),)


def test_a_grid_over_classes_with_fields_of_a_new_class():
    both = grid(CONFIG, {"optimizer": "AdamW,SGD", "seed": range(2)})
    assert [type(config.optimizer).__name__ for config in both] == ["AdamW", "AdamW", "SGD", "SGD"]
    assert cfg.digest(both[0]) == cfg.digest(cfg.check(CONFIG.replace(seed=0)))
    momenta = grid(CONFIG, {"optimizer.momentum": "0:0.9:lin2", "optimizer": "SGD"})
    assert [config.optimizer.momentum for config in momenta] == [0.0, 0.9]
    (toy,) = grid(CONFIG.replace(task=Plain()), {"net": ["ToyModel"], "net.n_features": [4], "net.n_hidden": "2"})
    assert toy.net.module is ToyModel and (toy.net.n_features, toy.net.n_hidden) == (4, 2)
    together = zipped(CONFIG, {"optimizer": [SGD, Adam], "optimizer.lr": [0.5, 0.25]})
    assert [(type(one.optimizer), float(one.optimizer.lr)) for one in together] == [(SGD, 0.5), (Adam, 0.25)]
    (given,) = grid(CONFIG, {"optimizer": [SGD(lr=0.125)]})
    assert given.optimizer == cfg.check(CONFIG.replace(optimizer=SGD(lr=0.125))).optimizer


def test_the_command_line_and_a_file_set_classes(tmp_path):
    asked = describe.Description(
        block=describe.from_texts(["optimizer=AdamW,SGD"], [["net=ModularMLP", "seed=4"]], None)
    )
    found = asked.configs([CONFIG, CONFIG.replace(seed=9)])  # two runs that then are one
    assert [type(config.optimizer) for config in found] == [AdamW, SGD] and asked.named == ("optimizer", "net", "seed")
    assert {(config.net.module, int(config.seed)) for config in found} == {(ModularMLP, 4)}
    (tmp_path / "momentum.toml").write_text('[set]\noptimizer.type = "SGD"\noptimizer.momentum = [0.0, 0.5]\n')
    found = describe.from_file(tmp_path / "momentum.toml").configs([CONFIG])
    assert [config.optimizer.momentum for config in found] == [0.0, 0.5]
    assert (
        asked_under({"": found}, ("optimizer", "optimizer.momentum"))
        == "optimizer = SGD; optimizer.momentum = 0.0, 0.5"
    )


class Plain(ModularArithmetic):
    """A task of a file of its own, which checks no net and has one loss for all."""

    def check_net(self, net):
        pass

    def loss(self, apply, params, data, key):
        return sum((value**2).sum() for value in params.values())

    def measure(self, apply, params, data):
        return {"loss": self.loss(apply, params, data, None)}


class Mine(SGD):
    """An optimizer of a file of its own."""


def test_the_classes_of_a_parts_own_file_are_known_too():
    assert type(cfg.override(CONFIG.replace(optimizer=Mine()), "optimizer", "Mine").optimizer) is Mine
    assert type(cfg.override(CONFIG.replace(task=Plain()), "task", "ModularPairs").task) is ModularPairs


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": ["adamw"]}, r"optimizer is 'adamw', which is no class of its kind: did you mean AdamW\?"),
        ({"optimizer": ["Clip"]}, r"optimizer is 'Clip', which is no class .*: it must be one of Adam, AdamW, Chain, "),
        ({"optimizer": [3]}, r"optimizer is 3, which is no class of its kind: it must be one of "),
        ({"optimizer": [Transformer]}, r"optimizer is Transformer, which is no class of its kind"),
        ({"net": "64"}, r"net is '64', which is no class of its kind: it must be one of BiasedTransformer, "),
        ({"net": "SGD"}, r"net is 'SGD', which is no class of its kind"),
        ({"net": "ToyModel"}, r"net is ToyModel: its n_features and n_hidden have no default, and Transformer has no such "
         r"field: set net\.n_features, net\.n_hidden too\.$"),
        ({"optimizer": "Chain"}, r"optimizer is Chain: its base has no default, and AdamW has no such field"),
        ({"optimizer": "AdamW,SGD", "optimizer.momentum": "0.9"},
         r"optimizer\.momentum is no field with optimizer AdamW: known are optimizer\.warmup, "),
        ({"optimizer": "SGD,AdamW", "optimizer.momentum": "0.9"},
         r"optimizer\.momentum is no field with optimizer AdamW: known are optimizer\.warmup, "),
        ({"net": "PizzaTransformer", "net.module": "Transformer"}, r"net and net\.module are one field: give"),
        ({"net": "ModularMLP", "net.activation": ["gelu"]}, r"net\.activation is .gelu.: did you mean relu"),
        ({"task.loss_kind": "harmonic", "net": "Transformer"}, r"task\.loss_kind is 'harmonic'"),
        ({"net": "DiagonalNet", "net.d_in": [4]}, r"net DiagonalNet does not fit task ModularArithmetic: "),
        ({"optimizer": []}, r"optimizer has no values"),
    ],
)  # fmt: skip
def test_a_class_that_does_not_fit_is_refused_in_one_sentence(given, message):
    with pytest.raises(ValueError, match=rf"^{message}") as refused:
        grid(CONFIG, given)
    assert "\n" not in str(refused.value)


def test_a_grid_over_classes_is_no_larger_than_others():
    with pytest.raises(ValueError, match=r"the grid has 2,000,000 runs"):
        grid(CONFIG, {"optimizer": "AdamW,SGD", "seed": range(1_000_000)})


def test_clamps_stay_with_another_module():
    clamped = CONFIG.replace(
        net=Net.of(Transformer, d_vocab=6, d_vocab_out=6, n_ctx=3, clamps=(("pattern", as_it_is),))
    )
    assert cfg.override(clamped, "net", PizzaTransformer).net.clamps == (("pattern", as_it_is),)


def as_it_is(value, layer):
    return value
