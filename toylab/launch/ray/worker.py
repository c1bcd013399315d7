"""A worker: trains one group on cores of its own, stops when asked to, and returns how it went."""

import contextlib
import fcntl
import hashlib
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal

import jax
import numpy as np

from toylab import store, sweep
from toylab.base import Config
from toylab.launch.ray.messages import FOLDER, START, ProgressWriter, StopSignal, is_current
from toylab.records import notes

PATIENCE = 120.0  # s to wait for a group whose lock another process holds, as one that died on another machine
WAIT_SECONDS = 1.0  # between two tries of the lock
_SPECS: dict[str, sweep.Spec] = {}  # by token: the compile cache is keyed on its functions, so they must stay the same


@dataclass(frozen=True)
class Task:
    """One group for a worker. It is small enough to be sent: the params to start from lie in the sweep's folder."""

    token: str  # of the driver that wants the group trained
    folder: Path  # of the sweep
    name: str
    configs: Sequence[Config]
    spec: sweep.Spec  # without params that all runs start from
    plan: sweep.Plan | None
    lane: int | None
    cores: int | None  # None: all cores of the machine


@dataclass(frozen=True)
class Outcome:
    """How a group went. machine: it failed, and another worker may succeed · wrong: it failed, and the config or the folder
    has to change."""

    kind: Literal["finished", "stopped", "machine", "wrong"]
    reason: str = ""


def work(task: Task) -> Outcome:
    """Trains the group to completion. Errors that a config or a disk can cause are returned, not raised."""
    try:
        if not is_current(task.folder, task.token):
            return Outcome("stopped")
        with own_cores(task.cores):
            return _trained(task)
    except sweep.Interrupted as stopped:
        return Outcome("stopped", str(stopped))
    except (store.InUse, store.Lost, OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
        return Outcome("machine", _line(error))
    except store.Gone as error:  # another try would begin anew
        return Outcome("wrong", str(error))
    except (store.Refused, store.Damaged) as error:
        return Outcome("wrong", sweep.record_failure(task.folder / task.name, error))
    except store.StoreError as error:
        return Outcome("machine", _line(error))
    except Exception as error:
        return Outcome("wrong", sweep.record_failure(task.folder / task.name, error))


def _trained(task: Task) -> Outcome:
    signal, until = StopSignal(task.folder, task.token), time.monotonic() + PATIENCE
    place, spec = task.folder / task.name, _spec(task)
    while True:
        try:
            report = ProgressWriter(task.folder / FOLDER / f"{task.name}.jsonl")
            sweep.run_group(
                task.configs, spec, place, plan=task.plan, lane=task.lane, report=report, interrupted=signal.is_set
            )
            notes.forget_failure(place)
            return Outcome("finished")
        except store.InUse:
            if signal.is_set():
                return Outcome("stopped")
            if time.monotonic() > until:
                raise
            time.sleep(WAIT_SECONDS)


def _spec(task: Task) -> sweep.Spec:
    if task.token not in _SPECS:
        start = task.folder / FOLDER / START
        params: Any = store.read_arrays(start) if start.exists() else task.spec.start
        _SPECS[task.token] = replace(task.spec, start=params)
    return _SPECS[task.token]


def _line(error: BaseException) -> str:
    text = store.first_line(error)
    return text if isinstance(error, store.StoreError) else f"{type(error).__name__}: {text}"


def describe_machine(folder: Path, token: str, files: Sequence[Path] = ()) -> dict[str, Any]:
    """The machine's name, whether it can write to the sweep's folder, and its `settings`."""
    try:
        sees = is_current(folder, token) and os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        sees = False
    return {"host": os.uname().nodename, "sees": sees, "settings": settings(files)}


def settings(files: Sequence[Path] = ()) -> dict[str, str]:
    """Versions and settings that must be the same on all machines that train one sweep. Starts no device: JAX counts a
    worker's threads when it starts the first. `files`: the page and the modules beside it."""
    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "numpy": np.__version__,
        "matmul precision": str(getattr(jax.config, "jax_default_matmul_precision")),
        "x64": str(getattr(jax.config, "jax_enable_x64")),
        "toylab": _source(),
        **({"page": _digest(files)} if files else {}),
    }


@cache
def _source() -> str:
    """A digest of the package's source."""
    return _digest(sorted(Path(__file__).parents[2].rglob("*.py")))


def _digest(files: Sequence[Path]) -> str:
    """Of the contents of files; one that is not there has none."""
    contents = (file.read_bytes() if file.is_file() else b"\0" for file in files)
    return hashlib.sha256(b"\0".join(contents)).hexdigest()[:12]


# --- where the worker computes


@cache
def _allowed() -> tuple[int, ...]:
    """The cores that the process may use, before `own_cores` restricts it."""
    return tuple(sorted(os.sched_getaffinity(0)))


@contextlib.contextmanager
def own_cores(n: int | None) -> Iterator[None]:
    """Restricts this process and all its threads to n cores that no other worker of the machine uses. JAX then starts that
    many threads, and the group's manifest records the number."""
    if n is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    place = Path(tempfile.gettempdir()) / f"toylab-cores-{os.getuid()}"
    place.mkdir(exist_ok=True)
    with contextlib.ExitStack() as held:
        mine: list[int] = []
        for core in _allowed():
            if len(mine) < n and (file := _locked(place / str(core))):
                held.enter_context(file)
                mine.append(core)
        mine += [core for core in _allowed() if core not in mine][
            : n - len(mine)
        ]  # more workers than cores: some share
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError):  # the thread has ended meanwhile
                os.sched_setaffinity(int(thread), mine)
        with contextlib.suppress(ValueError):  # a task before this one has started JAX, with as many
            sweep.use_cores()
        yield


def _locked(path: Path) -> IO[str] | None:
    """The file, open and locked; None if another process holds it."""
    file = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
