"""The fields of a module, as its constructor states them."""

import inspect
import typing
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from flax import nnx


@lru_cache(maxsize=256)  # read for every config of a sweep
def fields(module: type) -> Mapping[str, tuple[Any, Any]]:
    """A module's fields, as its constructor states them: name → (annotation, default or Parameter.empty).

    Raises:
        ValueError: For a class that is no module, and for a field without annotation, of which is not known whether a
            sweep may vary it.
    """
    if not issubclass(module, nnx.Module):
        raise ValueError(f"net.module is {module.__name__}: it must be an nnx.Module.")
    try:
        hints = typing.get_type_hints(module.__init__)  # type: ignore[misc]
    except NameError as error:
        raise ValueError(f"net.module {module.__name__} has an annotation that cannot be read: {error}.") from None
    parameters = inspect.signature(module.__init__).parameters  # type: ignore[misc]
    own = {name: parameter for name, parameter in parameters.items() if name not in ("self", "rngs")}
    for name, parameter in own.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ValueError(
                f"net.module {module.__name__} takes {parameter}: it must name its fields, each by keyword."
            )
        if name not in hints:
            raise ValueError(
                f"net.{name} has no annotation in {module.__name__}: write {name}: float where a sweep may vary it, else"
                " its type."
            )
    if "rngs" not in parameters:
        raise ValueError(f"net.module {module.__name__} takes no rngs: its constructor must, by keyword.")
    return MappingProxyType({name: (hints[name], parameter.default) for name, parameter in own.items()})


def is_model(kind: type) -> bool:
    """Whether a class is a module that a net can be of, not one of flax's or a base of several."""
    own = issubclass(kind, nnx.Module) and kind.__module__.partition(".")[0] != "flax"
    return own and "rngs" in inspect.signature(kind.__init__).parameters  # type: ignore[misc]
