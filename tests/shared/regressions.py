"""Control limits: what a training of today measures must lie among the committed runs of a page.

A regression compares this project with itself, so it is a test and no claim. A fresh development seed is trained with the
page's own settings. Each of its quantities must lie within mean ± 3 sd of at least 20 committed runs with these settings.
Were nothing changed, one of these would be outside with probability 0.9 % (Student's t with 19 degrees of freedom). It is
outside always or never, for the same seed gives nearly the same numbers again.

    def test_a_fresh_seed_of_PAGE(tmp_path):
        within_limits("PAGE", "PART", {"loss at the end": (lambda m: m.last("loss"), "log")}, tmp_path)
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from toylab import configs as cfg
from toylab import lab, sweep
from toylab.base import Config
from toylab.claims.scales import SCALES
from toylab.lab import Measures, pages, stages
from toylab.lab.measuring import measures_of
from toylab.records import notes

RESULTS = Path(__file__).resolve().parents[2] / "results"
LEAST, REACH = 20, 3.0  # runs; standard deviations


def within_limits(
    page: str,
    part: str,
    quantities: Mapping[str, tuple[Callable[[Measures], np.ndarray], str]],
    folder: Path,
    of: Callable[[Config], bool] = lambda config: True,
    seed: int = 0,
) -> None:
    """Trains one fresh seed, and fails where a quantity is outside its control limits.

    Args:
        page, part: by name; "" is the only part of a page.
        quantities: by name: a value a run of measures, [R], and the scale on which runs are taken as normal.
        folder: for the fresh run.
        of: chooses the committed runs to compare with; they must differ in their seeds alone.
        seed: of the fresh run, not among the committed ones.
    """
    module = pages.load(page)
    own = lab.parts(module)[part]
    record = notes.page_record(RESULTS / page)
    scale = (record["parts"][part] if part else record)["scale"]
    chosen = [config for config in own.configs[scale] if of(config)]
    fresh = {sweep.run_name(one): one for one in (_with_seed(config, seed) for config in chosen)}
    assert len(chosen) >= LEAST, f"{page} has {len(chosen)} such runs: limits are of at least {LEAST}"
    assert len(fresh) == 1, "the committed runs differ in more than their seed"
    assert seed not in [int(config.seed) for config in chosen], "the fresh seed is a committed one"
    committed = stages.read_measures(RESULTS / page).part(part)
    committed = committed.runs(rows(committed, chosen))
    configs = [cfg.check(config) for config in fresh.values()]  # its numbers are in float32 then, as a sweep's are
    sweep.run(configs, stages.spec(own, scale), folder / "runs", report=None)
    now = Measures(measures_of(own, configs, folder / "runs", lambda text: None, 16))
    found = outside(quantities, committed, now)
    assert not found, "; ".join(found)


def rows(measures: Measures, configs: Sequence[Config]) -> np.ndarray:
    """The row of each config in measures, by the columns of its fields: rows have the order of groups, not of configs."""
    later = cfg.set_later(configs)
    columns = cfg.columns([cfg.canonical(config, later) for config in configs])
    known = {name: column for name, column in columns.items() if f"config/{name}" in measures}
    found = []
    for i in range(len(configs)):
        same = [_equal(measures[f"config/{name}"], column[i]) for name, column in known.items()]
        (row,) = np.flatnonzero(np.all(same, axis=0))
        found.append(row)
    return np.array(found)


def _equal(column: np.ndarray, value: np.ndarray) -> np.ndarray:
    """[R]: whether a column has a value or, of curves, all of its values."""
    if column.dtype.kind in "SU":
        return column.astype(str) == str(value)
    near = np.isclose(column.astype(float), np.asarray(value, float), rtol=1e-6, atol=0, equal_nan=True)
    return near.reshape(len(column), -1).all(axis=1)


def _with_seed(config: Config, seed: int) -> Config:
    """With batches of its own where the committed runs have such."""
    return config.replace(seed=seed, data_seed=seed if config.data_seed == config.seed else config.data_seed)


def outside(
    quantities: Mapping[str, tuple[Callable[[Measures], np.ndarray], str]], committed: Measures, fresh: Measures
) -> list[str]:
    """The quantities of a fresh run that are outside the limits of the committed ones, in words."""
    found = []
    for name, (quantity, scale) in quantities.items():
        before, here = (SCALES[scale].to(np.asarray(quantity(m), float)) for m in (committed, fresh))
        mean, spread = before.mean(), before.std(ddof=1)
        if not abs(here[0] - mean) <= REACH * spread:  # of a nan, too
            found.append(f"{name}: {here[0]:.6g}, not {mean:.6g} ± {REACH:g} · {spread:.3g} ({scale})")
    return found
