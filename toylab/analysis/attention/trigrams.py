"""Skip-trigrams: which tokens an attention head joins, source … destination → output (Elhage et al. 2021).

`params` are as in circuits.py. The biases b_Q and b_K, where there are any, are in the scores.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Real

from toylab.analysis.attention.circuits import _arrays, _dot, ov_circuit
from toylab.analysis.attention.paths import Weights
from toylab.analysis.numbers import floating
from toylab.shapes import shaped


@shaped
def skip_trigrams(params: Weights, k: int = 10) -> dict[str, Real[Array, "n_layers n_heads k"]]:
    """The skip-trigrams "source … destination → output" that each head raises most (Elhage et al. 2021).

    They are ranked by contribution: the softmax of the scores of B over all tokens, at A, times the effect less its
    mean over C. This is what the head adds to C at B, up to what does not depend on A or on C, with every token once in
    the context. The ranking is ours; the paper's tables are chosen by hand. Positions are left out. In deeper layers
    only what comes straight from the embedding counts.

    Args:
        params: The weights.
        k: How many for each head.

    Returns:
        A dict of arrays [L, H, k].

        - `source` A, `destination` B, `output` C: token ids.
        - `preference`: the attention score QK[B, A]/√dh, b_Q and b_K included.
        - `effect`: OV[A, C].
        - `contribution`: what they are ranked by.
    """
    scores, effect = _scores(params), ov_circuit(params)
    V, C = effect.shape[-2:]
    few, outputs = min(k, V), min(k, C)
    share = jax.nn.softmax(scores, axis=-1).mT  # [L, H, A, B]
    top_share, destination = jax.lax.top_k(share, few)  # the k best of all lie among the k best of each source
    top_effect, output = jax.lax.top_k(effect - effect.mean(-1, keepdims=True), outputs)
    products = top_share[..., :, None] * top_effect[..., None, :]  # [L, H, A, few, outputs]
    contribution, flat = jax.lax.top_k(products.reshape(*products.shape[:2], -1), min(k, V * few * outputs))
    source, rest = jnp.divmod(flat, few * outputs)
    pick = lambda x, i: jnp.take_along_axis(x.reshape(*x.shape[:2], -1), i, -1)  # noqa: E731
    destination, output = (
        pick(destination, source * few + rest // outputs),
        pick(output, source * outputs + rest % outputs),
    )
    found = {"source": source, "destination": destination, "output": output, "contribution": contribution}
    return found | {"preference": pick(scores, destination * V + source), "effect": pick(effect, source * C + output)}


def _scores(params: Weights) -> Array:
    """(W_E W_Q + b_Q) (W_E W_K + b_K)ᵀ/√dh [L, H, V, V]."""
    W_E, W_Q, W_K = _arrays(params, "W_E", "W_Q", "W_K")
    b_Q, b_K = (floating(params[name])[..., None, :] if name in params else 0 for name in ("b_Q", "b_K"))
    return _dot(_dot(W_E, W_Q) + b_Q, (_dot(W_E, W_K) + b_K).mT) / W_Q.shape[-1] ** 0.5
