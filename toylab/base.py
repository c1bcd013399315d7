"""The types of toylab: what a run is made of, and the three protocols for new tasks, networks and optimizers.

A `Config` is a frozen pytree. Its leaves (learning rate, weight decay, init scale, seed, …) may vary within a `vmap`.
Its tree structure, with static fields as modulus, widths and number of training pairs, determines the compiled program.
Configs of the same structure are stacked into a batch, and `vmap` maps over whole runs.

Axis letters, always in this order: R run, T saved point, then the model's own: L layer, B batch, H head,
P position. New axes go last. This file holds no logic, and imports nothing of toylab but what lists fields in `help()`.
"""

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Protocol, runtime_checkable

from flax import struct
from jax import Array

from toylab.meanings import documented

Params = dict[str, Array]
"""Named arrays, flat: `W_E [d_vocab, d_model]`, `W_in [n_layers, d_model, d_mlp]`, … (names as in TransformerLens)."""

Data = Any
"""A pytree of arrays that are fixed for a run. They follow from the config, so they are not stored."""

Cache = dict[str, Array]
"""Activations by name, layer axis first: `resid_pre [L, B, P, d_model]`, `pattern [L, B, H, P, P]`, …"""

Patch = Mapping[str, Callable[[Array, int], Array]]
"""Activation name → `f(value, layer)`, called at each layer. Its result replaces the value."""

Analyzer = Callable[[Params, "Run"], dict[str, Array]]
"""One point in training → named arrays of fixed shape. `analyze` and the trainer's probes map it over runs and points."""


def static(*, later: bool = False, **kwargs: Any) -> Any:
    """A field that is part of the tree structure: hashable, equal for all runs of a family. A new value compiles anew.

    Args:
        later: the field came after runs of its class were trained. At its default it is not written, so that their names
            and manifests stay.
        **kwargs: of `dataclasses.field`, as default.
    """
    return field(metadata={"pytree_node": False, "later": later}, **kwargs)


class Apply(Protocol):
    """A network as a function. It returns logits (or outputs) and a cache, which may be empty.

    Training calls it with `full=False`, which is fast; what its cache has is of the positions that are read. A task that
    patches activations calls it with `full=True`.
    """

    def __call__(
        self, params: Params, x: Array, patch: Patch | None = None, *, full: bool = ...
    ) -> tuple[Array, Cache]: ...


@runtime_checkable
class Task(Protocol):
    """One family of data. Implementations are pytrees; `check` returns the task or raises one sentence.

    Two more methods are called where there are such: `check_net(net)` raises ValueError where the net does not fit, and
    `batch_key(key, step)` makes from the stream's key and the step what `loss` gets as its key. Where batches follow each
    other in epochs, `epoch_steps` says how many an epoch has (0: no epochs), and `epoch_order(key, epoch)` gives what is
    drawn once for an epoch, which `batch_key` then gets in place of the stream's key.
    """

    def check(self) -> "Task": ...

    def data(self, key: Array) -> Data:
        """The arrays that are fixed for a run, as the split into training and test data."""
        ...

    def loss(self, apply: Apply, params: Params, data: Data, key: Array) -> Array:
        """The scalar to minimise. `key` draws a fresh batch; full-batch tasks ignore it."""
        ...

    def measure(self, apply: Apply, params: Params, data: Data) -> dict[str, Array]:
        """Scalars that are cheap to compute, taken at every saved point."""
        ...


@runtime_checkable
class Network(Protocol):
    """What a config needs of a network. `toylab.models.Net` makes one from any `nnx.Module`."""

    def check(self) -> "Network": ...

    def init(self, key: Array) -> Params: ...

    def apply(
        self, params: Params, x: Array, patch: Patch | None = None, *, full: bool = True
    ) -> tuple[Array, Cache]: ...


@runtime_checkable
class Optimizer(Protocol):
    """Hyperparameters as a pytree: a `flax.struct.PyTreeNode` with annotated fields, as `toylab.optim.SGD`.

    `check` gives the optimizer itself, or raises ValueError. `transform` makes an `optax.GradientTransformation` from the
    hyperparameters, inside the traced function. Two more methods are called where there are such, and may raise ValueError:
    `check_params(params)` with the shapes of the net's params, `check_start(params)` with their values at the start.
    """

    def check(self) -> "Optimizer": ...

    def transform(self) -> Any: ...


@documented
class Config(struct.PyTreeNode):
    """Everything that determines a run, and nothing else."""

    task: Task
    """The data, the loss and what is measured."""
    net: Network
    """The network."""
    optimizer: Optimizer
    """How the parameters are trained."""
    seed: int = 0
    """Seed of the initial weights and of the data that are fixed for the run, such as a split."""
    data_seed: int = 0
    """Seed of the stream of fresh batches."""


@documented
class State(struct.PyTreeNode):
    """The state of a run between two steps."""

    params: Params
    """The parameters."""
    opt_state: Any
    """The state of the optax transform."""
    step: Array
    """The number of steps taken: a scalar, never batched, since all runs of a lane are at the same step."""


@documented
class Trajectory(struct.PyTreeNode):
    """What is recorded: leaves [T, …], and [R, T, …] for a group."""

    params: Params
    """The recorded parameters."""
    measures: dict[str, Array]
    """What the task measures."""
    probes: dict[str, dict[str, Array]]
    """What each probe gives, by name."""
    finite: Array
    """Bool: no param of the run was inf or nan."""


@documented
class Run(struct.PyTreeNode):
    """What an analyzer gets besides the params. Outside of analyzers, leaves are [R, …]."""

    config: Config
    """The config of the run."""
    data: Data
    """The arrays that are fixed for the run."""
    final: dict[str, Array] = field(default_factory=dict)
    """Results of earlier analyzers at the run's last point."""
