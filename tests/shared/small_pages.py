"""A part of a page, and runs for it, as small as they can be."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from toylab.base import Config
from toylab.claims import Claim, Within
from toylab.lab import Part
from toylab.models import Net, ToyModel
from toylab.optim import AdamW
from toylab.tasks import SparseFeatures


def small(n_hidden, seeds=2):
    net = Net.of(ToyModel, n_features=4, n_hidden=n_hidden)
    task = SparseFeatures(n_features=4, batch=8, n_eval=16, importance=np.array([1, 0.5, 0.25, 0.1]))
    return [Config(task, net, AdamW(warmup=0), seed=seed) for seed in range(seeds)]


def of_all_scales(value):
    return dict.fromkeys(("smoke", "cpu", "paper"), value)


def finding(name, quantity):
    return Claim(name, None, quantity, Within(high=10), ledger="finding")


def part(name, configs):
    last = finding(f"{name} learns", lambda m: m.last("loss"))
    weights = {"weights": lambda params, run: {"W": params["W"]}}
    norm = {"norm": lambda params, run: {"W": (params["W"] ** 2).sum()}}
    figures = {f"{name}_figure": lambda m: Figure()}
    return Part(of_all_scales(configs), of_all_scales((0, 3)), [last], figures, final=weights, analyses=norm)


def traced(names):
    """Names of pages as parameters of a test that makes their configs. grokking_phase has 36 structures, each of which is
    traced: it stands among the slow tests."""
    return [pytest.param(name, marks=pytest.mark.slow if name == "grokking_phase" else ()) for name in names]
