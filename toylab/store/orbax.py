"""How Orbax is called: flat dicts of arrays and one JSON item; each process saves for itself."""

import logging
from collections.abc import Mapping
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


def restore(path: Path, item: str) -> Arrays:
    """Reads one item. If asked for several, Orbax opens all of them and fails where any is damaged."""
    ocp = _orbax()
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        return checkpointer.restore(path / item, args=ocp.args.PyTreeRestore())
