"""Reads jaxtyping annotations, once for each function: `wanted` of `Real[ArrayLike, "p p p"]`.

Axes are those of jaxtyping: `name`, `*batch` (any number of axes), `...` (the same, without a name), `#name` and
`*#batch` (size 1, or broadcast), `_` (any size), `2`, and arithmetic on names, `p//2+1`. A union of annotations gives
alternatives, `Real[ArrayLike, ""] | Real[ArrayLike, " n"]`: an argument has to fit one of them.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from jax import Array

WORDS = {  # names of jaxtyping dtypes in messages; others keep their own, as float32
    "Bool": "booleans", "Int": "integers", "Integer": "integers", "UInt": "unsigned integers", "Float": "floats",
    "Real": "real numbers", "Complex": "complex numbers", "Inexact": "floats or complex numbers", "Num": "numbers",
    "Shaped": "an array", "Key": "a key of jax.random",
}  # fmt: skip
NO_GLOBALS: dict[str, Any] = {"__builtins__": {}}


class Axis(NamedTuple):
    """One axis of an annotation."""

    text: str
    name: str | None = None  # None for an axis without a name
    size: int | Callable[[Mapping[str, Any]], int] | None = None  # fixed, or computed from other axes
    several: bool = False
    broadcasts: bool = False
    needs: tuple[str, ...] = ()  # the names on which its size depends


class Wanted(NamedTuple):
    """The dtype and shape that one argument must have."""

    word: str
    dtypes: frozenset[str] | None  # by name; None for any
    known: dict[Any, bool]  # dtypes seen so far, because their names are slow to get
    axes: tuple[Axis, ...]
    several: int | None  # the position of the axis that stands for several
    optional: bool
    others: tuple["Wanted", ...] = ()  # alternatives


class Arrays(NamedTuple):
    """What the values of a mapping must be: by name, or all alike. A plain `dict[str, Array]` has neither."""

    by_name: Mapping[str, Wanted]
    each: Wanted | None
    optional: bool = False


def wanted(annotation: Any) -> Wanted | Arrays | None:
    """Reads an annotation; None if it is not one of arrays. Raises TypeError where an axis cannot be read."""
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
    """Reads `Real[ArrayLike, …]`, which is a union over kinds of arrays, maybe with None."""
    members = get_args(annotation) or (annotation,)
    arrays = [x for x in members if hasattr(x, "dim_str") and hasattr(x, "dtypes")]
    all_axes = dict.fromkeys(x.dim_str for x in arrays)
    found = [_kinds(axes, [x for x in arrays if x.dim_str == axes], type(None) in members) for axes in all_axes]
    return found[0]._replace(others=tuple(found[1:])) if found else None


def _kinds(text: str, arrays: list[Any], optional: bool) -> Wanted:
    """The demand for arrays with these axes and any of these dtypes."""
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
