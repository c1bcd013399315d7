"""Training with corrupted labels: what becomes of the wrong ones, and which of five phases a run is in.

The set-up and the phases are those of Doshi et al. 2023 (arXiv 2310.13061)."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Integer, Real

from toylab.analysis import pruning
from toylab.analysis.modular import analytic
from toylab.analysis.numbers import floating
from toylab.base import Params, Run
from toylab.losses import right
from toylab.shapes import shaped

PHASES = ("coexistence", "partial inversion", "full inversion", "memorisation", "neither")
PURE = 0.5  # inverse participation ratio above which a neuron counts as a wave


class Wrong(NamedTuple):
    """What is made of the wrong labels, as shares of them."""

    memorised: Array  # the answer is the label
    corrected: Array  # the answer is what the label should be
    share: Array  # of all examples, the labels that are wrong


@shaped
def of_wrong_labels(
    logits: Real[ArrayLike, "n n_classes"], labels: Integer[ArrayLike, " n"], clean: Integer[ArrayLike, " n"]
) -> Wrong:
    """How many wrong labels a network has memorised, and how many it has corrected.

    Args:
        logits: Of the training examples, [n, n_classes].
        labels: That it is trained towards, [n].
        clean: What they should be, [n]. A label that was redrawn and came out as it should be is not wrong.

    Returns:
        Three numbers of 1. The first two are nan where no label is wrong.
    """
    logits, labels, clean = floating(logits), jnp.asarray(labels), jnp.asarray(clean)
    wrong = labels != clean
    n = jnp.sum(wrong).astype(logits.dtype)
    of = [jnp.where(wrong, right(logits, answers), 0).sum() / n for answers in (labels, clean)]
    return Wrong(of[0], of[1], n / len(labels))


@shaped
def phases(
    test_accuracy: Real[np.ndarray, "*runs"], memorised: Real[np.ndarray, "*runs"], fitted: float = 0.9
) -> Int[np.ndarray, "*runs"]:
    """The phase of each run (Doshi et al. 2023), by its test accuracy and the share of wrong labels it has memorised.

    Where the test set is fitted: coexistence with all wrong labels fitted too, full inversion with at most 1 − fitted of
    them, partial inversion between. Where it is not: memorisation with all wrong labels fitted, else neither, as where
    weight decay has undone what was learned, or before anything is.

    Args:
        test_accuracy: Share of 1, [...].
        memorised: Share of 1, [...].
        fitted: The share from which on examples count as fitted, above 0.5; 0.9 is ours.

    Returns:
        Indices into `PHASES`; −1 where either is nan.

    Raises:
        ValueError: For `fitted` of at most 0.5 or above 1.
    """
    if not 0.5 < fitted <= 1:
        raise ValueError(f"fitted is {fitted:g}: it must lie above 0.5 and be at most 1.")
    inverted = np.where(memorised <= 1 - fitted, 2, 1)
    found = np.where(memorised >= fitted, 0, inverted)
    found = np.where(test_accuracy >= fitted, found, np.where(memorised >= fitted, 3, 4))
    return np.where(np.isnan(test_accuracy) | np.isnan(memorised), -1, found)


@shaped
def inverted_accuracy(noise: Real[ArrayLike, "*batch"], n_classes: int) -> Float[np.ndarray, "*batch"]:
    """The training accuracy of a network that gives every example its clean answer: 1 − ν + ν/p.

    Args:
        noise: The share ν of the labels that is redrawn, uniformly from all classes: of these a share 1/p stays right.
        n_classes: p.

    Returns:
        [...], of 1.
    """
    noise = np.asarray(noise, float)
    return 1 - noise + noise / n_classes


def labels(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of `ModularMLP` on a modular operation: what becomes of the wrong labels.

    Returns:
        A dict of scalars: those of `Wrong`, and `pure`, the share of neurons that are waves.
    """
    at, answers = run.data["train"], run.data["labels"].reshape(-1)
    logits, _ = run.config.net.apply(params, run.data["tokens"][at], full=False)
    found = of_wrong_labels(logits, run.data["train_labels"], answers[at])
    return found._asdict() | {"pure": jnp.mean(analytic.purity(*analytic.neuron_rows(params, run)) > PURE)}


def neurons(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of `ModularMLP` on a modular operation: what is left when neurons go in the order of their purity.

    Returns:
        A dict, in half precision.

        - `ipr` [N]: the purity of each neuron.
        - `least_SET`, `most_SET` [N + 1], or [N / 5 + 1] where 5 divides N: an accuracy while the least pure go, or the
          purest. SET is train, wrong and right (its labels that are so), or test.
    """
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
