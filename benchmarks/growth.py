"""What a sweep costs beside its training, as it grows: by runs, by groups, by saved points and by the model's size.

    python benchmarks/growth.py [--quick] [--json benchmarks/results/growth_cpu.json] [--figure docs/pages/growth.png]

Each is measured over two decades, in seconds of CPU time of this process (or of the command's), so that other work on the
machine matters little. Groups are those of benchmarks/groups_of_nothing.py: whole on disk, and trained by nobody. Below a
table stands the power of each cost over the last decade: 1 is linear.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import groups_of_nothing as nothing
import jax
import jax.numpy as jnp
import numpy as np
from account import keep

from toylab import configs as cfg
from toylab import store, sweep, train
from toylab.base import Config, State
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.plots import style
from toylab.records import status
from toylab.sweep import environment
from toylab.sweep.lanes import first_state
from toylab.tasks import ModularArithmetic

RUNS = (500, 5_000, 50_000)  # of a dry run
GROUPS = (20, 200, 2_000)  # of one run each
BEGUN = (1_000, 10_000, 100_000)  # groups of nothing but a manifest
WIDE = (2, 20, 200)  # runs in each of 20 groups
CHUNKS = (3, 30, 300)  # of 10 points, in a group of 8 runs
HIDDEN = (32, 320, 3_200)  # units of an MLP
Row = dict[str, float]


def seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


# --- by runs: the whole command, which compiles nothing


def dry_run(n_runs: int) -> Row:
    """CPU seconds and peak memory of `toylab run grokking --dry-run` of so many runs, with the start of the process."""
    command = [sys.executable, "-m", "toylab", "run", "grokking", "--scale", "smoke", "--dry-run"]
    fields = ["--set", "optimizer.weight_decay=0.1:3:log50", "--seeds", str(n_runs // 50)]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([*command, *fields, "--out", folder], stdout=subprocess.DEVNULL)
        _, code, used = os.wait4(process.pid, 0)
    if code:
        raise SystemExit(f"{' '.join(command)} failed.")
    bytes_per_unit = 1 if sys.platform == "darwin" else 1024
    return {"runs": n_runs, "dry run": used.ru_utime + used.ru_stime, "peak MB": used.ru_maxrss * bytes_per_unit / 1e6}


# --- by groups, runs and points on disk


def on_disk(name: str, n: int, **sizes: int) -> Row:
    """CPU seconds of what reads a whole sweep: its status, all measures, and the table."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "runs"
        nothing.make(place, **sizes)
        found = {
            "status": seconds(lambda: status.status(place)),
            "all measures": seconds(lambda: dict(sweep.load(place, params=False).measures)),
            "table": seconds(lambda: sweep.write_table(place, Path(folder) / "runs.parquet")),
        }
        return {name: n, **found, "table MB": (Path(folder) / "runs.parquet").stat().st_size / 1e6}


def begun(n_groups: int) -> Row:
    """The same of groups that are begun and have no point yet: what the folders and records themselves cost."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "runs"
        making = seconds(lambda: nothing.make(place, n_groups, n_chunks=0))
        asked = seconds(lambda: status.status(place))
        listed = seconds(lambda: sweep.saved_steps(place))
    return {"groups begun": n_groups, "writing them": making, "status": asked, "sweep.json": listed}


# --- by the size of the model


def config(hidden: int) -> Config:
    net = Net.of(ModularMLP, d_vocab=31, d_vocab_out=31, d_model=hidden // 2, d_mlp=hidden)
    return cfg.check(Config(ModularArithmetic(p=31, n_train=384), net, AdamW()))


def model(hidden: int, n_steps: int) -> Row:
    """CPU milliseconds of a training step and of a commit of one point of one run, for an MLP of so many hidden units."""
    one = config(hidden)
    data, state = jax.jit(train.data)(one), first_state(one, None)
    loop = jax.jit(_steps)
    jax.block_until_ready(loop(one, data, state, jnp.int32(1)))  # compiles
    steps = min(seconds(lambda: jax.block_until_ready(loop(one, data, state, jnp.int32(n_steps)))) for _ in range(3))
    params = {name: np.asarray(leaf)[None, None] for name, leaf in state.params.items()}
    with tempfile.TemporaryDirectory() as folder:
        commits = [
            seconds(lambda at=at: store.write_chunk(Path(folder), at, {"traj": params}, {"points": at}))  # type: ignore[misc]
            for at in range(1, 6)
        ]
    n_params = sum(leaf.size for leaf in params.values())
    return {"params": n_params, "ms a step": 1e3 * steps / n_steps, "ms a commit": 1e3 * min(commits)}


def _steps(one: Config, data: Any, state: State, n_steps: jax.Array) -> State:
    key = jax.random.key(one.data_seed)
    return jax.lax.fori_loop(0, n_steps, lambda _, before: train.step(one, data, key, before), state)


# --- the report


def measured(quick: bool) -> dict[str, list[Row]]:
    """All rows; `quick`: one decade of small sizes, to try the benchmark itself."""

    def some(sizes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(size // 10 for size in sizes[1:]) if quick else sizes

    found: dict[str, list[Row]] = {
        "runs": [dry_run(n) for n in some(RUNS)],
        "groups": [on_disk("groups", n, n_groups=n) for n in some(GROUPS)],
        "groups begun": [begun(n) for n in some(BEGUN)],
        "runs a group": [on_disk("runs a group", n, n_groups=20, n_runs=n) for n in some(WIDE)],
        "chunks": [on_disk("chunks", n, n_groups=1, n_runs=8, n_points=10 * n, n_chunks=n) for n in some(CHUNKS)],
        "model": [model(n, max(3_200 // n, 1) * (2 if quick else 20)) for n in some(HIDDEN)],
    }
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB", file=sys.stderr)
    return found


def power(rows: list[Row], name: str) -> float:
    """The power of a cost in the size, over the last decade; the first entry of a row is its size."""
    (small, large), size = rows[-2:], next(iter(rows[0]))
    return float(np.log(large[name] / small[name]) / np.log(large[size] / small[size]))


def report(found: dict[str, list[Row]]) -> None:
    for rows in found.values():
        size, *costs = rows[0]
        print(f"| {size} | {' | '.join(costs)} |\n|{'---|' * len(rows[0])}")
        for row in rows:
            print(f"| {row[size]:,.0f} | {' | '.join(f'{row[cost]:.3g}' for cost in costs)} |")
        print(f"| power | {' | '.join(f'{power(rows, cost):.2f}' for cost in costs)} |\n")


@style.house
def figure(found: dict[str, list[Row]]) -> Any:
    """The costs over sizes, both axes logarithmic, with a line of slope 1 through the largest of each."""
    shown = {
        "runs": ("dry run",),
        "groups": ("status", "all measures", "table"),
        "groups begun": ("status", "writing them"),
        "runs a group": ("status", "all measures", "table"),
        "chunks": ("status", "all measures", "table"),
        "model": ("ms a step", "ms a commit"),
    }
    drawn, axes = style.panels(style.PAGE, 4.4, columns=3, rows=2)
    for ax, (name, costs) in zip(axes, shown.items(), strict=True):
        rows, unit = found[name], "milliseconds" if name == "model" else "seconds"
        x = np.array([next(iter(row.values())) for row in rows])
        for cost, color in zip(costs, style.SERIES, strict=False):
            y = np.array([row[cost] for row in rows])
            ax.plot(x, y, "o-", color=color, markersize=3, label=f"{cost}, power {power(rows, cost):.2f}")
            ax.plot(x, y[-1] * x / x[-1], ":", color=color, linewidth=0.7)
        every = [row[cost] for row in rows for cost in costs]
        ends = 10 ** np.floor(np.log10(min(every))), 10 ** (np.ceil(np.log10(max(every))) + 1)  # room for the names
        ax.set(xscale="log", yscale="log", ylim=ends, xlabel=next(iter(rows[0])), ylabel=f"CPU {unit}")
        ax.minorticks_off()
        ax.set_xticks(x, [f"{one:,.0f}" for one in x])
        ax.legend(frameon=False, fontsize=6, loc="upper left")
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="one decade of small sizes")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    parser.add_argument("--figure", type=Path, help="also draw them there, as a .png")
    given = parser.parse_args()
    found = measured(given.quick)
    report(found)
    keep({"environment": environment(), **found}, given.json)
    if given.figure:
        style.save(figure(found), given.figure)


if __name__ == "__main__":
    main()
