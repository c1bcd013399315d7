"""Killed, stopped or damaged at any moment: what was committed stays, and the end has the bits of the unbroken run."""

import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from processes import COMMAND, REPOSITORY, everything, n_chunks, pinned, same, start, wait_until
from rounding import same_training

from toylab import store, sweep

pytestmark = pytest.mark.slow

TRAIN = """
import sys
from pathlib import Path
from toylab import configs, sweep
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.tasks import ModularArithmetic

def config(seed, lr):
    net = Net.of(ModularMLP, d_vocab=11, d_vocab_out=11, d_model=8, d_mlp=16)
    return configs.check(Config(ModularArithmetic(p=11, n_train=60), net, AdamW(lr=lr), seed=seed))

def learned(measures):
    return bool(measures["train_loss"][-1] < 1.0)

runs = [config(0, 1e-2), config(1, 1e-3), config(2, 3e-5)]
saves = [0, *range(400, 400 * 240, 400)]
spec = sweep.Spec(saves=saves, stop=learned)
tell = lambda progress: print(progress.step, flush=True)
sweep.run(runs, spec, Path(sys.argv[1]), plan=sweep.Plan(lane=2, segment=1, chunk=2), report=tell)
"""


def chunk_files(folder):
    """Chunk → every file in it, by content; but for its resume point, of which older chunks are rid."""
    (group,) = folder.glob("*/manifest.json")
    chunks = {step: group.parent / str(step) for step in store.chunks(group.parent)}
    return {
        step: {
            str(path.relative_to(chunk)): path.read_bytes()
            for path in chunk.rglob("*")
            if path.is_file() and "state" not in path.relative_to(chunk).parts
        }
        for step, chunk in chunks.items()
    }


def seconds_a_chunk(folder):
    """From one commit to the next, of a finished run."""
    times = sorted(path.stat().st_mtime for path in folder.glob("*/*") if path.name.isdecimal())
    return (times[-1] - times[0]) / (len(times) - 1)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """An unbroken run, and one killed at 11 random moments; what lay on disk after each kill."""
    straight, broken = tmp_path_factory.mktemp("straight"), tmp_path_factory.mktemp("broken")
    script = straight.parent / "train.py"
    script.write_text(TRAIN)
    assert pinned(script, straight, stdout=subprocess.DEVNULL).wait(300) == 0
    moments, pace, after = random.Random(0), seconds_a_chunk(straight), []
    for n in range(11):
        enough = n_chunks(broken) + (moments.randint(1, 3) if n else 0)  # the first falls before any commit
        process = pinned(script, broken, stdout=subprocess.PIPE)
        process.stdout.readline()  # it has read what is there and begins to train
        wait_until(lambda enough=enough: n_chunks(broken) >= enough, process)
        if n % 2:
            wait_until(lambda: list(broken.glob("*/writing-*")), process)
            time.sleep(moments.uniform(0, 0.3) * pace)
        else:  # chunks are written while training goes on, so between two saves there is little time
            time.sleep(moments.uniform(0, 1.0) * pace)
            wait_until(lambda: not list(broken.glob("*/writing-*")), process)
        process.kill()
        assert process.wait() == -signal.SIGKILL, "the run was over before it could be killed: make it longer"
        process.stdout.close()
        after.append(SimpleNamespace(chunks=chunk_files(broken), in_save=any(broken.glob("*/writing-*"))))
    assert pinned(script, broken, stdout=subprocess.DEVNULL).wait(300) == 0
    return SimpleNamespace(straight=straight, broken=broken, after=after)


def test_kills_fell_into_training_and_into_saves(killed):
    in_save = [moment.in_save for moment in killed.after]
    assert 2 <= sum(in_save) <= 10 and len(killed.after[-1].chunks) > 10, in_save


def test_no_committed_point_is_lost_by_a_kill(killed):
    for before, after in pairwise([*(moment.chunks for moment in killed.after), chunk_files(killed.broken)]):
        assert before.items() <= after.items()


def test_what_a_kill_leaves_is_sound(killed, tmp_path):
    for moment in killed.after:
        for step in list(moment.chunks)[-2:]:
            for name, content in moment.chunks[step].items():
                (tmp_path / str(step) / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / str(step) / name).write_bytes(content)
            assert store.read_chunk(tmp_path, step)[1]["step"] == step
            shutil.rmtree(tmp_path / str(step))


def test_the_end_is_that_of_the_unbroken_run_bit_for_bit(killed):
    found = everything(killed.broken)
    assert same(found, everything(killed.straight))
    assert 1 < found["valid"].sum(axis=1).min() < found["valid"].shape[1]  # a run had ended on the way


def test_kills_leave_nothing_behind(killed):
    names = [sorted(path.name for path in folder.glob("*/*")) for folder in (killed.broken, killed.straight)]
    assert names[0] == names[1]


# --- the command line, stopped and damaged


def stopped(arguments, n_signals=1):
    """Runs until it shows its first line about training and asks it to stop, once or twice."""
    process = start(arguments)
    while (line := process.stdout.readline()) and not re.search(r"\bstep [\d,]+/[\d,]+", line):
        pass
    process.terminate()
    assert process.stderr.readline() == "stopping after the points in hand; once more ends at once\n"
    if n_signals == 2:
        process.terminate()
    _, err = process.communicate(timeout=120)
    return process.returncode, err


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """The command stopped three times, once at once, and resumed with the command that it printed; and unbroken, in the
    plan that was measured for it then, since bits repeat within one."""
    straight, broken = tmp_path_factory.mktemp("straight"), tmp_path_factory.mktemp("broken")
    command = [*COMMAND, "--out", str(broken)]
    output = [stopped(command)]
    (plan,) = broken.glob("grokking/runs/*/manifest.json")
    (straight / plan.parent.relative_to(broken)).mkdir(parents=True)
    shutil.copy(plan, straight / plan.relative_to(broken))
    done = start([*COMMAND, "--out", straight])
    _, err = done.communicate(timeout=300)
    assert done.returncode == 0, err
    output.append(stopped(command, n_signals=2))
    output.append(stopped(shlex.split(output[0][1].rpartition("To go on: python ")[2])))
    done = start(command)
    _, err = done.communicate(timeout=300)
    assert done.returncode == 0, err
    return SimpleNamespace(
        straight=straight / "grokking" / "runs", broken=broken / "grokking" / "runs", output=output, command=command
    )


def test_sigterm_commits_and_prints_the_command_that_goes_on(resumed):
    for status, output in (resumed.output[0], *resumed.output[2:]):
        assert status == 130
        assert output.startswith("stopped: all points up to step ") and output.count("\n") == 1
        assert output.endswith(f"To go on: python {shlex.join(resumed.command)}\n")


def test_a_second_sigterm_ends_at_once(resumed):
    assert resumed.output[1] == (128 + signal.SIGTERM, "")


def test_resumed_with_the_printed_command_it_ends_as_if_unbroken(resumed):
    found = everything(resumed.broken)
    assert same(found, everything(resumed.straight))
    assert len(chunk_files(resumed.broken)) >= 3 and np.isfinite(found["train_loss"]).all()


def damaged(resumed, tmp_path, which):
    """A copy of the finished runs with a flipped bit in the numbers of one of the chunks."""
    shutil.copytree(resumed.broken, tmp_path / "grokking" / "runs")
    group = next((tmp_path / "grokking" / "runs").glob("*/manifest.json")).parent
    steps = store.chunks(group)
    files = [path for path in (group / str(steps[which]) / "traj").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    return steps


def test_a_damaged_middle_chunk_stops_analysis_and_names_the_steps(resumed, tmp_path):
    steps = damaged(resumed, tmp_path, 1)
    process = start([*("analyze" if word == "train" else word for word in COMMAND), "--out", tmp_path])
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1 and err.count("\n") == 1
    assert f"the chunk at step {steps[1]} in" in err and f"after step {steps[0]} up to {steps[1]} are lost" in err
    assert not (tmp_path / "grokking" / "measures.npz").exists()


def test_a_damaged_newest_chunk_is_named_and_made_anew(resumed, tmp_path):
    steps = damaged(resumed, tmp_path, -1)
    process = start([*COMMAND, "--out", tmp_path])
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert f"the chunk at step {steps[-1]} in" in out and f"set aside as damaged-{steps[-1]}" in out
    assert same(everything(tmp_path / "grokking" / "runs"), everything(resumed.straight))


# --- memory

SHORT = """
import resource, sys, threading, time
from pathlib import Path
from toylab import configs, sweep
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.tasks import ModularArithmetic

threading.stack_size(1 << 18)  # what is short is to be the numbers' memory, not that of threads
UNLIMITED = resource.RLIM_INFINITY

def config(seed):
    net = Net.of(ModularMLP, d_vocab=61, d_vocab_out=61, d_model=32, d_mlp=256)
    return configs.check(Config(ModularArithmetic(p=61, n_train=3000), net, AdamW(lr=1e-3), seed=seed))

def tell(progress):
    for message in progress.messages:
        print(message, flush=True)
        resource.setrlimit(resource.RLIMIT_AS, (UNLIMITED, UNLIMITED))
    if progress.step == 6 and not progress.messages and len(sys.argv) > 2:  # the end of a chunk: no lane is at work
        sizes = [0, 1, 2, 3]  # on a busy machine what wrote the chunk gives its memory back late: until it is still
        while len(set(sizes[-4:])) > 1 and len(sizes) < 80:
            time.sleep(0.25)
            sizes.append(int(Path("/proc/self/statm").read_text().split()[0]))
        taken = sizes[-1] * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv[2]), UNLIMITED))

spec, plan = sweep.Spec(saves=range(0, 14, 2)), sweep.Plan(lane=16, segment=1, chunk=2)
sweep.run([config(seed) for seed in range(16)], spec, Path(sys.argv[1]), plan=plan, report=tell)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits its own memory by RLIMIT_AS and reads /proc")
def test_short_of_memory_it_goes_on_at_half_the_width_and_says_so(tmp_path):
    (tmp_path / "short.py").write_text(SHORT)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "MALLOC_MMAP_THRESHOLD_": "1000000"}
    output = []
    for name, limit in (("enough", []), ("short", ["60000000"])):
        command = [sys.executable, str(tmp_path / "short.py"), str(tmp_path / name), *limit]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        output.append(done.stdout)
    assert (
        output[0] == ""
        and "memory ran out at 16 runs a lane; it goes on from step 6 at 8. Bits may differ" in output[1]
    )
    (short,), (enough,) = sweep.load(tmp_path / "short"), sweep.load(tmp_path / "enough")
    (narrowed,) = short.manifest["narrowed"]
    assert narrowed["step"] == 6 and narrowed["lane"] == [16, 8] and short.manifest["plan"]["lane"] == 8
    assert same_training({**short.params, **short.measures}, {**enough.params, **enough.measures})
    for name, value in enough.params.items():
        np.testing.assert_array_equal(short.params[name][:, :4], value[:, :4])  # what was committed before


# --- the disk

FILLED = """
import resource, sys
from pathlib import Path
sys.argv, code = [sys.argv[0], sys.argv[1]], Path(sys.argv[2]).read_text()
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit then fails like one on a full disk

def fill(progress):
    if progress.step >= 20_000:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))

exec(code.replace("report=tell", "report=fill"))
"""


def test_a_full_disk_costs_the_chunk_in_hand_and_the_same_command_goes_on(killed, tmp_path):
    """`killed` has the unbroken run of the same script."""
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "filled.py").write_text(FILLED)
    process = pinned(tmp_path / "filled.py", tmp_path / "runs", tmp_path / "train.py", stderr=subprocess.PIPE)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 1
    last = n_chunks(tmp_path / "runs")
    assert "make room and run the same command again: it goes on from there" in err and last > 3  # Orbax may add lines
    assert f"All points up to step {max(chunk_files(tmp_path / 'runs'))} are safe" in err
    assert pinned(tmp_path / "train.py", tmp_path / "runs", stdout=subprocess.DEVNULL).wait(300) == 0
    assert same(everything(tmp_path / "runs"), everything(killed.straight))
