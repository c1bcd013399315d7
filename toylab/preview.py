"""What a sweep will be, told before anything is compiled: runs, programs, lanes, saved points, bytes on disk and on the
device, what is kept, and how much of it is done already."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import jax

from toylab import configs as cfg
from toylab import memory, status, store, sweep
from toylab.base import Config, Trajectory
from toylab.job import Job
from toylab.manifest import read as read_manifest
from toylab.plan import MAX_BEAT, WIDTHS
from toylab.store import size

NAMES_SHOWN = 12


def lines(job: Job) -> list[str]:
    """The preview of a job. Quick however many runs there are: one run of each part is traced, none is compiled."""
    n_runs = sum(len(members) for members in job.configs.values())
    needed = 0
    told = []
    for name, spec in job.specs().items():
        needed += sweep.bytes_needed(job.configs[name], spec, job.group)
        told += [f"part {name}:"] if name else []
        told += _part(job.configs[name], spec, job.folder / "runs" / name, job.lane, job.group)
    if not job.configs:
        n_models = sum(len(files) for files in job.imported.values())
        return [f"{job.folder}: nothing to train: {_count(n_models, 'network')} of others, at scale {job.scale}"]
    existing = next(path for path in (job.folder, *job.folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    return [
        f"{job.folder}: {_count(n_runs, 'run')} at scale {job.scale}",
        *told,
        f"  disk      at most {size(needed)}; {size(free)} are free",
    ]


def _part(configs: Sequence[Config], spec: sweep.Spec, folder: Path, lane: int | None, group: int | None) -> list[str]:
    named = sweep.groups_in(folder, configs, group)
    begun = {name: read_manifest(folder / name) for name in _begun(folder, named)}
    families = {cfg.family(members[0]): members[0] for members in named.values()}
    programs = {(structure, leaves) for structure, leaves, _ in families}  # streams of batches share theirs
    largest = max(families.values(), key=_bytes_a_run)
    in_group = max(len(members) for members in named.values())
    widths = {manifest["plan"]["lane"] for manifest in begun.values()}
    width = lane or max(widths, default=min(in_group, WIDTHS[-1] * jax.local_device_count()))
    each = -(-width // jax.local_device_count())
    beat = min(MAX_BEAT, len(spec.saves))
    try:
        takes, recorded = memory.traced(largest, each, beat, spec.probes, spec.keep)
        told = [*_kept(recorded), f"  memory    {_memory(takes, each)}"]
    except Exception as error:  # its group will fail by itself, and the others will not
        told = [f"  memory    unknown: a run cannot be traced ({store.first_line(error)})"]
    return [
        f"  runs      {len(configs):,} in {_count(len(named), 'group')} of at most {in_group:,}, "
        f"{_count(len(programs), 'program')} to compile",
        f"  lanes     {_lanes(lane, widths, width)}",
        f"  points    {len(spec.saves):,} saved of each run, steps {spec.saves[0]:,} to {spec.saves[-1]:,}"
        + (", fewer where it stops sooner" if spec.stop else ""),
        *told,
        *(_done(folder, named) if begun else []),
    ]


def _lanes(lane: int | None, widths: set[int], width: int) -> str:
    if lane:
        return f"{_count(lane, 'run')} wide, as --lane says"
    if widths:
        return f"{' or '.join(map(str, sorted(widths)))} wide, as the sweep was begun"
    return "1 run wide" if width == 1 else f"1 to {width} runs wide, chosen by a short measurement"


def _memory(takes: int, width: int) -> str:
    budget = memory.budget()
    said = f"at most about {size(takes)} for {_count(width, 'run')} on a device; it has {size(budget)}"
    fit = int(width * budget / takes)
    if fit >= width:
        return said
    return f"{said}, enough for about {fit}: --lane {fit} or less is safe" if fit else f"{said}, too little for 1 run"


def _kept(recorded: Trajectory) -> list[str]:
    probes = [f"{name}/{key}" for name, out in recorded.probes.items() for key in out]
    kept = {"params": list(recorded.params), "measures": list(recorded.measures), "probes": probes}
    return [f"  {kind:9} {_names(names)}" for kind, names in kept.items() if names or kind != "probes"]


def _done(folder: Path, named: dict[str, list[Config]]) -> list[str]:
    """How far a sweep is that was begun."""
    stands = [status.standing(folder / name, "", len(members)) for name, members in named.items()]
    counts = {state: sum(one.runs for one in stands if one.state == state) for state in status.STATES}
    said = [f"{_count(n, 'run')} {state}" for state, n in counts.items() if n]
    left = [one.step or 0 for one in stands if one.state not in ("finished", "not begun")]
    return [f"  done      {', '.join(said)}" + (f", from step {min(left):,} on" if left else "")]


def _begun(folder: Path, named: dict[str, list[Config]]) -> list[str]:
    """The groups that the folder has; Refused where they are of another sweep."""
    return sweep.same_sweep(folder, named) if folder.is_dir() else []


def _bytes_a_run(config: Config) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(sweep.shapes(config)))


def _names(names: Sequence[str]) -> str:
    if len(names) <= NAMES_SHOWN:
        return ", ".join(names) or "none"
    return f"{', '.join(names[:NAMES_SHOWN])} and {len(names) - NAMES_SHOWN} more"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
