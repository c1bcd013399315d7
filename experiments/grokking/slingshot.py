"""Slingshots: a loss that rounds p to 1 drives the last layer up until the loss spikes; the exact loss never does.

Claim     Under Adam and without weight decay the cross-entropy as usually written, in float32, trains in cycles: the last
          layer's norm grows, the train loss spikes, the norm rests. The cause is rounding. Once p of the label is 1 in
          float32 its part of the gradient is 0, the classes no longer cancel, and the mean over classes and the mean
          feature drive each other up. What keeps the sum at 0 has no spikes: an exact loss, or logits less their mean.
          Without decay such a network does not generalise either; ⊥Grad does.
Source    Thilak et al. 2022, The Slingshot Mechanism (arXiv 2206.04817): cycles; larger ε of Adam ends them; grokking
          comes with them. Liu 2026 (arXiv 2605.06152): the cause is what floats absorb. Prieto et al. 2025, Grokking at
          the Edge of Numerical Stability (2501.04697): softmax collapse, StableMax, ⊥Grad. Set-ups are ours: addition mod
          23 and 31.
Expect    Naive: 3 to 5 spikes in 6,000 steps at ε up to 1e-7, none from 1e-6 on; the zero-sum violation is above 1 some
          500 steps before the first. Exact, or centred: none. Without decay Adam stays at chance on the test pairs; ⊥Grad
          reaches 95 % sooner than AdamW with decay 1.
Cost      cpu: 7 minutes of one core. paper: the same.
Command   python run_sweep.py slingshot [--scale smoke|cpu|paper] [--part causes|epsilon|without_decay]
Fails     No slingshot generalises here: test accuracy stays where it was, in 20 of 20 runs. Thilak et al. have grokking
          at the onset of slingshots in transformers; tried in a prototype, without effect: 75 % of the data with half the
          start, and a quadratic network. StableMax alone reaches 95 % in none of 8 runs within 2,000 steps; Prieto et al.
          train 80,000 epochs.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab.analysis import in_half, precision, transitions
from toylab.base import Apply, Config, Params
from toylab.claims import Claim, Direction, Proportion, Source, Within, scaled
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Measures, Part
from toylab.losses import LossKind
from toylab.models import ModularMLP, Net
from toylab.optim import Adam, AdamW, Chain, Orthogonal
from toylab.plots import stages, trends
from toylab.tasks import ModularArithmetic

SEEDS, FEW = range(100, 120), range(100, 108)  # none of them was trained before the claims were fixed
EPSILONS = (1e-8, 1e-7, 1e-6, 1e-5)


class Centred(ModularArithmetic):
    """The same of logits less their mean over classes: the loss has the same value, and its gradient by W_U sums to 0."""

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: Array) -> Array:
        def centred(*given: Any, **more: Any) -> Any:
            logits, cache = apply(*given, **more)
            return logits - jnp.mean(logits, axis=-1, keepdims=True), cache

        return super().loss(centred, params, data, key)


NAIVE: dict[str, Any] = {"kind": ModularArithmetic, "loss_kind": "naive_cross_entropy"}
EXACT: dict[str, Any] = {"kind": ModularArithmetic, "loss_kind": "cross_entropy"}
CENTRED: dict[str, Any] = {"kind": Centred, "loss_kind": "naive_cross_entropy"}


def adds(kind: type, loss_kind: LossKind, seed: int, eps: float = 1e-8, p: int = 23, n_train: int = 264) -> Config:
    """A ReLU network that adds, under Adam without decay."""
    net = Net.of(ModularMLP, d_vocab=p + 1, d_vocab_out=p)
    return Config(kind(p=p, n_train=n_train, loss_kind=loss_kind), net, Adam(lr=1e-2, b2=0.98, eps=eps), seed)


def causes(seeds: Sequence[int], **sizes: Any) -> list[Config]:
    return [adds(**how, seed=seed, **sizes) for how in (NAIVE, EXACT, CENTRED) for seed in seeds]


def epsilons(values: Sequence[float], seeds: Sequence[int], **sizes: Any) -> list[Config]:
    return [adds(**how, seed=seed, eps=eps, **sizes) for how in (NAIVE, EXACT) for eps in values for seed in seeds]


# --- quantities


def of(m: Measures, how: dict[str, Any], eps: float | None = None) -> Measures:
    """The runs of one loss, and one ε."""
    ours = m["config/task.loss_kind"] == how["loss_kind"]
    ours &= np.char.endswith(m["config/task.type"].astype(str), how["kind"].__name__)
    if eps is not None:
        ours &= np.isclose(m["config/optimizer.eps"], eps, rtol=1e-3)
    return m.runs(ours)


def begins(m: Measures, rise: float = 10.0) -> np.ndarray:
    return precision.spikes(m.steps, m["train_loss"], rise)


def n_spikes(m: Measures, how: dict[str, Any], rise: float = 10.0, eps: float | None = None) -> np.ndarray:
    """[R]: spikes of the train loss."""
    return begins(of(m, how, eps), rise).sum(axis=1)


def none(m: Measures, how: dict[str, Any], rise: float = 10.0) -> np.ndarray:
    """[R]: whether a run has no spike, 1 or 0."""
    return (n_spikes(m, how, rise) == 0).astype(float)


def first(m: Measures) -> np.ndarray:
    """[R]: the step of the first spike."""
    return transitions.first_step(m.steps, begins(m))


def lead(m: Measures, least: float = 1.0) -> np.ndarray:
    """[R]: the first spike less the step from which the naive gradient's classes do not cancel."""
    m = of(m, NAIVE)
    return first(m) - m.first_step(m["rounding/violation"].astype(float) > least)


def at_first(m: Measures, name: str, later: int = 0) -> np.ndarray:
    """[R]: a measure so many steps after a run's first spike; nan of runs that have none."""
    when = first(m) + later
    at = np.minimum(np.searchsorted(m.steps, np.nan_to_num(when)), len(m.steps) - 1)
    return np.where(np.isnan(when), np.nan, m[name].astype(float)[np.arange(len(at)), at])


def grows_then_rests(m: Measures, over: int = 400) -> np.ndarray:
    """[R]: by what factor ‖W_U‖ grows in so many steps up to the first spike, over that in as many after it."""
    m = of(m, NAIVE)
    start, before, after, end = (at_first(m, "rounding/norm", later) for later in (-over, -20, 20, over))
    return (before / start) / (end / after)


def gained(m: Measures) -> np.ndarray:
    """[R]: test accuracy at the end less that before the first spike."""
    m = of(m, NAIVE)
    return m.last("test_accuracy") - at_first(m, "test_accuracy", -20)


def inflation(m: Measures, name: str = "mean_class") -> np.ndarray:
    """[R]: growth to just before the naive run's first spike, over that of the exact run of the seed by then."""
    naive, exact = of(m, NAIVE), of(m, EXACT)
    at = np.minimum(np.searchsorted(naive.steps, np.nan_to_num(first(naive) - 20)), len(naive.steps) - 1)
    grown = [
        one[f"rounding/{name}"].astype(float)[np.arange(len(at)), at] / one[f"rounding/{name}"].astype(float)[:, 0]
        for one in (naive, exact)
    ]
    return np.where(np.isnan(first(naive)), np.nan, grown[0] / grown[1])


def fewer(m: Measures, large: float, small: float = EPSILONS[1], rise: float = 10.0) -> np.ndarray:
    """[seeds]: naive spikes at the smaller ε less those at the larger."""
    return n_spikes(m, NAIVE, rise, small) - n_spikes(m, NAIVE, rise, large)


# --- claims and figures

THILAK, LIU, PRIETO = "Thilak et al. 2022", "Liu 2026", "Prieto et al. 2025"
OURS = scaled(
    "a network of one hidden layer that adds mod 23, 6,000 steps; theirs are transformers and image classifiers"
)
OTHERS: dict[str, Any] = {f"spikes of a factor {rise:g}": rise for rise in (5.0, 30.0)}


def stated(paper: str, where: str, says: str, name: str, quantity: Quantity, kind: Kind, **more: Any) -> Claim:
    return Claim(name, Source(paper, where, says), quantity, kind, fidelity=OURS, each="seed", **more)


def rises(quantity: Any, **named: Any) -> dict[str, Quantity]:
    """The quantity with other definitions of a spike."""
    return {name: partial(quantity, rise=rise, **named) for name, rise in OTHERS.items()}


THE_CAUSE = "abstract", "float absorption breaks the zero sum of the gradient over classes, which inflates the features"
CAUSES = [
    stated(THILAK, "abstract", "cyclic phase transitions without regularisation",
           "naive loss, ε = 1e-8: spikes of the train loss", partial(n_spikes, how=NAIVE), Within(low=2),
           variants=rises(n_spikes, how=NAIVE)),
    stated(THILAK, "abstract", "cyclic behaviour of the norm of the last layer",
           "naive loss: growth of the last layer's norm in 400 steps to the first spike, over that in 400 after it",
           grows_then_rests, Direction(null=1), variants={"in 200": partial(grows_then_rests, over=200)}),
    stated(THILAK, "abstract", "grokking happens almost exclusively at the onset of slingshots",
           "naive loss: test accuracy at the end less that before the first spike", gained, Direction()),
    stated(LIU, *THE_CAUSE, "exact loss: no spike", partial(none, how=EXACT), Proportion(least_share=0.8),
           variants=rises(none, how=EXACT)),
    stated(LIU, *THE_CAUSE, "naive loss of centred logits, whose gradient sums to 0: no spike", partial(none, how=CENTRED),
           Proportion(least_share=0.8), variants=rises(none, how=CENTRED)),
    stated(LIU, *THE_CAUSE, "naive loss: steps from a violation of 1 to the first spike", lead, Direction(always=True),
           unit="steps", variants={"a violation of 3": partial(lead, least=3.0)}),
    stated(LIU, *THE_CAUSE, "growth of the mean over classes until the first spike, over that with the exact loss",
           inflation, Direction(null=1, always=True), variants={"mean feature": partial(inflation, name="mean_feature")}),
    Claim("exact loss: share of training pairs whose softmax has collapsed, which alone does no harm", None,
          lambda m: of(m, EXACT).last("rounding/collapse").astype(float), Within(low=0.9), "finding", each="seed"),
]  # fmt: skip
EPSILON = [
    stated(THILAK, "section on ε", "a larger ε of Adam suppresses slingshots",
           f"naive loss: spikes at ε = 1e-7 less those at {large:.0e}", partial(fewer, large=large), Direction(),
           looks=(8, 20), variants=rises(fewer, large=large))
    for large in EPSILONS[2:]
]  # fmt: skip
LOSSES = {"naive": NAIVE, "exact": EXACT, "centred": CENTRED}


def slingshots(m: Measures) -> Any:
    """Of the first seed."""
    panels = {"train_loss": "train loss", "rounding/norm": "‖$W_U$‖", "rounding/mean_class": "‖mean$_c$ $W_U$‖",
              "rounding/violation": "zero-sum\nviolation"}  # fmt: skip
    first = m["config/seed"].min()
    runs = {name: own.runs(own["config/seed"] == first) for name, how in LOSSES.items() for own in (of(m, how),)}
    return stages.stages(
        m.steps,
        [
            stages.Panel(label, {name: own[key].astype(float) for name, own in runs.items()}, log=label[0] == "t")
            for key, label in panels.items()
        ],
    )


def by_epsilon(m: Measures) -> Any:
    values = np.unique(m["config/optimizer.eps"])
    counts = {name: np.stack([n_spikes(m, LOSSES[name], eps=eps) for eps in values]) for name in ("naive", "exact")}
    most = max(counted.max() for counted in counts.values()) + 0.5
    return trends.trends([trends.Trend("ε of Adam", values, counts)], "spikes in 6,000 steps", ylim=(-0.2, most))


# --- without decay

RESTLESS: dict[str, Any] = {"lr": 1e-2, "b2": 0.98}
WAYS: dict[str, tuple[LossKind, Any]] = {
    "Adam": ("cross_entropy", Adam(**RESTLESS)),
    "⊥Grad": ("cross_entropy", Chain(Adam(**RESTLESS), before=(Orthogonal(),))),
    "StableMax": ("stablemax", Adam(**RESTLESS)),
    "AdamW, decay 1": ("cross_entropy", AdamW(**RESTLESS, weight_decay=1.0, warmup=0)),
}


def ways(seeds: Sequence[int], p: int = 31, n_train: int = 384) -> list[Config]:
    """A quadratic network with shared embeddings, with and without what is to help."""
    net = Net.of(
        ModularMLP, d_vocab=p + 1, d_vocab_out=p, d_model=32, d_mlp=64, embedding="shared", activation="quadratic"
    )
    return [
        Config(ModularArithmetic(p=p, n_train=n_train, loss_kind=loss_kind), net, optimizer, seed)
        for loss_kind, optimizer in WAYS.values()
        for seed in seeds
    ]


def by_way(m: Measures) -> dict[str, Measures]:
    """The runs of each of WAYS, in the order of seeds."""
    chained = np.char.find(m["config/optimizer.type"].astype(str), "Chain") >= 0
    decays = np.nan_to_num(m["config/optimizer.weight_decay"]) > 0
    stable = m["config/task.loss_kind"] == "stablemax"
    chosen = (~chained & ~decays & ~stable, chained, stable, decays)
    return {name: m.runs(which) for name, which in zip(WAYS, chosen, strict=True)}


def generalises(m: Measures, way: str, least: float = 0.95) -> np.ndarray:
    """[R]: whether the test accuracy reaches this, 1 or 0."""
    return (by_way(m)[way]["test_accuracy"] >= least).any(axis=1).astype(float)


def later(m: Measures, way: str = "⊥Grad", than: str = "AdamW, decay 1", least: float = 0.95) -> np.ndarray:
    """[R]: the step at which decay brings the test pairs to this over that of another way."""
    at = {name: own.first_step(own["test_accuracy"] >= least) for name, own in by_way(m).items()}
    return np.where(np.isnan(at[than]), m.steps[-1], at[than]) / at[way]


def curves(m: Measures) -> Any:
    panels = {"test_accuracy": "test accuracy", "train_loss": "train loss"}
    runs = by_way(m)
    shown = {key: {name: own[key] for name, own in runs.items()} for key in panels}
    return stages.stages(m.steps, [stages.Panel(panels[key], shown[key], log=key == "train_loss") for key in panels])


EDGE = scaled("a quadratic network of one hidden layer that adds mod 31, 2,000 steps")


def prieto(where: str, says: str, name: str, quantity: Quantity, kind: Kind, **more: Any) -> Claim:
    return Claim(name, Source(PRIETO, where, says), quantity, kind, fidelity=EDGE, each="seed", looks=(8, 20), **more)


WITHOUT_DECAY = [
    prieto("abstract", "no grokking without regularisation", "Adam without decay: 95 % of the test pairs are never reached",
           lambda m: 1 - generalises(m, "Adam"), Proportion(least_share=0.8)),
    prieto("⊥Grad", "generalises without weight decay", "⊥Grad without decay: 95 % of the test pairs are reached",
           partial(generalises, way="⊥Grad"), Proportion(least_share=0.8),
           variants={"90 %": partial(generalises, way="⊥Grad", least=0.9)}),
    prieto("⊥Grad", "sooner than weight decay", "steps to 95 % with decay 1 over those with ⊥Grad", later,
           Direction(null=1), variants={"90 %": partial(later, least=0.9)}),
    prieto("StableMax", "grokking without regularisation",
           "StableMax without decay: 95 % of the test pairs are reached", partial(generalises, way="StableMax"),
           Proportion(least_share=0.8), variants={"90 %": partial(generalises, way="StableMax", least=0.9)}),
]  # fmt: skip

LONG, SHORT = np.arange(0, 6001, 20), np.arange(0, 2001, 25)
SMALL: dict[str, int] = {"p": 7, "n_train": 30}
part = partial(Part.alike, keep=(), omit=("test_loss",))
PARTS = {
    "causes": part(causes(range(1), **SMALL), causes(SEEDS), LONG, claims=CAUSES,
                   probes={"rounding": in_half(precision.last_layer)},
                   figures={"slingshots": slingshots}),
    "epsilon": part(epsilons(EPSILONS, range(1), **SMALL), epsilons(EPSILONS, FEW), LONG, claims=EPSILON,
                    figures={"epsilon": by_epsilon}),
    "without_decay": part(ways(range(1), **SMALL), ways(SEEDS), SHORT, claims=WITHOUT_DECAY, figures={"ways": curves}),
}  # fmt: skip
