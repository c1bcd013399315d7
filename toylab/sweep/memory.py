"""How much of the device's memory a lane takes, estimated without compiling, and how much there is.

The estimate is a liveness scan: `train.advance` is traced on shapes alone, and in the order in which its operations stand
an array takes its bytes from the one that makes it to the last one that reads it. XLA fuses much of that away and seldom
adds to it, so the estimate lies above what the compiled program takes, by a factor of up to about 3 (tests/test_memory.py).
"""

import os
import resource
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from toylab import train
from toylab.base import Analyzer, Config, State, Trajectory
from toylab.sweep.lanes import compiled

OVER = 4  # an accelerator's compiler needs at least the estimate over this: up to 3.6 times less was seen (benchmarks)
MARGIN = 1.25  # for copies that XLA makes: programs of our pages need up to 1.2 times the bare estimate
NEVER_MADE = ("broadcast_in_dim", "iota", "convert_element_type", "reshape", "squeeze", "expand_dims", "stop_gradient")


def lane_bytes(
    config: Config, width: int, segment: int, probes: Mapping[str, Analyzer] | None = None, keep: Any = None,
    platform: str | None = None,
) -> int:  # fmt: skip
    """Estimated bytes on the device for a lane.

    Args:
        config: of a run, checked.
        width: runs in the lane.
        segment: points in a launch.
        probes: analyzers whose results are recorded at each point, as in `Spec`.
        keep: names of the params that are recorded at each point; None for all.
        platform: of the device; None for this process's.
    """
    return traced(config, width, segment, probes, keep, platform=platform)[0]


def traced(
    config: Config, width: int, segment: int, probes: Mapping[str, Analyzer] | None = None, keep: Any = None,
    own_draws: bool = False, platform: str | None = None,
) -> tuple[int, Trajectory]:  # fmt: skip
    """The same number, and the shapes of what a segment records, from one trace; with `own_draws` of runs that each draw
    their batches."""
    function = compiled(width, tuple((probes or {}).items()), keep)
    program = function.trace(*arguments(config, width, segment, own_draws))  # JAX keeps it: the lane traces no more
    jaxpr, (_, trajectory) = program.jaxpr, program.out_info
    inputs = sum(_bytes(variable.aval) for variable in (*jaxpr.jaxpr.invars, *jaxpr.jaxpr.constvars))
    return int(MARGIN * (inputs + peak(jaxpr.jaxpr, platform or jax.default_backend()))), trajectory


def arguments(config: Config, width: int, segment: int, own_draws: bool = False) -> tuple[Config, State, Any]:
    """The shapes of what a lane's program takes: configs, states and gaps."""
    state = jax.eval_shape(train.init, config)
    config = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), np.asarray(leaf).dtype), config)
    if width > 1:
        shared, step = config.data_seed, state.step
        config, state = _wider(config, width), _wider(state, width).replace(step=step)
        config = config if own_draws else config.replace(data_seed=shared)
    return config, state, jax.ShapeDtypeStruct((segment,), np.int32)


def compiled_bytes(program: Any) -> int:
    """Bytes on each device that a compiled program takes, as its compiler says: arguments, results, what lies between, the
    program itself. Results that take the place of arguments count once."""
    taken = program.memory_analysis()
    parts = ("argument", "output", "temp", "generated_code")
    return sum(getattr(taken, f"{name}_size_in_bytes") for name in parts) - taken.alias_size_in_bytes


def budget() -> int:
    """Bytes of memory that the device has for arrays. On a CPU: the memory that this process may use."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *_cgroup_limits(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))])


def of_their_own(shards: int) -> int:
    """How many of the devices that share a lane have memory of their own: the cores of a CPU have one together."""
    return 1 if jax.default_backend() == "cpu" else shards


def room() -> int:
    """Bytes of `budget` that have not been in use at any time so far."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return budget() - int(stats["peak_bytes_in_use"])
    return budget() - resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device or the machine has no memory left."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _cgroup_limits(mounted: Path, own: Path) -> list[int]:
    """The memory limits of the process's control groups and their parents (cgroups of version 1 and 2)."""
    found = []
    for line in own.read_text("utf-8").splitlines() if own.exists() else []:
        _, controllers, place = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, name = (mounted / "memory", "memory.limit_in_bytes") if controllers else (mounted, "memory.max")
        inner = Path(place.lstrip("/"))
        for part in (inner, *inner.parents):  # in a container the mount is the group itself
            file = root / part / name
            text = file.read_text("utf-8").strip() if file.is_file() else ""
            found += [int(text)] if text.isdecimal() else []
    return found


def peak(jaxpr: Jaxpr, platform: str) -> int:
    """The most bytes that arrays made in a jaxpr take at one time on a platform, without its inputs.

    The results of a loop and those of its body are both counted, because XLA may hold both.
    """
    last: dict[Any, int] = {}  # the last operation that reads a variable
    for i, equation in enumerate(jaxpr.eqns):
        last |= {variable: i for variable in equation.invars if not isinstance(variable, Literal)}
    last |= {variable: len(jaxpr.eqns) for variable in jaxpr.outvars if not isinstance(variable, Literal)}
    live: dict[Any, int] = {}
    most = now = 0
    for i, equation in enumerate(jaxpr.eqns):
        inner = max((peak(part, platform) for part in parts(equation, platform)), default=0)
        for variable in equation.outvars:
            free = equation.primitive.name in NEVER_MADE and last.get(variable) != len(jaxpr.eqns)
            live[variable] = 0 if free else _bytes(variable.aval)
            now += live[variable]
        most = max(most, now + inner)
        for used in (*equation.invars, *equation.outvars):
            if not isinstance(used, Literal) and last.get(used, i) == i:
                now -= live.pop(used, 0)
    return most


def parts(equation: Any, platform: str) -> Iterator[Jaxpr]:
    """The jaxprs that an operation runs: bodies of loops, branches, calls; of branches by platform, that one's."""
    platforms = equation.params.get("branches_platforms")
    if platforms:
        mine = [i for i, names in enumerate(platforms) if names is None or platform in names]
        yield equation.params["branches"][mine[0]].jaxpr
        return
    for parameter in equation.params.values():
        for value in parameter if isinstance(parameter, tuple | list) else (parameter,):
            if isinstance(value, ClosedJaxpr):
                yield value.jaxpr
            elif isinstance(value, Jaxpr):
                yield value


def _bytes(aval: Any) -> int:
    """Bytes of an array or a random key."""
    if not hasattr(aval, "shape"):
        return 0
    return int(np.prod(aval.shape, dtype=np.int64)) * getattr(aval.dtype, "itemsize", 8)


def _wider(tree: Any, width: int) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((width, *leaf.shape), leaf.dtype), tree)
