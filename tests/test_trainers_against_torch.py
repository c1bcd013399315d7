"""A hundred steps of a network in torch, with the same weights and data in and the loops that the papers released.

SGD with L2 and a small last batch: tasks/test_epochs_against_torch.py. Pieces of a chain with given gradients:
test_optim_chain.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab import configs as cfg
from toylab import train
from toylab.base import Config
from toylab.models import Dense, Net
from toylab.optim import AdamW, Chain, KeepNorm, Orthogonal, SlowGradients
from toylab.tasks import TeacherStudent

STEPS, LR = 100, 3e-3
# A step rounds a param about three times, by up to 6e-8 of it. Training carries a move of the start on by a factor of up to
# 5.5 (measured in float64, of each trainer). By chance 100 steps then add to √300 · 6e-8 · 5.5 = 6e-6: found 0.5 to 2.2e-6.
CLOSE = 2e-5
LAYERS = ("0", "1", "out")
BASE = AdamW(lr=LR, weight_decay=0.1, eps=1e-8, warmup=0)


class Small(TeacherStudent):
    """Answers times `size`, which a network reaches with the same `output_scale`: all gradients are size² as large."""

    size: float = 1.0

    def draw(self, key, n):
        x, y = super().draw(key, n)
        return x, self.size * y


@dataclass
class Trainer:
    """An optimizer of toylab, and what stands around torch's AdamW in its place."""

    optimizer: Any
    before: Callable[[dict, dict], None] = lambda params, memory: None  # changes the gradients in torch
    after: Callable[[dict, dict], None] = lambda params, memory: None  # changes the params in torch
    size: float = 1.0
    eps: float = 1e-8


def rescale(params, memory):
    """Liu et al. 2022, Omnigrok: the norm of all params together is brought back. Their code takes the gradient of a step
    where the params stood before the last rescaling; here and in toylab it is of the rescaled ones."""
    norm = sum((p.detach() ** 2).sum() for p in params.values()) ** 0.5
    for p in params.values():
        p.data.mul_(memory["norm"] / norm)


def project(params, memory):
    """Prieto et al. 2025, orthograd.py: each array's gradient without its part along the weights, at its length."""
    for p in params.values():
        w, g = p.data.view(-1), p.grad.view(-1)
        across = g - w.dot(g) / (w.dot(w) + 1e-30) * w
        p.grad.copy_((across * (g.norm() / (across.norm() + 1e-30))).view_as(p.grad))


def filter_slow(params, memory):
    """Lee et al. 2024, grokfast.py, gradfilter_ema: the mean starts as the first gradient."""
    for name, p in params.items():
        memory[name] = memory.get(name, p.grad.clone()) * 0.9 + p.grad * 0.1
        p.grad.add_(memory[name] * 2.0)


TRAINERS = {
    "AdamW, eps 1e-25": Trainer(BASE.replace(eps=1e-25), size=1e-5, eps=1e-25),
    "KeepNorm": Trainer(Chain(BASE, after=(KeepNorm(),)), after=rescale),
    "Orthogonal": Trainer(Chain(BASE, before=(Orthogonal(),)), before=project),
    "SlowGradients": Trainer(Chain(BASE, before=(SlowGradients(decay=0.9, gain=2.0),)), before=filter_slow),
}


def config_of(trainer, optimizer=None):
    task = Small(n_train=40, n_test=0, d_in=4, d_out=3, width=16, size=trainer.size)
    net = Net.of(Dense, d_in=4, d_out=3, widths=(16, 16), activation="tanh", output_scale=trainer.size)
    return cfg.check(Config(task, net, optimizer or trainer.optimizer, seed=7))


@jax.jit
def trained(config, params):
    return train.advance(config, train.init(config, params), jnp.array([STEPS]))[0].params


def in_torch(torch, trainer, params, data, dtype):
    """The params after the last step, by name."""
    arrays = {name: torch.tensor(np.asarray(value), dtype=dtype) for name, value in params.items()}
    own = {name: torch.nn.Parameter(value) for name, value in arrays.items()}
    x, y = (torch.tensor(np.array(data[name]), dtype=dtype) for name in ("x", "y"))
    memory = {"norm": sum((value**2).sum() for value in arrays.values()) ** 0.5}
    adamw = torch.optim.AdamW(own.values(), lr=LR, betas=(0.9, 0.98), eps=trainer.eps, weight_decay=0.1)
    for _ in range(STEPS):
        h = x
        for layer in LAYERS:
            h = h @ own[f"W_{layer}"] + own[f"b_{layer}"]
            h = h if layer == "out" else torch.tanh(h)
        adamw.zero_grad()
        ((trainer.size * h - y) ** 2).mean().backward()
        trainer.before(own, memory)
        adamw.step()
        trainer.after(own, memory)
    return {name: p.detach().numpy() for name, p in own.items()}


def apart(a, b):
    """The largest difference of a param, over the largest param of its array."""
    return max(np.abs(np.float64(a[name]) - b[name]).max() / np.abs(b[name]).max() for name in b)


@pytest.mark.parametrize("name", TRAINERS)
def test_a_hundred_steps_of_a_network_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    trainer = TRAINERS[name]
    config = config_of(trainer)
    start = config.net.init(jax.random.key(3))
    ours = trained(config, start)
    for dtype in (torch.float32, torch.float64):
        theirs = in_torch(torch, trainer, start, train.data(config), dtype)
        assert apart(ours, theirs) < CLOSE, dtype
    assert apart(trained(config_of(trainer, BASE), start), theirs) > 0.1  # AdamW as it is goes elsewhere
