"""Small recordings for tests of views: arrays in place of a sweep's folder."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from toylab.base import Config
from toylab.explore.moment import Moment


class Small:
    """A `Recording` of given arrays.

    params     [R, T, …] by name, or {} with a reason why there are none
    measures   [R, T, …] by name; final [R, …]
    config     of every run
    """

    title = "small"
    figures: Mapping[str, str] = {}
    claims: Sequence[Mapping[str, Any]] = ()
    messages: Sequence[str] = ()

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        measures: Mapping[str, Any] | None = None,
        config: Config | None = None,
        steps: Sequence[int] | None = None,
        columns: Mapping[str, np.ndarray] | None = None,
        final: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self._params = {name: np.asarray(value) for name, value in (params or {}).items()}
        self.measures = {name: np.asarray(value) for name, value in (measures or {}).items()}
        n_runs, n_steps = next(iter({**self._params, **self.measures}.values())).shape[:2]
        self.runs = [f"run {i}" for i in range(n_runs)]
        self.steps = np.arange(n_steps) * 10 if steps is None else np.asarray(steps)
        self.valid = np.ones((n_runs, n_steps), bool)
        self.columns, self.final = columns or {}, final or {}
        self.shapes = [{name: value.shape[2:] for name, value in self._params.items()}] * n_runs
        self.no_params = "" if self._params else "There are only measures here: no weights were kept."
        self._config, self._data = config, None
        self.reads = 0

    def config(self, run: int) -> Config | None:
        return self._config

    def data(self, run: int) -> Any:
        if self._data is None:
            self._data = self._config.task.data(jax.random.key(0)) if self._config else {}
        return self._data

    def params(self, run: int, at: int) -> dict[str, np.ndarray]:
        self.reads += 1
        return {name: value[run, at] for name, value in self._params.items()}

    def refresh(self) -> bool:
        return False

    def phases(self, run: int) -> Sequence[tuple[str, float, float]]:
        return ()

    def moment(self, at: int = 0, run: int = 0, kept: dict[Any, Any] | None = None) -> Moment:
        return Moment(self, run, at, kept)


def of_start(config: Config, steps: int = 1, **measures: Any) -> Small:
    """A network's own start, at each of some steps."""
    params = {name: np.asarray(value) for name, value in config.net.init(jax.random.key(config.seed)).items()}
    return Small({name: np.stack([value] * steps)[None] for name, value in params.items()}, measures, config)


def of_features(*W: np.ndarray) -> Small:
    """One run with these features W [n, m] at its steps, and biases of 0."""
    return Small({"W": np.stack(W)[None], "b": np.zeros((1, len(W), *W[0].shape[:-1]), np.float32)})


def values(view: Any, moment: Moment) -> dict[str, Any]:
    """What the controls of a view stand at first."""
    return {name: getattr(control, "value", 0) for name, control in view.controls(moment).items()}
