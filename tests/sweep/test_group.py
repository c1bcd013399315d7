"""What a group does when a run diverges, memory runs out or it cannot be trained: the others' bits are unchanged."""

import json
import time

import jax
import numpy as np
import pytest
from sweeps_on_disk import outline

from toylab import configs as cfg
from toylab import store, sweep
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import SGD
from toylab.sweep import Failed, Spec, lanes
from toylab.sweep.plan import Plan
from toylab.tasks import ModularArithmetic

SAVES = tuple(range(0, 61, 5))
PAIRS = Plan(lane=2, segment=2, chunk=4)


def tiny(seed=0, lr=0.1, n_train=60):
    net = Net.of(ModularMLP, d_vocab=11, d_vocab_out=11, d_model=8, d_mlp=16)
    return cfg.check(Config(ModularArithmetic(p=11, n_train=n_train), net, SGD(lr=lr), seed=seed))


CALM, WILD = tiny(0), tiny(1, lr=1e9)


def only(folder):
    (group,) = sweep.load(folder)
    return group


def bits(group, run):
    arrays = {**group.params, **group.measures}
    return {name: value[run, group.valid[run]].tobytes() for name, value in arrays.items()}


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """Runs none of which diverges."""
    folder = tmp_path_factory.mktemp("calm")
    sweep.run([CALM, tiny(2), tiny(3)], Spec(saves=SAVES), folder, plan=PAIRS)
    return only(folder)


# --- a diverging run


@pytest.fixture(scope="module")
def diverged(tmp_path_factory):
    reports, folder = [], tmp_path_factory.mktemp("diverged")
    sweep.run([CALM, WILD, tiny(2), tiny(3)], Spec(saves=SAVES), folder, plan=PAIRS, report=reports.append)
    return only(folder), reports, folder


def test_a_diverging_run_ends_at_its_first_point_that_is_not_finite(diverged):
    group, _, _ = diverged
    finite = np.stack([np.isfinite(value[1]).reshape(len(SAVES), -1).all(1) for value in group.params.values()]).all(0)
    n_valid = group.valid[1].sum()
    assert 1 < n_valid < len(SAVES) and finite[: n_valid - 1].all() and not finite[n_valid - 1]


def test_it_is_flagged_with_its_step_on_disk_and_in_a_message(diverged):
    group, reports, folder = diverged
    step = int(group.steps[group.valid[1].sum() - 1])
    info = store.read_chunk(folder / group.name, int(group.steps[-1]), ())[1]
    assert info["diverged"] == [None, step, None, None] and reports[-1].diverged == (None, step, None, None)
    (output,) = [message for progress in reports for message in progress.messages]
    assert output.startswith(f"run {group.runs[1]} of {group.name} diverged: at step {step} ")


def test_what_is_measured_of_parameters_that_are_not_finite_is_nan(diverged):
    """Also an accuracy, and a loss that a single weight beyond float32 does not touch."""
    group, _, _ = diverged
    finite = group.steps < group.diverged[1]
    assert all(
        np.isnan(value[1, ~finite]).all() and np.isfinite(value[1, finite]).all() for value in group.measures.values()
    )
    assert all(np.isfinite(value[0]).all() for value in group.measures.values())


def test_its_neighbours_do_not_notice(diverged, calm):
    assert [bits(diverged[0], run) for run in (0, 2, 3)] == [bits(calm, run) for run in range(3)]


def test_a_group_of_diverged_runs_ends(tmp_path):
    sweep.run([WILD, tiny(2, lr=1e9)], Spec(saves=SAVES), tmp_path, plan=PAIRS)
    assert only(tmp_path).valid.sum(axis=1).max() < len(SAVES)


# --- memory


def short_of_memory(monkeypatch, widest, after=0):
    """Lanes wider than `widest` no longer fit after some launches."""
    launch, launched = lanes.Lane.launch, []

    def limited(lane, gaps, segment):
        launched.append(lane.width)
        if lane.width > widest and len(launched) > after:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.")
        return launch(lane, gaps, segment)

    monkeypatch.setattr(lanes.Lane, "launch", limited)


def test_short_of_memory_a_group_goes_on_from_its_last_chunk_at_half_the_width(tmp_path, monkeypatch, calm):
    reports, configs = [], [CALM, tiny(2), tiny(3)]
    short_of_memory(monkeypatch, widest=2, after=3)
    sweep.run(configs, Spec(saves=SAVES), tmp_path, plan=Plan(4, 2, 4), report=reports.append)
    group = only(tmp_path)
    (narrowed,) = group.manifest["narrowed"]
    assert narrowed["step"] == SAVES[3] and narrowed["lane"] == [4, 2] and "123 bytes" in narrowed["why"]
    assert group.manifest["plan"] == {"lane": 2, "segment": 2, "chunk": 4, "shards": 1}
    (output,) = [message for progress in reports for message in progress.messages]
    assert "memory ran out at 4 runs a lane; it goes on from step 15 at 2" in output
    for name, value in group.params.items():
        np.testing.assert_allclose(value, calm.params[name], atol=1e-5)
    sweep.run(configs, Spec(saves=(*SAVES, 70)), tmp_path)  # and is resumed at that width
    assert only(tmp_path).manifest["plan"]["lane"] == 2


def test_a_given_width_that_never_fits_is_narrowed_and_can_be_given_again(tmp_path, monkeypatch):
    monkeypatch.setattr("toylab.sweep.plan.SHORT_STEPS", 0)  # the width is tried before the first step
    short_of_memory(monkeypatch, widest=2)
    configs = [CALM, tiny(2), tiny(3)]
    sweep.run(configs, Spec(saves=SAVES[:3]), tmp_path, lane=4)
    sweep.run(configs, Spec(saves=SAVES), tmp_path, lane=4)
    (narrowed,) = only(tmp_path).manifest["narrowed"]
    assert narrowed["step"] is None and narrowed["lane"] == [4, 2] and only(tmp_path).manifest["plan"]["lane"] == 2
    with pytest.raises(store.Refused, match="lane: 4 → 8"):
        sweep.run(configs, Spec(saves=SAVES), tmp_path, lane=8)


def test_a_run_that_does_not_fit_alone_says_what_is_safe(tmp_path, monkeypatch):
    short_of_memory(monkeypatch, widest=0, after=4)
    with pytest.raises(store.StoreError, match=r"a single run does not fit.*Everything up to step 35 is safe"):
        sweep.run([CALM, tiny(2)], Spec(saves=SAVES), tmp_path, plan=Plan(2, 2, 4))


# --- writing while training


def test_a_chunk_is_written_while_the_next_is_trained(tmp_path, monkeypatch):
    events, write = [], store.writing.write_chunk
    launch = lanes.Lane.launch
    monkeypatch.setattr(lanes.Lane, "launch", lambda *given: events.append("launch") or launch(*given))

    def slowly(folder, step, *rest):
        events.append(f"write {step}")
        give_up = time.monotonic() + 20
        while step == 5 and events[events.index("write 5") :].count("launch") < 3 and time.monotonic() < give_up:
            time.sleep(0.01)
        time.sleep(0.1)  # for a fourth launch, which must not come
        write(folder, step, *rest)
        events.append(f"written {step}")

    monkeypatch.setattr(store.writing, "write_chunk", slowly)
    sweep.run([CALM, tiny(2)], Spec(saves=SAVES), tmp_path, plan=Plan(2, 1, 2))
    in_flight = events[events.index("write 5") : events.index("written 5")]
    assert in_flight.count("launch") == 3  # the next chunk and the first segment behind it, and no more than that
    assert store.chunks(tmp_path / only(tmp_path).name) == [*SAVES[1::2], SAVES[-1]]


def test_what_goes_wrong_in_writing_comes_out(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.writing, "save", full)
    with pytest.raises(store.StoreError, match=r"No space left.*Nothing was committed yet; make room and run the same"):
        sweep.run([CALM], Spec(saves=SAVES), tmp_path, plan=Plan(1, 2, 4))


# --- groups of a sweep


def breaks(measures):
    raise ZeroDivisionError("division by nothing")


def stop_breaks_where_train_loss_is_low(measures):
    return breaks(measures) if measures["train_loss"][-1] < 2.2 else False


def test_a_group_that_fails_leaves_the_others_to_finish_and_says_what_to_do(tmp_path):
    good, bad = [tiny(0, lr=1e-6), tiny(1, lr=1e-6)], [tiny(0, lr=0.5, n_train=61)]
    spec = Spec(saves=range(0, 400, 40), stop=stop_breaks_where_train_loss_is_low)
    failed = pytest.raises(Failed, match=r"1 of 2 groups .* failed \(000-.*ZeroDivisionError: division by nothing\)")
    with failed as error:
        sweep.run([*bad, *good], spec, tmp_path, plan=PAIRS, command="python run_sweep.py x")
    assert str(error.value).endswith("Mend the cause, then: python run_sweep.py x.")
    first, second = sorted(path for path in tmp_path.iterdir() if path.is_dir())
    output = json.loads((first / "failed.json").read_text())
    assert output["kind"] == "ZeroDivisionError" and "stop_breaks" in output["traceback"]
    assert store.chunks(second)[-1] == 360 and not (second / "failed.json").exists()


def test_a_sweep_is_resumed_as_it_was_cut(tmp_path):
    configs = [tiny(seed) for seed in range(3)]
    sweep.run(configs, Spec(saves=SAVES[:3]), tmp_path, plan=PAIRS, group_size=2)
    assert json.loads((tmp_path / "sweep.json").read_text())["groups"] == {
        name: len(members) for name, members in sweep.groups(configs, 2).items()
    }
    sweep.run(configs, Spec(saves=SAVES), tmp_path, plan=PAIRS)
    assert [len(group.runs) for group in sweep.load(tmp_path)] == [2, 1]
    about = (tmp_path / "sweep.json").read_bytes()
    for content in (b"{}", b"", None):
        (tmp_path / "sweep.json").unlink() if content is None else (tmp_path / "sweep.json").write_bytes(content)
        sweep.begin(configs, tmp_path)
        assert (tmp_path / "sweep.json").read_bytes() == about


def test_a_lost_outline_is_cut_as_asked_again(tmp_path):
    """The first group is smaller than the asked size, and tells nothing of the others."""
    configs = [tiny(0), *(tiny(seed, n_train=61) for seed in range(3))]
    sweep.begin(configs, tmp_path, 2, saves=SAVES[:3])
    about = (tmp_path / "sweep.json").read_bytes()
    first = next(iter(sweep.groups(configs, 2)))
    sweep.run_group(configs[:1], Spec(saves=SAVES[:3]), tmp_path / first, plan=PAIRS)
    (tmp_path / "sweep.json").unlink()
    sweep.begin(configs, tmp_path, 2)
    assert (tmp_path / "sweep.json").read_bytes() == about


@pytest.mark.parametrize("lost", [False, True])
def test_a_sweep_begun_when_runs_with_a_data_seed_each_had_a_group_each_goes_on_so(tmp_path, lost):
    configs = [tiny(seed).replace(data_seed=seed) for seed in range(3)]
    named = sweep.groups(configs, together=False)
    outline(tmp_path, {name: len(members) for name, members in named.items()})
    sweep.run_group(configs[:1], Spec(saves=SAVES[:3]), tmp_path / next(iter(named)), plan=PAIRS)
    if lost:
        (tmp_path / "sweep.json").unlink()
    sweep.run(configs, Spec(saves=SAVES[:3]), tmp_path, plan=PAIRS)
    assert [group.name for group in sweep.load(tmp_path)] == list(named) and len(named) == 3
    sweep.run(configs, Spec(saves=SAVES[:3]), tmp_path / "new", plan=PAIRS)
    assert len(list(sweep.load(tmp_path / "new"))) == 1


def test_what_a_sweep_never_began_gives_way_to_what_is_asked_next(tmp_path):
    old, new = [tiny(0), tiny(0, n_train=61)], [tiny(0), tiny(0, n_train=62)]
    (_, failed) = sweep.begin(old, tmp_path, command="old")
    (tmp_path / failed).mkdir()
    with store.locked(tmp_path / failed), pytest.raises(store.InUse, match="is in use by process"):
        sweep.begin(new, tmp_path, command="new")
    named = sweep.begin(new, tmp_path, command="new")
    about = store.read_json(tmp_path / "sweep.json", sealed=True)
    assert (about["command"], list(about["groups"])) == ("new", list(named)) and failed not in named
    sweep.begin(new, tmp_path, command="again")
    assert store.read_json(tmp_path / "sweep.json", sealed=True) == about


def test_groups_of_the_same_shapes_share_the_first_ones_width(tmp_path, monkeypatch):
    asked = []

    def chosen(configs, saves, probes, keep, lane):
        asked.append((len(configs), lane))
        return Plan(lane or len(configs), 2, 4)

    monkeypatch.setattr("toylab.sweep.manifest.choose_plan", chosen)
    configs = [*(tiny(seed) for seed in range(4)), *(tiny(seed, n_train=61) for seed in range(5))]
    sweep.run(configs, Spec(saves=(0, 5)), tmp_path, group_size=4)
    assert asked == [
        (4, None),
        (4, 4),
        (1, None),
    ]  # segment and chunk are each group's own; a lane of 4 for 1 is padding


@pytest.mark.parametrize("name", ["sweep.json", "*/manifest.json"])
def test_a_folder_of_a_newer_version_is_refused(tmp_path, name):
    sweep.run([CALM], Spec(saves=SAVES[:2]), tmp_path, plan=PAIRS)
    (path,) = tmp_path.glob(name)
    old = {field: value for field, value in store.read_json(path, sealed=True).items() if field != "digest"}
    store.write_json(path, {**old, "schema": store.SCHEMA + 1}, sealed=True)
    with pytest.raises(store.Refused, match=r"written by a newer toylab .*: upgrade toylab"):
        sweep.run([CALM], Spec(saves=SAVES), tmp_path)
