"""Views and analyzers of the user's, by the file or module that has them."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from toylab.explore.declaring import View
from toylab.explore.page.moments import Moments
from toylab.explore.recording import Recording
from toylab.lab import pages


def views_of(name: str) -> list[View]:
    """The views of a file or module: what `view` made.

    Args:
        name: the path of a .py file, or a module as my_package.my_views.

    Raises:
        ValueError: where there is no such file, it raises, or it has no views.
    """
    found = [one for one in vars(_loaded(name)).values() if isinstance(one, View)]
    if not found:
        raise ValueError(f"--view is {name}: it has no views; put @view(…) of toylab.explore above a function in it.")
    return found


def with_analyzers(parts: Mapping[str, Recording], names: Sequence[str]) -> None:
    """Adds analyzers, as module:function, to all parts that have weights.

    Raises:
        ValueError: where there is no such function, or no part has weights.
    """
    able = [recording.on_demand for recording in parts.values() if recording.on_demand is not None]
    if names and not able:
        raise ValueError(f"--analyzer is {names[0]}: there are no weights. {next(iter(parts.values())).no_params}")
    for name in names:
        for one in able:
            one.add(name)


def chosen(views: list[View], names: list[str]) -> list[View]:
    """The views of the given names, in their order.

    Raises:
        ValueError: for a name that no view has.
    """
    known = {view.name: view for view in views}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"--views has {unknown[0]}, which is no view: there are {', '.join(known)}.")
    return [known[name] for name in names] if names else views


def refuse_absent(views: Sequence[View], recording: Recording, runs: Sequence[int]) -> None:
    """Raises ValueError, with why, for a view of these that one of the runs cannot be shown in."""
    moments = Moments(recording)
    for run in runs:
        for view in () if moments.lacking(run) else views:
            try:
                why = view.lacks(moments.at(run, len(recording.steps) - 1))
            except LookupError as damaged:
                why = str(damaged.args[0])
            if why != "":
                said = why or "it is of other runs."
                raise ValueError(f"--views has {view.name}, which {recording.runs[run]} cannot be shown in: {said}")


def _loaded(name: str) -> ModuleType:
    """What a file or module gives when it is imported, as a page of the lab is."""
    if not name.endswith(".py") and "." not in name:
        raise ValueError(f"--view is {name}: give the path of a .py file, or a module as my_package.my_views.")
    if name.endswith(".py") and not Path(name).is_file():
        raise ValueError(f"--view is {name}: there is no file {name}; give the path of one with views of yours.")
    try:
        return pages.load(name)
    except pages.Raised as error:
        print(error.trace, end="", file=sys.stderr)
        raise ValueError(
            f"--view is {name}: it raised while it was imported; mend it, then run the same again."
        ) from None
    except ValueError as error:
        raise ValueError(f"--view is {name}: {error}") from None
