"""Names and values of foreign files in messages: control characters escaped, long ones and long lists cut."""

import reprlib
from collections.abc import Iterable
from typing import Any

import numpy as np

MOST_NAMES = 6


class Refusal(ValueError):
    """A sentence that this package wrote: what is raised beside it while a file is read is the file's fault."""


def printable(text: object, most: int = 80) -> str:
    """A text on one line, without control characters."""
    line = str(text)
    line = line if line.isprintable() else repr(line)[1:-1]
    return line if len(line) <= most else line[: most - 1] + "…"


def listed(names: Iterable[object], most: int = MOST_NAMES, each: int = 80) -> str:
    """`a, b, c and 93 more`."""
    every = [printable(name, each) for name in names]
    return ", ".join(every[:most]) + (f" and {len(every) - most:,} more" if len(every) > most else "")


def printable_value(value: Any) -> str:
    """A value of a config as Python writes it."""
    value = value.item() if isinstance(value, np.generic) else value
    try:
        return printable(reprlib.repr(value))
    except Exception:  # a foreign object's own __repr__
        return f"a {type(value).__name__}"
