"""Computation in superposition: neurons that stand for one feature, or several, and still compute absolute values.

Claim     Neurons behind a ReLU have a privileged basis: of dense features each takes one, and the sparser features are the
          more of them share neurons, in set patterns. Such neurons compute: two give the absolute value of a feature, and
          when features are sparse, neurons that each serve several do so too, some by the asymmetric motif.
Source    Elhage et al. 2022, Toy Models of Superposition (arXiv 2209.10652), sections on a privileged basis and on
          computation in superposition. n = 10, m = 5, I = 0.75^i; absolute value n = 3, m = 6 and n = 100, m = 40,
          I = 0.8^i. The paper takes the best of 1,000 models at each density and prints no optimiser. Here: Adam, lr 3e-3,
          cosine to 0, no decay, Glorot-normal weights (a quarter of them for 100 in 40), and the best model of a set, at
          each density in each of three sets (at cpu scale of 64, 32 and 3 models).
Expect    Best models at densities 1 − S: one feature a neuron for ≥ 0.5, then 3 in 2 neurons, 5 in 3 at 0.15, 6 in 4 at
          0.12, 8 in 5 at 0.05 to 0.08, and at ≤ 0.04 pairs, which is read as: each of the 10 features excites one of the
          10 pairs of the 5 neurons. Absolute value: a + and a − neuron for each feature; of 40 neurons none polysemantic
          for ≥ 0.3, few at 0.1, all at 0.001. A feature is a neuron's where its weight in is above half of the neuron's
          largest (in the tied model, where features are never negative, of its largest positive one: other weights only
          silence it).
Cost      cpu: 4 to 5 minutes on two cores. paper: 1,000 models a density and batches of 1,024 on an accelerator.
Command   python run_sweep.py computation [--scale smoke|cpu|paper] [--part privileged absolute sparse]
Fails     (cpu scale) Tied: at 0.15, 0.12 and 0.05 to 0.08 the named pattern is often not the best of 64; the losses of the
          best patterns differ by 0.3 to 3 %. The best of all 192 is 5 in 3 at 0.15, 8 in 5 already at 0.12 (by 0.3 %
          before 6 in 4), 8 in 5 at 0.08 and 0.05, and all ten pairs at 0.03 and 0.01 (two sets miss them at 0.03).
          A first run counted weights of either sign and took "pairs" for two features a neuron; no good model has that,
          since features that excite one neuron alone cannot be told apart, and the reading above was taken then.
          100 in 40: training, not capacity, decides. At 0.001 a batch has half an example of a feature, and after 6,000
          steps the loss is that of the output 0, 1.7e-5 (at 0.003, 0.6 of it): of the 22 to 27 neurons alive 0.77 to 0.88
          are polysemantic, 0.92 to 1 from Glorot's weights, where the first random weights count too. So the share falls
          from 0.003, where it is 0.95 to 1. At 0.3 one neuron of 40 keeps a second feature. From Glorot's weights, at lr
          1e-3, 3e-3 and 1e-2, models at 0.1 end at 15 times the loss with shares of 0.3 to 0.9, because some of the first
          features lack a neuron of one sign and have four of the other; so weights begin at a quarter.
          Features beyond about the 40th matter too little to be learned there.
Changed   After a first run: the reading of pairs and of a neuron's features in the tied model, the small first weights of
          100 in 40, and there the best of three after 6,000 steps in place of each seed after 10,000.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from toylab.analysis import neurons, over_cells
from toylab.base import Config
from toylab.lab import Claim, Measures, Part, Scale
from toylab.models import Net, ToyModel, UntiedToyModel
from toylab.optim import Adam
from toylab.plots import neurons as bars
from toylab.plots import theory
from toylab.tasks import SparseFeatures

TIED_DENSITIES = (1.0, 0.5, 0.3, 0.2, 0.15, 0.12, 0.08, 0.05, 0.03, 0.01)
DENSITIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
Configs = dict[Scale, list[Config]]
Floats = Sequence[float]
SMALL = 0.25  # init of 100 in 40: of 3, 1 and 1/4 the one with the least loss
SETS = 3  # disjoint sets of models of a density; the best of each is judged


def runs(
    kind: type, n: int, m: int, decay: float, densities: Floats, models: int, steps: int, batch: int, init: float = 1
) -> list[Config]:
    """`models` of each density; importance decay^i. Tied: identity. Untied: absolute value, features in [−1, 1].

    Weights begin at `init` times Glorot's standard deviation."""
    target = "absolute" if kind is UntiedToyModel else "identity"
    importance = (decay ** np.arange(n)).astype(np.float32)
    net = Net.of(kind, n_features=n, n_hidden=m, hidden="relu", init_std=init * (2 / (n + m)) ** 0.5)
    task = SparseFeatures(n_features=n, batch=batch, target=target, importance=importance, n_eval=8192)
    optimizer = Adam(lr=3e-3, schedule="cosine", steps=steps)
    return [
        Config(task=task.replace(density=density), net=net, optimizer=optimizer, seed=seed)
        for density in densities
        for seed in range(models)
    ]


def start_and_end(smoke: int, cpu: int, paper: int) -> dict[Scale, tuple[int, int]]:
    return {"smoke": (0, smoke), "cpu": (0, cpu), "paper": (0, paper)}


tied = partial(runs, ToyModel)
absolute = partial(runs, UntiedToyModel)
PRIVILEGED: Configs = {
    "smoke": tied(10, 5, 0.75, (1.0, 0.2, 0.15, 0.12, 0.08, 0.03), models=3, steps=20, batch=16),
    "cpu": tied(10, 5, 0.75, TIED_DENSITIES, models=192, steps=5000, batch=256),
    "paper": tied(10, 5, 0.75, TIED_DENSITIES, models=999, steps=5000, batch=1024),
}
ABSOLUTE: Configs = {
    "smoke": absolute(3, 6, 1.0, (1.0,), models=3, steps=20, batch=16),
    "cpu": absolute(3, 6, 1.0, (1.0,), models=96, steps=5000, batch=256),
    "paper": absolute(3, 6, 1.0, (1.0,), models=999, steps=10_000, batch=1024),
}
SPARSE: Configs = {
    "smoke": absolute(12, 6, 0.8, (1.0, 0.1, 0.001), models=3, steps=10, batch=16, init=SMALL),
    "cpu": absolute(100, 40, 0.8, DENSITIES, models=9, steps=6000, batch=512, init=SMALL),
    "paper": absolute(100, 40, 0.8, DENSITIES, models=9, steps=20_000, batch=4096, init=SMALL),
}


def census(name: str, m: Measures) -> np.ndarray:
    return m[f"final/neurons/{name}"]


def densities(m: Measures) -> np.ndarray:
    """From dense to sparse."""
    return np.unique(m["config/task.density"])[::-1]


def best(m: Measures, density: float, sets: int = SETS) -> np.ndarray:
    """[sets]: the run of least loss in each of some disjoint sets of the models of a density."""
    here = np.flatnonzero(np.isclose(m["config/task.density"], density, rtol=1e-3))
    return over_cells.lowest_in_sets(m.last("loss"), here[np.argsort(m["config/seed"][here])], sets)


# --- n = 10 features, m = 5 neurons, tied


def polysemantic_where_dense(m: Measures) -> np.ndarray:
    """Neurons with several features in the best models at densities of at least 0.5."""
    chosen = np.concatenate([best(m, density) for density in densities(m) if density >= 0.499])
    return (census("count", m)[chosen] > 1).sum(axis=1)


def neurons_in(features: int, size: int, low: float, high: float, m: Measures) -> np.ndarray:
    """For the best models at densities low to high: how many neurons belong to blocks of so many features and neurons."""
    inside = [density for density in densities(m) if low - 1e-4 <= density <= high + 1e-4]
    chosen = np.concatenate([best(m, density) for density in inside])
    match = (census("block_features", m)[chosen] == features) & (census("block_neurons", m)[chosen] == size)
    return match.sum(axis=1)


def pattern(features: int, size: int, low: float, high: float) -> Claim:
    """The best models have a block of so many features in so many neurons."""
    where = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    name = f"{features} features in {size} neurons at 1 − S = {where}: neurons in such a block"
    return Claim(name, PAPER, partial(neurons_in, features, size, low, high), size, each="density and set")


def own_pairs(m: Measures) -> np.ndarray:
    """Features of the best models at densities of at most 0.04 that excite two neurons, no other feature the same two."""
    chosen = np.concatenate([best(m, density) for density in densities(m) if density <= 0.04])
    return neurons.n_own_sets(census("excites", m)[chosen].astype(bool))


PAPER = "Elhage et al. 2022"
PRIVILEGED_CLAIMS = [
    Claim("tied: polysemantic neurons of the best models at 1 − S ≥ 0.5", f"{PAPER}: all monosemantic",
          polysemantic_where_dense, 0, 0, each="density and set"),
    pattern(3, 2, 0.2, 0.3),
    pattern(5, 3, 0.15, 0.15),
    pattern(6, 4, 0.12, 0.12),
    pattern(8, 5, 0.05, 0.08),
    Claim("pairs at 1 − S ≤ 0.04: features with a pair of neurons of their own, of 10", f"{PAPER}: pairs", own_pairs,
          10, each="density and set"),
]  # fmt: skip


def tied_neurons(m: Measures) -> object:
    """The best model of each density."""
    chosen = [best(m, density, 1).item() for density in densities(m)]
    shown = np.stack([bars.by_first_feature(census("W", m)[run]) for run in chosen])
    return bars.stacked(shown, [f"1 − $S$ = {density:g}" for density in densities(m)], 5)


def of_best(m: Measures, values: np.ndarray) -> theory.Series:
    """Values [R] of the best models against 1/(1−S)."""
    chosen = np.stack([best(m, density) for density in densities(m)], axis=1)  # [SETS, densities]
    return theory.Series(1 / densities(m), values[chosen], joined=True)


def share_lines(series: dict[str, theory.Series], ylabel: str) -> object:
    return theory.agreement(series, "1 / (1 − $S$)", ylabel, log=(True, False))


def tied_polysemantic(m: Measures) -> object:
    share = census("polysemantic", m)
    everyone = [np.nanmean(share[m["config/task.density"] == density]) for density in densities(m)]
    mean = theory.Series(1 / densities(m), np.array([everyone]), joined=True)
    return share_lines({"best of each set": of_best(m, share), "mean of all": mean}, "share of polysemantic neurons")


# --- absolute values of n = 3 dense features, m = 6 neurons


def one_feature(m: Measures) -> np.ndarray:
    """Neurons of the best models that have exactly one feature."""
    return (census("count", m)[best(m, 1.0)] == 1).sum(axis=1)


def pairs_of_signs(m: Measures) -> np.ndarray:
    """Features of the best models with exactly one neuron for values above 0 and one for those below."""
    return np.asarray(neurons.both_signs(census("W_in", m)[best(m, 1.0)])).sum(axis=1)


def best_loss(m: Measures) -> np.ndarray:
    return m.last("loss")[best(m, 1.0)]


CATALOGUE = f"{PAPER}: two neurons for each feature"
ABSOLUTE_CLAIMS = [
    Claim("absolute value: neurons with one feature, of 6", CATALOGUE, one_feature, 6, each="set"),
    Claim("absolute value: features with a + and a − neuron, of 3", CATALOGUE, pairs_of_signs, 3, each="set"),
    Claim("absolute value: loss", f"{CATALOGUE}; the bound is ours", best_loss, high=1e-4, each="set"),
]  # fmt: skip


def absolute_neurons(m: Measures) -> object:
    run = best(m, 1.0, 1).item()
    W_in, W_out = census("W_in", m)[run], census("W_out", m)[run]
    order = np.lexsort((-np.sign(W_in.sum(axis=0)), np.abs(W_in).argmax(axis=0)))
    shown = np.stack([W_in[:, order], W_out[:, order]])
    return bars.stacked(shown, ["weights in", "weights out"], 2, names=[f"feature {i + 1}" for i in range(len(W_in))])


# --- absolute values of n = 100 sparse features, m = 40 neurons


def share_at(low: float, high: float, name: str = "polysemantic") -> Callable[[Measures], np.ndarray]:
    """The share of polysemantic neurons of the best models at densities low to high."""

    def quantity(m: Measures) -> np.ndarray:
        inside = [density for density in densities(m) if 0.99 * low < density < 1.01 * high]
        return census(name, m)[np.concatenate([best(m, density) for density in inside])]

    return quantity


def least_rise(m: Measures) -> np.ndarray:
    """[SETS]: the smallest change of the best models' share from a density to the next sparser one."""
    share = census("polysemantic", m)[np.stack([best(m, density) for density in densities(m)])]  # [densities, SETS]
    return np.diff(share, axis=0).min(axis=0)


def most_motifs(m: Measures) -> np.ndarray:
    """[SETS]: the inhibited neurons of the asymmetric motif in that one of the best models which has most."""
    count = census("inhibited", m).sum(axis=1)
    return count[np.stack([best(m, density) for density in densities(m)])].max(axis=0)


SPARSE_CLAIMS = [
    Claim("absolute value, 100 in 40: polysemantic share at 1 − S ≥ 0.3", f"{PAPER}: monosemantic", share_at(0.3, 1.0),
          0, 0, each="density and set"),
    Claim("absolute value, 100 in 40: polysemantic share at 1 − S = 0.1", f"{PAPER}: a few; the bound is ours",
          share_at(0.1, 0.1), 0.01, 0.3, each="set"),
    Claim("absolute value, 100 in 40: polysemantic share at 1 − S = 0.001", f"{PAPER}: all", share_at(0.001, 0.001), 1,
          1, each="set"),
    Claim("absolute value, 100 in 40: least change of the share towards sparser features",
          f"{PAPER}: it rises; the bound is ours", least_rise, 0, each="set"),
    Claim("asymmetric motif with inhibition: neurons in the model with most", f"{PAPER}: seen; the bound is ours",
          most_motifs, 1, each="set"),
]  # fmt: skip


def sparse_neurons(m: Measures) -> object:
    """The best model of each density."""
    chosen = [best(m, density, 1).item() for density in densities(m)]
    shown = np.stack([bars.by_first_feature(census("W_in", m)[run]) for run in chosen])
    return bars.stacked(
        shown, [f"1 − $S$ = {density:g}" for density in densities(m)], 2, ylabel="weights in", least=0.2, own_scale=True
    )


def sparse_shares(m: Measures) -> object:
    series = {
        "several features\nby weight in": of_best(m, census("polysemantic", m)),
        "by in · out": of_best(m, census("polysemantic_effective", m)),
        "asymmetric motif,\ninhibited": of_best(m, census("inhibited", m).mean(axis=1)),
    }
    return share_lines(series, "share of neurons")


def asymmetric_motif(m: Measures) -> object:
    """One neuron of the motif and the three that most hold its weakly read feature down, with its two features only."""
    inhibited = census("inhibited", m).astype(bool)
    run = int(inhibited.sum(axis=1).argmax())
    W_in, W_out = census("W_in", m)[run], census("W_out", m)[run]
    (a, b), chosen = neurons.motif(W_in, W_out, inhibited[run])
    neuron = chosen[0]
    size = np.sqrt(np.abs(W_out[b, neuron]) / max(np.abs(W_in[a, neuron]), 1e-12))  # as large in as out
    scale = np.array([size, 1, 1, 1])
    shown = np.stack([W_in[np.ix_([a, b], chosen)] * scale, W_out[np.ix_([a, b], chosen)] / scale])
    if not inhibited.any():
        shown = np.full_like(shown, np.nan)
    density = m["config/task.density"][run]
    names = [f"feature {a + 1}", f"feature {b + 1}"]
    titles = [f"weights in, 1 − $S$ = {density:g}", f"weights out: 2 to 4 hold feature {b + 1} down"]
    return bars.stacked(shown, titles, 2, names=names)


FIGURES = {
    "privileged": {"tied_neurons": tied_neurons, "tied_polysemantic": tied_polysemantic},
    "absolute": {"absolute_neurons": absolute_neurons},
    "sparse": {"sparse_neurons": sparse_neurons, "sparse_shares": sparse_shares, "asymmetric_motif": asymmetric_motif},
}

FINAL = {"neurons": neurons.census}
TIED = {"neurons": neurons.tied_census}
PARTS = {
    "privileged": Part(PRIVILEGED, start_and_end(20, 5000, 5000), PRIVILEGED_CLAIMS, FIGURES["privileged"], final=TIED),
    "absolute": Part(ABSOLUTE, start_and_end(20, 5000, 10_000), ABSOLUTE_CLAIMS, FIGURES["absolute"], final=FINAL),
    "sparse": Part(SPARSE, start_and_end(10, 6000, 20_000), SPARSE_CLAIMS, FIGURES["sparse"], final=FINAL),
}
