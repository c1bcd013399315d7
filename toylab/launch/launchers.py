"""Who trains a sweep beside this process: nobody, Ray's workers, processes that share its folder, jax.distributed's."""

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
class Company:
    """Who trains beside this process."""

    train: Callable[..., None]  # as sweep.run
    connected: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    quiet: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext  # while it trains
    are_equal: bool = False  # whoever comes first analyzes, draws and prints


@contextlib.contextmanager
def company(cluster_at: str | None, join: int | None, distributed: str | None) -> Iterator[Company]:
    """What `--cluster`, `--join` or `--distributed` asks for; alone if none. Entered before any device is asked for:
    jax.distributed has to be told first."""
    if cluster_at:
        cluster.check(cluster_at)
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a GPU's memory is for the workers
        yield Company(partial(cluster.run, address=cluster_at), partial(cluster.connected, cluster_at))
    elif join is not None:
        yield Company(partial(processes.run, place=processes.place(join)), are_equal=True)
    elif distributed:
        with processes.joined(distributed) as place:
            quiet = _silence if place.index else contextlib.nullcontext  # all may print to one terminal
            yield Company(partial(processes.run, place=place), quiet=quiet, are_equal=True)
    else:
        yield Company(sweep.run)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with open(os.devnull, "w", encoding="utf-8") as nothing, contextlib.redirect_stdout(nothing):
        yield
