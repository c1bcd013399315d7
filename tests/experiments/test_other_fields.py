"""Runs with a field set to another value than the page's: claims do not apply or are judged, figures draw what there is.

Nothing is trained. Analyses are traced for the shapes of their outputs, and these are filled with numbers by hand."""

import traceback
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from toylab import configs as cfg
from toylab import lab
from toylab.claims import VERDICTS
from toylab.lab import pages, rehearsal
from toylab.sweep.grouping import run_name

HERE = Path(__file__).resolve().parents[2]
PARTS = [
    (name, part_name)
    for name in sorted(pages.built_in())
    for part_name, part in lab.parts(pages.load(name)).items()
    if not part.imported
]


def other(value):
    """Another value of the same type, such as a user might set."""
    return value + 1 if isinstance(value, int) else value * 0.75 if value else 0.1


def numbers(configs, family):
    """Fields of a family that are one number: those that the page sweeps come first."""
    rows = [cfg.flat(cfg.canonical(config)) for config in configs]
    shared = [name for name, value in rows[0].items() if name.startswith(family) and type(value) in (int, float)]
    shared = [name for name in shared if all(type(row.get(name)) in (int, float) for row in rows)]
    return sorted(shared, key=lambda name: len({row[name] for row in rows}) == 1)


def changed(part, family, rng):
    """(field, measures): of the page's runs with a field set to another value, the first that can have one."""
    configs = part.configs["cpu"]
    for field in numbers(configs, family):
        value = other(cfg.flat(cfg.canonical(configs[0]))[field])
        try:
            found = {run_name(one): one for one in (cfg.check(cfg.override(one, field, value)) for one in configs)}
            return field, filled(rehearsal.made_up(part, list(found.values()), part.saves["cpu"]), rng)
        except ValueError:
            continue
    return None


def filled(measures, rng):
    """Made-up measures with numbers by chance."""
    for name, value in measures.items():
        if name not in ("steps", "valid") and not name.startswith("config/") and value.dtype.kind == "f":
            measures[name] = rng.uniform(0.05, 1, value.shape).astype(value.dtype)
    return measures


def refused(error):
    """Whether a figure says itself, in a sentence, that it is not of such runs, as a plane of three dimensions."""
    raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    return isinstance(error, ValueError) and raised_in.is_relative_to(HERE)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "part_name"), PARTS, ids=lambda value: value or "-")
def test_claims_and_figures_of_other_runs(name, part_name):
    part, failures = lab.parts(pages.load(name))[part_name], []
    for family in ("task.", "net.", "optimizer."):
        if (found := changed(part, family, np.random.default_rng(0))) is None:
            continue  # no number of this family can be another
        field, measures = found
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            for claim in part.claims:
                judged = claim.judge(measures, f"{field} set")
                assert judged["verdict"] in (*VERDICTS, "not applicable")
            for figure_name, figure in part.figures.items():
                try:
                    figure(measures)
                except Exception as error:
                    if refused(error):
                        continue
                    failures.append(f"{figure_name} of other {field}: {lab.sentence(error)}")
            plt.close("all")
    assert not failures, "; ".join(failures)
