"""Checkpoints of runs of one network, as the sweep's reader wants a group: shapes at once, weights when they are used."""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toylab import configs as cfg
from toylab.base import Config
from toylab.importers import buffers, checks
from toylab.importers.files import settings_of, shapes_of
from toylab.importers.layouts import forms_of, named
from toylab.importers.naming import Refusal, listed, printable
from toylab.importers.opening import Choice, Opened, opened, weights_of
from toylab.importers.probe import check_doubtful, check_probe
from toylab.importers.rules import Arrays
from toylab.records.source import Block, Group, windows


class Point(NamedTuple):
    step: int
    source: Any

    def __str__(self) -> str:
        named = isinstance(self.source, str | Path)
        return printable(self.source, 400) if named else f"the checkpoint of step {self.step:,}"


class Given(NamedTuple):
    """What the caller of `load_many` says of all checkpoints."""

    layout: Any
    config: Any
    choice: Choice
    probe: Any = None
    vocabulary: Any = None


class Checkpoints:
    """As `records.source.Source`. Rows are runs; the points of a run are those of its checkpoints that are sound."""

    part, sweep = "", ""

    def __init__(
        self,
        runs: Mapping[str, list[Point]],
        given: Given,
        report: Callable[[int, int], None],
    ) -> None:
        self.layout, self.given, self.choice = given.layout, settings_of(given.config), given.choice
        self.forms, self.folder = forms_of(given.layout), Path(next(iter(runs)))
        self.runs, self.points = list(runs), [list(points) for points in runs.values()]
        self.messages: list[str] = []
        every = [point for points in self.points for point in points]
        wanted = self._reference(every)
        check_doubtful(wanted.doubtful, given.probe)
        if given.probe is not None:
            check_probe(wanted.net, wanted.weights, wanted.params, given.probe, wanted.doubtful)
        self.wanted = wanted.ordered(given.vocabulary)
        self.said = dict(self.wanted.said)
        for done, point in enumerate(every):
            self._look(point)
            report(done + 1, len(every))

    def _reference(self, every: list[Point]) -> Opened:
        """The last sound checkpoint, with the net that it and the first are of."""
        last, at = self._first_sound(every[::-1])
        first, start = self._first_sound(every)
        if first.unused != last.unused:  # zeros in one of them alone
            last, first = (
                opened(point.source, self.layout, self.given, self.choice, whole=True) for point in (at, start)
            )
        if first.net != last.net:
            raise Refusal(f"{start} is of another network than {at}: checkpoints of one are wanted.")
        return last

    def _first_sound(self, points: list[Point]) -> tuple[Opened, Point]:
        refused: ValueError | None = None
        for point in points:
            try:
                return opened(point.source, self.layout, self.given, self.choice), point
            except ValueError as error:
                refused = refused or error
        assert refused is not None
        raise refused

    def _look(self, point: Point) -> None:
        """Refuses a checkpoint of other shapes or settings; one that cannot be read is left out, with a message."""
        try:
            shapes, said = shapes_of(point.source, named(self.layout), self.choice.ignore, self.choice.within)
        except ValueError as error:
            self._leave_out(point, error)
            return
        try:
            shapes = checks.bare(shapes, self.choice.prefix)
        except Refusal as error:
            raise Refusal(f"{point}: {error}") from error
        self._check(point, shapes, said)

    def _check(
        self,
        point: Point,
        shapes: Mapping[str, tuple[int, ...]],
        said: Mapping[str, Any],
        keys: Collection[str] | None = None,
    ) -> None:
        """Of `keys` alone, or of all."""
        wanted = self.shapes if keys is None else {key: self.shapes[key] for key in keys}
        given = dict(said) | self.given
        found = {key: shape for key, shape in shapes.items() if not buffers.is_buffer(self.forms, key, given)}
        if self.layout == "toy_models" and len(found.get("W", ())) == 3:
            found = {key: shape[1:] if shape[:1] == found["W"][:1] else shape for key, shape in found.items()}
        either = {*found, *wanted} if keys is None else keys
        other = sorted(key for key in either if found.get(key) != wanted.get(key))
        if other:
            key = other[0]
            here, there = (list(one[key]) if key in one else "not there" for one in (found, wanted))
            raise Refusal(
                f"{point}: {printable(key)} is {here}, and {there} in the last: checkpoints of one network are wanted."
            )
        if dict(said) != self.said:
            apart = sorted(name for name in {*said, *self.said} if said.get(name) != self.said.get(name))
            raise Refusal(
                f"{point} says other settings than the last checkpoint: {listed(apart)}; one network is wanted."
            )

    def _leave_out(self, point: Point, error: Exception) -> None:
        self.messages.append(f"{point} is left out: {error}")
        for points in self.points:
            points[:] = [one for one in points if one is not point]
        self.__dict__.pop("group", None)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {key: array.shape for key, array in self.wanted.weights.items()}

    def config(self, row: int) -> Config:
        """With the net alone: what it was trained on, and how, no checkpoint says."""
        return Config(task=None, net=self.wanted.net, optimizer=None)

    @property
    def configs(self) -> list[dict[str, Any]]:
        net = cfg.canonical(self.wanted.net)
        return [{"type": "toylab.base.Config", "net": net, "name": name} for name in self.runs]

    def at(self, point: Point, name: str | None = None) -> Arrays:
        """The params of a checkpoint in NumPy, or at least one of them.

        Raises:
            ValueError: where it has changed since it was looked at, is damaged, or has weights that are not finite.
        """
        own = None if name is None else self.wanted.keys.get(name, ())
        keys = None if own is None or self.wanted.together else {*own, *self.wanted.unused}
        arrays, said = weights_of(point.source, self.layout, self.choice, keys, strict=False)
        arrays, beside = buffers.apart(self.forms, arrays, said | self.given)
        buffers.check(self.wanted.net, beside)
        if self.layout == "toy_models":
            arrays = checks.instance(arrays, self.said | self.given)
        self._check(point, {key: array.shape for key, array in arrays.items()}, said, keys)
        weights = {key: checks.values(key, array) for key, array in arrays.items()}
        if wrong := [key for key in self.wanted.unused if weights[key].any()]:
            raise Refusal(f"{point} has {listed(wrong)} other than 0; in the first and the last checkpoint they are 0.")
        return self.wanted.converted(weights)

    @cached_property
    def group(self) -> Group:
        return self.read(params=False)

    def read(self, params: bool = True) -> Group:
        """All of it in memory."""
        steps = np.unique([point.step for points in self.points for point in points])
        valid = np.array([np.isin(steps, [point.step for point in points]) for points in self.points])
        values = {name: self.param(name) for name in self.recorded} if params else {}
        nobody = np.zeros(len(self.runs), bool)
        return Group(
            name=self.folder.name,
            configs=self.configs,
            runs=self.runs,
            steps=steps,
            valid=valid,
            params=values,
            measures={},
            probes={},
            messages=self.messages,
            manifest={},
            ended=~nobody,
            diverged=np.where(nobody, 0.0, np.nan),
            recorded=self.recorded,
        )

    @cached_property
    def recorded(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        found = self.wanted.params(self.wanted.weights)
        return {name: (tuple(value.shape), np.dtype(value.dtype)) for name, value in found.items()}

    def param(self, name: str) -> np.ndarray:
        """[R, T, …]; nan where a run has no point."""
        steps, (shape, dtype) = self.group.steps, self.recorded[name]
        out = np.full((len(self.runs), len(steps), *shape), np.nan, dtype)
        for row, points in enumerate(self.points):
            for point in list(points):
                found = self._sound(point, name)
                if found is not None:
                    out[row, np.searchsorted(steps, point.step)] = found[name]
        return out

    def _sound(self, point: Point, name: str | None = None) -> Arrays | None:
        try:
            return self.at(point, name)
        except ValueError as error:
            if (message := f"{point} is nan: {error}") not in self.messages:
                self.messages.append(message)
            return None

    def blocks(self, rows: np.ndarray, size: int, *, last: bool = False) -> Iterator[Block]:
        """Params of up to `size` points of a run at a time, or of its last one, read as they are asked for."""
        empty = {name: np.full(shape, np.nan, dtype) for name, (shape, dtype) in self.recorded.items()}
        for row in rows:
            points, kept = self.points[row][-1 if last else 0 :], dict[int, Arrays]()
            for start, stop in windows(len(points), size):
                kept = {i: kept[i] if i in kept else self._sound(points[i]) or empty for i in range(start, stop)}
                stacked = {name: np.stack([kept[i][name] for i in range(start, stop)]) for name in empty}
                at = np.searchsorted(self.group.steps, [point.step for point in points[start:stop]])
                yield Block(int(row), at, stacked)
