"""What a group is, written down before its first step: its configs, what it records, its plan, the environment."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toylab import configs as cfg
from toylab import store
from toylab.base import Analyzer, Config, Params
from toylab.lanes import Arrays
from toylab.plan import Plan, choose_plan, environment

SWEEP, FAILED = "sweep.json", "failed.json"  # of a sweep: its outline; of a group: why its last try failed
NUMBERED = re.compile(r"\d{3,}-")
Stop = Callable[[Arrays], bool]


@dataclass(frozen=True)
class Spec:
    """What a sweep records and when it ends: everything beside its configs."""

    saves: Sequence[int]  # ascending step numbers at which a point is saved
    stop: Stop | None = None  # of the measures so far (and "step"), judged at each saved point in order
    probes: Mapping[str, Analyzer] = field(default_factory=dict)
    keep: tuple[str, ...] | None = None  # names of the params to record; None: all
    start: Params | None = None  # initial params in place of the net's own
    started_from: str | None = None  # the RUN@STEP they are from, for the record

    def __post_init__(self) -> None:
        steps = [int(step) for step in self.saves]
        if not steps or steps != sorted(set(steps)) or steps[0] < 0 or steps[-1] >= 2**31:
            raise ValueError(
                f"saves are {str(steps)[:200]}: they must be ascending step numbers from 0 on, at least one."
            )


def read(folder: Path) -> dict[str, Any]:
    """A group's manifest; Refused where a newer version wrote it."""
    path = folder / "manifest.json"
    manifest = store.read_json(path, sealed=True)
    if manifest.get("schema", 1) > store.SCHEMA:
        raise store.newer(path, manifest["schema"], store.SCHEMA)
    return manifest


def begun(sweep: Path) -> list[Path]:
    """The groups of a sweep that have a manifest, in order. Pages have one too, but only groups are numbered."""
    found = (path.parent for path in sweep.glob("*/manifest.json") if NUMBERED.match(path.parent.name))
    return sorted(found, key=lambda group: int(group.name.partition("-")[0]))


def outline(folder: Path) -> dict[str, Any]:
    """A sweep's outline, written before its first step; empty if there is none. Refused where a newer version wrote it."""
    path = folder / SWEEP
    try:
        found = store.read_json(path, sealed=True) if path.exists() else {}
    except store.Damaged as error:
        raise store.Damaged(f"{error}. Delete it, and the next training writes it anew.") from error
    if found.get("schema", 1) > store.SCHEMA:
        raise store.newer(path, found["schema"], store.SCHEMA)
    return found


def read_or_decide(
    configs: Sequence[Config], spec: Spec, folder: Path, plan: Plan | None, lane: int | None
) -> tuple[dict[str, Any], list[str]]:
    """The group's manifest, and what to tell. If there is one it is compared with what is asked; else it is decided and
    written before the first step."""
    path = folder / "manifest.json"
    saves = [int(step) for step in spec.saves]
    asked: dict[str, Any] = {
        "configs": [cfg.canonical(config) for config in configs],
        "keep": list(spec.keep) if spec.keep is not None else None,
        "probes": sorted(spec.probes),
        "started_from": spec.started_from,
        "stop": f"{spec.stop.__module__}.{spec.stop.__qualname__}" if spec.stop else None,
    }
    if not path.exists():
        plan = plan or choose_plan(configs, saves, spec.probes, spec.keep, lane)
        manifest = {
            **asked,
            "schema": store.SCHEMA,
            "saves": saves,
            "plan": plan.as_json(),
            "environment": environment(),
        }
        store.write_json(path, manifest, sealed=True)
        return manifest, []
    manifest = read(folder)
    old = {name: manifest[name] for name in asked}
    if lane is not None:
        begun_with = manifest["narrowed"][0]["lane"][0] if manifest.get("narrowed") else manifest["plan"]["lane"]
        old["lane"], asked["lane"] = begun_with, lane
    if len(old["configs"]) != len(asked["configs"]):
        old["runs"], asked["runs"] = (len(side.pop("configs")) for side in (old, asked))
    if changed := cfg.differences(old, asked):
        raise store.Refused(f"{folder} holds runs of another config ({'; '.join(changed)}): choose another --out.")
    notes = []
    if moved := cfg.differences(manifest["environment"], environment()):
        notes.append(f"{folder} was begun in another environment ({'; '.join(moved)}): its bits may not repeat.")
    last = manifest["saves"][-1]
    if set(step for step in saves if step <= last) - set(manifest["saves"]):
        notes.append(f"{folder} keeps the saved points it was begun with; new ones come after step {last}.")
    if saves[-1] < last:
        notes.append(f"{folder} trains to step {last}, as it was begun.")
    if later := [step for step in saves if step > last]:
        manifest["saves"] += later
        store.write_json(path, manifest, sealed=True)
    return manifest, notes


def record_narrowing(folder: Path, manifest: dict[str, Any], committed: int | None, error: BaseException) -> str:
    """Halves the width of a group's lanes in its manifest, for want of memory; what to tell. StoreError where a lane is
    already one run a device."""
    plan = Plan(**manifest["plan"])
    where = f"step {committed}" if committed is not None else "the start"
    half = plan.halved()
    if half is None:
        raise store.StoreError(
            f"{folder}: a single run does not fit into the device's memory ({store.first_line(error)}). Everything up to "
            f"{where} is safe; make the net, its batch or the saved points smaller, or use a larger device."
        ) from error
    manifest["plan"] = half.as_json()
    narrowed = {"step": committed, "lane": [plan.lane, half.lane], "why": store.first_line(error)}
    manifest["narrowed"] = [*manifest.get("narrowed", []), narrowed]
    store.write_json(folder / "manifest.json", manifest, sealed=True)
    return (
        f"{folder}: memory ran out at {plan.lane} runs a lane; it goes on from {where} at {half.lane}. "
        "Bits may differ from those of a sweep that had the memory, within rounding."
    )
