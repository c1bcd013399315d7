"""The link between a chunk and its group. Each chunk records which runs it holds and how they were recorded.

A manifest and chunks that do not belong together are refused. A lost manifest is rebuilt from the chunks.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toylab import configs as cfg
from toylab import store

GROUP = "group"  # in a chunk's info, from schema 3 on
ASKED = ("keep", "probes", "started_from", "stop")  # fields of the manifest that must be the same on resume
MADE = ("plan", "environment", "narrowed", "own_draws")  # fields that training decided


def group_info(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The record of its group that a chunk carries: the manifest, with digests in place of configs and saves."""
    kept = {name: manifest[name] for name in (*ASKED, *MADE) if name in manifest}
    return {**kept, "runs": digests(manifest["configs"]), "saves": _saves_digest(manifest["saves"])}


def current_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A plan with today's names. Before schema 4 `segment` was named `beat`."""
    old = {"beat": "segment"} if "segment" not in plan else {}
    return {old.get(name, name): value for name, value in plan.items()}


def digests(configs: Sequence[Any]) -> list[str]:
    """The digests of canonical configs, in order."""
    return [cfg.digest_of(config)[:16] for config in configs]


def _saves_digest(saves: Sequence[int]) -> list[Any]:
    """The number of saves, and their digest."""
    return [len(saves), hashlib.sha256(json.dumps(list(saves)).encode()).hexdigest()[:16]]


def check(
    folder: Path, info: Mapping[str, Any], manifest: Mapping[str, Any], runs: Sequence[str] | None = None
) -> None:
    """Checks that a chunk belongs to the runs of a manifest.

    Args:
        folder: of the group, for messages.
        info: of the chunk. Before schema 3 it has only the number of runs.
        manifest: of the group.
        runs: the `digests` of its configs, for one who checks many chunks.

    Raises:
        Refused: where the chunk is of other runs, or recorded otherwise.
        Damaged: where the info contradicts itself.
    """
    if what := _nonsense(info):
        raise store.Damaged(f"the chunk at step {info.get('step')} in {folder} is damaged: {what}")
    points, steps, n_runs = info["points"], info["steps"], len(info["ended"])
    differ = differences(info.get(GROUP, {}), manifest, runs)
    if n_runs != len(manifest["configs"]):
        differ = [f"runs: {n_runs} → {len(manifest['configs'])}"]
    elif not differ and steps != manifest["saves"][points - len(steps) : points]:
        differ = ["saves"]
    if differ:
        raise store.Refused(
            f"{folder} holds a chunk (step {info['step']}) that is not of the runs in its manifest ({'; '.join(differ)}): "
            "one of the two was put there from elsewhere. Put back what was there, or choose another --out."
        )


def _nonsense(info: Mapping[str, Any]) -> str:
    """What is wrong with an info; "" if nothing."""
    lists = {name: info.get(name) for name in ("steps", "ended", "lengths")}
    if wrong := [name for name, value in lists.items() if not isinstance(value, list) or not value]:
        return f"its info has no {wrong[0]}"
    if len(lists["ended"] or ()) != len(lists["lengths"] or ()) or type(info.get("points")) is not int:
        return "its info contradicts itself"
    return ""


def differences(
    of_chunk: Mapping[str, Any], manifest: Mapping[str, Any], runs: Sequence[str] | None = None
) -> list[str]:
    """How the group recorded in a chunk (`of_chunk`, may be empty) differs from a manifest or a request."""
    found = other_runs(of_chunk, manifest["configs"], runs)
    if of_chunk and not found:
        found = cfg.differences(*({name: side.get(name) for name in ASKED} for side in (of_chunk, manifest)))
        n, _ = of_chunk["saves"]
        if of_chunk["saves"] != _saves_digest(manifest["saves"][:n]):
            found.append(f"saves: {n} steps → {len(manifest['saves'])} others")
    return found


def other_runs(of_chunk: Mapping[str, Any], configs: Sequence[Any], runs: Sequence[str] | None = None) -> list[str]:
    """The first run in which the group recorded in a chunk differs from canonical configs; empty if none does."""
    if (old := of_chunk.get("runs")) is None:
        return []
    new = digests(configs) if runs is None else list(runs)
    if old == new:
        return []
    if len(old) != len(new):
        return [f"runs: {len(old)} → {len(new)}"]
    return [f"run {i}: {a[:10]} → {b[:10]}" for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b][:1]


def newest_group_info(folder: Path) -> dict[str, Any]:
    """The group as recorded in the newest readable chunk; empty if there is none, or it has no such record."""
    for step in reversed(store.chunks(folder)):
        try:
            info = store.read_info(folder, step)
        except store.Damaged:
            continue
        group = dict(info.get(GROUP, {}))
        return {**group, "plan": current_plan(group["plan"])} if "plan" in group else group
    return {}


def _steps_of(folder: Path, chunk: int) -> list[int]:
    try:
        return list(store.read_info(folder, chunk)["steps"])
    except store.Damaged:
        return []


def rebuilt_manifest(folder: Path, of_chunk: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """A group's lost manifest, rebuilt from a chunk's record and the request. Raises Refused where they differ.

    The saved steps are those of the request or, where these are others, those of the chunks if no more were planned.
    """
    n, planned = of_chunk["saves"]
    recorded = [step for chunk in store.chunks(folder) for step in _steps_of(folder, chunk)]
    if planned == _saves_digest(recorded)[1] and n == len(recorded):
        asked = {**asked, "saves": recorded}
    if differ := differences(of_chunk, asked):
        raise store.Refused(f"{folder} holds runs of another config ({'; '.join(differ)}): choose another --out.")
    return {**asked, "schema": store.SCHEMA, **{name: of_chunk[name] for name in MADE if name in of_chunk}}
