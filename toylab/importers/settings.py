"""What arrays do not say of their network (activation, mask, attention rate), read from a training config."""

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any

from toylab.importers.rules import Settings


def chosen(given: Settings, name: str, known: Mapping[Any, Any], default: Any) -> Any:
    """The value that `known` has for a setting (upper or lower case), or the default where it is not given."""
    if name not in given:
        return default
    value = given[name]
    lower = {key.lower() if isinstance(key, str) else key: found for key, found in known.items()}
    key = value.lower() if isinstance(value, str) else value
    if not isinstance(key, str | None) or key not in lower:
        raise ValueError(f"config.{name} is {value!r}: it must be one of {', '.join(str(key) for key in known)}.")
    return lower[key]


def number(given: Settings, name: str, least: float, most: float, what: str) -> float:
    """A number that must be given."""
    if name not in given:
        raise ValueError(f"config lacks {name}, {what}: the arrays do not say it; load(…, config={{{name!r}: …}}).")
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"config.{name} is {value!r}: it must lie in [{least}, {most}].")
    return value


def stated(given: Settings, name: str, found: int, unset: tuple[Any, ...] = ()) -> None:
    """A size that the arrays say: a config that says another belongs to another model."""
    if name in given and given[name] != found and given[name] not in unset:
        raise ValueError(f"config.{name} is {given[name]!r} and the arrays have {found}: it is another model's config.")


def expect(given: Settings, name: str, only: Any) -> None:
    """A setting of which toylab's nets have one value."""
    value = only if given.get(name) is None else given[name]
    same = math.isclose(value, only) if isinstance(value, float) and not isinstance(only, bool) else value == only
    if not same:
        raise ValueError(f"config.{name} is {value!r}: toylab's networks have it {only!r} only.")


def check_names(given: Settings, reads: Iterable[str]) -> None:
    """A training config has names that no net needs, but one that nearly is a setting's is a slip."""
    reads = list(reads)
    for name in given:
        near = difflib.get_close_matches(name, reads, 1, 0.8) if name not in reads else []
        if near and near[0] not in given:
            raise ValueError(f"config has {name}: did you mean {near[0]}?")
