"""What the claims of grokking_phase read off runs, on measures whose answers are known."""

import numpy as np
import pytest

from toylab.experiments.grokking import grokking_phase as page
from toylab.lab import Measures

STEPS = np.array([0, 10, 100, 1000, 10_000])
FRACTIONS = (0.3, 0.35, 0.4, 0.5, 0.7)


def measures(first_low, decays=(1.0,)):
    """Two seeds, train pairs fitted at step 10; `first_low` [S, F, D]: the index of the step of a low test loss."""
    at = np.asarray(first_low).reshape(2, len(FRACTIONS), len(decays))
    seed, fraction, decay = (axis.ravel() for axis in np.meshgrid([7, 8], FRACTIONS, decays, indexing="ij"))
    n = len(seed)
    test = np.where(np.arange(len(STEPS)) >= at.ravel()[:, None], 0.01, 3.0)
    return Measures(
        {
            "steps": STEPS,
            "valid": np.ones((n, len(STEPS)), bool),
            "train_loss": np.tile([3, 0.01, 0.01, 0.01, 0.01], (n, 1)),
            "test_loss": test,
            "train_accuracy": np.tile([0, 1.0, 1, 1, 1], (n, 1)),
            "test_accuracy": (test < 0.1).astype(float),
            "config/task.p": np.full(n, 100),
            "config/task.n_train": (1e4 * fraction).round().astype(int),
            "config/optimizer.weight_decay": decay,
            "config/seed": seed,
        }
    )


NEVER = 9
M = measures([[NEVER, 4, 3, 2, 1], [4, NEVER, 3, 3, 1]])


def test_a_run_that_ends_before_the_event_counts_with_its_last_step():
    assert page.by_seed(M, page.ratio(M), 0.3).tolist() == [1000, 1000]  # at least 10,000 over 10
    assert page.first_low(M, 0.3)[1] == 10_000 and np.isnan(page.first_low(M, 0.3)[0])
    rows = page.less_data(M)
    assert rows[:, 0] == pytest.approx([0.3, 0.35, 0.4, 0.5] * 2)  # not 0.7
    assert rows[:, 1:].tolist()[:2] == [[10_000, 0], [10_000, 1]]


def test_more_data_save_steps_or_are_told_not_to():
    assert page.saved(M) == pytest.approx([0, 0])  # never, then last; last, then never
    faster = measures([[4, 3, 2, 1, 1]] * 2)
    assert page.saved(faster) == pytest.approx([0.9, 0.9])
    slower = measures([[4, 3, 2, 3, 1]] * 2)
    assert page.saved(slower) == pytest.approx([-9, -9])


def test_less_decay_is_of_one_fraction_and_decays_up_to_1():
    at = np.full((2, len(FRACTIONS), 3), 1)
    at[:, 3] = [4, 3, 2]
    rows = page.less_decay(measures(at, decays=(0.1, 1.0, 3.0)))
    assert rows.tolist() == [[0.1, 10_000, 1], [1.0, 1000, 1]] * 2
