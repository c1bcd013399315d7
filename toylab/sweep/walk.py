"""The saved steps of a group in order: what was measured there, and where each run ends.

STOP judges every point of a run, whichever pass recorded it. A later pass (toylab/records/passes.py) meets steps that
earlier ones have recorded: what it measures there must be the same, bit for bit.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toylab import store
from toylab.records.history import Arrays, blank, joined
from toylab.records.passes import Points
from toylab.sweep.manifest import Stop


class Unlike(store.Refused):
    """A later pass is not of the training that the earlier ones recorded."""


class Walk:
    """How far a group is along its saved steps.

    steps      all saved steps, ascending
    own        those that this pass records
    at         how many of `steps` are behind
    measures   [R, at], nan after a run's end
    ended, ends, diverged, lengths    [R]: whether a run has ended, at which step, its first step that was not finite, and
                                      how many of the own points it has
    messages   what is to be told
    """

    def __init__(
        self, folder: Path, runs: Sequence[str], stop: Stop | None, own: Sequence[int], known: Points | None = None
    ) -> None:
        """
        Args:
            folder: of the group, for messages.
            runs: their names.
            stop: as in a Spec.
            own: steps that this pass records.
            known: what earlier passes recorded.
        """
        self.folder, self.runs, self.stop, self.known = folder, runs, stop, known
        self.own = set(own)
        self.steps = sorted(self.own.union([] if known is None else known.steps.tolist()))
        self.at, self.measures, self.messages = 0, Arrays(), list[str]()
        self.ended, self.lengths = np.zeros(len(runs), bool), np.zeros(len(runs), int)
        self.ends: list[int | None] = [None] * len(runs)
        self.diverged: list[int | None] = [None] * len(runs)

    @property
    def step(self) -> int:
        """The last step that is behind; 0 before the first."""
        return self.steps[self.at - 1] if self.at else 0

    @property
    def next_own(self) -> int | None:
        """The next step that this pass records."""
        return next((step for step in self.steps[self.at :] if step in self.own), None)

    def start_at(self, step: int, points: Points, ended: Sequence[bool], lengths: Sequence[int]) -> None:
        """Places it behind a step up to which all is in `points`. Some runs have ended already, and all have points of this
        pass."""
        self.at = int(np.searchsorted(self.steps, step, side="right"))
        behind = points.at(self.steps[: self.at])
        self.measures = {name: value[:, behind] for name, value in points.items["measures"].items()}
        self.lengths[:] = lengths
        for run, end in enumerate(points.ends):
            if end is not None and (end <= step or ended[run]):
                self._end(run, end, points.diverged[run])

    def _end(self, run: int, step: int, diverged: int | None) -> None:
        self.ended[run], self.ends[run], self.diverged[run] = True, step, diverged

    def take(self, recorded: dict[str, Arrays], finite: np.ndarray) -> None:
        """Takes the next points, leaves [R, k, …]. Points after a run's end become blank in `recorded`.

        Raises:
            Unlike: where a point is not what an earlier pass recorded, or a run does not end where it ended there.
        """
        steps = self.steps[self.at : self.at + finite.shape[1]]
        is_own = np.array([step in self.own for step in steps])
        so_far = joined([self.measures, recorded["measures"]])
        for run in range(len(self.runs)):
            n_valid = 0 if self.ended[run] else self._points_until_end(run, so_far, finite[run], steps)
            self.lengths[run] += is_own[:n_valid].sum()
            if self.known is not None:
                self._compare(run, so_far, steps[:n_valid])
            for arrays in (*recorded.values(), {name: value[:, -len(steps) :] for name, value in so_far.items()}):
                for value in arrays.values():
                    value[run, n_valid:] = blank((), value.dtype)
        self.measures = so_far
        self.at += len(steps)

    def take_known(self, until: int) -> None:
        """Takes the next points, up to a step, as earlier passes recorded them."""
        steps = [step for step in self.steps[self.at :] if step <= until]
        if self.known is None or not steps:
            return
        at = self.known.at(steps)
        measures = {name: value[:, at].copy() for name, value in self.known.items["measures"].items()}
        diverged = np.array(self.known.diverged, float)
        self.take({"measures": measures}, ~(np.array(steps) >= diverged[:, None]))

    def check_ends(self, after: int) -> None:
        """Raises Unlike where a run has ended behind a step, but not where earlier passes ended it."""
        for run, (end, before) in enumerate(zip(self.ends, self._known.ends, strict=True)):
            if end is not None and end > after and end != before:
                raise Unlike(
                    f"run {self.runs[run]} of {self.folder} would end at step {end} with more points before, not at "
                    f"{before}: choose another --out for these."
                )

    def _points_until_end(self, run: int, so_far: Arrays, finite: np.ndarray, steps: Sequence[int]) -> int:
        """The number of new points that belong to the run: up to the first at which STOP is true or its params are not
        finite, inclusive."""
        n_finite = len(steps) if finite.all() else int(np.argmin(finite))
        if self.stop is not None:
            all_steps = np.array(self.steps[: self.at + len(steps)])
            for n in range(self.at + 1, self.at + min(n_finite + 1, len(steps)) + 1):
                past = {name: value[run, :n] for name, value in so_far.items()}
                if self.stop({"step": all_steps[:n], **past}):
                    self._end(run, int(all_steps[n - 1]), None)
                    return n - self.at
        if n_finite == len(steps):
            return n_finite
        self._end(run, int(steps[n_finite]), int(steps[n_finite]))
        if self.known is None or self.known.ends[run] != steps[n_finite]:
            self.messages.append(
                f"run {self.runs[run]} of {self.folder.name} diverged: at step {steps[n_finite]} its parameters are no "
                "longer finite; it ends there, the others go on."
            )
        return n_finite + 1

    def _compare(self, run: int, so_far: Arrays, steps: Sequence[int]) -> None:
        """Compares a run's new points with those that earlier passes recorded, and its end with that there."""
        known, end = self._known, self.ends[run]
        before = known.ends[run]
        at, places = known.at(steps), self.at + np.arange(len(steps))
        there = np.array([step not in self.own for step in steps], bool)
        there[there] = known.valid[run, at[there]]
        for name, value in known.items["measures"].items():
            old, new = value[run, at[there]], so_far[name][run, places[there]]
            if old.tobytes() != new.tobytes():
                step = next(
                    step for i, step in enumerate(np.array(steps)[there]) if old[i].tobytes() != new[i].tobytes()
                )
                raise Unlike(
                    f"{self.folder} trained again has another {name} at step {step} than before: the code, the data or the "
                    "start of its runs has changed. Save points after the last one only, or choose another --out."
                )
        if before is not None and steps and before <= steps[-1] and (end is None or end > before):
            raise Unlike(
                f"run {self.runs[run]} of {self.folder} ended at step {before}, and with more points before it would not "
                "end there: choose another --out for these."
            )
        if end is not None and steps and end == steps[-1] and known.valid[run, known.steps > end].any():
            self.messages.append(
                f"run {self.runs[run]} of {self.folder.name} ends at step {end} now, where STOP is true of a new point: "
                "its points after that stay on disk and are not read any more."
            )

    @property
    def _known(self) -> Points:
        assert self.known is not None
        return self.known
