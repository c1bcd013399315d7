"""Several processes on one sweep without a scheduler of ours: each takes a group that nobody holds, until all are trained.

They need nothing but the sweep's folder: terminals of one machine, the tasks of a Slurm array, the hosts of a TPU pod
(`joined`). A process that dies lets go of its group, and another goes on with it from the last commit.
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
from toylab.records import binding, manifest, notes
from toylab.store import durable

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Place:
    """Which of how many processes this one is. More may come, or fewer: it says only how groups are cut and tried first."""

    index: int = 0
    count: int = 1


def place(count: int = 0) -> Place:
    """Of about `count` processes; in a Slurm array, of its tasks."""
    if count < 0:
        raise ValueError(f"--join is {count}: give the number of processes, or no number.")
    first, index, tasks = (int(os.environ.get(f"SLURM_ARRAY_TASK_{name}", 0)) for name in ("MIN", "ID", "COUNT"))
    count = count or tasks or 1
    return Place((index - first) % count, count)


@contextlib.contextmanager
def joined(where: str) -> Iterator[Place]:
    """jax.distributed: as a TPU pod, Slurm or Open MPI tells it ("auto"), or HOST:PORT,N,I: process I of N, the first of
    which is on HOST. Each trains on its own devices. The processes meet to learn of one another, and part at once: jax
    would end them all with the first that dies."""
    address = _address(where)
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_shard_autotuning=false"  # each compiles programs of its own
    heard = signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python hears nothing of it while jax waits for the others
    try:
        jax.distributed.initialize(**address)
        place = Place(jax.process_index(), jax.process_count())  # the devices learn of one another
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
        signal.signal(signal.SIGINT, heard)
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
    """`sweep.run` beside other processes that do the same; returns when every group is trained, whoever did it. Without a
    `group_size`, families are cut so that each process has work."""
    named = _begun(configs, folder, group_size, command, _size(len(configs), place.count), report, interrupted)
    before = {name: _failure(folder / name) for name in named}
    mine = list(named)[place.index :: place.count]
    waiting = mine + [name for name in named if name not in mine]
    failures: dict[str, str] = {}
    cause: Exception | None = None  # of the newest failure in this process
    said: set[str] = set()
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
            _wait(held, folder, spec, named, said, report)
        waiting, mine = held, []
    sweep.raise_failures(folder, failures, len(named), command, cause)


def finished(folder: Path, spec: sweep.Spec) -> bool:
    """Whether a group has all its points, by what its newest chunk says of itself."""
    try:
        about, info = manifest.read(folder), store.read_info(folder, store.chunks(folder)[-1])
        binding.check(folder, info, about)
    except (store.Damaged, IndexError):
        return False
    saves = about["saves"]
    return all(info["ended"]) or (info["points"] == len(saves) and saves[-1] >= spec.saves[-1])


def _size(n_configs: int, count: int) -> int:
    return max(1, min(sweep.MAX_RUNS, -(-n_configs // count)))


def _begun(
    configs: Sequence[Config],
    folder: Path,
    group_size: int | None,
    command: str,
    otherwise: int,
    report: Callable[[sweep.Progress], None],
    interrupted: Callable[[], bool],
) -> dict[str, list[Config]]:
    """`sweep.begin`, by one process at a time: the first cuts the groups, the others take them over. Where one analyzes,
    they wait until it has done so."""
    store.check_name(folder)
    durable.make(folder)
    said, since = False, time.monotonic()
    while True:
        with contextlib.suppress(store.InUse), store.locked(folder):
            return sweep.begin(configs, folder, group_size, command, otherwise)
        if interrupted():
            raise sweep.Interrupted(f"{folder} is with {store.owner(folder)}, and this process has begun nothing")
        if time.monotonic() - since > POLL_SECONDS and not said:
            said = True
            report(_waits(folder, 1, 1))
        time.sleep(POLL_SECONDS / 10)


def _failure(folder: Path) -> tuple[int, str] | None:
    """When and how a group's last try failed."""
    try:
        return (folder / sweep.FAILED).lstat().st_mtime_ns, notes.failure(folder)
    except OSError:
        return None


def _wait(
    held: list[str],
    folder: Path,
    spec: sweep.Spec,
    named: dict[str, list[Config]],
    said: set[str],
    report: Callable[[sweep.Progress], None],
) -> None:
    """A moment, until another process may have finished its group or died; says once of each who has it."""
    for name in set(held) - said:
        said.add(name)
        report(_waits(folder / name, len(named[name]), int(spec.saves[-1])))
    time.sleep(POLL_SECONDS)


def _waits(folder: Path, n_runs: int, last: int) -> sweep.Progress:
    """Who has a folder that is waited for; for this process there is no other news of it."""
    message = f"{folder.name} is with {store.owner(folder)}: waiting for it."
    return sweep.Progress(folder.name, 0, last, {}, np.ones(n_runs, bool), messages=(message,))
