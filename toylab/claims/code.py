"""A digest of what a function computes, by its source: the same for other comments, layout and annotations."""

import ast
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

IGNORED = {
    "ctx",
    "type_comment",
    "type_params",
    "kind",
    "returns",
    "annotation",
}  # fields of syntax that change no value
CONSTANTS = (int, float, complex, str, bytes, bool, type(None))
SIZE = 12  # hexadecimal digits of a digest


def digest(value: Any) -> str:
    """Of a function with the functions and constants of its own module that it uses; those of other modules by name alone,
    and so those that a decorator wraps, for what it keeps may differ between processes.

    Args:
        value: a function, a partial one, a method, or a plain value.

    Returns:
        12 hexadecimal digits.

    Raises:
        ValueError: for a function without a source file, as one typed into a console.
    """
    text = json.dumps(_described(value, set()), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:SIZE]


def _described(value: Any, seen: set[str]) -> Any:
    if isinstance(value, functools.partial):
        keywords = {name: _described(one, seen) for name, one in value.keywords.items()}
        return ["partial", _described(value.func, seen), [_described(one, seen) for one in value.args], keywords]
    if isinstance(value, CONSTANTS):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return [_described(one, seen) for one in value]
    if isinstance(value, Mapping):
        return {repr(name): _described(one, seen) for name, one in value.items()}
    if isinstance(value, FunctionType) and not hasattr(value, "__wrapped__"):
        return _function(value, seen)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return repr(value) if not callable(value) else type(value).__qualname__


def _function(function: Callable[..., Any] | FunctionType, seen: set[str]) -> Any:
    assert isinstance(function, FunctionType)
    name = f"{function.__qualname__}:{function.__code__.co_firstlineno}"
    if name in seen:  # it calls itself
        return function.__qualname__
    seen = {*seen, name}
    used = {}
    for known in sorted(_names(function.__code__)):
        if known in function.__globals__:
            used[known] = _of_module(function.__globals__[known], function.__module__, seen)
    closed = [_described(cell.cell_contents, seen) for cell in function.__closure__ or ()]
    defaults = [_described(one, seen) for one in function.__defaults__ or ()]
    more = {key: _described(one, seen) for key, one in (function.__kwdefaults__ or {}).items()}
    return [_syntax(function), used, closed, defaults, more]


def _of_module(value: Any, module: str, seen: set[str]) -> Any:
    """What a name of the function's module stands for; what was imported, by its own name alone."""
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, FunctionType) and value.__module__ != module:
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    return _described(value, seen)


def _names(code: CodeType) -> set[str]:
    """The names that a function and those within it look up."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*(_names(one) for one in inner))


def _syntax(function: FunctionType) -> Any:
    line = function.__code__.co_firstlineno
    found = [node for node in _functions(function.__code__.co_filename) if _first_line(node) == line]
    if not found:
        raise ValueError(f"{function.__qualname__} has no source file: define it in a module.")
    return [_plain(node) for node in found]


@functools.lru_cache(maxsize=64)
def _functions(path: str) -> list[ast.AST]:
    if not Path(path).is_file():
        return []
    tree = ast.parse(Path(path).read_text("utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda))]


def _first_line(node: Any) -> int:
    return int(min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))]))


def _plain(node: Any) -> Any:
    """A syntax tree as lists, without what changes no value. The same for all versions of Python."""
    if isinstance(node, list):
        return [_plain(one) for one in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if name not in IGNORED and value not in (None, [])}
    if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
        fields["body"] = node.body[1:]
    return [type(node).__name__, {name: _plain(value) for name, value in fields.items()}]
