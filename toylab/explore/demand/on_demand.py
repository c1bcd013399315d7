"""Analyzers computed when they are asked for: in the background, with progress, and kept on disk."""

import threading
from collections.abc import Callable, Mapping, Sequence

from toylab import lab, store
from toylab.base import Analyzer
from toylab.explore.demand import analyzers
from toylab.explore.demand.analyzers import Named
from toylab.explore.demand.computing import Computing, Request, Source, State
from toylab.explore.demand.found import Found
from toylab.explore.demand.kept import Kept
from toylab.explore.wording import sentence


class OnDemand:
    """The analyzers of a page, and those of the user, for runs and points that are asked for.

    names       of the analyzers; the page is imported when they are first asked for, which may take seconds
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
        self._computing = Computing(source, self._kept)
        self._known: dict[str, Named] | None = None
        self._own: dict[str, Named] = {}
        self.requests: dict[str, Request] = {}
        self._queue: list[Request] = []
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()

    @property
    def found(self) -> Found:
        return self._computing.found

    def _analyzers(self) -> dict[str, Named]:
        with self._lock:
            if self._known is None:
                known, self._computing.last = self._page()
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
        if "/" in found.name:
            raise ValueError(f"analyzer is {found.name}: a name without / is wanted.")
        if found.name in self._analyzers() and found.name not in self._own:
            raise ValueError(f"analyzer is {found.name}: the page has one of that name; give the function another.")
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
        rows, columns = _numbers("runs", runs, len(valid)), _numbers("at", at, len(steps))
        points = [(run, int(steps[j])) for run in rows for j in columns if valid[run, j]]
        if not points:
            raise ValueError(f"{name} is asked for at steps at which none of the runs has a point: choose others.")
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
        found = [request.message for request in list(self.requests.values()) if request.message]
        return [*found, *([self._kept.problem] if self._kept.problem else [])]

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
            end: State = "done"
            try:
                self._computing.compute(request)
            except Exception as error:  # an analyzer may raise anything
                request.message, end = f"{request.name} cannot be computed: {_sentence(error)}", "failed"
            with self._lock:
                if request.state == "computes":
                    request.state = end
            self._kept.trim()


def _numbers(what: str, given: Sequence[int] | None, n: int) -> list[int]:
    if given is None:
        return list(range(n))
    found = [int(one) for one in given]
    if wrong := [one for one in found if not 0 <= one < n]:
        raise ValueError(f"{what} has {wrong[0]}: the numbers go from 0 to {n - 1}.")
    return list(dict.fromkeys(found))


def _sentence(error: Exception) -> str:
    """What went wrong, in one line."""
    if isinstance(error, ValueError | LookupError | store.StoreError) and not isinstance(error, KeyError | IndexError):
        return sentence(store.first_line(error))
    return f"{lab.sentence(error)}."
