"""Attention summarised: by distance, to the same token, and between classes of tokens.

A pattern A is [..., T, T], query first; A[t, s] is what query t gives to key s. Beside these stand the scores of
heads.py: to the first token, to the previous and the current one, induction, entropy. A score says little without that
of attention which is even over the keys that a query sees: `even_pattern` is a pattern like any other.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Real

from toylab.analysis.attention import heads
from toylab.analysis.numbers import floating
from toylab.base import Params, Run
from toylab.shapes import shaped
from toylab.shapes.indices import check_range, nan_outside

SHOWN = 16  # sequences of an evaluation set that an analyzer looks at


def even_pattern(n: int, causal: bool = True) -> Float[Array, "n n"]:
    """Even attention over the keys that a query sees: A[t, s] = 1 / (t + 1) for s ≤ t, or 1 / n.

    Args:
        n: Positions.
        causal: Whether later keys are hidden.

    Returns:
        [n, n].

    Raises:
        ValueError: For n below 1.
    """
    if n < 1:
        raise ValueError(f"n is {n}: it must be at least 1.")
    seen = jnp.tri(n) if causal else jnp.ones((n, n))
    return seen / jnp.sum(seen, axis=1, keepdims=True)


@shaped
def attention_by_offset(pattern: Real[ArrayLike, "*batch T T"]) -> Float[Array, "*batch T"]:
    """Mean over queries t ≥ o of A[t, t − o], for each offset o: 0 is the query's own position, 1 the one before.

    Keys after the query are left out. Entry o is a mean of T − o numbers, so far offsets are the noisier.

    Args:
        pattern: A, [..., T, T].

    Returns:
        [..., T].

    Raises:
        ValueError: For T = 0.
    """
    A = floating(pattern)
    T = A.shape[-1]
    if not T:
        raise ValueError(f"pattern has shape {A.shape}: it must have at least one position.")
    back = jnp.pad(A[..., ::-1], [(0, 0)] * (A.ndim - 1) + [(0, 1)])  # row t has its own key at T − 1 − t, of T + 1
    flat = back.reshape(*A.shape[:-2], -1)[
        ..., T - 1 : T * T + T - 1
    ]  # read in rows of T, each begins with its own key
    by_offset = flat.reshape(A.shape)  # [..., t, o]
    there = jnp.arange(T)[:, None] >= jnp.arange(T)
    return jnp.sum(jnp.where(there, by_offset, 0), axis=-2) / jnp.arange(T, 0, -1)


@shaped
def same_token_score(
    pattern: Real[ArrayLike, "*batch B n_heads T T"], tokens: Integer[ArrayLike, "B T"]
) -> Float[Array, "*batch n_heads"]:
    """Attention to every earlier occurrence of the present token: Σ_{s<t} A[t, s]·1[tok_s = tok_t].

    It is pooled (one mean) over all (b, t) with at least one such s. `heads.prefix_matching_score` has the tokens after
    these.

    Args:
        pattern: A, [..., B, H, T, T].
        tokens: [B, T].

    Returns:
        [..., H]; nan where no token occurs twice.
    """
    A, tokens = floating(pattern), jnp.asarray(tokens)
    same = (tokens[:, :, None] == tokens[:, None]) & jnp.tri(tokens.shape[1], k=-1, dtype=bool)  # [B, T, T]
    found = jnp.einsum("...bhts,bts->...h", A, same.astype(A.dtype), precision="highest")
    return found / same.any(-1).sum()


@shaped
def class_attention(
    pattern: Real[ArrayLike, "*batch B n_heads T T"], classes: Integer[ArrayLike, "B T"], n_classes: int
) -> Float[Array, "*batch n_heads n_classes n_classes"]:
    """How much queries of each class of tokens attend to keys of each: mean over queries of class i of Σ_{s of class j}
    A[t, s].

    Classes may be tokens themselves, if they are few, or places in a sequence, or what a token means.

    Args:
        pattern: A, [..., B, H, T, T].
        classes: The class of each position, 0 to n_classes − 1: [B, T].
        n_classes: C.

    Returns:
        [..., H, query's class, key's class]; each row sums to 1, and is nan where no query is of the class.

    Raises:
        ValueError: For classes out of range (nan under jit).
    """
    A = floating(pattern)
    check_range("classes", classes, n_classes, "n_classes", "classes")
    classes = jnp.asarray(classes)
    member = (classes[..., None] == jnp.arange(n_classes)).astype(A.dtype)  # [B, T, C]
    member = nan_outside(member, classes, n_classes)
    to_keys = jnp.einsum("...bhts,bsj->...bhtj", A, member, precision="highest")
    total = jnp.einsum("...bhtj,bti->...hij", to_keys, member, precision="highest")
    return total / jnp.sum(member, axis=(0, 1))[:, None]


def attention_summary(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of next-token tasks: what heads attend to on the first `SHOWN` evaluation sequences,
    `run.data["tokens"]` [N, P + 1].

    Returns:
        A dict: `offset` [L, H, P] by distance, and [L, H] `first`, `current`, `previous` token, `same_token` and
        `after_same_token` (prefix matching) and `entropy` in nats, all means over sequences.
    """
    tokens = run.data["tokens"][:SHOWN, :-1]
    A = run.config.net.apply(params, tokens)[1]["pattern"]  # [L, B, H, P, P]
    one_by_one = {
        "offset": attention_by_offset, "first": heads.first_token_score, "current": heads.current_token_score,
        "previous": heads.previous_token_score, "entropy": heads.attention_entropy,
    }  # fmt: skip
    found = {name: jnp.mean(score(A), axis=1) for name, score in one_by_one.items()}
    return found | {
        "same_token": same_token_score(A, tokens),
        "after_same_token": heads.prefix_matching_score(A, tokens),
    }
