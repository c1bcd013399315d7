"""Superposition and scaling: why a loss falls as 1/m however the features are distributed, and when it does not.

Claim     With strong superposition (every feature has a row of length near 1) the loss is interference and falls as 1/m,
          whether feature probabilities are even or steep. With weak superposition only about m features are learned, and
          the loss is the mass of the others: a power law only if the probabilities are one.
Source    Liu et al. 2025, Superposition yields robust neural scaling, and its released code. p_i ∝ i^−(1+α) with Σp = 1,
          values in [0, 2], W ~ N(0, 1/m), b ~ N(0, 1), AdamW whose decay may be negative (a pull to unit rows) and spares
          the biases, warm-up over a tenth of the steps, then cosine to 5 %.
Expect    Exponent of the loss in m: −1 with strong superposition at both α; with weak superposition that of the mass of
          the features beyond the first m. All features represented for decay −1, at most m for +1. Mean squared overlap
          of the rows: 1/m for random directions, (n − m)/(m (n − 1)) at least: exponent −1 to −1.07 here. The paper's
          trend is stated in words; what stands for them was set before the first run.
Cost      cpu: n = 300, m = 6 … 48, 1,500 steps, 43 runs a width: 11 minutes of one core.
          paper: n = 1,000, m = 10 … 100, 20,000 steps, 20 to 30 minutes a run on a core; on an accelerator.
Command   python run_sweep.py superposition_scaling [--scale smoke|cpu|paper]
Fails     8 seeds; the set-up is scaled. Strong, α = 0: the loss has the exponent −.85 (−.92 to −.78) for −1 to −1.07.
          Strong, α = 1: it has −.81 (−.99 to −.62), the mean squared overlap −.82 (−.85 to −.79). Weak: loss over the
          mass beyond the first m features rises as m^.13 (.10 to .16) at α = 0, m^.19 (.08 to .29) at α = 1. There it is
          1.29 (1.21 to 1.40) of the mass of what is not represented: not decided. At α = 1 the exponent depends on the
          budget: −.9 after 1,500 steps, where the curve flattens at m = 48; −1.5 to −1.7 after 6,000 (48 dimensions hold
          most of the mass of α = 1); −1.9 from b = 0. At lr 3e-3 nothing is learned in 1,500 steps. So these claims need
          the paper's n and steps. Weak: few features are represented (6 to 11 at α = 1, m = 48), not the first m. Those
          of a bias far below 0 at the start are never on, frequent ones among them, and decay takes their rows
          (conjecture; from b = 0 the exponents at α = 1 are 1.0 to 1.2).
Changed   Until this page was judged by rules, each of three seeds had to have an exponent within .25 of 1, or of the
          mass. Exponents are now fitted over widths and seeds, with intervals, and the mass is also that of the features
          a run does not represent, as the paper has it. Seeds 100 to 107 saw the same batches; those from 2000 on have
          their own, and no verdict changed.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from toylab.analysis import over_cells, overlap
from toylab.base import Config
from toylab.claims import Claim, Direction, Law, Median, Source, Within, scaled
from toylab.lab import Measures
from toylab.models import Net, ToyModel
from toylab.optim import SignedDecayAdamW
from toylab.plots import scaling
from toylab.tasks import SparseFeatures

HIGH = 2.0  # values are uniform in [0, HIGH]
STRONG, WEAK = -1.0, 1.0  # weight decay of the two regimes
ALPHAS = 0.0, 1.0  # of which the claims speak


def probabilities(n: int, alpha: float) -> np.ndarray:
    """p_i ∝ i^−(1+α), Σp = 1: [n]."""
    p = np.arange(1.0, n + 1) ** -(1 + alpha)
    return (p / p.sum()).astype(np.float32)


def liu(n: int, m: int, alpha: float, decay: float, seed: int, steps: int, batch: int) -> Config:
    task = SparseFeatures(n_features=n, batch=batch, density=probabilities(n, alpha), high=HIGH, n_eval=16 * batch)
    net = Net.of(ToyModel, n_features=n, n_hidden=m, init_std=m**-0.5, bias_std=1.0)
    rate = {"warmup": steps // 10, "schedule": "cosine", "steps": steps, "floor": 0.05}
    return Config(
        task=task, net=net, optimizer=SignedDecayAdamW(lr=1e-2, weight_decay=decay, **rate), seed=seed, data_seed=seed
    )


def sweep(
    widths: Sequence[int], alphas: Sequence[float], decays: Sequence[float], seeds: Sequence[int], **sizes: int
) -> list[Config]:
    """The map of (α, decay) with the first seed; its corners, of which the claims speak, with all seeds."""
    cells = [(alpha, decay, seeds[0]) for alpha in alphas for decay in decays]
    corners = [(alpha, decay, seed) for alpha in ALPHAS for decay in (STRONG, WEAK) for seed in seeds[1:]]
    return [
        liu(m=m, alpha=alpha, decay=decay, seed=seed, **sizes)
        for m in widths
        for alpha, decay, seed in [*cells, *corners]
    ]


CONFIGS = {
    "smoke": sweep((2, 4), (0.0, 1.0), (STRONG, WEAK), range(2), n=12, steps=20, batch=16),
    "cpu": sweep(
        (6, 12, 24, 48), (0.0, 0.5, 1.0), (-1.0, -0.5, 0.0, 0.5, 1.0), range(2000, 2008), n=300, steps=1500, batch=512
    ),
    "paper": sweep(
        np.geomspace(10, 100, 6).round().astype(int).tolist(),
        (0.0, 0.25, 0.5, 0.75, 1.0),
        np.linspace(-1, 1, 10).tolist(),
        range(2000, 2008),
        n=1000,
        steps=20_000,
        batch=2048,
    ),
}
SAVES = {"smoke": (0, 20), "cpu": (0, 1500), "paper": (0, 10_000, 20_000)}
STOP = {"smoke": None, "cpu": None, "paper": None}
MILESTONE = ("trained", lambda measures: np.isfinite(measures["loss"][..., -1]))
PROBES: dict = {}
FINAL = {"overlap": overlap.overlaps}
ANALYSES: dict = {}


def alphas(m: Measures) -> np.ndarray:
    """[R]: α of each run, read off its two most frequent features."""
    p = m["config/task.density"]
    return np.round(np.log2(p[:, 0] / p[:, 1]) - 1, 4) + 0.0  # no −0


def widths(m: Measures) -> np.ndarray:
    return np.unique(m["config/net.n_hidden"])


def by_width(m: Measures, values: np.ndarray, alpha: float, decay: float) -> np.ndarray:
    """[S, M]: values [R] of the runs of one α and decay, by seed and width."""
    chosen = np.isclose(alphas(m), alpha, atol=1e-3) & np.isclose(m["config/optimizer.weight_decay"], decay, atol=1e-6)
    own = m.runs(chosen)
    return values[chosen][over_cells.table(own["config/seed"], own["config/net.n_hidden"])]


def loss(m: Measures) -> np.ndarray:
    """[R]: Σ_i (x'_i − x_i)² at the end, the paper's sum over features."""
    return m.last("loss") * m["config/task.density"].shape[1]


def variances(p: np.ndarray) -> np.ndarray:
    """Var x_i for x_i uniform in [0, HIGH] with probability p_i, else 0: the least loss of a feature not learned."""
    return p * HIGH**2 / 3 - (p * HIGH / 2) ** 2


def unlearned(m: Measures, alpha: float) -> np.ndarray:
    """[M]: the loss of models that learn just the m most frequent features and give of the others only the mean."""
    n = m["config/task.density"].shape[1]
    return np.array([variances(probabilities(n, alpha).astype(float))[w:].sum() for w in widths(m)])


def left_out(m: Measures) -> np.ndarray:
    """[R]: the loss of models without error but for the features that this run does not represent."""
    return (variances(m["config/task.density"]) * (m["final/overlap/norms"] <= overlap.REPRESENTED)).sum(axis=1)


def slope(m: Measures, values: np.ndarray) -> np.ndarray:
    """[...]: −d log value / d log m by least squares, of values [..., M]."""
    x = np.log(widths(m))
    x = x - x.mean()
    return -(np.log(values) * x).sum(axis=-1) / (x**2).sum()


def exponent(m: Measures, alpha: float, decay: float) -> np.ndarray:
    """[S]: the fitted exponent of the loss."""
    return slope(m, by_width(m, loss(m), alpha, decay))


def weaker(m: Measures, alpha: float = 0.0) -> np.ndarray:
    """[S]: by how much the exponent of weak superposition falls short of that of strong."""
    return exponent(m, alpha, STRONG) - exponent(m, alpha, WEAK)


def rows(m: Measures, values: np.ndarray) -> np.ndarray:
    """[S M, 2]: the width and the value, of values [S, M]."""
    return np.stack([np.broadcast_to(widths(m), values.shape).ravel(), values.ravel()], axis=1)


def law(m: Measures, alpha: float, decay: float) -> np.ndarray:
    """Rows of width and loss."""
    return rows(m, by_width(m, loss(m), alpha, decay))


def law_of_overlap(m: Measures, alpha: float) -> np.ndarray:
    return rows(m, by_width(m, m["final/overlap/mean_squared_overlap"], alpha, STRONG))


def over_mass(m: Measures, alpha: float) -> np.ndarray:
    """Rows of width and weak superposition's loss over the mass beyond the first m features."""
    return rows(m, by_width(m, loss(m), alpha, WEAK) / unlearned(m, alpha))


def over_left_out(m: Measures, alpha: float) -> np.ndarray:
    """[S]: weak superposition's loss over the mass of the features not represented, geometric mean over widths."""
    ratio = by_width(m, loss(m), alpha, WEAK) / by_width(m, left_out(m), alpha, WEAK)
    return np.exp(np.log(ratio).mean(axis=1))


def least_share(m: Measures, alpha: float) -> np.ndarray:
    """[S]: of features represented, at the width where strong superposition has fewest."""
    return by_width(m, m["final/overlap/share"], alpha, STRONG).min(axis=1)


def most_of_m(m: Measures, alpha: float) -> np.ndarray:
    """[S]: features represented over m, at the width where weak superposition has most."""
    held = m["final/overlap/share"] * m["config/net.n_features"] / m["config/net.n_hidden"]
    return by_width(m, held, alpha, WEAK).max(axis=1)


PAPER = "Liu et al. 2025"
SMALL = scaled("n = 300, m = 6 to 48, 1,500 steps; not n = 1,000, m = 10 to 100, 20,000 steps")
NEEDS = "The budget sets its exponent here."
OVER_M = Law((-1.07, -1.0), widest=0.2)  # of random directions and, at n = 300, of tight frames


def of_both(name: str, says: str, quantity: Any, kind: Any, needs: str = "", **more: Any) -> list[Claim]:
    """A claim at α = 0 and at α = 1, which may need another set-up."""
    return [
        Claim(
            name.format(alpha=f"{alpha:g}"),
            Source(PAPER, "toy model", says),
            partial(quantity, alpha=alpha),
            kind,
            fidelity=SMALL,
            needs=needs if alpha else "",
            looks=(8, 20),
            **more,
        )
        for alpha in ALPHAS
    ]


CLAIMS = [
    *of_both("strong, α = {alpha}: exponent of the loss in m", "the loss is inversely proportional to m",
             partial(law, decay=STRONG), OVER_M, NEEDS),
    *of_both("strong, α = {alpha}: exponent of the mean squared overlap", "squared overlaps scale as 1/m",
             law_of_overlap, OVER_M),
    *of_both("strong, α = {alpha}: least share of features represented", "all features are represented",
             least_share, Within(low=0.9), each="seed"),
    *of_both("weak, α = {alpha}: exponent of the loss over the mass beyond the first m",
             "only the most frequent features are learned; a power law only if p is one", over_mass, Law((0.0, 0.0), 0.3),
             NEEDS),
    *of_both("weak, α = {alpha}: loss over the mass of the features not represented",
             "the loss is the mass of what is not represented", over_left_out, Median(1.0, 1.25, "log"), each="seed"),
    *of_both("weak, α = {alpha}: features represented over m", "without interference, so m at most",
             most_of_m, Within(high=1.0), each="seed"),
    Claim("α = 0: exponent of strong less that of weak superposition",
          Source(PAPER, "abstract", "weak: a power law only if the frequencies are one; strong: 1/m generically"), weaker,
          Direction(), fidelity=SMALL, each="seed", looks=(8, 20)),
]  # fmt: skip
REGIMES = {"strong": STRONG, "weak": WEAK}
BEYOND, NOT_HELD = "mass beyond the first m features", "mass of the features not represented"


def losses(m: Measures, alpha: float) -> scaling.Panel:
    """Strong superposition beside ∝ 1/m, weak beside the mass that it should leave out and that it does."""
    sizes, strong, weak = widths(m), by_width(m, loss(m), alpha, STRONG), by_width(m, loss(m), alpha, WEAK)
    through = np.exp(np.mean(np.log(np.median(strong, axis=0) * sizes))) / sizes
    not_held = np.median(by_width(m, left_out(m), alpha, WEAK), axis=0)
    lines = {
        f"strong, α = {alpha:g}": scaling.Line(strong, {"∝ 1/m": through}),
        f"weak, α = {alpha:g}": scaling.Line(weak, {BEYOND: unlearned(m, alpha), NOT_HELD: not_held}),
    }
    found = [np.median(exponent(m, alpha, decay)) for decay in REGIMES.values()]
    return scaling.Panel(
        f"α = {alpha:g}: loss ∝ $m^{{-{found[0]:.2f}}}$ strong, $m^{{-{found[1]:.2f}}}$ weak", "loss", lines
    )


def scaling_lines(m: Measures) -> object:
    share, overlaps = m["final/overlap/share"], m["final/overlap/mean_squared_overlap"] * m["config/net.n_hidden"]
    cells = [(name, decay, alpha) for alpha in ALPHAS for name, decay in REGIMES.items()]
    held = {f"{name}, α = {alpha:g}": scaling.Line(by_width(m, share, alpha, decay)) for name, decay, alpha in cells}
    of = {
        f"strong, α = {alpha:g}": scaling.Line(by_width(m, overlaps, alpha, STRONG), {"∝ 1/m": np.ones(len(widths(m)))})
        for alpha in ALPHAS
    }
    panels = [
        losses(m, 0.0),
        losses(m, 1.0),
        scaling.Panel("features of a norm above 0.5", "share represented", held, log=False),
        scaling.Panel("interference of their directions", "$m$ × mean squared overlap", of, log=False),
    ]
    return scaling.widths(widths(m), panels)


def exponents(m: Measures) -> object:
    decays, alpha = np.unique(m["config/optimizer.weight_decay"]), np.unique(alphas(m))
    share = m["final/overlap/share"]
    found = np.array([[exponent(m, a, decay).mean() for decay in decays] for a in alpha])
    held = np.array([[by_width(m, share, a, decay).mean() for decay in decays] for a in alpha])
    tables = [
        scaling.Map("exponent of the loss in $m$", found, 0, max(1.2, found.max())),
        scaling.Map("share of features represented", held, 0, 1),
    ]
    return scaling.maps(tables, decays, alpha, "weight decay", "α of $p_i ∝ i^{-(1+α)}$")


FIGURES = {"scaling_lines": scaling_lines, "exponents": exponents}
