"""Checks the names that a lab page states, when it is loaded. Without it a misspelt ANALYSES would silently be ignored."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from toylab.base import Config
from toylab.claims import Claim
from toylab.claims.page import wrong
from toylab.lab import Imported, Page, Part, Scale, Start, name_of, parts

STATED = {field.name.upper(): field.name for field in fields(Part)}
NEAR = 0.85  # such that ANALYSIS is near ANALYSES and CLAIM near CLAIMS, but STEPS not near STOP
TAKEN = ("final", "config")  # not allowed as names of analyses, because other measures begin so


def check(page: Page, scale: Scale) -> None:
    """Checks a page at a scale.

    Raises:
        ValueError: in one sentence, where a name is missing, unknown or has a wrong value.
    """
    try:
        _names(page)
        stated = parts(page)
        for name, part in stated.items():
            _part(f"PARTS[{name!r}]." if name else "", part, scale, upper=not name)
            _start(name, part, stated)
        for what in ("claims", "figures"):
            listed = [getattr(one, "name", one) for part in stated.values() for one in getattr(part, what)]
            if twice := [name for i, name in enumerate(listed) if name in listed[:i]]:
                raise ValueError(f"two {what} are named {twice[0]!r}: give each a name of its own")
    except ValueError as error:
        raise ValueError(f"the page {name_of(page)}: {error}.") from None


def _names(page: Page) -> None:
    given = {name for name in vars(page) if name.isupper()}
    if "PARTS" in given:
        all_parts: Any = vars(page)["PARTS"]
        if not isinstance(all_parts, Mapping) or not all_parts:
            raise ValueError(f"PARTS is {_repr(all_parts)}: give a Part by name")
        for name, part in all_parts.items():
            if not isinstance(name, str) or not name or not isinstance(part, Part):
                raise ValueError(f"PARTS[{name!r}] is {_repr(part)}: give a Part by name")
        return
    for name in sorted(given - set(STATED)):
        near = difflib.get_close_matches(name, {*STATED, "PARTS"} - given, 1, cutoff=NEAR)
        if near:
            raise ValueError(f"{name} is no name of a page: did you mean {near[0]}?")
    if "IMPORTED" not in given and (lacks := [name for name in ("CONFIGS", "SAVES") if name not in given]):
        raise ValueError(f"it states no {' and no '.join(lacks)} (nor PARTS)")


def _part(where: str, part: Part, scale: Scale, upper: bool) -> None:
    """Checks a part. `where` is the prefix of field names in messages; `upper` writes them in capitals."""
    for field in fields(Part):
        value = getattr(part, field.name)
        name = where + (field.name.upper() if upper else field.name)
        if part.imported and field.name in ("configs", "saves", "stop"):
            continue
        if what := CHECKS[field.name](value, scale):
            raise ValueError(f"{name} is {_repr(value)}: {what}")


def _start(name: str, part: Part, stated: Mapping[str, Part]) -> None:
    """Checks that a part starts from one that is trained before it and keeps what is needed."""
    if part.start is None:
        return
    before = list(stated)[: list(stated).index(name)]
    if part.start.part not in before:
        raise ValueError(f"PARTS[{name!r}] starts from {part.start.part!r}: give a part that stands before it")
    if stated[part.start.part].imported or stated[part.start.part].keep is not None:
        raise ValueError(
            f"PARTS[{name!r}] starts from {part.start.part!r}, which does not record all params: leave out its keep"
        )


def _by_scale(check: Callable[[Any], str]) -> Callable[[Any, Scale], str]:
    def checked(value: Any, scale: Scale) -> str:
        if not isinstance(value, Mapping) or scale not in value:
            return f"give a mapping by scale, with {scale}"
        return check(value[scale])

    return checked


def _configs(value: Any) -> str:
    right = isinstance(value, Sequence) and len(value) and all(isinstance(config, Config) for config in value)
    return "" if right else "give a list of Configs, at least one, at each scale"


def _saves(value: Any) -> str:
    wanted = "give ascending step numbers from 0 on, at each scale"
    try:
        steps = np.asarray(value)
    except (TypeError, ValueError):
        return wanted
    if steps.ndim != 1 or not steps.size or steps.dtype.kind not in "iu":
        return wanted
    return "" if steps[0] >= 0 and (np.diff(steps) > 0).all() else wanted


def _claims(value: Any, _: Scale) -> str:
    if not isinstance(value, Sequence) or not all(isinstance(claim, Claim) for claim in value):
        return "give a list of toylab.claims.Claim"
    return next((what for claim in value if (what := wrong(claim))), "")


def _figures(value: Any, _: Scale) -> str:
    right = isinstance(value, Mapping) and all(
        isinstance(name, str) and name.isidentifier() and callable(figure) for name, figure in value.items()
    )
    return "" if right else "give functions of measures by name, each name a word"


def _analyzers(value: Any, _: Scale) -> str:
    right = isinstance(value, Mapping) and all(isinstance(name, str) and callable(fn) for name, fn in value.items())
    if not right:
        return "give analyzers by name"
    taken = [name for name in value if "/" in name or name in TAKEN]
    return f"{taken[0]!r} is taken, or has a slash" if taken else ""


def _milestone(value: Any, _: Scale) -> str:
    right = isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and callable(value[1])
    return "" if right else "give a word and a function of measures"


def _keep(value: Any, _: Scale) -> str:
    right = value is None or (isinstance(value, tuple) and all(isinstance(name, str) for name in value))
    return "" if right else "give a tuple of names, or None for all"


def _omit(value: Any, _: Scale) -> str:
    right = isinstance(value, tuple) and all(isinstance(name, str) for name in value)
    if not right:
        return "give a tuple of names of measures"
    needed = [name for name in value if name in ("steps", "valid") or name.startswith("config/")]
    return f"{needed[0]} is needed" if needed else ""


def _started(value: Any, _: Scale) -> str:
    right = value is None or (isinstance(value, Start) and isinstance(value.by, tuple) and value.by)
    return "" if right else "give a Start, with a tuple of fields"


def _repr(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"a {type(value).__name__}"


CHECKS: dict[str, Callable[[Any, Scale], str]] = {
    "configs": _by_scale(_configs),
    "saves": _by_scale(_saves),
    "claims": _claims,
    "figures": _figures,
    "stop": _by_scale(lambda value: "" if value is None or callable(value) else "give a function of measures, or None"),
    "milestone": _milestone,
    "probes": _analyzers,
    "keep": _keep,
    "final": _analyzers,
    "analyses": _analyzers,
    "omit": _omit,
    "start": _started,
    "imported": lambda value, _: "" if value is None or isinstance(value, Imported) else "give an Imported",
}
