"""The Ray cluster that a driver speaks to."""

import atexit
import contextlib
import importlib.util
import logging
import os
import signal
import socket
import time
import warnings
from collections.abc import Iterator
from typing import Any

from toylab import store

HEAD_SECONDS = 12.0  # for which the head may be silent
OBJECT_BYTES = 80 * 2**20  # the least that Ray's object store takes: nothing large goes through it


class HeadGone(store.StoreError):
    """Nothing answers any more where Ray's head was."""


def check(address: str) -> None:
    """ValueError of one sentence if `--cluster ADDRESS` cannot work here."""
    if importlib.util.find_spec("ray") is None:
        raise ValueError(
            "--cluster needs Ray, which is not installed: pip install -e '.[ray]', or leave --cluster away."
        )
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address not in ("auto", "local") and not (host and port.isdecimal()):
        raise ValueError(f"--cluster is {address!r}: it must be auto, local or the HOST:PORT of `ray start --head`.")


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray: the cluster at `address`; on this machine alone for "local"; for "auto" the one that RAY_ADDRESS names or that
    runs on this machine, else local. One that the process is already connected to stays as it is."""
    check(address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    import ray

    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    alone = {"address": "local", "num_cpus": cores, "object_store_memory": OBJECT_BYTES, "include_dashboard": False}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"os\.fork", RuntimeWarning)  # what is forked beside jax only execs
            try:
                ray.init(**({"address": _reached(address)} if address != "local" else alone), **quiet)
            except OSError as error:  # ConnectionError, or a name that is not known
                if address != "auto" or "RAY_ADDRESS" in os.environ:
                    raise store.Refused(
                        f"--cluster is {address}: no Ray answers there ({store.first_line(error)}); start it with "
                        "ray start --head, or use --cluster local."
                    ) from None
                ray.init(**alone, **quiet)
            except Exception:  # nothing more particular where its own processes are slow to start: on a busy machine
                ray.shutdown()
                try:
                    ray.init(**({"address": address} if address != "local" else alone), **quiet)
                except Exception as error:
                    raise store.StoreError(
                        f"Ray did not start ({store.first_line(error)}): nothing was touched; run the same command again."
                    ) from error
    finally:
        for number, handler in handlers.items():  # Ray puts its own there
            signal.signal(number, handler)
    try:
        yield ray
    except HeadGone:  # without which it cannot be shut down
        atexit.unregister(ray.shutdown)
        raise
    except BaseException:
        ray.shutdown()
        raise
    ray.shutdown()


class Head:
    """The head of the cluster: whether it still answers. Without it Ray ends the process after a minute, and says nothing
    of what to do."""

    def __init__(self, ray: Any) -> None:
        self.address: str = ray.get_runtime_context().gcs_address
        self.heard = self.asked = time.monotonic()

    def is_gone(self) -> bool:
        """Nothing has answered for a while."""
        if time.monotonic() - self.asked > HEAD_SECONDS / 4:
            host, _, port = self.address.rpartition(":")
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=HEAD_SECONDS / 4):
                self.heard = time.monotonic()
            self.asked = time.monotonic()
        return self.asked - self.heard > HEAD_SECONDS


def _reached(address: str) -> str:
    """The address, once something answers there: Ray would try for two minutes."""
    where = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    host, _, port = where.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        with socket.create_connection((host, int(port)), timeout=10):
            pass
    return address
