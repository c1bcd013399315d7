"""How attention knows positions: vectors added to what it reads, queries and keys turned, distances in the scores."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array

Positions = Literal["abs", "sinusoidal", "shortformer", "rotary", "relative", "none"]
"""What a position adds (Wp = W_pos, position t, query t and key s):

    abs          x_t + Wp_t enters the first layer
    sinusoidal   x_t + S_t enters the first layer, S fixed (`sinusoidal`; Vaswani et al. 2017, arXiv 1706.03762)
    shortformer  Wp_t is added to what queries and keys read, after LayerNorm, in every layer; values and residual have
                 no position (Press et al. 2021, arXiv 2012.15832)
    rotary       queries and keys turn with their position (Su et al. 2021, arXiv 2104.09864)
    relative     scores[t, s] = q_t · (k_s + r_{t−s}) / √d_head, a vector r a layer, head and distance (Edelman et al.
                 2024, arXiv 2402.11004, released code, where some models also have such vectors for values)
    none         nothing
"""


def sinusoidal(n_positions: int, d_model: int) -> np.ndarray:
    """S_{t,2i} = sin(t·10000^(−2i/d)), S_{t,2i+1} = cos(t·10000^(−2i/d)), d = d_model.

    Args:
        n_positions: P.
        d_model: d.

    Returns:
        [P, d_model] in float64.
    """
    column = np.arange(d_model)
    angles = np.arange(n_positions)[:, None] * 10000.0 ** (-(column - column % 2) / d_model)
    return np.where(column % 2, np.cos(angles), np.sin(angles))


def rotated(x: Array, n_positions: int, rotary_dim: int = 0) -> Array:
    """x [..., Q, d_head] with the pair (x_i, x_{i + d/2}) at position t turned by t·10000^(−2i/d), d = rotary_dim.

    The Q rows are the last of n_positions. The half-split order of GPT-NeoX, over the first rotary_dim entries (0: all).
    """
    if 0 < rotary_dim < x.shape[-1]:
        return jnp.concatenate([rotated(x[..., :rotary_dim], n_positions), x[..., rotary_dim:]], axis=-1)
    half, first_position = x.shape[-1] // 2, n_positions - x.shape[-2]
    angles = np.arange(first_position, n_positions)[:, None] * 10000.0 ** (-np.arange(half) / half)  # [Q, d/2], float64
    cos, sin = (jnp.asarray(part, x.dtype) for part in (np.cos(angles), np.sin(angles)))
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def by_key(by_distance: Array) -> Array:
    """[..., Q, P] over distances t − s → [..., Q, P] over keys s, for the last Q of P positions as queries t; what lies
    behind the causal mask (s > t) holds other entries of the input.

    By padding and reshaping (Dai et al. 2019, arXiv 1901.02860, appendix B): a gather's gradient is a scatter.
    """
    *lead, n_queries, n_keys = by_distance.shape
    missing = [(0, 0)] * len(lead) + [(n_keys - n_queries, 0), (0, 0)]
    flipped = jnp.pad(by_distance[..., ::-1], missing)  # [..., P, P]: row t, column P − 1 − (t − s)
    padded = jnp.pad(flipped, [(0, 0)] * (len(lead) + 1) + [(1, 0)])  # [..., P, P + 1]
    rows = padded.reshape(*lead, n_keys + 1, n_keys)[..., 1:, :]  # row t, column s
    return rows[..., n_keys - n_queries :, :]
