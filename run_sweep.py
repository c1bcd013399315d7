"""Train, analyze and draw a lab page of experiments/: `python run_sweep.py grokking`.

Runs of a sweep go into OUT/<experiment>/runs; small results beside them. Stopped or killed, the same command goes on."""

import argparse
import ast
import difflib
import importlib
import itertools
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGES = Path(__file__).parent / "experiments"


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.list or options.experiment is None:
        print(_listing())
        return 0
    command = "python run_sweep.py " + shlex.join(sys.argv[1:] if arguments is None else arguments)
    try:
        page = _page(options.experiment)
        job = _job(page, options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return _stages(page, options, job, command)


def _parser() -> argparse.ArgumentParser:
    description = (__doc__ or "").split("\n\n")[0]
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("run_sweep.py", description=description, epilog=_listing(), formatter_class=form)
    add = parser.add_argument
    add("experiment", nargs="?", help="a page of experiments/")
    add("--list", action="store_true", help="the experiments and what they show")
    add(
        "--set",
        action="extend",
        default=[],
        nargs="+",
        metavar="FIELD=A,B",
        help="set a field of the config; several values make a grid: optimizer.weight_decay=0.3,1.0 net.d_model=64",
    )
    add("--seeds", type=int, metavar="N", help="seeds 0 to N−1")
    add(
        "--scale",
        choices=("smoke", "cpu", "paper"),
        help="default: cpu, or paper where there is an accelerator",
    )
    add("--part", action="extend", default=[], nargs="+", help="only these parts of a page that has several")
    add("--stage", choices=("train", "analyze", "draw"), help="only this stage (default: all three)")
    add("--out", type=Path, help="default: results at paper scale, results/<scale> at the others")
    add("--lane", type=int, metavar="W", help="runs in one vmap (default: chosen by a short measurement)")
    add(
        "--from",
        dest="start",
        metavar="RUN@STEP",
        help="start from the params of a run at a saved step; "
        "RUN is its name in this sweep's folder, or FOLDER/NAME for another's (results/cpu/grokking/1a2b@8000)",
    )
    return parser  # fmt: skip


def _listing() -> str:
    """Experiment names with the first line of their docstrings, read without importing them."""
    lines = ["experiments:"]
    for name, path in _pages().items():
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        lines.append(f"  {name:24}{text.splitlines()[0] if text else ''}")
    return "\n".join(lines)


def _pages() -> dict[str, Path]:
    return {path.stem: path for path in sorted(PAGES.glob("*.py")) if path.stem != "__init__"}


def _page(name: str) -> Any:
    if name not in (known := _pages()):
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}."
        raise ValueError(f"experiment {name!r} is not known: {hint}")
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true"  # scatters in a fixed order: bits repeat
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")  # accelerators round to bfloat16 or tf32 otherwise
    return importlib.import_module(f"experiments.{name}")


@dataclass(frozen=True)
class Job:
    """What was asked, checked: nothing is created before this stands."""

    scale: Any
    configs: dict[str, list[Any]]  # by part
    start: dict[str, Any]
    folder: Path
    stages: list[str]


def _job(page: Any, options: argparse.Namespace) -> Job:
    import jax

    from toylab import lab, stages, sweep

    scale: Any = options.scale or ("cpu" if jax.default_backend() == "cpu" else "paper")
    parts = lab.parts(page)
    if unknown := sorted(set(options.part) - set(parts)):
        raise ValueError(
            f"--part is {unknown[0]}: {options.experiment} has {', '.join(filter(None, parts)) or 'no parts'}."
        )
    if options.lane is not None and options.lane < 1:
        raise ValueError(f"--lane is {options.lane}: it must be at least 1.")
    chosen = {name: part for name, part in parts.items() if name in options.part or not options.part}
    configs = {name: _configs(part.configs[scale], options) for name, part in chosen.items()}
    for name, members in configs.items():
        sweep.groups(members)  # refuses duplicates
        if options.set:  # the page's own configs fit its analyses; tests hold that
            stages.rehearse(parts[name], members)
    out = options.out or (Path("results") if scale == "paper" else Path("results") / scale)
    start = _start(options.start, out, [config for members in configs.values() for config in members])
    asked = [options.stage] if options.stage else ["train", "analyze", "draw"]
    return Job(scale, configs, start, out / options.experiment, asked)


def _stages(page: Any, options: argparse.Namespace, job: Job, command: str) -> int:
    """The asked stages one after another; the exit status."""
    from toylab import stages, store, sweep

    try:
        if "train" in job.stages:
            _train(page, job, options.lane, command)
        if "analyze" in job.stages:
            started = time.perf_counter()
            claims = stages.analyze(page, job.configs, job.folder, print)
            print(f"analyzed in {time.perf_counter() - started:.0f} s: {job.folder / 'measures.npz'}, claims.json")
            print_claims(claims)
        if "draw" in job.stages:
            print("drawn: " + ", ".join(str(path) for path in stages.draw(page, job.folder)))
    except sweep.Interrupted as stopped:
        print(f"stopped: {stopped}. To go on: {command}", file=sys.stderr)
        return 130
    except store.StoreError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, store.Refused) else 1
    return 0


def _train(page: Any, job: Job, lane: int | None, command: str) -> None:
    from toylab import lab, stages, store, sweep, watch

    parts = lab.parts(page)
    specs = {name: stages.spec(parts[name], job.scale, **job.start) for name in job.configs}
    runs = job.folder / "runs"
    needed = sum(sweep.bytes_needed(members, specs[name]) for name, members in job.configs.items())
    store.make_folder(runs, 0 if runs.is_dir() else needed)
    trained = {}
    for name, members in job.configs.items():
        if name:
            print(f"part {name}: {len(members)} runs", flush=True)
        with watch.Watch(parts[name].milestone) as shown:
            sweep.run(members, specs[name], runs / name, lane=lane, report=shown, interrupted=shown.interrupted)
        if shown.trained or name not in stages.recorded(job.folder):  # what was finished keeps the record of its making
            trained[name] = members
    if trained:
        stages.write_manifest(job.folder, page, job.scale, trained, command, _commit())


def _configs(base: Sequence[Any], options: argparse.Namespace) -> list[Any]:
    """The page's configs with the grid of --set and --seeds laid over them, checked."""
    from toylab import configs as cfg

    grid: dict[str, list[str]] = {}
    for setting in options.set:
        field, equals, values = setting.partition("=")
        if not equals or not values or "" in values.split(","):
            raise ValueError(f"--set {setting}: give a field and its values, as optimizer.lr=1e-3,3e-3.")
        if field in grid:
            raise ValueError(f"--set names {field} twice: give all its values in one list.")
        grid[field] = values.split(",")
    if options.seeds is not None:
        if options.seeds < 1 or "seed" in grid:
            raise ValueError(f"--seeds is {options.seeds}: give at least 1, or --set seed=… instead.")
        grid["seed"] = [str(seed) for seed in range(options.seeds)]
    if "seed" in grid:  # the page's own seeds make way
        base = list({cfg.digest(config.replace(seed=0)): config.replace(seed=0) for config in base}.values())
    found = []
    for config, values in itertools.product(base, itertools.product(*grid.values())):
        for field, value in zip(grid, values, strict=True):
            config = cfg.override(config, field, value)
        found.append(cfg.check(config))
    return found


def _start(start: str | None, out: Path, configs: Sequence[Any]) -> dict[str, Any]:
    """The params that --from names, fitting every config. A bare RUN is looked for in every sweep below results and OUT."""
    if start is None:
        return {}
    import jax

    from toylab import sweep

    place, at, step = start.rpartition("@")
    where, slash, run = place.rpartition("/")
    if not at or not step.isdecimal() or not run:
        raise ValueError(f"--from is {start!r}: it must be RUN@STEP, as 1a2b3c4d5e@8000.")
    runs = [Path(where) / "runs"] if slash else {path for root in (Path("results"), out) for path in root.rglob("runs")}
    sweeps = [folder for place in sorted(runs) for folder in sweep.folders(place).values()]
    found = [folder for folder in sweeps if run and sweep.has_run(folder, run)]
    found = found or [Path(where) / "runs"] if slash else found
    if len(found) != 1:
        raise ValueError(
            f"--from is {start!r}: {len(found)} sweeps below results and --out have that run; give FOLDER/RUN@STEP."
        )
    name, params = sweep.params_at(found[0], run, int(step))
    for config in configs:
        wanted = {key: leaf.shape for key, leaf in jax.eval_shape(config.net.init, jax.random.key(0)).items()}
        if wanted != (given := {key: value.shape for key, value in params.items()}):
            differ = sorted(key for key in wanted | given if wanted.get(key) != given.get(key))
            raise ValueError(f"--from is {start}: its params do not fit this net ({', '.join(differ)} differ).")
    return {"start": params, "started_from": f"{place_of(found[0])}/{name}@{step}"}


def place_of(sweep_folder: Path) -> str:
    """The page's folder that a sweep lies in: what stands before `runs`, so that its name is the same for every part."""
    return next(path for path in (sweep_folder, *sweep_folder.parents) if path.name == "runs").parent.as_posix()


def _commit() -> str:
    git = ["git", "-C", str(PAGES.parent), "describe", "--always", "--dirty"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def print_claims(claims: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from toylab import lab

    table = Table("claim", "source", "bound", "values", "verdict")
    for claim in claims:
        cells = claim["name"], claim["source"], claim["bound"], lab.shown(claim), claim["verdict"]
        table.add_row(*(Text(cell) for cell in cells))  # not markup: E[x] is no tag
    Console(width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    sys.exit(main())
