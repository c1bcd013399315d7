"""Runs that may still be training: what is committed while one looks, what is damaged or gone, what others do meanwhile."""

import os
import shutil

import numpy as np
import pytest
from growing import FIVES, LONG, TENS, grown, low
from small_pages import part, small
from sweeps_on_disk import loss, names, outline, seeds, write_group
from tiny_sweeps import A, B, C, D, squares

from toylab import configs as cfg
from toylab import load, store
from toylab.explore import open_folder
from toylab.explore.recordings.committed import MEASURES
from toylab.lab import measuring

STEPS = [[0, 1, 2], [5, 10], [20, 30, 40]]
ALL = [0, 1, 2, 5, 10, 20, 30, 40]


def values(held, run):
    """W at a run's points, which is that of `loss` in each entry."""
    return [held.params(run, at)["W"].tolist() for at in np.flatnonzero(held.valid[run])]


def told(held, *words):
    """Whether a message has all these words; each is a sentence."""
    assert all(one.endswith(".") and "\n" not in one for one in held.messages)
    return any(all(word in one for word in words) for one in held.messages)


def damage(chunk, item="traj"):
    """Flips a byte in the largest file of an item; its size and time stay."""
    path = max((one for one in (chunk / item).rglob("*") if one.is_file()), key=lambda one: one.stat().st_size)
    before, data = os.stat(path), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_is_committed_is_seen_at_the_next_look_and_nothing_else_is_read(tmp_path, monkeypatch):
    write_group(tmp_path, seeds(2), STEPS[:1], saves=ALL)
    held = open_folder(tmp_path)[""]
    np.testing.assert_array_equal(held.measures["loss"], loss(seeds(2), STEPS[0]))
    read = []
    own = store.read_chunk
    monkeypatch.setattr(
        store, "read_chunk", lambda folder, step, *more, **how: read.append(step) or own(folder, step, *more, **how)
    )
    assert not held.refresh()
    write_group(tmp_path.parent / "whole", seeds(2), STEPS[:2], saves=ALL)
    (grew,) = tmp_path.glob("000-*")
    shutil.move(tmp_path.parent / "whole" / grew.name / "10", grew / "10")
    assert held.refresh() and held.steps.tolist() == [0, 1, 2, 5, 10] and not held.refresh()
    np.testing.assert_array_equal(held.measures["loss"], loss(seeds(2), ALL[:5]))
    assert read == [10]  # the chunk before it is known


def test_groups_that_join_follow_the_runs_that_there_were(tmp_path):
    outline(tmp_path, {"000-x": 2, "001-y": 2})
    write_group(tmp_path, seeds(2, 10), STEPS[:2], number=1)
    held = open_folder(tmp_path)[""]
    before, config = list(held.runs), held.config(0)
    assert held.columns["seed"].tolist() == [10, 11] and held.varying == ["seed"]
    write_group(tmp_path, seeds(2), [[0, 3, 10]], number=0)
    assert held.refresh() and list(held.runs) == before + names(seeds(2))
    assert held.steps.tolist() == [0, 1, 2, 3, 5, 10] and held.columns["seed"].tolist() == [10, 11, 0, 1]
    assert held.config(0) == config and [int(held.config(run).seed) for run in range(4)] == [10, 11, 0, 1]
    np.testing.assert_array_equal(held.measures["loss"][2, held.valid[2]], loss(seeds(1), [0, 3, 10])[0])
    assert values(held, 3) == [[float(one)] * 4 for one in loss(seeds(1, 1), [0, 3, 10])[0]]


@pytest.mark.slow  # four trainings
def test_a_real_training_is_seen_as_it_goes(tmp_path):
    """Each story of a sweep that grows: longer, with runs that join, with points between (a pass)."""
    held = None
    for configs, saves in (((A,), TENS), ((A, C), TENS), ((A, C, B), FIVES), ((A, C, B, D), LONG)):
        sweep, _ = grown(tmp_path / "runs", (configs, saves), stop=low, probes={"squares": squares})
        held = held or open_folder(tmp_path)[""]
        held.refresh()
        place = [list(held.runs).index(name) for name in sweep.runs]
        assert held.steps.tolist() == sweep.steps.tolist() and len(held.runs) == len(sweep.runs)
        np.testing.assert_array_equal(held.valid[place], sweep.valid)
        assert set(held.measures) == {*sweep.measures, *sweep.probes}
        for name, value in {**sweep.measures, **sweep.probes}.items():
            np.testing.assert_array_equal(held.measures[name][place], value, err_msg=name)
        for run, at in zip(*np.nonzero(sweep.valid), strict=True):
            params = held.params(place[run], at)
            assert all(np.array_equal(params[name], sweep.params[name][run, at]) for name in sweep.params)
        assert not held.refresh() and not held.messages
    assert (next(iter((tmp_path / "runs").glob("000-*"))) / "pass-1").is_dir()
    again = open_folder(tmp_path)[""]
    assert list(again.runs) == load(tmp_path / "runs").runs.tolist()
    held.close()


@pytest.mark.parametrize("which", range(3))
def test_a_damaged_chunk_is_told_and_the_rest_goes_on(tmp_path, which):
    group = write_group(tmp_path, seeds(2), STEPS)
    chunk = group / str(STEPS[which][-1])
    damage(chunk)
    held = open_folder(tmp_path)[""]
    assert held.valid.all() and np.isfinite(held.measures["loss"]).all()
    for at, step in enumerate(ALL):
        if step in STEPS[which]:
            with pytest.raises(LookupError, match=rf"the chunk at step {chunk.name} in .* is damaged: .*\.$"):
                held.params(1, at)
        else:
            assert held.params(1, at)["W"].tolist() == [float(loss(seeds(1, 1), [step])[0, 0])] * 4
    assert told(held, f"step {chunk.name}", "damaged") and len(held.messages) == 1


def test_damaged_measures_are_nan_and_told(tmp_path):
    group = write_group(tmp_path, seeds(2), STEPS)
    damage(group / "10", "measures")
    held = open_folder(tmp_path)[""]
    found = held.measures["loss"]
    assert np.isnan(found[:, 3:5]).all() and np.isfinite(np.delete(found, [3, 4], axis=1)).all()
    assert told(held, "step 10", "damaged")
    assert held.params(0, 3)["W"].tolist() == [pytest.approx(5 / 1000)] * 4


def test_a_chunk_whose_record_is_damaged_has_no_points(tmp_path):
    group = write_group(tmp_path, seeds(2), STEPS)
    whole = (group / "10" / "info" / "metadata").read_bytes()
    (group / "10" / "info" / "metadata").write_bytes(whole[:-20])
    held = open_folder(tmp_path)[""]
    assert held.steps.tolist() == [0, 1, 2, 20, 30, 40] and told(held, "10", "damaged")
    (group / "10" / "info" / "metadata").write_bytes(whole)
    assert held.refresh() and held.steps.tolist() == ALL and not held.messages


def test_a_chunk_that_goes_while_one_looks_is_told_and_what_was_read_stays(tmp_path):
    group = write_group(tmp_path, seeds(2), STEPS)
    held = open_folder(tmp_path)[""]
    before = held.measures["loss"].copy()
    held.params(0, 3)
    shutil.move(group / "10", tmp_path / "aside")
    with pytest.raises(LookupError, match=r"step 10 in .* is gone"):
        held.params(0, 3)
    assert held.refresh() and not held.refresh()
    assert told(held, "step 10", "gone") and len(held.messages) == 1 and held.valid.all()
    np.testing.assert_array_equal(held.measures["loss"], before)
    assert held.params(0, 2)["W"].shape == (4,)
    shutil.move(tmp_path / "aside", group / "10")
    assert held.refresh() and held.params(0, 3)["W"].shape == (4,) and not held.messages
    assert held.refresh() and not held.refresh()  # a page that told it before it was read is told that it is over


def test_a_whole_sweep_that_goes_leaves_what_was_read(tmp_path):
    write_group(tmp_path / "runs", seeds(2), STEPS)
    held = open_folder(tmp_path)[""]
    before = held.measures["loss"].copy()
    shutil.rmtree(tmp_path / "runs")
    held.refresh()
    np.testing.assert_array_equal(held.measures["loss"], before)
    assert len(held.runs) == 2 and told(held, "gone")
    with pytest.raises(LookupError, match="gone"):
        held.params(1, 0)


def test_a_chunk_in_place_of_another_is_read_anew(tmp_path):
    group = write_group(tmp_path / "a", seeds(2), STEPS)
    held = open_folder(tmp_path / "a")[""]
    first = held.params(0, 0)["W"]
    other = write_group(tmp_path / "b", seeds(2, 5), STEPS)
    chunk = other / "2"
    record = store.read_json(chunk / "info" / "metadata", sealed=True)
    record["group"] = store.read_json(group / "2" / "info" / "metadata", sealed=True)["group"]
    for own, what in ((chunk / "info" / "metadata", record), (chunk / "files.json", None)):
        own.unlink()
        store.write_json(own, store.chunk.file_digests(chunk) if what is None else what, sealed=True)
    shutil.rmtree(group / "2")
    shutil.move(chunk, group / "2")
    assert held.refresh()
    assert held.params(0, 0)["W"].tolist() == (first + 5).tolist()
    np.testing.assert_array_equal(held.measures["loss"][:, :3], loss(seeds(2, 5), STEPS[0]))


def test_runs_that_belong_to_another_manifest_are_told(tmp_path):
    group = write_group(tmp_path / "a", seeds(2), STEPS)
    shutil.rmtree(group / "10")
    shutil.move(write_group(tmp_path / "b", seeds(2, 5), STEPS) / "10", group / "10")
    held = open_folder(tmp_path / "a")[""]
    assert held.steps.tolist() == [0, 1, 2, 20, 30, 40] and told(held, "not of the runs in its manifest")


def test_a_group_with_a_damaged_manifest_is_left_out_and_told(tmp_path):
    write_group(tmp_path, seeds(2), STEPS)
    bad = write_group(tmp_path, seeds(2, 10), STEPS, number=1)
    whole = (bad / "manifest.json").read_bytes()
    (bad / "manifest.json").write_bytes(b"{}")
    held = open_folder(tmp_path)[""]
    assert list(held.runs) == names(seeds(2)) and told(held, "001-", "damaged")
    (bad / "manifest.json").write_bytes(whole)
    assert held.refresh() and len(held.runs) == 4 and not held.messages


def test_two_recordings_of_one_folder_and_a_folder_that_cannot_be_written(tmp_path):
    group = write_group(tmp_path / "runs", seeds(2), STEPS)
    folders = [path for path in (tmp_path, *tmp_path.rglob("*")) if path.is_dir()]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for path in folders:
        path.chmod(0o555)
    try:
        one, other = open_folder(tmp_path)[""], open_folder(tmp_path)[""]
        for held in (one, other):
            assert np.isfinite(held.measures["loss"]).all() and len(values(held, 0)) == 8 and not held.messages
            assert not held.refresh()
    finally:
        for path in folders:
            path.chmod(0o755)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before and not store.is_locked(group)


def test_runs_that_ended_or_diverged_have_no_values_after(tmp_path):
    write_group(tmp_path, seeds(3), STEPS, lengths=[8, 4, 6], diverged=[None, 5, None])
    held, sweep = open_folder(tmp_path)[""], load(tmp_path)
    np.testing.assert_array_equal(held.valid, sweep.valid)
    np.testing.assert_array_equal(held.measures["loss"], sweep.measures["loss"])
    with pytest.raises(LookupError, match=rf"{held.runs[1]}: no point is saved at step 40\."):
        held.params(1, 7)


def test_runs_without_params_say_so(tmp_path):
    group = write_group(tmp_path, seeds(1), STEPS[:1])
    shutil.rmtree(group)
    about = {"configs": seeds(1), "saves": [0, 1], "plan": {"lane": 1, "segment": 1, "chunk": 1}}
    group.mkdir()
    store.write_json(group / "manifest.json", {"schema": store.SCHEMA, **about}, sealed=True)
    info = {"points": 2, "steps": [0, 1], "ended": [False], "lengths": [2], "diverged": [None]}
    store.write_chunk(group, 1, {"measures": {"loss": np.ones((1, 2), np.float32)}}, info)
    held = open_folder(tmp_path)[""]
    assert "without recording weights" in held.no_params and held.shapes == [{}] and held.on_demand is None
    with pytest.raises(LookupError, match="without recording weights"):
        held.params(0, 0)


def test_groups_of_several_shapes(tmp_path):
    write_group(tmp_path, seeds(1, d_model=4), STEPS)
    write_group(tmp_path, seeds(1, d_model=6), [[0, 1, 2, 7]], number=1, more=("extra",))
    held = open_folder(tmp_path)[""]
    assert [one["W"] for one in held.shapes] == [(4,), (6,)] and held.varying == ["net.d_model"]
    assert held.params(1, 0)["W"].shape == (6,) and held.params(0, 0)["W"].shape == (4,)
    assert np.isnan(held.measures["extra"][0]).all() and np.isfinite(held.measures["extra"][1, held.valid[1]]).all()


# --- the analyses of measures.npz


@pytest.fixture
def analysed(tmp_path):
    """A page's folder whose runs were trained and analysed."""
    configs = [cfg.check(config) for config in small(2)]
    own = part("one", configs)
    folder = tmp_path / "mine"
    from toylab.lab import stages
    from toylab.sweep import run

    run(configs, stages.spec(own, "smoke"), folder / "runs")
    found = measuring.measures_of(own, configs, folder / "runs", print, 4)
    store.write_arrays(folder / MEASURES, found)
    return folder, found


def test_analyses_of_the_same_runs_stand_beside_their_params(analysed):
    folder, found = analysed
    held = open_folder(folder)[""]
    assert set(held.measures) == {name for name in found if not name.startswith(("config/", "final/"))} - {
        "steps",
        "valid",
    }
    np.testing.assert_array_equal(held.measures["norm/W"], found["norm/W"])
    np.testing.assert_array_equal(held.final["weights/W"], found["final/weights/W"])
    np.testing.assert_array_equal(held.final["weights/W"][1], held.params(1, len(held.steps) - 1)["W"])
    assert "norm/W" in held.scalars and not held.messages


def test_analyses_of_other_runs_are_left_out_and_told(analysed):
    folder, found = analysed
    for wrong in (
        {**found, "loss": found["loss"] + 1},
        {**found, "steps": found["steps"] + 1},
        {name: value if name == "steps" else np.concatenate([value, value[:1]]) for name, value in found.items()},
        {name: value for name, value in found.items() if name != "loss"},
    ):
        store.write_arrays(folder / MEASURES, wrong)
        held = open_folder(folder)[""]
        assert "norm/W" not in held.measures and not held.final and told(held, MEASURES, "not of all these runs")
    store.write_arrays(folder / MEASURES, found)
    assert held.refresh() and "norm/W" in held.measures and not held.messages


def test_analyses_that_are_damaged_leave_the_runs(analysed):
    folder, _ = analysed
    (folder / MEASURES).write_bytes(b"PK\x03\x04 no more")
    held = open_folder(folder)[""]
    assert "norm/W" not in held.measures and np.isfinite(held.measures["loss"]).all()
    assert told(held, MEASURES, "damaged", "Run the stage analyze")


def test_analyses_of_runs_that_go_on_end_where_they_end(tmp_path):
    group = write_group(tmp_path / "runs", seeds(2), STEPS[:2], saves=ALL)
    steps = np.array(ALL[:5])
    found = {"steps": steps, "valid": np.ones((2, 5), bool), "loss": loss(seeds(2), steps), "norm/W": np.ones((2, 5)),
             "final/norm/W": np.ones(2), "config/seed": np.arange(2)}  # fmt: skip
    store.write_arrays(tmp_path / MEASURES, found)
    held = open_folder(tmp_path)[""]
    assert held.final["norm/W"].tolist() == [1, 1] and not held.messages
    write_group(tmp_path / "more", seeds(2), STEPS)
    shutil.move(tmp_path / "more" / group.name / "40", group / "40")
    assert held.refresh()
    assert np.isfinite(held.measures["norm/W"][:, :5]).all() and np.isnan(held.measures["norm/W"][:, 5:]).all()
    assert not held.final and told(held, "trained on since")
