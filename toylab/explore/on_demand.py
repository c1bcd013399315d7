"""Analyzers computed when they are asked for: in the background, with progress, and kept on disk."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import jax
import numpy as np

from toylab import lab, store
from toylab.analysis.over_runs import together
from toylab.base import Analyzer, Config, Run
from toylab.explore import analyzers
from toylab.explore.analyzers import Arrays, Named
from toylab.explore.found import Found, Point
from toylab.explore.kept import Kept, key

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


class OnDemand:
    """The analyzers of a page, and those of the user, for runs and points that are asked for.

    names       of the analyzers
    requests    by name, the newest of each, with `done`, `total`, `state` and `message`
    found       what is computed: `NAME/key` at runs and steps
    """

    def __init__(
        self,
        source: Source,
        page: Callable[[], tuple[Mapping[str, Named], Mapping[str, Analyzer]]],
        kept: Kept | None = None,
    ) -> None:
        """
        Args:
            source: of the points.
            page: gives the page's analyzers of every point and those of the last one; called when they are first needed.
            kept: the results on disk.
        """
        self._source, self._page, self._kept = source, page, kept or Kept()
        self._known: dict[str, Named] | None = None
        self._last: Mapping[str, Analyzer] = {}
        self._own: dict[str, Named] = {}
        self.requests: dict[str, Request] = {}
        self._queue: list[Request] = []
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()
        self._finals: dict[int, tuple[str, Arrays]] = {}
        self._asks: dict[Any, bool] = {}
        self.found = Found()

    # --- what can be asked for

    def _analyzers(self) -> dict[str, Named]:
        with self._lock:
            if self._known is None:
                known, self._last = self._page()
                self._known = dict(known)
            return {**self._known, **self._own}

    @property
    def names(self) -> list[str]:
        return list(self._analyzers())

    def add(self, analyzer: str | Analyzer, name: str = "") -> str:
        """Adds an analyzer of the user's, as `module:function` or a function; returns the name it has here.

        Raises:
            ValueError: where it cannot be imported, or is no analyzer; one sentence.
        """
        if isinstance(analyzer, str):
            found = analyzers.imported(analyzer)
        else:
            found = analyzers.given(name or getattr(analyzer, "__name__", "analyzer"), analyzer)
        if "/" in found.name or (found.name in self._analyzers() and found.name not in self._own):
            raise ValueError(f"analyzer {found.name} is one of the page already: give the function another name.")
        with self._lock:
            self._own[found.name] = found
        return found.name

    def ask(self, name: str, runs: Sequence[int] | None = None, at: Sequence[int] | None = None) -> Request:
        """Computes an analyzer in the background. An earlier request for it ends; what it computed stays.

        Args:
            name: of the analyzer.
            runs: numbers of runs; None for all.
            at: numbers of saved steps; None for all.

        Raises:
            ValueError: where there is no such analyzer, run or step, or no run has a point at any of the steps.
        """
        known, valid, steps = self._analyzers(), self._source.valid, self._source.steps
        if name not in known:
            raise ValueError(f"analyzer is {name!r}: {lab.near(name, known) if known else 'there are none; add one.'}")
        rows = _numbers("runs", runs, len(valid))
        columns = _numbers("at", at, len(steps))
        points = [(run, int(steps[j])) for run in rows for j in columns if valid[run, j]]
        if not points:
            raise ValueError("no run that is asked for has a point at a step that is asked for.")
        request = Request(known[name], points)
        with self._lock:
            self.cancel(name)
            self.requests[name] = request
            self._queue.append(request)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="on-demand", daemon=True)
                self._thread.start()
        return request

    def cancel(self, name: str | None = None) -> None:
        """Ends the request for an analyzer, or all, after the point at hand. What was computed stays."""
        with self._lock:
            for request in self.requests.values():
                if name in (None, request.name) and request.state in ("waits", "computes"):
                    request.stop.set()
                    request.state = "cancelled"

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until nothing is being computed; whether that came within so many seconds."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return thread is None or not thread.is_alive()

    def close(self) -> None:
        """Ends all requests, and waits for the point at hand."""
        self.cancel()
        self.wait()

    @property
    def messages(self) -> list[str]:
        found = [request.message for request in self.requests.values() if request.message]
        return [*found, *([self._kept.problem] if self._kept.problem else [])]

    # --- the background

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._thread = None
                    return
                request = self._queue.pop(0)
                if request.stop.is_set():
                    continue
                request.state = "computes"
            try:
                self._compute(request)
                end: State = "done"
            except Exception as error:  # an analyzer may raise anything
                request.message = f"{request.name} cannot be computed: {_sentence(error)}"
                end = "failed"
            with self._lock:
                if request.state == "computes":
                    request.state = end
            self._kept.trim()

    def _compute(self, request: Request) -> None:
        skipped: list[str] = []
        for run in dict.fromkeys(run for run, _ in request.points):
            of = _OfRun(self, request, run)
            chunks: dict[str, list[tuple[int, int]]] = {}
            for step in (step for own, step in request.points if own == run):
                try:
                    chunk, place = self._source.identity(run, step)
                    chunks.setdefault(chunk, []).append((place, step))
                except LookupError as error:
                    skipped.append(str(error))
            for chunk, places in chunks.items():
                skipped += of.chunk(chunk, places)
                if request.stop.is_set():
                    return
        if skipped:
            request.message = f"{request.name} lacks {len(skipped)} of {request.total} points: {skipped[0]}"


class _OfRun:
    """A request's points of one run."""

    def __init__(self, whole: OnDemand, request: Request, run: int) -> None:
        self.whole, self.request, self.run = whole, request, run
        self.made: tuple[Run, str] | None = None

    def chunk(self, chunk: str, places: Sequence[tuple[int, int]]) -> list[str]:
        """Computes points of a chunk, by their places in it and steps; returns what went wrong with some."""
        whole, request, skipped, new = self.whole, self.request, list[str](), 0
        run, final = self._described(places[0][1])
        name = key(request.analyzer.code, chunk, final)
        kept = whole._kept.read(name) if request.analyzer.code else {}
        for place, step in places:
            if request.stop.is_set():
                break
            if place not in kept:
                try:
                    params = whole._source.at_step(self.run, step)
                except LookupError as error:
                    skipped.append(str(error))
                    continue
                kept[place] = analyzers.point(request.analyzer.fn, params, run)
                if not all(np.isfinite(value).all() for value in params.values()):
                    kept[place] = {name: _nothing(value) for name, value in kept[place].items()}
                new += 1
            whole.found.add((self.run, step), kept[place])
            request.done += 1
        if new and request.analyzer.code:
            whole._kept.write(name, kept)
        return skipped

    def _described(self, step: int) -> tuple[Run, str]:
        """What the analyzer gets besides the params, and what its last point's results come from; "" if it reads none."""
        if self.made is None:
            whole, source = self.whole, self.whole._source
            config = source.config(self.run)
            if config is None:
                raise ValueError(f"the config of {source.runs[self.run]} is not known.")
            run, final = Run(config=config, data=source.data(self.run)), ""
            last = together(**whole._last)
            fn = self.request.analyzer.fn
            alike = fn, jax.tree.structure(config)
            if whole._last and alike not in whole._asks:
                whole._asks[alike] = analyzers.reads_final(fn, last, source.at_step(self.run, step), run)
            if whole._asks.get(alike):
                end = int(source.steps[source.valid[self.run]][-1])
                final = repr(source.identity(self.run, end))
                if whole._finals.get(self.run, ("",))[0] != final:
                    whole._finals[self.run] = final, analyzers.point(last, source.at_step(self.run, end), run)
                run = run.replace(final=whole._finals[self.run][1])
            whole.found.begin(self.request.name, self.run, final)
            self.made = run, final
        return self.made


def _nothing(value: np.ndarray) -> np.ndarray:
    """What is not known of a point whose params are not finite."""
    return np.full(value.shape, np.nan, value.dtype if value.dtype.kind in "fc" else np.float64)


def _numbers(what: str, given: Sequence[int] | None, n: int) -> list[int]:
    if given is None:
        return list(range(n))
    found = [int(one) for one in given]
    if wrong := [one for one in found if not 0 <= one < n]:
        raise ValueError(f"{what} has {wrong[0]}: the numbers go from 0 to {n - 1}.")
    return list(dict.fromkeys(found))


def _sentence(error: Exception) -> str:
    """What went wrong, in one line."""
    if isinstance(error, ValueError | LookupError | store.StoreError):
        return f"{store.first_line(error).removesuffix('.')}."
    return f"{lab.sentence(error)}."
