"""What a sweep does not grow by is refused and leaves it as it was; what is lost of one that has grown comes back."""

import shutil

import pytest
from growing import FIVES, TENS, differences, grown, refused
from tiny_sweeps import PAIRS, A, B, C, D, E, only, tiny

from toylab import store, sweep
from toylab.records import passes
from toylab.records.status import status
from toylab.records.status_text import as_text
from toylab.sweep import Interrupted, Spec


def drops(measures):
    """True where the loss has fallen much between two saved points: denser points put it off."""
    loss = measures["train_loss"]
    return len(loss) > 1 and bool(loss[-2] - loss[-1] > 0.25)


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


@pytest.mark.parametrize("before", [[[A, B]], [[B], [A, B]]], ids=["whole", "grown"])
def test_a_group_that_was_lost_before_its_first_commit_is_begun_again(tmp_path, before):
    for runs in before[:-1]:
        grown(tmp_path, (runs, (0, 5)))
    name = list(sweep.begin([A, B], tmp_path, saves=(0, 5)))[-1]
    (tmp_path / name).mkdir()
    (tmp_path / name / "manifest.json").write_text("{")
    if len(before) == 1:
        (tmp_path / "sweep.json").unlink()
    found, _ = grown(tmp_path, ([A, B], (0, 5)))
    assert found.columns["seed"].tolist() == [0, 1] and found.valid.all()


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
