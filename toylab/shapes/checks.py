"""Argument checks: `@shaped` checks shapes and dtypes of a function's arguments against their jaxtyping annotations.

    @shaped
    def logit_fve(logits: Real[ArrayLike, "p p p"], key: Bool[ArrayLike, "p//2+1"]) -> Float[Array, ""]:

    logit_fve(np.zeros((5, 5, 5)), np.zeros(5, bool))
    ValueError: key has shape (5,) and dtype bool, it must be booleans [p//2+1] with p = 5 as in logits

Other annotations and the returned value are not checked. Only `shape` and `dtype` are read, so under jit, vmap and grad a
check is made while tracing and costs nothing afterwards. Floats narrower than float32 are converted to float32 (narrow.py).

Arrays are those of numpy and JAX, tensors of torch on the CPU, and anything with `__array__`; the last two are converted to
numpy. A tensor that requires grad or is on another device is refused.

Axes are those of jaxtyping (annotations.py lists them). A name stands for one size within a call. Arithmetic uses names
of earlier arguments. In a mapping of arrays the values are checked: all alike, `Mapping[str, Real[ArrayLike, "..."]]`, or
those with the given names, `Annotated[Mapping[str, ArrayLike], {"W_E": Real[ArrayLike, "d_vocab d_model"]}]`.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from toylab.shapes.annotations import WORDS, Arrays, Axis, Wanted, wanted
from toylab.shapes.narrow import converted, is_foreign, is_narrow

__all__ = ["shaped"]

ABSENT = object()  # stands for an argument that was not given
MOST = 1000  # the most combinations of shapes and dtypes that a function remembers
NO_ARRAY = "OUSV"  # numpy's kinds of objects, text and records

Function = TypeVar("Function", bound=Callable[..., Any])


def shaped(fn: Function) -> Function:
    """A decorator that checks arguments. Name, docstring, signature and annotations of the function stay.

    With `@jax.jit` in the line above, the check is made only while tracing.

    Args:
        fn: a function whose array arguments have jaxtyping annotations.

    Returns:
        The function, which raises ValueError in one sentence where an argument has another shape or dtype.

    Raises:
        TypeError: at once, where an annotation cannot be read.
    """
    parameters = inspect.signature(fn).parameters.values()
    held = [(i, x.name, want) for i, x in enumerate(parameters) if (want := wanted(x.annotation)) is not None]

    passed: dict[Any, list[int]] = {}  # shapes and dtypes of earlier calls → the arguments to convert

    @functools.wraps(fn)
    def checked(*args: Any, **kwargs: Any) -> Any:
        given = [args[i] if i < len(args) else kwargs.get(name, ABSENT) for i, name, _ in held]
        try:
            mark = tuple([_mark(x) for x in given])
            narrow = passed.get(mark)
        except (AttributeError, TypeError):  # numbers and lists of them have no shape
            mark, narrow = (), None
        if narrow is None:
            bound = Bound()
            for x, (_, name, want) in zip(given, held, strict=True):
                if x is not ABSENT:  # Python itself reports a missing argument
                    _check(name, x, want, bound)
            narrow = [i for i, (x, (_, _, want)) in enumerate(zip(given, held, strict=True)) if _to_convert(x, want)]
            if mark and len(passed) < MOST:
                passed[mark] = narrow
        if narrow:
            changed = [(*held[i][:2], converted(held[i][1], given[i])) for i in narrow]
            args, kwargs = _with(changed, args, kwargs)
        return fn(*args, **kwargs)

    return checked  # type: ignore[return-value]


class Bound(dict[str, Any]):
    """The sizes of axes that are known so far. An axis that stands for several has a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.by: dict[str, str] = {}  # the argument that gave the size

    def bind(self, axis: str, size: Any, name: str) -> None:
        self[axis], self.by[axis] = size, name

    def copy(self) -> "Bound":
        other = Bound()
        other.take(self)
        return other

    def take(self, other: "Bound") -> None:
        self.update(other)
        self.by.update(other.by)


def _mark(x: Any) -> Any:
    """Everything about an argument that a check depends on."""
    if isinstance(x, dict):
        return tuple([(name, value.shape, value.dtype) for name, value in x.items()])
    return x if x is None or x is ABSENT else (x.shape, x.dtype)


def _to_convert(x: Any, want: Wanted | Arrays) -> bool:
    if isinstance(want, Arrays):
        values = x.values() if isinstance(x, Mapping) else ()
        return any(is_foreign(value) or is_narrow(getattr(value, "dtype", None)) for value in values)
    if is_foreign(x):
        return True
    if x is None or x is ABSENT or not _holds(want, np.dtype(np.float32)):
        return False
    return is_narrow(x.dtype if hasattr(x, "dtype") else _converted("", x, want)[1])


def _with(
    changed: list[tuple[int, str, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call with some of them (position, name, value) changed."""
    positional, named = list(args), dict(kwargs)
    for i, name, value in changed:
        if i < len(args):
            positional[i] = value
        else:
            named[name] = value
    return tuple(positional), named


def _check(name: str, x: Any, want: Wanted | Arrays, bound: Bound) -> None:
    if isinstance(want, Arrays):
        if (x is None and want.optional) or (not want.by_name and want.each is None):  # the latter are only widened
            return
        if not isinstance(x, Mapping):
            raise ValueError(f"{name} is {_kind(x)}, it must be a mapping of names to arrays")
        for key, value in x.items():
            one = want.by_name.get(key, want.each)
            if one is not None:
                _check(f'{name}["{key}"]' if isinstance(key, str) else f"{name}[{key}]", value, one, bound)
        return
    if x is None and want.optional:
        return
    try:
        shape, dtype = x.shape, x.dtype
    except AttributeError:
        shape, dtype = _converted(name, x, want)
    if not want.others:
        fits = _holds(want, dtype) and _fit(name, shape, want, bound)
    else:
        fits = any(_holds(one, dtype) and _fit_or_undo(name, shape, one, bound) for one in (want, *want.others))
    if not fits:
        raise ValueError(_sentence(name, x, shape, dtype, want, bound))


def _holds(want: Wanted, dtype: Any) -> bool:
    fits = want.known.get(dtype)
    if fits is None:
        name = getattr(dtype, "name", str(dtype).rpartition(".")[2])  # torch.float32
        name = "prng_key" if name.startswith("key<") else "float32" if is_narrow(dtype) else name
        any_fits = is_narrow(dtype) or getattr(dtype, "kind", "f") not in NO_ARRAY
        fits = want.known[dtype] = any_fits if want.dtypes is None else name in want.dtypes
    return fits


def _converted(name: str, x: Any, want: Wanted) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype of a number, or of numbers in lists."""
    try:
        array = np.asarray(x)
    except TypeError:  # the list holds tracers
        array = jax.eval_shape(lambda: jnp.asarray(x))
    except ValueError:
        raise ValueError(f"{name} is {_kind(x)} of uneven lengths, it must be {_shape_in_words(want)}") from None
    return array.shape, array.dtype


def _fit(name: str, shape: tuple[int, ...], want: Wanted, bound: Bound) -> bool:
    """Whether a shape fits. Names of axes that occur for the first time get their sizes."""
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


def _fit_or_undo(name: str, shape: tuple[int, ...], want: Wanted, bound: Bound) -> bool:
    """`_fit`, without side effects if the shape does not fit."""
    trial = bound.copy()
    if fits := _fit(name, shape, want, trial):
        bound.take(trial)
    return fits


def _fit_several(name: str, sizes: tuple[int, ...], axis: Axis, bound: Bound) -> bool:
    if axis.name is None:
        return True
    if axis.text not in bound:  # the text includes the marks: batch and *batch are different axes
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
    """The size of a fixed or computed axis; None if it depends on a name without a size."""
    if not callable(axis.size):
        return axis.size
    try:
        return axis.size(bound)
    except NameError:
        return None


def _sentence(name: str, x: Any, shape: Any, dtype: Any, want: Wanted, bound: Bound) -> str:
    text = getattr(dtype, "kind", "f") in NO_ARRAY and not is_narrow(dtype)
    given = f"is {_kind(x)}" if text else f"has shape {tuple(shape)} and dtype {dtype}"
    known: dict[str, list[str]] = {}  # by the argument that gave them
    for axis in dict.fromkeys(axis for one in (want, *want.others) for axis in one.axes):
        for key in axis.needs:
            if bound.by.get(key, name) != name and (bound[key] != () or len(shape) >= len(want.axes)):
                known.setdefault(bound.by[key], []).append(f"{_plain(key)} = {_size_in_words(bound[key])}")
    sizes = ", ".join(f"{' and '.join(dict.fromkeys(each))} as in {by}" for by, each in known.items())
    return f"{name} {given}, it must be {_shape_in_words(want)}" + (f" with {sizes}" if sizes else "")


def _shape_in_words(want: Wanted) -> str:
    *words, last = [_one_in_words(one) for one in (want, *want.others)]
    return f"{', '.join(words)} or {last}" if words else last


def _one_in_words(want: Wanted) -> str:
    axes = ", ".join(_plain(axis.text) for axis in want.axes)
    if axes:
        return f"{want.word} [{axes}]"
    return {"an array": "a scalar", WORDS["Key"]: WORDS["Key"]}.get(want.word, f"a scalar of {want.word}")


def _plain(axis: str) -> str:
    return axis.replace("#", "")


def _size_in_words(size: int | tuple[int, ...]) -> str:
    return str(list(size) if isinstance(size, tuple) else size)


def _kind(x: Any) -> str:
    return "None" if x is None else f"a {type(x).__name__}"
