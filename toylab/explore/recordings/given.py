"""A user's own arrays as what is explored: params over steps, of one run or several."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from toylab.base import Analyzer, Config
from toylab.explore.demand.on_demand import OnDemand
from toylab.explore.recording import Arrays
from toylab.explore.recordings.arguments import array_of, by_name, check_shapes, column, described, names_of, steps_of
from toylab.explore.recordings.described import named, varying
from toylab.explore.recordings.phases import Phases, phases_of
from toylab.records.reader import Named

ONE = "run"  # the name of the only run


class Given:
    """Runs that do not grow (protocol Recording): `of_arrays` makes it of a user's arrays, `of_sweep` of a loaded sweep."""

    def __init__(
        self,
        title: str,
        runs: Sequence[str],
        steps: np.ndarray,
        *,
        valid: np.ndarray,
        shapes: Sequence[Mapping[str, tuple[int, ...]]],
        read: Callable[[int, int], Arrays],
        measures: Mapping[str, np.ndarray],
        tails: Mapping[str, tuple[int, ...]],
        columns: Mapping[str, np.ndarray],
        config: Callable[[int], Config | None],
        data: Callable[[int], Any],
        messages: Callable[[], Sequence[str]] = lambda: (),
    ) -> None:
        """
        Args:
            title, runs, steps, valid, shapes, measures, columns, config, data: as of Recording.
            read: gives the params of a run at a step, or raises LookupError.
            tails: by measure its shape after [R, T].
            messages: gives what is damaged.
        """
        self.title, self.runs, self.steps, self.valid, self.shapes = title, runs, steps, valid, shapes
        self.columns, self.varying = named(columns), varying(columns)
        self._read, self._measures, self._own, self._say = read, measures, dict(tails), messages
        self.config, self.data = config, data
        self.no_params = "" if any(shapes) else "No params are given: there are measures alone."
        self.final: Mapping[str, np.ndarray] = {}
        self.claims: Sequence[Mapping[str, Any]] = ()
        self.figures: Mapping[str, str] = {}
        self._computed = OnDemand(self, lambda: ({}, {}))
        self._version = 0

    @property
    def measures(self) -> Mapping[str, np.ndarray]:
        return Named([*self._tails()], self._measure)

    def _tails(self) -> dict[str, tuple[int, ...]]:
        return {**self._own, **self._computed.found.shapes}

    def _measure(self, name: str) -> np.ndarray:
        base = self._measures[name] if name in self._own else None
        if name in self._computed.found.shapes:
            return self._computed.found.measure(name, self.steps, len(self.runs), base)
        if base is None:
            raise KeyError(name)
        return base

    @property
    def scalars(self) -> list[str]:
        return [name for name, tail in self._tails().items() if not tail]

    @property
    def messages(self) -> list[str]:
        return [*self._say(), *self._computed.messages]

    @property
    def on_demand(self) -> OnDemand | None:
        return self._computed if any(self.shapes) else None

    def params(self, run: int, at: int) -> Arrays:
        return self.at_step(run, int(self.steps[at]))

    def at_step(self, run: int, step: int) -> Arrays:
        """The params of a run at a saved step. Raises LookupError, as `params`."""
        if self.no_params:
            raise LookupError(self.no_params)
        return self._read(run, step)

    def identity(self, run: int, step: int) -> tuple[str, int]:
        """What determines the params at a point, and what an analyzer gets besides, as a text; and 0."""
        described = self.config(run), self.data(run)
        held = [*sorted(self.at_step(run, step).items()), *enumerate(map(np.asarray, jax.tree.leaves(described)))]
        about = [
            (name, value.shape, value.dtype.str, hashlib.sha256(value.tobytes()).hexdigest()) for name, value in held
        ]
        return repr((about, str(jax.tree.structure(described)))), 0

    def refresh(self) -> bool:
        new, self._version = self._computed.found.version != self._version, self._computed.found.version
        return new

    def phases(self, run: int) -> Phases:
        return phases_of(run, self.steps, self.valid, self.measures, self.columns)

    def close(self) -> None:
        """Ends what goes on in the background."""
        self._computed.close()


def of_arrays(
    params: Mapping[str, Any],
    steps: Any,
    *,
    measures: Mapping[str, Any] | None = None,
    runs: Sequence[str] | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    config: Config | Sequence[Config] | None = None,
    net: Any = None,
    task: Any = None,
    data: Mapping[str, Any] | None = None,
    analyzers: Mapping[str, Analyzer] | None = None,
    title: str = "arrays",
) -> Given:
    """A user's own arrays, to be explored. They are not copied.

    Args:
        params: arrays [T, …] by name, of one run; with `runs` [R, T, …].
        steps: [T], whole numbers that ascend.
        measures: arrays with the same leading axes, as a loss.
        runs: [R] the names of the runs, each once.
        columns: numbers, flags or texts [R] by name, to colour and filter by.
        config: of all runs, or one each, where toylab has such: views and analyzers then know task, net and data.
        net, task: in its place, the network whose params they are, and what it was trained on. What of the task's data is
            drawn, as a split, is not known so.
        data: arrays of the task's data that are known besides, as `tokens` or `train`.
        analyzers: by name, to be computed on demand.
        title: what it is.

    Raises:
        ValueError: in one sentence, with the name of the array and what would be right.
    """
    at = steps_of(steps)
    names = names_of(runs)
    axes = (len(at),) if names is None else (len(names), len(at))
    held = {name: array_of(f"params[{name!r}]", value, axes) for name, value in by_name("params", params).items()}
    taken = {
        name: array_of(f"measures[{name!r}]", value, axes) for name, value in by_name("measures", measures).items()
    }
    if not held and not taken:
        raise ValueError("params has no arrays: give arrays [T, …] by name, as W_E.")
    whole = [ONE] if names is None else names
    fields = {name: column(name, value, len(whole)) for name, value in by_name("columns", columns).items()}
    about = described(config, net, task, data, len(whole))
    if net is not None and held:
        check_shapes(net, held)
    found = Given(
        title,
        whole,
        at,
        valid=np.ones((len(whole), len(at)), bool),
        shapes=[{name: value.shape[2:] for name, value in held.items()}] * len(whole),
        read=lambda run, step: {name: np.array(one[run, np.searchsorted(at, step)]) for name, one in held.items()},
        measures=taken,
        tails={name: value.shape[2:] for name, value in taken.items()},
        columns=fields,
        config=lambda run: None if (own := about[run]) is None else own.config,
        data=lambda run: {} if (own := about[run]) is None else own.data,
    )
    for name, fn in (analyzers or {}).items():
        found._computed.add(fn, name)
    return found
