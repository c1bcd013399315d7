"""manifest.json keeps how finished runs were made, and is written anew for others. A part that was finished before a stop
had kept the record of the runs that a committed folder came with."""

from types import SimpleNamespace

import pytest

from toylab import configs as cfg
from toylab import store, sweep
from toylab.base import Config
from toylab.lab import stages
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.sweep import Spec
from toylab.tasks import ModularArithmetic

NET = Net.of(ModularMLP, d_vocab=5, d_vocab_out=5, d_model=4, d_mlp=4)


def runs(*seeds):
    return [cfg.check(Config(ModularArithmetic(p=5, n_train=15), NET, AdamW(), seed=seed)) for seed in seeds]


@pytest.mark.parametrize("part", ["", "one"])
def test_a_record_is_of_its_own_runs_and_points(tmp_path, part):
    page = SimpleNamespace(__name__="somebodys.page", PARTS={part: None})
    assert not stages.is_recorded(tmp_path, part, runs(0, 1))
    sweep.run(runs(0, 1), Spec(saves=(0, 5)), tmp_path / "runs" / part, report=None)
    stages.write_manifest(tmp_path, page, "smoke", {part: runs(0, 1)}, "a command", "a commit")
    assert stages.is_recorded(tmp_path, part, runs(0, 1))
    assert not stages.is_recorded(tmp_path, part, runs(0, 2))
    assert not stages.is_recorded(tmp_path, "other", runs(0, 1)) or not part
    sweep.run(runs(0, 1), Spec(saves=(0, 5, 10)), tmp_path / "runs" / part, report=None)
    assert not stages.is_recorded(tmp_path, part, runs(0, 1))
    stages.write_manifest(tmp_path, page, "smoke", {part: runs(0, 1)}, "a command", "a commit")
    assert stages.is_recorded(tmp_path, part, runs(0, 1))
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(store.Damaged):
        stages.is_recorded(tmp_path, part, runs(0, 1))
