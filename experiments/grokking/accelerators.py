"""Accelerators: what makes a network grok sooner, at equal weight decay, and a loss with which it does not grok at all.

Claim     Gradients without their part along the weights (⊥Grad) generalise sooner than weight decay does. Slow gradients
          added once more (Grokfast) speed grokking up. A smaller start does so too. With the harmonic loss, whose
          probabilities follow from distances to the embeddings, test and train pairs are right together, and the numbers
          lie on a flat circle.
Source    Prieto et al. 2025 (arXiv 2501.04697): ⊥Grad. Lee et al. 2024 (arXiv 2405.20233): Grokfast-EMA, decay 0.98,
          gain 2; the published factor of 50 compares a baseline without weight decay to runs with it. Liu et al. 2022,
          Omnigrok (arXiv 2210.01117): the scale of the start. Baek et al. 2025 (arXiv 2502.01628) and its released code:
          p ∝ d^−2n, e = 4 inputs a number, 100 SiLU neurons, output tied to the embedding, addition mod 31, 80 % of the
          pairs, AdamW lr 2e-3, decay 0.01, plus 0.01 times the mean RMS of the embedding's columns. Here all pairs in one
          batch.
Expect    Median steps to 95 % of the test pairs: AdamW with decay 1 1,070, Grokfast with it 1,560, half the start 1,020,
          ⊥Grad without decay 300, Grokfast without decay never. Harmonic loss: test 1.03 times after train, all test pairs
          right, 0.999 of the embeddings' variance in two components; cross-entropy: 1.15 times after train, and 0.88.
Cost      cpu: 140 runs, 4 minutes of one core. paper: the same.
Command   python run_sweep.py accelerators [--scale smoke|cpu|paper] [--part decay|harmonic]
Fails     At equal decay Grokfast is slower: AdamW's steps over its own are 0.61 (0.53 to 0.80), below 1 in 20 of 20 runs.
          Adam divides a gradient's scale out, so that the filter is left with more momentum. Without decay it reaches 95 %
          in none of 20 runs. Lee et al. train a transformer in batches; their factor of 50 is over a run without decay.
          Whether half the start is sooner is undecided: the whole one takes 0.92 (0.74 to 1.16) of its steps. Liu et
          al. begin far above the standard start. The bound of Grokfast at equal decay, 0.3 to 1.5, was set on four
          development seeds.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab.base import Apply, Config, Params, Run
from toylab.claims import Claim, Direction, Proportion, Source, Within, scaled
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Measures, Part
from toylab.losses import LossKind
from toylab.models import ModularMLP, Net, TiedMLP
from toylab.optim import Adam, AdamW, Chain, Orthogonal, SlowGradients
from toylab.plots import stages
from toylab.tasks import ModularArithmetic, ModularPairs

SEEDS = range(100, 120)  # none of them was trained before the claims were fixed
RIGHT = 0.95  # accuracy

# --- at equal decay

RATE: dict[str, Any] = {"lr": 1e-2, "b2": 0.98}


def slow(gain: float, weight_decay: float) -> Chain:
    """AdamW with the slow part of the gradient added; none of it at a gain of 0, so that all are one program."""
    return Chain(AdamW(**RATE, weight_decay=weight_decay, warmup=0), before=(SlowGradients(gain=gain),))


WAYS: dict[str, tuple[Chain, float]] = {  # and the scale of the start
    "AdamW": (slow(0.0, 1.0), 1.0),
    "Grokfast": (slow(2.0, 1.0), 1.0),
    "half the start": (slow(0.0, 1.0), 0.5),
    "Grokfast, no decay": (slow(2.0, 0.0), 1.0),
    "⊥Grad, no decay": (Chain(Adam(**RATE), before=(Orthogonal(),)), 1.0),
}


def ways(seeds: Sequence[int], p: int = 31, n_train: int = 384) -> list[Config]:
    """A quadratic network with shared embeddings that adds mod p, from 40 % of the pairs."""
    how: dict[str, Any] = {"d_model": 32, "d_mlp": 64, "embedding": "shared", "activation": "quadratic"}
    return [
        Config(
            ModularArithmetic(p=p, n_train=n_train),
            Net.of(ModularMLP, d_vocab=p + 1, d_vocab_out=p, **how, init_scale=start),
            optimizer,
            seed,
        )
        for optimizer, start in WAYS.values()
        for seed in seeds
    ]


def by_way(m: Measures) -> dict[str, Measures]:
    """The runs of each of WAYS, in the order of seeds."""
    gain = np.nan_to_num(m["config/optimizer.before.0.gain"], nan=-1)  # the chain with ⊥Grad has none
    decay = np.nan_to_num(m["config/optimizer.base.weight_decay"])
    start = m["config/net.init_scale"]
    found = {}
    for name, (optimizer, own) in WAYS.items():
        piece = optimizer.before[0]
        wanted = piece.gain if isinstance(piece, SlowGradients) else -1.0
        ours = np.isclose(gain, wanted) & np.isclose(start, own)
        found[name] = m.runs(ours & np.isclose(decay, getattr(optimizer.base, "weight_decay", 0.0)))
    return found


def reached(m: Measures, way: str, least: float = RIGHT) -> np.ndarray:
    """[R]: the step at which the test accuracy reaches this; nan where it never does."""
    own = by_way(m)[way]
    return own.first_step(own["test_accuracy"] >= least)


def sooner(m: Measures, way: str, than: str = "AdamW", least: float = RIGHT) -> np.ndarray:
    """[R]: the steps of another way over those of one: above 1 where this is sooner. A way that never gets there counts
    with the last step, and both together have no value."""
    one, other = reached(m, way, least), reached(m, than, least)
    ratio = np.nan_to_num(other, nan=m.steps[-1]) / np.nan_to_num(one, nan=m.steps[-1])
    return np.where(np.isnan(one) & np.isnan(other), np.nan, ratio)


def never(m: Measures, way: str, least: float = RIGHT) -> np.ndarray:
    """[R]: 1 where the test accuracy never reaches this, else 0."""
    return np.isnan(reached(m, way, least)).astype(float)


PRIETO, LEE, LIU, BAEK = "Prieto et al. 2025", "Lee et al. 2024", "Liu et al. 2022", "Baek et al. 2025"
OURS = scaled("a quadratic network of one hidden layer that adds mod 31, 2,500 steps")


def stated(paper: str, where: str, says: str, name: str, quantity: Quantity, kind: Kind, **more: Any) -> Claim:
    return Claim(
        name, Source(paper, where, says), quantity, kind, each="seed", looks=(8, 20), **{"fidelity": OURS, **more}
    )


def at_90(quantity: Any, **named: Any) -> dict[str, Quantity]:
    return {"90 %": partial(quantity, least=0.9, **named)}


DECAY = [
    stated(PRIETO, "⊥Grad", "accelerates generalisation without weight decay",
           "steps to 95 % of AdamW with decay 1 over those of ⊥Grad", partial(sooner, way="⊥Grad, no decay"), Within(low=2),
           variants=at_90(sooner, way="⊥Grad, no decay")),
    stated(LEE, "abstract", "accelerates grokking up to 50 times",
           "decay 1 in both: steps to 95 % of AdamW over those of Grokfast", partial(sooner, way="Grokfast"),
           Direction(null=1), variants=at_90(sooner, way="Grokfast")),
    stated(LIU, "initialisation", "a smaller start removes the delay",
           "decay 1 in both: steps to 95 % from the whole start over those from half of it",
           partial(sooner, way="half the start"), Direction(null=1), variants=at_90(sooner, way="half the start")),
    Claim("how much sooner Grokfast is at equal decay", None, partial(sooner, way="Grokfast"), Within(0.3, 1.5), "finding",
          each="seed", looks=(8, 20)),
    Claim("Grokfast without decay: 95 % of the test pairs are never reached", None,
          partial(never, way="Grokfast, no decay"), Proportion(least_share=0.8), "finding", each="seed", looks=(8, 20)),
]  # fmt: skip


def by_ways(m: Measures) -> Any:
    """A run that has ended keeps its last value."""
    curves = {
        name: np.where(own.valid, own["test_accuracy"], own.last("test_accuracy")[:, None])
        for name, own in by_way(m).items()
        if len(own.valid)
    }
    return stages.stages(m.steps, [stages.Panel("test accuracy", curves)])


def arrived(measures: dict[str, np.ndarray]) -> bool:
    """The test pairs are right, beyond a first crossing."""
    return bool(measures["test_accuracy"][-1] >= 0.98)


# --- the harmonic loss


class Tied(ModularPairs):
    """Addition, with 0.01 times the mean RMS of the embedding's columns added to the loss, as in the code of Baek et al."""

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: Array) -> Array:
        columns = jnp.sqrt(jnp.mean(params["W_E"] ** 2, axis=0))
        return super().loss(apply, params, data, key) + 0.01 * columns.mean()


CROSS_ENTROPY, EXPONENT = 0.0, 4.0  # of no distance; n = e


def losses(seeds: Sequence[int], p: int = 31, n_train: int = 769) -> list[Config]:
    adam = AdamW(lr=2e-3, weight_decay=0.01, b2=0.999, warmup=0)
    nets: dict[LossKind, Net] = {
        "cross_entropy": Net.of(TiedMLP, d_vocab=p, d_vocab_out=p),
        "harmonic": Net.of(TiedMLP, d_vocab=p, d_vocab_out=p, unembedding="distances", exponent=EXPONENT),
    }
    return [
        Config(Tied(p=p, n_train=n_train, loss_kind=kind), net, adam, seed)
        for kind, net in nets.items()
        for seed in seeds
    ]


def circle(params: Params, run: Run) -> dict[str, Array]:
    """Probe: the share of the embeddings' variance in two principal components."""
    W_E = params["W_E"]
    along = jnp.linalg.svd(W_E - W_E.mean(axis=0), compute_uv=False) ** 2
    return {"flat": along[:2].sum() / along.sum()}


def of_loss(m: Measures, exponent: float) -> Measures:
    harmonic = m["config/task.loss_kind"] == "harmonic"
    return m.runs(harmonic & np.isclose(m["config/net.exponent"], exponent) if exponent else ~harmonic)


def fitted(m: Measures, exponent: float, of: str, least: float = RIGHT) -> np.ndarray:
    """[R]: the step at which an accuracy reaches this; the last where it never does."""
    own = of_loss(m, exponent)
    return np.nan_to_num(own.first_step(own[f"{of}_accuracy"] >= least), nan=m.steps[-1])


def gap(m: Measures, exponent: float, least: float = RIGHT) -> np.ndarray:
    """[R]: the step at which the test pairs are right over that of the training pairs."""
    return fitted(m, exponent, "test", least) / fitted(m, exponent, "train", least)


def end(m: Measures, exponent: float, name: str) -> np.ndarray:
    return of_loss(m, exponent).last(name).astype(float)


SMALLER = scaled("all training pairs in one batch, 2,000 steps; theirs batches of 32, 7,000 epochs")
baek = partial(stated, BAEK, fidelity=SMALLER)
HARMONIC = [
    baek("grokking", "no gap between train and test", "harmonic: steps to 95 % of the test pairs over those of train",
         partial(gap, exponent=EXPONENT), Within(high=1.1), variants=at_90(gap, exponent=EXPONENT)),
    baek("grokking", "less grokking than with cross-entropy", "the same with cross-entropy over harmonic",
         lambda m: gap(m, CROSS_ENTROPY) / gap(m, EXPONENT), Direction(null=1)),
    baek("table of accuracies", "generalises fully", "harmonic: test accuracy at the end",
         partial(end, exponent=EXPONENT, name="test_accuracy"), Within(low=0.99)),
    baek("circle", "embeddings lie on a circle in two components",
         "harmonic: share of the embeddings' variance in two components at the end",
         partial(end, exponent=EXPONENT, name="circle/flat"), Within(low=0.95)),
    baek("circle", "more so than with cross-entropy", "the same less that with cross-entropy",
         lambda m: end(m, EXPONENT, "circle/flat") - end(m, CROSS_ENTROPY, "circle/flat"), Direction()),
    Claim("steps to 95 % of the training pairs, harmonic over cross-entropy", None,
          lambda m: fitted(m, EXPONENT, "train") / fitted(m, CROSS_ENTROPY, "train"), Direction(null=1), "finding",
          each="seed", looks=(8, 20)),
]  # fmt: skip


def trained(m: Measures) -> dict[str, Measures]:
    """The runs of each loss that there are."""
    harmonic = [exponent for exponent in np.unique(m["config/net.exponent"]) if len(of_loss(m, exponent)["valid"])]
    found = {f"harmonic, n = {exponent:g}": of_loss(m, exponent) for exponent in harmonic}
    return {"cross-entropy": of_loss(m, CROSS_ENTROPY)} | found


def by_loss(m: Measures) -> Any:
    shown = {
        name: {of: own[f"{of}_accuracy"] for of in ("train", "test")}
        for name, own in trained(m).items()
        if len(own["valid"])
    }
    return stages.stages(
        m.steps, [stages.Panel(f"accuracy,\n{name}", curves, ylim=(0, 1.02)) for name, curves in shown.items()]
    )


def flatness(m: Measures) -> Any:
    shown = {name: own["circle/flat"].astype(float) for name, own in trained(m).items() if len(own["valid"])}
    return stages.stages(m.steps, [stages.Panel("variance in two\ncomponents", shown, ylim=(0, 1.02))])


LONG, SHORT = np.arange(0, 2501, 20), np.arange(0, 2001, 25)


def part(small: list[Config], full: list[Config], saves: np.ndarray, **more: Any) -> Part:
    return Part(
        configs={"smoke": small, "cpu": full, "paper": full},
        saves={"smoke": saves[:3], "cpu": saves, "paper": saves},
        milestone=("generalise", lambda measures: np.any(measures["test_accuracy"] >= RIGHT, axis=-1)),
        keep=(),
        omit=("train_loss", "test_loss"),
        **more,
    )


PARTS = {
    "decay": part(ways(range(1), p=7, n_train=30), ways(SEEDS), LONG, claims=DECAY,
                  figures={"ways": by_ways},
                  stop={"smoke": None, "cpu": arrived, "paper": arrived}),
    "harmonic": part(losses(range(1), p=7, n_train=30), losses(SEEDS), SHORT, claims=HARMONIC, probes={"circle": circle},
                     figures={"losses": by_loss, "flatness": flatness}),
}  # fmt: skip
