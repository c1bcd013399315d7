"""Configs as data: written as canonical JSON, hashed, compared, stacked into a batch. They are checked by
`toylab.checking`, and their fields set by `toylab.fields`."""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from toylab.base import Config
from toylab.checking import Shared
from toylab.checking import check as check
from toylab.checking import checked as checked
from toylab.fields import is_part as is_part
from toylab.fields import overridden as overridden
from toylab.fields import override as override
from toylab.fields import plain as plain
from toylab.fields import takes as takes
from toylab.fields import with_classes as with_classes
from toylab.protocol import METHODS

ROLES = tuple(METHODS)  # of the parts of a config


def canonical(value: Any, also: Collection[str] = ()) -> Any:
    """The config as JSON values: types and functions as qualified names, arrays as lists, floats as float32 prints them.

    Args:
        value: A config, or a part of one.
        also: Names of fields that are written at their default too, though they came later (`static(later=True)`).
    """
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: getattr(value, field.name) for field in fields(value)}
        unset = {name: default for name, default in unwritten(type(value)).items() if name not in also}
        written = {name: inner for name, inner in own.items() if not (name in unset and inner == unset[name])}
        return {"type": qualified(type(value)), **{name: canonical(inner, also) for name, inner in written.items()}}
    if isinstance(value, type) or callable(value):
        return qualified(value)
    if isinstance(value, dict):
        return {str(name): canonical(inner, also) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return [canonical(inner, also) for inner in value]
    if value is None or isinstance(value, str | bool):
        return value
    array = np.asarray(value)
    if array.ndim:
        return [canonical(inner) for inner in array]
    if array.dtype.kind == "f":
        return float(str(array)) if array.dtype == np.float32 else float(array)  # 0.001, not 0.0010000000474974513
    return int(array)


def digest(config: Config) -> str:
    """sha256 of the canonical JSON, as 64 hex digits. A run is named by the first 10."""
    return digest_of(canonical(config))


def digest_of(canonical_config: Any) -> str:
    """`digest` of a canonical config."""
    return hashlib.sha256(json.dumps(canonical_config, sort_keys=True).encode()).hexdigest()


def distinct(configs: Sequence[Config]) -> None:
    """Raises ValueError for an empty list, and where a config occurs twice."""
    if not configs:
        raise ValueError("the sweep has no configs: give at least one value for each field.")
    if n_double := len(configs) - len(set(_by_parts(configs, _identity))):
        raise ValueError(
            f"the sweep has {n_double} duplicate config(s): every run must differ from the others in a field."
        )


def _identity(part: Any) -> Any:
    """A key that is equal for equal parts of checked configs; much faster than a digest."""
    if isinstance(part, np.generic):
        return type(part), part.tobytes()
    leaves, structure = jax.tree.flatten(part)
    return structure, tuple((array.dtype.str, array.tobytes()) for array in map(np.asarray, leaves))


def _program(part: Any) -> Any:
    """What two parts must share to share a compiled program: structure (static fields in it), shapes, dtypes."""
    if isinstance(part, np.generic):
        return type(part)
    leaves, structure = jax.tree.flatten(part)
    return structure, tuple((np.shape(leaf), np.asarray(leaf).dtype.str) for leaf in leaves)


def _by_parts(configs: Sequence[Config], make: Callable[[Any], Any]) -> list[Any]:
    """For each config a key of what `make` gives of its fields. It is asked once for a part that several configs have."""
    numbers: dict[Any, int] = {}
    number = Shared(lambda part: numbers.setdefault(make(part), len(numbers)))
    names = [field.name for field in fields(Config)]
    parts, rest = [name for name in names if name in ROLES], [name for name in names if name not in ROLES]
    return [
        (type(one), *(number(getattr(one, name)) for name in parts), *(make(getattr(one, name)) for name in rest))
        for one in configs
    ]


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Canonical JSON as `{"optimizer.lr": 0.001, …}`. A net's sizes and leaves are named as users set them."""
    if isinstance(value, dict):
        items = dict(value)
        if {"module", "sizes", "leaves"} <= set(items):
            items = {**dict(items.pop("sizes")), **items.pop("leaves"), **items}
    elif isinstance(value, list) and value and all(isinstance(inner, dict) for inner in value):
        items = {str(i): inner for i, inner in enumerate(value)}
    else:
        return {prefix[:-1]: value}
    return {path: leaf for name, inner in items.items() for path, leaf in flat(inner, f"{prefix}{name}.").items()}


def changes(old: Any, new: Any) -> dict[str, Any]:
    """The fields in which the canonical config `new` differs from `old`, by path; None for those that it lacks."""
    a, b = flat(old), flat(new)
    return {name: b.get(name) for name in sorted(a | b) if a.get(name) != b.get(name)}


def set_later(configs: Sequence[Config]) -> set[str]:
    """Names of the fields that came later (`static(later=True)`) and that some of the configs set."""
    found: set[str] = set()

    def look(value: Any) -> None:
        if is_dataclass(value) and not isinstance(value, type):
            found.update(name for name, default in unwritten(type(value)).items() if getattr(value, name) != default)
            for field in fields(value):
                look(getattr(value, field.name))
        for inner in value if isinstance(value, tuple | list) else ():
            look(inner)

    once = Shared(look)
    for config in configs:
        for role in ROLES:
            once(getattr(config, role))
    return found


def columns(configs: Sequence[Any]) -> dict[str, np.ndarray]:
    """The fields of canonical configs as arrays with one row for each config: numbers, words, and curves of numbers. Where
    a config lacks a field it has nan, or ""."""
    rows = [flat(config) for config in configs]
    names = dict.fromkeys(name for row in rows for name, value in row.items() if _is_column(value))
    found = {name: _column([row.get(name) for row in rows]) for name in names}
    return {name: column for name, column in found.items() if column.dtype.kind in "biufU"}


def _column(values: list[Any]) -> np.ndarray:
    """Values as an array with a row each; an array of None where curves are of several lengths, or some rows have none."""
    kinds = {type(value) for value in values}
    if list in kinds and (len(kinds) > 1 or len({len(value) for value in values}) > 1):
        return np.array([None])
    fill = "" if str in kinds else np.nan
    return np.array([fill if value is None else value for value in values])


def _is_column(value: Any) -> bool:
    curve = isinstance(value, list) and bool(value) and all(isinstance(inner, float) for inner in value)
    return curve or isinstance(value, bool | int | float | str)


def differences(old: Any, new: Any) -> list[str]:
    """Fields that differ between two canonical configs, as `field: old → new`."""
    a, b = flat(old), flat(new)
    return [f"{name}: {a.get(name)} → {b.get(name)}" for name in sorted(a | b) if a.get(name) != b.get(name)]


def family(config: Config) -> Any:
    """What two configs must share to be trained in one group: their program, and data_seed, since a group draws its batches
    once (unless each run has a stream of its own)."""
    return *_program(config), _stream(config)


def _stream(config: Config) -> int | None:
    return None if streams(config) == "own" else int(config.data_seed)


def one_of_each(configs: Sequence[Config]) -> list[Config]:
    """The first config of each family."""
    return [members[0] for members in families(configs, False).values()]


def families(configs: Sequence[Config], together: bool = True) -> dict[Any, list[Config]]:
    """Checked configs that can train in one group, in order of first appearance.

    Runs with one data_seed are a family, whose batches are drawn once. Of one program, the runs whose data_seed no other
    has are a family too, in which each run draws its own batches.

    Args:
        configs: of a sweep.
        together: False for sweeps of before, in which such runs trained each in a group of its own.
    """
    alike: dict[Any, list[Config]] = {}
    for program, config in zip(_by_parts(configs, _program), configs, strict=True):
        alike.setdefault((program, _stream(config)), []).append(config)
    found = {family(members[0]): members for members in alike.values()}
    if not together:
        return found
    merged: dict[Any, list[Config]] = {}
    for (*program, data_seed), members in found.items():
        merged.setdefault((*program, None if len(members) == 1 else data_seed), []).extend(members)
    return merged


def stack(configs: Sequence[Config], own: bool | None = None) -> Config:
    """Configs of one family as one config with leaves [R, …]; a data_seed that they share stays a scalar.

    Args:
        configs: to stack.
        own: whether each run draws its own batches; None for what `own_draws` says of these configs.
    """
    stacked = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *configs)
    return stacked if (own_draws(configs) if own is None else own) else stacked.replace(data_seed=configs[0].data_seed)


def own_draws(configs: Sequence[Config]) -> bool:
    """Whether each run of a family draws its own batches, rather than all the same."""
    return streams(configs[0]) == "own" or len({int(config.data_seed) for config in configs}) > 1


def streams(config: Config) -> str:
    """ "own" where the task wants own draws even for runs with one data_seed."""
    return getattr(config.task, "streams", "shared")


def qualified(value: Any) -> str:
    """The name of a class or function in manifests. Pages are unique by name, so the family they lie in is left out:
    toylab.experiments.grokking.clock_pizza.f is experiments.clock_pizza.f."""
    module = re.sub(r"^toylab\.experiments\.(?:\w+\.)?(\w+)$", r"experiments.\1", value.__module__)
    return f"{module}.{value.__qualname__}"


@lru_cache(maxsize=256)
def unwritten(kind: type) -> dict[str, Any]:
    """The fields of a dataclass that came later than runs of it (`static(later=True)`), and the defaults at which they are
    left out of a canonical config."""
    return {field.name: field.default for field in fields(kind) if field.metadata.get("later")}
