"""Quantities of runs at several weight decays that memorise wrong labels, unlearn them, or forget all: of `Measures`, [R].

What a page's claims are of, as those of Doshi et al. 2023 (arXiv 2310.13061). Measures are those of `ModularArithmetic`,
`labels/…` of `analysis.corruption.labels`, `final/neurons/…` of `corruption.neurons`, `weights/…` of `analytic.size`.
Runs are in the order of seeds.
"""

import numpy as np

from toylab.analysis import corruption, transitions
from toylab.claims.claim import Quantity
from toylab.lab.page import Measures

NOISE = 0.35  # of the notebook
FITTED = 0.9  # share from which on examples count as fitted


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
