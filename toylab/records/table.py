"""runs.parquet: the runs of a page as one table with a row for each run and saved point, built from the chunks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toylab import store
from toylab.records.reader import Group, Sweep, load

Arrays = Mapping[str, np.ndarray]


def write_table(place: Path, path: Path, analyzed: Mapping[str, Arrays] | None = None) -> None:
    """Writes the table. Its columns are run, group, part (if there are several), the config's fields, diverged (a step or
    null), step, and all scalars: measures, probes and analyses. A run that lacks one has null.

    Values that are the same for all points of a run are stored once a run (dictionary-encoded).

    Args:
        place: a page's folder runs/.
        path: of the table.
        analyzed: measures by part, [R, T], and `final/…`, [R]. Those of other runs or points than in `place` are left out.
    """
    sweep = load(place, params=False)
    groups = [source.group for source in sweep.sources]
    points = [np.nonzero(group.valid) for group in groups]
    starts = np.cumsum([0, *(len(group.runs) for group in groups)])
    rows = np.concatenate(
        [start + runs for start, (runs, _) in zip(starts, points, strict=False)]
    )  # [N] run of each row
    places = np.argsort(sweep.order)  # of the groups' runs, in turn, among those of the sweep
    of_sweep = {"run": sweep.runs.tolist(), "group": sweep.groups.tolist(), **sweep.fields}
    of_runs = {name: [values[i] for i in places] for name, values in of_sweep.items()}
    diverged = [None if np.isnan(step) else int(step) for step in sweep.diverged[places]]
    columns: dict[str, store.Column] = {name: store.Repeated(values, rows) for name, values in of_runs.items()}
    columns["diverged"] = store.Repeated(diverged, rows, int)
    columns["step"] = np.concatenate([group.steps[at] for group, (_, at) in zip(groups, points, strict=True)])
    analyses = _analyses(sweep, groups, analyzed or {})
    found = [more | _scalars(group) for group, (more, _) in zip(groups, analyses, strict=True)]
    for name in dict.fromkeys(name for own in found for name in own):
        columns[name] = store.Stretches(
            [own[name][at] if name in own else len(at[0]) for own, at in zip(found, points, strict=True)]
        )
    finals = [final for _, final in analyses]
    for name in dict.fromkeys(name for final in finals for name in final):
        of_each = [final.get(name, [None] * len(group.runs)) for final, group in zip(finals, groups, strict=True)]
        columns[name] = store.Repeated([value for values in of_each for value in values], rows)
    store.write_table(path, columns)


def _scalars(group: Group) -> dict[str, np.ndarray]:
    return {name: value for name, value in {**group.measures, **group.probes}.items() if value.ndim == 2}


def _analyses(
    sweep: Sweep, groups: Sequence[Group], analyzed: Mapping[str, Arrays]
) -> list[tuple[dict[str, np.ndarray], dict[str, list[Any]]]]:
    """For each group its analyzed scalars [R, T], and those of its runs' last points, lists of R."""
    members: dict[str, list[int]] = {}
    for i, source in enumerate(sweep.sources):
        members.setdefault(source.part, []).append(i)
    found: list[tuple[dict[str, np.ndarray], dict[str, list[Any]]]] = [({}, {}) for _ in groups]
    for part, numbers in members.items():
        own = analyzed.get(part, {})
        rows_of = _rows(sweep, numbers)
        if not _of_these(own, [groups[i] for i in numbers], list(rows_of.values())):
            continue
        for i, rows in rows_of.items():
            steps = np.searchsorted(own["steps"], groups[i].steps)
            for name, value in own.items():
                if name.startswith("config/") or value.dtype.kind not in "fiub":
                    continue
                if name.startswith("final/") and value.ndim == 1:
                    found[i][1][name] = value[rows].tolist()
                elif "/" in name and not name.startswith("final/") and value.ndim == 2:
                    found[i][0][name] = value[rows][:, steps]
    return found


def _rows(sweep: Sweep, numbers: Sequence[int]) -> dict[int, np.ndarray]:
    """The rows of a part's groups among its runs, which are in the order of the sweep."""
    starts = np.cumsum([0, *map(len, sweep.rows)])
    places = np.argsort(sweep.order)
    first = min(starts[i] for i in numbers)  # a part's runs stand together
    return {i: places[starts[i] : starts[i + 1]] - first for i in numbers}


def _of_these(own: Arrays, groups: Sequence[Group], rows_of: Sequence[np.ndarray]) -> bool:
    """Whether `own` was analyzed from these runs, by their rows in it. Their measures must agree at every point."""
    if not own or len(own["valid"]) != sum(len(group.runs) for group in groups):
        return False
    for group, rows in zip(groups, rows_of, strict=True):
        if not np.isin(group.steps, own["steps"]).all():
            return False
        steps = np.searchsorted(own["steps"], group.steps)
        valid = own["valid"][rows]
        if valid.sum() != group.valid.sum() or not np.array_equal(valid[:, steps], group.valid):
            return False
        for name, value in group.measures.items():
            there = own.get(name)
            if value.ndim != 2:  # sizes differ between groups, and are padded
                continue
            if there is None or not np.array_equal(there[rows][:, steps], value, equal_nan=value.dtype.kind == "f"):
                return False
    return True
