"""What the fields of a class mean, read from its source: for `help()`, `toylab fields`, and a test that all have one.

A field of a dataclass has a string literal below it (an attribute docstring, as editors and mkdocstrings read them), an
argument of a module's constructor a line in the section Args of its class. What a class inherits keeps its meaning.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, TypeVar

Kind = TypeVar("Kind", bound=type)
UNITS = ("steps", "nats", "pixels", "shares of lr")  # what a meaning may end with: "…, in steps."
UNIT = re.compile(rf", in ({'|'.join(UNITS)})\b")
ARGS = re.compile(r"^Args:\n((?:[ ]+.*\n?|\n)+)", re.M)


def meanings(kind: type) -> dict[str, str]:
    """name → meaning, in one line, of the fields of a class and of those that it inherits. A class without source, such as
    one typed into a console, has none."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        found |= _stated(one)
    return found


def unit(meaning: str) -> str:
    """The unit that a meaning names, as "steps" in "length of the warm-up, in steps"; "" where it names none."""
    found = UNIT.search(meaning)
    return found[1] if found else ""


def documented(kind: Kind) -> Kind:
    """The class, whose docstring now lists its fields with their meanings.

    Of a dataclass the source is read when the docstring is asked for. A module's own docstring lists its own fields; where
    it inherits others the source is read at once, because `help` takes only plain text of a class with a metaclass.
    """
    text = inspect.cleandoc(kind.__dict__.get("__doc__") or "")
    if is_dataclass(kind):
        kind.__doc__ = _Docstring(kind, text)  # type: ignore[assignment]
    elif set(_names(kind)) - {"self", "rngs"} - set(_of_args(text)):
        kind.__doc__ = _with_fields(kind, text)
    return kind


class _Docstring:
    """In place of a dataclass's docstring."""

    def __init__(self, kind: type, text: str) -> None:
        self.kind, self.text = kind, text

    def __get__(self, instance: Any, owner: Any = None) -> str:
        return _with_fields(self.kind, self.text)


def _with_fields(kind: type, text: str) -> str:
    """A docstring and the fields that it does not tell of."""
    told = _of_args(text)
    rest = {name: meaning for name, meaning in meanings(kind).items() if name not in told}
    lines = [f"    {name}: {rest[name]}" for name in _names(kind) if name in rest]
    head = [] if told else ["", "Attributes:" if is_dataclass(kind) else "Args:"]
    return "\n".join([text, *head, *lines] if lines else [text])


def _names(kind: type) -> list[str]:
    """The fields of a class, in order."""
    if is_dataclass(kind):
        return [field.name for field in fields(kind)]
    return list(inspect.signature(kind.__init__).parameters)  # type: ignore[misc]


@lru_cache(maxsize=512)
def _stated(kind: type) -> dict[str, str]:
    """The meanings that stand in the body of a class."""
    node: Any = _module(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = (one for one in _body(node) if isinstance(one, ast.ClassDef) and one.name == name)
        node = next(found, None)
    below: dict[str, str] = {}
    pairs: Iterator[Any] = zip(_body(node), _body(node)[1:], strict=False)
    for field, text in pairs:
        named = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr)
        if named and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str):
            below[field.target.id] = " ".join(text.value.value.split())
    return {**_of_args(ast.get_docstring(node) or "" if node else ""), **below}


def _body(node: Any) -> list[ast.stmt]:
    return getattr(node, "body", [])


def _of_args(docstring: str) -> dict[str, str]:
    """name → meaning of the section Args of a docstring."""
    section = ARGS.search(docstring)
    return dict(_entries(section[1])) if section else {}


def _entries(section: str) -> Iterator[tuple[str, str]]:
    for entry in re.split(r"^ {4}(?=\S)", section, flags=re.M)[1:]:
        names, _, meaning = entry.partition(":")
        yield from ((name.strip(), " ".join(meaning.split())) for name in names.split(","))


@lru_cache(maxsize=256)
def _module(name: str) -> ast.Module | None:
    """The syntax tree of a module's source; None where it has none."""
    if name.partition(".")[0] in ("builtins", "flax", "typing", "jax"):
        return None
    try:
        return ast.parse(inspect.getsource(sys.modules[name]))
    except (OSError, TypeError, KeyError, SyntaxError):
        return None
