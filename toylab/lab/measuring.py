"""Measures of a part's runs: those recorded while training, and its analyses of saved points, joined over groups."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from toylab import configs as cfg
from toylab import display, lab, store, sweep
from toylab.analysis import analyze as analyze_over_runs
from toylab.analysis import together
from toylab.base import Analyzer, Config, Run
from toylab.lab import Arrays, Part
from toylab.lab.unfinished import Unfinished
from toylab.records import passes
from toylab.train import data as data_of

LINE_SECONDS = 60.0  # between two lines that say how far it is, where there is no terminal
FINAL = "final/"  # before the names of what is of the last point
Tick = Callable[[int, bool], None]  # is told of points that are analyzed, and whether they were before


def measures_of(
    part: Part, configs: Sequence[Config], runs: Path, report: Callable[[str], None], batch_size: int, code: str = ""
) -> Arrays:
    """All measures of a part's runs, leaves [R, …].

    Args:
        part: whose analyses are made.
        configs: of its runs.
        runs: the folder of their sweep.
        report: gets messages.
        batch_size: points that are analyzed at once.
        code: of the page (code.py): what it gives is kept until all is measured; "" keeps nothing.

    Raises:
        StoreError: where runs are missing or damaged, or what is kept cannot be written.
    """
    named = sweep.groups_in(runs, configs)
    if absent := set(named) - set(sweep.same_sweep(runs, named)):
        raise store.StoreError(f"{runs} lacks {len(absent)} of the {len(named)} groups: run the stage train first.")
    blocks, later = [], cfg.set_later(configs)
    loaded = sweep.load(runs)
    tick = _told(report, sum(source.group.valid.size for source, _ in loaded.each()) if part.analyses else 0)
    for group in loaded:
        for message in group.messages:
            report(message)
        if n_diverged := int(np.isfinite(group.diverged).sum()):
            report(
                f"{n_diverged} of {len(group.runs)} runs of {group.name} diverged: what is measured of them there is nan."
            )
        at, last = int(group.steps[-1]), passes.all_saves(group.manifest)[-1]
        if at < last and not group.ended.all():
            report(
                f"{group.name} is trained to step {at:,} of {last:,} so far: what follows is measured and judged there."
            )
        fields = cfg.columns([cfg.canonical(config, later) for config in named[group.name]])
        blocks.append(
            _analyzed(part, named[group.name], group, batch_size, Unfinished(runs / group.name, code), tick)
            | {f"config/{name}": value for name, value in fields.items()}
        )
    joined = {name: value if name == "steps" else value[loaded.order] for name, value in _padded(blocks).items()}
    return part.kept(joined)


def _analyzed(
    part: Part, configs: Sequence[Config], group: sweep.Group, batch_size: int, kept: Unfinished, tick: Tick
) -> Arrays:
    run = Run(config=cfg.stack(configs), data=_stacked_data(configs) if part.final or part.analyses else {})
    finite = group.valid & ~(group.steps >= group.diverged[:, None])
    found = []
    try:
        for r, config in enumerate(configs):
            params = {name: value[r] for name, value in group.params.items()}
            last = int(group.valid[r].sum()) - 1
            key = kept.key(config, params, [*part.final, "", *part.analyses, str(last)])
            values = kept.of(r, key)
            if is_new := values is None:
                values = _of_run(part, params, last, _one(run, r), batch_size)
                kept.add(r, key, values)
            found.append(values)
            tick(len(group.steps), not is_new)
    except BaseException:
        kept.write()
        raise
    analyzed = {
        name: _blanked(value, np.isnan(group.diverged) if name.startswith(FINAL) else finite)
        for name, value in _stacked(found).items()
    }
    return {"steps": group.steps, "valid": group.valid, **group.measures, **group.probes, **analyzed}


def _of_run(part: Part, params: Arrays, last: int, run: Run, batch_size: int) -> Arrays:
    """What a part's analyses give of a run [1, …] with params [T, …]: arrays [T, …], and of its last point [...]."""
    final, out = {}, {}
    points = {name: value[None] for name, value in params.items()}
    if part.final:
        end = {name: value[:, last, None] for name, value in points.items()}
        ends = analyze_over_runs(composed(part.final), end, run, batch_size=batch_size, report=None)
        final = {name: value[:, 0] for name, value in ends.items()}
    if part.analyses:
        run = run.replace(final=final)
        out = analyze_over_runs(composed(part.analyses), points, run, batch_size=batch_size, report=None)
    return {
        name: value[0] for name, value in (out | {f"{FINAL}{name}": value for name, value in final.items()}).items()
    }


def _told(report: Callable[[str], None], total: int) -> Tick:
    """Says now and then how many of the points are analyzed."""
    begun = said = time.perf_counter()
    done = before = 0

    def tick(n: int, was_kept: bool) -> None:
        nonlocal done, before, said
        done, before, now = done + n, before + n * was_kept, time.perf_counter()
        if now - said >= LINE_SECONDS and before < done < total:
            left = display.clock((now - begun) / (done - before) * (total - done))
            report(f"analyzed {done:,} of {total:,} points, about {left} left")
            said = now

    return tick


def _stacked(found: Sequence[Arrays]) -> Arrays:
    """Arrays [R, …] of those of each run."""
    return {name: np.stack([arrays[name] for arrays in found]) for name in found[0]} if found else {}


def _one(tree: Any, run: int) -> Any:
    """A run of leaves [R, …], as leaves [1, …]; what is shared by all stays."""
    return jax.tree.map(lambda leaf: leaf[run : run + 1] if np.ndim(leaf) else leaf, tree)


_COMPOSED: dict[tuple[Any, ...], Analyzer] = {}


def composed(analyzers: Mapping[str, Analyzer]) -> Analyzer:
    """The analyzers as one, the same object each time, because the compile cache is keyed on it."""
    return _COMPOSED.setdefault(tuple(analyzers.items()), together(**analyzers))


def _stacked_data(configs: Sequence[Config]) -> Any:
    make = jax.jit(data_of)
    return jax.tree.map(
        lambda *leaves: np.stack(leaves), *[jax.tree.map(np.asarray, make(config)) for config in configs]
    )


def _blanked(value: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The array with nan (0 where the dtype has none) where a run has no point or its params are not finite."""
    value = np.array(value)
    value[~valid] = np.nan if value.dtype.kind == "f" else 0
    return value


def _padded(parts: Sequence[Arrays]) -> Arrays:
    """Joins groups over runs, on one axis of all their steps, with nan (0, "") where a group has no such point or size. A
    field that a group's configs lack is nan there, whole numbers and flags too: 0 would be a value of theirs."""
    if len(parts) == 1:
        return dict(parts[0])
    steps = np.unique(np.concatenate([part["steps"] for part in parts]))
    names = dict.fromkeys(name for part in parts for name in part if name != "steps")
    return {"steps": steps, **{name: _side_by_side(name, parts, steps) for name in names}}


def _side_by_side(name: str, parts: Sequence[Arrays], steps: np.ndarray) -> np.ndarray:
    blocks = []
    present = [part[name] for part in parts if name in part]
    over_time = not name.startswith(lab.PER_RUN)
    dtype = np.result_type(*present)
    if name.startswith("config/") and len(present) < len(parts) and dtype.kind in "biu":
        dtype = np.dtype(float)
    tail = np.max([value.shape[1 + over_time :] for value in present], axis=0).astype(int)
    for part in parts:
        shape = (len(part["valid"]), *((len(steps),) if over_time else ()), *tail)
        block = np.full(shape, {"f": np.nan, "U": ""}.get(dtype.kind, 0), dtype)
        if name in part:
            value = part[name]
            inner = tuple(slice(n) for n in value.shape[1 + over_time :])
            points = (np.searchsorted(steps, part["steps"]),) if over_time else ()
            at: tuple[Any, ...] = (slice(None), *points, *inner)
            block[at] = value
        blocks.append(block)
    return np.concatenate(blocks)
