"""Training a sweep with several processes that share its folder. Each takes a group that no other holds, until all are
trained.

The processes may be terminals of one machine, tasks of a Slurm array, or hosts of a TPU pod (`joined`). If a process
dies, its lock is released, and another process resumes its group from the last commit.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from toylab import store, sweep
from toylab.base import Config
from toylab.records import manifest, notes, passes
from toylab.store import durable
from toylab.sweep import growth

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Place:
    """The index of this process among `count`. It determines the size of groups and which are tried first. The number of
    processes may change at any time."""

    index: int = 0
    count: int = 1


def place(count: int = 0) -> Place:
    """The place of this process. In a Slurm array, index and (by default) count are those of the tasks.

    Raises:
        ValueError: where `count` is negative.
    """
    if count < 0:
        raise ValueError(f"--join is {count}: give the number of processes, or no number.")
    first, index, tasks = (int(os.environ.get(f"SLURM_ARRAY_TASK_{name}", 0)) for name in ("MIN", "ID", "COUNT"))
    count = count or tasks or 1
    return Place((index - first) % count, count)


@contextlib.contextmanager
def joined(where: str) -> Iterator[Place]:
    """Connects the processes of jax.distributed to get their places, and disconnects at once.

    While they are connected JAX would end all processes when one dies. Each process trains on its own devices.

    Args:
        where: "auto" on a TPU pod, Slurm or Open MPI; or HOST:PORT,N,I for process I of N, the first of which is on HOST.

    Raises:
        ValueError: where `where` is malformed, or the processes do not meet.
    """
    address = _address(where)
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_shard_autotuning=false"  # each process compiles its own programs
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own would not run while JAX waits for the others
    try:
        jax.distributed.initialize(**address)
        place = Place(jax.process_index(), jax.process_count())  # starts the devices, which needs the other processes
        jax.distributed.shutdown()
    except (RuntimeError, ValueError) as error:
        if where != "auto":
            raise ValueError(
                f"--distributed {where}: the processes did not meet ({store.first_line(error)})."
            ) from None
        raise ValueError(
            f"--distributed finds no TPU pod, Slurm or Open MPI around it ({store.first_line(error)}): give HOST:PORT,N,I."
        ) from None
    finally:
        signal.signal(signal.SIGINT, handler)
    store.keep_to_this_process()
    yield place


def _address(where: str) -> dict[str, Any]:
    if where == "auto":
        return {}
    host, *numbers = where.split(",")
    name, _, port = host.rpartition(":")
    if not name or not port.isdecimal() or len(numbers) != 2 or not all(n.isdecimal() for n in numbers):
        raise ValueError(f"--distributed is {where!r}: it must be HOST:PORT,N,I, as node1:9876,4,0 for the first of 4.")
    count, index = map(int, numbers)
    if index >= count:
        raise ValueError(f"--distributed is {where!r}: the processes of {count} are 0 to {count - 1}.")
    return {"coordinator_address": host, "num_processes": count, "process_id": index}


def run(
    configs: Sequence[Config],
    spec: sweep.Spec,
    folder: Path,
    *,
    place: Place,
    plan: sweep.Plan | None = None,
    lane: int | None = None,
    group_size: int | None = None,
    command: str = "",
    report: Callable[[sweep.Progress], None] = lambda progress: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> None:
    """`sweep.run` by several processes. Returns when every group is trained, by whichever process.

    Args:
        configs, spec, folder, plan, lane, group_size, command, report, interrupted: as in `sweep.run`. Without a
            `group_size`, families are divided so that each process has a group.
        place: of this process.

    Raises:
        Failed, Interrupted, Refused: as in `sweep.run`.
    """
    named = _begun(configs, spec, folder, group_size, command, _size(len(configs), place.count), report, interrupted)
    before = {name: _failure(folder / name) for name in named}
    mine = list(named)[place.index :: place.count]
    waiting = mine + [name for name in named if name not in mine]
    failures: dict[str, str] = {}
    cause: Exception | None = None  # of the newest failure in this process
    reported: set[str] = set()
    while waiting:
        held = []
        for name in waiting:
            if interrupted():
                raise sweep.Interrupted("this process has nothing in hand")
            if name not in mine and finished(folder / name, spec):
                continue
            if (failed := _failure(folder / name)) and failed != before[name]:
                failures[name] = f"{failed[1]} (in another process)"
                continue
            try:
                sweep.run_group(
                    named[name], spec, folder / name, plan=plan, lane=lane, report=report, interrupted=interrupted
                )
                notes.forget_failure(folder / name)
            except (store.InUse, store.Lost):
                held.append(name)
            except (store.StoreError, sweep.Interrupted):
                raise
            except Exception as error:
                failures[name], cause = sweep.record_failure(folder / name, error), error
        if len(held) == len(waiting):
            _wait(held, folder, spec, named, reported, report)
        waiting, mine = held, []
    sweep.raise_failures(folder, failures, len(named), command, cause)


def finished(folder: Path, spec: sweep.Spec) -> bool:
    """Whether a group has all its points, by the info of its newest chunk."""
    try:
        about = manifest.read(folder)
        asked = growth.asked_saves(folder, spec.saves)
        return passes.is_over(folder, about) and passes.planned(folder, about, asked) == passes.saves_of(about)
    except store.Damaged:
        return False


def _size(n_configs: int, count: int) -> int:
    return max(1, min(sweep.MAX_RUNS, -(-n_configs // count)))


def _begun(
    configs: Sequence[Config],
    spec: sweep.Spec,
    folder: Path,
    group_size: int | None,
    command: str,
    otherwise: int,
    report: Callable[[sweep.Progress], None],
    interrupted: Callable[[], bool],
) -> dict[str, list[Config]]:
    """`sweep.begin`, by one process at a time. The first divides the configs into groups, the others use these. While a
    process analyzes the sweep, the others wait."""
    store.check_name(folder)
    durable.make(folder)
    is_reported, since = False, time.monotonic()
    while True:
        with contextlib.suppress(store.InUse), store.locked(folder):
            return sweep.begin(configs, folder, group_size, command, otherwise, spec.saves)
        if interrupted():
            raise sweep.Interrupted(f"{folder} is held by {store.owner(folder)}, and this process has begun nothing")
        if time.monotonic() - since > POLL_SECONDS and not is_reported:
            is_reported = True
            report(_waits(folder, 1, 1))
        time.sleep(POLL_SECONDS / 10)


def _failure(folder: Path) -> tuple[int, str] | None:
    """When and why the last training of a group failed; None if it did not."""
    try:
        return (folder / sweep.FAILED).lstat().st_mtime_ns, notes.failure(folder)
    except OSError:
        return None


def _wait(
    held: list[str],
    folder: Path,
    spec: sweep.Spec,
    named: dict[str, list[Config]],
    reported: set[str],
    report: Callable[[sweep.Progress], None],
) -> None:
    """Waits a moment for other processes, and reports once for each group who holds it."""
    for name in set(held) - reported:
        reported.add(name)
        report(_waits(folder / name, len(named[name]), int(spec.saves[-1])))
    time.sleep(POLL_SECONDS)


def _waits(folder: Path, n_runs: int, last: int) -> sweep.Progress:
    """The Progress of a group that another process holds: only a message that says who."""
    message = f"{folder.name} is held by {store.owner(folder)}: waiting for it."
    return sweep.Progress(folder.name, 0, last, {}, np.ones(n_runs, bool), messages=(message,))
