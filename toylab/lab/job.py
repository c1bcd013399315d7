"""A job: the checked request to run a page at a scale, with its configs, start and folder. Nothing is created here."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import jax

from toylab import configs as cfg
from toylab import lab, store, sweep
from toylab.base import Config
from toylab.lab import Page, Scale, stages, stated, verdicts
from toylab.lab.rehearsal import rehearse
from toylab.lab.stages import Files
from toylab.sweep import grids, sizes
from toylab.sweep.ahead.devices import Device
from toylab.sweep.describe import Description, check_name, without_setting

TRIED = 16  # the most programs whose training is traced in advance
Stage = Literal["train", "analyze", "draw"]


@dataclass(frozen=True)
class Job:
    page: Page
    scale: Scale
    configs: Mapping[str, Sequence[Config]]  # by part that is trained
    start: Mapping[str, Mapping[str, Any]]  # by part, the fields of a Spec that say where its runs start
    folder: Path
    stages: Sequence[Stage]
    parts: Sequence[str]  # the requested ones, trained or imported
    lane: int | None = None
    group: int | None = None  # the most runs in a group
    steps: int | None = None  # the last step
    saves: tuple[int, ...] = ()  # saved steps, or their number, in place of the page's
    named: tuple[str, ...] = ()  # the fields of the config that were set
    weights: Path = Path()  # the folder of networks that others trained
    imported: Files = field(default_factory=dict)  # the files of that folder, by part and name
    device: Device | None = None  # for which the programs are compiled in place of training

    def specs(self) -> dict[str, sweep.Spec]:
        """What each part's runs record. Without --saves a sweep that was begun keeps its saved steps, and gets those of the
        page behind them only."""
        specs = self.stated()
        for name, spec in specs.items():
            if not self.saves and (there := sweep.saved_steps(self.folder / "runs" / name)):
                kept = [step for step in spec.saves if step in there or step > there[-1]]
                specs[name] = replace(spec, saves=kept or there[:1])
        return specs

    def stated(self) -> dict[str, sweep.Spec]:
        """`specs` of a sweep that is not begun."""
        parts = lab.parts(self.page)
        specs = {name: stages.spec(parts[name], self.scale, **self.start[name]) for name in self.configs}
        return {
            name: replace(spec, saves=saves_until(spec.saves, self.steps, self.saves)) for name, spec in specs.items()
        }


def saves_until(own: Sequence[int], last: int | None, asked: Sequence[int] = ()) -> list[int]:
    """The steps at which points are saved.

    Args:
        own: the steps of the page.
        last: the last step; None for that of the page. Beyond the page's last step points follow evenly, in its last gap,
            or in a larger one so that their number doubles at most.
        asked: steps in place of the page's; a single number n means n steps, spaced as by `log_then_linear`.
    """
    if len(asked) > 1:
        return list(asked)
    end = own[-1] if last is None else last
    if asked and asked[0] > end:
        return list(range(end + 1))
    if asked:
        first = min((step for step in own if 0 < step < end), default=1)
        return [int(step) for step in sweep.log_then_linear(first, end, asked[0])]
    gap = max(own[-1] - own[-2] if len(own) > 1 else own[-1], -(-(end - own[-1]) // len(own)), 1)
    points = [*own, *range(own[-1] + gap, end, gap)]
    return [step for step in points if step < end] + [end]


def job(
    page: Page,
    asked: Description,
    *,
    out: Path | None = None,
    stage: Stage | None = None,
    lane: int | None = None,
    group: int | None = None,
    steps: int | None = None,
    saves: str | None = None,
    start: str | None = None,
    device: Device | None = None,
) -> Job:
    """Checks a request and makes its job.

    Args:
        page: to run.
        asked: scale, parts and fields to set.
        out: the folder in which that of the page lies.
        stage: only this stage; None for all.
        lane, group, steps, saves, start: the options --lane, --group, --steps, --saves and --from.
        device: that --device names; runs are held to its memory, and are those of scale paper unless another is asked for.

    Raises:
        ValueError: in one sentence, with the option or field, its value and what would be right.
        StoreError: where the run to start from cannot be read.
    """
    scale = scale_of(asked.scale or ("paper" if device else None))
    stated.check(page, scale)
    chosen = chosen_parts(page, asked.parts)
    for option, value in (("--lane", lane), ("--group", group), ("--steps", steps)):
        if value is not None and not 1 <= value < 2**31:
            raise ValueError(f"{option} is {value}: it must be at least 1" + (", and below 2³¹." if value > 0 else "."))
    points = _saves(saves, steps)
    weights, imported = Path(), {}
    if others := {name: part.imported for name, part in chosen.items() if part.imported}:
        given, asked = without_setting(asked, "weights")
        trains = asked.changes or asked.seeded or any((start, steps, saves, lane, group))
        if trains and len(others) == len(chosen):
            raise ValueError(
                f"{lab.name_of(page)} trains nothing: it measures networks of others, and takes --set weights=FOLDER alone."
            )
        if stage == "draw" and given:
            raise ValueError(f"weights is {given}: the stage draw reads measures.npz alone; leave it out.")
        if stage != "draw":  # the stage draw needs only the small files
            weights = _folder_of_weights(given)
            imported = {name: part.files(weights, scale) for name, part in others.items()}
    configs = {name: asked.configs(part.configs[scale]) for name, part in chosen.items() if not part.imported}
    for name, members in configs.items():
        sweep.groups(members)  # raises for duplicates
        if asked.changes:  # tests ensure that the page's own configs can be trained
            _try_training(chosen[name], members, asked.named, device.chip.memory if device else None)
    out = out or (Path("results") if scale == "paper" else Path("results") / scale)
    folder = out / lab.name_of(page)
    store.check_name(folder / "runs")
    given_start = _start(start, out, [config for members in configs.values() for config in members])
    after = {name: part.start for name, part in chosen.items() if part.start}
    if start and after:
        name, own = next(iter(after.items()))
        raise ValueError(f"--from is {start}: the part {name} starts from {own.part}; give other parts.")
    starts = {
        name: _after(page, name, own, members=configs, asked=asked, scale=scale, folder=folder)
        for name, own in after.items()
    }
    if stage in (None, "train"):
        for name, own in after.items():
            if own.part not in configs:
                starts[name].check()
    made = Job(
        page,
        scale,
        configs,
        start={name: {"start": starts[name]} if name in starts else given_start for name in configs},
        folder=folder,
        stages=[stage] if stage else list(get_args(Stage)),
        parts=tuple(chosen),
        lane=lane,
        group=group,
        steps=steps,
        saves=points,
        named=asked.named,
        weights=weights,
        imported=imported,
        device=device,
    )
    stages.check_folder(made.folder, page)
    verdicts.check(page, scale, made.folder)
    for name, spec in made.specs().items():  # raises if --steps and --saves do not fit together
        if stage in (None, "train"):
            rehearse(chosen[name], configs[name], spec.saves, asked.changes)
    return made


def _try_training(part: lab.Part, configs: Sequence[Config], named: Sequence[str], budget: int | None) -> None:
    """Raises ValueError where the set fields make a config that cannot be trained. Only the first programs are tried; a
    group that fails later stops no other."""
    for config in cfg.one_of_each(configs)[:TRIED]:
        try:
            sizes.check_trainable(config, part.probes, part.keep, budget)
        except Exception as error:  # JAX and tasks raise anything for sizes that do not fit
            reason = store.first_line(error).removesuffix(".")
            if isinstance(error, ValueError) and reason.startswith((*named, "net.", "task.")):
                raise
            reason = reason if isinstance(error, ValueError) else f"{type(error).__name__}: {reason}"
            flat = cfg.flat(cfg.canonical(config))
            values = ", ".join(f"{name} is {str(flat.get(name))[:60]}" for name in named)
            raise ValueError(f"{values}: it cannot be trained ({reason}).") from error


def chosen_parts(page: Page, asked: Sequence[str]) -> dict[str, lab.Part]:
    """The requested parts; all parts if none is requested."""
    parts = lab.parts(page)
    for name in (*parts, *asked):
        check_name("part", name)
    if unknown := sorted(set(asked) - set(parts)):
        has = ", ".join(filter(None, parts)) or "no parts"
        raise ValueError(f"--part is {unknown[0]}: {lab.name_of(page)} has {has}.")
    return {name: part for name, part in parts.items() if name in asked or not asked}


def _saves(text: str | None, steps: int | None) -> tuple[int, ...]:
    """The option --saves: ascending steps, or their number."""
    if text is None:
        return ()
    try:
        found = tuple(int(value) for value in grids.values(text, whole=True))
    except ValueError as error:
        why = f" ({error})" if ":" in text else ""
        raise ValueError(f"--saves is {text}: give how many, as 200, or the steps, as 0,100,1000{why}.") from None
    if len(found) == 1 and found[0] < 4:
        raise ValueError(f"--saves is {text}: give at least 4 points, or the steps themselves, as 0,100,1000.")
    if len(found) > 1 and (found[0] < 0 or list(found) != sorted(set(found))):
        raise ValueError(f"--saves is {text}: the steps must ascend from 0 on.")
    if len(found) > 1 and steps not in (None, found[-1]):
        raise ValueError(f"--saves ends at step {found[-1]}, and --steps is {steps}: give one of them.")
    return found


def _folder_of_weights(given: str | None) -> Path:
    """The folder of --set weights=FOLDER; by default that of the reference data."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "reference"
    folder = Path(given or os.environ.get("TOYLAB_REFERENCE") or beside).expanduser()
    if not folder.is_dir():
        problem = f"weights is {given}: there is no such folder" if given else "weights are needed"
        raise ValueError(f"{problem}: give --set weights=FOLDER; the page says where one gets them.")
    return folder


def scale_of(asked: str | None) -> Scale:
    """The scale that is asked for; cpu, or paper where there is an accelerator, for None."""
    if asked is None:
        return "cpu" if jax.default_backend() == "cpu" else "paper"
    for scale in get_args(Scale):
        if asked == scale:
            return scale
    raise ValueError(f"scale is {asked!r}: it must be one of {', '.join(get_args(Scale))}.")


def _start(start: str | None, out: Path, configs: Sequence[Config]) -> dict[str, Any]:
    """The params that --from names. They must fit every config. Without a folder, all sweeps below results and OUT are
    searched for the run."""
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


def _after(
    page: Page,
    name: str,
    start: lab.Start,
    *,
    members: Mapping[str, Sequence[Config]],
    asked: Description,
    scale: Scale,
    folder: Path,
) -> sweep.Starts:
    """Where the runs of a part start that begins where another ends, with the same fields set there."""
    others = members.get(start.part)
    try:
        others = others or asked.configs(lab.parts(page)[start.part].configs[scale])
        return sweep.Starts.matched(
            folder.absolute() / "runs" / start.part, start.part, members[name], others, start.by
        )
    except ValueError as error:
        raise ValueError(f"the part {name} starts from {start.part}: {error}") from None


def place_of(sweep_folder: Path) -> str:
    """The page's folder that a sweep lies in: what stands before `runs`, so that its name is the same for every part."""
    return next(path for path in (sweep_folder, *sweep_folder.parents) if path.name == "runs").parent.as_posix()
