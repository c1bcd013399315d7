"""Milliseconds a training step of the grokking transformer takes, in toylab, in plain JAX and in PyTorch.

    python benchmarks/train_speed.py [--steps 100] [--no-torch] [--json benchmarks/results/train_speed_cpu.json]

The network of Nanda et al. 2023 at full size: p = 113, 3,830 training pairs as one batch, d_model 128, 4 heads, d_mlp 512,
114 logits, AdamW(1e-3, wd 1, betas .9/.98, warm-up 10), float32. All contestants start from the same weights and data and
take the same steps in turn, a short window each, so that a busy machine slows all of them alike: read the ratios. The
machine's own float32 matmul rate is measured in the same rounds.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from toylab import configs as cfg
from toylab import train
from toylab.base import Cache, Config, Params, Patch
from toylab.lanes import compiled, environment, first_state, stacked
from toylab.models import Net, Transformer
from toylab.optim import AdamW
from toylab.tasks.modular import ModularArithmetic

WINDOW = 5  # steps timed at a time
LANES = (1, 16, 64, 256)  # runs in one vmap, on accelerators
SQUARES = (512, 1024, 2048)
TARGETS = {"over eager PyTorch": 8.0, "over plain JAX": 4.0, "of the matmul rate": 0.45}


class Contestant(Protocol):
    def advance(self, n_steps: int) -> None: ...

    def loss(self) -> float: ...


class PlainNet(struct.PyTreeNode):
    """A net in its plain form: every position of every layer, also in training. The cache is dropped, so jit prunes it."""

    net: Net

    def check(self) -> "PlainNet":
        return self.replace(net=self.net.check())

    def init(self, key: jax.Array) -> Params:
        return self.net.init(key)

    def apply(
        self, params: Params, x: jax.Array, patch: Patch | None = None, *, full: bool = True
    ) -> tuple[jax.Array, Cache]:
        return self.net.apply(params, x, patch, full=True)[0], {}


class JaxTraining:
    """The compiled program of a sweep, for a lane of one or more runs."""

    def __init__(self, configs: Sequence[Config]) -> None:
        states = stacked([first_state(config, None) for config in configs])
        alone = len(configs) == 1
        self.config = configs[0] if alone else cfg.stack(configs)
        self.state = jax.tree.map(lambda leaf: jnp.array(leaf[0] if alone else leaf), states.replace(step=None))
        self.state = self.state.replace(step=jnp.int32(0))
        self.function = compiled(len(configs), (), ())

    def advance(self, n_steps: int) -> None:
        self.state, self.point = self.function(self.config, self.state, np.array([n_steps], np.int32))
        jax.block_until_ready((self.state, self.point))

    def loss(self) -> float:
        return float(np.ravel(self.point.measures["train_loss"])[0])


def grokking_config(seed: int = 0) -> Config:
    net = Net.of(Transformer, d_vocab=114, d_vocab_out=114, n_ctx=3, n_layers=1, d_model=128, n_heads=4, d_mlp=512)
    return cfg.check(Config(task=ModularArithmetic(p=113, n_train=3830), net=net, optimizer=AdamW(), seed=seed))


def necessary_flops(task: ModularArithmetic, net: Net) -> int:
    """Floating-point operations of one training step's matrix products, 2·m·k·n each, in the cheapest form toylab knows.

    Forward, with B = n_train, V = d_vocab, P = 3 positions, D = d_model:
      first layer   q of the last position, k and v of all, on the (position, token) table   2·V·D·D·(1 + 2P)
      attention     q·k of the one query, pattern·v                                          2·B·P·D each
      last position W_O 2·B·D·D · W_in and W_out 2·B·D·d_mlp each · W_U 2·B·D·d_vocab_out
    Times three: each product has two of its size in the backward pass. Not counted: gathers and scatters, softmax, loss,
    activation, biases, the optimizer; nor the pair table of q·k that toylab uses because it is faster, not smaller.
    """
    n_batch, n_positions, width = task.n_train, 3, net.d_model
    table = 2 * net.d_vocab * width * width * (1 + 2 * n_positions)
    attention = 2 * (2 * n_batch * n_positions * width)
    last = 2 * n_batch * width * (width + 2 * net.d_mlp + net.d_vocab_out)
    return 3 * (table + attention + last)


def contestants(with_torch: bool) -> tuple[dict[str, Contestant], list[str]]:
    """All that can run here, by name, compiled and at step 1 (whose learning rate is 0); and why others cannot."""
    config = grokking_config()
    ready: dict[str, Contestant] = {
        "toylab": JaxTraining([config]),
        "plain JAX": JaxTraining([config.replace(net=PlainNet(config.net))]),
    }
    missing = [] if with_torch else ["PyTorch: left out by --no-torch"]
    if with_torch:
        try:
            from torch_reference import TorchTraining
        except ImportError as error:
            missing.append(f"PyTorch: {error}")
        else:
            params = {name: np.asarray(value) for name, value in first_state(config, None).params.items()}
            data = train.data(config)
            tokens, labels = np.asarray(data["tokens"][data["train"]]), np.asarray(data["train_labels"])
            for name, compile in (("PyTorch eager", False), ("PyTorch compile", True)):
                ready[name] = TorchTraining(params, tokens, labels, gpu=on_accelerator(), compile=compile)
    for name in list(ready):
        try:
            ready[name].advance(1)
        except Exception as error:  # torch.compile: any failure of its compiler only means one contestant less
            if name != "PyTorch compile":
                raise
            missing.append(f"{name}: {type(error).__name__}: {str(error).strip().splitlines()[0]}")
            del ready[name]
    return ready, missing


def matmuls(with_torch: bool) -> dict[str, tuple[int, Callable[[], Any]]]:
    """name → (FLOPs, one product): squares, and the two shapes that a step spends most of its time in."""
    multiply = jax.jit(jnp.matmul)
    made: dict[str, tuple[int, Callable[[], Any]]] = {}
    squares = (*SQUARES, 8192) if on_accelerator() else SQUARES
    for m, k, n in [(size, size, size) for size in squares] + [(3830, 128, 512), (3830, 512, 128)]:
        a, b = jnp.asarray(np.random.randn(m, k), jnp.float32), jnp.asarray(np.random.randn(k, n), jnp.float32)
        made[f"JAX {m}x{k}x{n}"] = 2 * m * k * n, lambda a=a, b=b: multiply(a, b).block_until_ready()
        if with_torch:
            from torch_reference import TorchMatmul

            made[f"PyTorch {m}x{k}x{n}"] = 2 * m * k * n, TorchMatmul(m, k, n, gpu=on_accelerator())
    return made


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def seconds_a_step(contestant: Contestant) -> float:
    """One window; what a call costs beside its steps (toylab measures a saved point in it) is taken off."""
    contestant.advance(1)  # caches and threads are the contestant's own again
    return (seconds(lambda: contestant.advance(WINDOW)) - seconds(lambda: contestant.advance(0))) / WINDOW
