"""Checks from shapes whether a run can be trained and saved, before anything is compiled, allocated or created."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from toylab import configs as cfg
from toylab import train
from toylab.base import Analyzer, Config, Params, Trajectory
from toylab.store import size
from toylab.sweep import memory


def param_shapes(config: Config) -> Params:
    """The shapes of the net's params. Raises ValueError where one is empty: empty arrays cannot be saved."""
    params = jax.eval_shape(config.net.init, jax.random.key(0))
    if empty := [name for name, leaf in params.items() if not leaf.size]:
        zeros = [
            f"net.{name} is 0" for name, value in getattr(config.net, "sizes", ()) if value == 0 and value is not False
        ]
        raise ValueError(
            f"{zeros[0] if zeros else 'net'}: {empty[0]} would be {list(params[empty[0]].shape)}, an empty array, "
            "which cannot be trained or saved."
        )
    return params


_known: dict[Any, Trajectory] = {}  # by program, and what is recorded


def recorded(config: Config, probes: Mapping[str, Analyzer], keep: tuple[str, ...] | None = None) -> Trajectory:
    """The shapes of what a run records in one launch of one point; traced once for each program."""
    key = (*cfg.family(config), tuple(probes.items()), keep if keep is None else tuple(keep))
    if key not in _known:
        _known[key] = memory.traced(config, 1, 1, probes, keep)[1]
    return _known[key]


def check_trainable(
    config: Config, probes: Mapping[str, Analyzer], keep: tuple[str, ...] | None = None, budget: int | None = None
) -> None:
    """Traces one training step and what is recorded of it.

    Args:
        config: of the run.
        probes: analyzers whose results are recorded.
        keep: names of the params that are recorded; None for all.
        budget: bytes that the device has for arrays; None for those of this process's device.

    Raises:
        ValueError: where an array would be empty, or arrays would be larger than the device's memory, in one sentence.
        Exception: whatever a net, task or probe raises itself.
    """
    there = memory.budget() if budget is None else budget
    _fits("net", param_shapes(config), there)
    _fits("task", jax.eval_shape(train.data, config), there)
    of_point = recorded(config, probes, keep)
    found = {"measures": of_point.measures, "probes": of_point.probes}
    for path, leaf in jax.tree_util.tree_leaves_with_path(found):
        if not leaf.size:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise ValueError(f"{name} would be {list(leaf.shape)}, an empty array, which cannot be saved.")


def _fits(what: str, arrays: Any, there: int) -> None:
    needed = sum(int(np.prod(leaf.shape, dtype=object)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(arrays))
    if needed > there:
        raise ValueError(
            f"{what} would have arrays of {size(needed)}, and the device has {size(there)}: choose smaller sizes."
        )
