"""A group read back from its folder."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from toylab import configs as cfg
from toylab.records import manifest
from toylab.records.history import Arrays, joined, masked, read_chunks


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


def read_group(folder: Path, params: bool = True) -> Group:
    """Reads a group. Without chunks it has no points. `params=False` leaves the trajectories out."""
    about = manifest.read(folder)
    items = ("traj", "measures", "probes") if params else ("measures", "probes")
    read, messages = read_chunks(folder, about, items, alone=True)
    info = read[-1][1] if read else {}
    steps = np.concatenate([np.array(info["steps"], int) for _, info in read] or [np.zeros(0, int)])
    runs = [cfg.digest_of(canonical)[:10] for canonical in about["configs"]]
    described = info.get("arrays", {}).get("traj", {})
    diverged = np.array(info.get("diverged", [None] * len(runs)), float)
    finite = ~(steps >= diverged[:, None])
    return Group(
        name=folder.name,
        configs=about["configs"],
        runs=runs,
        steps=steps,
        valid=np.arange(len(steps)) < np.array(info.get("lengths", [0] * len(runs)))[:, None],
        params=joined([items.get("traj", {}) for items, _ in read]),
        measures=masked(joined([items["measures"] for items, _ in read]), finite),
        probes=masked(joined([items.get("probes", {}) for items, _ in read]), finite),
        messages=messages,
        manifest=about,
        ended=np.array(info.get("ended", [False] * len(runs)), bool),
        diverged=diverged,
        recorded={name: (tuple(one["shape"][2:]), np.dtype(one["dtype"])) for name, one in described.items()},
    )


class Source:
    """A group's folder. Its manifest is read at once, measures and probes when first used, params each time by name."""

    def __init__(self, folder: Path, part: str) -> None:
        self.folder, self.part = folder, part
        self.about = manifest.read(folder)
        self.configs: list[dict[str, Any]] = self.about["configs"]

    @cached_property
    def runs(self) -> list[str]:
        return [cfg.digest_of(canonical)[:10] for canonical in self.configs]

    @cached_property
    def group(self) -> Group:
        return read_group(self.folder, params=False)

    def param(self, name: str) -> np.ndarray:
        read, _ = read_chunks(self.folder, self.about, ("traj",), keys=(name,))
        return joined([items["traj"] for items, _ in read])[name]
