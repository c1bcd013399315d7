"""A part whose runs start where another part's ended, through the command line, and pages that state no such start."""

import json
import sys
import types

import numpy as np
import pytest
from small_pages import of_all_scales, part, small

import run_sweep
from toylab import sweep
from toylab.lab import Part, Start, pages, stated


def second(**fields):
    """As the first part, with another learning rate."""
    configs = [one.replace(optimizer=one.optimizer.replace(lr=1e-2)) for one in small(2)]
    return Part(of_all_scales(configs), of_all_scales((0, 2)), **fields)


@pytest.fixture
def page(monkeypatch):
    module = types.ModuleType("experiments.two")
    module.PARTS = {"first": part("first", small(2)), "second": second(start=Start("first"))}
    monkeypatch.setitem(sys.modules, "experiments.two", module)
    monkeypatch.setattr(pages, "load", lambda name: module)
    return module


def command(out, *options):
    return run_sweep.main(["two", "--scale", "smoke", "--out", str(out), *options])


def params(out, part):
    return {run: group.params["W"][i] for group in sweep.load(out / "two" / "runs" / part)
            for i, run in enumerate(group.runs)}  # fmt: skip


def test_the_second_part_starts_where_the_first_ended(page, tmp_path):
    assert command(tmp_path, "--stage", "train") == 0
    before, after = params(tmp_path, "first"), params(tmp_path, "second")
    record = json.loads((tmp_path / "two" / "manifest.json").read_text())["parts"]["second"]
    (group,) = record["groups"].values()
    assert group["started_from"] == [f"first/{run}@last" for run in before]
    for (_, first), (_, then) in zip(before.items(), after.items(), strict=True):
        np.testing.assert_array_equal(first[-1], then[0])
        assert (then[-1] != then[0]).any()


def test_fields_are_set_in_both_parts(page, tmp_path):
    assert command(tmp_path, "--set", "task.density=0.3", "--seeds", "1", "--stage", "train") == 0
    assert len(params(tmp_path, "first")) == len(params(tmp_path, "second")) == 1


def test_the_second_part_alone_needs_the_first_to_be_trained(page, tmp_path, capsys):
    assert command(tmp_path, "--part", "second", "--stage", "train") == 1
    assert capsys.readouterr().err.endswith("is not there: train first first, its runs are started from.\n")
    assert list(tmp_path.iterdir()) == []
    assert command(tmp_path, "--part", "first", "--stage", "train") == 0
    assert command(tmp_path, "--part", "second", "--stage", "train") == 0


def test_it_cannot_start_elsewhere_as_well(page, tmp_path, capsys):
    assert command(tmp_path, "--part", "first", "--stage", "train") == 0
    start = f"{tmp_path / 'two'}/{next(iter(params(tmp_path, 'first')))}@3"
    assert command(tmp_path / "b", "--from", start) == 2
    assert capsys.readouterr().err == f"--from is {start}: the part second starts from first; give other parts.\n"


def test_runs_without_one_to_start_from_are_refused(page, tmp_path, capsys):
    page.PARTS["first"] = part("first", small(2, seeds=1))
    assert command(tmp_path) == 2
    message = "the part second starts from first: first has 0 runs with seed 1: a run that starts there needs one.\n"
    assert capsys.readouterr().err == message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        (
            {"second": second(start=Start("first"))},
            r"PARTS\['second'\] starts from 'first': give a part that stands before",
        ),
        (
            {"first": second(keep=("W",)), "second": second(start=Start("first"))},
            r"PARTS\['second'\] starts from 'first', which does not record all params: leave out its keep",
        ),
        ({"first": second(), "second": second(start="first")}, r"PARTS\['second'\].start is 'first': give a Start"),
    ],
)
def test_pages_that_state_no_sound_start_are_refused(parts, what):
    module = types.ModuleType("experiments.two")
    module.PARTS = parts
    with pytest.raises(ValueError, match=what):
        stated.check(module, "smoke")
