"""The arrays that a user gives, checked: each refusal is one sentence."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import jax
import numpy as np

from toylab import configs as cfg
from toylab.base import Config, Run
from toylab.explore.recording import Arrays
from toylab.protocol import check_net
from toylab.records.analyzing import Given as Told
from toylab.records.selection import column_of


def steps_of(given: Any) -> np.ndarray:
    try:
        steps = np.asarray(given)
    except Exception:
        steps = np.zeros(())
    whole = steps.dtype.kind in "iu" or (
        steps.dtype.kind == "f" and np.isfinite(steps).all() and (steps % 1 == 0).all()
    )
    if steps.ndim != 1 or not steps.size or not whole or (np.diff(steps) <= 0).any() or steps[0] < 0:
        shown = str(steps.tolist())[:60] if steps.ndim == 1 else f"{list(steps.shape)} of {steps.dtype}"
        raise ValueError(
            f"steps is {shown}: give the step of each saved point, whole numbers that ascend from 0 or more."
        )
    return steps.astype(int)


def names_of(given: Sequence[str] | None) -> list[str] | None:
    if given is None:
        return None
    names = [] if isinstance(given, str) else [str(one) for one in given]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"runs is {str(given)[:60]!r}: give a list of names, each once.")
    return names


def by_name(what: str, given: Any) -> Mapping[str, Any]:
    if given is not None and not (isinstance(given, Mapping) and all(isinstance(name, str) for name in given)):
        raise ValueError(f"{what} is a {type(given).__name__}: give arrays by name, as {{'W_E': …}}.")
    return given or {}


def array_of(what: str, given: Any, axes: tuple[int, ...]) -> np.ndarray:
    """[R, T, …] of what has the leading axes [T] or [R, T]."""
    try:
        array = np.asarray(given.detach() if hasattr(given, "detach") else given)
    except Exception as error:
        raise ValueError(f"{what} is no array: {error}".splitlines()[0]) from None
    if array.dtype.kind == "V":  # bfloat16 and narrower, which NumPy does not know
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiubc":
        raise ValueError(f"{what} is of {array.dtype}: numbers are wanted.")
    if array.shape[: len(axes)] != axes:
        wanted = "[T, …]" if len(axes) == 1 else "[R, T, …]"
        more = "" if len(axes) == 2 else "; for arrays of several runs give runs=, their names"
        raise ValueError(
            f"{what} has shape {list(array.shape)}: it must be {wanted} and begin with {list(axes)}{more}."
        )
    return array if len(axes) == 2 else array[None]


def column(name: str, given: Any, n_runs: int) -> np.ndarray:
    values = given.tolist() if hasattr(given, "tolist") else list(given) if isinstance(given, Sequence) else given
    if isinstance(values, str) or not isinstance(values, list) or len(values) != n_runs:
        n = len(values) if isinstance(values, list) else repr(given)[:40]
        raise ValueError(f"columns[{name!r}] has {n}: give a value for each of the {n_runs} runs.")
    if wrong := [one for one in values if not isinstance(one, bool | int | float | str | None)]:
        raise ValueError(f"columns[{name!r}] has {str(wrong[0])[:40]}: numbers, flags and texts are wanted.")
    return column_of(values)


def described(config: Any, net: Any, task: Any, data: Any, n_runs: int) -> list[Run | None]:
    """The config and data of each run."""
    if config is not None and (net is not None or task is not None):
        raise ValueError("config is given, and net or task too: give one of them.")
    if config is not None:
        configs = [config] * n_runs if isinstance(config, Config) else list(config)
        if len(configs) != n_runs or not all(isinstance(one, Config) for one in configs):
            raise ValueError(f"config is none: give a toylab Config, or one for each of the {n_runs} runs.")
        told = Told(None, None, None, data)
        return [told.run(cast(Any, _Known(cfg.check(one))), 0) for one in configs]
    if net is None and task is None:
        return [None if data is None else Run(Config(None, None, None), dict(data))] * n_runs
    if task is not None and net is not None:
        check_net(task, net)
    checked = Config(None, None if net is None else net.check(), None)
    return [Told(task, None, None, data).run(cast(Any, _Known(checked)), 0)] * n_runs


class _Known:
    """What `toylab.records.analyzing.Given` asks for the config of a run."""

    def __init__(self, known: Config) -> None:
        self.known = known

    def config(self, row: int) -> Config:
        return self.known


def check_shapes(net: Any, params: Arrays) -> None:
    wanted = {name: leaf.shape for name, leaf in jax.eval_shape(net.init, jax.random.key(0)).items()}
    for name, value in params.items():
        if name in wanted and value.shape[2:] != wanted[name]:
            raise ValueError(
                f"params[{name!r}] is {list(value.shape[2:])} at a point, and {list(wanted[name])} in the net: give "
                "the net of these params."
            )
