"""Which inputs a hidden layer reads (for sparse parity; Barak et al. 2022, arXiv 2207.08799)."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from toylab.base import Params, Run


def input_share(W_in: ArrayLike, w_out: ArrayLike) -> Array:
    """s_i = Σ_j (W_{ij} w_j)² / Σ_{ij} (W_{ij} w_j)², [n]: how much of what is read out comes from input i.

    W_in [n, m], w_out [m]. Sums to 1; 0 where nothing is read out. The measure is ours. ValueError for other shapes.
    """
    W, w = jnp.asarray(W_in), jnp.asarray(w_out)
    if W.ndim != 2 or w.shape != W.shape[1:]:
        raise ValueError(f"W_in and w_out have shapes {W.shape} and {w.shape}: they must be [n, m] and [m].")
    energy = jnp.sum((W * w) ** 2, axis=1)
    total = jnp.sum(energy)
    return energy / jnp.where(total > 0, total, 1)


def relevant(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the share of every input [n], and of the k that matter."""
    share = input_share(params["W_in"], params["w_out"])
    return {"share": share, "relevant": share[: run.config.task.k].sum()}  # type: ignore[attr-defined]
