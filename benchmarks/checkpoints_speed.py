"""How fast checkpoints from elsewhere are read, and how long every modular analyzer takes along them.

    python benchmarks/checkpoints_speed.py [--points 400] [--rounds 5] [--json FILE]

Checkpoints of the one-layer transformer of Nanda et al. 2023 (p = 113, 227,200 parameters), on a line from one
initialization to another, as `.safetensors` by the names of TransformerLens. `importers.load_many`, and every param of
every point as analyzers get them, take turns with NumPy, which reads the same files by their headers, stacks all arrays
and checks nothing (read the ratio). Seconds are of the CPU, so that other programs disturb little. Then the analyzers of
the page `grokking` and the circuits of Zhong et al. 2023 run along the sweep in a process of its own, whose peak of memory
is shown.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from account import keep, verdict

from toylab import importers
from toylab.analysis import norms, task_measures, together
from toylab.analysis.modular import circuits, fourier, progress
from toylab.analysis.modular.inputs import inputs_of
from toylab.experiments.grokking import grokking
from toylab.sweep.plan import environment

P, FRACTION = 113, 0.3
LAYOUT: Any = "transformer_lens"
ALL = together(
    measures=task_measures,
    loss=progress.losses,
    gini=progress.ginis,
    embedding=fourier.embedding,
    neuron_logit=fourier.neuron_logit,
    neurons=fourier.neurons,
    census=fourier.neuron_census,
    numbers=fourier.numbers,
    logits=fourier.logits,
    weights=norms.weights,
    symmetry=circuits.symmetry,
    distance=circuits.distance,
    roundness=circuits.roundness,
    circles=circuits.circles,
)
FINAL = {"logits": fourier.logits}
RATE, SECONDS, GIB = 0.7, 120.0, 2.0


def write(folder: Path, n_points: int) -> None:
    net = grokking.CONFIGS["cpu"][0].net
    ends = [{k: np.asarray(v) for k, v in net.init(jax.random.key(seed)).items()} for seed in range(2)]
    for step, t in enumerate(np.linspace(0, 1, n_points, dtype=np.float32)):
        point = {name: (1 - t) * ends[0][name] + t * ends[1][name] for name in ends[0]}
        importers.save(point, folder / f"step_{100 * step}.safetensors", LAYOUT, net=net)


def by_numpy(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of all files, stacked, by the keys of the files."""
    points: list[dict[str, np.ndarray]] = []
    for path in sorted(folder.iterdir(), key=lambda path: int(path.stem.removeprefix("step_"))):
        raw = path.read_bytes()
        start = 8 + int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8:start])
        header.pop("__metadata__", None)
        points.append(
            {key: np.ndarray(one["shape"], "<f4", raw, start + one["data_offsets"][0]) for key, one in header.items()}
        )
    return {key: np.stack([point[key] for point in points]) for key in points[0]}


def blocks(folder: Path) -> None:
    """Every param of every point, as analyzers get them: 16 points at a time."""
    for source, rows in importers.load_many(folder, LAYOUT, report=None).each():
        for _ in source.blocks(rows, 16):
            pass


def reading(folder: Path, rounds: int) -> dict[str, float]:
    """Seconds of CPU, medians over the rounds; the ratio within each round."""
    ready = {"numpy": by_numpy, "toylab": blocks}
    taken: dict[str, list[float]] = {name: [] for name in ready}
    for turn in range(-1, rounds):
        for name, read in ready.items():
            start = time.process_time()
            read(folder)
            if turn >= 0:  # the first brings the files into memory
                taken[name].append(time.process_time() - start)
    ratios = [numpy / ours for numpy, ours in zip(taken["numpy"], taken["toylab"], strict=True)]
    found = {f"{name}_seconds": statistics.median(values) for name, values in taken.items()}
    return found | {"rate": statistics.median(ratios)}


def analyses(folder: str) -> None:
    """Prints JSON: seconds from the folder to all measures, compiling included, and the process's peak of memory."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    sweep = importers.load_many(folder, LAYOUT, report=None)
    task = grokking.CONFIGS["cpu"][0].task
    pairs = np.argwhere(np.ones((P, P), bool))
    train = np.random.default_rng(0).permutation(pairs)[: int(FRACTION * P * P)]
    net = sweep.config(0).net
    tokens = inputs_of(net.init(jax.random.key(0))).all_tokens()
    found = sweep.analyze(ALL, task=task, train=train, tokens=tokens, final=FINAL, report=None)
    taken = {"seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - begin_cpu}
    assert all(len(value[0]) == len(sweep.steps) for value in found.values())
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({**taken, "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30}))


def report(found: dict[str, Any]) -> None:
    print(f"\n{', '.join(f'{name} {value}' for name, value in found['environment'].items())}\n")
    print("| what | found | asked | |\n|---|---|---|---|")
    read, along = found["reading"], found["analyses"]
    shown = f"{read['rate']:.0%} ({read['toylab_seconds']:.2f} s of CPU, NumPy {read['numpy_seconds']:.2f})"
    print(f"| reading, of NumPy's rate | {shown} | ≥ {RATE:.0%} | {verdict(read['rate'] >= RATE)} |")
    shown = f"{along['seconds']:.0f} s ({along['cpu_seconds']:.0f} of CPU)"
    print(f"| all modular analyzers | {shown} | ≤ {SECONDS:.0f} s | {verdict(along['seconds'] <= SECONDS)} |")
    print(f"| their peak of memory | {along['peak_gib']:.2f} GiB | ≤ {GIB} | {verdict(along['peak_gib'] <= GIB)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--points", type=int, default=400, help="checkpoints (400)")
    parser.add_argument("--rounds", type=int, default=5, help="in which the readers take turns (5)")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    parser.add_argument("--analyze", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.analyze:
        analyses(given.analyze)
        return
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), given.points)
        found: dict[str, Any] = {"points": given.points, "environment": environment()}
        found["reading"] = reading(Path(name), given.rounds)
        done = subprocess.run([sys.executable, __file__, "--analyze", name], check=True, stdout=subprocess.PIPE)
        found["analyses"] = json.loads(done.stdout.splitlines()[-1])
    report(found)
    keep(found, given.json)


if __name__ == "__main__":
    main()
