"""Who runs in train_speed.py: the grokking transformer in toylab, plain JAX, PyTorch; and matmuls alone.

attention_speed.py takes its training loop and its matmuls from here, too.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from toylab import configs as cfg
from toylab import train
from toylab.base import Cache, Config, Params, Patch
from toylab.models import Net, Transformer
from toylab.optim import AdamW
from toylab.sweep.lanes import compiled, first_state, first_states
from toylab.tasks.modular import ModularArithmetic

SQUARES = (512, 1024, 2048)
SHAPES = ((3830, 128, 512), (3830, 512, 128))  # that a step of the grokking transformer spends most of its time in


class Contestant(Protocol):
    def advance(self, n_steps: int) -> None:
        """Trains, and returns when the last step is done."""
        ...

    def loss(self) -> float:
        """The training loss where `advance` left off."""
        ...


def grokking_config(seed: int = 0) -> Config:
    """Nanda et al. 2023 at full size."""
    net = Net.of(Transformer, d_vocab=114, d_vocab_out=114, n_ctx=3, n_layers=1, d_model=128, n_heads=4, d_mlp=512)
    return cfg.check(Config(task=ModularArithmetic(p=113, n_train=3830), net=net, optimizer=AdamW(), seed=seed))


class PlainNet(struct.PyTreeNode):
    """A net in its plain form, in training too: every position of every layer. Its cache is dropped."""

    net: Net

    def check(self) -> "PlainNet":
        return self

    def init(self, key: jax.Array) -> Params:
        return self.net.init(key)

    def apply(
        self, params: Params, x: jax.Array, patch: Patch | None = None, *, full: bool = True
    ) -> tuple[jax.Array, Cache]:
        return self.net.apply(params, x, patch, full=True)[0], {}


class JaxTraining:
    """The program that a sweep compiles, for a lane of one or more runs."""

    def __init__(self, configs: Sequence[Config]) -> None:
        alone, states = len(configs) == 1, first_states(configs)
        self.config = configs[0] if alone else cfg.stack(configs)
        state = jax.tree.map(lambda leaf: jnp.array(leaf[0] if alone else leaf), states.replace(step=None))
        self.state = state.replace(step=jnp.int32(0))
        self.function = compiled(len(configs), (), None)

    def advance(self, n_steps: int) -> None:
        self.state, self.point = self.function(self.config, self.state, np.array([n_steps], np.int32))
        jax.block_until_ready((self.state, self.point))

    def loss(self) -> float:
        measures = self.point.measures
        return float(np.ravel(measures["train_loss" if "train_loss" in measures else "loss"])[0])


def contestants(with_torch: bool) -> tuple[dict[str, Contestant], list[str]]:
    """All that can run here, by name, compiled and at step 1 (of learning rate 0); and why others cannot."""
    config = grokking_config()
    ready: dict[str, Contestant] = {
        "toylab": JaxTraining([config]),
        "plain JAX": JaxTraining([config.replace(net=PlainNet(config.net))]),
    }
    for contestant in ready.values():
        contestant.advance(1)
    if not with_torch:
        return ready, []
    from torch_reference import TorchTraining

    params = {name: np.asarray(value) for name, value in first_state(config, None).params.items()}
    data = train.data(config)
    tokens, labels = np.asarray(data["tokens"][data["train"]]), np.asarray(data["train_labels"])
    missing = []
    for name, through_compile in (("PyTorch eager", False), ("PyTorch compile", True)):
        training = TorchTraining(params, tokens, labels, gpu=on_accelerator(), through_compile=through_compile)
        try:
            training.advance(1)
        except Exception as error:
            if not through_compile:
                raise
            reason = str(error).strip().splitlines() or [""]  # no C++ compiler, say: one contestant less
            missing.append(f"{name}: {type(error).__name__}: {reason[0]}")
        else:
            ready[name] = training
    return ready, missing


def matmuls(
    with_torch: bool, shapes: Sequence[tuple[int, int, int]] = SHAPES
) -> dict[str, tuple[int, Callable[[], Any]]]:
    """name → (FLOPs, the product): products of the given shapes, and squares."""
    multiply = jax.jit(jnp.matmul)
    made: dict[str, tuple[int, Callable[[], Any]]] = {}
    sizes = (*SQUARES, 8192) if on_accelerator() else SQUARES
    for m, k, n in [*shapes, *((size, size, size) for size in sizes)]:
        a, b = (jax.random.normal(jax.random.key(0), shape) for shape in ((m, k), (k, n)))
        made[f"JAX {m}×{k}×{n}"] = 2 * m * k * n, partial(finished, multiply, a, b)
        if with_torch:
            from torch_reference import TorchMatmul

            made[f"PyTorch {m}×{k}×{n}"] = 2 * m * k * n, TorchMatmul(m, k, n, gpu=on_accelerator())
    for _, product in made.values():
        product()
    return made


def finished(function: Callable[..., jax.Array], *arguments: jax.Array) -> None:
    function(*arguments).block_until_ready()


def no_torch() -> str:
    """Why PyTorch cannot take part here, or nothing."""
    try:
        import torch
    except ImportError as error:
        return f"PyTorch: {error}"
    return "PyTorch: this build of it has no CUDA" if on_accelerator() and not torch.cuda.is_available() else ""


def on_accelerator() -> bool:
    return jax.default_backend() != "cpu"
