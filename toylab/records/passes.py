"""The passes of a group: its first training, and one more for each time that points between those there were asked for.

A pass walks over the saved steps and records those that no earlier pass has. The chunks of the first lie in the group's
folder, those of the others in `pass-1/`, `pass-2/`, … in it. Chunks of earlier passes are never written to again. The
manifest has the steps of the first pass as `saves`, those of the others as the lists of `passes`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toylab import store
from toylab.records import binding
from toylab.records.history import Arrays, blank, joined, read_chunks

# in a manifest: the steps of later passes; whether the newest needs no more of its own
PASSES, CLOSED = "passes", "closed"
# in a chunk's info of a later pass: the last step of each run that ended; the pass's steps
UNTIL, OWN = "until", "pass"


def folder_of(group: Path, number: int) -> Path:
    """The folder of a pass's chunks."""
    return group / f"pass-{number}" if number else group


def saves_of(manifest: Mapping[str, Any]) -> list[list[int]]:
    """The steps that each pass records."""
    return [manifest["saves"], *manifest.get(PASSES, ())]


def all_saves(manifest: Mapping[str, Any]) -> list[int]:
    """The steps at which the runs of a group are saved, of all passes."""
    return sorted({step for saves in saves_of(manifest) for step in saves})


def each(group: Path, manifest: Mapping[str, Any]) -> list[tuple[Path, dict[str, Any]]]:
    """The folder of each pass, and the manifest as its chunks are compared with it."""
    about = {name: value for name, value in manifest.items() if name != PASSES}
    return [(folder_of(group, i), {**about, "saves": saves}) for i, saves in enumerate(saves_of(manifest))]


Infos = Sequence[Mapping[str, Any]]  # of each pass the info of its newest chunk; empty for a pass without one


@dataclass(frozen=True)
class Points:
    """What the passes of a group have recorded, side by side. Leaves [R, T, …]; blank where a run has no point."""

    steps: np.ndarray  # [T]
    valid: np.ndarray  # [R, T]
    items: dict[str, Arrays]
    ended: np.ndarray  # [R]
    ends: list[int | None]  # [R]: the last step of each run that ended
    diverged: list[int | None]  # [R]
    arrays: dict[str, Any]  # of the newest chunk: shape and dtype by item and name
    messages: list[str]

    def at(self, steps: Sequence[int]) -> np.ndarray:
        """The places of these steps among its own."""
        return np.searchsorted(self.steps, steps)


def read(
    group: Path,
    manifest: Mapping[str, Any],
    names: tuple[str, ...],
    keys: tuple[str, ...] | None = None,
    *,
    alone: bool = False,
    first: int | None = None,
    until: int | None = None,
) -> Points:
    """Reads the passes of a group, all or the `first` few; `until`: of the first pass the chunks up to this step alone. The
    other arguments, and errors, are those of `read_chunks`."""
    n_runs = len(manifest["configs"])
    ends: list[int | None] = [None] * n_runs
    diverged: list[int | None] = [None] * n_runs
    found, messages, arrays = [], list[str](), dict[str, Any]()
    for folder, about in each(group, manifest)[:first]:
        latest = until if folder == group else None
        chunks, damaged = read_chunks(folder, about, names, keys, alone=alone, until=latest)
        messages += damaged
        if not chunks:
            continue
        info = chunks[-1][1]
        steps = np.concatenate([np.array(one["steps"], int) for _, one in chunks])
        there = np.arange(len(steps)) < np.array(info["lengths"])[:, None]
        items = {name: joined([held.get(name, {}) for held, _ in chunks]) for name in names}
        found.append((steps, there, items))
        arrays = info["arrays"]
        for run, end in enumerate(_ends(info, steps)):
            if end is not None:
                ends[run], diverged[run] = end, info.get("diverged", [None] * n_runs)[run]
    steps, valid, items = found[0] if len(found) == 1 else _side_by_side(found, names, n_runs)
    last = np.array([np.inf if end is None else end for end in ends])
    ended = np.array([end is not None for end in ends], bool)
    behind = valid & (steps > last[:, None])  # of an earlier pass, in which the run ended later
    if behind.any():
        for value in (value for held in items.values() for value in held.values()):
            value[behind] = blank((), value.dtype)
        valid &= ~behind
        reached = valid.any(axis=0)  # in a sweep begun with all points there are none where no run is any more
        steps, valid = steps[reached], valid[:, reached]
        items = {name: {key: value[:, reached] for key, value in held.items()} for name, held in items.items()}
    return Points(steps, valid, items, ended, ends, diverged, arrays, messages)


def _ends(info: Mapping[str, Any], steps: np.ndarray) -> list[int | None]:
    """The last step of each run that had ended by a chunk, of the pass with these recorded steps."""
    if UNTIL in info:
        return list(info[UNTIL])
    return [int(steps[n - 1]) if over else None for over, n in zip(info["ended"], info["lengths"], strict=True)]


def _side_by_side(
    found: Sequence[tuple[np.ndarray, np.ndarray, dict[str, Arrays]]], names: Sequence[str], n_runs: int
) -> tuple[np.ndarray, np.ndarray, dict[str, Arrays]]:
    steps = np.unique(np.concatenate([np.zeros(0, int), *(own for own, _, _ in found)]))
    valid = np.zeros((n_runs, len(steps)), bool)
    items: dict[str, Arrays] = {name: {} for name in names}
    for own, there, recorded in found:
        at = np.searchsorted(steps, own)
        valid[:, at] |= there
        rows, columns = np.nonzero(there)
        for name, arrays in recorded.items():
            for key, value in arrays.items():
                whole = items[name].setdefault(key, blank((n_runs, len(steps), *value.shape[2:]), value.dtype))
                whole[rows, at[columns]] = value[rows, columns]
    return steps, valid, items


def found_in(group: Path) -> list[list[int]]:
    """The steps of the later passes as their chunks have them, for a manifest that was lost."""
    found, number = [], 1
    while (folder := folder_of(group, number)).is_dir() and (info := _newest_info(folder)):
        found.append(list(info[OWN]))
        number += 1
    return found


def set_damaged_aside(group: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Sets damaged newest chunks of the passes before the newest aside; returns messages."""
    folders = [folder for folder, _ in each(group, manifest)[:-1]]
    return [line for folder in folders for line in store.newest_sound_chunk(folder, lambda info: True)[2]]


# --- how far they are, by the small records of their chunks


def infos(group: Path, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The info of the newest chunk of each pass that can be read; empty for a pass without one."""
    return [_newest_info(folder, about) for folder, about in each(group, manifest)]


def _newest_info(folder: Path, about: Mapping[str, Any] | None = None) -> dict[str, Any]:
    for step in reversed(store.chunks(folder)):
        try:
            info = store.read_info(folder, step)
            if about:
                binding.check(folder, info, about)
            return info
        except store.Damaged:  # training sets it aside
            continue
    return {}


# (`newest`: their `infos`, where these are read already)


def ends(
    group: Path, manifest: Mapping[str, Any], newest: Infos | None = None
) -> tuple[list[int | None], list[int | None]]:
    """[R]: the last step of each run that has ended, and the step at which it diverged, by the newest pass that says so."""
    n_runs = len(manifest["configs"])
    found: list[int | None] = [None] * n_runs
    diverged: list[int | None] = [None] * n_runs
    for saves, info in zip(saves_of(manifest), newest or infos(group, manifest), strict=True):
        for run, end in enumerate(_ends(info, np.array(saves)) if info else []):
            if end is not None:
                found[run], diverged[run] = end, info.get("diverged", [None] * n_runs)[run]
    return found, diverged


def recorded(group: Path, manifest: Mapping[str, Any], newest: Infos | None = None) -> list[set[int]]:
    """The steps at which each pass has recorded points."""
    by_pass = zip(saves_of(manifest), newest or infos(group, manifest), strict=True)
    return [set(saves[: info.get("points", 0)]) for saves, info in by_pass]


def is_over(group: Path, manifest: Mapping[str, Any], newest: Infos | None = None) -> bool:
    """Whether the newest pass has all its points."""
    if manifest.get(CLOSED):
        return True
    info = (newest or infos(group, manifest))[-1]
    return bool(info) and (info["points"] >= len(saves_of(manifest)[-1]) or all(info["ended"]))


def planned(
    group: Path, manifest: Mapping[str, Any], asked: Sequence[int], newest: Infos | None = None
) -> list[list[int]]:
    """The steps that each pass has to record, so that the runs are saved at these steps too.

    Steps behind the newest pass's last one are added to it. Others, and those of an earlier pass that were lost or never
    reached, need a pass of their own. After the end of all runs there are no points.
    """
    passes = saves_of(manifest)
    by_pass = newest or infos(group, manifest)
    done, last = recorded(group, manifest, by_pass), by_pass[-1]
    there = set(passes[-1]).union(*done[:-1])
    wanted = {*asked, *all_saves(manifest)}
    if last and all(last["ended"]) and (ends := _ends_of(last, passes[-1])):
        wanted = {step for step in wanted if step <= max(ends)}
    if not (missing := sorted(wanted - there)):
        return passes
    if not last and len(passes) == 1:
        return [sorted(wanted)]
    if missing[0] > passes[-1][-1]:
        return [*passes[:-1], passes[-1] + missing]
    others = sorted(wanted.difference(*(done if last else done[:-1])))
    return [*passes, others] if last else [*passes[:-1], others]


def _ends_of(info: Mapping[str, Any], saves: Sequence[int]) -> list[int]:
    """The last steps of a pass's runs, all of which ended."""
    ends = _ends(info, np.array(saves))
    return [end for end in ends if end is not None]


def kept_states(
    group: Path, manifest: Mapping[str, Any], after: int, before: int
) -> Iterator[tuple[int, Path, dict[str, Any]]]:
    """The resume points that passes before the newest have kept between two steps, newest first: step, folder of the pass,
    and the chunk's info."""
    places = [(step, folder) for folder, _ in each(group, manifest)[:-1] for step in store.chunks(folder)]
    for step, folder in sorted(places, reverse=True):
        if after < step < before and store.has_state(folder, step):
            try:
                yield step, folder, store.read_info(folder, step)
            except store.Damaged:  # an older one serves
                continue
