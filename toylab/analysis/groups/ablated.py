"""What it costs a network that composes group elements to keep nothing but its key irreducible representations, or to lose
them: restricted and excluded losses, mean nats (Chughtai et al. 2023, A toy model of universality, arXiv 2302.03025).

Shapes, `reps` and what jit needs are as in explained.py.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real

from toylab.analysis.groups.explained import by_product, logit_similarity
from toylab.analysis.groups.irreps import Representations, check_axis
from toylab.analysis.numbers import floating, kept, norm
from toylab.losses import cross_entropy
from toylab.shapes import shaped


@shaped
def hidden_losses(
    hidden: Real[ArrayLike, "g g m"],
    W: Real[ArrayLike, "m g"],
    reps: Representations,
    key: Bool[ArrayLike, " K"],
    train: Bool[ArrayLike, "g g"],
    *,
    each: bool = True,
) -> dict[str, Float[Array, "..."]]:
    """Cross-entropy when hidden activations keep only, or lose, their projection on ρ(ab) of the key irreps.

    Logits are hidden·W and nothing else: no mean is added back, and in a transformer neither biases nor the residual
    stream.

    Args:
        hidden: Activations of all inputs, [g, g, m].
        W: From neurons to logits, [m, g].
        reps: The irreps.
        key: Mask of the key irreps.
        train: Mask of the training inputs.
        each: Whether to give the losses of each irrep, too.

    Returns:
        A dict of losses in nats.

        - `restricted_loss` []: of what is kept, on all inputs.
        - `excluded_loss` []: of what is left, on the training inputs; nan where there are none.
        - `restricted_loss_each`, `excluded_loss_each` [K]: with each irrep alone in place of all key irreps.
    """
    check_axis("hidden", hidden, "[g, g, m]", reps)
    check_axis("key", key, "[K]", reps)
    h, W, key, train = floating(hidden), floating(W), jnp.asarray(key), jnp.asarray(train)
    g, labels = len(reps.table), jnp.asarray(reps.table)
    means = _dot(by_product(h, reps) / g, W)  # [g, g]: projections on functions of ab, read out
    basis, owner = jnp.asarray(reps.basis, h.dtype), reps.owner
    coefficients, full = _dot(basis.T, means), _dot(h, W)

    def losses(some: Array) -> tuple[Array, Array]:
        only = _dot(basis, kept(some[owner][:, None], coefficients))  # [g, g], by ab
        left = cross_entropy(full - only[labels], labels)
        excluded = jnp.where(train, left, 0).sum() / train.sum()
        return cross_entropy(only, jnp.arange(g)).mean(), excluded  # every ab has g inputs

    restricted, excluded = losses(key)
    found = {"restricted_loss": restricted, "excluded_loss": excluded}
    if each:
        one = jax.lax.map(losses, jnp.eye(len(reps.irreps), dtype=bool))
        found |= {"restricted_loss_each": one[0], "excluded_loss_each": one[1]}
    return found


@shaped
def logit_losses(
    logits: Real[ArrayLike, "g g g"], reps: Representations, key: Bool[ArrayLike, " K"], train: Bool[ArrayLike, "g g"]
) -> dict[str, Float[Array, ""]]:
    """As `hidden_losses`, for the logits themselves: centred over c, and projected on the traces of the key irreps.

    These are total_logit_…_loss of the published tables, not in the paper.

    Args:
        logits: Logits of all pairs, [g, g, g].
        reps: The irreps.
        key: Mask of the key irreps.
        train: Mask of the training inputs.

    Returns:
        A dict of losses in nats: `restricted_loss` [] on all inputs, `excluded_loss` [] on the training inputs.
    """
    check_axis("logits", logits, "[g, g, g]", reps)
    check_axis("key", key, "[K]", reps)
    z, train = floating(logits), jnp.asarray(train)
    z = z - z.mean(axis=-1, keepdims=True)
    g, labels, characters = len(z), jnp.asarray(reps.table), jnp.asarray(reps.characters, z.dtype)
    along = kept(key, logit_similarity(z, reps)) * norm(z.reshape(-1), 0)
    by_element = _dot(along / (g * jnp.linalg.norm(characters, axis=1)), characters)  # [g], of abc⁻¹
    only = by_element[reps.table[:, reps.inverse]]  # [ab, c]
    left = cross_entropy(z - only[labels], labels)
    excluded = jnp.where(train, left, 0).sum() / train.sum()
    return {"restricted_loss": cross_entropy(only, jnp.arange(g)).mean(), "excluded_loss": excluded}


def _dot(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")
