"""Runs with their trajectory, while they may still be training: a page's runs/, a sweep's folder, or that of a group."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toylab.base import Config
from toylab.explore.demand import analyzers
from toylab.explore.demand.on_demand import OnDemand
from toylab.explore.recording import Arrays
from toylab.explore.recordings.analysed import Analysed
from toylab.explore.recordings.chunks import Chunks
from toylab.explore.recordings.committed import title_of
from toylab.explore.recordings.described import Described, columns_of, varying
from toylab.explore.recordings.groups import Groups
from toylab.explore.recordings.lab_page import LabPage
from toylab.explore.recordings.phases import Phases, phases_of
from toylab.records.binding import digests
from toylab.records.reader import Named, absent


class Trained:
    """One part of a page, or a sweep, read from its chunks (protocol Recording). Numbers of runs stay when others come."""

    def __init__(self, page: LabPage, part: str, sweep: Path, *, alone: bool = False) -> None:
        """
        Args:
            page: of the folder.
            part: the name of the part; "" for the only one.
            sweep: the folder of its groups, or of the group.
            alone: whether the folder is that of one group.
        """
        self.page, self.part = page, part
        self._lock = threading.RLock()
        self._groups = Groups(sweep, alone)
        self._chunks = Chunks()
        self._told: dict[tuple[Path, int], str] = {}
        self._last: tuple[int, int, Path, int] | None = None  # run, step and chunk that were read last
        self._described = Described(self._groups.config, lambda: self.page.module)
        self._analysed = Analysed(self._groups, page.folder, part, lambda: page.records().get(part, {}))
        self._computed = OnDemand(self, self._of_page)
        self._seen = self._state()
        self._describe()

    def _describe(self) -> None:
        self.columns = columns_of([self._groups.config(run) for run in range(len(self.runs))])
        self.varying = varying(self.columns)

    def _of_page(self) -> tuple[Mapping[str, analyzers.Named], Mapping[str, Any]]:
        analyses, final = self.page.analyzers(self.part)
        return analyzers.of_page(self.page.module, analyses), final

    @property
    def title(self) -> str:
        return title_of(self.page.name, self.part)

    @property
    def runs(self) -> Sequence[str]:
        return self._groups.runs

    @property
    def steps(self) -> np.ndarray:
        return self._groups.steps

    @property
    def valid(self) -> np.ndarray:
        return self._groups.valid

    @property
    def shapes(self) -> list[Mapping[str, tuple[int, ...]]]:
        return self._groups.shapes

    def _tails(self) -> dict[str, tuple[int, ...]]:
        """The names of all measures, and their shapes after [R, T]."""
        with self._lock:
            self._analysed.read()
            return {**self._groups.measured(), **self._analysed.shapes(), **self._computed.found.shapes}

    @property
    def measures(self) -> Mapping[str, np.ndarray]:
        return Named(list(self._tails()), self._measure)

    def _measure(self, name: str) -> np.ndarray:
        with self._lock:
            base = None
            if name in self._groups.measured():
                base = self._groups.measure(name)
            elif name in self._analysed.shapes():
                base = self._analysed.over_steps(name)
            if name in self._computed.found.shapes:
                return self._computed.found.measure(name, self.steps, len(self.runs), base)
            if base is None:
                raise KeyError(name)
            return base

    @property
    def scalars(self) -> list[str]:
        return [name for name, tail in self._tails().items() if not tail]

    @property
    def final(self) -> Mapping[str, np.ndarray]:
        with self._lock:
            self._analysed.read()
            return Named(self._analysed.final_names(), self._analysed.final)

    @property
    def claims(self) -> list[Mapping[str, Any]]:
        return self.page.claims(self.part)

    @property
    def figures(self) -> dict[str, str]:
        return self.page.figures()

    @property
    def no_params(self) -> str:
        if any(self.shapes):
            return ""
        if not len(self.steps):
            return "No point is saved yet: the weights are shown once the first is."
        return "These runs were trained without recording weights (keep=()): there are their measures alone."

    @property
    def on_demand(self) -> OnDemand | None:
        return self._computed if any(self.shapes) else None

    @property
    def messages(self) -> list[str]:
        with self._lock:
            self._analysed.read()
            sweep = self._groups.sweep
            found = [*self.page.messages, *([] if self._groups.alone else self.page.begun)]
            if not len(self.steps):
                found.append(f"{sweep} has no complete chunk yet: its points are shown once training has saved some.")
            found += [] if self._groups.alone else absent(sweep)
            found += [*self._groups.messages, *self._told.values(), *self._analysed.messages]
            return list(dict.fromkeys([*found, *self._described.messages, *self._computed.messages]))

    def config(self, run: int) -> Config | None:
        return self._described.config(run)

    def data(self, run: int) -> Any:
        return self._described.data(run)

    def params(self, run: int, at: int) -> Arrays:
        return self.at_step(run, int(self.steps[at]))

    def at_step(self, run: int, step: int) -> Arrays:
        """The params of a run at a saved step. The chunk after it is read ahead, or the one before, as the steps go.

        Raises:
            LookupError: as of `params`.
        """
        if not self.shapes[run]:
            raise LookupError(self.no_params or f"{self.runs[run]} was trained without recording weights.")
        with self._lock:
            group, row = self._groups.of(run)
            piece, point = group.where(row, step)
            place, last = (piece.folder, piece.step), self._last
            self._last = run, step, *place
            beside = None
            if last is not None and last[0] == run and last[1] != step:
                beside = group.beside(piece, forward=step > last[1])
                came_from = group.beside(piece, forward=step < last[1])
                if last[2:] not in (place, came_from and (came_from.folder, came_from.step)):
                    beside = None  # a leap
        try:
            found = self._chunks.at(*place, row, point)
        except LookupError as error:
            with self._lock:
                self._told[place] = str(error)
            raise
        self._told.pop(place, None)
        if beside is not None:
            self._chunks.ahead(beside.folder, beside.step, row)
        return found

    def identity(self, run: int, step: int) -> tuple[str, int]:
        """What determines the params of a run in a chunk, as a text; and the place of the step in the chunk."""
        with self._lock:
            group, row = self._groups.of(run)
            piece, point = group.where(row, step)
            arrays = {name: one["sha256"] for name, one in sorted(piece.info["arrays"].get("traj", {}).items())}
            return repr((digests([group.configs[row]]), row, arrays)), point

    def refresh(self) -> bool:
        with self._lock:
            n_runs, before = len(self.runs), self._seen
            if new := self._groups.look():
                self._analysed.forget()
            if len(self.runs) > n_runs:
                self._describe()
            read = self._analysed.read()
            self._seen = self._state()
            return new or read or self._seen != before

    def _state(self) -> tuple[Any, ...]:
        """What changes beside the chunks: what was computed, the page's records, and what reading has found damaged."""
        return self._computed.found.version, self.page.look(), dict(self._told)

    def phases(self, run: int) -> Phases:
        return phases_of(run, self.steps, self.valid, self.measures, self.columns)

    def close(self) -> None:
        """Ends what goes on in the background."""
        self._computed.close()
        self._chunks.close()
