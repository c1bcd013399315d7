"""Analyses that are stopped go on, with the same values; what was kept for that is used for nothing else, and goes."""

import types

import pytest

from toylab import configs as cfg
from toylab import store, sweep
from toylab.base import Config
from toylab.lab import Part, code, measuring, stages, unfinished
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.tasks import ModularArithmetic


def norms(params, run):
    return {"square": (params["W_U"] ** 2).sum(), "over_end": params["W_U"][0] / run.final["end/W_U"][0]}


def end(params, run):
    return {"W_U": params["W_U"]}


NET = Net.of(ModularMLP, d_vocab=5, d_vocab_out=5, d_model=4, d_mlp=4)
CONFIGS = [
    cfg.check(Config(ModularArithmetic(p=5, n_train=15), NET, AdamW(lr=lr), seed=seed))
    for lr in (1e-3, 3e-3)
    for seed in range(2)
]
PART = Part(
    configs={"smoke": CONFIGS, "cpu": CONFIGS, "paper": CONFIGS},
    saves=dict.fromkeys(("smoke", "cpu", "paper"), (0, 5, 10)),
    analyses={"norms": norms},
    final={"end": end},
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    sweep.run(CONFIGS, stages.spec(PART, "smoke"), folder, report=None)
    return folder


@pytest.fixture
def runs(trained, tmp_path, monkeypatch):
    """The folder of a sweep of four runs, of which every one is written as soon as it is analyzed."""
    monkeypatch.setattr(unfinished, "SECONDS", 0.0)
    sweep.run(CONFIGS, stages.spec(PART, "smoke"), tmp_path / "runs", report=None)
    return tmp_path / "runs"


def measured(runs, of="code", configs=CONFIGS, said=None):
    return measuring.measures_of(PART, configs, runs, (said or []).append, 16, of)


def stop_after(monkeypatch, n, error=KeyboardInterrupt):
    """The analyses of so many runs are made, and the next one ends them; the numbers of points that they had."""
    made, make = [], measuring._of_run

    def of_run(part, params, last, run, batch_size):
        if len(made) == n:
            raise error
        made.append(last)
        return make(part, params, last, run, batch_size)

    monkeypatch.setattr(measuring, "_of_run", of_run)
    return made


def kept(runs):
    return sorted(runs.glob(f"*/{unfinished.FOLDER}/*.npz"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_stopped_analyses_go_on_with_the_same_values(runs, trained, monkeypatch, error):
    whole = measured(trained, "")
    with monkeypatch.context() as until, pytest.raises(error):
        stop_after(until, 3, error)
        measured(runs)
    made = stop_after(monkeypatch, 4)
    found = measured(runs)
    assert len(made) == 1
    assert found.keys() == whole.keys() and {"norms/square", "final/end/W_U"} <= found.keys()
    for name in ("norms/square", "norms/over_end", "final/end/W_U"):
        assert found[name].tobytes() == whole[name].tobytes()


def test_what_is_computed_in_less_than_half_a_minute_is_written_when_it_stops(runs, monkeypatch):
    monkeypatch.setattr(unfinished, "SECONDS", 1e9)
    measured(runs)
    assert not kept(runs)
    with monkeypatch.context() as until, pytest.raises(KeyboardInterrupt):
        stop_after(until, 2)
        measured(runs)
    assert len(kept(runs)) == 1
    made = stop_after(monkeypatch, 4)
    measured(runs)
    assert len(made) == 2


def change_code(runs):
    return "other code"


def damage(runs):
    for path in kept(runs):
        path.write_bytes(path.read_bytes()[:100])
    return "code"


@pytest.mark.parametrize("change", [change_code, damage])
def test_what_was_kept_is_not_used_for_something_else(runs, monkeypatch, change):
    measured(runs)
    of = change(runs)
    made = stop_after(monkeypatch, 4)
    measured(runs, of)
    assert len(made) == 4


def test_runs_that_trained_on_are_analyzed_anew(runs, monkeypatch):
    measured(runs)
    spec = stages.spec(PART, "smoke")
    sweep.run(CONFIGS, sweep.Spec(saves=(*spec.saves, 15)), runs, report=None)
    made = stop_after(monkeypatch, 4)
    assert measured(runs)["norms/square"].shape == (4, 4) and len(made) == 4


def test_without_the_pages_code_nothing_is_kept(runs):
    measured(runs, "")
    assert not kept(runs)


def test_a_page_in_memory_has_no_digest_with_which_to_keep():
    assert code.digest(types.ModuleType("page_in_memory")) == ""


def test_what_was_kept_is_removed_and_nothing_else(runs):
    measured(runs)
    assert kept(runs)
    unfinished.remove(runs)
    assert not list(runs.glob(f"*/{unfinished.FOLDER}"))
    assert sweep.load(runs).messages == []


def test_a_folder_that_cannot_be_written_is_told(runs):
    group = next(path for path in runs.iterdir() if path.is_dir())
    (group / unfinished.FOLDER).write_text("in the way")
    with pytest.raises(store.StoreError, match="analyses"):
        measured(runs)


def test_it_is_told_how_far_long_analyses_are(monkeypatch):
    said: list[str] = []
    now = iter((0.0, 40.0, 80.0, 120.0, 160.0))
    monkeypatch.setattr(measuring, "time", types.SimpleNamespace(perf_counter=lambda: next(now)))
    tick = measuring._told(said.append, 12)
    for was_kept in (True, False, False, False):
        tick(3, was_kept)
    assert said == ["analyzed 6 of 12 points, about 2:40 left"]  # what was kept took no time
