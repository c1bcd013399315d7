"""Arrays of chunks are read by tensorstore, and by Orbax where they do not lie as it puts them today."""

import ml_dtypes
import numpy as np
import pytest

from toylab import store
from toylab.store import orbax

ARRAYS = {
    "W": np.arange(6, dtype=np.float32).reshape(1, 2, 3),
    "probe/key": np.array([[np.nan, np.inf, -0.0]], np.float32),
    "layers.0.W": np.arange(4, dtype=np.int32).reshape(1, 4),
    "λ %41 b": np.array([[True, False]]),
    "half": np.array([[1.5, -2]], ml_dtypes.bfloat16),
    "large": np.random.default_rng(0).normal(size=(3, 50, 40)).astype(np.float32),
}
INFO = {"points": 1, "steps": [0], "ended": [False], "lengths": [1], "diverged": [None]}


def bits(arrays):
    return {name: (array.dtype, array.shape, np.asarray(array).tobytes()) for name, array in arrays.items()}


@pytest.fixture
def group(tmp_path):
    store.write_chunk(tmp_path, 0, {"measures": ARRAYS, "traj": {"W": ARRAYS["W"]}}, INFO)
    return tmp_path


def unused():
    raise AssertionError("Orbax was asked")


def test_arrays_of_any_name_and_dtype_come_back_bit_for_bit_without_orbax(group, monkeypatch):
    monkeypatch.setattr(orbax, "_orbax", unused)
    assert bits(store.read_chunk(group, 0)[0]["measures"]) == bits(ARRAYS)


def test_orbax_reads_the_same(group, monkeypatch):
    direct = bits(store.read_chunk(group, 0)[0]["measures"])

    def otherwise(folder, names):
        raise ValueError("another layout")

    monkeypatch.setattr(orbax, "_read", otherwise)
    assert bits(store.read_chunk(group, 0)[0]["measures"]) == direct == bits(ARRAYS)


def test_an_array_that_is_not_there_is_damage(group):
    """Its file list is damaged too, so that the digests of files say nothing."""
    (group / "0" / "files.json").unlink()
    info = store.read_json(group / "0" / "info" / "metadata", sealed=True)
    info["arrays"]["traj"]["W_E"] = info["arrays"]["traj"]["W"]
    store.write_json(group / "0" / "info" / "metadata", info, sealed=True)
    with pytest.raises(store.Damaged, match="step 0"):
        store.read_chunk(group, 0, ("traj",))


def test_what_is_read_belongs_to_the_caller(group):
    """It may be written to, and nothing of it is kept for the next read."""
    first = store.read_chunk(group, 0)[0]["traj"]["W"]
    first[:] = 9
    assert store.read_chunk(group, 0)[0]["traj"]["W"].tolist() == ARRAYS["W"].tolist()
