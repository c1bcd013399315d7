"""Phases of grokking of a run, where what they are read from is known."""

from pathlib import Path

import numpy as np
import pytest

from toylab.explore import open_folder
from toylab.explore.recordings.phases import PHASES, phases_of
from toylab.plots import style

STEPS = np.arange(0, 100, 10)
LOSS = np.array([[5, 9, 8, 7, 1, 0.5, 0.4, 0.3, 0.2, 0.1]])  # highest at 10, below ½ log 113 = 2.36 at 40
SQUARES = np.array([[5.0, 9, 9, 9, 9, 5, 3, 1.2, 1.1, 1]])  # 95 % of the fall from 9 to 1 is done at 1.4: at 70
MEASURES = {"test_loss": LOSS, "weights/sum_of_squares/total": SQUARES}
COLUMNS = {"task.p": np.array([113])}


def of(measures=MEASURES, columns=COLUMNS, valid=None):
    return phases_of(0, STEPS, np.ones((1, 10), bool) if valid is None else valid, measures, columns)


def test_their_names_are_those_of_figures():
    assert tuple(name for name, *_ in style.PHASES) == PHASES


def test_they_follow_each_other():
    assert of() == [("memorisation", 0, 10), ("circuit formation", 10, 40), ("cleanup", 40, 70)]
    half = np.arange(10) < 4
    assert of(valid=half[None]) == [("memorisation", 0, 10)]


@pytest.mark.parametrize("run", [0, 5])
def test_they_are_those_that_the_page_draws(run):
    from toylab.lab import Measures, pages

    folder = Path(__file__).resolve().parents[2] / "results" / "grokking"
    held = open_folder(folder)[""]
    ends = pages.load("grokking").phases(Measures(np.load(folder / "measures.npz")))[run]
    assert [last for _, _, last in held.phases(run)] == ends.tolist()


@pytest.mark.parametrize(
    "lacks",
    [
        {"measures": {"test_loss": LOSS}},
        {"measures": {**MEASURES, "weights/sum_of_squares/total": np.where(np.arange(10) == 3, np.nan, SQUARES)}},
        {"columns": {}},
        {"columns": {"task.p": np.array([np.nan])}},
        {"columns": {**COLUMNS, "task.loss_kind": np.array(["mse"])}},
        {"valid": np.arange(10)[None] < 1},
        {"valid": np.zeros((1, 10), bool)},
    ],
)
def test_there_are_none_where_something_is_not_known(lacks):
    assert of(**lacks) == []


def test_a_run_that_diverged_has_them_up_to_there():
    gone = np.arange(10) > 5
    measures = {name: np.where(gone, np.nan, value) for name, value in MEASURES.items()}
    assert of(measures)[:2] == [("memorisation", 0, 10), ("circuit formation", 10, 40)]
