"""Two circuits: a dense subnetwork memorises a sparse parity, and a sparse one of a few neurons takes over.

Claim     A network that has memorised a sparse parity needs most of its neurons for it and is at chance on new examples.
          With weight decay a few neurons grow, all others fade, and when these few alone are faithful to the network it
          generalises: grokking as competition of a dense and a sparse subnetwork.
Source    Merrill, Tsilivis & Shukla 2023, A Tale of Two Circuits (arXiv 2303.11873), and its released code: 40 bits of
          ±1, the product of the first 3, 1,000 examples; 1,000 ReLU neurons, one output without a bias, torch's start;
          hinge loss, SGD lr 0.1 with L2 0.01 on all weights, batches of 32 by epochs, 300 epochs. The least subnetwork:
          the neurons of largest norm (rows of the first layer, without bias) with exactly the accuracy of all. Here 1,000
          test examples, not 100.
Expect    Train accuracy 98 % by epoch 25, test then at chance; test 98 % four to eight times later. Some 600 neurons at
          the fit, 6 to 8 at the end.
Cost      cpu: 20 runs of 9,600 steps, 4 minutes of one busy core. paper: the same.
Command   python run_sweep.py two_circuits [--scale smoke|cpu|paper]
Fails     Whether the network is sparse before it generalises is undecided: fewer than half of the neurons at the fit are
          left 656 steps (0 to 992) before 98 % of the test set, in 15 of 20 runs. The least number is noisy: it asks for
          exactly the train accuracy of all. What is called dense and sparse, 300 and 10 neurons of 1,000, is our reading,
          set on three development seeds.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab.analysis import norms, pruning
from toylab.base import Config, Params, Run
from toylab.claims import Claim, Direction, Source, Within, scaled
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Measures
from toylab.models import Dense, Net
from toylab.optim import SGD
from toylab.plots import stages
from toylab.tasks import SparseParity

SEEDS = range(100, 120)  # none of them was trained before the claims were fixed
FIT = 0.98  # accuracy
EPOCH = 32  # steps


def parity(seeds: Sequence[int], width: int = 1000, **task: int) -> list[Config]:
    bits = SparseParity(**task)
    net = Net.of(Dense, d_in=bits.n_bits, d_out=1, widths=(width,), output_bias=False)
    return [Config(bits, net, SGD(lr=0.1, weight_decay=0.01), seed, data_seed=seed) for seed in seeds]


def by_norm(params: Params) -> Array:
    """Neurons from the largest norm of their row of the first layer on."""
    return jnp.argsort(-jnp.linalg.norm(params["W_0"], axis=0))


def circuit(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer, of the end: which neurons are the least subnetwork with the train accuracy of all."""
    order, least = by_norm(params), subnetworks(params, run)["least"]
    return {"member": jnp.zeros(len(order), bool).at[order].set(jnp.arange(len(order)) < least)}


def subnetworks(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the least subnetwork now, what it alone and what all others say, and where the weights are."""
    order, W_out = by_norm(params), params["W_out"]
    sets = {}
    for name, x, y in (("train", "x", "y"), ("test", "x_test", "y_test")):
        neurons = run.config.net.apply(params, run.data[x])[1]["post_0"][0]
        sets[name] = neurons, pruning.kept_accuracy(neurons, W_out, run.data[y], order)
    least = pruning.least_faithful(sets["train"][1])
    neurons, accuracies = sets["test"]
    kept = jnp.zeros(len(order), bool).at[order].set(jnp.arange(len(order)) < least)
    whole, sparse, rest = ((neurons * which) @ W_out[:, 0] > 0 for which in (jnp.ones(len(order)), kept, ~kept))
    relevant = jnp.sum(params["W_0"][: run.config.task.k] ** 2)  # type: ignore[attr-defined]
    return {
        "least": least,
        "sparse": accuracies[least],
        "rest": jnp.mean(rest == (run.data["y_test"] > 0)),
        "faithful": jnp.mean(sparse == whole),
        "on_relevant": relevant / jnp.sum(params["W_0"] ** 2),
        "total": norms.weight_norms(params)["total"],
    }


def sizes(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: norms of the neurons that are the final circuit, and of the others; means and medians."""
    lengths, member = jnp.linalg.norm(params["W_0"], axis=0), run.final["circuit/member"]
    others = jnp.nanmedian(jnp.where(member, jnp.nan, lengths))
    return {"circuit": jnp.sum(lengths * member) / jnp.maximum(member.sum(), 1), "others": others}


# --- quantities


def fit(m: Measures, of: str = "train_accuracy", least: float = FIT) -> np.ndarray:
    """[R]: the first saved step with an accuracy of this."""
    return m.first_step(m[of] >= least)


def at_fit(m: Measures, name: str) -> np.ndarray:
    """[R]: a measure at the first saved step with the training set fitted; nan where it never is."""
    step = fit(m)
    at = np.searchsorted(m.steps, np.nan_to_num(step))
    return np.where(np.isnan(step), np.nan, m[name].astype(float)[np.arange(len(at)), at])


def delay(m: Measures, least: float = FIT) -> np.ndarray:
    return fit(m, "test_accuracy", least) / fit(m, least=least)


def fewer(m: Measures) -> np.ndarray:
    """[R]: neurons of the least subnetwork when the training set is fitted, over those at the end."""
    return at_fit(m, "subnetworks/least") / m.last("subnetworks/least")


def lead(m: Measures, share: float = 0.5) -> np.ndarray:
    """[R]: the step at which the test set is fitted less that from which the least subnetwork stays below this share of
    what it had when the training set was."""
    above = m["subnetworks/least"] > share * at_fit(m, "subnetworks/least")[:, None]
    last = above.shape[1] - 1 - above[:, ::-1].argmax(axis=1)
    stays = np.where(last < len(m.steps) - 1, m.steps[np.minimum(last + 1, len(m.steps) - 1)], np.nan)
    return fit(m, "test_accuracy") - stays


def grown(m: Measures, name: str) -> np.ndarray:
    """[R]: the norm of the neurons at the end over that when the training set was fitted."""
    return m.last(f"sizes/{name}") / at_fit(m, f"sizes/{name}")


PAPER = "Merrill et al. 2023"
MORE = scaled("1,000 test examples, not 100")


def stated(where: str, says: str, name: str, quantity: Quantity, kind: Kind, **more: Any) -> Claim:
    return Claim(name, Source(PAPER, where, says), quantity, kind, fidelity=MORE, each="seed", looks=(8, 20), **more)


CLAIMS = [
    stated("grokking on sparse parity", "memorises first", "test accuracy when the training set is fitted",
           partial(at_fit, name="test_accuracy"), Within(0.4, 0.6)),
    stated("grokking on sparse parity", "then generalises", "test accuracy at the end", lambda m: m.last("test_accuracy"),
           Within(low=0.99)),
    stated("grokking on sparse parity", "delayed", "steps to 98 % of the test set over those to 98 % of the training set",
           delay, Direction(null=1), variants={"95 %": partial(delay, least=0.95)}),
    stated("global sparsity", "dense while it memorises", "neurons of the least subnetwork when the training set is fitted",
           partial(at_fit, name="subnetworks/least"), Within(low=300), event="sparsity"),
    stated("global sparsity", "sparse when it generalises", "neurons of the least subnetwork at the end",
           lambda m: m.last("subnetworks/least").astype(float), Within(high=10), event="sparsity"),
    stated("global sparsity", "it becomes sparse as it generalises",
           "neurons of the least subnetwork, at the fit of the training set over at the end", fewer, Direction(null=1),
           event="sparsity"),
    stated("faithfulness", "the sparse subnetwork is faithful",
           "share of test answers that the least subnetwork shares at the end",
           lambda m: m.last("subnetworks/faithful"), Within(low=0.99)),
    stated("norms of neurons", "a subset of neurons grows rapidly",
           "norm of the final circuit's neurons, end over fit of the training set", partial(grown, name="circuit"),
           Direction(null=1)),
    stated("norms of neurons", "all others decay slowly", "fit of the training set over end: norm of the other neurons",
           lambda m: 1 / grown(m, "others"), Direction(null=1)),
    Claim("steps from where fewer than half of the neurons at the fit are left to 98 % of the test set", None,
          lead, Direction(), "finding",
          unit="steps", each="seed", looks=(8, 20), variants={"a quarter": partial(lead, share=0.25)}),
    Claim("share of squared weights on the three relevant bits at the end", None,
          lambda m: m.last("subnetworks/on_relevant"), Within(low=0.95), "finding", each="seed", looks=(8, 20)),
]  # fmt: skip


# --- figures


def through_training(m: Measures) -> Any:
    accuracy = {"train": m["train_accuracy"], "test": m["test_accuracy"]}
    alone = {"least subnetwork alone": m["subnetworks/sparse"], "all others alone": m["subnetworks/rest"]}
    sizes = {"final circuit": m["sizes/circuit"], "others (median)": m["sizes/others"]}
    panels = [
        stages.Panel("accuracy", accuracy, {"chance": 0.5}, ylim=(0.4, 1.02)),
        stages.Panel("neurons of the\nleast subnetwork", {"neurons": np.maximum(m["subnetworks/least"], 1)}, log=True),
        stages.Panel("test accuracy", alone, {"chance": 0.5}, ylim=(0.4, 1.02)),
        stages.Panel("norm of a neuron", sizes, log=True),
    ]
    return stages.stages(m.steps, panels, xscale="log")


LAST = 300 * EPOCH
SAVED = np.unique(np.concatenate([[0], np.arange(1, 40), np.geomspace(40, 300, 60).round()]).astype(int) * EPOCH)
SMALL: dict[str, Any] = {"width": 16, "n_bits": 6, "k": 2, "n_train": 32, "n_test": 16, "batch_size": 8}
CONFIGS = {"smoke": parity(range(1), **SMALL), "cpu": parity(SEEDS), "paper": parity(SEEDS)}
SAVES = {"smoke": (0, 20, 40), "cpu": SAVED, "paper": SAVED}
STOP = dict.fromkeys(CONFIGS)
MILESTONE = ("generalise", lambda measures: np.any(measures["test_accuracy"] >= FIT, axis=-1))
FINAL = {"circuit": circuit}
ANALYSES = {"subnetworks": subnetworks, "sizes": sizes}
FIGURES = {"two_circuits": through_training}
