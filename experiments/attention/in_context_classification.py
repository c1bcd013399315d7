"""In-context classification: labels copied from the context or known by heart, and tasks inferred from it in phases.

Claim     Asked for the label of an item after pairs of items and labels, a two-layer attention-only network first picks any
          label of the context, for long, and then abruptly the right one: an induction head has formed. Bursts and many
          classes make it learn in context, few classes in its weights. Where the context only tells which of three tasks
          is on, it goes through phases: it ignores the context, then uses its labels alone, then its pairs.
Source    Reddy 2023, The mechanistic basis of data dependence and abrupt learning in an in-context classification task
          (arXiv 2312.03002); Minegishi et al. 2025, Beyond Induction Heads: In-Context Meta Learning Induces Multi-Phase
          Circuit Emergence (arXiv 2505.16694). Reddy's data and network (one head a layer without W_O or LayerNorm, three
          hidden read-out layers), with AdamW lr 1e-3 in place of SGD: hundreds of steps instead of tens of thousands.
Expect    Accuracy on classes never seen .50 over steps 200 to 1,200 (either label of a context of two classes), .93 at
          3,000; .07 without support in the context (chance .03). On the classes of training it is above 1/2 earlier, as the
          weights help to choose between the labels of the context. Tasks: 1/3, then at most .70 by labels alone, then 1.
          There is no second plateau; but till about step 1,000 the accuracy stays the same when the items of the context
          are another's, so that labels alone tell the task, and only then it leaves them behind.
Cost      cpu: 112 runs, 70 minutes of one busy core, half of them for the plane of classes and bursts. paper (tasks by SGD,
          200,000 steps): not run.
Command   python run_sweep.py in_context_classification [--scale smoke|cpu|paper] [--part copying|trends|tasks]
Fails     Nothing of what is claimed. But the rise to the right label is not the sudden step of the paper: in the median it
          takes 0.9 times as long as the plateau before it, in two of 20 seeds longer.
Changed   First tries had an output matrix W_O, which Reddy's network lacks, b2 = .999 and weight decay .01: there the
          plateau is shorter (.50 at step 500, .66 at 1,000). The claim on items of another context came after a first run.
          Until this page was judged by rules, bounds were about a single training. Plateaus are now shares of the time
          that a rise takes. The toy's order, which has no seed, is a test.
"""

from functools import partial
from typing import Any

import numpy as np

from toylab.analysis import in_half, nested_logits, pairs, transitions, without
from toylab.base import Config
from toylab.claims import Claim, Direction, Source, Within, analogue
from toylab.lab import Measures, Part
from toylab.models import Net, Transformer
from toylab.optim import SGD, AdamW
from toylab.plots import phase, stages, trends
from toylab.plots.attention import patterns as attention
from toylab.sweep import log_then_linear
from toylab.tasks import ItemLabelPairs

SEEDS, FEW = range(100, 120), range(100, 108)  # none was trained before the claims were fixed
ADAMW = AdamW(lr=1e-3, weight_decay=1e-6, warmup=0)  # weight decay: Reddy 2023
SMALL = {"n_labels": 8, "n_pairs": 4, "dim": 15, "n_positions": 17, "batch_size": 16, "n_eval": 32}


def network(task: ItemLabelPairs) -> Net:
    """Two layers of one head, as wide as an input vector, and the read-out at the item asked for."""
    width = task.n_positions + task.dim
    return Net.of(
        Transformer, d_vocab=width, d_model=width, d_vocab_out=task.n_labels, n_ctx=2 * task.n_pairs + 1, n_layers=2,
        n_heads=1, output_matrix=False, d_mlp=0, positions="none", inputs="residual", readout="last", readout_layers=3,
    )  # fmt: skip


def stated(paper: str, where: str, other: str, says: str, name: str, quantity: Any, kind: Any, **more: Any) -> Claim:
    return Claim(name, Source(paper, where, says), quantity, kind, fidelity=analogue(other), each="seed", **more)


BY_ADAM = "AdamW lr 1e-3, not SGD; hundreds of steps, not 10,000s"
reddy, measured = (partial(stated, "Reddy 2023", where, BY_ADAM) for where in ("abstract", "Figure 1"))
minegishi = partial(
    stated,
    "Minegishi et al. 2025",
    "phases NCC, SCC, FCC",
    "64 classes and AdamW, not 512 and SGD",
)


def configs(seeds: Any, optimizer: Any = ADAMW, **sizes: Any) -> list[Config]:
    task = ItemLabelPairs(**sizes)
    return [Config(task, network(task), optimizer, seed, data_seed=seed) for seed in seeds]


def context_label(m: Measures) -> float:
    return float(m.only("config/task.burst") / m.only("config/task.n_pairs"))


def last(name: str) -> Any:
    return lambda m: m.last(name)


def rise(name: str, layer: int) -> Any:
    return lambda m: m.last(name)[:, layer, 0] - m[name][:, 0, layer, 0]


def picking(m: Measures, width: float = 0.08) -> np.ndarray:
    """[seed]: of the steps to half-way from burst/N, a label of the context, to 1, the share near burst/N; new classes."""
    level = context_label(m)
    return transitions.share_near(m.steps, m["icl_accuracy"], level, width, (1 + level) / 2)


def abrupt(m: Measures) -> np.ndarray:
    """[seed]: log of the steps near burst/N over those in which the accuracy rises from 1/5 to 4/5 of what is left."""
    level, accuracy = context_label(m), m["icl_accuracy"]
    start, end = (transitions.first_below(m.steps, -accuracy, -level - share * (1 - level)) for share in (0.2, 0.8))
    return np.log(transitions.steps_near(m.steps, accuracy, level, 0.08) / (end - start))


def copying(m: Measures) -> Any:
    accuracies = {
        "new classes": m["icl_accuracy"],
        "swapped labels": m["swap_accuracy"],
        "no support": m["iwl_accuracy"],
        "as trained": m["accuracy"],
    }
    n_labels, n_present = int(m.only("config/task.n_labels")), round(1 / context_label(m))
    chance = {"chance, 1/L": 1 / n_labels, f"a label of the context, 1/{n_present}": context_label(m)}
    losses = {"chance, ln L": np.log(n_labels), f"a label of the context, ln {n_present}": np.log(n_present)}
    attended = {
        "label → item, layer 1": m["new/item_label"][..., 0, 0],
        "asked → its labels, layer 2": m["new/target"][..., 1, 0],
    }
    return stages.stages(
        m.steps,
        [
            stages.Panel("accuracy", accuracies, chance, ylim=(0, 1.02)),
            stages.Panel("loss (nats)", {"as trained": m["loss"]}, losses),
            stages.Panel("attention", attended, ylim=(0, 1)),
        ],
    )


def patterns(m: Measures) -> Any:
    """Where the first seed looks on one sequence of new classes."""
    example = m["new/example"][0][:, :, 0]  # [T, L, P, P]
    rows = {f"layer {layer + 1}": attention.Row(example[:, layer]) for layer in range(example.shape[1])}
    return attention.strip(rows, m.steps, at=(0, 300, 1000, 1500, 2000, 3500))


def nested(m: Measures) -> Any:
    toy = {name: m[f"final/toy/{name}"][:1] for name in ("loss", "alpha", "beta", "xi", "target", "contrast")}
    n_labels, n_present = int(m.only("config/task.n_labels")), round(1 / context_label(m))
    limits = {"chance, ln L": np.log(n_labels), f"a label of the context, ln {n_present}": np.log(n_present)}
    panels = [
        stages.Panel("loss (nats)", {"loss": toy["loss"]}, limits),
        stages.Panel("strength", {"β, label → item": toy["beta"], "α, match": toy["alpha"], "ξ, read-out": toy["xi"]}),
    ]
    return stages.stages(np.arange(toy["loss"].shape[1]), panels)


COPYING = Part(
    configs={"smoke": configs(range(2), n_classes=16, burst=2, **SMALL), "cpu": configs(SEEDS), "paper": configs(SEEDS)},
    saves={"smoke": (0, 5, 10), "cpu": np.arange(0, 3501, 100), "paper": np.arange(0, 7001, 100)},
    analyses={"new": in_half(pairs.novel_classes, "example", decimals=2)},
    final={"toy": nested_logits.toy},
    claims=[
        measured("labels of new classes are copied", "new classes: accuracy at the end", last("icl_accuracy"),
                 Within(low=0.9)),
        measured("what is in the context counts, not what is known", "swapped labels: accuracy at the end",
                 last("swap_accuracy"), Within(low=0.9)),
        measured("at first any label of the context is picked, for long", "share of the way to .75 near 1/2, new classes",
                 picking, Within(low=0.5), variants={f"within {w} of it": partial(picking, width=w) for w in (0.05, 0.1)}),
        reddy("then abruptly the right one", "log of steps near 1/2 over those from .6 to .9", abrupt, Direction()),
        reddy("an induction head forms", "attention of labels to their items, layer 1: rise", rise("new/item_label", 0),
              Direction(), event="induction head"),
        reddy("an induction head forms", "attention to the labels of the item's class, layer 2: rise",
              rise("new/target", 1), Direction(), event="induction head"),
    ],
    figures={"copying": copying, "patterns": patterns, "nested_logits": nested},
)  # fmt: skip


CLASSES, BURSTS = (128, 512, 1024), (1, 2, 4)


def settings(seeds: Any) -> list[Config]:
    return [config for K in CLASSES for B in BURSTS for config in configs(seeds, n_classes=K, burst=B)]


def at(m: Measures, name: str, field: str, level: int) -> np.ndarray:
    """[seeds]: the last value of a measure in the runs with K (n_classes) or B (burst) at a level, the other at its
    highest."""
    chosen = m.runs(m[f"config/task.{field}"] == level)
    other = chosen["config/task.burst" if field == "n_classes" else "config/task.n_classes"]
    chosen = chosen.runs(other == other.max())
    return chosen[name] if name.startswith("config/") else chosen.last(name)


def levels(m: Measures, field: str) -> list[int]:
    return [int(level) for level in np.unique(m[f"config/task.{field}"])]


def between(name: str, field: str, sign: int = 1) -> Any:
    """[seeds]: the measure at the field's highest level less that at its lowest, or (sign −1) the other way round."""

    def gap(m: Measures) -> np.ndarray:
        low, high = levels(m, field)[0], levels(m, field)[-1]
        return sign * (at(m, name, field, high) - at(m, name, field, low))

    return gap


def by_setting(m: Measures) -> Any:
    def sweep(field: str, title: str) -> trends.Trend:
        values = levels(m, field)
        curves = {
            label: np.stack([at(m, name, field, value) for value in values])
            for label, name in (("new classes", "icl_accuracy"), ("no support", "iwl_accuracy"))
        }
        bursts = np.stack([at(m, "config/task.burst", field, value)[0] for value in values])
        picked = {"a label of the context": bursts / m.only("config/task.n_pairs")}
        return trends.Trend(title, np.array(values), curves, picked)

    panels = [sweep("n_classes", "classes, K"), sweep("burst", "pairs of a class in the context, B")]
    return trends.trends(panels, f"accuracy at step {m.steps[-1]:,}")


def over_both(m: Measures) -> Any:
    """Learning in context and in weights over the plane of classes and bursts."""
    classes = [f"{level:,}" for level in levels(m, "n_classes")]
    x, y = phase.Axis("classes, K", "even", classes), phase.Axis("pairs of a class in the context, B", "even")
    names = {"accuracy on new classes": "icl_accuracy", "accuracy without support": "iwl_accuracy"}
    fields = "config/task.n_classes", "config/task.burst"
    return phase.diagram(
        *(phase.Panel(phase.of_columns(m, *fields, m.last(name)), x, y, label) for label, name in names.items())
    )


TRENDS = Part(
    configs={
        "smoke": [*configs(range(2), n_classes=8, burst=1, **SMALL), *configs(range(2), n_classes=16, burst=2, **SMALL)],
        "cpu": settings(FEW), "paper": settings(SEEDS),
    },
    saves={"smoke": (0, 5, 10), "cpu": np.arange(0, 2001, 500), "paper": np.arange(0, 7001, 500)},
    claims=[
        reddy(f"{says}", f"{what}: accuracy at {at}", between(name, field, sign), Direction(), looks=(8, 20))
        for says, what, at, name, field, sign in (
            ("bursts favour learning in context", "new classes", "B = 4 less that at B = 1", "icl_accuracy", "burst", 1),
            ("so do many classes", "new classes", "K = 1,024 less that at K = 128", "icl_accuracy", "n_classes", 1),
            ("bursts hinder learning in weights", "no support", "B = 1 less that at B = 4", "iwl_accuracy", "burst", -1),
            ("so do many classes", "no support", "K = 128 less that at K = 1,024", "iwl_accuracy", "n_classes", -1),
        )
    ],
    figures={"trends": by_setting, "maps": over_both},
)  # fmt: skip


TASKS = {"n_tasks": 3, "n_classes": 64, "n_pairs": 4, "burst": 1, "bursty": 0.0}


def task_limits(m: Measures) -> dict[str, float]:
    """The exact accuracies between which the phases lie."""
    field = {name: m[f"config/task.{name}"][0] for name in ("n_tasks", "n_classes", "n_labels", "n_pairs")}
    limits = ItemLabelPairs(**{name: int(value) for name, value in field.items()}, burst=1).limits()
    return {"1/T, context ignored": limits["no_context"], "labels alone": limits["labels_alone"]}


def leads(m: Measures) -> np.ndarray:
    """[R]: steps by which the attention to labels (layer 2) has half risen before that of labels to items (layer 1)."""
    attended = m["known/item_label"][..., 0, 0], m["known/labels"][..., 1, 0]
    items, labels = (transitions.half_risen(m.steps, values) for values in attended)
    return items - labels


def phases(m: Measures) -> Any:
    accuracies = {
        "items of its context": m["iwl_accuracy"],
        "items of another context": m["known/by_labels"],
        "new classes": m["icl_accuracy"],
    }
    attended = {
        "asked → itself, layer 1": m["known/own"][..., 0, 0],
        "asked → itself, layer 2": m["known/own"][..., 1, 0],
        "asked → labels, layer 2": m["known/labels"][..., 1, 0],
        "label → item, layer 1": m["known/item_label"][..., 0, 0],
    }
    panels = [
        stages.Panel("accuracy", accuracies, task_limits(m), ylim=(0, 1.02)),
        stages.Panel("attention", attended, ylim=(0, 1)),
    ]
    return stages.stages(m.steps, panels)


def ignoring(m: Measures) -> np.ndarray:
    """[seed]: of the steps to half-way from 1/T to the limit of labels alone, the share near 1/T."""
    low, high = task_limits(m).values()
    return transitions.share_near(m.steps, m["iwl_accuracy"], low, 0.05, (low + high) / 2)


def by_labels(m: Measures) -> np.ndarray:
    """[seed]: the best accuracy with items of another context, of the way from 1/T to the limit of labels alone."""
    low, high = task_limits(m).values()
    return (m["known/by_labels"].max(axis=1) - low) / (high - low)


PHASES = Part(
    configs={
        "smoke": configs(range(2), **{**SMALL, **TASKS, "n_classes": 16}),
        "cpu": configs(SEEDS, **TASKS), "paper": configs(SEEDS, SGD(lr=0.01), **TASKS),
    },
    saves={"smoke": (0, 5, 10), "cpu": np.arange(0, 4001, 50), "paper": log_then_linear(100, 200_000, 200)},
    analyses={"known": without(pairs.known_classes, "example")},
    claims=[
        minegishi("a first plateau, the context ignored (NCC)",  # a rise at constant speed from 0 has a share of .1 / .518
                  "tasks: of the steps to half-way to the limit of labels alone, the share within .05 of 1/3", ignoring,
                  Direction(null=0.2)),
        minegishi("then labels alone tell the task (SCC)",
                  "tasks: best accuracy with items of another context, from 1/3 to the limit of labels alone", by_labels,
                  Within(0.5, 1.1)),
        minegishi("at last the pairs do (FCC)", "tasks: accuracy at the end", last("iwl_accuracy"), Within(low=0.9)),
        minegishi("SCC before FCC", "attention to labels leads that of labels to items: steps", leads, Direction(),
                  unit="steps"),
        Claim("tasks: accuracy on new classes at the end, no more than any label of the context", None,
              last("icl_accuracy"), Within(high=1 / TASKS["n_pairs"]), ledger="finding", each="seed"),
    ],
    figures={"phases": phases},
)  # fmt: skip

PARTS = {"copying": COPYING, "trends": TRENDS, "tasks": PHASES}
