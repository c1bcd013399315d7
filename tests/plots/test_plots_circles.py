"""The ring of an embedding through training."""

import numpy as np
import pytest
from printed import assert_printable, written

from toylab.plots import circles

P = 31
STEPS = np.array([0, 100, 1000, 5000, 9000, 20_000])
ANGLE = 2 * np.pi * 4 * np.arange(P) / P
RING = np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=1) @ np.random.default_rng(1).normal(size=(2, 12))
NOISE = np.random.default_rng(0).normal(size=(len(STEPS), P, 12))
GROWING = NOISE * 0.2 + RING * (np.arange(len(STEPS)) / 5)[:, None, None]


def test_a_ring_that_grows_is_printable_and_its_frequency_is_found():
    figure = circles.through_training(GROWING, STEPS)
    assert_printable(figure)
    told = [text.get_text() for text in written(figure)]
    assert any("4 · token mod 31" in text for text in told) and any(text.startswith("step 20,000") for text in told)


def test_what_cannot_be_drawn_is_said():
    figure = circles.through_training(np.ones((2, P, 4)), STEPS[:2])
    assert "no plane to draw" in figure.axes[0].texts[0].get_text()
    with pytest.raises(ValueError, match="T to 8"):
        circles.through_training(np.ones((9, P, 4)), np.arange(9))
