"""Train, analyze and draw a lab page of experiments/: `python run_sweep.py grokking`.

Runs of a sweep go into OUT/<experiment>/runs; small results beside them. Stopped or killed, the same command goes on."""

import argparse
import ast
import contextlib
import difflib
import io
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from toylab.lab import pages


class Parser(argparse.ArgumentParser):
    """Options by their whole names. What is wrong is one sentence, and exit status 2."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "allow_abbrev": False})

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        options, rest = self.parse_known_args(args, namespace)
        if rest:
            name = rest[0].partition("=")[0]
            if not name.startswith("-"):
                self.error(f"{name!r} is one word too many")
            known = [option for action in self._actions for option in action.option_strings]
            near = difflib.get_close_matches(name, known, 1, cutoff=0.7)
            self.error(f"{name} is no option: {f'did you mean {near[0]}?' if near else '--help lists them.'}")
        return options

    def error(self, message: str) -> NoReturn:
        said = message.removeprefix("argument ")
        print(said if said.endswith(("?", ".")) else f"{said}.", file=sys.stderr)
        sys.exit(2)


class Once(argparse.Action):
    """An option with one value: given again it would silently replace the first."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        given = vars(namespace).setdefault("given", set())
        if self.dest in given:
            parser.error(f"{option_string} is given twice: give it once.")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


def main(arguments: list[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # λ and ≥ where the terminal's encoding lacks them
    arguments = sys.argv[1:] if arguments is None else arguments
    command = "python run_sweep.py " + shlex.join(arguments)
    try:
        if arguments and arguments[0] in COMMANDS:
            return COMMANDS[arguments[0]](arguments[1:])
        parser = _parser()
        options = parser.parse_args(arguments)
        if options.list and len(arguments) > 1:
            parser.error("--list stands alone")
        return _sweep(options, command, asked=bool(arguments))
    except OSError as error:  # of what is written or made beside the store
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # outside of training, which commits first
        print(f"stopped. To go on: {command}", file=sys.stderr)
        return 130


def _sweep(options: argparse.Namespace, command: str, asked: bool) -> int:
    if options.list or not asked:
        print(_listing())
        return 0
    from toylab import store
    from toylab.lab import events
    from toylab.launch import launchers

    with contextlib.ExitStack() as stack:
        try:
            _check_heeded(options)
            if options.tensorboard:
                events.check()
            launcher = stack.enter_context(launchers.launcher(options.cluster, options.join, options.distributed))
            job = _job(options)
        except (ValueError, store.StoreError) as error:  # the latter of the run to start from
            print(error, file=sys.stderr)
            return 2 if isinstance(error, ValueError | store.Refused) else 1
        return _stages(job, command, launcher, options.tensorboard, options.dry_run)


def _parser() -> argparse.ArgumentParser:
    description = (__doc__ or "").split("\n\n")[0]
    form = argparse.RawDescriptionHelpFormatter
    parser = Parser("run_sweep.py", description=description, epilog=_listing(), formatter_class=form)
    parser.register("action", None, Once)  # of every option that says no other
    add = parser.add_argument
    add("experiment", nargs="?", help="a page of experiments/")
    add("--list", action="store_true", help="the experiments and what they show")
    add(
        "--set",
        action="extend",
        default=[],
        nargs="+",
        metavar="FIELD=A,B",
        help="set a field of the config; several values, or a range, make a grid: "
        "optimizer.weight_decay=0.3,1.0 task.n_train=500:2000:lin4 optimizer.lr=1e-4:1e-2:log5",
    )
    add(
        "--zip",
        action="append",
        default=[],
        nargs="+",
        metavar="FIELD=A,B",
        help="fields that go together, first values with first: net.d_model=64,128 net.d_mlp=256,512",
    )
    add("--seeds", type=int, metavar="N", help="seeds 0 to N−1")
    add("--sweep", type=_path, metavar="FILE", help="a TOML file that describes the sweep (toylab/sweep/describe.py)")
    add(
        "--scale",
        choices=("smoke", "cpu", "paper"),
        help="default: cpu, or paper where there is an accelerator",
    )
    add(
        "--steps",
        type=int,
        metavar="N",
        help="train to step N, before or beyond the page's own end, and save a point there",
    )
    add(
        "--saves",
        metavar="N|STEPS",
        help="save N points, at first in constant ratio and then evenly, or those at the steps 0,100,1000 (0:1000:lin11)",
    )
    add("--part", action="extend", default=[], nargs="+", help="only these parts of a page that has several")
    add("--stage", choices=("train", "analyze", "draw"), help="only this stage (default: all three)")
    add("--out", type=_path, help="default: results at paper scale, results/<scale> at the others")
    add("--dry-run", action="store_true", help="tell what would be trained, and what it takes, and stop there")
    add("--lane", type=int, metavar="W", help="runs in one vmap (default: chosen by a short measurement)")
    add("--group", type=int, metavar="N", help="runs in a group, which has a folder and a lock (default: 256)")
    add(
        "--tensorboard",
        action="store_true",
        help="also write event files to OUT/<experiment>/events (extra tensorboard)",
    )
    add(
        "--from",
        dest="start",
        type=_text,
        metavar="RUN@STEP",
        help="start from the params of a run at a saved step; "
        "RUN is its name in this sweep's folder, or FOLDER/NAME for another's (results/cpu/grokking/1a2b@8000)",
    )
    add = parser.add_mutually_exclusive_group().add_argument
    add(
        "--cluster",
        type=_text,
        metavar="WHERE",
        help="train with Ray: local (this machine), auto (RAY_ADDRESS) or HOST:PORT",
    )
    add(
        "--join",
        nargs="?",
        type=int,
        const=0,
        metavar="N",
        help="one of (about) N processes with this same command: each takes groups that nobody has",
    )
    add(
        "--distributed",
        nargs="?",
        type=_text,
        const="auto",
        metavar="HOST:PORT,N,I",
        help="one of N processes of jax.distributed; without a value as a TPU pod, Slurm or Open MPI says",
    )
    return parser  # fmt: skip


def _text(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def _path(text: str) -> Path:
    return Path(os.path.expanduser(_text(text)))  # a shell leaves the ~ of --out=~/x


OF_TRAINING = {
    "steps": "--steps",
    "saves": "--saves",
    "start": "--from",
    "tensorboard": "--tensorboard",
    "cluster": "--cluster",
    "dry_run": "--dry-run",
}


def _check_heeded(options: argparse.Namespace) -> None:
    """ValueError for an option that the one stage asked for would not heed."""
    if options.stage not in (None, "train"):
        for name, option in OF_TRAINING.items():
            if getattr(options, name) not in (None, False):
                raise ValueError(f"{option} is for training: leave it out with --stage {options.stage}.")


def _listing() -> str:
    """Experiment names with the first line of their docstrings, read without importing them."""
    lines = ["experiments:"]
    for name, path in pages.built_in().items():
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        lines.append(f"  {name:24}{text.splitlines()[0] if text else ''}")
    return "\n".join(lines)


def _page(name: str) -> Any:
    if name not in (known := pages.built_in()):
        if "/" in name or ".." in name:
            raise ValueError(f"experiment is {name!r}: a name has no slash and no '..' in it.")
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}."
        raise ValueError(f"experiment {name!r} is not known: {hint}")
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true"  # scatters in a fixed order: bits repeat
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")  # accelerators round to bfloat16 or tf32 otherwise
    return pages.load(name)


def _job(options: argparse.Namespace) -> Any:
    """What is asked for, checked: nothing is created before this stands."""
    from toylab.sweep import describe

    asked = describe.from_file(options.sweep) if options.sweep else describe.Description()
    asked = describe.with_texts(asked, describe.from_texts(options.set, options.zip, options.seeds))
    asked = describe.with_choices(asked, experiment=options.experiment, scale=options.scale, parts=options.part)
    page = _page(asked.experiment or "")
    from toylab.lab import job

    return job.job(
        page,
        asked,
        out=options.out,
        stage=options.stage,
        lane=options.lane,
        group=options.group,
        steps=options.steps,
        saves=options.saves,
        start=options.start,
    )


def _stages(job: Any, command: str, launcher: Any, tensorboard: bool, dry: bool) -> int:
    """The asked stages one after another; the exit status."""
    from toylab import store, sweep
    from toylab.lab import preview

    try:
        with launcher.quiet():
            if dry or "train" in job.stages:
                print("\n".join(preview.lines(job, dry)), flush=True)
            elif job.lane or job.group:
                preview.compare(job)
            if dry:
                return 0
            trained = _train(job, command, launcher, tensorboard) if job.configs and "train" in job.stages else {}
        with store.locked(job.folder / "runs") if launcher.are_equal and job.configs else contextlib.nullcontext():
            _rest(job, command, trained)
    except store.InUse as error:
        print(f"all groups are trained; {error}" if launcher.are_equal else error, file=sys.stderr)
        return 0 if launcher.are_equal else 2
    except sweep.Interrupted as stopped:
        _table(job)
        print(f"stopped: {stopped}. To go on: {command}", file=sys.stderr)
        return 130
    except store.StoreError as error:
        if isinstance(error, sweep.Failed):  # the other groups are trained
            _table(job)
        print(error, file=sys.stderr)
        return 2 if isinstance(error, store.Refused) else 1
    return 0


def _table(job: Any) -> None:
    """runs.parquet up to what is trained; that it cannot be written is told, and undoes no training."""
    from toylab import store
    from toylab.lab import stages

    try:
        stages.write_table(job.page, job.folder)
    except store.StoreError as error:
        print(f"runs.parquet is not written anew: {error}", file=sys.stderr)


def _rest(job: Any, command: str, trained: dict[str, Any]) -> None:
    from toylab import store
    from toylab.lab import stages

    imported = job.imported if "analyze" in job.stages else {}
    if imported:
        store.make_folder(job.folder, 0)
    if trained or imported:
        stages.write_manifest(job.folder, job.page, job.scale, trained, command, _commit(), imported)
    if "train" in job.stages and job.configs:
        _table(job)
    if "analyze" in job.stages:
        started = time.perf_counter()
        others = {"weights": job.weights, "imported": job.imported}
        claims = stages.analyze(job.page, job.configs, job.folder, print, named=job.named, **others)
        print(f"analyzed in {time.perf_counter() - started:.0f} s: {job.folder / 'measures.npz'}, claims.json")
        print_claims(claims)
    if "draw" in job.stages:
        if job.named and "analyze" not in job.stages:
            stages.check_measured(job.folder, job.configs, job.named)
        drawn = stages.draw(job.page, job.folder, partial(print, file=sys.stderr), job.parts)
        print("drawn: " + (", ".join(str(path) for path in drawn) or "nothing"))


def _train(job: Any, command: str, launcher: Any, tensorboard: bool) -> dict[str, Any]:
    """Trains every part; those that were not finished before, with their configs."""
    from toylab import lab, store, sweep
    from toylab.lab import events, preview, stages, watch

    parts, specs = lab.parts(job.page), job.specs()
    runs = job.folder / "runs"
    trained, recorded = {}, stages.recorded_parts(job.folder)
    with launcher.connected():
        store.make_folder(runs, 0 if runs.is_dir() else preview.bytes_needed(job))
        for name, members in job.configs.items():
            if name:
                print(f"part {name}: {len(members)} runs", flush=True)
            others = [
                watch.Log(job.folder / "log.txt"),
                *([events.Events(job.folder / "events" / name)] if tensorboard else []),
            ]
            with watch.Watch(parts[name].milestone, others) as shown:
                launcher.train(
                    members,
                    specs[name],
                    runs / name,
                    lane=job.lane,
                    group_size=job.group,
                    command=command,
                    report=shown,
                    interrupted=shown.interrupted,
                )
            if shown.interrupted():  # asked while the last points were trained
                raise sweep.Interrupted(f"{runs / name} is trained to its end")
            if shown.trained or name not in recorded:  # what was finished keeps how it was made
                trained[name] = members
    return trained


def _status(arguments: list[str]) -> int:
    """`run_sweep.py status results/x`: 0 where every group is finished, 3 where not, 2 where there is no sweep."""
    parser = Parser("run_sweep.py status", description="How far a sweep is, and what to type to go on.")
    parser.add_argument("folder", type=_path, help="a page's folder, as results/grokking")
    parser.add_argument("--verify", action="store_true", help="read every byte of the chunks that nobody is writing")
    options = parser.parse_args(arguments)
    from toylab import store
    from toylab.records import status

    try:
        found = status.status(options.folder, options.verify)
    except store.StoreError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, store.Refused) else 1
    print(status.as_text(found))
    return 0 if found.finished else 3


COMMANDS: dict[str, Callable[[list[str]], int]] = {  # first words other than an experiment: arguments → exit status
    "status": _status,
}


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(git, capture_output=True, encoding="utf-8", errors="replace", check=False)
    except OSError:  # no git here
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def print_claims(claims: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from toylab import lab

    table = Table("claim", "source", "bound", "values", "verdict")
    for claim in claims:
        cells = claim["name"], claim["source"], claim["bound"], lab.values_text(claim), claim["verdict"]
        table.add_row(*(Text(cell) for cell in cells))  # not markup: E[x] is no tag
    Console(width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    status = main()
    if status == 130:  # threads of a compile that was cut short may crash while the interpreter ends
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
