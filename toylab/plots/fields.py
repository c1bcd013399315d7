"""What a figure shows, by name: plots take a Sweep, or the Measures of a page, in place of arrays.

    stages(sweep, [Panel("loss (nats)", {"test": "test_loss"}, log=True)])

A function whose `steps` are an array takes a sweep or measures there. Then a name may stand for every array that it takes,
also within its mappings and panels: of a measure or probe of the sweep [R, T], or of a column of its configs [R], as
optimizer.lr. Results of `sweep.analyze` join them as `{"steps": sweep.steps, **sweep.measures, **found}`. Arrays stay as
they are.
"""

import difflib
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

Drawing = TypeVar("Drawing")
SHOWN = 12  # names that a message lists


def is_source(value: Any) -> bool:
    """Whether a value is a Sweep, or measures by name with their steps, rather than an array."""
    if isinstance(value, Mapping):
        return "steps" in value
    return isinstance(getattr(value, "measures", None), Mapping) and hasattr(value, "steps")


def array(source: Any, name: str, role: str) -> np.ndarray:
    """The array of a name.

    Args:
        source: a Sweep: its measures and probes [R, T, …], `valid`, and columns [R]. Or Measures, where a field of the
            configs, config/optimizer.lr, is optimizer.lr too.
        name: of a measure or a column.
        role: of the argument, for the message.

    Raises:
        ValueError: where there is no such name.
    """
    if isinstance(source, Mapping):
        places: tuple[Mapping[str, Any], ...] = (source,)
        names = [name, f"config/{name}"]
    else:
        places = (source.measures, source.probes, {"steps": source.steps, "valid": source.valid}, source.columns)
        names = [name]
    for place in places:
        for one in names:
            if one in place:
                return np.asarray(place[one])
    known = [key.removeprefix("config/") for place in places for key in place]
    near = difflib.get_close_matches(name, known, 1)
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known[:SHOWN])}{more}."
    raise ValueError(f"{role} is {name!r}, which is neither a measure nor a column: {hint}")


def drawn(draw: Callable[..., Drawing], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Drawing:
    """What a drawing function gives, called with arrays in place of names.

    Raises:
        ValueError: where a name is not there, or stands for an array while `steps` are no sweep.
    """
    signature, hints = _signature(draw)
    if hints.get("steps") is not np.ndarray:
        return draw(*args, **kwargs)
    bound = signature.bind(*args, **kwargs)
    source = bound.arguments["steps"] if is_source(bound.arguments["steps"]) else None
    for role, value in bound.arguments.items():
        if role == "steps" and source is not None:
            bound.arguments[role] = array(source, "steps", role) if isinstance(source, Mapping) else source.steps
        elif role != "steps":
            bound.arguments[role] = _filled(value, hints[role], source, role)
    return draw(*bound.args, **bound.kwargs)


@lru_cache(maxsize=256)
def _signature(draw: Callable[..., Any]) -> tuple[inspect.Signature, dict[str, Any]]:
    return inspect.signature(draw), typing.get_type_hints(draw)


def _filled(value: Any, hint: Any, source: Any, role: str) -> Any:
    """A value with arrays where its type has arrays and it has names."""
    within = _within(hint)
    if np.ndarray in within and isinstance(value, str):
        if source is None:
            raise ValueError(
                f"{role} is {value!r}: a name needs a Sweep or Measures as steps; give those, or an array."
            )
        return array(source, value, role)
    if isinstance(value, Mapping):
        of = next((typing.get_args(one)[1] for one in within if len(typing.get_args(one)) == 2), Any)
        return {key: _filled(one, of, source, f"{role}[{key!r}]") for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        hints = typing.get_type_hints(type(value))
        named = zip(value._fields, value, strict=True)
        return type(value)(*(_filled(one, hints[name], source, name) for name, one in named))
    if isinstance(value, list | tuple):
        inner = _of_items(within, len(value))
        return (
            value
            if inner is None
            else type(value)(
                _filled(one, hint, source, f"{role}[{i}]")
                for i, (one, hint) in enumerate(zip(value, inner, strict=True))
            )
        )
    return value


def _within(hint: Any) -> tuple[Any, ...]:
    """The types of a union; a type alone."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _of_items(within: Iterable[Any], n: int) -> list[Any] | None:
    """The types of the items of a list or tuple."""
    for one in within:
        inner = typing.get_args(one)
        if typing.get_origin(one) is tuple and len(inner) == n and Ellipsis not in inner:
            return list(inner)
        if inner and (len(inner) == 1 or inner[-1] is Ellipsis):
            return [inner[0]] * n
    return None
