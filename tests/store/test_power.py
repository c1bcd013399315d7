"""The power is cut at any moment of a run: from whatever the disk may then hold the same command goes on, what was
committed is there and is not trained again, and the end has the bits of the unbroken run."""

import json
import subprocess
import sys
from types import SimpleNamespace

import power
import pytest
from processes import CORE, PINNED, pinned

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not power.can_record(), reason="strace, which records the system calls, is absent or not allowed"
    ),
]

SWEEP = """
import json, sys
from pathlib import Path
from toylab import configs, store, sweep
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.tasks import ModularArithmetic

def config(seed, lr):
    net = Net.of(ModularMLP, d_vocab=5, d_vocab_out=5, d_model=4, d_mlp=4)
    return configs.check(Config(ModularArithmetic(p=5, n_train=15), net, AdamW(lr=lr), seed=seed))

def train(folder, last=60, **more):
    runs = [config(0, 1e-2), config(1, 1e-3), config(2, 3e-5)]
    spec = sweep.Spec(saves=range(0, last, 5))
    sweep.run(runs, spec, folder, plan=sweep.Plan(lane=2, segment=1, chunk=2), group_size=2, **more)
"""
RECORDED = (
    SWEEP
    + """
def reports(folder, step, *rest):
    write(folder, step, *rest)
    print("committed", folder.name, step, flush=True)

write, store.writing.write_chunk = store.writing.write_chunk, reports
for last in (40, 60):  # begun, and made longer
    train(Path(sys.argv[1]) / "runs", last)
"""
)
RESUMED = (
    SWEEP
    + """
def everything(folder):
    found = {}
    for group in sweep.load(folder):
        state = store.read_chunk(folder / group.name, int(group.steps[-1]), ("state",))[0]["state"]
        arrays = {"steps": group.steps, "valid": group.valid, **group.params, **group.measures, **state}
        found[group.name] = {name: (value.shape, value.tobytes()) for name, value in arrays.items()}
    return found

def wrong(folder, committed):
    for group, step in committed.items():
        (read,) = sweep.load(folder / group)
        if read.steps[-1] < step or read.messages:
            return f"{group} was committed to {step}: {read.steps.tolist()} {read.messages}"
    kept = {path: path.stat() for group in committed for path in (folder / group).glob("*/files.json")}
    reports = []
    train(folder, report=lambda progress: reports.extend(progress.messages))
    if reports:
        return str(reports)
    if again := [str(path) for path, before in kept.items() if not path.exists() or path.stat() != before]:
        return f"trained again: {again}"
    if left := {path.name for path in folder.glob("*/*")} ^ {path.name for path in (place / "straight").glob("*/*")}:
        return f"left: {left}"
    return "" if everything(folder) == straight else "other bits"

place = Path(sys.argv[1])
train(place / "straight")
straight = everything(place / "straight")
for state in sorted(place.glob("*.json")):
    try:
        output = wrong(state.with_suffix("") / "runs", json.loads(state.read_text()))
    except BaseException as error:
        output = f"{type(error).__name__}: {error}"
    print(json.dumps([state.stem, output]), flush=True)
"""
)


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """The states that cuts leave, each in a folder of its own, and what became of each."""
    place = tmp_path_factory.mktemp("power")
    for name, code in (("recorded.py", RECORDED), ("resumed.py", RESUMED)):
        (place / name).write_text(code)
    (place / "disk").mkdir()
    (place / "states").mkdir()
    before = ["-c", PINNED] if CORE is not None else []
    command = [sys.executable, *before, str(place / "recorded.py"), str(place / "disk")]
    output, _ = power.recorded(command, place / "trace", stdout=subprocess.PIPE, text=True).communicate(timeout=300)
    disk, moments, committed, reports = power.Disk(place / "disk"), {}, {}, ""
    for call in power.calls(place / "trace"):
        reports += power.printed(call)
        if reports.endswith("\n"):
            _, group, step = reports.splitlines()[-1].split()
            committed[group] = int(step)
        if disk.apply(*call):
            for state in disk.states():
                moments.setdefault(power.seen(state), (state, dict(committed)))
    for i, (state, known) in enumerate(moments.values()):
        power.build(state, place / "states" / f"{i:04d}")
        (place / "states" / f"{i:04d}.json").write_text(json.dumps(known))
    process = pinned(place / "resumed.py", place / "states", stdout=subprocess.PIPE)
    found, _ = process.communicate(timeout=600)
    became = dict(json.loads(line) for line in found.splitlines())
    return SimpleNamespace(output=output, disk=disk, place=place, moments=moments, became=became, committed=committed)


def test_the_recorded_calls_give_the_disk_as_it_is(cut):
    """Or else the states would be of another run."""
    (end, *_) = cut.disk.states()
    paths = sorted(path for path in (cut.place / "disk").rglob("*"))
    assert sorted(end) == [
        (str(path.relative_to(cut.place / "disk")), None if path.is_dir() else path.read_bytes()) for path in paths
    ]
    assert cut.output.count("committed") == 2 * 6 and set(cut.committed.values()) == {55}


def test_from_whatever_a_power_cut_leaves_training_goes_on_to_the_bits_of_the_unbroken_run(cut):
    assert len(cut.became) == len(cut.moments) > 20
    wrong = {state: output for state, output in cut.became.items() if output}
    assert not wrong, f"{len(wrong)} of {len(cut.became)}: {list(wrong.items())[:3]}"
