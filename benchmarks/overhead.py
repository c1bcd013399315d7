"""What everything around the training steps costs: saved points, the cold start, memory, the analyses.

    python benchmarks/overhead.py [--steps 2000] [--json benchmarks/results/overhead.json]
    python benchmarks/overhead.py --starts

All of it is the experiment `grokking` at its scale `cpu` on the real path: the sweep, the store, the command line. Where a
whole run would take too long, only its schedule of saved points is shortened. Takes about four minutes on two cores. With
`--starts` only how long two processes take to their first step, one after the other: the second finds compiled programs.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from account import keep

from toylab import configs as cfg
from toylab import lab, train
from toylab.base import Config, State
from toylab.cli import main as command_line
from toylab.experiments.grokking import grokking
from toylab.lab import stages
from toylab.sweep.group import run_group
from toylab.sweep.lanes import first_state
from toylab.sweep.plan import choose_plan, environment

page: Any = grokking
ROUNDS = 3
WHOLE, POINTS = 15_000, 200  # steps of a usual run (to grokking and through cleanup), and its saved points
JOB_STEPS = 2_000  # over which the main job here spreads as many points
TARGETS = {
    "saving_share": (0.02, "saving and measuring, at the experiment's schedule, over the bare steps"),
    "first_step_seconds": (4.0, "process start to the first trained step, cold, in seconds"),
    "second_step_seconds": (2.5, "the same where a process before it kept what it compiled"),
    "peak_gib": (2.0, "peak memory of the main job, in GiB"),
    "analysis_share": (0.10, f"all analyses of {POINTS} points over the training of {WHOLE:,} steps"),
}


class Bare:
    """The training steps alone: one compiled loop that records nothing."""

    def __init__(self, config: Config) -> None:
        self.config, self.data, self.state = config, jax.jit(train.data)(config), first_state(config, None)
        self.loop = jax.jit(_steps)
        self.seconds(1)  # compiles

    def seconds(self, n_steps: int) -> float:
        start = time.perf_counter()
        self.state = jax.block_until_ready(self.loop(self.config, self.data, self.state, jnp.int32(n_steps)))
        return time.perf_counter() - start


def _steps(config: Config, data: Any, state: State, n_steps: jax.Array) -> State:
    key = jax.random.key(config.data_seed)
    return jax.lax.fori_loop(0, n_steps, lambda _, state: train.step(config, data, key, state), state)


def saving(n_steps: int) -> dict[str, float]:
    """Overhead of recording, STOP and commits: measured over the first `n_steps` of the experiment's schedule, where
    points lie densest, and from the cost of one point for the schedule as far as `WHOLE`. The bare steps and the real
    path train in turn, so that noise hits both alike."""
    config, spec = cfg.check(page.CONFIGS["cpu"][0]), stages.spec(lab.parts(page)[""], "cpu")
    plan = choose_plan([config], spec.saves, spec.probes, spec.keep, None)
    saves = [int(save) for save in spec.saves if save <= n_steps]
    bare = Bare(config)
    bare_seconds, real_seconds = 0.0, 0.0
    for turn in range(-1, ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            run_group([config], replace(spec, saves=saves if turn >= 0 else saves[:2]), Path(folder), plan=plan)
            taken = time.perf_counter() - start
        if turn >= 0:  # the first compiles
            real_seconds += taken
            bare_seconds += bare.seconds(saves[-1])
    step = bare_seconds / ROUNDS / saves[-1]
    point = (real_seconds - bare_seconds) / ROUNDS / len(saves)
    n_points = sum(int(save) <= WHOLE for save in spec.saves)
    return {
        "ms_a_step": 1e3 * step,
        "ms_a_point": 1e3 * point,
        "steps": saves[-1],
        "points": len(saves),
        "saving_share_of_these": real_seconds / bare_seconds - 1,
        "saving_share": n_points * point / (WHOLE * step),
    }


def starts() -> dict[str, float]:
    """Wall and CPU time of two processes to their first step, the first without any program that is compiled already."""
    with tempfile.TemporaryDirectory() as cache:
        each = [to_first_step(cache) for _ in range(2)]
    names = ("first_step", "second_step")
    return {
        f"{name}_{kind}": taken
        for name, own in zip(names, each, strict=True)
        for kind, taken in zip(("seconds", "cpu_seconds"), own, strict=True)
    }


def to_first_step(cache: str) -> tuple[float, float]:
    """Wall and CPU time from starting the command to its first line about trained steps; then it is asked to stop."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "toylab", "run", "grokking", "--scale", "cpu", "--out", folder]
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            env={**environment, "TOYLAB_CACHE": cache},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        line = next((line for line in process.stdout if " · step" in line), "")
        taken = time.perf_counter() - start
        cpu = _cpu_seconds(process.pid)
        process.send_signal(signal.SIGTERM)
        process.communicate()
        if not line:
            raise SystemExit(f"{' '.join(command)} ended with status {process.returncode} before its first step.")
    return taken, cpu


def _cpu_seconds(pid: int) -> float:
    """CPU time of a process that runs, by Linux; nan elsewhere."""
    path = Path(f"/proc/{pid}/stat")
    if not path.exists():
        return float("nan")
    user, system = path.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def main_job() -> dict[str, float]:
    """The main job in a process of its own (`job`), all three stages, its points as many as in a usual run."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, __file__, "--job", folder], check=True, stdout=subprocess.PIPE)
    bytes_per_unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * bytes_per_unit
    found = json.loads(done.stdout.splitlines()[-1])
    return {**found, "peak_gib": peak / 2**30, "analysis_share": found["analysis_seconds"] / found["whole_seconds"]}


def job(folder: str) -> None:
    """What the command line does, saving closely; the last line printed is JSON."""
    page.SAVES["cpu"] = list(range(0, JOB_STEPS, JOB_STEPS // POINTS))
    page.STOP["cpu"] = None
    seconds = {}
    for stage in ("train", "analyze", "draw"):
        start = time.perf_counter()
        status = command_line.main(["run", "grokking", "--scale", "cpu", "--out", folder, "--stage", stage])
        seconds[stage] = time.perf_counter() - start
        if status:
            raise SystemExit(status)
    bare = Bare(cfg.check(page.CONFIGS["cpu"][0]))
    whole = WHOLE * bare.seconds(300) / 300
    print(json.dumps({"analysis_seconds": seconds["analyze"], "whole_seconds": whole}))


def report(found: dict[str, Any]) -> None:
    print(f"\n{', '.join(f'{name} {value}' for name, value in found['environment'].items())}\n")
    print("| what | found | target | |\n|---|---|---|---|")
    for name, (target, what) in TARGETS.items():
        shown = "{:.1%}" if name.endswith("share") else "{:.2f}"
        verdict = "pass" if found[name] <= target else "MISS"
        print(f"| {what} | {shown.format(found[name])} | ≤ {shown.format(target)} | {verdict} |")
    print(
        f"\nA point costs {found['ms_a_point']:.0f} ms, a step {found['ms_a_step']:.2f} ms; over the first "
        f"{found['steps']:,} steps with their {found['points']} points the overhead is "
        f"{found['saving_share_of_these']:.1%}. The analyses took {found['analysis_seconds']:.1f} s with compiling, "
        f"{WHOLE:,} steps {found['whole_seconds']:.0f} s."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--steps", type=int, default=2000, help="how far to train for the cost of saving (2000)")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    parser.add_argument("--starts", action="store_true", help="only how long a first and a second start take")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        job(given.job)
        return
    if given.starts:
        found: dict[str, Any] = {**starts(), "environment": environment()}
        for name in ("first", "second"):
            wall, cpu = found[f"{name}_step_seconds"], found[f"{name}_step_cpu_seconds"]
            print(f"{name} start to the first step: {wall:.2f} s, CPU {cpu:.2f} s")
        keep(found, given.json)
        return
    found = {**starts(), **main_job()}
    found |= {"environment": environment(), **saving(given.steps)}
    report(found)
    keep(found, given.json)


if __name__ == "__main__":
    main()
