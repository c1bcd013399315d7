"""Superposition makes networks fragile: the more features share a dimension, the better the worst small attack works.

Claim     A feature in superposition is written a little by all that share its dimensions, so one small push along a row of
          W Wᵀ moves many outputs at once: the loss it adds grows with the number of features per dimension.
Source    Elhage et al. 2022, Toy Models of Superposition (arXiv 2209.10652), the section on adversarial vulnerability; the
          analytic attack, 10 % of the mean input length along the worst row of W Wᵀ.
Expect    Against the solution without superposition at the same ε, which loses ε², vulnerability follows 1/D*, is about 2
          where two features share a dimension, and more than 3 at density 0.05 (n = 100, m = 10; 1/D* from 1 to 6.6).
          Models with unequal importance do not follow it: the features that crowd are those whose errors hardly count.
          Two traps. The paper divides by its S = 0 model, whose inputs, and so whose ε, are longer: divided by the S = 0
          instance of the same sweep at its own ε, the trend turns round. And the worst of 2n attacks is found on the
          points on which it is judged: on few, the largest rise is partly chance, the more so the sparser the features.
Cost      cpu: n = 100, m = 10, 45 s on two cores. paper: n = 200, m = 20, 20 levels.
Command   python run_sweep.py superposition_adversarial [--scale smoke|cpu|paper]
Fails     (cpu) On 4,096 points r is .938 for seed 0. Vulnerability bends below 1/D* where features are sparsest: the ReLU
          hides a part of what their crowd adds. Nothing in training helps: the weights of the first sweep, which gave r =
          .979 and 4.68 on 128 points, give .953 and 3.74 on 4,096, and .948 and 3.6 on 16,384.
Changed   After a first run: claims are split by the number of points attacked. The bounds r ≥ .95 and ≥ 4 came with 128
          points and are judged there; on 4,096 points r ≥ .95 and the paper's 3.
"""

import numpy as np
from jax import Array

from toylab.analysis import geometry, robustness
from toylab.base import Config, Params, Run
from toylab.lab import Claim, Measures, Part, Scale
from toylab.models import Net, ToyModel
from toylab.models.relu import joint_xavier_std
from toylab.optim import AdamW
from toylab.plots import robustness as plots
from toylab.tasks import SparseFeatures

STEPS = 8000
TORCH = AdamW(lr=1e-3, weight_decay=0.01, b2=0.999, warmup=0)  # torch's defaults, as in the notebook


def uniform(n: int, m: int, levels: int, batch: int, seeds: int = 3) -> list[Config]:
    """Features of equal importance at densities 20^(−k/(levels − 1)), by seed; the notebook's init for that many levels."""
    net = Net.of(ToyModel, n_features=n, n_hidden=m, init_std=joint_xavier_std(n, m, levels))
    return [
        Config(task=SparseFeatures(n_features=n, batch=batch, density=density), net=net, optimizer=TORCH, seed=seed)
        for seed in range(seeds)
        for density in 20 ** -np.linspace(0, 1, levels)
    ]


def graded(batch: int, seeds: int = 3) -> list[Config]:
    """The paper's small feature plots: n = 20, m = 5, importance 0.7^i."""
    net = Net.of(ToyModel, n_features=20, n_hidden=5, init_std=joint_xavier_std(20, 5, 7))
    return [
        Config(
            task=SparseFeatures(n_features=20, batch=batch, density=density, importance=0.7 ** np.arange(20)),
            net=net,
            optimizer=TORCH,
            seed=seed,
        )
        for seed in range(seeds)
        for density in (1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    ]


def attacked(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: 1/D* and what the worst attack does to the model on points of its own density, the same for every run."""
    found = robustness.attacked(params, run)
    return {**found, "features_per_dimension": 1 / geometry.dims_per_feature(params["W"])}


def curves(m: Measures, name: str, of: str = "attacked") -> np.ndarray:
    """[seed, level]: the value at every run's end, levels from dense to sparse."""
    values, seed, density = m[f"final/{of}/{name}"], m["config/seed"], m["config/task.density"]
    runs = [np.flatnonzero(seed == one) for one in np.unique(seed)]
    return np.stack([values[mine[np.argsort(-density[mine])]] for mine in runs])


def against_dense(m: Measures) -> np.ndarray:
    """[seed, level]: the rise in loss over that of the seed's S = 0 model, each at its own ε."""
    rise = curves(m, "attacked_loss") - curves(m, "loss")
    return rise / rise[:, :1]


def correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[seed]: Pearson's r over levels of [seed, level] twice."""
    x, y = (v - v.mean(axis=1, keepdims=True) for v in (x, y))
    return (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))


def tracking(m: Measures) -> np.ndarray:
    return correlation(curves(m, "features_per_dimension"), curves(m, "vulnerability"))


def tracking_against_dense(m: Measures) -> np.ndarray:
    return correlation(curves(m, "features_per_dimension"), against_dense(m))


def tracking_on_few(m: Measures) -> np.ndarray:
    return correlation(curves(m, "features_per_dimension"), curves(m, "vulnerability", "attacked_on_few"))


def at_the_sparse_end(m: Measures) -> np.ndarray:
    return curves(m, "vulnerability")[:, -1]


def at_the_sparse_end_on_few(m: Measures) -> np.ndarray:
    return curves(m, "vulnerability", "attacked_on_few")[:, -1]


def on_the_plateau(m: Measures) -> np.ndarray:
    """[seed]: mean over the levels with 1/D* within 0.15 of 2 (nan: none)."""
    on = np.abs(curves(m, "features_per_dimension") - 2) <= 0.15
    return np.where(on, curves(m, "vulnerability"), 0).sum(axis=1) / np.where(on.any(axis=1), on.sum(axis=1), np.nan)


def without_superposition(m: Measures) -> np.ndarray:
    """[seed]: the dense model, which has learned the orthogonal solution up to a rotation."""
    return curves(m, "vulnerability")[:, 0]


def drawn(m: Measures) -> object:
    few = curves(m, "vulnerability", "attacked_on_few") if "final/attacked_on_few/vulnerability" in m else None
    over = 1 / np.sort(np.unique(m["config/task.density"]))[::-1]
    fields = curves(m, "features_per_dimension"), curves(m, "vulnerability"), against_dense(m)
    return plots.vulnerability(over, *fields, few)


PAPER = "Elhage et al. 2022"
FEW = "measured first on 128 points of one sweep"
SAVES: dict[Scale, tuple[int, int]] = {"smoke": (0, 20), "cpu": (0, STEPS), "paper": (0, 10_000)}
PARTS = {
    "uniform": Part(
        configs={
            "smoke": uniform(12, 3, 3, batch=64, seeds=2),
            "cpu": uniform(100, 10, 10, batch=512),
            "paper": uniform(200, 20, 20, batch=1024),
        },
        saves=SAVES,
        final={"attacked": attacked, "attacked_on_few": robustness.attacked_on_few},
        claims=[
            Claim(
                "vulnerability follows features per dimension, on 128 points: Pearson's r over levels",
                f"{PAPER}: it tracks 1/D*; the bound is ours ({FEW}: .979)",
                tracking_on_few,
                0.95,
                each="seed",
            ),
            Claim(
                "vulnerability at density 0.05, on 128 points",
                f"the bound is ours ({FEW}: 4.7)",
                at_the_sparse_end_on_few,
                4,
                each="seed",
            ),
            Claim(
                "vulnerability follows features per dimension, on 4,096 points: Pearson's r over levels",
                f"{PAPER}: it tracks 1/D*; the bound is that on 128 points",
                tracking,
                0.95,
                each="seed",
            ),
            Claim(
                "vulnerability at density 0.05, on 4,096 points",
                f"{PAPER}: it rises more than 3 times",
                at_the_sparse_end,
                3,
                each="seed",
            ),
            Claim(
                "vulnerability where two features share a dimension",
                "about 2, the number of features; the tolerance is ours",
                on_the_plateau,
                1.6,
                2.4,
                each="seed",
            ),
            Claim(
                "vulnerability of the dense model",
                "exact for W = [I; 0] and any rotation of it: 1; the tolerance is ours",
                without_superposition,
                0.95,
                1.05,
                each="seed",
            ),
            Claim(
                "against the S = 0 model the trend turns round: Pearson's r",
                "the trap of the docstring; the bound is ours (measured first: −.93)",
                tracking_against_dense,
                high=-0.8,
                each="seed",
            ),
        ],
        figures={"vulnerability": drawn},
    ),
    "importance": Part(
        configs={"smoke": graded(batch=64, seeds=2), "cpu": graded(batch=1024), "paper": graded(batch=1024, seeds=5)},
        saves=SAVES,
        final={"attacked": attacked},
        claims=[
            Claim(
                "with importance 0.7^i it does not follow: Pearson's r over levels",
                "the bound is ours (measured first: −.60)",
                tracking,
                high=0.5,
                each="seed",
            ),
        ],
        figures={"vulnerability_importance": drawn},
    ),
}
