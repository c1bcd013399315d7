"""The fields of a config by their dotted paths: read, set, and found where a name is not quite right.

A field has one name everywhere, on the command line, in grids, as a column of a sweep, in `select` and in runs.parquet:
`task.p`, `net.d_model`, `optimizer.weight_decay`, `seed`. The fields of a net are those of its module. The name of a part
alone is its class: `optimizer` is the column `optimizer.type`, `net` the column `net.module`.
"""

import difflib
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, Literal

from jax import Array

from toylab.base import Config
from toylab.classes import of_class

SHOWN = 12  # fields that a message lists
NEAR, TIE = 0.6, 0.02  # of difflib's ratio: what is near, and what is as near as the nearest


def override(config: Config, path: str, value: Any) -> Config:
    """The config with one field set. `check` it afterwards.

    Args:
        config: to change.
        path: of the field, as `optimizer.weight_decay` or `net.d_model`; or of a part, as `optimizer`.
        value: for the field. A text is converted for fields of numbers or flags. Of a part it is another part, or a class
            or the name of one: what fields both classes have keep their values (`toylab.classes`).

    Raises:
        ValueError: where there is no such field or class, or the text is no such value.
    """
    return overridden(config, {path: value})


def overridden(config: Config, row: Mapping[str, Any]) -> Config:
    """The config with several fields set, by path. Classes come first, so that the fields of a new class can be set too."""
    values = {plain(config, path): value for path, value in row.items()}
    if len(values) < len(row):
        twice = [path for path in row if sum(plain(config, one) == plain(config, path) for one in row) > 1]
        raise ValueError(f"{' and '.join(twice)} are one field: give all its values in one place.")
    parts = {path for path in values if is_part(config, path)}
    config = with_classes(config, values) if parts else config
    for path, value in values.items():
        if path not in parts:
            takes(config, path, parts)
            config = _override(config, path.split("."), value, path, {})
    return config


def with_classes(config: Config, values: Mapping[str, Any]) -> Config:
    """The config with the parts that are named set to other classes. Of the other values those that a new class has no
    default for are taken as they are."""
    parts = [path for path in values if is_part(config, path)]
    for path in sorted(parts, key=lambda one: one.count(".")):
        also = {name[len(path) + 1 :]: value for name, value in values.items() if name.startswith(f"{path}.")}
        config = _override(config, path.split("."), values[path], path, also)
    return config


def plain(config: Config, path: str) -> str:
    """A path without the last name of a column of classes: `optimizer.type` is `optimizer`, `net.module` is `net`."""
    part, _, last = path.rpartition(".")
    within = part and last in ("type", "module") and is_part(config, part)
    return part if within and path not in paths(config) else path


def column(name: str, known: Collection[str]) -> str:
    """The column of a field: that of a part's class where a part is named."""
    return next((one for one in (name, f"{name}.module", f"{name}.type") if one in known), name)


def is_part(config: Config, path: str) -> bool:
    """Whether a path leads to a part that has a class, as `optimizer` or `optimizer.base`."""
    part: Any = config
    for name in path.split("."):
        known = own_fields(part) if has_parts(part) else {}
        if name not in known:
            return False
        part = known[name][1]
    return has_parts(part) and not isinstance(part, tuple)


def takes(config: Config, path: str, new: Iterable[str] = ()) -> Any:
    """The annotation of the field at `path`; float for a field that takes one number or many, `type` for a part's class.

    Args:
        config: whose field.
        path: of the field.
        new: the parts whose classes were set, for messages.

    Raises:
        ValueError: where there is no such field, with the fields whose names are near.
    """
    part: Any = config
    hint: Any = None
    names = plain(config, path).split(".")
    found = "".join(f" with {part} {class_name(config, part)}" for part in new if path.startswith(f"{part}."))
    for i, name in enumerate(names):
        if not has_parts(part):
            raise ValueError(f"{path} is no field: {names[i - 1]} has no parts.")
        known = own_fields(part)
        if name not in known and isinstance(part, tuple):
            raise ValueError(f"{path} is no field: {'.'.join(names[:i])} has the parts {', '.join(known)}.")
        if name not in known:
            raise ValueError(f"{path} is no field{found}: {hint_of(path, paths(config))}")
        hint, part = known[name]
    if has_parts(part) and not isinstance(part, tuple):
        return type
    if has_parts(part):
        raise ValueError(
            f"{path} is no single value: set one of its parts, {', '.join(f'{path}.{n}' for n in own_fields(part))}."
        )
    return float if hint == float | Array else hint


def paths(part: Any, prefix: str = "") -> Iterator[str]:
    """The dotted paths of all fields of a config that hold a value, in order."""
    for name, (_, value) in own_fields(part).items():
        yield from paths(value, f"{prefix}{name}.") if has_parts(value) else [prefix + name]


def hint_of(path: str, known: Iterable[str]) -> str:
    """What to take in place of an unknown path: the fields of that last name or of a near one, else the first that are."""
    known = list(known)
    if found := near(path, known):
        return f"did you mean {' or '.join(filter(None, [', '.join(found[:-1]), found[-1]]))}?"
    within = [one for one in known if one.startswith(f"{path.rpartition('.')[0]}.")] or known
    more = f" and {len(within) - SHOWN} more" if len(within) > SHOWN else ""
    return f"known are {', '.join(within[:SHOWN])}{more}."


def near(path: str, known: Iterable[str]) -> list[str]:
    """The known paths whose last name is that of `path`; where none has it, those whose last name is nearest to it.

    Of several as near as each other those within the same part come first: `net.d_mdel` is `net.d_model`.
    """
    known, (part, _, last) = list(known), path.rpartition(".")
    same = [one for one in known if one.rpartition(".")[2] == last]
    if len(same) > 1:
        inside = [one for one in same if f".{one}".endswith(f".{path}")]  # base.lr is optimizer.base.lr
        same = inside or same
    if same:
        return same
    ratios = {one: difflib.SequenceMatcher(None, last, one.rpartition(".")[2]).ratio() for one in known}
    ratios = {one: ratio for one, ratio in ratios.items() if ratio >= NEAR}
    ratios = {one: ratio for one, ratio in ratios.items() if ratio >= max(ratios.values()) - TIE}
    inside = [one for one in ratios if one.rpartition(".")[0] == part]
    return (inside if part and inside else sorted(ratios, key=lambda one: -ratios[one]))[:3]


def class_name(config: Config, path: str) -> str:
    """The name of the class of the part at a path; of a net that of its module."""
    part: Any = config
    for name in path.split("."):
        part = own_fields(part)[name][1]
    return getattr(part, "module", type(part)).__name__


def has_parts(value: Any) -> bool:
    """Whether a value has fields of its own: a part of a config, or a tuple of such, whose fields are their numbers."""
    if isinstance(value, tuple):
        return bool(value) and all(is_dataclass(one) and not isinstance(one, type) for one in value)
    return is_dataclass(value) and not isinstance(value, type)


def own_fields(value: Any) -> dict[str, tuple[Any, Any]]:
    """name → (annotation, value) of a dataclass; of a net, its module's fields instead."""
    if isinstance(value, tuple):
        return {str(i): (type(one), one) for i, one in enumerate(value)}
    if hasattr(value, "module_fields"):
        return value.module_fields()
    kind: Any = type(value)
    return {name: (hint, getattr(value, name)) for name, hint in _hints(kind).items()}


def with_fields(value: Any, **changes: Any) -> Any:
    """A part of a config with some of its own fields set."""
    if isinstance(value, tuple):
        return tuple(changes.get(str(i), one) for i, one in enumerate(value))
    return value.with_fields(**changes) if hasattr(value, "module_fields") else value.replace(**changes)


def is_static(part: Any, name: str) -> bool:
    """Whether a field belongs to the structure: a new value compiles anew."""
    if hasattr(part, "module_fields"):
        return name not in part.leaves
    kind: Any = type(part)
    return name in _static_fields(kind)


@lru_cache(maxsize=256)  # read for every config of a sweep
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


@lru_cache(maxsize=256)
def _static_fields(kind: type) -> frozenset[str]:
    return frozenset(field.name for field in fields(kind) if not field.metadata.get("pytree_node", True))


def _override(part: Any, names: list[str], value: Any, path: str, also: Mapping[str, Any]) -> Any:
    hint, old = own_fields(part)[names[0]]
    if len(names) > 1:
        new = _override(old, names[1:], value, path, also)
    elif has_parts(old):
        new = value if has_parts(value) and not isinstance(value, tuple) else of_class(old, value, path, also)
    else:
        new = _parse(value, hint, path) if isinstance(value, str) else value
    return with_fields(part, **{names[0]: new})


def _parse(text: str, hint: Any, path: str) -> Any:
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{path} is {text!r}: it must be true or false.")
        return text.lower() == "true"
    hint = float if hint == float | Array else hint
    if hint is int or hint is float:
        try:
            return int(text) if hint is int else float(text)
        except ValueError:
            wanted = "a whole number" if hint is int else "a number"
            raise ValueError(f"{path} is {text!r}: it must be {wanted}.") from None
    if typing.get_origin(hint) is Literal or hint is str:
        return text
    raise ValueError(f"{path} cannot be set from the command line: it takes {hint}.")
