"""A sweep's runs are what they would be alone, unbroken and in one piece, bit for bit."""

import os
from functools import partial
from itertools import pairwise
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from rounding import same_training
from tiny_sweeps import PAIRS, SAVES, A, B, C, D, E, bits, contents, never, only, squares, tiny, trained

from toylab import configs as cfg
from toylab import store, sweep, train
from toylab.store import Damaged, Refused
from toylab.sweep import Interrupted, Plan, Spec, runner
from toylab.sweep import plan as planning


def learned(measures):
    """STOP where the training loss has come below 2 nats: E never gets there, the others at different points."""
    return bool(measures["train_loss"][-1] < 2.0)


def as_straight(group, run, straight, n, segment):
    """A run's n points are those of the unbroken sweep: bit for bit, or with other segments, another program, alike."""
    if segment == PAIRS.segment:
        return bits(group, run) == bits(straight, run, until=SAVES[n - 1])
    found, expected = ({**each.params, **each.measures} for each in (group, straight))
    return same_training(*({name: v[run : run + 1, :n] for name, v in arrays.items()} for arrays in (found, expected)))


def committed(files):
    """Of contents: what a commit leaves for good. Manifests and sweep.json grow, and resume points are thinned out."""
    grow = ("manifest.json", "sweep.json")
    return {name: held for name, held in files.items() if not name.endswith(grow) and "/state/" not in name}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Five runs in lanes of two, unbroken, without STOP: the last lane is padded."""
    folder = tmp_path_factory.mktemp("straight")
    return trained(folder, [A, B, C, D, E], Plan(2, 2, len(SAVES)))


# --- save points


ladders = st.tuples(st.integers(1, 10_000), st.integers(1, 100_000), st.integers(4, 400))


@settings(max_examples=300, deadline=None)
@example((10, 24_990, 220))
@example((99, 1, 50))
@given(ladders)
def test_save_points_ascend_from_0_to_the_last(ladder):
    first, beyond, n = ladder
    points = sweep.log_then_linear(first, first + beyond, n)
    assert points.dtype.kind == "i" and points[0] == 0 and points[1] == first and points[-1] == first + beyond
    assert (np.diff(points) > 0).all() and len(points) <= n + 1


@settings(max_examples=300, deadline=None)
@given(ladders)
def test_gaps_of_save_points_never_shrink_but_by_rounding(ladder):
    first, beyond, n = ladder
    gaps = np.diff(sweep.log_then_linear(first, first + beyond, n)[1:])
    assert (np.diff(gaps) >= -2).all()


def test_save_points_are_as_many_as_asked_where_there_is_room():
    for first, last, n in ((10, 25_000, 220), (10, 40_000, 400), (1, 10_000, 50)):
        assert 0.85 * n <= len(sweep.log_then_linear(first, last, n)) <= n


@pytest.mark.parametrize("bad", [(0, 10, 5), (10, 10, 5), (10, 5, 5), (1, 10, 3)])
def test_save_points_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValueError, match=r"log_then_linear\(.* needs 0 < first < last"):
        sweep.log_then_linear(*bad)


@pytest.mark.parametrize("bad", [(), (0, 10, 5), (0, 5, 5), (-1, 5), (0, 2**31)])
def test_saves_that_do_not_ascend_are_refused(bad):
    with pytest.raises(ValueError, match=r"saves are .*: they must be ascending step numbers"):
        Spec(saves=bad)


# --- groups


def test_what_forces_a_compile_or_another_stream_makes_a_group_and_nothing_else_does():
    configs = [A, tiny(0, d_model=12), B, tiny(0, data_seed=1), tiny(5, d_model=12), tiny(1, data_seed=1)]
    members = list(sweep.groups(configs).values())
    assert members == [[configs[0], configs[2]], [configs[1], configs[4]], [configs[3], configs[5]]]


def test_group_names_depend_on_the_configs_alone():
    names = list(sweep.groups([A, B, tiny(0, d_model=12)]))
    assert names == [f"000-{cfg.digest(A)[:10]}", f"001-{cfg.digest(tiny(0, d_model=12))[:10]}"]
    assert names == list(sweep.groups([tiny(0), tiny(1, lr=1e-2), tiny(0, d_model=12)]))


def test_a_large_family_is_cut_into_groups():
    assert [len(members) for members in sweep.groups([A, B, C, D, E], 2).values()] == [2, 2, 1]


def test_empty_and_duplicate_sweeps_and_configs_that_make_no_sense_are_refused(tmp_path):
    for configs, words in (
        ([], "no configs"),
        ([A, B, tiny(0)], "1 duplicate config"),
        ([A, A.replace(seed=0)], "1 duplicate config"),
        ([A, B.replace(seed=1.5)], "seed is 1.5"),
    ):
        with pytest.raises(ValueError, match=words):
            sweep.run(configs, Spec(saves=SAVES), str(tmp_path / "runs"), plan=PAIRS)
    assert list(tmp_path.iterdir()) == []


# --- what is recorded


def test_every_run_has_every_point(straight):
    assert straight.steps.tolist() == list(SAVES)
    assert straight.valid.shape == (5, len(SAVES)) and straight.valid.all()
    assert straight.params["W_E"].shape == (5, len(SAVES), 2, 11, 8)
    assert straight.measures["train_loss"].shape == (5, len(SAVES))
    assert straight.runs == [sweep.run_name(config) for config in (A, B, C, D, E)]
    assert straight.configs == [cfg.canonical(config) for config in (A, B, C, D, E)]
    arrays = {**straight.params, **straight.measures}
    assert all(np.isfinite(value).all() for value in arrays.values())
    assert straight.probes == {} and straight.messages == []


def test_lanes_of_one_follow_step_by_step_training(tmp_path):
    """The definition of the dynamics, jitted step by step, against the compiled and chunked loop."""
    group = trained(tmp_path, [B], Plan(1, 2, 4), (0, 1, 2, 5))
    state, data = train.init(B), train.data(B)
    step = jax.jit(partial(train.step, B))
    for now in range(6):
        if now in group.steps:
            point = list(group.steps).index(now)
            for name, value in state.params.items():
                np.testing.assert_allclose(group.params[name][0, point], value, rtol=1e-5, atol=1e-6)
        state = step(data, jax.random.key(B.data_seed), state)


def test_the_first_point_may_lie_after_some_steps(tmp_path, straight):
    group = trained(tmp_path, [A, B], saves=(20, 50))
    assert group.steps.tolist() == [20, 50]
    for i, point in enumerate([SAVES.index(20), SAVES.index(50)]):
        assert group.params["W_U"][0, i].tobytes() == straight.params["W_U"][0, point].tobytes()


def test_kept_params_and_probes_are_recorded_and_the_rest_is_not(tmp_path, straight):
    group = trained(tmp_path, [A, B, C], keep=("W_U",), probes={"squares": squares}, stop=learned)
    assert group.params.keys() == {"W_U"}
    assert group.probes.keys() == {"squares/sum", "squares/rows", "squares/big"}
    assert group.probes["squares/rows"].shape == (3, len(group.steps), 11)
    assert group.probes["squares/big"].dtype == bool and not group.probes["squares/big"][~group.valid].any()
    for run in range(3):
        points = np.flatnonzero(group.valid[run])
        recorded = {"W_U": group.params["W_U"][run : run + 1, points]}
        assert same_training(recorded, {"W_U": straight.params["W_U"][run : run + 1, points]})
        expected = (straight.params["W_E"][run, points] ** 2).sum((1, 2, 3))
        np.testing.assert_allclose(group.probes["squares/sum"][run, points], expected, rtol=1e-5)
    assert group.manifest["keep"] == ["W_U"] and group.manifest["probes"] == ["squares"]


def test_a_sweep_that_keeps_no_params_has_its_measures_and_goes_on(tmp_path, straight):
    asked = iter([False, True])
    with pytest.raises(Interrupted):
        sweep.run([A, B], Spec(saves=SAVES, keep=()), tmp_path, plan=PAIRS, interrupted=lambda: next(asked))
    group = trained(tmp_path, [A, B], keep=())
    assert group.params == {} and group.manifest["keep"] == []
    assert same_training(group.measures, {name: value[:2] for name, value in straight.measures.items()})


def test_params_left_on_disk_when_not_asked_for(tmp_path):
    trained(tmp_path, [A, B], saves=(0, 5))
    (group,) = sweep.load(tmp_path, params=False)
    assert group.params == {} and group.measures["test_loss"].shape == (2, 2)


# --- STOP


def first_learned(straight, run):
    """How many points a run has with STOP, from its unbroken trajectory."""
    below = straight.measures["train_loss"][run] < 2.0
    return int(below.argmax()) + 1 if below.any() else len(SAVES)


@pytest.mark.parametrize(("segment", "chunk"), [(1, 1), (2, 2), (2, 6), (3, 3), (3, 12)])
def test_a_run_ends_at_its_first_true_point_whatever_segment_and_chunk_are(tmp_path, straight, segment, chunk):
    group = trained(tmp_path, [A, B, C, D, E], Plan(2, segment, chunk), stop=learned)
    lengths = [first_learned(straight, run) for run in range(5)]
    assert len(set(lengths)) >= 3 and lengths[4] == len(SAVES)  # else this shows nothing
    assert group.valid.sum(axis=1).tolist() == lengths
    for run, n in enumerate(lengths):
        assert group.valid[run, :n].all()
        assert as_straight(group, run, straight, n, segment)


def test_after_a_runs_end_all_is_nan(tmp_path):
    group = trained(tmp_path, [B, E], stop=learned)
    assert not group.valid[0].all() and group.valid[1].all()
    for value in {**group.params, **group.measures}.values():
        assert np.isnan(value[0, ~group.valid[0]]).all()
        assert np.isfinite(value[group.valid]).all()


def test_the_sweep_ends_with_its_last_run(tmp_path):
    group = trained(tmp_path, [B, C], stop=learned)
    assert group.steps[-1] < SAVES[-1]
    assert group.valid.any(axis=0)[: group.valid.sum(axis=1).max()].all()


ASKED = []


def counting(measures):
    ASKED.append({name: value.copy() for name, value in measures.items()})
    return len(measures["step"]) == 7


@pytest.mark.parametrize(("segment", "chunk"), [(1, 2), (2, 2), (3, 6)])
def test_stop_is_asked_at_every_point_in_order_with_all_before_it(tmp_path, straight, segment, chunk):
    ASKED.clear()
    trained(tmp_path, [A], Plan(2, segment, chunk), stop=counting)
    assert [measures["step"].tolist() for measures in ASKED] == [list(SAVES[: n + 1]) for n in range(7)]
    for measures in ASKED:
        n = len(measures["step"])
        for name, value in straight.measures.items():
            assert measures[name].tobytes() == value[0, :n].tobytes() or segment != PAIRS.segment
            assert same_training({name: measures[name][None]}, {name: value[:1, :n]})


# --- the same bits


@pytest.mark.parametrize(("segment", "chunk"), [(1, 1), (2, 2), (2, 4), (3, 3)])
def test_chunked_is_straight(tmp_path, straight, segment, chunk):
    group = trained(tmp_path, [A, B, C, D, E], Plan(2, segment, chunk))
    assert all(as_straight(group, run, straight, len(SAVES), segment) for run in range(5))


@pytest.mark.parametrize("companions", [[A], [E, A], [A, C, B], [D, B, A, E]])
def test_a_run_does_not_depend_on_its_neighbours(tmp_path, straight, companions):
    group = trained(tmp_path, companions)
    assert bits(group, companions.index(A)) == bits(straight, 0)


def test_nor_does_it_in_wider_lanes(tmp_path):
    found = []
    for i, companions in enumerate([[A], [E, A], [D, C, B, A], [B, C, D, E, A]]):
        group = trained(tmp_path / str(i), companions, Plan(4, 2, 4))
        found.append(bits(group, companions.index(A)))
    assert found[1:] == found[:-1]


def test_nor_on_what_else_the_grid_varies(tmp_path, straight):
    """Leaves are batched whether they vary or not."""
    for name, other in (("seed", tiny(7)), ("lr", tiny(0, lr=0.5))):
        assert bits(trained(tmp_path / name, [A, other]), 0) == bits(straight, 0)


def test_nor_on_the_cutting_into_groups(tmp_path, straight):
    sweep.run([A, B, C, D, E], Spec(saves=SAVES), tmp_path, plan=PAIRS, group_size=2)
    runs = [(group, run) for group in sweep.load(tmp_path) for run in range(len(group.runs))]
    assert [bits(*run) for run in runs] == [bits(straight, run) for run in range(5)]


def test_lanes_of_different_widths_agree_within_rounding(tmp_path, straight):
    for width in (1, 4):
        group = trained(tmp_path / str(width), [A, B, C, D, E], Plan(width, 2, 4))
        assert same_training({**group.params, **group.measures}, {**straight.params, **straight.measures})
    other = trained(tmp_path / "other", [tiny(5), B, C, D, E])
    assert not same_training(other.params, straight.params) and not same_training(other.measures, straight.measures)


# --- going on


def test_a_finished_sweep_run_again_changes_nothing(tmp_path):
    trained(tmp_path, [A, B, C], stop=learned)
    before, reports = contents(tmp_path), []
    sweep.run([A, B, C], Spec(saves=SAVES, stop=learned), tmp_path, plan=PAIRS, report=reports.append)
    assert contents(tmp_path) == before
    assert reports[-1].ended.all() and reports[-1].step == only(tmp_path).steps[-1]


def test_a_larger_last_step_extends_and_leaves_old_points_unchanged(tmp_path, straight):
    trained(tmp_path, [A, B, C, D, E], saves=SAVES[:9])
    before = contents(tmp_path)
    group = trained(tmp_path, [A, B, C, D, E])
    assert [bits(group, run) for run in range(5)] == [bits(straight, run) for run in range(5)]
    assert committed(before).items() <= contents(tmp_path).items()


def test_a_run_that_had_ended_stays_ended_when_the_sweep_is_extended(tmp_path, straight):
    short = trained(tmp_path, [C, E], saves=SAVES[:9], stop=learned)
    group = trained(tmp_path, [C, E], stop=learned)
    assert group.valid[0].sum() == short.valid[0].sum() and group.valid[1].all()
    assert bits(group, 1) == bits(straight, 4)


def test_a_smaller_last_step_keeps_what_is_there(tmp_path):
    trained(tmp_path, [A, B], saves=SAVES[:6])
    before, reports = contents(tmp_path), []
    sweep.run([A, B], Spec(saves=SAVES[:3]), tmp_path, plan=PAIRS, report=reports.append)
    assert contents(tmp_path) == before
    assert reports[0].messages[0].endswith(f" trains to step {SAVES[5]}, as it was begun.")


CHANGED = {
    "a leaf": ([tiny(0, lr=9e-3), B], {}, r"optimizer\.lr: 0\.003 → 0\.009"),
    "a size": ([tiny(0, d_model=12), tiny(1, lr=1e-2, d_model=12)], {}, r"net\.d_model: 8 → 12"),
    "a later run's leaf": ([A, tiny(1, lr=2e-2)], {}, r"optimizer\.lr: 0\.01 → 0\.02"),
    "a run more and one less": ([A, C, D], {}, r"optimizer\.lr: 0\.01 → 0\.03"),
    "stop": ([A, B], {"stop": never}, r"stop: None → .*never"),
    "keep": ([A, B], {"keep": ("W_E",)}, r"keep: None → \['W_E'\]"),
    "probes": ([A, B], {"probes": {"squares": squares}}, r"probes: \[\] → \['squares'\]"),
    "start": ([A, B], {"started_from": "1a2b@10"}, r"started_from: None → 1a2b@10"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    trained(folder, [A, B], saves=(0, 5))
    return folder


@pytest.mark.parametrize(("configs", "spec", "words"), [pytest.param(*CHANGED[name], id=name) for name in CHANGED])
def test_a_changed_config_is_refused_naming_what_differs_and_nothing_is_touched(finished, configs, spec, words):
    before = contents(finished)
    with pytest.raises(Refused, match=words) as refusal:
        sweep.run(configs, Spec(saves=(0, 5), **spec), finished, plan=PAIRS)
    assert len(str(refusal.value)) < 400 + len(str(finished)) and "\n" not in str(refusal.value)
    assert contents(finished) == before


def test_another_lane_is_refused(finished):
    with pytest.raises(Refused, match=r"lane: 2 → 4"):
        sweep.run([A, B], Spec(saves=(0, 5)), finished, lane=4)


@pytest.mark.parametrize("after", [1, 2, 3, 6])
def test_interrupted_commits_what_it_has_and_resumes_to_the_same_bits(tmp_path, straight, after):
    segments = iter(range(1, 100))
    with pytest.raises(Interrupted, match="up to step") as stopped:
        sweep.run(
            [A, B, C, D, E],
            Spec(saves=SAVES),
            tmp_path,
            plan=Plan(2, 2, 6),
            interrupted=lambda: next(segments) >= after,
        )
    n_points = 2 * after if after % 3 == 0 else 2 * (after + 1)  # within a chunk the next segment is on its way
    assert f"up to step {SAVES[n_points - 1]} " in str(stopped.value)
    assert only(tmp_path).steps.tolist() == list(SAVES[:n_points])
    before = contents(tmp_path)
    group = trained(tmp_path, [A, B, C, D, E], Plan(2, 2, 6))
    assert committed(before).items() <= contents(tmp_path).items()
    assert [bits(group, run) for run in range(5)] == [bits(straight, run) for run in range(5)]


def test_the_plan_is_read_back_on_resume(tmp_path, straight):
    trained(tmp_path, [A, B], saves=SAVES[:6])
    sweep.run([A, B], Spec(saves=SAVES), tmp_path)
    group = only(tmp_path)
    assert group.manifest["plan"] == {"lane": 2, "segment": 2, "chunk": 4, "shards": 1}
    assert bits(group, 0) == bits(straight, 0)


def spoil(folder, step):
    (chunk,) = folder.glob(f"*/{step}")
    (chunk / "info" / "metadata").write_text("{}")


def test_a_damaged_newest_chunk_is_made_anew_to_the_same_bits(tmp_path, straight):
    trained(tmp_path, [A, B, C, D, E])
    spoil(tmp_path, 100)
    left = only(tmp_path)
    assert left.steps.tolist() == list(SAVES[:12]) and "step 100" in left.messages[0]
    reports = []
    sweep.run([A, B, C, D, E], Spec(saves=SAVES), tmp_path, plan=PAIRS, report=reports.append)
    assert ["step 100" in message for progress in reports for message in progress.messages] == [True]
    group = only(tmp_path)
    assert [bits(group, run) for run in range(5)] == [bits(straight, run) for run in range(5)]


def test_a_damaged_middle_chunk_stops_loading_with_advice_that_helps(tmp_path, straight):
    trained(tmp_path, [A, B])
    (folder,) = tmp_path.glob("000-*")
    steps = store.chunks(folder)
    spoil(tmp_path, steps[1])
    with pytest.raises(Damaged) as error:
        list(sweep.load(tmp_path))
    assert f"step {steps[1]}" in str(error.value) and f"after step {steps[0]} up to {steps[1]} are lost" in str(
        error.value
    )
    advised = str(error.value).partition("Delete the folders ")[2].partition(" there")[0].split(", ")
    assert advised == [str(step) for step in steps[1:]]
    for step in advised:
        os.rename(folder / step, tmp_path / f"away-{step}")
    assert bits(trained(tmp_path, [A, B]), 0) == bits(straight, 0)


def test_a_missing_middle_chunk_is_noticed(tmp_path):
    trained(tmp_path, [A, B])
    (folder,) = tmp_path.glob("000-*")
    os.rename(folder / "40", tmp_path / "away")
    with pytest.raises(Damaged, match=r"between steps 5 and 80 .* is missing"):
        list(sweep.load(tmp_path))


def test_a_missing_middle_chunk_is_noticed_when_training_goes_on(tmp_path):
    trained(tmp_path, [A, B], saves=SAVES[:12])
    (folder,) = tmp_path.glob("000-*")
    os.rename(folder / "40", tmp_path / "away")
    with pytest.raises(Damaged):
        sweep.run([A, B], Spec(saves=SAVES), tmp_path, plan=PAIRS)


def test_a_folder_without_runs_says_what_to_do(tmp_path):
    with pytest.raises(store.StoreError, match="holds no runs: run the stage train first"):
        sweep.load(tmp_path / "nowhere")


# --- starting elsewhere


def test_params_at_gives_a_saved_point_by_the_start_of_a_name(straight, tmp_path):
    trained(tmp_path, [A, B], saves=(0, 5, 10))
    name, found = sweep.params_at(tmp_path, sweep.run_name(B)[:6], 5)
    assert name == sweep.run_name(B)
    assert found.keys() == straight.params.keys()
    for name, value in found.items():
        assert value.tobytes() == straight.params[name][1, SAVES.index(5)].tobytes()
    with pytest.raises(ValueError, match=r"no point saved at step 6: the nearest is 5"):
        sweep.params_at(tmp_path, sweep.run_name(B), 6)
    with pytest.raises(ValueError, match=r"0 runs that start with 'zzz': it has .*" + sweep.run_name(B)):
        sweep.params_at(tmp_path, "zzz", 5)


def test_given_params_are_where_training_starts(tmp_path, straight):
    start = {name: value[2, -1] for name, value in straight.params.items()}
    group = trained(tmp_path, [A, B], saves=(0, 5), start=start, started_from="x@100")
    for name, value in start.items():
        assert (group.params[name][:, 0] == value).all()
        assert (group.params[name][:, 1] != value).any()
    assert group.manifest["started_from"] == "x@100"


# --- several families


@pytest.mark.slow
def test_families_and_streams_train_side_by_side_in_one_sweep(tmp_path, straight):
    other = tiny(0, d_model=12)
    sweep.run([A, other, tiny(1, data_seed=3), B], Spec(saves=(0, 5)), tmp_path, plan=PAIRS)
    groups = list(sweep.load(tmp_path))
    assert [group.params["W_E"].shape for group in groups] == [(2, 2, 2, 11, 8), (1, 2, 2, 11, 12), (1, 2, 2, 11, 8)]
    assert [group.name for group in groups] == sorted(group.name for group in groups)
    assert groups[0].params["W_E"][0, 1].tobytes() == straight.params["W_E"][0, SAVES.index(5)].tobytes()


def test_the_table_has_a_row_a_run_and_point_and_a_column_a_field_and_measure(tmp_path):
    sweep.run([B, E, tiny(0, d_model=12)], Spec(saves=SAVES, stop=learned), tmp_path / "runs", plan=PAIRS)
    sweep.write_table(tmp_path / "runs", tmp_path / "runs.parquet")
    table = parquet.read_table(tmp_path / "runs.parquet").to_pydict()
    groups = list(sweep.load(tmp_path / "runs"))
    assert len(table["step"]) == sum(int(group.valid.sum()) for group in groups)
    assert {"run", "group", "step", "task.p", "net.d_model", "optimizer.lr", "seed", "train_loss"} <= table.keys()
    rows = list(zip(table["run"], table["step"], table["train_loss"], table["net.d_model"], strict=True))
    expected = [
        (group.runs[r], group.steps[t], group.measures["train_loss"][r, t], 12 if i else 8)
        for i, group in enumerate(groups)
        for r, t in np.argwhere(group.valid)
    ]
    assert [row[:2] + row[3:] for row in rows] == [row[:2] + row[3:] for row in expected]
    np.testing.assert_array_equal([row[2] for row in rows], [row[2] for row in expected])
    assert set(table["optimizer.lr"]) == {0.01, 0.001, 0.003}


# --- the plan


def test_a_chosen_plan_is_written_down_and_used(tmp_path, monkeypatch):
    monkeypatch.setattr("toylab.sweep.timing.WIDTHS", (1, 2, 4))  # 4 is more than there are runs
    sweep.run([A, B], Spec(saves=(0, 5)), tmp_path)
    plan = only(tmp_path).manifest["plan"]
    assert plan["lane"] in (1, 2) and 1 <= plan["segment"] <= plan["chunk"] <= 2
    assert plan["chunk"] % plan["segment"] == 0
    assert only(tmp_path).valid.all()


def test_a_given_lane_fixes_the_width(tmp_path):
    sweep.run([A, B], Spec(saves=(0, 5)), tmp_path, lane=2)
    assert only(tmp_path).manifest["plan"]["lane"] == 2
    sweep.run([A, B], Spec(saves=(0, 5)), tmp_path, lane=2)


def test_the_manifest_says_within_what_bits_repeat(straight):
    assert straight.manifest["plan"] == {"lane": 2, "segment": 2, "chunk": len(SAVES), "shards": 1}
    recorded = {"processor", "device", "backend", "cores", "matmul_precision", "jax", "jaxlib"}
    assert recorded <= straight.manifest["environment"].keys()
    assert straight.manifest["saves"] == list(SAVES)


@pytest.mark.parametrize("begun", ["x86_64 sse4_2", None])
def test_going_on_on_another_processor_is_reported(tmp_path, monkeypatch, begun):
    """None: of a sweep from before the processor was written down, nothing is known."""
    environment = {key: value for key, value in planning.environment().items() if key != "processor"}
    with monkeypatch.context() as there:
        there.setattr(
            "toylab.sweep.manifest.environment", lambda: environment | ({"processor": begun} if begun else {})
        )
        sweep.run([A], Spec(saves=(0, 5)), tmp_path, plan=PAIRS)
    reports = []
    sweep.run([A], Spec(saves=(0, 5, 10)), tmp_path, plan=PAIRS, report=reports.append)
    output = [message for progress in reports for message in progress.messages if "another environment" in message]
    assert len(output) == bool(begun) and all(f"processor: {begun} → " in message for message in output)


def test_reports_come_after_every_segment(tmp_path):
    reports = []
    sweep.run([A, E], Spec(saves=SAVES, stop=learned), tmp_path, plan=PAIRS, report=reports.append)
    assert [progress.step for progress in reports] == [0, *SAVES[1::2]]
    assert all(progress.last == 100 for progress in reports)
    for progress in reports[1:]:
        assert progress.measures["test_loss"].shape == (2, SAVES.index(progress.step) + 1)
    assert all(not a.ended[i] or b.ended[i] for a, b in pairwise(reports) for i in range(2))
    assert Path(tmp_path / reports[0].group).is_dir()


@pytest.mark.slow
def test_the_announced_size_is_not_exceeded(tmp_path):
    spec, configs = Spec(saves=range(64)), [tiny(seed, d_model=400) for seed in range(2)]
    sweep.run(configs, spec, tmp_path, plan=Plan(1, 1, 1))  # the most that a plan can take
    taken = sum(path.stat().st_blocks * 512 for path in tmp_path.rglob("*") if path.is_file())
    assert 0.5 * sweep.bytes_needed(configs, spec) < taken <= sweep.bytes_needed(configs, spec)


def test_probes_and_the_files_of_each_groups_chunks_are_announced():
    configs, bare = [tiny(seed) for seed in range(4)], Spec(saves=range(5))
    probed = Spec(saves=range(5), probes={"squares": squares})
    needed = sweep.bytes_needed(configs, bare)
    assert sweep.bytes_needed(configs, probed) == needed + 4 * 5 * (4 + 11 * 4 + 11)
    assert sweep.bytes_needed(configs, bare, group_size=1) == needed + 3 * 5 * store.AROUND


def test_a_short_training_of_a_small_model_is_planned_without_measuring(monkeypatch):
    def measured(*_):
        raise AssertionError("measured")

    monkeypatch.setattr("toylab.sweep.timing._seconds_a_step", measured)
    assert planning.choose_plan([A, B], (0, 5, 400), {}, None, None) == Plan(lane=2, segment=3, chunk=3)
    assert planning.choose_plan([A, B], (0, 5), {}, None, 1) == Plan(lane=1, segment=2, chunk=2)
    with pytest.raises(AssertionError, match="measured"):
        planning.choose_plan([A, B], (0, 5, 600), {}, None, None)


def test_a_single_failing_group_raises_from_its_cause_and_another_cut_is_refused(tmp_path, monkeypatch):
    cause = ZeroDivisionError("in the config")

    def fails(configs, spec, folder, **_):
        folder.mkdir()
        raise cause

    monkeypatch.setattr(runner, "run_group", fails)
    with pytest.raises(sweep.Failed) as one:
        sweep.run([A], Spec(saves=SAVES), tmp_path / "one", plan=PAIRS)
    assert one.value.__cause__ is cause
    with pytest.raises(sweep.Failed) as two:
        sweep.run([A, B], Spec(saves=SAVES), tmp_path / "two", plan=PAIRS, group_size=1)
    assert two.value.__cause__ is None  # which of them would it be?
    with pytest.raises(store.Refused, match=r"--group is 2, and .* was begun in groups of 1: leave it out"):
        sweep.run([A, B], Spec(saves=SAVES), tmp_path / "two", plan=PAIRS, group_size=2)


def test_a_sweep_in_python_trains_an_accelerator_in_full_precision(no_precision, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        runner, "run_group", lambda *args, **given: seen.append(jax.config.jax_default_matmul_precision)
    )
    monkeypatch.setattr(runner, "read_manifest", lambda folder: {"plan": {"lane": 1}})
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    sweep.run([A], Spec(saves=SAVES), tmp_path / "sweep", report=None)
    assert seen == ["highest"] and jax.config.jax_default_matmul_precision is None


@pytest.mark.parametrize("saves", [np.array(SAVES), tuple(SAVES)])
def test_saves_may_be_any_sequence_of_whole_numbers(tmp_path, saves):
    sweep.run([A], Spec(saves=saves), tmp_path / "sweep", plan=PAIRS, report=None)
    assert sweep.load(tmp_path / "sweep").steps.tolist() == list(SAVES)
