"""Clock and pizza: the attention rate decides by which of two circuits a transformer adds.

Claim     With attention switched off (rate 0) a one-layer transformer adds by a pizza; with full attention (rate 1) it
          comes near a clock. In between gradient symmetricity (GS) falls from near 1 and distance irrelevance (DI)
          rises. Linear model β, which adds its embeddings first, is a pizza; δ, with weights for each operand, a clock.
Source    Zhong et al. 2023, The Clock and the Pizza (arXiv 2306.17844): p = 59, 80 % of the pairs, 20,000 full-batch
          steps of AdamW (lr 1e-3, weight decay 2), width 128; tokens a, b, no mask, pattern softmax·α + (1 − α). Linear
          models: width 256 (embeddings of δ 128), no warm-up. At cpu scale the transformers have width 64.
Expect    Of the authors' table of 684 runs: GS at least 0.9886 for α ≤ 0.4, below 0.95 (median of 51) from α = 0.543 on,
          0.46 for α ≥ 0.9; Spearman's correlation of GS and DI −0.80. Linear model δ: GS −0.003, clock 94 %, pizza 74 %.
          Wider networks keep the pizza up to larger rates.
Cost      cpu: 48 transformers 40 minutes and 18 linear models 40 minutes on two cores that other programs used too, the
          first look at the claims; 20 seeds, the second, three times that. Part width, 48 transformers, 83 minutes of one
          core. Part pictures, two transformers of the paper's own size, 45 minutes of one busy core. paper: 200, 60 and
          80, for an accelerator; not run.
Command   python run_sweep.py clock_pizza [--scale smoke|cpu|paper] [--part sweep|linear|width|pictures]
Fails     Of sweep and linear nothing is decided at the first look, of 6 seeds; that wider networks keep the pizza is, in
          12 of 12: from width 48 to 128 GS rises from 0.93 to 0.99 at rate 0.5 and from 0.76 to 0.97 at 0.6. Of five
          seeds all four networks have a circularity of at least 0.95, and of those GS rises too; of one 0.99. At width 64
          circularity stays below 0.99 in 20 of 48 runs, which then do not count, and so five claims of seeds have gaps.
          Where it does not, GS is 0.993 up to a rate of 0.4 and 0.26 to 0.44 from 0.9 on, below the authors' 0.46; it
          falls 0.1 sooner in the rate than at width 128, and DI rises by 0.37 to 0.61. Without attention a pizza explains
          22.5 to 22.9 points more than a clock, theirs 23. Of linear models β five of six are pizzas (0.93 to 0.99) and
          one has no clear circle; in δ a clock explains 0.70 to 0.95 of the clearest one, by 17 to 21 points more than a
          pizza.
Changed   The authors' numbers are of runs with a circularity of at least 0.99; ours were compared without that choice,
          and so was the figure. With all runs Spearman's correlation of GS and DI over 21 runs of development seeds was
          −0.11, with the filter −0.98. Linear models were asked whether a pizza explains more than a clock, also where
          neither explains anything; now one of them has to explain 90 %. That α and β have a GS of 1, as they add their
          embeddings first, is algebra and a test. Until this the transformers had 2,000 steps, the linear models p = 31,
          width 64 and 4,000 steps, and δ embeddings of its whole width, where the released δ has half of it. The narrow
          one of part width was chosen on seeds 0 to 2: at 32 four of six networks do not solve the task, at 48 all do.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from jax import Array
from scipy import stats

from toylab.analysis.modular import circuits as circuits
from toylab.analysis.modular.measures import most_varying
from toylab.base import Config, Params, Run
from toylab.claims import Claim, Direction, Median, Number, Source, scaled
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Measures, Part
from toylab.models import Net, PizzaLinear, PizzaTransformer
from toylab.optim import AdamW
from toylab.plots import circles, periodic
from toylab.plots import rates as plots
from toylab.sweep import log_then_linear
from toylab.sweep.grids import grid
from toylab.tasks import ModularPairs

SOLVED = 0.99  # accuracy over all pairs from which a circuit is spoken of, as in circuit_report; ours
LOW, HIGH = 0.4, 0.9  # attention rates up to which, and from which on, the paper's networks are of one kind
FALLEN = 0.95  # GS below which the pizza is given up
CIRCULAR = 0.99  # circularity of the embedding from which the authors' numbers count a run
EXPLAINS = 0.9  # FVE from which a circle is said to be a clock or a pizza; the authors' have 0.92 to 0.98
FRESH = range(100, 106)  # of scale cpu: the first look; the second is at SEEDS
SEEDS = range(100, 120)
LOOKS = (6, 20)  # seeds
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
RATES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0)
NARROW: dict[str, Any] = {"p": 59, "d_model": 64}
STEPS = 20_000
WIDTHS, BETWEEN = (128, 48), (0.5, 0.6)  # of part width, and attention rates where the pizza is given up
BY_WIDTH = range(200, 212)  # seeds of it


def transformer(p: int = 59, d_model: int = 128) -> Config:
    net = Net.of(PizzaTransformer, d_vocab=p, d_vocab_out=p, n_ctx=2, d_model=d_model, n_heads=4, d_mlp=4 * d_model)
    return Config(ModularPairs(p=p, n_train=int(0.8 * p * p)), net, AdamW(weight_decay=2.0))


def linear(kind: str, p: int = 59, width: int = 256) -> Config:
    """A linear model as released: embeddings of delta, which joins two, are half as wide."""
    d_model = width // 2 if kind == "delta" else width
    net = Net.of(PizzaLinear, d_vocab=p, d_vocab_out=p, d_model=d_model, d_mlp=width, kind=kind)
    return Config(ModularPairs(p=p, n_train=int(0.8 * p * p)), net, AdamW(weight_decay=2.0, b2=0.999, warmup=0))


def over_rates(base: Config, rates: Sequence[float], seeds: range) -> list[Config]:
    return grid(base, {"net.attention_rate": [float(rate) for rate in rates], "seed": seeds})


def kinds(seeds: range, **sizes: int) -> list[Config]:
    return [one for kind in ("alpha", "beta", "delta") for one in grid(linear(kind, **sizes), {"seed": seeds})]


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


def clearest(m: Measures, which: str) -> np.ndarray:
    """FVE of "clock" or "pizza" for the circle of which either explains most."""
    best = np.maximum(m.last("circles/clock"), m.last("circles/pizza")).argmax(axis=1)[:, None]
    return np.take_along_axis(m.last(f"circles/{which}"), best, axis=1)[:, 0]


def lead(m: Measures) -> np.ndarray:
    """By how much, in percentage points, a pizza explains more than a clock of the clearest circle."""
    return 100 * (clearest(m, "pizza") - clearest(m, "clock"))


def counts(m: Measures, least: float = CIRCULAR) -> np.ndarray:
    """bool [R]: runs that solve the task and have a circular embedding, as those of the authors' numbers."""
    return solves(m) & (m.last("roundness/circularity") >= least)


def by_seed(m: Measures, quantity: Callable[[Measures], float], least: float = CIRCULAR) -> np.ndarray:
    """[S], of each seed's runs that count. Seeds are independent; the runs of one share its split and its start."""
    seeds = np.unique(m["config/seed"])
    return np.array([quantity(m.runs(counts(m, least) & (m["config/seed"] == seed))) for seed in seeds])


def between(m: Measures, value: Callable[[Measures], np.ndarray], low: float = 0, high: float = 1) -> float:
    """Median of a value [R] over runs at attention rates in a range; nan where there are none."""
    chosen = value(m)[(rate(m) >= low) & (rate(m) <= high)]
    return float(np.median(chosen)) if chosen.size else np.nan


def transition(m: Measures) -> float:
    """The attention rate at which GS first falls below 0.95, on straight lines between runs; nan where it never does."""
    order = np.argsort(rate(m))
    xs, ys = rate(m)[order], symmetricity(m)[order]
    below = np.flatnonzero(ys < FALLEN)
    if not below.size or not below[0]:
        return np.nan
    at = below[0]
    return float(np.interp(-FALLEN, -ys[at - 1 : at + 1], xs[at - 1 : at + 1]))


def opposed(m: Measures) -> float:
    """Minus Spearman's correlation of GS and DI; nan for fewer than three runs."""
    if len(m.valid) < 3:
        return np.nan
    return -float(stats.spearmanr(symmetricity(m), irrelevance(m)).statistic)


def rise(m: Measures) -> float:
    """Mean DI at rates of at least 0.9 less that up to 0.4."""
    low, high = irrelevance(m)[rate(m) <= LOW], irrelevance(m)[rate(m) >= HIGH]
    return float(high.mean() - low.mean()) if low.size and high.size else np.nan


ZHONG, TABLE = "Zhong et al. 2023", "table of runs, 684 of one layer and circularity ≥ 0.99"
HALF_AS_WIDE = scaled("width 64, not 128")


def of_table(name: str, says: str, n: int, quantity: Callable[..., np.ndarray], kind: Kind, **more: Any) -> Claim:
    """A claim on the runs with a circular embedding; variants count others too. Margins are standard deviations of the
    authors' runs, errors those of their medians."""
    others = {"circularity ≥ 0.95": 0.95, "all that solve the task": 0.0}
    return Claim(name, Source(ZHONG, TABLE, says, n), quantity, kind, fidelity=HALF_AS_WIDE, each="seed", looks=LOOKS,
                 variants={told: partial(quantity, least=least) for told, least in others.items()}, **more)  # fmt: skip


def at_rates(value: Callable[[Measures], np.ndarray], low: float = 0, high: float = 1) -> Callable[..., np.ndarray]:
    return partial(by_seed, quantity=partial(between, value=value, low=low, high=high))


SWEEP_CLAIMS = [
    of_table("attention rate ≤ 0.4, 20,000 steps: gradient symmetricity", "0.9926 ± 0.0016", 277,
             at_rates(symmetricity, high=LOW), Median(0.9927, 0.0016, error=0.0001)),
    of_table("attention rate ≥ 0.9, 20,000 steps: gradient symmetricity", "0.46 ± 0.11", 86,
             at_rates(symmetricity, low=HIGH), Median(0.469, 0.11, error=0.015)),
    of_table("20,000 steps: attention rate at which gradient symmetricity falls below 0.95",
             "0.543, by the median of 51 runs", 684, partial(by_seed, quantity=transition), Median(0.543, 0.06)),
    of_table("20,000 steps: gradient symmetricity falls as distance irrelevance rises, −ρ of Spearman", "ρ = −0.80", 684,
             partial(by_seed, quantity=opposed), Direction(amount=0.8, margin=0.2)),
    of_table("20,000 steps: distance irrelevance (largest incorrect logit) at rates ≥ 0.9 less that at ≤ 0.4",
             "0.82 − 0.33", 684, partial(by_seed, quantity=rise), Direction(amount=0.49, margin=0.19)),
    Claim("no attention, 20,000 steps: pizza less clock FVE of the clearest circle",
          Source(ZHONG, "model A, released network p99zdpze5l", "98.4 − 75.4", 1), at_rates(lead, high=0.0),
          Number(23.0, 20, null=0), unit="percentage points", each="seed", looks=LOOKS, fidelity=HALF_AS_WIDE),
]  # fmt: skip


def of_kind(m: Measures, value: Callable[[Measures], np.ndarray], kind: str) -> np.ndarray:
    """Value [R] of the models of a kind that solve the task; one nan where there are none."""
    chosen = value(m)[solves(m) & (m["config/net.kind"] == kind)]
    return chosen if chosen.size else np.full(1, np.nan)


def clear_lead(m: Measures) -> np.ndarray:
    """`lead`; nan where neither explains EXPLAINS of the clearest circle."""
    best = np.maximum(clearest(m, "clock"), clearest(m, "pizza"))
    return np.where(best >= EXPLAINS, lead(m), np.nan)


MODEL_B, MODEL_D = "model β, released network p71frej8t7", "released network 7r4zst7evs of type D, model δ's kind"


def of_model(name: str, model: str, says: str, quantity: Quantity, kind: Kind, **more: Any) -> Claim:
    """A claim on a linear model in the paper's own set-up. The released network's number is read as ours are: of the circle
    of which a clock or a pizza explains most."""
    return Claim(name, Source(ZHONG, model, says, 1), quantity, kind, looks=LOOKS, **more)


LINEAR_CLAIMS = [
    of_model("β at p = 59: pizza FVE of the clearest circle", MODEL_B, "98.5 %", partial(of_kind, kind="beta",
             value=partial(clearest, which="pizza")), Number(0.985, 0.2), event="linear β"),
    of_model("β at p = 59: pizza less clock FVE, of a circle with 90 % of either", MODEL_B, "98.5 − 75.2",
             partial(of_kind, kind="beta", value=clear_lead), Number(23.3, 20, null=0), unit="percentage points",
             event="linear β"),
    of_model("δ at p = 59: gradient symmetricity", MODEL_D, "−0.003", partial(of_kind, kind="delta",
             value=symmetricity), Number(-0.0027, 0.2)),
    of_model("δ at p = 59: clock FVE of the clearest circle", MODEL_D, "94.2 %", partial(of_kind,
             kind="delta", value=partial(clearest, which="clock")), Number(0.942, 0.2), event="linear δ"),
    of_model("δ at p = 59: clock less pizza FVE, of a circle with 90 % of either", MODEL_D,
             "94.2 − 73.7", partial(of_kind, kind="delta", value=lambda m: -clear_lead(m)), Number(20.5, 20, null=0),
             unit="percentage points", event="linear δ"),
]  # fmt: skip


def wider(m: Measures, at: float | None = None, least: float = 0.0) -> np.ndarray:
    """[S], of each seed: GS of the widest network less that of the narrowest, a mean over attention rates or at one; nan
    where one of its networks does not count."""
    chosen = np.ones(len(m.valid), bool) if at is None else rate(m) == at
    width, seed = m["config/net.d_model"], m["config/seed"]
    values = np.where(counts(m, least), symmetricity(m), np.nan)

    def mean(of: int, size: int) -> float:
        own = values[chosen & (seed == of) & (width == size)]
        return float(own.mean()) if own.size else np.nan

    return np.array([mean(one, width.max()) - mean(one, width.min()) for one in np.unique(seed)])


WIDTH_CLAIMS = [
    Claim("attention rates 0.5 and 0.6: gradient symmetricity at width 128 less that at width 48",
          Source(ZHONG, "table of runs of varied width", "wider networks keep the pizza up to larger attention rates: mean "
                 "symmetricity for rates of 0.4 to 0.7 rises with the width", 608),
          wider, Direction(), each="seed", looks=(12, 20),
          fidelity=scaled("two widths of 32 to 512, 10,000 of 20,000 steps, all networks that solve the task"),
          variants={"rate 0.5": partial(wider, at=0.5), "rate 0.6": partial(wider, at=0.6),
                    "circularity ≥ 0.95": partial(wider, least=0.95)}),
]  # fmt: skip


# --- figures


def over_rate(m: Measures) -> Any:
    shown = [
        plots.OverRate("gradient symmetricity", symmetricity(m), TABLE_GS, (0, 1.04)),
        plots.OverRate("distance irrelevance\n(largest incorrect logit)", irrelevance(m), TABLE_DI, (0, 1.04)),
        plots.OverRate("pizza less clock FVE\n(percentage points)", lead(m), {}, (-45, 45), {"clock below": 0.0}),
    ]
    theirs = "the authors' runs of circularity ≥ 0.99, p = 59, width 128 (means of bins)"
    return plots.over_rate(rate(m), solves(m), shown, theirs, counts(m), f"circularity below {CIRCULAR}")


def over_width(m: Measures) -> Any:
    values = {
        "gradient symmetricity": symmetricity(m),
        "distance irrelevance\n(largest incorrect logit)": irrelevance(m),
    }
    return plots.over_width(m["config/net.d_model"], rate(m), m["config/seed"], solves(m), values)


def forming(m: Measures) -> Any:
    shown = {
        "gradient symmetricity": m["symmetry/gradient_symmetricity"],
        "distance irrelevance\n(largest incorrect logit)": m["distance/incorrect"],
        "circularity": m["roundness/circularity"],
    }
    return plots.over_training(m.steps, rate(m), shown)


def linear_kinds(m: Measures) -> Any:
    letters = {"alpha": "α", "beta": "β", "delta": "δ"}
    shown = {
        "gradient symmetricity": {"": symmetricity(m)},
        "distance irrelevance": {"": irrelevance(m, "correct")},
        "FVE, clearest circle": {name: clearest(m, name) for name in ("clock", "pizza")},
    }
    of = [letters[kind] for kind in m["config/net.kind"]]
    return plots.kinds(of, shown, solves(m), {"FVE, clearest circle": ("below: no circle", EXPLAINS)})


# --- two networks in pictures: the first without attention, the last with all of it

STILLS = (0, 500, 1000, 2000, 4000, 20_000)


def embedding(params: Params, run: Run) -> dict[str, Array]:
    return {"W_E": params["W_E"]}


def over_pairs(params: Params, run: Run) -> dict[str, Array]:
    """[p, p] over all pairs: what varies most of the attention to a and of the neurons, and one logit."""
    logits, cache = run.config.net.apply(params, run.data["tokens"])
    attention = cache["pattern"][-1, :, :, -1, 0]  # [pairs, heads], from the last position to the first
    neurons = cache["mlp_post"][-1, :, -1]  # [pairs, d_mlp]
    found = {"attention": attention, "neuron": neurons, "logit": logits.reshape(len(attention), -1)[:, :1]}
    return {name: most_varying(values) for name, values in found.items()}


def ring(m: Measures, run: int) -> Any:
    return circles.through_training(m["embedding/W_E"][run], m.steps)


def pairs(m: Measures, run: int) -> Any:
    titles = {"attention": "attention to a", "neuron": "a neuron", "logit": "logit of class 0"}
    shown = {title: m[f"final/pairs/{name}"][run] for name, title in titles.items()}
    shown = {title: own for title, own in shown.items() if np.ptp(own) > 0}  # without attention all patterns are 1
    return periodic.over_pairs(shown, f"attention rate {rate(m)[run]:g}")


TINY = {"p": 7, "d_model": 8}
SHORT = (0, 20, 40)
TWO = over_rates(transformer(), (0.0, 1.0), range(1))
PARTS = {
    "sweep": Part(
        configs={
            "smoke": over_rates(transformer(**TINY), (0, 1), range(1)),
            "cpu": over_rates(transformer(**NARROW), RATES, FRESH),
            "paper": over_rates(transformer(), [round(i / 9, 3) for i in range(10)], SEEDS),
        },
        saves={"smoke": SHORT, "cpu": log_then_linear(10, STEPS, 20), "paper": log_then_linear(10, STEPS, 40)},
        claims=SWEEP_CLAIMS,
        figures={"over_rate": over_rate, "forming": forming},
        milestone=("solve it", lambda measures: measures["test_accuracy"][..., -1] >= SOLVED),
        probes=PROBES,
        keep=(),
    ),
    "linear": Part(
        configs={
            "smoke": kinds(range(1), p=7, width=8)[:2],
            "cpu": kinds(FRESH),
            "paper": kinds(SEEDS),
        },
        saves={"smoke": SHORT, "cpu": log_then_linear(10, STEPS, 20), "paper": log_then_linear(10, STEPS, 40)},
        claims=LINEAR_CLAIMS,
        figures={"linear_kinds": linear_kinds},
        milestone=("solve it", lambda measures: measures["test_accuracy"][..., -1] >= SOLVED),
        probes=PROBES,
        keep=(),
    ),
    "width": Part(
        configs={
            "smoke": [one for size in (12, 8) for one in over_rates(transformer(p=7, d_model=size), BETWEEN, range(1))],
            "cpu": [one for size in WIDTHS for one in over_rates(transformer(d_model=size), BETWEEN, BY_WIDTH)],
            "paper": [
                one for size in WIDTHS for one in over_rates(transformer(d_model=size), BETWEEN, range(200, 220))
            ],
        },
        saves={
            "smoke": SHORT,
            "cpu": log_then_linear(10, STEPS // 2, 20),
            "paper": log_then_linear(10, STEPS, 40),
        },
        claims=WIDTH_CLAIMS,
        figures={"over_width": over_width},
        milestone=("solve it", lambda measures: measures["test_accuracy"][..., -1] >= SOLVED),
        probes={name: PROBES[name] for name in ("symmetry", "distance", "roundness")},
        keep=(),
        omit=("distance/correct",),
    ),
    "pictures": Part(
        configs={"smoke": over_rates(transformer(**TINY), (0.0, 1.0), range(1)), "cpu": TWO, "paper": TWO},
        saves={"smoke": SHORT, "cpu": STILLS, "paper": STILLS},
        analyses={"embedding": embedding},
        final={"pairs": over_pairs},
        figures={
            "ring_pizza": partial(ring, run=0),
            "ring_clock": partial(ring, run=-1),
            "pairs_pizza": partial(pairs, run=0),
            "pairs_clock": partial(pairs, run=-1),
        },
    ),
}
