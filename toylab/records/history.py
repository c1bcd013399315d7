"""What a group has saved, as arrays: its chunks read in order and without a hole, joined, and the state to go on from as a
flat dict. How one chunk is written and read stands in store/chunk.py."""

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
) -> tuple[list[tuple[dict[str, Arrays], dict[str, Any]]], list[str]]:
    """These items of every chunk (`keys`: of them only these arrays), in order and without a hole. A damaged newest chunk
    is left out with a message; one damaged or missing further back raises Damaged, with the steps that are lost and the
    way out; one that is not of the runs in `about`, the manifest, is Refused. `alone`: in older chunks only these items are
    judged."""
    read: list[tuple[dict[str, Arrays], dict[str, Any]]] = []
    steps = store.chunks(folder)
    for step in steps:
        before = read[-1][1] if read else {"points": 0, "step": 0}
        missing = False
        try:
            items, info = store.read_chunk(folder, step, names, alone=alone and step != steps[-1])
            binding.check(folder, info, about)
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
    """Arrays [R, k, …] of successive stretches as [R, Σk, …]."""
    parts = [part for part in parts if part]
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in (parts[0] if parts else {})}


def blank(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """What stands where a run has no point: nan, or 0 where the dtype has none (`valid` tells)."""
    return np.full(shape, np.nan if dtype.kind in "fc" else 0, dtype)


def masked(arrays: Arrays, finite: np.ndarray) -> Arrays:
    """Arrays [R, T, …] with nan (0 where the dtype has none) at points that are not `finite` [R, T]: what is measured of
    parameters that are nan or infinite may look like a number."""
    if finite.all():
        return arrays
    return {
        name: np.where(finite.reshape(*finite.shape, *[1] * (value.ndim - 2)), value, blank((), value.dtype))
        for name, value in arrays.items()
    }


def flat_state(state: State) -> Arrays:
    leaves, _ = jax.tree_util.tree_flatten_with_path(state.replace(step=None))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def state_of(arrays: Arrays, config: Config, step: int) -> State:
    shape = jax.eval_shape(train.init, config).replace(step=None)
    leaves, structure = jax.tree_util.tree_flatten_with_path(shape)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    return jax.tree_util.tree_unflatten(structure, [arrays[name].copy() for name in names]).replace(step=step)
