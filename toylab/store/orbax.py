"""How Orbax is called: flat dicts of arrays and one JSON item; each process saves for itself.

Orbax writes arrays with tensorstore, which reads them too, in an eighth of the time that Orbax takes for small ones."""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jax

from toylab.store.files import Arrays, seal


def _orbax() -> Any:
    import orbax.checkpoint as ocp  # takes a second, so it is imported when something is read or written

    logging.getLogger("absl").setLevel(logging.CRITICAL)  # failures are raised as well
    if jax.distributed.is_initialized():
        keep_to_this_process()
    return ocp


@cache
def keep_to_this_process() -> None:
    """Makes Orbax see a single process. With several JAX processes it would wait for all of them at every save, and only
    process 0 would write numpy arrays. Here each process has groups of its own. Orbax has no option for this."""
    from orbax.checkpoint._src.multihost import multihost

    multihost.process_index = lambda: 0
    multihost.process_count = lambda: 1
    multihost.should_skip_process_sync = lambda processes=None: True
    multihost.is_jax_distributed_client_initialized = lambda: False


def save(path: Path, items: Mapping[str, Arrays], record: Mapping[str, Any]) -> None:
    """Writes flat dicts of arrays, and a sealed record as the item `info`."""
    ocp = _orbax()
    arguments = {name: ocp.args.PyTreeSave(arrays) for name, arrays in items.items()}
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        whole = ocp.args.Composite(**arguments, info=ocp.args.JsonSave(seal(record)))
        checkpointer.save(path.absolute(), args=whole)


def restore(path: Path, item: str, names: Sequence[str]) -> Arrays:
    """Reads one item, which has arrays of these names: by tensorstore or, where they lie otherwise than Orbax puts them
    today, by Orbax. If asked for several items, Orbax opens all of them and fails where any is damaged."""
    try:
        return _read(path / item, names)
    except (ValueError, KeyError, OSError, NotImplementedError):
        pass
    ocp = _orbax()
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        return checkpointer.restore(path / item, args=ocp.args.PyTreeRestore())


def _read(folder: Path, names: Sequence[str]) -> Arrays:
    import tensorstore

    place = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{folder.absolute()}/"}}
    context = _context()
    opened = [
        tensorstore.open({"driver": "zarr", "kvstore": {**place, "path": name}}, read=True, open=True, context=context)
        for name in names
    ]
    reading = [one.result().read() for one in opened]
    return {name: one.result() for name, one in zip(names, reading, strict=True)}


@cache
def _context() -> Any:
    """What the reads of this process share; no cache, for files of a name may be others later."""
    import tensorstore

    return tensorstore.Context()
