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
          At this learning rate there is no second plateau; but till about step 1,000 the accuracy stays the same when the
          items of the context are another's, so that labels alone tell the task, and only then it leaves them behind.
Cost      cpu: 4 to 8 minutes on one core, half of them for the trends. paper (five seeds; the tasks by SGD as published,
          200,000 steps): not run.
Command   python run_sweep.py in_context_classification [--scale smoke|cpu|paper] [--part copying|trends|tasks]
Changed   First tries of a single run had an output matrix W_O, which Reddy's network lacks, b2 = .999 and weight decay .01:
          there the plateau is shorter (.50 at step 500, .66 at 1,000). Without W_O alone: .53 at 1,000, .58 at 1,200.
          b2 = .98 and weight decay 1e-6 were taken with it. The claim on items of another context was added after a
          first run of the tasks, its bounds before it was measured.
"""

from typing import Any

import numpy as np

from toylab.analysis import nested_logits, pairs, transitions, without
from toylab.base import Config
from toylab.lab import Claim, Measures, Part
from toylab.models import Net, Transformer
from toylab.optim import SGD, AdamW
from toylab.plots import stages, trends
from toylab.plots.attention import patterns as attention
from toylab.sweep import log_then_linear
from toylab.tasks import ItemLabelPairs

REDDY, MINEGISHI = "Reddy 2023", "Minegishi et al. 2025"
OURS = "our reference training"
ADAMW = AdamW(lr=1e-3, weight_decay=1e-6, warmup=0)  # weight decay: Reddy 2023
SMALL = {"n_labels": 8, "n_pairs": 4, "dim": 15, "n_positions": 17, "batch_size": 16, "n_eval": 32}


def network(task: ItemLabelPairs) -> Net:
    """Two layers of one head, as wide as an input vector, and the read-out at the item asked for."""
    width = task.n_positions + task.dim
    return Net.of(
        Transformer, d_vocab=width, d_model=width, d_vocab_out=task.n_labels, n_ctx=2 * task.n_pairs + 1, n_layers=2,
        n_heads=1, output_matrix=False, d_mlp=0, positions="none", inputs="residual", readout="last", readout_layers=3,
    )  # fmt: skip


def configs(seeds: int, optimizer: Any = ADAMW, **sizes: Any) -> list[Config]:
    task = ItemLabelPairs(**sizes)
    return [Config(task=task, net=network(task), optimizer=optimizer, seed=seed) for seed in range(seeds)]


# --- copying: Reddy's induction head


def over(m: Measures, name: str, first: int, last: int) -> np.ndarray:
    """[R, t]: a measure at the saved steps from first to last."""
    return m[name][:, (m.steps >= first) & (m.steps <= last)]


def off_plateau(m: Measures) -> np.ndarray:
    """How far the accuracy on new classes gets from burst/N, a label of the context, over steps 200 to 1,200."""
    return np.abs(over(m, "icl_accuracy", min(200, m.steps[-1]), 1200) - context_label(m)).max(axis=1)


def context_label(m: Measures) -> float:
    return float(m.only("config/task.burst") / m.only("config/task.n_pairs"))


def last(name: str) -> Any:
    return lambda m: m.last(name)


def rise(name: str, layer: int) -> Any:
    return lambda m: m.last(name)[:, layer, 0] - m[name][:, 0, layer, 0]


def readout_lead(m: Measures) -> np.ndarray:
    """Toy: steps by which ξ gets to half its last value before the contrast of the first layer does."""
    xi, contrast = m["final/toy/xi"], m["final/toy/contrast"]
    return (contrast > contrast[:, -1:] / 2).argmax(axis=1) - (xi > xi[:, -1:] / 2).argmax(axis=1)


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
    configs={
        "smoke": configs(2, n_classes=16, burst=2, **SMALL),
        "cpu": configs(3),
        "paper": configs(5),
    },
    saves={"smoke": (0, 5, 10), "cpu": np.arange(0, 3501, 100), "paper": np.arange(0, 7001, 100)},
    analyses={"new": pairs.novel_classes},
    final={"toy": nested_logits.toy},
    claims=[
        Claim("new classes: accuracy at the end", f"{OURS}: .93 at 3,000 steps, above .9 by 3,500",
              last("icl_accuracy"), 0.9, each="seed"),
        Claim("no support in the context: accuracy at the end", f"{OURS}: .07, below .15",
              last("iwl_accuracy"), high=0.15, each="seed"),
        Claim("plateau: new classes' farthest from 1/2 over steps 200 to 1,200", f"{OURS}: .50 to .56, within .08",
              off_plateau, high=0.08, each="seed"),
        Claim("swapped labels: accuracy at the end", f"{OURS}: .99; the bound is ours",
              last("swap_accuracy"), 0.9, each="seed"),
        Claim("attention of labels to their items, layer 1: rise", f"{OURS}: .17 to .40; the bound is ours",
              rise("new/item_label", 0), 0.1, each="seed"),
        Claim("attention to the labels of the item's class, layer 2: rise", f"{REDDY}: rises; the bound is ours",
              rise("new/target", 1), 0.1, each="seed"),
        Claim("toy: steps by which the read-out leads the first layer", f"{REDDY}: learned in order; the bound is ours",
              readout_lead, 50, unit="steps", each="seed"),
    ],
    figures={"copying": copying, "patterns": patterns, "nested_logits": nested},
)  # fmt: skip


# --- trends: what makes a network learn in context


CLASSES, BURSTS = (128, 512, 1024), (1, 2, 4)


def settings(seeds: int) -> list[Config]:
    return [
        *(config for K in CLASSES[:-1] for config in configs(seeds, n_classes=K)),
        *(config for B in BURSTS for config in configs(seeds, burst=B)),
    ]


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


TRENDS = Part(
    configs={
        "smoke": [*configs(2, n_classes=8, burst=1, **SMALL), *configs(2, n_classes=16, burst=2, **SMALL)],
        "cpu": settings(3),
        "paper": settings(5),
    },
    saves={"smoke": (0, 5, 10), "cpu": np.arange(0, 2001, 500), "paper": np.arange(0, 7001, 500)},
    claims=[
        Claim("new classes: accuracy at B = 4 less that at B = 1", f"{REDDY}: rises with bursts; the bound is ours",
              between("icl_accuracy", "burst"), 0.1, each="seed"),
        Claim("new classes: accuracy at K = 1,024 less that at K = 128", f"{REDDY}: rises with K; the bound is ours",
              between("icl_accuracy", "n_classes"), 0.1, each="seed"),
        Claim("no support: accuracy at K = 128 less that at K = 1,024", f"{REDDY}: falls with K; the bound is ours",
              between("iwl_accuracy", "n_classes", -1), 0.1, each="seed"),
    ],
    figures={"trends": by_setting},
)  # fmt: skip


# --- tasks: Minegishi et al.'s phases


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
        "no support": m["iwl_accuracy"],
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


PHASES = Part(
    configs={
        "smoke": configs(2, **{**SMALL, **TASKS, "n_classes": 16}),
        "cpu": configs(3, **TASKS),
        "paper": configs(3, SGD(lr=0.01), **TASKS),
    },
    saves={"smoke": (0, 5, 10), "cpu": np.arange(0, 4001, 50), "paper": log_then_linear(100, 200_000, 200)},
    analyses={"known": without(pairs.known_classes, "example")},
    claims=[
        Claim("tasks: steps with accuracy within .05 of 1/3", f"{MINEGISHI}: a first plateau (NCC); the bound is ours",
              lambda m: transitions.steps_near(m.steps, m["iwl_accuracy"], 1 / 3, 0.05), 100, unit="steps", each="seed"),
        Claim("tasks: best accuracy with items of another context", f"{MINEGISHI}: labels tell (SCC), at most .70",
              lambda m: m["known/by_labels"].max(axis=1), 0.5, 0.75, each="seed"),
        Claim("tasks: accuracy at the end", f"{MINEGISHI}: to 1 (FCC), beyond .70 of labels alone; the bound is ours",
              last("iwl_accuracy"), 0.9, each="seed"),
        Claim("tasks: accuracy on new classes at the end", f"{MINEGISHI}: nothing is copied; the bound is ours",
              last("icl_accuracy"), high=0.1, each="seed"),
        Claim("attention to labels leads that of labels to items: steps", f"{MINEGISHI}: SCC before FCC; the bound is ours",
              leads, 50, unit="steps", each="seed"),
    ],
    figures={"phases": phases},
)  # fmt: skip

PARTS = {"copying": COPYING, "trends": TRENDS, "tasks": PHASES}
