"""The local learning coefficient through grokking: it rises as a network memorises and falls before it generalises.

Claim     The estimated local learning coefficient λ̂, of the training loss alone, rises while a network memorises, falls
          as it comes to generalise and is flat when that is done. On random labels, memorised, it stays large.
Source    devinterp's notebook examples/grokking.ipynb (timaeus-research/devinterp): p = 53, fraction 0.4, embedding 12,
          hidden 48; SGLD with nβ = 2, γ = 5, ε = 3e-3, 500 draws, no burn-in. Cullen et al. 2026 (arXiv 2603.01192).
          Panickssery & Vaintrob 2023, Investigating the learning coefficient of modular addition (Alignment Forum). Here
          the same sizes, quadratic activation, all pairs a step, AdamW with decay 0.3; λ̂ by the notebook's sampler and by
          a local one: nβ = n / ln n = 160, γ = 100, ε = 5e-4.
Expect    Pairs are fitted by step 170. λ̂ by the local sampler: 280 there, 18 at the end (medians), on random labels 350
          and 220; half of its fall is done at 0.4 of the step with half of the test pairs right. The order holds with γ ×
          0.3 and × 3, nβ × 4, ε / 4. By the notebook's sampler: 108 and 93, on random labels 113 and 181.
Cost      cpu: 20 seeds, some 4 minutes of one core. paper: the same with more saved points.
Command   python run_sweep.py learning_coefficient [--scale smoke|cpu|paper] [--part path|settings]
Fails     By the notebook's sampler λ̂ falls in 16 of 20 runs only, by 1.18 [1.10, 1.31] and not 2.1; it is largest at 3.5
          [2.1, 5.9] times the step of the fit, does not fall smoothly (rank correlation −0.43 [−0.88, −0.02]), follows
          the test loss by 0.66 [0.57, 0.70], and half of its fall comes after half of the test accuracy (2 of 20 before).
          At nβ = 2 and γ = 5 its draws leave the solution: their loss is 6.6 times that of guessing (never below 6.1), as
          in the notebook (13.8 against 3.97), so that λ̂ is of the size of the outputs under noise of 0.45 in each weight.
          That grows with the weights (on random labels λ̂ rises, too). Without burn-in half of the draws are 0.18 below the
          others. By the local sampler all these hold, but for the size of the fall (15.7) and, undecided, the test loss.
          2,300 steps are short: 15 of 20 seeds have half of the test pairs right, 8 have 0.99, so that "flattening out" is
          undecided. In the other 5 the local λ̂ falls by 2.9 to 7.1 all the same: a fall alone is not yet grokking.
Changed   A first run, of seeds 1000 to 1019, had no point at step 0; it was stopped before anything was measured.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array

from toylab.analysis import llc, over_cells, transitions, without
from toylab.base import Config, Params, Run
from toylab.claims import Claim, Direction, Median, Source, Within, analogue
from toylab.lab import Measures, Part
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.plots import stages
from toylab.sweep.grids import grid
from toylab.tasks import ModularArithmetic
from toylab.tasks.modular import train_loss

SEEDS = range(1020, 1040)  # none of them was trained before the claims were fixed
P = 53
ADDITION, RANDOM = 0.0, 1.0  # the share of training labels that are redrawn
FITTED = 0.99  # accuracy on the training pairs


def mlp(p: int = P, d_model: int = 12, d_mlp: int = 48) -> Config:
    sizes: dict[str, Any] = {"d_vocab": p, "d_vocab_out": p, "d_model": d_model, "d_mlp": d_mlp}
    net = Net.of(ModularMLP, **sizes, embedding="shared", activation="quadratic")
    task = ModularArithmetic(p=p, n_train=int(0.4 * p**2))
    return Config(task, net, AdamW(lr=5e-3, weight_decay=0.3, warmup=0))


def both(base: Config, seeds: Sequence[int]) -> list[Config]:
    """Addition, and as many pairs with labels at random."""
    return grid(base, {"task.corruption": (ADDITION, RANDOM), "seed": seeds})


# --- measures


def whole(params: Params, run: Run) -> Array:
    """The loss of all training pairs."""
    return train_loss(partial(run.config.net.apply, full=False), params, run.data)


def batch(params: Params, run: Run, key: Array) -> Array:
    """That of 128 of them, the notebook's batch."""
    at = jax.random.randint(key, (128,), 0, len(run.data["train"]))
    return whole(params, run.replace(data=run.data | {name: run.data[name][at] for name in ("train", "train_labels")}))


LOCAL = llc.SGLD(nbeta=llc.watanabe_nbeta(int(0.4 * P**2)), gamma=100.0, eps=5e-4, chains=1, burn_in=160, draws=200)
NOTEBOOK = llc.SGLD(nbeta=2.0, gamma=5.0, eps=3e-3, chains=1, burn_in=0, draws=500)
BY = ("local", LOCAL, whole), ("notebook", NOTEBOOK, batch)
UNREAD = "chains", "divergent", "noise_excess", "noise_factor", "standard_error"
SAMPLED = {name: without(llc.analyzer(sampler, loss), *UNREAD) for name, sampler, loss in BY}
SETTINGS = {"LOCAL": (1, 1, 1), "γ × 0.3": (1, 0.3, 1), "γ × 3": (1, 3, 1), "nβ × 4": (4, 1, 1), "ε / 4": (1, 1, 0.25)}
ALL = zip((LOCAL.nbeta, LOCAL.gamma, LOCAL.eps), np.array(list(SETTINGS.values()), np.float32).T, strict=True)
EACH = llc.SGLD(*(own * factors for own, factors in ALL), chains=1, burn_in=300, draws=100)


def by_setting(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: λ̂ [settings]."""

    def one(sampler: llc.SGLD) -> Array:
        return llc.local_learning_coefficient(lambda w: whole(w, run), params, jax.random.key(0), sampler)["llc"]

    return {"llc": jax.lax.map(one, EACH)}


# --- quantities


def later(m: Measures) -> Measures:
    """Without step 0, where λ̂ says nothing."""
    late = m.steps > 0
    own = {name: value if name.startswith("config/") else value[..., late] if name == "steps" else value[:, late]
           for name, value in m.items()}  # fmt: skip
    return Measures(own)


def of(m: Measures, share: float) -> Measures:
    return later(m).runs(np.isclose(m["config/task.corruption"], share))


def course(m: Measures, by: str, share: float = ADDITION) -> tuple[Measures, np.ndarray, np.ndarray]:
    """A task's runs, their λ̂ [seed, T], and the same with points before the fit as at the fit; nan where there is none."""
    own = of(m, share)
    values, fit = own[f"{by}/llc"], own.first_step(own["train_accuracy"] >= FITTED)[:, None]
    first = np.where(own.steps == fit, values, -np.inf).max(axis=1, keepdims=True)
    return own, values, np.where(np.isnan(fit), np.nan, np.where(own.steps < fit, first, values))


def shape(m: Measures, what: str, by: str = "notebook", share: float = ADDITION) -> np.ndarray:
    """[seed]: a number of the course of λ̂."""
    own, values, since = course(m, by, share)
    if what == "tracks":  # its correlation with the test loss, over all saved points
        return over_cells.correlation(values, own["test_loss"])
    if what == "along":  # its rank correlation with the step, from the fit on
        return over_cells.rank_correlation(since)
    if what == "peak":  # the step of the largest over that of the fit
        return own.steps[values.argmax(axis=1)] / own.first_step(own["train_accuracy"] >= FITTED)
    if what == "left":  # the most that is left of the fall from the fit to the end from test accuracy 0.99 on
        shares = (since - since[:, -1:]) / (since[:, :1] - since[:, -1:])
        return np.nanmax(np.where(own["test_accuracy"] >= 0.99, shares, np.nan), axis=1)
    return since[:, 0] / values[:, 0 if what == "rise" else -1]  # at the fit over the first point, or the end


def lead(m: Measures, by: str = "notebook", accuracy: float = 0.5) -> np.ndarray:
    """[seed]: ln of the step with this test accuracy over the step with half of the fall of λ̂."""
    own, _, since = course(m, by)
    general = transitions.first_below(own.steps, -own["test_accuracy"], -accuracy)
    return np.log(general / transitions.halfway(own.steps, since))


def against_random(m: Measures, by: str = "local") -> np.ndarray:
    """[seed]: λ̂ at the end on random labels over that on addition."""
    return of(m, RANDOM)[f"{by}/llc"][:, -1] / of(m, ADDITION)[f"{by}/llc"][:, -1]


def sampled_loss(m: Measures, by: str, nbeta: float) -> np.ndarray:
    """[R, T]: the mean loss of the draws over ln p, that of guessing."""
    own = later(m)
    return (own[f"{by}/llc"] / nbeta + own["train_loss"]) / np.log(P)


def drift(m: Measures, by: str) -> np.ndarray:
    """[R]: how much λ̂ of the second half of the draws is above that of the first, over the mean; median of the points."""
    own = later(m)
    halves = own[f"{by}/trace"].reshape(*own.valid.shape, 2, 5).mean(axis=-1)
    return np.median((halves[..., 1] - halves[..., 0]) / halves.mean(axis=-1), axis=1)


def with_setting(m: Measures, quantity: Any, name: str) -> np.ndarray:
    """A quantity of λ̂ by one of the settings."""
    return quantity(Measures({**m, "local/llc": m["by_setting/llc"][..., list(SETTINGS).index(name)]}), by="local")


# --- claims

OURS = analogue("quadratic activation without biases, all pairs a step, AdamW with decay 0.3 for 2,300 steps; not GELU "
                "with biases, batches of 128, Adam with L2 2e-4 for 25,000")  # fmt: skip
DEVINTERP, CLOSING, PLOT = "devinterp, examples/grokking.ipynb", "closing text", "plot of λ̂ and accuracy"


def stated(where: str, says: str, name: str, quantity: Any, kind: Any, **more: Any) -> Claim:
    """Of the notebook, by its sampler; by the local one as a variant."""
    more |= {"variants": {"local sampler": partial(quantity, by="local")} | more.get("variants", {})}
    return Claim(name, Source(DEVINTERP, where, says, 1), quantity, kind, fidelity=OURS, each="seed", **more)


def found(name: str, quantity: Any, kind: Any, source: Source | None = None, **more: Any) -> Claim:
    return Claim(name, source, quantity, kind, ledger="finding", **more)


ABILITY = "the ability of the λ̂ complexity estimate to differentiate generalization and memorization"
MEMORISE = Source("Panickssery & Vaintrob 2023", "brief results", ABILITY)
PATH = [
    stated(CLOSING, "the LLC first increases during memorization", "λ̂ at the fit over that at the first saved point",
           partial(shape, what="rise"), Direction(null=1, always=True)),
    stated(PLOT, "largest at checkpoint 11; train accuracy 0.99 from 7 on", "step of the largest λ̂ over that of the fit",
           partial(shape, what="peak"), Within(0.75, 2, "log")),
    stated(CLOSING, "then decreases", "λ̂ at the fit over that at the end", partial(shape, what="fall"),
           Direction(null=1, always=True), event="fall"),
    stated(PLOT, "from 49 to 23", "the same, in size", partial(shape, what="fall"), Median(49 / 23, 1.3, "log", null=1),
           event="fall"),
    stated(CLOSING, "~smoothly", "rank correlation of λ̂ with the step, from the fit on", partial(shape, what="along"),
           Within(high=-0.9)),
    stated(CLOSING, "flattening out after the model is done grokking",
           "share of the fall of λ̂ that is left at test accuracy 0.99", partial(shape, what="left"), Within(high=0.2)),
    stated(CLOSING, "tracks the test loss pretty well", "correlation of λ̂ with the test loss, all saved points",
           partial(shape, what="tracks"), Within(low=0.8)),
    stated(PLOT, "half of the fall at checkpoint 52, test accuracy 1/2 at 69",
           "half of the fall of λ̂ is before test accuracy 1/2: ln of the ratio of steps", lead, Direction(),
           variants={"accuracy 1/4": partial(lead, accuracy=0.25)}),
    Claim("local sampler: λ̂ at the fit over that at the end", Source("Cullen et al. 2026", "abstract",
          "from a higher-LLC (memorising) basin to a lower-LLC (generalising) basin"),
          partial(shape, what="fall", by="local"), Direction(null=1, always=True), each="seed",
          fidelity=analogue("embeddings and cross-entropy; no sizes in the abstract")),
    found("λ̂ at the end: random labels over addition", against_random, Direction(null=1, always=True), MEMORISE,
          each="seed", variants={"notebook's sampler": partial(against_random, by="notebook")}),
    found("random labels: λ̂ at the fit over that at the end", partial(shape, what="fall", by="local", share=RANDOM),
          Within(0.5, 2), each="seed", variants={"notebook's sampler": partial(shape, what="fall", share=RANDOM)}),
    found("notebook's sampler: mean loss of its draws over that of guessing, least of all points",
          lambda m: sampled_loss(m, "notebook", NOTEBOOK.nbeta).min(axis=1), Within(low=1), Source(DEVINTERP,
          "trace of the loss", "at nβ = 2 the average LLC is 27.56: a loss of 13.8, and ln 53 is 3.97", 3)),
    found("local sampler: mean loss of its draws over that of guessing, largest of all points",
          lambda m: sampled_loss(m, "local", LOCAL.nbeta).max(axis=1), Within(high=1)),
    found("local sampler: draws lie above the start: least λ̂ of all points", lambda m: later(m)["local/llc"].min(axis=1),
          Direction(always=True)),
    found("local sampler: λ̂ of the second half of the draws over the first, less 1", partial(drift, by="local"),
          Within(-0.1, 0.1), variants={"notebook's sampler, no burn-in": partial(drift, by="notebook")}),
]  # fmt: skip
BY_SETTING = [
    found(f"nβ, γ and ε varied: λ̂ {name}", partial(with_setting, quantity=quantity, name="LOCAL"), Direction(null=1),
          MEMORISE, each="seed", looks=(8,),
          variants={other: partial(with_setting, quantity=quantity, name=other) for other in list(SETTINGS)[1:]})
    for name, quantity in (("at the fit over that at the end", partial(shape, what="fall")),
                           ("at the end, random labels over addition", against_random))
]  # fmt: skip

# --- figures


def path(m: Measures) -> Any:
    own, names = of(m, ADDITION), {"addition": of(m, ADDITION), "random labels": of(m, RANDOM)}
    accuracy = {name: own[f"{name}_accuracy"] for name in ("train", "test")}
    panels = [stages.Panel("accuracy, addition", accuracy, ylim=(0, 1.02))]
    for name, label in (("test_loss", "test loss (nats)"), ("local/llc", "λ̂, local"), ("notebook/llc", "λ̂, notebook")):
        panels.append(stages.Panel(label, {key: each[name] for key, each in names.items()}))
    return stages.stages(own.steps, panels, xscale="log")


def traces(m: Measures) -> Any:
    """λ̂ of ten stretches of draws, of addition: where it was just fitted, later, and at the end."""
    own, panels = of(m, ADDITION), []
    last = len(own.steps) - 1
    for by, sampler, _ in BY:
        curves = {f"step {own.steps[i]:,}": own[f"{by}/trace"][:, i, 0] for i in (last // 3, 2 * last // 3, last)}
        draws = sampler.burn_in + (np.arange(10) + 0.5) * sampler.draws / 10
        panels.append((f"draw, {by} sampler", draws, stages.Panel("λ̂ of a tenth of the draws", curves)))
    return stages.beside(panels)


STEPS = (0, 60, 170, 350, 600, 1000, 1700, 2300)
SMALL = both(mlp(p=7, d_model=4, d_mlp=8), range(1))
PARTS = {
    "path": Part(
        {"smoke": SMALL, "cpu": both(mlp(), SEEDS), "paper": both(mlp(), SEEDS)},
        {"smoke": (0, 10, 20, 40, 80), "cpu": STEPS, "paper": np.array([0, *np.geomspace(20, 2300, 28).astype(int)])},
        PATH, {"path": path, "traces": traces}, analyses=SAMPLED,
    ),
    "settings": Part(
        {"smoke": SMALL, "cpu": both(mlp(), SEEDS[:8]), "paper": both(mlp(), SEEDS)},
        {"smoke": (0, 40, 80), "cpu": (0, 220, 2300), "paper": (0, 220, 2300)},
        BY_SETTING, analyses={"by_setting": by_setting},
    ),
}  # fmt: skip
