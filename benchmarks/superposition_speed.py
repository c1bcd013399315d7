"""Milliseconds that a step of the uniform-superposition figure takes in toylab and in eager PyTorch.

    python benchmarks/superposition_speed.py [--windows 5] [--no-torch] [--json FILE]

The geometry figure of Elhage et al. 2022 as its notebook has it: n = 200 features, m = 20 dimensions, 20 sparsities at
once, a fresh batch of 1024 each step, AdamW(1e-3, wd 0.01), float32. toylab with the stream of batches that the runs of a
group share, and with a stream for each run; PyTorch with fresh batches for each model, in the notebook's layout [batch,
model, feature] and in [model, batch, feature]. Contestants take their windows in turn: read the ratios.
On an accelerator a lane of 100 sparsities x 8 seeds at n = 400, m = 30 is timed as well.
"""

import argparse
import resource
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from account import keep

from toylab import configs as cfg
from toylab.base import Config
from toylab.models import Net, ToyModel
from toylab.models.relu import joint_xavier_std
from toylab.optim import AdamW
from toylab.sweep.lanes import Lane, first_states
from toylab.sweep.plan import environment
from toylab.tasks import SparseFeatures

WINDOW = 50  # steps timed at a time
TARGETS = {"toylab, shared stream": 5.0, "toylab, own streams": 1.5}  # times faster than the faster PyTorch
MEMORY_TARGET = 4.0  # GiB


def densities(levels: int) -> np.ndarray:
    return 20.0 ** -np.linspace(0, 1, levels)


def figure(n: int, m: int, levels: int, seeds: int, streams: Any) -> list[Config]:
    """Every sparsity with every seed; a stream each has a data_seed each."""
    net = Net.of(ToyModel, n_features=n, n_hidden=m, init_std=joint_xavier_std(n, m, levels))
    optimizer = AdamW(lr=1e-3, weight_decay=0.01, b2=0.999, warmup=0)
    runs = [(float(density), seed) for density in densities(levels) for seed in range(seeds)]
    return [
        cfg.check(
            Config(
                task=SparseFeatures(n_features=n, density=density, streams=streams),
                net=net,
                optimizer=optimizer,
                seed=seed,
                data_seed=i if streams == "own" else 0,
            )
        )
        for i, (density, seed) in enumerate(runs)
    ]


class Training:
    """A lane of all runs, as the sweep trains it."""

    def __init__(self, configs: list[Config]) -> None:
        state = first_states(configs)
        self.lane = Lane(configs, state, list(range(len(configs))), len(configs), (), None)

    def advance(self, n_steps: int) -> np.ndarray:
        """The evaluation loss of each run after n_steps more."""
        return self.lane.advance(np.array([n_steps]), 1)["measures"]["loss"][:, 0]


def torch_trainings(n: int, m: int, levels: int, batch: int = 1024) -> dict[str, Any]:
    """Both layouts, from one initial W."""
    import torch

    p = torch.tensor(densities(levels), dtype=torch.float32)
    W0 = torch.randn(levels, n, m) * joint_xavier_std(n, m, levels)

    class TorchTraining:
        def __init__(self, models_first: bool) -> None:
            self.W, self.b = torch.nn.Parameter(W0.clone()), torch.nn.Parameter(torch.zeros(levels, n))
            self.optimizer = torch.optim.AdamW([self.W, self.b], lr=1e-3, weight_decay=0.01)
            self.models_first = models_first

        def loss(self) -> torch.Tensor:
            """Summed over models, mean over batch and features."""
            if self.models_first:
                x = torch.rand(levels, batch, n)
                x = torch.where(torch.rand(levels, batch, n) <= p[:, None, None], x, torch.zeros(()))
                out = torch.relu(torch.bmm(torch.bmm(x, self.W), self.W.mT) + self.b[:, None])
                return ((x - out) ** 2).mean((1, 2)).sum()
            x = torch.rand(batch, levels, n)
            x = torch.where(torch.rand(batch, levels, n) <= p[:, None], x, torch.zeros(()))
            hidden = torch.einsum("blf,lfh->blh", x, self.W)
            out = torch.relu(torch.einsum("blh,lfh->blf", hidden, self.W) + self.b)
            return ((x - out) ** 2).mean((0, 2)).sum()

        def advance(self, n_steps: int) -> np.ndarray:
            for _ in range(n_steps):
                self.optimizer.zero_grad()
                loss = self.loss()
                loss.backward()
                self.optimizer.step()
            return np.array([float(self.loss().detach()) / levels])

    return {"PyTorch eager": TorchTraining(True), "PyTorch eager, notebook layout": TorchTraining(False)}


def seconds_a_step(training: Any, window: int = WINDOW) -> float:
    """One window; what a call costs beside its steps (measures) is taken off."""
    times = []
    for steps in (0, window):
        start = time.perf_counter()
        training.advance(steps)
        times.append(time.perf_counter() - start)
    return (times[1] - times[0]) / window


def race(windows: int, with_torch: bool) -> dict[str, Any]:
    """All contestants in turn: medians over the windows, ratios taken within each round."""
    ready: dict[str, Any] = {
        "toylab, shared stream": Training(figure(200, 20, 20, 1, "shared")),
        "toylab, own streams": Training(figure(200, 20, 20, 1, "own")),
    }
    if with_torch:
        ready |= torch_trainings(200, 20, 20)
    first = {name: float(np.mean(training.advance(1))) for name, training in ready.items()}
    times: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(windows):
        for name, training in ready.items():
            times[name].append(seconds_a_step(training))
    rows = {
        name: {
            "ms": 1e3 * statistics.median(taken),
            "first_loss": first[name],
            "last_loss": float(np.mean(ready[name].advance(0))),
        }
        for name, taken in times.items()
    }
    torch_rows = [name for name in rows if name.startswith("PyTorch")]
    ratios = {}
    if torch_rows:
        fastest = min(torch_rows, key=lambda name: rows[name]["ms"])
        pairs = {name: zip(times[fastest], times[name], strict=True) for name in TARGETS}
        ratios = {name: statistics.median(a / b for a, b in pair) for name, pair in pairs.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "windows": windows,
        "steps_a_window": WINDOW,
        "contestants": rows,
        "faster_than_torch": ratios,
        "peak_gib": peak,
    }


def large(windows: int) -> dict[str, Any]:
    """n = 400, m = 30 with 100 sparsities and 8 seeds in one program."""
    training = Training(figure(400, 30, 100, 8, "shared"))
    training.advance(1)
    step = statistics.median(seconds_a_step(training, 20) for _ in range(windows))
    return {"runs": 800, "ms": 1e3 * step, "ms_a_run": 1e3 * step / 800}


def report(result: dict[str, Any]) -> None:
    print(f"\n{', '.join(f'{name} {value}' for name, value in result['environment'].items())}")
    print(f"n = 200, m = 20, 20 sparsities, batch 1024; medians of {result['windows']} windows of {WINDOW} steps\n")
    print("| contestant | ms a step | mean loss at step 1 | at the end |\n|---|---|---|---|")
    for name, row in result["contestants"].items():
        print(f"| {name} | {row['ms']:.1f} | {row['first_loss']:.5f} | {row['last_loss']:.5f} |")
    print()
    for name, ratio in result["faster_than_torch"].items():
        verdict = "pass" if ratio >= TARGETS[name] else "MISS"
        print(f"- {verdict}: {name} {ratio:.2f} times as fast as eager PyTorch, target ≥ {TARGETS[name]:g}")
    verdict = "pass" if result["peak_gib"] < MEMORY_TARGET else "MISS"
    print(
        f"- {verdict}: peak memory of all contestants together {result['peak_gib']:.2f} GiB, target < {MEMORY_TARGET:g}"
    )
    if result["large"]:
        print(
            f"- n = 400, m = 30, {result['large']['runs']} runs in one program: {result['large']['ms']:.1f} ms a step"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--windows", type=int, default=5, help=f"windows of {WINDOW} steps for each contestant (default 5)"
    )
    parser.add_argument("--no-torch", action="store_true", help="toylab only")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    given = parser.parse_args()
    accelerator = jax.default_backend() != "cpu"
    result = {"environment": environment(), **race(given.windows, not given.no_torch)}
    result["large"] = large(given.windows) if accelerator else {}
    report(result)
    keep(result, given.json)


if __name__ == "__main__":
    main()
