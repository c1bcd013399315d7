"""runs.parquet holds every run and point, whatever its group lacks, and costs little more than its numbers."""

import shutil
import time

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from sweeps_on_disk import described, names, seeds, write_group

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


def analyzed(sweep, **more):
    """As Measures hold them."""
    loss = np.array(sweep.measures["loss"])
    return {"steps": sweep.steps, "valid": sweep.valid, "loss": loss, **more}


def test_scalar_analyses_stand_beside_the_measures_of_the_same_runs_and_points(tmp_path):
    write_group(tmp_path / "runs", seeds(2), [[0, 10], [20]], lengths=[3, 2])
    write_group(tmp_path / "runs", [described(seed=9, d_model=8)], [[0, 5]], number=1)
    sweep = load(tmp_path)
    gini = np.arange(12.0).reshape(3, 4)  # steps 0, 5, 10, 20
    own = analyzed(sweep, **{"gini/W_E": gini, "final/n": np.array([4, 5, 6]), "gini/each": np.zeros((3, 4, 2))})
    write_table(tmp_path / "runs", tmp_path / "runs.parquet", {"": {**own, "config/seed": np.arange(3)}})
    table = parquet.read_table(tmp_path / "runs.parquet").to_pydict()
    assert table["step"] == [0, 10, 20, 0, 10, 0, 5]
    assert table["gini/W_E"] == [0, 2, 3, 4, 6, 8, 9] and table["final/n"] == [4] * 3 + [5] * 2 + [6] * 2
    assert not {"gini/each", "config/seed", "valid", "steps"} & set(table)


@pytest.mark.parametrize("change", ["measure", "point", "runs", "nothing"])
def test_what_was_analyzed_of_other_runs_or_points_is_left_out(change, tmp_path):
    write_group(tmp_path / "runs", seeds(2), [[0, 10]])
    own = analyzed(load(tmp_path), **{"gini/W_E": np.ones((2, 2))})
    if change == "measure":
        own["loss"] = own["loss"] + np.float32(1)
    if change == "point":
        shutil.rmtree(tmp_path / "runs")
        write_group(tmp_path / "runs", seeds(2), [[0, 10], [20]])
    if change == "runs":
        write_group(tmp_path / "runs", seeds(1, start=7), [[0, 10]], number=1)
    write_table(tmp_path / "runs", tmp_path / "runs.parquet", {"": own})
    assert ("gini/W_E" in parquet.read_table(tmp_path / "runs.parquet").column_names) == (change == "nothing")


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
