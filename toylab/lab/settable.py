"""What can be set of a page's runs, by --set, --zip, a TOML file or a grid: each field with type, values and meaning."""

import dataclasses
import typing
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal

import numpy as np
from jax import Array

from toylab import lab
from toylab.base import Config
from toylab.classes import classes
from toylab.fields import has_parts, is_static, own_fields
from toylab.lab import Page, Scale
from toylab.meanings import meanings, unit

SHOWN = 4  # values of the page's runs in a cell
GROUPS = ("task", "net", "optimizer")
HEAD = ("field", "type", "here", "compiles", "meaning")
NUMBERS = {int: "whole number", float: "number", bool: "true or false", str: "text"}


@dataclasses.dataclass
class Setting:
    """A field of the configs of a page.

    field      its dotted path
    type       what it takes
    values     what the page's runs have, each once, as they are typed
    unit       "" where it has none
    meaning    in a line; "" where its class says none
    options    the words or classes that it can be
    compiles   whether another value compiles anew; else runs with several are trained as one program
    text       whether it can be set from the command line, not in Python alone
    """

    field: str
    type: str
    values: list[str]
    unit: str = ""
    meaning: str = ""
    options: list[str] = dataclasses.field(default_factory=list)
    compiles: bool = False
    text: bool = True


def of_page(page: Page, scale: Scale, parts: Mapping[str, lab.Part]) -> dict[str, list[Setting]]:
    """The settings of each part of a page. A part that measures networks of others has their folder, `weights`."""
    folder = Setting("weights", "folder", [], meaning="The folder of the networks that others trained.")
    return {name: [folder] if part.imported else of_configs(part.configs[scale]) for name, part in parts.items()}


def of_configs(configs: Sequence[Config]) -> list[Setting]:
    """The settings of configs, those of a class too that only some of them have."""
    found: dict[str, Setting] = {}
    for config in configs:
        for one in _settings(config, ""):
            known = found.setdefault(one.field, one)
            known.values += [value for value in one.values if value not in known.values]
    order = {name: i for i, name in enumerate(GROUPS)}
    return sorted(found.values(), key=lambda one: order.get(one.field.partition(".")[0], len(order)))


def records(settings: Sequence[Setting]) -> list[dict[str, Any]]:
    """The settings as JSON values."""
    return [dataclasses.asdict(one) for one in settings]


def table(settings: Sequence[Setting]) -> str:
    """The settings as aligned text, a line each, by task, net, optimizer and the rest."""
    rows = {one.field: _row(one) for one in settings}
    widths = [max(map(len, column)) for column in zip(HEAD, *rows.values(), strict=True)][:-1]

    def line(cells: Sequence[str]) -> str:
        padded = [f"{cell:{width}}" for cell, width in zip(cells[:-1], widths, strict=True)]
        return "  ".join(["", *padded, cells[-1]]).rstrip()

    lines, group = [line(HEAD)], None
    for path, row in rows.items():
        own = path.partition(".")[0]
        if (own if own in GROUPS else "") != group:
            group = own if own in GROUPS else ""
            lines.append("")
        lines.append(line(row))
    return "\n".join(lines)


def _row(one: Setting) -> list[str]:
    more = f" and {len(one.values) - SHOWN} more" if len(one.values) > SHOWN else ""
    here = ", ".join(one.values[:SHOWN]) + more + (f" {one.unit}" if one.unit and one.values else "")
    options = f" One of {', '.join(one.options)}." if one.options else ""
    kind = one.type if one.text else f"{one.type} (in Python)"
    return [one.field, kind, here, "yes" if one.compiles else "no", one.meaning + options]


def _settings(part: Any, prefix: str) -> Iterator[Setting]:
    """The fields of a part and of the parts within it; a part itself is the field of its class."""
    told = meanings(part.module if hasattr(part, "module_fields") else type(part))
    for name, (hint, value) in own_fields(part).items():
        path = prefix + name
        if not has_parts(value):
            yield _setting(path, hint, value, told.get(name, ""), is_static(part, name))
        elif isinstance(value, tuple):
            for i, one in enumerate(value):
                yield from _part(f"{path}.{i}", one, told.get(name, ""))
        else:
            yield from _part(path, value, told.get(name, ""))


def _part(path: str, part: Any, meaning: str) -> Iterator[Setting]:
    options = sorted(classes(part, path))
    yield Setting(path, "class", [getattr(part, "module", type(part)).__name__], "", meaning, options, compiles=True)
    yield from _settings(part, f"{path}.")


def _setting(path: str, hint: Any, value: Any, meaning: str, static: bool) -> Setting:
    """`hint` is the annotation of the field."""
    kinds = set(typing.get_args(hint)) - {NoneType} if isinstance(hint, UnionType) else {hint}
    word = typing.get_origin(hint) is Literal
    many = kinds <= {float, Array} and Array in kinds
    typed = "word" if word else "number or array" if many and float in kinds else "array" if many else NUMBERS.get(hint)
    text = word or hint in NUMBERS or kinds == {float, Array}
    named = typed or str(hint).replace("typing.", "")
    options = [str(one) for one in typing.get_args(hint)] if word else []
    return Setting(path, named, [_shown(value)], unit(meaning), meaning, options, static, text)


def _shown(value: Any) -> str:
    """A value as it is typed; of an array its shape."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if np.ndim(value) and hasattr(value, "dtype"):
        return f"array {list(np.shape(value))}"
    number = isinstance(value, float | np.floating) or (hasattr(value, "dtype") and value.dtype.kind == "f")
    return f"{float(value):.7g}" if number else str(getattr(value, "__name__", value))
