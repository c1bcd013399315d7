"""Trains one group of runs to completion into a folder: chunks of saved points, stop conditions, resuming."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from toylab import configs as cfg
from toylab import store
from toylab.base import Config, State, Trajectory
from toylab.records import binding
from toylab.records.history import Arrays, blank, flat_state, joined, read_chunks, state_of
from toylab.store import durable
from toylab.sweep.lanes import Lane, first_state, stacked
from toylab.sweep.manifest import Spec, read_or_decide, record_narrowing
from toylab.sweep.plan import Plan, is_out_of_memory
from toylab.sweep.sizes import param_shapes
from toylab.sweep.starts import Starts


class Interrupted(Exception):
    """Training was asked to stop. The message says up to which step everything is committed."""


@dataclass(frozen=True)
class Progress:
    """The state of a group after a segment; the argument of a `report`."""

    group: str
    step: int
    last: int
    measures: Arrays  # [R, t] so far; nan after a run's end
    ended: np.ndarray  # [R]
    messages: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()  # [R] names
    steps: tuple[int, ...] = ()  # [t]: where the measures were taken
    committed: int | None = None  # the step of the newest chunk that is known to be on disk; None before the first
    diverged: tuple[int | None, ...] = ()  # [R]: the step of the first point at which its params were not finite


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
    """Trains one group of runs to completion into `folder`.

    It may be called again after any interruption. Training then resumes from the last commit, and the bits of the results
    are those of an uninterrupted training. If the device runs out of memory, training resumes from the last commit with
    lanes of half the width.

    Args:
        configs: checked configs of one family.
        spec: what is saved, and when runs end.
        folder: of the group.
        plan: fixes width, segment and chunk; otherwise they are measured once and kept in the manifest.
        lane: fixes the width alone.
        report: called with the Progress after each segment.
        interrupted: called after each segment; when it returns true, the points in hand are committed and training stops.

    Raises:
        Interrupted: after `interrupted` returned true.
        Refused: where `folder` holds other runs.
        InUse: where another process trains the group.
    """
    store.check_name(folder)
    durable.make(folder)
    left = store.broken(folder)
    with store.locked(folder) as mine:
        store.clear(left)
        if not store.chunks(folder):
            param_shapes(configs[0])
        manifest, notes = read_or_decide(configs, spec, folder, plan, lane)
        while True:
            group = _Group(configs, spec, folder, manifest, notes)
            try:
                return group.train(report, interrupted, mine)
            except (MemoryError, jax.errors.JaxRuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                notes = [record_narrowing(folder, manifest, max(store.chunks(folder), default=None), error)]
            del group  # frees its arrays on the device


class _Group:
    """A group in training: the state of all its runs, and their measures so far."""

    def __init__(
        self, configs: Sequence[Config], spec: Spec, folder: Path, manifest: dict[str, Any], notes: list[str]
    ) -> None:
        self.configs, self.spec, self.folder = list(configs), spec, folder
        self.runs = tuple(cfg.digest(config)[:10] for config in configs)
        self.plan, self.saves = Plan(**manifest["plan"]), manifest["saves"]
        self.about, self.group_info = manifest, binding.group_info(manifest)
        state, info, self.messages = store.newest_sound_chunk(folder, self._is_over)
        self.messages += notes
        self.done: int = info.get("points", 0)
        self.ended = np.array(info.get("ended", [False] * len(configs)))
        self.lengths = np.array(info.get("lengths", [0] * len(configs)))  # points each run has
        self.diverged: list[int | None] = info.get("diverged", [None] * len(configs))
        self.committed: int | None = info.get("step")
        self.measures: Arrays = {}
        if state is None:
            start = spec.start
            given = start.params(configs) if isinstance(start, Starts) else [start] * len(configs)
            self.state = stacked([first_state(*both) for both in zip(self.configs, given, strict=True)])
        else:
            past, damaged = read_chunks(folder, manifest, ("measures",))
            self.measures = joined([items["measures"] for items, _ in past])
            self.messages += damaged
            over = State(params={}, opt_state=(), step=info["step"])
            self.state = over if self._is_over(info) else state_of(state, self.configs[0], info["step"])

    def _is_over(self, info: dict[str, Any]) -> bool:
        """Whether the group has all its points, by the info of its newest chunk. Its resume point is not needed then.
        Raises Refused where the chunk belongs to another group."""
        binding.check(self.folder, info, self.about)
        return info["points"] >= len(self.saves) or all(info["ended"])

    def train(
        self, report: Callable[[Progress], None], interrupted: Callable[[], bool], mine: Callable[[], None]
    ) -> None:
        self._report(report)
        lanes: list[Lane] = []
        with store.Writer(self.folder, mine) as writer:
            while self.done < len(self.saves) and not self.ended.all():
                points = self.saves[self.done : self.done + self.plan.chunk]
                lanes = self._packed(lanes)
                segments, stopped = self._chunk(lanes, points, report, interrupted)
                self._commit(writer, lanes, segments)
                if stopped and self.done < len(self.saves) and not self.ended.all():
                    writer.wait()
                    raise Interrupted(f"all points up to step {self.state.step} are committed")

    def _packed(self, lanes: list[Lane]) -> list[Lane]:
        """The runs that have not ended, in as few lanes as possible; `lanes` itself if it holds just these."""
        going = np.flatnonzero(~self.ended).tolist()
        members = [going[i : i + self.plan.lane] for i in range(0, len(going), self.plan.lane)]
        if members == [lane.members for lane in lanes]:
            return lanes
        probes = tuple(self.spec.probes.items())
        keep = None if self.spec.keep is None else tuple(self.spec.keep)
        lanes.clear()  # frees their memory before new ones are made
        return [
            Lane(self.configs, self.state, runs, self.plan.lane, probes, keep, self.plan.shards) for runs in members
        ]

    def _chunk(
        self,
        lanes: list[Lane],
        points: list[int],
        report: Callable[[Progress], None],
        interrupted: Callable[[], bool],
    ) -> tuple[list[dict[str, Arrays]], bool]:
        """Trains through the points of a chunk; returns what each segment recorded, and whether to stop afterwards.

        The next segment is launched before the last one is fetched and judged, so that the device does not wait.
        """
        segments: list[dict[str, Arrays]] = []
        stopped, at_step, flying = False, int(self.state.step), None
        for at in range(0, len(points), self.plan.segment):
            steps = points[at : at + self.plan.segment]
            gaps, at_step = np.diff([at_step, *steps]), steps[-1]
            going = [lane for lane in lanes if not self.ended[lane.members].all()]
            launched = steps, [(lane, lane.launch(gaps, self.plan.segment)) for lane in going]
            if flying:
                segments.append(self._land(*flying))
                stopped = self._report_and_ask(report, interrupted)
            flying = launched
            if self.ended.all() or stopped:
                break
        if flying and not self.ended.all():
            segments.append(self._land(*flying))
            stopped = self._report_and_ask(report, interrupted) or stopped
        return segments, stopped

    def _report_and_ask(self, report: Callable[[Progress], None], interrupted: Callable[[], bool]) -> bool:
        self._report(report)
        return interrupted()

    def _land(self, steps: list[int], launched: list[tuple[Lane, Trajectory]]) -> dict[str, Arrays]:
        """Fetches what a segment recorded, leaves [R, k, …]. STOP judges every point; points after an end are blank."""
        recorded: dict[str, Arrays] = {}
        for lane, trajectory in launched:
            for item, arrays in lane.land(trajectory, len(steps)).items():
                rows = recorded.setdefault(item, {})
                for name, value in arrays.items():
                    target = rows.setdefault(name, blank((len(self.configs), *value.shape[1:]), value.dtype))
                    target[lane.members] = value
        self.state = self.state.replace(step=steps[-1])
        finite = recorded.pop("finite")["params"]
        so_far = joined([self.measures, recorded["measures"]])
        for run in range(len(self.configs)):
            n_valid = 0 if self.ended[run] else self._points_until_end(run, so_far, finite[run], steps)
            self.lengths[run] += n_valid
            for arrays in (*recorded.values(), {name: value[:, -len(steps) :] for name, value in so_far.items()}):
                for value in arrays.values():
                    value[run, n_valid:] = blank((), value.dtype)
        self.measures = so_far
        return recorded

    def _points_until_end(self, run: int, so_far: Arrays, finite: np.ndarray, steps: list[int]) -> int:
        """The number of new points that belong to the run: up to the first at which STOP is true or its params are not
        finite, inclusive."""
        n_finite = len(steps) if finite.all() else int(np.argmin(finite))
        if self.spec.stop is not None:
            n_before = len(next(iter(so_far.values()))[run]) - len(steps)
            all_steps = np.array([*self.saves[:n_before], *steps])
            for n in range(n_before + 1, n_before + min(n_finite + 1, len(steps)) + 1):
                past = {name: value[run, :n] for name, value in so_far.items()}
                if self.spec.stop({"step": all_steps[:n], **past}):
                    self.ended[run] = True
                    return n - n_before
        if n_finite == len(steps):
            return n_finite
        self.ended[run], self.diverged[run] = True, int(steps[n_finite])
        self.messages.append(
            f"run {self.runs[run]} of {self.folder.name} diverged: at step {steps[n_finite]} its parameters are no longer "
            "finite; it ends there, the others go on."
        )
        return n_finite + 1

    def _commit(self, writer: store.Writer, lanes: list[Lane], segments: list[dict[str, Arrays]]) -> None:
        """Hands the chunk to the writer, with a copy of the state, because training goes on meanwhile."""
        self.state = jax.tree.map(np.array, self.state.replace(step=None)).replace(step=self.state.step)
        for lane in lanes:
            lane.put_back(self.state)
        for leaf in jax.tree.leaves(self.state.replace(step=None)):
            leaf[self.ended] = 0  # ended runs are not resumed
        items = {item: joined([segment[item] for segment in segments]) for item in segments[0]}
        n_points = next(iter(items["measures"].values())).shape[1]
        info = {
            "points": self.done + n_points,
            "steps": self.saves[self.done : self.done + n_points],
            "ended": self.ended.tolist(),
            "lengths": self.lengths.tolist(),
            "diverged": list(self.diverged),
            binding.GROUP: self.group_info,
        }
        self.committed = writer.committed
        writer.commit(int(self.state.step), {**items, "state": flat_state(self.state)}, info)
        self.done += n_points

    def _report(self, report: Callable[[Progress], None]) -> None:
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
                diverged=tuple(self.diverged),
            )
        )
        self.messages = []
