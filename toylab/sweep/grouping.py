"""Divides the configs of a sweep into groups, and compares them with the groups that a folder has."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toylab import configs as cfg
from toylab import store
from toylab.base import Config
from toylab.records.binding import newest_group_info, other_runs
from toylab.records.manifest import SWEEP, remedy
from toylab.records.manifest import begun as begun_in
from toylab.records.manifest import read as read_manifest
from toylab.store import durable
from toylab.sweep import growth

MAX_RUNS = 256  # a group is the unit of folder, lock and resume


def groups(configs: Sequence[Config], group_size: int = MAX_RUNS, together: bool = True) -> dict[str, list[Config]]:
    """Divides checked configs into groups, by name, in order of first appearance.

    Args:
        configs: of the sweep.
        group_size: the most runs in a group.
        together: as of `configs.families`.

    Raises:
        ValueError: where there are no configs, or one occurs twice.
    """
    cfg.distinct(configs)
    families = cfg.families(configs, together).values()
    cut = [members[i : i + group_size] for members in families for i in range(0, len(members), group_size)]
    return {f"{i:03d}-{run_name(members[0])}": members for i, members in enumerate(cut)}


def run_name(config: Config) -> str:
    """A run's name: the first ten digits of its config's digest."""
    return cfg.digest(config)[:10]


def begin(
    configs: Sequence[Config],
    folder: Path,
    group_size: int | None = None,
    command: str = "",
    otherwise: int | None = None,
    saves: Sequence[int] | None = None,
) -> dict[str, list[Config]]:
    """Checks the configs, divides them into groups, and writes sweep.json. Runs that a sweep was begun without come into
    groups of their own.

    Args:
        configs: of the sweep.
        folder: of the sweep.
        group_size: the most runs in a group. A sweep that was begun keeps its own.
        command: what to type to go on, for sweep.json.
        otherwise: the size where neither `group_size` nor sweep.json gives one.
        saves: the steps at which its runs are saved, for sweep.json.

    Returns:
        Checked configs by group name.

    Raises:
        ValueError: where a config is wrong.
        Refused: where the folder holds other runs, or groups of another size.
        InUse: where another process trains runs of this folder that were not requested.
    """
    store.check_name(folder)
    configs = cfg.checked(configs)
    named, has_grown = _division(folder, configs, group_size, otherwise)
    same_sweep(folder, named)
    old = growth.outlined(folder)
    size, together = _rule(folder, configs, group_size or otherwise or MAX_RUNS)
    sizes = {name: len(members) for name, members in named.items()}
    more = growth.record(folder, saves) | (growth.of_runs(folder, configs, named, together) if has_grown else {})
    if old.get("groups") != sizes or any(old.get(name) != value for name, value in more.items()):
        for name in set(old.get("groups", {})) - set(named):  # never begun: the last request counts
            if store.is_locked(folder / name):
                raise store.InUse(f"{folder / name} is in use by {store.owner(folder / name)}: choose another --out.")
        durable.make(folder)
        record = {
            "schema": store.SCHEMA,
            "group_size": size,
            "own_draws_together": together,
            "command": command,
            "n_runs": len(configs),
            "groups": sizes,
            **more,
        }
        store.write_json(folder / SWEEP, record, sealed=True)
    return named


def groups_in(
    folder: Path, configs: Sequence[Config], group_size: int | None = None, otherwise: int | None = None
) -> dict[str, list[Config]]:
    """`groups` with the size with which the sweep in `folder` was begun, else `group_size`, else `otherwise`.

    Raises:
        Refused: where the sweep was begun with a size that gives other groups than `group_size`.
    """
    return _division(folder, configs, group_size, otherwise)[0]


def _division(
    folder: Path, configs: Sequence[Config], group_size: int | None, otherwise: int | None
) -> tuple[dict[str, list[Config]], bool]:
    """The groups as of `groups_in`, and whether the sweep has grown: they are others then than those of `groups`."""
    rule = _rule(folder, configs, group_size or otherwise or MAX_RUNS)
    named = groups(configs, *rule)
    if grown := growth.divided(folder, configs, named, rule, group_size, otherwise):
        return grown, True
    if group_size and list(map(len, named.values())) != list(map(len, groups(configs, group_size, rule[1]).values())):
        raise store.Refused(
            f"--group is {group_size}, and {folder} was begun in groups of {rule[0]}: leave it out or choose another --out."
        )
    return named, False


def _rule(folder: Path, configs: Sequence[Config], asked: int) -> tuple[int, bool]:
    """The size of groups, and whether runs whose data_seed no other has share one: from sweep.json, where sweeps begun
    before they did have no such entry. If that is lost, what gives the groups that exist, the requested size first."""
    if outlined := growth.outlined(folder):
        return int(outlined["group_size"]), bool(outlined.get("own_draws_together", False))
    if not (there := {path.name: n_runs for path in begun_in(folder) if (n_runs := _n_runs(path))}):
        return asked, True
    largest = max(there.values())
    for rule in ((asked, True), (asked, False), (largest, True), (largest, False)):
        named = groups(configs, *rule)
        if all(len(named.get(name, ())) == n_runs for name, n_runs in there.items()):
            return rule
    return largest, True


def same_sweep(folder: Path, named: dict[str, list[Config]]) -> list[str]:
    """The names of the groups in `folder`, which must be groups of `named`.

    Raises:
        Refused: where the folder holds other runs; the message names the fields that differ.
        Damaged: where neither a group's manifest nor its chunks say which runs it holds.
    """
    begun = {path.name: path for path in begun_in(folder)}
    for name, path in begun.items():
        new = [cfg.canonical(config) for config in named.get(name, next(iter(named.values())))]
        changed = _changed(path, new)
        if changed or name not in named:
            differs = "; ".join(changed or [f"{name} is none of the asked groups"])
            raise store.Refused(f"{folder} holds runs of another config ({differs}): choose another --out.")
    return list(begun)


def _changed(group: Path, new: list[Any]) -> list[str]:
    """How a group's configs differ from `new`, by its manifest, or by its chunks if that is lost."""
    try:
        old = read_manifest(group)["configs"]
    except store.Damaged:
        if remedy(group):
            raise
        return other_runs(newest_group_info(group), new)
    if old == new:
        return []
    pairs = zip(old, new, strict=False)
    return next((lines for a, b in pairs if (lines := cfg.differences(a, b))), [f"runs: {len(old)} → {len(new)}"])


def _n_runs(group: Path) -> int:
    """The number of a group's runs; 0 where neither its manifest nor its chunks say it."""
    try:
        return len(read_manifest(group)["configs"])
    except store.Damaged:
        return len(newest_group_info(group).get("runs", []))
