"""Corrupted labels: a network memorises wrong labels and generalises at once, and weight decay makes it unlearn them.

Claim     Trained on addition with a share of the labels redrawn, a network fits them and the test set too. Its neurons
          are of two kinds: waves, which generalise, and others, which memorise; without the others it corrects the
          labels. With more weight decay it first groks and then unlearns: training accuracy falls to the share of right
          labels (inversion). Without corruption it learns polynomials h(g(a) + g′(b)) and products, and no others.
Source    Doshi, Das, He & Gromov 2023, To grok or not to grok (arXiv 2310.13061), and its released notebook: p = 97, 500
          quadratic neurons on one-hot vectors, squared error, AdamW lr 1e-2, half of the pairs, noise 0.35, one run a
          decay, here 500 steps each. The phase plane and the 20 seeds are of p = 59 with 300 neurons. Doshi, He, Das &
          Gromov 2024, Grokking Modular Polynomials (arXiv 2406.03495).
Expect    p = 97: train 0.98 and test 0.98 without decay, 0.79 and 1 with 5, 0.654 and 1 with 15, where 0.654 are right.
Cost      cpu: 200 runs, some 10 minutes of one busy core in all, half of them the 24 runs of p = 97. paper: more cells.
Command   python run_sweep.py corrupted_labels [--scale smoke|cpu|paper]
Fails     p = 97, decay 15: train and test accuracy are never above 0.91 (0.90 to 0.93) at once, n = 8, where the paper's
          stages pass through high accuracy on both (0.95 is our reading of "high"); with decay 5 it is 0.954 (0.943 to
          0.968), undecided. Unlearning begins before the test set is fitted. p = 59, decay 15: it is half-way 20 steps
          (20 to 40) after 90 % of the test set, but in 17 of 20 runs only. In the plane without decay the median of wrong
          labels memorised is 1 (0.875 to 1), undecided: with 0.9 of the pairs not all are, and test accuracy is high.
          Forgetting at decay 20 was not run to its end: by step 400 test accuracy is past its peak. a² + ab + b² is at
          0.46 by step 600 and still rising.
Changed   A first sweep, of seeds 100 to 119, was stopped at step 220 and its runs thrown away, none of them measured: the
          steps by which unlearning comes after grokking could not be below 0 as they were counted. Seeds are new ones.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab.analysis import corruption, norms, pruning, transitions
from toylab.analysis.modular import analytic
from toylab.base import Analyzer, Config, Params, Run
from toylab.claims import Claim, Direction, Number, Proportion, Source, Within, analogue, scaled
from toylab.claims.claim import EXACT, Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Arrays, Measures, Part
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.plots import phase, pruned, stages
from toylab.tasks import ModularArithmetic

SEEDS, FEW = range(120, 140), range(120, 128)  # none of them was trained before the claims were fixed
LATER_SEEDS = range(140, 148)  # of the parts on forgetting
DECAYS = (0.0, 5.0, 15.0, 20.0)
NOISE = 0.35
FITTED = 0.9  # share from which on examples count as fitted
NEAR = (1 - FITTED) * NOISE  # in train accuracy, of full inversion: at most that share of wrong labels is kept
PURE = 0.5  # inverse participation ratio above which a neuron counts as a wave
FRACTIONS, NOISES = (0.3, 0.5, 0.7, 0.9), (0.1, 0.2, 0.35, 0.5)
FINE = tuple(np.linspace(0.1, 0.9, 17).round(2).tolist())  # of the paper
LEARNED = {"add": "a + b", "multiply": "ab", "x2+y": "a² + b", "(4x+3y)3": "(4a + 3b)³"}
NOT_LEARNED = {"x2+xy+y2": "a² + ab + b²", "x3+xy": "a³ + ab"}


def net(decay: float, seed: int, p: int, d_mlp: int, fraction: float, **task: Any) -> Config:
    """The network of Doshi et al. 2023."""
    sizes: dict[str, Any] = {"d_vocab": p, "d_vocab_out": p, "d_mlp": d_mlp}
    pairs = ModularArithmetic(p=p, n_train=int(fraction * p**2 + 1e-6), loss_kind="squared_error", **task)
    mlp = Net.of(ModularMLP, **sizes, embedding="none", activation="quadratic")
    return Config(pairs, mlp, AdamW(lr=1e-2, weight_decay=decay, warmup=0), seed)


def noisy(decays: Sequence[float], seeds: Sequence[int], **sizes: Any) -> list[Config]:
    return [net(decay, seed, corruption=NOISE, **sizes) for decay in decays for seed in seeds]


def cells(fractions: Sequence[float], noises: Sequence[float], first: int, **sizes: Any) -> list[Config]:
    """Each cell has a seed of its own, at all decays the same."""
    at = [(fraction, noise) for fraction in fractions for noise in noises]
    return [
        net(decay, first + i, fraction=fraction, corruption=noise, **sizes)
        for i, (fraction, noise) in enumerate(at)
        for decay in DECAYS
    ]


def polynomials(seeds: Sequence[int], **sizes: Any) -> list[Config]:
    return [net(5.0, seed, op=op, **sizes) for op in (*LEARNED, *NOT_LEARNED) for seed in seeds]


def labels(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: what becomes of the wrong labels, and the share of neurons that are waves."""
    at, answers = run.data["train"], run.data["labels"].reshape(-1)
    logits, _ = run.config.net.apply(params, run.data["tokens"][at], full=False)
    found = corruption.of_wrong_labels(logits, run.data["train_labels"], answers[at])
    return found._asdict() | {"pure": jnp.mean(analytic.purity(*analytic.neuron_rows(params, run)) > PURE)}


def neurons(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer, of the end, in half precision: the purity of each neuron, and accuracies while the least pure go, or the
    purest: of the training set, of its wrong labels and its right ones, and of the test set."""
    purity = analytic.purity(*analytic.neuron_rows(params, run))
    up = jnp.argsort(jnp.nan_to_num(purity, nan=0.0))
    found = {"ipr": purity}
    train, test, clean = run.data["train"], run.data["test"], run.data["labels"].reshape(-1)
    given, wrong = run.data["train_labels"], run.data["train_labels"] != clean[train]
    all_of = jnp.ones(len(train), bool)
    sets = {"train": (train, given, all_of), "wrong": (train, given, wrong), "right": (train, given, ~wrong)}
    sets["test"] = (test, clean[test], jnp.ones(len(test), bool))
    for name, (pairs, answers, which) in sets.items():
        post = run.config.net.apply(params, run.data["tokens"][pairs])[1]["mlp_post"][0]
        for end, order in (("least", up[::-1]), ("most", up)):  # what goes last comes first
            every = 5 if len(up) % 5 == 0 else 1
            kept = pruning.kept_accuracy(post, params["W_U"], answers, order, of=which, every=every)
            found[f"{end}_{name}"] = kept[::-1]
    return {name: value.astype("float16") for name, value in found.items()}


def weights(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the norm of all weights, and the number of neurons over which their squares are spread."""
    rows = jnp.concatenate(analytic.neuron_rows(params, run), axis=1)
    return {"norm": norms.weight_norms(params)["total"], "neurons": norms.effective_rows(rows)}


def settled(measures: Arrays) -> bool:
    """Whether the training loss is the same to the last bit at three saved points: outputs are 0, and so are gradients."""
    loss = measures["train_loss"]
    return len(loss) > 2 and bool((loss[-3:] == loss[-1]).all())


# --- quantities


def at(m: Measures, decay: float) -> Measures:
    """The runs of one weight decay, in the order of seeds."""
    m = m.runs(np.isclose(m["config/optimizer.weight_decay"], decay))
    return m.runs(np.argsort(m["config/seed"], kind="stable"))


def end(m: Measures, name: str, decay: float) -> np.ndarray:
    """[R]: a measure at the end."""
    return at(m, decay).last(name).astype(float)


def both(m: Measures, decay: float) -> np.ndarray:
    """[R]: the lower of train and test accuracy at the end."""
    return np.minimum(end(m, "train_accuracy", decay), end(m, "test_accuracy", decay))


def both_on_the_way(m: Measures, decay: float) -> np.ndarray:
    """[R]: the highest, over saved points, of the lower of train and test accuracy."""
    m = at(m, decay)
    return np.nanmax(np.minimum(m["train_accuracy"], m["test_accuracy"]), axis=1)


def inverted(m: Measures) -> np.ndarray:
    """[R]: the train accuracy of a network that corrects all labels."""
    return corruption.inverted_accuracy(m["config/task.corruption"], int(m.only("config/task.p")))


def unlearns_after(m: Measures, decay: float, level: float = FITTED) -> np.ndarray:
    """[R]: steps from a test accuracy of this to where train accuracy, once as high, is half-way down to inversion."""
    m = at(m, decay)
    test, train = (m.first_step(m[f"{name}_accuracy"] >= level) for name in ("test", "train"))
    low = m["train_accuracy"] < (1 + inverted(m)[:, None]) / 2
    return m.first_step(low & (m.steps > np.nan_to_num(train, nan=np.inf)[:, None])) - test


def less(m: Measures, name: str, one: float, other: float) -> np.ndarray:
    """[R]: a measure at the end with one decay less that with another, of the seeds that have both."""
    seeds = np.intersect1d(at(m, one)["config/seed"], at(m, other)["config/seed"])
    shared = m.runs(np.isin(m["config/seed"], seeds))
    return end(shared, name, one) - end(shared, name, other)


def without(m: Measures, gone: str, share: float | np.ndarray, of: str, decay: float) -> np.ndarray:
    """[R]: an accuracy at the end without this share of the neurons, the "least" pure or the "most"."""
    found = at(m, decay)[f"final/neurons/{gone}_{of}"].astype(float)
    index = np.round(np.asarray(share) * (found.shape[1] - 1)).astype(int)
    return found[np.arange(len(found)), index]


def waves_alone(m: Measures, of: str, decay: float) -> np.ndarray:
    """[R]: the same without the neurons that are no waves."""
    return without(m, "least", 1 - end(m, "labels/pure", decay), of, decay)


def gained(m: Measures, of: str, decay: float) -> np.ndarray:
    """[R]: what an accuracy gains when the neurons go that are no waves."""
    return waves_alone(m, of, decay) - without(m, "least", 0.0, of, decay)


def less_inversion(m: Measures, accuracy: Quantity, decay: float) -> np.ndarray:
    """[R]: an accuracy less that of a network that corrects all labels."""
    return accuracy(m) - inverted(at(m, decay))


def ordered(m: Measures, slack: float = 0.02) -> np.ndarray:
    """[cells]: whether with decay 5 no more wrong labels are memorised than with none, nor with 15 than with 5; 1 or 0."""
    steps = [less(m, "labels/memorised", one, other) > -slack for one, other in ((0.0, 5.0), (5.0, 15.0))]
    return np.logical_and(*steps).astype(float)


def within_reach(m: Measures, name: str, decay: float = 15.0) -> np.ndarray:
    """[cells]: a measure at the end, with half of the pairs or more and the notebook's share of redrawn labels or less."""
    enough = m["config/task.n_train"] > 0.49 * m["config/task.p"] ** 2
    return end(m.runs(enough & (m["config/task.corruption"] < NOISE + 0.01)), name, decay)


def highest(m: Measures, decay: float) -> np.ndarray:
    """[R]: the highest test accuracy over saved points."""
    return np.nanmax(at(m, decay)["test_accuracy"], axis=1)


def at_highest(m: Measures, decay: float) -> np.ndarray:
    """[R]: train accuracy at the first saved point with the highest test accuracy, less that of full inversion."""
    m = at(m, decay)
    best = np.nan_to_num(m["test_accuracy"], nan=-1).argmax(axis=1)
    return m["train_accuracy"][np.arange(len(best)), best] - inverted(m)


def forgets_after(m: Measures, decay: float, level: float = 0.5) -> np.ndarray:
    """[R]: steps from where train accuracy is half-way down to inversion to where test accuracy is lost to below this."""
    own = at(m, decay)
    unlearned = own.first_step(own["test_accuracy"] >= FITTED) + unlearns_after(m, decay)
    return transitions.lost(own.steps, own["test_accuracy"], level) - unlearned


def left(m: Measures, name: str, decay: float) -> np.ndarray:
    """[R]: a measure at the end over that at the start."""
    return end(m, name, decay) / at(m, decay)[name][:, 0]


def of_chance(m: Measures, name: str, decay: float) -> np.ndarray:
    """[R]: a loss at the end over 1/p, that of outputs which are all 0."""
    return end(m, name, decay) * m.only("config/task.p")


def by_fewer(m: Measures, decay: float, level: float = 0.5) -> np.ndarray:
    """[R]: of the fall of ln ‖w‖² from the highest test accuracy to where it is lost to below this, the share that is of
    fewer neurons, and not of smaller ones."""
    m = at(m, decay)
    lost = transitions.lost(m.steps, m["test_accuracy"], level)
    best = np.nan_to_num(m["test_accuracy"], nan=-1).argmax(axis=1)
    gone, runs = np.minimum(np.searchsorted(m.steps, lost), len(m.steps) - 1), np.arange(len(lost))
    number, norm = (np.log(x[runs, gone] / x[runs, best]) for x in (m["weights/neurons"], m["weights/norm"]))
    return np.where(np.isnan(lost), np.nan, number / (2 * norm))


def tests(m: Measures, op: str) -> np.ndarray:
    m = m.runs(m["config/task.op"] == op)
    return m.last("test_accuracy")


def told_apart(m: Measures) -> np.ndarray:
    """[seeds]: the share of waves among neurons that add less that among neurons that multiply."""
    return np.subtract(*(m.runs(m["config/task.op"] == op).last("labels/pure") for op in ("add", "multiply")))


# --- claims

DOSHI, LATER = "Doshi et al. 2023", "Doshi et al. 2024"
SMALLER = scaled("p = 59, 300 neurons, 0.6 of the pairs")
NOTEBOOK = "released notebook, printed finals"


def stated(where: str, says: str, name: str, quantity: Quantity, kind: Kind, **more: Any) -> Claim:
    named: dict[str, Any] = {"each": "seed", "looks": (8, 20), **more}
    return Claim(name, Source(DOSHI, where, says, 1), quantity, kind, **named)


small = partial(stated, fidelity=SMALLER)
exact = partial(stated, fidelity=EXACT, looks=(8,))
shorter = partial(stated, fidelity=scaled("500 steps, not 1,000"), looks=(8,))
AT_ONCE = "abstract (i)", "memorises the corrupted labels and generalises at the same time"
NEURONS = "abstract (ii)", "the memorising neurons can be identified and pruned"
DECAY = "abstract (iii)", "weight decay makes the network ignore the corrupted data"
WHY = "abstract (iv)", "weight decay forces all the neurons to learn generalising representations"
STAGES = "abstract", "two stages: grokking, then unlearning, train accuracy jumps from 100 % to 100 (1 − noise) %"
AT_15 = partial(end, name="train_accuracy", decay=15.0)
HALF_GONE = {of: partial(without, gone="least", share=0.5, of=of, decay=5.0) for of in ("test", "wrong", "train")}


def itself(accuracy: Quantity) -> Quantity:
    return accuracy


def from_inversion(accuracy: Any) -> Quantity:
    return partial(less_inversion, accuracy=accuracy, decay=accuracy.keywords["decay"])


AFTER_PRUNING: tuple[tuple[str, str, Callable[[Any], Quantity], Kind], ...] = (
    ("test accuracy", "test", itself, Within(low=0.99)),
    ("wrong labels memorised", "wrong", itself, Within(high=1 - FITTED)),
    ("train accuracy less 1 − ν + ν/p", "train", from_inversion, Within(-NEAR, NEAR)),
)
DECAY_CLAIMS = [
    small(*AT_ONCE, "decay 5: the lower of train and test accuracy", partial(both, decay=5.0), Within(low=0.98)),
    small(*AT_ONCE, "decay 5: wrong labels memorised", partial(end, name="labels/memorised", decay=5.0), Within(low=0.95)),
    *(
        small(*NEURONS, f"decay 5, half of the neurons gone, the least pure: {what}", made(HALF_GONE[of]), kind,
              variants={"the waves alone": made(partial(waves_alone, of=of, decay=5.0))})
        for what, of, made, kind in AFTER_PRUNING
    ),
    small(*NEURONS, "decay 5, a quarter of the neurons gone, the purest: test accuracy",
          partial(without, gone="most", share=0.25, of="test", decay=5.0), Within(high=0.5)),
    small(*NEURONS, "decay 5, a quarter of the neurons gone, the purest: train accuracy",
          partial(without, gone="most", share=0.25, of="train", decay=5.0), Within(low=0.95)),
    small(*DECAY, "decay 15: test accuracy", partial(end, name="test_accuracy", decay=15.0), Within(low=0.99)),
    small(*DECAY, "decay 15: train accuracy less 1 − ν + ν/p", from_inversion(AT_15), Within(-NEAR, NEAR)),
    small(*DECAY, "wrong labels memorised, decay 5 less decay 15",
          partial(less, name="labels/memorised", one=5.0, other=15.0), Direction(always=True)),
    small(*WHY, "share of neurons that are waves, decay 5 less none",
          partial(less, name="labels/pure", one=5.0, other=0.0), Direction(), looks=(8,)),
    small(*WHY, "share of neurons that are waves, decay 15 less decay 5",
          partial(less, name="labels/pure", one=15.0, other=5.0), Direction(always=True)),
    small(*STAGES, "decay 15: steps from 90 % of the test set to where train accuracy is half-way down",
          partial(unlearns_after, decay=15.0), Direction(always=True), unit="steps"),
]  # fmt: skip
PUBLISHED_CLAIMS = [
    exact(NOTEBOOK, "0.7855", "p = 97, decay 5: train accuracy at step 500", partial(end, name="train_accuracy", decay=5.0),
          Number(0.7855, 0.1)),
    exact(NOTEBOOK, "1.0000", "p = 97, decay 5: test accuracy at step 500", partial(end, name="test_accuracy", decay=5.0),
          Within(low=0.99)),
    exact(NOTEBOOK, "0.6537", "p = 97, decay 15: train accuracy at step 500",
          partial(end, name="train_accuracy", decay=15.0), Number(0.6537, 0.1)),
    exact(*DECAY, "p = 97, decay 15: train accuracy less 1 − ν + ν/p", from_inversion(AT_15),
          Within(-NEAR, NEAR)),
    exact(NOTEBOOK, "1.0000", "p = 97, decay 15: test accuracy at step 500",
          partial(end, name="test_accuracy", decay=15.0), Within(low=0.99)),
    exact(*STAGES, "p = 97, decay 5: the lower of train and test accuracy, highest on the way",
          partial(both_on_the_way, decay=5.0), Within(low=0.95)),
    exact(*STAGES, "p = 97, decay 15: the lower of train and test accuracy, highest on the way",
          partial(both_on_the_way, decay=15.0), Within(low=0.95)),
    exact(*STAGES, "p = 97, decay 15: steps from 90 % of the test set to where train accuracy is half-way down",
          partial(unlearns_after, decay=15.0), Direction(), unit="steps"),
]  # fmt: skip
COEXISTENCE_CLAIMS = [
    shorter(NOTEBOOK, "0.9783", "p = 97, no decay: train accuracy at step 500",
          partial(end, name="train_accuracy", decay=0.0), Number(0.9783, 0.1)),
    shorter(NOTEBOOK, "0.9830", "p = 97, no decay: test accuracy at step 500",
          partial(end, name="test_accuracy", decay=0.0), Number(0.9830, 0.1)),
    shorter(*AT_ONCE, "p = 97, no decay: the lower of train and test accuracy", partial(both, decay=0.0), Within(low=0.95)),
    shorter(*NEURONS, "p = 97, no decay, the waves alone less all neurons: test accuracy",
          partial(gained, of="test", decay=0.0), Direction()),
    *(
        shorter(*NEURONS, f"p = 97, no decay, the waves alone: {what}", made(partial(waves_alone, of=of, decay=0.0)), kind)
        for what, of, made, kind in AFTER_PRUNING
    ),
]  # fmt: skip


def seen(name: str, quantity: Quantity, kind: Kind, **more: Any) -> Claim:
    return Claim(name, None, quantity, kind, "finding", each="seed", looks=(8,), **more)


LOST = "released notebook, decay 20, 5,000 steps"
BY_2000 = partial(stated, fidelity=scaled("p = 59, 300 neurons, 0.6 of the pairs, 2,000 steps"), looks=(8,))
FORGETTING_CLAIMS = [
    exact(LOST, "0.0091", "p = 97, decay 20: train accuracy at the end", partial(end, name="train_accuracy", decay=20.0),
          Number(0.0091, 0.02)),
    exact(LOST, "0.0108", "p = 97, decay 20: test accuracy at the end", partial(end, name="test_accuracy", decay=20.0),
          Number(0.0108, 0.02)),
    exact(LOST, "loss 1/p", "p = 97, decay 20: training loss at the end over 1/p",
          partial(of_chance, name="train_loss", decay=20.0), Within(0.999, 1.001)),
    seen("p = 97, decay 20: highest test accuracy on the way", partial(highest, decay=20.0), Within(low=FITTED)),
    seen("p = 97, decay 20: train accuracy less 1 − ν + ν/p at the step of the highest test accuracy",
         partial(at_highest, decay=20.0), Within(-NEAR, NEAR)),
    seen("p = 97, decay 20: steps from where train accuracy is half-way down to where half of the test set is lost",
         partial(forgets_after, decay=20.0), Direction(), unit="steps"),
    seen("p = 97, decay 20: norm of all weights at the end over that at the start",
         partial(left, name="weights/norm", decay=20.0), Within(high=1e-6)),
    seen("p = 97, decay 20: share of the fall of ln ‖w‖² that is of fewer neurons, until half of the test set is lost",
         partial(by_fewer, decay=20.0), Direction(null=0.5),
         variants={f"until {1 - level:.0%} is": partial(by_fewer, decay=20.0, level=level) for level in (0.9, 0.1)}),
]  # fmt: skip
LASTING_CLAIMS = [
    BY_2000("phase diagrams", "decay 15: full inversion", "decay 15, step 2,000: test accuracy",
            partial(end, name="test_accuracy", decay=15.0), Within(low=FITTED)),
    BY_2000(LOST, "forgetting", "decay 20, by step 2,000: test accuracy", partial(end, name="test_accuracy", decay=20.0),
            Within(high=3 / 59)),
    BY_2000(LOST, "forgetting, where decay 15 inverts", "test accuracy by step 2,000, decay 15 less decay 20",
            partial(less, name="test_accuracy", one=15.0, other=20.0), Direction()),
]  # fmt: skip


def plane_claim(says: str, name: str, quantity: Quantity, kind: Kind, n_cells: int) -> Claim:
    return Claim(name, Source(DOSHI, "phase diagrams", says, 289), quantity, kind, each="cell", looks=(n_cells,),
                 fidelity=scaled("p = 59, 300 neurons, 400 steps, 16 cells of 289"))  # fmt: skip


PLANE_CLAIMS = [
    plane_claim("without decay all is memorised", "plane, no decay: wrong labels memorised",
                partial(end, name="labels/memorised", decay=0.0), Within(low=FITTED), 16),
    plane_claim("from memorisation to inversion as decay grows", "plane: more decay never memorises more wrong labels",
                ordered, Proportion(least_share=0.7), 16),
    *(
        plane_claim("full inversion", f"plane, ≥ 0.5 of the pairs, noise ≤ 0.35, decay 15: {what}",
                    partial(within_reach, name=name), kind, 9)
        for what, name, kind in (
            ("wrong labels memorised", "labels/memorised", Within(high=1 - FITTED)),
            ("test accuracy", "test_accuracy", Within(low=FITTED)),
        )
    ),
]  # fmt: skip
THEIRS = analogue("p = 29, 256 neurons, 0.7 of the pairs")


def of_polynomial(op: str, shown: str, learned: bool) -> Claim:
    says = "polynomials h(g(a) + g′(b)) and products can be learned" if learned else "others cannot"
    kind = Within(low=0.99) if learned else Within(high=0.9)
    return Claim(f"{shown}: test accuracy", Source(LATER, "hypothesis", says), partial(tests, op=op), kind,
                 fidelity=THEIRS, each="seed", looks=(8,))  # fmt: skip


POLYNOMIAL_CLAIMS = [
    *(of_polynomial(op, shown, True) for op, shown in LEARNED.items()),
    *(of_polynomial(op, shown, False) for op, shown in NOT_LEARNED.items()),
    Claim("share of neurons that are waves, a + b less ab, whose waves are over the discrete logarithm", None, told_apart,
          Direction(), "finding", each="seed", looks=(8,)),
]  # fmt: skip

# --- figures


def decays_of(m: Measures) -> Iterator[tuple[str, Measures]]:
    for decay in np.unique(m["config/optimizer.weight_decay"]):
        yield (f"decay {decay:g}" if decay else "no decay"), at(m, decay)


def curves(m: Measures) -> Any:
    panels = []
    for name, own in decays_of(m):
        found = {"train": own["train_accuracy"], "test": own["test_accuracy"]}
        found["wrong labels"] = own["labels/memorised"].astype(float)
        limits = {"1 − ν + ν/p": float(inverted(own).mean())}
        panels.append(stages.Panel(f"accuracy,\n{name}", found, limits, ylim=(-0.03, 1.03)))
    return stages.stages(m.steps, panels[:8], xscale="log")


def forgotten(m: Measures) -> Any:
    """Accuracies, and what is left of the norm and of the number of neurons."""
    panels = []
    for name, own in decays_of(m):
        accuracies = {"train": own["train_accuracy"], "test": own["test_accuracy"]}
        limits = {"1 − ν + ν/p": float(inverted(own).mean()), "1/p": 1 / int(own.only("config/task.p"))}
        panels.append(stages.Panel(f"accuracy,\n{name}", accuracies, limits, ylim=(-0.03, 1.03)))
        sizes = {"‖w‖²": (own["weights/norm"] / own["weights/norm"][:, :1]) ** 2}
        sizes["neurons"] = own["weights/neurons"] / own["weights/neurons"][:, :1]
        panels.append(stages.Panel(f"share of the start,\n{name}", sizes, ylim=(-0.03, 1.03)))
    return stages.stages(m.steps, panels[:8], xscale="log")


def purities(m: Measures) -> Any:
    return pruned.purities({name: own["final/neurons/ipr"].astype(float) for name, own in decays_of(m)})


def pruning_of(m: Measures, decay: float) -> Any:
    known = np.unique(m["config/optimizer.weight_decay"])
    own = at(m, known[np.abs(known - decay).argmin()])
    names = {"train": "training set", "wrong": "its wrong labels", "right": "its right labels", "test": "test set"}
    panels = {
        f"the {shown} first": {names[of]: own[f"final/neurons/{gone}_{of}"].astype(float) for of in names}
        for gone, shown in (("least", "least pure"), ("most", "purest"))
    }
    share = np.linspace(0, 1, own["final/neurons/least_test"].shape[1])
    return pruned.pruning(share, panels, {"1 − ν + ν/p": float(inverted(own).mean())})


def plane(m: Measures) -> Any:
    panels = []
    for name, own in decays_of(m):
        found = corruption.phases(own.last("test_accuracy"), own.last("labels/memorised").astype(float))
        value = np.where(found < 0, np.nan, found)
        fraction = np.round(100 * own["config/task.n_train"] / own["config/task.p"] ** 2)
        shown = phase.of_columns(own, fraction, 100 * own["config/task.corruption"], value)
        axes = phase.Axis("training pairs (% of all)"), phase.Axis("labels redrawn (%)")
        panels.append(phase.Panel(shown, *axes, categories=corruption.PHASES, title=name))
    return phase.diagram(*panels[:8])


def by_polynomial(m: Measures) -> Any:
    names = LEARNED | NOT_LEARNED
    found = {names[op]: m.runs(m["config/task.op"] == op)["test_accuracy"] for op in names if op in m["config/task.op"]}
    return stages.stages(m.steps, [stages.Panel("test accuracy", found, ylim=(-0.03, 1.03))], xscale="log")


# --- parts

P59: dict[str, Any] = {"p": 59, "d_mlp": 300, "fraction": 0.6}
P97: dict[str, Any] = {"p": 97, "d_mlp": 500, "fraction": 0.5}
P29: dict[str, Any] = {"p": 29, "d_mlp": 256, "fraction": 0.7}
TINY: dict[str, Any] = {"p": 7, "d_mlp": 20, "fraction": 0.6}
TO_400 = np.r_[0:10:2, 10:100:10, 100:300:20, 300:401:50]
TO_2000 = np.r_[0:100:20, 100:400:50, 400:1000:100, 1000:2001:200]
TO_5000 = np.r_[0, 10:100:10, 100:200:20, 200:400:50, 400:3000:100, 3000:5001:200]
TO_500 = np.r_[0, 5, 10:100:10, 100:250:10, 250:501:50]
SHORT = (0, 5, 10)


def part(
    tiny: list[Config], full: list[Config], paper: list[Config], saves: np.ndarray,
    probes: Mapping[str, Analyzer] = {}, **more: Any,
) -> Part:  # fmt: skip
    return Part(
        configs={"smoke": tiny, "cpu": full, "paper": paper},
        saves={"smoke": SHORT, "cpu": saves, "paper": saves},
        probes={"labels": labels} | probes,
        **more,
    )


LARGE = noisy((0.0, 5.0, 15.0), FEW, **P97)
SMALL = [*noisy((5.0, 15.0), SEEDS, **P59), *noisy((0.0, 20.0), FEW, **P59)]
LARGE_LATER = noisy((20.0,), LATER_SEEDS, **P97)
SMALL_LATER = noisy((15.0, 20.0), LATER_SEEDS, **P59)
UNTIL_SETTLED: dict[str, Any] = {
    "probes": {"weights": weights}, "keep": (), "stop": {"smoke": None, "cpu": settled, "paper": settled},
}  # fmt: skip
OVER_CELLS = cells(FRACTIONS, NOISES, SEEDS[0], p=59, d_mlp=300)
PARTS = {
    "published": part(noisy((0.0, 5.0, 15.0), range(1), **TINY), LARGE, LARGE, TO_500, final={"neurons": neurons},
                      claims=[*PUBLISHED_CLAIMS, *COEXISTENCE_CLAIMS],
                      figures={"published": curves, "coexistence": partial(pruning_of, decay=0.0)}),
    "decays": part(noisy(DECAYS, range(1), **TINY), SMALL, SMALL, TO_400, final={"neurons": neurons}, claims=DECAY_CLAIMS,
                   figures={"decays": curves, "purity": purities, "pruning": partial(pruning_of, decay=5.0)}),
    "forgetting": part(noisy((20.0,), range(1), **TINY), LARGE_LATER, LARGE_LATER, TO_5000, claims=FORGETTING_CLAIMS,
                       figures={"forgetting": forgotten}, **UNTIL_SETTLED),
    "lasting": part(noisy((15.0, 20.0), range(1), **TINY), SMALL_LATER, SMALL_LATER, TO_2000, claims=LASTING_CLAIMS,
                    figures={"lasting": forgotten}, **UNTIL_SETTLED),
    "plane": part(cells(FRACTIONS[:3], NOISES[2:], 0, p=7, d_mlp=20), OVER_CELLS,
                  cells(FINE, FINE, SEEDS[0], p=97, d_mlp=500),
                  np.array([0, 100, 200, 400]), keep=(), claims=PLANE_CLAIMS, figures={"plane": plane}),
    "polynomials": part(polynomials(range(1), **TINY), polynomials(FEW, **P29), polynomials(FEW, **P29),
                        np.r_[0:60:6, 60:200:20, 200:601:50], keep=(), claims=POLYNOMIAL_CLAIMS,
                        figures={"polynomials": by_polynomial}),
}  # fmt: skip
