"""The programs of a job, each to be compiled for a device that is not there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from toylab import configs as cfg
from toylab import sweep
from toylab.base import Config
from toylab.lab.job import Job
from toylab.store import first_line
from toylab.sweep import memory
from toylab.sweep.ahead import compiled
from toylab.sweep.ahead.devices import Device
from toylab.sweep.ahead.prediction import Prediction
from toylab.sweep.plan import MAX_SEGMENT, is_small
from toylab.sweep.timing import WIDTHS

NAMED = 3  # fields of a program's heading


@dataclass(frozen=True)
class Program:
    """A program of a job, as it would be compiled: for the largest of the groups that share it.

    part    "" where the page has none
    place   which of the part's programs it is, and of how many
    groups  the runs of each
    width   runs of a lane, on all devices together
    given   whether the width is the user's, and not a plan's
    fields  in which its configs differ from those of the part's other programs, as FIELD=VALUE
    """

    part: str
    place: tuple[int, int]
    groups: Sequence[Sequence[Config]]
    spec: sweep.Spec
    device: Device
    width: int
    given: bool = False
    fields: str = ""

    @property
    def runs(self) -> int:
        """How many runs it trains."""
        return sum(len(members) for members in self.groups)

    @property
    def largest(self) -> Sequence[Config]:
        """The runs of the largest group."""
        return max(self.groups, key=len)

    def predict(self) -> Prediction:
        """What the compiler says of it. Raises NotCompiled where it says nothing, or the program cannot be traced."""
        config, spec = self.largest[0], self.spec
        segment, own_draws = _segment(config, spec), cfg.own_draws(self.largest)
        try:
            return compiled.predict(
                config, self.device, self.width, segment, probes=spec.probes, keep=spec.keep, own_draws=own_draws
            )
        except compiled.NotCompiled:
            raise
        except Exception as error:  # of a net, task or probe: training would go on with the other groups
            raise compiled.NotCompiled(f"it cannot be traced or compiled ({first_line(error)}).") from error

    def narrower(self, found: Prediction) -> "Program | None":
        """The program with the next lane that a plan would try, where the compiler says that this one is too large; None
        where it fits, its width is given, or it has one run a device."""
        each = self.width // found.shards
        if found.fits or self.given or each == 1:
            return None
        most = each - 1 if found.widest is None else min(found.widest // found.shards, each - 1)
        return replace(self, width=found.shards * max(width for width in WIDTHS if width <= max(most, 1)))

    def seconds(self, step: float) -> float:
        """Seconds of all its runs to their last step, at so many for a step of a lane."""
        lanes = sum(-(-len(members) // self.width) for members in self.groups)
        return lanes * self.spec.saves[-1] * step


def programs(job: Job) -> Iterator[Program]:
    """The programs of a job with a device, in the order in which they would be trained."""
    assert job.device is not None
    for part, spec in job.specs().items():
        named = sweep.groups_in(job.folder / "runs" / part, job.configs[part], job.group)
        shared: dict[Any, list[list[Config]]] = {}
        for members in named.values():  # families that differ in their random streams share a program
            shared.setdefault((*cfg.family(members[0])[:2], cfg.own_draws(members)), []).append(members)
        names = _fields(list(shared.values()))
        for i, groups in enumerate(shared.values(), 1):
            try:
                width = job.lane or planned(max(groups, key=len), spec, job.device)
            except Exception:  # `predict` says why
                width = 1
            yield Program(part, (i, len(shared)), groups, spec, job.device, width, bool(job.lane), names[i - 1])


def _fields(shared: Sequence[Sequence[Sequence[Config]]]) -> list[str]:
    """For each of several programs with their groups, some fields that are the same in all of its configs and others in
    another program's."""
    ends = [[members[i] for members in groups for i in (0, -1)] for groups in shared]
    flat = [[cfg.flat(cfg.canonical(config)) for config in configs] for configs in ends]
    paths = [path for path in flat[0][0] if len({str(one.get(path)) for own in flat for one in own}) > 1]
    same = [path for path in paths if all(len({str(one.get(path)) for one in own}) == 1 for own in flat)]
    return [", ".join(f"{path}={str(own[0].get(path))[:40]}" for path in same[:NAMED]) for own in flat]


def planned(members: Sequence[Config], spec: sweep.Spec, device: Device) -> int:
    """The widest lane that a plan would try on a device for a group: of which the compiler may say that it fits."""
    shards = min(device.count, len(members))
    widest = min(-(-len(members) // shards), WIDTHS[-1])
    segment = _segment(members[0], spec)
    one = memory.lane_bytes(members[0], 1, segment, spec.probes, spec.keep, device.chip.platform)
    room = memory.OVER * device.chip.memory
    fit = [width for width in (widest, *reversed(WIDTHS)) if width <= widest and width * one <= room]
    return shards * max(fit, default=1)


def _segment(config: Config, spec: sweep.Spec) -> int:
    """Points in a launch: many of a small model, whose steps take no time."""
    return min(MAX_SEGMENT, len(spec.saves)) if is_small(sweep.shapes(config)) else 1
