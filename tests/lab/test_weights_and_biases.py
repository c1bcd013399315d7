"""Runs in Weights & Biases hold each point of each run once. They are written in its offline mode."""

import json
import struct
import sys
from collections.abc import Iterator

import numpy as np
import pytest

import run_sweep
from toylab import Config, Net, load
from toylab.lab.weights_and_biases import Runs
from toylab.models import ToyModel
from toylab.optim import AdamW
from toylab.sweep import Progress, run_name
from toylab.tasks import SparseFeatures

STEPS = (0, 10, 20, 40, 80)
LOSS = np.arange(10, dtype=np.float32).reshape(2, 5) / 4  # [R, T]
LOSS[1, 3:] = np.nan  # a run that has diverged
NET = Net.of(ToyModel, n_features=3, n_hidden=2)
CONFIGS = [Config(SparseFeatures(n_features=3, batch=8, n_eval=8), NET, AdamW(lr=1e-3), seed=seed) for seed in (4, 5)]
EXPECTED = [
    [(step, {"accuracy": 2 * x, "loss": x}) for step, x in zip(STEPS, run, strict=True) if x == x]
    for run in LOSS.tolist()
]


@pytest.fixture
def offline(monkeypatch):
    pytest.importorskip("wandb", reason="the extra wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    import wandb

    wandb.teardown()  # settings of the environment are read once
    yield wandb
    wandb.teardown()


def names():
    from toylab import configs as cfg

    return tuple(run_name(cfg.check(config)) for config in CONFIGS)


def progress_of(n, diverged=(None, None)):
    """A report after n points."""
    measures = {"loss": LOSS[:, :n], "accuracy": 2 * LOSS[:, :n]} if n else {}
    step = STEPS[max(n - 1, 0)]
    return Progress(
        "000-a", step, STEPS[-1], measures, np.zeros(2, bool), runs=names(), steps=STEPS[:n], diverged=diverged
    )


def records(path) -> Iterator[bytes]:
    """The records of a .wandb file: a header of 7 bytes, then blocks of 32 KiB of LevelDB's log format."""
    content, at, held = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        held += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield held
            held = b""


def read(folder):
    """By run's name: what it says of itself, and (step, measures) of each point."""
    import wandb
    from wandb.proto import wandb_internal_pb2 as proto

    wandb.teardown()  # ends its service, which writes on after a run was finished
    found = {}
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        run, points = None, []
        for content in records(path):
            record = proto.Record()
            record.ParseFromString(content)
            if record.HasField("run"):
                run = record.run
            if record.HasField("history"):
                items = record.history.item
                values = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
                points.append((values["_step"], {key: value for key, value in values.items() if key[0] != "_"}))
        found.setdefault(run.display_name, []).append((run, points))
    return found


def test_every_point_is_there_once_and_the_fields_are_those_of_the_config(offline, tmp_path):
    logged = Runs("spring", "toys", "part", CONFIGS, tmp_path)
    for n in (0, 2, 3, 5, 5):
        logged(progress_of(n))
    assert not logged.open  # its group is over
    logged.close()
    found = read(tmp_path)
    assert list(found) == list(names())
    for (row, seed), points in zip(enumerate((4, 5)), EXPECTED, strict=True):
        ((run, own),) = found[names()[row]]
        assert own == points and (run.project, run.run_group) == ("spring", "toys/part")
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        assert config["seed"] == seed and config["optimizer.lr"] == 0.001 and config["net.n_hidden"] == 2


def test_after_a_kill_the_runs_are_the_same_and_have_all_points(offline, tmp_path):
    """Weights & Biases joins what has one id, and drops steps that it has."""
    first = Runs("spring", "toys", "", CONFIGS, tmp_path)
    for n in (0, 2):
        first(progress_of(n))
    first.close(KeyError())
    again = Runs("spring", "toys", "", CONFIGS, tmp_path)
    again(progress_of(3))
    again(progress_of(5))
    elsewhere = Runs("spring", "toys", "", CONFIGS, tmp_path)
    elsewhere.folder = tmp_path / "elsewhere"
    elsewhere.folder.mkdir()
    elsewhere(progress_of(5))
    other = read(tmp_path / "elsewhere")
    for name, points in zip(names(), EXPECTED, strict=True):
        (before, some), (after, every) = read(tmp_path)[name]
        assert before.run_id == after.run_id != other[name][0][0].run_id
        assert some == [point for point in points if point[0] <= 10] and every == points


def test_points_that_are_there_already_are_not_sent_again(offline, tmp_path, monkeypatch):
    class Resumed:
        step, summary = 21, {}  # as of a run of which steps up to 20 were sent

        def __init__(self):
            self.sent = []

        def log(self, values, step):
            self.sent.append(step)

        def finish(self, **_):
            pass

    made = []
    monkeypatch.setattr(offline, "init", lambda **given: made.append(Resumed()) or made[-1])
    Runs("spring", "toys", "", CONFIGS, tmp_path)(progress_of(5, diverged=(None, 40)))
    assert [one.sent for one in made] == [[40, 80], []] and made[1].summary["diverged"] == 40


def test_what_fails_there_stops_no_training_and_is_said_once(offline, tmp_path, monkeypatch, capsys):
    def fail(**_):
        raise RuntimeError("no connection\nmore")

    monkeypatch.setattr(offline, "init", fail)
    logged = Runs("spring", "toys", "", CONFIGS, tmp_path)
    for n in (0, 5):
        logged(progress_of(n))
    logged.close()
    said = "Weights & Biases fails, and is told nothing more (no connection): training goes on.\n"
    assert capsys.readouterr().err == said


def refused(tmp_path, capsys):
    arguments = ["grokking", "--scale", "smoke", "--wandb", "--out", str(tmp_path / "out")]
    assert run_sweep.main(arguments) == 2
    assert not (tmp_path / "out").exists()
    return capsys.readouterr().err


def test_a_missing_extra_is_one_sentence_and_nothing_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert refused(tmp_path, capsys) == "--wandb needs its extra: pip install 'toylab[wandb]'.\n"


def test_nobody_who_is_logged_in_is_one_sentence_and_nothing_is_made(offline, tmp_path, monkeypatch, capsys):
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    offline.teardown()
    monkeypatch.setattr(offline, "login", lambda prompt: False)
    assert refused(tmp_path, capsys).endswith("run `wandb login` first, or set WANDB_MODE=offline and sync later.\n")


@pytest.mark.slow
def test_the_runs_of_a_page_are_those_of_its_sweep(offline, tmp_path):
    asked = ["grokking", "--scale", "smoke", "--stage", "train", "--seeds", "2", "--wandb", "spring", "--out"]
    assert run_sweep.main([*asked, str(tmp_path)]) == 0
    sweep, found = load(tmp_path / "grokking"), read(tmp_path / "grokking")
    assert sorted(found) == sorted(sweep.runs)
    for row, name in enumerate(sweep.runs):
        ((_, points),) = found[name]
        assert [step for step, _ in points] == sweep.steps[sweep.valid[row]].tolist()
        last = {key: sweep.measures[key][row, sweep.valid[row]][-1] for key in sweep.measures}
        assert points[-1][1] == {key: pytest.approx(float(value)) for key, value in last.items()}
