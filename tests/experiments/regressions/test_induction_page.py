"""Control limits of the page induction: two layers, positions for queries and keys only, 20 seeds."""

import numpy as np
import pytest
from regressions import within_limits

from toylab.analysis import development
from toylab.lab import pages


def steepest(m):
    """The middle of the interval between saved points in which the second-half loss falls fastest."""
    slope = np.diff(m["second_half_loss"], axis=1) / np.diff(m.steps)
    return ((m.steps[1:] + m.steps[:-1]) / 2)[slope.argmin(axis=1)]


@pytest.mark.slow
def test_a_fresh_seed_of_two_layers(tmp_path):
    page = pages.load("induction")
    quantities = {
        "first step with second-half loss < 0.5": (lambda m: m.first_step(m["second_half_loss"] < 0.5), "log"),
        "step of the steepest fall": (steepest, "log"),
        "second-half loss at the end": (lambda m: m.last("second_half_loss"), "log"),
        "loss above the exact limit": (lambda m: m["final/fresh/above_exact"], "log"),
        "K-composition over that of random heads": (page.over_random, "log"),
        "prefix matching at the end": (lambda m: development.best(m, "heads/prefix_matching")[:, -1], "logit"),
        "induction score halfway, over the in-context score": (development.together, "log"),
    }
    two = page.TWO
    within_limits("induction", "networks", quantities, tmp_path, of=lambda config: two == kind(config))


def kind(config):
    return config.net.n_layers, config.net.positions
