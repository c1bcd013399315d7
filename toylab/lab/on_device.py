"""What the programs of a job take on a device that is not there: predicted one after another, in lines and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from toylab import configs as cfg
from toylab import sweep
from toylab.base import Config
from toylab.lab.job import Job
from toylab.store import size
from toylab.sweep import aot, memory
from toylab.sweep.devices import Device
from toylab.sweep.plan import WIDTHS, at_first
from toylab.sweep.prediction import Prediction

ENDING = (
    "Nothing ran on the device. Bytes, kernels and cycles are its compiler's. A time is an estimate, a lower bound: bytes",
    "moved over the published bandwidth, products over the published peak, 1 µs a kernel of a GPU or the cycles of a TPU's",
    "compiler, whichever is longest. Saving and measuring are left out; runs that stop sooner take less.",
)
BOUND = {
    "memory": "bound by memory",
    "arithmetic": "bound by arithmetic",
    "kernels": "bound by the number of kernels",
    "cycles": "its compiler's estimate",
}


@dataclass(frozen=True)
class Program:
    """A program of a job, as it would be compiled: for the largest of the groups that share it.

    part    "" where the page has none
    place   which of the part's programs it is, and of how many
    groups  the runs of each
    width   runs of a lane, on all devices together
    """

    part: str
    place: tuple[int, int]
    groups: Sequence[Sequence[Config]]
    spec: sweep.Spec
    device: Device
    width: int

    @property
    def runs(self) -> int:
        """How many runs it trains."""
        return sum(len(members) for members in self.groups)

    @property
    def largest(self) -> Sequence[Config]:
        """The runs of the largest group."""
        return max(self.groups, key=len)

    def predict(self) -> Prediction:
        """What the compiler says of it."""
        config, spec = self.largest[0], self.spec
        segment, own_draws = at_first(config, spec.saves), cfg.own_draws(self.largest)
        return aot.predict(
            config, self.device, self.width, segment, probes=spec.probes, keep=spec.keep, own_draws=own_draws
        )

    def heading(self) -> list[str]:
        """The line before what is told of it, printed while it is compiled."""
        of = f" of part {self.part}" if self.part else ""
        return [
            f"program {self.place[0]} of {self.place[1]}{of}: {_count(self.runs, 'run')}, "
            f"{_count(self.width, 'run')} wide, {sweep.run_name(self.largest[0])} and those like it"
        ]

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
        for i, groups in enumerate(shared.values(), 1):
            width = job.lane or planned(max(groups, key=len), spec, job.device)
            yield Program(part, (i, len(shared)), groups, spec, job.device, width)


def planned(members: Sequence[Config], spec: sweep.Spec, device: Device) -> int:
    """The widest lane that a plan would try on a device for a group: whose estimate fits into its memory."""
    shards = min(device.count, len(members))
    widest = min(-(-len(members) // shards), WIDTHS[-1])
    segment = at_first(members[0], spec.saves)
    one = memory.lane_bytes(members[0], 1, segment, spec.probes, spec.keep)
    fit = [width for width in (widest, *reversed(WIDTHS)) if width <= widest and width * one <= device.chip.memory]
    return shards * max(fit, default=1)


def heading(job: Job) -> list[str]:
    """The device, with the rates that times are reckoned with."""
    assert job.device is not None
    chip = job.device.chip
    several = f"{job.device.count} of {chip.title}, each with" if job.device.count > 1 else f"{chip.title},"
    return [
        f"device {job.device.name}: {several} {size(chip.memory)} for arrays, {size(chip.bandwidth)}/s, "
        f"{_flops(chip.float32)}/s in products of float32",
        f"  from      {chip.sources}",
    ]


def lines(program: Program, found: Prediction) -> list[str]:
    """What is told of a program."""
    chip, times = found.device.chip, found.times()
    compiled = "from the cache" if found.cached else f"compiled in {found.seconds:.0f} s of CPU time"
    told = [f"  memory    {_memory(found)}; {compiled}"]
    if found.takes is None:
        return told
    told.append(
        f"  devices   {_count(found.shards, 'device')}, "
        + (
            f"which communicate: {', '.join(sorted(set(found.collectives)))}"
            if found.collectives
            else "no communication"
        )
    )
    done = _flops(sum(found.products.values()))
    if not found.step:
        return [*told, f"  a step    {done} in products; {found.why}"]
    step = found.step
    padded = f", padding {step.padded / max(step.logical, 1):.2g} times" if chip.platform == "tpu" else ""
    kernels = f" by {_count(step.kernels, 'kernel')}" if chip.platform == "cuda" else ""
    cycles = f", compiler's cycles {_seconds(times['cycles'])}" if "cycles" in times else ""
    starting = f", kernels {_seconds(times['kernels'])}" if "kernels" in times else ""
    least = max(times.values())
    return [
        *told,
        f"  a step    {done} in products; {size(step.moved)} to and from memory{kernels}{padded}",
        f"  time      at least {_seconds(least)} a step: {BOUND[found.bound]} "
        f"(memory {_seconds(times['memory'])}, arithmetic {_seconds(times['arithmetic'])}{starting}{cycles})",
        f"  sweep     at least {_seconds(program.seconds(least))} for {program.spec.saves[-1]:,} steps of "
        f"{_count(program.runs, 'run')}",
    ]


def about(job: Job) -> dict[str, Any]:
    """The page, the scale and the device, for JSON."""
    assert job.device is not None
    chip = {name: value for name, value in vars(job.device.chip).items() if name not in ("target", "shapes")}
    return {
        "page": job.folder.name,
        "scale": job.scale,
        "device": {"name": job.device.name, "count": job.device.count, **chip},
        "note": " ".join(ENDING),
    }


def record(program: Program, found: Prediction | None) -> dict[str, Any]:
    """What is told of a program, for JSON; without what a compiler says where it does not compile it."""
    own = {
        "part": program.part, "run": sweep.run_name(program.largest[0]), "runs": program.runs, "width": program.width,
        "steps": int(program.spec.saves[-1]),
    }  # fmt: skip
    if found is None:
        return own
    times = found.times()
    least = max(times.values()) if found.step else None
    return own | {
        "shards": found.shards, "segment": found.segment, "bytes": found.takes, "estimated_bytes": found.estimate,
        "fits": found.fits, "widest": found.widest, "products": dict(found.products),
        "step": vars(found.step) if found.step else None, "bound": found.bound, "lower_bounds": times,
        "sweep_seconds": None if least is None else program.seconds(least), "collectives": list(found.collectives),
        "compile_cpu_seconds": found.seconds, "cached": found.cached, "why": found.why,
    }  # fmt: skip


def _memory(found: Prediction) -> str:
    each, has = _count(found.width // found.shards, "run"), size(found.device.chip.memory)
    if found.takes is None:
        return f"too large for the device with {each} on it ({found.why}); estimated {size(found.estimate)} of {has}"
    room = f"room for about {found.widest:,} runs wide" if found.widest else "too little for 1 run"
    few = "" if found.fits else ", too large"
    return f"{size(found.takes)} for {each} on a device{few} (estimated {size(found.estimate)}); it has {has}, {room}"


def _flops(n: float) -> str:
    for unit in ("", "k", "M", "G", "T"):
        if n < 999.5:
            return f"{n:.3g} {unit}FLOP"
        n /= 1000
    return f"{n:.3g} PFLOP"


def _seconds(seconds: float) -> str:
    for unit, n in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("minutes", 60.0)):
        if seconds < {"µs": 1e-3, "ms": 1.0, "s": 120.0, "minutes": 7200.0}[unit]:
            return f"{seconds / n:.3g} {unit}"
    return f"{seconds / 3600:.3g} hours"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
