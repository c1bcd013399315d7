"""A page's sweep that grows from the command line, in seeds, values, length and saved points, is one begun whole."""

import pytest
from command_line import SMOKE, own_settings, refused  # noqa: F401
from growing import differences

import run_sweep
from toylab import store, sweep
from toylab.records.status import status

pytestmark = pytest.mark.slow
DECAY = "optimizer.weight_decay"


def ran(out, *arguments):
    assert run_sweep.main([*SMOKE, *map(str, arguments), "--out", str(out)]) == 0


def measures(out):
    return store.read_arrays(out / "grokking" / "measures.npz")


def test_a_page_that_has_grown_is_measured_as_one_begun_whole(tmp_path, capfd):
    whole, out = tmp_path / "whole", tmp_path / "grown"
    ran(whole, "--set", f"{DECAY}=0.5,1", "--seeds", 2, "--saves", "0:40:5", "--stage", "train")
    ran(whole, "--set", f"{DECAY}=0.5,1", "--seeds", 2, "--stage", "analyze")
    ran(out, "--set", f"{DECAY}=1", "--saves", "0:20:10", "--stage", "train")
    ran(out, "--set", f"{DECAY}=0.5,1", "--seeds", 2, "--steps", 40, "--stage", "train")
    assert sweep.load(out / "grokking").steps.tolist()[:3] == [0, 10, 20]
    capfd.readouterr()
    ran(out, "--set", f"{DECAY}=0.5,1", "--seeds", 2, "--saves", "0:40:5", "--stage", "train", "--dry-run")
    told = capfd.readouterr().out
    assert "more saved points, from step 5 on: trained from " in told and ", from step 5 on" in told
    ran(out, "--set", f"{DECAY}=0.5,1", "--seeds", 2, "--saves", "0:40:5", "--stage", "train")
    assert status(out / "grokking").finished
    steps = set(sweep.load(out / "grokking").steps.tolist()) - set(range(0, 41, 5))
    ran(whole, "--set", f"{DECAY}=0.5,1", "--seeds", 2, "--saves", ",".join(map(str, sorted({*range(0, 41, 5), *steps}))),
        "--stage", "train")  # fmt: skip
    assert differences(*(sweep.load(place / "grokking") for place in (out, whole))) == []
    for place in (out, whole):
        ran(place, "--set", f"{DECAY}=0.5,1", "--seeds", 2, "--stage", "analyze")
    one, other = map(measures, (out, whole))
    assert one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)
    fewer = ["--set", f"{DECAY}=0.5,1", "--stage", "train", "--out", out]
    assert "holds runs of another config" in refused([*SMOKE, *fewer], capfd)
