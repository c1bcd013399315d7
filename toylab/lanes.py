"""How runs share the device: lanes of a fixed width, advanced in beats, and the plan that fixes both before the first step.

Within one plan (and device kind, core count, versions) a run's bits depend neither on its neighbours nor on how training
was cut into beats and chunks. The plan is chosen once by a short measurement, and from then on nothing hangs on the clock.
"""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jaxlib
import numpy as np

from toylab import configs as cfg
from toylab import train
from toylab.base import Analyzer, Config, Params, State

Arrays = dict[str, np.ndarray]
Probes = tuple[tuple[str, Analyzer], ...]
CHUNK_BYTES, CHUNK_SECONDS, BEAT_SECONDS = 64e6, 60.0, 1.0
WIDTHS = (1, 4, 16, 64, 256)  # and as many as there are runs
MAX_BEAT = 64  # points a launch
SHORT_STEPS, SHORT_PARAMS, SHORT_LANE = 500, 10_000, 64  # training that is over before a measurement of it would be
LARGE_STEP = 3e-3  # s on a CPU: a single run of such a step fills the cores, so a wider lane only costs memory


@dataclass(frozen=True)
class Plan:
    """lane: runs in a vmap · beat: saved points a launch · chunk: saved points a commit, a multiple of beat."""

    lane: int
    beat: int
    chunk: int

    def as_json(self) -> dict[str, int]:
        return asdict(self)


def environment() -> dict[str, Any]:
    """Within which bits repeat: device, cores, versions, matmul precision."""
    return {
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "matmul_precision": getattr(jax.config, "jax_default_matmul_precision") or "default",
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


@lru_cache(maxsize=64)
def compiled(width: int, probes: Probes, keep: tuple[str, ...] | None) -> Any:
    """`train.advance` for a lane: jit; and vmap over every leaf but step and a shared data_seed where width > 1."""
    advance = partial(train.advance, probes=dict(probes), keep=keep)
    if width == 1:
        return jax.jit(advance, donate_argnums=1)

    def over_runs(config: Config, state: State, gaps: Any) -> Any:
        batched = jax.tree.map(lambda _: 0, config)
        batched = batched if jax.numpy.ndim(config.data_seed) else batched.replace(data_seed=None)
        carried = jax.tree.map(lambda _: 0, state).replace(step=None)
        return jax.vmap(advance, in_axes=(batched, carried, None), out_axes=(carried, 0))(config, state, gaps)

    return jax.jit(over_runs, donate_argnums=1)


def first_state(config: Config, params: Params | None) -> State:
    return _init(config) if params is None else _init(config, params)


_init = jax.jit(train.init)


class Lane:
    """Some runs of a group on the device, padded to the width. Width 1 runs without vmap: on a CPU the fastest for all
    but small models."""

    def __init__(
        self,
        configs: Sequence[Config],
        state: State,
        members: list[int],
        width: int,
        probes: Probes,
        keep: Any,
    ) -> None:
        """`state`: the group's, leaves [R, …] on the host; `members`: which of its runs are in this lane."""
        self.members, self.width = members, width
        padded = members + [members[0]] * (width - len(members))
        take = padded[0] if width == 1 else np.asarray(padded)
        self.state = jax.tree.map(lambda leaf: jax.numpy.array(leaf[take]), state.replace(step=None))
        self.state = self.state.replace(step=jax.numpy.int32(state.step))
        self.config = configs[padded[0]] if width == 1 else cfg.stack([configs[i] for i in padded])
        self.function = compiled(width, probes, keep)

    def advance(self, gaps: np.ndarray, beat: int) -> dict[str, Arrays]:
        """Leaves [members, k, …], k = len(gaps) ≤ beat; the gaps are padded with 0, so that one compile serves all."""
        padded = np.zeros(beat, np.int32)
        padded[: len(gaps)] = gaps
        self.state, trajectory = self.function(self.config, self.state, padded)
        probes = {f"{name}/{key}": value for name, out in trajectory.probes.items() for key, value in out.items()}
        items = {"traj": trajectory.params, "measures": trajectory.measures, "probes": probes}
        return {
            item: {name: self._rows(value)[:, : len(gaps)] for name, value in arrays.items()}
            for item, arrays in items.items()
        }

    def put_back(self, state: State) -> None:
        """Copies the members' states into the group's."""
        own = jax.tree.leaves(self.state.replace(step=None))
        for target, value in zip(jax.tree.leaves(state.replace(step=None)), own, strict=True):
            target[self.members] = self._rows(value)

    def _rows(self, value: jax.Array) -> np.ndarray:
        host = np.asarray(value)
        return host[None] if self.width == 1 else host[: len(self.members)]


def choose_plan(
    configs: Sequence[Config],
    saves: Sequence[int],
    probes: Mapping[str, Analyzer],
    keep: Any,
    lane: int | None,
) -> Plan:
    """The width that trains a step of all runs fastest (or `lane`), beats of about a second, chunks of about 64 MB or a
    minute, whichever is less."""
    state = jax.eval_shape(train.init, configs[0])
    if saves[-1] <= SHORT_STEPS and sum(leaf.size for leaf in state.params.values()) <= SHORT_PARAMS:
        at_once = min(MAX_BEAT, len(saves))
        return Plan(lane=lane or min(len(configs), SHORT_LANE), beat=at_once, chunk=at_once)
    seconds: dict[int, float] = {}  # of a step of all runs, by width
    for width in [lane] if lane else _widths(len(configs)):
        step = _seconds_a_step(configs, width, tuple(probes.items()), keep)
        seconds[width] = step * -(-len(configs) // width)
        large = jax.default_backend() == "cpu" and width == 1 and step > LARGE_STEP
        if large or (len(seconds) > 2 and seconds[width] > min(seconds.values())):
            break
    width = min(seconds, key=lambda width: seconds[width])
    kept = [leaf for name, leaf in state.params.items() if keep is None or name in keep]
    point_bytes = len(configs) * sum(leaf.size * leaf.dtype.itemsize for leaf in kept)
    gap = max(float(np.median(np.diff(saves))), 1.0) if len(saves) > 1 else 1.0
    point_seconds = gap * seconds[width]
    beat = int(np.clip(BEAT_SECONDS / point_seconds, 1, min(MAX_BEAT, len(saves))))
    chunk = int(np.clip(min(CHUNK_BYTES / max(point_bytes, 1), CHUNK_SECONDS / point_seconds), 1, len(saves)))
    return Plan(lane=width, beat=min(beat, chunk), chunk=max(chunk - chunk % min(beat, chunk), 1))


def _widths(n_runs: int) -> list[int]:
    """In the order in which they are tried: 1, then from the widest down until it gets slower."""
    widest = min(n_runs, WIDTHS[-1])
    return list(dict.fromkeys([1, widest, *(width for width in reversed(WIDTHS) if width < widest)]))


def _seconds_a_step(configs: Sequence[Config], width: int, probes: Probes, keep: Any) -> float:
    """Time of one step of a whole lane, from runs long enough to be seen."""
    members = list(range(min(width, len(configs))))
    states = [first_state(configs[i], None) for i in members]
    lane = Lane(configs, stacked(states), members, width, probes, keep)
    lane.advance(np.array([0]), 1)  # compiles
    steps, taken = 1, 0.0
    while taken < 0.2 and steps < 4096:
        steps *= 2
        start = time.perf_counter()
        lane.advance(np.array([steps]), 1)
        taken = time.perf_counter() - start
    return taken / steps


def stacked(states: Sequence[State]) -> State:
    """States of a group as one on the host, leaves [R, …]; the step, which they share, stays a scalar."""
    step = int(states[0].step)
    host = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *states)
    return host.replace(step=step)
