"""What a Recorder costs a training loop in PyTorch that saves its weights every 100 steps.

    python benchmarks/recorder_speed.py [--rounds 8] [--cpu-time] [--json FILE]

Two networks: the grokking transformer at full size (p = 113, 226,816 parameters), and the MLP of the docs (p = 23). All
calls of the recorder are timed, those that record a point and those that do not, and a commit with as many points as a
minute brings, which is when a Recorder commits. The share is that of both in 100 steps. Beside it stands how much longer
windows take that record a point than windows that do not; these take turns, and what they say is mostly noise. With
--cpu-time the clock is that of the process with all its threads: the background thread counts in full, and other programs
on the machine do not.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from account import keep, n_cores, verdict
from contestants import grokking_config
from torch_reference import TorchTraining

from toylab import train
from toylab.record import Recorder
from toylab.record.recorder import CHUNK_BYTES, CHUNK_SECONDS
from toylab.sweep.lanes import first_state
from toylab.sweep.plan import environment

EVERY, TARGET = 100, 0.05
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
LAYERED = ("W_Q", "W_K", "W_V", "W_O", "W_in", "b_in", "W_out", "b_out")  # stacked over layers in toylab
Training = tuple[
    Callable[[], Any], Callable[[], Any], dict[str, Any]
]  # a step that gives its loss, weights, a Recorder's


def transformer() -> Training:
    """The grokking transformer of train_speed.py, in eager PyTorch."""
    config = grokking_config()
    params = {name: np.asarray(value) for name, value in first_state(config, None).params.items()}
    data = train.data(config)
    tokens, labels = np.asarray(data["tokens"][data["train"]]), np.asarray(data["train_labels"])
    training = TorchTraining(params, tokens, labels, gpu=False, through_compile=False)

    def weights() -> dict[str, torch.Tensor]:
        found = {name: value for name, value in training.net.state_dict().items() if name != "visible"}
        return {name: value[None] if name in LAYERED else value for name, value in found.items()}

    def step() -> float:
        training.advance(1)
        return 0.0

    return step, weights, {"layout": "toylab", "config": config.net}


def mlp(p: int = 23) -> Training:
    """The MLP of docs/pages/weights.md."""
    draw = torch.Generator().manual_seed(0)
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))[torch.randperm(p * p, generator=draw)][:370]
    shapes = {"W_x": (p, 16), "W_y": (p, 16), "W": (32, 64), "W_U": (64, p)}
    net = torch.nn.ParameterDict({name: torch.randn(*shape, generator=draw) / 4 for name, shape in shapes.items()})
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=1.0)
    labels = pairs.sum(1) % p

    def step() -> torch.Tensor:
        embedded = torch.cat([net["W_x"][pairs[:, 0]], net["W_y"][pairs[:, 1]]], dim=1)
        loss = torch.nn.functional.cross_entropy(torch.relu(embedded @ net["W"]) @ net["W_U"], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, net.state_dict, {"layout": "universality"}


def cost(training: Training, window: int, rounds: int, clock: str) -> dict[str, float]:
    """Milliseconds of a step, of a point and of a commit, and the share of what a Recorder adds to 100 steps; `window`: the
    steps that are timed at a time."""
    step, weights, given = training
    now = CLOCKS[clock]
    with tempfile.TemporaryDirectory() as folder:
        start = now()
        recorder = Recorder(Path(folder) / "run", every=window, chunk=10**9, **given)
        recorder(0, weights, loss=step())
        recorder.commit()
        first = now() - start
        at, times, calls = 0, dict[bool, list[float]]({False: [], True: []}), list[float]()
        for turn in range(2 * rounds + 2):
            recorded, called = turn % 2 == 0, 0.0
            start = now()
            for _ in range(window):
                loss = step()
                if recorded:
                    at, before = at + 1, now()
                    recorder(at, weights, loss=loss)
                    called += now() - before
            if turn > 1:  # the first two warm up
                times[recorded].append(now() - start)
                calls += [called] if recorded else []
        step_seconds = statistics.median(times[False]) / window
        point = statistics.median(calls)
        longer = statistics.median(a / b - 1 for a, b in zip(times[True], times[False], strict=True)) * window / EVERY
        recorder.commit()
        point_bytes = sum(value.numel() * value.element_size() for value in weights().values())
        n_points = int(np.clip(min(CHUNK_SECONDS / step_seconds / EVERY, CHUNK_BYTES / point_bytes), 1, 5000))
        for number in range(1, n_points + 1):
            recorder(at + window * number, weights, loss=0.0)
        start = now()
        recorder.commit()
        commit = now() - start
        recorder.close()
    return {
        "ms_a_step": 1e3 * step_seconds,
        "ms_a_point": 1e3 * point,
        "ms_a_commit": 1e3 * commit,
        "points_a_commit": n_points,
        "first_point_seconds": first,
        "share": (point + commit / n_points) / (EVERY * step_seconds),
        "windows_longer_by": longer,
    }


def report(result: dict[str, Any]) -> None:
    print(f"\n{', '.join(f'{name} {value}' for name, value in result['environment'].items())}\n")
    print("| training | ms a step | ms a point | ms a commit | points in it | share | | windows |\n" + "|---" * 8 + "|")
    for name in ("transformer", "mlp"):
        row = result[name]
        print(
            f"| {name} | {row['ms_a_step']:.3g} | {row['ms_a_point']:.2g} | {row['ms_a_commit']:.0f} | "
            f"{row['points_a_commit']} | {row['share']:.2%} | {verdict(row['share'] < TARGET)} | "
            f"{row['windows_longer_by']:+.2%} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=8, help="windows of the transformer, a tenth of the MLP's (8)")
    parser.add_argument("--cpu-time", action="store_true", help="of this process, in place of the time that passes")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    given = parser.parse_args()
    torch.set_num_threads(n_cores())
    clock = "cpu" if given.cpu_time else "wall"
    result: dict[str, Any] = {"environment": environment(), "clock": clock, "rounds": given.rounds}
    result["mlp"] = cost(mlp(), EVERY, 10 * given.rounds, clock)
    result["transformer"] = cost(transformer(), 10, given.rounds, clock)
    report(result)
    keep(result, given.json)


if __name__ == "__main__":
    main()
