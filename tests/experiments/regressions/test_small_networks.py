"""Control limits of seven pages of small networks, of one group each of 20 committed runs that differ in their seeds."""

import numpy as np
import pytest
from regressions import within_limits

from toylab.optim import SlowGradients


def step_of(name, least=0.95):
    """[R]: step at which a measure first is so high, on straight lines between saved points; nan where it is never."""

    def of(values, steps):
        above = values >= least
        at = above.argmax()
        return np.interp(least, values[at - 1 : at + 1], steps[at - 1 : at + 1]) if at else np.nan

    return lambda m: np.array([of(values, m.steps) for values in m[name]])


def at_end(name):
    return lambda m: m.last(name)


def plain(config):
    """Of accelerators: AdamW with decay 1, from the whole start."""
    base, (slow,) = config.optimizer.base, config.optimizer.before
    plainly = isinstance(slow, SlowGradients) and slow.gain == 0 and base.clip == 0
    return plainly and base.weight_decay == 1 and config.net.init_scale == 1


MODULAR = {
    "step of 95 % of the training pairs": (step_of("train_accuracy"), "log"),
    "step of 95 % of the test pairs": (step_of("test_accuracy"), "log"),
}
CASES = {
    "accelerators, decay": (MODULAR, plain),
    "critical_size, plane": (MODULAR, lambda config: config.net.d_mlp == 64 and config.task.n_train == 768),
    "circuit_efficiency, sizes": (MODULAR, lambda config: config.net.d_mlp == 64 and config.task.n_train == 768),
    "norm_landscape, decay": (
        {**MODULAR, "norm at the end": (at_end("weights/norm"), "log")},
        lambda config: config.net.init_scale == 2 and config.optimizer.weight_decay == 0.5,
    ),
    "lazy_to_rich, bend": (
        {
            "train loss at the end": (at_end("train_loss"), "log"),
            "test loss at the end": (at_end("test_loss"), "log"),
            "alignment of kernel and labels at the end": (at_end("features/alignment"), "logit"),
            "linearised regression": (lambda m: m["final/lazy/regression"], "log"),
        },
        lambda config: config.net.bend == 0.5,
    ),
    "kernel_regime, pairs": (
        {
            "largest weight at the end": (at_end("kernel/largest"), "log"),
            "movement of the kernel": (at_end("kernel/movement"), "log"),
            "turn of the kernel": (at_end("kernel/turned"), "linear"),
        },
        lambda config: config.task.p == 19 and abs(config.task.n_train / 19**2 - 0.9) < 0.01,
    ),
    "markov, absolute": (
        {
            "loss at the end": (at_end("loss"), "log"),
            "KL to the bigram strategy at the end": (at_end("kl_bigram"), "log"),
            "step at which the KL is 0.05": (lambda m: m.first_step(m["kl_bigram"] < 0.05), "log"),
        },
        lambda config: True,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_fresh_seed(name, tmp_path):
    page, part = name.split(", ")
    quantities, of = CASES[name]
    within_limits(page, part, quantities, tmp_path, of=of)
