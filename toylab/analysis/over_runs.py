"""Analyses of weights. `analyze` maps one analyzer over every run and saved point.

The files beside this one hold array functions (arrays in, arrays out) and, at their ends, analyzers that
adapt them to `(params, run)`.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import jax
import numpy as np
from jax import Array

from toylab import display, numerics
from toylab.base import Analyzer, Params, Run
from toylab.shapes.narrow import is_narrow, widened

Wanted = Callable[[int, int], None] | Literal["auto"] | None


def analyze(
    fn: Analyzer, params: Any, run: Run, *, batch_size: int = 16, report: Wanted = "auto"
) -> dict[str, np.ndarray]:
    """An analyzer of every run and every saved point.

    A run's data is held while its T points go by. Points after a run's end (nan params) are computed like any other. Params
    narrower than float32 are computed as float32.

    Args:
        fn: `fn(params_of_one_point, run_of_one)` returns a flat dict of arrays.
        params: Leaves [R, T, …], numpy or jax. Of a single run they may be [T, …], or of a single point [...].
        run: Leaves [R, …]. A scalar leaf, such as the data seed of a group, is shared by all runs. Without R it is of a
            single run.
        batch_size: The most points on the device at once.
        report: Called with the number of points that are done, and of all. By default a bar is shown on a terminal, and in
            Jupyter with ipywidgets; None shows nothing.

    Returns:
        The analyzer's dict as numpy arrays [R, T, …], or with the leading axes that the params have.

    Raises:
        ValueError: Where leading axes disagree or are empty, and where `fn` does not return a flat dict of arrays.
    """
    if lacking := _lacking_axes(params, run):
        params = jax.tree.map(lambda x: x[(None,) * lacking], params)
        run = jax.tree.map(lambda x: np.asarray(x)[None], run)
        found = analyze(fn, params, run, batch_size=batch_size, report=report)
        return {name: value[(0,) * lacking] for name, value in found.items()}
    n_runs, n_points = _runs_and_points(params, run)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, it must be at least 1")
    n_slabs = -(-n_points // batch_size)
    size = -(-n_points // n_slabs)  # slabs of equal size waste the fewest points
    out: dict[str, np.ndarray] = {}
    with numerics.alike(), reporting(report) as tick:
        for r in range(n_runs):
            one = jax.device_put(jax.tree.map(lambda x: x[r] if np.ndim(x) else x, run))  # noqa: B023
            for i in range(n_slabs):
                at = min(i * size, n_points - size)  # the last slab slides back: one shape, one compile
                slab = jax.tree.map(lambda x: x[r, at : at + size], params)  # noqa: B023
                for name, value in _analyze_slab(fn, slab, one).items():
                    if name not in out:
                        out[name] = np.empty((n_runs, n_points, *value.shape[1:]), value.dtype)
                    out[name][r, at : at + size] = value
                tick(r * n_points + at + size, n_runs * n_points)
    return out


@contextlib.contextmanager
def reporting(report: Wanted) -> Iterator[Callable[[int, int], None]]:
    """What is called with the points that are done and all: `report` itself, a bar on a terminal, or nothing."""
    if callable(report):
        yield report
        return
    if report not in (None, "auto"):
        raise ValueError(
            f"report is {report!r}: it must be a function of (points done, points in all), None, or left out."
        )
    if report == "auto" and display.is_watched():
        with display.bars() as bars:
            yield lambda done, total: bars.update("analyze", done, total, f"analyzed {done:,}/{total:,} points")
        return
    yield lambda done, total: None


def together(**analyzers: Analyzer) -> Analyzer:
    """One analyzer out of several, compiled as one program.

    A forward pass that several of them make is computed once.

    Args:
        **analyzers: By name.

    Returns:
        An analyzer whose outputs are named `name/key`.
    """

    def each(params: Params, run: Run) -> dict[str, Array]:
        return {f"{name}/{k}": v for name, fn in analyzers.items() for k, v in fn(params, run).items()}

    return each


def task_measures(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: what the task measures at a saved point, as losses and accuracies; for checkpoints from elsewhere.

    Returns:
        A dict of scalars, as of the task's `measure`.
    """
    return run.config.task.measure(partial(run.config.net.apply, full=False), params, run.data)


def without(analyzer: Analyzer, *names: str) -> Analyzer:
    """An analyzer that leaves out some outputs of another, as large ones that no claim or figure of a page reads.

    Args:
        analyzer: Make the result once, at module level, as that of `together`.
        *names: Of the outputs that are not given.
    """

    def rest(params: Params, run: Run) -> dict[str, Array]:
        return {name: value for name, value in analyzer(params, run).items() if name not in names}

    return rest


def in_half(analyzer: Analyzer, *names: str, decimals: int | None = None) -> Analyzer:
    """An analyzer that gives outputs in half precision (float16: 11 bits, up to 65,504), for what figures show.

    Args:
        analyzer: Make the result once, at module level, as that of `together`.
        *names: Of the outputs; none for all that are floats.
        decimals: To which they are rounded first: fewer take less room in a compressed file.
    """

    def short(name: str, value: Array) -> Array:
        chosen = name in names if names else jax.numpy.issubdtype(value.dtype, jax.numpy.floating)
        if not chosen:
            return value
        return (value if decimals is None else jax.numpy.round(value, decimals)).astype(jax.numpy.float16)

    def halved(params: Params, run: Run) -> dict[str, Array]:
        return {name: short(name, value) for name, value in analyzer(params, run).items()}

    return halved


@partial(jax.jit, static_argnums=0)  # a function of the module, so that a second `analyze` compiles nothing
def _analyze_slab(fn: Analyzer, slab: Any, one: Run) -> dict[str, Array]:
    """One point after the other: in a vmap every intermediate would be `batch_size` times as large."""

    def at_point(params: Params) -> dict[str, Array]:
        # Tied to params, which change from turn to turn: what depends on the run alone would else be moved
        # out of the loop once for each analyzer of a `together`, and XLA would not see any more that their
        # forward passes are the same (p = 113, seven analyzers: 146 ms a point, and 72 with this line).
        found = fn(*jax.lax.optimization_barrier((jax.tree.map(_wide, params), one)))
        if not isinstance(found, dict) or not all(isinstance(v, Array | np.ndarray) for v in found.values()):
            got = jax.tree.map(lambda v: type(v).__name__, found)
            raise ValueError(f"the analyzer {_name(fn)} must return a flat dict of arrays, not {got}")
        return found

    return jax.lax.map(at_point, slab)


def _wide(x: Array) -> Array:
    return widened(x) if is_narrow(x.dtype) else x


def _name(fn: Analyzer) -> str:
    return getattr(fn, "__qualname__", repr(fn))


def _lacking_axes(params: Any, run: Run) -> int:
    """How many of the axes R and T the params of a single run lack, by the shapes of its net's params."""
    if np.ndim(getattr(run.config, "seed", ())) or not isinstance(params, dict):
        return 0
    try:
        own = jax.eval_shape(run.config.net.init, jax.random.key(0))
    except (AttributeError, TypeError):  # no net of the lab's
        return 0
    there = {np.ndim(params[name]) - len(own[name].shape) for name in own if name in params}
    return 2 - there.pop() if there in ({0}, {1}) else 0


def _runs_and_points(params: Any, run: Run) -> tuple[int, int]:
    leaves = [(jax.tree_util.keystr(path), np.shape(x)) for path, x in jax.tree.leaves_with_path(params)]
    if not leaves:
        raise ValueError("params has no arrays, it must have leaves [R, T, …]")
    first, shape = leaves[0]
    for name, other in leaves:
        if len(other) < 2 or other[:2] != shape[:2]:
            raise ValueError(f"params{name} has shape {other}, it must begin with [R, T] as params{first} {shape}")
    if 0 in shape[:2]:
        raise ValueError(f"params{first} has shape {shape}, both R (runs) and T (points) must be at least 1")
    for path, x in jax.tree.leaves_with_path(run):
        if np.ndim(x) and np.shape(x)[0] != shape[0]:
            name = f"run{jax.tree_util.keystr(path)}"
            raise ValueError(f"{name} has shape {np.shape(x)}, it must begin with R = {shape[0]} as params")
    return shape[0], shape[1]
