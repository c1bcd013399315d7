"""The manifest of a group: its configs, what it records, its plan and environment. It is written before the first step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax

from toylab import configs as cfg
from toylab import store
from toylab.base import Analyzer, Config, Params
from toylab.records import binding, passes
from toylab.records.manifest import read
from toylab.sweep import growth
from toylab.sweep.lanes import Arrays
from toylab.sweep.plan import DEVICES, Plan, choose_plan, environment
from toylab.sweep.starts import Starts

Stop = Callable[[Arrays], bool]


@dataclass(frozen=True)
class Spec:
    """What a sweep records, and when its runs end: everything besides its configs."""

    saves: Sequence[int]  # ascending step numbers at which a point is saved
    stop: Stop | None = None  # of the measures so far and "step"; a run ends at the first saved point where it is true
    probes: Mapping[str, Analyzer] = field(default_factory=dict)
    keep: tuple[str, ...] | None = None  # names of the params to record; None for all
    start: Params | Starts | None = None  # initial params of all runs, or of each, in place of those that the net makes
    started_from: str | None = None  # RUN@STEP of these params, for the manifest

    def __post_init__(self) -> None:
        steps = [int(step) for step in self.saves]
        if not steps or steps != sorted(set(steps)) or steps[0] < 0 or steps[-1] >= 2**31:
            raise ValueError(
                f"saves are {str(steps)[:200]}: they must be ascending step numbers from 0 on, at least one."
            )


def read_or_decide(
    configs: Sequence[Config], spec: Spec, folder: Path, plan: Plan | None, lane: int | None
) -> tuple[dict[str, Any], list[str]]:
    """The group's manifest, and messages.

    An existing manifest is compared with the request, and gets the steps that it asks for besides. A lost one is rebuilt
    from the chunks. For a new group the plan is chosen, and the manifest is written before the first step.
    """
    path = folder / "manifest.json"
    if begun := resumed(configs, spec, folder, lane):
        aside: list[str] = []
        if passes.PASSES in begun[0]:  # what a damaged chunk of an earlier pass had is then recorded again
            aside = passes.set_damaged_aside(folder, begun[0])
            begun = resumed(configs, spec, folder, lane) or begun
        manifest, notes, changed = begun
        if changed:
            manifest["schema"] = store.SCHEMA
            store.write_json(path, manifest, sealed=True)
        return manifest, aside + notes
    growth.check_divided(configs, folder)
    if isinstance(spec.start, Starts):
        spec.start.check_unmoved(folder)
    saves = growth.asked_saves(folder, spec.saves)
    plan = (
        plan or growth.plan_of_alike(configs, folder, lane) or choose_plan(configs, saves, spec.probes, spec.keep, lane)
    )
    decided = {"schema": store.SCHEMA, "saves": saves, "plan": plan.as_json(), "environment": environment()}
    manifest = {**_requested(configs, spec), **decided, "own_draws": growth.own_draws(configs, folder)}
    store.write_json(path, manifest, sealed=True)
    if moved := _fewer_devices(manifest):
        return manifest, [f"{folder} is trained as another group of its sweep was ({moved}): its bits may differ."]
    return manifest, []


def _fewer_devices(manifest: Mapping[str, Any]) -> str:
    """What is told where a plan is of more devices than there are, for which another program is compiled; or ""."""
    shards, count = manifest["plan"].get("shards", 1), jax.local_device_count()
    return f"{DEVICES}: {shards} → {count}" if shards > count else ""


def _requested(configs: Sequence[Config], spec: Spec) -> dict[str, Any]:
    """The fields of the manifest that the request determines, without saves."""
    return {
        "configs": [cfg.canonical(config) for config in configs],
        "keep": list(spec.keep) if spec.keep is not None else None,
        "probes": sorted(spec.probes),
        "started_from": spec.start.recorded(configs) if isinstance(spec.start, Starts) else spec.started_from,
        "stop": cfg.qualified(spec.stop) if spec.stop else None,
    }


def resumed(
    configs: Sequence[Config], spec: Spec, folder: Path, lane: int | None
) -> tuple[dict[str, Any], list[str], bool] | None:
    """The manifest with which a group that was begun is resumed. Writes nothing.

    Returns:
        The manifest, messages, and whether it has to be written, because it was lost or there are more points to save.
        None where there is nothing to resume.

    Raises:
        Refused: where the folder holds other runs than the requested ones.
        Damaged: where the manifest cannot be read and the chunks do not say which runs they hold.
    """
    asked, notes, anew = _requested(configs, spec), [], False
    saves = growth.asked_saves(folder, spec.saves)
    try:
        manifest = read(folder)
    except store.Damaged as error:
        if not store.chunks(folder):
            return None
        if not (of_chunk := binding.newest_group_info(folder)):
            raise
        manifest, anew = binding.rebuilt_manifest(folder, of_chunk, {**asked, "saves": saves}), True
        manifest |= {passes.PASSES: later} if (later := passes.found_in(folder)) else {}
        notes.append(f"{error.__cause__}. It is written anew from what the chunks there say.")
    old = {name: manifest[name] for name in asked}
    if lane is not None:
        begun_with = manifest["narrowed"][0]["lane"][0] if manifest.get("narrowed") else manifest["plan"]["lane"]
        old["lane"], asked["lane"] = begun_with, lane
    if len(old["configs"]) != len(asked["configs"]):
        old["runs"], asked["runs"] = (len(side.pop("configs")) for side in (old, asked))
    if changed := cfg.differences(old, asked):
        raise store.Refused(f"{folder} holds runs of another config ({'; '.join(changed)}): choose another --out.")
    begun, here = ({k: v for k, v in one.items() if k != DEVICES} for one in (manifest["environment"], environment()))
    fewer = _fewer_devices(manifest)
    if "processor" not in begun:  # older manifests do not record it
        here.pop("processor", None)
    if moved := [*cfg.differences(begun, here), *([fewer] if fewer else [])]:
        notes.append(f"{folder} was begun in another environment ({'; '.join(moved)}): its bits may not repeat.")
    if (last := max(passes.all_saves(manifest))) > max(spec.saves):
        notes.append(f"{folder} trains to step {last}, as it was begun.")
    more, said = _more_saves(folder, manifest, saves, moved)
    return {**manifest, **more}, notes + said, anew or bool(more)


def _more_saves(
    folder: Path, manifest: dict[str, Any], asked: Sequence[int], moved: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """What of the manifest becomes new so that its runs are saved at these steps too, and messages.

    Raises:
        Refused: where they cannot be trained with the bits that a sweep begun with them would have.
    """
    old, new = passes.saves_of(manifest), passes.planned(folder, manifest, asked)
    is_open = passes.PASSES in manifest and not passes.is_over(folder, manifest)
    if moved and (len(new) > len(old) or is_open):
        raise store.Refused(
            f"{folder} was begun in another environment ({'; '.join(moved)}): points between those there would be of "
            "another training. Go back to that environment, save points after the last one only, or choose another "
            "--out."
        )
    if new == old:
        return {}, []
    done = store.chunks(passes.folder_of(folder, len(old) - 1))
    notes = []
    if len(new) > len(old):
        first = new[-1][0]
        kept = next(
            (step for step, _, _ in passes.kept_states(folder, {**manifest, passes.PASSES: new[1:]}, -1, first)), None
        )
        where = "the beginning: no state before it is kept" if kept is None else f"step {kept}, the nearest kept state"
        notes.append(f"{folder} gets {len(new[-1])} more saved points, from step {first} on: trained from {where}.")
    elif (
        done
        and passes.is_over(folder, manifest)
        and not store.has_state(passes.folder_of(folder, len(old) - 1), done[-1])
    ):
        raise store.Refused(
            f"{folder} cannot be trained on from step {done[-1]}: the state there was not kept ({done[-1]}/state is gone). "
            f"Put it back from a copy, or delete the folder {done[-1]}: its points are then trained again from the nearest "
            "kept state."
        )
    closed = {passes.CLOSED: False} if passes.CLOSED in manifest else {}
    return {"saves": new[0], **({passes.PASSES: new[1:]} if new[1:] else {}), **closed}, notes


def drop_pass(folder: Path, manifest: dict[str, Any]) -> None:
    """Takes the newest pass out of a group: its chunks are set aside, and the manifest has it no more."""
    number = len(manifest[passes.PASSES])
    if (place := passes.folder_of(folder, number)).is_dir():
        store.set_aside(place)
    record = {name: value for name, value in manifest.items() if name not in (passes.PASSES, passes.CLOSED)}
    if left := manifest[passes.PASSES][:-1]:
        record |= {passes.PASSES: left}
    store.write_json(folder / "manifest.json", record, sealed=True)


def close_pass(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes down that the newest pass is over though it has not all its points: all runs have ended before these."""
    store.write_json(folder / "manifest.json", {**manifest, passes.CLOSED: True}, sealed=True)


def record_narrowing(folder: Path, manifest: dict[str, Any], committed: int | None, error: BaseException) -> str:
    """Halves the width of a group's lanes in its manifest after memory ran out; returns the message.

    Raises:
        StoreError: where a lane has only one run on each device.
    """
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
