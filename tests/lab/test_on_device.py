"""What a sweep takes on a device that is not there: the command line with --device, its lines, JSON and refusals."""

import dataclasses
import json

import pytest
from command_line import own_settings, refused, tree  # noqa: F401
from small_pages import small

import run_sweep
from toylab import configs as cfg
from toylab.lab import foretold, on_device
from toylab.sweep import Spec, memory
from toylab.sweep.ahead import compiled, devices
from toylab.sweep.ahead.prediction import Prediction

SAID = {
    "memory": {"argument": 700, "output": 500, "alias": 200, "temp": 1000, "generated_code": 0},
    "seconds": 2.0, "collectives": [],
    "step": {"moved": 3352320000, "padded": 6000, "logical": 3000, "kernels": 7, "cycles": 0},
}  # fmt: skip
PENTAGON = ["superposition", "--scale", "smoke", "--part", "pentagon"]
DRY = [*PENTAGON, "--dry-run", "--device"]


@pytest.fixture
def said(monkeypatch, tmp_path):
    """What the compiler says, which is not there: to be changed."""
    found = json.loads(json.dumps(SAID))
    monkeypatch.setattr(compiled, "_compiled_apart", lambda program, request: found)
    monkeypatch.setattr(devices, "version", lambda name: "1.0")
    monkeypatch.setenv("TOYLAB_CACHE", "off")
    return found


def printed(arguments, tmp_path, capfd, status=0):
    capfd.readouterr()
    assert run_sweep.main([*arguments, "--out", str(tmp_path / "out")]) == status
    assert tree(tmp_path) == {}
    return capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            [*PENTAGON, "--device", "h100"],
            "--device is h100: it compiles for that device and trains nothing; add --dry-run.",
        ),
        (
            [*DRY, "h1"],
            "--device is h1: did you mean h100? There are h100, h200, a100, a100-40gb, with -2, -4 or -8 behind",
        ),
        ([*DRY, "v5e-2"], "--device is v5e-2: there are h100"),
        ([*PENTAGON, "--json"], "--json is for --device: give --dry-run --device NAME"),
        ([*DRY, "h100", "--join", "2"], "--join is for training: leave it out with --device."),
        ([*DRY, "h100", "--cluster", "local"], "--cluster is for training"),
        (
            [*PENTAGON, "--stage", "draw", "--device", "h100"],
            "--device is for training: leave it out with --stage draw.",
        ),
    ],
)
def test_what_does_not_go_with_a_device_is_refused(arguments, words, said, capfd):
    assert words in refused(arguments, capfd)


@pytest.mark.parametrize(("name", "extra"), [("h100", "aot-gpu"), ("v5e", "aot-tpu")])
def test_without_its_extra_a_device_is_refused(name, extra, capfd, monkeypatch):
    monkeypatch.setattr(devices, "version", lambda _: "")
    assert f"pip install 'toylab[{extra}]'" in refused([*DRY, name], capfd)


def test_each_program_is_told_once_and_nothing_is_created(said, tmp_path, capfd):
    told = printed([*DRY, "h100"], tmp_path, capfd)
    assert "16 runs at scale smoke" in told and "it has 63.7 GB\n" in told  # the preview, by the device's memory
    assert "program 1 of 1 of part pentagon: 16 runs, 2 runs wide" in told
    assert "memory    2 kB for 2 runs on a device, 2 points a launch (estimated 1.23 MB)\n" in told
    assert "room      63.7 GB on a device, for a lane of about 63,697,010 runs\n" in told
    assert "1 device, no communication; compiled in 2 s of CPU time\n" in told
    assert "3.35 GB to and from memory by 7 kernels" in told
    assert "at least 1 ms a step: bound by memory (memory 1 ms, arithmetic 0.00153 µs, kernels 7 µs)" in told
    assert "at least 800 ms for 100 steps of 16 runs" in told  # 8 groups of 2, one after another
    assert told.endswith("runs that stop sooner take less.\n")


def test_of_a_tpu_padding_and_cycles_are_told(said, tmp_path, capfd):
    said["step"]["cycles"] = 15_000_000
    told = printed([*DRY, "v5e"], tmp_path, capfd)
    assert (
        "padding 2 times, 15,000,000 cycles\n" in told
        and "kernel" not in told.partition("program")[2].partition("Nothing")[0]
    )
    assert "at least 9.98 ms a step: its compiler's estimate (memory 4.09 ms, arithmetic 0.00312 µs, " in told
    assert "compiler's cycles 9.98 ms)" in told


def test_json_has_the_same_and_stands_alone(said, tmp_path, capfd):
    record = json.loads(printed([*DRY, "h100-2", "--lane", "4", "--json"], tmp_path, capfd))
    assert record["page"] == "superposition" and record["scale"] == "smoke"
    assert record["device"]["name"] == "h100-2" and record["device"]["count"] == 2 and record["device"]["sources"]
    (program,) = record["programs"]
    assert (program["width"], program["shards"], program["bytes"], program["fits"]) == (4, 2, 2000, True)
    assert program["bound"] == "memory" and program["lower_bounds"]["memory"] == pytest.approx(1e-3)
    assert program["sweep_seconds"] == pytest.approx(8 * 100 * 1e-3) and program["collectives"] == []


def test_what_cannot_be_compiled_stops_no_other_program(said, tmp_path, capfd):
    arguments = [*DRY, "v5e", "--set", "net.n_hidden=2,3"]
    said |= {"error": "UNIMPLEMENTED: no such operation", "too_large": False}
    told = printed(arguments, tmp_path, capfd, status=1)
    assert "program 2 of 2 of part pentagon: 16 runs, 2 runs wide, net.n_hidden=3\n" in told
    assert told.count("failed    it cannot be compiled for v5e: UNIMPLEMENTED: no such operation.") == 2
    programs = json.loads(printed([*arguments, "--json"], tmp_path, capfd, status=1))["programs"]
    assert ["UNIMPLEMENTED" in one["error"] for one in programs] == [True, True]


def test_what_cannot_be_traced_stops_no_other_program(said, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(memory, "traced", lambda *_: 1 / 0)
    told = printed([*DRY, "v5e"], tmp_path, capfd, status=1)
    assert "16 runs, 1 run wide" in told and "failed    it cannot be traced or compiled (division by zero)." in told


def test_too_large_a_program_is_an_answer(said, tmp_path, capfd):
    said |= {"error": "temporaries (20.00G) exceeds available HBM (15.75G)", "too_large": True}
    del said["memory"], said["step"]
    told = printed([*DRY, "v5e"], tmp_path, capfd)
    assert "too large with 2 runs on a device (temporaries (20.00G) exceeds available HBM (15.75G))" in told
    assert "a step" not in told.partition("program")[2].partition("Nothing")[0]
    (program,) = json.loads(printed([*DRY, "v5e", "--json"], tmp_path, capfd))["programs"]
    assert not program["fits"] and program["bytes"] is None and program["sweep_seconds"] is None


def test_a_program_over_the_devices_memory_says_how_many_fit(said, tmp_path, capfd):
    said["memory"]["temp"] = 40_000_000_000
    told = printed([*DRY, "v5e"], tmp_path, capfd)
    assert "40 GB for 2 runs on a device, 2 points a launch, too large" in told and "too little for 1 run" in told


def test_a_step_that_is_not_counted_says_why_and_has_no_time(said, tmp_path, capfd):
    said |= {"step": None, "why": "the compiled program has 0 loops over steps, not one: its steps are not counted"}
    told = printed([*DRY, "h100"], tmp_path, capfd)
    assert (
        "102 kFLOP in products; the compiled program has 0 loops" in told and "at least" not in told.split("program")[2]
    )


def test_runs_are_those_of_paper_unless_another_scale_is_asked_for(said, tmp_path, capfd):
    record = json.loads(printed(["superposition", "--part", "pentagon", *DRY[5:], "h100", "--json"], tmp_path, capfd))
    assert record["scale"] == "paper" and record["programs"][0]["steps"] == 4000


def test_sizes_are_held_to_the_devices_memory(said, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(memory, "budget", lambda: 10)
    wide = [*DRY, "h100", "--set", "net.init_std=0.2"]
    assert "1 program to compile" in printed(wide, tmp_path, capfd)
    assert run_sweep.main([*PENTAGON, "--set", "net.n_hidden=30", "--dry-run", "--out", str(tmp_path)]) == 2


def test_the_planned_width_is_the_widest_that_may_fit(monkeypatch):
    members = [cfg.check(config) for config in small(2, seeds=100)]
    spec = Spec(saves=(0, 3))
    one, four = devices.device("h100"), devices.device("h100-4")
    assert on_device.planned(members, spec, one) == 100 and on_device.planned(members, spec, four) == 100
    assert on_device.planned(members[:3], spec, four) == 3  # a run a device
    for room, width in ((99, 64), (64, 64), (20, 16), (1, 1), (0, 1)):
        monkeypatch.setattr(memory, "lane_bytes", lambda *_, room=room: memory.OVER * one.chip.memory // (room or 1e-6))
        assert on_device.planned(members, spec, one) == width
        assert on_device.planned(members, spec, four) == 4 * min(width, 25 if room >= 25 else width)


def test_a_planned_lane_that_is_too_large_gives_way_to_a_narrower_one(said, tmp_path, capfd):
    """A width that was asked for stays."""
    said["memory"]["temp"] = 2 * devices.device("h100").chip.memory
    told = printed([*DRY, "h100"], tmp_path, capfd)
    assert told.index("2 runs wide") < told.index("too large") < told.index("1 run wide")
    (program,) = json.loads(printed([*DRY, "h100", "--json"], tmp_path, capfd))["programs"]
    assert program["width"] == 1 and not program["fits"]
    assert "1 run wide" not in printed([*DRY, "h100", "--lane", "2"], tmp_path, capfd)


@pytest.mark.parametrize(("takes", "width"), [(None, 64), (2.0, 16), (1.5, 64), (6.0, 16), (300.0, 1), (1.0, None)])
def test_the_next_lane_is_the_widest_that_has_room(takes, width):
    """`takes`: bytes over the device's, of a lane of 100 that the plan chose."""
    one = devices.device("h100")
    members = [cfg.check(config) for config in small(2, seeds=100)]
    program = on_device.Program("", (1, 1), [members], Spec(saves=(0, 3)), one, 100)
    bytes_taken = None if takes is None else int(takes * one.chip.memory)
    found = Prediction(one, 100, 1, 1, bytes_taken, 0, "", None, {}, (), 0.0, False)
    narrower = program.narrower(found)
    assert (narrower.width if narrower else None) == width
    assert dataclasses.replace(program, given=True).narrower(found) is None


def test_numbers_are_told_in_units_of_their_size():
    assert [foretold._seconds(x) for x in (5e-8, 2.5e-3, 1.5, 90, 600, 9000)] == [
        "0.05 µs", "2.5 ms", "1.5 s", "90 s", "10 minutes", "2.5 hours",
    ]  # fmt: skip
    assert [foretold._flops(x) for x in (0, 999, 1.2e4, 6.69e13, 3e16)] == [
        "0 FLOP", "999 FLOP", "12 kFLOP", "66.9 TFLOP", "30 PFLOP",
    ]  # fmt: skip
