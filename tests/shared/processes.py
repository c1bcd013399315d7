"""Processes on one core, and the bits of the sweeps that they train."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from toylab import store, sweep

REPOSITORY = Path(__file__).resolve().parents[2]
CORE = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
PINNED = (
    f"import os, sys; os.sched_setaffinity(0, {{{CORE}}}); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


def pinned(*arguments, **options):
    """A process on one core: its bits then depend on nothing else."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    before = ["-c", PINNED] if CORE is not None else []
    return subprocess.Popen([sys.executable, *before, *map(str, arguments)], env=environment, text=True, **options)


def everything(folder):
    """All arrays of a sweep's only group, and the state that its last chunk would go on from."""
    (group,) = sweep.load(folder)
    state = store.read_chunk(folder / group.name, int(group.steps[-1]), ("state",))[0]["state"]
    return {"steps": group.steps, "valid": group.valid, **group.params, **group.measures, **state}


def same(a, b):
    assert a.keys() == b.keys()
    return [name for name in a if (a[name].shape, a[name].tobytes()) != (b[name].shape, b[name].tobytes())] == []


def n_chunks(folder):
    return sum(path.name.isdecimal() for path in folder.glob("*/*"))


def wait_until(true, process):
    while process.poll() is None and not true():
        time.sleep(0.0005)


COMMAND = shlex.split(
    "run_sweep.py grokking --scale cpu --lane 1 --stage train --set task.p=7 task.n_train=30 net.d_vocab=8 "
    "net.d_vocab_out=8 net.d_model=8 net.n_heads=2 net.d_mlp=128 optimizer.weight_decay=0"
)


def start(arguments):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return pinned(*arguments, cwd=REPOSITORY, **pipes)
