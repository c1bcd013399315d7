"""Sparse features: fresh batches of independent or grouped ones, one-hot features.

Features are numbered by importance; x [B, n_features]. Batches are drawn features-first, `[n_features, B]`, and
transposed: so many small models in a vmap meet one wide matrix product instead of many narrow ones (2 to 10 times faster).
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from toylab.base import Apply, Params, static
from toylab.platforms import by_platform
from toylab.tasks.parts import PART

EVALUATION = 7919  # the key of the sample on which saved points are measured: the same for every run
Sets = Literal["independent", "correlated", "anticorrelated"]


class SparseFeatures(struct.PyTreeNode):
    """Features that are 0 with probability S = 1 − density and else uniform (Elhage et al. 2022, arXiv 2209.10652).

    The loss is the mean over batch and features of importance · (x' − target)². A batch needs one uniform a feature:
    u ≤ p ? u/p : 0 is exact in law.
    """

    n_features: int = static(default=20)
    """Features."""
    batch: int = static(default=1024)
    """Samples a step (default: released notebook of Elhage et al. 2022)."""
    sets: Sets = static(default="independent")
    """Which features are on together: "independent"; "correlated", all of a set, with independent values; "anticorrelated",
    exactly one of a set, chosen evenly, with probability `density`."""
    set_size: int = static(default=1)
    """Features in a set."""
    target: Literal["identity", "absolute"] = static(default="identity")
    """What is to be computed: "identity", with features in [0, high]; or "absolute", with features in [−high, high]."""
    streams: Literal["shared", "own"] = static(default="shared")
    """Whether runs with one `data_seed` threshold the same uniform draws, each with its own density ("shared"), or each
    draws for itself ("own": slower, the same numbers)."""
    n_eval: int = static(default=4096)
    """Samples that are measured."""
    density: float | Array = 1.0
    """Probability that a feature is on: one number for all, or [n_features]."""
    importance: float | Array = 1.0
    """Weight of a feature in the loss: one number for all, or [n_features]."""
    high: float = 1.0
    """The largest value of a feature."""

    def check(self) -> "SparseFeatures":
        _check_sizes(self, "n_features", "batch", "set_size", "n_eval")
        if self.n_features % self.set_size:
            raise ValueError(f"task.set_size is {self.set_size}: it must divide task.n_features = {self.n_features}.")
        if self.sets != "independent" and self.set_size == 1:
            raise ValueError(f"task.set_size is 1: {self.sets} sets need at least 2 features each.")
        _check_density(self.density, self.n_features)
        if self.sets != "independent" and np.ndim(self.density):
            raise ValueError(f"task.density has shape {np.shape(self.density)}: {self.sets} sets share one number.")
        _check_curve("importance", self.importance, self.n_features)
        if not np.all(np.asarray(self.importance) >= 0):
            raise ValueError(f"task.importance has {np.min(self.importance)}: it must be at least 0.")
        if not self.high > 0:
            raise ValueError(f"task.high is {self.high!s}: it must be above 0.")
        return self

    def check_net(self, net: Any) -> None:
        _check_features(net, self.n_features)

    def data(self, key: Array) -> dict[str, Array]:
        return {}

    def sample(self, key: Array, n: int) -> Array:
        """x [n, n_features]."""
        return self._points(self._drawn(key, n))

    def _drawn(self, key: Array, n: int) -> tuple[Array, ...]:
        """Uniform numbers, [..., n] each: what all runs have in common whose streams are shared."""
        if self.sets == "independent":
            return (jax.random.uniform(key, (self.n_features, n)),)
        which, value = jax.random.split(key)
        of_sets = jax.random.uniform(which, (self.n_features // self.set_size, 1, n))
        return (of_sets, jax.random.uniform(value, (self.n_features, n))) if self.sets == "correlated" else (of_sets,)

    def _points(self, drawn: tuple[Array, ...]) -> Array:
        """x [n, n_features] of such numbers."""
        levels = self._levels(*drawn)  # in [0, 1]; 0 where off
        if self.target == "identity":
            return self.high * levels.T
        return self.high * jnp.where(levels > 0, 2 * levels - 1, 0).T

    def _levels(self, drawn: Array, *values: Array) -> Array:
        """[n_features, n]: uniform in (0, 1] where a feature is on."""
        density = jnp.reshape(jnp.asarray(self.density), (-1, 1))
        if self.sets == "independent":
            return jnp.where(drawn <= density, drawn / density, 0)
        n_sets, _, n = drawn.shape
        if self.sets == "correlated":
            on = jnp.broadcast_to(drawn <= density, (n_sets, self.set_size, n)).reshape(self.n_features, n)
            return jnp.where(on, values[0], 0)
        place = drawn / density * self.set_size  # which member is on, and after the point how strongly
        member = place - jnp.arange(self.set_size)[:, None]  # [sets, set_size, n]
        return jnp.where((member > 0) & (member <= 1), member, 0).reshape(self.n_features, n)

    def error(self, apply: Apply, params: Params, x: Array) -> Array:
        """The loss on given points x [B, n_features]."""
        output, _ = apply(params, x)
        target = jnp.abs(x) if self.target == "absolute" else x
        return jnp.mean(self.importance * (output - target) ** 2)

    def loss(self, apply: Apply, params: Params, data: Any, key: Array) -> Array:
        return self.error(apply, params, self.sample(key, self.batch))

    def measure(self, apply: Apply, params: Params, data: Any) -> dict[str, Array]:
        """loss on `n_eval` points that are the same at every saved point and in every run of the same density.

        An accelerator, which trains hundreds of runs at once, passes them in parts: all at once they would take most of
        the program's memory.
        """
        drawn = self._drawn(jax.random.key(EVALUATION), self.n_eval)

        def error(params: Params, *drawn: Array) -> Array:
            return self.error(apply, params, self._points(drawn))

        def in_parts(params: Params, *drawn: Array) -> Array:
            split = [jnp.moveaxis(one.reshape(*one.shape[:-1], -1, PART), -2, 0) for one in drawn]
            return jnp.mean(jax.lax.map(lambda part: error(params, *part), tuple(split)))

        if self.n_eval % PART or self.n_eval == PART:
            return {"loss": error(params, *drawn)}
        return {"loss": by_platform(params, *drawn, cpu=error, others=in_parts)}


class OneHotFeatures(struct.PyTreeNode):
    """One feature at a time, x = μ e_i: the infinitely sparse limit.

    The loss is the mean or sum over points of Σ_j (x_j − x'_j)², and l1 · Σ|w| over all parameters.
    """

    GRID = 64  # midpoints in [0, 1]

    n_features: int = static(default=6)
    """Features."""
    values: Literal["uniform", "one"] = static(default="uniform")
    """The strength μ: "uniform" in [0, 1] (Chen et al.) or always "one" (Lecomte et al.)."""
    batch: int = static(default=0)
    """Points a step. 0 takes every feature once, and with uniform values every feature at `GRID` values of μ (the
    population loss)."""
    noise_kind: Literal["gaussian", "bernoulli"] = static(default="gaussian")
    """The law of the noise: Gaussian, or ±noise."""
    noisy: bool = static(default=False)
    """Whether noise is added to the hidden layer."""
    streams: Literal["shared", "own"] = static(default="shared")
    """Whether runs with one `data_seed` see the same draws."""
    over_points: Literal["mean", "sum"] = static(default="mean")
    """Whether the loss is the mean over points (Chen et al. 2023, arXiv 2310.06301) or the sum (Lecomte et al. 2023, arXiv
    2312.03096), where each feature has a loss of its own and l1 weighs against one feature's."""
    l1: float = 0.0
    """Weight of Σ|w| over all parameters in the loss."""
    noise: float = 0.0
    """Standard deviation of the noise on the hidden layer."""

    def check(self) -> "OneHotFeatures":
        _check_sizes(self, "n_features")
        if self.batch < 0:
            raise ValueError(f"task.batch is {self.batch}: it must be a number of points, or 0 for all features.")
        for name in ("l1", "noise"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"task.{name} is {getattr(self, name)!s}: it must be at least 0.")
        if self.noise > 0 and not self.noisy:
            raise ValueError(f"task.noise is {self.noise!s}: it needs task.noisy = true.")
        return self

    def check_net(self, net: Any) -> None:
        _check_features(net, self.n_features)

    def data(self, key: Array) -> dict[str, Array]:
        return {}

    def points(self) -> Array:
        """x [n_features · (GRID or 1), n_features]: every feature, at every value of the grid."""
        size = self.GRID if self.values == "uniform" else 1
        levels = (jnp.arange(size) + 0.5) / size if self.values == "uniform" else jnp.ones(1)
        return (levels[:, None, None] * jnp.eye(self.n_features)).reshape(-1, self.n_features)

    def sample(self, key: Array, n: int) -> Array:
        """x [n, n_features]."""
        which, value = jax.random.split(key)
        index = jax.random.randint(which, (n,), 0, self.n_features)
        level = jax.random.uniform(value, (n,)) if self.values == "uniform" else jnp.ones(n)
        return jnp.where(jnp.arange(self.n_features)[:, None] == index, level, 0).T

    def error(self, apply: Apply, params: Params, x: Array, key: Array | None = None) -> Array:
        """The loss on given points x [B, n_features], without the l1 term; with hidden noise if a key is given."""
        if key is None:
            output, _ = apply(params, x)
        else:
            noise = {"hidden": lambda hidden, layer: hidden + self._noise(key, hidden.shape)}
            output, _ = apply(params, x, noise, full=True)
        return jnp.mean(jnp.sum((output - x) ** 2, axis=-1))

    def _noise(self, key: Array, shape: tuple[int, ...]) -> Array:
        draw = jax.random.normal if self.noise_kind == "gaussian" else jax.random.rademacher
        return self.noise * draw(key, shape).astype(float)

    def loss(self, apply: Apply, params: Params, data: Any, key: Array) -> Array:
        batch_key, noise_key = jax.random.split(key)
        x = self.sample(batch_key, self.batch) if self.batch else self.points()
        error = self.error(apply, params, x, noise_key if self.noisy else None)
        error = error * x.shape[0] if self.over_points == "sum" else error
        return error + self.l1 * sum(jnp.sum(jnp.abs(leaf)) for leaf in params.values())

    def measure(self, apply: Apply, params: Params, data: Any) -> dict[str, Array]:
        """loss over all features and values, the mean over points, without noise and l1."""
        return {"loss": self.error(apply, params, self.points())}


def _check_sizes(task: Any, *names: str) -> None:
    for name in names:
        if getattr(task, name) < 1:
            raise ValueError(f"task.{name} is {getattr(task, name)}: it must be at least 1.")


def _check_curve(name: str, value: Any, n: int) -> None:
    if np.ndim(value) and np.shape(value) != (n,):
        raise ValueError(f"task.{name} has shape {np.shape(value)}: it must be one number or [n_features] = [{n}].")


def _check_density(density: Any, n: int) -> None:
    _check_curve("density", density, n)
    values = np.asarray(density)
    if not np.all((values > 0) & (values <= 1)):
        wrong = values[~((values > 0) & (values <= 1))].flat[0]
        raise ValueError(f"task.density is {wrong!s}: it must lie in (0, 1], the probability that a feature is on.")


def _check_features(net: Any, n: int) -> None:
    if net.n_features != n:
        raise ValueError(f"net.n_features is {net.n_features}: it must be task.n_features = {n}.")
