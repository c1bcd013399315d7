"""What ties a chunk to its group: each says of which runs it is, and how they were recorded. A manifest and chunks that do
not belong together are refused; a manifest that is lost is written anew from what the chunks say."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toylab import configs as cfg
from toylab import store

GROUP = "group"  # in a chunk's info, from schema 3 on
ASKED = ("keep", "probes", "started_from", "stop")  # of the manifest: what must be asked for again
MADE = ("plan", "environment", "narrowed")  # what was decided or happened


def group_info(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a chunk says of its group: all that stands in the manifest, the configs by their digests, the saves by one."""
    kept = {name: manifest[name] for name in (*ASKED, *MADE) if name in manifest}
    return {**kept, "runs": digests(manifest["configs"]), "saves": _saves_digest(manifest["saves"])}


def current_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A plan with today's names. Before schema 4 `segment` was named `beat`."""
    old = {"beat": "segment"} if "segment" not in plan else {}
    return {old.get(name, name): value for name, value in plan.items()}


def digests(configs: Sequence[Any]) -> list[str]:
    """Of canonical configs, in order."""
    return [cfg.digest_of(config)[:16] for config in configs]


def _saves_digest(saves: Sequence[int]) -> list[Any]:
    return [len(saves), hashlib.sha256(json.dumps(list(saves)).encode()).hexdigest()[:16]]


def check(folder: Path, info: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Refused where a chunk is not of the manifest's runs, Damaged where its info makes no sense. Chunks of before schema 3
    say no more of them than their number."""
    if what := _nonsense(info):
        raise store.Damaged(f"the chunk at step {info.get('step')} in {folder} is damaged: {what}")
    points, steps, n_runs = info["points"], info["steps"], len(info["ended"])
    differ = differences(info.get(GROUP, {}), manifest)
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
    """What an info lacks; "" if nothing."""
    lists = {name: info.get(name) for name in ("steps", "ended", "lengths")}
    if wrong := [name for name, value in lists.items() if not isinstance(value, list) or not value]:
        return f"its info has no {wrong[0]}"
    if len(lists["ended"] or ()) != len(lists["lengths"] or ()) or type(info.get("points")) is not int:
        return "its info contradicts itself"
    return ""


def differences(of_chunk: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    """In what a chunk's group (empty: it says nothing) is another than that of a manifest, or of what is asked."""
    found = other_runs(of_chunk, manifest["configs"])
    if of_chunk and not found:
        found = cfg.differences(*({name: side.get(name) for name in ASKED} for side in (of_chunk, manifest)))
        n, _ = of_chunk["saves"]
        if of_chunk["saves"] != _saves_digest(manifest["saves"][:n]):
            found.append(f"saves: {n} steps → {len(manifest['saves'])} others")
    return found


def other_runs(of_chunk: Mapping[str, Any], configs: Sequence[Any]) -> list[str]:
    """The first run in which a chunk's group (empty: it says nothing) differs from canonical configs."""
    old, new = of_chunk.get("runs"), digests(configs)
    if old is None or old == new:
        return []
    if len(old) != len(new):
        return [f"runs: {len(old)} → {len(new)}"]
    return [f"run {i}: {a[:10]} → {b[:10]}" for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b][:1]


def newest_group_info(folder: Path) -> dict[str, Any]:
    """What the newest chunk that can be read says of its group; empty without any, or if it says nothing."""
    for step in reversed(store.chunks(folder)):
        try:
            info = store.read_info(folder, step)
        except store.Damaged:
            continue
        group = dict(info.get(GROUP, {}))
        return {**group, "plan": current_plan(group["plan"])} if "plan" in group else group
    return {}


def rebuilt_manifest(folder: Path, of_chunk: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest that a group has lost; Refused where its chunks are not of the asked runs."""
    if differ := differences(of_chunk, asked):
        raise store.Refused(f"{folder} holds runs of another config ({'; '.join(differ)}): choose another --out.")
    return {**asked, "schema": store.SCHEMA, **{name: of_chunk[name] for name in MADE if name in of_chunk}}
