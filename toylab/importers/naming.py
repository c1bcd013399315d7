"""Names and values of foreign files for messages: control characters are escaped, long texts and lists are cut."""

import reprlib
from collections.abc import Iterable
from typing import Any

import numpy as np

MOST_NAMES = 6


class Refusal(ValueError):
    """An error that this package raises itself. Any other error while reading a file means that the file is damaged."""


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
    """A value as Python prints it, on one line."""
    value = value.item() if isinstance(value, np.generic) else value
    try:
        return printable(reprlib.repr(value))
    except Exception:  # a foreign object's own __repr__
        return f"a {type(value).__name__}"
