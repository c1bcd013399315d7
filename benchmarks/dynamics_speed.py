"""Steps a second of sweeps of small networks in toylab, and in eager PyTorch with a loop over models.

    python benchmarks/dynamics_speed.py [--windows 5] [--no-torch] [--cpu-time] [--json FILE]

Two pages as they are: `norm_landscape`, students of 5 → 100 → 100 → 5 at a fixed norm, 20 seeds × 11 norms, full batch
of 100; and `two_circuits`, 5 seeds of 40 → 1000 → 1 with hinge loss, SGD with L2 and batches of 32 by epochs. toylab
trains the runs of a page in lanes of the width that the sweep chooses. The authors' code trains one model after another:
so does "PyTorch, a model at a time". "PyTorch, all models" has the weights of all in one tensor and one optimizer, as
somebody would write it who wants speed. Contestants take their windows in turn: read the ratios. With --cpu-time the clock
is that of the process: pinned to one core, on a machine that others use too, it does not count them.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from account import keep, verdict
from jax import Array

from toylab.base import Config
from toylab.experiments.grokking import norm_landscape, two_circuits
from toylab.sweep.lanes import Lane, first_states
from toylab.sweep.plan import choose_plan, environment

WINDOW = 64  # steps timed at a time: two epochs of two_circuits
EPOCH = 32  # steps
TARGETS = {"norm_landscape": 20.0, "two_circuits": 30.0}  # times as many steps of a run a second as a model at a time
Advance = Callable[[int], None]
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def of_toylab(configs: Sequence[Config]) -> tuple[Advance, int]:
    """All steps of one lane, and how many runs it has."""
    width = choose_plan(configs, [0, 1000, 2000], {}, None, None).lane
    members = list(configs)[:width]
    state = first_states(members)
    lane = Lane(members, state, list(range(len(members))), len(members), (), None)
    return lambda steps: _fetched(lane.advance(np.array([steps]), 1)), len(members)


def _fetched(recorded: dict[str, Any]) -> None:
    np.asarray(recorded["measures"]["train_loss"])


def torch_students(models: int) -> Advance:
    """Students at a fixed norm, restored after each step as the authors do it; `models` of them in one tensor."""
    import torch

    sizes = ((5, 100), (100, 100), (100, 5))
    W = [torch.nn.Parameter((torch.rand(models, i, o) * 2 - 1) / i**0.5) for i, o in sizes]
    b = [torch.nn.Parameter((torch.rand(models, 1, o) * 2 - 1) / i**0.5) for i, o in sizes]
    x, y = torch.randn(models, 100, 5), torch.randn(models, 100, 5)
    optimizer = torch.optim.Adam([*W, *b], lr=1e-3)

    def norm() -> torch.Tensor:
        return sum(((p**2).sum((1, 2)) for p in (*W, *b)), torch.zeros(models)).sqrt()

    start = norm().detach()

    def advance(steps: int) -> None:
        for _ in range(steps):
            h = torch.tanh(torch.baddbmm(b[0], x, W[0]))
            h = torch.tanh(torch.baddbmm(b[1], h, W[1]))
            loss = ((torch.baddbmm(b[2], h, W[2]) - y) ** 2).mean((1, 2)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                factor = (start / norm())[:, None, None]
                for p in (*W, *b):
                    p.mul_(factor)

    return advance


def torch_parities(models: int) -> Advance:
    """Sparse parity as Merrill et al. have it; `models` of them in one tensor, each with batches of its own."""
    import torch

    W = torch.nn.Parameter((torch.rand(models, 40, 1000) * 2 - 1) / 40**0.5)
    b = torch.nn.Parameter((torch.rand(models, 1, 1000) * 2 - 1) / 40**0.5)
    v = torch.nn.Parameter((torch.rand(models, 1000, 1) * 2 - 1) / 1000**0.5)
    x = torch.randint(0, 2, (models, 1000, 40)).float() * 2 - 1
    y = x[:, :, :3].prod(dim=2, keepdim=True)
    optimizer = torch.optim.SGD([W, b, v], lr=0.1, weight_decay=0.01)
    rows, orders = torch.arange(models)[:, None], [torch.zeros(0, dtype=torch.long)]

    def advance(steps: int) -> None:
        for step in range(steps):
            if step % EPOCH == 0:
                orders[0] = torch.stack([torch.randperm(1000) for _ in range(models)])
            chosen = orders[0][:, 32 * (step % EPOCH) : 32 * (step % EPOCH + 1)]
            out = torch.relu(torch.baddbmm(b, x[rows, chosen], W)) @ v
            loss = torch.relu(1 - out * y[rows, chosen]).mean((1, 2)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return advance


def seconds_a_step(advance: Advance, clock: str, window: int = WINDOW) -> float:
    """One window; what a call costs beside its steps is taken off."""
    times = []
    for steps in (0, window):
        start = CLOCKS[clock]()
        advance(steps)
        times.append(CLOCKS[clock]() - start)
    return (times[1] - times[0]) / window


def race(
    configs: Sequence[Config], of_torch: Callable[[int], Advance] | None, windows: int, clock: str
) -> dict[str, Any]:
    """Microseconds that a step of one run takes, by contestant: medians over the windows; ratios within each round."""
    ours, width = of_toylab(configs)
    ready = {"toylab": (ours, width)}
    if of_torch:
        ready["PyTorch, a model at a time"] = of_torch(1), 1
        ready["PyTorch, all models"] = of_torch(len(configs)), len(configs)
    for advance, _ in ready.values():
        advance(WINDOW)  # compiles, and ends where an epoch does
    times: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(windows):
        for name, (advance, runs) in ready.items():
            times[name].append(1e6 * seconds_a_step(advance, clock) / runs)
    ratios = {name: statistics.median(a / b for a, b in zip(times[name], times["toylab"], strict=True))
              for name in ready if name != "toylab"}  # fmt: skip
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    return {"runs": len(configs), "lane": width, "us_a_step_of_a_run": medians, "times_as_fast": ratios}


def order_us(windows: int, clock: str, runs: int = 5, n: int = 1000) -> float:
    """Microseconds that drawing the order of an epoch takes of a run, drawn for all runs together as a lane does it."""

    def advance(steps: Array, keys: Array) -> Array:
        def step(i: Array, total: Array) -> Array:
            return total + jax.vmap(lambda key: jax.random.permutation(jax.random.fold_in(key, i), n)[:32])(keys).sum()

        return jax.lax.fori_loop(0, steps, step, jnp.int32(0))

    drawn, keys = jax.jit(advance), jax.random.split(jax.random.key(0), runs)
    drawn(2, keys).block_until_ready()
    taken = [seconds_a_step(lambda steps: drawn(steps, keys).block_until_ready(), clock) for _ in range(windows)]
    return 1e6 * statistics.median(taken) / runs


def report(result: dict[str, Any]) -> None:
    print(f"\n{', '.join(f'{name} {value}' for name, value in result['environment'].items())}\n")
    print("| page | runs | contestant | µs a step of a run | toylab is times as fast |\n|---|---|---|---|---|")
    for page in TARGETS:
        row = result[page]
        for name, us in row["us_a_step_of_a_run"].items():
            ratio = row["times_as_fast"].get(name)
            print(f"| {page} | {row['runs']} | {name} | {us:.1f} | {f'{ratio:.1f}' if ratio else ''} |")
    each = result["order_us"] / EPOCH
    print(f"\nThe order of an epoch of two_circuits takes {result['order_us']:.0f} µs, {each:.1f} a step.\n")
    for page, target in TARGETS.items():
        if ratio := result[page]["times_as_fast"].get("PyTorch, a model at a time"):
            print(f"- {verdict(ratio >= target)}: {page} {ratio:.1f} times as fast, target ≥ {target:g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--windows", type=int, default=5, help=f"windows of {WINDOW} steps for each (default 5)")
    parser.add_argument("--no-torch", action="store_true", help="toylab only")
    parser.add_argument("--cpu-time", action="store_true", help="of this process, in place of the time that passes")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    given = parser.parse_args()
    fixed = norm_landscape.PARTS["teacher"].configs["cpu"]
    students = [config for config in fixed if type(config.optimizer).__name__ == "Chain"]
    torch, clock = not given.no_torch, "cpu" if given.cpu_time else "wall"
    result = {
        "environment": environment(),
        "clock": clock,
        "windows": given.windows,
        "norm_landscape": race(students, torch_students if torch else None, given.windows, clock),
        "order_us": order_us(given.windows, clock),
        "two_circuits": race(two_circuits.parity(range(5)), torch_parities if torch else None, given.windows, clock),
    }
    report(result)
    keep(result, given.json)


if __name__ == "__main__":
    main()
