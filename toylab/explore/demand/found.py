"""What analyzers gave at points of runs, as measures over all runs and steps."""

import threading

import numpy as np

from toylab.records.history import blank

Arrays = dict[str, np.ndarray]
Point = tuple[int, int]  # run, step


class Found:
    """Results by name, run and step.

    version    grows with every point
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._values: dict[str, dict[Point, np.ndarray]] = {}
        self._from: dict[tuple[str, int], str] = {}
        self.version = 0

    def add(self, point: Point, values: Arrays) -> None:
        with self._lock:
            for name, value in values.items():
                self._values.setdefault(name, {})[point] = value
            self.version += 1

    def begin(self, analyzer: str, run: int, final: str) -> None:
        """Drops what an analyzer gave of a run with the results of another last point: the run was trained on since."""
        with self._lock:
            if self._from.setdefault((analyzer, run), final) == final:
                return
            self._from[analyzer, run] = final
            for name in [name for name in self._values if name.startswith(f"{analyzer}/")]:
                left = {point: value for point, value in self._values.pop(name).items() if point[0] != run}
                self._values |= {name: left} if left else {}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The names, and the shapes after [R, T]."""
        with self._lock:
            return {name: next(iter(points.values())).shape for name, points in self._values.items()}

    def measure(self, name: str, steps: np.ndarray, n_runs: int, base: np.ndarray | None = None) -> np.ndarray:
        """[R, T, …]: what is known of a measure. Flags and whole numbers are floats, for elsewhere is nan.

        Args:
            name: of the measure.
            steps: [T].
            n_runs: R.
            base: [R, T, …] what is known elsewhere; None for nan.

        Raises:
            KeyError: where there is none of that name.
        """
        with self._lock:
            points = dict(self._values[name])
        first = next(iter(points.values()))
        if base is not None and base.shape[2:] == first.shape:
            out = base.astype(np.result_type(base, first))
        else:
            wide = first.dtype if first.dtype.kind in "fc" else np.dtype(np.float64)
            out = blank((n_runs, len(steps), *first.shape), wide)
        at = np.searchsorted(steps, [step for _, step in points])
        for (run, step), column in zip(points, at.tolist(), strict=True):
            if run < n_runs and column < len(steps) and steps[column] == step:
                out[run, column] = points[run, step]
        return out
