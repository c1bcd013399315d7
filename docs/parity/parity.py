"""Sparse parity: do the weights find the inputs that matter before the accuracy shows it?

Claim     The network reads the k relevant inputs more and more before its accuracy leaves chance.
Source    Barak et al. 2022, Hidden Progress in Deep Learning (arXiv 2207.08799); the share of the inputs is our measure.
Expect    Accuracy jumps from chance to 1; the share of the relevant inputs is ahead of it.
Cost      cpu: 3 seeds, seconds on two cores.
Command   toylab run parity.py [--scale smoke|cpu|paper]
Changed   After a first run points are saved every 20 steps to step 2,000. They had been 125 apart, to 6,000, and the lead
          was 125, 125 and 0 steps: it held for 2 of 3 seeds. It is now 100, 100 and 40; the bound is the same.
"""

import numpy as np
from matplotlib.figure import Figure
from parity_analysis import relevant
from parity_task import SparseParity
from perceptron import Perceptron

from toylab.base import Config
from toylab.lab import Claim, Measures
from toylab.models import Net
from toylab.optim import SGD
from toylab.plots import style


def training(n: int, k: int, seeds: int) -> list[Config]:
    net = Net.of(Perceptron, n_inputs=n, d_mlp=64)
    return [Config(SparseParity(n=n, k=k), net, SGD(lr=0.1), seed=seed) for seed in range(seeds)]


CONFIGS = {"smoke": training(6, 2, 2), "cpu": training(20, 3, 3), "paper": training(30, 3, 10)}
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
    Claim("accuracy at the end", "Barak et al. 2022: 1; the bound is ours", solved, 0.99),
    Claim("share of the relevant inputs is ahead of accuracy: lead", "the bound is ours", lead, 1, unit="steps"),
]


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
