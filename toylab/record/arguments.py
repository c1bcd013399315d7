"""The arguments of a Recorder, checked: each refusal is one sentence."""

import operator
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from toylab import configs as cfg
from toylab.importers.naming import printable_value

NAME = re.compile(r"[A-Za-z0-9][\w.=+,-]{0,99}", re.ASCII)
RESERVED = {"type", "net", "name", "run", "group", "part", "sweep", "step", "diverged", "valid", "task", "optimizer"}


def name_of(name: Any) -> str:
    """A run's name, which a folder can have."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(
            f"name is {printable_value(name)}: it must be up to 100 letters, digits and . = + , - _, as seed_0."
        )
    return name


def chunk_of(chunk: Any) -> int | None:
    """Points of a commit."""
    if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1):
        raise ValueError(f"chunk is {printable_value(chunk)}: it must be a whole number of at least 1.")
    return chunk


def step_of(step: Any) -> int:
    """A step of a training."""
    try:
        number = -1 if isinstance(step, bool) else operator.index(step)
    except TypeError:
        number = -1
    if not 0 <= number < 2**31:
        raise ValueError(f"step is {printable_value(step)}: it must be a whole number from 0 to 2,147,483,647.")
    return number


def every_of(every: Any) -> int | frozenset[int]:
    """Steps between points, or the steps of all."""
    if isinstance(every, int) and not isinstance(every, bool) and every >= 1:
        return every
    steps = np.asarray(every)
    if steps.ndim != 1 or not steps.size or steps.dtype.kind not in "iu" or (np.diff(steps) <= 0).any() or steps[0] < 0:
        raise ValueError(
            f"every is {printable_value(every)}: it must be a whole number of at least 1, or steps that ascend from 0 on."
        )
    return frozenset(steps.tolist())


def fields_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a run as its config has them."""
    found = {}
    for name, value in fields.items():
        own = isinstance(name, str) and name.isprintable() and name not in RESERVED and not name.startswith("net.")
        if not own or not name:
            raise ValueError(
                f"fields has {printable_value(name)}: a field has a name of its own, as lr or optimizer.lr."
            )
        plain = value.item() if np.ndim(value) == 0 and hasattr(value, "item") else value
        if not isinstance(plain, bool | int | float | str) or plain != plain:
            raise ValueError(f"fields.{name} is {printable_value(value)}: it must be a number, a text, true or false.")
        found[name] = cfg.canonical(plain)
    return found


def number_of(name: str, value: Any) -> float:
    """A measure at one step."""
    value = value.detach() if hasattr(value, "detach") else value
    if isinstance(value, str) or np.ndim(value) or not hasattr(value, "__float__"):
        shape = f"{list(np.shape(value))} of numbers" if np.ndim(value) else printable_value(value)
        raise ValueError(f"{name} is {shape}: a measure is one number.")
    return float(value)
