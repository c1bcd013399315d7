"""float64 on every machine: it is computed on the host's CPU. Where a TPU is given complex128, XLA aborts the process. What
is computed so is small.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

import jax
import numpy as np

Tree = TypeVar("Tree")


@contextlib.contextmanager
def float64_on_host() -> Iterator[None]:
    """Within it JAX has float64, and computes on the host's CPU what is not committed to another device.

    Raises:
        ValueError: where JAX was started without its CPU.
    """
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        platforms = getattr(jax.config, "jax_platforms")
        raise ValueError(
            f"JAX_PLATFORMS is {platforms!r}: it must name cpu too, as '{platforms},cpu', because what needs float64 is "
            "computed on the host's CPU."
        ) from None
    with jax.enable_x64(), jax.default_device(cpu):
        yield


def on_host(tree: Tree) -> Tree:
    """A pytree whose arrays of JAX are arrays of numpy, which no device holds."""

    def moved(leaf: Any) -> Any:
        return np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf

    return jax.tree.map(moved, tree)
