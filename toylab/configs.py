"""Configs as data: checked, written as canonical JSON, hashed, compared, stacked into a batch. Fields are set by
`toylab.fields`."""

import difflib
import hashlib
import json
import re
import typing
from collections.abc import Collection, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, Literal

import jax
import numpy as np
from jax import Array

from toylab import protocol
from toylab.base import Config, Network, Optimizer, Task
from toylab.fields import has_parts, is_static, own_fields, with_fields
from toylab.fields import is_part as is_part
from toylab.fields import overridden as overridden
from toylab.fields import override as override
from toylab.fields import plain as plain
from toylab.fields import takes as takes
from toylab.fields import with_classes as with_classes


def check(config: Config) -> Config:
    """Checks a config and casts its leaves to float32 or int32 by the types of their fields, so that 1 and 1.0 are equal.

    It is called once, where a config enters a sweep. A pytree cannot check itself, because it is rebuilt with tracers.
    The parts are checked against their protocols. Loss and measures are traced once for each structure (protocol.py).

    Raises:
        ValueError: in one sentence, with the field, its value and what would be right.
    """
    protocol.check_parts(config)
    config = _typed(config, "")
    for part in (config.task, config.net, config.optimizer):
        part.check()
    protocol.check_net(config.task, config.net)
    protocol.check_fit(config)
    return config


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
    if n_double := len(configs) - len({_identity(config) for config in configs}):
        raise ValueError(
            f"the sweep has {n_double} duplicate config(s): every run must differ from the others in a field."
        )


def _identity(config: Config) -> Any:
    """A key that is equal for equal checked configs; much faster than a digest."""
    leaves, structure = jax.tree.flatten(config)
    return structure, tuple((array.dtype.str, array.tobytes()) for array in map(np.asarray, leaves))


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

    for config in configs:
        look(config)
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
    """What two configs must share to share a compiled program: structure (static fields in it), shapes, dtypes; and
    data_seed, since a group draws its batches once (unless each run has a stream of its own)."""
    leaves, structure = jax.tree.flatten(config)
    return (
        structure,
        tuple((np.shape(leaf), np.asarray(leaf).dtype.str) for leaf in leaves),
        None if streams(config) == "own" else int(config.data_seed),
    )


def families(configs: Sequence[Config], together: bool = True) -> dict[Any, list[Config]]:
    """Checked configs that can train in one group, in order of first appearance.

    Runs with one data_seed are a family, whose batches are drawn once. Of one program, the runs whose data_seed no other
    has are a family too, in which each run draws its own batches.

    Args:
        configs: of a sweep.
        together: False for sweeps of before, in which such runs trained each in a group of its own.
    """
    found: dict[Any, list[Config]] = {}
    for config in configs:
        found.setdefault(family(config), []).append(config)
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


def _typed(part: Any, prefix: str) -> Any:
    changes = {}
    for name, (hint, value) in own_fields(part).items():
        inner = _typed(value, f"{prefix}{name}.") if has_parts(value) else _cast(value, hint, prefix + name, part)
        changes[name] = inner
    return with_fields(part, **changes)


def _cast(value: Any, hint: Any, path: str, part: Any) -> Any:
    static = is_static(part, path.rsplit(".", 1)[-1])
    if isinstance(value, list | tuple) and not static and not _is_of_parts(hint):
        value = _array_of(value, path)
    if hint == float | Array and np.ndim(value) == 0:
        hint = float  # one number for all, or one each
    if hint is float or hint is int:
        wanted = "a number" if hint is float else "a whole number within ±2,147,483,647"
        if not _is_number(value, hint):
            raise ValueError(f"{path} is {value!r}: it must be {wanted}.")
        return hint(value) if static else (np.float32 if hint is float else np.int32)(value)
    if typing.get_origin(hint) is Literal and value not in typing.get_args(hint):
        near = difflib.get_close_matches(str(value), map(str, typing.get_args(hint)), 1)
        known = ", ".join(map(str, typing.get_args(hint)))
        raise ValueError(
            f"{path} is {value!r}: {f'did you mean {near[0]}? ' if near else ''}it must be one of {known}."
        )
    if hint is bool and not isinstance(value, bool):
        raise ValueError(f"{path} is {value!r}: it must be true or false.")
    if hasattr(value, "dtype") and np.ndim(value):
        return np.asarray(value, np.float32 if np.asarray(value).dtype.kind == "f" else np.int32)
    return value


def _is_of_parts(hint: Any) -> bool:
    """Whether an annotation is that of a part within a part, as Optimizer, or of a tuple of such, as tuple[Piece, ...]."""
    one = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint
    return one in (Task, Network, Optimizer) or is_dataclass(one)


def _array_of(value: Any, path: str) -> np.ndarray:
    """Numbers in lists, as an array; a static field of them is a tuple, made so where it is read."""
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{path} is {value!r:.60}: it must be an array of numbers.")
    return array


def _is_number(value: Any, hint: type) -> bool:
    scalar = isinstance(value, int | float | np.number) or (hasattr(value, "dtype") and np.shape(value) == ())
    if not scalar or isinstance(value, bool | np.bool_):
        return False
    if not abs(value if isinstance(value, int) else float(value)) <= float(np.finfo(np.float32).max):
        return False
    return hint is float or (float(value).is_integer() and abs(int(value)) < 2**31)
