"""The driver: gives groups to workers, reads their progress, retries groups that a machine has lost, reports failures."""

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from toylab import store, sweep
from toylab.base import Config
from toylab.launch.ray import worker
from toylab.launch.ray.connection import Head, HeadGone, connected
from toylab.launch.ray.messages import ProgressReader, message_folder, request_stop
from toylab.launch.ray.resources import Resources, group_size_for, resources_of
from toylab.launch.ray.worker import Outcome, Task
from toylab.records import manifest

TRIES = 3  # of a group, without a new commit in between
WAITS = (2.0, 10.0)  # s before the second and the third try
POLL_SECONDS, CHECK_SECONDS = 0.5, 120.0
PASSED = ("JAX_", "XLA_", "LIBTPU_")  # environment variables with these prefixes are passed to workers
KEPT = ("XLA_PYTHON_CLIENT_PREALLOCATE",)  # except this one: the driver itself leaves a GPU's memory to the workers


def run(
    configs: Sequence[Config],
    spec: sweep.Spec,
    folder: Path,
    *,
    address: str = "local",
    sources: Mapping[Path, Sequence[Path]] | None = None,
    plan: sweep.Plan | None = None,
    lane: int | None = None,
    group_size: int | None = None,
    command: str = "",
    report: Callable[[sweep.Progress], None] = lambda progress: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> None:
    """`sweep.run` on a Ray cluster, one worker for each group. Call it again to go on.

    The arguments are those of `sweep.run`, and `address`.

    Args:
        address: "local", "auto" or HOST:PORT of Ray's head.
        group_size: None for as many groups as the cluster can run workers at once.
        sources: the caller's own modules: folders that workers put first on their path, each with the files in it that must
            be the same on every machine.

    Raises:
        Refused: where a machine cannot write to `folder`, or has other versions or settings than this one.
        Failed: at the end, if some groups could not be trained.
        Interrupted: once all workers have committed their points, after `interrupted` became true.
    """
    folder = folder.absolute()
    with connected(address) as ray:
        resources = resources_of(ray)
        named = sweep.begin(
            configs, folder, group_size, command, otherwise=group_size_for(configs, resources.n), saves=spec.saves
        )
        cores = resources.cores(len(named), _begun_with(folder))
        with message_folder(folder, spec, named) as token:
            environment = _environment(cores, list(sources or {}))
            files = [file for listed in (sources or {}).values() for file in listed]
            _check_machines(ray, resources, folder, token, environment, files)
            remote = ray.remote(worker.work).options(
                **resources.options(cores), max_retries=0, runtime_env={"env_vars": environment}
            )
            bare = spec if isinstance(spec.start, sweep.Starts) else replace(spec, start=None)
            tasks = {
                name: Task(token, folder, name, members, bare, plan, lane, cores) for name, members in named.items()
            }
            failures = Driver(ray, remote, tasks, resources.slots(cores), report, interrupted, command).train()
        sweep.raise_failures(folder, failures, len(named), command)


def _check_machines(
    ray: Any, resources: Resources, folder: Path, token: str, environment: dict[str, str], files: Sequence[Path]
) -> None:
    """Raises Refused unless every machine sees the folder and has the same versions and settings as this one."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    describe = ray.remote(worker.describe_machine)
    answers = [
        describe.options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            runtime_env={"env_vars": environment},
        ).remote(folder, token, files)
        for node in resources.nodes
    ]
    ours = worker.settings(files)
    for answer in answers:
        try:
            found = ray.get(answer, timeout=CHECK_SECONDS)
        except ray.exceptions.RayTaskError as error:
            raise store.Refused(
                f"a machine of the Ray cluster cannot run toylab ({_last_line(error)}): install the same there, at the "
                "same path."
            ) from None
        except ray.exceptions.RayError:
            continue  # a machine that is gone by now will not be used
        if not found["sees"]:
            raise store.Refused(
                f"{found['host']} cannot write to {folder}: give an --out on a file system that all machines of the Ray "
                "cluster share, at the same path."
            )
        there = found["settings"]
        differ = [f"{name} {there[name]}, here {ours[name]}" for name in ours if there[name] != ours[name]]
        if differ:
            raise store.Refused(f"{found['host']} has {'; '.join(differ)}: install the same on all machines.")


def _begun_with(folder: Path) -> int | None:
    """The number of cores with which the groups of the sweep were begun; None if they differ or there are none."""
    found = set()
    for path in folder.glob("*/manifest.json"):
        with contextlib.suppress(store.Damaged):  # its worker writes it anew, or reports it
            found.add(manifest.read(path.parent)["environment"].get("cores"))
    return found.pop() if len(found) == 1 else None


def _environment(cores: int | None, first: Sequence[Path] = ()) -> dict[str, str]:
    """The environment variables with which a worker computes as the driver does. The number of cores is among them, so
    that Ray reuses a worker only for groups with the same number."""
    passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED) and name not in KEPT}
    passed["JAX_ENABLE_X64"] = str(int(getattr(jax.config, "jax_enable_x64")))
    if precision := getattr(jax.config, "jax_default_matmul_precision"):
        passed["JAX_DEFAULT_MATMUL_PRECISION"] = str(precision)
    here = str(Path(__file__).resolve().parents[3])
    passed["PYTHONPATH"] = os.pathsep.join(filter(None, [*map(str, first), here, os.environ.get("PYTHONPATH")]))
    return {**passed, "TOYLAB_CORES": str(cores)}


class Driver:
    """Hands the groups to workers, as many at once as fit; passes on their progress; retries what a machine has lost."""

    def __init__(
        self,
        ray: Any,
        remote: Any,
        tasks: dict[str, Task],
        slots: int,
        report: Callable[[sweep.Progress], None],
        interrupted: Callable[[], bool],
        command: str = "",
    ) -> None:
        self.command = command
        self.ray, self.remote, self.tasks, self.slots, self.interrupted = ray, remote, tasks, slots, interrupted
        self.readers = {
            name: ProgressReader(task.folder, name, task.configs, task.spec, report) for name, task in tasks.items()
        }
        self.waiting = dict.fromkeys(tasks, 0.0)  # not started before this time
        self.running: dict[Any, str] = {}
        self.tries = dict.fromkeys(tasks, 0)
        self.committed: dict[str, int] = {}  # chunks of a group, at its last try
        self.finished = 0
        self.failures: dict[str, str] = {}
        self.head = Head(ray)

    def train(self) -> dict[str, str]:
        """Trains all groups; returns those that failed, with the error in one line. Raises Interrupted, after every worker
        has committed, if a stop was asked for."""
        stopping = False
        while self.running or (self.waiting and not stopping):
            if self.head.is_gone():
                self._stop()  # workers that still run commit their points
                raise HeadGone(
                    f"Ray's head at {self.head.address} does not answer any more: all that workers have committed is "
                    f"safe. Start Ray again, and then: {self.command or 'run the same again'}"
                )
            if not stopping and (stopping := self.interrupted()):
                self._stop()
            for name in [] if stopping else self._due():
                del self.waiting[name]
                self.running[self.remote.remote(self.tasks[name])] = name
            if self.running:
                ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=POLL_SECONDS)
            else:
                time.sleep(POLL_SECONDS)
                ready = []
            for done in ready:
                name = self.running.pop(done)
                self.readers[name].report_new()
                self._judge(name, self._outcome(done))
            for name in self.running.values():
                self.readers[name].report_new()
        if self.finished + len(self.failures) < len(self.tasks):
            raise sweep.Interrupted(
                f"{self.finished} of {len(self.tasks)} groups are finished, and all points that workers had in hand of the "
                "others are committed"
            )
        return self.failures

    def _stop(self) -> None:
        task = next(iter(self.tasks.values()))
        request_stop(task.folder, task.token)

    def _due(self) -> list[str]:
        now = time.monotonic()
        due = [name for name, at in self.waiting.items() if at <= now]
        return due[: max(self.slots - len(self.running), 0)]

    def _outcome(self, done: Any) -> Outcome:
        try:
            return self.ray.get(done)
        except self.ray.exceptions.RayTaskError as error:  # the task could not even be unpacked there
            return Outcome("wrong", _last_line(error))
        except self.ray.exceptions.NodeDiedError:
            return Outcome("machine", "its machine is gone")
        except self.ray.exceptions.WorkerCrashedError:
            return Outcome("machine", "its worker died")
        except self.ray.exceptions.RayError as error:
            return Outcome("machine", f"{type(error).__name__}: {store.first_line(error)}")

    def _judge(self, name: str, outcome: Outcome) -> None:
        if outcome.kind == "finished":
            self.finished += 1
        elif outcome.kind == "stopped":
            self.waiting[name] = 0.0
        elif outcome.kind == "wrong":
            self.failures[name] = outcome.reason
            self.readers[name].report_message(f"{name} failed ({outcome.reason}); the other groups go on.")
        else:
            self._try_again(name, outcome.reason)

    def _try_again(self, name: str, reason: str) -> None:
        place = self.tasks[name].folder / name
        done = [step for folder in (place, *sorted(place.glob("pass-*"))) for step in store.chunks(folder)]
        self.tries[name] = 1 if len(done) > self.committed.get(name, 0) else self.tries[name] + 1
        self.committed[name] = len(done)
        at = f"from step {done[-1]}" if done else "from the start"
        if self.tries[name] < TRIES:
            wait = WAITS[self.tries[name] - 1]
            self.waiting[name] = time.monotonic() + wait
            self.readers[name].report_message(f"{name}: {reason}. It goes on {at} in {wait:.0f} s.")
            return
        error = store.StoreError(f"{reason}, {TRIES} times without a commit in between")
        self.failures[name] = sweep.record_failure(place, error) if place.is_dir() else str(error)
        self.readers[name].report_message(f"{name} is given up ({error}); the other groups go on.")


def _last_line(error: BaseException) -> str:
    """The last line of a remote traceback: what went wrong."""
    return str(error).strip().splitlines()[-1][:300]
