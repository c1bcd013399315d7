"""What a jaxtyping annotation asks of an argument, read once for shapes.py: `wanted` of `Real[ArrayLike, "p p p"]`.

Axes are as in jaxtyping: `name`, `*batch` (any number of axes), `...` (the same, each time another), `#name` and
`*#batch` (of size 1, or broadcast), `_` (any size), `2`, and arithmetic on names, `p//2+1`. Kinds of arrays with the same
axes are one demand; with others they are alternatives, `Real[ArrayLike, ""] | Real[ArrayLike, " n"]`: what fits one fits.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from jax import Array

WORDS = {  # a jaxtyping dtype in a sentence; others by their own name, float32
    "Bool": "booleans", "Int": "integers", "Integer": "integers", "UInt": "unsigned integers", "Float": "floats",
    "Real": "real numbers", "Complex": "complex numbers", "Inexact": "floats or complex numbers", "Num": "numbers",
    "Shaped": "an array", "Key": "a key of jax.random",
}  # fmt: skip
NO_GLOBALS: dict[str, Any] = {"__builtins__": {}}


class Axis(NamedTuple):
    """One word of an annotation."""

    text: str
    name: str | None = None  # to bind; None for one that is not remembered
    size: int | Callable[[Mapping[str, Any]], int] | None = None  # fixed, or to be computed of other axes
    several: bool = False
    broadcasts: bool = False
    needs: tuple[str, ...] = ()  # what it is bound, or computed, by


class Wanted(NamedTuple):
    """What one argument is held to."""

    word: str
    dtypes: frozenset[str] | None  # by name; None for any
    known: dict[Any, bool]  # dtypes seen so far, as objects: their names are slow
    axes: tuple[Axis, ...]
    several: int | None  # where the axis is that stands for any number
    optional: bool
    others: tuple["Wanted", ...] = ()  # what it may be as well


class Arrays(NamedTuple):
    """What the values of a mapping are held to: each by its name, or all alike; neither for a plain `dict[str, Array]`."""

    by_name: Mapping[str, Wanted]
    each: Wanted | None
    optional: bool = False


def wanted(annotation: Any) -> Wanted | Arrays | None:
    """Out of an annotation; None where it has nothing to do with arrays. TypeError where its axes say nothing."""
    if len(rest := [x for x in get_args(annotation) if x is not type(None)]) == 1 and type(None) in get_args(
        annotation
    ):
        found = wanted(rest[0])
        return found._replace(optional=True) if found else None
    if get_origin(annotation) is Annotated and isinstance(annotation.__metadata__[0], Mapping):
        named = {name: _array(value) for name, value in annotation.__metadata__[0].items()}
        return Arrays({name: value for name, value in named.items() if value}, None)
    if isinstance(get_origin(annotation), type) and issubclass(get_origin(annotation), Mapping):
        values = get_args(annotation)[-1]
        each = _array(values)
        return Arrays({}, each) if each or values is Array else None
    return _array(annotation)


def _array(annotation: Any) -> Wanted | None:
    """`Real[ArrayLike, …]` is a union over kinds of arrays, `… | None` one more in it."""
    members = get_args(annotation) or (annotation,)
    arrays = [x for x in members if hasattr(x, "dim_str") and hasattr(x, "dtypes")]
    all_axes = dict.fromkeys(x.dim_str for x in arrays)
    found = [_kinds(axes, [x for x in arrays if x.dim_str == axes], type(None) in members) for axes in all_axes]
    return found[0]._replace(others=tuple(found[1:])) if found else None


def _kinds(text: str, arrays: list[Any], optional: bool) -> Wanted:
    """Arrays of these axes and of any of these dtypes."""
    kinds = {x.dtype.__name__: x.dtypes for x in arrays}
    word = " or ".join(WORDS.get(kind, kind.lower()) for kind in kinds)
    dtypes = None if "Shaped" in kinds else frozenset(name for names in kinds.values() for name in names)
    axes = tuple(_axis(part) for part in text.split())
    several = [i for i, axis in enumerate(axes) if axis.several]
    if len(several) > 1:
        raise TypeError(f"the axes are {text!r}, one at most may stand for several")
    return Wanted(word, dtypes, {}, axes, several[0] if several else None, optional)


def _axis(text: str) -> Axis:
    if text == "...":
        return Axis(text, several=True)
    name = text.lstrip("*#")
    marks = text[: len(text) - len(name)]
    if name.isidentifier():
        key = text if "*" in marks else name
        known = name[0] != "_"
        return Axis(text, name if known else None, None, "*" in marks, "#" in marks, (key,) if known else ())
    if name.isdigit() and not marks:
        return Axis(text, size=int(name))
    try:
        code = compile(text, "<axis>", "eval")
    except SyntaxError:
        raise TypeError(f"the axis {text!r} is none: it must be a name, a number or arithmetic on names") from None
    return Axis(text, size=lambda sizes: eval(code, NO_GLOBALS, sizes), needs=code.co_names)
