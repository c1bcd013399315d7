"""A config comes back from its canonical form as it was, or is refused in a sentence."""

import json
import sys
import types

import pytest

from toylab import configs as cfg
from toylab import lab
from toylab.base import Config
from toylab.lab import pages
from toylab.models import Net, Transformer
from toylab.optim import AdamW
from toylab.records import config_of
from toylab.tasks import ModularArithmetic


def written(config):
    """As it stands in a manifest: through JSON."""
    return json.loads(json.dumps(cfg.canonical(config)))


def config(**changes):
    net = Net.of(Transformer, d_vocab=8, d_vocab_out=8, n_ctx=3, n_layers=1, d_model=8, d_mlp=16)
    return cfg.check(Config(ModularArithmetic(p=7, n_train=20), net, AdamW(lr=1e-3), **changes))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(pages.built_in()))
def test_the_configs_of_every_page_come_back(name):
    for part in lab.parts(pages.load(name)).values():
        for scale in ("smoke", "cpu", "paper"):
            for one in [*part.configs[scale][:1], *part.configs[scale][-1:]] if part.configs else ():
                before = written(cfg.check(one))
                assert written(config_of(before)) == before
                assert cfg.family(config_of(before)) == cfg.family(cfg.check(one))


def test_a_config_comes_back():
    assert written(config_of(written(config(seed=3)))) == written(config(seed=3))


def never(value, layer):
    return value


def test_a_clamp_comes_back_as_its_function():
    net = config().net
    clamped = cfg.check(config().replace(net=net.replace(clamps=(("pattern", never),))))
    assert config_of(written(clamped)).net.clamps == (("pattern", never),)


def test_a_class_of_ones_own_is_found_where_it_was_imported_and_named_where_not(monkeypatch):
    module = types.ModuleType("my_tasks")
    exec("from toylab.tasks import ModularArithmetic\nclass Mine(ModularArithmetic):\n    pass\n", vars(module))
    own = written(config().replace(task=module.Mine(p=7, n_train=20)))
    assert own["task"]["type"] == "my_tasks.Mine"
    with pytest.raises(ValueError, match=r"^task is my_tasks\.Mine, which is not there: import my_tasks before"):
        config_of(own)
    monkeypatch.setitem(sys.modules, "my_tasks", module)
    assert type(config_of(own).task) is module.Mine


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda c: c["task"].update(type="toylab.tasks.modular.Gone"),
            "task is toylab.tasks.modular.Gone, which is not",
        ),
        (
            lambda c: c["task"].update(extra=1),
            "task was written with other fields than .*ModularArithmetic has now: extra",
        ),
        (lambda c: c["task"].pop("p"), "task was written with other fields .*: p"),
        (lambda c: c["task"].update(type="json.dumps"), "task is json.dumps, which is no class of a config's part"),
        (lambda c: c["task"].update(type="a.f.<locals>.T"), "defined inside a function"),
        (lambda c: c["net"].update(module="os.path.join"), "net.module is os.path.join, which is no class"),
        (lambda c: c["optimizer"].update(lr="fast"), "optimizer.lr is 'fast': it must be a number"),
        (lambda c: c.update(type="toylab.optim.AdamW"), "was written with other fields"),
    ],
)
def test_what_cannot_be_rebuilt_is_refused(change, words):
    canonical = written(config())
    change(canonical)
    with pytest.raises(ValueError, match=words):
        config_of(canonical)
