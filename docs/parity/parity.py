"""Sparse parity: do the weights find the inputs that matter before the accuracy shows it?

Claim     The network reads the k relevant inputs more and more before its accuracy leaves chance.
Source    Barak et al. 2022, Hidden Progress in Deep Learning (arXiv 2207.08799); the share of the inputs is our measure.
Expect    Accuracy jumps from chance to 1; the share of the relevant inputs is ahead of it.
Cost      cpu: 20 seeds, seconds on two cores.
Command   toylab run parity.py [--scale smoke|cpu|paper]
Changed   After a first run of seeds 0 to 2 points are saved every 20 steps, not every 125. Seeds from 100 on confirm.
"""

import numpy as np
from matplotlib.figure import Figure
from parity_analysis import relevant
from parity_task import SparseParity
from perceptron import Perceptron

from toylab.base import Config
from toylab.claims import Claim, Direction, Source, Within, scaled
from toylab.lab import Measures
from toylab.models import Net
from toylab.optim import SGD
from toylab.plots import style


def training(n: int, k: int, seeds: range) -> list[Config]:
    net = Net.of(Perceptron, n_inputs=n, d_mlp=64)
    return [Config(SparseParity(n=n, k=k), net, SGD(lr=0.1), seed=seed) for seed in seeds]


SEEDS = range(100, 120)  # not trained before the claims below were fixed
CONFIGS = {"smoke": training(6, 2, range(2)), "cpu": training(20, 3, SEEDS), "paper": training(30, 3, SEEDS)}
SAVES = {"smoke": range(0, 61, 10), "cpu": range(0, 2_001, 20), "paper": range(0, 20_001, 100)}
STOP = dict.fromkeys(CONFIGS)  # to the last saved point
MILESTONE = ("solved", lambda measures: np.any(measures["accuracy"] >= 0.99, axis=-1))
PROBES: dict = {}
FINAL: dict = {}
ANALYSES = {"inputs": relevant}


def solved(m: Measures) -> np.ndarray:
    return m.last("accuracy")


def lead(m: Measures) -> np.ndarray:
    """Steps by which the relevant inputs have half the share before the accuracy is halfway from chance to 1."""
    return m.first_step(m["accuracy"] >= 0.75) - m.first_step(m["inputs/relevant"] >= 0.5)


CLAIMS = [
    Claim("accuracy at the end", Source("Barak et al. 2022", "abstract", "networks learn k-sparse parities"), solved,
          Within(low=0.99), fidelity=scaled("20 inputs, 3 of them relevant, 64 neurons")),
    Claim("share of the relevant inputs is ahead of accuracy: lead", None, lead, Direction(), ledger="finding",
          unit="steps"),
]  # fmt: skip


@style.house
def progress(m: Measures) -> Figure:
    figure, (ax,) = style.panels(style.COLUMN, 2.5)
    style.step_axis(ax, m.steps, "linear")
    for name, values, ink in (
        ("accuracy", m["accuracy"], style.TEST),
        ("relevant inputs", m["inputs/relevant"], style.TRAIN),
    ):
        ax.plot(m.steps, values.T, color=ink, lw=0.9, label=[name] + ["_"] * (len(values) - 1))
    ax.set(ylabel="share", ylim=(0, 1.03))
    ax.legend(loc="lower right")
    return figure


FIGURES = {"progress": progress}
