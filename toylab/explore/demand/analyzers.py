"""Analyzers by name: those of a page, and functions of the user's; with what changes where their code does."""

import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

from toylab import lab
from toylab.analysis.over_runs import analyze, together
from toylab.base import Analyzer, Run
from toylab.lab import code, pages

Arrays = dict[str, np.ndarray]
EXAMPLE = "as my_analyzers.py:norms or my_package.analyzers:norms"


@dataclass(frozen=True)
class Named:
    """An analyzer with its name."""

    name: str
    fn: Analyzer
    """Its outputs are named NAME/key."""
    code: str
    """Changes where the code does that it is made of; "" where that is not known, so that no result is kept on disk."""


def of_page(page: ModuleType | None, analyses: Mapping[str, Analyzer]) -> dict[str, Named]:
    """The analyses of a page."""
    digest = "" if page is None else code.digest(page)
    return {name: Named(name, together(**{name: fn}), digest and f"{digest}/{name}") for name, fn in analyses.items()}


def imported(text: str) -> Named:
    """A function of the user's, as `--analyzer` names it.

    Args:
        text: `module:function`, the module as the path of a file or by its dotted name.

    Raises:
        ValueError: where there is none, or it is no analyzer; one sentence.
    """
    where, colon, name = text.rpartition(":")
    if not colon or not where or not name.isidentifier():
        raise ValueError(f"analyzer is {text!r}: give module:function, {EXAMPLE}.")
    module = _module(text, where)
    fn = getattr(module, name, None)
    if fn is None:
        known = [own for own, value in vars(module).items() if inspect.isfunction(value) and not own.startswith("_")]
        raise ValueError(
            f"analyzer is {text}: {where} has no {name}; {lab.near(name, known) if known else 'it has no functions.'}"
        )
    check(text, fn)
    digest = code.digest(module)
    return Named(name, _checked(name, fn), digest and f"{digest}/{module.__name__}:{name}")


def given(name: str, fn: Any) -> Named:
    """A function that was handed over. Its results are not kept on disk: what it is made of is not known.

    Raises:
        ValueError: where it is no analyzer.
    """
    check(name, fn)
    return Named(name, _checked(name, fn), "")


def check(name: str, fn: Any) -> None:
    """Raises ValueError where something cannot be called as an analyzer is."""
    if not callable(fn):
        raise ValueError(f"analyzer is {name}: it is a {type(fn).__name__}, and must be a function of (params, run).")
    try:
        inspect.signature(fn).bind(None, None)
    except TypeError:
        raise ValueError(
            f"analyzer is {name}: it must take (params, run), and takes {inspect.signature(fn)}."
        ) from None
    except ValueError:  # of a builtin, which does not say
        pass


def _checked(name: str, fn: Analyzer) -> Analyzer:
    """The analyzer with NAME before its outputs. Raises ValueError where these are no dict."""

    def each(params: Any, run: Run) -> dict[str, Any]:
        found = fn(params, run)
        if not isinstance(found, dict):
            raise ValueError(f"it returns a {type(found).__name__}, and must return a dict of arrays.")
        return {f"{name}/{key}": value for key, value in found.items()}

    return each


def _module(text: str, where: str) -> ModuleType:
    path = Path(os.path.expanduser(where))
    if where.isidentifier() and where not in sys.modules and Path(f"{where}.py").is_file():
        path = Path(f"{where}.py")
    is_file = path.suffix == ".py" or os.sep in where
    if not is_file and where in sys.modules:
        return sys.modules[where]
    if is_file and not path.is_file():
        raise ValueError(f"analyzer is {text}: there is no file {where}; give module:function, {EXAMPLE}.")
    try:
        return pages.load(str(path.absolute()) if is_file else where)
    except pages.Raised as error:
        why = error.__cause__ or error.__context__
        raise ValueError(
            f"analyzer is {text}: {where} raised while it was imported ({lab.sentence(why or error)})."
        ) from error
    except ValueError as error:
        hint = (
            str(error).partition(": ")[2]
            if is_file
            else f"there is no module {where}; give module:function, {EXAMPLE}."
        )
        raise ValueError(f"analyzer is {text}: {hint}") from None


class _Asked(dict[str, Any]):
    """Results of the last point, which note whether any is asked for."""

    asked = False

    def __getitem__(self, key: str) -> Any:
        self.asked = True
        return super().__getitem__(key)

    def __missing__(self, key: str) -> Any:
        raise ValueError(f"it needs {key!r} of the last point, and there are {', '.join(self) or 'none'}.")

    def get(self, key: str, default: Any = None) -> Any:
        self.asked = True
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self.asked = True
        return super().__contains__(key)

    def __iter__(self) -> Any:
        self.asked = True
        return super().__iter__()


def reads_final(fn: Analyzer, last: Analyzer, params: Arrays, run: Run) -> bool:
    """Whether an analyzer uses the results of the last point (`run.final`). It is traced, and nothing computed."""
    asked = []

    def both(params: Any) -> Any:
        final = _Asked(last(params, run))
        asked.append(final)
        return fn(params, run.replace(final=final))

    jax.eval_shape(both, params)
    return any(one.asked for one in asked)


def point(fn: Analyzer, params: Arrays, run: Run) -> Arrays:
    """An analyzer of one point of a run."""
    one = jax.tree.map(lambda x: np.asarray(x)[None], run)
    found = analyze(fn, {name: value[None, None] for name, value in params.items()}, one, report=None)
    return {name: value[0, 0] for name, value in found.items()}
