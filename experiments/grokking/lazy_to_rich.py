"""Lazy to rich: a network fits its examples with the features of its start, and generalises later as these turn.

Claim     A network of two layers that regresses a quadratic form by plain gradient descent fits its examples first with the
          tangent kernel of its start, which does not generalise. Later its features turn towards the target and the test
          loss falls, without any regularisation and while the norm of the weights grows. The larger the scale α of the
          output, the lazier the network: its kernel moves as 1/α, and the delay grows.
Source    Kumar et al. 2023, Grokking as the Transition from Lazy to Rich Training Dynamics (arXiv 2310.06110) and its
          released code: f(x) = α mean_i φ(w_i · x) less the same at the start, φ(h) = h + ε h²/2, w ~ N(0, I), only w is
          trained, by full-batch descent on the squared error at the rate N/α²; x ~ N(0, I/D), y = (β · x)²/2. Theirs:
          D = 100, N = 500, 550 examples, 100,000 steps. Here D = 30, N = 100, 165 examples, 10,000 steps, and |β|² = D,
          so that the answers of all seeds have one scale. Chizat et al. 2019 (arXiv 1812.07956): the kernel's law.
Expect    Kernel movement ∝ α^−1.05. From α = ⅛ to 32 the test loss comes to half the variance 2.9 to 49 times later than
          the train loss, or has not by the end. With 60 examples it never does; with 600 it comes 1.2 times later.
Cost      cpu: 220 runs, 4 minutes of one core. paper: the same.
Command   python run_sweep.py lazy_to_rich [--scale smoke|cpu|paper] [--part scale|bend|examples]
Fails     As a factor, the delay is not longer with a smaller ε: at ⅛ it is 0.29 (0.11 to 0.66) of that at 2, shorter in 20
          of 20 runs. In steps it is 15 times (5 to 23) as long. On development seeds runs with the same ε α end alike, so
          that a larger ε also makes the network lazier.
          Whether the delay grows with each factor 4 of α is undecided: the least factor is 1.13 (0.97 to 1.17), above 1 in
          15 of 20 runs. In the other five it falls from α = 8 to 32, where no test loss comes to half the variance within
          10,000 steps, so that the delay is only known to be at least so much.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab.analysis import representation, transitions
from toylab.base import Config, Params, Run
from toylab.claims import Claim, Direction, Law, Proportion, Source, Within, scaled
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Measures, Part
from toylab.models import CentredDense, Net
from toylab.optim import SGD
from toylab.plots import stages, trends
from toylab.tasks import LinearTeacher

SEEDS = range(100, 120)  # none of them was trained before the claims were fixed
SCALES = (0.125, 0.5, 2.0, 8.0, 32.0)  # α
BENDS = (0.125, 0.5, 2.0)  # ε
SIZES = (60, 165, 600)  # examples; the quadratic forms of 30 numbers have 465 dimensions
LAST, VARIANCE = 10_000, 0.5  # the answer is half a squared normal number
HALF, FIT = VARIANCE / 2, VARIANCE / 10
PROBED = 64  # test examples of which the kernel is measured
LAZY = np.unique(np.concatenate([[0], np.geomspace(1, LAST, 60).round()]))  # steps of the lazy limit


def students(
    seeds: Sequence[int],
    scales: Sequence[float] = (1.0,),
    bends: Sequence[float] = (0.25,),
    sizes: Sequence[int] = (165,),
    d: int = 30,
    width: int = 100,
    n_test: int = 1000,
) -> list[Config]:
    """A scale of the start of √d makes w ~ N(0, I)."""

    def net(scale: float, bend: float) -> Net:
        how: dict[str, Any] = {"activation": "bent", "bias": False, "init": "normal", "readout": "mean"}
        sizes: dict[str, Any] = {"d_in": d, "d_out": 1, "widths": (width,)}
        return Net.of(CentredDense, **sizes, **how, init_scale=d**0.5, output_scale=scale, bend=bend)

    return [
        Config(
            LinearTeacher(d=d, n_train=size, n_test=n_test, quadratic=True),
            net(scale, bend),
            SGD(lr=width / scale**2),
            seed,
        )
        for size in sizes
        for scale in scales
        for bend in bends
        for seed in seeds
    ]


def tangent(params: Params, run: Run, x: Array, other: Array | None = None, at: str = "W_0") -> Array:
    """The tangent kernel of the first layer now, or at="start_W_0" of the start."""

    def outputs(W: Array, x: Array) -> Array:
        return run.config.net.apply({**params, "W_0": W}, x, full=False)[0]

    return representation.ntk(outputs, params[at], x, other)


def features(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer, on test examples: how far the kernel is from that of the start, its alignment with the answers, how alike
    the neurons' values are to those of the start, and where the weights are."""
    x, y = run.data["x_test"][:PROBED], run.data["y_test"][:PROBED]
    W, start = params["W_0"], params["start_W_0"]
    K, K0 = (tangent(params, run, x, at=name) for name in ("W_0", "start_W_0"))
    now, then = (run.config.net.apply({**params, "W_0": own}, x)[1]["post_0"][0] for own in (W, start))
    return {
        "movement": representation.kernel_movement(K, K0),
        "alignment": representation.alignment(K, y @ y.T),
        "cka": representation.linear_cka(now, then),
        "on_teacher": jnp.sum((run.data["teacher"] @ W) ** 2) / jnp.sum(W**2),
        "grown": jnp.linalg.norm(W) / jnp.linalg.norm(start),
    }


def lazy(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer, of the end: the losses at `LAZY` of a network whose kernel stays that of the start, and at their end."""
    x, x_test = run.data["x"], run.data["x_test"]
    K, K_test = (tangent(params, run, rows, x, at="start_W_0") for rows in (x, x_test))
    answers = run.data["y"][:, 0], run.data["y_test"][:, 0]
    rate = run.config.optimizer.lr  # type: ignore[attr-defined]
    train, test = representation.kernel_descent(K, K_test, *answers, rate, jnp.append(jnp.float32(LAZY), jnp.inf))
    return {"train": train[:-1], "test": test[:-1], "regression": test[-1]}


# --- quantities

ALPHA, EPSILON, EXAMPLES = "config/net.output_scale", "config/net.bend", "config/task.n_train"


def at(m: Measures, value: float, of: str = ALPHA) -> Measures:
    return m.runs(np.isclose(m[of], value, rtol=1e-4))


def time(m: Measures, of: str, level: float = HALF) -> np.ndarray:
    """[R]: the step at which a loss has come down to a level."""
    return transitions.first_below(m.steps, np.where(m.valid, m[f"{of}_loss"], np.nan), level)


def delay(m: Measures, level: float = HALF) -> np.ndarray:
    """[R]: the step at which the test loss comes down to a level over that of the train loss: at least so much where it
    has not by the end."""
    return np.fmax(np.nan_to_num(time(m, "test", level), nan=m.steps[-1]) / time(m, "train", level), 0)


def waits(m: Measures, level: float = HALF) -> np.ndarray:
    """[R]: the same in steps."""
    return np.nan_to_num(time(m, "test", level), nan=m.steps[-1]) - time(m, "train", level)


def over(m: Measures, one: float, other: float, of: str = ALPHA, what: Any = delay, level: float = HALF) -> np.ndarray:
    """[seeds]: what is at one value of a field over what is at another."""
    return what(at(m, one, of), level) / what(at(m, other, of), level)


def least_factor(m: Measures, what: Any = delay, level: float = HALF) -> np.ndarray:
    """[seeds]: the least factor from one α to the next."""
    found = np.stack([what(at(m, scale), level) for scale in SCALES])
    return np.min(found[1:] / found[:-1], axis=0)


def least_change(
    m: Measures, name: str, values: Sequence[float] = SCALES, of: str = ALPHA, sign: int = 1
) -> np.ndarray:
    """[seeds]: the least change of a measure at the end from one value of a field to the next."""
    return np.min(np.diff(sign * np.stack([at(m, value, of).last(name) for value in values]), axis=0), axis=0)


def of_the_start(m: Measures) -> np.ndarray:
    """[seeds]: the least change of the first kernel's alignment from one ε to the next."""
    return np.min(
        np.diff(np.stack([at(m, bend, EPSILON)["features/alignment"][:, 0] for bend in BENDS]), axis=0), axis=0
    )


def at_fit(m: Measures, level: float = FIT) -> tuple[np.ndarray, np.ndarray]:
    """[R], [R]: test loss, and that of the lazy limit, at the first saved step with the training set fitted."""
    step = m.first_step(m["train_loss"] < level)
    place = np.searchsorted(m.steps, np.nan_to_num(step))
    found = m["test_loss"].astype(float)[np.arange(len(place)), place]
    kernel = np.array([np.interp(t, LAZY, own) for t, own in zip(step, m["final/lazy/test"], strict=True)])
    return np.where(np.isnan(step), np.nan, found), np.where(np.isnan(step), np.nan, kernel)


def follows(m: Measures, scale: float, level: float = FIT) -> np.ndarray:
    """[R]: test loss over that of the lazy limit when the training set is fitted."""
    found, kernel = at_fit(at(m, scale), level)
    return found / kernel


def gains(m: Measures, scale: float = 2.0, level: float = FIT) -> np.ndarray:
    """[R]: test loss when the training set is fitted over that at the end."""
    m = at(m, scale)
    return at_fit(m, level)[0] / m.last("test_loss")


def beyond_the_kernel(m: Measures, scale: float = 2.0) -> np.ndarray:
    """[R]: test loss at the end over that of regression with the kernel of the start."""
    m = at(m, scale)
    return m.last("test_loss") / m["final/lazy/regression"]


def moved(m: Measures) -> np.ndarray:
    """[R, 2]: α, and how far the kernel is from that of the start."""
    return np.stack([m[ALPHA], m.last("features/movement")], axis=1)


def never(m: Measures, size: int, level: float = HALF) -> np.ndarray:
    """[R]: whether the test loss never comes down to a level, 1 or 0."""
    return np.isnan(time(at(m, size, EXAMPLES), "test", level)).astype(float)


# --- claims

KUMAR, CHIZAT = "Kumar et al. 2023", "Chizat et al. 2019"
SMALLER = scaled("30 inputs, 100 neurons and 165 examples, 10,000 steps; theirs 100, 500 and 550, 100,000 steps")
LEVELS = {"a third of the variance": VARIANCE / 3, "0.3 of the variance": 0.3 * VARIANCE}


def stated(where: str, says: str, name: str, quantity: Quantity, kind: Kind, **more: Any) -> Claim:
    return Claim(name, Source(KUMAR, where, says), quantity, kind, fidelity=SMALLER, each="seed", looks=(8, 20), **more)


def levels(quantity: Any, **named: Any) -> dict[str, Quantity]:
    return {name: partial(quantity, level=level, **named) for name, level in LEVELS.items()}


RATE_OF_FEATURES = "abstract", "the rate of feature learning is controlled by the scale of the output"
CLAIMS = [
    Claim("exponent of the kernel's movement in α", Source(CHIZAT, "lazy training", "the relative change falls as 1/α"),
          moved, Law((-1.2, -0.8), widest=0.2), fidelity=SMALLER),
    stated(*RATE_OF_FEATURES, "alignment of the kernel with the answers at the end: least fall from one α to the next",
           partial(least_change, name="features/alignment", sign=-1), Direction()),
    stated(*RATE_OF_FEATURES, "CKA of the neurons with their start at the end: least rise from one α to the next",
           partial(least_change, name="features/cka"), Direction()),
    stated(*RATE_OF_FEATURES, "share of squared weights along the target at the end: least fall from one α to the next",
           partial(least_change, name="features/on_teacher", sign=-1), Direction()),
    stated("output scale", "larger α amplifies the delay", "delay: α = 8 over α = ½",
           partial(over, one=8.0, other=0.5), Direction(null=1, always=True),
           variants=levels(over, one=8.0, other=0.5)),
    stated("output scale", "larger α amplifies the delay", "delay: least factor from one α to the next",
           least_factor, Direction(null=1), variants=levels(least_factor)),
    stated("output scale", "larger α amplifies the delay", "delay in steps: least factor from one α to the next",
           partial(least_factor, what=waits), Direction(null=1), variants=levels(least_factor, what=waits)),
    stated("abstract", "first attempts a kernel regression with its initial features",
           "α = 32: test loss over that of the lazy limit when the training set is fitted", partial(follows, scale=32.0),
           Within(0.8, 1.25), variants={"a fifth": partial(follows, scale=32.0, level=VARIANCE / 5)}),
    stated("abstract", "a generalising solution is identified after the train loss is already low",
           "α = 2: test loss when the training set is fitted over that at the end", gains, Within(low=2),
           variants={"a fifth": partial(gains, level=VARIANCE / 5)}),
    stated("figure 1", "ends below regression with the first kernel",
           "α = 2: test loss at the end over that of regression with the first kernel", beyond_the_kernel,
           Within(high=0.5)),
    stated("abstract", "not explained by theories of weight norms", "α = 2: norm of the weights, end over start",
           lambda m: at(m, 2.0).last("features/grown"), Direction(null=1, always=True)),
]  # fmt: skip
MISALIGNED = "abstract", "the delay arises when the first kernel and the labels are misaligned"
BEND = [
    stated("alignment", "ε sets the alignment of the first kernel",
           "alignment of the first kernel with the answers: least rise from one ε to the next", of_the_start, Direction()),
    stated(*MISALIGNED, "delay: ε = ⅛ over ε = 2",
           partial(over, one=0.125, other=2.0, of=EPSILON), Direction(null=1),
           variants=levels(over, one=0.125, other=2.0, of=EPSILON)),
    stated(*MISALIGNED, "delay in steps: ε = ⅛ over ε = 2",
           partial(over, one=0.125, other=2.0, of=EPSILON, what=waits), Direction(null=1),
           variants=levels(over, one=0.125, other=2.0, of=EPSILON, what=waits)),
    Claim("test loss at the end: ε = 2 over ε = ⅛", None,
          lambda m: at(m, 2.0, EPSILON).last("test_loss") / at(m, 0.125, EPSILON).last("test_loss"), Direction(null=1),
          "finding", each="seed", looks=(8, 20)),
]  # fmt: skip
DATA = [
    stated("abstract", "enough data that the network can generalise eventually",
           "60 examples: half the variance of the test set is never reached", partial(never, size=60),
           Proportion(least_share=0.8), variants=levels(never, size=60)),
    stated("abstract", "not so many that train and test loss are one", "delay: 165 examples over 600",
           partial(over, one=165, other=600, of=EXAMPLES), Direction(null=1, always=True),
           variants=levels(over, one=165, other=600, of=EXAMPLES)),
    stated("abstract", "not so many that train and test loss are one", "delay with 600 examples",
           lambda m: delay(at(m, 600, EXAMPLES)), Within(0.67, 1.5)),
]  # fmt: skip


# --- figures


def losses(m: Measures) -> Any:
    """A panel for the least α, the middle one and the largest."""
    scales = np.unique(m[ALPHA])
    panels = []
    for scale in np.unique(scales[[0, len(scales) // 2, -1]]):
        own = at(m, scale)
        kernel = np.stack([np.interp(m.steps, LAZY, each) for each in own["final/lazy/test"]])
        curves = {"train": own["train_loss"], "test": own["test_loss"], "test, lazy limit": kernel}
        panels.append(stages.Panel(f"loss, α = {scale:g}", curves, {"half the variance": HALF}, True, (1e-4, 2)))
    return stages.stages(m.steps, panels, xscale="log")


def by(m: Measures, field: str, what: Any) -> tuple[np.ndarray, np.ndarray]:
    """Values [N] of a field and [N, seeds]: of those that have as many runs as any."""
    known, runs = np.unique(m[field], return_counts=True)
    values = known[runs == runs.max()]
    return values, np.stack([what(at(m, value, field)) for value in values])


def movement(m: Measures) -> Any:
    values, found = by(m, ALPHA, lambda own: own.last("features/movement"))
    law = np.exp(np.mean(np.log(np.median(found, axis=1) * values))) / values
    shown = trends.Trend("scale α of the output", values, {"end of training": found}, {"∝ 1/α": law})
    return trends.trends(
        [shown], "movement of the kernel", ylim=(0.5 * np.nanmin(found), 2 * np.nanmax(found)), log=True
    )


def representations(m: Measures) -> Any:
    names = {"features/cka": "CKA with the start", "features/on_teacher": "weights along the target",
             "features/alignment": "kernel's alignment with the answers"}  # fmt: skip
    found = {label: by(m, ALPHA, lambda own, name=name: own.last(name)) for name, label in names.items()}
    values = next(iter(found.values()))[0]
    shown = trends.Trend("scale α of the output", values, {label: own for label, (_, own) in found.items()})
    return trends.trends([shown], "at the end of training")


def from_one(m: Measures) -> np.ndarray:
    """[R]: `delay`; a loss that begins below the level counts as there after one step."""
    return np.maximum(np.nan_to_num(time(m, "test"), nan=m.steps[-1]), 1) / np.maximum(time(m, "train"), 1)


def delays(m: Measures, field: str, label: str) -> Any:
    values, found = by(m, field, from_one)
    shown = trends.Trend(label, values, {"half the variance": found}, {"no delay": np.ones(len(values))})
    most = 2 * np.nanmax(found, initial=1)
    return trends.trends([shown], "steps of the test loss over\nsteps of the train loss", ylim=(0.5, most), log=True)


SAVED = np.unique(np.concatenate([[0], np.geomspace(1, LAST, 40).round()]).astype(int))
EARLIER = SAVED[SAVED <= LAST // 2]
SMALL: dict[str, Any] = {"d": 16, "width": 8, "n_test": 20}


def part(
    small: list[Config], full: list[Config], claims: Sequence[Claim], saves: np.ndarray = SAVED, **figures: Any
) -> Part:
    limit = ("final/lazy/test", "final/lazy/train")  # of the scales alone it is read
    return Part(
        configs={"smoke": small, "cpu": full, "paper": full},
        saves={"smoke": (0, 10, 20), "cpu": saves, "paper": saves},
        milestone=("generalise", lambda measures: np.any(measures["test_loss"] < HALF, axis=-1)),
        final={"lazy": lazy},
        analyses={"features": features},
        claims=claims,
        figures=figures,
        omit=() if claims is CLAIMS else limit,
    )


PARTS = {
    "scale": part(students(range(1), SCALES, sizes=(20,), **SMALL), students(SEEDS, SCALES), CLAIMS, losses=losses,
                  movement=movement, representations=representations,
                  delay_by_scale=partial(delays, field=ALPHA, label="scale α of the output")),
    "bend": part(students(range(1), bends=BENDS, sizes=(20,), **SMALL), students(SEEDS, bends=BENDS), BEND, EARLIER,
                 delay_by_bend=partial(delays, field=EPSILON, label="bend ε of the neurons")),
    "examples": part(students(range(1), sizes=(10, 20), **SMALL), students(SEEDS, sizes=SIZES), DATA, EARLIER,
                     delay_by_examples=partial(delays, field=EXAMPLES, label="training examples")),
}  # fmt: skip
