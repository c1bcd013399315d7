"""Superposition: whether an extra feature is ignored, superposed or given a dimension changes as in a phase diagram.

Claim     With one dimension too few, what becomes of the extra feature changes by first-order transitions in its importance
          and density, where closed forms of the losses say; a feature of a pentagon that becomes rare lets go of its
          place in one jump.
Source    Elhage et al. 2022, Toy Models of Superposition (arXiv 2209.10652): the phase diagrams of n = 2, m = 1 and
          n = 3, m = 2 (importances 1 and I in [0.1, 10], density in [0.01, 1], 10 models a cell, the worst dropped), and
          the perturbation of one feature of a pentagon (n = 5, m = 2, density 0.05).
Expect    The least of the closed-form losses names the class of the best of ten trained models in 93 % of the cells; the
          three phases meet at I = 1, p = 4/7; the pentagon turns into two digons where the rare feature is 0.3 to 0.5
          times as dense as the others.
Cost      cpu: 2 to 2.5 minutes on two cores.
Command   python run_sweep.py superposition_phase [--scale smoke|cpu|paper] [--part n2_m1|n3_m2|equal_importance|one_rare]
Fails     At I = 1 both features stay represented up to p = 0.705, not 4/7: theory's candidates have norms 1 and biases
          without interference, and with both free the antipodal pair stays ahead for longer; the exact minima of the
          expected loss say 0.705 too. At density 0.05 the pentagon holds on until the rare feature is 0.26 times as dense:
          the digons' loss is known in closed form and trained models meet it, so that better pentagons could only lower
          the ratio. It depends on the density of the others: below 0.18 at 0.01, 0.42 at 0.1, which is the paper's 1/2.5.
          n = 3: in one set of ten models the best of one cell has 1.14 times theory's loss; six models a cell were worse.
Changed   After a first run: the best of ten models a cell, not six (n = 3, I > 1 had .91); at I = 1 16 models a set and
          10,000 steps, not 3,000 (boundaries had been .42 to .76); the triple point between the last ignored and the first
          dedicated feature, where a tie at I = 1 had given .794; a pentagon of density 0.1 beside the paper's 0.05.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np

from toylab.analysis import geometry, over_cells, phases, population, theory
from toylab.base import Config
from toylab.lab import Claim, Measures, Part
from toylab.models import Net, ToyModel
from toylab.optim import AdamW
from toylab.plots import branches, extra_feature
from toylab.tasks.sparse import SparseFeatures

NEAR = 0.15  # cells with |log(p/p*)| up to this are on the boundary and not judged
SETS = 3  # disjoint sets of models; the best of each gives a value
Number = float | np.ndarray  # one for all features, or one each
PENTAGONS = (0.05, 0.1)  # densities of the four features that are not varied; the paper has the first


def toy(n: int, m: int, density: Number, importance: Number, seed: int, steps: int, batch: int) -> Config:
    """One small model; the paper names no optimizer for these figures."""
    task = SparseFeatures(n_features=n, batch=batch, density=density, importance=importance, n_eval=1024)
    optimizer = AdamW(lr=3e-3, weight_decay=0.0, b2=0.999, warmup=0, schedule="cosine", steps=steps)
    return Config(task, Net.of(ToyModel, n_features=n, n_hidden=m, init_std=0.5), optimizer, seed=seed)


def diagram(n: int, cells: int, repeats: int, steps: int) -> list[Config]:
    """`repeats` models, each of an initialisation of its own, in every cell of a square log grid; extra feature last."""
    weights, densities = np.geomspace(0.1, 10, cells), np.geomspace(0.01, 1, cells)
    grid = [(weight, p) for weight in weights for p in densities for _ in range(repeats)]
    return [
        toy(n, n - 1, p, np.append(np.ones(n - 1), weight), seed, steps, 256) for seed, (weight, p) in enumerate(grid)
    ]


def equal_importance(densities: Sequence[float], repeats: int, steps: int) -> list[Config]:
    """n = 2, m = 1 along I = 1."""
    return [
        toy(2, 1, p, np.ones(2), repeats * i + k, steps, 256) for i, p in enumerate(densities) for k in range(repeats)
    ]


def one_rare(ratios: Sequence[float], repeats: int, steps: int) -> list[Config]:
    """n = 5, m = 2: the density of feature 0 is `ratio` times that of the others."""
    return [
        toy(5, 2, others * np.append(ratio, np.ones(4)), 1.0, repeats * i + k, steps, 1024)
        for others in PENTAGONS
        for i, ratio in enumerate(ratios)
        for k in range(repeats)
    ]


# --- cells


def of_extra(m: Measures) -> np.ndarray:
    """[R]: the class of the extra feature, as of `phases.classes`."""
    return phases.classes(m["final/features/norms"][:, -1], m["final/features/polysemanticity"][:, -1])


def n_sets(runs: int) -> int:
    """SETS; fewer where, at smoke scale, not even two runs would be left for a set."""
    return min(SETS, runs // 2)


def best(m: Measures, *key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The runs [cells, K] of each cell, whose `key` is equal, and the best run [cells, SETS] of each of SETS disjoint
    sets of them."""
    runs = np.stack(over_cells.cells(np.stack(key, axis=1)))
    loss = m["final/population/loss"]
    return runs, np.stack([over_cells.lowest_in_sets(loss, cell, n_sets(len(cell))) for cell in runs])


def winners(m: Measures) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Importances [I], densities [P], the runs [I, P, K] of every cell and the best [I, P, SETS] of them."""
    importance, density = m["config/task.importance"][:, -1], m["config/task.density"]
    weights, densities = np.unique(importance), np.unique(density)
    shape = len(weights), len(densities), -1
    runs, lowest = best(m, importance, density)
    return weights, densities, runs.reshape(shape), lowest.reshape(shape)


def agreement(m: Measures, n: int, low: float = 0, high: float = np.inf) -> np.ndarray:
    """[SETS]: share of the cells off the boundary, of importances from low to high, whose class is theory's."""
    weights, densities, _, lowest = winners(m)
    return phases.agreement(of_extra(m)[lowest], weights, densities, n, near=NEAR, low=low, high=high)


def over_theory(m: Measures, n: int, pick: Callable[..., np.ndarray]) -> np.ndarray:
    """[SETS]: the median (or another `pick`) over cells of the best model's expected loss over theory's least."""
    weights, densities, _, lowest = winners(m)
    least = theory.phase_winners(weights[:, None], densities, n)[1]
    return pick(m["final/population/loss"][lowest] / least[..., None], axis=(0, 1))


def triple_importance(m: Measures) -> np.ndarray:
    """[SETS]: of the triple point, in the densest cells below 1."""
    weights, _, _, lowest = winners(m)
    return phases.triple_importance(of_extra(m)[lowest[:, -2]], weights)


def diagrams(m: Measures, n: int) -> object:
    weights, densities, runs, lowest = winners(m)
    found, loss = of_extra(m), m["final/population/loss"]
    sets = runs.reshape(*lowest.shape, -1)
    kept = np.take_along_axis(sets, loss[sets].argsort(axis=-1)[..., :-1], axis=-1)  # without the worst of each set
    trained = (over_cells.class_shares(found[those]) for those in (lowest, kept.reshape(*lowest.shape[:2], -1)))
    fine = np.geomspace(0.1, 10, 161), np.geomspace(0.01, 1, 161)
    exact = theory.phase_winners(fine[0][:, None], fine[1], n)[0]
    names = f"trained: best of {sets.shape[3]}", f"trained: mixture of the {kept.shape[3]} best"
    panels = {"theory": (*fine, exact / exact.sum(axis=2, keepdims=True))}
    panels |= {name: (weights, densities, shares) for name, shares in zip(names, trained, strict=True)}
    curves = theory.phase_curves(n)
    return extra_feature.phase_diagrams([extra_feature.Diagram(name, *each, curves) for name, each in panels.items()])


# --- one row at I = 1


def both(norms: np.ndarray) -> np.ndarray:
    """Both features are represented: of [..., 2]."""
    return np.all(norms > phases.REPRESENTED, axis=-1)


def boundary(m: Measures) -> np.ndarray:
    """[SETS]: the density up to which the best model at I = 1 has both features in its one dimension."""
    density, (_, lowest) = m["config/task.density"], best(m, m["config/task.density"])
    return over_cells.end_of_stretch(np.unique(density), both(m["final/features/norms"][lowest]))


@lru_cache
def exact_row(densities: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Losses [3, P] and norms [3, P, 2] of the exact minima at I = 1 (see `population.pair_minima`)."""
    losses, norms = population.pair_minima(np.array(densities))
    return np.asarray(losses), np.asarray(norms)


def exact_boundary(m: Measures) -> np.ndarray:
    """The density up to which the lowest of these minima has both features."""
    density = np.unique(m["config/task.density"])
    return population.pair_boundary(density, *exact_row(tuple(density.tolist())))


def equal_importance_branches(m: Measures) -> object:
    density = np.unique(m["config/task.density"])
    runs, _ = best(m, m["config/task.density"])
    loss, superposed = m["final/population/loss"][runs].T, both(m["final/features/norms"])[runs].T
    return branches.pair(
        density, loss, superposed, exact_row(tuple(density.tolist()))[0], float(np.median(boundary(m)))
    )


# --- one rare feature


def among(m: Measures, others: float) -> Measures:
    """The runs in which the four other features have that density."""
    return m.runs(np.isclose(m["config/task.density"][:, 1], others))


def by_kind(m: Measures) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Densities [N] of feature 0 over that of the others, the runs [N, K] at each, and the losses [K, N] of those of each
    kind, nan of the others: two digons beside an unrepresented rare feature; a pentagon, in whatever distortion."""
    density, represented = m["config/task.density"], m["final/features/norms"] > phases.REPRESENTED
    ratio, count = np.round(density[:, 0] / density[:, 1], 4), represented.sum(axis=1)
    kinds = {"two digons, one feature dropped": ~represented[:, 0] & (count == 4), "pentagon": count == 5}
    loss, (runs, _) = m["final/population/loss"], best(m, ratio)
    return np.unique(ratio), runs, {name: np.where(kind, loss, np.nan)[runs].T for name, kind in kinds.items()}


def switch(m: Measures, others: float) -> np.ndarray:
    """[SETS]: the ratio at which the lowest losses of the two kinds cross."""
    ratio, _, losses = by_kind(among(m, others))
    dropped, kept = losses.values()
    return over_cells.switch(ratio, dropped, kept, n_sets(len(dropped)))


def coexistence(m: Measures) -> np.ndarray:
    """[2]: the share of the rarer kind of minimum among the runs just below and just above the switch."""
    ratio, _, losses = by_kind(among(m, PENTAGONS[0]))
    dropped, kept = losses.values()
    return over_cells.rarer_share(ratio, dropped, kept, switch(m, PENTAGONS[0]))


def one_rare_branches(m: Measures, others: float) -> object:
    ratio, runs, losses = by_kind(among(m, others))
    W, loss = (among(m, others)[f"final/{name}"] for name in ("arrangement/W", "population/loss"))
    fine = np.geomspace(ratio[0], ratio[-1], 100)
    return branches.branches(
        ratio,
        {name: branches.Branch(each) for name, each in losses.items()},
        f"density of one feature over that of the four others, {others:g}",
        "expected loss",
        switch=float(np.median(switch(m, others))),
        closed={"two digons, closed form": (fine, theory.two_digons_loss(others, others * fine))},
        pictures={float(at): W[cell[loss[cell].argmin()]] for at, cell in zip(ratio, runs, strict=True)},
    )


ELHAGE = "Elhage et al. 2022"
BEST = "set of models"
FINAL = {"features": geometry.features, "population": population.population}


def diagram_part(n: int) -> Part:
    name = f"n = {n}, m = {n - 1}"
    claims = [
        Claim(f"{name}: share of cells with I {sign} 1 whose class is theory's",
              f"{ELHAGE}: theory and trained models agree; the bound is ours",
              partial(agreement, n=n, low=low, high=high), 0.93, each=BEST)
        for sign, low, high in (("≤", 0, 1), (">", 1.001, np.inf))
    ] + [
        Claim(f"{name}: expected loss over theory's least, {word} of the cells",
              f"{ELHAGE}: candidates of fixed norms and biases; the bound is ours",
              partial(over_theory, n=n, pick=pick), low, high, each=BEST)
        for word, pick, low, high in (("median", np.median, 0.85, 1.0), ("highest", np.max, 0, 1.05))
    ]  # fmt: skip
    if n == 2:
        source = f"{ELHAGE}: triple point at I = 1; the bound is ours"
        claims.append(Claim(f"{name}: importance of the triple point", source, triple_importance, 0.8, 1.25, each=BEST))
    return Part(
        configs={
            "smoke": diagram(n, 2, 2, 20),
            "cpu": diagram(n, 11, 30, 3000),
            "paper": diagram(n, 25, 30, 6000),
        },
        saves={"smoke": (0, 20), "cpu": (0, 3000), "paper": (0, 6000)},
        claims=claims,
        figures={f"phase_n{n}": partial(diagrams, n=n)},
        final=FINAL,
    )


ROW = np.geomspace(0.45, 0.8, 17).tolist()
EQUAL = Part(
    configs={
        "smoke": equal_importance(ROW[::16], 2, 20),
        "cpu": equal_importance(ROW, 48, 10_000),
        "paper": equal_importance(ROW, 48, 10_000),
    },
    saves={"smoke": (0, 20), "cpu": (0, 10_000), "paper": (0, 10_000)},
    claims=[
        Claim("I = 1: density up to which both features are represented",
              f"{ELHAGE}: 4/7 by the closed forms; the bound is ours", boundary, 0.5, 0.65, each=BEST),
        Claim("I = 1: that density over that of the exact minima with free norms and biases",
              "exact expected loss; the bound is ours", lambda m: boundary(m) / exact_boundary(m), 0.95, 1.05, each=BEST),
    ],
    figures={"equal_importance": equal_importance_branches},
    final=FINAL,
)  # fmt: skip

RARE = np.geomspace(0.15, 1.5, 13).tolist()
ONE_RARE = Part(
    configs={
        "smoke": one_rare(RARE[::12], 2, 20),
        "cpu": one_rare(RARE, 33, 4000),
        "paper": one_rare(np.geomspace(0.15, 1.5, 49).tolist(), 99, 10_000),
    },
    saves={"smoke": (0, 20), "cpu": (0, 4000), "paper": (0, 10_000)},
    claims=[
        *(
            Claim(f"rare feature of a pentagon of density {others:g}: ratio of densities at which two digons win",
                  f"{ELHAGE}: about 1/2.5 at density 0.05; the bound is ours",
                  partial(switch, others=others), 0.3, 0.5, each=BEST)
            for others in PENTAGONS
        ),
        Claim("rare feature: share of the rarer kind of minimum at the switch",
              f"{ELHAGE}: a first-order change, both are local minima; the bound is ours",
              coexistence, 0.05, each="side of the switch"),
    ],
    figures={f"one_rare_{100 * others:.0f}_percent": partial(one_rare_branches, others=others) for others in PENTAGONS},
    final={**FINAL, "arrangement": geometry.arrangement},
)  # fmt: skip

PARTS = {"n2_m1": diagram_part(2), "n3_m2": diagram_part(3), "equal_importance": EQUAL, "one_rare": ONE_RARE}
