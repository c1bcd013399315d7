"""Milliseconds that a training step of the grokking transformer takes in toylab, in plain JAX and in PyTorch.

    python benchmarks/train_speed.py [--steps 100] [--no-torch] [--json benchmarks/results/train_speed.json]

The network of Nanda et al. 2023 at full size: p = 113, 3,830 training pairs as one batch, d_model 128,
4 heads, d_mlp 512, 114 logits, AdamW(1e-3, wd 1, betas .9/.98, warm-up 10), float32. All contestants start from
the same weights and data and take the same steps in turn, a short window each, so that a busy machine slows all
of them alike: read the ratios. The machine's own float32 matmul rate is measured in the same rounds. On an
accelerator, lanes of many runs are timed as well.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jax
from account import keep, verdict
from contestants import Contestant, JaxTraining, contestants, grokking_config, matmuls, no_torch, on_accelerator

from toylab.base import Config
from toylab.sweep.plan import environment

WINDOW = 5  # steps timed at a time
MATMUL_WINDOW = 20_000_000_000  # FLOPs timed at a time
LANES = (1, 16, 64, 256)  # runs in one vmap, on accelerators
TARGETS = {"PyTorch eager": 8.0, "plain JAX": 4.0}  # times toylab's step
SHARE_TARGET = 0.45  # of the matmul rate


def necessary_flops(
    n_batch: int = 3830, n_positions: int = 3, d_vocab: int = 114, d_model: int = 128, d_mlp: int = 512
) -> int:
    """Floating-point operations of a step's matrix products, 2·m·k·n each, with the first layer as a table.

    Forward, with B = n_batch, V = d_vocab = d_vocab_out, P = n_positions, D = d_model:
      first layer    on the (position, token) table, q of the last position, k and v of all   2·V·D·D·(1 + 2P)
      attention      q·k of the one query, and pattern·v                                      2·B·P·D each
      last position  W_O 2·B·D·D, W_in and W_out 2·B·D·d_mlp each, W_U 2·B·D·V
    Times three: each product has two of its size in the backward pass. Not counted: gathers and scatters,
    softmax, loss, activation, biases, optimizer; nor that toylab takes q·k on a table of token pairs, which is
    faster, not smaller.
    """
    table = 2 * d_vocab * d_model * d_model * (1 + 2 * n_positions)
    attention = 2 * (2 * n_batch * n_positions * d_model)
    last = 2 * n_batch * d_model * (d_model + 2 * d_mlp + d_vocab)
    return 3 * (table + attention + last)


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def seconds_a_step(contestant: Contestant) -> float:
    """One window. What a call costs beside its steps (toylab's measures a saved point) is taken off."""
    contestant.advance(1)  # caches and threads are the contestant's own again
    return (seconds(lambda: contestant.advance(WINDOW)) - seconds(lambda: contestant.advance(0))) / WINDOW


def seconds_a_product(flops: int, product: Callable[[], Any]) -> float:
    """About as long a window as a contestant's, so that short products are not timed asleep."""
    repeats = max(MATMUL_WINDOW // flops, 1)
    product()
    return seconds(lambda: [product() for _ in range(repeats)]) / repeats


def race(
    ready: dict[str, Contestant], products: dict[str, tuple[int, Callable[[], Any]]], needed: int, n_steps: int
) -> dict[str, Any]:
    """All contestants and matmuls in rounds. Medians over the rounds, ratios taken within each round."""
    first = {name: contestant.loss() for name, contestant in ready.items()}
    times: dict[str, list[float]] = {name: [] for name in [*ready, *products]}
    for _ in range(max(n_steps // WINDOW, 1)):
        for name, contestant in ready.items():
            times[name].append(seconds_a_step(contestant))
        for name, (flops, product) in products.items():
            times[name].append(seconds_a_product(flops, product))
    rates = {name: flops / statistics.median(times[name]) / 1e9 for name, (flops, _) in products.items()}
    best = max(rates.values())
    rows = {
        name: {
            "ms": 1e3 * statistics.median(times[name]),
            "times_toylab": statistics.median(a / b for a, b in zip(times[name], times["toylab"], strict=True)),
            "matmul_share": needed / statistics.median(times[name]) / 1e9 / best,
            "first_loss": first[name],
            "last_loss": contestant.loss(),
        }
        for name, contestant in ready.items()
    }
    return {
        "steps": len(times["toylab"]) * (WINDOW + 1) + 1,
        "rounds": len(times["toylab"]),
        "necessary_gflop": needed / 1e9,
        "matmul_gflops": rates,
        "contestants": rows,
    }


def lanes(n_steps: int, config: Callable[[int], Config] = grokking_config) -> list[dict[str, Any]]:
    """Many runs in one program: ms a step of the lane and of each of its runs, at both matmul precisions."""
    found = []
    for precision in ("highest", "default"):
        for width in LANES:
            with jax.default_matmul_precision(precision):
                training = JaxTraining([config(seed) for seed in range(width)])
                training.advance(1)
                step = statistics.median(seconds_a_step(training) for _ in range(max(n_steps // WINDOW, 1)))
            found.append({"precision": precision, "runs": width, "ms": 1e3 * step, "ms_a_run": 1e3 * step / width})
    return found


def report(result: dict[str, Any]) -> None:
    """The tables, in markdown."""
    report_race(result)
    for name, target in TARGETS.items():
        if name in result["contestants"]:
            reached = result["contestants"][name]["times_toylab"]
            print(f"- {verdict(reached >= target)}: {reached:.2f} times as fast as {name}, target ≥ {target:g}")
    share = result["contestants"]["toylab"]["matmul_share"]
    print(f"- {verdict(share >= SHARE_TARGET)}: {share:.1%} of the matmul rate, target ≥ {SHARE_TARGET:.0%}")
    report_losses(result)
    report_lanes(result["lanes"])


def report_race(result: dict[str, Any]) -> None:
    rates = result["matmul_gflops"]
    best = max(rates, key=rates.__getitem__)
    print(f"\n{', '.join(f'{name} {value}' for name, value in result['environment'].items())}")
    print(f"{result['steps']} steps in {result['rounds']} rounds; medians\n")
    print("| contestant | ms a step | times toylab | of matmul rate | loss at step 1 | loss at the end |")
    print("|---|---|---|---|---|---|")
    for name, row in result["contestants"].items():
        print(
            f"| {name} | {row['ms']:.2f} | {row['times_toylab']:.2f} | {row['matmul_share']:.1%} "
            f"| {row['first_loss']:.6f} | {row['last_loss']:.6f} |"
        )
    print("".join(f"\nLeft out: {line}" for line in result["left_out"]))
    print(f"\nNecessary for a step: {result['necessary_gflop']:.2f} GFLOP. Matmul rate in GFLOP/s (best: {best}):")
    print(", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()) + "\n")


def report_losses(result: dict[str, Any]) -> None:
    firsts, lasts = ([row[key] for row in result["contestants"].values()] for key in ("first_loss", "last_loss"))
    apart, drift = max(firsts) - min(firsts), (max(lasts) - min(lasts)) / max(lasts)
    print(f"- {verdict(apart <= 1e-4)}: the losses at step 1 agree to {apart:.1e}, target ≤ 1e-4")
    print(f"- {verdict(drift <= 0.05)}: the losses at the end agree to {drift:.1%}, target ≤ 5%")


def report_lanes(rows: list[dict[str, Any]]) -> None:
    if rows:
        print("\n| matmul precision | runs | ms a step | ms a step and run |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row['precision']} | {row['runs']} | {row['ms']:.3f} | {row['ms_a_run']:.4f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--steps", type=int, default=100, help="timed steps of each contestant (default 100)")
    parser.add_argument("--no-torch", action="store_true", help="toylab and plain JAX only")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    given = parser.parse_args()
    with jax.default_matmul_precision("highest") if on_accelerator() else nullcontext():  # as PyTorch has it
        refused = no_torch() if not given.no_torch else "PyTorch: by --no-torch"
        ready, missing = contestants(not refused)
        result = {
            "environment": environment(),
            **race(ready, matmuls(not refused), necessary_flops(), given.steps),
            "left_out": [refused] if refused else missing,
        }
    result["lanes"] = lanes(given.steps) if on_accelerator() else []
    report(result)
    keep(result, given.json)


if __name__ == "__main__":
    main()
