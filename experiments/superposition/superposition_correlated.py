"""Superposition of correlated features: those that occur together get directions of their own, or become one.

Claim     A model puts features that occur together at right angles and shares dimensions between those that do not. Pairs
          for which there is no room lie side by side; as they become dense each pair turns into one direction, until
          the model does principal component analysis. Features that exclude each other become antipodes, at no loss.
Source    Elhage et al. 2022, Toy Models of Superposition (arXiv 2209.10652), correlated and anticorrelated features: a
          correlated set is on or off as a whole, with independent values; of an anticorrelated set that is on exactly
          one member is active. The settings (p = 0.05, lr 3e-3 on a cosine, batch 512) and "best of 16" are ours.
Expect    Cosine 0 within correlated sets and −1 with a feature of another set; −1 within anticorrelated pairs and loss 0.
          Three pairs in the plane: none collapsed up to 1 − S = 0.05, one to 0.15, two to 0.2, all three from 0.25,
          principal components from 0.5 on.
Cost      cpu: two minutes on two cores.
Command   python run_sweep.py superposition_correlated [--scale smoke|cpu|paper] [--part pairs|collapse|crowded|space|bases]
Fails     At 1 − S = 0.354 all three pairs are one direction each in 46 of 48 fits, as the paper saw, but a lower loss has
          the solution with two collapsed pairs and one at right angles, which the other 2 found (at 0.25, 4 of 48): whether
          the best of 16 has it is luck. The paper does not say of how many fits its pictures are the best.
          Three anticorrelated pairs in the plane lie on a hexagon, but none of 48 fits has all three as antipodes: in the
          best one pair is, and the members of the others are 120° apart; the best without any has 1 % more loss.
          Mean |cos| within sets of 10 over that of independent features: those lie in exact pairs, most of them across the
          sets by chance alone, so that what they leave within sets is near 0 too.
Changed   After a first run: in space 12,000 steps, not 4,000 (one antipode had been at −.951); the share of interference
          within sets of 10 was added beside the mean |cos| within them over that of independent features.
"""

from functools import partial
from typing import Any

import numpy as np

from toylab.analysis import geometry, sets
from toylab.base import Config
from toylab.lab import Claim, Measures, Part, Scale
from toylab.models import Net, ToyModel
from toylab.optim import AdamW
from toylab.plots import collapse
from toylab.plots import geometry as plots
from toylab.tasks import SparseFeatures

PAPER = "Elhage et al. 2022"
BEST = 16  # fits of which the one with the lowest loss counts
COLLAPSED = 0.95  # cosine from which on a pair counts as one direction
STEPS = 4000
LONG = 12_000  # in space the antipodes across sets, which are seldom on together, come slowly
SPARSE = 0.05


def models(kind: str, n_sets: int, size: int, m: int, density: float, seeds: int, steps: int = STEPS) -> list[Config]:
    """`n_sets` sets of `size` features in m dimensions."""
    n = n_sets * size
    task: dict[str, Any] = {"sets": kind, "set_size": size if kind != "independent" else 1}
    return [
        Config(
            task=SparseFeatures(n_features=n, batch=512, density=density, n_eval=16_384, **task),
            net=Net.of(ToyModel, n_features=n, n_hidden=m, init_std=0.1),
            optimizer=AdamW(lr=3e-3, weight_decay=0.0, b2=0.999, warmup=0, schedule="cosine", steps=steps),
            seed=seed,
        )
        for seed in range(seeds)
    ]


def of(m: Measures, kind: str) -> Measures:
    """The runs of one kind of sets."""
    return m.runs(m["config/task.sets"] == kind)


def best_fits(m: Measures) -> tuple[np.ndarray, np.ndarray]:
    """Densities [N], rising, and the best [N, sets] of each 16 runs (at smoke scale of all, which are fewer)."""
    densities, fits = m.best_of(min(BEST, len(np.unique(m["config/seed"]))))
    return densities[::-1], fits[::-1]


def best(m: Measures) -> Measures:
    """The same where all runs have one density."""
    return m.runs(best_fits(m)[1][0])


def best_of_all(m: Measures) -> int:
    return int(m.last("loss").argmin())


def arrangements(m: Measures, names: dict[str, tuple[str, int]]) -> Any:
    """The best of all of each kind, coloured by set."""
    kinds = [of(m, kind) for kind, _ in names.values()]
    W = np.stack([own["final/arrangement/W"][best_of_all(own)] for own in kinds])
    groups = np.stack([np.arange(W.shape[1]) // size for _, size in names.values()])
    return plots.arrangement(W, list(names), groups=groups)


FINAL = {"arrangement": geometry.arrangement}
SAVES: dict[Scale, tuple[int, ...]] = {"smoke": (0, 20), "cpu": (0, STEPS), "paper": (0, STEPS)}
EACH = "best of 16"
TRAINED = "our reference training"


def best_of_kind(kind: str, measure: Any, size: int) -> Any:
    """A measure of `analysis.sets` of the best fits of one kind of sets."""

    def quantity(m: Measures) -> np.ndarray:
        W = best(of(m, kind))["final/arrangement/W"]
        return measure(W, np.arange(W.shape[1]) // size)

    return quantity


PAIRS = Part(
    configs={
        "smoke": models("correlated", 2, 2, 2, SPARSE, 1, 20) + models("anticorrelated", 2, 2, 2, SPARSE, 1, 20),
        **{
            scale: models("correlated", 2, 2, 2, SPARSE, 3 * BEST) + models("anticorrelated", 2, 2, 2, SPARSE, 3 * BEST)
            for scale in ("cpu", "paper")
        },
    },
    saves=SAVES,
    final=FINAL,
    claims=[
        Claim("2 correlated pairs, m = 2: |cos| within a pair", f"{PAPER}: orthogonal; {TRAINED}: 0.009",
              best_of_kind("correlated", sets.largest_within, 2), high=0.05, each=EACH),
        Claim("2 correlated pairs: cosine with the nearest to an antipode, in the other pair",
              f"{PAPER}: antipodes across pairs; {TRAINED}: −0.998",
              best_of_kind("correlated", sets.worst_antipode, 2), high=-0.99, each=EACH),
        Claim("2 anticorrelated pairs, m = 2: cosine within a pair", f"{PAPER}: antipodes; {TRAINED}: −1.000",
              best_of_kind("anticorrelated", sets.worst_partner, 2), high=-0.99, each=EACH),
        Claim("2 anticorrelated pairs: loss", "0 exactly; the width is ours",
              lambda m: best(of(m, "anticorrelated")).last("loss"), high=1e-6, each=EACH),
    ],
    figures={"pairs": partial(arrangements, names={"2 correlated pairs": ("correlated", 2),
                                                   "2 anticorrelated pairs": ("anticorrelated", 2)})},
)  # fmt: skip


# --- three pairs in the plane


REGIMES = {  # densities, as the paper has them (nothing is said of 0.2 to 0.25)
    "none collapsed": (0.0, 0.05),
    "one": (0.05, 0.15),
    "two": (0.15, 0.2),
    "all three": (0.25, 0.5),
    "PCA": (0.5, 1.0),
}
DENSITIES = 2.0 ** -np.arange(0.5, 7, 0.5)  # with the middle of each regime: 0.031, 0.088, 0.177, 0.354, 0.707
MIDDLES = (2.0**-5, 2.0**-3.5, 2.0**-2.5, 2.0**-1.5, 2.0**-0.5)


def within(m: Measures) -> tuple[np.ndarray, np.ndarray]:
    """Densities [N] and the cosines within the three pairs of the best fits [N, sets, 3]."""
    densities, fits = best_fits(m)
    first, second = np.arange(6).reshape(3, 2).T
    return densities, sets.cosines(m["final/arrangement/W"])[fits][..., first, second]


def at_middle(m: Measures, i: int, quantity: Any) -> np.ndarray:
    densities, values = quantity(m)
    return values[np.abs(np.log(densities / MIDDLES[i])).argmin()]


def n_collapsed(m: Measures) -> tuple[np.ndarray, np.ndarray]:
    densities, values = within(m)
    return densities, (values > COLLAPSED).sum(axis=2)


def side_by_side(m: Measures) -> tuple[np.ndarray, np.ndarray]:
    """The lowest cosine within the pairs."""
    densities, values = within(m)
    return densities, values.min(axis=2)


def off_projection(m: Measures) -> tuple[np.ndarray, np.ndarray]:
    """What of the singular values of W [N, sets] is farthest from 1: W of PCA is an orthonormal frame."""
    densities, fits = best_fits(m)
    return densities, sets.off_frame(m["final/arrangement/W"][fits])


def collapse_figure(m: Measures) -> Any:
    densities, values = within(m)
    W, loss, density = m["final/arrangement/W"], m.last("loss"), m["config/task.density"]
    pictures = {float(p): W[np.where(density == p, loss, np.inf).argmin()] for p in densities}
    return collapse.collapse(densities, values, REGIMES, pictures, np.arange(6) // 2)


def three_pairs(densities: Any, seeds: int, steps: int = STEPS) -> list[Config]:
    return [config for p in densities for config in models("correlated", 3, 2, 2, float(p), seeds, steps)]


COLLAPSE = Part(
    configs={
        "smoke": three_pairs(DENSITIES[[0, 9]], 1, 20),
        "cpu": three_pairs(DENSITIES, 3 * BEST),
        "paper": three_pairs(DENSITIES, 3 * BEST),
    },
    saves=SAVES,
    final=FINAL,
    claims=[
        *(
            Claim(f"3 correlated pairs, m = 2: pairs collapsed at 1 − S = {MIDDLES[i]:.3f}",
                  f"{PAPER}: {name} for {start:g} to {end:g}, here in the middle",
                  partial(at_middle, i=i, quantity=n_collapsed), number, number, each=EACH)
            for i, (number, (name, (start, end))) in enumerate(zip((0, 1, 2, 3, 3), REGIMES.items(), strict=True))
        ),
        Claim("3 correlated pairs: pairs collapsed, largest fall with density", f"{PAPER}: they collapse one by one",
              lambda m: np.diff(n_collapsed(m)[1], axis=0).min(axis=0), 0, each=EACH),
        Claim("3 correlated pairs, 1 − S = 0.707: singular values of W off 1", f"{PAPER}: PCA; the width is ours",
              partial(at_middle, i=4, quantity=off_projection), high=0.1, each=EACH),
        Claim("3 correlated pairs, 1 − S = 0.031: lowest cosine within a pair",
              f"{PAPER}: side by side; the bound, cos 75°, is ours",
              partial(at_middle, i=0, quantity=side_by_side), 0.2588, each=EACH),
    ],
    figures={"collapse": collapse_figure},
)  # fmt: skip


# --- three anticorrelated pairs in the plane

CROWDED = Part(
    configs={
        "smoke": models("anticorrelated", 3, 2, 2, SPARSE, 1, 20),
        **{scale: models("anticorrelated", 3, 2, 2, SPARSE, 3 * BEST) for scale in ("cpu", "paper")},
    },
    saves=SAVES,
    final=FINAL,
    claims=[
        Claim("3 anticorrelated pairs, m = 2: cosine within a pair", f"{PAPER}: antipodes; the bound is ours",
              best_of_kind("anticorrelated", sets.worst_partner, 2), high=-0.95, each=EACH),
    ],
    figures={"three_pairs": partial(arrangements, names={"3 anticorrelated pairs": ("anticorrelated", 2)})},
)  # fmt: skip


# --- in space


def in_space(seeds: int, steps: int = LONG) -> list[Config]:
    """Anticorrelated pairs are denser: of sparse ones only 1 in 16 seeds finds the solution without loss."""
    return models("correlated", 2, 3, 3, SPARSE, seeds, steps) + models("anticorrelated", 3, 2, 3, 0.2, seeds, steps)


SPACE = Part(
    configs={"smoke": in_space(1, 20), "cpu": in_space(3 * BEST), "paper": in_space(3 * BEST)},
    saves={"smoke": (0, 20), "cpu": (0, LONG), "paper": (0, LONG)},
    final=FINAL,
    claims=[
        Claim("2 correlated triples, m = 3: |cos| within a triple", f"{PAPER}: octahedron; the bound is ours",
              best_of_kind("correlated", sets.largest_within, 3), high=0.1, each=EACH),
        Claim("2 correlated triples: cosine with the nearest to an antipode, in the other triple",
              f"{PAPER}: antipodes across sets; the bound is ours",
              best_of_kind("correlated", sets.worst_antipode, 3), high=-0.99, each=EACH),
        Claim("3 anticorrelated pairs, m = 3: cosine within a pair", f"{PAPER}: antipodes; the bound is ours",
              best_of_kind("anticorrelated", sets.worst_partner, 2), high=-0.99, each=EACH),
    ],
    figures={"space": partial(arrangements, names={"2 correlated triples": ("correlated", 3),
                                                   "3 anticorrelated pairs": ("anticorrelated", 2)})},
)  # fmt: skip


# --- local bases


def bases(seeds: int, steps: int = STEPS) -> list[Config]:
    return models("correlated", 2, 10, 10, SPARSE, seeds, steps) + models(
        "independent", 2, 10, 10, SPARSE, seeds, steps
    )


def local_bases(m: Measures) -> Any:
    kinds = {"2 correlated sets of 10": "correlated", "20 independent features": "independent"}
    shown = [of(m, kind) for kind in kinds.values()]
    shown = [own.runs(np.array([best_of_all(own)])) for own in shown]
    gram, b, norms, tint = (
        np.concatenate([own[f"final/{name}"] for own in shown])
        for name in ("gram/WWt", "arrangement/b", "features/norms", "features/polysemanticity")
    )
    return plots.gram_and_norms(gram, b, norms, tint, list(kinds))


BASES = Part(
    configs={"smoke": bases(1, 20), "cpu": bases(3 * BEST), "paper": bases(3 * BEST)},
    saves=SAVES,
    final={**FINAL, "gram": geometry.gram_matrix, "features": geometry.features},
    claims=[
        Claim("2 correlated sets of 10, m = 10: largest |cos| within a set",
              f"{PAPER}: local, almost orthogonal bases; the bound is ours",
              best_of_kind("correlated", sets.largest_within, 10), high=0.1, each=EACH),
        Claim("mean |cos| within sets of 10, correlated over independent features", f"{PAPER}; the bound is ours",
              lambda m: np.divide(*(best_of_kind(kind, sets.mean_within, 10)(m) for kind in ("correlated", "independent"))),
              high=0.5, each=EACH),
        Claim("2 correlated sets of 10: share of the interference that is within sets",
              f"{PAPER}: interference is between sets; by lot 0.47, the bound is ours",
              best_of_kind("correlated", sets.own_interference, 10), high=0.1, each=EACH),
    ],
    figures={"bases": local_bases},
)  # fmt: skip

PARTS = {"pairs": PAIRS, "collapse": COLLAPSE, "crowded": CROWDED, "space": SPACE, "bases": BASES}
