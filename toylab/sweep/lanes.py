"""Lanes: runs of a group that train together in one `vmap` of fixed width, spread over the devices of this process.

On several devices a lane is a mesh with one axis `run`. Each device trains its share with the same program. Runs are
independent, so devices do not communicate.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from toylab import configs as cfg
from toylab import train
from toylab.base import Analyzer, Config, Params, State, Trajectory

FIRST_BYTES = 1 << 28  # of initial states that are made at a time

Arrays = dict[str, np.ndarray]
Probes = tuple[tuple[str, Analyzer], ...]
AnyMesh = Mesh | AbstractMesh


def compiled(
    width: int, probes: Probes, keep: tuple[str, ...] | None, shards: int = 1, over: AnyMesh | None = None
) -> Any:
    """`train.advance`, compiled for a lane. With more than one run on a device it is mapped over all leaves, except the
    step and a data_seed that all runs share.

    Args:
        width: of the lane.
        probes: analyzers whose results are recorded at each point.
        keep: names of the params that are recorded at each point; None for all.
        shards: devices that share the lane.
        over: a mesh of these devices with the axis `run`, or its shape alone; None for `mesh(shards)`.
    """
    return _compiled(width, probes, keep, shards, over)


@lru_cache(maxsize=64)
def _compiled(width: int, probes: Probes, keep: tuple[str, ...] | None, shards: int, over: AnyMesh | None) -> Any:
    advance = partial(train.advance, probes=dict(probes), keep=keep)
    if width == 1:
        return jax.jit(advance, donate_argnums=1)
    own = _mapped(advance) if width > shards else _alone(advance)
    return jax.jit(own if shards == 1 else _spread(own, over or mesh(shards)), donate_argnums=1)


def _mapped(advance: Any) -> Any:
    def over_runs(config: Config, state: State, gaps: Any) -> Any:
        batched, carried = axes(config, state, 0, None)
        return jax.vmap(advance, in_axes=(batched, carried, None), out_axes=(carried, 0))(config, state, gaps)

    return over_runs


def _alone(advance: Any) -> Any:
    """A single run with a leading axis of 1, trained by the same program as a lane of width 1."""

    def one_run(config: Config, state: State, gaps: Any) -> Any:
        batched, carried = axes(config, state, True, False)
        first = partial(jax.tree.map, lambda leaf, has_axis: leaf[0] if has_axis else leaf)
        state, trajectory = advance(first(config, batched), first(state, carried), gaps)
        state = jax.tree.map(lambda leaf, has_axis: leaf[None] if has_axis else leaf, state, carried)
        return state, jax.tree.map(lambda leaf: leaf[None], trajectory)

    return one_run


def _spread(own: Any, over: AnyMesh) -> Any:
    """Spreads a lane over devices. shard_map, unlike a sharded jit, cannot insert a collective operation."""

    def over_devices(config: Config, state: State, gaps: Any) -> Any:
        batched, carried = axes(config, state, PartitionSpec("run"), PartitionSpec())
        in_specs, out_specs = (batched, carried, PartitionSpec()), (carried, PartitionSpec("run"))
        return jax.shard_map(own, mesh=over, in_specs=in_specs, out_specs=out_specs, check_vma=False)(
            config, state, gaps
        )

    return over_devices


def axes(config: Config, state: State, batched: Any, shared: Any) -> tuple[Config, State]:
    """`batched` for every leaf of config and state, `shared` for the step and for a data_seed that all runs share."""
    of_config = jax.tree.map(lambda _: batched, config)
    of_state = jax.tree.map(lambda _: batched, state).replace(step=shared)
    return of_config if np.ndim(config.data_seed) else of_config.replace(data_seed=shared), of_state


def mesh(shards: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The first of some devices, by default of those of this process, as a mesh with the axis `run`."""
    return Mesh(np.array((devices or jax.local_devices())[:shards]), ("run",))


def first_state(config: Config, params: Params | None) -> State:
    """A run's initial state, with the net's own or the given params. Raises ValueError where the optimizer cannot start."""
    state = _init(config) if params is None else _init(config, params)
    train.check_start(config, state.params)
    return state


def first_states(configs: Sequence[Config], given: Sequence[Params | None] | None = None) -> State:
    """The initial states of runs of one family on the host, leaves [R, …], bit for bit as `first_state` makes each.

    One program makes many, one after another on the device (of a vmap some norms have other bits), and they come to the
    host together.

    Args:
        configs: of the runs.
        given: the params of each run, or None for the net's own.

    Raises:
        ValueError: where the optimizer cannot start.
    """
    given = [None] * len(configs) if given is None else given
    each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(jax.eval_shape(train.init, configs[0])))
    most = int(np.clip(FIRST_BYTES // max(each, 1), 1, len(configs)))
    if most == 1:
        return stacked([first_state(*both) for both in zip(configs, given, strict=True)])
    parts = []
    for i in range(0, len(configs), most):
        of, params = list(configs[i : i + most]), list(given[i : i + most])
        more = most - len(of)  # filled up, so that all parts are made by one program
        parts.append(jax.device_get(_inits(cfg.stack(of + of[:1] * more, True), _stacked(params + params[:1] * more))))
    states = jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(configs)], *parts)
    if hasattr(configs[0].optimizer, "check_start"):
        for row, config in enumerate(configs):
            train.check_start(config, {name: leaf[row] for name, leaf in states.params.items()})
    return states.replace(step=int(states.step[0]))


_ONCE = {"xla_backend_optimization_level": 1}  # of programs that run once: they compile faster
_init = jax.jit(train.init, compiler_options=_ONCE)
_inits = jax.jit(
    lambda configs, params: jax.lax.map(lambda both: train.init(*both), (configs, params)), compiler_options=_ONCE
)


class Lane:
    """Some runs of a group on the device, padded to the width. A width of 1 uses no vmap, which is fastest on a CPU for all
    but small models."""

    def __init__(
        self,
        configs: Sequence[Config],
        state: State,
        members: list[int],
        width: int,
        probes: Probes,
        keep: Any,
        shards: int = 1,
        own_draws: bool | None = None,
    ) -> None:
        """
        Args:
            configs: of the group.
            state: of the group, leaves [R, …] on the host.
            members: the indices of its runs in this lane.
            width: of the lane.
            probes: analyzers whose results are recorded at each point.
            keep: names of the params that are recorded at each point; None for all.
            shards: devices that share the lane.
            own_draws: as of `configs.stack`.
        """
        self.members, self.width = members, width
        padded = members + [members[0]] * (width - len(members))
        take = padded[0] if width == 1 else np.asarray(padded)
        place = partial(jax.device_put, device=NamedSharding(mesh(shards), PartitionSpec("run")))
        put = place if shards > 1 else jax.numpy.array
        self.state = jax.tree.map(lambda leaf: put(leaf[take]), state.replace(step=None))
        self.state = self.state.replace(step=jax.numpy.int32(state.step))
        self.kept: State | None = None
        self.config = configs[padded[0]] if width == 1 else cfg.stack([configs[i] for i in padded], own_draws)
        self.function = compiled(width, probes, keep, shards)

    def compile(self, segment: int) -> Any:
        """Compiles for launches of so many points, and for no others from then on, without computing anything; the program,
        of which the compiler says what it takes."""
        self.function = self.function.lower(self.config, self.state, np.zeros(segment, np.int32)).compile()
        return self.function

    def launch(self, gaps: np.ndarray, segment: int) -> Trajectory:
        """Starts training through k ≤ segment gaps, and returns at once with the trajectory on the device.

        Gaps are numbers of steps between points. They are padded with 0, so that one compiled program serves all lengths.
        """
        padded = np.zeros(segment, np.int32)
        padded[: len(gaps)] = gaps
        self.state, trajectory = self.function(self.config, self.state, padded)
        return trajectory

    def land(self, trajectory: Trajectory, k: int) -> dict[str, Arrays]:
        """Waits for a trajectory and returns its first k points on the host: leaves [members, k, …]."""
        probes = {f"{name}/{key}": value for name, out in trajectory.probes.items() for key, value in out.items()}
        items = {"traj": trajectory.params, "measures": trajectory.measures, "probes": probes}
        items["finite"] = {"params": trajectory.finite}
        return {
            item: {name: self._rows(value)[:, :k] for name, value in arrays.items()} for item, arrays in items.items()
        }

    def advance(self, gaps: np.ndarray, segment: int) -> dict[str, Arrays]:
        """`launch` and `land`."""
        return self.land(self.launch(gaps, segment), len(gaps))

    def keep(self) -> None:
        """Keeps a copy of the state on the device for `put_back`: a launch takes the state itself."""
        self.kept = jax.tree.map(jax.numpy.copy, self.state)

    def put_back(self, state: State) -> None:
        """Writes the lane's rows into the group's state on the host: of what was kept, else of the state that it is in."""
        own, self.kept = self.kept or self.state, None
        for target, value in zip(*(jax.tree.leaves(one.replace(step=None)) for one in (state, own)), strict=True):
            target[self.members] = self._rows(value)

    def _rows(self, value: jax.Array) -> np.ndarray:
        host = np.asarray(value)
        return host[None] if self.width == 1 else host[: len(self.members)]


def stacked(states: Sequence[State]) -> State:
    """Stacks the states of a group's runs on the host, leaves [R, …]. The step stays a scalar."""
    return _stacked(states).replace(step=int(states[0].step))


def _stacked(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)
