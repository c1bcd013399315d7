"""Runs that start where runs of another sweep ended, and the starts that are refused."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_sweeps import A, B, C, bits, tiny, trained

from toylab import store, sweep
from toylab.sweep import Interrupted, Spec, Starts

OTHERS = [config.replace(optimizer=config.optimizer.replace(lr=5e-4)) for config in (C, A, B)]  # in another order
BY = ("seed",)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A, B and C: B is stopped at step 5, the others run to 10."""
    folder = tmp_path_factory.mktemp("ended") / "runs"
    return folder, trained(folder, [A, B, C], saves=(0, 5, 10), stop=stops_b)


def stops_b(measures):
    return bool(measures["step"][-1] == 5 and measures["train_loss"][0] == stops_b.loss)


stops_b.loss = float("nan")


def starts(folder, configs=OTHERS, **changed):
    return replace(Starts.matched(folder, "first", configs, [A, B, C], BY), **changed)


def test_each_run_starts_where_the_run_of_its_seed_ended_with_an_optimizer_of_its_own(ended, tmp_path):
    folder, before = ended
    group = trained(tmp_path, OTHERS, saves=(0, 5), start=starts(folder))
    for name in before.params:
        last = before.params[name][:, -1]
        np.testing.assert_array_equal(group.params[name][:, 0], last[[2, 0, 1]])
    alone = trained(tmp_path / "b", OTHERS[2:], saves=(0, 5), start={k: v[1, -1] for k, v in before.params.items()})
    assert bits(alone, 0) == bits(group, 2)
    assert group.manifest["started_from"] == [f"first/{sweep.run_name(config)}@last" for config in (C, A, B)]


def test_a_run_that_was_stopped_hands_over_its_last_point(tmp_path, monkeypatch):
    first = trained(tmp_path / "whole", [B], saves=(0, 5, 10))
    monkeypatch.setattr(stops_b, "loss", float(first.measures["train_loss"][0, 0]))
    stopped = trained(tmp_path / "first", [A, B], saves=(0, 5, 10), stop=stops_b)
    assert stopped.valid.sum(axis=1).tolist() == [3, 2] and stopped.ended.tolist() == [False, True]
    start = Starts.matched(tmp_path / "first", "first", OTHERS[1:], [A, B], BY)
    group = trained(tmp_path / "second", OTHERS[1:], saves=(0, 5), start=start)
    np.testing.assert_array_equal(group.params["W_E"][1, 0], first.params["W_E"][0, 1])


def test_a_broken_sweep_goes_on_as_an_unbroken_one_and_reads_no_start_again(ended, tmp_path):
    folder, _ = ended
    spec = Spec(saves=(0, 1, 2, 5, 10), start=starts(folder))
    whole = trained(tmp_path / "whole", OTHERS, saves=spec.saves, start=spec.start)
    calls = iter([False, True])
    with pytest.raises(Interrupted):
        sweep.run(OTHERS, spec, tmp_path / "broken", plan=sweep.Plan(2, 1, 1), interrupted=lambda: next(calls, True))
    gone = replace(spec, start=starts(tmp_path / "gone"))
    sweep.run(OTHERS, gone, tmp_path / "broken")
    (group,) = sweep.load(tmp_path / "broken")
    assert [bits(group, run)["W_E"] for run in range(3)] == [bits(whole, run)["W_E"] for run in range(3)]


def test_other_starts_are_another_sweep(ended, tmp_path):
    folder, _ = ended
    trained(tmp_path, OTHERS, saves=(0, 5), start=starts(folder))
    with pytest.raises(store.Refused, match=r"holds runs of another config .*started_from"):
        sweep.run(OTHERS, Spec(saves=(0, 5)), tmp_path)


def test_starts_that_are_missing_unfinished_or_diverged_are_refused(ended, tmp_path):
    folder, _ = ended
    with pytest.raises(store.StoreError, match=r"gone is not there: train first first"):
        trained(tmp_path / "a", OTHERS, saves=(0, 5), start=starts(tmp_path / "gone"))
    with pytest.raises(store.StoreError, match=r"has no run 0123456789: train first first"):
        starts(folder, runs={sweep.run_name(OTHERS[0]): "0123456789"}).check()
    (path,) = folder.glob("*/manifest.json")
    about = store.read_json(path, sealed=True)
    store.write_json(path, {**about, "saves": [0, 5, 10, 20]}, sealed=True)
    with pytest.raises(store.StoreError, match=r"is at step 10 of 20: train it to its end first"):
        starts(folder).check()
    store.write_json(path, about, sealed=True)
    starts(folder).check()
    wild = [config.replace(optimizer=config.optimizer.replace(lr=1e30)) for config in (A, B, C)]
    trained(tmp_path / "wild", wild, saves=(0, 5, 10))
    with pytest.raises(store.StoreError, match=r"diverged at step \d+: no run can start there"):
        Starts.matched(tmp_path / "wild", "wild", OTHERS, wild, BY).check()


def test_a_sweep_that_recorded_some_params_alone_is_refused(tmp_path):
    trained(tmp_path / "first", [A, B, C], saves=(0, 5), keep=("W_E",))
    with pytest.raises(store.StoreError, match=r"first recorded no W_U, .*: a run cannot start there"):
        trained(tmp_path / "second", OTHERS, saves=(0, 5), start=starts(tmp_path / "first"))


@pytest.mark.parametrize(
    ("configs", "others", "by", "what"),
    [
        ([A], [B, C], BY, "first has 0 runs with seed 0: a run that starts there needs one"),
        ([A], [A, tiny(0, lr=0.5)], BY, "first has 2 runs with seed 0"),
        ([A], [A], ("net.depth",), "net.depth is no field of run .*: runs are matched with first by it"),
        ([A], [tiny(0, d_model=12)], BY, r"first with seed 0: its params do not fit this net \(.*W_E.* differ\)"),
    ],
)
def test_runs_that_cannot_be_matched_are_refused(tmp_path, configs, others, by, what):
    with pytest.raises(ValueError, match=what):
        Starts.matched(tmp_path, "first", configs, others, by)
