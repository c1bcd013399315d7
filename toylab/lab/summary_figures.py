"""The figure of a custom sweep, by the fields that vary: curves for one, phase diagrams for two or three."""

from typing import Any

import numpy as np

from toylab.lab import Measures, Part
from toylab.lab.summary import ONCE, columns_of, last_values, milestone
from toylab.plots import by_field

WIDE = 5  # the ratio of values from which on they are on a logarithmic axis
ENOUGH = 1 / 3  # of the runs reached the milestone: else where they ended says more


def figure(part: Part, measures: Measures, record: dict[str, Any]) -> Any:
    """The matplotlib figure of a part.

    Args:
        part: whose milestone.
        measures: of the part.
        record: its summary, whose fields divide the runs.

    Returns:
        None where no field varies, more than three do, or all three have more values than there is room for panels.
    """
    columns, names = columns_of(measures), list(record["fields"])
    if len(names) == 3:  # the field of the fewest values divides the panels
        names.sort(key=lambda name: -len(np.unique(columns[name])))
    if not 1 <= len(names) <= 3 or (len(names) == 3 and len(np.unique(columns[names[2]])) > by_field.PANELS):
        return None
    fields = {label: _values(columns[name]) for label, name in zip(_labels(names), names, strict=True)}
    until = f"not by step {record['until']:,}"
    step = milestone(part, measures) if record["milestone"] else None
    outcomes = []
    if step is not None and np.isfinite(step).any():
        outcomes.append(by_field.Outcome(f"optimiser step: {part.milestone[0]}", step, until, bool((step > 0).all())))
    last = last_values(measures)
    main = next(iter(last), None)
    if main is None:
        return None
    label = _plain(main.removeprefix(ONCE)) if main.startswith(ONCE) else f"last {_plain(main)}"
    outcomes.append(by_field.Outcome(label, last[main], log=_is_log(main, last[main])))
    if len(names) > 1:
        return by_field.diagram(fields, outcomes)
    ((label, values),) = fields.items()
    if main.startswith(ONCE):
        return by_field.at_the_end(label, values, outcomes[-1])
    curve = by_field.Curve(
        _plain(main), np.where(measures.valid, measures[main], np.nan), _is_log(main, measures[main])
    )
    if len(outcomes) > 1 and np.isfinite(outcomes[0].values).mean() < ENOUGH:
        outcomes.pop(0)
    gaps = np.diff(measures.steps)
    xscale: Any = "log" if len(gaps) > 2 and gaps[-1] > 4 * gaps[0] else "linear"
    return by_field.curves(measures.steps, label, values, curve, outcomes[0], xscale=xscale)


def _labels(names: list[str]) -> list[str]:
    """The last names, in words; whole paths where two are alike."""
    whole = [name.removesuffix(".type").removesuffix(".module") for name in names]
    short = [_plain(name.rpartition(".")[2]) for name in whole]
    return short if len(set(short)) == len(short) else whole


def _plain(name: str) -> str:
    """A name in words; `n_train` and `d_model` are symbols with an index."""
    return name if len(name.partition("_")[0]) == 1 else name.replace("_", " ")


def _values(column: np.ndarray) -> np.ndarray:
    """A field that some runs lack, as words."""
    if column.dtype.kind == "f" and np.isnan(column).any():
        return np.array(["–" if np.isnan(one) else f"{one:.6g}" for one in column.tolist()])
    return column


def _is_log(name: str, values: np.ndarray) -> bool:
    """Whether a measure is on a logarithmic axis: a loss, above 0, over some range."""
    known = values[np.isfinite(values)]
    return "loss" in name and known.size > 0 and bool(known.min() > 0 and known.max() > WIDE * known.min())
