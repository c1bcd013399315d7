"""Uniform superposition: equally important features have one dimension each, then half of one, and lie on lines.

Claim     As n equally important features become sparse, the dimensions D* = m/‖W‖² that each represented one has fall from
          1, stick at 1/2, and fall on. The dimensionalities D_i of single features lie on lines, those of polytopes:
          tetrahedra, triangles, digons, pentagons and square antiprisms in spaces of their own.
Source    Elhage et al. 2022, Toy Models of Superposition (arXiv 2209.10652), geometry of uniform superposition: n = 400,
          m = 30. The released notebook has n = 200, m = 20 in 20 levels, AdamW lr 1e-3, weight decay 0.01, batch 1024.
Expect    D* sticks at 1 and 1/2; lines of D_i at 3/4, 2/3, 1/2, 2/5 and 3/8.
Cost      cpu (n = 200, m = 20, 40 levels, 10 seeds): 16 minutes on one core. paper: n = 400, m = 30 in 100 levels, for a
          GPU; not run.
Command   python run_sweep.py superposition_uniform [--scale smoke|cpu|paper]
"""

from functools import partial
from typing import Any

import numpy as np

from toylab import claims as rules
from toylab.analysis import geometry
from toylab.analysis.superposition import lines
from toylab.base import Config
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Measures, Part
from toylab.models import Net, ToyModel
from toylab.models.relu import joint_xavier_std
from toylab.optim import AdamW
from toylab.plots import dimensionality
from toylab.tasks import SparseFeatures

TEN = range(100, 110)
NOTEBOOK = AdamW(lr=1e-3, weight_decay=0.01, b2=0.999, warmup=0)
SETTLING = AdamW(lr=3e-3, weight_decay=0.01, b2=0.999, warmup=0, schedule="cosine", steps=4000)  # lines are sharper


def models(n: int, m: int, n_levels: int, seeds: range, optimizer: AdamW = NOTEBOOK, **task: Any) -> list[Config]:
    """The released notebook's: densities from 1 to 1/20 in constant ratio, with every seed, W spread as if the levels of a
    seed were one array. Batches are the same for all seeds, others for development than for confirmation."""
    net = Net.of(ToyModel, n_features=n, n_hidden=m, init_std=joint_xavier_std(n, m, n_levels))
    return [
        Config(SparseFeatures(n_features=n, density=float(p), **task), net, optimizer, seed, data_seed=seeds[0])
        for p in 20.0 ** -np.linspace(0, 1, n_levels)
        for seed in seeds
    ]


def sticking(m: Measures, width: float = 0.05) -> np.ndarray:
    """Of each seed: levels with D* within a width of 1/2, over those of a straight fall."""
    densities, dstar = np.unique(m["config/task.density"])[::-1], m["final/represented/dims_per_feature"]
    return lines.sticking(np.stack([dstar[m["config/task.density"] == density] for density in densities]), width=width)


def on_the_line(m: Measures, value: float, size: int, width: float = 0.01, bandwidth: float = 0.03) -> np.ndarray:
    """[1, 2]: polytopes with features on a line, and as many as a smoothed density has, of all levels with D* < 0.95.

    A polytope's features come together, so that counts of features are not Poisson's: they are divided by its size.
    """
    D = m["final/represented/dimensionality"][m["final/represented/dims_per_feature"] < 0.95]
    counted, expected = lines.line_counts(D[np.isfinite(D)], value, width, bandwidth)
    return np.array([[counted // size, expected / size]])


def plateau_and_lines(m: Measures) -> Any:
    D, dstar = (m[f"final/represented/{name}"] for name in ("dimensionality", "dims_per_feature"))
    return dimensionality.dimensionality(1 / m["config/task.density"], D, None, dstar)


def stated(name: str, says: str, quantity: Quantity, kind: Kind, **more: Any) -> rules.Claim:
    source = rules.Source("Elhage et al. 2022", "geometry of uniform superposition, figures", says)
    return rules.Claim(name, source, quantity, kind, fidelity=NOT_400, **more)


LINES = {"3/4": (3 / 4, 4), "2/3": (2 / 3, 3), "1/2": (1 / 2, 2), "2/5": (2 / 5, 5), "3/8": (3 / 8, 8)}  # and polytopes
NOT_400 = rules.scaled(
    "n = 200, m = 20 and 40 levels, not n = 400, m = 30 and 100; 4,000 steps of 512, lr 3e-3 that falls to 0"
)
PER_SEED: dict[str, Any] = {"each": "seed", "looks": (len(TEN),)}
UNIFORM = Part(
    configs={
        "smoke": models(20, 4, 3, range(2), batch=64, n_eval=256),
        "cpu": models(200, 20, 40, TEN, SETTLING, batch=512, n_eval=1024),
        "paper": models(400, 30, 100, TEN),
    },
    saves={"smoke": (0, 100), "cpu": (0, 4000), "paper": (0, 10_000)},
    final={"represented": geometry.represented},
    keep=("W",),
    claims=[
        stated("S = 0: D*", "sticky at 1",
               lambda m: m["final/represented/dims_per_feature"][m["config/task.density"] == 1], rules.Median(1, 0.03),
               **PER_SEED),
        stated("levels with D* near 1/2, over those of a straight fall", "sticky at 1/2",
               sticking, rules.Direction(null=1), **PER_SEED,
               variants={f"near: within {width}": partial(sticking, width=width) for width in (0.03, 0.08)}),
        *(
            stated(f"polytopes on the line D = {name}, over a smoothed density", f"a line at {name}",
                   partial(on_the_line, value=value, size=size), rules.Excess(1.5), family="lines",
                   variants={"within 0.005": partial(on_the_line, value=value, size=size, width=0.005),
                             "bandwidth 0.02": partial(on_the_line, value=value, size=size, bandwidth=0.02),
                             "features, not polytopes": partial(on_the_line, value=value, size=1)})
            for name, (value, size) in LINES.items()
        ),
    ],
    figures={"dimensionality": plateau_and_lines},
)  # fmt: skip

PARTS = {"levels": UNIFORM}
