"""The status of a sweep on disk: how far each group is, what is damaged, and what to type to go on.

Nothing is written or locked, so the status can be asked for while training runs.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toylab import store
from toylab.records import binding, manifest, notes, passes

STATES = ("finished", "going", "stopped", "failed", "damaged", "not begun")


@dataclass(frozen=True)
class GroupStatus:
    """The status of one group."""

    part: str
    group: str
    runs: int
    state: str  # one of STATES
    detail: str = ""
    step: int | None = None  # of the newest committed point
    last: int | None = None  # to which it trains
    ended: int = 0  # runs that STOP or a divergence has ended
    diverged: int = 0
    advice: str = ""  # what to do before going on


@dataclass(frozen=True)
class SweepStatus:
    """The status of a sweep."""

    groups: list[GroupStatus]
    commands: list[str]  # what to type to go on; several if parts were begun by several commands
    notes: list[str]  # what is not known

    @property
    def finished(self) -> bool:
        return not self.notes and all(one.state == "finished" for one in self.groups)


def status(path: str | Path, verify: bool = False) -> SweepStatus:
    """The status of the sweep in a page's folder (results/grokking) or in a folder of runs.

    Args:
        path: the folder.
        verify: read every byte and check it. Otherwise only names of files and small records are read.

    Raises:
        Refused: where the folder holds no runs.
    """
    path = Path(path)
    place = path / "runs" if (path / "runs").is_dir() else path
    below = {child.name: child for child in sorted(place.glob("*")) if child.is_dir()}
    sweeps = {part: sweep for part, sweep in {"": place, **below}.items() if _named(sweep)}
    if not sweeps:
        near = sorted(str(found.parent) for found in path.glob("*/runs")) if path.is_dir() else []
        hint = (
            f"give one of {', '.join(near)}."
            if near
            else "give the folder of a page that was trained, as results/grokking."
        )
        raise store.Refused(f"{path} holds no runs: {hint}")
    groups = [
        group_status(sweep / name, part, n_runs, verify, saves)
        for part, sweep in sweeps.items()
        for saves in [_outlined(sweep)[0].get(manifest.SAVES, [])]
        for name, n_runs in _named(sweep).items()
    ]
    commands = dict.fromkeys(_command(sweep, part, place.parent) for part, sweep in sweeps.items())
    notes = [note for sweep in sweeps.values() if (note := _outlined(sweep)[1])]
    return SweepStatus(groups, list(commands), notes)


def group_status(
    folder: Path, part: str, n_runs: int | None, verify: bool = False, asked: Sequence[int] = ()
) -> GroupStatus:
    """The status of one group. `n_runs`, `asked`: its runs and saved steps by sweep.json; the former if it is not begun."""
    held = store.is_locked(folder)
    known: dict[str, Any] = {"part": part, "group": folder.name, "runs": n_runs or 0}
    if not (folder / "manifest.json").exists() and not store.chunks(folder):
        if held:
            return GroupStatus(**known, state="going", detail=store.owner(folder, since=True))
        state, detail = _stopped(folder, "not begun")
        return GroupStatus(**known, state=state, detail=detail)
    try:
        about = manifest.read(folder)
    except store.Damaged as error:
        return GroupStatus(**known, state="damaged", detail=str(error), advice=manifest.remedy(folder))
    newest, damage, advice = _passes(folder, about, verify and not held)
    info: dict[str, Any] = next((one for one in reversed(newest) if one), {})
    known |= {
        "runs": len(about["configs"]),
        "last": passes.all_saves(about)[-1],
        "step": max((one["step"] for one in newest if one), default=None),
    }
    if damage:
        known |= {"ended": sum(info.get("ended", [])), "diverged": _diverged(info.get("diverged", []))}
        return GroupStatus(**known, state="damaged", detail=damage, advice=advice)
    ends, diverged = passes.ends(folder, about, newest)
    known |= {"ended": sum(end is not None for end in ends), "diverged": _diverged(diverged)}
    spare = _spare(folder, about) if verify and not held else ""
    more = _more(folder, about, asked, newest)
    if _is_over(folder, about, newest) and not more:
        return GroupStatus(**known, state="finished", detail=spare)
    if held:
        return GroupStatus(**known, state="going", detail=store.owner(folder, since=True))
    state, detail = _stopped(folder, "stopped")
    return GroupStatus(**known, state=state, detail="; ".join(filter(None, (detail, more, spare))))


def _diverged(steps: Sequence[int | None]) -> int:
    return sum(step is not None for step in steps)


def _more(folder: Path, about: dict[str, Any], asked: Sequence[int], newest: passes.Infos) -> str:
    """What a group lacks of the saved steps that its sweep was asked for; "" if nothing."""
    later = passes.PASSES in about
    new = {step for own in passes.planned(folder, about, asked, newest) for step in own} - {*passes.all_saves(about)}
    if not new and later and not passes.is_over(folder, about, newest):
        done = passes.recorded(folder, about, newest)
        new = {step for own in passes.saves_of(about)[-1:] for step in own} - set().union(*done)
    if not new:
        return ""
    return f"{len(new)} saved points from step {min(new):,} to {max(new):,} are not trained yet"


def _is_over(folder: Path, about: dict[str, Any], newest: passes.Infos) -> bool:
    """Whether a group has all its points. Of a run that is recorded its own training alone knows that."""
    if manifest.RECORDED in about:
        info = newest[-1]
        return bool(info) and (bool(about[manifest.RECORDED].get("closed")) or all(info["ended"]))
    return passes.is_over(folder, about, newest)


def _named(sweep: Path) -> dict[str, int | None]:
    """The groups of one sweep with the number of their runs: those in sweep.json, and any others with a folder."""
    named: dict[str, int | None] = dict(_outlined(sweep)[0].get("groups", {}))
    return named | {group.name: None for group in manifest.begun(sweep) if group.name not in named}


def _outlined(sweep: Path) -> tuple[dict[str, Any], str]:
    """A sweep's outline, and a sentence if it is damaged."""
    try:
        return manifest.outline(sweep), ""
    except store.Damaged as error:
        return {}, f"{error} Whether all groups are begun is not known."


def _passes(folder: Path, about: dict[str, Any], verify: bool) -> tuple[list[dict[str, Any]], str, str]:
    """Of each pass the newest info before its first damaged chunk; what is wrong with that one; what to do about it."""
    newest: list[dict[str, Any]] = []
    for place, own in passes.each(folder, about):
        infos, damage, advice = _chunks(place, own, verify)
        newest.append(infos[-1] if infos else {})
        if damage:
            return newest, damage, advice
    return newest, "", ""


def _chunks(folder: Path, about: dict[str, Any], verify: bool) -> tuple[list[dict[str, Any]], str, str]:
    """The infos of the chunks before the first damaged one; what is wrong with that one; what to do about it."""
    infos: list[dict[str, Any]] = []
    steps, runs = store.chunks(folder), binding.digests(about["configs"])
    for step in steps:
        try:
            if verify:
                store.read_chunk(folder, step, ())
            info = store.read_info(folder, step)
            binding.check(folder, info, about, runs)
            if info["points"] - len(info["steps"]) != (infos[-1]["points"] if infos else 0):
                raise store.Damaged(f"a chunk between steps {infos[-1]['step'] if infos else 0} and {step} is missing")
            infos.append(info)
        except store.Damaged as error:
            later = ", ".join(str(s) for s in steps if s >= step)
            known = len(infos) == len(steps) - 1 and "is missing" not in str(error)
            return infos, str(error), "" if known else f"delete the folders {later} in {folder}"
        except store.Refused as error:
            return infos, str(error), ""
    return infos, "", ""


def _spare(group: Path, about: dict[str, Any]) -> str:
    """Damage that loses no point, as of a resume point; "" if there is none."""
    chunks = [(folder, step) for folder, _ in passes.each(group, about) for step in store.chunks(folder)]
    found = [damage for folder, step in chunks if (damage := store.spare_damage(folder, step))]
    return f"{found[0]}{f' (and {len(found) - 1} more)' if found[1:] else ''}; no point is lost by it" if found else ""


def _stopped(folder: Path, otherwise: str) -> tuple[str, str]:
    """State and detail of a group that no process holds: why its last training failed, or who held it last."""
    if failed := notes.failure(folder):
        return "failed", failed
    known = (folder / "owner.json").exists()
    return otherwise, f"last held by {store.owner(folder, since=True)}" if known else ""


def _command(sweep: Path, part: str, page: Path) -> str:
    """The command to go on: from sweep.json, else from the page's manifest, else made from the page's name."""
    if any(map(manifest.is_recorded, sweep.glob("000-*"))):  # as all runs that were recorded are named
        return f"run the training that is recorded in {sweep} again, with the same Recorder"
    record, _ = _outlined(sweep)
    if not record.get("command"):
        with contextlib.suppress(store.StoreError):  # a damaged manifest of a page stops nothing here
            found = notes.page_record(page)
            record = found.get("parts", {}).get(part, found)
    return record.get("command") or f"python run_sweep.py {page.name} --out {page.parent}"
