"""Quantities of runs that unlearn or forget, on two runs a decay that are written out by hand."""

import numpy as np
import pytest

from toylab.lab import Measures, unlearning

STEPS = np.array([0, 10, 20, 30, 40])
P = 5
TRAIN = {  # inversion is at 1 − 0.4 + 0.4/5 = 0.68, half-way down at 0.84
    15.0: [[0.2, 1.0, 0.95, 0.70, 0.68], [0.2, 0.95, 0.93, 0.80, 0.70]],
    20.0: [[0.2, 0.95, 0.80, 0.65, 0.20], [0.2, 1.0, 0.90, 0.70, 0.20]],
}
TEST = {
    15.0: [[0.2, 0.5, 0.95, 1.0, 1.0], [0.2, 0.92, 1.0, 1.0, 0.98]],
    20.0: [[0.2, 0.9, 1.0, 0.40, 0.10], [0.2, 0.85, 0.95, 0.6, 0.20]],
}


def measures():
    """Decay 20 first, and the second seed before the first: quantities put them in order."""
    order = [(decay, seed) for decay in (20.0, 15.0) for seed in (1, 0)]
    found = {
        "steps": STEPS, "valid": np.ones((4, 5), bool),
        "config/optimizer.weight_decay": np.array([decay for decay, _ in order]),
        "config/seed": np.array([seed for _, seed in order]), "config/task.p": np.full(4, P),
        "config/task.corruption": np.full(4, 0.4), "config/task.n_train": np.full(4, 15),
        "train_accuracy": np.array([TRAIN[decay][seed] for decay, seed in order]),
        "test_accuracy": np.array([TEST[decay][seed] for decay, seed in order]),
        "train_loss": np.full((4, 5), 1 / P),
        "weights/norm": np.tile([8.0, 4, 4, 2, 1], (4, 1)), "weights/neurons": np.tile([16.0, 16, 16, 8, 1], (4, 1)),
        "labels/pure": np.tile([0, 0, 0, 0, 0.5], (4, 1)),
        "final/neurons/least_test": np.array([[0.7, 0.8, 1.0, 0.2, 0.0]] * 2 + [[0.9, 0.9, 0.8, 0.2, 0.0]] * 2),
    }  # fmt: skip
    memorised = {15.0: 0.1, 20.0: 0.3}
    found["labels/memorised"] = np.array([[memorised[decay] + seed / 100] * 5 for decay, seed in order])
    return Measures(found)


@pytest.mark.parametrize(
    ("quantity", "options", "expected"),
    [
        (unlearning.end, {"name": "train_accuracy", "decay": 15.0}, [0.68, 0.70]),
        (unlearning.both, {"decay": 15.0}, [0.68, 0.70]),
        (unlearning.both_on_the_way, {"decay": 15.0}, [0.95, 0.93]),
        (unlearning.unlearns_after, {"decay": 15.0}, [30 - 20, 30 - 10]),
        (unlearning.less, {"name": "labels/memorised", "one": 20.0, "other": 15.0}, [0.2, 0.2]),
        (unlearning.without, {"gone": "least", "share": 0.25, "of": "test", "decay": 20.0}, [0.8, 0.8]),
        (unlearning.waves_alone, {"of": "test", "decay": 20.0}, [1.0, 1.0]),  # half of them are waves
        (unlearning.gained, {"of": "test", "decay": 15.0}, [0.8 - 0.9, 0.8 - 0.9]),
        (unlearning.highest, {"decay": 20.0}, [1.0, 0.95]),
        (unlearning.at_highest, {"decay": 20.0}, [0.80 - 0.68, 0.90 - 0.68]),
        (unlearning.forgets_after, {"decay": 20.0}, [30 - 20, 40 - 30]),
        (unlearning.left, {"name": "weights/norm", "decay": 20.0}, [1 / 8, 1 / 8]),
        (unlearning.of_chance, {"name": "train_loss", "decay": 20.0}, [1, 1]),
        # until step 30: neurons and ‖w‖² go from 16 to 8 and from 16 to 4; until 40: both from 16 to 1
        (unlearning.by_fewer, {"decay": 20.0}, [0.5, 1.0]),
        (unlearning.within_reach, {"name": "test_accuracy", "decay": 15.0}, []),  # noise is above the notebook's
    ],
)
def test_quantities_of_a_decay_in_the_order_of_seeds(quantity, options, expected):
    np.testing.assert_allclose(quantity(measures(), **options), expected, atol=1e-12)


def test_what_is_asked_of_a_decay_that_nothing_forgets_at_is_not_there():
    assert np.isnan(unlearning.forgets_after(measures(), 15.0)).all()
    assert np.isnan(unlearning.by_fewer(measures(), 15.0)).all()


def test_accuracy_of_inversion_and_what_is_above_it():
    m = measures()
    np.testing.assert_allclose(unlearning.inverted(m), [0.68] * 4)
    above = unlearning.less_inversion(m, lambda m: unlearning.end(m, "train_accuracy", 15.0), 15.0)
    np.testing.assert_allclose(above, [0, 0.02], atol=1e-12)


def test_cells_where_more_decay_memorises_less():
    m = measures()
    m["config/optimizer.weight_decay"] = np.array([5.0, 5.0, 0.0, 0.0])
    third = m.runs(np.array([0, 1]))
    both = Measures(
        {name: value if name == "steps" else np.concatenate([value, third[name]]) for name, value in m.items()}
    )
    both["config/optimizer.weight_decay"][4:] = 15.0
    both["labels/memorised"] = np.array([[0.1], [0.2], [0.5], [0.5], [0.0], [0.3]]) * np.ones(
        5
    )  # seeds 1, 0 at 5, 0, 15
    assert unlearning.ordered(both).tolist() == [0, 1]  # the first memorises more with 15 than with 5
