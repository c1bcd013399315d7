"""Critical size: how many pairs a network needs to generalise, over its width, and beside pairs that are only memorised.

Claim     A network that adds modulo p memorises few pairs and generalises from many, with a critical number between. Below
          it test pairs stay wrong, above it they are right long after the training pairs, far above it at once. A network
          that is too small to memorise learns test pairs before it fits. Width and pairs make a plane with four zones. With
          pairs of random labels in the same batch the operation takes a larger network: it emerges with size.
Source    Huang et al. 2024, Unified View of Grokking, Double Descent and Emergent Abilities (arXiv 2402.15175): the
          critical size falls as the model grows. Zhu et al. 2024, Critical Data Size of Language Models from a Grokking
          Perspective (arXiv 2401.10463): it rises. Theirs are transformers; here the quadratic network of Gromov 2023, p =
          31, AdamW lr 1e-2, weight decay 1, 3,000 steps, all training pairs in one batch.
Expect    Of 961 pairs width 64 memorises 192, groks with 384 (test 21 times later than train) and with 768 sooner by a
          factor of 7. Half of the test pairs are right from 350 pairs on at width 16 and 283 at 128 (medians of 20), 1.23
          times as many (1.06 to 1.49, n = 8). Beside 480 random pairs the addition takes 3.0 times the width (1.9 to 4.1,
          n = 8) to be 90 % right; at width 16 its test accuracy falls by 0.87 (0.81 to 0.90, n = 20), at 64 it is 1 again.
Cost      cpu: 960 + 360 runs, 66 programs to compile, 25 minutes of one core; peak memory 1.6 GB. paper: the same.
Command   python run_sweep.py critical_size [--scale smoke|cpu|paper] [--part plane|mixed]
Fails     That the critical size rises with the model (Zhu et al.): at width 128 it is 0.82 of that at width 16 (0.67 to
          0.95, n = 8), the other way in 8 of 8; their models are transformers on language too, with a start made
          larger, which a larger network may need more data to leave (conjecture). Whether it still falls from width 32
          on is undecided (1.03, 0.99 to 1.18), and so is a second descent over the width beside random pairs: in 14 of 20
          seeds width 4 is better than width 12.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from toylab.analysis import over_cells
from toylab.base import Config
from toylab.claims import Claim, Direction, Proportion, Source, Within, analogue
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Measures, Part
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.plots import phase, trends
from toylab.sweep import log_then_linear
from toylab.tasks import ModularArithmetic, ModularBesideRandom

SEEDS = range(100, 120)  # none of them was trained before the claims were fixed
WIDTHS, PAIRS = (4, 8, 16, 32, 64, 128), (192, 240, 288, 336, 384, 480, 624, 768)  # of 961 pairs
BESIDE, N_RANDOM = (4, 8, 12, 16, 24, 32, 48, 64, 128), 480
HALF, FITTED, RIGHT = 0.5, 0.99, 0.9


def net(width: int, p: int, n_tokens: int, d_model: int = 32) -> Net:
    sizes: dict[str, Any] = {"d_vocab": n_tokens, "d_vocab_out": p, "d_model": d_model, "d_mlp": width}
    return Net.of(ModularMLP, **sizes, embedding="shared", activation="quadratic")


def plane(
    seeds: Sequence[int], widths: Sequence[int] = WIDTHS, pairs: Sequence[int] = PAIRS, p: int = 31
) -> list[Config]:
    return [
        Config(ModularArithmetic(p=p, n_train=n), net(width, p, p), AdamW(lr=1e-2), seed)
        for width in widths
        for n in pairs
        for seed in seeds
    ]


def mixed(
    seeds: Sequence[int], widths: Sequence[int] = BESIDE, n_train: int = 480, n_random: int = N_RANDOM, p: int = 31
) -> list[Config]:
    """The addition alone and beside random pairs, in networks that know both sets of numbers."""
    return [
        Config(ModularBesideRandom(p=p, n_train=n_train, n_random=n), net(width, p, 2 * p), AdamW(lr=1e-2), seed)
        for n in (0, n_random)
        for width in widths
        for seed in seeds
    ]


# --- quantities


def of_width(m: Measures, width: int) -> Measures:
    return m.runs(m["config/net.d_mlp"] == width)


def at(m: Measures, width: int, pairs: int) -> Measures:
    return m.runs((m["config/net.d_mlp"] == width) & (m["config/task.n_train"] == pairs))


def last(m: Measures, width: int, pairs: int) -> np.ndarray:
    return at(m, width, pairs).last("test_accuracy")


def table(m: Measures, column: str, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of a column [N], and `value` [R] as [seed, N]."""
    return np.unique(m[column]), value[over_cells.table(m["config/seed"], m[column])]


def first_above(x: np.ndarray, values: np.ndarray, level: float) -> np.ndarray:
    """[seed]: where values [seed, N] first come to a level over x [N], linear in ln x between; nan where they never do or
    begin there."""
    found = np.full(len(values), np.nan)
    for i, row in enumerate(values):
        j = int(np.argmax(row >= level))
        if row[j] >= level and j:
            share = (level - row[j - 1]) / (row[j] - row[j - 1])
            found[i] = np.exp(np.log(x[j - 1]) + share * np.log(x[j] / x[j - 1]))
    return found


def critical(m: Measures, width: int, level: float = HALF) -> np.ndarray:
    """[seed]: the number of pairs from which on this test accuracy is reached."""
    own = of_width(m, width)
    return first_above(*table(own, "config/task.n_train", own.last("test_accuracy")), level)


def needed(m: Measures, narrow: int, wide: int, level: float = HALF) -> np.ndarray:
    """[seed]: critical pairs of the narrow network over those of the wide one."""
    return critical(m, narrow, level) / critical(m, wide, level)


def delay(m: Measures, width: int, pairs: int, accuracy: float = 0.95) -> np.ndarray:
    """[seed]: steps to an accuracy on test pairs over those on training pairs; inf where the test pairs never have it."""
    own = at(m, width, pairs)
    test, train = (own.first_step(own[f"{of}_accuracy"] >= accuracy) for of in ("test", "train"))
    return np.nan_to_num(test, nan=np.inf) / train


def shortened(m: Measures, accuracy: float = 0.95) -> np.ndarray:
    return delay(m, 64, 768, accuracy) / delay(m, 64, 384, accuracy)


ZONES = ("fits neither", "progression", "memorises (ungrokking)", "semi-grokking", "grokking")


def zone(m: Measures) -> np.ndarray:
    """[R]: 0 to 4, as ZONES: whether the training pairs were ever fitted (accuracy .99), and the test accuracy at the end
    (below a tenth, between, at least .9)."""
    fits = (m["train_accuracy"] >= FITTED).any(axis=1)
    test = m.last("test_accuracy")
    fitted = np.select([test < 0.1, test < RIGHT], [2, 3], 4)
    return np.where(fits, fitted, np.where(test < 0.1, 0, 1))


def in_zone(m: Measures, width: int, pairs: int, which: str) -> np.ndarray:
    """[seed]: 1 where the run is in this zone, else 0."""
    return (zone(at(m, width, pairs)) == ZONES.index(which)).astype(float)


def with_random(m: Measures, some: bool) -> Measures:
    return m.runs((m["config/task.n_random"] > 0) == some)


def smallest(m: Measures, some: bool, level: float = RIGHT) -> np.ndarray:
    """[seed]: the width from which on the test accuracy of the addition is reached; inf where it never is."""
    own = with_random(m, some)
    return np.nan_to_num(first_above(*table(own, "config/net.d_mlp", own.last("test_accuracy")), level), nan=np.inf)


def later(m: Measures, level: float = RIGHT) -> np.ndarray:
    """[seed]: the width at which the addition is learned beside random pairs, over that at which it is alone."""
    return smallest(m, True, level) / smallest(m, False, level)


def accuracy(m: Measures, width: int, some: bool, of: str = "test") -> np.ndarray:
    return of_width(with_random(m, some), width).last(f"{of}_accuracy")


# --- claims

ZHU, HUANG = "Zhu et al. 2024", "Huang et al. 2024"
OTHER = analogue("a quadratic MLP of p = 31; theirs are transformers")


def stated(paper: str, where: str, says: str, name: str, quantity: Quantity, kind: Kind, **more: Any) -> Claim:
    source = Source(paper, where, says)
    return Claim(name, source, quantity, kind, fidelity=OTHER, each="seed", looks=(8, 20), **more)


def found(name: str, quantity: Quantity, kind: Kind, **more: Any) -> Claim:
    return Claim(name, None, quantity, kind, "finding", each="seed", looks=(8, 20), **more)


zhu, huang = partial(stated, ZHU), partial(stated, HUANG)


def levels(narrow: int, wide: int) -> dict[str, Quantity]:
    return {
        f"{level:.0%} of the test pairs": partial(needed, narrow=narrow, wide=wide, level=level) for level in (0.2, 0.8)
    }


PLANE = [
    zhu("data insufficiency", "the network memorises and does not generalise", "width 64, 192 pairs: test accuracy",
        partial(last, width=64, pairs=192), Within(high=0.1)),
    zhu("data sufficiency", "it generalises long after it has memorised",
        "width 64, 384 pairs: steps to 95 % of test over training pairs", partial(delay, width=64, pairs=384),
        Within(low=3, scale="log"), variants={"90 %": partial(delay, width=64, pairs=384, accuracy=0.9)}),
    zhu("data surplus", "the delay goes", "width 64: that ratio at 768 pairs over 384", shortened,
        Within(high=0.5, scale="log"), variants={"90 %": partial(shortened, accuracy=0.9)}),
    zhu("abstract", "the critical size rises as the model grows", "critical pairs of width 128 over those of width 16",
        partial(needed, narrow=128, wide=16), Direction(null=1), variants=levels(128, 16)),
    huang("figure 1", "the critical size falls as the model grows", "critical pairs of width 16 over those of width 128",
          partial(needed, narrow=16, wide=128), Direction(null=1), variants=levels(16, 128)),
    huang("figure 1", "beyond what it can memorise: progression", "width 4, 768 pairs: runs in the zone progression",
          partial(in_zone, width=4, pairs=768, which="progression"), Proportion(least_share=0.8)),
    huang("figure 1", "few data: ungrokking", "width 32, 240 pairs: runs that memorise",
          partial(in_zone, width=32, pairs=240, which="memorises (ungrokking)"), Proportion(least_share=0.8)),
    huang("figure 1", "where both sizes meet: semi-grokking", "width 8, 480 pairs: runs in the zone semi-grokking",
          partial(in_zone, width=8, pairs=480, which="semi-grokking"), Proportion(least_share=0.8)),
    huang("figure 1", "above the critical size: grokking", "width 32, 480 pairs: runs that generalise",
          partial(in_zone, width=32, pairs=480, which="grokking"), Proportion(least_share=0.8)),
    found("critical pairs of width 32 over those of width 128", partial(needed, narrow=32, wide=128),
          Within(1 / 1.15, 1.15, "log"), variants=levels(32, 128)),
]  # fmt: skip
MULTI = "multi-task learning"
MIXED = [
    huang(MULTI, "beside a task to be memorised the algorithm takes much larger models",
          "width that learns 90 % of the test pairs beside random pairs, over the width that does alone", later,
          Within(low=1.5, scale="log"), variants={f"{level:.0%}": partial(later, level=level) for level in (0.5, 0.8)}),
    huang(MULTI, "small models have the ability alone and lose it", "width 16: test accuracy, alone less beside random",
          lambda m: accuracy(m, 16, False) - accuracy(m, 16, True), Within(low=0.5)),
    huang(MULTI, "large models have it again", "width 64, beside random pairs: test accuracy",
          partial(accuracy, width=64, some=True), Within(low=0.9)),
    found("beside random pairs: test accuracy of width 4 less that of width 12",
          lambda m: accuracy(m, 4, True) - accuracy(m, 12, True), Direction()),
]  # fmt: skip

# --- figures


def zones(m: Measures) -> Any:
    """The plane of width and pairs: the zone of most seeds, and the median test accuracy."""
    axes = phase.Axis("width of the hidden layer", "even"), phase.Axis("training pairs", "even")
    cells = partial(phase.of_columns, m, "config/net.d_mlp", "config/task.n_train")
    return phase.diagram(
        phase.Panel(cells(zone(m)), *axes, categories=ZONES),
        phase.Panel(cells(m.last("test_accuracy")), *axes, "test accuracy", limits=(0.0, 1.0)),
    )


def emergence(m: Measures) -> Any:
    """Accuracy at the end over the width: of the addition alone and beside random pairs, and of these."""
    widths, curves = np.unique(m["config/net.d_mlp"]), {}
    for name, some, of in (("alone", False, "test"), ("beside random", True, "test"), ("random pairs", True, "random")):
        own = with_random(m, some)
        if len(own.valid):
            curves[name] = table(own, "config/net.d_mlp", own.last(f"{of}_accuracy"))[1].T
    return trends.trends([trends.Trend("width of the hidden layer", widths, curves)], "accuracy")


LEARN = ("generalise", lambda measures: measures["test_accuracy"][..., -1] >= RIGHT)
SAVES = log_then_linear(10, 3000, 30)
part = partial(Part.alike, keep=(), omit=("train_loss", "test_loss"), milestone=LEARN)
PARTS = {
    "plane": part(plane(range(1), (4,), (12, 24), 7), plane(SEEDS), SAVES, claims=PLANE, figures={"zones": zones}),
    "mixed": part(
        mixed(range(1), (4,), 24, 10, 7), mixed(SEEDS), SAVES, claims=MIXED, figures={"emergence": emergence}
    ),
}
