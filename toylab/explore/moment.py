"""A run at one of its saved points, as a view sees it."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from toylab.base import Config, Run
from toylab.explore.recording import Arrays, Recording


class Moment:
    """A run at a saved point.

    run, at        the number of the run, and of the saved step among those of all runs
    name, step     the run's name, and the step
    steps          [t]: the saved steps of this run; `measures` and `place` are by these
    params         the weights by name, as NumPy arrays; reading them the first time reads a chunk
    config, net, task, data    of the run; None (data: {}) where they are not known
    measures       [t, …] each: all points of this run
    """

    def __init__(self, recording: Recording, run: int, at: int, kept: dict[Any, Any] | None = None) -> None:
        self.recording, self.run, self.at = recording, run, at
        self._kept: dict[Any, Any] = {} if kept is None else kept

    @property
    def name(self) -> str:
        return self.recording.runs[self.run]

    @property
    def step(self) -> int:
        return int(self.recording.steps[self.at])

    @cached_property
    def steps(self) -> np.ndarray:
        return self.recording.steps[self.recording.valid[self.run]]

    @cached_property
    def place(self) -> int:
        """The place of this point among the run's own."""
        return int(np.searchsorted(self.steps, self.step))

    @cached_property
    def params(self) -> Arrays:
        return self.recording.params(self.run, self.at)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of the params; {} where there are none. Reads nothing."""
        return self.recording.shapes[self.run]

    @property
    def config(self) -> Config | None:
        return self.recording.config(self.run)

    @property
    def net(self) -> Any:
        return self.config and self.config.net

    @property
    def task(self) -> Any:
        return self.config and self.config.task

    @property
    def data(self) -> Any:
        return self.recording.data(self.run)

    def as_run(self) -> Run:
        """What an analyzer gets besides the params.

        Raises:
            ValueError: where the config is not known.
        """
        if self.config is None:
            raise ValueError(f"the config of {self.name} is not known.")
        return Run(config=self.config, data=self.data)

    def has(self, measure: str) -> bool:
        return measure in self.recording.measures

    def over_steps(self, measure: str) -> np.ndarray:
        """[t, …]: a measure at all points of the run."""
        return self.recording.measures[measure][self.run][self.recording.valid[self.run]]

    def now(self, measure: str) -> np.ndarray:
        """[…]: a measure at this point."""
        return self.recording.measures[measure][self.run, self.at]

    def other(self, place: int) -> "Moment":
        """The run at another of its points, by its place among the run's own; -1 is the last."""
        own = np.flatnonzero(self.recording.valid[self.run])
        return Moment(self.recording, self.run, int(own[place]), self._kept)

    def kept(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once for this run: a compiled function, or what does not change with the step."""
        whole = (self.run, key)
        if whole not in self._kept:
            self._kept[whole] = make()
        return self._kept[whole]
