"""Eigenvalues of heads on their own and composed: where Elhage et al. 2021 look for induction heads.

An induction head copies what it attends to, so its OV circuit has positive eigenvalues, and it matches the present token
with what an earlier head has written into the keys, so its QK circuit through that head has them too. `params` are as in
circuits.py.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from toylab.analysis.attention.circuits import copying_score, eigenvalue_score, matching_score
from toylab.analysis.attention.paths import Weights
from toylab.analysis.attention.products import arrays, dot, norm, of_size_one
from toylab.analysis.numbers import nan_where
from toylab.base import Params, Run
from toylab.shapes import shaped


@shaped
def composed_matching(params: Weights) -> Float[Array, "n_layers n_heads n_layers n_heads"]:
    """Σλ / Σ|λ| over the eigenvalues of W_E W_QK (W_E W_OV)ᵀ: 1 if a head matches the present token with the same token
    that an earlier head has written into the keys (Elhage et al. 2021, K-composition).

    Args:
        params: The weights.

    Returns:
        [later layer, its heads, earlier layer, its heads] in [−1, 1]; nan where the second layer is not earlier, and for
        heads of zeros.
    """
    W_E, W_Q, W_K, W_V, W_O = of_size_one(arrays(params, "W_E", "W_Q", "W_K", "W_V", "W_O"))
    queries = dot(W_E, W_Q)[:, :, None, None]  # [L, H, 1, 1, V, dh]
    written = dot(dot(W_E, W_V), W_O)  # [l, h, V, D]
    keys = dot(written, W_K[:, :, None, None])  # [L, H, l, h, V, dh]
    sizes = norm(W_E)[None] ** 2 * norm(W_Q) * norm(W_K)
    scale = sizes[:, :, None, None] * (norm(W_V) * norm(W_O))
    score = eigenvalue_score(jnp.broadcast_to(queries, keys.shape), keys.mT, scale=scale)
    layer = jnp.arange(len(W_Q))
    return nan_where((layer[:, None] <= layer)[:, None, :, None], score)


def eigenvalue_scores(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer.

    Returns:
        A dict: `copying` and `matching` [L, H] as of circuits.py, and `composed_matching` [L, H, L, H].
    """
    scores = {"copying": copying_score(params), "matching": matching_score(params)}
    return scores | {"composed_matching": composed_matching(params)}
