"""Configs checked, one or many: numbers cast by the types of their fields, parts checked against their protocols.

The configs of a sweep share most of their parts. `checked` looks at each part once, however many configs have it, and the
checked configs share it too: 50,000 runs take the time and the memory of their differences.
"""

import contextlib
import difflib
import typing
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from types import FunctionType
from typing import Any, Literal

import numpy as np
from jax import Array

from toylab import protocol
from toylab.base import Config, Network, Optimizer, Task
from toylab.fields import has_parts, is_static, own_fields, with_fields

_IS_LATER: ContextVar[bool] = ContextVar("is_later", default=False)


@contextlib.contextmanager
def fit_later() -> Iterator[None]:
    """Configs that are made meanwhile are not traced: for pages of toylab, which tests have tried. A sweep that is begun
    checks its configs again."""
    token = _IS_LATER.set(True)
    try:
        yield
    finally:
        _IS_LATER.reset(token)


def check(config: Config) -> Config:
    """Checks a config and casts its leaves to float32 or int32 by the types of their fields, so that 1 and 1.0 are equal.

    It is called once, where a config enters a sweep. A pytree cannot check itself, because it is rebuilt with tracers.
    The parts are checked against their protocols. Loss and measures are traced once for each structure (protocol.py).

    Raises:
        ValueError: in one sentence, with the field, its value and what would be right.
    """
    return checked([config])[0]


def checked(configs: Iterable[Config]) -> list[Config]:
    """`check` of each config. Equal parts are checked once, and are one object in the configs that it returns."""
    checks = _Checks()
    return [checks.checked(config) for config in configs]


class _Checks:
    """The checks of a config, each made once of the parts that it is about."""

    def __init__(self) -> None:
        first: dict[Any, Any] = {}
        self.alike = Shared(lambda part: first.setdefault(_key(part), part))  # of equal parts the first
        self.methods = Shared(protocol.check_part)
        self.typed = Shared(lambda name, part: _typed(part, f"{name}."))
        self.values = Shared(lambda part: part.check())
        self.net = Shared(protocol.check_net)
        self.fit = Shared(lambda *parts: protocol.check_fit(Config(*parts)))

    def checked(self, config: Config) -> Config:
        roles = {role: self.alike(getattr(config, role)) for role in protocol.METHODS}
        for role, part in roles.items():
            self.methods(role, part)
        changes = {
            name: self.typed(name, roles.get(name, value)) if has_parts(value) else _cast(value, hint, name, config)
            for name, (hint, value) in own_fields(config).items()
        }
        parts = [changes[role] for role in roles]
        for part in parts:
            self.values(part)
        self.net(changes["task"], changes["net"])
        if not _IS_LATER.get():
            self.fit(*parts)
        return config.replace(**changes)


class Shared:
    """A function of parts of configs, called once for the same objects. It holds them, so that no other has their id."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make
        self.made: dict[Any, tuple[tuple[Any, ...], Any]] = {}

    def __call__(self, *parts: Any) -> Any:
        key = tuple(map(id, parts))
        if key not in self.made:
            self.made[key] = parts, self.make(*parts)
        return self.made[key][1]


def _key(value: Any) -> Any:
    """What tells parts apart before they are checked: 1, 1.0 and True are three, and so are 0.0 and -0.0."""
    kind = type(value)
    if kind in (int, bool, str, type(None), type, FunctionType):
        return kind, value
    if kind is float:
        return kind, value.hex()
    if isinstance(value, np.generic):
        return kind, value.tobytes()
    if kind is tuple:
        return kind, *map(_key, value)
    if kind is dict:
        return kind, *((name, _key(inner)) for name, inner in value.items())
    if is_dataclass(kind):
        return kind, *(_key(getattr(value, field.name)) for field in fields(kind))
    return kind, id(value)


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
