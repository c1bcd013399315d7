"""The parts of a config by the names of their classes: `optimizer=SGD`, `net=ModularMLP`. Fields that both classes have
keep their values, others take their defaults."""

import difflib
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from toylab.protocol import METHODS

PACKAGES = {"task": "toylab.tasks", "optimizer": "toylab.optim"}


def classes(part: Any, path: str) -> dict[str, type]:
    """name → class of what may stand in place of a part: classes of its kind in toylab and in the file of its own class.

    Args:
        part: a net, a task or an optimizer, or a part within one.
        path: its field in the config, as `optimizer` or `optimizer.base`.
    """
    if hasattr(part, "modules"):
        return part.modules()
    role, own = path.partition(".")[0], type(part)
    places = [vars(sys.modules[name]) for name in (own.__module__, PACKAGES.get(role, "")) if name in sys.modules]
    return {
        name: kind
        for place in reversed(places)
        for name, kind in place.items()
        if isinstance(kind, type) and is_dataclass(kind) and not name.startswith("_") and _alike(kind, own, role)
    }


def of_class(part: Any, given: Any, path: str, also: Mapping[str, Any] | None = None) -> Any:
    """A part of another class.

    Args:
        part: whose values are kept where the other class has fields of that name.
        given: the class, or its name.
        path: of the part, for messages.
        also: values of fields that are set besides, so that they need no default.

    Raises:
        ValueError: where there is no such class, or a field of it has no value.
    """
    kind = _found(part, given, path)
    if hasattr(part, "with_module"):
        known: Mapping[str, Any] = part.fields_of(kind)
        old, own = part.module, {name: value for name, (_, value) in part.module_fields().items()}
    else:
        known = {field.name: _default(field) for field in fields(kind)}
        old, own = type(part), {field.name: getattr(part, field.name) for field in fields(part)}
    if kind is old:
        return part
    values = {name: value for name, value in {**own, **(also or {})}.items() if name in known}
    if lacks := [name for name, default in known.items() if default is MISSING and name not in values]:
        raise ValueError(
            f"{path} is {kind.__name__}: its {' and '.join(lacks)} {'has' if len(lacks) == 1 else 'have'} no default, and "
            f"{old.__name__} has no such field: set {', '.join(f'{path}.{name}' for name in lacks)} too."
        )
    return part.with_module(kind, **values) if hasattr(part, "with_module") else kind(**values)


def _found(part: Any, given: Any, path: str) -> type:
    known = classes(part, path)
    if isinstance(given, type) and given in known.values():
        return given
    by_name = {**known, **{f"{kind.__module__}.{kind.__qualname__}": kind for kind in known.values()}}
    if isinstance(given, str) and given in by_name:
        return by_name[given]
    lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(str(given).lower(), lower, 1)
    hint = f"did you mean {lower[near[0]]}?" if near else f"it must be one of {', '.join(sorted(known))}."
    shown = given.__name__ if isinstance(given, type) else repr(given)
    raise ValueError(f"{path} is {shown}, which is no class of its kind: {hint}")


def _alike(kind: type, own: type, role: str) -> bool:
    """Whether a class has the methods of a role, and is a piece of an optimizer's chain only where the present one is."""
    methods = METHODS.get(role, ())
    return all(hasattr(kind, name) for name in methods) and getattr(kind, "PLACE", None) == getattr(own, "PLACE", None)


def _default(field: Any) -> Any:
    return field.default if field.default is not MISSING else field.default_factory
