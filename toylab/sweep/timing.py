"""How many runs of a group train side by side fastest: sizes of lanes, each tried for a moment."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from toylab.base import Analyzer, Config, State
from toylab.sweep import memory
from toylab.sweep.lanes import Lane, Probes, first_states

WIDTHS = (1, 4, 16, 64, 256)  # that are tried, for each device, besides the number of runs
LARGE_STEP = 3e-3  # s on a CPU: runs with such a step fill a core each, so that a wider vmap only takes memory
# s of steps that are timed, and calls without any: where sizes are compared, and of a single one
COMPARED, ALONE = (0.2, 3), (0.05, 1)
TICK = 1e-6  # s: the least that a measurement gives
GAIN = 0.1  # of the time of all steps: what a wider lane may be expected to save on a CPU


class Size(NamedTuple):
    """Runs in a lane, and the devices that share it."""

    lane: int
    shards: int


def shards_of(lane: int, count: int) -> int:
    """The largest number of so many devices that divides a lane evenly."""
    return next(n for n in range(min(lane, count), 0, -1) if lane % n == 0)


def candidates(n_runs: int, count: int, each: int, small: bool) -> list[Size]:
    """Sizes of lanes in the order of trying: one run a device, then from the widest down, until one is slower.

    On a CPU they grow instead: wide lanes seldom are much faster there, and take long to measure. Its cores can also work
    on one run together, which is tried first. Of small runs, of whose launches there would be too many, four are the least.
    The cores have one memory, in which as many runs have to fit as there are shares.

    Args:
        n_runs: of the group.
        count: of the devices.
        each: estimated bytes of a run.
        small: whether a step of a run is too small for several cores.
    """
    on_cpu = jax.default_backend() == "cpu"
    fit = int(memory.budget() // max(each, 1)) if on_cpu else count
    shards = max(min(count, n_runs, fit), 1)
    widest = min(-(-n_runs // shards), WIDTHS[-1])
    narrower = [width for width in WIDTHS[1:] if width < widest]
    first = [] if on_cpu and small else [1]
    widths = dict.fromkeys([*first, *narrower, widest] if on_cpu else [*first, widest, *reversed(narrower)])
    together = [Size(1, 1)] if on_cpu and shards > 1 and not small else []
    return together + [Size(width * shards, shards) for width in widths]


def seconds_by_size(
    configs: Sequence[Config],
    tried: Sequence[Size],
    each: int,
    probes: Mapping[str, Analyzer],
    keep: Any,
    n_steps: int,
) -> dict[Size, float]:
    """Seconds for one step of all runs, by size of a lane. Those that do not fit into memory are left out, on an
    accelerator by what its compiler says, and on a CPU those whose trial would take longer than what is to be gained over
    `n_steps`.

    `each`: estimated bytes of a run.
    """
    seconds: dict[Size, float] = {}
    state: Any = None
    on_cpu = jax.default_backend() == "cpu"
    n_made, is_large = 0, False  # states are made once for all that are wider than one run a device
    for size in tried:
        lane, shards = size
        alone = lane == shards
        if is_large and not alone:
            break
        start = time.perf_counter()
        least = lane // memory.of_their_own(shards) * each / (1 if on_cpu else memory.OVER)
        if not alone and len(tried) > 1 and least > memory.budget():
            continue
        try:
            if n_made < (n_needed := min(lane, len(configs))):
                state, n_made = first_states(configs[:n_needed]), n_needed
            exact = COMPARED if len(tried) > 1 else ALONE
            step = _seconds_a_step(configs, state, lane, shards, tuple(probes.items()), keep, *exact)
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            if alone or not memory.is_out_of_memory(error):
                raise
            continue
        seconds[size] = step * -(-len(configs) // lane)
        is_large |= on_cpu and lane == 1 and step > LARGE_STEP
        n_wide = sum(one.lane > one.shards for one in seconds)
        if n_wide >= (1 if on_cpu else 2) and seconds[size] > min(seconds.values()):
            break
        taken = time.perf_counter() - start
        if on_cpu and n_wide and GAIN * n_steps * min(seconds.values()) < taken:
            break
    return seconds


def _seconds_a_step(
    configs: Sequence[Config],
    state: State,
    width: int,
    shards: int,
    probes: Probes,
    keep: Any,
    least: float,
    empty: int,
) -> float:
    """Seconds of one step of a whole lane: what a call takes longer with steps than without any, `least` s at least. Of
    so many calls without any the shortest counts.

    A call without steps makes the data, records the points and brings them to the host. Wide lanes have more of that, and a
    launch of about a second has it once.
    """
    members = list(range(min(width, len(configs))))
    lane = Lane(configs, state, members, width, probes, keep, shards)
    if jax.default_backend() != "cpu" and width > shards:
        takes = memory.compiled_bytes(lane.compile(1))
        if takes > memory.budget():
            raise MemoryError(f"a lane of {width} runs takes {takes:,} bytes of a device, as its compiler says.")

    def seconds(steps: int) -> float:
        start = time.perf_counter()
        lane.advance(np.array([steps]), 1)
        return time.perf_counter() - start

    seconds(0)  # compiles
    fixed = min(seconds(0) for _ in range(empty))
    steps, more = 1, 0.0
    while more < least and steps < 4096:
        steps *= 2
        more = seconds(steps) - fixed
    return max(more, TICK) / steps
