"""Supervised tasks of vectors whose answer follows from a rule: parities, signs, teachers, entries of a matrix, and labels
without any rule."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from toylab.base import Params, static
from toylab.losses import LossKind
from toylab.tasks.supervised import Supervised


class SparseParity(Supervised):
    """x in {−1, 1}^n_bits; label 1 where the product of the first k bits is 1, else 0 (Merrill et al. 2023,
    arXiv 2303.11873: 40 bits, k = 3, 1,000 examples in batches of 32, hinge)."""

    n_train: int = static(default=1000)
    batch_size: int = static(default=32)
    loss_kind: LossKind = static(default="hinge")
    n_bits: int = static(default=40)
    """Dimensions of x."""
    k: int = static(default=3)
    """Bits whose product is the answer."""

    def check(self) -> "SparseParity":
        if not 1 <= self.k <= self.n_bits:
            raise ValueError(f"task.k is {self.k}: it must lie between 1 and {self.n_bits}, the number of bits.")
        super().check()
        return self

    @property
    def n_inputs(self) -> int:
        return self.n_bits

    def draw(self, key: Array, n: int) -> tuple[Array, Array]:
        x = jax.random.rademacher(key, (n, self.n_bits), jnp.float32)
        return x, (x[:, : self.k].prod(axis=1) > 0).astype(jnp.int32)


class SparseLinear(Supervised):
    """x in {−1, 1}^d; label 1 where Σ_{i<s} σ_i x_i > 0, signs σ drawn once (Lyu et al. 2023, arXiv 2311.18817). s is odd:
    the sum is never 0."""

    loss_kind: LossKind = static(default="logistic")
    d: int = static(default=2000)
    """Dimensions of x."""
    s: int = static(default=3)
    """Dimensions that the answer depends on, an odd number."""

    def check(self) -> "SparseLinear":
        if not 1 <= self.s <= self.d or self.s % 2 == 0:
            raise ValueError(f"task.s is {self.s}: it must be an odd number between 1 and {self.d}.")
        super().check()
        return self

    @property
    def n_inputs(self) -> int:
        return self.d

    def draw(self, key: Array, n: int) -> tuple[Array, Array]:
        signs, inputs = jax.random.split(key)
        words = jax.random.bits(
            inputs, (n, -(-self.d // 32)), jnp.uint32
        )  # a bit each: 30 times faster than rademacher
        bits = (words[..., None] >> jnp.arange(32, dtype=jnp.uint32)) & 1
        x = 2 * bits.reshape(n, -1)[:, : self.d].astype(jnp.float32) - 1
        side = x[:, : self.s] @ jax.random.rademacher(signs, (self.s,), jnp.float32)
        return x, (side > 0).astype(jnp.int32)


class SeparatedLinear(Supervised):
    """x ~ N(0, I) ± (gap/2) w with w of length 1 in a dense direction drawn once; label 1 where the sign is + (Lyu et al.
    2023, the opposite example)."""

    loss_kind: LossKind = static(default="logistic")
    d: int = static(default=2000)
    """Dimensions of x."""
    gap: float = 8.0
    """Distance between the means of the classes."""

    def check(self) -> "SeparatedLinear":
        if self.d < 1 or not 0 <= self.gap < float("inf"):
            raise ValueError(
                f"task.d is {self.d} and task.gap {self.gap!s}: at least 1, and a finite length from 0 on."
            )
        super().check()
        return self

    @property
    def n_inputs(self) -> int:
        return self.d

    def draw(self, key: Array, n: int) -> tuple[Array, Array]:
        direction, noise, side = jax.random.split(key, 3)
        w = jax.random.rademacher(direction, (self.d,), jnp.float32) / self.d**0.5
        y = jax.random.bernoulli(side, 0.5, (n,)).astype(jnp.int32)
        return jax.random.normal(noise, (n, self.d)) + (2 * y[:, None] - 1) * self.gap / 2 * w, y


class _OfNumbers(Supervised):
    """The answers are numbers."""

    loss_kind: LossKind = static(default="squared_error")

    @property
    def n_classes(self) -> int:
        return 0


class TeacherStudent(_OfNumbers):
    """x ~ N(0, I); the answer is the output of a tanh network of two layers, started as torch's (Liu et al. 2022, Omnigrok,
    arXiv 2210.01117: 5 → 100 → 100 → 5, 100 examples)."""

    n_test: int = static(default=100)
    d_in: int = static(default=5)
    """Dimensions of x."""
    d_out: int = static(default=5)
    """Numbers in an answer."""
    width: int = static(default=100)
    """Width of the teacher's two layers."""

    @property
    def n_inputs(self) -> int:
        return self.d_in

    @property
    def n_outputs(self) -> int:
        return self.d_out

    def teacher(self, key: Array) -> Params:
        """The weights, named as those of a `Dense` of widths (width, width)."""
        sizes = {"0": (self.d_in, self.width), "1": (self.width, self.width), "out": (self.width, self.d_out)}
        params: Params = {}
        for one, (name, (n_in, n_out)) in zip(jax.random.split(key, 3), sizes.items(), strict=True):
            even = jax.random.uniform(one, (n_in + 1, n_out), minval=-1, maxval=1) / n_in**0.5
            params |= {f"W_{name}": even[:-1], f"b_{name}": even[-1]}
        return params

    def draw(self, key: Array, n: int) -> tuple[Array, Array]:
        inputs, weights = jax.random.split(key)
        x, params = jax.random.normal(inputs, (n, self.d_in)), self.teacher(weights)
        h = jnp.tanh(jnp.tanh(x @ params["W_0"] + params["b_0"]) @ params["W_1"] + params["b_1"])
        return x, h @ params["W_out"] + params["b_out"]


class LinearTeacher(_OfNumbers):
    """x ~ N(0, I); the answer is x · w, w of length 1 drawn once (Levi et al. 2023, arXiv 2310.16441). With `quadratic` it
    is (x · w)²/2, and the network sees x/√d (Kumar et al. 2023, arXiv 2310.06110)."""

    d: int = static(default=100)
    """Dimensions of x."""
    quadratic: bool = static(default=False)
    """Whether the answer is the square, over 2, of x · w."""

    @property
    def n_inputs(self) -> int:
        return self.d

    @property
    def n_outputs(self) -> int:
        return 1

    def teacher(self, key: Array) -> Array:
        """w [d], of length 1, so that all seeds have answers of one size."""
        w = jax.random.normal(jax.random.split(key)[1], (self.d,))
        return w / jnp.linalg.norm(w)

    def draw(self, key: Array, n: int) -> tuple[Array, Array]:
        x, w = jax.random.normal(jax.random.split(key)[0], (n, self.d)), self.teacher(key)
        if not self.quadratic:
            return x, (x @ w)[:, None]
        return x / self.d**0.5, (x @ w)[:, None] ** 2 / 2

    def data(self, key: Array) -> dict[str, Array]:
        """The examples, and the `teacher` w [d]."""
        return super().data(key) | {"teacher": self.teacher(key)}


class SpikedTeacher(LinearTeacher):
    """Inputs of a spiked covariance: x ~ N(0, I) with all dimensions but the first `n_spikes` times `bulk`, and w in the
    first (ridge regression with more dimensions than examples; Xu 2026, arXiv 2601.19791)."""

    n_train: int = static(default=200)
    d: int = static(default=400)
    """Dimensions of x."""
    n_spikes: int = static(default=20)
    """Dimensions of x that are not small, and that the answer depends on."""
    bulk: float = 0.3
    """Standard deviation of x along the other dimensions."""

    def check(self) -> "SpikedTeacher":
        if not 1 <= self.n_spikes <= self.d:
            raise ValueError(f"task.n_spikes is {self.n_spikes}: it must lie between 1 and {self.d}, task.d.")
        if self.quadratic:
            raise ValueError("task.quadratic is True: the answers of a SpikedTeacher are linear.")
        if not 0 < self.bulk < float("inf"):
            raise ValueError(f"task.bulk is {self.bulk!s}: it must be a standard deviation above 0.")
        super().check()
        return self

    @property
    def deviations(self) -> Array:
        """Standard deviation of each dimension of x, [d]."""
        return jnp.where(jnp.arange(self.d) < self.n_spikes, 1.0, self.bulk)

    def teacher(self, key: Array) -> Array:
        w = jnp.where(jnp.arange(self.d) < self.n_spikes, super().teacher(key), 0)
        return w / jnp.linalg.norm(w)

    def draw(self, key: Array, n: int) -> tuple[Array, Array]:
        x = jax.random.normal(jax.random.split(key)[0], (n, self.d)) * self.deviations
        return x, (x @ self.teacher(key))[:, None]


class MatrixCompletion(_OfNumbers):
    """places (i, j) → the entry v_i v_j of a matrix of rank 1, v_i = i/d for i from 0 to d − 1; n_train of the entries are
    seen, and n_test others are not (Lyu et al. 2023, arXiv 2311.18817: d = 97)."""

    n_train: int = static(default=80)
    n_test: int = static(default=320)
    d: int = static(default=20)
    """Rows and columns of the matrix."""

    def check(self) -> "MatrixCompletion":
        if self.n_train + self.n_test > self.d**2:
            raise ValueError(
                f"task.n_train is {self.n_train} and task.n_test {self.n_test}: a matrix with task.d = {self.d} has "
                f"{self.d**2} entries in all."
            )
        super().check()
        return self

    def check_net(self, net: Any) -> None:
        if (found := getattr(net, "d", 0)) != self.d:
            raise ValueError(f"net.d is {found}: it must be task.d, which is {self.d}, as of a FactoredMatrix.")

    @property
    def n_inputs(self) -> int:
        return 2

    @property
    def n_outputs(self) -> int:
        return 1

    def draw(self, key: Array, n: int) -> tuple[Array, Array]:
        places = jnp.stack(jnp.divmod(jax.random.permutation(key, self.d**2)[:n], self.d), axis=1)
        return places, jnp.prod(places / self.d, axis=1, keepdims=True)


class RandomLabels(Supervised):
    """x ~ N(0, I), and classes drawn evenly without regard to it: what a network can memorise."""

    d: int = static(default=20)
    """Dimensions of x."""
    classes: int = static(default=2)
    """Classes."""

    def check(self) -> "RandomLabels":
        if self.classes < 2:
            raise ValueError(f"task.classes is {self.classes}: it must be at least 2.")
        super().check()
        return self

    @property
    def n_classes(self) -> int:
        return self.classes

    @property
    def n_inputs(self) -> int:
        return self.d

    def draw(self, key: Array, n: int) -> tuple[Array, Array]:
        inputs, labels = jax.random.split(key)
        return jax.random.normal(inputs, (n, self.d)), jax.random.randint(labels, (n,), 0, self.classes)
