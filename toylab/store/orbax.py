"""Orbax as it is used here: flat dicts of arrays and one JSON item, each process for itself."""

import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jax

from toylab.store.files import Arrays, seal


def _orbax() -> Any:
    import orbax.checkpoint as ocp  # takes a second, so only where something is read or written

    logging.getLogger("absl").setLevel(logging.CRITICAL)  # what fails is raised too
    if jax.distributed.is_initialized():
        keep_to_this_process()
    return ocp


@cache
def keep_to_this_process() -> None:
    """Where jax knows of several processes Orbax waits for all of them at every save, and process 0 alone writes numpy
    arrays. Each process has groups of its own: Orbax is made to see one. No option of its own goes that far."""
    from orbax.checkpoint._src.multihost import multihost

    multihost.process_index = lambda: 0
    multihost.process_count = lambda: 1
    multihost.should_skip_process_sync = lambda processes=None: True
    multihost.is_jax_distributed_client_initialized = lambda: False


def save(path: Path, items: Mapping[str, Arrays], record: Mapping[str, Any]) -> None:
    ocp = _orbax()
    arguments = {name: ocp.args.PyTreeSave(arrays) for name, arrays in items.items()}
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        whole = ocp.args.Composite(**arguments, info=ocp.args.JsonSave(seal(record)))
        checkpointer.save(path.absolute(), args=whole)


def restore(path: Path, item: str) -> Arrays:
    """Of one item alone: asked for the whole, Orbax opens its neighbours too, and stumbles over what is damaged in them."""
    ocp = _orbax()
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        return checkpointer.restore(path / item, args=ocp.args.PyTreeRestore())
