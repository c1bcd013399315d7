"""Superposition makes networks fragile: the more features share a dimension, the better the worst small attack works.

Claim     A feature in superposition is written a little by all that share its dimensions, so one small push along a row
          of W Wᵀ moves many outputs at once: the loss it adds grows with the number of features per dimension.
Source    Elhage et al. 2022, Toy Models of Superposition (arXiv 2209.10652), the section on adversarial vulnerability;
          the analytic attack, 10 % of the mean input length along the worst row of W Wᵀ.
Expect    Against the solution without superposition at the same ε, which loses ε², vulnerability follows 1/D*, is about 2
          where two features share a dimension, and more than 3 at density 0.05 (n = 100, m = 10; 1/D* from 1 to 6.6).
          Models with unequal importance do not follow it: the features that crowd are those whose errors hardly count.
          Two traps. The paper divides by its S = 0 model, whose inputs, and so whose ε, are longer: divided by the S = 0
          instance of the same sweep at its own ε, the trend turns round. And the worst of 2n attacks is found on the
          points on which it is judged: on few, the largest rise is partly chance, the more so the sparser the features.
Cost      cpu: some 8 minutes of one core. paper: n = 200, m = 20, 20 levels.
Command   python run_sweep.py superposition_adversarial [--scale smoke|cpu|paper]
Fails     (cpu) "Closely tracks" is true of the order, and of the number up to about three features per dimension.
          Vulnerability bends below 1/D* where features are sparsest. A conjecture: the ReLU hides a part of what their
          crowd adds. Of 20 seeds it is 0.55 (0.54 to 0.56) of 1/D* there. Nothing in training helps there: weights that
          gave 4.68 on 128 points gave 3.74 on 4,096, and 3.6 on 16,384.
Changed   Two claims on 128 points, on which r ≥ .95 and a rise of 4 times held, are gone: there the largest of 2n attacks
          is judged on the few points that chose it. Bounds that were set after one sweep (r ≥ .95, −.8, .5) gave way to
          the order, the ratio and signs. Twenty seeds of 5,000 steps, in place of three of 8,000: D* is within 0.003 of
          its last value from step 4,000 on. Seeds 100 on saw the same batches; those from 2000 on have their own, and no
          verdict changed.
"""

from functools import partial

import numpy as np
from jax import Array

from toylab.analysis import geometry, over_cells, robustness
from toylab.base import Config, Params, Run
from toylab.claims import Claim, Direction, Source, Within, scaled
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Measures, Part, Scale
from toylab.models import Net, ToyModel
from toylab.models.relu import joint_xavier_std
from toylab.optim import AdamW
from toylab.plots import robustness as plots
from toylab.tasks import SparseFeatures

STEPS = 5000
SEEDS = range(2000, 2020)  # none of them was trained before the claims were fixed
TORCH = AdamW(lr=1e-3, weight_decay=0.01, b2=0.999, warmup=0)  # torch's defaults, as in the notebook


def uniform(n: int, m: int, levels: int, batch: int, seeds: range = SEEDS) -> list[Config]:
    """Features of equal importance at densities 20^(−k/(levels − 1)), by seed; the notebook's init for that many levels."""
    net = Net.of(ToyModel, n_features=n, n_hidden=m, init_std=joint_xavier_std(n, m, levels))
    return [
        Config(
            task=SparseFeatures(n_features=n, batch=batch, density=density),
            net=net,
            optimizer=TORCH,
            seed=seed,
            data_seed=seed,
        )
        for seed in seeds
        for density in 20 ** -np.linspace(0, 1, levels)
    ]


def graded(batch: int, seeds: range = SEEDS) -> list[Config]:
    """The paper's small feature plots: n = 20, m = 5, importance 0.7^i."""
    net = Net.of(ToyModel, n_features=20, n_hidden=5, init_std=joint_xavier_std(20, 5, 7))
    return [
        Config(
            task=SparseFeatures(n_features=20, batch=batch, density=density, importance=0.7 ** np.arange(20)),
            net=net,
            optimizer=TORCH,
            seed=seed,
            data_seed=seed,
        )
        for seed in seeds
        for density in (1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    ]


def attacked(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: 1/D* and what the worst attack does to the model on points of its own density, the same for every run."""
    found = robustness.attacked(params, run)
    return {**found, "features_per_dimension": 1 / geometry.dims_per_feature(params["W"])}


# --- quantities, one value a seed


def curves(m: Measures, name: str) -> np.ndarray:
    """[seed, level]: the value at every run's end, levels from dense to sparse."""
    values, seed, density = m[f"final/attacked/{name}"], m["config/seed"], m["config/task.density"]
    runs = [np.flatnonzero(seed == one) for one in np.unique(seed)]
    return np.stack([values[mine[np.argsort(-density[mine])]] for mine in runs])


def crowding(m: Measures) -> np.ndarray:
    return curves(m, "features_per_dimension")


def vulnerability(m: Measures) -> np.ndarray:
    return curves(m, "vulnerability")


def against_dense(m: Measures) -> np.ndarray:
    """[seed, level]: the rise in loss over that of the seed's S = 0 model, each at its own ε."""
    rise = curves(m, "attacked_loss") - curves(m, "loss")
    return rise / rise[:, :1]


def rank_correlation(m: Measures, sign: int = 1) -> np.ndarray:
    return sign * over_cells.rank_correlation(np.take_along_axis(vulnerability(m), crowding(m).argsort(axis=1), axis=1))


def correlation(m: Measures, sign: int = 1) -> np.ndarray:
    return sign * over_cells.correlation(crowding(m), vulnerability(m))


def largest_distance(m: Measures, most: float = np.inf, over_trained: bool = False) -> np.ndarray:
    """Largest |vulnerability · D* − 1| over the levels with at most so many features per dimension.

    `over_trained`: the trained dense model in place of the exact solution without superposition."""
    ratio = vulnerability(m) / crowding(m)
    if over_trained:
        ratio /= ratio[:, :1]
    return np.where(crowding(m) <= most, abs(ratio - 1), 0).max(axis=1)


def shortfall(m: Measures, levels: int = 1) -> np.ndarray:
    """1 − vulnerability · D*, the mean over so many of the sparsest levels."""
    return 1 - (vulnerability(m) / crowding(m))[:, -levels:].mean(axis=1)


def rise(m: Measures, over_trained: bool = False) -> np.ndarray:
    """Vulnerability at the sparsest level."""
    found = vulnerability(m)
    return found[:, -1] / (found[:, 0] if over_trained else 1)


def turned_round(m: Measures, ranks: bool = False) -> np.ndarray:
    if ranks:
        return -over_cells.rank_correlation(against_dense(m))
    return -over_cells.correlation(crowding(m), against_dense(m))


# --- claims

PAPER = "Elhage et al. 2022"
SMALLER = scaled("100 features in 10 dimensions; divided by the solution without superposition at the same ε")


SECTION = "superposition and adversarial vulnerability"
CLOSELY = "it closely tracks 1/D*"


def tracks(name: str, says: str, quantity: Quantity, kind: Kind, variants: dict[str, Quantity]) -> Claim:
    source = Source(PAPER, SECTION, says, 1)
    return Claim(name, source, quantity, kind, fidelity=SMALLER, each="seed", variants=variants)


def found(name: str, goes_beyond: str, quantity: Quantity, kind: Kind, variants: dict[str, Quantity]) -> Claim:
    source = Source(PAPER, SECTION, goes_beyond)
    return Claim(name, source, quantity, kind, ledger="finding", each="seed", variants=variants)


UNIFORM = [
    tracks("vulnerability follows features per dimension: rank correlation over levels", CLOSELY, rank_correlation,
           Within(low=0.9), {"Pearson": correlation}),
    tracks("and is as large: largest distance of vulnerability · D* from 1 over levels", CLOSELY, largest_distance,
           Within(high=0.2), {"over the trained dense model": partial(largest_distance, over_trained=True)}),
    tracks("vulnerability at density 0.05", "rises more than 3 times", rise, Within(low=3),
           {"over the trained dense model": partial(rise, over_trained=True)}),
    found("up to three features per dimension: largest distance of vulnerability · D* from 1", CLOSELY,
          partial(largest_distance, most=3), Within(high=0.2), {"up to 2.5": partial(largest_distance, most=2.5)}),
    found("at the sparse end it stays behind: 1 − vulnerability · D*", CLOSELY, shortfall, Direction(always=True),
          {"the last three levels": partial(shortfall, levels=3)}),
    found("over the S = 0 model at its own ε the trend turns round: −r", "vulnerability is relative to the S = 0 model",
          turned_round, Direction(always=True), {"ranks": partial(turned_round, ranks=True)}),
]  # fmt: skip
GRADED = [
    found("with importance 0.7^i vulnerability falls as features crowd: −r", CLOSELY, partial(correlation, sign=-1),
          Direction(), {"ranks": partial(rank_correlation, sign=-1)}),
]  # fmt: skip


def levels(m: Measures) -> np.ndarray:
    """1/(1 − S), from dense to sparse."""
    return 1 / np.sort(np.unique(m["config/task.density"]))[::-1]


def drawn(m: Measures) -> object:
    return plots.vulnerability(levels(m), crowding(m), vulnerability(m), against_dense(m))


def drawn_without_dense(m: Measures) -> object:
    return plots.vulnerability(levels(m), crowding(m), vulnerability(m))


SAVES: dict[Scale, tuple[int, int]] = {"smoke": (0, 20), "cpu": (0, STEPS), "paper": (0, 10_000)}
EARLY = range(2)
PARTS = {
    "uniform": Part(
        configs={
            "smoke": uniform(12, 3, 3, batch=64, seeds=EARLY),
            "cpu": uniform(100, 10, 10, batch=512),
            "paper": uniform(200, 20, 20, batch=1024),
        },
        saves=SAVES,
        final={"attacked": attacked},
        claims=UNIFORM,
        figures={"vulnerability": drawn},
    ),
    "importance": Part(
        configs={"smoke": graded(batch=64, seeds=EARLY), "cpu": graded(batch=512), "paper": graded(batch=1024)},
        saves=SAVES,
        final={"attacked": attacked},
        claims=GRADED,
        figures={"vulnerability_importance": drawn_without_dense},
    ),
}
