"""What a folder holds: a page's measures, a trajectory, a sweep, a group; or a sentence on what it is."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sweeps_on_disk import loss, names, outline, seeds, write_group

from toylab import load, store
from toylab.explore import open_folder
from toylab.explore.recordings.committed import MEASURES
from toylab.record import Recorder

RESULTS = Path(__file__).resolve().parents[2] / "results"
FROZEN = ("induction", "dichotomy", "superposition_phase")  # all of their claims
STEPS = [[0, 1, 2], [5, 10]]


@pytest.fixture
def page(tmp_path):
    """The committed page of grokking."""
    shutil.copytree(RESULTS / "grokking", tmp_path / "grokking")
    return tmp_path / "grokking"


def test_a_committed_page_has_its_measures_configs_claims_and_figures(page):
    parts = open_folder(page)
    assert list(parts) == [""]
    held, arrays = parts[""], np.load(page / MEASURES)
    assert held.title == "grokking" and not held.messages
    np.testing.assert_array_equal(held.steps, arrays["steps"])
    np.testing.assert_array_equal(held.valid, arrays["valid"])
    for name in ("test_loss", "gini/W_E", "loss/excluded_each"):
        np.testing.assert_array_equal(held.measures[name], arrays[name])
    np.testing.assert_array_equal(held.final["logits/key"], arrays["final/logits/key"])
    assert "test_loss" in held.scalars and "loss/excluded_each" not in held.scalars
    assert held.varying == ["seed"] and held.columns["optimizer.type"][0] == "AdamW"
    assert held.columns["seed"].tolist() == list(range(100, 120))
    assert len(held.claims) == 13 and held.figures["learning"] == "learning.png"
    assert held.shapes == [{}] * 20 and "toylab" not in held.runs[0]
    assert "--scale paper" in held.no_params and held.no_params.endswith(".")
    with pytest.raises(LookupError, match="without the weights"):
        held.params(0, 0)
    assert held.on_demand is None and not held.refresh()


def test_runs_of_a_committed_page_are_named_by_the_configs_that_they_had(page):
    held = open_folder(page)[""]
    listed = json.loads((page / "manifest.json").read_text())["runs"]
    assert list(held.runs) == list(listed)
    for run in (0, 7):
        config = held.config(run)
        assert config is not None and int(config.seed) == held.columns["seed"][run] and config.task.p == 113
        assert held.data(run)["labels"].shape == (113, 113)


@pytest.mark.parametrize("name", ["superposition", "induction", "dichotomy", "belief_states", "superposition_phase"])
def test_parts_of_a_page_stand_in_its_order_with_their_own_claims_and_figures(name):
    from toylab import lab
    from toylab.lab import pages

    parts, stated = open_folder(RESULTS / name), lab.parts(pages.load(name))
    every = json.loads((RESULTS / name / "claims.json").read_text())["claims"]
    assert list(parts) == list(stated)
    for part, held in parts.items():
        assert held.title == f"{name}: {part.replace('_', ' ')}" and not held.messages
        own = {claim.name for claim in stated[part].claims}
        assert {claim["name"] for claim in held.claims} >= own & {claim["name"] for claim in every}
        assert name not in FROZEN or {claim["name"] for claim in held.claims} <= own
        assert set(stated[part].figures) <= set(held.figures)
        assert all(config is None or not config.startswith("run ") for config in held.runs)
        assert len(set(held.runs)) == len(held.runs)


def test_rows_are_told_apart_by_fields_that_not_all_configs_have():
    """Later fields that are not written at their default, other classes; and rows that nothing tells apart."""
    parts = open_folder(RESULTS / "slingshot")
    assert all(not run.startswith("run ") for run in parts["causes"].runs)
    kinds = parts["causes"].columns["task.loss_kind"]
    for run in (0, 20, 40):
        config = parts["causes"].config(run)
        assert config is not None and config.task.loss_kind == kinds[run]
    deep = open_folder(RESULTS / "real_images")["deep"]
    assert (
        deep.runs[0] == "run 0" and deep.config(0) is None and "The config of run 0 cannot be told" in deep.messages[-1]
    )


def test_networks_of_others_have_claims_and_no_steps():
    held = open_folder(RESULTS / "published_models")[""]
    assert len(held.runs) == 18 and len(held.steps) == 0 and held.claims and held.figures
    assert "by others" in held.no_params and held.final["ours/accuracy"].shape == (18,)


def test_a_sweep_a_group_and_a_pages_folder_give_what_load_gives(tmp_path):
    runs = tmp_path / "mine" / "runs"
    write_group(runs, seeds(3), STEPS)
    group = write_group(runs, seeds(2, 10), STEPS, number=1, lengths=[4, 5])
    outline(runs, {one.name: n for one, n in zip(sorted(runs.glob("0*")), (3, 2), strict=True)})
    for path in (tmp_path / "mine", runs):
        held, sweep = open_folder(path)[""], load(path)
        assert list(held.runs) == sweep.runs.tolist() and held.title == "mine"
        np.testing.assert_array_equal(held.valid, sweep.valid)
        np.testing.assert_array_equal(held.measures["loss"], sweep.measures["loss"])
        np.testing.assert_array_equal(held.columns["seed"], sweep.columns["seed"])
        assert [held.config(run) for run in range(5)] == [sweep.config(run) for run in range(5)]
        for run, at in zip(*np.nonzero(held.valid), strict=True):
            np.testing.assert_array_equal(held.params(run, at)["W"], sweep.params["W"][run, at])
    alone = open_folder(group)[""]
    assert list(alone.runs) == names(seeds(2, 10)) and alone.valid.sum() == 9 and not alone.messages


def test_a_recorders_folder(tmp_path):
    with Recorder(tmp_path / "mine", name="seed_0", fields={"seed": 0, "lr": 0.1}) as recorder:
        for step in (0, 10, 20):
            recorder(step, {"W": np.full((2, 3), step, np.float32)}, loss=1 / (1 + step))
    held = open_folder(tmp_path / "mine")[""]
    assert list(held.runs) == ["seed_0"] and held.columns["lr"].tolist() == [0.1]
    np.testing.assert_allclose(held.measures["loss"], [[1, 1 / 11, 1 / 21]])
    assert held.params(0, 2)["W"].tolist() == [[20.0] * 3] * 2
    config = held.config(0)
    assert config is not None and config.task is None and config.net is None and held.data(0) == {}


def test_several_folders_stand_side_by_side(tmp_path):
    for name in ("one", "two"):
        write_group(tmp_path / name / "runs", seeds(1), STEPS)
        write_group(tmp_path / "deep" / name / "runs", seeds(1), STEPS)
    assert list(open_folder([tmp_path / "one", tmp_path / "two"])) == ["one", "two"]
    paths = [tmp_path / "one", tmp_path / "deep" / "one"]
    assert list(open_folder(paths)) == [str(path) for path in paths]
    assert list(open_folder([tmp_path / "one"])) == [""]
    both = open_folder([RESULTS / "induction", tmp_path / "one"])
    assert list(both) == ["induction: networks", "induction: pictures", "one"]
    with pytest.raises(ValueError, match="each once"):
        open_folder([tmp_path / "one", tmp_path / "one"])
    with pytest.raises(ValueError, match="give folders"):
        open_folder([])


def test_parts_are_trained_or_committed_each(tmp_path):
    shutil.copytree(RESULTS / "induction", tmp_path / "induction")
    write_group(tmp_path / "induction" / "runs" / "pictures", seeds(2), STEPS)
    parts = open_folder(tmp_path / "induction")
    assert list(parts) == ["networks", "pictures"]
    assert not parts["networks"].shapes[0] and parts["pictures"].shapes[0] == {"W": (4,)}
    outline(tmp_path / "induction" / "runs" / "networks", {"000-abcdef0123": 2})
    begun = "The part networks has begun: open the folder again to see it."
    assert begun in parts["pictures"].messages and begun not in parts["networks"].messages
    told = [message for message in parts["pictures"].messages if "not of all these runs" in message]
    assert len(told) == 1 and "analyses are left out" in told[0] and not parts["networks"].messages


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    def refused(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(ValueError, match=r"cannot be read \(.*Permission denied.*\): give yourself the right"):
        open_folder(tmp_path)


def test_what_is_none_of_these_is_told_in_a_sentence(tmp_path):
    def refused(path):
        with pytest.raises((ValueError, store.StoreError)) as error:
            open_folder(path)
        text = str(error.value)
        assert "\n" not in text and text.endswith(".") and str(path) in text
        return text

    assert "is not there: give the folder of a page" in refused(tmp_path / "absent")
    (tmp_path / "file").write_text("x")
    assert "is a file" in refused(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "is empty" in refused(tmp_path / "empty")
    (tmp_path / "other" / "sub").mkdir(parents=True)
    assert "holds no runs and no measures" in refused(tmp_path / "other")
    text = refused(RESULTS)
    assert "is a folder of pages: give one or some of them" in text and "results/belief_states" in text
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / MEASURES).write_bytes(b"PK\x03\x04" + bytes(100))
    assert "is damaged" in refused(tmp_path / "broken")


def test_a_page_whose_training_has_just_begun_waits(tmp_path):
    (tmp_path / "grokking" / "runs").mkdir(parents=True)
    held = open_folder(tmp_path / "grokking")[""]
    assert held.runs == [] and len(held.steps) == 0 and held.valid.shape == (0, 0) and not held.measures
    assert (
        any("no complete chunk yet" in message for message in held.messages) and "No point is saved" in held.no_params
    )
    assert held.on_demand is None and not held.refresh()
    outline(tmp_path / "grokking" / "runs", {"000-abcdef0123": 2})
    assert any("1 of 1 groups (2 runs) are not begun" in message for message in held.messages)
    write_group(tmp_path / "grokking" / "runs", seeds(2), STEPS[:1])
    assert held.refresh() and len(held.runs) == 2 and held.steps.tolist() == [0, 1, 2] and held.no_params == ""
    np.testing.assert_array_equal(held.measures["loss"], loss(seeds(2), STEPS[0]))


def test_a_groups_manifest_without_chunks_waits_with_its_runs(tmp_path):
    folder = write_group(tmp_path / "runs", seeds(2), STEPS)
    for step in store.chunks(folder):
        shutil.rmtree(folder / str(step))
    held = open_folder(tmp_path)[""]
    assert list(held.runs) == names(seeds(2)) and held.steps.shape == (0,) and "No point" in held.no_params
    assert held.columns["seed"].tolist() == [0, 1] and held.config(1) is not None


def test_texts_pass_through_unchanged(tmp_path):
    evil = """<script>alert("1")</script> & 'two'"""
    with Recorder(tmp_path / evil.replace("/", "_"), name="a", fields={"note": evil, "<b>": "x"}) as recorder:
        recorder(0, {"W": np.zeros((2, 2), np.float32)}, **{"<i>loss": 1.0})
    held = open_folder(tmp_path / evil.replace("/", "_"))[""]
    assert held.columns["note"].tolist() == [evil] and held.columns["<b>"].tolist() == ["x"]
    assert "<i>loss" in held.measures and held.title == evil.replace("/", "_")


def test_a_page_is_not_imported_because_a_folder_names_it(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil_page.py").write_text("raise SystemExit('imported')")
    record = json.loads((page / "manifest.json").read_text())
    for named in ("evil_page", "tmp.evil_page", "antigravity"):
        (page / "manifest.json").write_text(json.dumps({**record, "page": named}))
        held = open_folder(page)[""]
        assert held.config(0) is not None and held.page.analyzers("") == ({}, {})
        assert [f"The page {named} is not one of toylab: give its file, and its analyses are known."] == held.messages
    held = open_folder(page, page=str(tmp_path / "evil_page.py"))[""]
    assert held.page.analyzers("") == ({}, {}) and "raised while it was imported" in held.messages[0]


@pytest.mark.parametrize("text", ["", "[]", '{"claims": 3}', '{"claims": [1]}', '{"claims": [{"no": "name"}]}', "\0\0"])
def test_damaged_records_beside_the_measures_are_messages(page, text):
    (page / "claims.json").write_text(text)
    (page / "manifest.json").write_text(text)
    held = open_folder(page)[""]
    assert held.claims == [] and held.messages and all(one.endswith(".") for one in held.messages)
    assert held.measures["test_loss"].shape == (20, 162) and held.runs[3] == "run 3" and held.config(3) is None


def flipped(path, name):
    """Damages the middle of an array in an npz."""
    with zipfile.ZipFile(path) as file:
        at = file.getinfo(f"{name}.npy")
    data = bytearray(path.read_bytes())
    start = at.header_offset + 30 + len(at.filename) + at.compress_size // 2
    data[start : start + 8] = bytes(255 - one for one in data[start : start + 8])
    path.write_bytes(data)


def test_a_measure_that_is_damaged_is_nan_or_left_out_and_told(page):
    flipped(page / MEASURES, "embedding/spectrum")
    flipped(page / MEASURES, "gini/W_E")  # so small that nothing of it can be read
    held = open_folder(page)[""]
    assert np.isnan(held.measures["embedding/spectrum"]).all() and "gini/W_E" not in held.measures
    assert held.measures["embedding/spectrum"].shape == (20, 162, 57) and np.isfinite(held.measures["gini/W_L"]).any()
    assert [name for name in ("gini/W_E", "embedding/spectrum") if any(name in one for one in held.messages)] == [
        "gini/W_E", "embedding/spectrum"
    ]  # fmt: skip
    flipped(page / MEASURES, "steps")
    with pytest.raises(store.Damaged, match="is damaged"):
        open_folder(page)


def test_measures_that_are_written_anew_are_read_anew(page):
    held = open_folder(page)[""]
    before = held.measures["test_loss"].copy()
    store.write_arrays(page / MEASURES, {**store.read_arrays(page / MEASURES), "test_loss": 2 * before})
    np.testing.assert_array_equal(held.measures["train_loss"], np.load(page / MEASURES)["train_loss"])
    assert held.refresh() and not held.refresh()
    np.testing.assert_array_equal(held.measures["test_loss"], 2 * before)
    claims = json.loads((page / "claims.json").read_text())
    (page / "claims.json").write_text(json.dumps({**claims, "claims": claims["claims"][:2]}))
    assert held.refresh() and len(held.claims) == 2 and not held.refresh()
    (page / MEASURES).write_bytes(b"PK\x03\x04")
    assert held.refresh() and "damaged" in held.messages[-1] and not held.refresh()
    (page / MEASURES).unlink()
    assert not held.refresh()
    np.testing.assert_array_equal(held.measures["test_loss"], 2 * before)
