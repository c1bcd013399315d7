"""The summary of a sweep with values other than a page's own: a table by the fields that vary.

summary.json   for each part: fields, milestone, and a row for each combination of values
summary.csv    the rows, with all measures
summary.md     the rows, with a few measures
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toylab import lab, store
from toylab.fields import column
from toylab.lab import Measures, Page, Part
from toylab.lab import summary_tables as tables
from toylab.lab.asked import SEEDS
from toylab.records.selection import class_names

FILES = ("summary.json", "summary.csv", "summary.md")
KEYS = {"fields", "with", "milestone", "until", "rows", "off"}  # of a part in summary.json
FIRST = ("test_accuracy", "test_loss", "accuracy", "loss")  # measures that are shown before others, and drawn
ONCE = "final/"  # what the names of measures that were taken once begin with
Row = dict[str, Any]


def write(page: Page, measures: Measures, off: Mapping[str, str | None], named: Sequence[str], folder: Path) -> Row:
    """Writes the summaries of the parts that were run with other values than the page's own; no file where there is none.

    Args:
        page: whose parts and milestones.
        measures: of the page.
        off: by part that was run, the values that are not the page's own, "" where only seeds are; None where none is.
            Other parts keep the summaries that they had.
        named: the fields that were set.
        folder: of the page.

    Returns:
        What summary.json holds; {} where there is nothing to summarise.
    """
    before: Row = read(folder).get("parts", {})
    found: Row = {}
    for name, part, own in lab.present(page, measures):
        if name not in off:
            found |= {name: before[name]} if name in before else {}
        elif (values := off[name]) is not None:
            found[name] = {**of_part(part, own, named), "off": values}
    record = {"experiment": lab.name_of(page), "parts": found}
    if not found:
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        return {}
    store.write_json(folder / FILES[0], record)
    store.write_text(folder / FILES[1], tables.as_csv(found))
    store.write_text(folder / FILES[2], tables.markdown(record))
    return record


def read(folder: Path) -> Row:
    """What summary.json of a page's folder holds; {} where there is none. Raises Damaged where it holds no summary."""
    path = folder / FILES[0]
    record = store.read_json(path) if path.is_file() else {}
    parts = record.get("parts", {})
    if not isinstance(parts, dict) or not all(isinstance(part, dict) and set(part) >= KEYS for part in parts.values()):
        raise store.Damaged(f"{path} holds no summary: run the stage analyze, which writes it anew.")
    return dict(record)


def of_part(part: Part, measures: Measures, named: Sequence[str] = ()) -> Row:
    """The summary of a part's runs.

    Args:
        part: whose milestone.
        measures: of the part.
        named: fields that were set; others that vary are added where they do not follow from these.

    Returns:
        `fields` that divide the runs, those that vary `with` them, `milestone` (its word, or None), `until` (the last
        step) and `rows`; where the milestone cannot be judged of these runs, `unjudged` says why. A row has `values`,
        `runs`, `reached` (how many reached the milestone), `step` of that, and the `last` value of each measure: median,
        quartiles, and of how many runs. A run that did not reach the milestone counts as later than all others, so that
        a median may be None: half of the runs did not reach it.
    """
    columns = columns_of(measures)
    fields, along = varying(columns, named)
    unjudged, step = {}, None
    try:
        step = milestone(part, measures)
    except Exception as error:  # the page's own function, which may not fit other values
        unjudged = {"unjudged": lab.sentence(error)}
    rows = []
    for runs in _cells([columns[name] for name in fields], len(measures.valid)):
        values = {name: columns[name][runs[0]].item() for name in (*fields, *along)}
        told = {name: None if value != value else value for name, value in values.items()}  # nan is no JSON
        row: Row = {"values": told, "runs": len(runs)}
        if step is not None:
            row |= {"reached": int(np.isfinite(step[runs]).sum()), "step": _spread(step[runs], lacking=np.inf)}
        rows.append(row | {"last": {name: _spread(value[runs]) for name, value in last_values(measures).items()}})
    word = None if step is None else part.milestone[0]
    until = int(measures.steps[-1])
    return {"fields": fields, "with": along, "milestone": word, "until": until, **unjudged, "rows": rows}


def columns_of(measures: Measures) -> dict[str, np.ndarray]:
    """[R] by name: the fields of the configs; classes without their modules, curves by a number."""
    found = {}
    for key, value in measures.items():
        name = key.removeprefix("config/")
        if name == key:
            continue
        if value.ndim > 1:
            value = np.unique(value.reshape(len(value), -1), axis=0, return_inverse=True)[1].ravel()
        elif value.dtype.kind == "U" and name.endswith((".type", ".module")):
            value = class_names(value)
        found[name] = value
    return found


def varying(columns: dict[str, np.ndarray], named: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """The fields that divide runs, and those that vary with them.

    Args:
        columns: [R] by field.
        named: fields that come first. Others count where they do not follow from those before. Seeds never count.

    Returns:
        Fields of which none follows from those before it; and the other named fields that vary.
    """
    first = [found for name in named if (found := column(name, columns)) in columns]
    order = dict.fromkeys([*first, *columns])
    fields: list[str] = []
    along: list[str] = []
    for name in order:
        if name in SEEDS or len(_numbered(columns[name])[0]) < 2:
            continue
        before = [_numbered(columns[one])[1] for one in fields]
        groups = len(np.unique(np.stack(before, axis=1), axis=0)) if before else 1
        if len(np.unique(np.stack([*before, _numbered(columns[name])[1]], axis=1), axis=0)) > groups:
            fields.append(name)
        elif name in first:
            along.append(name)
    return fields, along


def milestone(part: Part, measures: Measures) -> np.ndarray | None:
    """[R]: the first saved step at which a run has reached the part's milestone, or nan; None for a part without one."""
    _, reached = part.milestone
    if reached is lab.page.going:
        return None
    steps = np.full(len(measures.valid), np.nan)
    over_time = {
        name: value for name, value in measures.items() if name != "steps" and not name.startswith(lab.PER_RUN)
    }
    for points in np.unique(measures.valid, axis=0):  # runs that ended alike
        runs, at = (measures.valid == points).all(axis=1), np.flatnonzero(points)
        own = {name: value[runs][:, at] for name, value in over_time.items()} | {"step": measures.steps[at]}
        for n in reversed(range(1, len(at) + 1)):
            past = {name: value[:n] if name == "step" else value[:, :n] for name, value in own.items()}
            now = np.asarray(reached(past), bool)
            steps[runs] = np.where(now, measures.steps[at[n - 1]], steps[runs])
    return steps


def last_values(measures: Measures) -> dict[str, np.ndarray]:
    """[R] by name: the last value of each number that was measured; those of the task where it measures any. Where none
    was measured through training, the numbers that were measured once, at the end."""
    numbers = {name: value for name, value in measures.items() if value.dtype.kind in "fiub" and name != "valid"}
    scalars = [name for name, value in numbers.items() if value.ndim == 2 and not name.startswith(lab.PER_RUN)]
    if not scalars:
        return {name: v.astype(float) for name, v in numbers.items() if v.ndim == 1 and name.startswith(ONCE)}
    of_task = [name for name in scalars if "/" not in name] or scalars
    names = [*(name for name in FIRST if name in of_task), *(name for name in of_task if name not in FIRST)]
    return {name: measures.last(name).astype(float) for name in names}


def _spread(values: np.ndarray, lacking: float | None = None) -> Row:
    """Median and quartiles of the values that are there (`n`); with `lacking` the others count as that, and a quantile that
    falls on it is None."""
    there = values[np.isfinite(values)]
    counted = np.concatenate([there, np.full(len(values) - len(there), lacking)]) if lacking is not None else there
    low, middle, high = (_quantile(np.sort(counted), share) for share in (0.25, 0.5, 0.75))
    return {"median": middle, "quartiles": [low, high], "n": len(there)}


def _quantile(ranked: np.ndarray, share: float) -> float | None:
    """By a straight line between the ranked values beside it; None where one of them is infinite, or there is none."""
    if not len(ranked):
        return None
    at = share * (len(ranked) - 1)
    beside = ranked[[math.floor(at), math.ceil(at)]]
    return float(beside[0] + (at % 1) * (beside[1] - beside[0])) if np.isfinite(beside).all() else None


def _cells(columns: Sequence[np.ndarray], n_runs: int) -> Iterator[np.ndarray]:
    """The runs of each combination of values, in rising order of the first column, then of the next."""
    if not columns:
        yield np.arange(n_runs)
        return
    keys = np.stack([_numbered(column)[1] for column in columns], axis=1)
    for key in np.unique(keys, axis=0):
        yield np.flatnonzero((keys == key).all(axis=1))


def _numbered(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values that occur, rising, and the place of each run's among them; nan is a value, and the last."""
    return np.unique(values, return_inverse=True)
