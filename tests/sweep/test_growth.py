"""A sweep that has grown, in runs and in saved points, is one that was begun whole, bit for bit; what was there stays."""

import shutil

import numpy as np
import pytest
from growing import differences, grown
from pyarrow import parquet
from tiny_sweeps import PAIRS, A, B, C, D, E, contents, only, tiny

from toylab import configs as cfg
from toylab import store, sweep
from toylab.base import Config
from toylab.models import Net, ToyModel
from toylab.optim import AdamW
from toylab.records import passes
from toylab.records.status import as_text, status
from toylab.sweep import Interrupted, Plan, Spec, lanes
from toylab.tasks import SparseFeatures

TENS, FIVES, LONG = tuple(range(0, 61, 10)), tuple(range(0, 61, 5)), tuple(range(0, 91, 5))


def low(measures):
    """STOP of C at step 20 of TENS and at step 15 of FIVES, of B at 30; the others go on."""
    return bool(measures["train_loss"][-1] < 2.0)


def of_disk(folder):
    """The points on disk: chunks without what grows or is thinned out."""
    names = ("sweep.json", "manifest.json")
    return {name: held for name, held in contents(folder).items() if not name.endswith(names) and "/state/" not in name}


@pytest.fixture(scope="module", params=[None, low], ids=["no stop", "stop"])
def whole(request, tmp_path_factory):
    found, _ = grown(tmp_path_factory.mktemp("whole"), ([A, B, C, D], LONG), stop=request.param)
    return found, request.param


STORIES = {
    "denser, a seed, longer": [([A, C], TENS), ([A, C], FIVES), ([A, B, C], FIVES), ([A, B, C, D], LONG)],
    "longer, denser": [([A, B, C, D], TENS[:4]), ([A, B, C, D], TENS), ([A, B, C, D], LONG)],
    "denser twice": [([A, B, C, D], TENS), ([A, B, C, D], sorted([*TENS, 5, 55])), ([A, B, C, D], LONG)],
    "runs before the first": [([C, D], LONG), ([B, C, D], LONG), ([A, B, C, D], LONG)],
    "all at once": [([D], TENS), ([A, B, C, D], LONG)],
}


@pytest.mark.parametrize("requests", STORIES.values(), ids=STORIES)
def test_a_sweep_that_has_grown_equals_one_begun_whole(whole, requests, tmp_path):
    straight, stop = whole
    before = {}
    for request in requests:
        found, _ = grown(tmp_path, request, stop=stop)
        after = of_disk(tmp_path)
        assert before.items() <= after.items()
        before = after
    assert differences(found, straight) == []
    again = contents(tmp_path)
    grown(tmp_path, requests[-1], stop=stop)
    assert contents(tmp_path) == again
    assert status(tmp_path).finished and [one.state for one in status(tmp_path).groups].count("finished") == len(
        found.sources
    )


def sparse(seed, data_seed=0):
    net = Net.of(ToyModel, n_features=6, n_hidden=3)
    return cfg.check(
        Config(SparseFeatures(n_features=6, batch=16, n_eval=64), net, AdamW(lr=1e-2), seed=seed, data_seed=data_seed)
    )


@pytest.mark.parametrize("own", [False, True], ids=["shared draws", "own draws"])
def test_runs_that_draw_batches_draw_those_of_the_whole_sweep(tmp_path, own):
    runs = [sparse(seed, seed if own else 0) for seed in range(5)]
    straight, _ = grown(tmp_path / "whole", (runs, range(0, 31, 5)))
    found, _ = grown(
        tmp_path / "grown", (runs[:2], range(0, 21, 10)), (runs[:3], range(0, 21, 5)), (runs, range(0, 31, 5))
    )
    assert len(found.sources) == 3 and differences(found, straight) == []


def test_runs_of_several_programs_and_values_take_their_places(tmp_path):
    wide = [tiny(seed, lr, d_model=12) for lr in (1e-3, 3e-3) for seed in range(2)]
    flat = [tiny(seed, lr) for lr in (1e-3, 3e-3) for seed in range(2)]
    straight, _ = grown(tmp_path / "whole", ([*flat, *wide], (0, 5)))
    found, _ = grown(
        tmp_path / "grown", ([flat[0], flat[2]], (0, 5)), ([*flat, wide[0]], (0, 5)), ([*flat, *wide], (0, 5))
    )
    assert found.columns["seed"].tolist() == [0, 1] * 4 and len(found.sources) == 4
    assert found.config(1).seed == 1 and found.configs[1]["seed"] == 1
    for one in (found, straight):
        assert one.select(**{"net.d_model": 12, "seed": 1}).columns["optimizer.lr"].tolist() == [0.001, 0.003]
    chosen = {"seed": 1, "optimizer.lr": 0.003}
    of_flat = [one.select(**{**chosen, "net.d_model": 8}) for one in (found, straight)]
    assert differences(*of_flat) == []
    tables = []
    for place in ("whole", "grown"):
        sweep.write_table(tmp_path / place, tmp_path / "runs.parquet")
        table = parquet.read_table(tmp_path / "runs.parquet").to_pandas().drop(columns="group").astype({"run": str})
        tables.append(table.sort_values(["run", "step"]).reset_index(drop=True))
    assert tables[0].equals(tables[1])


# --- what is trained


@pytest.fixture
def launched(monkeypatch):
    """The steps that lanes were trained for."""
    launch, found = lanes.Lane.launch, []
    monkeypatch.setattr(
        lanes.Lane, "launch", lambda lane, gaps, segment: found.append(int(sum(gaps))) or launch(lane, gaps, segment)
    )
    return found


def test_only_new_runs_and_points_are_trained(tmp_path, launched):
    grown(
        tmp_path, ([A, B], TENS), plan=Plan(2, 1, 1)
    )  # a chunk a point: the first and the newest two keep their states
    launched.clear()
    grown(tmp_path, ([A, B], [*TENS, 70]), plan=Plan(2, 1, 1))
    assert sum(launched) == 10
    launched.clear()
    _, told = grown(tmp_path, ([A, B], sorted([*TENS, 65, 70])))
    assert sum(launched) == 5 and told[0].endswith(
        "gets 1 more saved points, from step 65 on: trained from step 60, the nearest kept state."
    )
    launched.clear()
    grown(tmp_path, ([A, B], sorted([*TENS, 5, 63, 65, 70])))
    assert sum(launched) == 5 + 3
    launched.clear()
    grown(tmp_path, ([A, B, C], sorted([*TENS, 5, 63, 65, 70])))
    assert sum(launched) == 70


@pytest.mark.parametrize("after", range(1, 9, 2))
def test_stopped_at_any_point_a_sweep_that_grows_goes_on_to_the_same_bits(tmp_path, whole, after):
    straight, stop = whole
    grown(tmp_path, ([A, C], TENS[:5]), stop=stop)
    segments = iter(range(100))
    for saves, runs in ((FIVES, [A, C]), (LONG, [A, B, C, D])):
        try:
            sweep.run(
                runs, Spec(saves=saves, stop=stop), tmp_path, plan=PAIRS, interrupted=lambda: next(segments) == after
            )
        except Interrupted:
            assert not status(tmp_path).finished
    found, _ = grown(tmp_path, ([A, B, C, D], LONG), stop=stop)
    assert differences(found, straight) == [] and status(tmp_path).finished


def test_a_sweep_that_is_half_trained_may_become_denser_from_where_it_is(tmp_path, launched):
    segments = iter([False, False, True])
    with pytest.raises(Interrupted):
        sweep.run([A, B], Spec(saves=TENS), tmp_path, plan=Plan(2, 1, 1), interrupted=lambda: next(segments))
    at = only(tmp_path).steps[-1]
    launched.clear()
    found, _ = grown(tmp_path, ([A, B], sorted({*TENS, 35, 55})), plan=Plan(2, 1, 1))
    assert sum(launched) == 60 - at
    straight, _ = grown(tmp_path / "whole", ([A, B], sorted({*TENS, 35, 55})), plan=Plan(2, 1, 1))
    assert differences(found, straight) == []


def test_a_run_may_end_sooner_where_there_are_more_points(tmp_path):
    before, _ = grown(tmp_path, ([A, C], TENS), stop=low)
    found, told = grown(tmp_path, ([A, C], FIVES), stop=low)
    assert [int(one.steps[one.valid[1]][-1]) for one in (before, found)] == [20, 15]
    assert f"run {sweep.run_name(C)} of {found.sources[0].folder.name} ends at step 15 now" in told[-1]
    assert np.isnan(found.measures["train_loss"][1, found.steps > 15]).all()


def drops(measures):
    """True where the loss has fallen much between two saved points: denser points put it off."""
    loss = measures["train_loss"]
    return len(loss) > 1 and bool(loss[-2] - loss[-1] > 0.25)


# --- what is refused


def refused(words, folder, runs, saves, **spec):
    before = of_disk(folder)
    manifest = {path: path.read_bytes() for path in folder.glob("*/manifest.json")}
    with pytest.raises(store.Refused, match=words) as error:
        sweep.run(runs, Spec(saves=saves, **spec), folder, plan=PAIRS)
    assert "\n" not in str(error.value) and before.items() <= of_disk(folder).items()
    assert {path: store.read_json(path, sealed=True)["saves"] for path in manifest} == {
        path: store.read_json(path, sealed=True)["saves"] for path in folder.glob("*/manifest.json")
    }


def test_a_run_that_would_end_later_with_more_points_is_refused_and_the_sweep_stays(tmp_path):
    before, _ = grown(tmp_path, ([C, E], TENS), stop=drops)
    assert before.valid[0].sum() < len(TENS)
    refused("would not end there: choose another --out", tmp_path, [C, E], FIVES, stop=drops)
    after, _ = grown(tmp_path, ([C, E], TENS), stop=drops)
    assert differences(before, after) == [] and list(tmp_path.glob("*/damaged-pass-1")) and status(tmp_path).finished


def test_points_between_of_another_training_are_refused_and_the_sweep_stays(tmp_path):
    start = {name: value[0, 0] for name, value in grown(tmp_path / "x", ([B], (0, 5)))[0].params.items()}
    before, _ = grown(tmp_path / "y", ([A], TENS), start=start, started_from="x@0")
    other = {name: 2 * value for name, value in start.items()}
    words = r"another \w+ at step 0 than before: the code, the data or the start of its runs has changed"
    refused(words, tmp_path / "y", [A], FIVES, start=other, started_from="x@0")
    after, _ = grown(tmp_path / "y", ([A], TENS), start=start, started_from="x@0")
    assert differences(before, after) == [] and status(tmp_path / "y").finished
    found, _ = grown(tmp_path / "y", ([A], FIVES), start=start, started_from="x@0")
    assert found.steps.tolist() == list(FIVES)


def test_in_another_environment_points_between_are_refused_and_others_trained(tmp_path, monkeypatch):
    grown(tmp_path, ([A], TENS))
    here = sweep.environment()
    monkeypatch.setattr("toylab.sweep.manifest.environment", lambda: {**here, "jax": "9.9"})
    refused(
        r"begun in another environment \(jax: .* → 9\.9\).*save points after the last one only", tmp_path, [A], FIVES
    )
    found, told = grown(tmp_path, ([A], [*TENS, 70]))
    assert found.steps[-1] == 70 and "its bits may not repeat" in told[0]
    monkeypatch.undo()
    asked = iter([False, True])
    with pytest.raises(Interrupted):
        sweep.run([A], Spec(saves=FIVES), tmp_path, plan=PAIRS, interrupted=lambda: next(asked))
    monkeypatch.setattr("toylab.sweep.manifest.environment", lambda: {**here, "jax": "9.9"})
    refused("begun in another environment", tmp_path, [A], FIVES)


def test_a_run_whose_last_state_is_gone_is_not_trained_longer_from_elsewhere(tmp_path):
    grown(tmp_path, ([A], TENS))
    (state,) = tmp_path.glob("*/60/state")
    state.rename(tmp_path / "away")
    refused(
        r"cannot be trained on from step 60: the state there was not kept \(60/state is gone\)",
        tmp_path,
        [A],
        [*TENS, 70],
    )
    (tmp_path / "away").rename(state)
    assert grown(tmp_path, ([A], [*TENS, 70]))[0].steps[-1] == 70


OTHERS = {
    "a run less": [A, C],
    "another in its place": [A, tiny(1, lr=2e-2), C, D],
    "another size": [tiny(seed, d_model=12) for seed in range(4)],
}


@pytest.mark.parametrize("runs", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("before", [[[A, B, C]], [[A, B], [A, B, C]]], ids=["whole", "grown"])
def test_a_sweep_does_not_lose_runs_by_growing(tmp_path, before, runs):
    grown(tmp_path, *((members, (0, 5)) for members in before))
    refused(r"holds runs of another config \(.*\): choose another --out", tmp_path, runs, (0, 5, 10))


def test_a_group_that_was_divided_anew_meanwhile_is_not_begun(tmp_path):
    grown(tmp_path, ([A], (0, 5)))
    named = sweep.begin([A, B, C], tmp_path)
    name = list(named)[-1]
    with pytest.raises(store.Refused, match="was divided into other groups meanwhile: run the same command again"):
        sweep.run_group([B], Spec(saves=(0, 5)), tmp_path / name, plan=PAIRS)
    sweep.run_group(named[name], Spec(saves=(0, 5)), tmp_path / name, plan=PAIRS)


# --- what is lost


def test_a_lost_manifest_of_a_sweep_with_passes_is_written_anew(tmp_path):
    found, _ = grown(tmp_path, ([A, B], TENS), ([A, B], FIVES))
    (path,) = tmp_path.glob("*/manifest.json")
    about = store.read_json(path, sealed=True)
    for saves in (FIVES, TENS):
        path.unlink()
        after, told = grown(tmp_path, ([A, B], saves))
        assert store.read_json(path, sealed=True) == about and "written anew" in told[0]
        assert differences(found, after) == []


def test_a_damaged_chunk_of_an_earlier_pass_is_trained_again(tmp_path):
    found, _ = grown(tmp_path, ([A, B], TENS), ([A, B], FIVES))
    (chunk,) = tmp_path.glob("000-*/60")
    (chunk / "info" / "metadata").write_text("{}")
    assert "step 60" in sweep.load(tmp_path).messages[0] and not status(tmp_path).finished
    after, told = grown(tmp_path, ([A, B], FIVES))
    assert any("step 60" in line for line in told) and differences(found, after) == [] and status(tmp_path).finished


def test_a_lost_outline_of_a_sweep_that_has_grown_is_written_anew(tmp_path):
    found, _ = grown(tmp_path, ([B], (0, 5)), ([A, B], (0, 5)))
    about = store.read_json(tmp_path / "sweep.json", sealed=True)
    (tmp_path / "sweep.json").unlink()
    assert sweep.load(tmp_path).runs.tolist() == found.runs[::-1].tolist()  # as they lie there
    after, _ = grown(tmp_path, ([A, B], (0, 5)))
    assert differences(found, after) == []
    again = store.read_json(tmp_path / "sweep.json", sealed=True)
    assert {name: again[name] for name in ("groups", "runs", "order", "saves")} == {
        name: about[name] for name in ("groups", "runs", "order", "saves")
    }


@pytest.mark.parametrize(
    "fault", [{"order": [0, 0]}, {"runs": {"x": []}}, {"added": ["x"]}, {"saves": [5, 0]}], ids=str
)
def test_a_damaged_outline_stops_nothing(tmp_path, fault):
    found, _ = grown(tmp_path, ([B], (0, 5)), ([A, B], (0, 5)))
    about = store.read_json(tmp_path / "sweep.json", sealed=True)
    store.write_json(
        tmp_path / "sweep.json", {k: v for k, v in {**about, **fault}.items() if k != "digest"}, sealed=True
    )
    assert "is damaged: its " in sweep.load(tmp_path).messages[0]
    assert differences(found, grown(tmp_path, ([A, B], (0, 5)))[0]) == []


def test_new_runs_have_the_plan_of_those_of_their_program(tmp_path):
    for runs in ([A, B], [A, B, C], [tiny(0, d_model=12), A, B, C, D]):
        sweep.run(runs, Spec(saves=(0, 5)), tmp_path)
    plans = {
        (dict(group.configs[0]["net"]["sizes"])["d_model"], len(group.runs)): group.manifest["plan"]
        for group in sweep.load(tmp_path)
    }
    assert len(plans) == 3 and plans[8, 2] == plans[8, 1] and plans[8, 2]["lane"] == 2 and plans[12, 1]["lane"] == 1


# --- how far it is


def test_status_and_the_sweep_say_what_a_growing_sweep_lacks(tmp_path):
    grown(tmp_path, ([A], TENS))
    sweep.begin([A, B], tmp_path, command="grow it", saves=FIVES)
    text = as_text(status(tmp_path))
    first, second = status(tmp_path).groups
    assert "6 saved points from step 5 to 55 are not trained yet" in first.detail and first.state == "stopped"
    assert (second.state, second.runs) == ("not begun", 1) and text.endswith("to go on: grow it")
    assert "1 of 2 groups (1 runs) are not begun" in sweep.load(tmp_path).messages[0]
    found, _ = grown(tmp_path, ([A, B], FIVES))
    done = status(tmp_path)
    assert done.finished and {(one.step, one.last, one.state) for one in done.groups} == {(60, 60, "finished")}
    assert repr(found).startswith("<2 runs in 2 groups; columns ")


def test_an_older_toylab_does_not_take_a_group_with_passes_for_one_without(tmp_path):
    grown(tmp_path, ([A], TENS), ([A], FIVES))
    (path,) = tmp_path.glob("*/manifest.json")
    assert store.read_json(path, sealed=True)["schema"] == store.SCHEMA > 4
    assert passes.all_saves(store.read_json(path, sealed=True)) == list(FIVES)
    shutil.rmtree(path.parent / "pass-1")
    assert only(tmp_path).steps.tolist() == list(TENS)


def test_new_runs_do_not_start_from_where_others_did_not(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    later = [config.replace(optimizer=config.optimizer.replace(lr=5e-4)) for config in (A, B)]
    starts = lambda runs: sweep.Starts.matched(first, "first", runs, [A, B], ("seed",))  # noqa: E731
    grown(first, ([A, B], (0, 5)))
    grown(second, (later[:1], (0, 5)), start=starts(later[:1]))
    grown(second, (later, (0, 5)), start=starts(later))
    shutil.rmtree(second)
    grown(second, (later[:1], (0, 5)), start=starts(later[:1]))
    grown(first, ([A, B], (0, 5, 10)))
    refused("ends elsewhere than when .* started from it", second, later, (0, 5), start=starts(later))
    assert grown(second, (later[:1], (0, 5)), start=starts(later[:1]))[0].runs.tolist() == [sweep.run_name(later[0])]
