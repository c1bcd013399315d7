"""The phases of grokking of a run, where what they are read from is measured."""

from collections.abc import Mapping

import numpy as np

from toylab.analysis.transitions import grokking_phases

PHASES = ("memorisation", "circuit formation", "cleanup")
LOSS, SQUARES, CLASSES, KIND = "test_loss", "weights/sum_of_squares/total", "task.p", "task.loss_kind"
Phases = list[tuple[str, float, float]]


def phases_of(
    run: int,
    steps: np.ndarray,
    valid: np.ndarray,
    measures: Mapping[str, np.ndarray],
    columns: Mapping[str, np.ndarray],
) -> Phases:
    """The phases of a run of modular arithmetic, as `toylab.analysis.transitions.grokking_phases` tells them apart.

    Args:
        run: its number.
        steps: [T].
        valid: [R, T].
        measures: by name; `test_loss` and `weights/sum_of_squares/total`, both [R, T], are read.
        columns: the fields of the configs; `task.p` is the number of classes.

    Returns:
        Name, first and last step of each phase that is over, in order. None where a measure is absent or known at some of
        the points alone, where the loss is no cross-entropy (the level ½ log p is of that), with fewer than two points.
    """
    if LOSS not in measures or SQUARES not in measures or CLASSES not in columns:
        return []
    n_classes = columns[CLASSES][run]
    kind = columns[KIND][run] if KIND in columns else ""
    there = valid[run]
    if kind not in ("", "cross_entropy") or not n_classes >= 2 or there.sum() < 2:
        return []
    loss, squares = (measures[name][run][there].astype(float) for name in (LOSS, SQUARES))
    if np.isnan(squares[~np.isnan(loss)]).any():
        return []
    ends = grokking_phases(steps[there].astype(float), loss, squares, int(n_classes))
    found: Phases = []
    first = float(steps[there][0])
    for name, end in zip(PHASES, ends.tolist(), strict=True):
        if not np.isfinite(end):
            break
        if end > first:
            found.append((name, first, end))
            first = end
    return found
