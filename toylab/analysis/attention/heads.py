"""What heads attend to: scores of attention patterns. Those of losses by position are in token_losses.py, and public here.

A pattern A is [..., T, T], query first; A[t, s] is what query t gives to key s, positions count from 0. Unless said
otherwise a score is a mean over queries t alone and keeps every leading axis (layer, batch, head). Repeated random tokens
are a block of `period` = m tokens twice, after an optional BOS: T = 2m or 2m + 1. Inputs are numpy or jax arrays, the
output has the pattern's dtype, all works under jit. Induction and prefix-matching heads: Olsson et al. 2022, In-context
Learning and Induction Heads (arXiv 2209.11895); offsets as in TransformerLens' demos, stated where they matter.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Integer, PRNGKeyArray, Real

from toylab.analysis.attention.token_losses import (
    bos_of,
    half_losses,
    in_context_learning_score,
    loss_by_position,
    loss_pca,
    per_token_loss,
)
from toylab.analysis.numbers import floating
from toylab.base import Params, Run
from toylab.shapes import shaped

__all__ = [
    "Detected", "attention_entropy", "blocks", "current_token_score", "detect_head", "duplicate_token_score",
    "example_pattern", "first_token_score", "half_losses", "head_scores", "in_context_learning_score", "induction_score",
    "loss_by_position", "loss_pca", "per_token_loss", "position_losses", "prefix_matching_score", "previous_token_score",
    "repeated_blocks",
]  # fmt: skip

Detected = Literal["previous", "duplicate", "induction"]


@shaped
def previous_token_score(pattern: Real[ArrayLike, "*batch T T"]) -> Float[Array, "*batch"]:
    """Mean over t = 1 … T−1 of A[t, t−1].

    Args:
        pattern: A, [..., T, T].

    Returns:
        [...].

    Raises:
        ValueError: For T = 1.
    """
    A = _pattern(pattern)
    if A.shape[-1] < 2:
        raise ValueError(f"pattern has shape {A.shape}, a previous token needs at least 2 positions")
    return _at_offset(A, 1).mean(-1)


@shaped
def current_token_score(pattern: Real[ArrayLike, "*batch T T"]) -> Float[Array, "*batch"]:
    """Mean over all t of A[t, t].

    Args:
        pattern: A, [..., T, T].

    Returns:
        [...].
    """
    return _at_offset(_pattern(pattern), 0).mean(-1)


@shaped
def first_token_score(pattern: Real[ArrayLike, "*batch T T"]) -> Float[Array, "*batch"]:
    """Mean over t = 1 … T−1 of A[t, 0]. Query 0 has no choice and is left out.

    Args:
        pattern: A, [..., T, T].

    Returns:
        [...].
    """
    return _pattern(pattern)[..., 1:, 0].mean(-1)


@shaped
def induction_score(pattern: Real[ArrayLike, "*batch T T"], period: int) -> Float[Array, "*batch"]:
    """Mean over the second block of A[t, t−(m−1)], the token after the last occurrence of token t.

    t runs over m … 2m−1, with BOS over m+1 … 2m; the offset is the same.

    Args:
        pattern: A on repeated random tokens, [..., T, T].
        period: m.

    Returns:
        [...].

    Raises:
        ValueError: Unless T is 2m or 2m + 1.
    """
    return _at_offset(_repeated(pattern, period), period - 1)[..., -period:].mean(-1)


@shaped
def duplicate_token_score(pattern: Real[ArrayLike, "*batch T T"], period: int) -> Float[Array, "*batch"]:
    """Mean over the second block of A[t, t−m], the last occurrence of token t.

    Args:
        pattern: A on repeated random tokens, [..., T, T].
        period: m.

    Returns:
        [...].

    Raises:
        ValueError: Unless T is 2m or 2m + 1.
    """
    return _at_offset(_repeated(pattern, period), period)[..., -period:].mean(-1)


@shaped
def prefix_matching_score(
    pattern: Real[ArrayLike, "*batch B n_heads T T"], tokens: Integer[ArrayLike, "B T"]
) -> Float[Array, "*batch n_heads"]:
    """Attention to every token that followed an earlier occurrence of the present one: Σ_s A[t, s]·1[tok_{s−1} = tok_t].

    The sum is over 1 ≤ s ≤ t. It is pooled (one mean) over all (b, t) with at least one such s. Olsson et al. 2022 have
    it on repeated random tokens; here any tokens do.

    Args:
        pattern: A, [..., B, H, T, T].
        tokens: [B, T].

    Returns:
        [..., H]; nan where there is no such s.
    """
    A, tokens = _pattern(pattern), jnp.asarray(tokens)
    followed = _detection(tokens, "induction")  # [B, T, T]
    found = jnp.einsum("...bhts,bts->...h", A, followed.astype(A.dtype), precision="highest")
    return found / followed.any(-1).sum()


@shaped
def attention_entropy(pattern: Real[ArrayLike, "*batch T T"]) -> Float[Array, "*batch"]:
    """Mean over all t of −Σ_s A[t, s] ln A[t, s].

    Args:
        pattern: A, [..., T, T].

    Returns:
        [...] in nats, between 0 and the mean of ln(t + 1) if causal.
    """
    A = _pattern(pattern)
    return -(A * jnp.log(jnp.where(A > 0, A, 1))).sum(-1).mean(-1)


@shaped
def detect_head(
    pattern: Real[ArrayLike, "*batch B n_heads T T"],
    tokens: Integer[ArrayLike, "B T"],
    detected: Detected,
    measure: Literal["mul", "abs"] = "mul",
) -> Float[Array, "*batch B n_heads"]:
    """TransformerLens' head detector: how close A comes to a pattern D.

    "mul" is Σ A∘D / Σ A. "abs" is 1 − T·mean |A − D|: 1 for A = D, and it may be negative. D of "previous" is 1 at s =
    t − 1; of "duplicate" where tok_s = tok_t and s < t; of "induction" the same one column to the right, tok_{s−1} =
    tok_t and s ≤ t.
    Deviation: TransformerLens rounds the mean in "abs" to three decimals (so scores by T·5e-4 at most); here it is not.

    Args:
        pattern: A, [..., B, H, T, T].
        tokens: [B, T].
        detected: Which D.
        measure: "mul" or "abs".

    Returns:
        [..., B, H].
    """
    for name, value, known in (("detected", detected, get_args(Detected)), ("measure", measure, ("mul", "abs"))):
        if value not in known:
            raise ValueError(f"{name} is {value!r}, it must be one of {', '.join(known)}")
    A, tokens = _pattern(pattern), jnp.asarray(tokens)
    D = _detection(tokens, detected)[:, None].astype(A.dtype)  # [B, 1, T, T]
    if measure == "mul":
        return (A * D).sum((-1, -2)) / A.sum((-1, -2))
    return 1 - A.shape[-1] * jnp.abs(A - D).mean((-1, -2))


@shaped
def repeated_blocks(key: PRNGKeyArray, n: int, period: int, d_vocab: int) -> Int[Array, "n 2*period"]:
    """Random tokens that the scores are taken on: blocks of uniform tokens, each twice.

    Args:
        key: Of the draw.
        n: The number of blocks.
        period: Tokens of a block.
        d_vocab: The number of tokens to draw from.

    Returns:
        int [n, 2·period].
    """
    return jnp.tile(jax.random.randint(key, (n, period), 0, d_vocab), (1, 2))


def _pattern(pattern: ArrayLike) -> Array:
    A = floating(pattern)
    if not A.shape[-1]:
        raise ValueError(f"pattern has shape {A.shape}, it must be [..., T, T], queries by keys, with T ≥ 1")
    return A


def _at_offset(A: Array, offset: int) -> Array:
    """A[t, t − offset] for every t that has it: [..., T − offset]."""
    return jnp.diagonal(A, -offset, axis1=-2, axis2=-1)


def _repeated(pattern: ArrayLike, period: int) -> Array:
    A = _pattern(pattern)
    bos_of(A.shape[-1], period, "pattern")
    return A


def _detection(tokens: Array, detected: Detected) -> Array:
    """The pattern that is looked for, bool [B, T, T]."""
    T = tokens.shape[1]
    if detected == "previous":
        return jnp.broadcast_to(jnp.eye(T, k=-1, dtype=bool), (len(tokens), T, T))
    same = (tokens[:, :, None] == tokens[:, None, :]) & jnp.tri(T, k=-1, dtype=bool)
    return same if detected == "duplicate" else jnp.pad(same, ((0, 0), (0, 0), (1, 0)))[:, :, :T]


def blocks(params: Params, run: Run) -> Int[Array, "n 2*period"]:
    """The same 64 blocks for every run, each twice, as long as the task's context allows: int [64, 2m]."""
    period = (run.data["tokens"].shape[1] - 1) // 2  # of [N, n_ctx + 1]
    return repeated_blocks(jax.random.key(0), 64, period, len(params["W_E"]))


def head_scores(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer for next-token tasks: scores on repeated random tokens.

    Returns:
        A dict of arrays [L, H]: `previous_token`, `attention_entropy`, `induction`, `duplicate_token`, `prefix_matching`.
    """
    tokens = blocks(params, run)
    A, m = run.config.net.apply(params, tokens)[1]["pattern"], tokens.shape[1] // 2
    found = {"previous_token": previous_token_score(A), "attention_entropy": attention_entropy(A)}
    found |= {"induction": induction_score(A, m), "duplicate_token": duplicate_token_score(A, m)}
    return {name: x.mean(1) for name, x in found.items()} | {"prefix_matching": prefix_matching_score(A, tokens)}


def example_pattern(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer, for figures.

    Returns:
        A dict: `pattern` [L, H, T, T] float16, each head's on one block of a quarter of the context, twice.
    """
    tokens = blocks(params, run)[:1, : (run.data["tokens"].shape[1] - 1) // 4]
    A = run.config.net.apply(params, jnp.tile(tokens, (1, 2)))[1]["pattern"]
    return {"pattern": A[:, 0].astype(jnp.float16)}


def position_losses(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: loss by position [P] on the task's evaluation set, `run.data["tokens"]` [N, P + 1]."""
    tokens = run.data["tokens"]
    return {"loss": loss_by_position(run.config.net.apply(params, tokens[:, :-1], full=False)[0], tokens)}
