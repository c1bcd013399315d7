"""What becomes of wrong labels, counted by hand; phases by their definition; the accuracy of a network that inverts."""

import jax
import numpy as np
import pytest

from toylab.analysis import corruption
from toylab.tasks import ModularArithmetic

LOGITS = np.float32([[3, 1, 0], [0, 2, 1], [0, 1, 2], [1, 0, 0], [0, 0, 5]])  # answers 0, 1, 2, 0, 2


def test_wrong_labels_are_memorised_or_corrected_or_neither():
    clean, labels = np.array([0, 0, 2, 1, 2]), np.array([0, 1, 1, 2, 0])  # all but the first are wrong
    found = corruption.of_wrong_labels(LOGITS, labels, clean)
    assert [float(x) for x in found] == [0.25, 0.5, pytest.approx(0.8)]  # the second; the third and the last
    mapped = jax.jit(jax.vmap(corruption.of_wrong_labels))(LOGITS[None], labels[None], clean[None])
    assert float(mapped.corrected[0]) == 0.5


def test_without_a_wrong_label_there_is_nothing_to_count():
    found = corruption.of_wrong_labels(LOGITS, np.arange(5) % 3, np.arange(5) % 3)
    assert np.isnan(found.memorised) and np.isnan(found.corrected) and found.share == 0


def test_phases():
    test = np.array([0.95, 1.0, 1.0, 0.2, 0.2, np.nan, 0.9])
    memorised = np.array([1.0, 0.5, 0.02, 0.99, 0.3, 1.0, np.nan])
    found = corruption.phases(test, memorised)
    named = [corruption.PHASES[i] if i >= 0 else "" for i in found]
    assert named == ["coexistence", "partial inversion", "full inversion", "memorisation", "neither", "", ""]
    assert corruption.phases(test[1], memorised[1], fitted=0.6) == 1
    with pytest.raises(ValueError, match=r"^fitted is 0\.5: it must lie above 0\.5 and be at most 1\.$"):
        corruption.phases(test, memorised, fitted=0.5)


def test_the_accuracy_of_a_network_that_corrects_all_labels():
    """Of the task's own labels, over 200 draws: within five standard errors, and with the variance of a binomial."""
    assert corruption.inverted_accuracy(0.35, 97) == pytest.approx(0.6536, abs=5e-5)
    task = ModularArithmetic(p=5, n_train=20, corruption=0.5)

    def right(key):
        data = task.data(key)
        return (data["train_labels"] == data["labels"].reshape(-1)[data["train"]]).mean()

    found = np.asarray(jax.vmap(right)(jax.random.split(jax.random.key(0), 200)))
    error = (10 * 0.2 * 0.8) ** 0.5 / 20 / 200**0.5  # ten labels are redrawn, each right with probability 1/5
    assert abs(found.mean() - corruption.inverted_accuracy(0.5, 5)) < 5 * error
