"""The plan of a group: width of its lanes, points in a launch (segment), points in a commit (chunk).

A plan is chosen once, by a short measurement, and written to the manifest before the first step. With the same plan,
device kind, processor, number of cores and versions, a run's bits depend neither on its neighbours in a lane, nor on how
often training was interrupted, nor on how many devices there are beyond those of the plan.
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np

from toylab import train
from toylab.base import Analyzer, Config, State
from toylab.sweep import cores, memory, timing

CHUNK_BYTES, CHUNK_SECONDS = 64e6, 60.0
SEGMENT_SECONDS, CPU_SEGMENT_SECONDS = 1.0, 0.25  # a launch takes a CPU less time to prepare
MAX_SEGMENT = 64  # the most points in a launch
SHORT_STEPS, SHORT_PARAMS, SHORT_LANE = 500, 10_000, 64  # up to these sizes training takes less time than a measurement
DEVICES = "devices"  # in an environment: how many accelerators there were; a plan says how many it needs


@dataclass(frozen=True)
class Plan:
    """How a group is trained.

    lane     runs in a vmap, on all its devices together
    segment  saved points in a launch
    chunk    saved points in a commit, a multiple of segment
    shards   devices that share a lane, a divisor of its width; the CPU's are its cores (cores.py)
    """

    lane: int
    segment: int
    chunk: int
    shards: int = 1

    def as_json(self) -> dict[str, int]:
        """The plan as it stands in a manifest."""
        return asdict(self)

    def on(self, count: int) -> "Plan":
        """The plan as so many devices carry it out. Where it has more shares than there are devices, lanes are narrower,
        with as many runs on each device, and bits may differ."""
        shards = min(self.shards, count)
        return replace(self, lane=self.lane // self.shards * shards, shards=shards)

    def halved(self) -> "Plan | None":
        """The plan with half as many runs on each device; None if there is only one."""
        each = self.lane // self.shards
        return None if each == 1 else Plan(each // 2 * self.shards, self.segment, self.chunk, self.shards)


def environment() -> dict[str, Any]:
    """Device, processor, cores, versions and matmul precision: bits are the same only where all of these are."""
    n_cores = cores.of_affinity()
    on_cpu = jax.default_backend() == "cpu"
    found = {
        "processor": _processor(),
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "cores": max(n_cores, jax.local_device_count()) if on_cpu else n_cores,  # as many threads JAX has there
        "matmul_precision": getattr(jax.config, "jax_default_matmul_precision") or "default",
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    return found if on_cpu or jax.local_device_count() == 1 else {**found, DEVICES: jax.local_device_count()}


def _processor() -> str:
    """The processor's kind and widest vector instructions. XLA compiles for them, and rounding of sums depends on them."""
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text("utf-8").split()) if info.is_file() else set()
    widest = [name for name in ("avx512f", "avx2", "avx", "sse4_2") if name in flags]
    return " ".join([platform.machine(), *widest[:1]])


def choose_plan(
    configs: Sequence[Config],
    saves: Sequence[int],
    probes: Mapping[str, Analyzer],
    keep: Any,
    lane: int | None,
) -> Plan:
    """Chooses a plan: the width that is fastest for a step of all runs, segments of about a second (on a CPU a quarter of
    it), and chunks of about 64 MB or a minute, whichever is less.

    Args:
        configs: of the group.
        saves: its saved steps.
        probes: analyzers whose results it records at each point.
        keep: names of the params that it records at each point; None for all.
        lane: a fixed width; None to measure.
    """
    state = jax.eval_shape(train.init, configs[0])
    count = jax.local_device_count()
    small = is_small(state)
    if small and saves[-1] <= SHORT_STEPS:
        shards = timing.shards_of(lane, count) if lane else min(count, len(configs))
        each, at_once = min(-(-len(configs) // shards), SHORT_LANE), min(MAX_SEGMENT, len(saves))
        return Plan(lane or each * shards, at_once, at_once, shards)
    each = 0 if lane else memory.lane_bytes(configs[0], 1, 1, probes, keep)
    tried = (
        [timing.Size(lane, timing.shards_of(lane, count))]
        if lane
        else timing.candidates(len(configs), count, each, small)
    )
    seconds = timing.seconds_by_size(configs, tried, each, probes, keep, saves[-1])
    if not seconds:  # `lane` does not fit; the group will halve it with a message
        return Plan(tried[0].lane, 1, 1, tried[0].shards)
    size = min(seconds, key=lambda size: seconds[size])
    kept = [leaf for name, leaf in state.params.items() if keep is None or name in keep]
    point_bytes = len(configs) * sum(leaf.size * leaf.dtype.itemsize for leaf in kept)
    gap = max(float(np.median(np.diff(saves))), 1.0) if len(saves) > 1 else 1.0
    point_seconds = gap * seconds[size]
    launch_seconds = CPU_SEGMENT_SECONDS if jax.default_backend() == "cpu" else SEGMENT_SECONDS
    segment = int(np.clip(launch_seconds / point_seconds, 1, min(MAX_SEGMENT, len(saves))))
    chunk = int(np.clip(min(CHUNK_BYTES / max(point_bytes, 1), CHUNK_SECONDS / point_seconds), 1, len(saves)))
    return Plan(size.lane, min(segment, chunk), max(chunk - chunk % min(segment, chunk), 1), size.shards)


def is_small(state: State) -> bool:
    """Whether a step of a run is too small for several cores."""
    return sum(leaf.size for leaf in state.params.values()) <= SHORT_PARAMS
