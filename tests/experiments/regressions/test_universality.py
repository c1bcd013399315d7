"""Control limits of the page universality: the part of S4, 20 seeds."""

import pytest
from regressions import within_limits

from toylab.lab import pages


@pytest.mark.slow
def test_a_fresh_seed_of_s4(tmp_path):
    page = pages.load("universality")
    quantities = {
        "step of 99 % test accuracy": (page.test_step, "log"),
        "steps over those to fit": (page.delay, "log"),
        "key irreps": (page.n_key, "linear"),
        "W_U explained": (page.final("W_U_fve"), "linear"),
        "logits explained": (page.final("logit_fve"), "linear"),
    }
    within_limits("universality", "s4", quantities, tmp_path)
