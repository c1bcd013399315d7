"""The folder of a recorded run: its lock, its manifest, its chunks, and what an earlier process left there."""

import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toylab import configs as cfg
from toylab import store
from toylab.records import binding, manifest
from toylab.store import Arrays

NUMBER = "000"  # of every recorded run: several processes may begin runs in a folder at once
ALONE = {"lane": 1, "segment": 1, "chunk": 1}  # the plan of a group of one run


@dataclass
class Points:
    """Points that are not committed yet."""

    steps: list[int] = field(default_factory=list)
    params: list[Arrays] = field(default_factory=list)
    measures: list[dict[str, float]] = field(default_factory=list)
    n_bytes: int = 0

    def add(self, step: int, params: Arrays, measures: dict[str, float]) -> None:
        self.steps.append(step)
        self.params.append(params)
        self.measures.append(measures)
        self.n_bytes += sum(value.nbytes for value in params.values())

    def items(self) -> dict[str, Arrays]:
        """Arrays [1, K, …] as a chunk has them."""
        params, measures = self.params, self.measures
        return {
            "traj": {name: np.stack([one[name] for one in params])[None] for name in params[0]},
            "measures": {name: np.array([[one[name] for one in measures]]) for name in measures[0]},
        }


class Journal:
    """A recorded run on disk, held by this process from `__init__` to `close`.

    config    its canonical config as it was begun; None for a new run
    arrays    its params, as described in its newest chunk: name → shape [1, K, …], dtype
    measures  the names of its measures; None for a new run
    """

    def __init__(self, folder: Path, said: Mapping[str, Any]) -> None:
        """Opens the run of a folder, or begins one.

        Args:
            folder: of the group, whose only run this is.
            said: the name and fields of the run.

        Raises:
            InUse: where another process records it.
            Refused: where the folder holds another run, or cannot be made.
            Damaged: where an older chunk is missing.
        """
        self.folder, self.said, self.held = folder, dict(said), ExitStack()
        store.make_folder(folder, 0)
        left = store.broken(folder)
        try:
            mine = self.held.enter_context(store.locked(folder))
        except store.InUse:
            raise store.InUse(
                f"{folder} is recorded by {store.owner(folder)}: wait for it, or give another name or folder."
            ) from None
        try:
            store.clear(left)
            self.messages: list[str] = []
            self._read()
        except BaseException:
            self.held.close()
            raise
        self.writer = self.held.enter_context(store.Writer(folder, mine))
        self.failed = False

    def _read(self) -> None:
        """What is committed, checked."""
        self.about = self._manifest()
        if self.about and manifest.RECORDED not in self.about:
            raise store.Refused(f"{self.folder} holds runs that toylab trained: give another folder.")
        self.config: Any = self.about["configs"][0] if self.about else None
        if self.config and (apart := cfg.differences(*map(_said, (self.config, self.said)))):
            raise store.Refused(
                f"{self.folder} holds a run of another config ({'; '.join(apart)}): give another name or folder."
            )
        _, info, self.messages = store.newest_sound_chunk(self.folder, lambda info: True)
        infos = [store.read_info(self.folder, step) for step in store.chunks(self.folder)]
        self.steps = [int(step) for one in infos for step in one["steps"]]
        if len(self.steps) != info.get("points", 0):
            raise store.Damaged(
                f"{self.folder} lacks a chunk before step {info['step']}: put it back, or record under another name."
            )
        for one in infos if self.about else ():
            binding.check(self.folder, one, {**self.about, "saves": self.steps})
        self.of_chunk = info.get(binding.GROUP, {})
        self.diverged: int | None = info.get("diverged", [None])[0]
        described = info.get("arrays", {})
        self.arrays, self.measures = described.get("traj", {}), list(described.get("measures", {})) if info else None

    def _manifest(self) -> dict[str, Any]:
        """The manifest; empty where there is none, or it is damaged and the chunks say of which run they are."""
        try:
            return manifest.read(self.folder) if (self.folder / "manifest.json").exists() else {}
        except store.Damaged:
            if manifest.remedy(self.folder):
                raise
            return {}

    def begin(self, net: Any, params: Arrays, layout: Any, step: int) -> None:
        """Fixes the network of the run, before its first point or the first after a break.

        Raises:
            Refused: where the run has points of another network, or of another layout.
        """
        own = {"type": "toylab.base.Config", "net": None if net is None else cfg.canonical(net)}
        config = {**own, **self.said}
        if self.config and (apart := cfg.differences(self.config, config)):
            raise store.Refused(
                f"{self.folder} holds a run of another network ({'; '.join(apart)}): give another name or folder."
            )
        for name in sorted({*params, *self.arrays} if self.arrays else ()):
            old, new = self.arrays.get(name), params.get(name)
            here = None if new is None else (list(new.shape), new.dtype.str)
            there = None if old is None else (list(old["shape"][2:]), old["dtype"])
            if here != there:
                apart = [f"{name}: {_words(there)} → {_words(here)}"]
                raise store.Refused(
                    f"{self.folder} holds a run of another network ({apart[0]}): give another name or folder."
                )
        before = self.about[manifest.RECORDED].get("layout", layout) if self.about else layout
        if apart := cfg.differences({"layout": before}, {"layout": layout}):
            raise store.Refused(
                f"{self.folder} holds a run read by another layout ({'; '.join(apart)}): give another name or folder."
            )
        about = {
            "schema": store.SCHEMA,
            "configs": [config],
            "keep": None,
            "probes": [],
            "started_from": None,
            "stop": None,
            "saves": self.steps or [step],
            "plan": ALONE,
            "environment": environment(),
            manifest.RECORDED: {"layout": layout, "closed": False},
        }
        if apart := binding.differences(self.of_chunk, about):  # of a lost manifest the chunks know digests
            raise store.Refused(
                f"{self.folder} holds a run of another config ({'; '.join(apart)}): give another name or folder."
            )
        self.about, self.config = about, config
        self._write_manifest(about)

    def _write_manifest(self, about: Mapping[str, Any]) -> None:
        store.write_json(self.folder / "manifest.json", about, sealed=True)

    def commit(self, points: Points, diverged: int | None) -> None:
        """Hands points to the background thread, once it has written those before.

        Raises:
            StoreError: where these could not be written. Then nothing can be added any more.
        """
        self.check()
        steps = [*self.steps, *points.steps]
        about = {**self.about, "saves": steps}
        info = {
            "points": len(steps),
            "steps": points.steps,
            "ended": [diverged is not None],
            "lengths": [len(steps)],
            "diverged": [diverged],
            binding.GROUP: binding.group_info(about),
        }
        items = points.items()
        self.wait()
        self.writer.commit(steps[-1], items, info, lambda: self._write_manifest(about))
        self.steps, self.about, self.diverged = steps, about, diverged

    def wait(self) -> None:
        """Waits until all that was handed over is on disk. Raises StoreError where it could not be written."""
        try:
            self.writer.wait()
        except BaseException:
            self.failed = True
            raise

    def check(self) -> None:
        """Raises StoreError where an earlier point could not be written."""
        if self.failed:
            raise store.StoreError(
                f"{self.folder} is recorded no further, because a chunk could not be written: begin again from step "
                f"{max(store.chunks(self.folder), default=-1)}."
            )

    def close(self, finished: bool) -> None:
        """Waits, says in the manifest whether the training is over, and gives the folder free."""
        with self.held:
            self.wait()
            if finished and self.steps and self.about and not self.failed:
                self._write_manifest(
                    {**self.about, manifest.RECORDED: {**self.about[manifest.RECORDED], "closed": True}}
                )


def _said(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config says beside its network."""
    return {name: value for name, value in config.items() if name not in ("type", "net")}


def _words(found: tuple[Sequence[int], str] | None) -> str:
    return "not there" if found is None else f"{found[0]} {np.dtype(found[1])}"


def environment() -> dict[str, Any]:
    """Versions of what trains, as far as it is imported."""
    there = {name: sys.modules.get(name) for name in ("torch", "jax", "flax", "optax", "numpy")}
    known = {name: str(getattr(module, "__version__", "")) for name, module in there.items() if module}
    return {**known, "python": platform.python_version()}
