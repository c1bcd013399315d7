"""Connecting to a Ray cluster, and noticing when its head is gone."""

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
from toylab.sweep import cores

HEAD_SECONDS = 12.0  # for which the head may not answer
OBJECT_BYTES = 80 * 2**20  # the smallest size of Ray's object store; nothing large goes through it


class HeadGone(store.StoreError):
    """Ray's head does not answer any more."""


def check(address: str) -> None:
    """Checks the argument of `--cluster`.

    Raises:
        ValueError: where Ray is not installed or `address` is no address, in one sentence.
    """
    if importlib.util.find_spec("ray") is None:
        raise ValueError(
            "--cluster needs Ray, which is not installed: pip install -e '.[ray]', or leave --cluster away."
        )
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address not in ("auto", "local") and not (host and port.isdecimal()):
        raise ValueError(f"--cluster is {address!r}: it must be auto, local or the HOST:PORT of `ray start --head`.")


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connects to Ray, and disconnects at the end. A connection that the process already has is used and kept.

    Args:
        address: HOST:PORT of a head; "local" for this machine alone; "auto" for the cluster that RAY_ADDRESS names or that
            runs on this machine, else local.

    Yields:
        The module `ray`.

    Raises:
        Refused: where no Ray answers at `address`.
    """
    check(address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    import ray

    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    alone = {
        "address": "local",
        "num_cpus": cores.of_affinity(),
        "object_store_memory": OBJECT_BYTES,
        "include_dashboard": False,
    }
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", r"os\.fork", RuntimeWarning
            )  # Ray's forks exec at once, so JAX's threads do no harm
            try:
                ray.init(**({"address": _reached(address)} if address != "local" else alone), **quiet)
            except OSError as error:  # ConnectionError, or an unknown host
                if address != "auto" or "RAY_ADDRESS" in os.environ:
                    raise store.Refused(
                        f"--cluster is {address}: no Ray answers there ({store.first_line(error)}); start it with "
                        "ray start --head, or use --cluster local."
                    ) from None
                ray.init(**alone, **quiet)
            except Exception:  # Ray raises no narrower class where its processes start slowly, as on a busy machine
                ray.shutdown()
                try:
                    ray.init(**({"address": address} if address != "local" else alone), **quiet)
                except Exception as error:
                    raise store.StoreError(
                        f"Ray did not start ({store.first_line(error)}): nothing was touched; run the same command again."
                    ) from error
    finally:
        for number, handler in handlers.items():  # Ray has installed its own
            signal.signal(number, handler)
    try:
        yield ray
    except HeadGone:  # Ray cannot be shut down without its head
        atexit.unregister(ray.shutdown)
        raise
    except BaseException:
        ray.shutdown()
        raise
    ray.shutdown()


class Head:
    """Watches whether the head of the cluster still answers. Ray itself ends the process a minute after its head is gone,
    without saying what to do."""

    def __init__(self, ray: Any) -> None:
        self.address: str = ray.get_runtime_context().gcs_address
        self.answered = self.asked = time.monotonic()

    def is_gone(self) -> bool:
        """Whether the head has not answered for HEAD_SECONDS."""
        if time.monotonic() - self.asked > HEAD_SECONDS / 4:
            host, _, port = self.address.rpartition(":")
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=HEAD_SECONDS / 4):
                self.answered = time.monotonic()
            self.asked = time.monotonic()
        return self.asked - self.answered > HEAD_SECONDS


def _reached(address: str) -> str:
    """The address, after something has answered there: Ray itself would try for two minutes."""
    where = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    host, _, port = where.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        with socket.create_connection((host, int(port)), timeout=10):
            pass
    return address
