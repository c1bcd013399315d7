"""What a compiler says of the programs of a job, told in lines and as JSON."""

from typing import Any

from toylab import sweep
from toylab.lab.job import Job
from toylab.lab.on_device import Program
from toylab.store import size
from toylab.sweep.ahead.prediction import Prediction

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


def title(program: Program) -> str:
    """The line before what is told of a program, printed while it is compiled."""
    of = f" of part {program.part}" if program.part else ""
    return (
        f"program {program.place[0]} of {program.place[1]}{of}: {_count(program.runs, 'run')}, "
        f"{_count(program.width, 'run')} wide" + (f", {program.fields}" if program.fields else "")
    )


def lines(program: Program, found: Prediction) -> list[str]:
    """What is told of a program."""
    chip, times = found.device.chip, found.times()
    compiled = "from the cache" if found.cached else f"compiled in {found.seconds:.0f} s of CPU time"
    told = [of_memory(found)]
    if found.takes is None:
        return told
    room = f"for a lane of about {_count(found.widest, 'run')}" if found.widest else "too little for 1 run on a device"
    spoken = f"communicate: {', '.join(sorted(set(found.collectives)))}" if found.collectives else "no communication"
    told += [
        f"  room      {size(chip.memory)} on a device, {room}",
        f"  devices   {_count(found.shards, 'device')}, {spoken}; {compiled}",
    ]
    done = _flops(sum(found.products.values()))
    if not found.step:
        return [*told, f"  a step    {done} in products; {found.why}"]
    step = found.step
    padded = f", padding {step.padded / max(step.logical, 1):.2g} times" if chip.platform == "tpu" else ""
    padded += f", {step.cycles:,} cycles" if step.cycles else ""
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


def of_memory(found: Prediction) -> str:
    """The line on memory, which is all that is told of a lane in whose place a narrower one is compiled."""
    return f"  memory    {_memory(found)}"


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
        "part": program.part, "fields": program.fields, "run": sweep.run_name(program.largest[0]), "runs": program.runs,
        "width": program.width, "steps": int(program.spec.saves[-1]),
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
    each = f"{_count(found.width // found.shards, 'run')} on a device"
    estimate = f"estimated {size(found.estimate)}"
    if found.takes is None:
        return f"too large with {each} ({found.why}); {estimate} of {size(found.device.chip.memory)}"
    launch = f"{_count(found.segment, 'point')} a launch"
    return f"{size(found.takes)} for {each}, {launch}{'' if found.fits else ', too large'} ({estimate})"


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
