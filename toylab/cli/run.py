"""`toylab run`: what is asked for, checked, and then the stages of a page one after another."""

import argparse
import contextlib
import os
import shlex
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import toylab
from toylab.cli import compiled, on_device, report
from toylab.cli.listing import listing
from toylab.cli.options import check_heeded, run_parser
from toylab.lab import pages

CLONE = Path(__file__).resolve().parents[2]


def run(arguments: list[str], program: str) -> int:
    """Runs a page; the exit status.

    Args:
        arguments: what was typed after `program`.
        program: what was typed before it, for messages: "toylab run" or "python run_sweep.py".
    """
    parser = run_parser(program, listing)
    options = parser.parse_args(arguments)
    if options.list and len(arguments) > 1:
        parser.error("--list stands alone")
    if options.list or not arguments:
        print(listing())
        return 0
    command = f"{program} {shlex.join(arguments)}"
    try:
        return _run(options, command)
    except KeyboardInterrupt:  # outside of training, which commits first
        print(f"stopped. To go on: {command}", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace, command: str) -> int:
    from toylab import store
    from toylab.lab import events, weights_and_biases
    from toylab.launch import launchers

    with contextlib.ExitStack() as stack:
        try:
            check_heeded(options)
            if options.tensorboard:
                events.check()
            if options.wandb:
                weights_and_biases.check()
            launcher = stack.enter_context(launchers.launcher(options.cluster, options.join, options.distributed))
            job = _job(options)
        except pages.Raised as error:
            print(f"{error.trace}{error}", file=sys.stderr)
            return 2
        except (ValueError, store.StoreError) as error:  # the latter of the run to start from
            print(error, file=sys.stderr)
            return 2 if isinstance(error, ValueError | store.Refused) else 1
        return _stages(job, command, launcher, options)


def _deterministic() -> None:
    """Settings with which bits repeat, made before the page is imported."""
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true"  # scatters in a fixed order
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")  # accelerators round to bfloat16 or tf32 otherwise


def _all_cores() -> None:
    """Lets sweeps use all cores; not where this function is called in a process in which JAX has started."""
    from toylab import sweep

    with contextlib.suppress(ValueError):
        sweep.use_cores()


def _job(options: argparse.Namespace) -> Any:
    """What is asked for, checked: nothing is created before this stands."""
    device = on_device.named(options.device) if options.device else None
    from toylab.sweep import describe

    asked = describe.from_file(options.sweep) if options.sweep else describe.Description()
    asked = describe.with_texts(asked, describe.from_texts(options.set, options.zip, options.seeds))
    asked = describe.with_choices(asked, experiment=options.experiment, scale=options.scale, parts=options.part)
    _deterministic()
    _all_cores()
    compiled.keep()
    page = pages.load(asked.experiment or "")
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
        device=device,
    )


def _stages(job: Any, command: str, launcher: Any, options: argparse.Namespace) -> int:
    """The asked stages one after another; the exit status."""
    from toylab import store, sweep
    from toylab.cli.training import train
    from toylab.lab import preview

    try:
        with launcher.quiet():
            if job.device:
                return on_device.tell(job, options.json)
            if options.dry_run or "train" in job.stages:
                print("\n".join(preview.lines(job, options.dry_run)), flush=True)
            elif job.lane or job.group:
                preview.compare(job)
            if options.dry_run:
                return 0
            made = {"on": time.strftime("%Y-%m-%d"), "commit": commit_of(job.page)}
            logged = options.tensorboard, options.wandb
            trained = train(job, command, launcher, *logged, made) if job.configs and "train" in job.stages else {}
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
    from toylab.lab import asked, stages, summary

    imported = job.imported if "analyze" in job.stages else {}
    if imported:
        store.make_folder(job.folder, 0)
    if trained or imported:
        stages.write_manifest(job.folder, job.page, job.scale, trained, command, commit_of(job.page), imported)
    if "train" in job.stages and job.configs:
        _table(job)
    if "analyze" in job.stages:
        started = time.perf_counter()
        others = {"weights": job.weights, "imported": job.imported}
        claims = stages.analyze(job.page, job.configs, job.folder, print, named=job.named, scale=job.scale, **others)
        print(f"analyzed in {time.perf_counter() - started:.0f} s: {job.folder / 'measures.npz'}, claims.json")
        report.print_summary(summary.read(job.folder))
        report.print_claims(claims)
    if "draw" in job.stages:
        if job.named and "analyze" not in job.stages:
            asked.check_measured(stages.read_measures(job.folder), job.folder, job.configs, job.named)
        drawn = stages.draw(job.page, job.folder, partial(print, file=sys.stderr), job.parts)
        print("drawn: " + (", ".join(str(path) for path in drawn) or "nothing"))


def commit_of(page: Any) -> str:
    """The commit of the repository that the page lies in; toylab's version for a page of an installed toylab."""
    file = Path(page.__file__ or CLONE).resolve() if hasattr(page, "__file__") else CLONE / "x"
    installed = file.is_relative_to(CLONE) and not (CLONE / "pyproject.toml").is_file()
    if installed:
        return f"toylab {toylab.__version__}"
    git = ["git", "-C", str(file.parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(git, capture_output=True, encoding="utf-8", errors="replace", check=False)
    except OSError:  # no git here
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"
