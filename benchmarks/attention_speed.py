"""Milliseconds that a training step of a two-layer attention-only transformer takes in toylab and in PyTorch.

    python benchmarks/attention_speed.py [--steps 100] [--no-torch] [--json benchmarks/results/attention_speed.json]

Repeated random blocks (tasks/sequence.py), a fresh batch each step: d_model 64, 4 heads, context 64, vocabulary 64,
batch 64, every position read, AdamW(1e-3, wd 0.01, betas .9/.98, warm-up 10), float32. PyTorch with attention by einsum
and by its fused scaled_dot_product_attention, from the same weights; its batches are drawn beforehand and cost it
nothing, while toylab draws them inside the step: what that takes is timed alone. The small network of the page
`induction` (32 in place of 64, 2 heads) is timed as three runs one by one and as three in a vmap. Contestants take the
same number of steps in turn: read the ratios. On an accelerator, lanes of many runs are timed as well.
"""

import argparse
import statistics
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np
from account import keep, verdict
from contestants import Contestant, JaxTraining, PlainNet, matmuls, no_torch, on_accelerator
from train_speed import (
    WINDOW,
    lanes,
    race,
    report_lanes,
    report_losses,
    report_race,
    seconds,
    seconds_a_step,
)

from toylab import configs as cfg
from toylab import train
from toylab.base import Config
from toylab.models import Net, Transformer
from toylab.optim import AdamW
from toylab.sweep.lanes import first_state
from toylab.sweep.plan import environment
from toylab.tasks import RepeatedBlocks

TARGETS = {"PyTorch einsum": 2.0}  # times toylab's step
DATA_TARGET = 0.15  # of the step
BATCH, EVALUATION = 64, 64  # sequences
POOL = 32  # batches that PyTorch goes through again and again


def config(seed: int = 0, size: int = 64, n_heads: int = 4) -> Config:
    """d_model = n_ctx = d_vocab = size."""
    net = Net.of(
        Transformer, d_vocab=size, d_vocab_out=size, n_ctx=size, n_layers=2, d_model=size, n_heads=n_heads, d_mlp=0,
        readout="all",
    )  # fmt: skip
    return cfg.check(Config(task=blocks(size), net=net, optimizer=AdamW(weight_decay=0.01), seed=seed))


def blocks(size: int = 64) -> RepeatedBlocks:
    return RepeatedBlocks(
        d_vocab=size, n_ctx=size, min_period=size // 4, max_period=size // 2, batch_size=BATCH, n_eval=EVALUATION
    )


def necessary_flops(size: int = 64, n_layers: int = 2) -> int:
    """Floating-point operations of a step's matrix products, 2·m·k·n each, B = 64 sequences, T = D = V = size.

    Forward, a layer: queries, keys, values and outputs 4 · 2·B·T·D², attention 2 · 2·B·D·T(T + 1)/2 (a query and the keys
    that it sees); read-out 2·B·T·D·V. Times three: each product has two of its size in the backward pass.
    """
    layer = 4 * 2 * BATCH * size**3 + 2 * 2 * BATCH * size * (size * (size + 1) // 2)
    return 3 * (n_layers * layer + 2 * BATCH * size**3)


def contestants(with_torch: bool) -> dict[str, Contestant]:
    """By name, compiled and at step 1 (of learning rate 0)."""
    own = config()
    ready: dict[str, Contestant] = {
        "toylab": JaxTraining([own]),
        "plain JAX": JaxTraining([own.replace(net=PlainNet(own.net))]),
    }
    if with_torch:
        from torch_reference import AttentionOnly, TorchNextToken

        params = {name: np.asarray(value) for name, value in first_state(own, None).params.items()}
        batches = np.stack([blocks().sample(jax.random.key(i), BATCH) for i in range(POOL)])
        evaluation = np.asarray(train.data(own)["tokens"])
        for name, fused in (("PyTorch einsum", False), ("PyTorch fused attention", True)):
            ready[name] = TorchNextToken(AttentionOnly(params, fused), batches, evaluation, gpu=on_accelerator())
    for contestant in ready.values():
        contestant.advance(1)
    return ready


def data_ms(n_rounds: int) -> float:
    """A batch drawn inside a compiled loop, as the step draws it."""
    task = blocks()

    @jax.jit
    def draw(n: int) -> jax.Array:
        def again(i: int, total: jax.Array) -> jax.Array:
            return total + task.sample(jax.random.fold_in(jax.random.key(0), i), BATCH)

        return jax.lax.fori_loop(0, n, again, jax.numpy.zeros((BATCH, task.n_ctx + 1), int))

    draw(1).block_until_ready()
    many = 20 * WINDOW
    return 1e3 * statistics.median(seconds(lambda: draw(many).block_until_ready()) / many for _ in range(n_rounds))


def small(n_rounds: int) -> dict[str, float]:
    """ms a step of three seeds of the small network, one after the other and in a vmap of three; in turn."""
    seeds = [config(seed, size=32, n_heads=2) for seed in range(3)]
    alone, together = JaxTraining(seeds[:1]), JaxTraining(seeds)
    times: dict[str, list[float]] = {"one by one": [], "in a vmap": []}
    for training in (alone, together):
        training.advance(1)
    for _ in range(n_rounds):
        times["one by one"].append(3 * seconds_a_step(alone))
        times["in a vmap"].append(seconds_a_step(together))
    return {name: 1e3 * statistics.median(taken) for name, taken in times.items()}


def report(result: dict[str, Any]) -> None:
    """The tables, in markdown."""
    report_race(result)
    rows = result["contestants"]
    for name, target in TARGETS.items():
        if name in rows:
            reached = rows[name]["times_toylab"]
            print(f"- {verdict(reached >= target)}: {reached:.2f} times as fast as {name}, target ≥ {target:g}")
    if (fused := "PyTorch fused attention") in rows:
        print(f"- {rows[fused]['times_toylab']:.2f} times as fast as {fused}")
    print(f"- {rows['toylab']['matmul_share']:.1%} of the matmul rate")
    share = result["data_ms"] / rows["toylab"]["ms"]
    print(
        f"- {verdict(share <= DATA_TARGET)}: data {result['data_ms']:.2f} ms, {share:.1%} of the step, "
        f"target ≤ {DATA_TARGET:.0%}"
    )
    report_losses(result)
    print(
        f"- three runs of the small network: {', '.join(f'{k} {v:.2f} ms' for k, v in result['small'].items())} a step"
    )
    report_lanes(result["lanes"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--steps", type=int, default=100, help="timed steps of each contestant (default 100)")
    parser.add_argument("--no-torch", action="store_true", help="toylab and plain JAX only")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    given = parser.parse_args()
    refused = no_torch() if not given.no_torch else "PyTorch: by --no-torch"
    rows, n_rounds = BATCH * 64, max(given.steps // WINDOW, 1)
    with jax.default_matmul_precision("highest") if on_accelerator() else nullcontext():  # as PyTorch has it
        products = matmuls(not refused, ((rows, 64, 64), (rows, 64, 192)))
        result = {
            "environment": environment(),
            **race(contestants(not refused), products, necessary_flops(), given.steps),
            "left_out": [refused] if refused else [],
            "data_ms": data_ms(n_rounds),
            "small": small(n_rounds),
        }
    result["lanes"] = lanes(given.steps, config) if on_accelerator() else []
    report(result)
    keep(result, given.json)


if __name__ == "__main__":
    main()
