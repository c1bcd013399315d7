"""Analyzers over the runs and saved points of a sweep, the lab's own or checkpoints from elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from toylab import train
from toylab.analysis.over_runs import Wanted, analyze, reporting, together
from toylab.base import Analyzer, Data, Run
from toylab.protocol import check_net
from toylab.records.history import Arrays, blank
from toylab.records.source import Runs

SPLIT = ("train", "test", "train_labels", "train_mask", "test_mask")  # what of a task's data depends on its split


def analyze_sweep(
    groups: Sequence[tuple[Runs, np.ndarray]],
    fn: Analyzer,
    final: Mapping[str, Analyzer],
    given: "Given",
    batch_size: int,
    report: Wanted,
) -> list[Arrays]:
    """An analyzer of every run and saved point: arrays [R, T, …] by name, for each of the sweep's groups."""
    last = together(**final)
    runs = [{int(row): given.run(source, int(row)) for row in rows} for source, rows in groups]
    for (source, _), own in zip(groups, runs, strict=True):
        _check(fn, last, next(iter(own.values())), source.group.recorded)
    blocks: list[Arrays] = []
    total, done = sum(int(source.group.valid[rows].sum()) for source, rows in groups), 0
    with reporting(report) as tick:
        for (source, rows), own in zip(groups, runs, strict=True):
            if final:
                for row, _, params in source.blocks(rows, 1, last=True):
                    ends = _points(last, params, own[row], 1)
                    own[row] = own[row].replace(final={name: value[0] for name, value in ends.items()})
            found: Arrays = {}
            for row, at, params in source.blocks(rows, batch_size):
                for name, value in _points(fn, params, own[row], batch_size).items():
                    shape = (len(source.runs), len(source.group.steps), *value.shape[1:])
                    found.setdefault(name, blank(shape, value.dtype))[row, at] = value
                done = min(done + len(at), total)
                tick(done, total)
            finite = source.group.valid & ~(source.group.steps >= source.group.diverged[:, None])
            for value in found.values():
                value[~finite] = blank((), value.dtype)
            blocks.append(found)
    return blocks


def _points(fn: Analyzer, params: Arrays, run: Run, batch_size: int) -> Arrays:
    """Of points [t, …] of one run: arrays [t, …]."""
    one = jax.tree.map(lambda x: np.asarray(x)[None], run)
    points = {name: value[None] for name, value in params.items()}
    found = analyze(fn, points, one, batch_size=batch_size, report=None)
    return {name: value[0] for name, value in found.items()}


class Given:
    """What the caller says of runs whose configs do not: the task, and arrays of its data."""

    def __init__(self, task: Any, pairs: Any, tokens: Any, data: Mapping[str, Any] | None) -> None:
        if pairs is not None and task is None:
            raise ValueError("train is given without task: give task=, such as ModularArithmetic(p=113), too.")
        if pairs is not None:
            task = _with_split(task, np.asarray(pairs))
        elif hasattr(task, "n_pairs"):
            task = task.replace(n_train=task.n_pairs)  # its split is not used
        self.task, self.pairs = None if task is None else task.check(), pairs
        self.arrays = {} if tokens is None else {"tokens": jnp.asarray(tokens)}
        self.arrays |= {name: jnp.asarray(value) for name, value in (data or {}).items()}

    def run(self, source: Runs, row: int) -> Run:
        config = source.config(row)
        if config.task is not None:
            if self.task is not None:
                raise ValueError("task and train are given, and the runs of this sweep have their own: leave them out.")
            return Run(config=config, data=_joined(jax.jit(train.data)(config), self.arrays))
        if self.task is None:
            return Run(config=config, data=self.arrays)
        if config.net is not None:
            check_net(self.task, config.net)
        data = _undrawn(self.task)
        if self.pairs is None:  # the lab's own split is not theirs
            data = {name: value for name, value in data.items() if name not in SPLIT}
        return Run(config=config.replace(task=self.task), data={**data, **self.arrays})


def _undrawn(task: Any) -> dict[str, Any]:
    """What of a task's data is the same whatever the key. The rest the lab would draw: it is not what they trained on."""
    first, second = (task.data(jax.random.key(seed)) for seed in range(2))
    if not isinstance(first, dict):
        return {}
    return {name: value for name, value in first.items() if np.array_equal(value, second[name])}


def _joined(data: Data, given: Mapping[str, Any]) -> Data:
    if not given:
        return data
    if not isinstance(data, dict):
        raise ValueError(f"data is given ({', '.join(given)}), and the task's own is no dict.")
    return {**data, **given}


def _with_split(task: Any, pairs: np.ndarray) -> Any:
    """The task with a training set, as pairs of numbers [n, 2]."""
    if not hasattr(task, "order") or not hasattr(task, "p"):
        raise ValueError(
            f"train is given, and {type(task).__name__} has no pairs of numbers: give its arrays as data=."
        )
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise ValueError(f"train is {list(pairs.shape)} of {pairs.dtype}: pairs of integers [n, 2] are wanted.")
    if ((pairs < 0) | (pairs >= task.p)).any():
        raise ValueError(f"train has numbers from {pairs.min()} to {pairs.max()}: they lie in 0 to {task.p - 1}.")
    index = pairs[:, 0] * task.p + pairs[:, 1]
    if len(np.unique(index)) < len(index):
        raise ValueError("train has a pair twice: each must stand there once.")
    rest = np.setdiff1d(np.arange(task.p**2), index)
    return task.replace(n_train=len(index), order=np.concatenate([index, rest])).check()


class _Asked(dict[str, Any]):
    """A dict that says who asks for what is not there."""

    def __init__(self, there: Mapping[str, Any], name: str) -> None:
        super().__init__(there)
        self.name = name


class _Params(_Asked):
    def __missing__(self, key: str) -> Any:
        raise ValueError(f"{self.name} needs params[{key!r}]: there are {', '.join(self) or 'none'}.")


class _Final(_Asked):
    def __missing__(self, key: str) -> Any:
        group = key.partition("/")[0]
        there = f"; there are {', '.join(self)}" if self else ""
        raise ValueError(
            f"{self.name} needs {key!r} of the last point: give final={{{group!r}: …}}, the analyzer that computes it"
            f"{there}."
        )


class _Data(_Asked):
    def __missing__(self, key: str) -> Any:
        how = f"data={{{key!r}: …}}"
        how = f"train=, the pairs [n, 2] that they were trained on, or {how}" if key in SPLIT else how
        how = "tokens=" if key == "tokens" else how
        raise ValueError(f"{self.name} needs data[{key!r}], which is not known of these runs: give {how}.")


NO_TASK = "which checkpoints do not say: give task=, such as ModularArithmetic(p=113)."
NO_NET = (
    "and these weights were recorded under their own names, of no network that is known: give the Recorder a layout."
)


class _Unknown:
    """A part of a config that is not known of a run."""

    def __init__(self, name: str, part: str, why: str) -> None:
        self.__dict__.update(name=name, part=part, why=why)

    def __getattr__(self, field: str) -> Any:
        if field.startswith("__"):
            raise AttributeError(field)
        raise ValueError(f"{self.name} needs {self.part}.{field}, {self.why}")


def _check(fn: Analyzer, last: Analyzer, run: Run, recorded: Mapping[str, tuple[tuple[int, ...], np.dtype]]) -> None:
    """Raises ValueError where an analyzer needs what is not there; nothing is computed."""
    name = getattr(fn, "__qualname__", repr(fn))
    wide = jax.dtypes.canonicalize_dtype
    params = {key: jax.ShapeDtypeStruct(shape, wide(dtype)) for key, (shape, dtype) in recorded.items()}
    if isinstance(run.data, dict):
        run = run.replace(data=_Data(run.data, name))
    for part, why in (("task", NO_TASK), ("net", NO_NET)):
        if getattr(run.config, part) is None:
            run = run.replace(config=run.config.replace(**{part: _Unknown(name, part, why)}))

    def both(params: dict[str, Any]) -> dict[str, Any]:
        params = _Params(params, name)
        return fn(params, run.replace(final=_Final(last(params, run), name)))

    jax.eval_shape(both, params)
