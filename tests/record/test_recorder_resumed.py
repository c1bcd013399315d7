"""A recording that was killed, goes on, or is refused: what is committed is sound, and belongs together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from toylab import Config, Net, Spec, importers, load, run, store
from toylab.cli.main import main
from toylab.importers import safetensors
from toylab.models import BiasedTransformer, ToyModel
from toylab.optim import AdamW
from toylab.record import Recorder
from toylab.records import status
from toylab.tasks import SparseFeatures

ROOT = Path(__file__).resolve().parents[2]
RUN = "000-run"


def weights(step, width=4):
    return {"W": np.full((3, width), step, np.float32), "b": np.arange(3, dtype=np.float32) + step}


def record(folder, steps, **given):
    with Recorder(folder, chunk=2, **given) as recorder:
        for step in steps:
            recorder(step, weights(step), loss=float(step))


def sound(folder, steps):
    sweep = load(folder)
    assert sweep.steps.tolist() == list(steps) and sweep.valid.all()
    np.testing.assert_array_equal(sweep.params["W"][0, :, 0, 0], steps)
    np.testing.assert_array_equal(sweep.measures["loss"][0], steps)


TRAINING = """
import sys
sys.path.insert(0, {tests!r})
from test_recorder_resumed import weights
from toylab.record import Recorder
with Recorder({folder!r}, chunk=3) as recorder:
    for step in range(100_000):
        recorder(step, weights(step), loss=float(step))
"""


@pytest.mark.slow
def test_a_recording_that_is_killed_at_any_moment_goes_on_after_its_last_commit(tmp_path):
    code = TRAINING.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "mine"))
    code = code.replace("range(100_000)", "range(recorder.last_step + 1, 100_000)")
    reached = -1
    for pause in (0.0, 0.05, 0.1, 0.15, 0.2, 0.3):
        command = [sys.executable, "-c", code]
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
        until = time.monotonic() + 120
        while max(store.chunks(tmp_path / "mine" / RUN), default=-1) <= reached:
            assert process.poll() is None and time.monotonic() < until, process.stderr.read().decode()
            time.sleep(0.01)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        reached = max(store.chunks(tmp_path / "mine" / RUN))
        sound(tmp_path / "mine", range(reached + 1))
        assert not status.status(tmp_path / "mine").finished
    with Recorder(tmp_path / "mine", chunk=3) as recorder:
        assert recorder.last_step == reached
        recorder(reached + 1, weights(reached + 1), loss=float(reached + 1))
    sound(tmp_path / "mine", range(reached + 2))
    assert status.status(tmp_path / "mine").finished


def test_a_training_that_breaks_off_leaves_its_points_and_the_same_recorder_goes_on(tmp_path):
    with pytest.raises(KeyError), Recorder(tmp_path, every=5) as recorder:
        for step in range(20):
            recorder(step, weights(step), loss=float(step))
            if step == 12:
                raise KeyError
    assert status.status(tmp_path).groups[0].state == "stopped"
    with Recorder(tmp_path, every=3) as recorder:
        assert recorder.last_step == 10
        for step in range(recorder.last_step + 1, 20):
            recorder(step, weights(step), loss=float(step))
    sound(tmp_path, [0, 5, 10, 12, 15, 18])
    assert status.status(tmp_path).finished
    with Recorder(tmp_path):  # nothing left to do
        pass
    assert status.status(tmp_path).finished


def test_what_a_status_says(tmp_path, capsys):
    recorder = Recorder(tmp_path, chunk=1)
    for step in range(2):
        recorder(step, weights(step))
    recorder.commit()
    (group,) = status.status(tmp_path).groups
    assert (group.state, group.step, group.runs) == ("going", 1, 1)
    recorder.close(finished=False)
    assert main(["status", str(tmp_path)]) == 3
    said = capsys.readouterr().out
    assert f"run the training that is recorded in {tmp_path} again" in said and "stopped" in said
    Recorder(tmp_path).close()
    assert main(["status", "--verify", str(tmp_path)]) == 0


def test_steps_that_go_back_are_refused(tmp_path):
    with Recorder(tmp_path, every=10) as recorder:
        assert recorder.last_step == -1
        for step in range(25):
            recorder(step, weights(step))
        assert recorder.last_step == 20
        for step in (24, 20, 0):
            with pytest.raises(ValueError, match=f"step is {step}: it must be above 24"):
                recorder(step, weights(step))
    with Recorder(tmp_path, every=10) as recorder:
        with pytest.raises(ValueError, match="step is 15: it must be above 20, the last one of this run"):
            recorder(15, weights(15))
        recorder(21, weights(21))
    assert load(tmp_path).steps.tolist() == [0, 10, 20]


def test_a_training_that_asks_first_adds_what_is_missing_and_hears_of_it(tmp_path):
    record(tmp_path, range(3))
    with Recorder(tmp_path) as recorder:
        with pytest.warns(RuntimeWarning, match="is recorded up to step 2 already, and stays as it is"):
            assert not recorder.wants(0)
        for step in range(1, 5):
            if recorder.wants(step):
                recorder(step, weights(step), loss=float(step))
    sound(tmp_path, range(5))


def test_another_network_is_refused(tmp_path):
    record(tmp_path, range(3))
    for other, what in (
        (weights(9, width=5), r"W: \[3, 4\] float32 → \[3, 5\] float32"),
        ({"W": weights(9)["W"]}, r"b: \[3\] float32 → not there"),
        ({**weights(9), "c": np.ones(1)}, r"c: not there → \[1\] float32"),
    ):
        with Recorder(tmp_path) as recorder, pytest.raises(store.Refused, match=f"another network .{what}"):
            recorder(9, other, loss=0.0)
    sound(tmp_path, range(3))


def test_a_network_that_changes_while_it_is_recorded_is_refused(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder(0, weights(0), loss=0.0)
        with pytest.raises(ValueError, match=r"W is \[3, 5\], and \[3, 4\] at the first point"):
            recorder(1, weights(1, width=5), loss=1.0)
        with pytest.raises(ValueError, match=r"c is \[1\], and not there at the first point"):
            recorder(1, {**weights(1), "c": np.ones(1)}, loss=1.0)
        recorder(1, weights(1), loss=1.0)
    sound(tmp_path, range(2))


def test_another_config_is_refused(tmp_path):
    square = {"W_x": np.ones((5, 4)), "W_y": np.ones((5, 4)), "W": np.ones((8, 8)), "W_U": np.ones((8, 5))}
    with Recorder(tmp_path, layout="universality", fields={"lr": 1e-3, "seed": 0}) as recorder:
        recorder(0, square)
    with pytest.raises(store.Refused, match=r"another config \(lr: 0.001 → 0.01\): give another name or folder"):
        Recorder(tmp_path, layout="universality", fields={"lr": 1e-2, "seed": 0})
    with pytest.raises(store.Refused, match=r"another config \(seed: 0 → None\)"):
        Recorder(tmp_path, layout="universality", fields={"lr": 1e-3})
    with (
        Recorder(tmp_path, fields={"lr": 1e-3, "seed": 0}) as recorder,
        pytest.raises(store.Refused, match="another network"),
    ):
        recorder(1, square)
    assert load(tmp_path).steps.tolist() == [0]


def test_measures_keep_their_names(tmp_path):
    record(tmp_path, range(2))
    with Recorder(tmp_path) as recorder:
        with pytest.raises(ValueError, match="accuracy is new at step 2: before there was loss"):
            recorder(2, weights(2), accuracy=1.0)
        recorder(2, weights(2), loss=2.0)
        with pytest.raises(ValueError, match="accuracy is new at step 3"):
            recorder(3, weights(3), loss=3.0, accuracy=1.0)
    sound(tmp_path, range(3))


def test_a_second_recorder_of_the_run_is_refused(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder(0, weights(0), loss=0.0)
        with pytest.raises(store.InUse, match=f"is recorded by process {os.getpid()} on"):
            Recorder(tmp_path)
        with Recorder(tmp_path, name="other") as other:
            other(0, weights(0), loss=0.0)
    assert load(tmp_path).runs.tolist() == ["other", "run"]
    Recorder(tmp_path).close()


def test_runs_of_toylab_itself_are_not_written_to(tmp_path):
    task = SparseFeatures(n_features=3, batch=8, n_eval=8)
    config = Config(task, Net.of(ToyModel, n_features=3, n_hidden=2), AdamW())
    run([config], Spec(saves=[0]), tmp_path / "own")
    (group,) = (tmp_path / "own").glob("000-*")
    for folder, name in ((tmp_path / "own", "run"), (group, "run")):
        with pytest.raises(store.Refused, match="holds runs that toylab trained"):
            Recorder(folder, name=name)
    (tmp_path / "own" / "sweep.json").unlink()
    with pytest.raises(store.Refused, match="holds runs that toylab trained"):
        Recorder(tmp_path / "own", name=group.name.removeprefix("000-"))
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == [group.name]


def test_a_folder_with_runs_of_a_page_is_refused(tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(store.Refused, match="holds a folder runs"):
        Recorder(tmp_path)


def test_a_name_may_say_what_tells_the_run_apart(tmp_path):
    name = "lr=0.1,wd=1+x_B.2-c"
    with Recorder(tmp_path, name=name) as recorder:
        recorder(0, weights(0), loss=0.0)
    sound(tmp_path, [0])
    assert load(tmp_path).select(name=name).runs.tolist() == [name]


def test_a_damaged_newest_chunk_is_set_aside_and_recorded_anew(tmp_path):
    record(tmp_path, range(6))
    next((tmp_path / RUN / "5").rglob("manifest.ocdbt")).write_bytes(b"")
    with pytest.warns(RuntimeWarning, match="damaged-5"):
        recorder = Recorder(tmp_path)
    assert recorder.last_step == 3
    for step in (4, 5):
        recorder(step, weights(step), loss=float(step))
    recorder.close()
    sound(tmp_path, range(6))


def test_a_lost_chunk_in_the_middle_is_named(tmp_path):
    record(tmp_path, range(6))
    store.files.Path(tmp_path / RUN / "3").rename(tmp_path / "away")
    with pytest.raises(store.Damaged, match="lacks a chunk before step 5"):
        Recorder(tmp_path)


@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_a_lost_manifest_is_written_anew_for_the_same_run_alone(tmp_path, how):
    record(tmp_path, range(4), fields={"seed": 1})
    path = tmp_path / RUN / "manifest.json"
    before = json.loads(path.read_text())
    path.unlink() if how == "lost" else path.write_text(path.read_text()[:50])
    with Recorder(tmp_path, fields={"seed": 2}) as recorder, pytest.raises(store.Refused, match="another config"):
        recorder(4, weights(4), loss=4.0)
    with Recorder(tmp_path, fields={"seed": 1}) as recorder:
        assert recorder.last_step == 3
        recorder(4, weights(4), loss=4.0)
    sound(tmp_path, range(5))
    after = json.loads(path.read_text())
    assert {**after, "saves": before["saves"], "digest": before["digest"]} == before


def test_after_a_chunk_that_could_not_be_written_nothing_is_added(tmp_path, monkeypatch):
    recorder = Recorder(tmp_path, chunk=1)
    recorder(0, weights(0), loss=0.0)
    recorder.commit()

    def full(*_):
        raise store.StoreError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(store.writing, "write_chunk", full)
        recorder(1, weights(1), loss=1.0)  # its commit fails in the background
        with pytest.raises(store.StoreError, match="No space left"):
            recorder(2, weights(2), loss=2.0)
    with pytest.raises(store.StoreError, match=r"recorded no further.*begin again from step 0"):
        recorder(3, weights(3), loss=3.0)
    recorder.close()
    sound(tmp_path, [0])
    assert status.status(tmp_path).groups[0].state == "stopped"
    record(tmp_path, [1, 2])
    sound(tmp_path, range(3))


def test_an_error_of_the_training_is_not_hidden_by_one_of_the_disk(tmp_path, monkeypatch):
    def full(*_):
        raise store.StoreError("No space left on device")

    with pytest.raises(KeyError) as raised, Recorder(tmp_path) as recorder:
        monkeypatch.setattr(store.writing, "write_chunk", full)
        recorder(0, weights(0))
        raise KeyError
    assert raised.value.__notes__ == ["No space left on device"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"every": 0}, "every is 0: it must be"),
        ({"every": True}, "every is True: it must be"),
        ({"every": [3, 2]}, "every is"),
        ({"every": [-1, 2]}, "every is"),
        ({"every": []}, "every is"),
        ({"every": 0.5}, "every is 0.5: it must be"),
        ({"chunk": 0}, "chunk is 0: it must be"),
        ({"chunk": 1.5}, "chunk is 1.5: it must be"),
        ({"name": "a/b"}, "name is 'a/b': it must be"),
        ({"name": "../x"}, r"name is '\.\./x': it must be"),
        ({"name": ""}, "name is '': it must be"),
        ({"name": 3}, "name is 3: it must be"),
        ({"layout": "tl"}, "layout is 'tl': it must be one of toylab"),
        ({"fields": {"net": 1}}, "fields has 'net'"),
        ({"fields": {"net.d_model": 1}}, "fields has 'net.d_model'"),
        ({"fields": {"name": "x"}}, "fields has 'name'"),
        ({"fields": {"lr": [1, 2]}}, r"fields.lr is \[1, 2\]: it must be"),
        ({"fields": {"lr": float("nan")}}, "fields.lr is nan: it must be"),
        ({"fields": {"lr": None}}, "fields.lr is None: it must be"),
        ({"config": 3}, "config is a int"),
        ({"ignore": "mask"}, "ignore is 'mask': it must be a list of keys"),
    ],
)
def test_what_is_wrong_with_an_argument_is_said_before_anything_is_made(tmp_path, given, said):
    with pytest.raises(ValueError, match=said):
        Recorder(tmp_path / "mine", **given)
    assert not (tmp_path / "mine").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(store.Refused, match=r"folder leads to .*file, which is a file"):
        Recorder(tmp_path / "file")


@pytest.mark.parametrize(
    ("step", "params", "measures", "said"),
    [
        (-1, weights(0), {}, "step is -1: it must be a whole number"),
        (1.0, weights(0), {}, "step is 1.0: it must be a whole number"),
        (True, weights(0), {}, "step is True: it must be a whole number"),
        (2**31, weights(0), {}, "step is 2147483648: it must be a whole number"),
        (0, 3, {}, "params is a int: it must be a module"),
        (0, None, {}, "params is a NoneType: it must be a module"),
        (0, {}, {}, "source holds no arrays"),
        (0, {"W": np.ones((0, 2))}, {}, r"source has empty arrays: W \[0, 2\]"),
        (0, {"W": np.ones(2, int)}, {}, "W has dtype int64: weights are float16"),
        (0, {"W": np.array(["a"])}, {}, "W has dtype <U1: weights are float16"),
        (0, {"W": "text"}, {}, "W is a str: it must be an array"),
        (0, {"": np.ones(2)}, {}, "params has arrays without a printable name"),
        (0, {"a": {"b.c": np.ones(1)}, "a.b": {"c": np.ones(1)}}, {}, "params: two arrays are named a.b.c"),
        (0, {1: np.ones(1), "1": np.ones(1)}, {}, "params has two keys that are the same as text"),
        (0, weights(0), {"loss": np.ones(2)}, r"loss is \[2\] of numbers: a measure is one number"),
        (0, weights(0), {"loss": "low"}, "loss is 'low': a measure is one number"),
        (0, weights(0), {"loss": None}, "loss is None: a measure is one number"),
    ],
)
def test_what_is_wrong_with_a_point_is_said_and_the_record_stays_as_it_is(tmp_path, step, params, measures, said):
    with Recorder(tmp_path) as recorder:
        with pytest.raises(ValueError, match=said):
            recorder(step, params, **measures)
        recorder(0, weights(0), loss=0.0)
    sound(tmp_path, [0])


def test_arrays_that_do_not_fit_the_layout_are_named(tmp_path):
    said = r"source does not fit layout universality.*missing W_U"
    with Recorder(tmp_path, layout="universality") as recorder, pytest.raises(ValueError, match=said):
        recorder(0, {"W_x": np.ones((5, 4)), "W_y": np.ones((5, 4)), "W": np.ones((8, 8))})
    with pytest.raises(store.StoreError, match="holds no runs"):
        load(tmp_path)


def test_a_closed_recorder_records_nothing(tmp_path):
    record(tmp_path, range(2))
    recorder = Recorder(tmp_path)
    recorder.close()
    recorder.close()
    with pytest.raises(ValueError, match="the recorder is closed"):
        recorder(5, weights(5))


def test_a_run_is_gone_on_with_by_its_own_layout(tmp_path):
    """A square W_E lies otherwise by another mapping, and shapes do not tell."""
    rules = {"E": "W_E: d_vocab d_model", "W": "W_in: 2 d_model d_mlp", "U": "W_U: d_mlp d_vocab_out"}
    other = rules | {"E": "W_E: d_model d_vocab -> d_vocab d_model"}
    draw = np.random.default_rng(0)
    weights = {name: draw.normal(size=shape) for name, shape in {"E": (6, 6), "W": (2, 6, 5), "U": (5, 6)}.items()}
    tokens, given = np.array([[0, 1], [2, 3]]), {"config": {"activation": "relu"}}

    def probe(E):
        pre = np.maximum(sum(E[tokens[:, i]] @ weights["W"][i] for i in range(2)), 0)
        return tokens, pre @ weights["U"]

    with Recorder(tmp_path, layout=rules, probe=probe(weights["E"]), **given) as recorder:
        recorder(0, weights)
    with (
        Recorder(tmp_path, layout=other, probe=probe(weights["E"].T), **given) as recorder,
        pytest.raises(store.Refused, match=r"read by another layout \(layout.E: W_E: d_vocab d_model → W_E: d_model"),
    ):
        recorder(1, weights)
    with Recorder(tmp_path, layout=rules, probe=probe(weights["E"]), **given) as recorder:
        recorder(1, weights)
    assert load(tmp_path).steps.tolist() == [0, 1]


def test_a_run_whose_tied_embedding_diverges_ends_there(tmp_path):
    net = Net.of(BiasedTransformer, d_vocab=7, d_vocab_out=7, n_ctx=4, d_model=8, n_heads=2, layer_norm=True,
                 activation="gelu_new", readout="all")  # fmt: skip
    params = {name: np.asarray(value) for name, value in net.init(jax.random.key(0)).items()}
    importers.save(params | {"W_U": params["W_E"].T}, tmp_path / "w.safetensors", "gpt2", net=net)
    weights, _ = safetensors.read(tmp_path / "w.safetensors")
    config = {"n_head": 2, "activation_function": "gelu_new", "tie_word_embeddings": True}
    with Recorder(tmp_path / "runs", layout="gpt2", config=config) as recorder:
        recorder(0, weights)
        table = weights["transformer.wte.weight"].copy()
        table[0, 0] = np.nan
        with pytest.warns(RuntimeWarning, match="diverged"):
            recorder(1, weights | {"transformer.wte.weight": table, "lm_head.weight": table})
    assert recorder.diverged == 1
