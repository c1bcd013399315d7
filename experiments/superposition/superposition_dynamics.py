"""Superposition as it forms: features jump between dimensionalities, and the loss comes down in steps.

Claim     Learning is discrete: features jump from one dimensionality to another, or swap places, and the loss falls in
          steps between stretches where nothing seems to happen. For one-hot features the stretches lie at the exact
          losses of polygons, passed from low to high complexity (local learning coefficient).
Source    Elhage et al. 2022, Toy Models of Superposition (arXiv 2209.10652), learning dynamics; Chen et al. 2023,
          Dynamical versus Bayesian phase transitions in a toy model of superposition (arXiv 2310.06301), c = 6 features,
          r = 2.
Expect    Jumps (n = 60, m = 10, S = 0.7): losers die one after another until most features lie in pairs, D = 1/2; later a
          lone feature rises, or a pentagon dissolves into pairs while the loss drops (after 8,000 steps, as long as our
          reference training, one run of four has had its jump, after 16,000 all). Two sets of three correlated features
          in m = 3: two falls of the loss, then an octahedron with antipodes from different sets. One-hot features:
          plateaus at 0.0972, 0.0687, 0.0618 and 0.0482 (4⁺⁺, 5, 5⁺, 6: corners, and unused features with the better
          bias), and λ(4) < λ(5) < λ(6). Here a run rests on one level or two; none goes all the way from 4 to 6.
Cost      cpu: some 7 minutes of one core. paper: more seeds.
Command   python run_sweep.py superposition_dynamics [--scale smoke|cpu|paper] [--part jumps|regimes|polygons|path]
Fails     Losers come back in 1 of 20 runs, whether in fewer than a fifth is undecided. The window of steps in which they
          die, and after which jumps are looked for, was read off one development training of four instances. Where a
          feature counts from a norm of 0.7 on, more do.
Changed   After a first run: energy-level jumps are followed for 16,000 steps, not 8,000 (one run of four had had its
          jump). A plateau must be a regular polygon, flat to 0.5 % over a doubling of steps (before, one was 2.015 % off
          4⁺⁺). γ and nβ of λ̂ were picked among seven settings: with γ = 100 only 4 < 5 < 6 is left. Paths were chosen by
          loss. When claims got rules: "losers die one by one" is gone, for of no two events does continuous time make
          one; jumps are followed for 14,000 steps, with fewer points; that the loss falls with them was added; paths are
          from seed 2200 on. Until then a claim asked that each of four runs, or each of 160, keep a bound of ours. Runs
          of seeds 100 on saw the same batches; those from 2000 on have their own, and no verdict changed.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from toylab.analysis import formation, geometry, in_half, llc, over_cells, sets, without
from toylab.base import Config
from toylab.claims import Claim, Direction, Median, Proportion, Source, Within, analogue, scaled
from toylab.lab import Measures, Part
from toylab.models import Net, ToyModel
from toylab.models.relu import joint_xavier_std
from toylab.optim import SGD, AdamW
from toylab.plots import dimensionality, motion
from toylab.plots import theory as plots
from toylab.tasks import OneHotFeatures, SparseFeatures

ELHAGE, CHEN = "Elhage et al. 2022", "Chen et al. 2023"
SMOKE = (0, 20, 40, 60)
SEEDS, FIFTY = range(2000, 2020), range(2000, 2050)  # none of them was trained before the claims were fixed
TORCH = AdamW(lr=1e-3, weight_decay=0.01, b2=0.999, warmup=0)  # torch's defaults, as in the notebook of Elhage et al.


def log_spaced(last: int, n: int) -> np.ndarray:
    """0 and about n steps from 10 to `last` in constant ratio."""
    return np.unique(np.concatenate([[0], np.geomspace(10, last, n)]).round().astype(int))


# --- energy-level jumps


def uniform(seeds: Iterable[int], **task: Any) -> list[Config]:
    """Sixty equally important features in ten dimensions at S = 0.7, where most end in antipodal pairs."""
    net = Net.of(ToyModel, n_features=60, n_hidden=10, init_std=joint_xavier_std(60, 10, 4))
    task = SparseFeatures(n_features=60, density=0.3, **{"batch": 256, "n_eval": 8192, "streams": "own", **task})
    return [Config(task, net, TORCH, seed, data_seed=seed) for seed in seeds]


def of_features(m: Measures) -> tuple[np.ndarray, np.ndarray]:
    """D_i and norms [R, T, n]."""
    return m["features/dimensionality"].astype(np.float32), m["features/norms"].astype(np.float32)


LOSING = (1300, 3500)  # steps between which the losers die, by a development training of four instances
WATCHED = np.union1d(
    log_spaced(1300, 20), np.concatenate([np.arange(*LOSING, 50), np.linspace(LOSING[1], 14_000, 90).round()])
).astype(int)


def in_pairs(m: Measures, width: float = 0.02) -> np.ndarray:
    """[R]: the share of represented features at D = 1/2 at the end."""
    return formation.share_at(0.5, *(values[:, -1] for values in of_features(m)), width=width)


def none_comes_back(m: Measures, least: float = 0.5) -> np.ndarray:
    """[R]: whether the number of features of norm above `least` never rises while losers die; 1 or 0."""
    window = (m.steps >= LOSING[0]) & (m.steps <= LOSING[1])
    number = (of_features(m)[1] > least).sum(axis=2)[:, window]
    return (np.diff(number, axis=1) <= 0).all(axis=1).astype(float)


def jumps(m: Measures, least: float = 0.2) -> np.ndarray:
    """bool [R, T, n]: a feature jumps by `least` within a quarter of the steps so far, when the losers are dead."""
    return formation.jumps(m.steps, *of_features(m), least, since=LOSING[1])


def jumping(m: Measures, least: float = 0.2) -> np.ndarray:
    """[R]: the features that jump."""
    return jumps(m, least).any(axis=1).sum(axis=1)


def fall_at_jumps(m: Measures, least: float = 0.2) -> np.ndarray:
    """[R]: −Δ log L within a quarter of the steps so far, where a feature jumps meanwhile, less that at rest; nan: none."""
    late = (m.steps >= LOSING[1]) & (1.25 * m.steps <= m.steps[-1])
    later = np.minimum(np.searchsorted(m.steps, 1.25 * m.steps), len(m.steps) - 1)
    fall = np.log(m["loss"]) - np.log(m["loss"][:, later])
    moving = jumps(m, least).any(axis=2)
    means = [
        np.where(on, fall, 0).sum(axis=1) / np.where(on.any(axis=1), on.sum(axis=1), np.nan)
        for on in (moving & late, ~moving & late)
    ]
    return means[0] - means[1]


def energy_levels(m: Measures) -> Any:
    """The run in which most features still move by 0.05, from 2/5 to 1/2 say, when the losers are dead: those in colour,
    and marked when all D_i together change fastest."""
    moving = jumps(m, 0.05)
    run = int(moving.any(axis=1).sum(axis=1).argmax())
    names = [int(name) for name in np.flatnonzero(moving[run].any(axis=0))][:7]
    seen = m.steps >= min(1000, m.steps[-1] // 2)
    D, norms = (values[run, seen] for values in of_features(m))
    steps, settled = m.steps[seen], m.steps[seen][:-1] >= min(LOSING[1], m.steps[-2])
    speed = np.abs(np.diff(D, axis=0)).sum(axis=1) / np.diff(steps)
    at = [float(steps[np.where(settled, speed, -1).argmax()])]
    return dimensionality.trajectories(steps, D, m["loss"][run, seen], norms=norms, shown=names, jumps=at)


DISCRETE = Source(
    ELHAGE, "learning dynamics, energy-level jumps", "features jump between dimensionalities, the loss drops", 1
)
SIXTY = scaled("60 features in 10 dimensions; the paper gives no steps or learning rate")


def seen_in_training(name: str, quantity: Any, kind: Any, **more: Any) -> Claim:
    return Claim(name, Source(ELHAGE, "learning dynamics"), quantity, kind, ledger="finding", **more)


JUMPS = Part(
    configs={"smoke": uniform(range(2), batch=32, n_eval=64), "cpu": uniform(SEEDS), "paper": uniform(FIFTY)},
    saves={"smoke": SMOKE, "cpu": WATCHED, "paper": WATCHED},
    analyses={"features": in_half(formation.features)},
    claims=[
        Claim("energy-level jumps: features whose D changes by 0.2 within a quarter of the steps so far, late", DISCRETE,
              jumping, Direction(), fidelity=SIXTY,
              variants={f"by {least}": partial(jumping, least=least) for least in (0.1, 0.3)}),
        Claim("the loss falls faster while a feature jumps: −Δ log L within a quarter of the steps, over that at rest",
              DISCRETE, fall_at_jumps, Direction(), fidelity=SIXTY,
              variants={f"jumps by {least}": partial(fall_at_jumps, least=least) for least in (0.1, 0.3)}),
        seen_in_training("n = 60, m = 10, S = 0.7: share of represented features that end at D = 1/2", in_pairs,
                         Within(low=0.9),
                         variants={f"within {width}": partial(in_pairs, width=width) for width in (0.01, 0.05)}),
        seen_in_training("no loser comes back: the number of represented features never rises from step 1,300 to 3,500",
                         none_comes_back, Proportion(least_share=0.8),
                         variants={f"norm above {least}": partial(none_comes_back, least=least) for least in (0.3, 0.7)}),
    ],
    figures={"jumps": energy_levels},
)  # fmt: skip


# --- loss regimes


def two_sets(seeds: Iterable[int], **task: Any) -> list[Config]:
    """Two sets of three features that are on together, in three dimensions. The paper gives no steps or learning rate."""
    net = Net.of(ToyModel, n_features=6, n_hidden=3, init_std=0.1)
    sizes = {"batch": 512, "n_eval": 65_536, "streams": "own", **task}
    features = SparseFeatures(n_features=6, sets="correlated", set_size=3, density=0.05, **sizes)
    return [Config(features, net, TORCH, seed, data_seed=seed) for seed in seeds]


SETS = np.repeat([0, 1], 3)


def at_the_end(measure: Any) -> Any:
    """A measure of `analysis.sets`, [R]."""
    return lambda m: measure(m["arrangement/W"][:, -1], SETS)


def forms(m: Measures, loss: str, run: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W [T, n, m] of a run (None: of the lowest last loss), the steps [T], and its loss [T]."""
    run = int(m.last(loss).argmin()) if run is None else run
    return m["arrangement/W"][run], m.steps, m[loss][run]


def regimes(m: Measures, steep: float = 1.0, flat: float = 0.5) -> np.ndarray:
    return formation.falls(m.steps, m["loss"], steep, flat)


OURS = analogue("density, steps and learning rate are ours: the paper prints none")


def geometric(name: str, says: str, quantity: Any, kind: Any, **more: Any) -> Claim:
    where = "learning dynamics, geometric transformations: two sets of three correlated features, m = 3"
    return Claim(name, Source(ELHAGE, where, says, 1), quantity, kind, fidelity=OURS, each="seed", **more)


REGIMES = Part(
    configs={"smoke": two_sets(range(2), batch=32, n_eval=64), "cpu": two_sets(SEEDS), "paper": two_sets(FIFTY)},
    saves={"smoke": SMOKE, "cpu": log_spaced(16_000, 70), "paper": log_spaced(16_000, 70)},
    analyses={"arrangement": geometry.arrangement},
    omit=("arrangement/b",),
    claims=[
        geometric("two sets of three, m = 3: falls of the loss between flat stretches", "distinct regimes", regimes,
                  Within(low=2), variants={"slopes 0.8 and 0.4": partial(regimes, steep=0.8, flat=0.4),
                                           "slopes 1.5 and 0.5": partial(regimes, steep=1.5)}),
        geometric("ends as an octahedron: cosine of a feature with its antipode in the other set, worst of six",
                  "opposite features are of different sets", at_the_end(sets.worst_antipode), Within(high=-0.95)),
        geometric("and each set orthogonal: cosine within a set, largest in size", "an orthogonal basis in each set",
                  at_the_end(sets.largest_within), Within(high=0.05)),
    ],
    figures={
        "regimes": lambda m: motion.strip(*forms(m, "loss"), at=(0, 100, 200, 600, 1600, 3000, 16_000), groups=SETS),
        "octahedron": lambda m: motion.animation(*forms(m, "loss"), groups=SETS),
    },
)  # fmt: skip


# --- polygons

N_FEATURES = 6
LEVELS = {f"{k}{'⁺' * plus}": 10 * k + plus for k in (4, 5, 6) for plus in range(N_FEATURES - k + 1)}  # `states`
# plateaus of SGD and their losses in Chen et al. 2023
VISITED = {"4⁺⁺": 0.0972, "5": 0.0687, "5⁺": 0.0618, "6": 0.0482}


def one_hot(seeds: Iterable[int], near_square: bool = False) -> list[Config]:
    """Chen et al. 2023 with the optimizer and batches of the devinterp notebook, at random or near a square."""
    corners, spread = (4, 0.2) if near_square else (0, 0.7)
    net = Net.of(ToyModel, n_features=N_FEATURES, n_hidden=2, init_kgon=corners, init_std=spread, bias_std=0.1)
    task, sgd = OneHotFeatures(n_features=N_FEATURES, batch=100, streams="own"), SGD(lr=0.01, momentum=0.9)
    return [Config(task, net, sgd, seed, data_seed=seed) for seed in seeds]


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


def plateaus(m: Measures, flat: float = 0.01, factor: float = 2.0) -> np.ndarray:
    """[R, T]: the loss at which a run rests in one state while the step doubles; else nan."""
    return formation.plateaus(m.steps, m["polygon/loss"], states(m), factor, flat)


def resting_loss(m: Measures, name: str, flat: float = 0.005, factor: float = 2.0) -> np.ndarray:
    """[runs that rest there]: the median loss while they rest in a state."""
    found = np.where(states(m) == LEVELS[name], plateaus(m, flat, factor), np.nan)
    return np.array([np.nanmedian(own) for own in found if np.isfinite(own).any()])


def rests_at_levels(m: Measures, within: float = 0.02) -> np.ndarray:
    """[R]: whether there are flat stretches, found by the loss alone, and all are at the loss of a k-gon; 1 or 0."""
    alone = formation.plateaus(m.steps, m["polygon/loss"], np.zeros_like(states(m)), flat=0.005)
    three = [formation.polygon_level(N_FEATURES, k, plus) for k in range(1, 4) for plus in range(N_FEATURES - k + 1)]
    distance = np.abs(alone[..., None] / np.array([*three, *map(level, LEVELS)]) - 1).min(axis=-1)
    rests = np.isfinite(alone)
    return (rests.any(axis=1) & np.where(rests, distance < within, True).all(axis=1)).astype(float)


def ends_at_its_level(m: Measures, within: float = 0.02) -> np.ndarray:
    """[R]: whether the last loss is that of the polygon that the run is; 1 or 0."""
    return (formation.off_polygon(m["polygon/loss"][:, -1], states(m)[:, -1], N_FEATURES) < within).astype(float)


def llc_of(m: Measures, name: str) -> np.ndarray:
    """λ̂ of the runs that end in a state."""
    return m["final/llc/llc"][states(m)[:, -1] == LEVELS[name]]


def llc_tuples(m: Measures, names: Iterable[str]) -> np.ndarray:
    """[n, states]: λ̂ of the first, second, … run that ends in each state, as many as all have."""
    found = [llc_of(m, name) for name in names]
    n = min(len(own) for own in found)
    return np.stack([own[:n] for own in found], axis=1)


def llc_rise(m: Measures, low: str, high: str) -> np.ndarray:
    return np.diff(llc_tuples(m, (low, high)), axis=1)[:, 0]


def llc_order(m: Measures) -> np.ndarray:
    """[n]: Spearman's correlation of λ̂ with the place of the level, of six runs that end in the six of them."""
    return over_cells.rank_correlation(llc_tuples(m, LEVELS))


def busiest(m: Measures) -> int:
    """The run that rests on most levels; of several the one that ends lowest."""
    visited = formation.n_visited(states(m), np.isfinite(plateaus(m)))
    return int(np.argmax(visited - m["polygon/loss"][:, -1]))


def descent(m: Measures, estimate: plots.Estimate | None = None) -> Any:
    """Runs from step 10 on, before which the losses fall from up to 2."""
    seen = m.steps >= 10
    ends = states(m)[:, -1]
    exact = {"3": formation.polygon_level(N_FEATURES, 3)} | {name: level(name) for name in LEVELS}
    if estimate is None:
        exact = {f"{name}: {(ends == LEVELS.get(name, 30)).sum()} runs": at for name, at in exact.items()}
    return plots.levels(m.steps[seen], m["polygon/loss"][:, seen], exact, shown=busiest(m), llc=estimate, most=20)


def llc_of_polygons(m: Measures) -> Any:
    found = {name: own for name in LEVELS if (own := llc_of(m, name)).size}
    series = {name: plots.Series(np.array([level(name)]), values[:, None]) for name, values in found.items()}
    return plots.agreement(series, "exact loss of the polygon", "local learning coefficient", beside=True)


def of_chen(name: str, where: str, says: str, quantity: Any, kind: Any, **more: Any) -> Claim:
    return Claim(name, Source(CHEN, where, says), quantity, kind, fidelity=NOTEBOOK, **more)


NOTEBOOK = scaled("SGD of the devinterp notebook on fresh points, starts at random or near a square; 20,000 steps")
N_RUNS = 128, 96  # at random and near a square
AT_LEVELS: dict[str, Any] = {"event": "rests at k-gons", "looks": (sum(N_RUNS),)}
FOUR_FIVE_SIX = "local learning coefficients of k-gons", "λ(4) < λ(5) < λ(6)"

POLYGONS = Part(
    configs={
        "smoke": [*one_hot(range(2)), *one_hot(range(2), near_square=True)],
        "cpu": [*one_hot(range(2000, 2000 + N_RUNS[0])), *one_hot(range(2000, 2000 + N_RUNS[1]), near_square=True)],
        "paper": [*one_hot(range(2000, 2256)), *one_hot(range(2000, 2256), near_square=True)],
    },
    saves={"smoke": SMOKE, "cpu": log_spaced(20_000, 40), "paper": log_spaced(20_000, 40)},
    analyses={"polygon": formation.polygon},
    final={"llc": LLC},
    omit=("loss", "final/llc/chains"),
    claims=[
        *(of_chen(f"plateaus of SGD at {name}: the loss", "figure of losses of SGD", f"{loss:.4f}",
                  partial(resting_loss, name=name), Median(loss, 1.02, "log"), looks=(6, 20),
                  each="run that rests there", event=AT_LEVELS["event"],
                  variants={"flat to 1 %": partial(resting_loss, name=name, flat=0.01),
                            "for a factor 3 of steps": partial(resting_loss, name=name, factor=3.0)})
          for name, loss in VISITED.items()),
        of_chen("all flat stretches, found by the loss alone, are at the loss of a k-gon", "figure of losses of SGD",
                "k-gons determine SGD", rests_at_levels, Proportion(least_share=0.9),
                variants={"within 1 %": partial(rests_at_levels, within=0.01)}, **AT_LEVELS),
        of_chen("a run ends at the loss of the polygon that it is", "figure of losses of SGD", "k-gons determine SGD",
                ends_at_its_level, Proportion(least_share=0.9),
                variants={"within 1 %": partial(ends_at_its_level, within=0.01)}, **AT_LEVELS),
        *(of_chen(f"λ̂ of a {high}-gon over that of a {low}-gon", *FOUR_FIVE_SIX, partial(llc_rise, low=low, high=high),
                  Direction(), each="pair of runs", looks=(8,)) for low, high in ("45", "56")),
        of_chen(f"λ̂ rises along {', '.join(LEVELS)}: rank correlation", "dynamics of SGD",
                "from high loss and low complexity to the opposite", llc_order, Direction(), each="six runs", looks=(8,)),
    ],
    figures={"plateaus": descent, "llc": llc_of_polygons},
)  # fmt: skip


# --- the local learning coefficient along paths

# The first 14 starts near the square, of seeds from 2200 on, with which SGD rests on one level, then on another: those
# whose `rise` is a number, chosen by the loss alone, before any λ̂ of them was computed.
PATHS = (2205, 2223, 2268, 2311, 2369, 2377, 2457, 2464, 2467, 2471, 2508, 2516, 2552, 2554)
ALONG = log_spaced(20_000, 30)


def rise(m: Measures) -> np.ndarray:
    """[R]: λ̂ on the last level minus that on the first, medians over the points of each; nan where they are the same."""
    return formation.rise(states(m), np.isfinite(plateaus(m)), m["llc/llc"])


def last_over_first(m: Measures) -> np.ndarray:
    """[R]: λ̂ at the last point of rest minus that at the first; nan where the run never rests."""
    on = np.isfinite(plateaus(m))
    ends = np.stack([on.argmax(axis=1), on.shape[1] - 1 - on[:, ::-1].argmax(axis=1)], axis=1)
    first, last = np.take_along_axis(m["llc/llc"], ends, axis=1).T
    return np.where(on.any(axis=1), last - first, np.nan)


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
    saves={"smoke": SMOKE, "cpu": ALONG, "paper": ALONG},
    analyses={"arrangement": geometry.arrangement, "polygon": formation.polygon, "llc": LLC},
    omit=("arrangement/b", "llc/chains"),
    claims=[
        of_chen("along a path λ̂ rises: last level over first", "dynamics of SGD",
                "from high loss and low complexity to the opposite", rise, Direction(), looks=(len(PATHS),),
                variants={"last point over first": last_over_first}),
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
