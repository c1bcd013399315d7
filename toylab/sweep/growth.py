"""Sweeps that grow: which runs are new, in what groups they are trained, and how those that are alike were trained before.

Groups that were begun stay as they are. New runs come into groups of their own, with the plan of a group of the same
program, so that their bits are those of a sweep begun with them. sweep.json then says which runs are in which group, and in
what order a sweep begun with all of them would have them.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from toylab import configs as cfg
from toylab import store
from toylab.base import Config
from toylab.records import binding, passes
from toylab.records.manifest import ADDED, ORDER, RUNS, SAVES, outline, read
from toylab.records.manifest import begun as begun_in
from toylab.sweep.plan import Plan

Named = dict[str, list[Config]]


def outlined(sweep: Path) -> dict[str, Any]:
    """A sweep's outline; empty where none can be read. Its content is then taken from the request or the groups."""
    try:
        return outline(sweep)
    except store.Damaged:
        return {}


def divided(
    sweep: Path,
    configs: Sequence[Config],
    named: Named,
    rule: tuple[int, bool],
    group_size: int | None,
    otherwise: int | None,
) -> Named | None:
    """The groups of a sweep that grows: those that are there, and new ones for the runs that are not.

    Args:
        sweep: its folder.
        configs: all its runs, checked.
        named: the groups they would have in a sweep of their own.
        rule: by which these were made: their size, and `together` of `configs.families`.
        group_size: the most runs of a new group; None for that of the rule.
        otherwise: the size that would share all runs among the processes that train them; new runs are shared so too.

    Returns:
        Groups by name; None where the sweep is not begun, where it has the groups of `named`, and where it holds runs that
        are not asked for.

    Raises:
        Refused: where a sweep that has grown holds runs that are not asked for.
    """
    about, there = outlined(sweep), begun_in(sweep)
    if not there or (RUNS not in about and _has_these(about, there, configs, named)):
        return None
    digests = _digests(configs)
    asked = dict(zip(digests, configs, strict=True))
    before = about.get(RUNS, {})
    fixed = {path.name: runs for path in there if (runs := _runs_of(path) or before.get(path.name, []))}
    if lacking := [run for runs in fixed.values() for run in runs if run not in asked]:
        if RUNS not in about:
            return None
        raise store.Refused(
            f"{sweep} holds runs of another config ({len(lacking)} runs there are not asked for, as {lacking[0][:10]}): "
            "choose another --out."
        )
    for name, runs in before.items():  # not begun, but perhaps by another process soon
        if name not in fixed and all(run in asked for run in runs):
            fixed[name] = runs
    known = {run for runs in fixed.values() for run in runs}
    by_config = {id(config): run for run, config in asked.items()}
    families = cfg.families(configs, rule[1]).values()
    rest = [new for members in families if (new := [one for one in members if by_config[id(one)] not in known])]
    share = -(-sum(map(len, rest)) * (otherwise or rule[0]) // len(configs))
    each = group_size or max(1, min(share if otherwise else rule[0], rule[0]))
    parts = [members[i : i + each] for members in rest for i in range(0, len(members), each)]
    first = max(_number(name) for name in [*fixed, *(path.name for path in there)]) + 1
    added = {f"{first + i:03d}-{by_config[id(members[0])][:10]}": members for i, members in enumerate(parts)}
    return {name: [asked[run] for run in fixed[name]] for name in sorted(fixed, key=_number)} | added


def _has_these(about: Mapping[str, Any], there: Sequence[Path], configs: Sequence[Config], named: Named) -> bool:
    """Whether the groups that were begun are groups of `named`, or the sweep has as many runs as these: others then."""
    if about.get("n_runs") == len(configs):
        return True
    runs = {path.name: _runs_of(path) for path in there}  # none where a group was lost before its first commit
    return all(not own or own == _digests(named.get(name, ())) for name, own in runs.items())


def record(sweep: Path, saves: Sequence[int] | None) -> dict[str, Any]:
    """The steps at which a sweep's runs are saved, for sweep.json: those asked for now, and those that are there."""
    asked = () if saves is None else map(int, saves)
    every = {*asked, *(step for path in begun_in(sweep) for step in _saves_in(path))}
    return {SAVES: sorted(every)} if every else {}


def of_runs(sweep: Path, configs: Sequence[Config], named: Named, together: bool) -> dict[str, Any]:
    """What sweep.json says of the runs of a sweep that has grown: those of each group, the groups that were added, and in
    what order a sweep begun with all of them has these.

    Args:
        sweep: its folder.
        configs: all its runs, in the order in which they were asked for.
        named: their groups.
        together: as of `configs.families`.
    """
    before, begun = outlined(sweep).get(ADDED, []), {path.name for path in begun_in(sweep)}
    at = {id(config): i for i, config in enumerate(config for members in named.values() for config in members)}
    return {
        RUNS: {name: _digests(members) for name, members in named.items()},
        ADDED: [name for name in named if name in before or name not in begun],
        ORDER: [at[id(config)] for members in cfg.families(configs, together).values() for config in members],
    }


def check_divided(configs: Sequence[Config], folder: Path) -> None:
    """Raises Refused where sweep.json has other runs in a group that is about to be begun: another process has made the
    sweep grow meanwhile."""
    about = outlined(folder.parent)
    if RUNS in about and about[RUNS].get(folder.name) != _digests(configs):
        raise store.Refused(f"{folder.parent} was divided into other groups meanwhile: run the same command again.")


def saved_steps(sweep: Path) -> list[int]:
    """The steps at which the runs of a sweep that was begun are saved; none where it was not."""
    if found := outlined(sweep).get(SAVES):
        return list(found)
    return sorted({step for path in begun_in(sweep) for step in _saves_in(path)})


def asked_saves(folder: Path, saves: Sequence[int]) -> list[int]:
    """The steps at which a group's runs are to be saved: those that are asked for now, and those of its sweep."""
    return sorted({*map(int, saves), *outlined(folder.parent).get(SAVES, [])})


def plan_of_alike(configs: Sequence[Config], folder: Path, lane: int | None) -> Plan | None:
    """The plan with which another group of the same program was begun, so that these runs have the bits that they would
    have in that group. None where there is none, or most of a lane would be padding in a group that was not added."""
    added = _is_added(folder)
    before = begun_in(folder.parent) if added else folder.parent.glob(f"{_number(folder.name) - 1:03d}-*")
    for about in _alike(configs[0], [path for path in before if path != folder]):
        plan = Plan(**about["plan"])
        if lane in (None, plan.lane) and (added or plan.lane <= 2 * len(configs)):
            return plan
    return None


def own_draws(configs: Sequence[Config], folder: Path) -> bool:
    """Whether each run of a group draws its own batches. A run that was added does where the group to which it would belong
    does."""
    if len(configs) > 1 or cfg.own_draws(configs) or not _is_added(folder):
        return cfg.own_draws(configs)
    others = [path for path in begun_in(folder.parent) if path != folder]
    return any(about.get("own_draws") or _differ_in_draws(about) for about in _alike(configs[0], others))


def _differ_in_draws(about: Mapping[str, Any]) -> bool:
    return len({config["data_seed"] for config in about["configs"]}) > 1


def _is_added(folder: Path) -> bool:
    return folder.name in outlined(folder.parent).get(ADDED, [])


def _alike(config: Config, groups: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """The manifests of those groups whose runs share the program of this one."""
    own, leaves = cfg.canonical(config), _leaves(config) if groups else set()
    for path in groups:
        try:
            about = read(path)
        except store.Damaged:
            continue
        if all(name in leaves for name in cfg.changes(about["configs"][0], own)):
            yield about


def _leaves(config: Config) -> set[str]:
    """The fields that may differ between runs of one program."""
    bare = cfg.canonical(jax.tree.map(lambda _: None, config))
    differ = set(cfg.changes(cfg.canonical(config), bare))
    curves = {name for name, value in cfg.flat(cfg.canonical(config)).items() if isinstance(value, list)}
    return differ - curves  # two curves may have different lengths


def _digests(configs: Sequence[Config]) -> list[str]:
    return binding.digests([cfg.canonical(config) for config in configs])


def _runs_of(group: Path) -> list[str]:
    """The digests of a group's runs, by its manifest or, if that is lost, its chunks."""
    try:
        return binding.digests(read(group)["configs"])
    except store.Damaged:
        return list(binding.newest_group_info(group).get("runs", []))


def _saves_in(group: Path) -> list[int]:
    try:
        return passes.all_saves(read(group))
    except store.Damaged:
        return []


def _number(name: str) -> int:
    number = name.partition("-")[0]
    return int(number) if number.isdecimal() else 0
