"""The groups of a sweep side by side, while they may still grow and others may join them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np

from toylab import store
from toylab.explore.recording import Arrays
from toylab.explore.recordings.growing import Growing
from toylab.explore.wording import sentence
from toylab.records import manifest
from toylab.records.history import blank
from toylab.records.order import order_of
from toylab.records.reader import READERS


class Groups:
    """Runs of all groups, in the order of `toylab.load`; those that come later follow.

    runs, steps, valid    [R], [T], [R, T]
    """

    def __init__(self, sweep: Path, alone: bool) -> None:
        """
        Args:
            sweep: the folder of the groups.
            alone: whether it is that of one group itself.
        """
        self.sweep, self.alone = sweep, alone
        self._groups: dict[str, Growing] = {}
        self._unread: dict[str, str] = {}
        self._of: list[tuple[Growing, int]] = []
        self.look()

    def __iter__(self) -> Iterator[Growing]:
        return iter(self._groups.values())

    def look(self) -> bool:
        """Looks into every group, and for new ones; whether there is anything new."""
        new = [group for group in self._groups.values() if group.look()]
        first, before = not self._groups, dict(self._unread)
        self._unread = {}
        for folder in self._unknown():
            try:
                self._groups[folder.name] = Growing(folder)
                new.append(self._groups[folder.name])
            except store.StoreError as error:
                self._unread[folder.name] = sentence(error)
        if new or first:
            self._arrange(first)
        return bool(new) or before != self._unread

    def _unknown(self) -> list[Path]:
        """The groups that are begun and not known yet."""
        if self.alone:
            return [] if self._groups else [self.sweep]
        if not self._groups:
            return manifest.begun(self.sweep)
        try:
            names = [name for name in os.listdir(self.sweep) if manifest.NUMBERED.match(name)]
        except OSError:  # it is gone
            return []
        folders = [self.sweep / name for name in sorted(names) if name not in self._groups]
        return [one for one in folders if (one / "manifest.json").exists() or store.chunks(one)]

    def _arrange(self, first: bool) -> None:
        known = {id(group) for group, _ in self._of}
        more = [(g, row) for g in self._groups.values() if id(g) not in known for row in range(len(g.configs))]
        if first and more:
            more = [more[i] for i in order_of(cast(Any, [*self._groups.values()]))]
        self._of += more
        self.runs: Sequence[str] = [group.runs[row] for group, row in self._of]
        self._rows: dict[int, list[tuple[int, int]]] = {}
        for run, (group, row) in enumerate(self._of):
            self._rows.setdefault(id(group), []).append((run, row))
        self.steps = np.unique(np.concatenate([np.zeros(0, int), *(group.points.steps for group in self)]))
        self.valid = np.zeros((len(self.runs), len(self.steps)), bool)
        for group in self:
            self._put(self.valid, group, group.points.valid)
        recorded = {id(group): group.recorded() for group in self}
        self.shapes: list[Mapping[str, tuple[int, ...]]] = [recorded[id(group)] for group, _ in self._of]
        self._tails = self._greatest()
        self._made: Arrays = {}

    def _put(self, out: np.ndarray, group: Growing, value: np.ndarray) -> None:
        """Puts an array of a group [R, T, …] to its runs and steps, with the sizes that it has."""
        runs, rows = np.array(self._rows[id(group)]).T
        columns = np.searchsorted(self.steps, group.points.steps)
        inner = tuple(slice(n) for n in value.shape[2:])
        out[(runs[:, None], columns, *inner)] = value[rows]

    def _greatest(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for group in self:
            for name, tail in group.measured().items():
                before = found.get(name, tail)
                if len(before) == len(tail):
                    found[name] = tuple(max(pair) for pair in zip(before, tail, strict=True))
        return found

    def of(self, run: int) -> tuple[Growing, int]:
        """The group of a run, and its row there."""
        return self._of[run]

    def config(self, run: int) -> Mapping[str, Any]:
        """The config of a run in canonical form."""
        group, row = self._of[run]
        return group.configs[row]

    def measured(self) -> Mapping[str, tuple[int, ...]]:
        """The names of measures of the task and probes, and their greatest shapes after [R, T]."""
        return self._tails

    def measure(self, name: str) -> np.ndarray:
        """[R, T, …]: a measure of the task, or a probe; blank where there is none. Reads what is not read yet."""
        if name not in self._made:
            self._load()
            blocks = [(group, value) for group in self if (value := group.points.measure(name)) is not None]
            blocks = [(group, value) for group, value in blocks if value.ndim == 2 + len(self._tails[name])]
            dtype = np.result_type(*[value for _, value in blocks]) if blocks else np.dtype(np.float32)
            out = blank((*self.valid.shape, *self._tails[name]), dtype)
            for group, value in blocks:
                self._put(out, group, value)
            self._made[name] = out
        return self._made[name]

    def _load(self) -> None:
        """Reads the measures of all chunks that are not read yet, several groups at once."""
        waiting = [group for group in self if any(piece.measures is None for piece in group.pieces.values())]
        if len(waiting) == 1:
            waiting[0].load()
        elif waiting:
            with ThreadPoolExecutor(READERS) as pool:
                list(pool.map(Growing.load, waiting))

    @property
    def messages(self) -> list[str]:
        return [*self._unread.values(), *(message for group in self for message in group.messages)]
