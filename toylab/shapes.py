"""Shapes and dtypes checked at the door: `@shaped` holds a function's arguments to their jaxtyping annotations.

    @shaped
    def logit_fve(logits: Real[ArrayLike, "p p p"], key: Bool[ArrayLike, "p//2+1"]) -> Float[Array, ""]:

    logit_fve(np.zeros((5, 5, 5)), np.zeros(5, bool))
    ValueError: key has shape (5,) and dtype bool, it must be booleans [p//2+1] with p = 5 as in logits

What is not an array annotation is not looked at, nor is what is returned. Only `shape` and `dtype` are read and nothing
is converted, so that a check under jit, vmap and grad happens while tracing and costs nothing afterwards. Axes are as in
jaxtyping: `name`, `*batch` (any number of axes), `...` (the same, each time another), `#name` and `*#batch` (of size 1, or
broadcast), `_` (any size), `2`, and arithmetic on names bound before, `p//2+1`. A name stands for one size within a call.
Of a mapping of arrays the values are checked: `Mapping[str, Real[ArrayLike, "..."]]`, or by name, where the name is there,
`Annotated[Mapping[str, ArrayLike], {"W_E": Real[ArrayLike, "d_vocab d_model"]}]`.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin

import numpy as np

__all__ = ["shaped"]

WORDS = {  # a jaxtyping dtype in a sentence
    "Bool": "booleans", "Int": "integers", "Integer": "integers", "UInt": "unsigned integers", "Float": "floats",
    "Real": "real numbers", "Complex": "complex numbers", "Inexact": "floats or complex numbers", "Num": "numbers",
    "Shaped": "an array",
}  # fmt: skip
ABSENT = object()  # an argument that was not given
MOST = 1000  # different calls that a function remembers
NO_GLOBALS: dict[str, Any] = {"__builtins__": {}}
NO_ARRAY = "OUSV"  # numpy's kinds of objects, text and records

Function = TypeVar("Function", bound=Callable[..., Any])


def shaped(fn: Function) -> Function:
    """`fn`, which raises ValueError, in one sentence, where an argument is not of the dtype and shape it is annotated with.

    Name, docstring, signature and annotations stay. To be free in every call put it under `jax.jit`, which then checks
    while tracing: `@jax.jit` in the line above `@shaped`. Raises TypeError at once for an annotation it cannot read.
    """
    parameters = inspect.signature(fn).parameters.values()
    wanted = [(i, x.name, found) for i, x in enumerate(parameters) if (found := _wanted(x.annotation)) is not None]

    passed: set[Any] = set()  # shapes and dtypes that fitted in an earlier call

    @functools.wraps(fn)
    def checked(*args: Any, **kwargs: Any) -> Any:
        given = [args[i] if i < len(args) else kwargs.get(name, ABSENT) for i, name, _ in wanted]
        try:
            mark = tuple([_mark(x) for x in given])
            known = mark in passed
        except (AttributeError, TypeError):  # numbers and lists of them have no shape
            mark, known = None, False
        if not known:
            bound = Bound()
            for x, (_, name, want) in zip(given, wanted, strict=True):
                if x is not ABSENT:  # where it should not be, Python says so
                    _check(name, x, want, bound)
            if mark is not None and len(passed) < MOST:
                passed.add(mark)
        return fn(*args, **kwargs)

    return checked  # type: ignore[return-value]


class Bound(dict[str, Any]):
    """The size of each axis that has one by now; of several axes under one name, a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.by: dict[str, str] = {}  # the argument that gave it

    def bind(self, axis: str, size: Any, name: str) -> None:
        self[axis], self.by[axis] = size, name


class Axis(NamedTuple):
    """One word of an annotation."""

    text: str
    name: str | None = None  # to bind; None for one that is not remembered
    size: int | Callable[[Bound], int] | None = None  # fixed, or to be computed of other axes
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


class Arrays(NamedTuple):
    """What the values of a mapping are held to: each by its name, or all alike."""

    by_name: Mapping[str, Wanted]
    each: Wanted | None


def _mark(x: Any) -> Any:
    """All of an argument that a check looks at."""
    if isinstance(x, dict):
        return tuple([(name, value.shape, value.dtype) for name, value in x.items()])
    return x if x is None or x is ABSENT else (x.shape, x.dtype)


def _wanted(annotation: Any) -> Wanted | Arrays | None:
    """Out of an annotation; None where it has nothing to do with arrays."""
    if get_origin(annotation) is Annotated and isinstance(annotation.__metadata__[0], Mapping):
        named = {name: _array(value) for name, value in annotation.__metadata__[0].items()}
        return Arrays({name: value for name, value in named.items() if value}, None)
    if isinstance(get_origin(annotation), type) and issubclass(get_origin(annotation), Mapping):
        each = _array(get_args(annotation)[-1])
        return Arrays({}, each) if each else None
    return _array(annotation)


def _array(annotation: Any) -> Wanted | None:
    """`Real[ArrayLike, …]` is a union over kinds of arrays, `… | None` one more in it."""
    members = get_args(annotation) or (annotation,)
    arrays = [x for x in members if hasattr(x, "dim_str") and hasattr(x, "dtypes")]
    if not arrays:
        return None
    if len({x.dim_str for x in arrays}) > 1:
        raise TypeError(
            f"the axes are {arrays[0].dim_str!r} and {arrays[-1].dim_str!r}, kinds of one argument share them"
        )
    kinds = {x.dtype.__name__: x.dtypes for x in arrays}
    word = " or ".join(WORDS[kind] for kind in kinds)
    dtypes = None if "Shaped" in kinds else frozenset(name for names in kinds.values() for name in names)
    axes = tuple(_axis(text) for text in arrays[0].dim_str.split())
    several = [i for i, axis in enumerate(axes) if axis.several]
    if len(several) > 1:
        raise TypeError(f"the axes are {arrays[0].dim_str!r}, one at most may stand for several")
    return Wanted(word, dtypes, {}, axes, several[0] if several else None, type(None) in members)


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


def _check(name: str, x: Any, want: Wanted | Arrays, bound: Bound) -> None:
    if isinstance(want, Arrays):
        if not isinstance(x, Mapping):
            raise ValueError(f"{name} is {_kind(x)}, it must be a mapping of names to arrays")
        for key, value in x.items():
            one = want.by_name.get(key, want.each)
            if one is not None:
                _check(f'{name}["{key}"]', value, one, bound)
        return
    if x is None and want.optional:
        return
    try:
        shape, dtype = x.shape, x.dtype
    except AttributeError:
        shape, dtype = _converted(name, x, want)
    fits = want.known.get(dtype)
    if fits is None:
        fits = want.known[dtype] = _holds(want, dtype)
    if not (fits and _fit(name, shape, want, bound)):
        raise ValueError(_sentence(name, x, shape, dtype, want, bound))


def _holds(want: Wanted, dtype: Any) -> bool:
    name = getattr(dtype, "name", str(dtype).rpartition(".")[2])  # torch.float32
    return getattr(dtype, "kind", "f") not in NO_ARRAY if want.dtypes is None else name in want.dtypes


def _converted(name: str, x: Any, want: Wanted) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of a number, or of numbers in lists."""
    try:
        array = np.asarray(x)
    except ValueError:
        raise ValueError(f"{name} is {_kind(x)} of uneven lengths, it must be {_shape_in_words(want)}") from None
    return array.shape, array.dtype


def _fit(name: str, shape: tuple[int, ...], want: Wanted, bound: Bound) -> bool:
    """Whether the shape is the one wanted; axes that it is the first to name are bound."""
    axes, at = want.axes, want.several
    if at is None:
        if len(shape) != len(axes):
            return False
    else:
        after = len(axes) - at - 1
        end = len(shape) - after
        if end < at:
            return False
        if not _fit_several(name, tuple(shape[at:end]), axes[at], bound):
            return False
        axes, shape = axes[:at] + axes[at + 1 :], shape[:at] + shape[end:]
    for axis, size in zip(axes, shape, strict=True):
        if axis.size is not None:
            expected = _size(axis, bound)
            if expected is not None and size != expected:
                return False
        elif axis.name is not None and not (axis.broadcasts and size == 1):
            if axis.name not in bound:
                bound.bind(axis.name, size, name)
            elif bound[axis.name] != size:
                return False
    return True


def _fit_several(name: str, sizes: tuple[int, ...], axis: Axis, bound: Bound) -> bool:
    if axis.name is None:
        return True
    if axis.text not in bound:  # with its marks: batch and *batch are different axes
        bound.bind(axis.text, sizes, name)
        return True
    known = bound[axis.text]
    if not axis.broadcasts:
        return sizes == known
    try:
        together = np.broadcast_shapes(sizes, known)
    except ValueError:
        return False
    if together != known:
        bound.bind(axis.text, together, name)
    return True


def _size(axis: Axis, bound: Bound) -> int | None:
    """The size that a fixed or computed axis must have; None as long as a name in it has none."""
    if not callable(axis.size):
        return axis.size
    try:
        return axis.size(bound)
    except NameError:
        return None


def _sentence(name: str, x: Any, shape: Any, dtype: Any, want: Wanted, bound: Bound) -> str:
    text = getattr(dtype, "kind", "f") in NO_ARRAY
    given = f"is {_kind(x)}" if text else f"has shape {tuple(shape)} and dtype {dtype}"
    known: dict[str, list[str]] = {}  # by the argument that gave them
    for axis in dict.fromkeys(want.axes):
        for key in axis.needs:
            if bound.by.get(key, name) != name and (bound[key] != () or len(shape) >= len(want.axes)):
                known.setdefault(bound.by[key], []).append(f"{_plain(key)} = {_size_in_words(bound[key])}")
    sizes = ", ".join(f"{' and '.join(dict.fromkeys(each))} as in {by}" for by, each in known.items())
    return f"{name} {given}, it must be {_shape_in_words(want)}" + (f" with {sizes}" if sizes else "")


def _shape_in_words(want: Wanted) -> str:
    axes = ", ".join(_plain(axis.text) for axis in want.axes)
    return f"{want.word} [{axes}]" if axes else {"an array": "a scalar"}.get(want.word, f"a scalar of {want.word}")


def _plain(axis: str) -> str:
    return axis.replace("#", "")


def _size_in_words(size: int | tuple[int, ...]) -> str:
    return str(list(size) if isinstance(size, tuple) else size)


def _kind(x: Any) -> str:
    return "None" if x is None else f"a {type(x).__name__}"
