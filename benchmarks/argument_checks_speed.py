"""Microseconds that `@shaped` (toylab/shapes/checks.py) adds to a call, and that it adds nothing to a compiled program.

    python benchmarks/argument_checks_speed.py [--calls 20000] [--json benchmarks/results/argument_checks_speed.json]

Three calls of different sizes: one array, two arrays that share an axis, and a mapping of seven; each eager, jax's own
dispatch included, with the check and without (`__wrapped__`), in turn, and the check alone, around a function that does
nothing. Under jit the two programs are compared as text (jaxpr and optimised HLO), and the compiled calls are timed.
"""

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from account import keep, verdict

from toylab.analysis.attention.circuits import direct_path
from toylab.analysis.modular.fourier import logit_fve
from toylab.analysis.superposition.geometry import feature_norms
from toylab.shapes import shaped

ROUNDS = 9
TARGET = 25.0  # µs that a check may take; ours, about what jax takes for one eager operation


def calls() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> jax.Array:
        return jax.numpy.asarray(rng.normal(size=shape), "float32")

    heads = {name: normal(2, 4, 16, 8) for name in ("W_Q", "W_K", "W_V")}
    params = {
        "W_E": normal(10, 16),
        "W_pos": normal(12, 16),
        "W_O": normal(2, 4, 8, 16),
        "W_U": normal(16, 10),
        **heads,
    }
    return {
        "one array": (feature_norms, (normal(6, 2),)),
        "two arrays": (logit_fve, (normal(5, 5, 5), jax.numpy.ones(3, bool))),
        "a mapping of seven": (direct_path, (params,)),
    }


def microseconds(fn: Callable[..., Any], args: tuple[Any, ...], n: int) -> float:
    start = time.perf_counter()
    for _ in range(n):
        found = fn(*args)
    jax.block_until_ready(found)
    return (time.perf_counter() - start) / n * 1e6


def race(contestants: dict[str, Callable[..., Any]], args: tuple[Any, ...], n: int) -> dict[str, float]:
    """The fastest of the rounds in which each has its turn: whatever else the machine does makes a call slower."""
    rounds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, fn in contestants.items():
            rounds[name].append(microseconds(fn, args, max(n // ROUNDS, 1)))
    return {name: min(each) for name, each in rounds.items()}


def nothing(like: Any) -> Any:
    """Takes what `like` takes, and returns at once."""
    return functools.wraps(like)(lambda *args: None)


def programs(fn: Any, args: tuple[Any, ...]) -> tuple[str, str]:
    """As jax traces it; and the instructions that XLA runs, without the tables of the lines of Python they came from."""
    traced = jax.jit(lambda *xs: fn(*xs)).trace(*args)
    instructions = [x for x in traced.lower().compile().as_text().splitlines() if " = " in x]
    return str(traced.jaxpr), "\n".join(line.split(", metadata=")[0] for line in instructions)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result: dict[str, Any] = {"jax": jax.__version__}
    for name, (fn, arrays) in calls().items():
        bare = fn.__wrapped__
        few = max(args.calls // 20, 20)
        eager = race({"checked": fn, "unchecked": bare}, arrays, few)
        alone = race({"checked": shaped(nothing(bare)), "unchecked": nothing(bare)}, arrays, args.calls)
        jitted = race({"checked": jax.jit(fn), "unchecked": jax.jit(bare)}, arrays, args.calls)
        same = programs(fn, arrays) == programs(bare, arrays)
        check = alone["checked"] - alone["unchecked"]
        result[name] = {"check": check, "eager": eager, "jitted": jitted, "same_program": same}
        print(
            f"{name:20} check {check:5.1f} µs {verdict(check <= TARGET)} · eager {eager['unchecked']:.0f} → "
            f"{eager['checked']:.0f} µs · jitted {jitted['unchecked']:.1f} → {jitted['checked']:.1f} µs · "
            f"same program: {verdict(same)}"
        )
    keep(result, args.json)


if __name__ == "__main__":
    main()
