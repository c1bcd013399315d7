"""Grokking: a one-layer transformer memorises addition mod 113, then finds a Fourier circuit and generalises.

Claim     Long after it fits its training pairs, the network's test loss falls; all the while it has been building a
          circuit of a few cosines, and it generalises when weight decay has cleaned the memorisation away.
Source    Nanda et al. 2023, Progress measures for grokking via mechanistic interpretability (arXiv 2301.05217), mainline
          set-up: p = 113, 30 % of the pairs, AdamW lr 1e-3, weight decay 1, full batch.
Expect    Train loss below 0.1 at steps 134 to 202 over data fractions, test loss below 0.1 at step 7,930 of the released
          run of this fraction; 2 to 9 key frequencies that explain 95 % of the logits' variance; 433 of 512 neurons with
          more than 85 % of their variance at a single frequency.
Cost      cpu: one seed, 2 to 5 minutes on two cores. paper: 20 seeds, 219,000 steps, three hours of one busy core and 25
          minutes for their analyses. A run stops 3,000 steps after 99 % test accuracy, here at step 7,587 to 16,722; the
          paper trains for 40,000 epochs. The claims on what is there at the end are of that step.
Command   python run_sweep.py grokking [--scale smoke|cpu|paper]
Fails     Neurons above 85 % single-frequency: 50 to 83 % of 512, median 73 %; the released run has 85 %. The prediction
          interval, 51 to 91 %, has it, and is wider (.395) than the .3 that was declared: undecided, and more seeds would
          not narrow the spread of runs. The paper counts at step 40,000, ours stop 3,000 steps after grokking. The neurons
          that have no single frequency vary less: of the variance 89 to 99.7 % is in those that have. In six runs a key
          frequency of W_E and W_L has less than 2 % of the logits' energy, and the restricted loss lacks it.
Changed   Bounds of single runs (7,930 within a factor 2; 79.1 % of neurons; a floor of 95 %) are claims with prediction
          intervals now. Key frequencies were those of the logits, with more than 2 % of their energy: that missed 5 in
          seed 3, with 1.9 %, whose restricted loss therefore stays at 2e-3 in the figure. They are those of W_E and W_L
          now, as in the paper, and the variance explained in seed 3 is 96.6 % and not 94.7 %. The rise of the excluded
          loss and the fall of Σw² were differences of a largest and a smallest value, which cannot be negative; they are
          between two points now.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from toylab.analysis import fourier, in_half, norms, progress, transitions, without
from toylab.base import Config
from toylab.claims import EXACT, Claim, Direction, Fidelity, Number, Source, Within, scaled
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Measures
from toylab.models import Net, Transformer
from toylab.optim import AdamW
from toylab.plots import circles, curves, periodic, spectra
from toylab.sweep import log_then_linear
from toylab.tasks import ModularArithmetic


def nanda(p: int = 113, n_train: int = 3830, d_model: int = 128, d_mlp: int = 512, seed: int = 0) -> Config:
    """The paper's set-up; every default not given here stands, with its source, where it belongs."""
    net = Net.of(Transformer, d_vocab=p + 1, d_vocab_out=p + 1, n_ctx=3, d_model=d_model, d_mlp=d_mlp)
    return Config(task=ModularArithmetic(p=p, n_train=n_train), net=net, optimizer=AdamW(), seed=seed)


SEEDS = range(100, 120)  # none was trained before the claims were fixed
CONFIGS = {
    "smoke": [nanda(p=13, n_train=100, d_model=16, d_mlp=32)],
    "cpu": [nanda()],
    "paper": [nanda(seed=seed) for seed in SEEDS],
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


STOP = {"smoke": None, "cpu": well_after_grokking, "paper": well_after_grokking}
MILESTONE = ("grokked", grokked)
PROBES: dict = {}
FINAL = {"logits": fourier.logits, "neurons": fourier.neurons, "numbers": in_half(fourier.numbers)}
ANALYSES = {
    "embedding": in_half(fourier.embedding),
    "neuron_logit": in_half(fourier.neuron_logit),
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


def loss_ratio(m: Measures) -> np.ndarray:
    return test_step(m) / train_step(m)


def highest_loss(m: Measures) -> np.ndarray:
    return np.where(m.valid, m["test_loss"], -np.inf).max(axis=1)


def restricted_lead(m: Measures) -> np.ndarray:
    """Steps by which the restricted loss falls below half the loss of guessing before the test loss does."""
    low = half_chance(m)
    return after_peak(m, m["test_loss"] < low) - m.first_step(m["loss/restricted"] < low)


def excluded_rise(m: Measures) -> np.ndarray:
    """Nats by which the excluded loss is higher at the end of circuit formation than at the peak of the test loss; nan
    where the train loss is not low by then."""
    ends = phases(m)
    rise = at(m, "loss/excluded", formed(m)) - at(m, "loss/excluded", ends[:, 0])
    return np.where(at(m, "train_loss", ends[:, 0]) < 0.01, rise, np.nan)


def formed(m: Measures) -> np.ndarray:
    """[R]: the first saved step at which circuit formation is over."""
    return after(m, m.valid, phases(m)[:, 1])


def norm_loss(m: Measures) -> np.ndarray:
    """The share of Σw² at the end of circuit formation that is gone at the last point."""
    return 1 - m.last("weights/sum_of_squares/total") / at(m, "weights/sum_of_squares/total", formed(m))


def train_step(m: Measures) -> np.ndarray:
    return m.first_step(m["train_loss"] < 0.1)


def test_step(m: Measures, low: float = 0.1) -> np.ndarray:
    return after_peak(m, m["test_loss"] < low)


def key(m: Measures, share: float = 0.02) -> np.ndarray:
    """bool [R, p//2 + 1]: frequencies that have more than a share of the energy of both W_E and W_L."""
    spectra = [np.nan_to_num(m.last(f"{name}/spectrum")[:, 1:]) for name in ("embedding", "neuron_logit")]
    both = np.all([energy > share * energy.sum(axis=1, keepdims=True) for energy in spectra], axis=0)
    return np.pad(both, ((0, 0), (1, 0)))


def n_key(m: Measures, share: float = 0.02) -> np.ndarray:
    return key(m, share).sum(axis=1)


def logit_fve(m: Measures, share: float = 0.02) -> np.ndarray:
    """The variance of the logits that the cosines of `key` explain, centred by input."""
    energy = np.nan_to_num(m["final/logits/coefficients"]) ** 2
    whole = np.where(m["final/logits/key"], energy, 0).sum(axis=1) / m["final/logits/fve"]
    return np.where(key(m, share), energy, 0).sum(axis=1) / whole


def single_share(m: Measures, above: float = 0.85) -> np.ndarray:
    return (m["final/neurons/fraction"] > above).mean(axis=1)


def variance_ahead(m: Measures) -> np.ndarray:
    """By how much the share of the neurons' variance that single-frequency neurons have exceeds their share in number."""
    variance = m["final/neurons/variance"]
    return np.where(m["final/neurons/fraction"] > 0.85, variance, 0).sum(axis=1) / variance.sum(axis=1) - single_share(
        m
    )


def last(name: str) -> Callable[[Measures], np.ndarray]:
    return partial(Measures.last, name=name)


def stated(
    name: str,
    where: str,
    says: str,
    n: int | None,
    quantity: Quantity,
    kind: Kind,
    fidelity: Fidelity = EXACT,
    **more: Any,
) -> Claim:
    return Claim(name, Source("Nanda et al. 2023", where, says, n), quantity, kind, fidelity=fidelity, **more)


RUN = "released run of data fraction 0.3"
SHORTER = scaled("stopped 3,000 steps after 99 % test accuracy, not after 40,000")
SPREAD = 6  # widest prediction interval as a factor: five runs of another program have a standard deviation of e^0.38
THRESHOLDS = (0.005, 0.01, 0.05)  # for a key frequency
CLAIMS = [
    stated("memorises: first step with train loss < 0.1", "released runs over data fractions", "134 to 202", 6, train_step,
           Within(134, 202), unit="steps"),
    stated("test loss at its highest", RUN, "26.6", 1, highest_loss, Number(26.6, 2, "log"), unit="nats"),
    stated("groks: first step with test loss < 0.1", RUN, "7,930", 1, test_step, Number(7930, SPREAD, "log"), unit="steps",
           event="grokking time",
           variants={f"below {low:g} nats": partial(test_step, low=low) for low in (1, 0.01)}),
    stated("delay: steps to test over train loss < 0.1", RUN, "7,930 over 151", 1, loss_ratio,
           Number(7930 / 151, SPREAD, "log", null=1), event="grokking time"),
    stated("key frequencies of W_E and W_L", "appendix, over settings", "2 to 9", None, n_key, Within(2, 9), SHORTER,
           variants={f"from {share:.1%} of the energy": partial(n_key, share=share) for share in THRESHOLDS}),
    stated("logit variance explained by the key cosines", "section 4, mainline run", "five cosines: 95 %", 1, logit_fve,
           Number(0.95, 0.1), SHORTER,
           variants={f"key from {share:.1%}": partial(logit_fve, share=share) for share in THRESHOLDS}
           | {"key by the logits": last("logits/fve"), "centred globally": last("logits/fve_global")}),
    stated("neurons above 85 % single-frequency", "section 4, mainline run", "433 of 512", 1, single_share,
           Number(433 / 512, 0.3), SHORTER),
    stated("restricted loss falls before test loss: lead", "progress measures, figure", "it falls long before", None,
           restricted_lead, Direction(always=True), unit="steps"),
    stated("excluded loss rises while the train loss is low", "progress measures, figure",
           "it rises during circuit formation", None, excluded_rise, Direction(always=True), unit="nats"),
    stated("Gini coefficient of W_E", "appendix, over weight decays", "0.55 to 0.80", None, last("gini/W_E"),
           Within(0.55, 0.80), SHORTER),
    stated("Gini coefficient of W_L", "appendix, over weight decays", "0.68 to 0.91", None, last("gini/W_L"),
           Within(0.68, 0.91), SHORTER),
    stated("share of Σw² lost after circuit formation", "progress measures, figure", "weights fall during cleanup", None,
           norm_loss, Direction(always=True)),
    Claim("single-frequency neurons: share of the variance less share of the neurons",
          Source("Nanda et al. 2023", "section 4, mainline run", "84.6 % of neurons"), variance_ahead, Direction(),
          ledger="finding"),
]  # fmt: skip


def learning(m: Measures) -> object:
    losses = m["train_loss"], m["test_loss"]
    return curves.learning(m.steps, *losses, m["train_accuracy"], m["test_accuracy"], phases(m), shown(m))


def progress_measures(m: Measures) -> object:
    losses = m["train_loss"], m["test_loss"], m["loss/restricted"], m["loss/excluded"]
    return curves.progress(m.steps, *losses, phases(m), shown(m), note=missed(m))


def missed(m: Measures) -> str:
    """Which runs' restricted losses lack a frequency: it is in W_E and W_L, and below the rule for the logits."""
    lacks = key(m) & ~m["final/logits/key"]
    runs = ", ".join(str(run) for run in np.flatnonzero(lacks.any(axis=1)))
    return f"restricted lacks one of the frequencies in runs {runs}" if runs else ""


def spectra_through_training(m: Measures) -> object:
    run = shown(m)
    n = modulus(m)[run] // 2 + 1  # frequencies, 0 included; beyond them stand those of larger p
    spectra_of = m["embedding/spectrum"][run, :, :n], m["neuron_logit/spectrum"][run, :, :n]
    there = np.isfinite(spectra_of[0]).all(axis=1)  # others may go on for longer
    W_E, W_L = (energy[there].astype(float) for energy in spectra_of)
    return spectra.through_training(m.steps[there], W_E, W_L, m["final/logits/key"][run, :n], phases(m)[run])


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


def spectra_at_the_end(m: Measures) -> object:
    n = modulus(m)[shown(m)] // 2 + 1
    embedding, neuron_logit = (m.last(f"{name}/spectrum")[shown(m), :n] for name in ("embedding", "neuron_logit"))
    return spectra.final(embedding, neuron_logit, key(m)[shown(m), :n])


def frequencies(m: Measures) -> object:
    return periodic.single_frequency(
        m["final/neurons/fraction"], m.last("loss/excluded_each"), m.last("train_loss"), shown(m)
    )


def embedding_circles(m: Measures) -> object:
    run, p = shown(m), modulus(m)[shown(m)]
    return circles.embedding_circles(m["final/numbers/W_E"][run, :p], m["final/logits/key"][run, : p // 2 + 1])


FIGURES = {
    "learning": learning,
    "progress": progress_measures,
    "spectra": spectra_through_training,
    "final_spectra": spectra_at_the_end,
    "frequencies": frequencies,
    "structure": structure,
    "circles": embedding_circles,
}
