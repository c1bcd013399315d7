"""Sparse autoencoders: a dictionary of unit vectors, and codes that are sparse by an L1 loss or by top-k.

Tied as in Cunningham et al. 2023 (arXiv 2309.08600), untied as in the toy models of Sharkey et al. 2022 (released
replica), with a decoder bias taken off the input as in Bricken et al. 2023, top-k as in Gao et al. 2024 (arXiv 2406.04093).
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from toylab.base import Cache, Patch

SMALL = 1e-16  # a squared norm below which a row is left shorter than 1, so that a zero row stays zero


class SparseAutoencoder(nnx.Module):
    """x [..., d_model] → x̂ [..., d_model], with `c = ReLU((x − b_dec) W_enc + b_enc)` and `x̂ = c Ŵ_dec + b_dec`.

    Ŵ_dec is W_dec [d_dict, d_model] with its rows, the dictionary, scaled to norm 1; tied, W_enc is Ŵ_decᵀ and no
    parameter. With k > 0 only the k largest entries before the ReLU are kept: k are on wherever k are positive, never more.
    Both norms and gradients come from the forward pass; the replica rescales the stored rows instead after each encoding,
    so that there the gradient has a part along the row, which the next rescaling undoes.

    The cache always holds latents [1, ..., d_dict], the fast path's too: a sparsity loss needs them.

    Args:
        d_model: Dimensions of x.
        d_dict: Latents: the size of the dictionary.
        tied: Whether the encoder is the transpose of the dictionary.
        k: The most latents that are on; 0: ReLU latents, made sparse by the loss.
        decoder_bias: Whether there is a b_dec (Sharkey et al. 2022 and Cunningham et al. 2023 have none).
    """

    def __init__(
        self,
        *,
        d_model: int,
        d_dict: int,
        tied: bool = True,
        k: int = 0,
        decoder_bias: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        """The dictionary starts orthogonal (released replica; its columns are, where d_dict > d_model), biases at 0.

        An untied encoder starts as its transpose (the replica draws it at random: torch's default)."""
        self.tied, self.k, self.decoder_bias = tied, k, decoder_bias
        dictionary = unit(jax.nn.initializers.orthogonal()(rngs.params(), (d_dict, d_model)))
        self.W_dec = nnx.Param(dictionary)
        self.b_enc = nnx.Param(jnp.zeros(d_dict))
        if not tied:
            self.W_enc = nnx.Param(dictionary.T)
        if decoder_bias:
            self.b_dec = nnx.Param(jnp.zeros(d_model))

    @staticmethod
    def check(*, d_dict: int, k: int, **sizes: object) -> None:
        if k > d_dict:
            raise ValueError(f"net.k is {k}: it must be at most net.d_dict, which is {d_dict}.")

    def __call__(self, x: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        patch = patch or {}
        if unknown := set(patch) - {"latents_pre", "latents"}:
            raise ValueError(f"patch names {sorted(unknown)}: the activations are latents_pre, latents.")
        if not x.ndim or x.shape[-1] != self.W_dec.shape[1]:
            raise ValueError(f"x has shape {x.shape}: its last axis must be d_model = {self.W_dec.shape[1]}.")
        dictionary = unit(self.W_dec[...])
        b_dec = self.b_dec[...] if self.decoder_bias else jnp.zeros((), x.dtype)
        pre = (x - b_dec) @ (dictionary.T if self.tied else self.W_enc[...]) + self.b_enc
        pre = patch["latents_pre"](pre, 0) if "latents_pre" in patch else pre
        latents = self.activate(pre)
        latents = patch["latents"](latents, 0) if "latents" in patch else latents
        cache = {"latents_pre": pre[None], "latents": latents[None]} if full else {"latents": latents[None]}
        return latents @ dictionary + b_dec, cache

    def activate(self, pre: Array) -> Array:
        """The latents [..., d_dict]."""
        latents = jax.nn.relu(pre)
        return jnp.where(largest(pre, self.k), latents, 0) if self.k else latents


class JumpReLUAutoencoder(SparseAutoencoder):
    """The same, untied and with a decoder bias, whose latents are ReLU(pre) where pre is above `threshold` [d_dict], else 0
    (Rajamanoharan et al. 2024, arXiv 2407.14435). For weights from elsewhere: no gradient reaches the threshold."""

    def __init__(self, *, d_model: int, d_dict: int, rngs: nnx.Rngs) -> None:
        super().__init__(d_model=d_model, d_dict=d_dict, tied=False, decoder_bias=True, rngs=rngs)
        self.threshold = nnx.Param(jnp.zeros(d_dict))

    @staticmethod
    def check(**sizes: object) -> None:
        """Any sizes do."""

    def activate(self, pre: Array) -> Array:
        return jnp.where(pre > self.threshold[...], jax.nn.relu(pre), 0)


def unit(rows: Array) -> Array:
    """Rows [..., d] scaled to norm 1; a zero row stays zero, with a finite gradient."""
    return rows * jax.lax.rsqrt(jnp.maximum(jnp.sum(rows**2, axis=-1, keepdims=True), SMALL))


def largest(x: Array, k: int) -> Array:
    """The k largest entries, the first of equal ones first. No gradient.

    By k reductions: XLA:CPU sorts the whole of each row for `lax.top_k`, a hundred times slower for small k.

    Args:
        x: [..., n].
        k: How many.

    Returns:
        A mask [..., n].
    """
    x, index = jax.lax.stop_gradient(x), jnp.arange(x.shape[-1])

    def take_one(_: int, taken: Array) -> Array:
        rest = jnp.where(taken, -jnp.inf, x)
        at_top = ~taken & (rest == jnp.max(rest, axis=-1, keepdims=True))
        first = jnp.min(jnp.where(at_top, index, x.shape[-1]), axis=-1, keepdims=True)
        return taken | (index == first)

    return jax.lax.fori_loop(0, k, take_one, jnp.zeros(x.shape, bool))
