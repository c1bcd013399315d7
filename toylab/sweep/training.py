"""One group in training: the state of its runs in lanes, chunk after chunk, to the end of its saved steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from toylab import configs as cfg
from toylab import store
from toylab.base import Config, State
from toylab.records import binding, passes
from toylab.records.history import Arrays, blank, flat_state, joined, state_of
from toylab.store import durable
from toylab.sweep.lanes import Lane, first_states
from toylab.sweep.manifest import Spec, close_pass
from toylab.sweep.plan import Plan
from toylab.sweep.segments import Lanes, Launched
from toylab.sweep.starts import Starts
from toylab.sweep.walk import Walk


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


class Training:
    """A group in training: the state of all its runs, and how far they are along their saved steps."""

    def __init__(
        self, configs: Sequence[Config], spec: Spec, folder: Path, manifest: dict[str, Any], notes: list[str]
    ) -> None:
        self.configs, self.spec, self.folder, self.manifest = list(configs), spec, folder, manifest
        self.plan, self.is_own = Plan(**manifest["plan"]).on(jax.local_device_count()), manifest.get("own_draws")
        self.place, self.about = passes.each(folder, manifest)[-1]
        self.own, self.is_later = self.about["saves"], passes.PASSES in manifest
        if self.is_later:
            durable.make(self.place)
        state, info, messages = store.newest_sound_chunk(self.place, self._is_over)
        known = passes.read(folder, manifest, ("measures",), first=-1) if self.is_later else None
        runs = [cfg.digest(config)[:10] for config in configs]
        self.walk = Walk(folder, runs, spec.stop, self.own, known)
        self.done: int = info.get("points", 0)
        self.committed: int | None = info.get("step")
        closed = bool(manifest.get(passes.CLOSED))
        nothing: list[int] = [0] * len(configs)
        self.is_closed = closed or all(info.get("ended", nothing))  # whether it is written down how all runs ended
        if state is not None or closed:
            points, is_over = passes.read(folder, manifest, ("measures",)), closed or self._is_over(info)
            messages += points.messages
            behind = int(points.steps[-1]) if is_over and self.is_later else int(info["step"])
            self.walk.start_at(behind, points, info.get("ended", nothing), info.get("lengths", nothing))
            over = State(params={}, opt_state=(), step=behind)
            self.state = over if is_over or state is None else state_of(state, self.configs[0], info["step"])
        elif not self._from_kept_state(-1):
            start = spec.start
            given = start.params(configs) if isinstance(start, Starts) else [start] * len(configs)
            self.state = first_states(self.configs, given)
        self.walk.messages += messages + notes
        self.lanes = Lanes(self.plan, self._lane)

    def _is_over(self, info: dict[str, Any]) -> bool:
        """Whether the pass has all its points, by the info of its newest chunk. Its resume point is not needed then.
        Raises Refused where the chunk belongs to another group."""
        binding.check(self.place, info, self.about)
        return info["points"] >= len(self.own) or all(info["ended"])

    def _from_kept_state(self, after: int) -> bool:
        """Goes on from the newest state after a step, and before the next own point, that an earlier pass has kept; returns
        whether there is one."""
        known, until = self.walk.known, self.walk.next_own
        if known is None or until is None:
            return False
        for step, place, info in passes.kept_states(self.folder, self.manifest, after, until):
            gone = np.flatnonzero(np.array(info["ended"]) & ~self.walk.ended)  # their rows of the state are empty
            if all((end := known.ends[run]) is not None and end <= step for run in gone):
                try:
                    items, _ = store.read_chunk(place, step, (store.STATE,))
                except store.Damaged:
                    continue
                self.state = state_of(items.get(store.STATE, {}), self.configs[0], step)
                self.walk.take_known(step)
                return True
        return False

    def train(
        self, report: Callable[[Progress], None], interrupted: Callable[[], bool], mine: Callable[[], None]
    ) -> None:
        self._report(report)
        with store.Writer(self.place, mine) as writer:
            while self.done < len(self.own) and not self.walk.ended.all():
                if self._from_kept_state(int(self.state.step)):
                    self.lanes.clear()
                    continue
                points = self.walk.steps[self.walk.at : self.walk.at + self.plan.chunk]
                self.lanes.pack(self.walk.ended)
                segments, stopped = self._chunk(points, report, interrupted)
                self._commit(writer, segments)
                if stopped and self.done < len(self.own) and not self.walk.ended.all():
                    writer.wait()
                    raise Interrupted(f"all points up to step {self.state.step} are committed")
        if self.is_later:
            if self.done < len(self.own) and not self.is_closed:
                self.walk.check_ends(-1 if self.committed is None else self.committed)
                close_pass(self.folder, self.manifest)
            self._report(report)

    def _lane(self, runs: list[int]) -> Lane:
        probes = tuple(self.spec.probes.items())
        keep = None if self.spec.keep is None else tuple(self.spec.keep)
        return Lane(self.configs, self.state, runs, self.plan.lane, probes, keep, self.plan.shards, self.is_own)

    def _chunk(
        self, points: list[int], report: Callable[[Progress], None], interrupted: Callable[[], bool]
    ) -> tuple[list[dict[str, Arrays]], bool]:
        """Trains through the points of a chunk; returns what each segment recorded, and whether to stop afterwards.

        The next segment, of this chunk or the next one, is launched before the last one is fetched and judged, so that the
        device does not wait.
        """
        segments: list[dict[str, Arrays]] = []
        stopped, at_step, flying = False, int(self.state.step), None
        for at in range(0, len(points), self.plan.segment):
            steps = points[at : at + self.plan.segment]
            launched, at_step = self.lanes.launch(at_step, steps, self.walk.ended), steps[-1]
            if flying:
                segments.append(self._land(flying))
                stopped = self._report_and_ask(report, interrupted)
            flying = launched
            if self.walk.ended.all() or stopped:
                break
        if flying and not self.walk.ended.all():
            if not stopped:
                self._launch_ahead(flying)
            segments.append(self._land(flying))
            stopped = self._report_and_ask(report, interrupted) or stopped
        return segments, stopped

    def _launch_ahead(self, flying: Launched) -> None:
        """The first segment of the chunk behind the one whose last segment flies. Not while an earlier pass may have kept
        a state further on."""
        walk, length = self.walk, min(self.plan.segment, self.plan.chunk)
        steps = walk.steps[walk.at + len(flying.steps) :][:length]
        if steps and (walk.known is None or walk.known.steps[-1] <= flying.steps[-1]):
            self.lanes.launch_ahead(steps, flying, walk.ended)

    def _report_and_ask(self, report: Callable[[Progress], None], interrupted: Callable[[], bool]) -> bool:
        self._report(report)
        return interrupted()

    def _land(self, flown: Launched) -> dict[str, Arrays]:
        """Fetches what a segment recorded, leaves [R, k, …]. STOP judges every point; points after an end are blank."""
        recorded, steps = dict[str, Arrays](), flown.steps
        for lane, trajectory in flown.recorded:
            for item, arrays in lane.land(trajectory, len(steps)).items():
                rows = recorded.setdefault(item, {})
                for name, value in arrays.items():
                    target = rows.setdefault(name, blank((len(self.configs), *value.shape[1:]), value.dtype))
                    target[lane.members] = value
        self.state = self.state.replace(step=steps[-1])
        finite = recorded.pop("finite")["params"]
        self.walk.take(recorded, finite)
        own = [step in self.walk.own for step in steps]
        if all(own):
            return recorded
        return {item: {name: value[:, own] for name, value in arrays.items()} for item, arrays in recorded.items()}

    def _commit(self, writer: store.Writer, segments: list[dict[str, Arrays]]) -> None:
        """Hands the chunk to the writer, with a copy of the state, because training goes on meanwhile."""
        self.state = jax.tree.map(np.array, self.state.replace(step=None)).replace(step=self.state.step)
        self.lanes.put_back(self.state)
        items = {item: joined([segment[item] for segment in segments]) for item in segments[0]}
        n_points, step = next(iter(items["measures"].values())).shape[1], int(self.state.step)
        if self.walk.ended.all():  # behind the last end there are no points
            last = max(end for end in self.walk.ends if end is not None)
            n_points = sum(at <= last for at in self.own[self.done : self.done + n_points])
            items = {item: {name: value[:, :n_points] for name, value in own.items()} for item, own in items.items()}
            step = self.own[self.done + n_points - 1]
        if not n_points:
            return
        if self.is_later and self.done + n_points == len(self.own):  # the points behind the last one are there
            self.walk.take_known(self.walk.steps[-1])
        for leaf in jax.tree.leaves(self.state.replace(step=None)):
            leaf[self.walk.ended] = 0  # ended runs are not resumed
        info = {
            "points": self.done + n_points,
            "steps": self.own[self.done : self.done + n_points],
            "ended": self.walk.ended.tolist(),
            "lengths": self.walk.lengths.tolist(),
            "diverged": list(self.walk.diverged),
            binding.GROUP: binding.group_info(self.about),
            **({passes.UNTIL: list(self.walk.ends), passes.OWN: self.own} if self.is_later else {}),
        }
        self.committed, self.is_closed = writer.committed, bool(self.walk.ended.all())
        writer.commit(step, {**items, store.STATE: flat_state(self.state)}, info)
        self.done += n_points

    def _report(self, report: Callable[[Progress], None]) -> None:
        walk = self.walk
        report(
            Progress(
                group=self.folder.name,
                step=walk.step,
                last=walk.steps[-1],
                measures=walk.measures,
                ended=walk.ended.copy(),
                messages=tuple(walk.messages),
                runs=tuple(walk.runs),
                steps=tuple(walk.steps[: walk.at]) if walk.measures else (),
                committed=self.committed,
                diverged=tuple(walk.diverged),
            )
        )
        walk.messages = []
