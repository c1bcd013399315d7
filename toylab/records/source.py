"""A group read back from its folder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from toylab import configs as cfg
from toylab import store
from toylab.base import Config
from toylab.records import manifest, passes
from toylab.records.history import Arrays, masked
from toylab.records.rebuilt import config_of, is_recorded


@dataclass(frozen=True)
class Group:
    """A group read back: steps [T], arrays [R, T, …], valid [R, T].

    After a run's end its arrays are nan and valid is False. If a run diverged, its last point is the one at which it did:
    valid is True there, and measures and probes are nan.
    """

    name: str
    configs: list[dict[str, Any]]  # canonical
    runs: list[str]
    steps: np.ndarray
    valid: np.ndarray
    params: Arrays
    measures: Arrays
    probes: Arrays
    messages: list[str]
    manifest: dict[str, Any]
    ended: np.ndarray  # [R]: whether its stop, or a divergence, has ended a run
    diverged: np.ndarray  # [R]: the step at which a run's params were no longer finite, or nan
    recorded: dict[str, tuple[tuple[int, ...], np.dtype]]  # the params on disk: shape after [R, T], dtype

    def only(self, rows: np.ndarray) -> "Group":
        """The group with only some of its runs, by index."""
        return replace(
            self,
            configs=[self.configs[row] for row in rows],
            runs=[self.runs[row] for row in rows],
            valid=self.valid[rows],
            params={name: value[rows] for name, value in self.params.items()},
            measures={name: value[rows] for name, value in self.measures.items()},
            probes={name: value[rows] for name, value in self.probes.items()},
            ended=self.ended[rows],
            diverged=self.diverged[rows],
        )


def run_names(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of runs by their canonical configs: their own where they were recorded elsewhere, else ten digits."""
    return [canonical["name"] if is_recorded(canonical) else cfg.digest_of(canonical)[:10] for canonical in configs]


def read_group(
    folder: Path, params: bool = True, about: Mapping[str, Any] | None = None, until: int | None = None
) -> Group:
    """Reads a group. Without chunks it has no points.

    Args:
        folder: of the group.
        params: False leaves the trajectories out.
        about: its manifest, if it is read already.
        until: the chunks up to this step alone; None for all.
    """
    about = manifest.read(folder) if about is None else about
    items = ("traj", "measures", "probes") if params else ("measures", "probes")
    points = passes.read(folder, about, items, alone=True, until=until)
    diverged = np.array(points.diverged, float)
    finite = ~(points.steps >= diverged[:, None])
    described = points.arrays.get("traj", {})
    return Group(
        name=folder.name,
        configs=about["configs"],
        runs=run_names(about["configs"]),
        steps=points.steps,
        valid=points.valid,
        params=points.items.get("traj", {}),
        measures=masked(points.items["measures"], finite),
        probes=masked(points.items["probes"], finite),
        messages=points.messages,
        manifest=dict(about),
        ended=points.ended,
        diverged=diverged,
        recorded={name: (tuple(one["shape"][2:]), np.dtype(one["dtype"])) for name, one in described.items()},
    )


class Block(NamedTuple):
    """Some saved points of a run: its row, their places among the steps of the group, and params [t, …]."""

    row: int
    at: np.ndarray
    params: Arrays


def windows(n: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of windows of up to `size` that cover n points. All are of one length, so that a program is compiled
    once; the last may begin within the one before."""
    size = -(-n // -(-n // size)) if n else size
    for start in range(0, n, size):
        start = min(start, n - size)
        yield start, start + size


class Runs(Protocol):
    """Where a sweep reads runs from: a group's folder, or checkpoints from elsewhere (`importers.load_many`)."""

    folder: Path  # by whose name the group is called
    part: str
    sweep: str

    @property
    def runs(self) -> list[str]: ...

    @property
    def configs(self) -> list[dict[str, Any]]: ...

    @property
    def group(self) -> Group: ...

    def read(self, params: bool = True) -> Group: ...

    def config(self, row: int) -> Config: ...

    def param(self, name: str) -> np.ndarray: ...

    def blocks(self, rows: np.ndarray, size: int, *, last: bool = False) -> Iterator[Block]: ...


class Source:
    """A group's folder. Its manifest is read at once, measures and probes when first used, params each time by name. What
    is committed later belongs to the next Source of the folder."""

    def __init__(self, folder: Path, part: str, sweep: str = "") -> None:
        self.folder, self.part, self.sweep = folder, part, sweep
        self.until = max(store.chunks(folder), default=-1)  # before the manifest, which grows where a run is recorded
        self.about = manifest.read(folder)
        self.configs: list[dict[str, Any]] = self.about["configs"]
        self.without_params: Group | None = None

    @cached_property
    def runs(self) -> list[str]:
        return run_names(self.configs)

    @property
    def group(self) -> Group:
        if self.without_params is None:  # no cached_property: its lock would let one thread read at a time
            self.without_params = self.read(params=False)
        return self.without_params

    def param(self, name: str) -> np.ndarray:
        return passes.read(self.folder, self.about, ("traj",), keys=(name,), until=self.until).items["traj"][name]

    def read(self, params: bool = True) -> Group:
        """All of it in memory."""
        return read_group(self.folder, params, self.about, self.until)

    def config(self, row: int) -> Config:
        """The config of a run, rebuilt."""
        return config_of(self.configs[row])

    def blocks(self, rows: np.ndarray, size: int, *, last: bool = False) -> Iterator[Block]:
        """Up to `size` points of a run at a time, or its last one; the group's params are in memory meanwhile."""
        group = self.read()
        for row in rows:
            there = np.flatnonzero(group.valid[row])[-1 if last else 0 :]
            for start, stop in windows(len(there), size):
                at = there[start:stop]
                yield Block(int(row), at, {name: value[row, at] for name, value in group.params.items()})
