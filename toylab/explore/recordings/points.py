"""The points of a group by the records of its chunks, of all its passes side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toylab.records import passes
from toylab.records.history import Arrays, blank


@dataclass(eq=False)
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
    def steps(self) -> np.ndarray:
        return np.array(self.info["steps"], int)

    @property
    def start(self) -> int:
        """The number of points of its pass before it."""
        return int(self.info["points"]) - len(self.info["steps"])


Where = tuple[Piece, int]  # a chunk, and the place of a point in it


class Points:
    """Points that chunks hold, put side by side as `toylab.records.passes.read` does.

    steps, valid    [T], [R, T]
    diverged        [R]: the step at which a run's params were no longer finite, or nan
    """

    def __init__(self, group: Path, about: Mapping[str, Any], pieces: Sequence[Piece]) -> None:
        """
        Args:
            group: its folder.
            about: its manifest.
            pieces: the chunks of all passes.
        """
        by_pass = {folder: [one for one in pieces if one.folder == folder] for folder, _ in passes.each(group, about)}
        newest = [max(own, key=lambda one: one.step).info if own else {} for own in by_pass.values()]
        ends, diverged = passes.ends(group, about, newest)
        self.diverged = np.array(diverged, float)
        last = np.array([np.inf if end is None else end for end in ends])
        self._held: list[tuple[Piece, np.ndarray]] = []  # chunks with the points [R, k] of runs that had not ended
        for own, info in zip(by_pass.values(), newest, strict=True):
            for piece in own:
                reached = piece.start + np.arange(len(piece.steps)) < np.array(info["lengths"])[:, None]
                self._held.append((piece, reached & (piece.steps <= last[:, None])))
        reached_by = [piece.steps[there.any(axis=0)] for piece, there in self._held]
        self.steps = np.unique(np.concatenate([np.zeros(0, int), *reached_by]))
        self.valid = np.zeros((len(ends), len(self.steps)), bool)
        for piece, there in self._held:
            rows, points = np.nonzero(there)
            self.valid[rows, np.searchsorted(self.steps, piece.steps)[points]] = True

    def where(self, row: int, step: int) -> Where:
        """The chunk of the newest pass that holds a point, and its place there. Raises LookupError where none does."""
        for piece, there in reversed(self._held):
            point = int(np.searchsorted(piece.steps, step))
            if point < len(piece.steps) and piece.steps[point] == step and there[row, point]:
                return piece, point
        raise LookupError(f"no point is saved at step {step}.")

    def measure(self, name: str) -> np.ndarray | None:
        """[R, T, …]: a measure, blank where it is not known; None where no chunk that was read has it."""
        blocks = [(*one, one[0].measures[name]) for one in self._held if one[0].measures and name in one[0].measures]
        if not blocks:
            return None
        first = blocks[0][2]
        out = blank((*self.valid.shape, *first.shape[2:]), first.dtype)
        for piece, there, block in blocks:
            rows, points = np.nonzero(there)
            out[rows, np.searchsorted(self.steps, piece.steps)[points]] = block[rows, points]
        out[self.valid & (self.steps >= self.diverged[:, None])] = blank((), out.dtype)
        return out
