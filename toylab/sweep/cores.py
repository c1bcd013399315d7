"""The cores of a CPU as devices of JAX. A step of a small model is computed by one core whatever the others do; with a
device for each core, a lane is spread over all of them.

A plan says over how many devices its lanes are spread. On more of them its bits are the same; on fewer they may not be, and
that is told (plan.py, manifest.py).
"""

import math
import os
from pathlib import Path

import jax

FLAG = "xla_force_host_platform_device_count"  # in XLA_FLAGS: the user's own number


def use_cores(n: int | None = None) -> None:
    """Makes each core that this process may use a device of JAX. Call it before JAX computes anything, as `toylab run`
    does. Where JAX computes on an accelerator, sweeps are not changed.

    Args:
        n: how many devices; None for one a core, or for the number that JAX_NUM_CPU_DEVICES or XLA_FLAGS says.

    Raises:
        ValueError: where n is below 1, and where JAX has started already.
    """
    if n is not None and n < 1:
        raise ValueError(f"n is {n}: it must be at least 1.")
    if n is None and (FLAG in os.environ.get("XLA_FLAGS", "") or getattr(jax.config, "jax_num_cpu_devices") > 0):
        return
    try:
        jax.config.update("jax_num_cpu_devices", n or allowed())
    except RuntimeError:
        raise ValueError("JAX has started already: call use_cores before anything is computed.") from None


def allowed() -> int:
    """The cores that this process may use: those of its affinity, and no more than its control group's share of time."""
    return max(1, min(of_affinity(), _share(Path("/sys/fs/cgroup/cpu.max"))))


def of_affinity() -> int:
    """The cores on which this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _share(limit: Path) -> int:
    """The cores whose time a control group has, from its cpu.max; a large number where it has no limit."""
    quota, _, period = limit.read_text("utf-8").partition(" ") if limit.is_file() else ("max", "", "")
    return math.ceil(int(quota) / int(period)) if quota.isdecimal() and int(period) else 1 << 20
