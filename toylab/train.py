"""The whole dynamics: init, step, advance. They are pure functions of (config, state), so `vmap` maps over whole runs.

Seeds by role: `split(key(seed))` gives the initial weights' key and the data's; the fresh batch of a step comes from
`fold_in(key(data_seed), step)`, the order of an epoch from `fold_in(key(data_seed), epoch)`. There is no other randomness,
and so no state of a random generator. The bits of a run do not depend on how it is divided into segments and chunks, or
resumed.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import optax
from jax import Array

from toylab.base import Analyzer, Config, Data, Params, Run, State, Trajectory
from toylab.protocol import batch_of, epoch_steps, order_at


def init(config: Config, params: Params | None = None) -> State:
    """The state at step 0, with the net's own params or given ones (to go on from a saved point, or to fine-tune)."""
    init_key, _ = jax.random.split(jax.random.key(config.seed))
    params = config.net.init(init_key) if params is None else params
    check_start(config, params)
    return State(params=params, opt_state=config.optimizer.transform().init(params), step=jax.numpy.int32(0))


def check_start(config: Config, params: Params) -> None:
    """Raises ValueError where the optimizer cannot start from these params. Under jit and vmap their values are not known,
    and nothing is checked."""
    check = getattr(config.optimizer, "check_start", None)
    if check and not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(params)):
        check(params)


def data(config: Config) -> Data:
    """The arrays that are fixed for a run. They follow from the config, so they are not stored."""
    _, data_key = jax.random.split(jax.random.key(config.seed))
    return config.task.data(data_key)


def step(config: Config, data: Data, key: Array, state: State) -> State:
    """One update. `key` is made from the run's `data_seed`, and with the step draws the batch."""
    return _step(config, data, order_at(config.task, key, state.step), state)


def _step(config: Config, data: Data, order: Any, state: State) -> State:
    drawn = batch_of(config.task, order, state.step)
    apply = partial(config.net.apply, full=False)
    gradient = jax.grad(lambda params: config.task.loss(apply, params, data, drawn))(state.params)
    updates, opt_state = config.optimizer.transform().update(gradient, state.opt_state, state.params)
    return State(params=optax.apply_updates(state.params, updates), opt_state=opt_state, step=state.step + 1)


def _steps(config: Config, data: Data, key: Array, state: State, n: Array) -> State:
    """n updates. The order of an epoch is drawn where they enter it, and not at each step."""

    def within_epoch(state: State, n: Array) -> State:
        order = order_at(config.task, key, state.step)
        return jax.lax.fori_loop(0, n, lambda _, state: _step(config, data, order, state), state)

    if not (length := epoch_steps(config.task)):
        return within_epoch(state, n)
    end = state.step + n

    def to_next_epoch(state: State) -> State:
        return within_epoch(state, jax.numpy.minimum(length - state.step % length, end - state.step))

    return jax.lax.while_loop(lambda state: state.step < end, to_next_epoch, state)


def advance(
    config: Config,
    state: State,
    gaps: Array,
    *,
    probes: Mapping[str, Analyzer] | None = None,
    keep: tuple[str, ...] | None = None,
) -> tuple[State, Trajectory]:
    """Trains and records points.

    Args:
        config: of the run.
        state: to start from.
        gaps: int [T]; point i is recorded after gaps[i] more steps. `gaps[0] = 0` records the given state.
        probes: analyzers that are computed at each point, for when the params are too large to record.
        keep: names of the params to record; None for all.

    Returns:
        The state after the last point, and the trajectory, leaves [T, …].
    """
    fixed, key = data(config), jax.random.key(config.data_seed)

    def to_next_point(state: State, gap: Array) -> tuple[State, Trajectory]:
        state = _steps(config, fixed, key, state, gap)
        return state, record(state)

    def record(state: State) -> Trajectory:
        kept = state.params if keep is None else {name: state.params[name] for name in keep}
        measures = config.task.measure(partial(config.net.apply, full=False), state.params, fixed)
        run = Run(config=config, data=fixed)
        return Trajectory(
            params=kept,
            measures=measures,
            probes={name: probe(state.params, run) for name, probe in (probes or {}).items()},
            finite=jax.tree.reduce(
                lambda a, b: a & b, jax.tree.map(lambda leaf: jax.numpy.isfinite(leaf).all(), state.params)
            ),
        )

    return jax.lax.scan(to_next_point, state, gaps)
