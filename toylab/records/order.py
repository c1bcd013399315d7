"""The order of a sweep's runs: that of a sweep begun with all of them, also where it has grown."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toylab import store
from toylab.records import manifest
from toylab.records.source import Source


def order_of(sources: Sequence[Source]) -> np.ndarray:
    """The places of the runs among those of all sources, in turn. A group's runs follow each other; for a sweep that has
    grown sweep.json has the order."""
    found, at = [np.zeros(0, int)], 0
    for sweep in dict.fromkeys(source.folder.parent for source in sources):
        own = [source for source in sources if source.folder.parent == sweep]
        rank = _ranks(sweep)
        runs = [rank.get((source.folder.name, row), len(rank)) for source in own for row in range(len(source.configs))]
        found.append(at + np.argsort(runs, kind="stable"))
        at += len(runs)
    return np.concatenate(found)


def _ranks(sweep: Path) -> dict[tuple[str, int], int]:
    """The place of each run, by its group and row there; none for a sweep that has not grown."""
    try:
        about = manifest.outline(sweep)
    except store.Damaged:  # the sweep's notes say so
        return {}
    runs = [(name, row) for name, n_runs in about.get("groups", {}).items() for row in range(n_runs)]
    return {runs[at]: rank for rank, at in enumerate(about.get(manifest.ORDER, []))}
