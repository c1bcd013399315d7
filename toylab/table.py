"""runs.parquet: the runs of a page as one long table, a row a run and saved point, rebuilt from the chunks."""

from pathlib import Path

import numpy as np

from toylab import store
from toylab.records import load


def write_table(place: Path, path: Path) -> None:
    """Columns run, group, (part,) the config's fields, diverged (the step, or null), step, and the measures; null where a
    run lacks one. A number or word that is the same all through a run is written once a run and pointed to, so a row costs
    its measures alone."""
    sweep = load(place, params=False)
    groups = [source.group for source in sweep.sources]
    points = [np.nonzero(group.valid) for group in groups]
    starts = np.cumsum([0, *(len(group.runs) for group in groups)])
    rows = np.concatenate(
        [start + runs for start, (runs, _) in zip(starts, points, strict=False)]
    )  # [N] run of each row
    of_runs = {"run": sweep.runs.tolist(), "group": sweep.groups.tolist(), **sweep.fields}
    diverged = [None if np.isnan(step) else int(step) for step in sweep.diverged]
    columns: dict[str, store.Column] = {name: store.Repeated(values, rows) for name, values in of_runs.items()}
    columns["diverged"] = store.Repeated(diverged, rows, int)
    columns["step"] = np.concatenate([group.steps[at] for group, (_, at) in zip(groups, points, strict=True)])
    for name in dict.fromkeys(name for group in groups for name, value in group.measures.items() if value.ndim == 2):
        columns[name] = store.Stretches(
            [
                group.measures[name][at] if name in group.measures else len(at[0])
                for group, at in zip(groups, points, strict=True)
            ]
        )
    store.write_table(path, columns)
