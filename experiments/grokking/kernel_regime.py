"""Kernel regime: a network fits modular addition as the kernel of its start does, and adds after it has left it.

Claim     Early in training a network is regression with the tangent kernel of its start. This has no small error on new
          pairs unless it has seen a constant share of all p². Later the kernel changes, and networks of bounded ℓ∞ norm
          that fit their pairs need of order p^(5/3) of them. Gradient descent with a small ℓ∞ penalty finds them. A
          network leaves the kernel regime only after it has fitted: this is grokking.
Source    Mohamadi, Li, Wu & Sutherland 2024, Why Do You Grok? (arXiv 2407.12332): pairs as one-hot vectors, one hidden
          layer of squared neurons without biases, cross-entropy; the kernel is that of the first output. Here p = 13 to
          43, 128 or 256 neurons; the power mean of order 16 of all weights stands for the largest. The second part has
          AdamW, whose ends are bounded in ℓ∞ (Xie & Li 2024, arXiv 2404.04454).
Expect    Change of the kernel until the fit: 0.09 of that by the end; test set right 170 times later than the training
          set. First kernel: nothing right with 90 % of pairs. Pairs a network needs: ∝ p^1.30 (1.28 to 1.32).
Cost      cpu: 440 runs of 3,000 or 15,000 steps, 10 minutes of one core. paper: the same.
Command   python run_sweep.py kernel_regime [--scale smoke|cpu|paper] [--part escape|pairs]
Fails     No claim, but the numbers say less than they seem to. The exponent is a mean over a bend: between neighbours
          among p = 13, 19, 29 and 43 it is 1.09, 1.33 and 1.45, so that 5/3 may come at larger p. The change of the
          kernel does not tell who generalises: without the penalty it is as large (0.97 against 0.83) and nothing is
          learned; its turn away from the first (1 − cosine 0.17 against 0.04) does. The second part has AdamW and no
          penalty of ℓ∞.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab import train
from toylab.analysis import representation, transitions
from toylab.base import Apply, Config, Params, Run
from toylab.claims import Claim, Direction, Law, Source, Within, scaled
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Measures, Part
from toylab.models import Dense, Net
from toylab.optim import SGD, AdamW, Chain, Grow
from toylab.plots import stages, trends

from .dichotomy import OneHotAddition

SEEDS = range(100, 120)  # none of them was trained before the claims were fixed
PENALTY, ORDER = 2.0, 16  # of the largest weight; shares of all pairs by p
SHARES = {13: (0.4, 0.5, 0.6, 0.7, 0.9), 19: (0.3, 0.4, 0.5, 0.6, 0.9), 29: (0.2, 0.25, 0.3, 0.4, 0.9),
          43: (0.15, 0.2, 0.25, 0.3, 0.9)}  # fmt: skip


class BoundedAddition(OneHotAddition):
    """Pairs as two one-hot vectors, and a penalty of the largest weight: of the power mean of order 16 of all |w|, which is
    the largest where the weights are as large, and moves many at a time."""

    largest: float = 0.0
    """Factor of the largest weight, the power mean of order 16 of all |w|, in the loss."""

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: Array) -> Array:
        sizes = jnp.concatenate([jnp.abs(w).reshape(-1) for w in jax.tree.leaves(params)])
        top = jax.lax.stop_gradient(sizes.max())
        mean = top * jnp.mean((sizes / top) ** ORDER) ** (1 / ORDER)
        return super().loss(apply, params, data, key) + self.largest * mean


def net(p: int, width: int, scale: float) -> Net:
    how: dict[str, Any] = {"activation": "quadratic", "bias": False, "init": "normal", "init_scale": scale}
    return Net.of(Dense, d_in=2 * p, d_out=p, widths=(width,), **how)


def escapes(seeds: Sequence[int], p: int = 23, width: int = 256) -> list[Config]:
    """Gradient descent whose steps grow to 8 times the first, with the penalty and without."""
    descent = Chain(SGD(lr=0.5), after=(Grow(rate=2e-3, most=8.0),))
    tasks = [BoundedAddition(p=p, n_train=round(0.6 * p**2), largest=factor) for factor in (PENALTY, 0.0)]
    return [Config(task, net(p, width, 3.0), descent, seed) for task in tasks for seed in seeds]


def counts(seeds: Sequence[int], shares: Mapping[int, Sequence[float]], width: int = 128) -> list[Config]:
    decay = AdamW(lr=1e-2, weight_decay=1.0, warmup=0)
    tasks = [BoundedAddition(p=p, n_train=round(share * p**2)) for p, every in shares.items() for share in every]
    return [Config(task, net(task.p, width, 1.0), decay, seed) for task in tasks for seed in seeds]


def tangent(params: Params, x: Array, other: Array) -> Array:
    """The tangent kernel of the first output in closed form, that of a network of squared neurons."""
    ours, theirs = x @ params["W_0"], other @ params["W_0"]
    return ours**2 @ (theirs**2).T + 4 * (ours * params["W_out"][:, 0] ** 2 @ theirs.T) * (x @ other.T)


def kernel(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: test accuracy and squared error of regression with the kernel of this step, how far it is from that of the
    start, 1 less the cosine between them once both are centred, and the largest weight."""
    x, labels = run.data["tokens"], run.data["labels"].reshape(-1)
    train_set, test_set = run.data["train"], run.data["test"]
    K, K_test = (tangent(params, x[own], x[train_set]) for own in (train_set, test_set))
    start = tangent(train.init(run.config).params, x[train_set], x[train_set])
    answers = jax.nn.one_hot(labels, run.config.task.p)  # type: ignore[attr-defined]
    found = representation.kernel_regression(K, K_test, answers[train_set])
    return {
        "accuracy": jnp.mean(found.argmax(axis=1) == labels[test_set]),
        "error": jnp.mean(jnp.sum((found - answers[test_set]) ** 2, axis=1)),
        "movement": representation.kernel_movement(K, start),
        "turned": 1 - representation.alignment(K, start),
        "largest": jnp.max(jnp.stack([jnp.abs(w).max() for w in jax.tree.leaves(params)])),
    }


def penalised(m: Measures, yes: bool = True) -> Measures:
    """The runs with the penalty, or those without."""
    return m.runs((m["config/task.largest"] > 0) == yes)


def at_fit(m: Measures, name: str, least: float = 1.0) -> np.ndarray:
    """[R]: a measure at the first saved point where a share of the training set is right; nan where none is."""
    fit = m.first_step(m["train_accuracy"] >= least)
    place = np.searchsorted(m.steps, np.nan_to_num(fit))
    return np.where(np.isnan(fit), np.nan, m[name].astype(float)[np.arange(len(fit)), place])


def moved_until_fit(m: Measures, name: str = "kernel/movement", least: float = 1.0) -> np.ndarray:
    """[seed]: a change of the kernel until the training set is fitted, as a share of that by the end."""
    m = penalised(m)
    return at_fit(m, name, least) / m.last(name)


def delay(m: Measures, least: float = 0.95) -> np.ndarray:
    m = penalised(m)
    return m.first_step(m["test_accuracy"] >= least) / m.first_step(m["train_accuracy"] >= least)


def with_less_without(m: Measures, name: str = "test_accuracy") -> np.ndarray:
    """[seed]: a measure at the end with the penalty less that without."""
    return penalised(m).last(name) - penalised(m, False).last(name)


P, N = "config/task.p", "config/task.n_train"


def of(m: Measures, p: int, share: float | None = None) -> Measures:
    chosen = m[P] == p
    return m.runs(chosen if share is None else chosen & (m[N] == round(share * p**2)))


def by_share(m: Measures, p: int, name: str, end: bool) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of pairs [S], those that have as many runs as any, and a measure of the start or the end [S, seeds]."""
    known, runs = np.unique(of(m, p)[N], return_counts=True)
    numbers = known[runs == runs.max(initial=0)]
    each = [m.runs((m[P] == p) & (m[N] == n)) for n in numbers]
    return numbers, np.array([own.last(name) if end else own[name][:, 0] for own in each], float)


def needed(m: Measures, p: int, level: float = 0.5) -> np.ndarray:
    """[seed]: training pairs at which a share of the test pairs is right at the end, on lines over their logarithm."""
    numbers, found = by_share(m, p, "test_accuracy", end=True)
    few = len(numbers) < 2
    return np.full(len(found.T), np.nan) if few else np.exp(transitions.first_below(np.log(numbers), -found.T, -level))


def needed_over_p(m: Measures, level: float = 0.5) -> np.ndarray:
    """[R, 2]: p, and the pairs needed."""
    return np.concatenate([np.stack([np.full_like(n := needed(m, p, level), p), n], axis=1) for p in SHARES])


def of_first_kernel(m: Measures, p: int) -> np.ndarray:
    return of(m, p, 0.9)["kernel/accuracy"][:, 0]


def least_error(m: Measures) -> np.ndarray:
    """[seed]: the least test error of regression with the kernel of the start, of all p and numbers of pairs."""
    return np.min(np.concatenate([by_share(m, p, "kernel/error", end=False)[1] for p in SHARES]), axis=0)


SMALLER = scaled("p = 23 and 256 neurons; the power mean of order 16 of the weights for the largest; steps that grow")
COUNTED = scaled("p = 13 to 43 and 128 neurons; 3,000 steps of AdamW for descent with an ℓ∞ penalty")
ONCE: dict[str, Any] = {"each": "seed", "looks": (8, 20)}


def stated(says: str, name: str, quantity: Quantity, kind: Kind, how: Any = SMALLER, **more: Any) -> Claim:
    where = "theorem on classification" if says == FEWER else "abstract"
    return Claim(name, Source("Mohamadi et al. 2024", where, says), quantity, kind, fidelity=how, **{**ONCE, **more})


LEAVES = "networks leave the kernel regime only after initially overfitting"
EQUIVARIANT = "no small population error in the kernel regime without a constant fraction of the pairs"
FOUND = "found by gradient descent with small ℓ∞ regularisation"
FEWER = "of order p^(5/3) pairs are enough for networks of bounded ℓ∞ norm"
ESCAPE = [
    stated(LEAVES, "change ‖K − K₀‖/‖K₀‖ of the kernel when the training set is fitted over that at the end",
           moved_until_fit, Within(high=0.5), variants={"95 % fitted": partial(moved_until_fit, least=0.95),
                                                        "1 − cosine": partial(moved_until_fit, name="kernel/turned")}),
    stated(EQUIVARIANT, "60 % of pairs: test accuracy of regression with the first kernel",
           lambda m: penalised(m)["kernel/accuracy"][:, 0], Within(high=2 / 23)),
    stated(EQUIVARIANT, "60 % of pairs: test accuracy of the network when the training set is fitted",
           lambda m: at_fit(penalised(m), "test_accuracy"), Within(high=2 / 23)),
    stated("it generalises long after overfitting", "steps to 95 % of the test set over the training set", delay,
           Direction(null=10), variants={"90 %": partial(delay, least=0.9)}),
    stated(FOUND, "test accuracy at the end", lambda m: penalised(m).last("test_accuracy"), Within(low=0.95)),
    stated(FOUND, "test accuracy at the end: with the penalty less without", with_less_without, Direction()),
    Claim("test accuracy of regression with the last kernel", None, lambda m: penalised(m).last("kernel/accuracy"),
          Within(low=0.9), "finding", **ONCE),
    Claim("1 − cosine of the last kernel with the first: with the penalty less without", None,
          partial(with_less_without, name="kernel/turned"), Direction(), "finding", **ONCE),
]  # fmt: skip
PAIRS = [
    *(stated(EQUIVARIANT, f"p = {p}, 90 % of pairs: test accuracy of regression with the first kernel",
             partial(of_first_kernel, p=p), Within(high=0.1), COUNTED) for p in (29, 43)),
    stated(EQUIVARIANT, "least squared test error of regression with the first kernel over that of outputs of 0",
           least_error, Direction(null=1, always=True), COUNTED),
    stated(FEWER, "exponent in p of the pairs at which half of the test pairs are right at the end", needed_over_p,
           Law((1, 5 / 3), widest=0.3), COUNTED, each="run", looks=(20,),
           variants={"three quarters": partial(needed_over_p, level=0.75)}),
    stated(FEWER, "p = 43, 30 % of pairs: test accuracy of the network at the end",
           lambda m: of(m, 43, 0.3).last("test_accuracy"), Within(low=0.95), COUNTED),
]  # fmt: skip


def through(m: Measures) -> Any:
    """Accuracy with the penalty, also of regression with the kernel of each step; the kernel with and without it."""
    own = penalised(m)
    both = {name: one for name, one in (("penalty", own), ("no penalty", penalised(m, False))) if len(one.valid)}
    names = {"training set": "train_accuracy", "test set": "test_accuracy", "kernel of this step": "kernel/accuracy"}
    accuracy = {name: own[measure] for name, measure in names.items() if len(own.valid)}
    panels = [
        stages.Panel("accuracy", accuracy, {"chance": float(1 / m.only(P))}, ylim=(-0.02, 1.03)),
        stages.Panel("change of\nthe kernel", {k: one["kernel/movement"] for k, one in both.items()}),
        stages.Panel("1 − cosine with\nthe first kernel", {k: one["kernel/turned"] for k, one in both.items()}),
        stages.Panel("largest weight", {k: one["kernel/largest"] for k, one in both.items()}, log=True),
    ]
    return stages.stages(m.steps, panels, xscale="log")


def accuracies(m: Measures) -> Any:
    """For the least p and the largest: test accuracy of the network at the end, and of regression with the first kernel."""
    shown = []
    for p in np.unique(m[P])[[0, -1]]:
        numbers, network = by_share(m, p, "test_accuracy", end=True)
        curves = {"network": network, "first kernel": by_share(m, p, "kernel/accuracy", end=False)[1]}
        shown.append(trends.Trend(f"% of all pairs, p = {p}", (100 * numbers / p**2).round(), curves))
    return trends.trends(shown, "test accuracy")


def pairs_needed(m: Measures) -> Any:
    """Pairs at which half of the test pairs are right, beside all pairs and a line of the exponent 5/3."""
    p = np.unique(m[P])
    found = np.stack([needed(m, one) for one in p])
    limits = {"all pairs": p**2.0, "∝ p$^{5/3}$": stages.median(found.T)[0] * (p / p[0]) ** (5 / 3)}
    shown = trends.Trend("p", p, {"network": found}, limits)
    return trends.trends([shown], "pairs for half of the test set", ylim=(30, 3000), log=True)


SAVED = np.unique(np.concatenate([np.arange(0, 100, 10), np.geomspace(100, 15_000, 36).round(-1)]).astype(int))
part = partial(Part.alike, keep=(), probes={"kernel": kernel}, omit=("train_loss", "test_loss"))
PARTS = {
    "escape": part(escapes(range(1), p=7, width=8), escapes(SEEDS), SAVED, claims=ESCAPE, figures={"escape": through}),
    "pairs": part(counts(range(1), {5: (0.5, 0.9)}, width=8), counts(SEEDS, SHARES), np.array([0, 3000]), claims=PAIRS,
                  figures={"accuracies": accuracies, "pairs_needed": pairs_needed}),
}  # fmt: skip
