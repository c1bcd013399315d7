"""A group's folder while it may still grow: which points are there, and what was measured at them, chunk by chunk."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toylab import store
from toylab.records import binding, manifest, passes
from toylab.records.history import Arrays, blank
from toylab.records.source import run_names

SETTLED = 2_000_000_000  # nanoseconds after which a folder's time of change tells that nothing was added since
Where = tuple["Piece", int]  # a chunk, and the place of a point in it


@dataclass
class Piece:
    """A chunk on disk."""

    folder: Path
    """Of the pass: that of the group, or pass-1, … in it."""
    step: int
    """By which it is named: that of its last point."""
    made: int
    """When its record was written, in nanoseconds: another chunk of that name has another time."""
    info: dict[str, Any]
    """Its record."""
    measures: Arrays | None = field(default=None)
    """[R, k, …]: measures and probes, once they are read."""
    there: bool = True
    """Whether it is still on disk."""

    @property
    def start(self) -> int:
        """The number of points of its pass before it."""
        return int(self.info["points"]) - len(self.info["steps"])

    @property
    def place(self) -> str:
        return f"the chunk at step {self.step} in {self.folder}"


class Growing:
    """A group. `look` finds what was committed since; what was read stays.

    configs, runs    canonical, and names
    steps, valid     [T], [R, T]: the points of all its passes
    diverged         [R]: the step at which a run's params were no longer finite, or nan
    """

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            StoreError: where its manifest cannot be read.
        """
        self.folder = folder
        self.pieces: dict[tuple[Path, int], Piece] = {}
        self.bad: dict[tuple[Path, int], str] = {}  # chunks that cannot be read, and why
        self.unmeasured: dict[tuple[Path, int], str] = {}  # chunks whose measures cannot
        self._times: dict[Path, tuple[int, int]] = {}
        self._listed = 0
        self.about: dict[str, Any] = {}
        self.look()

    def look(self) -> bool:
        """Whether chunks were added, or are gone or damaged, since. Reads the small records of new chunks only.

        Raises:
            StoreError: the first time, where its manifest cannot be read.
        """
        if self.about and not self.bad and self._is_settled():
            return False
        self._listed = time.time_ns()
        before, lost = dict(self.bad), [piece for piece in self.pieces.values() if not piece.there]
        number = len(passes.saves_of(self.about)) if self.about else 1
        listed = self._list(number)  # before the manifest, which grows where a run is recorded
        if (
            self.about
            and listed == {key: piece.made for key, piece in self.pieces.items() if piece.there}
            and not self.bad
        ):
            if not passes.folder_of(self.folder, number).is_dir():
                return False
        try:
            self.about = manifest.read(self.folder)
        except store.StoreError:
            if not self.about:
                raise
            return False  # its training writes it anew, or it is gone
        self.configs = self.about["configs"] if not hasattr(self, "configs") else self.configs
        self.runs = run_names(self.configs)
        if len(passes.saves_of(self.about)) > number:
            listed |= self._list(len(passes.saves_of(self.about)))
        new = self._read(listed)
        for key, piece in self.pieces.items():
            piece.there = key in listed
        self._arrange()
        return new or self.bad != before or lost != [piece for piece in self.pieces.values() if not piece.there]

    def _is_settled(self) -> bool:
        """Whether its folders are as they were when they were listed."""
        for folder, time_of in self._times.items():
            try:
                found = os.stat(folder)
            except OSError:
                return False
            if (found.st_ino, found.st_mtime_ns) != time_of or self._listed - found.st_mtime_ns < SETTLED:
                return False
        return True

    def _list(self, number: int) -> dict[tuple[Path, int], int]:
        """The chunks of so many passes, and when they were made."""
        found = {}
        for folder in [passes.folder_of(self.folder, i) for i in range(number)]:
            try:
                of = os.stat(folder)
            except OSError:
                continue
            self._times[folder] = of.st_ino, of.st_mtime_ns
            for step in store.chunks(folder):
                try:
                    found[folder, step] = os.stat(folder / str(step) / "info" / "metadata").st_mtime_ns
                except OSError:
                    found[folder, step] = 0
        return found

    def _read(self, listed: Mapping[tuple[Path, int], int]) -> bool:
        """Reads the records of new chunks; whether there are any."""
        abouts, runs, new = dict(passes.each(self.folder, self.about)), binding.digests(self.configs), False
        self.bad = {}
        for key, made in listed.items():
            if key in self.pieces and self.pieces[key].made == made and made:
                continue
            folder, step = key
            try:
                info = store.read_info(folder, step)
                binding.check(folder, info, abouts[folder], runs)
                self.pieces[key] = Piece(folder, step, made, info)
                new = True
            except store.StoreError as error:
                self.bad[key] = str(error)
        return new

    def _arrange(self) -> None:
        """Puts the points of the passes side by side, as `toylab.records.passes.read` does."""
        n_runs, folders = len(self.configs), [folder for folder, _ in passes.each(self.folder, self.about)]
        own = {
            folder: sorted((p for p in self.pieces.values() if p.folder == folder), key=lambda p: p.step)
            for folder in folders
        }
        newest = [pieces[-1].info if pieces else {} for pieces in own.values()]
        ends, diverged = passes.ends(self.folder, self.about, newest)
        self.diverged = np.array(diverged, float)
        self.ended = np.array([end is not None for end in ends], bool)
        last = np.array([np.inf if end is None else end for end in ends])
        self._masks: list[tuple[Piece, np.ndarray]] = []
        for pieces, info in zip(own.values(), newest, strict=True):
            for piece in pieces:
                steps = np.array(piece.info["steps"])
                reached = piece.start + np.arange(len(steps)) < np.array(info["lengths"])[:, None]
                self._masks.append((piece, reached & (steps <= last[:, None])))
        steps = [np.array(piece.info["steps"])[there.any(axis=0)] for piece, there in self._masks]
        self.steps = np.unique(np.concatenate([np.zeros(0, int), *steps]))
        self.valid = np.zeros((n_runs, len(self.steps)), bool)
        self._where: list[list[Where]] = [[] for _ in self.steps]
        for piece, there in self._masks:
            rows, points = np.nonzero(there)
            columns = np.searchsorted(self.steps, piece.info["steps"])
            self.valid[rows, columns[points]] = True
            for point in np.flatnonzero(there.any(axis=0)):
                self._where[columns[point]].append((piece, int(point)))

    def where(self, row: int, step: int) -> Where:
        """Where the params of a run at a step lie.

        Raises:
            LookupError: where it has no point there.
        """
        at = int(np.searchsorted(self.steps, step))
        if at == len(self.steps) or self.steps[at] != step or not self.valid[row, at]:
            raise LookupError(f"{self.runs[row]} has no point at step {step}.")
        held = {id(piece): there for piece, there in self._masks}
        return [one for one in self._where[at] if held[id(one[0])][row, one[1]]][-1]  # of the newest pass, as `load`

    def recorded(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of the recorded params."""
        described = self._newest.get("arrays", {}).get("traj", {})
        return {name: tuple(one["shape"][2:]) for name, one in described.items()}

    def measured(self) -> dict[str, tuple[int, ...]]:
        """The names of measures and probes, with their shapes after [R, T]."""
        arrays = self._newest.get("arrays", {})
        each = {**arrays.get("measures", {}), **arrays.get("probes", {})}
        return {name: tuple(one["shape"][2:]) for name, one in each.items()}

    @property
    def _newest(self) -> Mapping[str, Any]:
        return max(self.pieces.values(), key=lambda piece: piece.made).info if self.pieces else {}

    def load(self) -> None:
        """Reads the measures of the chunks whose measures are not read yet. Those of a damaged one stay nan."""
        for key, piece in list(self.pieces.items()):
            if piece.measures is None:
                try:
                    items, _ = store.read_chunk(piece.folder, piece.step, ("measures", "probes"), alone=True)
                    piece.measures = {**items.get("measures", {}), **items.get("probes", {})}
                    self.unmeasured.pop(key, None)
                except store.StoreError as error:
                    piece.measures = {}
                    self.unmeasured[key] = str(error)

    def measure(self, name: str) -> np.ndarray | None:
        """[R, T, …]: a measure, blank where it is not known; None where no chunk has it. `load` comes first."""
        blocks = [
            (piece, there, piece.measures[name]) for piece, there in self._masks if name in (piece.measures or {})
        ]
        if not blocks:
            return None
        first = blocks[0][2]
        out = blank((*self.valid.shape, *first.shape[2:]), first.dtype)
        for piece, there, block in blocks:
            rows, points = np.nonzero(there)
            out[rows, np.searchsorted(self.steps, piece.info["steps"])[points]] = block[rows, points]
        out[self.valid & (self.steps >= self.diverged[:, None])] = blank((), out.dtype)
        return out

    @property
    def messages(self) -> list[str]:
        """What is damaged or gone, in sentences."""
        gone = [
            f"{piece.place} is gone: its weights cannot be shown." for piece in self.pieces.values() if not piece.there
        ]
        damaged = dict.fromkeys([*self.bad.values(), *self.unmeasured.values()])
        return [f"{message.removesuffix('.')}." for message in damaged] + [one[0].upper() + one[1:] for one in gone]
