"""`load`: a sweep read back from its folders, as arrays over all its runs or group by group."""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toylab import configs as cfg
from toylab import store
from toylab.analysis.over_runs import Wanted
from toylab.base import Analyzer, Config, Params
from toylab.fields import column, hint_of
from toylab.records import labelled, manifest
from toylab.records.history import Arrays, blank
from toylab.records.order import order_of
from toylab.records.selection import alternatives, class_names, column_of, matches, value_text, values_text
from toylab.records.source import Group, Runs, Source, read_group

if TYPE_CHECKING:
    import pandas
    import xarray

READERS = 8  # of groups at once: files over a network come while others are waited for


class Named(Mapping[str, np.ndarray]):
    """Arrays by name. Each is made when it is first used."""

    def __init__(self, names: Sequence[str], make: Callable[[str], np.ndarray]) -> None:
        self.names, self.make = names, make
        self.made: Arrays = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.names:
            raise KeyError(f"{name}: there are {', '.join(self.names) or 'none'}")
        if name not in self.made:
            self.made[name] = self.make(name)
        return self.made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class Sweep:
    """The runs of a sweep, side by side. Arrays are read when they are first used.

    steps    [T]: the saved steps of all groups, ascending
    valid    [R, T]: whether a run has a point at a step
    measures, probes, params    arrays [R, T, …] by name; nan (0 where the dtype has none) where a run has no point
    columns    arrays [R]: the fields of the configs

    A sweep that has grown has its runs in the order in which one begun with all of them would have them. Iterating gives
    one Group after another, as they lie on disk, so that a sweep of any size can be read.
    """

    def __init__(
        self,
        sources: Sequence[Runs],
        rows: Sequence[np.ndarray],
        params: bool,
        notes: list[str],
        order: np.ndarray | None = None,
    ) -> None:
        self.sources = [source for source, mine in zip(sources, rows, strict=True) if len(mine)]
        self.rows = [mine for mine in rows if len(mine)]  # which runs of each
        self.with_params, self.notes = params, notes
        self.order = (
            np.arange(sum(map(len, rows))) if order is None else order
        )  # of each run its place in the sources, in turn

    def __iter__(self) -> Iterator[Group]:
        for source, rows in zip(self.sources, self.rows, strict=True):
            group = source.read(self.with_params)
            if not len(group.steps):
                raise store.StoreError(f"{source.folder} has no complete chunk yet: run the stage train.")
            yield group if len(rows) == len(group.runs) else group.only(rows)

    def __len__(self) -> int:
        """The number of runs."""
        return sum(map(len, self.rows))

    def __repr__(self) -> str:
        lacks = "".join(f"; {note}" for note in self.notes)
        return f"<{len(self.runs)} runs in {len(self.sources)} groups; columns {', '.join(self.columns)}{lacks}>"

    @cached_property
    def runs(self) -> np.ndarray:
        return np.array([source.runs[row] for source, row in self._each_run()])

    @cached_property
    def groups(self) -> np.ndarray:
        return np.array([source.folder.name for source, _ in self._each_run()])

    @cached_property
    def configs(self) -> list[dict[str, Any]]:
        """The config of each run, in canonical form; `config(i)` is one as a Config."""
        return [source.configs[row] for source, row in self._each_run()]

    def config(self, run: int) -> Config:
        """The config of a run, by its index. Of checkpoints from elsewhere, and of what a Recorder wrote, its task and
        optimizer are None, and so is a net that is not known.

        Raises:
            IndexError: where there is no such run.
            ValueError: where it cannot be rebuilt, as `toylab.records.config_of`.
        """
        source, row = self._each_run()[operator.index(run)]
        return source.config(row)

    @cached_property
    def fields(self) -> dict[str, list[Any]]:
        """The fields of the configs by dotted name, one plain value a run: None where a run lacks the field or has a list.
        A page of several parts has the field `part` too, and several sweeps have `sweep`."""
        flat = [cfg.flat(config) for config in self.configs]
        names = dict.fromkeys(name for row in flat for name, value in row.items() if not isinstance(value, list | dict))
        found = {name: [row.get(name) for row in flat] for name in names}
        found = {name: [None if isinstance(v, list | dict) else v for v in values] for name, values in found.items()}
        of = {name: [getattr(source, name) for source, _ in self._each_run()] for name in ("sweep", "part")}
        return {name: values for name, values in of.items() if any(values)} | found

    @cached_property
    def columns(self) -> Arrays:
        """`fields` as arrays [R]: nan (or "") where a run lacks the field."""
        return {name: column_of(values) for name, values in self.fields.items()}

    @cached_property
    def steps(self) -> np.ndarray:
        return np.unique(np.concatenate([source.group.steps for source in self._read()]))

    @cached_property
    def valid(self) -> np.ndarray:
        return self._together([source.group.valid for source in self.sources], (), np.dtype(bool))

    @property
    def lengths(self) -> np.ndarray:
        """[R]: the number of saved points of each run."""
        return self.valid.sum(axis=1)

    @cached_property
    def diverged(self) -> np.ndarray:
        """[R]: the step at which a run's params were no longer finite, or nan."""
        return np.concatenate([source.group.diverged[rows] for source, rows in self.each()])[self.order]

    @property
    def messages(self) -> list[str]:
        """What is damaged or missing, in sentences."""
        empty = [f"{s.folder} has no complete chunk yet." for s in self.sources if not len(s.group.steps)]
        return [*self.notes, *empty, *(message for source in self.sources for message in source.group.messages)]

    @cached_property
    def measures(self) -> Named:
        return self._recorded("measures")

    @cached_property
    def probes(self) -> Named:
        return self._recorded("probes")

    @cached_property
    def params(self) -> Named:
        """Trajectories. Each is read and verified when it is first used; listing the names reads none."""
        names = dict.fromkeys(name for source in self.sources for name in source.group.recorded)
        return Named(list(names) if self.with_params else [], self._param)

    def select(self, **wanted: Any) -> "Sweep":
        """The runs with the wanted values: `select(**{"optimizer.weight_decay": 1.0, "seed": lambda seed: seed < 3})`.

        Args:
            wanted: for a column, or `run` or `group`: a value, a list of values, or a predicate of the whole column.
                Floats are equal if they agree to float32 precision.

        Raises:
            ValueError: where there is no such column, or no run has the values.
        """
        chosen = np.ones(len(self.runs), bool)
        for name, value in wanted.items():
            chosen &= matches(name, self._any_column(name), value)
        if not chosen.any():
            asked = " and ".join(f"{name} = {value_text(value)}" for name, value in wanted.items())
            there = "; ".join(f"{name}: {values_text(self._any_column(name))}" for name in wanted)
            raise ValueError(f"no run has {asked}: there are {there}.")
        kept = np.zeros(len(self), bool)
        kept[self.order] = chosen
        rows, at = [], 0
        for mine in self.rows:
            rows.append(mine[kept[at : at + len(mine)]])
            at += len(mine)
        order = (np.cumsum(kept) - 1)[self.order[chosen]]
        return Sweep(self.sources, rows, self.with_params, self.notes, order)

    def analyze(
        self,
        fn: Analyzer,
        *,
        task: Any = None,
        train: Any = None,
        tokens: Any = None,
        data: Mapping[str, Any] | None = None,
        final: Mapping[str, Analyzer] | None = None,
        batch_size: int = 16,
        report: Wanted = "auto",
    ) -> Arrays:
        """An analyzer of every run and every saved point: `sweep.analyze(fourier.embedding)`.

        What an analyzer asks for is checked before anything is computed. The task and the data of the lab's own runs follow
        from their configs. Checkpoints from elsewhere (`importers.load_many`) say neither: they are given here, and a split
        of the lab's own is never used in their place.

        Args:
            fn: as of `analysis.analyze`; several are one by `analysis.together`.
            task: what checkpoints were trained on, such as ModularArithmetic(p=113).
            train: the pairs of numbers [n, 2] that they were trained on, for analyzers of train or test sets.
            tokens: inputs, for analyzers of a model on text [N, P + 1].
            data: other arrays of the task's data by name.
            final: analyzers of the last point of each run, whose results `fn` reads in `run.final`, by the names that a
                page has: `final={"logits": fourier.logits}` for `progress.losses`.
            batch_size: the most points in memory and on the device at once.
            report: as of `analysis.analyze`.

        Returns:
            Arrays [R, T, …] by name; nan (0 where the dtype has none) where a run has no point.

        Raises:
            ValueError: in one sentence, where the analyzer needs what is not there, what is given does not fit, or groups
                give arrays of several shapes.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: it must be at least 1.")
        from toylab.records.analyzing import Given, analyze_sweep

        blocks = analyze_sweep(list(self.each()), fn, final or {}, Given(task, train, tokens, data), batch_size, report)
        names = dict.fromkeys(name for found in blocks for name in found)
        out: Arrays = {}
        for name in names:
            own = [found.get(name) for found in blocks]
            tail = self._one_shape(name, [None if one is None else one.shape[2:] for one in own])
            out[name] = self._together(own, tail, np.result_type(*[one for one in own if one is not None]))
        return out

    def to_xarray(self, params: bool | Sequence[str] = True) -> "xarray.Dataset":
        """The sweep as an xarray Dataset (extra `xarray`).

        Dims are `run` and `step`; further axes are named by array and number, as W_E_0. The names of the runs index `run`.
        The config's fields, `group` and `diverged` are coordinates along it. Data are `valid`, the measures, the probes and
        the params; one of the params whose name another array has is params/NAME.

        Args:
            params: which of the params to read: all, none (False), or those with the given names. All runs' params must fit
                into memory; `select` takes fewer runs.

        Raises:
            ValueError: where groups have an array in several shapes, with a column by which to select.
            KeyError: where there are no params of a name, with the names that there are.
            ImportError: where xarray is not installed.
        """
        recorded = {"valid": self.valid, **self.measures, **self.probes}
        columns = {"group": self.groups, "diverged": self.diverged, **self.columns}
        names = [params] if isinstance(params, str) else self.params if params is True else params or ()
        taken = {"run", "step", *recorded, *columns}
        chosen = {f"params/{name}" if name in taken else name: self.params[name] for name in names}
        return labelled.dataset(self.steps, {**recorded, **chosen}, {}, columns, self.runs)

    def to_pandas(self) -> "pandas.DataFrame":
        """The sweep as a pandas table with a row for each run and saved point (extra `xarray`). It has the columns of
        runs.parquet without the analyses: run, group, part (if there are several), the config's fields, diverged, step, and
        all scalar measures and probes.

        Raises:
            ImportError: where pandas is not installed.
        """
        of_runs = {"group": self.groups, **self.fields, "diverged": self.diverged}
        scalars = {name: item[name] for item in (self.measures, self.probes) for name in item if self._is_scalar(name)}
        return labelled.table(self.steps, self.valid, scalars, of_runs, self.runs)

    def explore(self, **options: Any) -> Any:
        """The sweep in the explorer, in a notebook: the value of a cell (extra `explore`).

        Args:
            **options: as of `toylab.explore.show`: `views`, `height`, `remote`, `points`.

        Raises:
            ValueError: where the extra is missing, or an option is wrong.
        """
        # the explorer stands above this package and reads it: by its name, when it is asked for
        notebook: Any = import_module("toylab.explore.notebook")
        return notebook.show_sweep(self, **options)

    def _is_scalar(self, name: str) -> bool:
        arrays = [{**source.group.measures, **source.group.probes} for source in self.sources]
        return all(found[name].ndim == 2 for found in arrays if name in found)

    def _any_column(self, name: str) -> np.ndarray:
        known = {"run": self.runs, "group": self.groups, **self.columns}
        path = column(name, known)
        if path not in known:
            raise ValueError(f"{name!r} is no column: {hint_of(name, known)}")
        return known[path] if path == name else class_names(known[path])

    def each(self) -> Iterator[tuple[Runs, np.ndarray]]:
        """Where runs are read from, and which of the runs there."""
        return zip(self.sources, self.rows, strict=True)

    def _each_run(self) -> list[tuple[Runs, int]]:
        """Where each run is read from, and its row there."""
        found = [(source, int(row)) for source, rows in self.each() for row in rows]
        return [found[i] for i in self.order]

    def _recorded(self, item: str) -> Named:
        names = dict.fromkeys(name for source in self._read() for name in getattr(source.group, item))
        return Named(list(names), lambda name: self._make(item, name))

    def _read(self) -> Sequence[Runs]:
        """The sources, with all that they have but params in memory. Several are read at once."""
        with ThreadPoolExecutor(READERS) as pool:
            for _ in pool.map(lambda source: source.group, self.sources):
                pass
        return self.sources

    def _make(self, item: str, name: str) -> np.ndarray:
        blocks = [getattr(source.group, item).get(name) for source in self.sources]
        tail = self._one_shape(f"{item}[{name!r}]", [None if block is None else block.shape[2:] for block in blocks])
        return self._together(blocks, tail, np.result_type(*[block for block in blocks if block is not None]))

    def _param(self, name: str) -> np.ndarray:
        begun = [source.group for source in self.sources if len(source.group.steps)]
        if lacking := [group.name for group in begun if name not in group.recorded]:
            raise ValueError(
                f"params[{name!r}] is not recorded in {alternatives(lacking)}: select the runs that have it."
            )
        of = [source.group.recorded.get(name) for source in self.sources]
        tail = self._one_shape(f"params[{name!r}]", [one and one[0] for one in of])
        blocks = (source.param(name) if one else None for source, one in zip(self.sources, of, strict=True))
        return self._together(blocks, tail, np.result_type(*[one[1] for one in of if one]))

    def _together(self, blocks: Any, tail: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Joins one block [R, T, …] of each group (None: it has none) to [R, T, …] over all runs and steps."""
        out = blank((len(self), len(self.steps), *tail), dtype)
        places, at = np.argsort(self.order), 0
        for (source, rows), block in zip(self.each(), blocks, strict=True):
            if block is not None:
                columns = np.searchsorted(self.steps, source.group.steps)
                out[places[at : at + len(rows), None], columns] = block[rows]
            at += len(rows)
        return out

    def _one_shape(self, what: str, shapes: Sequence[tuple[int, ...] | None]) -> tuple[int, ...]:
        """The shape after [R, T] that all groups share; else ValueError, with a column by which to select."""
        first = next(i for i, shape in enumerate(shapes) if shape is not None)
        for other, shape in enumerate(shapes):
            if shape is not None and shape != shapes[first]:
                raise ValueError(
                    f"{what} is {list(shapes[first] or ())} in {self.sources[first].folder.name} and {list(shape)} in "
                    f"{self.sources[other].folder.name}, so it is no single array: choose runs alike, as "
                    f"select(**{self._apart(first, other)!r}), or go through the groups."
                )
        return shapes[first] or ()

    def _apart(self, first: int, other: int) -> dict[str, Any]:
        one, two = (cfg.flat(self.sources[i].configs[self.rows[i][0]]) for i in (first, other))
        apart = [name for name in one if name in self.columns and one[name] != two.get(name) and one[name] is not None]
        apart.sort(key=lambda name: not name.startswith(("net.", "task.")))
        return {name: one[name] for name in apart[:1]} or {"group": self.sources[first].folder.name}


def load(path: str | Path | Sequence[str | Path], *, params: bool = True) -> Sweep:
    """Loads a sweep from disk.

    Args:
        path: a page's folder (results/grokking), a folder of runs, or the folder of one group. Of a list of these all runs
            stand side by side, with the path in the column `sweep`.
        params: False leaves the trajectories out.

    Returns:
        The sweep. A damaged newest chunk is left out and named in `messages`.

    Raises:
        StoreError: where there are no runs, or two folders of the list hold the same group.
        Damaged: where an older chunk is damaged, with the steps that are lost.
        Refused: where files do not belong together, or a newer version of toylab wrote them.
    """
    if isinstance(path, Sequence) and not isinstance(path, str):
        named = [str(one) for one in path]
        if not named or len(set(named)) < len(named):
            raise store.StoreError(f"path is {named}: give folders of sweeps, each once.")
        each = [_sources(Path(name), name) for name in named]
    else:
        each = [_sources(Path(path), "")]
    sources = [source for found, _ in each for source in found]
    folders_of: dict[Path, str] = {}
    for source in sources:
        if (before := folders_of.setdefault(source.folder.resolve(), source.sweep)) != source.sweep:
            raise store.StoreError(f"{before} and {source.sweep} both hold {source.folder}: give each run once.")
    notes = [note for _, notes in each for note in notes]
    rows = [np.arange(len(source.configs)) for source in sources]
    return Sweep(sources, rows, params, notes, order_of(sources))


def _sources(path: Path, name: str) -> tuple[list[Source], list[str]]:
    """The groups of one sweep, and sentences on those that are not begun."""
    place = path / "runs" if (path / "runs").is_dir() else path
    if _is_group(place):
        found = [(place, "")]
    else:
        found = [(group, part) for part, sweep in folders(place).items() for group in manifest.begun(sweep)]
    if not found:
        raise store.StoreError(f"{path} holds no runs: run the stage train first.")
    notes = [note for sweep in dict.fromkeys(folder.parent for folder, _ in found) for note in absent(sweep)]
    return [Source(folder, part, name) for folder, part in found], notes


def _is_group(place: Path) -> bool:
    """Whether a folder is that of a group. A page has a manifest.json as well."""
    if store.chunks(place):
        return True
    return (place / "manifest.json").exists() and "configs" in store.read_json(place / "manifest.json")


def folders(place: Path) -> dict[str, Path]:
    """The sweeps in a page's folder runs/, by part: the folder itself (named ""), or one for each part."""
    found = {"": place, **{path.name: path for path in sorted(place.glob("*")) if path.is_dir()}}
    return {name: path for name, path in found.items() if manifest.begun(path)}


def has_run(folder: Path, run: str) -> bool:
    """Whether the sweep has a run whose name begins with `run`."""
    return any(name.startswith(run) for source in load(folder).sources for name in source.runs)


def params_at(folder: Path, run: str, step: int) -> tuple[str, Params]:
    """A run's full name, and its params at a saved step. `run` is its name or the beginning of it.

    Raises:
        ValueError: where no run or several begin so, or the run has no point at that step.
    """
    if not run or not folder.is_dir():
        raise ValueError(f"{folder} with run {run!r} names no run: give FOLDER/RUN@STEP of a sweep that was trained.")
    sources = load(folder).sources
    found = [(source, r) for source in sources for r, name in enumerate(source.runs) if name.startswith(run)]
    if len(found) != 1:
        names = values_text(np.array([s.runs[r] for s, r in found] or [name for s in sources for name in s.runs]))
        raise ValueError(f"{folder} holds {len(found)} runs that start with {run!r}: it has {names}.")
    group, r = read_group(found[0][0].folder), found[0][1]
    steps = group.steps[group.valid[r]]
    if step not in steps:
        near = f"the nearest is {steps[np.argmin(np.abs(steps - step))]}" if len(steps) else "it has none yet"
        raise ValueError(f"run {group.runs[r]} has no point saved at step {step}: {near}.")
    at = list(group.steps).index(step)
    return group.runs[r], {name: value[r, at] for name, value in group.params.items()}


def absent(sweep: Path) -> list[str]:
    """A sentence about the groups that sweep.json names and that are not begun; or none."""
    try:
        named = manifest.outline(sweep).get("groups", {})
    except store.Damaged as error:
        return [f"{error} Whether all groups are begun is not known."]
    begun = {path.name for path in manifest.begun(sweep)}
    absent = [n for name, n in named.items() if name not in begun]
    return [f"{sweep}: {len(absent)} of {len(named)} groups ({sum(absent)} runs) are not begun."] if absent else []
