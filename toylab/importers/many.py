"""Checkpoints that others saved while they trained, as a sweep: `load_many(folder, layout=…)`."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toylab import display
from toylab.importers import folders
from toylab.importers.checkpoints import Checkpoints, Given, Point
from toylab.importers.files import SUFFIXES
from toylab.importers.layouts import Layout
from toylab.importers.naming import Refusal, listed, printable
from toylab.importers.opening import Choice
from toylab.records import Sweep
from toylab.records.reader import Wanted

NUMBER = re.compile(r"\d+")
LABELLED = re.compile(r"(?:^|[^a-z])step=(\d+)(?![\d.]*\.\d)")  # Lightning's epoch=3-step=400
NO_WHOLE = re.compile(r"\d[eE.]-?\d")  # 1e3 and 0.5 are no steps


def load_many(
    sources: str | Path | Sequence[Any] | Mapping[str, Any],
    layout: Layout | Mapping[str, str],
    *,
    steps: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    config: Mapping[str, Any] | str | Path | None = None,
    ignore: Collection[str] = (),
    prefix: str = "",
    within: str = "",
    probe: tuple[Any, Any] | None = None,
    vocabulary: Sequence[int] | None = None,
    report: Wanted = "auto",
) -> Sweep:
    """Checkpoints of one training, or of several, as a sweep. They are read when they are used, a few at a time.

    All must be of one network. Its shapes and settings are those of the last checkpoint. Biases that are 0 there and in the
    first are left out where the network can do without; they must then be 0 in all.

    Args:
        sources: a folder of checkpoints, or a list of them, each as the source of `load`: files, or folders as
            `checkpoint-100` with a `config.json`. Several runs: a folder of such folders, or a mapping from a run's name to
            its folder or list.
        layout: of the checkpoints, as in `load`.
        steps: of each checkpoint, ascending; for several runs by name, or one list for all. By default the number by which
            the names differ, or what follows `step=` in each. The checkpoints of a folder are taken in the order of this
            number.
        config: settings, as in `load`.
        ignore, prefix, within: which arrays are meant, as in `load`.
        probe: (tokens, logits) of the last checkpoint (of the last run), as in `load`.
        vocabulary: as in `load`.
        report: called with the number of checkpoints whose shapes were looked at, and of all. By default a bar is shown on
            a terminal.

    Returns:
        A sweep as `toylab.load` gives it, without measures. `sweep.analyze(analyzer, task=…)` computes them.
        A checkpoint that is damaged has no point; `sweep.messages` names it.

    Raises:
        ValueError: in one sentence, where there are no checkpoints, where steps are not known, not ascending, not as many,
            or in another order than the names, where checkpoints have other shapes or settings than the last, and where
            that is refused by `load`.
    """
    runs = {
        name: _points(name, found, _steps_of(name, steps), _is_folder(sources, name))
        for name, found in _runs(sources).items()
    }
    if isinstance(steps, Mapping) and (unknown := sorted(set(map(str, steps)) - set(runs))):
        raise ValueError(f"steps names the runs {listed(unknown)}: there are {listed(sorted(runs))}.")
    given = Given(layout, config, Choice(ignore, prefix, within), probe, vocabulary)
    if report == "auto" and display.is_watched():
        with display.bars() as bars:
            tick = lambda done, total: bars.update("checkpoints", done, total, f"looked at {done:,}/{total:,}")  # noqa: E731
            found = Checkpoints(runs, given, tick)
    else:
        found = Checkpoints(runs, given, report if callable(report) else lambda done, total: None)
    return Sweep([found], [np.arange(len(runs))], True, [])


def _runs(sources: Any) -> dict[str, list[Any]]:
    """The checkpoints of each run by name."""
    if isinstance(sources, str | Path):
        return _of_folder(Path(sources))
    if isinstance(sources, Mapping):
        inner = {name: value for name, value in sources.items() if isinstance(value, str | Path | list | tuple)}
        if not sources or len(inner) < len(sources):
            raise ValueError(
                "sources is one mapping of arrays: give a list of checkpoints, or a mapping from runs to lists."
            )
        if len(set(map(str, inner))) < len(inner):
            raise Refusal(f"sources has two runs named alike: {listed(sorted(map(str, inner)))}.")
        return {str(name): _of_run(str(name), value) for name, value in inner.items()}
    if not isinstance(sources, Sequence):
        raise ValueError(
            f"sources is a {type(sources).__name__}: it must be a folder, a list or a mapping from runs to lists."
        )
    return {"run": _of_run("sources", sources)}


def _of_run(name: str, value: Any) -> list[Any]:
    if isinstance(value, str | Path):
        found = _of_folder(Path(value))
        if len(found) != 1:
            raise ValueError(
                f"{printable(value, 400)}, of the run {printable(name)}, holds {len(found)} runs: give each by name."
            )
        return next(iter(found.values()))
    if not value:
        raise ValueError(f"{printable(name)} is an empty list: give checkpoints.")
    return list(value)


def _of_folder(folder: Path) -> dict[str, list[Any]]:
    if not folder.is_dir():
        raise ValueError(
            f"sources is {printable(folder, 400)}: there is no such folder; hand over one checkpoint in a list."
        )
    own, inner = _checkpoints(folder), [path for path in sorted(folder.iterdir()) if path.is_dir()]
    within = {path.name: files for path in inner if path not in own and (files := _checkpoints(path))}
    if own and within:
        raise ValueError(
            f"{printable(folder, 400)} has checkpoints, and folders with some ({listed(sorted(within))}): give one."
        )
    if not own and not within:
        raise ValueError(f"{printable(folder, 400)} holds no checkpoints: their names end in {', '.join(SUFFIXES)}.")
    return {folder.name: own} if own else {name: list(files) for name, files in within.items()}


def _checkpoints(folder: Path) -> list[Any]:
    """Files of weights, and Hugging Face's folders of one model. What a folder of one model holds is no checkpoint."""
    if folders.is_model(folder):
        return [folder]
    named = [path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file()]
    return sorted(named + [path for path in folder.iterdir() if folders.is_model(path)])


def _steps_of(name: str, steps: Any) -> Any:
    if not isinstance(steps, Mapping):
        return steps
    if name not in (named := {str(key): own for key, own in steps.items()}):
        raise ValueError(f"steps has no run {printable(name)}: it names {listed(sorted(named))}.")
    return named[name]


def _is_folder(sources: Any, name: str) -> bool:
    """Whether a run's checkpoints are those of a folder, which says no order but by their names."""
    own = {str(key): one for key, one in sources.items()}.get(name) if isinstance(sources, Mapping) else sources
    return isinstance(own, str | Path)


def _points(name: str, sources: list[Any], steps: Any, folder: bool) -> list[Point]:
    if steps is None:
        found = _numbered(name, sources)
        return sorted((Point(step, source) for step, source in found), key=lambda point: point.step)
    sources = _ordered(name, sources, folder)
    given = np.asarray(steps)
    if given.ndim != 1 or given.dtype.kind not in "iu" or len(given) != len(sources):
        raise ValueError(
            f"steps of {printable(name)} has shape {list(given.shape)} of {given.dtype}: {len(sources)} integers "
            "are wanted, one a checkpoint."
        )
    if (np.diff(given) <= 0).any() or (given < 0).any():
        raise ValueError(f"steps of {printable(name)} do not ascend: {listed([str(step) for step in given.tolist()])}.")
    return [Point(int(step), source) for step, source in zip(given.tolist(), sources, strict=True)]


def _ordered(name: str, sources: list[Any], folder: bool) -> list[Any]:
    """Those of a folder by their numbers; a list as it is, if these ascend."""
    try:
        found = _numbered(name, sources)
    except ValueError:  # names that say no order
        if folder and len(sources) > 1:
            stems = listed([Path(source).stem for source in sources])
            raise Refusal(
                f"steps of {printable(name)} are given, and the names of its folder say no order ({stems}): give its "
                "checkpoints as a list."
            ) from None
        return sources
    if folder:
        return [source for _, source in sorted(found, key=lambda one: one[0])]
    if (numbers := [step for step, _ in found]) != sorted(numbers):
        raise Refusal(
            f"{printable(name)} has its checkpoints in the order {listed(map(str, numbers))} by their names, and steps "
            "ascend: list them in the order of steps."
        )
    return sources


def _numbered(name: str, sources: list[Any]) -> list[tuple[int, Any]]:
    """(step, source) by the one number in which the names of files differ."""
    if not all(isinstance(source, str | Path) for source in sources):
        raise ValueError(f"{printable(name)} has checkpoints that are no files: give steps=.")
    stems = [Path(source).stem for source in sources]
    numbers = [NUMBER.findall(stem) for stem in stems]
    texts = {NUMBER.sub("#", stem) for stem in stems}
    sure = len(texts) == 1 and not any(map(NO_WHOLE.search, stems))
    varying = [i for i, own in enumerate(zip(*numbers, strict=True)) if len(set(own)) > 1] if sure else []
    if len(stems) == 1 and sure and len(numbers[0]) == 1:
        varying = [0]
    labelled = [LABELLED.findall(stem) for stem in stems]
    if len(varying) != 1 and all(len(own) == 1 for own in labelled):
        numbers, varying = labelled, [0]
    if len(varying) != 1:
        raise ValueError(f"the steps of {printable(name)} are not clear from its names ({listed(stems)}): give steps=.")
    steps = [int(own[varying[0]]) for own in numbers]
    if len(set(steps)) < len(steps):
        raise ValueError(f"two checkpoints of {printable(name)} are of one step ({listed(stems)}): give steps=.")
    return list(zip(steps, sources, strict=True))
