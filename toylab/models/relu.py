"""The toy models of superposition: n features squeezed into m hidden dimensions and read out again.

Params: `W [n_features, n_hidden]`, rows are features (the transpose of the paper's W), and `b [n_features]`.
Sums over features run features-first, as the batches are drawn (tasks/sparse.py).
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from toylab.base import Cache, Patch

ACTIVATIONS = ("hidden", "pre")


def joint_xavier_std(n_features: int, n_hidden: int, instances: int) -> float:
    """√(2 / ((n + L) m)): the standard deviation with which the notebook of Elhage et al. 2022 begins.

    It hands the stack [L, n, m] of all instances to torch's `xavier_normal_`, which takes fan_in = n·m and fan_out =
    L·m from the three axes. So the init depends on how many instances are trained at once.

    Args:
        n_features: n.
        n_hidden: m.
        instances: L.
    """
    for name, value in (("n_features", n_features), ("n_hidden", n_hidden), ("instances", instances)):
        if value < 1:
            raise ValueError(f"{name} is {value}: it must be at least 1.")
    return (2 / ((n_features + instances) * n_hidden)) ** 0.5


class ToyModel(nnx.Module):
    """x [B, n] → `x' = ReLU(φ(x W) Wᵀ + b)` [B, n] (Elhage et al. 2022, arXiv 2209.10652), tied weights.

    output "linear" leaves out the outer ReLU; hidden "relu" makes φ a ReLU (privileged basis), else φ is the identity.
    W ~ N(0, init_std²), or with init_kgon = k > 0 (n_hidden = 2) the first k features on a regular k-gon of radius
    init_radius, the others at 0, and that noise on all. b ~ N(init_bias, bias_std²).

    Args:
        n_features: Features n.
        n_hidden: Hidden dimensions m.
        hidden: The map φ of the hidden layer: none, or a ReLU.
        output: Whether a ReLU stands around the output.
        bias: Whether there is a bias b.
        init_kgon: Features k that start on a regular k-gon (with n_hidden = 2); 0 for none.
        init_std: Standard deviation of the weights at the start.
        init_radius: Radius of the k-gon (default: devinterp notebook of Chen et al. 2023).
        init_bias: Mean of the biases at the start.
        bias_std: Standard deviation of the biases at the start.
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_hidden: int,
        hidden: Literal["linear", "relu"] = "linear",
        output: Literal["relu", "linear"] = "relu",
        bias: bool = True,
        init_kgon: int = 0,
        init_std: float = 0.1,
        init_radius: float = 0.9,
        init_bias: float = 0.0,
        bias_std: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        self.hidden, self.output, self.bias = hidden, output, bias
        weights, offsets = jax.random.split(rngs.params())
        self.W = nnx.Param(init_std * jax.random.normal(weights, (n_features, n_hidden)))
        if init_kgon:
            angle = 2 * jnp.pi * jnp.arange(n_features)[:, None] / init_kgon
            corner = init_radius * jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=1)
            self.W = nnx.Param(self.W + jnp.where(jnp.arange(n_features)[:, None] < init_kgon, corner, 0))
        if bias:
            self.b = nnx.Param(init_bias + bias_std * jax.random.normal(offsets, (n_features,)))

    @staticmethod
    def check(**sizes: int) -> None:
        if sizes["init_kgon"] and sizes["n_hidden"] != 2:
            raise ValueError(f"net.init_kgon is {sizes['init_kgon']}: a k-gon needs net.n_hidden = 2.")
        if sizes["init_kgon"] > sizes["n_features"]:
            raise ValueError(f"net.init_kgon is {sizes['init_kgon']}: it has at most n_features corners.")

    def __call__(self, x: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        W = self.W[...]
        bias = self.b[...] if self.bias else None
        return _through(x, W, W, bias, self.hidden, self.output, patch or {}, full)


class UntiedToyModel(nnx.Module):
    """x [B, n] → `ReLU(φ(x W_in) W_outᵀ + b)`: the read-out has weights of its own (computation in superposition).

    `W_in [n_features, n_hidden]`, `W_out [n_features, n_hidden]`, rows are features, `b [n_features]` starts at 0.
    hidden "relu" is the absolute-value model of Elhage et al. 2022; "linear" the untied autoencoder.

    Args:
        n_features: Features n.
        n_hidden: Hidden dimensions m.
        hidden: The map φ of the hidden layer: none, or a ReLU.
        output: Whether a ReLU stands around the output.
        bias: Whether there is a bias b.
        init_std: Standard deviation of the weights at the start.
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_hidden: int,
        hidden: Literal["linear", "relu"] = "relu",
        output: Literal["relu", "linear"] = "relu",
        bias: bool = True,
        init_std: float = 0.1,
        rngs: nnx.Rngs,
    ) -> None:
        self.hidden, self.output, self.bias = hidden, output, bias
        self.W_in = nnx.Param(init_std * jax.random.normal(rngs.params(), (n_features, n_hidden)))
        self.W_out = nnx.Param(init_std * jax.random.normal(rngs.params(), (n_features, n_hidden)))
        if bias:
            self.b = nnx.Param(jnp.zeros(n_features))

    def __call__(self, x: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        bias = self.b[...] if self.bias else None
        return _through(x, self.W_in[...], self.W_out[...], bias, self.hidden, self.output, patch or {}, full)


def _through(
    x: Array, W_in: Array, W_out: Array, bias: Array | None, hidden: str, output: str, patch: Patch, full: bool
) -> tuple[Array, Cache]:
    """Patches see, and the cache has, `hidden [B, m]` after φ and `pre [B, n]` before the outer ReLU."""
    if unknown := set(patch) - set(ACTIVATIONS):
        raise ValueError(f"patch names {sorted(unknown)}: the activations are {', '.join(ACTIVATIONS)}.")
    if x.ndim != 2 or x.shape[1] != W_in.shape[0]:
        raise ValueError(f"x has shape {x.shape}: it must be [batch, n_features = {W_in.shape[0]}].")
    inner = W_in.T @ x.T  # [m, B]
    inner = jax.nn.relu(inner) if hidden == "relu" else inner
    inner = patch["hidden"](inner.T, 0).T if "hidden" in patch else inner
    pre = W_out @ inner  # [n, B]
    pre = pre if bias is None else pre + bias[:, None]
    pre = patch["pre"](pre.T, 0).T if "pre" in patch else pre
    out = jax.nn.relu(pre) if output == "relu" else pre
    return out.T, {"hidden": inner.T[None], "pre": pre.T[None]} if full else {}
