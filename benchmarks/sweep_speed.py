"""Runs per hour: one after another, in lanes, over devices, by Ray; and one sweep against one process a run.

    python benchmarks/sweep_speed.py [--processes 8] [--no-ray] [--json benchmarks/results/sweep_speed.json]

Lanes are timed on the real path, `run_group` with its saved points, each for the same number of steps a run. The sweep
of 256 small MLPs and the processes it is compared with are both `toylab run` with the same saved points; the processes
run one after another, and those that are timed stand for 256. About nine minutes on two cores. Read the ratios.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from account import keep, verdict
from contestants import grokking_config

from toylab import configs as cfg
from toylab import store
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.sweep import Plan, Spec, environment
from toylab.sweep.group import run_group
from toylab.tasks.modular import ModularArithmetic

N_RUNS, STEPS = 256, 2_000  # of the sweep of small MLPs
TARGET = 15.0
WIDTHS = {"mlp, hidden 32": (1, 4, 16, 64, 256), "mlp, hidden 128": (1, 4, 16, 64, 256), "transformer": (1, 4)}
TIMED_STEPS = {"mlp, hidden 32": 400, "mlp, hidden 128": 200, "transformer": 40}
WHOLE = {"mlp, hidden 32": STEPS, "mlp, hidden 128": STEPS, "transformer": 10_000}  # steps of a usual run
TABLE_RUNS, TABLE_POINTS = 10_000, 50


def mlp(seed: int, d_mlp: int) -> Config:
    net = Net.of(
        ModularMLP, d_vocab=31, d_vocab_out=31, d_model=16, d_mlp=d_mlp, embedding="shared", activation="quadratic"
    )
    return cfg.check(Config(ModularArithmetic(p=31, n_train=384), net, AdamW(lr=1e-3, weight_decay=1.0), seed=seed))


def config(model: str, seed: int) -> Config:
    return grokking_config(seed) if model == "transformer" else mlp(seed, int(model.rsplit(" ", 1)[-1]))


# --- lanes


def lanes(model: str, widths: tuple[int, ...], keep: tuple[str, ...] | None = ()) -> list[dict[str, Any]]:
    """Runs per hour by width of a lane, saved points included; the second of two trainings, the first compiles."""
    steps, rows = TIMED_STEPS[model], []
    for width in widths:
        configs = [config(model, seed) for seed in range(width)]
        n_steps = max(steps // max(width // 16, 1), 20)
        spec = Spec(saves=np.linspace(0, n_steps, 5).astype(int).tolist(), keep=keep)
        for _ in range(2):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                run_group(configs, spec, Path(folder), plan=Plan(width, 5, 5, shards(width)))
                taken = time.perf_counter() - start
        per_run_step = taken / n_steps / width
        rows.append({"model": model, "lane": width, "devices": shards(width), "ms_a_run_and_step": 1e3 * per_run_step})
        rows[-1]["runs_per_hour"] = 3600 / (per_run_step * WHOLE[model])
    return rows


def shards(width: int) -> int:
    return min(width, jax.local_device_count())


def over_virtual_devices(n: int) -> list[dict[str, Any]]:
    """The same lanes spread over virtual devices, in a process of their own."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={n}"
    code = "import json, sweep_speed as s; print(json.dumps(s.lanes('mlp, hidden 32', (16, 64, 256))), end='')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=child_environment() | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


# --- one sweep against a process a run


def child_environment() -> dict[str, str]:
    here = Path(__file__).resolve().parent
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parent), str(here)])}


def command(d_mlp: int, out: Path, *more: str) -> list[str]:
    fields = f"task.n_train=384 net.d_model=16 net.d_mlp={d_mlp} optimizer.weight_decay=1 optimizer.lr=1e-3".split()
    start = [
        sys.executable,
        "-m",
        "toylab",
        "run",
        "grokking_phase",
        "--part",
        "plane",
        "--scale",
        "cpu",
        "--set",
        *fields,
    ]
    return [*start, *more, "--steps", str(STEPS), "--stage", "train", "--out", str(out)]


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(arguments, env=child_environment(), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def against_processes(d_mlp: int, n_processes: int, runs: tuple[int, ...], ray: bool) -> dict[str, Any]:
    """Seconds of one sweep (of each number of runs), and of a process a run, timed in between so that noise hits both."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        alone = [seconds(command(d_mlp, out / f"seed{i}", f"seed={i}")) for i in range(n_processes // 2)]
        sweeps = {n: seconds(command(d_mlp, out / f"sweep{n}", "--seeds", str(n))) for n in runs}
        alone += [seconds(command(d_mlp, out / f"seed{i}", f"seed={i}")) for i in range(n_processes // 2, n_processes)]
        result: dict[str, Any] = {
            "hidden": d_mlp,
            "processes": alone,
            "seconds_a_process": float(np.median(alone)),
            "sweeps": sweeps,
            "ratio": float(np.median(alone)) * max(runs) / sweeps[max(runs)],
        }
        if ray:
            two = ("--seeds", str(max(runs)), "--cluster", "local", "--group", str(max(runs) // 2))
            result["ray_seconds"] = seconds(command(d_mlp, out / "ray", *two))
    return result


# --- the table


def table() -> dict[str, Any]:
    """A runs.parquet of 10,000 runs: how long writing and opening it takes."""
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    n = TABLE_RUNS * TABLE_POINTS
    columns = {f"measure_{i}": rng.random(n, np.float32) for i in range(6)}
    columns |= {f"field_{i}": np.repeat(rng.random(TABLE_RUNS), TABLE_POINTS) for i in range(20)}
    columns["run"] = np.repeat([f"{i:010x}" for i in range(TABLE_RUNS)], TABLE_POINTS)
    columns["step"] = np.tile(np.arange(TABLE_POINTS), TABLE_RUNS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.parquet"
        start = time.perf_counter()
        store.write_table(path, columns)
        written = time.perf_counter() - start
        start = time.perf_counter()
        rows = parquet.read_table(path).num_rows
        return {"rows": rows, "write_seconds": written, "open_seconds": time.perf_counter() - start}


# --- the report


def report(result: dict[str, Any]) -> None:
    print("| model | lane | devices | ms a run and step | runs per hour |\n|---|---|---|---|---|")
    for row in (*result["lanes"], *result.get("virtual_devices", [])):
        cells = row["model"], row["lane"], row["devices"], f"{row['ms_a_run_and_step']:.3g}"
        print(f"| {' | '.join(map(str, cells))} | {row['runs_per_hour']:,.0f} |")
    print()
    for row in result["against_processes"]:
        reached = f" (target ≥ {TARGET:g}: {verdict(row['ratio'] >= TARGET)})" if row["hidden"] == 32 else ""
        taken = ", ".join(f"{n} runs {s:.1f} s" for n, s in row["sweeps"].items())
        print(f"- hidden {row['hidden']}: one sweep is {row['ratio']:.1f} times faster than a process a run{reached}")
        print(f"  a process takes {row['seconds_a_process']:.2f} s; sweeps of {taken}")
        if "ray_seconds" in row:
            print(f"  with two local Ray workers {row['ray_seconds']:.1f} s")
    opened = result["table"]["open_seconds"]
    said = f"{TABLE_RUNS:,} runs, {TABLE_POINTS} points each: opens in {opened:.2f} s ({verdict(opened < 1)}: < 1)"
    print(f"- runs.parquet of {said}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--processes", type=int, default=8, help="single-run processes that are timed (default 8)")
    parser.add_argument("--no-ray", action="store_true", help="without the workers of Ray")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    given = parser.parse_args()
    ray = not given.no_ray and importlib.util.find_spec("ray") is not None
    result: dict[str, Any] = {"environment": environment()}
    result["lanes"] = [row for model, widths in WIDTHS.items() for row in lanes(model, widths)]
    if jax.default_backend() == "cpu":
        result["virtual_devices"] = over_virtual_devices(os.cpu_count() or 2)
    else:
        result["lanes"] += lanes("transformer", (16, 64, 256), keep=None)
    result["against_processes"] = [
        against_processes(32, given.processes, (64, 128, N_RUNS), ray),
        against_processes(128, given.processes, (N_RUNS,), False),
    ]
    result["table"] = table()
    report(result)
    keep(result, given.json)


if __name__ == "__main__":
    main()
