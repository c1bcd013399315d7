"""What is on disk is what was written; otherwise an error says so."""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pyarrow import parquet

from toylab import store
from toylab.store import Damaged, Lost, Refused, StoreError, chunk, writing

REPOSITORY = Path(__file__).resolve().parents[2]
rng = np.random.default_rng(0)
ITEMS = {
    "traj": {"W_E": rng.normal(size=(2, 3, 5, 4)).astype(np.float32)},
    "measures": {"train_loss": rng.normal(size=(2, 3)).astype(np.float32), "big": rng.normal(size=(2, 3)) > 0},
    "state": {"params.W_E": rng.normal(size=(2, 5, 4)).astype(np.float32), "count": np.array([3, 3], np.int32)},
}
INFO = {"points": 3, "steps": [1, 2, 9], "ended": [False, True], "lengths": [3, 1]}


def same(a, b):
    """Equal names, dtypes, shapes and bits (nan included)."""
    return a.keys() == b.keys() and all(
        a[item].keys() == b[item].keys()
        and all(
            (a[item][name].dtype, a[item][name].shape, a[item][name].tobytes()) == (v.dtype, v.shape, v.tobytes())
            for name, v in b[item].items()
        )
        for item in b
    )


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def folder(tmp_path):
    """A group with chunks at steps 4 and 9."""
    for step in (4, 9):
        store.write_chunk(tmp_path, step, ITEMS, INFO)
    return tmp_path


def noticed_or_unread(folder, step, written):
    """Whether reading the chunk raised Damaged, naming folder and step, or gave what was written."""
    try:
        items, info = store.read_chunk(folder, step)
    except Damaged as error:
        assert str(folder) in str(error) and f"step {step}" in str(error) and "\n" not in str(error)
        return True
    return same(items, written[0]) and info == written[1]


# --- chunks


arrays = st.sampled_from([np.float32, np.int32, np.bool_]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=5, max_side=3))
)
names = st.sampled_from(["W_E", "b", "loss/train", "opt_state.0.mu.W_E", "layers.0.kernel"])


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from(["traj", "measures", "state"]), st.dictionaries(names, arrays), min_size=1))
def test_what_was_written_is_read_bit_for_bit(tmp_path_factory, items):
    folder = tmp_path_factory.mktemp("chunk")
    store.write_chunk(folder, 7, items, {"points": 1})
    found, info = store.read_chunk(folder, 7)
    assert same(found, {name: arrays for name, arrays in items.items() if arrays})
    assert (info["points"], info["step"], info["schema"]) == (1, 7, store.SCHEMA)


def test_reading_some_items_gives_only_these(folder):
    assert store.read_chunk(folder, 4, ("measures",))[0].keys() == {"measures"}
    assert store.read_chunk(folder, 4, ("measures", "probes"))[0].keys() == {"measures"}
    assert store.read_chunk(folder, 4, ())[0] == {}


def test_what_a_chunk_takes_beside_its_arrays_is_known(folder):
    many = {name: {f"{i}.{key}": value for i in range(6) for key, value in ITEMS[name].items()} for name in ITEMS}
    store.write_chunk(folder, 20, many, INFO)
    for step in (4, 20):
        assert sum(path.stat().st_blocks * 512 for path in (folder / str(step)).rglob("*")) < store.AROUND


def test_chunks_are_numbered_and_ascending(tmp_path):
    assert store.chunks(tmp_path / "nowhere") == []
    for name in ("100", "9", "20", "writing-30", "damaged-10", "1e3"):
        (tmp_path / name).mkdir()
    assert store.chunks(tmp_path) == [9, 20, 100]


def test_a_missing_chunk_is_damaged(folder):
    with pytest.raises(Damaged, match="step 5 in"):
        store.read_chunk(folder, 5)


def test_a_chunk_in_another_ones_place_is_damaged(folder):
    shutil.rmtree(folder / "9")
    os.rename(folder / "4", folder / "9")
    with pytest.raises(Damaged, match="step 9"):
        store.read_chunk(folder, 9)


def test_what_an_interrupted_write_left_is_ignored_and_goes_once_another_has_the_folder(folder, tmp_path):
    """Nothing else goes: neither what somebody keeps there under a like name, nor what a link leads to."""
    elsewhere = tmp_path / "elsewhere"
    for path in (folder / f"writing-12-{16 * 'a'}", folder / f"writing-state-4-{16 * 'b'}", folder / "writing-up"):
        path.mkdir()
        (path / "rubbish").write_text("x")
    for name in (f".manifest.json.{16 * 'd'}", ".hidden.json"):
        (folder / name).write_text("{")
    (folder / "writing-up").rename(elsewhere)
    (folder / "writing-up").symlink_to(elsewhere)
    (folder / f"writing-16-{16 * 'c'}").symlink_to(elsewhere)
    assert store.chunks(folder) == [4, 9]
    assert store.newest_sound_chunk(folder)[1]["step"] == 9
    store.clear(store.broken(folder))
    store.write_chunk(folder, 12, ITEMS, INFO)
    assert same(store.read_chunk(folder, 12)[0], ITEMS)
    left = {path.name for path in folder.iterdir() if not path.name.isdecimal()}
    assert (
        left == {"elsewhere", "writing-up", ".hidden.json", f"writing-16-{16 * 'c'}"}
        and (elsewhere / "rubbish").exists()
    )


def test_what_is_set_aside_takes_no_place_of_what_was(folder):
    (folder / "damaged-9").mkdir()
    (folder / "damaged-9" / "kept").write_text("x")
    next(path for path in (folder / "9" / "traj").rglob("*") if path.is_file()).write_bytes(b"")
    _, info, (message,) = store.newest_sound_chunk(folder)
    assert info["step"] == 4 and "damaged-9-1" in message
    assert (folder / "damaged-9" / "kept").exists() and (folder / "damaged-9-1").is_dir()


CHANGES = {
    "dtype": lambda a: a.astype(np.float64),
    "length": lambda a: a[:1],
    "shape": lambda a: a.reshape(-1),
    "one bit": lambda a: np.nextafter(a, np.float32(9), dtype=np.float32) if a.dtype == np.float32 else ~a,
    "bytes": lambda a: np.ascontiguousarray(a).view(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_arrays_that_are_not_as_written_are_noticed(folder, monkeypatch, change):
    """Orbax itself notices nothing: the digests must."""
    restore = chunk.restore

    def altered(path, item, names):
        return {key: change(np.asarray(value)) for key, value in restore(path, item, names).items()}

    monkeypatch.setattr(chunk, "restore", altered)
    with pytest.raises(Damaged, match=r"differs from what was written"):
        store.read_chunk(folder, 4)


def flip(path, bit):
    """Flips one bit of the file; returns what undoes it."""
    before = path.read_bytes()
    after = bytearray(before)
    after[bit // 8] ^= 1 << bit % 8
    path.write_bytes(after)
    return lambda: path.write_bytes(before)


def flipped_everywhere(folder, bits_of):
    """Flips bits_of(file) in every file of the newest chunk, one at a time; returns the flips that went unnoticed."""
    written = store.read_chunk(folder, 9)
    unnoticed, n = [], 0
    for path in files_of(folder / "9"):
        for bit in bits_of(path):
            undo = flip(path, int(bit))
            if not noticed_or_unread(folder, 9, written):
                unnoticed.append((str(path.relative_to(folder)), int(bit)))
            undo()
            n += 1
    assert n > 50
    return unnoticed


def test_a_flipped_bit_in_any_file_is_noticed_or_changes_nothing_read(folder):
    random = np.random.default_rng(1)
    assert not flipped_everywhere(folder, lambda path: random.integers(8 * path.stat().st_size, size=12))


@pytest.mark.slow
def test_a_flipped_bit_in_any_byte_is_noticed_or_changes_nothing_read(folder):
    random = np.random.default_rng(2)
    assert not flipped_everywhere(
        folder, lambda path: 8 * np.arange(path.stat().st_size) + random.integers(8, size=path.stat().st_size)
    )


def test_a_flip_in_stored_numbers_is_noticed(tmp_path):
    """Large incompressible arrays, so that most bits of the file are numbers."""
    items = {"traj": {"W": rng.normal(size=(1, 64, 64)).astype(np.float32)}}
    store.write_chunk(tmp_path, 1, items, INFO)
    largest = max(files_of(tmp_path / "1"), key=lambda path: path.stat().st_size)
    for bit in np.random.default_rng(3).integers(8 * largest.stat().st_size, size=30):
        undo = flip(largest, int(bit))
        with pytest.raises(Damaged):
            store.read_chunk(tmp_path, 1)
        undo()


def test_no_fifo_in_a_chunk_is_waited_for(folder):
    written, n = store.read_chunk(folder, 9), 0
    for path in files_of(folder / "9"):
        content = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        n += noticed_or_unread(folder, 9, written)
        with contextlib.suppress(Damaged):
            store.read_info(folder, 9)
        store.spare_damage(folder, 9)
        path.unlink()
        path.write_bytes(content)
    assert n > 20


def test_a_truncated_or_deleted_file_is_noticed_or_changes_nothing_read(folder):
    written = store.read_chunk(folder, 9)
    for path in files_of(folder / "9"):
        content = path.read_bytes()
        for n_bytes in (0, len(content) // 2, len(content) - 1, None):
            path.unlink() if n_bytes is None else path.write_bytes(content[:n_bytes])
            assert noticed_or_unread(folder, 9, written), (path, n_bytes)
            path.write_bytes(content)
    assert same(store.read_chunk(folder, 9)[0], ITEMS)


def test_resume_points_are_thinned_out_and_the_rest_stays_readable(tmp_path):
    for step in range(1, 13):
        store.write_chunk(tmp_path, step, ITEMS, INFO)
    assert [step for step in range(1, 13) if store.has_state(tmp_path, step)] == [1, 9, 11, 12]
    for step in range(1, 13):
        items, _ = store.read_chunk(tmp_path, step)
        assert same(items, {name: value for name, value in ITEMS.items() if name != "state" or step in (1, 9, 11, 12)})


def test_without_the_newest_resume_points_one_goes_on_from_an_older_one(tmp_path):
    for step in range(1, 13):
        store.write_chunk(tmp_path, step, ITEMS, INFO)
    for step in (11, 12):
        shutil.rmtree(tmp_path / str(step) / "info")
    state, info, messages = store.newest_sound_chunk(tmp_path)
    assert (
        info["step"] == 9
        and same({"state": state}, {"state": ITEMS["state"]})
        and store.chunks(tmp_path) == list(range(1, 10))
    )
    assert [f"step {step}" in message for step, message in zip((12, 11, 10), messages, strict=True)] == [True] * 3
    assert "no resume point" in messages[2]


def test_what_a_newer_version_has_written_is_refused_not_called_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SCHEMA", store.SCHEMA + 1)
    store.write_chunk(tmp_path, 9, ITEMS, INFO)
    monkeypatch.undo()
    with pytest.raises(
        Refused, match=rf"newer toylab .schema {store.SCHEMA + 1}, this one reads up to {store.SCHEMA}.: upgrade"
    ):
        store.newest_sound_chunk(tmp_path)
    assert store.chunks(tmp_path) == [9]


def test_chunks_are_written_in_the_background_and_their_errors_come_out(tmp_path, monkeypatch):
    with store.Writer(tmp_path) as writer:
        writer.commit(1, ITEMS, INFO)
        writer.commit(2, ITEMS, INFO)
    assert store.chunks(tmp_path) == [1, 2]
    monkeypatch.setattr(writing, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    output = pytest.raises(StoreError, match=r"up to step 3 .*No space left.*All points up to step 2 are safe")
    with output, store.Writer(tmp_path) as writer:
        writer.commit(3, ITEMS, INFO)


def test_a_deleted_item_is_noticed(folder):
    for item in ("info", *(name for name in ITEMS if name != "state")):  # a state may go: resume points are thinned out
        os.rename(folder / "9" / item, folder / "away")
        with pytest.raises(Damaged, match="step 9"):
            store.read_chunk(folder, 9)
        os.rename(folder / "away", folder / "9" / item)


FLIPPED = """
import sys, time
from pathlib import Path
import numpy as np
from toylab import store
folder = Path(sys.argv[1])
random = np.random.default_rng(0)
store.write_chunk(folder, 1, {"traj": {name: random.normal(size=(2, 9)).astype("f4") for name in "abcdefgh"}}, {})
for path in [*(folder / "1" / "traj" / "d").iterdir(), folder / "1" / "traj" / "manifest.ocdbt"]:
    content = path.read_bytes()
    for _ in range(15):
        spoiled = bytearray(content)
        spoiled[random.integers(len(content))] ^= 4
        path.write_bytes(spoiled)
        try:
            store.read_chunk(folder, 1)
        except store.Damaged:
            time.sleep(0.01)
    path.write_bytes(content)
"""


def test_reading_a_damaged_chunk_says_so_once_and_prints_nothing(tmp_path):
    assert python(FLIPPED, tmp_path).stderr == ""


# --- falling back


def spoil(folder, step):
    """Damages a chunk where it is sure to be noticed."""
    (folder / str(step) / "info" / "metadata").write_text("{}")


def test_the_newest_sound_chunk_is_the_newest(folder):
    state, info, messages = store.newest_sound_chunk(folder)
    assert same({"state": state}, {"state": ITEMS["state"]}) and info["step"] == 9 and messages == []


def test_a_damaged_newest_chunk_is_set_aside_with_a_message_and_the_one_before_is_taken(folder):
    spoil(folder, 9)
    state, info, messages = store.newest_sound_chunk(folder)
    assert same({"state": state}, {"state": ITEMS["state"]}) and info["step"] == 4
    assert len(messages) == 1 and "step 9" in messages[0] and "damaged-9" in messages[0] and "\n" not in messages[0]
    assert store.chunks(folder) == [4] and (folder / "damaged-9").is_dir()
    assert store.newest_sound_chunk(folder)[2] == []


def test_what_cannot_be_read_now_is_not_called_damaged_and_stays(folder, monkeypatch):
    def no_more_files(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(chunk, "file_digests", no_more_files)
    with pytest.raises(StoreError, match=r"the chunk at step 9 in .* cannot be read: .*Too many open files") as error:
        store.newest_sound_chunk(folder)
    assert not isinstance(error.value, Damaged) and store.chunks(folder) == [4, 9]
    monkeypatch.setattr(os, "open", no_more_files)
    for read, name in ((store.read_json, "manifest.json"), (store.read_arrays, "a.npz")):
        with pytest.raises(StoreError, match=rf"{name} cannot be read") as error:
            read(folder / name)
        assert not isinstance(error.value, Damaged)


def test_a_chunk_thinned_out_while_it_is_read_is_read(folder, monkeypatch):
    digests = chunk.file_digests

    def thinned_out_meanwhile(path, *which):
        shutil.rmtree(path / "state", ignore_errors=True)
        return digests(path, *which)

    monkeypatch.setattr(chunk, "file_digests", thinned_out_meanwhile)
    assert "state" not in store.read_chunk(folder, 4)[0]


def test_where_all_chunks_are_damaged_training_starts_anew(folder):
    spoil(folder, 4)
    spoil(folder, 9)
    state, info, messages = store.newest_sound_chunk(folder)
    assert (state, info, store.chunks(folder)) == (None, {}, [])
    assert ["step 9" in messages[0], "step 4" in messages[1]] == [True, True]


def test_a_chunk_damaged_a_second_time_replaces_the_one_set_aside(folder):
    for _ in range(2):
        spoil(folder, 9)
        store.newest_sound_chunk(folder)
        store.write_chunk(folder, 9, ITEMS, INFO)
    assert same(store.read_chunk(folder, 9)[0], ITEMS)


def test_an_empty_folder_has_no_chunk(tmp_path):
    assert store.newest_sound_chunk(tmp_path) == (None, {}, [])


# --- failed writes


def test_a_failed_write_says_what_is_safe_and_leaves_the_committed_chunks(folder, monkeypatch):
    rename = os.rename

    def full(source, target):
        if Path(target).name == "12":
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(StoreError, match=r"step 12 .*No space left.*up to step 9 are safe.*same command"):
        store.write_chunk(folder, 12, ITEMS, INFO)
    monkeypatch.undo()
    assert sorted(path.name for path in folder.iterdir()) == ["4", "9"]
    assert same(store.read_chunk(folder, 9)[0], ITEMS)


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from toylab import store
folder = Path(sys.argv[1])
small = {"traj": {"W": np.zeros((1, 2, 3), np.float32)}}
store.write_chunk(folder, 1, small, {})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
noise = {"traj": {"W": np.random.default_rng(0).normal(size=(1, 500, 500)).astype(np.float32)}}
for step in (5, 6):
    try:
        store.write_chunk(folder, step, noise, {})
    except store.StoreError as error:
        print(error)
print(sorted(path.name for path in folder.iterdir()))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.write_chunk(folder, 5, noise, {})
print(store.chunks(folder), store.read_chunk(folder, 1)[0]["traj"]["W"].shape)
"""


@pytest.fixture(scope="module")
def full_disk(tmp_path_factory):
    return python(LIMITED, tmp_path_factory.mktemp("full")).stdout.splitlines()


def test_a_full_disk_costs_only_the_chunk_in_hand(full_disk):
    """The system itself refuses to write on: whatever Orbax makes of it, the message and the older chunk stand."""
    first, second, _, after = full_disk
    for step, message in ((5, first), (6, second)):
        assert f"up to step {step} could not be written" in message and "up to step 1 are safe" in message
    assert after == "[1, 5] (1, 2, 3)"


def test_a_failed_write_leaves_nothing_on_the_full_disk(full_disk):
    assert full_disk[2] == "['1']"


def python(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)


# --- manifests, arrays, tables


MANIFEST = {
    "plan": {"lane": 4, "segment": 2},
    "saves": [0, 1, 20],
    "lr": 0.001,
    "keep": None,
    "name": "é→",
    "x": [True],
}


def test_each_object_of_a_list_has_a_line_of_json(tmp_path):
    value = {
        "name": "page",
        "none": [],
        "claims": [{"name": "a", "values": [1.0, None]}, {"name": "b", "at": {"k": [{}]}}],
    }
    store.write_json(tmp_path / "claims.json", value)
    text = (tmp_path / "claims.json").read_text()
    assert '\n  {"name": "a", "values": [1.0, null]},\n  {"name": "b", "at": {"k": [{}]}}\n ]\n}\n' in text
    assert store.read_json(tmp_path / "claims.json") == value


def test_json_comes_back_as_it_was(tmp_path):
    for sealed in (True, False):
        store.write_json(tmp_path / "m.json", MANIFEST, sealed=sealed)
        assert store.read_json(tmp_path / "m.json", sealed=sealed) == MANIFEST


def test_any_flipped_bit_of_a_sealed_manifest_is_noticed_or_changes_nothing_read(tmp_path):
    path = tmp_path / "m.json"
    store.write_json(path, MANIFEST, sealed=True)
    noticed = 0
    n_bytes = path.stat().st_size
    for bit in np.arange(0, 8 * n_bytes, 8) + np.random.default_rng(5).integers(8, size=n_bytes):
        undo = flip(path, int(bit))
        try:
            assert store.read_json(path, sealed=True) == MANIFEST
        except Damaged as error:
            noticed += str(path) in str(error)
        undo()
    assert noticed > 0.8 * n_bytes


NO_JSON = {
    "empty": (b"", "it is empty"),
    "zeros": (bytes(900), "its 900 bytes are all 0"),
    "broken": (b"{", "Expecting"),
    "no text": (b"null\xff", "can't decode"),
    "a list": (b"[]", "it holds no JSON object"),
    "a number": (b"3", "it holds no JSON object"),
    "nothing": (b"null", "it holds no JSON object"),
    "deep lists": (b'{"a": ' + b"[" * 100_000, "it is nested too deeply"),
    "deep objects": (b'{"a": ' * 100_000, "it is nested too deeply"),
    "a key twice": (b'{"saves": [0], "b": {"pid": 1, "pid": 2}}', '"pid" stands in it twice'),
    "half a character": (rb'{"host": "\uD83D"}', "surrogates not allowed"),
    "a long number": (b'{"a": ' + b"9" * 5000 + b"}", "integer string conversion"),
}


@pytest.mark.parametrize(("content", "why"), NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_object_is_damaged_in_one_sentence(tmp_path, content, why):
    path = tmp_path / "m.json"
    path.write_bytes(content)
    for sealed in (True, False):
        with pytest.raises(Damaged, match=rf"m\.json is damaged: .*{why}") as error:
            store.read_json(path, sealed=sealed)
        assert len(str(error.value).removeprefix(str(path))) < 200 and "\n" not in str(error.value)


@pytest.mark.parametrize("unsealed", [b'{"a": 1}', b'{"a": 1, "digest": [1]}', b'{"digest": null}'])
def test_json_that_nobody_sealed_is_damaged(tmp_path, unsealed):
    (tmp_path / "m.json").write_bytes(unsealed)
    with pytest.raises(Damaged, match="its digest does not fit"):
        store.read_json(tmp_path / "m.json", sealed=True)


NO_FILE = {
    "a FIFO": os.mkfifo,
    "a folder": os.mkdir,
    "a device": lambda path: os.symlink("/dev/zero", path),
}


@pytest.mark.parametrize(("kind", "make"), NO_FILE.items(), ids=NO_FILE)
def test_what_is_no_file_is_not_waited_for(tmp_path, kind, make):
    for read, name in ((store.read_json, "m.json"), (store.read_arrays, "a.npz")):
        make(tmp_path / name)
        with pytest.raises(Damaged, match=rf"{name} is damaged: it is {kind}, and must be a file"):
            read(tmp_path / name)
    make(tmp_path / "lock")
    assert not store.is_locked(tmp_path)
    with pytest.raises(Refused, match=r"lock is in the way of the lock .*: remove it"), store.locked(tmp_path):
        raise AssertionError("held")
    make(tmp_path / "owner.json")
    assert store.owner(tmp_path) == "another process"


ARRAYS = {"steps": np.arange(4), "loss/test": np.array([[0.5, np.nan]], np.float32), "valid": np.array([True, False])}
COLUMNS = {"run": ["a", "b"], "step": [0, 10], "loss": [0.5, float("nan")], "order": [None, None]}


def test_arrays_come_back_as_they_were(tmp_path):
    store.write_arrays(tmp_path / "a.npz", ARRAYS)
    assert same({"": store.read_arrays(tmp_path / "a.npz")}, {"": ARRAYS})


def test_an_npz_is_small_the_same_twice_and_read_by_numpy(tmp_path):
    """By LZMA with contexts for numbers of four bytes where that is smaller; what numpy wrote before is read as well."""
    smooth = np.cumsum(np.random.default_rng(0).normal(size=(40, 500)), axis=1).astype(np.float32)
    arrays = ARRAYS | {
        "smooth": smooth,
        "scalar": np.array(3),
        "none": np.zeros((0, 2)),
        "turned": np.asfortranarray(smooth),
    }
    for name in ("a.npz", "b.npz"):
        store.write_arrays(tmp_path / name, arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    np.savez_compressed(tmp_path / "old.npz", names=np.array(sorted(arrays)), **arrays)
    with np.load(tmp_path / "a.npz") as loaded:
        found = {name: loaded[name] for name in loaded.files if name != "names"}
    assert same({"": found}, {"": arrays}) and same({"": store.read_arrays(tmp_path / "old.npz")}, {"": arrays})
    assert (tmp_path / "a.npz").stat().st_size < 0.95 * (tmp_path / "old.npz").stat().st_size
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        methods = {info.filename: info.compress_type for info in archive.infolist()}
        assert archive.testzip() is None
    assert methods["smooth.npy"] == zipfile.ZIP_LZMA and methods["scalar.npy"] == zipfile.ZIP_DEFLATED


def test_missing_arrays_name_the_stage_before(tmp_path):
    with pytest.raises(StoreError, match=r"a\.npz is not there: run the stage before"):
        store.read_arrays(tmp_path / "a.npz")


def test_a_flipped_bit_in_an_npz_is_noticed_or_changes_nothing_read(tmp_path):
    path, random, wrong = tmp_path / "a.npz", np.random.default_rng(4), []
    store.write_arrays(path, ARRAYS)
    n_bits = 8 * path.stat().st_size
    for bit in [*random.integers(n_bits, size=300), *range(n_bits - 8 * 22, n_bits)]:  # the last 22 bytes: end record
        undo = flip(path, int(bit))
        try:
            wrong += [] if same({"": store.read_arrays(path)}, {"": ARRAYS}) else [bit]
        except Damaged as error:
            assert str(path) in str(error)
        undo()
    assert wrong == []


def test_an_npz_is_never_unpickled(tmp_path):
    """And what numpy says of it, how to have it unpickled, is not passed on."""
    for arrays in ({"names": np.array(["x"]), "x": np.array([{}], object)}, {"names": np.array(["x"], object)}):
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(Damaged, match="holds Python objects, which are never read") as error:
            store.read_arrays(tmp_path / "a.npz")
        assert "pickle" not in str(error.value).removeprefix(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "it is no .npz"), (bytes(90), "it is no .npz"), (b"\x80\x04K\x01.", "it is no .npz"), (b"PK\3\4", "zip")],
)
def test_what_is_no_npz_is_damaged_without_a_word_of_pickles(tmp_path, content, why):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(Damaged, match=why) as error:
        store.read_arrays(tmp_path / "a.npz")
    assert "pickle" not in str(error.value).removeprefix(str(tmp_path))


def test_an_npz_of_others_or_with_an_array_twice_is_damaged(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(2))
    with pytest.raises(Damaged, match="lacks the list of its arrays"):
        store.read_arrays(tmp_path / "a.npz")
    store.write_arrays(tmp_path / "a.npz", ARRAYS)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("steps.npy", archive.read("valid.npy"))
    with pytest.raises(Damaged, match="stand in it twice"):
        store.read_arrays(tmp_path / "a.npz")


def test_a_table_comes_back_as_it_was(tmp_path):
    store.write_table(tmp_path / "t.parquet", COLUMNS)
    found = parquet.read_table(tmp_path / "t.parquet").to_pydict()
    assert found.keys() == COLUMNS.keys() and str(found) == str(COLUMNS)


WRITERS = [
    (store.write_json, {"a": 1}, {"a": 2}),
    (store.write_arrays, ARRAYS, {"a": np.zeros(3)}),
    (store.write_table, COLUMNS, {"a": [1]}),
    (store.write_text, "old", "new"),
]
BY_NAME = {"argvalues": WRITERS, "ids": [writer.__name__ for writer, *_ in WRITERS]}


@pytest.mark.parametrize(("write", "old", "new"), **BY_NAME)
def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch, write, old, new):
    def full(*_):
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    write(path, old)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match=r"file could not be written .*No space left.*unchanged"):
        write(path, new)
    assert path.read_bytes() == before and files_of(tmp_path) == [path]


@pytest.mark.parametrize(("write", "old", "new"), **BY_NAME)
def test_a_file_is_replaced_only_when_the_new_one_is_whole(tmp_path, monkeypatch, write, old, new):
    """At the moment of replacing, the new file lies beside, complete, and the old one is untouched."""
    path, seen = tmp_path / "file", []
    write(path, old)
    before, replace = path.read_bytes(), os.replace

    def watched(beside, target):
        seen.append((Path(beside).read_bytes(), Path(target).read_bytes()))
        replace(beside, target)

    monkeypatch.setattr(os, "replace", watched)
    write(path, new)
    assert seen == [(path.read_bytes(), before)] and path.read_bytes() != before and files_of(tmp_path) == [path]


def test_an_array_that_cannot_be_written_leaves_nothing_beside(tmp_path):
    with pytest.raises(ValueError, match="Object arrays"):
        store.write_arrays(tmp_path / "file", {"a": np.array([{}], object)})
    assert files_of(tmp_path) == []


# --- the lock


HOLD = """
import sys, time
from pathlib import Path
from toylab import store
with store.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_kill_frees_the_lock(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(Refused, match=rf"in use by process {holder.pid} on .*another --out"),
            store.locked(tmp_path),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with store.locked(tmp_path):
        assert store.owner(tmp_path) == f"process {os.getpid()} on {os.uname().nodename}"
    with store.locked(tmp_path):
        pass


def test_a_folder_taken_over_takes_no_chunk_from_its_former_owner(tmp_path):
    with store.locked(tmp_path) as mine:
        mine()
        (tmp_path / "lock").unlink()  # as on a file system that keeps no locks between machines
        with store.locked(tmp_path) as successor:
            with pytest.raises(Lost, match=r"taken over by process \d+ on"):
                store.write_chunk(tmp_path, 9, ITEMS, INFO, mine)
            assert store.chunks(tmp_path) == []
            store.write_chunk(tmp_path, 9, ITEMS, INFO, successor)
    assert store.chunks(tmp_path) == [9]


@pytest.mark.parametrize("fails", ["before the commit", "while it writes"])
def test_a_process_that_lost_its_group_leaves_what_the_new_owner_writes(tmp_path, monkeypatch, fails):
    theirs = tmp_path / f"writing-9-{16 * 'e'}"
    save = writing.save

    def saved(path, items, record):
        save(path, items, record)
        theirs.mkdir()
        (theirs / "half").write_text("x")
        if fails == "while it writes":
            raise OSError(errno.ENOENT, "No such file or directory")

    with store.locked(tmp_path) as mine, contextlib.ExitStack() as successor:

        def taken_over(path, items, record):
            (tmp_path / "lock").unlink()  # as on a file system that keeps no locks between machines
            successor.enter_context(store.locked(tmp_path))
            saved(path, items, record)

        monkeypatch.setattr(writing, "save", taken_over)
        with pytest.raises(Lost, match="taken over"):
            store.write_chunk(tmp_path, 9, ITEMS, INFO, mine)
    assert (theirs / "half").exists() and [path.name for path in tmp_path.glob("writing-*")] == [theirs.name]


SYSTEM = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EIO: "see to the disk, or the connection to it",
    errno.EROFS: "mount its file system for writing",
    errno.EACCES: "give yourself the right to write there",
    errno.ENOENT: "put back the folder, or what of it was deleted",
    errno.EBUSY: "mend that",
}


@pytest.mark.parametrize("number", SYSTEM)
@pytest.mark.parametrize("as_orbax_tells_it", [True, False])
def test_what_the_system_refuses_is_reported_by_its_own_name_with_what_to_do(
    folder, monkeypatch, number, as_orbax_tells_it
):
    """To make room helps where there is none, and nowhere else."""

    def save(path, items, record):
        path.mkdir()
        if as_orbax_tells_it:
            raise ValueError(f"UNKNOWN: Error writing \"W/0.0\" in OCDBT: {300 * 'x'} [os_error_code='{number}']")
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(writing, "save", save)
    with pytest.raises(StoreError) as reports:
        store.write_chunk(folder, 12, ITEMS, INFO)
    assert str(reports.value) == (
        f"the points up to step 12 could not be written to {folder} ({os.strerror(number)}). All points up to step 9 are "
        f"safe; {SYSTEM[number]} and run the same command again: it goes on from there."
    )
    assert store.chunks(folder) == [4, 9] and not list(folder.glob("writing-*"))


def test_what_no_disk_could_save_is_no_matter_of_the_disk(folder, monkeypatch):
    with pytest.raises(ValueError, match=r"^measures/none has no numbers in it"):
        store.write_chunk(folder, 12, {"measures": {"none": np.zeros((2, 3, 0))}}, INFO)
    monkeypatch.setattr(writing, "save", lambda *_: (_ for _ in ()).throw(TypeError("no such kind of array")))
    with pytest.raises(TypeError, match="no such kind"):
        store.write_chunk(folder, 12, ITEMS, INFO)


@pytest.mark.parametrize("when", ["before the write", "while it writes"])
@pytest.mark.parametrize("how", ["renamed", "deleted", "another in its place"])
def test_a_folder_that_goes_while_it_is_written_to_is_reported_as_that(tmp_path, monkeypatch, when, how):
    group = tmp_path / "runs" / "000-a"
    group.mkdir(parents=True)

    def go():
        shutil.rmtree(group) if how == "deleted" else group.rename(tmp_path / "moved")
        if how == "another in its place":
            group.mkdir()

    def saves(path, items, record):
        go()
        path.mkdir(parents=True)

    with store.locked(group) as mine, monkeypatch.context() as patched:
        if when == "while it writes":
            patched.setattr(writing, "save", saves)
        else:
            go()
        with pytest.raises(
            store.Gone, match=r"was renamed, deleted or unmounted .* Put it back, and run the same command"
        ):
            store.write_chunk(group, 9, ITEMS, INFO, mine)
    assert not list(tmp_path.rglob("writing-*"))


@pytest.mark.parametrize(
    "name", ["gs:", "logs:", "a\udcff", 256 * "x", 128 * "é", "a\0b", "a[0]", "/".join(900 * ["abcd"])]
)
def test_names_that_cannot_be_are_refused_before_anything_is_made(tmp_path, name):
    for made in (store.check_name, lambda folder: store.make_folder(folder, 0)):
        with pytest.raises(Refused, match=r"^--out leads to [^\n]{1,300}\.$"):
            made(tmp_path / name / "runs")
    with pytest.raises(Refused, match="taken for a place in a cloud"):
        store.check_name(Path("/gs/bucket"))
    store.check_name(tmp_path / "gs:x" / (255 * "x"))
    assert list(tmp_path.iterdir()) == []


def test_whether_a_folder_is_held_is_seen_without_creating_anything(tmp_path):
    assert not store.is_locked(tmp_path) and list(tmp_path.iterdir()) == []
    with store.locked(tmp_path):
        assert store.is_locked(tmp_path)
    assert not store.is_locked(tmp_path)


def test_an_error_inside_frees_the_lock(tmp_path):
    with pytest.raises(KeyError), store.locked(tmp_path):
        raise KeyError
    with store.locked(tmp_path):
        pass


# --- the folder


def tree(folder):
    return sorted(str(path) for path in folder.rglob("*"))


def test_a_folder_is_made_with_its_parents(tmp_path):
    for _ in range(2):
        store.make_folder(tmp_path / "a" / "b" / "runs", 1000)
        assert (tmp_path / "a" / "b" / "runs").is_dir()


@pytest.mark.parametrize("below", ["", "grokking", "grokking/runs"])
def test_a_file_in_the_way_is_refused(tmp_path, below):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(Refused, match=r"out, which is a file: give a folder"):
        store.make_folder(tmp_path / "out" / below, 0)
    assert tree(tmp_path) == [str(tmp_path / "out")] and (tmp_path / "out").read_text() == "mine"


def test_a_folder_that_is_not_writable_is_refused(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    os.chmod(tmp_path / "out", 0o555)
    if os.access(tmp_path / "out", os.W_OK):  # root may write anywhere
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path / "out")
    with pytest.raises(Refused, match=r"out, which is not writable"):
        store.make_folder(tmp_path / "out" / "grokking" / "runs", 0)
    assert tree(tmp_path) == [str(tmp_path / "out")]


def test_a_disk_too_small_is_refused_with_both_sizes(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 5_000_000, 5_000_000))
    with pytest.raises(Refused, match=r"5 MB free: this sweep needs 2\.5 GB"):
        store.make_folder(tmp_path / "out" / "runs", 2_500_000_000)
    assert tree(tmp_path) == []
    store.make_folder(tmp_path / "out" / "runs", 5_000_000)


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (64e6, "64 MB"), (2.5e9, "2.5 GB"), (3e13, "30 TB")],
)
def test_sizes_read_well(n_bytes, text):
    assert store.size(n_bytes) == text


@settings(max_examples=200)
@example(999_600_000)
@given(st.integers(0, 10**14))
def test_sizes_are_never_in_powers_of_ten(n_bytes):
    assert "e" not in store.size(n_bytes).replace("bytes", "")


def test_the_json_of_a_chunk_is_readable_without_toylab(folder):
    """The info is plain JSON: whoever has only the files can see what they are."""
    info = json.loads((folder / "4" / "info" / "metadata").read_text())
    assert info["steps"] == [1, 2, 9] and info["arrays"]["traj"]["W_E"]["dtype"] == "<f4"
