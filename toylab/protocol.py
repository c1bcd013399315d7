"""Checks that the parts of a config fulfil the protocols of base.py, before anything is trained."""

import inspect
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab.base import Cache, Config, Params, Patch, Task

METHODS = {
    "task": ("check", "data", "loss", "measure"),
    "net": ("check", "init", "apply"),
    "optimizer": ("check", "transform"),
}
MADE = {
    "task": "one of toylab.tasks, or a flax.struct.PyTreeNode with check, data, loss and measure",
    "net": "Net.of(Module, …), Module an nnx.Module",
    "optimizer": "AdamW(…) or another of toylab.optim, or a flax.struct.PyTreeNode whose transform() makes the optax one",
}
MEMBERS = (property, staticmethod, classmethod, cached_property)

_fitting: set[Any] = set()  # structures whose loss and measures have been traced


def check_part(role: str, part: Any) -> None:
    """Checks the task, net or optimizer of a config, by its `role`.

    Raises:
        ValueError: where a part is a class, a raw optax transform or an nnx.Module; where it lacks a method; or where an
            attribute has no annotation. Such an attribute is no field: a sweep could not set it, and digests would miss it.
    """
    kind = part if isinstance(part, type) else type(part)
    if isinstance(part, type) or not is_dataclass(part) or jax.tree_util.all_leaves([part]):
        given = f"the class {kind.__name__}" if isinstance(part, type) else f"a {kind.__name__}"
        raise ValueError(f"{role} is {given}: it must be {MADE[role]}.")
    if missing := [name for name in METHODS[role] if not callable(getattr(part, name, None))]:
        raise ValueError(f"{role} {kind.__name__} has no {' and no '.join(missing)}: it must be {MADE[role]}.")
    for path, one in _kinds(role, part):
        if bare := _without_annotation(one):
            raise ValueError(
                f"{path}.{bare} has no annotation, and so is no field of {one.__name__}: write {bare}: int = …"
            )


def _kinds(path: str, part: Any) -> Iterator[tuple[str, type]]:
    """The class of a part and of the parts within it, by path."""
    yield path, type(part)
    for field in fields(part):
        value = getattr(part, field.name)
        inner = [(f".{i}", one) for i, one in enumerate(value)] if isinstance(value, tuple) else [("", value)]
        for number, one in inner:
            if is_dataclass(one) and not isinstance(one, type):
                yield from _kinds(f"{path}.{field.name}{number}", one)


@lru_cache(maxsize=256)  # read for every config of a sweep
def _without_annotation(kind: type) -> str | None:
    """The first class attribute without annotation; names in capitals are constants."""
    known = {field.name for field in fields(kind)}
    for one in kind.__mro__:
        if one.__module__.partition(".")[0] in ("builtins", "flax", "typing"):
            continue
        for name, value in vars(one).items():
            named = name in known or name in inspect.get_annotations(one) or name.startswith("_")
            if not (named or name.isupper() or isinstance(value, MEMBERS) or callable(value)):
                return name
    return None


def check_net(task: Any, net: Any) -> None:
    """Calls `task.check_net`, if there is one. A field that the net lacks raises ValueError too."""
    if not hasattr(task, "check_net"):
        return
    try:
        task.check_net(net)
    except AttributeError as error:
        module = getattr(net, "module", type(net)).__name__
        raise ValueError(f"net {module} does not fit task {type(task).__name__}: {_first_line(error)}.") from None


def check_fit(config: Config) -> None:
    """Traces data, loss and measures as training will, once for each structure. Nothing is computed.

    Raises:
        ValueError: where net and task do not fit, epochs have no length or order, or the optimizer names what is no param
            of the net, in one sentence.
    """
    leaves, structure = jax.tree.flatten(config)
    key = structure, tuple((np.shape(leaf), np.asarray(leaf).dtype.str) for leaf in leaves)
    if key in _fitting:
        return
    steps = epoch_steps(config.task)
    if type(steps) is not int or steps < 0:  # a loop over epochs would not end
        raise ValueError(
            f"task.epoch_steps is {steps!s}: it must be a static whole number, 0 where there are no epochs."
        )
    if steps and not callable(getattr(config.task, "epoch_order", None)):
        raise ValueError(
            f"task {type(config.task).__name__} has epoch_steps and no epoch_order: it must have"
            " epoch_order(key, epoch)."
        )
    _check_size("net", config.net, config.net.init)
    _check_size("task", config.task, config.task.data)
    names = f"net {getattr(config.net, 'module', type(config.net)).__name__} and task {type(config.task).__name__}"
    called: list[str] = []
    try:
        loss, measures = jax.eval_shape(partial(_traced, called=called), config)
    except Exception as error:
        if isinstance(error, KeyError) and not called:
            return  # the loss reads params, not the net; training may start from other params
        raise ValueError(f"{names} do not fit: {type(error).__name__}, {_first_line(error)}") from error
    if not hasattr(loss, "shape") or loss.shape or not jnp.issubdtype(loss.dtype, jnp.floating):
        found = f"shape {loss.shape} and dtype {loss.dtype}" if hasattr(loss, "shape") else f"a {type(loss).__name__}"
        raise ValueError(f"the loss of {names} has {found}: task.loss must give one float.")
    if not isinstance(measures, Mapping):
        raise ValueError(f"task.measure gives a {type(measures).__name__}: it must give scalars by name.")
    if not all(hasattr(config.optimizer.transform(), name) for name in ("init", "update")):
        raise ValueError("optimizer.transform() gives no optax transform: it must have init and update.")
    if hasattr(config.optimizer, "check_params"):
        config.optimizer.check_params(jax.eval_shape(lambda: config.net.init(jax.random.key(0))))
    _fitting.add(key)


def batch_key(task: Task, key: Array, step: Array) -> Any:
    """What a task's loss draws the batch of a step from: the key with the step folded in, or what its own `batch_key`
    makes, as where batches follow each other in epochs."""
    return batch_of(task, order_at(task, key, step), step)


def epoch_steps(task: Task) -> int:
    """Steps of an epoch; 0 where a task has no epochs."""
    return getattr(task, "epoch_steps", 0)


def order_at(task: Task, key: Array, step: Array) -> Any:
    """What is drawn once for the epoch of a step; of a task without epochs the stream's key."""
    steps = epoch_steps(task)
    return task.epoch_order(key, step // steps) if steps else key  # type: ignore[attr-defined]


def batch_of(task: Task, order: Any, step: Array) -> Any:
    """What `batch_key` gives, from the `epoch_order` of the step's epoch."""
    own = getattr(task, "batch_key", None)
    return jax.random.fold_in(order, step) if own is None else own(order, step)


def _check_size(role: str, part: Any, made: Any) -> None:
    """Raises ValueError, naming the largest field, where a part's arrays are larger than the machine's memory. Tracing what
    is done with them might take very long."""
    try:
        arrays = jax.tree.leaves(jax.eval_shape(lambda: made(jax.random.key(0))))  # a key made here starts no device
    except Exception:  # reported when everything is traced
        return
    needed = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in arrays if hasattr(leaf, "shape"))
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        own = (
            {name: value for name, (_, value) in part.module_fields().items()} if hasattr(part, "module_fields") else {}
        )
        own = own or {field.name: getattr(part, field.name) for field in fields(part)}
        counts = {name: value for name, value in own.items() if type(value) is int}
        largest = max(counts, key=lambda name: counts[name], default="")
        which = f"{role}.{largest} is {counts[largest]}" if largest else role
        raise ValueError(
            f"{which}: its arrays would take {needed / 1e9:.3g} GB, and this machine has {there / 1e9:.3g} GB."
        )


def _traced(config: Config, called: list[str]) -> Any:
    key = jax.random.key(0)
    data, params = config.task.data(key), config.net.init(key)

    def apply(params: Params, x: Array, patch: Patch | None = None, *, full: bool = False) -> tuple[Array, Cache]:
        called.append("net.apply")
        found = config.net.apply(params, x, patch, full=full)
        check_pair(found, "net.apply")
        return found

    drawn = batch_key(config.task, key, jnp.int32(0))
    return config.task.loss(apply, params, data, drawn), config.task.measure(apply, params, data)


def check_pair(found: Any, whose: str) -> None:
    """Raises ValueError unless `found` is (output, cache). Of an output alone `[0]` would be the first example."""
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], Mapping)):
        given = f"a tuple of {len(found)}" if isinstance(found, tuple) else f"a {type(found).__name__}"
        raise ValueError(f"{whose} returned {given}: it must be (output, cache), the cache a dict, which may be empty")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
