"""Reads and checks the manifest of a group (manifest.json) and the outline of a sweep (sweep.json)."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from toylab import store
from toylab.records import binding

SWEEP, FAILED = "sweep.json", "failed.json"  # of a sweep: its outline; of a group: why its last try failed
SAVES, RUNS, ADDED, ORDER = "saves", "runs", "added", "order"  # in an outline; but the first of sweeps that have grown
REWRITTEN = "The same training command writes it anew"
NUMBERED = re.compile(r"\d{3,}-")
RECORDED = "recorded"  # in the manifest of a run that was recorded elsewhere: layout, and whether its training is over


def read(folder: Path) -> dict[str, Any]:
    """A group's manifest.

    Raises:
        Damaged: where it is missing or cannot be read; the message says what to do.
        Refused: where a newer version of toylab wrote it.
    """
    path = folder / "manifest.json"
    try:
        return _current(_checked(path, _nonsense))
    except store.Damaged as error:
        what = f"To go on, {advice}: its runs are then trained anew" if (advice := remedy(folder)) else REWRITTEN
        raise store.Damaged(f"{error}. {what}.") from error


def _checked(path: Path, nonsense: Callable[[Mapping[str, Any]], str]) -> dict[str, Any]:
    found = store.read_json(path, sealed=True)
    schema = found.get("schema", 1)
    if type(schema) is int and schema > store.SCHEMA:
        raise store.newer(path, schema, store.SCHEMA)
    if what := "its schema is no number" if type(schema) is not int else nonsense(found):
        raise store.Damaged(f"{path} is damaged: {what}")
    return found


def _current(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest as this version writes it."""
    plan = binding.current_plan(manifest["plan"])
    return manifest if plan == manifest["plan"] else {**manifest, "schema": store.SCHEMA, "plan": plan}


def _nonsense(manifest: Mapping[str, Any]) -> str:
    """What is wrong with a manifest; "" if nothing."""
    configs, plan, passes = manifest.get("configs"), manifest.get("plan"), manifest.get("passes", [])
    if not isinstance(configs, list) or not configs or not all(isinstance(config, dict) for config in configs):
        return "its configs are no list of configs"
    if not isinstance(passes, list) or not all(map(_ascend, [manifest.get("saves"), *passes])):
        return "its saves are not step numbers that ascend, as 0, 10, 100"
    widths, bad = {"lane", "segment", "chunk"}, "its plan is no lane, segment and chunk of at least 1 each"
    if isinstance(plan, dict) and manifest.get("schema", 1) < 4:
        plan = binding.current_plan(plan)
    if not isinstance(manifest.get("environment", {}), dict):
        return "its environment is no object of names and versions"
    if not isinstance(manifest.get(RECORDED, {}), dict):
        return "what it says of its recording is no object"
    if not isinstance(plan, dict) or not widths <= set(plan) <= {*widths, "shards"}:
        return bad
    return "" if all(type(n) is int and n > 0 for n in plan.values()) else bad


def _ascend(steps: Any) -> bool:
    listed = isinstance(steps, list) and bool(steps) and all(type(step) is int for step in steps)
    return listed and steps == sorted({*steps})


def is_recorded(folder: Path) -> bool:
    """Whether the manifest of a group says that its run was recorded elsewhere."""
    try:
        return RECORDED in read(folder)
    except store.StoreError:
        return False


def remedy(folder: Path) -> str:
    """What to do about a manifest that cannot be read. "" if the next training can write it anew: nothing is committed
    yet, or the chunks record which runs they hold."""
    if not store.chunks(folder) or binding.newest_group_info(folder):
        return ""
    return f"put manifest.json back from a copy, or delete {folder}"


def begun(sweep: Path) -> list[Path]:
    """The folders of groups that were begun, in order. A group has a manifest or, if that is lost, chunks. Pages have
    manifests too, but only names of groups begin with a number. That is 000 of all runs that were recorded elsewhere:
    they follow each other by name, seed_2 before seed_10."""
    numbered = (path for path in sweep.glob("*") if NUMBERED.match(path.name))
    found = (path for path in numbered if (path / "manifest.json").exists() or store.chunks(path))
    return sorted(found, key=lambda group: (_natural(group.name), group.name))


def _natural(name: str) -> list[Any]:
    """Texts and numbers of a name in turn, by which it is sorted."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name))]


def outline(folder: Path) -> dict[str, Any]:
    """A sweep's outline; empty if there is none.

    Raises:
        Damaged: where it cannot be read.
        Refused: where a newer version of toylab wrote it.
    """
    path = folder / SWEEP
    try:
        return _checked(path, _no_outline) if path.exists() else {}
    except store.Damaged as error:
        raise store.Damaged(f"{error}. {REWRITTEN}.") from error


def _no_outline(outline: Mapping[str, Any]) -> str:
    """What is wrong with an outline; "" if nothing."""
    groups, counts = outline.get("groups"), [outline.get("group_size")]
    if not isinstance(groups, dict) or not all(type(n) is int and n > 0 for n in [*counts, *groups.values()]):
        return "its groups are none"
    if SAVES in outline and not _ascend(outline[SAVES]):
        return "its saves are not step numbers that ascend"
    runs, order, added = (outline.get(name) for name in (RUNS, ORDER, ADDED))
    if runs is not None:
        of_each = isinstance(runs, dict) and all(isinstance(own, list) for own in runs.values())
        if not of_each or {name: len(own) for name, own in runs.items()} != groups:
            return "its runs are not those of its groups"
        if not isinstance(order, list) or sorted(order) != list(range(sum(groups.values()))):
            return "its order is none of its runs"
        if not isinstance(added, list) or not set(added) <= set(groups):
            return "its added groups are none of its groups"
    return "" if isinstance(outline.get("command", ""), str) else "its command is no text"
