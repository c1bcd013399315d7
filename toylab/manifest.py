"""What a group is, written down before its first step: its configs, what it records, its plan, the environment."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toylab import binding, store
from toylab import configs as cfg
from toylab.base import Analyzer, Config, Params
from toylab.lanes import Arrays
from toylab.plan import Plan, choose_plan, environment

SWEEP, FAILED = "sweep.json", "failed.json"  # of a sweep: its outline; of a group: why its last try failed
REWRITTEN = "The same training command writes it anew"
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
    """A group's manifest; Damaged, with what to do, where there is none to be read, Refused where a newer version wrote
    it."""
    path = folder / "manifest.json"
    try:
        return _checked(path, _nonsense)
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


def _nonsense(manifest: Mapping[str, Any]) -> str:
    """What a manifest lacks; "" if nothing."""
    configs, saves, plan = (manifest.get(name) for name in ("configs", "saves", "plan"))
    if not isinstance(configs, list) or not configs or not all(isinstance(config, dict) for config in configs):
        return "its configs are none"
    if (
        not isinstance(saves, list)
        or not all(type(step) is int for step in saves)
        or saves != sorted({*saves})
        or not saves
    ):
        return "its saves are no ascending step numbers"
    widths = {"lane", "beat", "chunk"}
    if not isinstance(manifest.get("environment", {}), dict):
        return "its environment is none"
    if not isinstance(plan, dict) or not widths <= set(plan) <= {*widths, "shards"}:
        return "its plan is none"
    return "" if all(type(n) is int and n > 0 for n in plan.values()) else "its plan is none"


def remedy(folder: Path) -> str:
    """What is to be done about a manifest that cannot be read; "" where the next training writes it anew, since nothing was
    committed yet or the chunks say of which runs they are."""
    if not store.chunks(folder) or binding.newest(folder):
        return ""
    return f"put manifest.json back from a copy, or delete {folder}"


def begun(sweep: Path) -> list[Path]:
    """The groups of a sweep that were begun, in order: they have a manifest, or chunks and have lost it. Pages have a
    manifest too, but only groups are numbered."""
    numbered = (path for path in sweep.glob("*") if NUMBERED.match(path.name))
    found = (path for path in numbered if (path / "manifest.json").exists() or store.chunks(path))
    return sorted(found, key=lambda group: int(group.name.partition("-")[0]))


def outline(folder: Path) -> dict[str, Any]:
    """A sweep's outline, written before its first step; empty if there is none. Refused where a newer version wrote it."""
    path = folder / SWEEP
    try:
        return _checked(path, _no_outline) if path.exists() else {}
    except store.Damaged as error:
        raise store.Damaged(f"{error}. {REWRITTEN}.") from error


def _no_outline(outline: Mapping[str, Any]) -> str:
    """What an outline lacks; "" if nothing."""
    groups, counts = outline.get("groups"), [outline.get("group_size")]
    if not isinstance(groups, dict) or not all(type(n) is int and n > 0 for n in [*counts, *groups.values()]):
        return "its groups are none"
    return "" if isinstance(outline.get("command", ""), str) else "its command is no text"


def read_or_decide(
    configs: Sequence[Config], spec: Spec, folder: Path, plan: Plan | None, lane: int | None
) -> tuple[dict[str, Any], list[str]]:
    """The group's manifest, and what to tell. If there is one it is compared with what is asked; else it is decided and
    written before the first step, or written anew if chunks are there that say of which runs they are."""
    path = folder / "manifest.json"
    if begun := taken_over(configs, spec, folder, lane):
        manifest, notes, changed = begun
        if changed:
            store.write_json(path, manifest, sealed=True)
        return manifest, notes
    saves = [int(step) for step in spec.saves]
    plan = plan or choose_plan(configs, saves, spec.probes, spec.keep, lane)
    decided = {"schema": store.SCHEMA, "saves": saves, "plan": plan.as_json(), "environment": environment()}
    manifest = {**_asked(configs, spec), **decided}
    store.write_json(path, manifest, sealed=True)
    return manifest, []


def _asked(configs: Sequence[Config], spec: Spec) -> dict[str, Any]:
    return {
        "configs": [cfg.canonical(config) for config in configs],
        "keep": list(spec.keep) if spec.keep is not None else None,
        "probes": sorted(spec.probes),
        "started_from": spec.started_from,
        "stop": f"{spec.stop.__module__}.{spec.stop.__qualname__}" if spec.stop else None,
    }


def taken_over(
    configs: Sequence[Config], spec: Spec, folder: Path, lane: int | None
) -> tuple[dict[str, Any], list[str], bool] | None:
    """The manifest of a group that was begun as training takes it over, what to tell, and whether it is to be written: it
    was lost, or there are more points to save. None where nothing is there to be taken over; Refused where it is of other
    runs than the asked ones. Nothing is written."""
    asked, notes, anew = _asked(configs, spec), [], False
    saves = [int(step) for step in spec.saves]
    try:
        manifest = read(folder)
    except store.Damaged as error:
        if not store.chunks(folder):
            return None
        if not (of_chunk := binding.newest(folder)):
            raise
        manifest, anew = binding.anew(folder, of_chunk, {**asked, "saves": saves}), True
        notes.append(f"{error.__cause__}. It is written anew from what the chunks there say.")
    old = {name: manifest[name] for name in asked}
    if lane is not None:
        begun_with = manifest["narrowed"][0]["lane"][0] if manifest.get("narrowed") else manifest["plan"]["lane"]
        old["lane"], asked["lane"] = begun_with, lane
    if len(old["configs"]) != len(asked["configs"]):
        old["runs"], asked["runs"] = (len(side.pop("configs")) for side in (old, asked))
    if changed := cfg.differences(old, asked):
        raise store.Refused(f"{folder} holds runs of another config ({'; '.join(changed)}): choose another --out.")
    begun, here = manifest["environment"], environment()
    if "processor" not in begun:  # of a sweep from before it was written down
        here.pop("processor", None)
    if moved := cfg.differences(begun, here):
        notes.append(f"{folder} was begun in another environment ({'; '.join(moved)}): its bits may not repeat.")
    last = manifest["saves"][-1]
    if set(step for step in saves if step <= last) - set(manifest["saves"]):
        notes.append(f"{folder} keeps the saved points it was begun with; new ones come after step {last}.")
    if saves[-1] < last:
        notes.append(f"{folder} trains to step {last}, as it was begun.")
    later = [step for step in saves if step > last]
    return {**manifest, "saves": manifest["saves"] + later}, notes, anew or bool(later)


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
