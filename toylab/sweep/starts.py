"""Runs that start where runs of another sweep ended: ungrokking, transplants, fine-tuning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from toylab import configs as cfg
from toylab import store
from toylab.base import Config, Params
from toylab.records import passes
from toylab.records.manifest import begun
from toylab.records.manifest import read as read_manifest
from toylab.records.reader import load
from toylab.records.source import read_group
from toylab.sweep.grouping import run_name

LAST = "last"


@dataclass(frozen=True)
class Starts:
    """Where each run starts: at the last point of a run of another sweep. The optimizer starts anew, at step 0.

    folder   of that sweep, with the params of its runs
    name     of that sweep, for manifests: they have `NAME/RUN@last` for each run
    runs     by name of the run that starts, the name of the run that it starts from
    """

    folder: Path
    name: str
    runs: Mapping[str, str]

    @staticmethod
    def matched(
        folder: Path, name: str, configs: Sequence[Config], others: Sequence[Config], by: Sequence[str] = ("seed",)
    ) -> "Starts":
        """For each config the one of the others that has the same values of some fields.

        Args:
            folder, name: of the sweep of the others.
            configs: that start.
            others: that they may start from.
            by: names of the fields, as `optimizer.weight_decay`.

        Raises:
            ValueError: where a config has no such field, no other has its values or several have, or their params differ in
                name or shape.
        """
        own, there = (
            [{field: row.get(field) for field in by} for row in (cfg.flat(cfg.canonical(one)) for one in side)]
            for side in (configs, others)
        )
        runs, shapes = {}, {}
        for config, values in zip(configs, own, strict=True):
            of = ", ".join(f"{field} {value}" for field, value in values.items())
            if lacks := [field for field, value in values.items() if value is None]:
                raise ValueError(
                    f"{lacks[0]} is no field of run {run_name(config)}: runs are matched with {name} by it."
                )
            found = [other for other, theirs in zip(others, there, strict=True) if theirs == values]
            if len(found) != 1:
                raise ValueError(f"{name} has {len(found)} runs with {of}: a run that starts there needs one.")
            pair = cfg.family(config), cfg.family(found[0])
            if pair not in shapes:
                shapes[pair] = _different(config, found[0])
            if differ := shapes[pair]:
                raise ValueError(f"{name} with {of}: its params do not fit this net ({', '.join(differ)} differ).")
            runs[run_name(config)] = run_name(found[0])
        return Starts(folder, name, runs)

    def recorded(self, configs: Sequence[Config]) -> list[str]:
        """What a manifest says of where the runs started."""
        return [f"{self.name}/{self.runs[run_name(config)]}@{LAST}" for config in configs]

    def check(self) -> None:
        """Raises StoreError where a run that is started from is missing or unfinished, or diverged."""
        self._found(set(self.runs.values()))

    def params(self, configs: Sequence[Config]) -> list[Params]:
        """The params that these runs start from.

        Raises:
            StoreError: where a run that is started from is missing or unfinished, or diverged.
        """
        wanted = [self.runs[run_name(config)] for config in configs]
        found: dict[str, Params] = {}
        for folder, rows in self._found(set(wanted)).items():
            group = read_group(folder)
            for row in rows:
                last = int(group.valid[row].sum()) - 1
                found[group.runs[row]] = {name: value[row, last].copy() for name, value in group.params.items()}
        names = set(jax.eval_shape(configs[0].net.init, jax.random.key(0)))  # the same for all runs of a group
        if lacks := sorted(names - set(found[wanted[0]])):
            raise store.StoreError(f"{self.name} recorded no {', '.join(lacks)}: a run cannot start there.")
        return [found[run] for run in wanted]

    def check_unmoved(self, folder: Path) -> None:
        """Raises Refused where runs of another group of the same sweep started elsewhere than a run would start now: what
        they started from has been trained longer since. A group is compared that has recorded its start.

        Args:
            folder: of the group that starts.
        """
        for group in begun(folder.parent):
            try:
                about, done = read_manifest(group), store.chunks(group)
            except store.Damaged:  # its own training says so
                continue
            run = cfg.digest_of(about["configs"][0])[:10]
            if group == folder or not done or about["saves"][0] or run not in self.runs:
                continue
            there = store.read_chunk(group, done[0], ("traj",))[0].get("traj", {})
            ((source, (row,)),) = self._found({self.runs[run]}).items()
            last = read_group(source)
            now = {name: value[row, last.valid[row].sum() - 1] for name, value in last.params.items()}
            if any(value[0, 0].tobytes() != now[name].tobytes() for name, value in there.items() if name in now):
                raise store.Refused(
                    f"{self.name}/{self.runs[run]} ends elsewhere than when {run} of {folder.parent} started from it: it "
                    "was trained longer since, and new runs would start from other points. Choose another --out for these."
                )
            return

    def _found(self, wanted: set[str]) -> dict[Path, list[int]]:
        """The rows of the wanted runs, by group."""
        if not self.folder.is_dir():
            raise store.StoreError(f"{self.folder} is not there: train {self.name} first, its runs are started from.")
        rows: dict[Path, list[int]] = {}
        left = set(wanted)
        for source in load(self.folder, params=False).sources:
            for row in [row for row, run in enumerate(source.runs) if run in left]:
                self._check_ended(source, row)
                rows.setdefault(source.folder, []).append(row)
                left.remove(source.runs[row])
        if left:
            raise store.StoreError(
                f"{self.folder} has no run {min(left)}: train {self.name} first, its runs are started from."
            )
        return rows

    def _check_ended(self, source: Any, row: int) -> None:
        group, run = source.group, source.runs[row]
        if not np.isnan(group.diverged[row]):
            raise store.StoreError(
                f"{self.name}/{run} diverged at step {group.diverged[row]:.0f}: no run can start there."
            )
        steps, planned = group.steps[group.valid[row]], passes.all_saves(source.about)[-1]
        if not len(steps) or (steps[-1] < planned and not group.ended[row]):
            at = f"at step {steps[-1]} of {planned}" if len(steps) else "not begun"
            raise store.StoreError(f"{self.name}/{run} is {at}: train it to its end first, a run starts there.")


def _different(config: Config, other: Config) -> list[str]:
    """Names of the params that differ in shape or are not in both."""
    ours, theirs = (
        {name: leaf.shape for name, leaf in jax.eval_shape(one.net.init, jax.random.key(0)).items()}
        for one in (config, other)
    )
    return sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name))
