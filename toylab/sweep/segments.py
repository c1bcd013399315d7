"""The runs of a group in lanes: launched segment after segment, and one ahead of the next chunk.

A chunk ends with its last points on their way to the host. The device would wait until they are there, are judged and are
handed to the writer. So the first segment of the next chunk is launched before, from a copy of the state at the chunk's end
that stays on the device until it is committed. What is committed is the same: if runs end or training stops, what was
launched ahead is dropped and trained again.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from toylab.base import State, Trajectory
from toylab.sweep import memory
from toylab.sweep.lanes import Lane
from toylab.sweep.plan import Plan


class Launched(NamedTuple):
    """A segment on the device: its saved steps, and what its lanes will have recorded."""

    steps: list[int]
    recorded: list[tuple[Lane, Trajectory]]


class Lanes:
    """The lanes of a group.

    lanes      those on the device
    ahead      the first segment of the next chunk, if it has been launched
    has_room   whether there is memory for launching it ahead; None: not known before a chunk has been trained
    is_lost    whether the lanes' states are, because there was none
    """

    def __init__(self, plan: Plan, make: Callable[[list[int]], Lane]) -> None:
        """
        Args:
            plan: of the group.
            make: a lane of some runs, from the group's state on the host.
        """
        self.plan, self.make = plan, make
        self.lanes: list[Lane] = []
        self.ahead: Launched | None = None
        self.has_room: bool | None = None
        self.is_lost = self.is_trained = False

    def clear(self) -> None:
        """Frees the lanes' memory; what was launched ahead is dropped."""
        self.ahead, self.is_lost = None, False
        self.lanes.clear()

    def pack(self, ended: np.ndarray) -> None:
        """Makes lanes of the runs that have not ended, where these need fewer lanes than there are."""
        going = np.flatnonzero(~ended).tolist()
        members = [going[i : i + self.plan.lane] for i in range(0, len(going), self.plan.lane)]
        if self.is_lost or len(members) != len(self.lanes):
            self.clear()
            self.lanes = [self.make(runs) for runs in members]

    def launch(self, at: int, steps: list[int], ended: np.ndarray) -> Launched:
        """Launches the segment of some saved steps, from step `at`; or gives it, if it was launched ahead."""
        if self.ahead is not None:
            launched, self.ahead = self.ahead, None
            return launched
        gaps = np.diff([at, *steps])
        going = [lane for lane in self.lanes if not ended[lane.members].all()]
        return Launched(steps, [(lane, lane.launch(gaps, self.plan.segment)) for lane in going])

    def launch_ahead(self, steps: list[int], flying: Launched, ended: np.ndarray) -> None:
        """Launches the first segment of the next chunk, behind the last one of this chunk, if there is memory for it."""
        if not self._has_room(flying):
            return
        try:
            for lane in self.lanes:
                lane.keep()
            self.ahead = self.launch(flying.steps[-1], steps, ended)
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            if not memory.is_out_of_memory(error):
                raise
            self.has_room, self.is_lost = False, True

    def _has_room(self, flying: Launched) -> bool:
        """Decided once, when the most memory that a chunk takes is known."""
        if self.has_room is None and self.is_trained:
            kept = [lane.state for lane in self.lanes], [trajectory for _, trajectory in flying.recorded]
            more = sum(leaf.nbytes for leaf in jax.tree.leaves(kept))
            self.has_room = memory.MARGIN * more / memory.of_their_own(self.plan.shards) <= memory.room()
        return bool(self.has_room)

    def put_back(self, state: State) -> None:
        """Writes the state at the chunk's end into the group's on the host."""
        for lane in self.lanes:
            lane.put_back(state)
        self.is_trained = True
