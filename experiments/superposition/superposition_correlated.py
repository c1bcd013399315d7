"""Superposition of correlated features: those that occur together get directions of their own, or become one.

Claim     A model puts features that occur together at right angles and shares dimensions between those that do not. Pairs
          for which there is no room lie side by side; as they become dense each pair turns into one direction, until
          the model does principal component analysis. Features that exclude each other become antipodes, at no loss.
Source    Elhage et al. 2022, Toy Models of Superposition (arXiv 2209.10652), correlated and anticorrelated features: a
          correlated set is on or off as a whole, with independent values; of an anticorrelated set that is on exactly one
          member is active. Where the paper gives no density, p = 0.05; it gives no optimizer (here lr 3e-3 on a cosine,
          batch 512), and not of how many fits its pictures are the best.
Expect    Cosine 0 within correlated sets and −1 with a feature of another set; −1 within anticorrelated pairs.
          Three pairs in the plane: none collapsed up to 1 − S = 0.05, one to 0.15, two to 0.2, all three from 0.25,
          principal components from 0.5 on.
Cost      cpu: 5 minutes on one core.
Command   python run_sweep.py superposition_correlated [--scale smoke|cpu|paper] [--part pairs|…|neighbours|…|bases]
Fails     Of what counts nothing; one claim that differs is withdrawn (Changed). Two agreements are of few fits. Three
          anticorrelated pairs in the plane are antipodes in the best of 40 fits and in no other. All three correlated pairs
          are collapsed at 1 − S = 0.354 in 40 of 40 fits, yet of the 40 fits of seeds 100 to 139 two had collapsed two
          pairs only, at a lower loss, 0.170 (here 0.172).
Changed   Bounds were of single runs and fits were chosen on 4,096 points; the loss is the exact expectation now. One
          claim is withdrawn after its runs: it asked that cosines within a pair exceed all across pairs at 1 − S = 0.031.
          In 40 of 40 fits pairs are neighbours, as the paper says, but 0.42 within and 0.6 across. It asked for more
          than the paper says. That pairs are neighbours was asked of 40 fresh fits (part neighbours): of all it is true.
          Fits of seeds 100 to 139 saw the same batches; those from 2000 on have their own. Three verdicts changed: the
          two of Fails from "differs", and that anticorrelated features prefer negative interference from "undecided" (21
          of 40 fits then, 27 now).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from toylab import claims as rules
from toylab.analysis import geometry, over_cells, sets
from toylab.analysis.superposition import population
from toylab.base import Config
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Measures, Part, Scale
from toylab.models import Net, ToyModel
from toylab.optim import AdamW
from toylab.plots import collapse
from toylab.plots import geometry as plots
from toylab.tasks import SparseFeatures

FITS, FEW = range(2000, 2040), range(2000, 2008)
ANEW = range(2100, 2140)  # of the part neighbours
COLLAPSED = 0.95  # cosine from which on a pair counts as one direction
AT_RIGHT_ANGLES, ANTIPODES = 0.1, -0.95  # |cosines| up to this; cosines down to this
STEPS = 4000
LONG = 12_000  # in space the antipodes across sets, which are seldom on together, come slowly
SPARSE = 0.05


def models(kind: str, n_sets: int, size: int, m: int, density: float, seeds: range, steps: int = STEPS) -> list[Config]:
    """`n_sets` sets of `size` features in m dimensions."""
    n = n_sets * size
    task: dict[str, Any] = {"sets": kind, "set_size": size if kind != "independent" else 1, "streams": "own"}
    return [
        Config(
            task=SparseFeatures(n_features=n, batch=512, density=density, n_eval=16_384, **task),
            net=Net.of(ToyModel, n_features=n, n_hidden=m, init_std=0.1),
            optimizer=AdamW(lr=3e-3, weight_decay=0.0, b2=0.999, warmup=0, schedule="cosine", steps=steps),
            seed=seed,
            data_seed=seed,
        )
        for seed in seeds
    ]


def of(m: Measures, kind: str) -> Measures:
    """The runs of one kind of sets."""
    return m.runs(m["config/task.sets"] == kind)


def losses(m: Measures) -> np.ndarray:
    """[R]: the exact expected loss, or where there are too many features for it that on a sample."""
    return m["final/population/loss"] if "final/population/loss" in m else m.last("loss")


def best_is(m: Measures, kind: str, size: int, patterns: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """[K, 2]: the loss of every fit of one kind of sets, and whether its features lie in a pattern."""
    m = of(m, kind)
    W = m["final/arrangement/W"]
    return np.stack([losses(m), patterns(W, np.arange(W.shape[1]) // size)], axis=1)


def bases_as_antipodes(W: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Orthogonal within sets, and every feature with an antipode in another set."""
    return (sets.largest_within(W, members) <= AT_RIGHT_ANGLES) & (sets.worst_antipode(W, members) <= ANTIPODES)


def pairs_of_antipodes(W: np.ndarray, members: np.ndarray) -> np.ndarray:
    return sets.worst_partner(W, members) <= ANTIPODES


def arrangements(m: Measures, names: dict[str, tuple[str, int]]) -> Any:
    """The best of all of each kind, coloured by set."""
    kinds = [of(m, kind) for kind, _ in names.values()]
    W = np.stack([own["final/arrangement/W"][losses(own).argmin()] for own in kinds])
    groups = np.stack([np.arange(W.shape[1]) // size for _, size in names.values()])
    return plots.arrangement(W, list(names), groups=groups)


OURS = rules.analogue("optimizer and number of fits are ours, and some densities: the paper prints none")


def stated(name: str, says: str, quantity: Quantity, kind: Kind, **more: Any) -> rules.Claim:
    source = rules.Source("Elhage et al. 2022", "correlated and anticorrelated features", says)
    return rules.Claim(name, source, quantity, kind, fidelity=OURS, **more)


FINAL = {"arrangement": geometry.arrangement, "population": population.population}
SAVES: dict[Scale, tuple[int, ...]] = {"smoke": (0, 20), "cpu": (0, STEPS), "paper": (0, STEPS)}
BEST = rules.Existence(len(FITS))  # the paper does not say of how many fits its pictures are the best
EVERY: dict[str, Any] = {"each": "fit", "looks": (len(FITS),)}


def of_all_scales(smoke: list[Config], full: list[Config]) -> dict[Scale, list[Config]]:
    return {"smoke": smoke, "cpu": full, "paper": full}


def two_pairs(seeds: range, steps: int = STEPS) -> list[Config]:
    return [one for kind in ("correlated", "anticorrelated") for one in models(kind, 2, 2, 2, SPARSE, seeds, steps)]


PAIRS = Part(
    configs=of_all_scales(two_pairs(range(1), 20), two_pairs(FITS)),
    saves=SAVES,
    final=FINAL,
    claims=[
        stated("2 correlated pairs, m = 2: in the best fit pairs are orthogonal, antipodes across them",
               "orthogonal within pairs, antipodal across", partial(best_is, kind="correlated", size=2,
               patterns=bases_as_antipodes), BEST),
        stated("2 anticorrelated pairs, m = 2: in the best fit pairs are antipodes", "antipodal within pairs",
               partial(best_is, kind="anticorrelated", size=2, patterns=pairs_of_antipodes), BEST),
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
FIRST, SECOND = np.arange(6).reshape(3, 2).T


def at_middle(m: Measures, i: int) -> Measures:
    return m.runs(np.isclose(m["config/task.density"], MIDDLES[i], rtol=0.01))


def within(m: Measures) -> np.ndarray:
    """The cosines within the three pairs [R, 3]."""
    return sets.cosines(m["final/arrangement/W"])[:, FIRST, SECOND]


def collapsed(m: Measures, i: int, number: int, least: float = COLLAPSED) -> np.ndarray:
    """[K, 2]: the loss of every fit in the middle of a regime, and whether that many pairs are one direction."""
    m = at_middle(m, i)
    return np.stack([losses(m), (within(m) > least).sum(axis=1) == number], axis=1)


def collapse_figure(m: Measures) -> Any:
    runs = np.stack(over_cells.cells(m["config/task.density"][:, None]))
    best = np.array([over_cells.lowest_in_sets(losses(m), cell, max(min(3, len(cell) // 2), 1)) for cell in runs])
    densities, W = m["config/task.density"][runs[:, 0]], m["final/arrangement/W"]
    of_all = best[np.arange(len(best)), losses(m)[best].argmin(axis=1)]
    pictures = dict(zip(densities.tolist(), W[of_all], strict=True))
    return collapse.collapse(densities, within(m)[best], REGIMES, pictures, np.arange(6) // 2)


def three_pairs(densities: Any, seeds: range, steps: int = STEPS) -> list[Config]:
    return [config for p in densities for config in models("correlated", 3, 2, 2, float(p), seeds, steps)]


COLLAPSE = Part(
    configs=of_all_scales(three_pairs(DENSITIES[[0, 9]], range(1), 20), three_pairs(DENSITIES, FITS)),
    saves=SAVES,
    final=FINAL,
    claims=[
        *(
            stated(f"3 correlated pairs, m = 2: in the best fit {name} at 1 − S = {MIDDLES[i]:.3f}",
                   f"{name} for {start:g} to {end:g}, here in the middle", partial(collapsed, i=i, number=number), BEST,
                   variants={f"collapsed from a cosine of {least}": partial(collapsed, i=i, number=number, least=least)
                             for least in (0.9, 0.98)})
            for i, (number, (name, (start, end))) in enumerate(zip((0, 1, 2, 3, 3), REGIMES.items(), strict=True))
        ),
        rules.Claim("3 correlated pairs, 1 − S = 0.354: all three are collapsed in nearly every fit", None,
                    lambda m: collapsed(m, 3, 3)[:, 1], rules.Proportion(least_share=0.8), "finding", **EVERY),
        stated("3 correlated pairs, 1 − S = 0.707: singular values of W off 1", "PCA",
               lambda m: sets.off_frame(at_middle(m, 4)["final/arrangement/W"]), rules.Within(high=0.1), **EVERY),
    ],
    figures={"collapse": collapse_figure},
)  # fmt: skip


def side_by_side(m: Measures) -> np.ndarray:
    """[R]: whether the features of each pair follow one another in angle; a random order has it in 2 of 15."""
    W = m["final/arrangement/W"]
    order = np.argsort(np.arctan2(W[..., 1], W[..., 0]), axis=1)
    place = np.argsort(order, axis=1)
    apart = abs(place[:, FIRST] - place[:, SECOND])
    return np.isin(apart, (1, W.shape[1] - 1)).all(axis=1).astype(float)


NEIGHBOURS = Part(
    configs=of_all_scales(three_pairs(MIDDLES[:1], range(1), 20), three_pairs(MIDDLES[:1], ANEW)),
    saves=SAVES,
    final=FINAL,
    claims=[
        stated("3 correlated pairs, 1 − S = 0.031: the features of each pair are neighbours in angle",
               "side by side where there is no room to be orthogonal", side_by_side, rules.Proportion(least_share=0.8),
               **EVERY),
    ],
)  # fmt: skip


# --- three anticorrelated pairs in the plane


def within_less_across(m: Measures) -> np.ndarray:
    """Mean cosine within the pairs less that across them."""
    cosines = sets.cosines(m["final/arrangement/W"])
    others = np.arange(6)[:, None] // 2 != np.arange(6) // 2
    return within(m).mean(axis=1) - cosines[:, others].mean(axis=1)


CROWDED = Part(
    configs=of_all_scales(
        models("anticorrelated", 3, 2, 2, SPARSE, range(1), 20), models("anticorrelated", 3, 2, 2, SPARSE, FITS)
    ),
    saves=SAVES,
    final=FINAL,
    claims=[
        stated("3 anticorrelated pairs, m = 2: mean cosine across pairs less that within them",
               "prefer negative interference", lambda m: -within_less_across(m), rules.Direction(), **EVERY),
        stated("3 anticorrelated pairs, m = 2: in the best fit pairs are antipodes", "ideally antipodal",
               partial(best_is, kind="anticorrelated", size=2, patterns=pairs_of_antipodes), BEST),
    ],
    figures={"three_pairs": partial(arrangements, names={"3 anticorrelated pairs": ("anticorrelated", 2)})},
)  # fmt: skip


# --- in space


def in_space(seeds: range, steps: int = LONG) -> list[Config]:
    """Anticorrelated pairs are denser: of sparse ones only 1 in 16 seeds finds the solution without loss."""
    return models("correlated", 2, 3, 3, SPARSE, seeds, steps) + models("anticorrelated", 3, 2, 3, 0.2, seeds, steps)


SPACE = Part(
    configs=of_all_scales(in_space(range(1), 20), in_space(FITS)),
    saves={"smoke": (0, 20), "cpu": (0, LONG), "paper": (0, LONG)},
    final=FINAL,
    claims=[
        stated("2 correlated triples, m = 3: in the best fit an octahedron, antipodes across triples",
               "an octahedron of two orthogonal bases", partial(best_is, kind="correlated", size=3,
               patterns=bases_as_antipodes), BEST),
        stated("3 anticorrelated pairs, m = 3: in the best fit pairs are antipodes", "antipodal within pairs",
               partial(best_is, kind="anticorrelated", size=2, patterns=pairs_of_antipodes), BEST),
    ],
    figures={"space": partial(arrangements, names={"2 correlated triples": ("correlated", 3),
                                                   "3 anticorrelated pairs": ("anticorrelated", 2)})},
)  # fmt: skip


# --- local bases


def bases(correlated: range, independent: range, steps: int = STEPS) -> list[Config]:
    return models("correlated", 2, 10, 10, SPARSE, correlated, steps) + models(
        "independent", 2, 10, 10, SPARSE, independent, steps
    )


def of_sets(m: Measures, measure: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    return measure(of(m, "correlated")["final/arrangement/W"], np.arange(20) // 10)


def local_bases(m: Measures) -> Any:
    kinds = {"2 correlated sets of 10": "correlated", "20 independent features": "independent"}
    shown = [of(m, kind) for kind in kinds.values()]
    shown = [own.runs(np.array([losses(own).argmin()])) for own in shown]
    gram, b, norms, tint = (
        np.concatenate([own[f"final/{name}"] for own in shown])
        for name in ("gram/WWt", "arrangement/b", "features/norms", "features/polysemanticity")
    )
    return plots.gram_and_norms(gram, b, norms, tint, list(kinds))


BASES = Part(
    configs=of_all_scales(bases(range(1), range(1), 20), bases(FITS[:20], FEW)),
    saves=SAVES,
    final={"arrangement": geometry.arrangement, "gram": geometry.gram_matrix, "features": geometry.features},
    claims=[
        stated("2 correlated sets of 10, m = 10: largest |cos| within a set", "local, almost orthogonal bases",
               partial(of_sets, measure=sets.largest_within), rules.Within(high=AT_RIGHT_ANGLES), each="fit"),
        stated("2 correlated sets of 10: share of the interference that is across sets, by lot 0.53",
               "interference is between sets", lambda m: 1 - of_sets(m, sets.own_interference),
               rules.Direction(null=10 / 19, always=True), each="fit"),
    ],
    figures={"bases": local_bases},
)  # fmt: skip

PARTS = {
    "pairs": PAIRS,
    "collapse": COLLAPSE,
    "neighbours": NEIGHBOURS,
    "crowded": CROWDED,
    "space": SPACE,
    "bases": BASES,
}
