"""Runs with their trajectory, while they may still be training: a page's runs/, a sweep's folder, or that of a group."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np

from toylab import store
from toylab.base import Config
from toylab.explore.analysed import Analysed
from toylab.explore.chunks import Chunks
from toylab.explore.committed import title_of
from toylab.explore.described import Described, columns_of, varying
from toylab.explore.growing import Growing
from toylab.explore.lab_page import LabPage
from toylab.explore.phases import Phases, phases_of
from toylab.explore.recording import Arrays
from toylab.records import manifest
from toylab.records.history import blank
from toylab.records.order import order_of
from toylab.records.reader import READERS, Named, absent


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
        self.page, self.part, self.sweep, self._alone = page, part, sweep, alone
        self._lock = threading.RLock()
        self._chunks = Chunks()
        self._groups: dict[str, Growing] = {}
        self._unread: dict[str, str] = {}
        self._told: dict[tuple[Path, int], str] = {}
        self._of: list[tuple[Growing, int]] = []
        self._last: tuple[int, int] = (0, 0)
        self._look()
        groups = list(self._groups.values())
        if groups:
            each = [(group, row) for group in groups for row in range(len(group.configs))]
            self._of = [each[i] for i in order_of(cast(Any, groups))]
        self._described = Described(lambda run: self._of[run][0].configs[self._of[run][1]], lambda: self.page.module)
        self._arrange()
        self._analysed = Analysed(self, page.folder, part, lambda: page.records().get(part, {}))

    # --- what is there

    def _look(self) -> bool:
        """Looks into every group, and for new ones; whether there is anything new."""
        new = [group for group in self._groups.values() if group.look()]
        for name, folder in self._folders():
            try:
                self._groups[name] = Growing(folder)
                self._unread.pop(name, None)
                new.append(self._groups[name])
            except store.StoreError as error:
                self._unread[name] = f"{str(error).removesuffix('.')}."
        return bool(new)

    def _folders(self) -> Iterator[tuple[str, Path]]:
        """The groups that are begun and not known yet."""
        if self._alone:
            yield from [] if self._groups else [(self.sweep.name, self.sweep)]
            return
        try:
            names = [name for name in os.listdir(self.sweep) if manifest.NUMBERED.match(name)]
        except OSError:
            names = []
        unknown = {name for name in names if name not in self._groups}
        if unknown and not self._groups:
            yield from ((path.name, path) for path in manifest.begun(self.sweep))
            return
        for name in sorted(unknown):
            if (self.sweep / name / "manifest.json").exists() or store.chunks(self.sweep / name):
                yield name, self.sweep / name

    def _arrange(self) -> None:
        """Puts the groups side by side. New runs follow those that there were."""
        known = {id(group) for group, _ in self._of}
        for group in self._groups.values():
            if id(group) not in known:
                self._of += [(group, row) for row in range(len(group.configs))]
        self.runs = [group.runs[row] for group, row in self._of]
        self._rows: dict[int, list[tuple[int, int]]] = {}
        for run, (group, row) in enumerate(self._of):
            self._rows.setdefault(id(group), []).append((run, row))
        self.steps = np.unique(np.concatenate([np.zeros(0, int), *(group.steps for group in self._groups.values())]))
        self.valid = np.zeros((len(self.runs), len(self.steps)), bool)
        for group in self._groups.values():
            self._put(self.valid, group, group.valid)
        if not hasattr(self, "columns") or len(next(iter(self.columns.values()), ())) != len(self.runs):
            self.columns = columns_of([group.configs[row] for group, row in self._of])
            self.varying = varying(self.columns)
        recorded = {id(group): group.recorded() for group in self._groups.values()}
        self.shapes = [recorded[id(group)] for group, _ in self._of]
        self._tails = self._all_measured()
        self._made: Arrays = {}

    def _put(self, out: np.ndarray, group: Growing, value: np.ndarray) -> None:
        """Puts an array of a group [R, T, …] to its runs and steps, with the sizes that it has."""
        runs, rows = np.array(self._rows[id(group)]).T
        columns = np.searchsorted(self.steps, group.steps)
        inner = tuple(slice(n) for n in value.shape[2:])
        out[(runs[:, None], columns, *inner)] = value[rows]

    def _all_measured(self) -> dict[str, tuple[int, ...]]:
        """The measures of all groups, and their greatest shapes after [R, T]."""
        found: dict[str, tuple[int, ...]] = {}
        for group in self._groups.values():
            for name, tail in group.measured().items():
                before = found.get(name, tail)
                if len(before) == len(tail):
                    found[name] = tuple(max(pair) for pair in zip(before, tail, strict=True))
        return found

    def measured(self) -> Mapping[str, tuple[int, ...]]:
        """The names of measures of the task and probes, and their shapes after [R, T]."""
        return self._tails

    def measure(self, name: str) -> np.ndarray:
        """[R, T, …]: a measure of the task, or a probe."""
        with self._lock:
            if name not in self._made:
                self._load()
                blocks = [
                    (group, value) for group in self._groups.values() if (value := group.measure(name)) is not None
                ]
                blocks = [(group, value) for group, value in blocks if value.ndim == 2 + len(self._tails[name])]
                dtype = np.result_type(*[value for _, value in blocks]) if blocks else np.dtype(np.float32)
                out = blank((*self.valid.shape, *self._tails[name]), dtype)
                for group, value in blocks:
                    self._put(out, group, value)
                self._made[name] = out
            return self._made[name]

    def _load(self) -> None:
        """Reads the measures of all chunks that are not read yet, several groups at once."""
        waiting = [g for g in self._groups.values() if any(piece.measures is None for piece in g.pieces.values())]
        if len(waiting) == 1:
            waiting[0].load()
        elif waiting:
            with ThreadPoolExecutor(READERS) as pool:
                list(pool.map(Growing.load, waiting))

    # --- the protocol

    @property
    def title(self) -> str:
        return title_of(self.page.name, self.part)

    @property
    def measures(self) -> Mapping[str, np.ndarray]:
        with self._lock:
            self._analysed.read()
            analyses = self._analysed.shapes()
        own = self._tails
        return Named([*own, *analyses], lambda name: self.measure(name) if name in own else self._analysis(name))

    def _analysis(self, name: str) -> np.ndarray:
        with self._lock:
            return self._analysed.over_steps(name)

    @property
    def final(self) -> Mapping[str, np.ndarray]:
        with self._lock:
            self._analysed.read()
            return Named(self._analysed.final_names(), self._analysed.final)

    @property
    def scalars(self) -> list[str]:
        """The names of the measures that are one number a point."""
        with self._lock:
            self._analysed.read()
            return [name for name, tail in {**self._tails, **self._analysed.shapes()}.items() if not tail]

    @property
    def claims(self) -> list[Mapping[str, Any]]:
        return self.page.claims(self.part)

    @property
    def figures(self) -> dict[str, str]:
        return self.page.figures(self.part)

    @property
    def no_params(self) -> str:
        if not self._of or any(self.shapes):
            return ""
        if not len(self.steps):
            return "No point is saved yet: the weights are shown once the first is."
        return "These runs were trained without recording weights (keep=()): there are their measures alone."

    @property
    def messages(self) -> list[str]:
        with self._lock:
            of_groups = [message for group in self._groups.values() for message in group.messages]
            more = [*self._unread.values(), *of_groups, *self._told.values(), *self._analysed.messages]
            waits = f"{self.sweep} has no complete chunk yet: its points are shown once training has saved some."
            waiting = [] if len(self.steps) else [waits]
            begun = [] if self._alone else absent(self.sweep)
            return list(dict.fromkeys([*self.page.messages, *waiting, *begun, *more, *self._described.messages]))

    def config(self, run: int) -> Config | None:
        return self._described.config(run)

    def data(self, run: int) -> Any:
        return self._described.data(run)

    def params(self, run: int, at: int) -> Arrays:
        return self.at_step(run, int(self.steps[at]))

    def at_step(self, run: int, step: int) -> Arrays:
        """The params of a run at a saved step; the chunk before or after is read ahead, by the way that steps go.

        Raises:
            LookupError: as of `params`.
        """
        with self._lock:
            group, row = self._of[run]
            piece, point = group.where(row, step)
            ahead = self._beside(group, row, step, forward=(run, step) >= self._last)
            self._last = run, step
        try:
            found = self._chunks.at(piece.folder, piece.step, row, point)
        except LookupError as error:
            with self._lock:
                self._told[piece.folder, piece.step] = f"{str(error)[0].upper()}{str(error)[1:]}"
            raise
        with self._lock:
            self._told.pop((piece.folder, piece.step), None)
        if ahead is not None:
            self._chunks.ahead(*ahead, row)
        return found

    def _beside(self, group: Growing, row: int, step: int, forward: bool) -> tuple[Path, int] | None:
        """The chunk that follows, or the one before."""
        own = sorted({piece.step for piece in group.pieces.values() if piece.folder == group.folder})
        near = [one for one in own if one > step] if forward else [one for one in own if one < step]
        later = near[1:2] if forward else near[-1:]
        return (group.folder, later[0]) if later else None

    def refresh(self) -> bool:
        with self._lock:
            new = self._look()
            if new:
                self._arrange()
                self._analysed.forget()
            if read := self._analysed.read():
                self.page.read()
            return new or read

    def phases(self, run: int) -> Phases:
        return phases_of(run, self.steps, self.valid, self.measures, self.columns)

    def close(self) -> None:
        """Ends what goes on in the background."""
        self._chunks.close()
