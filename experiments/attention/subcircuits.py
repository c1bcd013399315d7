"""Subcircuits: an induction head needs several parts that must all be right, which is why it appears late and at once.

Claim     A two-layer attention-only transformer that must read labels from its context guesses between the two labels
          there for thousands of steps, then learns to match. Several heads of layer 2 match, each reading from several
          previous-token heads of layer 1. Three subcircuits interact: layer 1 (attend to the token before, copy it),
          matching, copying. With two of them right from the start the plateau is gone; with one it is left sooner. A toy,
          a tensor fitted by the product of three vectors, does the same.
Source    Singh et al. 2024, What needs to go right for an induction head? (arXiv 2404.07129), and its released code: 50
          classes with an exemplar each, 5 labels, two pairs and a query, 8 of 10 label pairs trained on, d_model 64, 8
          heads, rotary positions, LayerNorm, Adam lr 1e-5, batch 32. Its 10⁶ iterations count sequences: 31,250 steps.
          Exemplars here are |N(0, 1)| in place of ResNet18 features of omniglot. As there, clamped runs have a single
          head of layer 2, the strongest of the unclamped run; they end at loss 0.03. Clamps: toylab/tasks/exemplars.py.
          The paper has one seed of the toy (a test holds its steps, 860 and 69); here are 60.
Expect    Loss near ln 2 for thousands of steps; accuracy 0.9998 and more; a head's strength tells its accuracy alone
          (correlation 0.959 to 0.994 in the paper's three seeds). Toy: each true factor makes it learn sooner.
Cost      cpu and paper: 20 minutes of one core for 20 seeds of the free runs, 45 for six clamps of each, the toy seconds.
Command   python run_sweep.py subcircuits [--scale smoke|cpu|paper] [--part plain|toy|clamps]
Fails     Many-to-many fails in one seed of 20, so that "always" is not sure; a feed that loses 0.03 or 0.1 decides
          otherwise than 0.05. Accuracies without some heads of layer 1 spread too far (prediction intervals 0.14 and 0.87
          wide) for one run of the paper to be compared with two of them. Accuracy with the strongest head alone is 0.994
          (0.973 to 0.998): whether its median is 0.98 takes about 47 seeds.
Changed   Until this page was judged by rules, bounds were those of one run: the loss within 0.06 of ln 2 at steps 6,000
          to 10,000, below 0.1 by step 25,000. How long the plateau is depends on the initial weights (0.4 ln 2 is reached
          at 9,000 to 13,300 in seeds 0 to 2), so it is now measured in shares of the time to 0.4 ln 2. The share before
          0.9 ln 2 is not asked any more: with layer 1 and matching clamped it counts the fall from 1.9. The rules were
          fixed when seeds 0 to 2 were known. Seeds 100 to 119 of the free runs saw the same batches; 2000 to 2019 have
          their own. Two of 17 verdicts changed: accuracy with the strongest head alone was 0.957 (0.933 to 0.969), and is
          undecided now; that previous-token heads act by patterns and others by values agrees, which one seed of 20 had
          left open.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from toylab.analysis import over_cells, subcircuits, transitions
from toylab.base import Config
from toylab.claims import EXACT, Claim, Direction, Number, Proportion, Source, Within, analogue
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Arrays, Measures, Part
from toylab.models import ExemplarTransformer, Net
from toylab.optim import Adam
from toylab.plots import stages
from toylab.plots import subcircuits as plots
from toylab.tasks import RelabelledExemplars
from toylab.tasks.exemplars import Clamp

PAPER = "Singh et al. 2024"
OTHER_INPUTS = analogue("exemplars are |N(0, 1)|, not features of omniglot")
SEEDS = range(2000, 2020)  # none was trained before the claims were fixed
TOY_SEEDS = range(2000, 2060)
# By seed, read off the unclamped runs before the clamped ones were trained: the head of layer 2 with the greatest induction
# strength at the end, and the head of layer 1 that attends most to the token before a label
STRONGEST = dict(zip(SEEDS, (6, 2, 5, 5, 0, 3, 5, 7, 2, 7, 2, 5, 2, 1, 4, 4, 6, 0, 4, 6), strict=True))
PREVIOUS = dict(zip(SEEDS, (5, 5, 4, 4, 2, 4, 6, 5, 1, 1, 2, 2, 3, 0, 0, 2, 0, 2, 7, 7), strict=True))
PUBLISHED = {  # the paper's seeds, from outputs in its released notebooks: induction strength, accuracy alone
    "paper, seed 5": ((0.418, 0.736, 0.708, 0.845, 0.289, 0.553, 0.104, 0.570),
                      (0.403, 0.765, 0.752, 0.980, 0.428, 0.646, 0.292, 0.588)),
    "paper, seed 6": ((0.319, 0.611, 0.315, 0.057, 0.061, 0.893, 0.697, 0.267),
                      (0.446, 0.732, 0.484, 0.374, 0.351, 0.992, 0.777, 0.399)),
    "paper, seed 7": ((0.151, 0.494, 0.084, 0.175, 0.148, 0.549, 0.287, 0.906),
                      (0.370, 0.629, 0.341, 0.370, 0.346, 0.682, 0.422, 0.999)),
}  # fmt: skip
UNIFORM, GUESS = RelabelledExemplars().uniform_loss(), RelabelledExemplars().context_loss()  # ln 5, ln 2
TOY_LEARNED = 1e-3
THRESHOLD = 0.4 * GUESS  # below it the paper's code counts the head as formed


def singh(seed: int, clamp: Clamp = "none", smoke: bool = False) -> Config:
    """The paper's set-up; every default not given here stands, with its source, where it belongs."""
    head, previous_head = (0, 0) if clamp == "none" or smoke else (STRONGEST[seed], PREVIOUS[seed])
    task = RelabelledExemplars(clamp=clamp, head=head, previous_head=previous_head)
    net = Net.of(ExemplarTransformer)
    if smoke:
        task = task.replace(n_classes=8, d_features=16, n_eval=64)
        net = net.with_fields(d_features=16, d_model=16)
    return Config(task, net, Adam(lr=1e-5), seed, data_seed=seed)


def crossing(m: Measures, level: float) -> np.ndarray:
    """[R]: the step at which the loss first lies below the level."""
    return transitions.first_below(m.steps, m["loss"], level)


def plateau(m: Measures, width: float = 0.1) -> np.ndarray:
    """[R]: of the steps until the loss is below 0.4 ln 2, the share with a loss within `width` of ln 2, over the share that
    an exponential decay from ln 2 has."""
    above, below, end = (crossing(m, level * GUESS) for level in (1 + width, 1 - width, 0.4))
    return (below - np.nan_to_num(above)) / end / (np.log(1 - width) / np.log(0.4))


def claim(name: str, where: str, says: str, quantity: Quantity, kind: Kind, n: int | None = 3, **more: Any) -> Claim:
    settings: dict[str, Any] = {"fidelity": OTHER_INPUTS, "each": "seed"} | more
    return Claim(name, Source(PAPER, where, says, n), quantity, kind, **settings)


# --- the unclamped network


def strength(m: Measures) -> np.ndarray:
    return m.last("heads/strength")


def strongest_alone(m: Measures) -> np.ndarray:
    """Accuracy with the strongest head alone."""
    return np.take_along_axis(m["final/alone/solo"], strength(m).argmax(axis=1)[:, None], axis=1)[:, 0]


def best(name: str) -> Callable[[Measures], np.ndarray]:
    """[R, T]: the greatest of all heads."""
    return lambda m: m[f"heads/{name}"].max(axis=-1)


def strong(m: Measures, least: float = 0.3) -> np.ndarray:
    """[R]: how many heads of layer 2 have a strength above `least`."""
    return (strength(m) > least).sum(axis=1)


def many_sources(m: Measures, least: float = 0.05) -> np.ndarray:
    """[R]: the share of strong heads of layer 2 that lose `least` or more with each of two or more heads of layer 1."""
    many = (m["final/wires/lost"] >= least).sum(axis=1) >= 2  # [R, layer-2 heads]
    return (many & (strength(m) > 0.3)).sum(axis=1) / strong(m)


def without(m: Measures, group: int | slice, keep: str) -> np.ndarray:
    """Accuracy without the previous-token heads (0) or without all others of layer 1 (1)."""
    return m[f"final/wires/keep_{keep}"][:, group]


def dissociation(m: Measures) -> np.ndarray:
    """Layer 2 needs the values of one group and the patterns of the other: the smaller difference of accuracies."""
    difference = without(m, slice(None), "patterns") - without(m, slice(None), "values")
    return np.minimum(difference[:, 0], -difference[:, 1])


def phase_change(m: Measures) -> Any:
    correct = {"trained label pairs": m["accuracy"], "held-out label pairs": m["held_out_accuracy"]}
    best_heads = {"previous token, layer 1": best("previous_at_labels")(m), "induction, layer 2": best("strength")(m)}
    panels = [
        stages.Panel("loss (nats)", {"loss": m["loss"]}, {"ln 2": GUESS}, ylim=(0, 1.5)),
        stages.Panel("accuracy", correct, ylim=(0, 1)),
        stages.Panel("strength of the\nbest head", best_heads, ylim=(0, 1)),
    ]
    return stages.stages(m.steps, panels)


PLAIN_SAVES = (*range(0, 31_001, 500), 31_250)
NOTEBOOKS = "outputs of its released notebooks"
PLAIN = Part(
    configs={
        "smoke": [singh(0, smoke=True)],
        "cpu": [singh(seed) for seed in SEEDS],
        "paper": [singh(seed) for seed in SEEDS],
    },
    saves={"smoke": (0, 10, 20), "cpu": PLAIN_SAVES, "paper": PLAIN_SAVES},
    analyses={"heads": subcircuits.heads},
    final={"alone": subcircuits.alone, "wires": subcircuits.wires},
    omit=("heads/previous",),
    claims=[
        claim("plateau: share of the time near ln 2, over that of an exponential decay", "loss in training",
              "a plateau, then a phase change", plateau, Direction(null=1, always=True), None,
              variants={f"within {width:.0%}": partial(plateau, width=width) for width in (0.05, 0.2)}),
        claim("accuracy", NOTEBOOKS, "0.9998 and more", lambda m: m.last("accuracy"), Within(low=0.9998)),
        claim("correlation of induction strength with accuracy alone", NOTEBOOKS, "0.959 to 0.994",
              lambda m: over_cells.correlation(strength(m), m["final/alone/solo"]), Within(low=0.959)),
        claim("accuracy with the strongest head alone", NOTEBOOKS, "0.980 to 0.999", strongest_alone, Within(low=0.98)),
        claim("the strongest head is the most accurate alone", NOTEBOOKS, "3 of 3",
              lambda m: m["final/alone/solo"].max(axis=1) <= strongest_alone(m), Proportion(3, 3)),
        claim("redundancy: heads with strength above 0.3", NOTEBOOKS, "3 to 6", strong, Within(3, 6),
              variants={f"above {least}": partial(strong, least=least) for least in (0.35, 0.4)}),
        claim("accuracy when layer 1 acts through layer 2 alone", NOTEBOOKS, "0.9994 to 0.9999",
              lambda m: m["final/alone/no_direct_path"], Within(low=0.9994)),
        claim("many-to-many: share of strong heads that two or more heads of layer 1 feed", "wiring of heads",
              "many-to-many: several previous-token heads feed an induction head", many_sources,
              Direction(null=0.5, always=True), None,
              variants={f"loses {least}": partial(many_sources, least=least) for least in (0.03, 0.1)}),
        claim("previous-token heads act by patterns, the others by values: the smaller difference", NOTEBOOKS,
              "0.300 and 0.650", dissociation, Direction(always=True), 1, event="paths"),
        *(claim(f"without {which}, layer 2 keeping {kept}: accuracy", NOTEBOOKS, f"{value}",
                partial(without, group=group, keep=kept), Number(value, widest), 1, event="paths")
          for which, group, kept, value, widest in (
              ("previous-token heads", 0, "patterns", 0.9985, 0.1), ("previous-token heads", 0, "values", 0.6987, 0.5),
              ("the other heads", 1, "patterns", 0.3427, 0.5), ("the other heads", 1, "values", 0.9932, 0.1))),
        Claim("label pairs held out: accuracy above guessing", None, lambda m: m.last("held_out_accuracy") - 0.5,
              Direction(always=True), ledger="finding", each="seed"),
        Claim("previous-token attention and induction strength rise together: correlation over training", None,
              lambda m: over_cells.correlation(best("previous_at_labels")(m), best("strength")(m)), Within(low=0.9),
              ledger="finding", each="seed"),
    ],
    figures={
        "phase_change": phase_change,
        "heads": lambda m: plots.heads(m.steps, m["heads/previous_at_labels"][0], m["heads/strength"][0]),
        "redundancy": lambda m: plots.redundancy(strength(m), m["final/alone/solo"], PUBLISHED, chance=0.5),
        "wiring": lambda m: plots.wiring(m["final/wires/lost"][:3], m.last("heads/previous_at_labels")[:3],
                                         strength(m)[:3], m["config/seed"][:3].tolist()),
    },
)  # fmt: skip


# --- the toy


def toy_sooner(clamp: str, than: str) -> Quantity:
    """[R]: ratio of the steps at which the toy's loss first lies below 1e-3, within 1,000."""

    def ratio(m: Measures) -> np.ndarray:
        steps = {name: m[f"final/toy/{name}"] for name in (clamp, than)}
        at = {name: transitions.first_step(np.arange(x.shape[1]), x < TOY_LEARNED) for name, x in steps.items()}
        return np.where(np.isnan(at[than]), 1000, at[than]) / at[clamp]

    return ratio


def toy(m: Measures) -> Any:
    names = {"bc": "b, c true", "c": "c true", "none": "none"}
    return plots.toy({name: m[f"final/toy/{clamp}"] for clamp, name in names.items()}, TOY_LEARNED)


TOY = Part(  # its analyzer reads nothing of the run but the seed
    configs={
        "smoke": [singh(0, smoke=True)],
        "cpu": [singh(seed, smoke=True) for seed in TOY_SEEDS],
        "paper": [singh(seed, smoke=True) for seed in TOY_SEEDS],
    },
    saves=dict.fromkeys(("smoke", "cpu", "paper"), (0, 1)),
    final={"toy": subcircuits.toy},
    claims=[
        claim(f"toy: {more} true, learned how many times sooner than with {fewer}", "toy model", "sooner",
              toy_sooner(clamp, than), Direction(null=1, always=True), 1, looks=(60,), fidelity=EXACT)
        for more, fewer, clamp, than in (("one factor", "none", "c", "none"), ("two factors", "one", "bc", "c"))
    ],
    figures={"toy": toy},
)  # fmt: skip


# --- clamped from the start

CONTROL: Clamp = "one_head"
NAMES: dict[Clamp, str] = {
    "one_head": "none (one head)",
    "previous_token": "one pattern in layer 1",
    "first_layer": "layer 1",
    "copy": "copying",
    "match": "layer 1 and matching",
    "first_layer_and_copy": "layer 1 and copying",
}


def learned(measures: Arrays) -> bool:
    return bool(measures["loss"][-1] < 0.03)


def under(m: Measures, clamp: Clamp) -> Measures:
    """The runs under a clamp, in the order of seeds."""
    return m.runs(m["config/task.clamp"] == clamp)


def sooner(clamp: Clamp, than: Clamp = CONTROL) -> Quantity:
    """Ratio of the steps to 0.4 ln 2, seed by seed."""
    return lambda m: crossing(under(m, than), THRESHOLD) / crossing(under(m, clamp), THRESHOLD)


def shorter(clamp: Clamp) -> Quantity:
    return lambda m: plateau(under(m, CONTROL)) / plateau(under(m, clamp))


def clamped(m: Measures) -> Any:
    runs = {name: under(m, clamp) for clamp, name in NAMES.items()}
    loss = {name: np.where(own.valid, own["loss"], np.nan) for name, own in runs.items()}
    crossed = {name: crossing(own, THRESHOLD) for name, own in runs.items()}
    return plots.clamps(m.steps, loss, crossed, {"ln 5": UNIFORM, "ln 2": GUESS, "0.4 ln 2": THRESHOLD})


CLAMPED = "clamped training"
CLAMP_SAVES = (0, *np.unique(np.geomspace(25, 1000, 14).round().astype(int)).tolist(), *PLAIN_SAVES[3:])
CLAMPS = Part(
    configs={
        "smoke": [singh(0, "copy", smoke=True)],
        "cpu": [singh(seed, clamp) for clamp in NAMES for seed in SEEDS],
        "paper": [singh(seed, clamp) for clamp in NAMES for seed in SEEDS],
    },
    saves={"smoke": (0, 10, 20), "cpu": CLAMP_SAVES, "paper": CLAMP_SAVES},
    omit=("held_out_loss",),
    stop={"smoke": None, "cpu": learned, "paper": learned},
    claims=[
        claim("one head, nothing clamped: share of the time near ln 2, over that of an exponential decay", CLAMPED,
              "a plateau", lambda m: plateau(under(m, CONTROL)), Direction(null=1, always=True), None),
        *(claim(f"{NAMES[clamp]} clamped: how many times smaller a share of the time near ln 2", CLAMPED,
                "no phase change", shorter(clamp), Direction(null=1, always=True), None)
          for clamp in ("match", "first_layer_and_copy")),
        *(claim(f"{NAMES[clamp]} clamped: learned how many times sooner", CLAMPED, "sooner", sooner(clamp),
                Direction(null=1, always=True), None)
          for clamp in ("match", "first_layer_and_copy", "previous_token", "first_layer", "copy")),
        *(claim(f"layer 1 and copying clamped: learned how many times sooner than with {NAMES[clamp]} alone", CLAMPED,
                "sooner", sooner("first_layer_and_copy", clamp), Direction(null=1, always=True), None)
          for clamp in ("first_layer", "copy")),
    ],
    figures={"clamps": clamped},
)  # fmt: skip

PARTS = {"plain": PLAIN, "toy": TOY, "clamps": CLAMPS}
