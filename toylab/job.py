"""What was asked, checked: a page at a scale, its configs, where to start and where to write. Nothing is created here."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import jax

from toylab import lab, stages, sweep
from toylab.base import Config
from toylab.describe import Description, check_name, taken_out
from toylab.lab import Page, Scale
from toylab.stages import Files

Stage = Literal["train", "analyze", "draw"]


@dataclass(frozen=True)
class Job:
    page: Page
    scale: Scale
    configs: Mapping[str, Sequence[Config]]  # by part that is trained
    start: Mapping[str, Any]  # what a Spec says of where the runs start
    folder: Path
    stages: Sequence[Stage]
    lane: int | None = None
    group: int | None = None  # runs a group at most
    steps: int | None = None  # where training ends at the latest
    weights: Path = Path()  # the folder of networks that others trained
    imported: Files = field(default_factory=dict)  # and its files, by part and name

    def specs(self) -> dict[str, sweep.Spec]:
        parts = lab.parts(self.page)
        specs = {name: stages.spec(parts[name], self.scale, **self.start) for name in self.configs}
        return {name: spec if self.steps is None else until(spec, self.steps) for name, spec in specs.items()}


def until(spec: sweep.Spec, last: int) -> sweep.Spec:
    """The same, ending at step `last` at most, where a point is saved."""
    return replace(spec, saves=[step for step in spec.saves if step < last] + [last]) if last < spec.saves[-1] else spec


def job(
    page: Page,
    asked: Description,
    *,
    out: Path | None = None,
    stage: Stage | None = None,
    lane: int | None = None,
    group: int | None = None,
    steps: int | None = None,
    start: str | None = None,
) -> Job:
    """The job that is asked for, or a ValueError of one sentence."""
    scale = _scale(asked.scale)
    parts = lab.parts(page)
    for name in (*parts, *asked.parts):
        check_name("part", name)
    if unknown := sorted(set(asked.parts) - set(parts)):
        has = ", ".join(filter(None, parts)) or "no parts"
        raise ValueError(f"--part is {unknown[0]}: {lab.name_of(page)} has {has}.")
    for option, value in (("--lane", lane), ("--group", group), ("--steps", steps)):
        if value is not None and value < 1:
            raise ValueError(f"{option} is {value}: it must be at least 1.")
    chosen = {name: part for name, part in parts.items() if name in asked.parts or not asked.parts}
    weights, imported = Path(), {}
    if others := {name: part.imported for name, part in chosen.items() if part.imported}:
        given, asked = taken_out(asked, "weights")
        trains = asked.changes or asked.block.seeds or start or steps
        if trains and len(others) == len(chosen):
            raise ValueError(
                f"{lab.name_of(page)} trains nothing: it measures networks of others, and takes --set weights=FOLDER alone."
            )
        if stage != "draw":  # which needs the small files alone
            weights = _folder_of_weights(given)
            imported = {name: part.files(weights, scale) for name, part in others.items()}
    configs = {name: asked.configs(part.configs[scale]) for name, part in chosen.items() if not part.imported}
    for name, members in configs.items():
        sweep.groups(members)  # refuses duplicates
        if asked.changes:  # the page's own configs fit its analyses; tests hold that
            stages.rehearse(parts[name], members)
    out = out or (Path("results") if scale == "paper" else Path("results") / scale)
    begun = _start(start, out, [config for members in configs.values() for config in members])
    asked_stages = [stage] if stage else list(get_args(Stage))
    folder = out / lab.name_of(page)
    return Job(page, scale, configs, begun, folder, asked_stages, lane, group, steps, weights, imported)


def _folder_of_weights(given: str | None) -> Path:
    """What --set weights=FOLDER says, or else where the tests look for reference data."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "reference"
    folder = Path(given or os.environ.get("TOYLAB_REFERENCE") or beside).expanduser()
    if not folder.is_dir():
        told = f"weights is {given}: there is no such folder" if given else "weights are needed"
        raise ValueError(f"{told}: give --set weights=FOLDER; the page says where one gets them.")
    return folder


def _scale(asked: str | None) -> Scale:
    if asked is None:
        return "cpu" if jax.default_backend() == "cpu" else "paper"
    for scale in get_args(Scale):
        if asked == scale:
            return scale
    raise ValueError(f"scale is {asked!r}: it must be one of {', '.join(get_args(Scale))}.")


def _start(start: str | None, out: Path, configs: Sequence[Config]) -> dict[str, Any]:
    """The params that --from names, fitting every config. A bare RUN is looked for in every sweep below results and OUT."""
    if start is None:
        return {}
    place, at, step = start.rpartition("@")
    where, slash, run = place.rpartition("/")
    if not at or not step.isdecimal() or not run or ".." in run:
        raise ValueError(f"--from is {start!r}: it must be RUN@STEP, as 1a2b3c4d5e@8000.")
    places = (
        [Path(where) / "runs"] if slash else [path for root in (out, Path("results")) for path in root.rglob("runs")]
    )
    runs = {path.resolve(): path for path in places}  # OUT may lie in results
    sweeps = [folder for place in sorted(runs.values()) for folder in sweep.folders(place).values()]
    found = [folder for folder in sweeps if sweep.has_run(folder, run)]
    found = found or [Path(where) / "runs"] if slash else found
    if len(found) != 1:
        raise ValueError(
            f"--from is {start!r}: {len(found)} sweeps below results and --out have that run; give FOLDER/RUN@STEP."
        )
    name, params = sweep.params_at(found[0], run, int(step))
    given = {key: value.shape for key, value in params.items()}
    for members in sweep.groups(configs).values():  # the runs of a group have the same shapes
        shapes = jax.eval_shape(members[0].net.init, jax.random.key(0))
        wanted = {key: leaf.shape for key, leaf in shapes.items()}
        if differ := sorted(key for key in wanted | given if wanted.get(key) != given.get(key)):
            raise ValueError(f"--from is {start}: its params do not fit this net ({', '.join(differ)} differ).")
    return {"start": params, "started_from": f"{place_of(found[0])}/{name}@{step}"}


def place_of(sweep_folder: Path) -> str:
    """The page's folder that a sweep lies in: what stands before `runs`, so that its name is the same for every part."""
    return next(path for path in (sweep_folder, *sweep_folder.parents) if path.name == "runs").parent.as_posix()
