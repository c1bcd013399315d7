"""A sweep and its measures as labelled arrays: the numbers, names and coordinates of the arrays that they are made of."""

import builtins

import numpy as np
import pytest
from sweeps_on_disk import described, seeds, write_group
from tiny_sweeps import tiny

from toylab import sweep
from toylab.lab import Measures
from toylab.sweep import load, write_table

PROBES = {"norm": lambda params, run: {"W_E": (params["W_E"] ** 2).sum(), "rows": (params["W_E"] ** 2).sum(-1)}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    sweep.run([tiny(seed) for seed in range(2)], sweep.Spec([0, 1, 3], probes=PROBES), folder, lane=1)
    return load(folder)


def test_a_sweep_as_an_xarray_dataset(trained):
    pytest.importorskip("xarray")
    data = trained.to_xarray()
    assert data.step.values.tolist() == [0, 1, 3] and data.run.values.tolist() == trained.runs.tolist()
    assert data["W_E"].dims == ("run", "step", "W_E_0", "W_E_1", "W_E_2") and data["norm/rows"].dims[:2] == (
        "run",
        "step",
    )
    second = data.sel(run=trained.runs[1], step=3)
    np.testing.assert_array_equal(second["W_E"], trained.params["W_E"][1, 2])
    assert int(second["seed"]) == 1 and data["seed"].dims == ("run",)
    for name in (*trained.measures, *trained.probes):
        np.testing.assert_array_equal(data[name], {**trained.measures, **trained.probes}[name])
    assert {*trained.columns, "group", "diverged"} <= set(data.coords)
    assert data["W_E"].dtype == trained.params["W_E"].dtype and data["valid"].dtype == bool


def test_the_params_of_a_dataset_are_chosen_by_name(trained):
    pytest.importorskip("xarray")
    every, none, one = trained.to_xarray(), trained.to_xarray(params=False), trained.to_xarray(params=["W_E"])
    assert set(every) - set(none) == set(trained.params) and set(one) - set(none) == {"W_E"}
    assert set(trained.to_xarray(params="W_E")) == set(one)
    with pytest.raises(KeyError, match="W_X: there are "):
        trained.to_xarray(params=["W_X"])


def test_params_whose_name_is_taken_are_told_apart(tmp_path):
    """By a coordinate, an index and a measure; what a run has no point of is nan."""
    pytest.importorskip("xarray")
    names = {"seed": "params/seed", "step": "params/step", "loss": "params/loss"}
    write_group(tmp_path / "runs", seeds(2), [[0, 10], [20]], lengths=[3, 2])
    found = load(tmp_path)
    (array,) = list(found.params)[:1]
    found.params.names, value = list(names), found.params[array]
    found.params.made = dict.fromkeys(names, value)
    data = found.to_xarray()
    assert set(names.values()) <= set(data) and {"seed", "step"} <= set(data.coords)
    np.testing.assert_array_equal(data["params/loss"], value)
    assert np.isnan(data["loss"].sel(step=20)[1]) and np.isfinite(data["loss"].sel(step=20)[0])


def test_a_sweep_as_a_pandas_table_is_the_one_on_disk(tmp_path):
    pd = pytest.importorskip("pandas")
    write_group(tmp_path / "runs", seeds(2), [[0, 10], [20]], lengths=[3, 2], diverged=[None, 10])
    write_group(tmp_path / "runs", [described(seed=9, d_model=8)], [[0, 5]], number=1, more=["norm"])
    write_table(tmp_path / "runs", tmp_path / "runs.parquet")
    found, stored = load(tmp_path).to_pandas(), pd.read_parquet(tmp_path / "runs.parquet")
    assert list(found.columns) == list(stored.columns) and len(found) == 7
    for name in stored.columns:
        a, b = found[name], stored[name]
        assert [x == y or (pd.isna(x) and pd.isna(y)) for x, y in zip(a, b, strict=True)] == [True] * 7, name
    different = load(tmp_path)
    with pytest.raises(ValueError, match="so it is no single array: choose runs alike"):
        different.to_xarray()
    assert set(load(tmp_path, params=False).to_xarray().data_vars) >= {"valid", "loss", "norm"}


def test_measures_as_labelled_arrays():
    pytest.importorskip("xarray")
    valid = np.array([[True, True, True], [True, True, False]])
    loss, spectrum = np.arange(6.0).reshape(2, 3), np.arange(24.0).reshape(2, 3, 4)
    measures = Measures(
        {"steps": np.array([0, 1, 3]), "valid": valid, "loss": loss, "fourier/power": spectrum}
        | {"final/rank/n": np.array([4, 5]), "config/seed": np.array([0, 1])}
    )
    data = measures.to_xarray()
    assert data["fourier/power"].dims == ("run", "step", "fourier/power_0") and data["seed"].dims == ("run",)
    np.testing.assert_array_equal(data["final/rank/n"], [4, 5])
    assert float(data["loss"].sel(step=3)[0]) == 2
    table = measures.to_pandas()
    assert table["run"].tolist() == [0, 0, 0, 1, 1] and table["step"].tolist() == [0, 1, 3, 0, 1]
    assert table["loss"].tolist() == [0, 1, 2, 3, 4] and table["final/rank/n"].tolist() == [4, 4, 4, 5, 5]
    assert set(table.columns) == {"run", "step", "loss", "seed", "final/rank/n"}
    parts = Measures({f"one/{name}": value for name, value in measures.items()})
    with pytest.raises(ValueError, match=r"take those of one, as part\('one'\)"):
        parts.to_xarray()
    assert parts.part("one").to_pandas().equals(table)
    with pytest.raises(ValueError, match="networks that others trained"):
        Measures({"n": loss}).to_pandas()


@pytest.mark.parametrize(("module", "method"), [("xarray", "to_xarray"), ("pandas", "to_pandas")])
def test_without_the_extra_one_sentence_says_how_to_get_it(module, method, trained, monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **more):
        if name == module:
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=rf"^this needs {module}, .*pip install 'toylab\[xarray\]'\.$"):
        getattr(trained, method)()
