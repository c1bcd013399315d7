"""Polysemantic neurons: forced by capacity, left over from chance, and avoided by starting elsewhere.

Claim     Where dimensions are short, features share them by fractional capacities, and all m dimensions are spent. Where
          neurons abound, features still meet on one by chance of the start, n²/(4m) times, once an l1 term or noise of
          negative excess kurtosis has made each feature choose a neuron. And which minimum is found can be chosen: from
          negative biases, a network of the same loss has more neurons that answer to a single feature.
Source    Scherlis et al. 2022 (arXiv 2210.01892): capacity. Lecomte et al. 2023 (arXiv 2312.03096), released code:
          chance, noise, the l1 dynamics dw/dt = (1 − ‖w‖²) w − λ. Jermyn, Schiefer & Hubinger 2022 (arXiv 2211.09169).
Expect    Σ C = m. n = 64 features: by chance 5.7 polysemantic neurons of 128, 1.8 of 512. Σw⁴ of a feature grows under
          Bernoulli noise, not under Gaussian. ‖w‖₁ ~ t^−1 in the limit; at this m and these times the same formula has
          t^−.925 for weights that start alike, t^−.908 for normal ones; weights left: twice these. From a bias of −1 more
          monosemantic neurons at no higher loss.
Cost      cpu: 6 minutes of one core, and 28 of a busy one for 40 runs each of monosemantic and crowded.
Command   python run_sweep.py polysemanticity [--scale smoke|cpu|paper] [--part allocation|…|crowded]
Fails     Collisions are .931 of chance (.868 to .997; 20 seeds; development .885): fewer than by chance, but whether
          within 10 % is not decided. With 1.5 neurons a feature they are 1.31 times as many (1.13 to 1.52), a finding.
          In 16 dimensions, for 64 features of which 4 are on at a time, few neurons pass .999 from either bias: .078 a
          feature more from −1 (.063 to .094), where it is .38 in 32 dimensions (tried: lr .01 and .03, slower decay,
          densities 1/8 to 1/64).
Changed   Until this page was judged by rules, each width had to lie within two standard errors of chance, each run within
          bounds of ours. The widths are one test and are pooled; exponents are held against the formula at this m.
          Uniform importance, whose claims were algebra, went. Seeds 100 to 107 of `allocation` saw the same batches; 2000
          to 2019 have their own. One verdict changed: Σ C over m is .992 (.990 to .995), and agrees (8 seeds had not
          decided).
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from toylab.analysis import geometry, over_cells, transitions
from toylab.analysis import polysemanticity as neurons
from toylab.base import Config
from toylab.claims import Claim, Direction, Excess, Median, Ratio, Source, Within, analogue, scaled
from toylab.lab import Measures, Part, Scale
from toylab.models import FeatureDecoder, Net, ToyModel
from toylab.models.relu import joint_xavier_std
from toylab.optim import LAMB, SGD, AdamW
from toylab.plots import polysemanticity as plots
from toylab.tasks import OneHotFeatures, SparseFeatures

TORCH = AdamW(lr=1e-3, weight_decay=0.01, b2=0.999, warmup=0)  # torch's defaults
SEEDS, MORE = range(100, 120), range(100, 150)  # none of them was trained before the claims were fixed
FRESH = range(2000, 2020)  # as SEEDS, where batches are drawn


def sparse(n: int, m: int, densities: tuple[float, ...], batch: int, seeds: Iterable[int]) -> list[Config]:
    """ReLU output models of Elhage et al. 2022 at several densities, importance 0.7^i of feature i."""
    net = Net.of(ToyModel, n_features=n, n_hidden=m, init_std=joint_xavier_std(n, m, len(densities)))
    task = SparseFeatures(n_features=n, batch=batch, importance=0.7 ** np.arange(n))
    tasks = [task.replace(density=float(density)) for density in densities]
    return [Config(task, net, TORCH, seed, data_seed=seed) for seed in seeds for task in tasks]


def one_hot(n: int, m: int, optimizer: Any, seed: int, **task: Any) -> Config:
    """Lecomte et al.'s model: `ReLU(x W Wᵀ)` on every feature at once, W ~ N(0, 1/m), squares summed over features."""
    net = Net.of(ToyModel, n_features=n, n_hidden=m, bias=False, init_std=m**-0.5)
    return Config(OneHotFeatures(n_features=n, values="one", over_points="sum", **task), net, optimizer, seed=seed)


def colliding(n: int, widths: tuple[int, ...], seeds: Iterable[int]) -> list[Config]:
    return [one_hot(n, m, TORCH, seed, l1=1e-3) for m in widths for seed in seeds]


def noisy(n: int, m: int, seeds: Iterable[int]) -> list[Config]:
    """Noise of standard deviation .15 on the neurons, of either kind, drawn for each run."""
    own = partial(one_hot, n, m, SGD(lr=0.02), noisy=True, noise=0.15, streams="own")
    kinds = "bernoulli", "gaussian"
    return [own(seed, noise_kind=kind).replace(data_seed=seed) for kind in kinds for seed in seeds]


STEP, LAMBDA = 0.5, 1e-4  # of the l1 dynamics
FITTED = 347, 5049  # the times between which exponents are fitted, those of the first measurement


def alone(m: int, seeds: Iterable[int]) -> list[Config]:
    """A single feature. Its loss (1 − ‖w‖²)² + 4 λ ‖w‖₁ has gradient −4 [(1 − ‖w‖²) w − λ sign w], so that gradient
    descent at STEP/4 takes steps of length STEP of the dynamics."""
    return [one_hot(1, m, SGD(lr=STEP / 4), seed, l1=4 * LAMBDA) for seed in seeds]


def decoders(n: int, m: int, k: int, density: float, batch: int, steps: int, seeds: Iterable[int]) -> list[Config]:
    """Sparse features read out of a fixed embedding: from biases around 0, and around −1, where no neuron fires until they
    have decayed. They do so in the first half, by e^−5.9 in all as in the released code at lr .003, where it takes 2^16
    steps. Deviation: one cosine over the whole run instead of restarts every 512 steps."""
    task = SparseFeatures(n_features=n, batch=batch, density=density)
    half, decay = steps // 2, 5.9 / (steps // 2)
    return [
        Config(task, Net.of(FeatureDecoder, n_features=n, n_hidden=m, d_mlp=k, init_bias=bias), lamb, seed, seed)
        for bias in (0.0, -1.0)
        for lamb in (LAMB(schedule="cosine", steps=steps, bias_decay=-bias * decay, bias_decay_steps=half),)
        for seed in seeds
    ]


# --- quantities and figures


def by_level(m: Measures) -> tuple[np.ndarray, np.ndarray]:
    """1/density [level], rising, and C [seed, level, n]."""
    sparsity = 1 / m["config/task.density"]
    return np.unique(sparsity), m["final/capacities/C"][over_cells.table(m["config/seed"], sparsity)]


def allocated(m: Measures, name: str, low: float = 0.05) -> np.ndarray:
    """[seed]: how capacity is shared out, in a number."""
    return neurons.allocation(by_level(m)[1], int(m.only("config/net.n_hidden")), low)[name]


def shared_out(m: Measures) -> object:
    return plots.allocation(*by_level(m), int(m.only("config/net.n_hidden")))


def counts(m: Measures, name: str = "polysemantic") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """widths [N], the count of every run [seed, N], and what chance predicts at finite width [N]."""
    widths = np.unique(m["config/net.n_hidden"])
    chance = neurons.expected_collisions(int(m.only("config/task.n_features")), widths)
    return widths, m[f"final/collisions/{name}"][over_cells.table(m["config/seed"], m["config/net.n_hidden"])], chance


def against_chance(m: Measures, low: float = 2, high: float = np.inf) -> np.ndarray:
    """[seed, 2]: counted and by chance, over the widths from `low` to `high` neurons a feature."""
    widths, found, chance = counts(m)
    of = widths / m.only("config/task.n_features")
    judged = (of >= low) & (of < high)
    return np.stack([found[:, judged].sum(axis=1), np.full(len(found), chance[judged].sum())], axis=1)


def on_one_neuron(m: Measures) -> np.ndarray:
    """[seed]: the share of features with one strong weight, mean over widths of two neurons a feature or more."""
    widths, found, _ = counts(m, "on_one_neuron")
    return found[:, widths >= 2 * m.only("config/task.n_features")].mean(axis=1)


def collided(m: Measures) -> object:
    widths, found, chance = counts(m)
    limit = neurons.collisions_of_many(int(m.only("config/task.n_features")), widths)
    return plots.collisions(widths, found, chance, limit)


def fourth(m: Measures, kind: str) -> np.ndarray:
    """[seed, T]: Σw⁴ of a feature, mean over features."""
    return m["fourth/mean"][m["config/task.noise_kind"] == kind]


def growth(m: Measures, kind: str) -> np.ndarray:
    """[seed]: of Σw⁴ from start to end."""
    return fourth(m, kind)[:, -1] - fourth(m, kind)[:, 0]


def under_noise(m: Measures) -> object:
    kinds = {f"{kind.title()}\n±0.15": fourth(m, kind) for kind in ("bernoulli", "gaussian")}
    return plots.fourth_norms(m.steps, kinds, 3 / float(m.only("config/net.n_hidden")))


def exponents(m: Measures, name: str) -> np.ndarray:
    """[seed]: of the time, in ‖w‖₁ or the number of weights left."""
    return transitions.power_law_exponent(STEP * m.steps, m[f"sparsity/{name}"], *FITTED, floor=1e-9)


def sparsifying(m: Measures) -> object:
    """The prediction is for ‖w‖₁, of weights that are alike at the start; its square for the weights left."""
    norm = neurons.l1_decay(STEP * m.steps, float(m.only("config/net.n_hidden")) ** 0.5, LAMBDA)
    measured = {"weights left": m["sparsity/left"].astype(float), "‖w‖₁": m["sparsity/l1_norm"]}
    return plots.decay(STEP * m.steps, measured, {"weights left": norm**2, "‖w‖₁": norm})


def from_bias(m: Measures, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values [seed, …] of the runs from biases around 0, and of those around −1."""
    runs = over_cells.table(m["config/seed"], -m["config/net.init_bias"])
    return values[runs[:, 0]], values[runs[:, 1]]


def gained(m: Measures, name: str) -> np.ndarray:
    """[seed]: by how much a measure at the end, its median over neurons, is larger from −1."""
    zero, negative = from_bias(m, np.median(m.last(f"neurons/{name}").reshape(len(m.valid), -1), axis=1))
    return negative - zero


def loss_ratio(m: Measures) -> np.ndarray:
    """[seed]: the last loss from −1 over that from 0."""
    zero, negative = from_bias(m, m.last("loss"))
    return negative / zero


def engineered(m: Measures) -> object:
    names = ("bias 0", "bias −1")
    share = dict(zip(names, from_bias(m, m["neurons/per_feature"]), strict=True))
    last = dict(zip(names, from_bias(m, m.last("neurons/monosemanticity")), strict=True))
    return plots.monosemantic(m.steps, share, last)


# --- claims and parts


def stated(paper: str, where: str, says: str, name: str, quantity: Any, kind: Any, **more: Any) -> Claim:
    return Claim(name, Source(paper, where, says), quantity, kind, each="seed", **more)


OTHER = analogue("a ReLU output model of 20 features in 5 dimensions; the paper solves a quadratic one")
scherlis = partial(stated, "Scherlis et al. 2022", "abstract", looks=(8, 20), fidelity=OTHER)
ALLOCATED = [
    scherlis("a fixed capacity is shared out", "importance 0.7^i: least Σ C over m", partial(allocated, name="spent"),
             Within(0.99, 1.01)),
    scherlis("monosemantically the most important", "S = 0: least capacity of the m most important features",
             partial(allocated, name="kept"), Within(low=0.95)),
    scherlis("entirely ignore the least important", "S = 0: largest capacity of another feature",
             partial(allocated, name="ignored"), Within(high=0.05)),
    scherlis("more prevalent when the inputs have higher sparsity",
             "features that share dimensions rise with sparsity: Spearman's correlation",
             partial(allocated, name="sharing"), Direction(),
             variants={f"C from {low}": partial(allocated, name="sharing", low=low) for low in (0.01, 0.1)}),
    scherlis("polysemantically the less important", "capacity rises with importance: Spearman's correlation",
             partial(allocated, name="ordered"), Direction()),
]  # fmt: skip
lecomte = partial(stated, "Lecomte et al. 2023")
FEW = scaled("64 features on 128 to 512 neurons, not 256 on 256 to 4,096")
SHORT, NARROW = scaled("30,000 steps, not 100,000"), scaled("10,000 neurons, not 100,000")
COLLIDED = [
    lecomte("collisions", "n²/(4m); here its form at finite m", "polysemantic neurons over those by chance",
            against_chance, Ratio(1.1), fidelity=FEW,
            variants={"from 4 neurons a feature on": partial(against_chance, low=4)}),
    lecomte("l1 experiments", "a feature ends on a single neuron", "features on exactly one neuron", on_one_neuron,
            Within(low=0.95), fidelity=FEW),
    Claim("with 1.5 neurons a feature more polysemantic neurons than by chance", None,
          partial(against_chance, low=0, high=2), Excess(1.1), ledger="finding"),
]  # fmt: skip
UNDER_NOISE = [
    lecomte("noise", "it grows", "growth of Σw⁴ of a feature under Bernoulli noise", partial(growth, kind="bernoulli"),
            Direction(always=True), fidelity=SHORT, looks=(50,)),
    lecomte("noise", "none", "growth of Σw⁴ under Gaussian noise of the same size", partial(growth, kind="gaussian"),
            Median(0.0, 0.05), fidelity=SHORT, looks=(50,)),
]  # fmt: skip
# within half the way from the formula at finite m, -.925 to -.908, to its limit, -1; twice that for the weights left
FALLING = [
    lecomte("l1 dynamics", "1/(1/√m + λt): −.925 at these times", "‖w‖₁: exponent of time",
            partial(exponents, name="l1_norm"), Within(-0.9625, -0.8705), fidelity=NARROW, event="l1", looks=(50,)),
    lecomte("l1 dynamics", "its square: −1.85", "weights left: exponent of time",
            partial(exponents, name="left"), Within(-1.925, -1.741), fidelity=NARROW, event="l1", looks=(50,)),
]  # fmt: skip
HELD_APART = {
    "per_feature": "monosemantic neurons per feature",
    "monosemanticity": "largest share in the median neuron",
}
jermyn = partial(stated, "Jermyn et al. 2022", "abstract", "more monosemantic without increasing the loss",
                 fidelity=scaled("64 features in 32 dimensions, 128 neurons; not 512 in 64, 1,024"))  # fmt: skip
ENGINEERED = [
    *(jermyn(f"{what}, from a bias of −1 less from 0", partial(gained, name=name), Direction(), event="monosemantic")
      for name, what in HELD_APART.items()),
    jermyn("loss from a bias of −1 over that from 0", loss_ratio, Within(high=1.0)),
]  # fmt: skip
CROWDED = [
    Claim(f"a quarter of a feature a dimension: {what}, from a bias of −1 less from 0", None, partial(gained, name=name),
          Direction(), ledger="finding", each="seed", event="crowded")
    for name, what in HELD_APART.items()
]  # fmt: skip
DENSITIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
FALL = (0, *np.unique(np.geomspace(1, FITTED[1] / STEP, 45).round().astype(int)).tolist())
END: dict[Scale, Any] = {"smoke": (0, 20), "cpu": (0, 10_000), "paper": (0, 10_000)}
SMALL_DECODERS = decoders(8, 4, 16, 1 / 4, 32, 20, range(2))
POWERS = (0, *(2**i for i in range(5, 18)))
PARTS = {
    "allocation": Part(
        {"smoke": sparse(6, 2, (1, 0.1), 64, range(1)), "cpu": sparse(20, 5, DENSITIES, 1024, FRESH),
         "paper": sparse(20, 5, DENSITIES, 1024, FRESH)},
        END, ALLOCATED, {"capacity": shared_out}, final={"capacities": geometry.capacities},
    ),
    "collisions": Part(
        {"smoke": colliding(4, (16,), range(2)), "cpu": colliding(64, (96, 128, 192, 256, 384, 512), SEEDS),
         "paper": colliding(256, tuple(range(256, 4097, 256)), SEEDS)},
        END | {"cpu": (0, 7500), "paper": (0, 7500)}, COLLIDED, {"collisions": collided},
        final={"collisions": neurons.collisions},
    ),
    "noise": Part(
        {"smoke": noisy(4, 8, range(2)), "cpu": noisy(8, 16, MORE), "paper": noisy(8, 16, MORE)},
        END | {"cpu": tuple(range(0, 30_001, 1000)), "paper": tuple(range(0, 100_001, 2000))}, UNDER_NOISE,
        {"noise": under_noise}, analyses={"fourth": neurons.fourth_norms},
    ),
    "l1": Part(
        {"smoke": alone(100, range(2)), "cpu": alone(10_000, MORE), "paper": alone(100_000, MORE)},
        {"smoke": (0, 10, 20), "cpu": FALL, "paper": FALL}, FALLING, {"l1": sparsifying},
        analyses={"sparsity": neurons.sparsity},
    ),
    "monosemantic": Part(
        {"smoke": SMALL_DECODERS, "cpu": decoders(64, 32, 128, 1 / 16, 512, 16_000, FRESH),
         "paper": decoders(512, 64, 1024, 1 / 64, 2**13, 2**17, FRESH)},
        {"smoke": (0, 10, 20), "cpu": (*POWERS[:10], 12_000, 16_000), "paper": POWERS}, ENGINEERED,
        {"monosemantic": engineered}, analyses={"neurons": neurons.neurons},
    ),
    "crowded": Part(
        {"smoke": SMALL_DECODERS, "cpu": decoders(64, 16, 128, 1 / 16, 512, 8000, FRESH),
         "paper": decoders(64, 16, 128, 1 / 16, 512, 64_000, FRESH)},
        {"smoke": (0, 10, 20), "cpu": (*POWERS[:9], 6000, 8000), "paper": (*POWERS[:12], 48_000, 64_000)}, CROWDED,
        analyses={"neurons": neurons.neurons},
    ),
}  # fmt: skip
