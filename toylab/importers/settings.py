"""What arrays do not say of their network (activation, mask, attention rate), read from a training config.

Every field that a config may have is in its layout's table: it is read, it changes no logit, or it is taken at the values
alone at which toylab's networks compute the same. What no table has is refused, since nobody knows what it does.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np

from toylab.importers.naming import Refusal, listed, printable_value

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """`why`: what is read, why it changes no logit, or what toylab's networks have not. A refused field is taken at the
    values of `off`, and at any where the model is not what `where` says (one of a form's traits), as its own code ignores
    it there."""

    kind: Literal["read", "harmless", "refused"]
    why: str
    off: tuple[Any, ...] = ()
    where: str = ""


Fields = Mapping[str, Field]


def read(why: str, *names: str) -> dict[str, Field]:
    return {name: Field("read", why) for name in names}


def harmless(why: str, *names: str) -> dict[str, Field]:
    return {name: Field("harmless", why) for name in names}


def refused(why: str, name: str, *off: Any, where: str = "") -> dict[str, Field]:
    return {name: Field("refused", why, off, where)}


def check_fields(given: Settings, known: Fields, traits: Iterable[str] = ()) -> None:
    """One sentence about the first field of a config that is unknown, or that toylab's networks cannot follow."""
    for name in given:
        near = difflib.get_close_matches(str(name), known, 1, 0.8) if name not in known else []
        if near and near[0] not in given:
            raise Refusal(f"config has {listed([name])}: did you mean {near[0]}?")
    if unknown := [name for name in given if name not in known]:
        raise Refusal(
            f"config has {listed(unknown)}: no such field is known, nor what it does to the logits; leave out what does"
            " nothing to them."
        )
    traits = set(traits)
    for name, value in given.items():
        field = known[name]
        if field.kind == "refused" and (not field.where or field.where in traits):
            expect(name, value, field.off, field.why)


def expect(name: str, value: Any, only: tuple[Any, ...], why: str) -> None:
    if not any(same(value, wanted) for wanted in only):
        values = " or ".join(
            "null" if one is None else f"{one:.6g}" if type(one) is float else str(one) for one in only
        )
        raise Refusal(f"config.{name} is {printable_value(value)}: it must be {values}, since {why}.")


def same(value: Any, wanted: Any) -> bool:
    """Whether a value of a config, of any type, is the wanted one: numbers by value, in float64."""
    if isinstance(wanted, dict):
        return isinstance(value, dict) and value == wanted
    if isinstance(wanted, bool) or wanted is None or isinstance(wanted, str):
        plain = value.item() if isinstance(value, np.generic) else value
        return isinstance(plain, bool | int | str | None) and plain == wanted
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isclose(value, wanted, rel_tol=1e-6)
    except OverflowError:  # a whole number beyond float64
        return False


class Lacking(Refusal):
    """What the network depends on and nobody says: field → its values."""

    def __init__(self, message: str, wanted: Mapping[str, str]) -> None:
        super().__init__(message)
        self.wanted = dict(wanted)


def require(given: Settings, wanted: Mapping[str, str], why: str = "the arrays do not say it") -> None:
    """All that the network depends on and neither arrays nor config say, in one sentence: field → its values."""
    if lacking := {name: values for name, values in wanted.items() if name not in given}:
        named = ", ".join(f"{name} ({values})" for name, values in lacking.items())
        raise Lacking(
            f"config lacks {named}: {why}; hand over the model's own config, or config={{{next(iter(lacking))!r}: …}}.",
            lacking,
        )


def chosen(given: Settings, name: str, known: Mapping[Any, Any], default: Any = None) -> Any:
    """The value that `known` has for a setting (upper or lower case), or the default where it is not given."""
    if name not in given:
        return default
    value = given[name]
    lower = {key.lower() if isinstance(key, str) else key: found for key, found in known.items()}
    key = value.lower() if isinstance(value, str) else value
    if not isinstance(key, str | None) or key not in lower:
        values = ", ".join("null" if key is None else str(key) for key in known)
        raise Refusal(f"config.{name} is {printable_value(value)}: it must be one of {values}.")
    return lower[key]


def number(given: Settings, name: str, least: float, most: float, what: str) -> float:
    """A number that must be given."""
    if name not in given:
        message = f"config lacks {name}, {what}: the arrays do not say it; load(…, config={{{name!r}: …}})."
        raise Lacking(message, {name: what})
    value: Any = given[name]
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not least <= value <= most:
        raise Refusal(f"config.{name} is {printable_value(value)}: it must lie in [{least}, {most}].")
    return given[name]


def whole(given: Settings, name: str, least: int, most: int, what: str) -> int:
    value = number(given, name, least, most, what)
    if not isinstance(value, Integral):
        raise Refusal(f"config.{name} is {printable_value(value)}: it must be a whole number.")
    return int(value)


def is_size(value: Any) -> bool:
    """Whether a value of a config, of any type, is a whole number above 0 that an array's axis may have."""
    return isinstance(value, Integral) and not isinstance(value, bool) and 0 < int(value) < 1 << 31


def stated(given: Settings, name: str, found: int, unset: tuple[Any, ...] = ()) -> None:
    """A size that the arrays say: a config that says another belongs to another model."""
    if name in given and not any(same(given[name], one) for one in (found, *unset)):
        raise Refusal(
            f"config.{name} is {printable_value(given[name])} and the arrays have {found}: it is another model's config."
        )
