"""Params read chunk by chunk: what is kept, what is checked and how often, what is read ahead."""

import os
import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from sweeps_on_disk import loss, seeds, write_group

from toylab import store
from toylab.explore import open_folder
from toylab.explore.recordings import chunks
from toylab.explore.recordings.chunks import Chunks

STEPS = [[0, 1], [2, 3], [4, 5], [6, 7]]
BYTES = 2 * 2 * 4 * 4  # of W [2, 2, 4] in a chunk


@pytest.fixture
def group(tmp_path):
    return write_group(tmp_path / "runs", seeds(2), STEPS)


@pytest.fixture
def reads(monkeypatch):
    """Steps of chunks that are read: with their digests, and without."""
    found = {"checked": [], "trusted": []}
    own, plain = store.read_chunk, chunks.restore

    def checked(folder, step, *more, **how):
        found["checked"].append(step)
        return own(folder, step, *more, **how)

    def trusted(path, item, names):
        found["trusted"].append(int(path.name))
        return plain(path, item, names)

    monkeypatch.setattr(store, "read_chunk", checked)
    monkeypatch.setattr(chunks, "restore", trusted)
    return found


def w(run, step):
    return [float(loss(seeds(1, run), [step])[0, 0])] * 4


def test_a_chunk_is_checked_once_and_then_kept_or_trusted(group, reads):
    held = Chunks(limit=2 * BYTES)
    for step, chunk, point in ((0, 1, 0), (1, 1, 1), (2, 3, 0), (0, 1, 0), (4, 5, 0), (2, 3, 0)):
        assert held.at(group, chunk, 1, point)["W"].tolist() == w(1, step)
    assert reads == {"checked": [1, 3, 5], "trusted": [3]}  # of two that are kept, 3 had to go for 5
    held.close()


def test_what_is_given_is_a_copy(group):
    held = Chunks()
    held.at(group, 1, 0, 0)["W"][:] = 9
    assert held.at(group, 1, 0, 0)["W"].tolist() == w(0, 0)


def test_a_chunk_larger_than_what_may_be_kept_is_kept_for_one_run(group, reads):
    held = Chunks(limit=BYTES)
    for run, point in ((0, 0), (0, 1), (1, 1), (1, 0)):
        assert held.at(group, 1, run, point)["W"].tolist() == w(run, point)
    assert reads == {"checked": [1], "trusted": [1]}
    assert sum(value.nbytes for _, own in held._kept.values() for value in own.values()) <= BYTES


def test_files_that_change_are_checked_again(group, reads):
    held = Chunks()
    held.at(group, 1, 0, 0)
    path = max((group / "1" / "traj").rglob("*"), key=lambda one: one.stat().st_size if one.is_file() else 0)
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))
    os.utime(path, ns=(0, 0))
    with pytest.raises(LookupError, match=r"the chunk at step 1 in .* is damaged: .*\.$"):
        held.at(group, 1, 0, 0)
    path.write_bytes(whole)
    os.utime(path, ns=(1, 1))
    assert held.at(group, 1, 0, 0)["W"].tolist() == w(0, 0) and reads["checked"] == [1, 1, 1]
    shutil.rmtree(group / "1")
    with pytest.raises(LookupError, match=r"the chunk at step 1 in .* is gone"):
        held.at(group, 1, 0, 0)


def test_a_chunk_that_cannot_be_read_now_is_told(group, monkeypatch):
    held = Chunks()

    def refused(*_, **__):
        raise store.errors.Unread("it cannot be read: Permission denied.")

    monkeypatch.setattr(store, "read_chunk", refused)
    with pytest.raises(LookupError, match=r"Permission denied\.$"):
        held.at(group, 1, 0, 0)


def test_the_chunk_beside_is_read_ahead_the_way_that_steps_go(group, reads):
    held = open_folder(group.parent.parent)[""]
    for at, wanted in ((0, [1]), (1, [1, 3]), (2, [1, 3, 5]), (3, [1, 3, 5]), (4, [1, 3, 5, 7])):
        held.params(0, at)
        for future in list(held._chunks._ahead.values()):
            future.result()
        assert sorted(reads["checked"]) == wanted
    held.close()


def test_a_leap_reads_nothing_ahead(group, reads):
    held = open_folder(group.parent.parent)[""]
    for at in (0, 7, 1):
        held.params(0, at)
    assert not held._chunks._ahead and reads["checked"] == [1, 7]
    held.params(1, 2)  # another run
    assert not held._chunks._ahead
    held.close()


def test_what_is_closed_still_reads_what_is_asked_for(group):
    held = open_folder(group.parent.parent)[""]
    held.close()
    assert [held.params(0, at)["W"].tolist() for at in range(8)] == [w(0, step) for step in range(8)]


def test_damage_that_is_met_ahead_is_told_when_it_is_looked_at(group):
    held = open_folder(group.parent.parent)[""]
    for path in (group / "3" / "traj").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    held.params(0, 0), held.params(0, 1)
    for future in list(held._chunks._ahead.values()):
        assert isinstance(future.exception(), LookupError)
    assert not held.messages
    with pytest.raises(LookupError, match="step 3"):
        held.params(0, 2)
    assert len(held.messages) == 1
    held.close()


def test_several_threads_may_read(group):
    held, wrong = Chunks(limit=2 * BYTES), []

    def walk(seed):
        for step in np.random.default_rng(seed).integers(0, 8, 40).tolist():
            if held.at(group, step | 1, seed % 2, step % 2)["W"].tolist() != w(seed % 2, step):
                wrong.append(step)

    threads = [threading.Thread(target=walk, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_memory_is_given_back_where_the_system_knows_how(monkeypatch):
    asked = []

    def absent(_):
        asked.append("absent")
        raise OSError("no C library")

    library = SimpleNamespace(malloc_trim=lambda kept: asked.append(kept))
    monkeypatch.setattr(chunks.ctypes, "CDLL", lambda _: library)
    chunks.give_back()
    monkeypatch.setattr(chunks.ctypes, "CDLL", absent)
    chunks.give_back()
    assert asked == [0, "absent"]
