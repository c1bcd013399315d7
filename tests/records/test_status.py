"""A sweep's status is read from its folders alone. Asking for it changes nothing."""

import os
import shutil
from pathlib import Path

import pytest
from sweeps_on_disk import names, outline, seeds, write_group

import run_sweep
from toylab import store
from toylab.records import notes
from toylab.records.status import status
from toylab.records.status_text import as_text, totals
from toylab.store import chunk, files

STEPS = [[0, 10], [20, 40], [80]]


def contents(folder):
    paths = sorted(folder.rglob("*"))
    return {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None) for path in paths}


def a_group(sweep, number, n_runs, chunks=STEPS, **more):
    return write_group(
        sweep, seeds(n_runs, start=100 * number), chunks, number=number, saves=[0, 10, 20, 40, 80], **more
    )


@pytest.fixture
def sweep(written, tmp_path):
    """A copy, to change, of the sweep in all states."""
    return Path(shutil.copytree(written, tmp_path / "grokking" / "runs"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A group finished, one ended early, one stopped, one failed, one damaged, one not begun."""
    runs = tmp_path_factory.mktemp("written") / "grokking" / "runs"
    groups = [
        a_group(runs, 0, 3),
        a_group(runs, 1, 2, STEPS[:2], lengths=[1, 2], diverged=[0, None]),
        a_group(runs, 2, 4, STEPS[:2]),
        a_group(runs, 3, 5, STEPS[:1]),
        a_group(runs, 4, 6),
    ]
    store.write_json(groups[3] / "failed.json", {"error": "ValueError: too wide", "kind": "ValueError", "step": 10})
    shutil.rmtree(groups[4] / "40")
    names = {group.name: n for group, n in zip(groups, (3, 2, 4, 5, 6), strict=True)}
    outline(runs, {**names, "005-0123456789": 7})
    return runs


def test_every_state_is_reported_with_what_to_type(sweep):
    with store.locked(sorted(sweep.glob("002-*"))[0]):
        before = contents(sweep)
        found = status(sweep.parent)
        assert contents(sweep) == before
    assert [one.state for one in found.groups] == ["finished", "finished", "going", "failed", "damaged", "not begun"]
    assert [one.runs for one in found.groups] == [3, 2, 4, 5, 6, 7]
    assert [one.step for one in found.groups] == [80, 40, 40, 10, 10, None]
    assert [(one.ended, one.diverged) for one in found.groups[:2]] == [(0, 0), (2, 1)]
    text = as_text(found)
    assert "going: process" in text and "failed: ValueError: too wide" in text
    assert "a chunk between steps 10 and 80 is missing" in text
    assert f"delete the folders 80 in {sweep / found.groups[4].group}, then go on." in text
    assert "total: 6 groups, 27 runs: 5 finished, 4 going, 5 failed, 6 damaged, 7 not begun" in text
    assert text.endswith("to go on: python run_sweep.py grokking --seeds 9")


def test_cells_stand_under_their_heads(sweep):
    head, *rows = as_text(status(sweep)).splitlines()[:7]
    for name in ("runs", "step", "ended"):
        end = head.index(name) + len(name)
        assert all(row[end - 1] != " " and row[end : end + 2] == "  " for row in rows)


def test_a_group_that_nobody_holds_any_more_is_stopped(sweep):
    group = sorted(sweep.glob("002-*"))[0]
    with store.locked(group):
        pass
    (one,) = [one for one in status(sweep).groups if one.group == group.name]
    assert one.state == "stopped" and one.detail.startswith("last held by process")


def test_a_flipped_bit_is_found_where_every_byte_is_read(tmp_path):
    folder = a_group(tmp_path / "runs", 0, 3)
    traj = (path for path in (folder / "40" / "traj").rglob("*") if path.is_file())
    victim = max(traj, key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(bytes(content))
    (one,) = status(tmp_path, verify=True).groups
    assert one.state == "damaged" and "step 40" in one.detail and "delete the folders 40, 80" in one.advice


def test_what_is_damaged_and_costs_no_point_is_reported_where_every_byte_is_read(tmp_path):
    folder = a_group(tmp_path / "runs", 0, 3)
    (folder / "40" / "files.json").write_text("{}")
    next(path for path in (folder / "80" / "state").rglob("*") if path.is_file()).unlink()
    assert [one.detail for one in status(tmp_path).groups] == [""]
    found = status(tmp_path, verify=True)
    (one,) = found.groups
    assert found.finished and one.advice == ""
    assert one.detail == "files.json of the chunk at step 40 is damaged (and 1 more); no point is lost by it"


def test_a_damaged_outline_hides_no_group(sweep):
    (sweep / "sweep.json").write_bytes(b"")
    found = status(sweep)
    assert [one.state for one in found.groups] == ["finished", "finished", "stopped", "failed", "damaged"]
    text = as_text(found)
    assert "sweep.json is damaged: it is empty. The same training command writes it anew." in text
    assert "Whether all groups are begun is not known.\nto go on: python run_sweep.py grokking" in text
    for folder in sorted(sweep.glob("00[1-9]-*")):
        shutil.rmtree(folder)
    assert not status(sweep).finished


def test_a_newest_chunk_that_lacks_a_file_is_made_anew(tmp_path):
    folder = a_group(tmp_path / "runs", 0, 3)
    next(path for path in (folder / "80" / "measures").rglob("*") if path.is_file()).unlink()
    (one,) = status(tmp_path).groups
    assert one.state == "damaged" and "files are missing" in one.detail and one.advice == ""


def test_an_older_sweep_has_its_command_in_the_pages_manifest(tmp_path):
    for part in ("one", "two"):
        a_group(tmp_path / "page" / "runs" / part, 0, 2, STEPS[:1])
    command = "python run_sweep.py page --part one"
    store.write_json(
        tmp_path / "page" / "manifest.json", {"experiment": "page", "parts": {"one": {"command": command}}}
    )
    found = status(tmp_path / "page")
    assert [(one.part, one.state) for one in found.groups] == [("one", "stopped"), ("two", "stopped")]
    assert found.commands == [command, f"python run_sweep.py page --out {tmp_path}"]
    assert as_text(found).startswith("part  group")


def test_the_exit_status_says_whether_all_is_finished(sweep, tmp_path, capsys):
    assert run_sweep.main(["status", str(sweep.parent)]) == 3
    a_group(tmp_path / "done" / "runs", 0, 1)
    assert run_sweep.main(["status", str(tmp_path / "done"), "--verify"]) == 0
    output = capsys.readouterr().out.splitlines()
    assert output[-1] == "total: 1 group, 1 runs: 1 finished"
    store.write_json(tmp_path / "done" / "manifest.json", {"experiment": "done"})  # a page's, not a group's
    assert run_sweep.main(["status", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path} holds no runs: give one of {tmp_path / 'done'}")
    assert run_sweep.main(["status", str(tmp_path / "nowhere")]) == 2


WRONG = [
    "",
    "\0" * 64,
    "[]",
    "3",
    "null",
    "{",
    "[" * 100_000,
    '{"error": 1, "since": [], "pid": {}, "command": []}',
    "{}",
]


@pytest.mark.parametrize("name", ["failed.json", "owner.json", "a FIFO", "a folder"])
@pytest.mark.parametrize("content", WRONG)
def test_small_files_that_say_nothing_stand_in_the_way_of_nothing(sweep, name, content):
    """A power cut leaves them empty, or any bytes."""
    group = sorted(sweep.glob("002-*"))[0]
    for file in ("failed.json", "owner.json") if name.startswith("a ") else (name,):
        if name == "a FIFO":
            os.mkfifo(group / file)
        elif name == "a folder":
            (group / file).mkdir()
        else:
            (group / file).write_text(content)
    (sweep.parent / "manifest.json").write_text(content)
    found = status(sweep.parent)
    (one,) = [one for one in found.groups if one.group == group.name]
    if name == "owner.json":
        assert (one.state, one.detail) == ("stopped", "last held by another process")
    else:
        assert one.state == "failed" and "failed.json is damaged" in one.detail
    assert [one.state for one in found.groups].count("finished") == 2 and len(as_text(found).splitlines()) <= 10


def test_what_a_failure_says_is_reported_in_a_line(sweep):
    group = sorted(sweep.glob("003-*"))[0]
    store.write_json(group / "failed.json", {"error": "ValueError: \x1b[2Jtoo wide\nby 7 " + "x" * 1000})
    (one,) = [one for one in status(sweep).groups if one.group == group.name]
    assert one.detail == "ValueError: �[2Jtoo wide"


@pytest.mark.parametrize("content", ["", "[]", '{"parts": []}', '{"parts": {"one": 3}}', '{"command": 3}'])
def test_a_pages_manifest_that_is_none_is_reported_with_what_to_do(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(store.Damaged, match=r"manifest\.json is damaged: .*\. Put it back from a copy or delete it"):
        notes.page_record(tmp_path)


def test_names_of_groups_that_are_there_twice_or_not_named_are_reported_once(sweep):
    extra = a_group(sweep, 6, 1)
    found = [one.group for one in status(sweep).groups]
    assert found.count(extra.name) == 1 and len(found) == 7 and names(seeds(1, start=600))[0] in extra.name


def test_several_folders_get_a_line_each_and_the_worst_status(sweep, tmp_path, capsys):
    other = tmp_path / "other"
    a_group(other / "runs", 0, 3)
    assert run_sweep.main(["status", str(other), str(other / "runs")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{folder}: 1 group, 3 runs: 3 finished" for folder in (other, other / "runs")
    ]
    assert run_sweep.main(["status", str(other), str(sweep.parent)]) == 3
    assert capsys.readouterr().out.splitlines()[1] == f"{sweep.parent}: {totals(status(sweep))}"
    assert run_sweep.main(["status", str(sweep.parent), str(tmp_path / "nowhere"), str(other)]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2 and "nowhere" in err


@pytest.mark.parametrize("n", [2, 6])
def test_each_record_is_read_once_however_many_groups_there_are(n, tmp_path, monkeypatch):
    """sweep.json apart, which is read a few times for all groups together."""
    groups = [a_group(tmp_path, number, 1, STEPS[:2]) for number in range(n)]
    outline(tmp_path, {group.name: 1 for group in groups})
    read, reads = files.read_json, []

    def counted(path, **more):
        reads.append(path)
        return read(path, **more)

    for module in (store, chunk, files):
        monkeypatch.setattr(module, "read_json", counted)
    status(tmp_path)
    per_group = [path for path in reads if path.name != "sweep.json" and path.parents[0] != tmp_path]
    assert sum(path.name == "manifest.json" for path in per_group) == n + 1  # that of 000 says whether it was recorded
    assert sum(path.name == "files.json" for path in per_group) == 2 * n  # of two chunks each
    assert len(reads) - len(per_group) <= 5
