"""One group of runs trained to completion into a folder: chunks of saved points, STOP, resume."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from toylab import configs as cfg
from toylab import store, train
from toylab.base import Analyzer, Config, Params, State
from toylab.lanes import Arrays, Lane, Plan, choose_plan, environment, first_state, stacked
from toylab.store import Refused

Stop = Callable[[Arrays], bool]


class Interrupted(Exception):
    """Training was asked to stop; the message says up to where everything is committed."""


@dataclass(frozen=True)
class Spec:
    """What a sweep records and when it ends: everything beside its configs."""

    saves: Sequence[int]  # ascending step numbers at which a point is saved
    stop: Stop | None = None  # of the measures so far (and "step"), judged at each saved point in order
    probes: Mapping[str, Analyzer] = field(default_factory=dict)
    keep: tuple[str, ...] | None = None  # names of the params to record; None: all
    start: Params | None = None  # initial params in place of the net's own
    started_from: str | None = None  # the RUN@STEP they are from, for the record


@dataclass(frozen=True)
class Progress:
    """What a report is told after each beat."""

    group: str
    step: int
    last: int
    measures: Arrays  # [R, t] up to now; nan after a run's end
    ended: np.ndarray  # [R]
    messages: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()  # [R] names
    steps: tuple[int, ...] = ()  # [t]: where the measures were taken
    committed: int | None = None  # the step of the newest chunk on disk; None before the first
    diverged: tuple[int | None, ...] = ()  # [R]: the step of the first point that is not finite


def run_group(
    configs: Sequence[Config],
    spec: Spec,
    folder: Path,
    *,
    plan: Plan | None = None,
    lane: int | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> None:
    """Trains one group (checked configs of one family) to completion into `folder`.

    Idempotent: call it again after anything whatever, and it goes on from the last commit; the bits are those of an
    unbroken run. `plan` fixes lane, beat and chunk, `lane` the width alone. `interrupted` is asked after each beat.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with store.locked(folder):
        manifest, notes = _manifest(configs, spec, folder, plan, lane)
        _Group(configs, spec, folder, manifest, notes).train(report, interrupted)


def _manifest(
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
        manifest = {**asked, "saves": saves, "plan": plan.as_json(), "environment": environment()}
        store.write_json(path, manifest, sealed=True)
        return manifest, []
    manifest = store.read_json(path, sealed=True)
    old = {name: manifest[name] for name in asked}
    if lane is not None:
        old["lane"], asked["lane"] = manifest["plan"]["lane"], lane
    if len(old["configs"]) != len(asked["configs"]):
        old["runs"], asked["runs"] = (len(side.pop("configs")) for side in (old, asked))
    if changed := cfg.differences(old, asked):
        raise Refused(f"{folder} holds runs of another config ({'; '.join(changed)}): choose another --out.")
    notes = []
    if moved := cfg.differences(manifest["environment"], environment()):
        notes.append(f"{folder} was begun in another environment ({'; '.join(moved)}): its bits may not repeat.")
    last = manifest["saves"][-1]
    if set(step for step in saves if step <= last) - set(manifest["saves"]):
        notes.append(f"{folder} keeps the saved points it was begun with; new ones come after step {last}.")
    if later := [step for step in saves if step > last]:
        manifest["saves"] += later
        store.write_json(path, manifest, sealed=True)
    return manifest, notes


class _Group:
    """A group in training: the state of all its runs, their measures so far, and how far the folder has them."""

    def __init__(
        self, configs: Sequence[Config], spec: Spec, folder: Path, manifest: dict[str, Any], notes: list[str]
    ) -> None:
        self.configs, self.spec, self.folder = list(configs), spec, folder
        self.runs = tuple(cfg.digest(config)[:10] for config in configs)
        self.plan, self.saves = Plan(**manifest["plan"]), manifest["saves"]
        items, info, self.messages = store.newest_sound_chunk(folder)
        self.messages += notes
        self.done: int = info.get("points", 0)
        self.committed: int | None = info.get("step")
        self.ended = np.array(info.get("ended", [False] * len(configs)))
        self.lengths = np.array(info.get("lengths", [0] * len(configs)))  # points each run has
        if items is None:
            self.state = stacked([first_state(config, spec.start) for config in self.configs])
            self.measures: Arrays = {}
        else:
            self.state = _unflatten(items["state"], self.configs[0], info["step"])
            past, damaged = read_chunks(folder, ("measures",))
            self.measures = joined([items["measures"] for items, _ in past])
            self.messages += damaged

    def train(self, report: Callable[[Progress], None], interrupted: Callable[[], bool]) -> None:
        self._tell(report)
        probes = tuple(self.spec.probes.items())
        while self.done < len(self.saves) and not self.ended.all():
            points = self.saves[self.done : self.done + self.plan.chunk]
            lanes = [
                Lane(self.configs, self.state, members, self.plan.lane, probes, self.spec.keep)
                for members in self._packed()
            ]
            beats, asked_to_stop = [], False
            for at in range(0, len(points), self.plan.beat):
                beats.append(self._beat(lanes, points[at : at + self.plan.beat]))
                self._tell(report)
                asked_to_stop = interrupted()
                if self.ended.all() or asked_to_stop:
                    break
            self._commit(lanes, beats)
            if asked_to_stop and self.done < len(self.saves) and not self.ended.all():
                raise Interrupted(f"all points up to step {self.state.step} are committed")

    def _packed(self) -> Iterator[list[int]]:
        """The runs that still go, in as few lanes as they need."""
        going = np.flatnonzero(~self.ended).tolist()
        return (going[i : i + self.plan.lane] for i in range(0, len(going), self.plan.lane))

    def _beat(self, lanes: list[Lane], steps: list[int]) -> dict[str, Arrays]:
        """Trains every lane through `steps`, lets STOP judge each point, and returns what is recorded, leaves [R, k, …]."""
        gaps = np.diff([self.state.step, *steps])
        recorded: dict[str, Arrays] = {}
        for lane in lanes:
            if self.ended[lane.members].all():
                continue
            for item, arrays in lane.advance(gaps, self.plan.beat).items():
                rows = recorded.setdefault(item, {})
                for name, value in arrays.items():
                    target = rows.setdefault(name, _blank((len(self.configs), *value.shape[1:]), value.dtype))
                    target[lane.members] = value
        self.state = self.state.replace(step=steps[-1])
        for run in range(len(self.configs)):
            n_valid = 0 if self.ended[run] else self._points_until_end(run, recorded["measures"], steps)
            self.lengths[run] += n_valid
            for arrays in recorded.values():
                for value in arrays.values():
                    value[run, n_valid:] = _blank((), value.dtype)
        self.measures = joined([self.measures, recorded["measures"]])
        return recorded

    def _points_until_end(self, run: int, new: Arrays, steps: list[int]) -> int:
        """How many of the new points the run still has: up to and including the first at which STOP is true."""
        if self.spec.stop is None:
            return len(steps)
        so_far = joined([self.measures, new])
        n_before = len(next(iter(so_far.values()))[run]) - len(steps)
        all_steps = np.array([*self.saves[:n_before], *steps])
        for n in range(n_before + 1, n_before + len(steps) + 1):
            past = {name: value[run, :n] for name, value in so_far.items()}
            if self.spec.stop({"step": all_steps[:n], **past}):
                self.ended[run] = True
                return n - n_before
        return len(steps)

    def _commit(self, lanes: list[Lane], beats: list[dict[str, Arrays]]) -> None:
        for lane in lanes:
            lane.put_back(self.state)
        items = {item: joined([beat[item] for beat in beats]) for item in beats[0]}
        n_points = next(iter(items["measures"].values())).shape[1]
        info = {
            "points": self.done + n_points,
            "steps": self.saves[self.done : self.done + n_points],
            "ended": self.ended.tolist(),
            "lengths": self.lengths.tolist(),
        }
        store.write_chunk(self.folder, int(self.state.step), {**items, "state": _flatten(self.state)}, info)
        self.done += n_points
        self.committed = int(self.state.step)

    def _tell(self, report: Callable[[Progress], None]) -> None:
        report(
            Progress(
                group=self.folder.name,
                step=int(self.state.step),
                last=self.saves[-1],
                measures=self.measures,
                ended=self.ended.copy(),
                messages=tuple(self.messages),
                runs=self.runs,
                steps=tuple(self.saves[: next(iter(self.measures.values())).shape[1]] if self.measures else ()),
                committed=self.committed,
            )
        )
        self.messages = []


def read_chunks(
    folder: Path, names: tuple[str, ...]
) -> tuple[list[tuple[dict[str, Arrays], dict[str, Any]]], list[str]]:
    """These items of every chunk, in order and without a hole. A damaged newest chunk is left out with a message; one
    damaged or missing further back raises Damaged, with the steps that are lost and the way out."""
    read: list[tuple[dict[str, Arrays], dict[str, Any]]] = []
    steps = store.chunks(folder)
    for step in steps:
        before = read[-1][1] if read else {"points": 0, "step": 0}
        missing = False
        try:
            items, info = store.read_chunk(folder, step, names)
            if missing := info["points"] - len(info["steps"]) != before["points"]:
                raise store.Damaged(f"a chunk between steps {before['step']} and {step} of {folder} is missing")
            read.append((items, info))
        except store.Damaged as error:
            if step == steps[-1] and not missing:
                return read, [f"{error}. It is left out; train again to make it anew."]
            later = ", ".join(str(s) for s in steps if s >= step)
            raise store.Damaged(
                f"{error}: the points after step {before['step']} up to {step} are lost. Delete the folders {later} there "
                f"and train again: it goes on from step {before['step']}."
            ) from error
    return read, []


def joined(parts: Sequence[Arrays]) -> Arrays:
    """Arrays [R, k, …] of successive stretches as [R, Σk, …]."""
    parts = [part for part in parts if part]
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in (parts[0] if parts else {})}


def _blank(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """What stands where a run has no point: nan, or 0 where the dtype has none (`valid` tells)."""
    return np.full(shape, np.nan if dtype.kind in "fc" else 0, dtype)


def _flatten(state: State) -> Arrays:
    leaves, _ = jax.tree_util.tree_flatten_with_path(state.replace(step=None))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _unflatten(arrays: Arrays, config: Config, step: int) -> State:
    shape = jax.eval_shape(train.init, config).replace(step=None)
    leaves, structure = jax.tree_util.tree_flatten_with_path(shape)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    return jax.tree_util.tree_unflatten(structure, [arrays[name].copy() for name in names]).replace(step=step)
