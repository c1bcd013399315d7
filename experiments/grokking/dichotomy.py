"""Dichotomy: a large start fits as a kernel does; at t = (ln α + const)/λ weight decay turns it to a sparse predictor.

Claim     From a start of norm α a homogeneous network first fits as a kernel: a diagonal network comes to the largest L2
          margin. Weight decay λ shrinks what the data do not hold, as α exp(−λt). When that is of order 1, at λt = ln α
          + const, the network turns to the predictor of least norm: to the largest L1 margin. This is grokking where the
          late bias is right, and its opposite where the early one is. Factors of a matrix turn from least squares to
          the least nuclear norm. Networks that add modulo p come to the largest margin there is.
Source    Lyu, Jin, Li, Du, Lee & Hu 2023, Dichotomy of Early and Late Phase Implicit Biases (arXiv 2311.18817) and its
          released code: w = u² − v², u = v = α/√(2d), signs of 3 of 100,000 bits, logistic loss, L2 1e-3; x ~ N(0, I) ±
          (γ/2) w, γ = 25; U Uᵀ − V Vᵀ from U = V = αI, d = 97. Morwani et al. 2023 (2311.07568): the largest margin of
          modular addition. Here d = 2,000 with 128 examples, γ = 8, d = 20 with 80 entries, p = 23.
Expect    Slopes of λt in ln α from 100 to 1,000: 0.99 to 1.00. At α = 1,000 the L2 margin comes to 0.96 of the largest
          there is while 57 % of the test set are right; then the L1 margin to 0.89 (λ = 0.01) and 0.92 (0.001), and 100 %
          are. The early bound, 0.95, is undecided if read at ¼ ln α / λ with λ = 0.01: 0.952 (0.944 to 0.954) in 20 runs.
          Misgrokking: 99.8 to 79 %, training set right throughout. Nuclear norm 0.975 of the least that has the entries,
          which weight decay leaves short of their values. Margin of all pairs 0.9998 of γ*, 0.95 in one run.
Cost      cpu: 300 runs of 1,350 to 24,000 steps, 4 minutes of one busy core. paper: the same.
Command   python run_sweep.py dichotomy [--scale smoke|cpu|paper] [--part sparse|opposite|completion|modular]
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab import train
from toylab.analysis import analytic, completion, flow, margins, norms, transitions
from toylab.base import Apply, Config, Data, Params, Run
from toylab.claims import Claim, Direction, Identity, Median, Source, Within, analogue, scaled
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Measures, Part
from toylab.models import Dense, DiagonalNet, FactoredMatrix, Net
from toylab.optim import SGD, Adam, AdamW, Chain, Grow
from toylab.plots import stages, trends
from toylab.tasks import MatrixCompletion, ModularArithmetic, SeparatedLinear, SparseLinear

SEEDS = range(100, 120)  # none of them was trained before the claims were fixed
ALPHAS, DECAYS = (10.0, 30.0, 100.0, 300.0, 1000.0), (1e-2, 1e-3)
LARGE, FORMER = 1000.0, 100.0  # the start that is looked at, and the one before it for slopes
EARLY, LATE = 0.5, 1.5  # times (1 ∓ 1/2) ln α / λ

# --- diagonal networks


def diagonal(task: Any, alpha: float, decay: float, seed: int) -> Config:
    """Steps of time from 10/α², at which the start is stable, growing by 5 % a step to 0.01/λ."""
    first = 10 / alpha**2
    grow = Grow(rate=0.05, most=max(1.0, 0.01 / decay / first))
    net = Net.of(DiagonalNet, d_in=task.n_inputs, alpha=alpha)
    return Config(task, net, Chain(SGD(lr=first, weight_decay=decay), after=(grow,)), seed)


def sparse(seeds: Sequence[int], n_train: int = 128, n_test: int = 500, d: int = 2000) -> list[Config]:
    """All starts at the smaller decay, every other one at the larger."""
    task = SparseLinear(d=d, n_train=n_train, n_test=n_test)
    pairs = [(alpha, decay) for decay in DECAYS for alpha in (ALPHAS if decay == DECAYS[1] else ALPHAS[::2])]
    return [diagonal(task, alpha, decay, seed) for alpha, decay in pairs for seed in seeds]


def opposite(seeds: Sequence[int], n_train: int = 128, n_test: int = 500, d: int = 2000) -> list[Config]:
    task = SeparatedLinear(d=d, n_train=n_train, n_test=n_test, gap=8.0)
    return [diagonal(task, alpha, DECAYS[1], seed) for alpha in (FORMER, LARGE) for seed in seeds]


def predictor(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: L1 and L2 margins of the training set, and the norm of all weights."""
    w = params["u"] ** 2 - params["v"] ** 2
    found = {f"l{k}": margins.linear_margin(run.data["x"], run.data["y"], w, k) for k in (1, 2)}
    return {**found, "norm": norms.weight_norms(params)["total"]}


def time(m: Measures) -> np.ndarray:
    """[R, T]: λt, by the learning rates that a run has behind it."""
    column = "config/optimizer."
    steps = [m[f"{column}base.lr"], m[f"{column}after.0.rate"], m[f"{column}after.0.most"]]
    return m[f"{column}base.weight_decay"][:, None] * flow.elapsed(m.steps, *(np.asarray(x, float) for x in steps))


def start(m: Measures) -> np.ndarray:
    """[R]: ln α."""
    return np.log(m["config/net.alpha"].astype(float))


def of(m: Measures, alpha: float, decay: float | None = None) -> Measures:
    """The runs of one start, and one decay."""
    chosen = np.isclose(m["config/net.alpha"], alpha, rtol=1e-3)
    if decay is not None:
        chosen &= np.isclose(m["config/optimizer.base.weight_decay"], decay, rtol=1e-3)
    return m.runs(chosen)


def at(m: Measures, values: np.ndarray, share: float) -> np.ndarray:
    """[R]: values [R, T] at the time share · ln α / λ."""
    when = share * start(m)
    return np.array([np.interp(x, t, own) for x, t, own in zip(when, time(m), values, strict=True)])


def crosses(m: Measures, values: np.ndarray, level: np.ndarray) -> np.ndarray:
    """[R]: λt at which values [R, T] first lie below a level [R]; nan where they never do."""
    known = np.where(m.valid, values - level[:, None], np.nan)
    steps = transitions.first_below(m.steps, known, 0.0)
    return np.array([np.interp(x, m.steps, t) for x, t in zip(steps, time(m), strict=True)])


def rise(m: Measures, share: float = 0.5) -> np.ndarray:
    """[R]: λt at which the test accuracy has come this far from chance to its end."""
    return crosses(m, -m["test_accuracy"], -(0.5 + share * (m.last("test_accuracy") - 0.5)))


def slope(m: Measures, decay: float, share: float = 0.5) -> np.ndarray:
    """[seeds]: of λt of the rise in ln α."""
    large, former = of(m, LARGE, decay), of(m, FORMER, decay)
    return (rise(large, share) - rise(former, share)) / (start(large) - start(former))


@lru_cache(maxsize=256)
def largest(task: SparseLinear | SeparatedLinear, seed: int, order: margins.Order) -> float:
    """The largest margin that a linear predictor has of the training set of a seed."""
    data = train.data(diagonal(task, 1.0, 1.0, seed))
    return margins.best_margin(np.asarray(data["x"]), np.asarray(data["y"]), order)[0]


def share(m: Measures, order: margins.Order) -> np.ndarray:
    """[R, T]: the margin over the largest there is."""
    sizes = [
        {name: int(m[f"config/task.{name}"][i]) for name in ("n_train", "n_test", "d")} for i in range(len(m.valid))
    ]
    if "config/task.gap" in m:
        tasks: list[Any] = [
            SeparatedLinear(**n, gap=float(g)) for n, g in zip(sizes, m["config/task.gap"], strict=True)
        ]
    else:
        tasks = [SparseLinear(**n, s=int(s)) for n, s in zip(sizes, m["config/task.s"], strict=True)]
    best = [largest(task, int(seed), order) for task, seed in zip(tasks, m["config/seed"], strict=True)]
    return m[f"predictor/l{order}"] / np.array(best)[:, None]


def kernel_margin(m: Measures, alpha: float = LARGE, decay: float | None = None) -> np.ndarray:
    """[R]: the largest share of the L2 margin until half of the rise."""
    m = of(m, alpha, decay)
    until = time(m) <= rise(m)[:, None]
    return np.where(until, share(m, 2), -np.inf).max(axis=1)


def share_at(m: Measures, order: margins.Order, when: float, decay: float | None = None) -> np.ndarray:
    m = of(m, LARGE, decay)
    return at(m, share(m, order), when)


def accuracy_at(m: Measures, when: float, of_set: str = "test", decay: float | None = None) -> np.ndarray:
    m = of(m, LARGE, decay)
    return at(m, m[f"{of_set}_accuracy"], when)


def nearer(m: Measures, decay: float) -> np.ndarray:
    """[seeds]: the least gain of the early share of the L2 margin from a start to one ten times as large."""
    shares = [kernel_margin(m, alpha, decay) for alpha in ALPHAS[::2]]
    return np.min(np.diff(shares, axis=0), axis=0)


def sharper(m: Measures, decay: float, end: float = 0.9) -> np.ndarray:
    """[seeds]: from half of the rise to this share of it, over its time, of the smaller start over the larger."""
    widths = [(rise(own, end) - rise(own)) / rise(own) for own in (of(m, FORMER, decay), of(m, LARGE, decay))]
    return widths[0] / widths[1]


def turns(m: Measures, order: margins.Order, sign: int, decay: float | None = None) -> np.ndarray:
    """[seeds]: by how much the share of a margin grows (1) or falls (−1) from early to late."""
    return sign * (share_at(m, order, LATE, decay) - share_at(m, order, EARLY, decay))


def falls(m: Measures, late: float = LATE) -> np.ndarray:
    return accuracy_at(m, EARLY) - accuracy_at(m, late)


def still_right(m: Measures) -> np.ndarray:
    """[R]: the least train accuracy from the early time on."""
    m = of(m, LARGE)
    later = time(m) >= EARLY * start(m)[:, None]
    return np.where(later, m["train_accuracy"], 1).min(axis=1)


# --- claims of diagonal networks

LYU, MORWANI = "Lyu et al. 2023", "Morwani et al. 2023"
SMALLER = scaled("d = 2,000, not 100,000, 128 examples; steps of time that grow")
OTHER_SHARES = (0.6, 0.75)


def stated(where: str, says: str, name: str, quantity: Quantity, kind: Kind, **more: Any) -> Claim:
    given: dict[str, Any] = {"fidelity": SMALLER, "each": "seed", "looks": (8, 20), **more}
    return Claim(name, Source(LYU, where, says), quantity, kind, **given)


def claims_at(decay: float) -> list[Claim]:
    when, now = f"λ = {decay:g}", dict[str, Any](decay=decay)
    return [
        stated("diagonal networks", "the transition is at ln α / λ", f"{when}: slope of λt of the rise in ln α",
               partial(slope, **now), Median(1, 0.03),
               variants={f"{part:.0%} of the rise": partial(slope, **now, share=part) for part in OTHER_SHARES}),
        stated("diagonal networks", "sharp", f"{when}: width of the rise over its time, α = 100 over α = 1,000",
               partial(sharper, **now), Direction(null=1), variants={"to 80 %": partial(sharper, **now, end=0.8)}),
        stated("early phase", "fits", f"{when}, α = 1,000: train accuracy at ½ ln α / λ",
               partial(accuracy_at, when=EARLY, of_set="train", **now), Identity(1)),
        stated("early phase", "does not generalise", f"{when}, α = 1,000: test accuracy at ½ ln α / λ",
               partial(accuracy_at, when=EARLY, **now), Within(high=2 / 3)),
        stated("late phase", "generalises", f"{when}, α = 1,000: test accuracy at 1½ ln α / λ",
               partial(accuracy_at, when=LATE, **now), Within(low=0.95)),
        stated("early phase", "the L2 margin", f"{when}, α = 1,000: L2 margin over the largest, most until the rise",
               partial(kernel_margin, **now), Within(low=0.95),
               variants={"at ¼ ln α / λ": partial(share_at, order=2, when=0.25, **now)}),
        stated("early phase", "the L2 margin as α → ∞", f"{when}: gain of that from α to 10 α, the least of two",
               partial(nearer, **now), Direction()),
        stated("late phase", "the L1 margin", f"{when}, α = 1,000: L1 margin over the largest there is at 1½ ln α / λ",
               partial(share_at, order=1, when=LATE, **now), Within(low=0.8),
               variants={"at 1¼ ln α / λ": partial(share_at, order=1, when=1.25, **now)}),
        stated("late phase", "leaves the kernel", f"{when}, α = 1,000: fall of the share of the L2 margin, early to late",
               partial(turns, order=2, sign=-1, **now), Direction()),
    ]  # fmt: skip


def less_decay(m: Measures) -> np.ndarray:
    return share_at(m, 1, LATE, DECAYS[1]) - share_at(m, 1, LATE, DECAYS[0])


SPARSE = [
    *(claim for decay in DECAYS for claim in claims_at(decay)),
    Claim("α = 1,000: late share of the L1 margin at λ = 0.001 less that at 0.01", None, less_decay, Direction(), "finding",
          each="seed", looks=(8, 20)),
]  # fmt: skip
MISGROKKING = {"fidelity": scaled("d = 2,000, γ = 8 and 128 examples, not γ = 25; steps of time that grow")}
OPPOSITE = [
    stated("an example of misgrokking", "the kernel generalises", "misgrokking: test accuracy at ½ ln α / λ",
           partial(accuracy_at, when=EARLY), Within(low=0.95), **MISGROKKING),
    stated("an example of misgrokking", "the late phase loses it", "misgrokking: fall of the test accuracy, early to late",
           falls, Within(low=0.05), variants={"to 1¼ ln α / λ": partial(falls, late=1.25)}, **MISGROKKING),
    stated("an example of misgrokking", "while the training set stays fitted",
           "misgrokking: least train accuracy from ½ ln α / λ on", still_right, Identity(1), **MISGROKKING),
    stated("an example of misgrokking", "towards the L1 margin", "misgrokking: gain of the share of the L1 margin",
           partial(turns, order=1, sign=1), Direction(), **MISGROKKING),
    stated("an example of misgrokking", "away from the L2 margin", "misgrokking: fall of the share of the L2 margin",
           partial(turns, order=2, sign=-1), Direction(), **MISGROKKING),
]  # fmt: skip

# --- matrix completion

STARTS = (1.0, 3.0, 10.0)


def completes(alphas: Sequence[float], seeds: Sequence[int], **task: int) -> list[Config]:
    entries = MatrixCompletion(**task)
    optimizer = Chain(SGD(lr=0.1, weight_decay=1e-3), after=(Grow(rate=2e-4, most=5.0),))
    nets = [Net.of(FactoredMatrix, d=entries.d, alpha=alpha) for alpha in alphas]
    return [Config(entries, net, optimizer, seed) for net in nets for seed in seeds]


def product(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the nuclear norm of U Uᵀ − V Vᵀ."""
    return {"nuclear": completion.nuclear_norm(params["U"] @ params["U"].T - params["V"] @ params["V"].T)}


def halved(m: Measures, share: float = 0.5) -> np.ndarray:
    """[R]: λt at which the test loss has come down to this share of what least squares leave."""
    return crosses(m, m["test_loss"], share * bests(m)[:, 0])


def slope_of_halving(m: Measures, share: float = 0.5) -> np.ndarray:
    large, former = of(m, STARTS[-1]), of(m, STARTS[-2])
    return (halved(large, share) - halved(former, share)) / (start(large) - start(former))


@lru_cache(maxsize=64)
def best(task: MatrixCompletion, seed: int) -> tuple[float, float]:
    """Of a seed's entries: the test loss of the symmetric matrix of least Frobenius norm that has them, which is 0 where
    neither an entry nor its mirror image is seen, and the least nuclear norm."""
    data: Data = train.data(Config(task, Net.of(FactoredMatrix, d=task.d), SGD(), seed))
    values, seen = np.zeros((task.d, task.d)), np.zeros((task.d, task.d), bool)
    for i, j in (np.asarray(data["x"]).T, np.asarray(data["x"]).T[::-1]):
        values[i, j], seen[i, j] = np.asarray(data["y"])[:, 0], True
    i, j = np.asarray(data["x_test"]).T
    least_squares = float(np.mean(np.where(seen[i, j], 0, np.asarray(data["y_test"])[:, 0] ** 2)))
    return least_squares, completion.least_nuclear_norm(values, seen, tolerance=1e-4)[0]


def bests(m: Measures) -> np.ndarray:
    """[R, 2]: of each run's entries."""
    names = ("n_train", "n_test", "d")
    tasks = [
        MatrixCompletion(**{name: int(m[f"config/task.{name}"][i]) for name in names}) for i in range(len(m.valid))
    ]
    return np.array([best(task, int(seed)) for task, seed in zip(tasks, m["config/seed"], strict=True)])


def nuclear(m: Measures, alpha: float, when: float | None = None) -> np.ndarray:
    """[R]: the nuclear norm over the least, at a share of ln α / λ or at the end."""
    m = of(m, alpha)
    values = m["product/nuclear"]
    return (m.last("product/nuclear") if when is None else at(m, values, when)) / bests(m)[:, 1]


def as_least_squares(m: Measures) -> np.ndarray:
    m = of(m, STARTS[-1])
    return at(m, m["test_loss"], EARLY) / bests(m)[:, 0]


def better(m: Measures) -> np.ndarray:
    m = of(m, STARTS[-1])
    return at(m, m["test_loss"], EARLY) / m.last("test_loss")


MATRICES: dict[str, Any] = {"fidelity": scaled("d = 20 and 80 entries, not d = 97; steps of time that grow")}
COMPLETION = [
    stated("matrix completion", "the transition is at ln α / λ", "matrix completion: slope of λt in ln α, test loss halved",
           slope_of_halving, Median(1, 0.03), **MATRICES,
           variants={f"to {part:.0%}": partial(slope_of_halving, share=part) for part in (0.75, 0.25)}),
    stated("matrix completion", "early: least squares",
           "matrix completion, α = 10: test loss at ½ ln α / λ over that of least squares", as_least_squares,
           Median(1, 1.05, "log"), **MATRICES),
    stated("matrix completion", "then it generalises", "matrix completion, α = 10: test loss at ½ ln α / λ over at the end",
           better, Within(low=10), **MATRICES),
    *(
        stated("matrix completion", "late: least nuclear norm",
               f"matrix completion, α = {alpha:g}: nuclear norm at the end over the least there is",
               partial(nuclear, alpha=alpha), Median(1, 1.05, "log"), **MATRICES)
        for alpha in STARTS
    ),
    stated("matrix completion", "early: another norm",
           "matrix completion, α = 10: nuclear norm at ½ ln α / λ over the least",
           partial(nuclear, alpha=STARTS[-1], when=EARLY), Direction(null=1), **MATRICES),
]  # fmt: skip

# --- modular addition


class OneHotAddition(ModularArithmetic):
    """Pairs as two one-hot vectors, and a penalty `penalty · Σ_i ‖θ_i‖³` of the weights θ_i of each neuron (Morwani et al.
    2023), for which the largest margin is known."""

    penalty: float = 0.0
    """Factor of Σ_i ‖θ_i‖³ in the loss."""

    def check_net(self, net: Any) -> None:
        if (found := getattr(net, "d_in", 0)) != 2 * self.p:
            raise ValueError(f"net.d_in is {found}: it must be 2 p, which is {2 * self.p}.")

    def data(self, key: Array) -> dict[str, Array]:
        data = super().data(key)
        both = jax.nn.one_hot(data["tokens"][:, :2], self.p)
        return data | {"tokens": both.reshape(-1, 2 * self.p)}

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: Array) -> Array:
        squares = jnp.sum(params["W_0"] ** 2, axis=0) + jnp.sum(params["W_out"] ** 2, axis=1)
        return super().loss(apply, params, data, key) + self.penalty * jnp.sum(squares**1.5)


def adds(seeds: Sequence[int], p: int = 23, width: int = 128, share: float = 0.625) -> list[Config]:
    """Two kinds: all pairs with the penalty, and a large start on some of them with weight decay."""

    def net(scale: float) -> Net:
        return Net.of(Dense, d_in=2 * p, d_out=p, widths=(width,), activation="quadratic", bias=False, init="normal",
                      init_scale=scale)  # fmt: skip

    every = OneHotAddition(p=p, n_train=p**2, penalty=1e-4)
    some = OneHotAddition(p=p, n_train=round(share * p**2))
    decay = AdamW(lr=1e-2, weight_decay=1.0, warmup=0)
    return [Config(every, net(1.0), Adam(lr=1e-2), seed) for seed in seeds] + [
        Config(some, net(4.0), decay, seed) for seed in seeds
    ]


def neurons(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the normalised margin of all pairs over the largest there is, the least margin of the training pairs over
    ‖θ‖³, how far neurons are of one frequency (their median), and how many frequencies they have."""
    p = run.config.task.p  # type: ignore[attr-defined]
    u, v, w = params["W_0"][:p].T, params["W_0"][p:].T, params["W_out"]
    waves = analytic.waves(u, v, w)
    logits = run.config.net.apply(params, run.data["tokens"][run.data["train"]], full=False)[0]
    own = jnp.arange(p) == run.data["train_labels"][:, None]
    lead = jnp.where(own, logits, 0).sum(axis=1) - jnp.where(own, -jnp.inf, logits).max(axis=1)
    used = (waves.frequency[:, None] == jnp.arange(1, (p + 1) // 2)).any(axis=0)
    return {
        "margin": analytic.normalised_margin(u, v, w) / analytic.max_margin(p),
        "train_margin": margins.homogeneous_margin(lead, params, 3.0),
        "pure": jnp.median(waves.share),
        "frequencies": used.mean(),
    }


def kind(m: Measures, every: bool) -> Measures:
    """The runs on all pairs, or on some."""
    return m.runs((m["config/task.n_train"] == m["config/task.p"] ** 2) == every)


def last(m: Measures, name: str, every: bool = True) -> np.ndarray:
    return kind(m, every).last(f"neurons/{name}").astype(float)


def at_fit(m: Measures, name: str) -> np.ndarray:
    """[R]: of the runs on some pairs, when all of these are right; nan where that never is."""
    m = kind(m, False)
    fit = m.first_step(m["train_accuracy"] >= 1)
    place = np.searchsorted(m.steps, np.nan_to_num(fit))
    return np.where(np.isnan(fit), np.nan, m[f"neurons/{name}"][np.arange(len(fit)), place])


def delay(m: Measures, least: float = 0.95) -> np.ndarray:
    m = kind(m, False)
    return m.first_step(m["test_accuracy"] >= least) / m.first_step(m["train_accuracy"] >= least)


FULL: dict[str, Any] = {"fidelity": scaled("p = 23 and 128 neurons, Adam"), "each": "seed", "looks": (8, 20)}
PARTIAL: dict[str, Any] = {"fidelity": analogue("AdamW, a quadratic network without biases, p = 23")}
MODULAR = [
    Claim("all pairs: normalised margin over γ* at the end",
          Source(MORWANI, "Theorem on cyclic groups, and experiments", "γ* = √(2/27) / (√p (p − 1)), and reached"),
          partial(last, name="margin"), Median(1, 1.02, "log"), **FULL),
    Claim("all pairs: share of frequencies that neurons have", Source(MORWANI, "Theorem", "every frequency is used"),
          partial(last, name="frequencies"), Identity(1), **FULL),
    Claim("all pairs: share of a neuron's power at one frequency, median of the neurons",
          Source(MORWANI, "Theorem", "each neuron has one frequency"), partial(last, name="pure"),
          Within(low=0.99), **FULL),
    stated("modular addition", "grokking",
           "62 % of pairs, large start: steps to 95 % of the test set over those to 95 % of the training set", delay,
           Direction(null=1), variants={"90 %": partial(delay, least=0.9)}, **PARTIAL),
    stated("modular addition", "the kernel has no margin on new pairs",
           "62 % of pairs, large start: margin of all pairs over γ* when the training set is fitted",
           partial(at_fit, name="margin"), Within(high=0), **PARTIAL),
    stated("late phase", "the normalised margin grows",
           "62 % of pairs, large start: margin of training pairs over ‖θ‖³, end over fit of the training set",
           lambda m: last(m, "train_margin", False) / at_fit(m, "train_margin"), Direction(null=1), **PARTIAL),
    stated("late phase", "the normalised margin grows",
           "62 % of pairs, large start: margin of all pairs over γ* at the end",
           partial(last, name="margin", every=False), Direction(), **PARTIAL),
]  # fmt: skip

# --- figures


def on(m: Measures, values: np.ndarray, grid: np.ndarray, shift: float | None = None) -> np.ndarray:
    """[R, G]: values [R, T] at times λt = grid; nan beyond a run. With a shift at grid + shift, from λt = 0.1 on: all have
    fitted by then."""
    at = grid + (shift or 0)
    found = np.array([np.interp(at, t, own, np.nan, np.nan) for t, own in zip(time(m), values, strict=True)])
    return found if shift is None else np.where(at >= 0.1, found, np.nan)


def levels(m: Measures) -> list[float]:
    return [float(alpha) for alpha in np.unique(m["config/net.alpha"])]


def collapse_of(m: Measures, name: str, label: str, **how: Any) -> list[tuple[str, np.ndarray, stages.Panel]]:
    """A measure by start: of all seeds over λt, and medians over λt − ln α."""
    alphas = levels(m)
    end = float(np.min(np.max(time(m), axis=1)))
    plain, shifted = np.linspace(0, end, 200), np.linspace(-3, np.clip(end - np.log(alphas[-1]), -2, 4), 200)
    curves = {f"α = {alpha:,g}": (of(m, alpha), float(np.log(alpha))) for alpha in alphas}
    each = {k: on(own, own[name], plain) for k, (own, _) in curves.items()}
    moved = {k: stages.median(on(own, own[name], shifted, shift))[None] for k, (own, shift) in curves.items()}
    return [("λt", plain, stages.Panel(label, each, **how)), ("λt − ln α", shifted, stages.Panel(label, moved, **how))]


def with_decay(m: Measures, decay: float) -> Measures:
    return m.runs(np.isclose(m["config/optimizer.base.weight_decay"], decay, rtol=1e-3))


def decays(m: Measures) -> list[float]:
    return [float(decay) for decay in np.unique(m["config/optimizer.base.weight_decay"])]


def collapse(m: Measures) -> Any:
    """A row for each decay."""
    rows = [
        panel
        for decay in decays(m)
        for panel in collapse_of(
            with_decay(m, decay), "test_accuracy", f"test accuracy, λ = {decay:g}", ylim=(0.45, 1.02)
        )
    ]
    return stages.beside(rows)


def through(m: Measures) -> Any:
    """Of the largest start and the smallest decay: accuracy, and both margins over the largest there are."""
    m = with_decay(m, min(decays(m)))
    m = of(m, max(levels(m)))
    grid = np.linspace(0, float(np.min(np.max(time(m), axis=1))), 200)
    accuracy = {name: on(m, m[f"{name}_accuracy"], grid) for name in ("train", "test")}
    shares = {f"L{order} margin": on(m, share(m, order), grid) for order in (2, 1)}
    panels = [
        stages.Panel("accuracy", accuracy, {"chance": 0.5}, ylim=(0.45, 1.03)),
        stages.Panel("margin over\nthe largest", shares, {"exact optimum": 1.0}, ylim=(-0.02, 1.05)),
        stages.Panel("‖θ‖", {"norm": on(m, m["predictor/norm"], grid)}, log=True),
    ]
    return stages.stages(grid, panels, xlabel="λt")


def times(m: Measures) -> Any:
    """λt of the rise by start, with a line of slope 1 through the largest start's median."""
    shown = []
    for decay in decays(m):
        own = with_decay(m, decay)
        alphas = levels(own)
        found = [rise(of(own, alpha)) for alpha in alphas]
        line = stages.median(found[-1][:, None]) + np.log(np.array(alphas) / alphas[-1])
        n = min(map(len, found))
        shown.append(trends.Trend(f"α (λ = {decay:g})", np.array(alphas), {"half": np.stack([f[:n] for f in found])},
                                  {"slope 1": line}))  # fmt: skip
    top = max(float(np.nan_to_num(one.curves["half"]).max()) for one in shown)
    return trends.trends(shown, "λt of half of the rise", ylim=(-0.5, top + 0.5))


def completed(m: Measures) -> Any:
    """The test loss over both times, and the nuclear norm with the least one."""
    least = bests(m)
    limit = {"least there is": float(np.median(least[:, 1]))}
    losses = collapse_of(m, "test_loss", "test loss", log=True)
    of_norm = collapse_of(m, "product/nuclear", "nuclear norm")
    return stages.beside([*losses, *((x, grid, panel._replace(limits=limit)) for x, grid, panel in of_norm)])


def margin_of_addition(m: Measures) -> Any:
    both = {"all pairs, penalty": kind(m, True), "62 % of pairs": kind(m, False)}
    both = {name: own for name, own in both.items() if len(own.valid)}
    accuracy = {f"{of_set}, 62 % of pairs": kind(m, False)[f"{of_set}_accuracy"] for of_set in ("train", "test")}
    panels = [
        stages.Panel("accuracy", {name: values for name, values in accuracy.items() if len(values)}, ylim=(-0.02, 1.03)),
        stages.Panel("margin over γ*", {name: own["neurons/margin"] for name, own in both.items()},
                     {"γ*": 1.0, "no margin": 0.0}, ylim=(-1.6, 1.1)),
        stages.Panel("power at\none frequency", {name: own["neurons/pure"] for name, own in both.items()}, ylim=(0, 1.05)),
    ]  # fmt: skip
    return stages.stages(m.steps, panels, xscale="log")


FLOWING, MATRIX_STEPS, ADDING = (
    np.arange(0, 1351, 25),
    np.arange(0, 24001, 240),
    np.unique(np.concatenate([np.arange(0, 100, 10), np.geomspace(100, 2000, 40).round(-1)]).astype(int)),
)
SMALL: dict[str, int] = {"n_train": 8, "n_test": 20, "d": 20}
part = partial(Part.alike, keep=(), omit=("train_loss",))
PARTS = {
    "sparse": part(sparse(range(1), **SMALL), sparse(SEEDS), FLOWING, probes={"predictor": predictor}, claims=SPARSE,
                   omit=("train_loss", "test_loss"), figures={"collapse": collapse, "margins": through, "times": times}),
    "opposite": part(opposite(range(1), **SMALL), opposite(SEEDS), FLOWING, probes={"predictor": predictor},
                     claims=OPPOSITE, omit=("train_loss", "test_loss"), figures={"misgrokking": through}),
    "completion": part(completes(STARTS, range(1), n_train=8, n_test=17, d=5), completes(STARTS, SEEDS), MATRIX_STEPS,
                       probes={"product": product}, claims=COMPLETION, figures={"completion": completed}),
    "modular": part(adds(range(1), p=5, width=8), adds(SEEDS), ADDING, probes={"neurons": neurons}, claims=MODULAR,
                    figures={"modular_margin": margin_of_addition}),
}  # fmt: skip
