"""Chunks say of which runs they are: what is lost beside them is written anew from it, and they are taken for no others."""

import json
import shutil

import numpy as np
import pytest
from sweeps_on_disk import as_schema_3, outline, seeds, write_group
from tiny_sweeps import PAIRS, SAVES, A, B, C, bits, contents, never, only, squares, tiny, trained

from toylab import store, sweep
from toylab.records import binding, manifest
from toylab.records.status import status
from toylab.store import Damaged, Refused, writing
from toylab.store.files import seal
from toylab.sweep import Spec

GONE = {"missing": None, "empty": b"", "zeros": bytes(700), "broken": b'{"configs": [', "a list": b"[]"}


def write(path, content):
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two runs in one group, stopped after 8 of 14 points."""
    folder = tmp_path_factory.mktemp("made")
    segments = iter([False] * 3 + [True] * 9)
    with pytest.raises(sweep.Interrupted):
        sweep.run([A, B], Spec(saves=SAVES), folder, plan=PAIRS, command="go", interrupted=lambda: next(segments))
    return folder


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("straight"), [A, B])


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs")


def group_of(folder):
    (group,) = folder.glob("000-*")
    return group


def of_chunks(folder):
    return {name: held for name, held in contents(folder).items() if not name.endswith(("manifest.json", "sweep.json"))}


@pytest.mark.slow
@pytest.mark.parametrize("of_sweep", ["as it was", *GONE])
@pytest.mark.parametrize("content", GONE.values(), ids=GONE)
def test_a_lost_manifest_is_written_anew_and_training_goes_on(folder, straight, content, of_sweep):
    path = group_of(folder) / "manifest.json"
    about, outlined = json.loads(path.read_text()), (folder / "sweep.json").read_bytes()
    write(path, content)
    if of_sweep != "as it was":
        write(folder / "sweep.json", GONE[of_sweep])
    with pytest.raises(Damaged, match=r"manifest\.json is .*The same training command writes it anew\.$"):
        sweep.load(folder)
    before, reports = of_chunks(folder), []
    sweep.run([A, B], Spec(saves=SAVES), folder, command="go", report=reports.append)  # the plan is read back too
    assert json.loads(path.read_text()) == about and (folder / "sweep.json").read_bytes() == outlined
    (output,) = [message for progress in reports for message in progress.messages]
    assert "manifest.json is " in output and output.endswith("It is written anew from what the chunks there say.")
    kept = {name: held for name, held in before.items() if "/state/" not in name}
    assert kept.items() <= of_chunks(folder).items()
    group = only(folder)
    assert [bits(group, run) for run in range(2)] == [bits(straight, run) for run in range(2)]


OTHERS = {
    "another leaf": ([A, tiny(1, lr=2e-2)], {}, r"run 1: \w{10} → \w{10}"),
    "another order": ([B, A], {}, ""),
    "a run less": ([A], {}, "runs: 2 → 1"),
    "stop": ([A, B], {"stop": never}, r"stop: None → .*never"),
    "keep": ([A, B], {"keep": ("W_E",)}, r"keep: None → "),
    "probes": ([A, B], {"probes": {"squares": squares}}, r"probes: "),
    "start": ([A, B], {"started_from": "1a2b@10"}, "started_from: None → 1a2b@10"),
    "saves": ([A, B], {"saves": [*SAVES[:-1], 99]}, "saves: 14 steps → 14 others"),
    "fewer saves": ([A, B], {"saves": SAVES[:-1]}, "saves: 14 steps → 13 others"),
}


@pytest.mark.parametrize("lost", [("manifest",), ("manifest", "sweep")], ids="+".join)
@pytest.mark.parametrize(("configs", "spec", "words"), OTHERS.values(), ids=OTHERS)
def test_without_a_manifest_chunks_are_not_taken_for_other_runs(folder, lost, configs, spec, words):
    (group_of(folder) / "manifest.json").unlink()
    if "sweep" in lost:
        if not words:
            pytest.skip("the runs are those that are there")
        (folder / "sweep.json").unlink()
    before = of_chunks(folder)
    with pytest.raises(Refused, match=rf"holds runs of another config \(.*{words}.*\): choose another --out"):
        sweep.run(configs, Spec(**{"saves": SAVES, **spec}), folder, plan=PAIRS)
    assert of_chunks(folder) == before and not (group_of(folder) / "manifest.json").exists()


def test_a_manifest_of_other_runs_is_refused_for_reading_and_for_training(folder, tmp_path):
    trained(tmp_path / "others", [C, B])
    about = json.loads((group_of(tmp_path / "others") / "manifest.json").read_text())
    store.write_json(group_of(folder) / "manifest.json", {k: v for k, v in about.items() if k != "digest"}, sealed=True)
    for use in (lambda: list(sweep.load(folder)), lambda: sweep.load(folder).measures["train_loss"]):
        with pytest.raises(Refused, match=r"a chunk \(step 5\) that is not of the runs in its manifest \(run 0: "):
            use()
    (one,) = status(folder).groups
    assert one.state == "damaged" and "not of the runs in its manifest" in one.detail and one.advice == ""


def test_a_chunk_of_another_sweep_is_refused_for_reading_and_for_training(folder, tmp_path):
    trained(tmp_path / "others", [A, C])
    shutil.rmtree(group_of(folder) / "40")
    shutil.copytree(group_of(tmp_path / "others") / "40", group_of(folder) / "40")
    before = of_chunks(folder)
    output = r"a chunk \(step 40\) that is not of the runs in its manifest \(run 1: .*Put back what was there"
    with pytest.raises(Refused, match=output):
        list(sweep.load(folder))
    with pytest.raises(Refused, match=output):
        sweep.run([A, B], Spec(saves=SAVES), folder, plan=PAIRS)
    assert of_chunks(folder) == before


# --- chunks from before they said so


@pytest.fixture
def older(tmp_path, monkeypatch):
    """As `made`, by a version whose chunks say nothing of their group."""
    with monkeypatch.context() as patched:
        patched.setattr(writing, "SCHEMA", 2)
        patched.setattr(binding, "group_info", lambda about: {})
        trained(tmp_path / "runs", [A, B], saves=SAVES[:8])
    return tmp_path / "runs"


def test_a_sweep_begun_before_goes_on_with_its_manifest(older, straight):
    group = trained(older, [A, B])
    assert [bits(group, run) for run in range(2)] == [bits(straight, run) for run in range(2)]
    infos = [store.read_info(group_of(older), step) for step in store.chunks(group_of(older))]
    assert [info["schema"] for info in infos] == [2, 2, store.SCHEMA, store.SCHEMA]


def test_without_its_manifest_it_is_put_back_or_trained_anew(older, straight):
    path = group_of(older) / "manifest.json"
    kept = path.read_bytes()
    path.write_bytes(b"")
    before = of_chunks(older)
    output = (
        rf"manifest\.json is damaged.*put manifest\.json back from a copy, or delete {group_of(older)}: its runs are"
    )
    for use in (lambda: trained(older, [A, B]), lambda: sweep.load(older)):
        with pytest.raises(Damaged, match=output):
            use()
    (one,) = status(older).groups
    assert one.state == "damaged" and one.advice.endswith(f"or delete {group_of(older)}")
    assert of_chunks(older) == before
    path.write_bytes(kept)
    assert len(only(older).steps) == 8
    shutil.rmtree(group_of(older))
    assert bits(trained(older, [A, B]), 0) == bits(straight, 0)


@pytest.mark.parametrize("has_manifest", [True, False])
def test_a_sweep_begun_when_a_segment_was_named_beat_goes_on(folder, straight, has_manifest):
    path = group_of(folder) / "manifest.json"
    as_schema_3(group_of(folder))
    assert '"beat": 2' in path.read_text() and "segment" not in path.read_text()
    if has_manifest:
        assert sweep.load(folder).messages == [] and len(only(folder).steps) == 8
        assert only(folder).manifest["plan"] == PAIRS.as_json()
    else:
        path.unlink()
    old = of_chunks(folder)
    sweep.run([A, B], Spec(saves=SAVES), folder)  # without a plan: it is read back
    kept = {name: held for name, held in old.items() if "/state/" not in name}
    assert kept.items() <= of_chunks(folder).items()
    group = only(folder)
    assert [bits(group, run) for run in range(2)] == [bits(straight, run) for run in range(2)]
    infos = [store.read_info(group_of(folder), step) for step in store.chunks(group_of(folder))]
    assert [info["schema"] for info in infos] == [3, 3, store.SCHEMA, store.SCHEMA]
    assert [*infos[0]["group"]["plan"]][:2] == ["lane", "beat"] and infos[-1]["group"]["plan"] == PAIRS.as_json()
    assert store.read_json(path, sealed=True)["schema"] == (3 if has_manifest else store.SCHEMA)


def test_a_manifest_with_beat_that_is_written_again_has_the_new_name_and_schema(folder):
    """An older toylab then refuses it as newer. It would take a plan without `beat` for damage."""
    as_schema_3(group_of(folder))
    sweep.run([A, B], Spec(saves=[*SAVES, SAVES[-1] + 5]), folder)
    about = store.read_json(group_of(folder) / "manifest.json", sealed=True)
    assert about["schema"] == store.SCHEMA and about["plan"] == PAIRS.as_json()


@pytest.mark.parametrize("content", GONE.values(), ids=GONE)
def test_a_manifest_lost_before_the_first_commit_is_decided_anew(tmp_path, content):
    (group,) = sweep.begin([A, B], tmp_path)
    (tmp_path / group).mkdir()
    write(tmp_path / group / "manifest.json", content)
    assert trained(tmp_path, [A, B], saves=(0, 5)).valid.all()


# --- what makes no sense though its digest fits

NO_MANIFEST = {
    "no configs": {"configs": []},
    "configs of another kind": {"configs": [3]},
    "no saves": {"saves": None},
    "saves that descend": {"saves": [5, 0]},
    "saves of another kind": {"saves": [0, True]},
    "saves that are none": {"saves": [0, float("nan")]},
    "no plan": {"plan": {}},
    "a plan with an old name": {"plan": {"lane": 1, "beat": 1, "chunk": 1}},
    "a plan with both names": {"schema": 3, "plan": {"lane": 1, "beat": 1, "segment": 2, "chunk": 1}},
    "a plan of nothing": {"plan": {"lane": 0, "segment": 1, "chunk": 1}},
    "another schema": {"schema": "3"},
}


@pytest.mark.parametrize("change", NO_MANIFEST.values(), ids=NO_MANIFEST)
def test_a_manifest_of_other_types_is_damaged(tmp_path, change):
    folder = write_group(tmp_path, seeds(2), [[0, 10]])
    about = {key: value for key, value in json.loads((folder / "manifest.json").read_text()).items() if key != "digest"}
    (folder / "manifest.json").write_text(json.dumps(seal({**about, **change})))
    with pytest.raises(Damaged, match=r"manifest\.json is damaged: its \w+ (are|is) no.*writes it anew\.$"):
        manifest.read(folder)


@pytest.mark.parametrize(
    "change", [{"groups": [1]}, {"groups": {"000-a": "2"}}, {"group_size": 0}, {"schema": None}, {"command": 3}]
)
def test_an_outline_of_other_types_is_damaged_and_reported(tmp_path, change):
    folder = write_group(tmp_path, seeds(2), [[0, 10]])
    outline(tmp_path, {folder.name: 2, "001-0123456789": 3})
    about = {key: value for key, value in json.loads((tmp_path / "sweep.json").read_text()).items() if key != "digest"}
    (tmp_path / "sweep.json").write_text(json.dumps(seal({**about, **change})))
    with pytest.raises(Damaged, match=r"sweep\.json is damaged: its .*writes it anew\.$"):
        manifest.outline(tmp_path)
    (output,) = sweep.load(tmp_path).messages
    assert "sweep.json is damaged" in output and output.endswith("Whether all groups are begun is not known.")


# --- a chunk's items are judged apart


def spoiled(files):
    """Each file in turn, with a byte of it flipped, or gone."""
    for path in sorted(files):
        content = path.read_bytes()
        for other in (bytes([content[0] ^ 1]) + content[1:], None) if content else ():
            path.unlink() if other is None else path.write_bytes(other)
            yield path.name
            path.write_bytes(content)


def files_of(chunk, item=""):
    return [path for path in (chunk / item).rglob("*") if path.is_file()]


def test_what_is_not_of_the_points_costs_none(folder, straight):
    """An old chunk's resume point, its digests of files (each array has one of its own), Orbax's own files beside."""
    group = group_of(folder)
    assert store.chunks(group) == [5, 40] and store.has_state(group, 5)
    whole, n = [bits(only(folder), run) for run in range(2)], 0
    beside = [path for path in (group / "5").iterdir() if path.is_file()]
    for name in spoiled([*files_of(group / "5", "state"), *beside]):
        read = only(folder)
        assert [bits(read, run) for run in range(2)] == whole and read.messages == [], name
        (one,) = status(folder, verify=True).groups
        assert (one.state, one.advice, one.step) == ("stopped", "", 40), name
        n += 1
    assert n > 8 and any(path.name == "files.json" for path in beside)
    for _ in spoiled(files_of(group / "5", "state")):
        trained(folder, [A, B])
        break
    assert bits(only(folder), 1) == bits(straight, 1) and not list(group.glob("damaged-*"))


def test_damaged_params_cost_no_measure(folder):
    group, whole = group_of(folder), sweep.load(folder)
    for _ in spoiled(files_of(group / "5", "traj")):
        found = sweep.load(folder)
        assert found.measures["train_loss"].tobytes() == whole.measures["train_loss"].tobytes()
        sweep.write_table(folder, folder / "runs.parquet")
        with pytest.raises(Damaged, match=r"traj/.* differs .*the points after step 0 up to 5 are lost"):
            found.params["W_E"]
    for _ in spoiled(
        files_of(group / "40", "traj")
    ):  # of the newest all is left out, so that what is read fits together
        found = sweep.load(folder)
        assert found.params["W_E"].shape[1] == len(found.steps) == 4 and len(found.messages) == 1
        break


def test_the_newest_resume_point_costs_no_point_either_and_its_chunk_is_trained_again(folder, straight):
    group, whole = group_of(folder), only(folder)
    for _ in spoiled(files_of(group / "40", "state")):
        read = only(folder)
        assert bits(read, 0) == bits(whole, 0) and read.messages == []
        reports = []
        sweep.run([A, B], Spec(saves=SAVES), folder, plan=PAIRS, report=reports.append)
        break
    (output,) = [message for progress in reports for message in progress.messages]
    assert "state/" in output and "goes on from the chunk before" in output
    assert [bits(only(folder), run) for run in range(2)] == [bits(straight, run) for run in range(2)]


def test_a_finished_sweep_needs_no_resume_point(tmp_path, straight):
    trained(tmp_path, [A, B])
    group, reports = group_of(tmp_path), []
    for _ in spoiled(files_of(group / "100", "state")):
        before = contents(tmp_path)
        sweep.run([A, B], Spec(saves=SAVES), tmp_path, plan=PAIRS, report=reports.append)
        assert contents(tmp_path) == before and not any(progress.messages for progress in reports)
        assert status(tmp_path, verify=True).finished
        break
    assert np.isfinite(reports[-1].measures["train_loss"]).all() and reports[-1].step == 100
