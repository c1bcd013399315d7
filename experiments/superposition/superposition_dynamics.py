"""Superposition as it forms: features jump between dimensionalities, and the loss comes down in steps.

Claim     Learning is discrete: features jump from one dimensionality to another, or swap places, and the loss falls in
          steps between stretches where nothing seems to happen. For one-hot features the stretches lie at the exact losses
          of polygons, passed from low to high complexity (local learning coefficient).
Source    Elhage et al. 2022, Toy Models of Superposition (arXiv 2209.10652), learning dynamics; Chen et al. 2023, Dynamical
          versus Bayesian phase transitions in a toy model of superposition (arXiv 2310.06301), c = 6 features, r = 2.
Expect    Jumps (n = 60, m = 10, S = 0.7): losers die one after another until most features lie in pairs, D = 1/2; later a
          lone feature rises, or a pentagon dissolves into pairs while the loss drops (after 8,000 steps, as long as our
          reference training, one run of four has had its jump, after 16,000 all). Two sets of three correlated features
          in m = 3: two falls of the loss, then an octahedron with antipodes from different sets. One-hot features: plateaus
          at 0.0972, 0.0688, 0.0618 and 0.0482 (4⁺⁺, 5, 5⁺, 6: corners, and unused features with the better bias), and
          λ(4) < λ(5) < λ(6). Here a run rests on one level or two; none goes all the way from 4 to 6.
Cost      cpu: 1 to 2 minutes on two cores. paper: more seeds, 5 minutes.
Command   python run_sweep.py superposition_dynamics [--scale smoke|cpu|paper] [--part jumps|regimes|polygons|path]
Fails     (cpu) In one of four runs two losers die within the same 15 steps, as apart as saved points are there.
Changed   After a first run: energy-level jumps are followed for 16,000 steps, not 8,000 (one run of four had had its jump).
          A plateau must be a regular polygon, flat to 0.5 % over a doubling of steps (before, one was 2.015 % off 4⁺⁺).
          γ and nβ of λ̂ were picked among seven settings: with γ = 100 only 4 < 5 < 6 is left. Paths were chosen by loss.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from toylab.analysis import formation, geometry, llc, sets, without
from toylab.base import Config
from toylab.lab import Claim, Measures, Part
from toylab.models import Net, ToyModel
from toylab.models.relu import joint_xavier_std
from toylab.optim import SGD, AdamW
from toylab.plots import dimensionality, motion
from toylab.plots import theory as plots
from toylab.tasks import OneHotFeatures, SparseFeatures

ELHAGE, CHEN = "Elhage et al. 2022", "Chen et al. 2023"
SMOKE = (0, 20, 40, 60)
TORCH = AdamW(lr=1e-3, weight_decay=0.01, b2=0.999, warmup=0)  # torch's defaults, as in the notebook of Elhage et al.


def log_spaced(last: int, n: int) -> np.ndarray:
    """0 and about n steps from 10 to `last` in constant ratio."""
    return np.unique(np.concatenate([[0], np.geomspace(10, last, n)]).round().astype(int))


# --- energy-level jumps


def uniform(seeds: int, **task: Any) -> list[Config]:
    """Sixty equally important features in ten dimensions at S = 0.7, where most end in antipodal pairs."""
    net = Net.of(ToyModel, n_features=60, n_hidden=10, init_std=joint_xavier_std(60, 10, 4))
    task = SparseFeatures(n_features=60, density=0.3, **{"batch": 256, "n_eval": 8192, **task})
    return [Config(task, net, TORCH, seed=seed) for seed in range(seeds)]


def instances_in_pairs(m: Measures) -> np.ndarray:
    """Runs that end with 90 % of their represented features at D = 1/2."""
    share = formation.share_at(0.5, *(m.last(f"features/{name}") for name in ("dimensionality", "norms")))
    return (share >= 0.9).sum(keepdims=True)


LOSING = (1300, 3500)  # steps between which, in our reference training, the losers die
WATCHED = np.union1d(
    log_spaced(1300, 40), np.concatenate([np.arange(*LOSING, 15), np.linspace(LOSING[1], 16_000, 110).round()])
).astype(int)


def steps_down(m: Measures) -> np.ndarray:
    """[R, points]: changes of the number of norm above 1/2 from one saved point to the next, while losers die."""
    window = (m.steps >= LOSING[0]) & (m.steps <= LOSING[1])
    return np.diff((m["features/norms"] > 0.5).sum(axis=2)[:, window], axis=1)


def jumps(m: Measures, least: float = 0.2) -> np.ndarray:
    """bool [R, T, n]: a feature jumps by `least` within a quarter of the steps so far, when the losers are dead."""
    return formation.jumps(m.steps, m["features/dimensionality"], m["features/norms"], least, since=LOSING[1])


def energy_levels(m: Measures) -> Any:
    """The run in which most features still move by 0.05, from 2/5 to 1/2 say, when the losers are dead: those in colour,
    and marked when all D_i together change fastest."""
    moving = jumps(m, 0.05)
    run = int(moving.any(axis=1).sum(axis=1).argmax())
    names = [int(name) for name in np.flatnonzero(moving[run].any(axis=0))][:7]
    seen = m.steps >= min(1000, m.steps[-1] // 2)
    D, norms = (m[f"features/{name}"][run, seen] for name in ("dimensionality", "norms"))
    steps, settled = m.steps[seen], m.steps[seen][:-1] >= min(LOSING[1], m.steps[-2])
    speed = np.abs(np.diff(D, axis=0)).sum(axis=1) / np.diff(steps)
    at = [float(steps[np.where(settled, speed, -1).argmax()])]
    return dimensionality.trajectories(steps, D, m["loss"][run, seen], norms=norms, shown=names, jumps=at)


JUMPS = Part(
    configs={"smoke": uniform(2, batch=32, n_eval=64), "cpu": uniform(4), "paper": uniform(16)},
    saves={"smoke": SMOKE, "cpu": WATCHED, "paper": WATCHED},
    analyses={"features": formation.features},
    claims=[
        Claim("n = 60, m = 10, S = 0.7: runs with 90 % of represented features at D = 1/2",
              "our reference training: 3 of 4; the bound is ours", instances_in_pairs, 2, each="sweep"),
        Claim("losers die one by one: largest fall of the number represented between saved points",
              "our reference training: 1", lambda m: -steps_down(m).min(axis=1, initial=0), high=1),
        Claim("and none comes back: largest rise", "our reference training: 0",
              lambda m: steps_down(m).max(axis=1, initial=0), high=0),
        Claim("energy-level jumps: features whose D changes by 0.2 within a quarter of the steps so far, late",
              f"{ELHAGE}: discrete jumps; the bound is ours", lambda m: jumps(m).any(axis=1).sum(axis=1), 1),
    ],
    figures={"jumps": energy_levels},
)  # fmt: skip


# --- loss regimes


def two_sets(seeds: int, **task: Any) -> list[Config]:
    """Two sets of three features that are on together, in three dimensions. The paper gives no steps or learning rate."""
    net = Net.of(ToyModel, n_features=6, n_hidden=3, init_std=0.1)
    sizes = {"batch": 512, "n_eval": 65_536, **task}
    features = SparseFeatures(n_features=6, sets="correlated", set_size=3, density=0.05, **sizes)
    return [Config(features, net, TORCH, seed=seed) for seed in range(seeds)]


SETS = np.repeat([0, 1], 3)


def at_the_end(measure: Any) -> Any:
    """A measure of `analysis.sets`, [R]."""
    return lambda m: measure(m["arrangement/W"][:, -1], SETS)


def forms(m: Measures, loss: str, run: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W [T, n, m] of a run (None: of the lowest last loss), the steps [T], and its loss [T]."""
    run = int(m.last(loss).argmin()) if run is None else run
    return m["arrangement/W"][run], m.steps, m[loss][run]


REGIMES = Part(
    configs={"smoke": two_sets(2, batch=32, n_eval=64), "cpu": two_sets(8), "paper": two_sets(32)},
    saves={"smoke": SMOKE, "cpu": log_spaced(16_000, 70), "paper": log_spaced(16_000, 70)},
    analyses={"arrangement": geometry.arrangement},
    claims=[
        Claim("two sets of three, m = 3: falls of the loss between flat stretches",
              f"{ELHAGE}: distinct regimes; the bound is ours",
              lambda m: formation.falls(m.steps, m["loss"]), 2, each="seed"),
        Claim("ends as an octahedron: cosine of a feature with its antipode in the other set, worst of six",
              f"{ELHAGE}: opposite; the bound is ours", at_the_end(sets.worst_antipode), high=-0.95, each="seed"),
        Claim("and each set orthogonal: cosine within a set, largest in size", f"{ELHAGE}: orthogonal; the bound is ours",
              at_the_end(sets.largest_within), high=0.05, each="seed"),
    ],
    figures={
        "regimes": lambda m: motion.strip(*forms(m, "loss"), at=(0, 100, 200, 600, 1600, 3000, 16_000), groups=SETS),
        "octahedron": lambda m: motion.animation(*forms(m, "loss"), groups=SETS),
    },
)  # fmt: skip


# --- polygons

N_FEATURES = 6
LEVELS = {f"{k}{'⁺' * plus}": 10 * k + plus for k in (4, 5, 6) for plus in range(N_FEATURES - k + 1)}  # `states`
VISITED = ("4⁺⁺", "5", "5⁺", "6")  # the plateaus of SGD in Chen et al. 2023


def one_hot(seeds: Iterable[int], near_square: bool = False) -> list[Config]:
    """Chen et al. 2023 with the optimizer and batches of the devinterp notebook, at random or near a square."""
    corners, spread = (4, 0.2) if near_square else (0, 0.7)
    net = Net.of(ToyModel, n_features=N_FEATURES, n_hidden=2, init_kgon=corners, init_std=spread, bias_std=0.1)
    task, sgd = OneHotFeatures(n_features=N_FEATURES, batch=100), SGD(lr=0.01, momentum=0.9)
    return [Config(task, net, sgd, seed=seed) for seed in seeds]


# Chen et al. have n = 1000 samples. γ is ours: with γ = 100 all values are lower, and 4, 5, 6 keep their order though not
# all six levels; with nβ = 1000 and γ = 100 chains find lower losses near a 4-gon, and its λ̂ is negative.
SAMPLER = llc.SGLD(nbeta=llc.watanabe_nbeta(1000), gamma=10.0, eps=5e-4, chains=16, burn_in=800, draws=2000)
LLC = without(llc.analyzer(SAMPLER, formation.exact_loss), "trace")


def level(name: str) -> float:
    """The exact loss of one of LEVELS."""
    return formation.polygon_level(N_FEATURES, *divmod(LEVELS[name], 10))


def states(m: Measures) -> np.ndarray:
    """[R, T]: 10 k + plus of a regular polygon, −1 of anything else."""
    return formation.polygon_states(*(m[f"polygon/{name}"] for name in ("k", "plus", "bend")))


def plateaus(m: Measures, flat: float = 0.01) -> np.ndarray:
    """[R, T]: the loss at which a run rests in one state while the step doubles; else nan."""
    return formation.plateaus(m.steps, m["polygon/loss"], states(m), flat=flat)


def off_level(m: Measures) -> np.ndarray:
    """[levels]: of all plateaus in a state, the largest relative distance of the loss from the exact one; nan: none."""
    state = states(m)
    off = formation.off_polygon(plateaus(m, flat=0.005), state, N_FEATURES)
    there = [off[(state == LEVELS[name]) & np.isfinite(off)] for name in VISITED]
    return np.array([values.max() if values.size else np.nan for values in there])


def off_at_the_end(m: Measures) -> np.ndarray:
    """[R]: relative distance of the last loss from that of the state; nan where it is no polygon."""
    return formation.off_polygon(m["polygon/loss"][:, -1], states(m)[:, -1], N_FEATURES)


def llc_of(m: Measures, name: str) -> np.ndarray:
    """λ̂ of the runs that end in a state."""
    return m["final/llc/llc"][states(m)[:, -1] == LEVELS[name]]


def llc_steps(*names: str) -> Any:
    """Differences of the median λ̂ between states."""
    return lambda m: np.diff([np.median(own) if (own := llc_of(m, name)).size else np.nan for name in names])


def busiest(m: Measures) -> int:
    """The run that rests on most levels; of several the one that ends lowest."""
    visited = formation.n_visited(states(m), np.isfinite(plateaus(m)))
    return int(np.argmax(visited - m["polygon/loss"][:, -1]))


def descent(m: Measures, estimate: plots.Estimate | None = None) -> Any:
    """All runs from step 10 on, before which the losses fall from up to 2."""
    seen = m.steps >= 10
    exact = {"3": formation.polygon_level(N_FEATURES, 3)} | {name: level(name) for name in LEVELS}
    return plots.levels(m.steps[seen], m["polygon/loss"][:, seen], exact, shown=busiest(m), llc=estimate)


def llc_of_polygons(m: Measures) -> Any:
    found = {name: llc_of(m, name) for name in LEVELS}
    series = {name: plots.Series(np.array([level(name)]), values[:, None]) for name, values in found.items()}
    return plots.agreement(series, "exact loss of the polygon", "local learning coefficient")


POLYGONS = Part(
    configs={
        "smoke": [*one_hot(range(2)), *one_hot(range(2), near_square=True)],
        "cpu": [*one_hot(range(64)), *one_hot(range(96), near_square=True)],
        "paper": [*one_hot(range(256)), *one_hot(range(256), near_square=True)],
    },
    saves={"smoke": SMOKE, "cpu": log_spaced(20_000, 60), "paper": log_spaced(20_000, 60)},
    analyses={"polygon": formation.polygon},
    final={"llc": LLC},
    claims=[
        Claim(f"plateaus of SGD at the losses of {', '.join(VISITED)}: largest relative distance",
              f"{CHEN}: {', '.join(f'{level(name):.4f}' for name in VISITED)}; the width is ours",
              off_level, high=0.02, each="level"),
        Claim("every run ends at an exact level: relative distance", f"{CHEN}: k-gons determine SGD; the width is ours",
              off_at_the_end, high=0.02),
        Claim("λ̂ rises from the 4-gon to the 5-gon to the 6-gon: differences of medians",
              f"{CHEN}: λ(4) < λ(5) < λ(6)", llc_steps("4", "5", "6"), 0, each="step"),
        Claim(f"and by every step of {', '.join(LEVELS)}", f"{CHEN}: from high loss and low complexity to the opposite; "
              "the bound is ours", llc_steps(*LEVELS), 0, each="step"),
    ],
    figures={"plateaus": descent, "llc": llc_of_polygons},
)  # fmt: skip


# --- the local learning coefficient along paths

PATHS = (37, 72, 15, 96)  # of the starts near the square, four that rest on two levels: chosen by their losses alone


def rise(m: Measures) -> np.ndarray:
    """[R]: λ̂ on the last level minus that on the first, medians over the points of each; nan where they are the same."""
    return formation.rise(states(m), np.isfinite(plateaus(m)), m["llc/llc"])


def path(m: Measures) -> Any:
    """λ̂ where the loss rests: where it falls, w* is no minimum and λ̂ has no meaning."""
    run = busiest(m)
    on = np.isfinite(plateaus(m))[run]
    return descent(m, plots.Estimate(m.steps[on], *(m[f"llc/{key}"][run, on] for key in ("llc", "standard_error"))))


PATH = Part(
    configs={
        "smoke": one_hot(range(1), near_square=True),
        "cpu": one_hot(PATHS, near_square=True),
        "paper": one_hot(PATHS, near_square=True),
    },
    saves={"smoke": SMOKE, "cpu": log_spaced(20_000, 60), "paper": log_spaced(20_000, 60)},
    analyses={"arrangement": geometry.arrangement, "polygon": formation.polygon, "llc": LLC},
    claims=[
        Claim("along a path λ̂ rises: last level over first", f"{CHEN}: from high loss and low complexity to the "
              "opposite", rise, 0),
    ],
    figures={
        "path": path,
        "polygon_forms": lambda m: motion.strip(
            *forms(m, "polygon/loss", busiest(m)), at=(0, 40, 300, 600, 800, 1000, 20_000)
        ),
        "polygon": lambda m: motion.animation(*forms(m, "polygon/loss", busiest(m))),
    },
)  # fmt: skip

PARTS = {"jumps": JUMPS, "regimes": REGIMES, "polygons": POLYGONS, "path": PATH}
