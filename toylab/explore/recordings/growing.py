"""A group's folder while it may still grow: which chunks are there, and what was measured in them."""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toylab import store
from toylab.explore.recordings.points import Piece, Points, Where
from toylab.explore.wording import sentence
from toylab.records import binding, manifest, passes
from toylab.records.source import run_names

SETTLED = 2_000_000_000  # nanoseconds after which a folder's time of change tells that nothing was added since
Key = tuple[Path, int]  # of a chunk: the folder of its pass, its step


class Growing:
    """A group. `look` finds what was committed since; what was read stays.

    configs, runs    canonical, and names
    points           which the chunks hold
    pieces           the chunks that were found sound, also those that are gone since
    """

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            StoreError: where its manifest cannot be read.
        """
        self.folder = folder
        self.pieces: dict[Key, Piece] = {}
        self._bad: dict[Key, str] = {}  # chunks that cannot be read, and why
        self._unmeasured: dict[Key, str] = {}  # chunks whose measures cannot
        self._changed: dict[Path, tuple[int, int]] = {}
        listed = self._list(1)  # before the manifest, which grows where a run is recorded
        self.about = manifest.read(folder)
        self.configs: list[dict[str, Any]] = self.about["configs"]
        self.runs = run_names(self.configs)
        number = len(passes.saves_of(self.about))
        self._read(listed if number == 1 else self._list(number))

    def look(self) -> bool:
        """Whether chunks were added, or are gone or damaged, since. Reads the small records of new chunks alone."""
        if not self._bad and self._is_settled():
            return False
        number = len(passes.saves_of(self.about))
        listed = self._list(number)
        if listed == self._listed and not self._bad and not passes.folder_of(self.folder, number).is_dir():
            return False
        before = {key: piece.there for key, piece in self.pieces.items()}, self._bad
        with contextlib.suppress(store.StoreError):  # it is gone, or its training will write it anew
            self.about = manifest.read(self.folder)
        if len(passes.saves_of(self.about)) > number:
            listed = self._list(len(passes.saves_of(self.about)))
        new = self._read(listed)
        return new or before != ({key: piece.there for key, piece in self.pieces.items()}, self._bad)

    def _is_settled(self) -> bool:
        """Whether its folders are as they were when they were listed, and had been so for a while."""
        for folder, changed in self._changed.items():
            try:
                found = os.stat(folder)
            except OSError:
                return False
            if (found.st_ino, found.st_mtime_ns) != changed or self._when - found.st_mtime_ns < SETTLED:
                return False
        return True

    def _list(self, number: int) -> dict[Key, int]:
        """The chunks of so many passes, and when they were made: 0 where that is not known."""
        self._when, found = time.time_ns(), {}
        for folder in [passes.folder_of(self.folder, i) for i in range(number)]:
            try:
                of = os.stat(folder)
            except OSError:
                self._changed[folder] = (0, 0)
                continue
            self._changed[folder] = of.st_ino, of.st_mtime_ns
            for step in store.chunks(folder):
                try:
                    found[folder, step] = os.stat(folder / str(step) / "info" / "metadata").st_mtime_ns
                except OSError:
                    found[folder, step] = 0
        return found

    def _read(self, listed: dict[Key, int]) -> bool:
        """Reads the records of chunks that are new; whether there are any."""
        self._listed, self._bad, new = listed, {}, False
        abouts, runs = dict(passes.each(self.folder, self.about)), binding.digests(self.configs)
        for (folder, step), made in listed.items():
            known = self.pieces.get((folder, step))
            if known is not None and known.made == made:
                continue
            try:
                info = store.read_json(folder / str(step) / "info" / "metadata", sealed=True)
                binding.check(folder, info, abouts[folder], runs)
                if info.get("step") != step or not isinstance(info.get("arrays"), dict):
                    raise store.Damaged(f"the chunk at step {step} in {folder} is damaged: its record is of another")
                self.pieces[folder, step] = Piece(folder, step, made, info)
                new = True
            except store.StoreError as error:
                self._bad[folder, step] = sentence(error)
        for key, piece in self.pieces.items():
            piece.there = key in listed and key not in self._bad
        if new or not hasattr(self, "points"):
            self.points = Points(self.folder, self.about, list(self.pieces.values()))
        return new

    def where(self, row: int, step: int) -> Where:
        """The chunk that holds the params of a run, and the point's place in it. Raises LookupError where none does."""
        try:
            return self.points.where(row, step)
        except LookupError as error:
            raise LookupError(f"{self.runs[row]}: {error}") from None

    def beside(self, piece: Piece, forward: bool) -> Piece | None:
        """The chunk of the same pass that follows, or the one before."""
        own = sorted((one for one in self.pieces.values() if one.folder == piece.folder), key=lambda one: one.step)
        at = own.index(piece)
        later = own[at + 1 :] if forward else own[:at][::-1]
        return next((one for one in later if one.there), None)

    def recorded(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of the recorded params."""
        return self._shapes("traj")

    def measured(self) -> Mapping[str, tuple[int, ...]]:
        """The names of measures and probes, and their shapes after [R, T]."""
        return {**self._shapes("measures"), **self._shapes("probes")}

    def _shapes(self, item: str) -> dict[str, tuple[int, ...]]:
        newest = max(self.pieces.values(), key=lambda piece: piece.step, default=None)
        described = newest.info["arrays"].get(item, {}) if newest else {}
        return {name: tuple(one["shape"][2:]) for name, one in described.items()}

    def load(self) -> None:
        """Reads the measures of the chunks whose measures are not read yet. Those of a damaged one stay nan."""
        for key, piece in list(self.pieces.items()):
            if piece.measures is None:
                try:
                    items, _ = store.read_chunk(piece.folder, piece.step, ("measures", "probes"), alone=True)
                    piece.measures = {**items.get("measures", {}), **items.get("probes", {})}
                    self._unmeasured.pop(key, None)
                except store.StoreError as error:
                    piece.measures = {}
                    self._unmeasured[key] = sentence(error)

    @property
    def messages(self) -> list[str]:
        """What is damaged or gone, in sentences."""
        damaged = dict.fromkeys([*self._bad.values(), *self._unmeasured.values()])
        gone = [key for key, piece in self.pieces.items() if not piece.there and key not in self._bad]
        return [
            *damaged,
            *(f"the chunk at step {step} in {folder} is gone: its weights cannot be shown." for folder, step in gone),
        ]
