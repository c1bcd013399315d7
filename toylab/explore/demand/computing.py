"""An analyzer computed at points of runs, chunk by chunk: what is kept on disk is read, the rest computed and kept."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import jax
import numpy as np

from toylab.analysis.over_runs import together
from toylab.base import Analyzer, Config, Run
from toylab.explore.demand import analyzers
from toylab.explore.demand.analyzers import Arrays, Named
from toylab.explore.demand.found import Found, Point
from toylab.explore.demand.kept import Kept, key

State = Literal["waits", "computes", "done", "cancelled", "failed"]


class Source(Protocol):
    """Where points are read from."""

    @property
    def runs(self) -> Sequence[str]: ...

    @property
    def steps(self) -> np.ndarray: ...

    @property
    def valid(self) -> np.ndarray: ...

    def at_step(self, run: int, step: int) -> Arrays: ...

    def config(self, run: int) -> Config | None: ...

    def data(self, run: int) -> Any: ...

    def identity(self, run: int, step: int) -> tuple[str, int]:
        """What determines the params of a run in a chunk, as a text; and the place of the step in the chunk."""
        ...


@dataclass
class Request:
    """An analyzer at points of runs, and how far it is."""

    analyzer: Named
    points: list[Point]
    """Runs and steps."""
    done: int = 0
    """Points that are computed, or were kept."""
    state: State = "waits"
    message: str = ""
    """What went wrong."""
    stop: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def name(self) -> str:
        return self.analyzer.name

    @property
    def total(self) -> int:
        return len(self.points)


class Computing:
    """Computes requests, one after the other.

    found    what is computed: `NAME/key` at runs and steps
    last     analyzers of a run's last point, whose results the others may read as `run.final`
    """

    def __init__(self, source: Source, kept: Kept) -> None:
        self.source, self.kept, self.found = source, kept, Found()
        self.last: Mapping[str, Analyzer] = {}
        self._finals: dict[int, tuple[str, Arrays]] = {}
        self._reads_final: dict[Any, bool] = {}

    def compute(self, request: Request) -> None:
        """Adds to `found` until all is done, or the request is to stop. A point whose chunk cannot be read is left out.

        Raises:
            Exception: what the analyzer raises; ValueError where the config of a run is not known.
        """
        skipped: list[str] = []
        for run in dict.fromkeys(run for run, _ in request.points):
            chunks: dict[str, list[tuple[int, int]]] = {}
            for step in (step for own, step in request.points if own == run):
                try:
                    chunk, place = self.source.identity(run, step)
                    chunks.setdefault(chunk, []).append((place, step))
                except LookupError as error:
                    skipped.append(str(error))
            described: tuple[Run, str] | None = None
            for chunk, places in chunks.items():
                try:
                    described = described or self._described(request, run, places[0][1])
                except LookupError as error:  # its chunk is damaged, or that of the last point
                    skipped += [str(error)] * len(places)
                    continue
                skipped += self._chunk(request, run, described, chunk, places)
                if request.stop.is_set():
                    return
        if skipped:
            request.message = f"{request.name} lacks {len(skipped)} of {request.total} points: {skipped[0]}"

    def _chunk(
        self, request: Request, run: int, described: tuple[Run, str], chunk: str, places: Sequence[tuple[int, int]]
    ) -> list[str]:
        """Computes points of a chunk, by their places in it and steps; returns what went wrong with some."""
        code, skipped, new = request.analyzer.code, list[str](), False
        name = key(code, chunk, described[1])
        points = self.kept.read(name) if code else {}
        for place, step in places:
            if request.stop.is_set():
                break
            if place not in points:
                try:
                    params = self.source.at_step(run, step)
                except LookupError as error:
                    skipped.append(str(error))
                    continue
                values = analyzers.point(request.analyzer.fn, params, described[0])
                if not all(np.isfinite(value).all() for value in params.values()):
                    values = {own: _unknown(value) for own, value in values.items()}
                points[place], new = values, True
            self.found.add((run, step), points[place])
            request.done += 1
        if new and code:
            self.kept.write(name, points)
        return skipped

    def _described(self, request: Request, run: int, step: int) -> tuple[Run, str]:
        """What the analyzer gets besides the params; and what the results of the last point are of, "" if it reads none."""
        config = self.source.config(run)
        if config is None:
            raise ValueError(f"the config of {self.source.runs[run]} is not known.")
        whole, final = Run(config=config, data=self.source.data(run)), ""
        fn, last = request.analyzer.fn, together(**self.last)
        alike = fn, jax.tree.structure(config)
        if self.last and alike not in self._reads_final:
            self._reads_final[alike] = analyzers.reads_final(fn, last, self.source.at_step(run, step), whole)
        if self._reads_final.get(alike):
            end = int(self.source.steps[self.source.valid[run]][-1])
            final = repr(self.source.identity(run, end))
            if self._finals.get(run, ("",))[0] != final:
                self._finals[run] = final, analyzers.point(last, self.source.at_step(run, end), whole)
            whole = whole.replace(final=self._finals[run][1])
        self.found.begin(request.name, run, final)
        return whole, final


def _unknown(value: np.ndarray) -> np.ndarray:
    """What is not known of a point whose params are not finite."""
    return np.full(value.shape, np.nan, value.dtype if value.dtype.kind in "fc" else np.float64)
