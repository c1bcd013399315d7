"""The moments of a recording that are looked at: few are kept, so that all views of a point share its params."""

from collections import OrderedDict
from typing import Any

import numpy as np

from toylab.explore.moment import Moment
from toylab.explore.recording import Recording

MOST = 4


class Moments:
    """Moments of a recording.

    Args:
        recording: of the runs.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._made: OrderedDict[tuple[int, int], Moment] = OrderedDict()
        self._kept: dict[Any, Any] = {}

    def at(self, run: int, at: int) -> Moment:
        """A run at a saved point of all runs; where the run has none there, at its last one before, else its first."""
        own = np.flatnonzero(self.recording.valid[run])
        before = own[own <= at]
        found = int(before[-1] if len(before) else own[0]) if len(own) else at
        if (run, found) not in self._made:
            while len(self._made) >= MOST:
                self._made.popitem(last=False)
            self._made[run, found] = Moment(self.recording, run, found, self._kept)
        return self._made[run, found]

    def lacking(self, run: int) -> str:
        """Why a run can be shown at no point, in a sentence; "" where it can."""
        if not self.recording.runs:
            return "There is no run yet."
        return "" if self.recording.valid[run].any() else f"{self.recording.runs[run]} has no saved point yet."

    def forget(self) -> None:
        """Drops those that are kept, as when points have come."""
        self._made.clear()
