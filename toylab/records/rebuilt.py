"""A run's config rebuilt from what its manifest says. Nothing is imported but toylab's own modules."""

import importlib
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from toylab import configs as cfg
from toylab.base import Config


def config_of(canonical: Mapping[str, Any]) -> Config:
    """The config of a run, checked, from its canonical form.

    Classes and functions are found by their names: those of toylab are imported, and a user's own must have been imported
    before. The rebuilt config is written again and compared, so what comes back is what the manifest says.

    Args:
        canonical: One of `Sweep.configs`, or of the configs in a manifest. One that was recorded elsewhere says the net
            alone, or not even that: its task and optimizer are None, and so may be its net.

    Raises:
        ValueError: Where a class or function cannot be found (which, and what to import), where a class has other fields
            than were written, and where the config does not pass its check.
    """
    if is_recorded(canonical):
        net = canonical["net"]
        return Config(task=None, net=None if net is None else _value(net, Any, "net").check(), optimizer=None)
    built = _value(canonical, Any, "")
    if not isinstance(built, Config):
        raise ValueError(f"this is no config: its type is {canonical.get('type')!r}, not toylab.base.Config.")
    config = cfg.check(built)
    if changed := cfg.differences(canonical, cfg.canonical(config)):
        raise ValueError(f"the config cannot be rebuilt as it was written ({'; '.join(changed)}).")
    return config


def is_recorded(canonical: Mapping[str, Any]) -> bool:
    """Whether a canonical config is of a run that was recorded elsewhere: a net, a name and fields, but no task."""
    return "task" not in canonical and isinstance(canonical.get("name"), str) and "net" in canonical


def find(name: str, path: str) -> Any:
    """The class or function of a canonical name.

    Args:
        name: As `toylab.configs.qualified` writes it.
        path: The field of the config it stands in, for the message.

    Raises:
        ValueError: Where it is in no module that is imported.
    """
    parts = name.split(".")
    for n in range(len(parts) - 1, 0, -1):
        module = _module(".".join(parts[:n]))
        found: Any = module
        for part in parts[n:]:
            found = getattr(found, part, None)
        if module is not None and found is not None:
            return found
    if "<locals>" in parts:
        raise ValueError(f"{path} is {name}: it is defined inside a function, so it cannot be found by its name.")
    where = ".".join(parts[:-1])
    raise ValueError(f"{path} is {name}, which is not there: import {where} before the config is rebuilt.")


def _module(name: str) -> Any:
    """A module that is imported already, or one of toylab's; a page by its name without the family."""
    if name in sys.modules:
        return sys.modules[name]
    if name.startswith("experiments."):
        page = name.removeprefix("experiments.")
        loaded = [key for key in sys.modules if key.startswith("toylab.experiments.") and key.endswith(f".{page}")]
        return sys.modules[loaded[0]] if len(loaded) == 1 else None
    if name.partition(".")[0] != "toylab":
        return None
    try:
        return importlib.import_module(name)
    except ImportError:  # the last part is a class
        return None


def _value(value: Any, hint: Any, path: str) -> Any:
    """A canonical value as a field annotated with `hint` takes it."""
    if isinstance(value, Mapping) and "type" in value:
        return _part(value, path)
    of_class = hint is type or typing.get_origin(hint) is type
    if isinstance(value, str) and (of_class or _is_callable(hint)):
        found = find(value, path)
        if not (isinstance(found, type) if of_class else callable(found)):
            raise ValueError(f"{path} is {value}, which is no {'class' if of_class else 'function'}.")
        return found
    if isinstance(value, Mapping):
        return {name: _value(inner, Any, f"{path}.{name}") for name, inner in value.items()}
    if isinstance(value, list):
        return _sequence(value, hint, path)
    return value


def _sequence(value: list[Any], hint: Any, path: str) -> Any:
    """A tuple where the field is one, an array of numbers where it is a leaf."""
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is tuple or hint is tuple or hint is Any:
        if inner and inner[-1] is Ellipsis:
            inner = (inner[0],) * len(value)
        hints = inner if len(inner) == len(value) else (Any,) * len(value)
        return tuple(_value(one, kind, path) for one, kind in zip(value, hints, strict=True))
    return np.asarray(value)


def _is_callable(hint: Any) -> bool:
    return hint is Callable or typing.get_origin(hint) is Callable or any(map(_is_callable, typing.get_args(hint)))


def _part(written: Mapping[str, Any], path: str) -> Any:
    """A dataclass from its fields."""
    where = path or "the config"
    kind = find(str(written["type"]), where)
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise ValueError(f"{where} is {written['type']}, which is no class of a config's part.")
    hints = typing.get_type_hints(kind)
    given = {name: value for name, value in written.items() if name != "type"}
    if other := sorted({field.name for field in fields(kind)} ^ ({*cfg.unwritten(kind), *given})):
        raise ValueError(f"{where} was written with other fields than {written['type']} has now: {', '.join(other)}.")
    prefix = f"{path}." if path else ""
    return kind(**{name: _value(value, hints[name], prefix + name) for name, value in given.items()})
