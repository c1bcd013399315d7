"""runs.parquet holds every run and point, whatever its group lacks, and costs little more than its numbers."""

import time

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from written import described, names, seeds, write_group

from toylab.sweep import load, write_table


def test_a_row_a_run_and_point_and_null_where_a_column_is_missing(tmp_path):
    other = described(seed=9, d_model=8)
    other["optimizer"].pop("weight_decay")
    write_group(tmp_path / "runs", seeds(2), [[0, 10], [20]], lengths=[3, 2], diverged=[None, 10])
    write_group(tmp_path / "runs", [other], [[0, 5]], number=1, more=["norm"])
    write_table(tmp_path / "runs", tmp_path / "runs.parquet")
    table = parquet.read_table(tmp_path / "runs.parquet").to_pydict()
    a, b, c = *names(seeds(2)), names([other])[0]
    assert table["run"] == [a] * 3 + [b] * 2 + [c] * 2 and table["step"] == [0, 10, 20, 0, 10, 0, 5]
    assert table["diverged"] == [None] * 3 + [10] * 2 + [None] * 2
    assert table["optimizer.weight_decay"] == [0.1] * 5 + [None] * 2 and table["net.d_model"] == [4] * 5 + [8] * 2
    assert table["norm"][:5] == [None] * 5 and table["norm"][5:] == [18, np.float32(18.01)]
    sweep = load(tmp_path)
    np.testing.assert_array_equal(table["loss"], sweep.measures["loss"][sweep.valid])


def test_parts_have_their_column(tmp_path):
    write_group(tmp_path / "runs" / "one", seeds(1), [[0]])
    write_group(tmp_path / "runs" / "two", seeds(1, weight_decay=1.0), [[0]])
    write_table(tmp_path / "runs", tmp_path / "runs.parquet")
    found = parquet.read_table(tmp_path / "runs.parquet")
    assert found.schema.field("diverged").type == pa.int64()  # though none did
    table = found.to_pydict()
    assert table["part"] == ["one", "two"]


@pytest.mark.slow
def test_two_thousand_runs_are_written_and_opened_as_fast_as_their_numbers(tmp_path):
    """Against a table of float64 columns as many and as long, written and read with no more ado: an object a cell would
    take 20 times as long."""
    measures = [f"measure_{i:02d}" for i in range(20)]
    write_group(tmp_path / "runs", seeds(2000), [list(range(50))], more=measures)
    path = tmp_path / "runs.parquet"
    write_table(tmp_path / "runs", path)  # with all imports done

    def taken(function, *arguments):
        start = time.perf_counter()
        function(*arguments)
        return time.perf_counter() - start

    found = parquet.read_table(path)
    assert found.shape[0] == 100_000 and found.shape[1] > 45
    numbers = np.random.default_rng(0).random(100_000)
    bare = pa.table({name: numbers for name in found.column_names})
    reading = min(taken(parquet.read_table, path) for _ in range(3))
    writing = min(taken(write_table, tmp_path / "runs", path) for _ in range(3))
    bare_writing = min(taken(parquet.write_table, bare, tmp_path / "bare.parquet") for _ in range(3))
    bare_reading = min(taken(parquet.read_table, tmp_path / "bare.parquet") for _ in range(3))
    chunks = min(taken(lambda: load(tmp_path, params=False).measures["loss"]) for _ in range(3))
    assert reading < 3 * bare_reading + 0.05
    assert writing < 2 * (bare_writing + chunks)
