"""A sweep that is loaded, as what is explored: with the runs that are selected, and checkpoints from elsewhere."""

import shutil

import numpy as np
import pytest
from sweeps_on_disk import seeds, write_group

from toylab import importers, load
from toylab.explore import of_sweep

STEPS = [[0, 1, 2], [5, 10]]
SHAPES = {"W_x": (7, 4), "W_y": (7, 4), "W": (8, 8), "W_U": (8, 7)}  # the MLP of Chughtai et al., W square


def test_selected_runs_have_what_the_sweep_has(tmp_path):
    write_group(tmp_path / "mine", seeds(3), STEPS)
    write_group(tmp_path / "mine", seeds(3, 10), STEPS, number=1, lengths=[5, 4, 5])
    sweep = load(tmp_path / "mine").select(seed=[1, 11, 12])
    held = of_sweep(sweep)
    assert held.title == "mine" and held.runs == sweep.runs.tolist() and held.columns["seed"].tolist() == [1, 11, 12]
    assert held.scalars == ["loss"] and held.varying == ["seed"] and held.config(1) == sweep.config(1)
    np.testing.assert_array_equal(held.measures["loss"], sweep.measures["loss"])
    for run, at in zip(*np.nonzero(sweep.valid), strict=True):
        np.testing.assert_array_equal(held.params(run, at)["W"], sweep.params["W"][run, at])
    with pytest.raises(LookupError, match="no point is saved at step 10"):
        held.params(1, 4)
    shutil.rmtree(sweep.sources[0].folder / "2")
    with pytest.raises(LookupError, match="gone"):
        held.params(0, 0)
    assert held.data(0)["labels"].shape == (11, 11)
    assert "No params" in of_sweep(load(tmp_path / "mine" / sweep.sources[1].folder.name, params=False)).no_params


def test_checkpoints_from_elsewhere(tmp_path):
    draw = np.random.default_rng(0)
    weights = [{name: draw.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()} for _ in range(3)]
    sweep = importers.load_many({"a": weights[:2], "b": weights[1:]}, layout="universality", steps=[0, 5])
    held = of_sweep(sweep)
    assert (
        held.runs == ["a", "b"] and held.steps.tolist() == [0, 5] and held.config(0).task is None and held.data(0) == {}
    )
    for run, at in np.ndindex(2, 2):
        params = held.params(run, at)
        assert set(params) == set(sweep.params)
        assert all(np.array_equal(value, sweep.params[name][run, at]) for name, value in params.items())
    held.on_demand.add(lambda params, run: {name: (value**2).sum() for name, value in params.items()}, "squares")
    held.on_demand.ask("squares")
    assert held.on_demand.wait(60) and not held.messages
    assert np.isfinite(held.measures["squares/W_U"]).all()
    held.close()
