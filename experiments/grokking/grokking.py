"""Grokking: a one-layer transformer memorises addition mod 113, then finds a Fourier circuit and generalises.

Claim     Long after it fits its training pairs, the network's test loss falls; all the while it has been building a circuit
          of a few cosines, and it generalises when weight decay has cleaned the memorisation away.
Source    Nanda et al. 2023, Progress measures for grokking via mechanistic interpretability (arXiv 2301.05217), mainline
          set-up: p = 113, 30 % of the pairs, AdamW lr 1e-3, weight decay 1, full batch.
Expect    99 % train accuracy near step 150, test loss below 0.1 near step 8,000 (factor 2 between seeds), 2 to 9 key
          frequencies that explain 95 % of the logits' variance, 85 % of the neurons tuned to a single frequency.
Cost      cpu: one seed, 2 to 5 minutes on two cores. paper: 5 seeds to step 25,000, 35 minutes on two quiet cores.
          The paper trains for 40,000 epochs; the claims here are judged at 25,000.
Command   python run_sweep.py grokking [--scale smoke|cpu|paper]
Fails     (paper scale, seeds 0 to 4) Two seeds grok earlier than half the released run's 7,930 steps (2,730 and 3,300).
          Tried: the train loss passes that run's thresholds at its steps, a PyTorch copy follows ours for 120 steps, and
          seed 1 takes 8,300, so this looks like the spread between seeds. Logit variance: seeds 2 and 3 reach 0.99 near
          step 10,000 and drift to 0.948 and 0.947; in seed 3 frequency 5, with 1.9 % just below the rule for a key one,
          would add 0.019. Centring (input or global) changes nothing. Single-frequency neurons: their share moves by
          less than 0.06 from step 15,000 on, and those that fall short vary less: by variance (neurons/single_by_variance)
          the share is 0.89 to 0.99. At the paper's own 84.6 % one seed of five would hold.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from toylab.analysis import fourier, norms, progress, transitions, without
from toylab.base import Config
from toylab.lab import Claim, Measures
from toylab.models import Net, Transformer
from toylab.optim import AdamW
from toylab.plots import circles, curves, spectra
from toylab.sweep import log_then_linear
from toylab.tasks import ModularArithmetic


def nanda(p: int = 113, n_train: int = 3830, d_model: int = 128, d_mlp: int = 512, seed: int = 0) -> Config:
    """The paper's set-up; every default not given here stands, with its source, where it belongs."""
    net = Net.of(Transformer, d_vocab=p + 1, d_vocab_out=p + 1, n_ctx=3, d_model=d_model, d_mlp=d_mlp)
    return Config(task=ModularArithmetic(p=p, n_train=n_train), net=net, optimizer=AdamW(), seed=seed)


CONFIGS = {
    "smoke": [nanda(p=13, n_train=100, d_model=16, d_mlp=32)],
    "cpu": [nanda()],
    "paper": [nanda(seed=seed) for seed in range(5)],
}
SAVES = {
    "smoke": log_then_linear(10, 200, 12),
    "cpu": log_then_linear(10, 40_000, 400),
    "paper": log_then_linear(10, 25_000, 220),
}


def grokked(measures: dict[str, np.ndarray]) -> np.ndarray:
    """Test accuracy has reached 99 %: of [..., t] → [...]."""
    return np.any(measures["test_accuracy"] >= 0.99, axis=-1)


def well_after_grokking(measures: dict[str, np.ndarray]) -> bool:
    """3,000 steps after 99 % test accuracy: cleanup is over."""
    reached = measures["test_accuracy"] >= 0.99
    return bool(reached.any() and measures["step"][-1] >= measures["step"][reached.argmax()] + 3000)


STOP = {"smoke": None, "cpu": well_after_grokking, "paper": None}
MILESTONE = ("grokked", grokked)
PROBES: dict = {}
FINAL = {"logits": fourier.logits, "neurons": fourier.neurons, "numbers": fourier.numbers}
ANALYSES = {
    "embedding": fourier.embedding,
    "neuron_logit": fourier.neuron_logit,
    "neurons": fourier.neuron_census,
    "logits": without(fourier.logits, "coefficients"),  # of the last point alone
    "loss": progress.losses,
    "gini": progress.ginis,
    "weights": norms.weights,
}


def shown(m: Measures) -> int:
    """The run that the figures show: the median one by its step of grokking."""
    return int(np.argsort(np.nan_to_num(test_step(m), nan=np.inf))[(len(m.valid) - 1) // 2])


def modulus(m: Measures) -> np.ndarray:
    """[R]: p. Measures of before the fields of the config stood among them have it as the number of embeddings."""
    return m.get("config/task.p", np.full(len(m.valid), m["final/numbers/W_E"].shape[1]))


def half_chance(m: Measures) -> np.ndarray:
    """[R, 1], nats: half the loss of guessing, which no memorising network has on unseen pairs."""
    return np.log(modulus(m))[:, None] / 2


def phases(m: Measures) -> np.ndarray:
    """[R, 3]: the steps at which memorisation, circuit formation and cleanup end (nan: not reached)."""
    ends = np.full((len(m.valid), 3), np.nan)
    for p in np.unique(modulus(m)):
        of = modulus(m) == p
        curves = m["test_loss"][of], m["weights/sum_of_squares/total"][of]
        ends[of] = transitions.grokking_phases(m.steps, *curves, n_classes=int(p))
    return ends


def after(m: Measures, true: np.ndarray, step: np.ndarray) -> np.ndarray:
    """[R]: the first saved step not before `step` [R] at which `true` [R, T]."""
    return m.first_step(true & (m.steps >= step[:, None]))


def after_peak(m: Measures, true: np.ndarray) -> np.ndarray:
    """[R]: the first step after the peak of the test loss at which `true` [R, T]."""
    return after(m, true, m.steps[np.where(m.valid, m["test_loss"], -np.inf).argmax(axis=1)])


def at(m: Measures, name: str, step: np.ndarray) -> np.ndarray:
    """[R]: the value of `name` at the saved step [R]; nan where step is."""
    where = np.searchsorted(m.steps, np.nan_to_num(step, nan=m.steps[0]))
    return np.where(np.isnan(step), np.nan, m[name][np.arange(len(where)), where])


def grokking_ratio(m: Measures) -> np.ndarray:
    return m.first_step(m["test_accuracy"] >= 0.99) / m.first_step(m["train_accuracy"] >= 0.99)


def restricted_lead(m: Measures) -> np.ndarray:
    """Steps by which the restricted loss falls below half the loss of guessing before the test loss does."""
    low = half_chance(m)
    return after_peak(m, m["test_loss"] < low) - m.first_step(m["loss/restricted"] < low)


def excluded_rise(m: Measures) -> np.ndarray:
    """Nats by which the excluded loss has risen above its minimum by the end of circuit formation, at points where the
    train loss is below 0.01 throughout."""
    forming = m.valid & (m["train_loss"] < 0.01) & (m.steps <= phases(m)[:, 1:2])
    excluded = m["loss/excluded"]
    rise = np.where(forming, excluded, -np.inf).max(axis=1) - np.where(forming, excluded, np.inf).min(axis=1)
    return np.where(forming.any(axis=1), rise, np.nan)


def norm_fall(m: Measures) -> np.ndarray:
    """Σw² at the end of cleanup over that at its start."""
    ends = phases(m)
    return at(m, "weights/sum_of_squares/total", ends[:, 2]) / at(m, "weights/sum_of_squares/total", ends[:, 1])


def train_step(m: Measures) -> np.ndarray:
    return m.first_step(m["train_loss"] < 0.1)


def test_step(m: Measures) -> np.ndarray:
    return after_peak(m, m["test_loss"] < 0.1)


def n_key(m: Measures) -> np.ndarray:
    return m["final/logits/key"].sum(axis=1)


def single_share(m: Measures) -> np.ndarray:
    return (m["final/neurons/fraction"] > 0.85).mean(axis=1)


def last(name: str) -> Callable[[Measures], np.ndarray]:
    return partial(Measures.last, name=name)


RUNS = "the paper's released runs"
CLAIMS = [
    Claim(
        "memorises: first step with train loss < 0.1",
        f"{RUNS}: 134 to 202 over train fractions",
        train_step,
        134,
        202,
    ),
    Claim("groks: first step with test loss < 0.1", f"{RUNS}: 7,930, within a factor 2", test_step, 3965, 15860),
    Claim(
        "delay: steps to 99 % test over 99 % train accuracy", "Nanda et al. 2023; the bound is ours", grokking_ratio, 10
    ),
    Claim("key frequencies in the logits", "Nanda et al. 2023: 2 to 9", n_key, 2, 9),
    Claim("logit variance explained by the key cosines", "Nanda et al. 2023: 95 %", last("logits/fve"), 0.95),
    Claim(
        "neurons above 85 % single-frequency",
        "Nanda et al. 2023: 84.6 %; the bound is a released run's 79.1 %",
        single_share,
        0.79,
    ),
    Claim(
        "restricted loss falls before test loss: lead",
        "Nanda et al. 2023; the bound is ours",
        restricted_lead,
        1,
        unit="steps",
    ),
    Claim(
        "excluded loss rises while train loss < 0.01",
        "Nanda et al. 2023; the bound is ours",
        excluded_rise,
        1,
        unit="nats",
    ),
    Claim("Gini coefficient of W_E", "Nanda et al. 2023: 0.55 to 0.80", last("gini/W_E"), 0.55, 0.80),
    Claim("Gini coefficient of W_L", "Nanda et al. 2023: 0.68 to 0.91", last("gini/W_L"), 0.68, 0.91),
    Claim("Σw² after cleanup over before", "Nanda et al. 2023: falls; the bound is ours", norm_fall, 0, 0.8),
]


def learning(m: Measures) -> object:
    losses = m["train_loss"], m["test_loss"]
    return curves.learning(m.steps, *losses, m["train_accuracy"], m["test_accuracy"], phases(m), shown(m))


def progress_measures(m: Measures) -> object:
    losses = m["train_loss"], m["test_loss"], m["loss/restricted"], m["loss/excluded"]
    return curves.progress(m.steps, *losses, phases(m), shown(m))


def spectra_through_training(m: Measures) -> object:
    run = shown(m)
    n = modulus(m)[run] // 2 + 1  # frequencies, 0 included; beyond them stand those of larger p
    energies = m["embedding/spectrum"][run, :, :n], m["neuron_logit/spectrum"][run, :, :n]
    return spectra.through_training(m.steps, *energies, m["final/logits/key"][run, :n], phases(m)[run])


def structure(m: Measures) -> object:
    groups = {
        "embeddings": ("W_E", "W_pos"),
        "attention": ("W_Q", "W_K", "W_V", "W_O"),
        "MLP": ("W_in", "b_in", "W_out", "b_out"),
        "unembedding": ("W_U",),
    }
    squares = {group: [m[f"weights/sum_of_squares/{name}"] for name in names] for group, names in groups.items()}
    by_name = {group: np.sum(values, axis=0) for group, values in squares.items()}
    lines = m["gini/W_E"], m["gini/W_L"], m["weights/sum_of_squares/total"]
    return curves.structure(m.steps, *lines, phases(m), shown(m), by_name=by_name)


def embedding_circles(m: Measures) -> object:
    run, p = shown(m), modulus(m)[shown(m)]
    return circles.embedding_circles(m["final/numbers/W_E"][run, :p], m["final/logits/key"][run, : p // 2 + 1])


FIGURES = {
    "learning": learning,
    "progress": progress_measures,
    "spectra": spectra_through_training,
    "structure": structure,
    "circles": embedding_circles,
}
