"""How long the measures of modular-addition circuits take, in toylab and as a loop in PyTorch.

    python benchmarks/circuits_speed.py [--rounds 5] [--points 400] [--no-torch] [--json FILE]

The one-layer transformer of Zhong et al. 2023 (p = 59, d_model 128, attention rate 0.8, float32) with random weights and
circles in the embedding: gradient symmetricity over the paper's 100 triples, and the FVEs of one circle. toylab and PyTorch
take turns (read the ratios) and must agree. PyTorch loops over triples, and over pairs; for the FVEs also with all pairs in
one batch. Then all modular analyzers along a trajectory of that network, with the process's peak memory (before torch is
imported), and everything of a report of a network of four layers.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from account import keep, verdict

from toylab.analysis import analyze, together
from toylab.analysis.modular import circuits as mc
from toylab.analysis.modular.inputs import inputs_of, published_triples
from toylab.base import Config, Run
from toylab.models import Net
from toylab.models.pizza import PizzaTransformer
from toylab.optim import AdamW
from toylab.sweep.plan import environment
from toylab.tasks import ModularArithmetic

P, RATE = 59, 0.8
ALL = together(symmetry=mc.symmetry, distance=mc.distance, roundness=mc.roundness, circles=mc.circles)
TARGETS = {"gradient_symmetricity": 10.0, "circle_fve": 10.0}  # times faster than the loop
SECONDS, GIB, REPORT_SECONDS = 120.0, 2.0, 2.0  # of 400 points on two cores; of one network


def network(n_layers: int = 1) -> tuple[Net, dict[str, Any]]:
    net = Net.of(PizzaTransformer, d_vocab=P, d_vocab_out=P, n_layers=n_layers, attention_rate=RATE)
    params = net.init(jax.random.key(0))
    angles = 2 * np.pi * np.outer(np.arange(P), (3, 15, 17, 25)) / P
    circles = np.hstack([np.cos(angles), np.sin(angles)]) * np.tile((1.0, 0.8, 0.6, 0.4), 2)
    return net, {**params, "W_E": 0.1 * params["W_E"] + np.asarray(circles @ params["W_E"][:8], np.float32)}


def trajectory(n_points: int) -> dict[str, float]:
    """Every modular analyzer over a line from one initialization to another."""
    net, start = network()
    end = net.init(jax.random.key(1))
    way = np.linspace(0, 1, n_points, dtype=np.float32)
    params = {
        name: np.stack([(1 - t) * np.asarray(start[name]) + t * np.asarray(end[name]) for t in way])[None]
        for name in start
    }
    task = ModularArithmetic(p=P, n_train=2784)
    config = Config(task=task, net=net, optimizer=AdamW())
    data = jax.tree.map(lambda x: np.asarray(x)[None], {"tokens": inputs_of(start).all_tokens()})
    begin = time.perf_counter()
    analyze(ALL, params, Run(config, data), report=None)
    taken = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"points": n_points, "seconds": taken, "peak_gib": peak}


def contestants(with_torch: bool) -> dict[str, dict[str, Callable[[], Any]]]:
    net, params = network()
    ready: dict[str, dict[str, Callable[[], Any]]] = {
        "gradient_symmetricity": {"toylab": lambda: mc.gradient_symmetricity(net, params)},
        "circle_fve": {"toylab": lambda: [mc.circle_fve(net, params)]},
    }
    if with_torch:
        import circuits_torch as loop

        frequencies = [int(mc.circle_fve(net, params)["frequency"])]
        other = loop.PizzaTransformer({name: np.asarray(x) for name, x in params.items()}, RATE)
        ready["gradient_symmetricity"]["PyTorch"] = lambda: loop.gradient_symmetricity(other, published_triples(P))
        ready["circle_fve"]["PyTorch"] = lambda: loop.circle_fve(other, frequencies, batched=False)
        ready["circle_fve"]["PyTorch, pairs batched"] = lambda: loop.circle_fve(other, frequencies, batched=True)
    return ready


def agree(measure: str, ours: Any, theirs: Any) -> None:
    if measure == "gradient_symmetricity":
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    else:
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose([one[name] for name in other], list(other.values()), atol=2e-4)


def race(rounds: int, with_torch: bool) -> dict[str, Any]:
    """Seconds of each, medians over the rounds; ratios within each round."""
    found: dict[str, Any] = {}
    for measure, ready in contestants(with_torch).items():
        first = {name: run() for name, run in ready.items()}  # compiles
        for name in first:
            agree(measure, first["toylab"], first[name])
        times: dict[str, list[float]] = {name: [] for name in ready}
        for _ in range(rounds):
            for name, run in ready.items():
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
        found[measure] = {
            name: {
                "ms": 1e3 * statistics.median(taken),
                "ratio": statistics.median(t / own for t, own in zip(taken, times["toylab"], strict=True)),
            }
            for name, taken in times.items()
        }
    return found


def whole_report() -> dict[str, float]:
    net, params = network(n_layers=4)
    times = []
    for _ in range(2):
        start = time.perf_counter()
        mc.circuit_report(net, params)
        times.append(time.perf_counter() - start)
    return {"first": times[0], "seconds": times[1]}


def report(result: dict[str, Any]) -> None:
    print(f"\n{', '.join(f'{name} {value}' for name, value in result['environment'].items())}\n")
    print("| | | ms | times toylab |\n|---|---|---|---|")
    for measure, rows in result["race"].items():
        for name, row in rows.items():
            print(f"| {measure} | {name} | {row['ms']:.1f} | {row['ratio']:.1f} |")
    print()
    for measure, rows in result["race"].items():
        if "PyTorch" in rows:
            ratio, target = rows["PyTorch"]["ratio"], TARGETS[measure]
            print(f"- {verdict(ratio >= target)}: {measure} {ratio:.1f} times as fast as the loop, target ≥ {target:g}")
    way, one = result["trajectory"], result["report"]
    time_holds, space_holds = way["seconds"] < SECONDS, way["peak_gib"] < GIB
    print(f"- {verdict(time_holds)}: {way['points']} points in {way['seconds']:.1f} s, target < {SECONDS:g}")
    print(f"- {verdict(space_holds)}: peak memory {way['peak_gib']:.2f} GiB, target < {GIB:g}")
    print(
        f"- {verdict(one['seconds'] < REPORT_SECONDS)}: a report of four layers in {one['seconds']:.2f} s, target < 2"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=5, help="timings of each contestant (default 5)")
    parser.add_argument("--points", type=int, default=400, help="points of the trajectory (default 400)")
    parser.add_argument("--no-torch", action="store_true", help="toylab only")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    given = parser.parse_args()
    result: dict[str, Any] = {"environment": environment(), "trajectory": trajectory(given.points)}
    result |= {"report": whole_report(), "race": race(given.rounds, not given.no_torch)}
    report(result)
    keep(result, given.json)


if __name__ == "__main__":
    main()
