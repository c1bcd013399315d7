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

def train(folder, n_runs=3, last=60, gap=5, **more):
    runs = [config(0, 1e-2), config(1, 1e-3), config(2, 3e-5)]
    spec = sweep.Spec(saves=range(0, last, gap))
    sweep.run(runs[:n_runs], spec, folder, plan=sweep.Plan(lane=2, segment=1, chunk=2), group_size=2, **more)

story = STORY
"""
RECORDED = (
    SWEEP
    + """
def reports(folder, step, *rest):
    write(folder, step, *rest)
    print("committed", folder.relative_to(place), step, flush=True)

place = Path(sys.argv[1]) / "runs"
write, store.writing.write_chunk = store.writing.write_chunk, reports
for request in story:
    train(place, **request)
"""
)
LONGER = [{"last": 40}, {"last": 60}]  # requests one after another; the last is that of the whole sweep
DENSER = [{"n_runs": 1, "last": 20, "gap": 10}, {"n_runs": 2, "last": 20, "gap": 10}, {"n_runs": 2, "last": 30}]
STORIES = {"longer": (LONGER, 2 * 6, {55}), "a run more, denser, longer": (DENSER, 2 * 4, {10, 25})}
RESUMED = (
    SWEEP
    + """
def everything(folder):
    # the sweep, and the states from which its groups would go on
    found = sweep.load(folder)
    arrays = {"runs": found.runs, "steps": found.steps, "valid": found.valid, **found.params, **found.measures}
    for group in sorted({path.parent for path in folder.glob("*/manifest.json")}) if len(story) == 2 else ():
        items, _ = store.read_chunk(group, store.chunks(group)[-1], ("state",))
        arrays |= {f"{group}/{name}": value for name, value in items["state"].items()}
    return {name.replace(str(folder), ""): (value.shape, value.tobytes()) for name, value in arrays.items()}

def wrong(folder, committed):
    for name, step in committed.items():
        (read,) = sweep.load(folder / Path(name).parts[0])
        if step not in read.steps or read.messages:
            return f"{name} was committed to {step}: {read.steps.tolist()} {read.messages}"
    kept = {path: path.stat() for name in committed for path in (folder / name).glob("*/files.json")}
    reports = []
    train(folder, **story[-1], report=lambda progress: reports.extend(progress.messages))
    if reports := [line for line in reports if " more saved points, from step " not in line]:
        return str(reports)
    if again := [str(path) for path, before in kept.items() if not path.exists() or path.stat() != before]:
        return f"trained again: {again}"
    held = [{path.name for path in where.glob("*/*")} for where in (folder, place / "straight")]
    if left := {name for name in held[0] ^ held[1] if not name.isdecimal() and name != "pass-1"}:
        return f"left: {left}"
    return "" if everything(folder) == straight else "other bits"

place = Path(sys.argv[1])
for request in story:
    train(place / "straight", **request)
straight = everything(place / "straight")
train(place / "whole", **story[-1])
whole = everything(place / "whole")
assert {name: straight[name] for name in whole} == whole or len(story) == 2
for state in sorted(place.glob("*.json")):
    try:
        output = wrong(state.with_suffix("") / "runs", json.loads(state.read_text()))
    except BaseException as error:
        output = f"{type(error).__name__}: {error}"
    print(json.dumps([state.stem, output]), flush=True)
"""
)


@pytest.fixture(scope="module", params=STORIES.values(), ids=STORIES)
def cut(request, tmp_path_factory):
    """The states that cuts leave, each in a folder of its own, and what became of each."""
    place, (story, n_commits, last) = tmp_path_factory.mktemp("power"), request.param
    for name, code in (("recorded.py", RECORDED), ("resumed.py", RESUMED)):
        (place / name).write_text(code.replace("STORY", repr(story)))
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
    found = {"disk": disk, "moments": moments, "became": became, "committed": committed, "expected": (n_commits, last)}
    return SimpleNamespace(output=output, place=place, **found)


def test_the_recorded_calls_give_the_disk_as_it_is(cut):
    """Or else the states would be of another run."""
    (end, *_) = cut.disk.states()
    paths = sorted(path for path in (cut.place / "disk").rglob("*"))
    assert sorted(end) == [
        (str(path.relative_to(cut.place / "disk")), None if path.is_dir() else path.read_bytes()) for path in paths
    ]
    assert (cut.output.count("committed"), set(cut.committed.values())) == cut.expected


def test_from_whatever_a_power_cut_leaves_training_goes_on_to_the_bits_of_the_unbroken_run(cut):
    assert len(cut.became) == len(cut.moments) > 20
    wrong = {state: output for state, output in cut.became.items() if output}
    assert not wrong, f"{len(wrong)} of {len(cut.became)}: {list(wrong.items())[:3]}"
