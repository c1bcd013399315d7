"""The plan of a group: width of its lanes, points in a launch (segment), points in a commit (chunk).

A plan is chosen once, by a short measurement, and written to the manifest before the first step. With the same plan,
device kind, processor, number of cores and versions, a run's bits depend neither on its neighbours in a lane nor on how
often training was interrupted.
"""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np

from toylab import train
from toylab.base import Analyzer, Config, State
from toylab.sweep import memory
from toylab.sweep.lanes import Lane, Probes, first_states

CHUNK_BYTES, CHUNK_SECONDS, SEGMENT_SECONDS = 64e6, 60.0, 1.0
WIDTHS = (1, 4, 16, 64, 256)  # that are tried, for each device, besides the number of runs
MAX_SEGMENT = 64  # the most points in a launch
SHORT_STEPS, SHORT_PARAMS, SHORT_LANE = 500, 10_000, 64  # up to these sizes training takes less time than a measurement
TICK = 1e-6  # s: the least that a measurement gives
LARGE_STEP = 3e-3  # s on a CPU: one run with such a step uses all cores, so a wider lane only takes memory


@dataclass(frozen=True)
class Plan:
    """How a group is trained.

    lane     runs in a vmap, on all its devices together
    segment  saved points in a launch
    chunk    saved points in a commit, a multiple of segment
    shards   devices that share a lane, a divisor of its width
    """

    lane: int
    segment: int
    chunk: int
    shards: int = 1

    def as_json(self) -> dict[str, int]:
        """The plan as it stands in a manifest."""
        return asdict(self)

    def halved(self) -> "Plan | None":
        """The plan with half as many runs on each device; None if there is only one."""
        each = self.lane // self.shards
        return None if each == 1 else Plan(each // 2 * self.shards, self.segment, self.chunk, self.shards)


def environment() -> dict[str, Any]:
    """Device, processor, cores, versions and matmul precision: bits are the same only where all of these are."""
    found = {
        "processor": _processor(),
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "matmul_precision": getattr(jax.config, "jax_default_matmul_precision") or "default",
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    return found if jax.local_device_count() == 1 else {**found, "devices": jax.local_device_count()}


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
    """Chooses a plan: the width that is fastest for a step of all runs, segments of about a second, and chunks of about
    64 MB or a minute, whichever is less.

    Args:
        configs: of the group.
        saves: its saved steps.
        probes: analyzers whose results it records at each point.
        keep: names of the params that it records at each point; None for all.
        lane: a fixed width; None to measure.
    """
    state = jax.eval_shape(train.init, configs[0])
    shards = shards_of(lane, jax.local_device_count()) if lane else min(jax.local_device_count(), len(configs))
    at_once = at_first(configs[0], saves)
    small = _is_small(state)
    if small and saves[-1] <= SHORT_STEPS:
        each = min(-(-len(configs) // shards), SHORT_LANE)
        return Plan(lane or each * shards, at_once, at_once, shards)
    widths = [lane] if lane else _widths(len(configs), shards)
    seconds = _seconds_by_width(configs, widths, shards, probes, keep, at_once)
    if not seconds:  # `lane` does not fit; the group will halve it with a message
        return Plan(widths[0], 1, 1, shards)
    width = min(seconds, key=lambda width: seconds[width])
    kept = [leaf for name, leaf in state.params.items() if keep is None or name in keep]
    point_bytes = len(configs) * sum(leaf.size * leaf.dtype.itemsize for leaf in kept)
    gap = max(float(np.median(np.diff(saves))), 1.0) if len(saves) > 1 else 1.0
    point_seconds = gap * seconds[width]
    segment = int(np.clip(SEGMENT_SECONDS / point_seconds, 1, min(MAX_SEGMENT, len(saves))))
    chunk = int(np.clip(min(CHUNK_BYTES / max(point_bytes, 1), CHUNK_SECONDS / point_seconds), 1, len(saves)))
    return Plan(width, min(segment, chunk), max(chunk - chunk % min(segment, chunk), 1), shards)


def at_first(config: Config, saves: Sequence[int]) -> int:
    """Points in a launch of the programs that are timed to choose a plan."""
    return min(MAX_SEGMENT, len(saves)) if _is_small(jax.eval_shape(train.init, config)) else 1


def _is_small(state: State) -> bool:
    return sum(leaf.size for leaf in state.params.values()) <= SHORT_PARAMS


def shards_of(lane: int, count: int) -> int:
    """The largest number of so many devices that divides a lane evenly."""
    return next(n for n in range(min(lane, count), 0, -1) if lane % n == 0)


def _widths(n_runs: int, shards: int) -> list[int]:
    """Widths in the order of trying: one run a device, then from the widest down, until one is slower."""
    widest = min(-(-n_runs // shards), WIDTHS[-1])
    each = dict.fromkeys([1, widest, *(width for width in reversed(WIDTHS) if width < widest)])
    return [width * shards for width in each]


def _seconds_by_width(
    configs: Sequence[Config],
    widths: Sequence[int],
    shards: int,
    probes: Mapping[str, Analyzer],
    keep: Any,
    segment: int,
) -> dict[int, float]:
    """Seconds for one step of all runs, by width. Widths that do not fit into memory are left out.

    `segment` is that of the timed programs. If the plan then has the same, nothing is compiled again.
    """
    seconds: dict[int, float] = {}
    each = memory.lane_bytes(configs[0], 1, segment, probes, keep) if len(widths) > 1 else 0
    state: Any = None
    n_made = 0  # made once for all widths but the first, which is 1
    for width in widths:
        if width > shards and len(widths) > 1 and width // shards * each > memory.budget():
            continue
        try:
            if n_made < (n_needed := min(width, len(configs))):
                state, n_made = first_states(configs[:n_needed]), n_needed
            step = _seconds_a_step(configs, state, width, shards, tuple(probes.items()), keep, segment)
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            if width == shards or not is_out_of_memory(error):
                raise
            continue
        seconds[width] = step * -(-len(configs) // width)
        large = jax.default_backend() == "cpu" and width == 1 and step > LARGE_STEP
        if large or (len(seconds) > 2 and seconds[width] > min(seconds.values())):
            break
    return seconds


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device or the machine has no memory left."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _seconds_a_step(
    configs: Sequence[Config], state: State, width: int, shards: int, probes: Probes, keep: Any, segment: int
) -> float:
    """Seconds of one step of a whole lane: what a call takes longer with steps than without any, 0.2 s at least.

    A call without steps makes the data, records the points and brings them to the host. Wide lanes have more of that, and a
    launch of about a second has it once.
    """
    members = list(range(min(width, len(configs))))
    lane = Lane(configs, state, members, width, probes, keep, shards)

    def seconds(steps: int) -> float:
        start = time.perf_counter()
        lane.advance(np.array([steps]), segment)
        return time.perf_counter() - start

    seconds(0)  # compiles
    fixed = min(seconds(0) for _ in range(3))
    steps, more = 1, 0.0
    while more < 0.2 and steps < 4096:
        steps *= 2
        more = seconds(steps) - fixed
    return max(more, TICK) / steps
