"""Networks on vectors: fully connected layers, and diagonal networks, whose products are a linear predictor."""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from toylab.base import Cache, Patch

Activation = Literal["relu", "tanh", "quadratic", "linear", "bent"]


class Dense(nnx.Module):
    """x [B, d_in] → outputs [B, d_out]: `h ← φ(h W_i + b_i)` for each width, then `output_scale · (h W_out + b_out)`.

    `W_0 [d_in, widths[0]]`, `b_0 [widths[0]]`, …, `W_out [widths[−1], d_out]`, `b_out [d_out]`. φ: relu, tanh, quadratic
    h², linear h, bent h + bend h²/2. Start "torch": even in ±init_scale/√fan_in, biases too, as torch's Linear; "normal":
    W ~ N(0, init_scale²/fan_in), biases 0. readout "mean" has no W_out: the output is the mean over the last layer (Kumar
    et al. 2023, arXiv 2310.06110). The cache has pre_i and post_i [1, B, widths[i]], and they can be patched.

    Args:
        d_in: Dimensions of x.
        d_out: Outputs.
        widths: Neurons in each hidden layer.
        activation: The nonlinearity φ.
        bias: Whether layers have biases.
        output_bias: Whether the read-out has a bias, where layers have.
        init: The law of the start, "torch" or "normal".
        readout: Whether outputs are read by trained weights or are the mean of the last layer.
        init_scale: Factor of every weight at the start.
        output_scale: Factor of the outputs.
        bend: The coefficient of h²/2 in the activation bent.
    """

    def __init__(
        self,
        *,
        d_in: int,
        d_out: int,
        widths: tuple[int, ...] = (100,),
        activation: Activation = "relu",
        bias: bool = True,
        output_bias: bool = True,
        init: Literal["torch", "normal"] = "torch",
        readout: Literal["trained", "mean"] = "trained",
        init_scale: float = 1.0,
        output_scale: float = 1.0,
        bend: float = 0.25,
        rngs: nnx.Rngs,
    ) -> None:
        self.widths, self.activation, self.readout = widths, activation, readout
        self.output_scale, self.bend = output_scale, bend

        def drawn(n_in: int, *shape: int) -> nnx.Param:
            bound = init_scale / n_in**0.5
            if init == "torch":
                return nnx.Param(bound * jax.random.uniform(rngs.params(), shape, minval=-1, maxval=1))
            spread = bound if len(shape) == 2 else 0.0
            return nnx.Param(spread * jax.random.normal(rngs.params(), shape))

        sizes = (d_in, *widths)
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            setattr(self, f"W_{i}", drawn(n_in, n_in, n_out))
            if bias:
                setattr(self, f"b_{i}", drawn(n_in, n_out))
        if readout == "trained":
            self.W_out = drawn(sizes[-1], sizes[-1], d_out)
            if bias and output_bias:
                self.b_out = drawn(sizes[-1], d_out)

    @staticmethod
    def check(*, widths: tuple[int, ...], d_out: int, readout: str, **_: object) -> None:
        if not isinstance(widths, tuple) or any(not isinstance(n, int) or n < 1 for n in widths):
            raise ValueError(f"net.widths is {widths!r}: it must be a tuple of sizes of at least 1, or ().")
        if readout == "mean" and (d_out != 1 or not widths):
            raise ValueError(
                f"net.readout is 'mean': it is one output of a layer, and d_out is {d_out}, widths {widths}."
            )

    def __call__(self, x: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        patch = patch or {}
        known = [f"{name}_{i}" for i in range(len(self.widths)) for name in ("pre", "post")]
        if unknown := set(patch) - set(known):
            raise ValueError(f"patch names {sorted(unknown)}: the activations are {', '.join(known)}.")
        output, cache = self._through(x, patch, lambda name: getattr(self, name)[...])
        return output, cache if full else {}

    def _through(self, x: Array, patch: Patch, array: Callable[[str], Array]) -> tuple[Array, Cache]:
        """The output and all activations; `array` gives the weights by name."""
        cache = {}
        for i in range(len(self.widths)):
            x = x @ array(f"W_{i}")
            x = x + array(f"b_{i}") if hasattr(self, f"b_{i}") else x
            for name in ("pre", "post"):
                x = self._activated(x) if name == "post" else x
                x = patch[f"{name}_{i}"](x, 0) if f"{name}_{i}" in patch else x
                cache[f"{name}_{i}"] = x[None]
        if self.readout == "mean":
            x = jnp.mean(x, axis=-1, keepdims=True)
        else:
            x = x @ array("W_out")
            x = x + array("b_out") if hasattr(self, "b_out") else x
        return self.output_scale * x, cache

    def _activated(self, h: Array) -> Array:
        match self.activation:
            case "relu":
                return jax.nn.relu(h)
            case "tanh":
                return jnp.tanh(h)
            case "quadratic":
                return h**2
            case "bent":
                return h + self.bend * h**2 / 2
        return h


class CentredDense(Dense):
    """A `Dense` less what it said at the start, `f(x) = Dense(x) − Dense₀(x)`, so that it starts as 0 (Chizat et al. 2019,
    arXiv 1812.07956; Kumar et al. 2023, arXiv 2310.06110).

    The weights of the start are params too, `start_W_0` and so on. They have no gradient: nothing but weight decay moves
    them. Cache and patches are those of the first term.
    """

    def __init__(
        self,
        *,
        d_in: int,
        d_out: int,
        widths: tuple[int, ...] = (100,),
        activation: Activation = "relu",
        bias: bool = True,
        output_bias: bool = True,
        init: Literal["torch", "normal"] = "torch",
        readout: Literal["trained", "mean"] = "trained",
        init_scale: float = 1.0,
        output_scale: float = 1.0,
        bend: float = 0.25,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(
            d_in=d_in, d_out=d_out, widths=widths, activation=activation, bias=bias, output_bias=output_bias, init=init,
            readout=readout, init_scale=init_scale, output_scale=output_scale, bend=bend, rngs=rngs,
        )  # fmt: skip
        for name, param in [item for item in vars(self).items() if isinstance(item[1], nnx.Param)]:
            setattr(self, f"start_{name}", nnx.Param(param[...]))

    def __call__(self, x: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        output, cache = super().__call__(x, patch, full)
        start, _ = self._through(x, {}, lambda name: jax.lax.stop_gradient(getattr(self, f"start_{name}")[...]))
        return output - start, cache


class DiagonalNet(nnx.Module):
    """x [B, d_in] → outputs [B, 1]: `x · w`, `w = u^depth − v^depth` entry by entry (Lyu et al. 2023, arXiv 2311.18817).

    `u, v [d_in]` start as alpha/√(2 d_in), so that w is 0 and all weights together have the norm alpha.

    Args:
        d_in: Dimensions of x.
        depth: Exponent of u and v.
        alpha: Norm of all weights at the start.
    """

    def __init__(self, *, d_in: int, depth: int = 2, alpha: float = 1.0, rngs: nnx.Rngs) -> None:
        self.depth = depth
        start = jnp.full(d_in, alpha / (2 * d_in) ** 0.5)
        self.u, self.v = nnx.Param(start), nnx.Param(start)

    def __call__(self, x: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        if patch:
            raise ValueError(f"patch names {sorted(patch)}: a diagonal network has no activations.")
        w = self.u[...] ** self.depth - self.v[...] ** self.depth
        return (x @ w)[..., None], {}
