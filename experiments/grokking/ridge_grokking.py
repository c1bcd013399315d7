"""Ridge grokking: a linear student of more dimensions than examples is right when decay has made it forget its start.

Claim     The part of the initial weights that no example sees has no gradient. It stays while the training set is fitted,
          and only weight decay takes it away. So linear regression with weight decay groks from large initial weights,
          after ln √(q/θ) / (rate · decay) steps, where q is the test loss of that part at the start and θ the loss at
          which the student counts as right: logarithmic in the initial weights, inverse in the decay. From small weights
          it does not grok.
Source    Xu 2026, ridge regression (arXiv 2601.19791); it is the exact form, for linear students, of the laws of Liu et al.
          2022b (Omnigrok: t ∝ ln(w₀/w_c)/γ) and Lyu et al. 2023. Here 400 dimensions, 200 examples, a teacher of length 1
          along 20 strong directions, the other 380 of standard deviation 0.3, gradient descent with rate 0.1 on half the
          mean squared error, decay 1e-3, θ = 0.1.
Expect    By the closed form, at weights × 3, 10 and 30: about 7,000, 19,000 and 30,000 steps; none at × 1.
Cost      cpu: 100 runs of 40,000 steps, 8 minutes of a core that others used too. paper: the same.
Command   python run_sweep.py ridge_grokking [--scale smoke|cpu|paper]
Fails     The closed form leaves out the test loss of the ridge solution itself, .015: the steps from weights × 3 are 1.12
          of it (1.07 to 1.20), from × 10 1.04 and from × 30 1.03. With θ = 0.05 weights × 1 grok too, 25 to 225 times
          later than they fit: their q is .044, and with .015 it is above that θ.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab.analysis import linear_regression as exact
from toylab.analysis import transitions
from toylab.base import Config, Params, Run
from toylab.claims import Claim, Direction, Median, Source, Within
from toylab.claims.kinds import Kind
from toylab.lab import Measures
from toylab.models import Dense, Net
from toylab.optim import SGD
from toylab.plots import stages, trends
from toylab.sweep import log_then_linear
from toylab.tasks import SpikedTeacher

SEEDS = range(100, 120)  # none of them was trained before the claims were fixed
SCALES, DECAY, FASTER = (1.0, 3.0, 10.0, 30.0), 1e-3, 4e-3  # of the initial weights; decays
RATE, LEVEL = 0.1, 0.1
NEAR = {3.0: 1.25, 10.0: 1.1, 30.0: 1.1}  # the ridge solution has a test loss too, .015: short times are longer
LARGE, LAST = 10.0, 40_000  # the scale at which two decays are compared; steps


def student(seed: int, scale: float, decay: float = DECAY, **sizes: int) -> Config:
    """The loss is twice half the mean squared error, and so the rate is half, the decay twice what they are called."""
    task = SpikedTeacher(**sizes)
    net = Net.of(Dense, d_in=task.d, d_out=1, widths=(), bias=False, init="normal", init_scale=scale)
    return Config(task, net, SGD(lr=RATE / 2, weight_decay=2 * decay), seed)


def students(seeds: Sequence[int], **sizes: int) -> list[Config]:
    kinds = [*((scale, DECAY) for scale in SCALES), (LARGE, FASTER)]
    return [student(seed, scale, decay, **sizes) for scale, decay in kinds for seed in seeds]


def unseen(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the test loss of what the student has outside the span of its examples."""
    deviations = run.config.task.deviations  # type: ignore[attr-defined]
    return {"loss": exact.unseen_loss(params["W_out"][:, 0], jnp.asarray(run.data["x"]), deviations)}


def at(m: Measures, scale: float, decay: float = DECAY) -> Measures:
    """The runs from one scale of the initial weights, with one decay."""
    same = np.isclose(m["config/net.init_scale"], scale) & np.isclose(m["config/optimizer.weight_decay"], 2 * decay)
    return m.runs(same)


def steps_to(m: Measures, of: str, level: float = LEVEL) -> np.ndarray:
    """[R]: the step at which a loss first lies below a level, on lines between the logarithms at saved points."""
    loss = np.where(m.valid, m[f"{of}_loss"], np.nan)
    return transitions.first_below(m.steps, np.log(np.maximum(loss, 1e-30)), float(np.log(level)))


def foreseen(m: Measures, level: float = LEVEL) -> np.ndarray:
    """[R]: the steps of the closed form, from the weights at the start."""
    decay = m["config/optimizer.lr"] * m["config/optimizer.weight_decay"]
    return exact.forgetting_steps(m["unseen/loss"][:, 0].astype(float), level, decay)


def over_foreseen(m: Measures, scale: float, level: float = LEVEL) -> np.ndarray:
    m = at(m, scale)
    return steps_to(m, "test", level) / foreseen(m, level)


def slower(m: Measures, level: float = LEVEL) -> np.ndarray:
    """[seed]: steps with the usual decay over those with four times as much."""
    return steps_to(at(m, LARGE), "test", level) / steps_to(at(m, LARGE, FASTER), "test", level)


def delay(m: Measures, scale: float, level: float = LEVEL) -> np.ndarray:
    """[R]: steps to the level on the test set over those on the training set."""
    m = at(m, scale)
    return steps_to(m, "test", level) / steps_to(m, "train", level)


def stated(
    says: str, name: str, quantity: Callable[..., np.ndarray], kind: Kind, where: str = "time of grokking"
) -> Claim:
    others = {f"θ = {level:g}": partial(quantity, level=level) for level in (0.05, 0.2)}
    return Claim(name, Source("Xu 2026", where, says), quantity, kind, each="seed", looks=(8, 20), variants=others)


CLAIMS = [
    *(stated("ln √(q/θ) / (rate · decay)", f"weights × {scale:g}: steps to the test loss θ over the closed form's",
             partial(over_foreseen, scale=scale), Median(1, NEAR[scale], "log")) for scale in SCALES[1:]),
    stated("inverse in the decay", "weights × 10: steps with decay 1e-3 over those with 4e-3", slower,
           Median(FASTER / DECAY, 1.1, "log")),
    stated("large initial weights grok", "weights × 30: steps to θ on the test set over the training set",
           partial(delay, scale=30.0), Direction(null=10)),
    stated("small initial weights do not", "weights × 1: steps to θ on the test set over the training set",
           partial(delay, scale=1.0), Within(high=10)),
]  # fmt: skip


def curves(m: Measures) -> Any:
    """From the largest and the smallest weights: losses, and what is unseen by its exact decay."""
    panels = []
    for scale in (max(SCALES), min(SCALES)):
        own = at(m, scale)
        decay = own["config/optimizer.lr"] * own["config/optimizer.weight_decay"]
        law = own["unseen/loss"][:, :1] * (1 - decay[:, None]) ** (2 * own.steps)
        losses = {"train": own["train_loss"], "test": own["test_loss"], "closed form": law}
        panels.append(stages.Panel(f"squared error\n(weights × {scale:g})", losses, {"θ": LEVEL}, log=True))
    return stages.stages(m.steps, panels, xscale="log")


def times(m: Measures) -> Any:
    """Steps over the scale of the initial weights, with the closed form's: of the least decay, at scales that have as many
    runs as any, from which on there is something to forget."""
    m = m.runs(m["config/optimizer.weight_decay"] == m["config/optimizer.weight_decay"].min())
    known, runs = np.unique(m["config/net.init_scale"], return_counts=True)
    every = [m.runs(m["config/net.init_scale"] == scale) for scale in known[runs == runs.max()]]
    each = [own for own in every if np.median(foreseen(own)) > 0] or every
    found = {of: np.stack([np.log10(steps_to(own, of)) for own in each]) for of in ("train", "test")}
    exactly = {"closed form": np.log10([max(np.median(foreseen(own)), 1) for own in each])}
    scales = np.array([own["config/net.init_scale"][0] for own in each])
    shown = [trends.Trend("scale of the initial weights", scales, found, exactly)]
    return trends.trends(shown, "log$_{10}$ steps to θ", ylim=(1, 4.8))


SMALL = {"d": 30, "n_train": 10, "n_test": 20, "n_spikes": 3}
SAVED = log_then_linear(5, LAST, 160)
CONFIGS = {"smoke": students(range(1), **SMALL), "cpu": students(SEEDS), "paper": students(SEEDS)}
SAVES = {"smoke": (0, 20, 40), "cpu": SAVED, "paper": SAVED}
STOP = dict.fromkeys(CONFIGS)
MILESTONE = ("generalise", lambda measures: np.any(measures["test_loss"] < LEVEL, axis=-1))
ANALYSES = {"unseen": unseen}
OMIT = ("train_accuracy", "test_accuracy")
FIGURES = {"curves": curves, "times": times}
