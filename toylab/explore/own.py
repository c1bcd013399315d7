"""Views and analyzers of one's own, by the file or module that has them."""

import sys
from types import ModuleType
from typing import Any

from toylab.explore.declaring import View
from toylab.lab import pages


def views_of(name: str) -> list[View]:
    """The views of a file or module: what `view` made.

    Args:
        name: the path of a .py file, or a module as my_package.my_views.

    Raises:
        ValueError: where there is no such file, it raises, or it has no views.
    """
    found = [one for one in vars(_loaded(name, "--view")).values() if isinstance(one, View)]
    if not found:
        raise ValueError(f"--view is {name}: it has no views; put @view(…) of toylab.explore above a function in it.")
    return found


def analyzer_of(name: str) -> Any:
    """A function of a module: `my_package.my_module:function`, or `file.py:function`.

    Raises:
        ValueError: where there is none.
    """
    module, colon, function = name.rpartition(":")
    if not colon or not function.isidentifier():
        raise ValueError(f"--analyzer is {name}: give module:function, as toylab.analysis.norms:weights.")
    found = getattr(_loaded(module, "--analyzer"), function, None)
    if not callable(found):
        raise ValueError(f"--analyzer is {name}: {module} has no function {function}.")
    return found


def chosen(views: list[View], names: list[str]) -> list[View]:
    """The views of the given names, in their order.

    Raises:
        ValueError: for a name that no view has.
    """
    known = {view.name: view for view in views}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"--views has {unknown[0]}, which is no view: there are {', '.join(known)}.")
    return [known[name] for name in names] if names else views


def _loaded(name: str, option: str) -> ModuleType:
    """What a file or module gives when it is imported, as a page of the lab is."""
    if not name.endswith(".py") and "." not in name:
        raise ValueError(f"{option} is {name}: give the path of a .py file, or a module as my_package.my_module.")
    try:
        return pages.load(name)
    except pages.Raised as error:
        print(error.trace, end="", file=sys.stderr)
        raise ValueError(
            f"{option} is {name}: it raised while it was imported; mend it, then run the same again."
        ) from None
    except ValueError as error:
        raise ValueError(f"{option} is {name}: {error}") from None
