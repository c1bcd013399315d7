"""A preview of a sweep before anything is compiled: runs, programs, lanes, saved points, memory, disk, and progress."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from toylab import configs as cfg
from toylab import store, sweep
from toylab.base import Config, Trajectory
from toylab.lab.job import Job
from toylab.records import passes, status
from toylab.records.manifest import SAVES, read
from toylab.store import size
from toylab.sweep import memory
from toylab.sweep.ahead.devices import Device
from toylab.sweep.growth import outlined
from toylab.sweep.manifest import resumed
from toylab.sweep.plan import MAX_SEGMENT
from toylab.sweep.timing import WIDTHS

NAMES_SHOWN = 12
Begun = dict[str, dict[str, Any]]  # group → the manifest with which it would be resumed


def lines(job: Job, dry: bool = False) -> list[str]:
    """The preview of a job, in lines. It is fast for any number of runs: one run of each part is traced, none is compiled.

    Args:
        job: to preview.
        dry: no training follows, so notes on resuming are included.

    Raises:
        Refused: where training would be refused.
    """
    if not job.configs:
        n_models = sum(len(files) for files in job.imported.values())
        return [f"{job.folder}: nothing to train: {_count(n_models, 'network')} of others, at scale {job.scale}"]
    n_runs = sum(len(members) for members in job.configs.values())
    needed = bytes_needed(job)
    existing = store.check_folder(job.folder / "runs", 0 if (job.folder / "runs").is_dir() else needed)
    parts = []
    for name, spec in job.specs().items():
        parts += [f"part {name}:"] if name else []
        parts += _part(job, job.configs[name], spec, job.folder / "runs" / name, dry)
        if left := sorted({*job.stated()[name].saves} - {*spec.saves}):
            parts.append(f"  note      {_count(len(left), 'saved point')} of the page not there: --saves asks for them")
    free = shutil.disk_usage(existing).free
    return [
        f"{job.folder}: {_count(n_runs, 'run')} at scale {job.scale}",
        *parts,
        f"  disk      at most {size(needed)}; {size(free)} are free",
    ]


def bytes_needed(job: Job) -> int:
    """The most bytes that all parts take on disk."""
    return sum(sweep.bytes_needed(job.configs[name], spec, job.group) for name, spec in job.specs().items())


def compare(job: Job) -> None:
    """For stages that do not train: raises Refused where the sweep was begun with another --lane or --group."""
    begun = False
    for name, spec in job.specs().items():
        folder = job.folder / "runs" / name
        named = sweep.groups_in(folder, job.configs[name], job.group)
        begun |= bool(_begun(folder, named, spec, job.lane)[0])
    if not begun and (job.folder / "measures.npz").exists():
        option = "--lane" if job.lane else "--group"
        raise store.Refused(f"{option} is for training, and {job.folder} has no runs: leave it out.")


def _part(job: Job, configs: Sequence[Config], spec: sweep.Spec, folder: Path, dry: bool) -> list[str]:
    lane, count = job.lane, job.device.count if job.device else jax.local_device_count()
    named = sweep.groups_in(folder, configs, job.group)
    begun, notes = _begun(folder, named, spec, lane)
    saves = sorted(
        {step for manifest in begun.values() for step in passes.all_saves(manifest)} if begun else spec.saves
    )
    families = {cfg.family(members[0]): members for members in named.values()}
    programs = {
        (structure, leaves) for structure, leaves, _ in families
    }  # families that differ in their random streams share a program
    largest = max(families.values(), key=lambda members: _bytes_a_run(members[0]))
    in_group = max(len(members) for members in named.values())
    widths = {manifest["plan"]["lane"] for manifest in begun.values()}
    width = lane or max(widths, default=min(in_group, WIDTHS[-1] * count))
    each = -(-width // (count if job.device else memory.of_their_own(count)))
    segment = min(MAX_SEGMENT, len(saves))
    try:
        platform = job.device.chip.platform if job.device else None
        own_draws = cfg.own_draws(largest)
        takes, recorded = memory.traced(largest[0], each, segment, spec.probes, spec.keep, own_draws, platform)
        recording = [*_kept(recorded), f"  memory    {_memory(takes, each, job.device)}"]
    except Exception as error:  # its group will fail when it is trained, the others will not
        recording = [f"  memory    unknown: a run cannot be traced ({store.first_line(error)})"]
    return [
        f"  runs      {len(configs):,} in {_count(len(named), 'group')} of at most {in_group:,}, "
        f"{_count(len(programs), 'program')} to compile",
        f"  lanes     {_lanes(lane, widths, width)}",
        f"  points    {len(saves):,} saved of each run, steps {saves[0]:,} to {saves[-1]:,}"
        + (", fewer where it stops sooner" if spec.stop else ""),
        *recording,
        *(_done(folder, named, begun) if begun else []),
        *(f"  note      {note}" for note in notes if dry),
    ]


def _lanes(lane: int | None, widths: set[int], width: int) -> str:
    if lane:
        return f"{_count(lane, 'run')} wide, as --lane says"
    if widths:
        return f"{' or '.join(map(str, sorted(widths)))} wide, as the sweep was begun"
    return "1 run wide" if width == 1 else f"1 to {width} runs wide, chosen by a short measurement"


def _memory(takes: int, width: int, device: Device | None) -> str:
    budget = device.chip.memory if device else memory.budget()
    on_cpu = device is None and jax.default_backend() == "cpu"
    where = "; this machine" if on_cpu else " on a device; it"
    need = f"at most about {size(takes)} for {_count(width, 'run')}{where} has {size(budget)}"
    fit = int(width * budget / takes)
    if fit >= width:
        return need
    return f"{need}, enough for about {fit}: --lane {fit} or less is safe" if fit else f"{need}, too little for 1 run"


def _kept(recorded: Trajectory) -> list[str]:
    probes = [f"{name}/{key}" for name, out in recorded.probes.items() for key in out]
    kept = {"params": list(recorded.params), "measures": list(recorded.measures), "probes": probes}
    return [f"  {kind:9} {_names(names)}" for kind, names in kept.items() if names or kind != "probes"]


def _done(folder: Path, named: dict[str, list[Config]], begun: Begun) -> list[str]:
    """The progress of a sweep that was begun, towards the requested last step."""
    saves = outlined(folder).get(SAVES, [])
    stands = [status.group_status(folder / name, "", len(members), asked=saves) for name, members in named.items()]
    longer = [one for one in stands if one.state == "finished" and _new(folder / one.group, begun[one.group])]
    counts = {state: sum(one.runs for one in stands if one.state == state) for state in status.STATES}
    counts["finished"] -= sum(one.runs for one in longer)
    done = [f"{_count(n, 'run')} {state}" for state, n in counts.items() if n]
    if longer:
        steps = sorted({one.last or 0 for one in longer})
        done += [f"{_count(sum(one.runs for one in longer), 'run')} at step {' or '.join(f'{s:,}' for s in steps)}"]
    left = [one.step or 0 for one in stands if one.state not in ("finished", "not begun")]
    left += [min(_new(folder / one.group, begun[one.group])[0], one.step or 0) for one in longer]
    return [f"  done      {', '.join(done)}" + (f", from step {min(left):,} on" if left else "")]


def _new(group: Path, manifest: dict[str, Any]) -> list[int]:
    """The steps that a group gets besides those of its manifest on disk."""
    return sorted({*passes.all_saves(manifest)} - {*passes.all_saves(read(group))})


def _begun(folder: Path, named: dict[str, list[Config]], spec: sweep.Spec, lane: int | None) -> tuple[Begun, list[str]]:
    """The groups that were begun, and messages. Raises Refused where the folder holds another sweep."""
    begun: Begun = {}
    messages: list[str] = []
    for name in sweep.same_sweep(folder, named) if folder.is_dir() else []:
        if found := resumed(named[name], spec, folder / name, lane):
            begun[name], notes, _ = found
            messages += notes
    return begun, messages


def _bytes_a_run(config: Config) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(sweep.shapes(config)))


def _names(names: Sequence[str]) -> str:
    if len(names) <= NAMES_SHOWN:
        return ", ".join(names) or "none"
    return f"{', '.join(names[:NAMES_SHOWN])} and {len(names) - NAMES_SHOWN} more"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
