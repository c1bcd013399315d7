"""Circuit efficiency: weight decay prefers the circuit of the smaller norm, and the number of data decides which that is.

Claim     A network may fit its training pairs by memorising them or by a circuit that generalises. Memorising more pairs
          takes larger weights, generalising does not. Where the norms are equal lies a critical number of pairs: a
          network that has grokked and goes on with fewer forgets (ungrokking); near it, networks stay half-way
          (semi-grokking). With the size of the network as a second axis there are four phases: it memorises, groks,
          generalises before it has fitted its training pairs, or learns nothing.
Source    Varma et al. 2023, Explaining grokking through circuit efficiency (arXiv 2309.02390); Huang et al. 2024, Unified
          View of Grokking, Double Descent and Emergent Abilities (arXiv 2402.15175); Davies et al. 2023 (arXiv
          2303.06173). Theirs are transformers, p = 113 in Varma et al.; here the net of Gromov 2023 (quadratic,
          bias-free, with an embedding), p = 31, AdamW lr 1e-2, 1,000 steps on 95 % of the 961 pairs, then some of these
          alone, with an optimizer begun anew. At p = 113, width 128, 400 steps on 60 % of the 12,769 pairs go before.
Expect    Decay 1: grokked networks forget with 96 pairs (test accuracy .05 to .09) and stay with 288; the norm of
          networks that memorise passes that of those that generalise at some 170 pairs. Hysteresis: 4,500 steps on,
          with 240 pairs networks that have grokked keep .96 (.90 to .98, n = 20), with 192 they keep .52 (.37 to .65),
          and from scratch 240 pairs give .02. Decay 3: they forget below 240 pairs. p = 113: test accuracy .01 with 300
          pairs, .6 with 800, .95 with 1,000 (falling first to .6); from scratch .003 with 2,000. The formula of Davies
          et al. (figure `patterns`) is fitted to medians over seeds and shows that it can describe them, no more: 4
          numbers for 60 values over steps (.014 off, root mean square; memorising at step 27, generalising at 351), 5
          for 14 over widths (.032 off with 480 pairs: .58 known before width 2, memorising at width 4.2, generalising
          at 10.1; .037 with 768, generalising at 3.8 and no dip).
Cost      cpu: 20 seeds, 40 minutes of one core, half of it compiling a program for each number of pairs and width.
          paper: the same.
Command   python run_sweep.py circuit_efficiency [--scale smoke|cpu|paper] [--part grokked|ungrokked|…|line|fresh_113]
Fails     The critical size does depend on weight decay: with decay 3 a network needs 1.33 times the pairs (1.28 to 1.52,
          n = 8) that it needs with decay 1 to keep half its test accuracy. The likely reason (conjecture): at decay 3 the
          train loss is no longer negligible, and the norm alone does not decide. Semi-grokking is undecided: with 288
          pairs from scratch test accuracies spread from .02 to 1 (median .74, n = 20), as it would near a critical size
          that is each seed's own. Whether at width 16 the delay at 768 pairs is half of that at
          480 is undecided (0.36, 0.20 to 0.57, n = 20). The dip over the width stands at 480 pairs alone, where width 2 is
          better than width 4. Varma et al. train the circuits apart; here they are read off networks that memorise or
          generalise. At p = 113 test accuracy .7 is kept with 821 pairs (772 to 866, n = 20): undecided against their
          800 to 1,000, of which the lower end lies within. There 700 and 800 pairs still rise after 1,500 steps. 2,000
          pairs from scratch say nothing: .003 after 1,500 steps, a development seed .005 after 5,000, theirs far more.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from toylab.analysis import norms, over_cells, pattern_learning
from toylab.base import Config, Params, Run
from toylab.claims import Claim, Direction, Proportion, Source, Within, analogue
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Measures, Part, Start
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.plots import pattern_learning as beside
from toylab.plots import phase, stages, trends
from toylab.sweep import log_then_linear
from toylab.sweep.grids import grid
from toylab.tasks import ModularArithmetic

SEEDS, SEEDS_113, UNSEEN = (
    range(100, 120),
    range(120, 140),
    range(200, 220),
)  # none of them was trained before the claims were fixed
PAIRS = (48, 96, 144, 192, 240, 288, 384)  # of 961
DECAYS = (1.0, 3.0)
WIDTHS = (2, 4, 6, 8, 12, 16, 64)
SIZES = (288, 480, 768)  # pairs, where the size of the network varies
LINE = (300, 500, 700, 800, 1000, 1200)  # pairs of the 12,769 of p = 113, after 7,661 (60 %)
HALF, FITTED = 0.5, 0.99


def mlp(p: int = 31, d_model: int = 32, d_mlp: int = 64, n_train: int | None = None) -> Config:
    sizes: dict[str, Any] = {"d_vocab": p, "d_vocab_out": p, "d_model": d_model, "d_mlp": d_mlp}
    net = Net.of(ModularMLP, **sizes, embedding="shared", activation="quadratic")
    return Config(ModularArithmetic(p=p, n_train=n_train or int(0.95 * p**2)), net, AdamW(lr=1e-2))


def over_pairs(base: Config, pairs: Sequence[int], decays: Sequence[float], seeds: Sequence[int]) -> list[Config]:
    """A seed's training pairs are the first of its own order of all, so that fewer are a part of more."""
    return grid(base, {"task.n_train": pairs, "optimizer.weight_decay": decays, "seed": seeds})


def over_widths(
    widths: Sequence[int], pairs: Sequence[int], seeds: Sequence[int], op: str = "add", **sizes: int
) -> list[Config]:
    runs = [over_pairs(mlp(d_mlp=width, **sizes), pairs, (1.0,), seeds) for width in widths]
    return [run.replace(task=run.task.replace(op=op)) for members in runs for run in members]  # type: ignore[attr-defined]


def weights(params: Params, run: Run) -> dict[str, Any]:
    """Analyzer: the norm of all weights."""
    return {"norm": norms.weight_norms(params)["total"]}


# --- quantities


def column(m: Measures, name: str) -> np.ndarray:
    return m[f"config/{name}"]


def decayed(m: Measures, decay: float) -> Measures:
    return m.runs(np.isclose(column(m, "optimizer.weight_decay"), decay))


def with_pairs(m: Measures, n: int) -> Measures:
    return m.runs(column(m, "task.n_train") == n)


def table(m: Measures, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of pairs [N], and values [seed, N] of value [R], of runs with one decay and width."""
    return np.unique(column(m, "task.n_train")), value[over_cells.table(column(m, "seed"), column(m, "task.n_train"))]


def last(m: Measures, n: int, decay: float = 1.0, name: str = "test_accuracy") -> np.ndarray:
    """[seed]: a measure at the end, of the runs with n pairs."""
    return with_pairs(decayed(m, decay), n).last(name)


def crossed(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[seed]: where values [seed, N] first rise through 0, between x [N], linear in ln x; nan where they never do."""
    found = np.full(len(values), np.nan)
    for i, row in enumerate(values):
        rises = np.flatnonzero((row[:-1] < 0) & (row[1:] >= 0))
        if rises.size:
            j = rises[0]
            share = -row[j] / (row[j + 1] - row[j])
            found[i] = np.exp(np.log(x[j]) + share * (np.log(x[j + 1]) - np.log(x[j])))
    return found


def staying(m: Measures, decay: float = 1.0, level: float = HALF) -> np.ndarray:
    """[seed]: the number of pairs from which on a grokked network keeps this test accuracy."""
    x, values = table(own := decayed(m, decay), own.last("test_accuracy"))
    return crossed(x, values - level)


def moved(m: Measures, level: float = HALF) -> np.ndarray:
    """[seed]: the pairs from which on a network keeps this accuracy, decay 3 over decay 1."""
    return staying(m, 3.0, level) / staying(m, 1.0, level)


def crossing(m: Measures, few: int = 96, many: int = 240, generalises: int = 384) -> np.ndarray:
    """[seed]: the lesser of two ratios of norms: of a network that memorises many pairs over one that generalises, and of
    this over one that memorises few. Above 1 the norms cross in between."""
    norm = [last(m, n, name="weights/norm") for n in (few, generalises, many)]
    return np.minimum(norm[2] / norm[1], norm[1] / norm[0])


def forgotten(m: Measures, n: int, decay: float) -> np.ndarray:
    """[seed]: the first step at which the test accuracy is below a half."""
    own = with_pairs(decayed(m, decay), n)
    return own.first_step(own["test_accuracy"] < HALF)


def monotone(m: Measures) -> np.ndarray:
    """[seed]: Spearman's correlation of test accuracy at the end and the number of pairs."""
    x, values = table(own := decayed(m, 1.0), own.last("test_accuracy"))
    return over_cells.correlation(*(np.argsort(np.argsort(one, axis=1), axis=1).astype(float)
                                    for one in (np.broadcast_to(x, values.shape), values)))  # fmt: skip


def at(m: Measures, width: int, n: int) -> Measures:
    return m.runs((column(m, "net.d_mlp") == width) & (column(m, "task.n_train") == n))


def ends(m: Measures, width: int, n: int, name: str = "test_accuracy") -> np.ndarray:
    return at(m, width, n).last(name)


def delay(m: Measures, width: int, n: int, accuracy: float = 0.95) -> np.ndarray:
    """[seed]: steps to an accuracy on test pairs over those on training pairs; inf where the test pairs never have it."""
    own = at(m, width, n)
    steps = {which: own.first_step(own[f"{which}_accuracy"] >= accuracy) for which in ("train", "test")}
    return np.nan_to_num(steps["test"], nan=np.inf) / steps["train"]


def progressive(m: Measures, width: int, n: int) -> np.ndarray:
    """[seed]: whether a tenth of the test pairs is learned by a network that never fits its training pairs."""
    own = at(m, width, n)
    return (own.last("test_accuracy") >= 0.1) & (own["train_accuracy"].max(axis=1) < FITTED)


def dip(m: Measures, n: int) -> np.ndarray:
    """[seed]: by how much the test accuracy at the end falls with the width before it rises above what it was; 0 where it
    never does."""
    own = m.runs(column(m, "task.n_train") == n)
    curves = own.last("test_accuracy")[over_cells.table(column(own, "seed"), column(own, "net.d_mlp"))]
    falls = []
    for curve in curves:
        drops = [curve[i] - curve[i + 1 : k].min() for i in range(len(curve)) for k in range(i + 2, len(curve))
                 if curve[k] > curve[i]]  # fmt: skip
        falls.append(max([0.0, *drops]))
    return np.array(falls)


def capacity(m: Measures) -> np.ndarray:
    """[seed]: the share of neighbouring widths at which the wider network fits no fewer of 768 random labels."""
    own = m.runs(column(m, "task.n_train") == 768)
    fits = own.last("train_accuracy")[over_cells.table(column(own, "seed"), column(own, "net.d_mlp"))]
    return (np.diff(fits, axis=1) >= -0.005).mean(axis=1)


# --- claims

VARMA, HUANG, DAVIES = "Varma et al. 2023", "Huang et al. 2024", "Davies et al. 2023"
OTHER = analogue("a quadratic MLP of p = 31; theirs are transformers")
OTHER_113 = analogue("a quadratic MLP of p = 113; theirs is a transformer")


def stated(paper: str, where: str, says: str, name: str, quantity: Quantity, kind: Kind, **more: Any) -> Claim:
    more = {"fidelity": OTHER} | more
    return Claim(name, Source(paper, where, says), quantity, kind, each="seed", looks=(8, 20), **more)


def found(name: str, quantity: Quantity, kind: Kind, **more: Any) -> Claim:
    return Claim(name, None, quantity, kind, "finding", each="seed", looks=(8, 20), **more)


varma, huang = partial(stated, VARMA), partial(stated, HUANG)
varma_113 = partial(varma, fidelity=OTHER_113)
UNGROK, BOTH_WAYS = "ungrokking", "appendix A.2"
UNGROKKED = [
    varma(UNGROK, "test accuracy falls to low values below the critical size", "96 pairs: test accuracy 1,500 steps on",
          partial(last, n=96), Within(high=0.1)),
    varma(UNGROK, "it stays above", "288 pairs: test accuracy 1,500 steps on", partial(last, n=288), Within(low=0.9)),
    varma(UNGROK, "training accuracy stays near 100 %", "train accuracy, least of 96 to 384 pairs",
          lambda m: np.min([last(m, n, name="train_accuracy") for n in PAIRS[1:]], axis=0), Within(low=0.99)),
    varma(UNGROK, "a transition in the number of data", "test accuracy rises with the number of pairs: rank correlation",
          monotone, Within(low=0.9)),
    varma(UNGROK, "the critical size does not depend on weight decay", "pairs that keep half: decay 3 over decay 1",
          moved, Within(1 / 1.15, 1.15, "log"),
          variants={f"that keep {level:.0%}": partial(moved, level=level) for level in (0.2, 0.8)}),
    varma("efficiency", "below the critical size memorising is the more efficient: the norm falls as the circuit is lost",
          "norm of networks that go on: 288 pairs over 96",
          lambda m: last(m, 288, name="weights/norm") / last(m, 96, name="weights/norm"), Direction(null=1, always=True)),
    varma("efficiency", "that of the generalising circuit does not depend on the number of data",
          "norm of kept networks: 384 over 288 pairs",
          lambda m: last(m, 384, name="weights/norm") / last(m, 288, name="weights/norm"), Within(1 / 1.1, 1.1, "log")),
    found("96 pairs: steps to half the test accuracy, decay 1 over decay 3",
          lambda m: forgotten(m, 96, 1.0) / forgotten(m, 96, 3.0), Within(2, 4.5, "log")),
]  # fmt: skip
FRESH = [
    varma("efficiency", "that of the memorising circuit falls with the number of data",
          "norm of networks that memorise: 192 over 48 pairs",
          lambda m: last(m, 192, name="weights/norm") / last(m, 48, name="weights/norm"), Direction(null=1, always=True)),
    varma("semi-grokking", "near the critical size test accuracy stops half-way", "288 pairs from scratch: test accuracy",
          partial(last, n=288), Within(0.1, 0.9)),
    varma("efficiency", "the norms of both circuits are equal at a critical size",
          "norms cross: 240 pairs over 384 (which generalise), and those over 96, the lesser", crossing,
          Direction(null=1, always=True)),
    varma("memorisation below the critical size", "no grokking", "144 pairs from scratch: test accuracy",
          partial(last, n=144), Within(high=0.1)),
    varma("grokking above the critical size", "full test accuracy", "384 pairs from scratch: test accuracy",
          partial(last, n=384), Within(low=0.9)),
]  # fmt: skip
SIZE_CLAIMS = [
    huang("phases", "small data: networks memorise", "288 pairs, width 16: test accuracy", partial(ends, width=16, n=288),
          Within(high=0.2)),
    huang("phases", "between the critical and the memorised size: grokking",
          "480 pairs, width 16: steps to 95 % of test over training pairs", partial(delay, width=16, n=480),
          Within(low=3, scale="log"), variants={"90 %": partial(delay, width=16, n=480, accuracy=0.9)}),
    huang("phases", "more data shorten the delay", "width 16: that ratio at 768 pairs over 480",
          lambda m: delay(m, 16, 768) / delay(m, 16, 480), Within(high=0.5, scale="log")),
    huang("phases", "beyond what it can memorise a network learns test pairs before it fits its training pairs",
          "768 pairs, width 4: runs that learn test pairs and never fit the training pairs",
          partial(progressive, width=4, n=768), Proportion(least_share=0.8)),
    stated(DAVIES, "double descent over the size of the model", "test accuracy falls and rises again with the size",
           "480 pairs: fall of test accuracy over the width before it rises again", partial(dip, n=480), Within(low=0.05),
           variants={f"{n} pairs": partial(dip, n=n) for n in (288, 768)}),
]  # fmt: skip
RANDOM = [
    huang("capacity", "what a network can memorise grows with its size",
          "768 random labels: share of steps up in width that fit no fewer", capacity, Within(low=0.8)),
    huang("phases", "networks that generalise progressively cannot memorise",
          "768 random labels, width 4: train accuracy",
          partial(ends, width=4, n=768, name="train_accuracy"), Within(high=0.5)),
]  # fmt: skip
LINE_CLAIMS = [
    varma_113(UNGROK, "test accuracy falls to low values far below the critical size",
              "p = 113, 300 pairs: test accuracy 1,500 steps on", partial(last, n=300), Within(high=0.1)),
    varma_113(UNGROK, "it stays above", "p = 113, 1,200 pairs: test accuracy 1,500 steps on", partial(last, n=1200),
              Within(low=0.9)),
    varma_113(UNGROK, "a transition in the number of data", "p = 113: rank correlation of test accuracy and pairs",
              monotone, Within(low=0.9)),
    varma_113(BOTH_WAYS, "test accuracy of about 0.7 with around 800 to 1,000 pairs",
              "p = 113: pairs that keep 0.7 of test accuracy", partial(staying, level=0.7), Within(800, 1000, "log"),
              variants={f"keeps {level}": partial(staying, level=level) for level in (0.6, 0.8)}),
    found("p = 113: pairs that keep 0.8 of test accuracy over those that keep 0.2",
          lambda m: staying(m, level=0.8) / staying(m, level=0.2), Within(1, 2, "log")),
]  # fmt: skip
FRESH_113 = [
    varma_113(BOTH_WAYS, "from scratch that takes more than twice as many pairs",
              "p = 113, 2,000 pairs from scratch, 1,500 steps: test accuracy", partial(last, n=2000), Within(high=0.7),
              needs="In so few steps hardly any network generalises from scratch; theirs are trained far longer."),
]  # fmt: skip

HELD, BOTH = 240, (192, 240)  # pairs between the two critical sizes: to stay, and to get there
KEPT = [
    found("hysteresis, 240 pairs: test accuracy 4,500 steps on", partial(last, n=HELD), Within(low=0.9)),
    found("hysteresis, 192 pairs: test accuracy 4,500 steps on", partial(last, n=192), Within(low=0.3)),
]
ANEW = [
    found(
        "hysteresis, 240 pairs from scratch: test accuracy after 4,500 steps", partial(last, n=HELD), Within(high=0.1)
    ),
]

# --- figures


def after_training(m: Measures) -> Any:
    """Test accuracy over the number of pairs, for each decay."""
    decays = np.unique(column(m, "optimizer.weight_decay"))
    curves = {f"decay {decay:g}": table(own := decayed(m, decay), own.last("test_accuracy"))[1].T for decay in decays}
    pairs = np.unique(column(m, "task.n_train"))
    return trends.trends([trends.Trend("training pairs", pairs, curves)], "test accuracy")


def over_norms(m: Measures) -> Any:
    x, values = table(own := decayed(m, 1.0), own.last("weights/norm"))
    kept = {"that generalise": np.full(len(x), np.median(values[:, -1]))}  # those of the most pairs
    return trends.trends([trends.Trend("training pairs, from scratch", x, {"all networks": values.T}, kept)],
                         "norm of all weights", ylim=(0.9 * values.min(), 1.1 * values.max()))  # fmt: skip


def forgetting(m: Measures) -> Any:
    own = decayed(m, 1.0)
    runs = {f"{n} pairs": with_pairs(own, n) for n in np.unique(column(own, "task.n_train"))[::2]}
    accuracy, norm = ({of: few[name] for of, few in runs.items()} for name in ("test_accuracy", "weights/norm"))
    panels = [stages.Panel("test accuracy", accuracy, ylim=(0, 1.02)), stages.Panel("norm of all weights", norm)]
    return stages.stages(own.steps, panels, xscale="log")


def patterns(m: Measures) -> Any:
    """The formula of Davies et al. beside networks: over steps of the widest, and over widths for two sizes of data."""
    pairs, widths = (np.unique(column(m, name)) for name in ("task.n_train", "net.d_mlp"))
    n, which = pairs[len(pairs) // 2], ("train", "test")
    steps = {of: at(m, widths[-1], n)[f"{of}_accuracy"].T for of in which}
    found = pattern_learning.fit_grokking(m.steps, **steps)
    panels = [beside.Panel("optimiser step", m.steps, steps, found.curves, True, f"{n} pairs, width {widths[-1]}")]
    for n in pairs[len(pairs) // 2 :]:
        own = with_pairs(m, n)
        cells = over_cells.table(column(own, "net.d_mlp"), column(own, "seed"))
        values = {of: own.last(f"{of}_accuracy")[cells] for of in which}
        found = pattern_learning.fit_double_descent(np.log2(widths), **values)
        curves = partial(lambda found, width: found.curves(np.log2(width)), found)
        panels.append(beside.Panel("width of the hidden layer", widths, values, curves, title=f"{n} pairs, at the end"))
    return beside.beside_formula(panels)


def plane(m: Measures, **shown: str) -> Any:
    axes = phase.Axis("width of the hidden layer", "even"), phase.Axis("training pairs", "even")
    cells = {of: phase.of_columns(m, "config/net.d_mlp", "config/task.n_train", m.last(of)) for of in shown}
    return phase.diagram(*(phase.Panel(cells[of], *axes, label) for of, label in shown.items()))


LEARN: tuple[str, Callable[..., Any]] = ("generalise", lambda measures: measures["test_accuracy"][..., -1] >= 0.9)
SMALL: dict[str, Any] = {"p": 7, "d_model": 4}
LARGE = mlp(113, 64, 128)


LOSSES = ("train_loss", "test_loss")  # of parts that show and judge none


def over_data(base: Config, pairs: Sequence[int], seeds: Sequence[int], saves: Sequence[int] | np.ndarray, *,
              decays: Sequence[float] = (1.0,), few: Sequence[int] = (6, 12), **more: Any) -> Part:  # fmt: skip
    small = over_pairs(mlp(**SMALL, d_mlp=8), few, decays, range(2))
    return Part.alike(small, over_pairs(base, pairs, decays, seeds), saves, milestone=LEARN, **more)


def over_sizes(op: str, n_saves: int, **more: Any) -> Part:
    small = over_widths((2, 4), (12, 24), range(1), op, **SMALL)
    full = over_widths(WIDTHS, SIZES, SEEDS, op)
    return Part.alike(small, full, log_then_linear(10, 2000, n_saves), keep=(), omit=LOSSES, **more)


PARTS = {
    "grokked": over_data(mlp(), (912,), SEEDS, (0, 200, 500, 1000), few=(46,)),
    "ungrokked": over_data(mlp(), PAIRS, SEEDS, log_then_linear(10, 1500, 30), decays=DECAYS, claims=UNGROKKED,
                           figures={"ungrokked": after_training, "forgetting": forgetting},
                           analyses={"weights": weights}, omit=LOSSES, start=Start("grokked")),
    "fresh": over_data(mlp(), PAIRS, SEEDS, log_then_linear(10, 4500, 30), claims=FRESH, figures={"norms": over_norms},
                       analyses={"weights": weights}, omit=LOSSES),
    "grokked_again": over_data(mlp(), (912,), UNSEEN, (0, 200, 500, 1000), few=(46,)),
    "kept": over_data(mlp(), BOTH, UNSEEN, log_then_linear(10, 4500, 12), claims=KEPT, keep=(), omit=LOSSES,
                      start=Start("grokked_again")),
    "anew": over_data(mlp(), BOTH, UNSEEN, log_then_linear(10, 4500, 12), claims=ANEW, keep=(), omit=LOSSES),
    "sizes": over_sizes("add", 30, claims=SIZE_CLAIMS, milestone=LEARN,
                        figures={"sizes": partial(plane, test_accuracy="test accuracy", train_accuracy="train accuracy"),
                                 "patterns": patterns}),
    "random": over_sizes("random", 12, claims=RANDOM,
                         figures={"memorised": partial(plane, train_accuracy="random labels fitted")}),
    "grokked_113": over_data(LARGE, (7661,), SEEDS_113, (0, 100, 400), few=(46,)),
    "line": over_data(LARGE, LINE, SEEDS_113, log_then_linear(10, 1500, 12), claims=LINE_CLAIMS, keep=(),
                      figures={"line": after_training}, start=Start("grokked_113")),
    "fresh_113": over_data(LARGE, (2000,), SEEDS_113, log_then_linear(10, 1500, 12), claims=FRESH_113, keep=()),
}  # fmt: skip
