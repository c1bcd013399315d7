"""What is explored: runs with their saved points, read from a folder or given as arrays."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from toylab.base import Config

if TYPE_CHECKING:
    from toylab.explore.demand.on_demand import OnDemand

Arrays = dict[str, np.ndarray]


class Recording(Protocol):
    """Runs that were measured alike: a sweep, or one part of a page. Axes: R run, T saved point of all runs.

    Nothing here raises for what is damaged, absent or still being written: `messages` says it, and the rest goes on.
    Numbers of runs stay; steps that come later may stand between those that there were.
    """

    @property
    def title(self) -> str:
        """What it is, as `grokking`, or `grokking: many seeds` of a page's part."""
        ...

    @property
    def runs(self) -> Sequence[str]:
        """[R]: the names of the runs."""
        ...

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """[R] each: the fields of the configs that are numbers or texts, as `optimizer.weight_decay`; nan or "" where a run
        lacks one. Classes are named without their modules."""
        ...

    @property
    def varying(self) -> Sequence[str]:
        """The names of the columns in which runs differ."""
        ...

    @property
    def steps(self) -> np.ndarray:
        """[T]: the saved steps of all runs, ascending."""
        ...

    @property
    def valid(self) -> np.ndarray:
        """[R, T]: whether a run has a point at a step."""
        ...

    @property
    def measures(self) -> Mapping[str, np.ndarray]:
        """[R, T, …] each: what the task measured, probes, and analyses as `logits/fve`. nan where a run has no point (0
        where the dtype has none). An array is read when it is first used."""
        ...

    @property
    def scalars(self) -> Sequence[str]:
        """The names of the measures that are one number a point, [R, T]. Listing them reads no array."""
        ...

    @property
    def final(self) -> Mapping[str, np.ndarray]:
        """[R, …] each: analyses of the runs' last points."""
        ...

    @property
    def shapes(self) -> Sequence[Mapping[str, tuple[int, ...]]]:
        """[R]: the shapes of a run's recorded params, by name; {} where it has none."""
        ...

    @property
    def no_params(self) -> str:
        """Why there are no weights, in a sentence; "" where there are."""
        ...

    @property
    def claims(self) -> Sequence[Mapping[str, Any]]:
        """The page's claims as they stand in claims.json; empty where it has none."""
        ...

    @property
    def figures(self) -> Mapping[str, str]:
        """Names of figures → file names inside the page's folder figures/."""
        ...

    @property
    def messages(self) -> Sequence[str]:
        """What is damaged, missing or still being written, a sentence each."""
        ...

    @property
    def on_demand(self) -> "OnDemand | None":
        """Analyzers that are computed when they are asked for; None where there are no weights to compute them from."""
        ...

    def config(self, run: int) -> Config | None:
        """The config of a run; None where it cannot be rebuilt, and its parts None where they are not known."""
        ...

    def data(self, run: int) -> Any:
        """The arrays that are fixed for a run (`train.data`); {} where the config is not known. Kept once made."""
        ...

    def params(self, run: int, at: int) -> Arrays:
        """The params of a run at the saved step number `at`, read from its chunk and checked. Few chunks are kept.

        Raises:
            LookupError: in a sentence, where the run has no point there, or the chunk is damaged or gone.
        """
        ...

    def refresh(self) -> bool:
        """Looks for what was committed since, and what was computed on demand; whether anything is new."""
        ...

    def phases(self, run: int) -> Sequence[tuple[str, float, float]]:
        """Phases of a run's training, where they are known: name, first and last step. Empty elsewhere."""
        ...
