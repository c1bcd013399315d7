"""Clock and pizza: the attention rate decides by which of two circuits a transformer adds.

Claim     With attention switched off (rate 0) a one-layer transformer adds by a pizza; with full attention (rate 1) it
          comes near a clock. In between gradient symmetricity (GS) falls from near 1 and distance irrelevance (DI) rises.
          Linear models that add their embeddings first are pizzas; one with weights for each operand is a clock.
Source    Zhong et al. 2023, The Clock and the Pizza (arXiv 2306.17844): p = 59, 80 % of the pairs, 20,000 full-batch steps
          of AdamW (lr 1e-3, weight decay 2), width 128; tokens a, b, no mask, pattern softmax·α + (1 − α). Linear models:
          width 256, no warm-up. At cpu scale p, widths and steps are smaller (CPU below), the rest is the paper's.
Expect    Of the authors' table of 684 runs: GS at least 0.9886 for α ≤ 0.4, below 0.95 (median of 51) from α = 0.543 on,
          0.46 for α ≥ 0.9; Spearman's correlation of GS and DI −0.80. Linear model δ: GS −0.003, clock 92 %, pizza 72 %.
Cost      cpu: 21 transformers and 9 linear models, 6 minutes on one core. paper: 50 and 9, for an accelerator; not run.
Command   python run_sweep.py clock_pizza [--scale smoke|cpu|paper] [--part sweep|linear]
Fails     (cpu scale) GS: 0.9793 in seed 0 at α = 0.4, and its fall below 0.95 at 0.456, 0.517 and 0.639 in the three seeds:
          the authors' 0.543 is a median over runs, and near it one seed is a tenth of α from another. DI: at α ≤ 0.4
          it is above 0.69 in the five runs of seeds 0 and 2 whose embeddings have circularities of 0.71 to 0.96. The
          authors' numbers are of circularity ≥ 0.99 alone; of ours that have it, 11 of 21, Spearman's correlation is
          −0.98. That is no claim here: it was looked at afterwards. Linear δ at p = 31: GS −0.13 and −0.14 in two seeds.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from toylab.analysis.modular import circuits as circuits
from toylab.base import Config
from toylab.lab import Claim, Measures, Part
from toylab.models import Net, PizzaLinear, PizzaTransformer
from toylab.optim import AdamW
from toylab.plots import rates as plots
from toylab.sweep import log_then_linear
from toylab.sweep.grids import grid
from toylab.tasks import ModularPairs

SOLVED = 0.99  # accuracy over all pairs from which a circuit is spoken of, as in circuit_report; ours
LOW, HIGH = 0.4, 0.9  # attention rates up to which, and from which on, the paper's networks are of one kind
FALLEN = 0.95  # GS below which the pizza is given up
TABLE_GS = {0.2: 0.9926, 0.45: 0.990, 0.55: 0.927, 0.65: 0.777, 0.75: 0.666, 0.85: 0.564, 0.95: 0.462}  # by bins of α
TABLE_DI = {
    0.2: 0.33,
    0.45: 0.34,
    0.55: 0.41,
    0.65: 0.61,
    0.75: 0.70,
    0.85: 0.76,
    0.95: 0.82,
}  # largest incorrect logit
RATES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0)
CPU: dict[str, Any] = {"p": 59, "d_model": 64}
STEPS = 2000


def transformer(p: int = 59, d_model: int = 128) -> Config:
    net = Net.of(PizzaTransformer, d_vocab=p, d_vocab_out=p, n_ctx=2, d_model=d_model, n_heads=4, d_mlp=4 * d_model)
    return Config(ModularPairs(p=p, n_train=int(0.8 * p * p)), net, AdamW(weight_decay=2.0))


def linear(kind: str, p: int = 59, width: int = 256) -> Config:
    net = Net.of(PizzaLinear, d_vocab=p, d_vocab_out=p, d_model=width, d_mlp=width, kind=kind)
    return Config(ModularPairs(p=p, n_train=int(0.8 * p * p)), net, AdamW(weight_decay=2.0, b2=0.999, warmup=0))


def over_rates(base: Config, rates: Sequence[float], seeds: int) -> list[Config]:
    return grid(base, {"net.attention_rate": [float(rate) for rate in rates], "seed": range(seeds)})


def kinds(seeds: int, **sizes: int) -> list[Config]:
    return [one for kind in ("alpha", "beta", "delta") for one in grid(linear(kind, **sizes), {"seed": range(seeds)})]


PROBES = {
    "symmetry": circuits.symmetry,
    "distance": circuits.distance,
    "roundness": circuits.roundness,
    "circles": circuits.circles,
}


# --- a run


def accuracy(m: Measures) -> np.ndarray:
    """[R, T], over all pairs."""
    share = (m["config/task.n_train"] / m["config/task.p"] ** 2)[:, None]
    return share * m["train_accuracy"] + (1 - share) * m["test_accuracy"]


def solves(m: Measures) -> np.ndarray:
    return accuracy(m)[:, -1] >= SOLVED


def rate(m: Measures) -> np.ndarray:
    return m["config/net.attention_rate"].round(6)


def symmetricity(m: Measures) -> np.ndarray:
    return m.last("symmetry/gradient_symmetricity")


def irrelevance(m: Measures, which: str = "incorrect") -> np.ndarray:
    return m.last(f"distance/{which}")


def lead(m: Measures) -> np.ndarray:
    """By how much, in percentage points, a pizza explains more than a clock of the circle of which either explains most."""
    clock, pizza = m.last("circles/clock"), m.last("circles/pizza")
    best = np.maximum(clock, pizza).argmax(axis=1)[:, None]
    return 100 * np.take_along_axis(pizza - clock, best, axis=1)[:, 0]


def among(
    which: Callable[[Measures], np.ndarray], value: Callable[[Measures], np.ndarray]
) -> Callable[..., np.ndarray]:
    """A claim's quantity: value [R] of those runs that solve the task and are meant; one nan where there are none."""

    def of_runs(m: Measures) -> np.ndarray:
        chosen = value(m)[solves(m) & which(m)]
        return chosen if chosen.size else np.full(1, np.nan)

    return of_runs


# --- runs by seed


def by_seed(quantity: Callable[[Measures], float]) -> Callable[[Measures], np.ndarray]:
    """Of each seed's runs that solve the task."""

    def of_seeds(m: Measures) -> np.ndarray:
        return np.array(
            [quantity(m.runs(solves(m) & (m["config/seed"] == seed))) for seed in np.unique(m["config/seed"])]
        )

    return of_seeds


def transition(m: Measures) -> float:
    """The attention rate at which GS first falls below 0.95, on straight lines between runs; nan where it never does."""
    order = np.argsort(rate(m))
    xs, ys = rate(m)[order], symmetricity(m)[order]
    below = np.flatnonzero(ys < FALLEN)
    if not below.size or not below[0]:
        return np.nan
    at = below[0]
    return float(np.interp(-FALLEN, -ys[at - 1 : at + 1], xs[at - 1 : at + 1]))


def correlation(m: Measures) -> np.ndarray:
    """Spearman's, of GS and DI over the runs that solve the task."""
    ranks = [values[solves(m)].argsort().argsort() for values in (symmetricity(m), irrelevance(m))]
    return np.corrcoef(*ranks)[0, 1] if solves(m).sum() > 2 else np.array(np.nan)


def rise(m: Measures) -> float:
    """Mean DI at rates of at least 0.9 less that up to 0.4."""
    low, high = irrelevance(m)[rate(m) <= LOW], irrelevance(m)[rate(m) >= HIGH]
    return float(high.mean() - low.mean()) if low.size and high.size else np.nan


ZHONG, TABLE = "Zhong et al. 2023", "Zhong et al. 2023, table of runs"
SWEEP_CLAIMS = [
    Claim("transformers: accuracy over all pairs", "circuits are of those that solve the task; the bound is ours",
          lambda m: accuracy(m)[:, -1], SOLVED),
    Claim("attention rate ≤ 0.4: gradient symmetricity", f"{TABLE}: at least 0.9886",
          among(lambda m: rate(m) <= LOW, symmetricity), 0.985),
    Claim("attention rate ≥ 0.9: gradient symmetricity", f"{TABLE}: 0.46",
          among(lambda m: rate(m) >= HIGH, symmetricity), 0.34, 0.58),
    Claim("attention rate at which gradient symmetricity falls below 0.95", f"{TABLE}: 0.543", by_seed(transition),
          0.48, 0.60, each="seed"),
    Claim("Spearman's correlation of gradient symmetricity and distance irrelevance", f"{TABLE}: −0.80; the bound is ours",
          correlation, high=-0.6, each="all runs"),
    Claim("distance irrelevance (largest incorrect logit) at rates ≥ 0.9 less that at ≤ 0.4",
          f"{TABLE}: 0.82 − 0.33; the bound is ours", by_seed(rise), 0.25, each="seed"),
    Claim("attention rate ≤ 0.4: pizza less clock FVE of the clearest circle", f"{ZHONG}, model A: 98.3 − 75.4",
          among(lambda m: rate(m) <= LOW, lead), 0, unit="percentage points"),
]  # fmt: skip


def of_kind(*names: str) -> Callable[[Measures], np.ndarray]:
    return lambda m: np.isin(m["config/net.kind"], names)


LINEAR_CLAIMS = [
    Claim("linear models: accuracy over all pairs", "circuits are of those that solve the task; the bound is ours",
          lambda m: accuracy(m)[:, -1], SOLVED),
    Claim("linear α and β: gradient symmetricity", f"{ZHONG}, model β: 1.0000",
          among(of_kind("alpha", "beta"), symmetricity), 0.9999),
    Claim("linear α and β: pizza less clock FVE of the clearest circle", f"{ZHONG}, model β: 98.0 − 75.3",
          among(of_kind("alpha", "beta"), lead), 0, unit="percentage points"),
    Claim("linear δ: gradient symmetricity", f"{ZHONG}, released type D: −0.003; the bound is ours",
          among(of_kind("delta"), symmetricity), -0.1, 0.1),
    Claim("linear δ: clock less pizza FVE of the clearest circle", f"{ZHONG}, released type D: 92.5 − 72.2",
          among(of_kind("delta"), lambda m: -lead(m)), 0, unit="percentage points"),
]  # fmt: skip


# --- figures


def over_rate(m: Measures) -> Any:
    shown = [
        plots.OverRate("gradient symmetricity", symmetricity(m), TABLE_GS, (0, 1.04)),
        plots.OverRate("distance irrelevance\n(largest incorrect logit)", irrelevance(m), TABLE_DI, (0, 1.04)),
        plots.OverRate("pizza less clock FVE\n(percentage points)", lead(m), {}, (-45, 45), {"clock below": 0.0}),
    ]
    return plots.over_rate(rate(m), solves(m), shown, "the authors' runs, p = 59, width 128 (means of bins)")


def forming(m: Measures) -> Any:
    shown = {
        "accuracy over all pairs": accuracy(m),
        "gradient symmetricity": m["symmetry/gradient_symmetricity"],
        "circularity": m["roundness/circularity"],
    }
    return plots.over_training(m.steps, rate(m), shown)


def linear_kinds(m: Measures) -> Any:
    letters = {"alpha": "α", "beta": "β", "delta": "δ"}
    best = np.maximum(m.last("circles/clock"), m.last("circles/pizza")).argmax(axis=1)[:, None]
    of = {name: np.take_along_axis(m.last(f"circles/{name}"), best, axis=1)[:, 0] for name in ("clock", "pizza")}
    shown = {
        "gradient symmetricity": {"": symmetricity(m)},
        "distance irrelevance": {"": irrelevance(m, "correct")},
        "FVE, clearest circle": of,
    }
    return plots.kinds([letters[kind] for kind in m["config/net.kind"]], shown, solves(m))


TINY = {"p": 7, "d_model": 8}
SHORT = (0, 20, 40)
PARTS = {
    "sweep": Part(
        configs={
            "smoke": over_rates(transformer(**TINY), (0, 1), 1),
            "cpu": over_rates(transformer(**CPU), RATES, 3),
            "paper": over_rates(transformer(), [round(i / 9, 3) for i in range(10)], 5),
        },
        saves={"smoke": SHORT, "cpu": log_then_linear(10, STEPS, 20), "paper": log_then_linear(10, 20_000, 40)},
        claims=SWEEP_CLAIMS,
        figures={"over_rate": over_rate, "forming": forming},
        milestone=("solve it", lambda measures: measures["test_accuracy"][..., -1] >= SOLVED),
        probes=PROBES,
        keep=(),
    ),
    "linear": Part(
        configs={"smoke": kinds(1, p=7, width=8)[:2], "cpu": kinds(3, p=31, width=64), "paper": kinds(3)},
        saves={"smoke": SHORT, "cpu": log_then_linear(10, 4000, 20), "paper": log_then_linear(10, 20_000, 40)},
        claims=LINEAR_CLAIMS,
        figures={"linear_kinds": linear_kinds},
        milestone=("solve it", lambda measures: measures["test_accuracy"][..., -1] >= SOLVED),
        probes=PROBES,
        keep=(),
    ),
}
