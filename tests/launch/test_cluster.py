"""Messages of driver and workers, and how groups are divided among machines; no Ray runs here."""

import json
import os
from dataclasses import replace

import jax
import numpy as np
import pytest
from tiny_sweeps import PAIRS, A, B, bits, only, tiny

from toylab import store, sweep
from toylab.launch import processes
from toylab.launch import ray as cluster
from toylab.launch.processes import Place
from toylab.launch.ray import connection, messages, worker
from toylab.launch.ray.resources import Resources, group_size_for
from toylab.sweep import Progress, Spec

SPEC = Spec(saves=(0, 5, 10, 20, 30))
LAPTOP, TWO_HOSTS = {"a": {"CPU": 8.0}}, {"a": {"CPU": 4.0}, "b": {"CPU": 6.0}}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    sweep.run([A, B], SPEC, folder, plan=PAIRS)
    return only(folder)


@pytest.fixture
def task(tmp_path):
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "control").write_text(token := tmp_path.name)
    ((name, members),) = sweep.begin([A, B], tmp_path).items()
    return worker.Task(token, tmp_path, name, members, SPEC, PAIRS, None, None)


def test_a_worker_trains_a_group_as_one_process_does_and_reports_its_progress(task, alone):
    assert worker.work(task).kind == "finished" and worker.work(task).kind == "finished"
    found = only(task.folder)
    assert all(bits(found, run) == bits(alone, run) for run in range(2))
    reported = []
    messages.ProgressReader(task.folder, task.name, task.configs, SPEC, reported.append).report_new()
    assert [progress.step for progress in reported] == [0, 30, 30]  # where the workers began, and where the first ended
    assert reported[-1].steps == tuple(alone.steps)
    assert np.array_equal(reported[1].measures["train_loss"], alone.measures["train_loss"].astype(float))


def test_a_worker_whose_driver_wants_no_more_touches_nothing(task):
    (task.folder / "cluster" / "control").write_text("another token")
    assert worker.work(task).kind == "stopped"
    assert not (task.folder / task.name).exists()


def test_a_worker_that_cannot_see_the_folder_says_so(task, tmp_path):
    outcome = worker.work(replace(task, folder=tmp_path / "elsewhere"))
    assert outcome.kind == "machine" and f"not to be seen on {os.uname().nodename}" in outcome.reason


def test_a_group_that_another_holds_is_waited_for_and_then_left_to_another_try(task, monkeypatch):
    monkeypatch.setattr(worker, "PATIENCE", 0.0)
    monkeypatch.setattr(worker, "WAIT_SECONDS", 0.01)
    (task.folder / task.name).mkdir()
    with store.locked(task.folder / task.name):
        outcome = worker.work(task)
    assert outcome.kind == "machine" and "is in use by" in outcome.reason


def test_a_wrong_config_is_distinguished_from_a_failing_disk(task, monkeypatch):
    def raises(error):
        def run_group(configs, spec, folder, **_):
            folder.mkdir(exist_ok=True)
            raise error

        monkeypatch.setattr(sweep, "run_group", run_group)
        return worker.work(task).kind

    assert raises(ValueError("task.p is -1")) == raises(store.Refused("other runs")) == "wrong"
    assert raises(store.StoreError("disk full")) == raises(OSError(5, "Input/output error")) == "machine"
    assert "task.p is -1" not in (task.folder / task.name / "failed.json").read_text()  # the last that was wrong
    assert "other runs" in (task.folder / task.name / "failed.json").read_text()


def test_params_to_start_from_lie_in_a_file(task):
    start = {name: np.asarray(leaf) for name, leaf in tiny(7).net.init(jax.random.key(7)).items()}
    store.write_arrays(task.folder / "cluster" / "start.npz", start)
    assert worker.work(task).kind == "finished"
    found = only(task.folder).params
    assert all(np.array_equal(found[name][run, 0], start[name]) for name in start for run in range(2))


def test_a_message_folder_that_is_a_link_is_refused_and_nothing_behind_it_is_touched(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "control").write_text("thesis")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "cluster").symlink_to(tmp_path / "precious")
    with (
        pytest.raises(store.Refused, match="is a link: remove it"),
        messages.message_folder(tmp_path / "runs", SPEC, []),
    ):
        pass
    (tmp_path / "runs" / "cluster").unlink()
    (tmp_path / "runs" / "cluster").write_text("")
    with (
        pytest.raises(store.Refused, match="is a file: remove it"),
        messages.message_folder(tmp_path / "runs", SPEC, []),
    ):
        pass
    assert [path.name for path in (tmp_path / "precious").iterdir()] == ["control"]
    assert (tmp_path / "precious" / "control").read_text() == "thesis"


def test_a_driver_takes_away_what_it_and_a_killed_one_made_and_nothing_else(tmp_path):
    place, precious = tmp_path / "cluster", tmp_path / "precious"
    place.mkdir()
    precious.write_text("thesis")
    (place / "control").symlink_to(precious)  # the link is removed, its target stays
    (place / "000-aa.jsonl").write_text("of a killed driver")
    (place / "notes.txt").write_text("mine")
    (place / "kept").mkdir()
    with messages.message_folder(tmp_path, SPEC, ["000-aa"]) as token:
        assert messages.is_current(tmp_path, token) and not (place / "000-aa.jsonl").exists()
        (place / "000-aa.jsonl").write_text("of its own")
    assert sorted(path.name for path in place.iterdir()) == ["kept", "notes.txt"]
    assert precious.read_text() == "thesis"


def test_a_driver_that_lost_its_folder_leaves_the_control_file_of_the_next(tmp_path):
    with messages.message_folder(tmp_path, SPEC, []) as old:
        (tmp_path / "cluster" / "lock").unlink()  # as on a file system that keeps no locks between machines
        following = messages.message_folder(tmp_path, SPEC, [])
        new = following.__enter__()
        messages.request_stop(tmp_path, old)
    assert messages.is_current(tmp_path, new)
    following.__exit__(None, None, None)
    assert not (tmp_path / "cluster").exists()


def test_lines_without_an_end_and_lines_of_a_worker_taken_for_dead_are_skipped(task):
    path, reported = task.folder / "cluster" / f"{task.name}.jsonl", []
    reader = messages.ProgressReader(task.folder, task.name, task.configs, SPEC, reported.append)
    old, new = messages.ProgressWriter(path), messages.ProgressWriter(path)

    def write(by, step):
        by.at = -np.inf
        steps = tuple(range(0, step + 1, 5))
        by(Progress(task.name, step, 30, {"loss": np.tile(steps, (2, 1))}, np.zeros(2, bool), (), ("a", "b"), steps))
        reader.report_new()

    write(old, 10)
    with path.open("a") as file:
        file.write('{"attempt": "broken')
    write(new, 5)
    write(old, 20)
    write(new, 15)
    assert [progress.steps for progress in reported] == [(0, 5, 10), (0, 5), (0, 5, 10, 15)]
    assert np.array_equal(reported[-1].measures["loss"], [[0, 5, 10, 15]] * 2)


MESSAGE = {
    "attempt": "a",
    "first": True,
    "step": 5,
    "last": 30,
    "measures": {"loss": [[1.0], [2.0]]},
    "ended": [False] * 2,
}
MESSAGE |= {"messages": [], "runs": ["a", "b"], "steps": [5], "committed": None, "diverged": [None, None]}
WRONG = [
    *({**MESSAGE, name: wrong} for name in MESSAGE for wrong in ({"x": 1}, "x", 1.5, [[]]) if name not in ("attempt",)),
    *({**MESSAGE, "measures": {"loss": rows}} for rows in ([[1.0]], [[1.0, 2.0], [1.0]], [["x"], ["y"]], 3.0, None)),
    *({key: value for key, value in MESSAGE.items() if key != name} for name in MESSAGE),
    *([], 3, None, "text", {}),
]


def test_lines_that_are_no_message_are_skipped(task):
    reported = []
    reader = messages.ProgressReader(task.folder, task.name, task.configs, SPEC, reported.append)
    lines = [
        *map(json.dumps, WRONG),
        "[" * 100_000,
        "\0" * 8,
        "{",
        json.dumps(MESSAGE),
        json.dumps({**MESSAGE, "first": 0}),
    ]
    reader.path.write_text("\n".join(lines) + "\n")
    reader.report_new()
    assert [progress.step for progress in reported if progress.steps == (5,) and progress.runs == ("a", "b")][-1] == 5
    assert all(isinstance(progress.step, int) and progress.measures["loss"].shape == (2, 1) for progress in reported)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be kept to here")
def test_two_workers_of_a_machine_keep_to_cores_of_their_own(tmp_path, monkeypatch):
    before = os.sched_getaffinity(0)
    monkeypatch.setattr(worker.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(worker, "_allowed", lambda: tuple(sorted(before)))
    try:
        with worker.own_cores(1):
            first = os.sched_getaffinity(0)
            with worker.own_cores(1):
                second = os.sched_getaffinity(0)
    finally:
        os.sched_setaffinity(0, before)
    assert len(first) == len(second) == 1 and (first != second or len(before) == 1)


def test_workers_get_a_gpu_each_or_a_share_of_the_cores():
    assert Resources(LAPTOP, "CPU").n == 8 and Resources(LAPTOP, "CPU").cores(3, None) == 2
    assert Resources(TWO_HOSTS, "CPU").cores(1, None) == 4  # what the smaller has
    assert Resources(TWO_HOSTS, "CPU").slots(4) == 2 and Resources(TWO_HOSTS, "CPU").cores(100, None) == 1
    assert Resources(TWO_HOSTS, "CPU").cores(100, 3) == 3  # as the sweep was begun
    gpus = Resources({"a": {"CPU": 32.0, "GPU": 4.0}, "b": {"CPU": 16.0, "GPU": 1.0}}, "GPU")
    assert gpus.n == gpus.slots(None) == 5 and gpus.options(gpus.cores(5, None)) == {"num_cpus": 8, "num_gpus": 1}
    pod = Resources({"a": {"CPU": 96.0, "TPU": 4.0}, "b": {"CPU": 96.0, "TPU": 4.0}}, "TPU")
    assert pod.n == 2 and pod.options(None) == {"num_cpus": 96, "resources": {"TPU": 4}}


def test_groups_are_cut_so_that_each_worker_has_one():
    assert [group_size_for([A] * n, workers) for n, workers in ((256, 5), (3, 8), (1000, 1), (1000, 2))] == [
        52,
        1,
        256,
        256,
    ]


@pytest.mark.parametrize("address", ["here", "node1", "node1:", ":6379", ""])
def test_an_address_that_makes_no_sense_is_refused(address):
    with pytest.raises(ValueError, match="--cluster"):
        cluster.check(address)


def test_without_ray_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(connection.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^--cluster needs Ray, which is not installed: pip install -e '\.\[ray\]'"):
        cluster.check("local")


def test_a_process_that_joins_takes_what_nobody_holds_and_comes_back_for_the_rest(tmp_path, alone, monkeypatch):
    configs, reports = [A, B, tiny(7, data_seed=1)], []
    first = next(iter(sweep.groups(configs)))
    (tmp_path / first).mkdir()
    holding = store.locked(tmp_path / first)
    holding.__enter__()

    def report(progress):
        reports.append(progress)
        if "waiting for it" in "".join(progress.messages):
            holding.__exit__(None, None, None)

    monkeypatch.setattr(processes, "POLL_SECONDS", 0.01)
    processes.run(configs, SPEC, tmp_path, place=Place(), plan=PAIRS, report=report)
    order = list(dict.fromkeys(progress.group for progress in reports))
    assert order[0] != first and len(order) == 2
    group = next(group for group in sweep.load(tmp_path) if group.name == first)
    assert all(bits(group, run) == bits(alone, run) for run in range(2))
