"""The feature decoder: one hidden layer that reads sparse features out of a fixed lossy embedding of them."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from toylab.base import Cache, Patch


def unit_embedding(key: Array, n_features: int, n_hidden: int) -> Array:
    """Rows of length 1, from the left singular vectors of a Gaussian matrix (Jermyn et al. 2022, released code).

    They are as close to equal angles as a random matrix comes.

    Args:
        key: Of the draw.
        n_features: Rows.
        n_hidden: Columns.

    Returns:
        [n_features, n_hidden].
    """
    left = jnp.linalg.svd(jax.random.normal(key, (n_features, n_hidden)), full_matrices=False)[0]
    return left / jnp.linalg.norm(left, axis=1, keepdims=True)


class FeatureDecoder(nnx.Module):
    """x [B, n] → `ReLU(x W_E W_in + b_in) W_out` [B, n] (Jermyn, Schiefer & Hubinger 2022, arXiv 2211.09169).

    `W_E [n_features, n_hidden]` is fixed: it gets no gradient (and so must have no weight decay). `W_in [n_hidden, d_mlp]`,
    `b_in [d_mlp]`, `W_out [d_mlp, n_features]` start as torch's Linear layers do, even in ±1/√fan_in; init_bias is added to
    b_in. Computed features-first, as the batches are drawn (tasks/sparse.py).

    Args:
        n_features: Features n.
        n_hidden: Dimensions of the fixed embedding.
        d_mlp: Neurons.
        init_bias: Added to b_in at the start (Jermyn et al. 2022: −1 for monosemantic models).
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_hidden: int,
        d_mlp: int,
        init_bias: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        def even(*shape: int, fan: int) -> Array:
            return jax.random.uniform(rngs.params(), shape, minval=-1, maxval=1) / fan**0.5

        self.W_E = nnx.Param(unit_embedding(rngs.params(), n_features, n_hidden))
        self.W_in = nnx.Param(even(n_hidden, d_mlp, fan=n_hidden))
        self.b_in = nnx.Param(even(d_mlp, fan=n_hidden) + init_bias)
        self.W_out = nnx.Param(even(d_mlp, n_features, fan=d_mlp))

    @staticmethod
    def check(**sizes: int) -> None:
        if sizes["n_features"] < sizes["n_hidden"]:
            raise ValueError(
                f"net.n_hidden is {sizes['n_hidden']}: it must be at most net.n_features = {sizes['n_features']}."
            )

    def __call__(self, x: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        patch = patch or {}
        if unknown := set(patch) - {"mlp_pre", "mlp_post"}:
            raise ValueError(f"patch names {sorted(unknown)}: the activations are mlp_pre, mlp_post.")
        embed = jax.lax.stop_gradient(self.W_E[...])
        if x.ndim != 2 or x.shape[1] != embed.shape[0]:
            raise ValueError(f"x has shape {x.shape}: it must be [batch, n_features = {embed.shape[0]}].")
        pre = self.W_in[...].T @ (embed.T @ x.T) + self.b_in[...][:, None]  # [d_mlp, B]
        pre = patch["mlp_pre"](pre.T, 0).T if "mlp_pre" in patch else pre
        post = jax.nn.relu(pre)
        post = patch["mlp_post"](post.T, 0).T if "mlp_post" in patch else post
        out = (self.W_out[...].T @ post).T
        return out, {"mlp_pre": pre.T[None], "mlp_post": post.T[None]} if full else {}
