"""Attention on sequences of (item, label) pairs x_1 ℓ_1 … x_N ℓ_N x: the steps of copying a label from the context.

A pattern A is [..., B, H, P, P] with P = 2N + 1, query first; item n lies at position 2n, its label at 2n + 1, the item
asked for at the last. Measures of Reddy 2023 (arXiv 2312.03002) and Minegishi et al. 2025 (arXiv 2505.16694).
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real

from toylab.analysis.numbers import floating
from toylab.base import Params, Run
from toylab.losses import right
from toylab.shapes import shaped

SHOWN = 256  # sequences of an evaluation set that are enough for a mean attention


@shaped
def pair_attention(
    pattern: Real[ArrayLike, "*batch B n_heads P P"],
    support: Bool[ArrayLike, "B (P-1)/2"],  # noqa: F821
) -> dict[str, Float[Array, "*batch n_heads"]]:
    """Attention between the parts of a sequence of pairs, means over the batch.

    Args:
        pattern: A, [..., B, H, P, P].
        support: Which pairs are of the class of the item asked for, [B, N].

    Returns:
        A dict of arrays [..., H].

        - `own`: A[last, last], the item asked for attends to itself (bigram: the first circuit of Minegishi et al., NCC).
        - `labels`: Σ_n A[last, ℓ_n], it attends to the labels (label attention: with `own` in layer 1 the second circuit,
          SCC).
        - `item_label`: mean_n A[ℓ_n, x_n], labels attend to their own items (chunk example: with `labels` in layer 2 the
          third circuit, FCC; Reddy's item-label association in layer 1, the first half of an induction head).
        - `target`: Σ_n A[last, ℓ_n] over the supporting pairs (Reddy's target-label association in layer 2, the second
          half), over the sequences that have some; nan without.
    """
    A, supported = floating(pattern), jnp.asarray(support)
    on_labels = A[..., -1, 1::2]  # [..., B, H, N]
    to_item = jnp.diagonal(A[..., 1::2, :-1:2], axis1=-2, axis2=-1)  # [..., B, H, N]
    some = supported.any(axis=-1)  # [B]
    on_target = jnp.sum(jnp.where(supported[:, None], on_labels, 0), axis=(-3, -1)) / jnp.sum(some)
    return {
        "own": A[..., -1, -1].mean(axis=-2),
        "labels": on_labels.sum(axis=-1).mean(axis=-2),
        "item_label": to_item.mean(axis=(-3, -1)),
        "target": on_target,
    }


def novel_classes(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: `pair_attention` [L, H] on sequences of classes never seen.

    Returns:
        A dict: those, and `example`, the pattern [L, H, P, P] of the first sequence.
    """
    return _attention(params, run, "icl")


def known_classes(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: `pair_attention` [L, H] on known classes without support in the context.

    Returns:
        A dict: those; the pattern of the first sequence; and `by_labels` [], the accuracy when the context's items are
        those of another sequence, so that only its labels tell the task.
    """
    batch, n_positions = run.data["iwl"], run.config.task.n_positions  # type: ignore[attr-defined]
    logits, _ = run.config.net.apply(params, of_another(batch["x"], n_positions), full=False)
    by_labels = jnp.mean(right(logits, batch["y"]))
    return {**_attention(params, run, "iwl"), "by_labels": by_labels}


@shaped
def of_another(x: Real[ArrayLike, "B P W"], n_positions: int) -> Real[Array, "B P W"]:
    """Sequences with the context's items, not the one asked for, of the sequence before; positions stay.

    Args:
        x: [B, 2N + 1, W].
        n_positions: Entries of a vector that tell its position.
    """
    x = jnp.asarray(x)
    items = x[:, :-1:2, n_positions:]
    return x.at[:, :-1:2, n_positions:].set(jnp.roll(items, 1, axis=0))


def _attention(params: Params, run: Run, name: str) -> dict[str, Array]:
    batch = run.data[name]
    _, cache = run.config.net.apply(params, batch["x"][:SHOWN])
    return {**pair_attention(cache["pattern"], batch["support"][:SHOWN]), "example": cache["pattern"][:, 0]}
