"""Selecting runs by the columns of their configs, and the words for it in messages."""

from collections.abc import Iterable
from typing import Any

import numpy as np

SHOWN = 12  # values that a message lists


def column_of(values: list[Any]) -> np.ndarray:
    """One value a run as an array [R]: numbers with nan for None, or texts with ""."""
    kinds = {type(value) for value in values if value is not None}
    if kinds and kinds <= {int, float, bool}:
        return np.array([np.nan if value is None else value for value in values])
    return np.array(["" if value is None else str(value) for value in values])


def class_names(column: np.ndarray) -> np.ndarray:
    """Classes by their qualified names [R], without their modules."""
    return np.array([name.rpartition(".")[2] for name in column.tolist()])


def matches(name: str, column: np.ndarray, value: Any) -> np.ndarray:
    """[R]: whether a run has the value, one of several values, or satisfies a predicate of the column."""
    if callable(value):
        found = np.asarray(value(column))
        if found.shape != column.shape or found.dtype != bool:
            raise ValueError(
                f"the predicate of {name} gives {found.dtype} {list(found.shape)}: it must give a bool a run."
            )
        return found
    value = value.tolist() if hasattr(value, "tolist") else value  # of numpy, jax or pandas
    if isinstance(value, Iterable) and not isinstance(value, str):
        return np.any([matches(name, column, one) for one in value] or [np.zeros(len(column), bool)], axis=0)
    if value is None or value != value:
        return np.isnan(column) if column.dtype.kind == "f" else column == ""
    number = isinstance(value, bool | int | float)
    if number != (column.dtype.kind in "bif"):
        return np.zeros(len(column), bool)
    return np.isclose(column, value, rtol=1e-6, atol=0) if column.dtype.kind == "f" else column == value


def value_text(value: Any) -> str:
    """A wanted value in a message."""
    return "what the predicate asks" if callable(value) else repr(value)


def values_text(column: np.ndarray) -> str:
    """The values of a column in a message."""
    values = np.unique(column).tolist()
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(f"{value:.7g}" if isinstance(value, float) else repr(value) for value in values[:SHOWN]) + more


def alternatives(names: list[str]) -> str:
    """`a, b or c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
