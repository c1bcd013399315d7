"""Bytes are on the disk before a name points to them, and names before anything relies on them. What a power cut leaves
of a whole run stands in test_power.py."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from toylab import store
from toylab.importers import safetensors
from toylab.store import durable


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """What was asked of the system, in order: ("sync" | "replace" | "mkdir", name)."""
    reports, opened = [], {}
    real_open, fsync, replace, mkdir = os.open, os.fsync, os.replace, os.mkdir

    def watched_open(path, *rest, **more):
        handle = real_open(path, *rest, **more)
        opened[handle] = Path(path).name
        return handle

    monkeypatch.setattr(os, "open", watched_open)
    monkeypatch.setattr(os, "fsync", lambda handle: (reports.append(("sync", opened.get(handle))), fsync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (reports.append(("replace", Path(b).name)), replace(a, b))[1])
    monkeypatch.setattr(
        os, "mkdir", lambda path, *rest: (reports.append(("mkdir", Path(path).name)), mkdir(path, *rest))[1]
    )
    return reports


WRITERS = {
    "json": lambda path: store.write_json(path, {"a": 1}, sealed=True),
    "text": lambda path: store.write_text(path, "a"),
    "npz": lambda path: store.write_arrays(path, {"a": np.zeros(3)}),
    "parquet": lambda path: store.write_table(path, {"a": [1]}),
    "safetensors": lambda path: safetensors.write(path, {"a": np.zeros(3, np.float32)}, {}),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_bytes_come_first_then_the_name_then_the_folder(tmp_path, calls, write):
    write(tmp_path / "file")
    (first, beside), *rest = calls
    assert (first, beside.startswith(".file.")) == ("sync", True)
    assert rest == [("replace", "file"), ("sync", tmp_path.name)]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_new_folder_is_known_to_the_one_above_before_anything_is_in_it(tmp_path, calls):
    durable.make(tmp_path / "a" / "b")
    made, synced = ([name for kind, name in calls if kind == which] for which in ("mkdir", "sync"))
    assert {"a", "b"} <= set(made) and synced == [tmp_path.name, "a"] and calls[-1][0] == "sync"
    calls.clear()
    durable.make(tmp_path / "a" / "b")  # another process may have made it, and not be so far
    assert ("sync", "a") in calls


def test_a_rename_is_known_to_both_folders(tmp_path, calls):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "file").write_text("x")
    calls.clear()
    durable.rename(tmp_path / "one" / "file", tmp_path / "two" / "file")
    assert calls == [("sync", "two"), ("sync", "one")]


def test_a_line_is_appended_and_brought_to_the_disk(tmp_path, calls):
    for line in ("a\n", "b\n"):
        durable.append(tmp_path / "log", line)
    assert (tmp_path / "log").read_text() == "a\nb\n" and len(calls) == 3  # the new file's folder too


def test_what_cannot_be_written_leaves_nothing_and_a_folder_that_cannot_be_synced_is_let_be(tmp_path, monkeypatch):
    def full(beside):
        beside.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        durable.replace(tmp_path / "file", full)
    assert list(tmp_path.iterdir()) == []

    def none(handle):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", none)
    durable.sync(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="Invalid"):
        durable.sync(tmp_path / "file")


LEFT = {
    "store/durable.py": "the one place",
    "launch/ray/messages.py": "is removed when its driver ends",
    "launch/ray/worker.py": "locks in the folder of temporary files",
    "sweep/ahead/compiled.py": "a program and its answer, in a folder of temporary files",
    "sweep/ahead/child.py": "the same",
    "lab/events.py": "is cut back to its complete records and continued when training goes on",
}


def test_nothing_else_makes_renames_or_writes_what_is_to_stay():
    """But `write_text` and `write_bytes` of the file beside, which `durable.replace` brings to the disk."""
    package, found = Path(durable.__file__).parents[1], []
    plain = re.compile(
        r"\.mkdir\(|makedirs\(|os\.(rename|replace)\(|(?<!beside)(?<!store)\.write_(text|bytes)\(|shutil\.move\("
    )
    for path in package.rglob("*.py"):
        if str(path.relative_to(package)) not in LEFT:
            found += [
                f"{path.name}: {line.strip()}" for line in path.read_text("utf-8").splitlines() if plain.search(line)
            ]
    assert found == []
