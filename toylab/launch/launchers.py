"""The four ways to train a sweep: in this process alone, by Ray's workers, by processes that share a folder, or by
the processes of jax.distributed."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from toylab import sweep
from toylab.launch import processes
from toylab.launch import ray as cluster


@dataclass(frozen=True)
class Launcher:
    """One way to train a sweep."""

    train: Callable[..., None]  # takes the arguments of sweep.run
    connected: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    quiet: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext  # entered while it trains
    takes_sources: bool = False  # whether `train` has to be told where the caller's own modules lie
    are_equal: bool = False  # several processes run one command: the first that is done analyzes, draws and prints


@contextlib.contextmanager
def launcher(cluster_at: str | None, join: int | None, distributed: str | None) -> Iterator[Launcher]:
    """The launcher that `--cluster`, `--join` or `--distributed` asks for; without them this process trains alone.

    Enter it before JAX starts a device: jax.distributed has to be initialized first.

    Raises:
        ValueError: where an option cannot work here, in one sentence.
    """
    if cluster_at:
        cluster.check(cluster_at)
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a GPU's memory is for the workers
        yield Launcher(
            partial(cluster.run, address=cluster_at), partial(cluster.connected, cluster_at), takes_sources=True
        )
    elif join is not None:
        yield Launcher(partial(processes.run, place=processes.place(join)), are_equal=True)
    elif distributed:
        with processes.joined(distributed) as place:
            quiet = _silence if place.index else contextlib.nullcontext  # all may print to one terminal
            yield Launcher(partial(processes.run, place=place), quiet=quiet, are_equal=True)
    else:
        yield Launcher(sweep.run)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with open(os.devnull, "w", encoding="utf-8") as nothing, contextlib.redirect_stdout(nothing):
        yield
