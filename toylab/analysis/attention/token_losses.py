"""Losses by position in the context: what in-context learning does to them, and their principal components over training.

Next-token prediction in nats; entry i of a loss by position is the prediction of token i + 1. Repeated random tokens are a
block of `period` = m tokens twice, after an optional BOS: T = 2m or 2m + 1 tokens.
"""

from typing import Literal, get_args

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Real

from toylab.analysis.numbers import centred, floating, scaled
from toylab.losses import cross_entropy
from toylab.shapes import shaped

Score = Literal["olsson", "scaled", "repeated", "halves"]


@shaped
def loss_by_position(
    logits: Real[ArrayLike, "*batch B T d_vocab"], tokens: Integer[ArrayLike, "B _"]
) -> Float[Array, "*batch n"]:
    """Mean loss over the batch of predicting the next token, at each position.

    Args:
        logits: [..., B, T, V].
        tokens: [B, T], of which the first T − 1 positions have a target (n = T − 1), or [B, T + 1], of which all have
            (n = T).

    Returns:
        [..., n] in nats.

    Raises:
        ValueError: For tokens of another length.
    """
    return per_token_loss(logits, tokens).mean(-2)


@shaped
def per_token_loss(
    logits: Real[ArrayLike, "*batch B T d_vocab"], tokens: Integer[ArrayLike, "B _"]
) -> Float[Array, "*batch B n"]:
    """`loss_by_position` before the mean.

    Args:
        logits: [..., B, T, V].
        tokens: As of `loss_by_position`.

    Returns:
        [..., B, n] in nats.

    Raises:
        ValueError: As of `loss_by_position`.
    """
    logits, tokens = floating(logits), jnp.asarray(tokens)
    B, T = logits.shape[-3:-1]
    if tokens.shape not in ((B, T), (B, T + 1)):
        raise ValueError(f"tokens has shape {tokens.shape}, it must be [B, T] or [B, T + 1] with [B, T] = {(B, T)}")
    targets = tokens[:, 1:]
    logits = logits[..., : targets.shape[1], :]
    return cross_entropy(logits, jnp.broadcast_to(targets, logits.shape[:-1]))


@shaped
def half_losses(
    loss: Real[ArrayLike, "*batch n"], period: int
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Mean loss over the first and over the second block of repeated random tokens.

    The first half holds the predictions of the first block (its first token only after a BOS), the second those of the
    second block but for its first token, which nothing predicts.

    Args:
        loss: By position, [..., n], n = T − 1; entry i predicts token i + 1.
        period: m.

    Returns:
        Two arrays [...].

    Raises:
        ValueError: Unless T is 2m or 2m + 1.
    """
    loss = floating(loss)
    bos = bos_of(loss.shape[-1] + 1, period, "loss")
    return loss[..., : period - 1 + bos].mean(-1), loss[..., period + bos :].mean(-1)


@shaped
def in_context_learning_score(
    loss: Real[ArrayLike, "*batch n"], score: Score = "olsson", period: int | None = None
) -> Float[Array, "*batch"]:
    """How much lower the loss is late in the context than early; below 0 if it is.

    Args:
        loss: By position, [..., n].
        score: "olsson": L[500] − L[50], of a context of at least 501 (Olsson et al. 2022). "scaled": L[n−1] − L[n//8], the
            same for shorter contexts. "repeated": L[n−1] − L[m//2] on repeated random tokens. "halves": second minus
            first of `half_losses`.
        period: m, for the last two.

    Returns:
        [...].

    Raises:
        ValueError: For an unknown score and a context that is too short.
    """
    loss = floating(loss)
    n = loss.shape[-1]
    if score not in get_args(Score):
        raise ValueError(f"score is {score!r}, it must be one of {', '.join(get_args(Score))}")
    if score == "olsson" and n <= 500:
        raise ValueError(f"loss has {n} positions, the score olsson needs 501 (scaled takes fewer)")
    if score == "olsson":
        return loss[..., 500] - loss[..., 50]
    if score == "scaled":
        return loss[..., -1] - loss[..., n // 8]
    if period is None:
        raise ValueError(f"period is None, the score {score} needs the length of the repeated block")
    first, second = half_losses(loss, period)
    return second - first if score == "halves" else loss[..., -1] - loss[..., period // 2]


@shaped
def loss_pca(losses: Real[ArrayLike, "n_checkpoints n_tokens"], n: int = 2) -> dict[str, Array]:
    """Principal components of per-token losses over checkpoints (Olsson et al. 2022, after Fort et al.).

    Losses are centred over checkpoints. The sign of a component is free: here its largest entry in `directions` is
    positive.

    Args:
        losses: [C, tokens], one row a checkpoint.
        n: The number of components.

    Returns:
        A dict.

        - `path` [C, n]: where each checkpoint lies.
        - `directions` [n, tokens]: orthonormal.
        - `share` [n]: of the variance; nan where there is none.

    Raises:
        ValueError: Unless 1 ≤ n ≤ min(C, tokens).
    """
    losses = floating(losses)
    if not 1 <= n <= min(losses.shape):
        raise ValueError(f"losses has shape {losses.shape}, it must be [checkpoints, tokens], both at least n = {n}")
    deviation, power = scaled(centred(losses, 0))
    U, s, Vh = jnp.linalg.svd(deviation, full_matrices=False)
    largest = jnp.take_along_axis(Vh, jnp.abs(Vh).argmax(1)[:, None], 1)[:, 0]
    sign = jnp.where(largest < 0, -1, 1).astype(Vh.dtype)
    share = s**2 / (s**2).sum()
    return {"path": (U * s * sign)[:, :n] * power, "directions": (sign[:, None] * Vh)[:n], "share": share[:n]}


def bos_of(T: int, period: int, name: str) -> int:
    """1 where T leaves room for a BOS, 0 where it does not.

    Raises:
        ValueError: Where it is no block twice.
    """
    if period < 1 or T - 2 * period not in (0, 1):
        raise ValueError(f"period is {period}: {name} has T = {T}, which must be 2·period, or 2·period + 1 with a BOS")
    return T - 2 * period
