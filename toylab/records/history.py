"""The saved points of a group as arrays: its chunks, read in order and joined; and its state as a flat dict.

How a single chunk is read and written is in store/chunk.py and store/writing.py.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from toylab import store, train
from toylab.base import Config, State
from toylab.records import binding

Arrays = dict[str, np.ndarray]


def read_chunks(
    folder: Path,
    about: Mapping[str, Any],
    names: tuple[str, ...],
    keys: tuple[str, ...] | None = None,
    *,
    alone: bool = False,
    until: int | None = None,
) -> tuple[list[tuple[dict[str, Arrays], dict[str, Any]]], list[str]]:
    """Reads every chunk of a group, in order.

    Args:
        folder: of the group.
        about: its manifest.
        names: the items to read, as "traj" and "measures".
        keys: only these arrays of the items; None for all.
        alone: in all but the newest chunk, check only the files of these items.
        until: the chunks up to this step alone; None for all.

    Returns:
        (items, info) of each chunk, and messages. A damaged newest chunk is left out, with a message.

    Raises:
        Damaged: where an older chunk is damaged or missing; the message says which steps are lost and what to do.
        Refused: where a chunk is of other runs than the manifest's.
    """
    read: list[tuple[dict[str, Arrays], dict[str, Any]]] = []
    steps = [step for step in store.chunks(folder) if until is None or step <= until]
    runs = binding.digests(about["configs"])
    for step in steps:
        before = read[-1][1] if read else {"points": 0, "step": 0}
        missing = False
        try:
            items, info = store.read_chunk(folder, step, names, alone=alone and step != steps[-1])
            binding.check(folder, info, about, runs)
            if missing := info["points"] - len(info["steps"]) != before["points"]:
                raise store.Damaged(f"a chunk between steps {before['step']} and {step} of {folder} is missing")
            if keys is not None:
                items = {item: {key: arrays[key] for key in keys if key in arrays} for item, arrays in items.items()}
            read.append((items, info))
        except store.Damaged as error:
            if step == steps[-1] and not missing:
                return read, [f"{error}. It is left out; train again to make it anew."]
            later = ", ".join(str(s) for s in steps if s >= step)
            resume = max((s for s in steps if s < step and store.has_state(folder, s)), default=0)
            raise store.Damaged(
                f"{error}: the points after step {before['step']} up to {step} are lost. Delete the folders {later} there "
                f"and train again: it goes on from step {resume}."
            ) from error
    return read, []


def joined(parts: Sequence[Arrays]) -> Arrays:
    """Joins arrays [R, k, …] of successive chunks to [R, Σk, …]."""
    parts = [part for part in parts if part]
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in (parts[0] if parts else {})}


def blank(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array for runs without points: nan, or 0 where the dtype has no nan. `valid` marks the points that exist."""
    return np.full(shape, np.nan if dtype.kind in "fc" else 0, dtype)


def masked(arrays: Arrays, finite: np.ndarray) -> Arrays:
    """Arrays [R, T, …] with nan (0 where the dtype has none) at points that are not `finite` [R, T].

    Measures of parameters that are nan or infinite may look like ordinary numbers.
    """
    if finite.all():
        return arrays
    return {
        name: np.where(finite.reshape(*finite.shape, *[1] * (value.ndim - 2)), value, blank((), value.dtype))
        for name, value in arrays.items()
    }


def flat_state(state: State) -> Arrays:
    """The leaves of a state, but its step, by dotted path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state.replace(step=None))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def state_of(arrays: Arrays, config: Config, step: int) -> State:
    """The inverse of `flat_state`."""
    shape = jax.eval_shape(train.init, config).replace(step=None)
    leaves, structure = jax.tree_util.tree_flatten_with_path(shape)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    return jax.tree_util.tree_unflatten(structure, [arrays[name].copy() for name in names]).replace(step=step)
