"""The positive control of what differs on the page superposition: without batches its pentagons are the exact minimum."""

from pathlib import Path

import numpy as np
import pytest

from toylab.analysis.superposition import geometry, polytopes, population
from toylab.experiments.superposition import superposition as page
from toylab.lab import Measures, stages

RESULTS = Path(__file__).parents[2] / "results" / "superposition"


@pytest.mark.slow
def test_pentagons_come_to_the_exact_minimum_where_no_batch_disturbs_them():
    fits = page.at(stages.read_measures(RESULTS).part("pentagon"), 0.1, 5, 2)
    fits = fits.runs(polytopes.consists_of(fits["final/shapes/shape"], page.PENTAGONAL))
    assert len(fits.valid) == 35
    fits = fits.runs(np.arange(35) < 6)
    start = fits["final/arrangement/W"], fits["final/arrangement/b"]
    n = len(start[0])
    _, W, b = map(np.asarray, population.descended(*start, np.full(n, 0.1), np.ones((n, 5))))
    after = Measures(
        dict(fits)
        | {"final/arrangement/W": W, "final/arrangement/b": b}
        | {"final/features/norms": np.linalg.norm(W, axis=-1)}
        | {"final/features/dimensionality": np.asarray(geometry.dimensionality(W))}
    )
    assert np.median(page.off_exact(fits)) > 0.01
    assert page.off_exact(after).max() < 0.01  # of all 35: 0.004, the length of the last of 1,500 steps
