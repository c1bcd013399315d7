"""A recording of one run made by hand, for tests of views: its params and measures are what is given. Networks that add."""

from types import SimpleNamespace

import jax
import numpy as np

from toylab import train
from toylab.base import Config
from toylab.explore.moment import Moment
from toylab.models import Net, Transformer
from toylab.optim import Adam
from toylab.tasks import ModularArithmetic

WHY = "There are measures alone: train its runs."
DATA: dict = {}  # made once a task


def recording(config, points, measures=None, final=None, keep=None, steps=None):
    """One run whose points have these params; measures [t, …] and final […] are of that run."""
    steps = np.arange(len(points)) * 10 if steps is None else steps
    points = [{name: x for name, x in one.items() if keep is None or name in keep} for one in points]

    def data(run):
        if config.task not in DATA:
            DATA[config.task] = train.data(config)
        return DATA[config.task]

    return SimpleNamespace(
        title="made by hand", runs=["the run"], columns={}, steps=steps, valid=np.ones((1, len(steps)), bool),
        measures={name: x[None] for name, x in (measures or {}).items()},
        final={name: x[None] for name, x in (final or {}).items()},
        shapes=[{name: x.shape for name, x in points[0].items()} if points else {}],
        no_params="" if points else WHY, claims=(), figures={}, messages=(),
        config=lambda run: config, data=data,
        params=lambda run, at: points[at], refresh=lambda: False, phases=lambda run: (),
    )  # fmt: skip


def started(config, seed=0):
    return {name: np.asarray(x) for name, x in config.net.init(jax.random.key(seed)).items()}


def at(made, point=-1):
    return Moment(made, 0, range(len(made.steps))[point])


def first(view, moment):
    return {name: control.value for name, control in view.controls(moment.other(-1)).items()}


def forms(pictures):
    return [(type(one), np.shape(getattr(one, "values", getattr(one, "heights", None)))) for one in pictures]


# --- networks that add


def adds(p, n_train, kind=ModularArithmetic, module=Transformer, **sizes):
    sizes = {"d_model": 8, "d_mlp": 12} | sizes
    return Config(kind(p=p, n_train=n_train), Net.of(module, d_vocab=p + 1, d_vocab_out=p + 1, **sizes), Adam())


def circles(params, p, frequencies):
    """W_E of circles of these frequencies, each in a plane of its own, and a row of "=" that is on none."""
    angle = 2 * np.pi * np.outer(np.arange(p), frequencies) / p
    W_E = np.zeros((p + 1, 8), np.float32)
    W_E[:p, : 2 * len(frequencies)] = np.stack([np.cos(angle), np.sin(angle)], axis=2).reshape(p, -1)
    W_E[p] = 5
    return {**params, "W_E": W_E}


FIVE = adds(5, 15, n_ctx=3, n_heads=2)
PENTAGON = circles(started(FIVE), 5, [2])
