"""Where the time of a training step goes, by what XLA's operations do.

    taskset -c 1 python benchmarks/step_profile.py [--steps 200] [--json FILE]

JAX's profiler records each operation of the compiled program. Its kind is read off the program: a fusion with a product of
matrices in it counts as products. On one core, where operations come one after the other, so that their times add up to
the step's. Beside it the rate of the best float32 product on that core, and of the products alone within the step.
"""

import argparse
import re
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attention_speed
import jax
import numpy as np
import superposition_speed
import sweep_speed
from account import keep, n_cores
from contestants import JaxTraining, grokking_config, matmuls
from jax.profiler import ProfileData
from train_speed import necessary_flops, seconds

from toylab.base import Config
from toylab.sweep.plan import environment

LANE = 16  # small MLPs side by side
KINDS: dict[str, re.Pattern[str]] = {  # in this order: the first that an operation has
    "products of matrices": re.compile(r"^(dot|convolution)$"),
    "random numbers": re.compile(r"^(rng|shift|xor|population)"),
    "rows looked up, added": re.compile(r"^(gather|scatter|sort|dynamic-(update-)?slice)$"),
    "softmax and loss": re.compile(r"^(exponential|log|exponential-minus-one|log-plus-one)$"),
    "optimiser": re.compile(r"^(sqrt|rsqrt)$"),
    "sums": re.compile(r"^reduce"),
    "element by element": re.compile(r"^(add|multiply|subtract|divide|maximum|select|compare|negate|convert|power)$"),
}
COPIES = "copies"
AROUND = re.compile(r"^(while|conditional|call|tuple|get-tuple-element|parameter|constant|bitcast)$")
INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (?:\([^=]*?\)|\S+) ([\w-]+)\(")
CALLED = re.compile(r"(?:calls|to_apply|body|condition|branch_computations)=\{?%?([\w.-]+)")
COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) \(.*\{\s*$")


def programs() -> dict[str, tuple[list[Config], int]]:
    """By name: the runs of a lane, and the FLOPs that a step of it needs in products."""
    figure = superposition_speed.figure(200, 20, 20, 1, "shared")
    small = [sweep_speed.mlp(seed, 32) for seed in range(LANE)]
    return {
        "grokking, p = 113": ([grokking_config()], necessary_flops()),
        "attention, two layers": ([attention_speed.config()], attention_speed.necessary_flops()),
        "superposition, 20 sparsities": (figure, 20 * 3 * 2 * 2 * 1024 * 200 * 20),
        f"{LANE} small MLPs": (small, LANE * mlp_flops()),
    }


def mlp_flops(p: int = 31, n_train: int = 384, d_model: int = 16, d_mlp: int = 32) -> int:
    """2·m·k·n each, three times: of p numbers as first and as second operand into the hidden layer, a table, and of each
    pair's hidden layer into the classes."""
    return 3 * 2 * (2 * p * d_model * d_mlp + n_train * d_mlp * p)


def kinds_of(program: str) -> dict[str, str]:
    """The kind of each operation of a compiled program, by its name; those that hold others are left out."""
    inside: dict[str, list[tuple[str, str, list[str]]]] = {}
    at = ""
    for line in program.splitlines():
        if header := COMPUTATION.match(line):
            at = header[1]
            inside[at] = []
        elif (found := INSTRUCTION.match(line)) and at:
            inside[at].append((found[1], found[2], CALLED.findall(line)))

    def operations(name: str, opcode: str, called: list[str]) -> set[str]:
        within = {one for computation in called for each in inside.get(computation, []) for one in operations(*each)}
        return {opcode} | within

    kinds = {}
    for computation in inside.values():
        for name, opcode, called in computation:
            if not AROUND.match(opcode):
                kinds[name] = kind_of(operations(name, opcode, called))
    return kinds


def kind_of(operations: set[str]) -> str:
    return next((kind for kind, has in KINDS.items() if any(has.match(one) for one in operations)), COPIES)


def profile(configs: list[Config], flops: int, n_steps: int, rate: float) -> dict[str, Any]:
    """Shares of the time of a step by kind, and how fast its products are, over the best rate."""
    training = JaxTraining(configs)
    steps = np.array([n_steps], np.int32)
    kinds = kinds_of(training.function.lower(training.config, training.state, steps).compile().as_text())
    training.advance(1)
    bare = statistics.median(seconds(lambda: training.advance(n_steps)) for _ in range(3)) / n_steps
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            training.advance(n_steps)
        (file,) = Path(folder).rglob("*.xplane.pb")
        taken = times(ProfileData.from_file(str(file)), kinds)
    total = sum(taken.values())
    shares = {kind: time / total for kind, time in taken.most_common()}
    products = shares.get("products of matrices", 0.0)
    return {
        "ms": 1e3 * bare,
        "recorded_share": total / n_steps / bare,
        "shares": shares,
        "rate_share": flops / bare / rate,
        "rate_share_within_products": flops / (bare * products) / rate if products else None,
    }


def times(data: Any, kinds: Mapping[str, str]) -> Counter[str]:
    """Seconds by kind, of the operations that the profile names."""
    found: Counter[str] = Counter()
    for plane in data.planes:
        for line in plane.lines:
            for event in line.events:
                if event.name in kinds:
                    found[kinds[event.name]] += 1e-9 * event.duration_ns
    return found


def best_rate(rounds: int = 5) -> float:
    """FLOP/s of the fastest float32 product."""
    products: dict[str, tuple[int, Callable[[], Any]]] = matmuls(with_torch=False)
    return max(flops / min(seconds(product) for _ in range(rounds)) for flops, product in products.values())


def report(result: dict[str, Any]) -> None:
    """The table, in markdown."""
    names = list(result["programs"])
    found = list(dict.fromkeys(kind for name in names for kind in result["programs"][name]["shares"]))
    print(f"{result['cores']} core; the best product {result['gflops']:.0f} GFLOP/s\n")
    print("| | " + " | ".join(names) + " |")
    print("|---" * (1 + len(names)) + "|")
    rows = result["programs"].values()
    print("| ms a step | " + " | ".join(f"{row['ms']:.3g}" for row in rows) + " |")
    for kind in found:
        print(f"| {kind} | " + " | ".join(f"{row['shares'].get(kind, 0):.0%}" for row in rows) + " |")
    for name, key in (
        ("FLOPs of products over the best rate, whole step", "rate_share"),
        ("the same within the products", "rate_share_within_products"),
        ("recorded of the step's time", "recorded_share"),
    ):
        print(f"| {name} | " + " | ".join("–" if row[key] is None else f"{row[key]:.0%}" for row in rows) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--steps", type=int, default=200, metavar="N", help="that are recorded of each (default: 200)")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="also write the numbers there")
    options = parser.parse_args()
    if options.steps < 1:
        parser.error("--steps is at least 1")
    rate = best_rate()
    rows = {name: profile(configs, flops, options.steps, rate) for name, (configs, flops) in programs().items()}
    result = {"cores": n_cores(), "gflops": rate / 1e9, "programs": rows, "environment": environment()}
    report(result)
    keep(result, options.json)


if __name__ == "__main__":
    main()
