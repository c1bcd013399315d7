"""Analyzers of models of repeated random blocks: what heads attend to, which of them the loss needs, by which path, and
how near the loss is to exact."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab.analysis.attention import heads, interventions
from toylab.base import Params, Run
from toylab.tasks import sequence


def head_scores(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of `RepeatedBlocks`: what each head attends to, on 64 random blocks of half the context, each twice.

    The blocks are the same for every run.

    Returns:
        A dict of arrays [L, H], means over the blocks: `previous_token` and `induction`, as of `heads`.
    """
    task: Any = run.config.task
    tokens = sequence.repeated(jax.random.key(1), 64, task.d_vocab, task.n_ctx // 2)
    pattern = run.config.net.apply(params, tokens)[1]["pattern"]  # [L, B, H, P, P]
    scores = {
        "previous_token": heads.previous_token_score(pattern),
        "induction": heads.induction_score(pattern, task.n_ctx // 2),
    }
    return {name: score.mean(1) for name, score in scores.items()}


def token_losses(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of next-token tasks: the losses whose components over checkpoints `heads.loss_pca` finds.

    Returns:
        A dict: `loss` [16, P] in nats, of the tokens of the first evaluation sequences, `run.data["tokens"]` [N, P + 1].
    """
    return {"loss": sequence.token_losses(run.config.net.apply, params, run.data["tokens"][:16])}


def in_context(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of next-token tasks.

    Returns:
        A dict: `score` in nats, as of `heads.in_context_learning_score` on the evaluation set, scaled to its context.
    """
    loss = heads.position_losses(params, run)["loss"]
    return {"score": heads.in_context_learning_score(loss, "scaled")}


def ablation(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: what each head's removal adds to the loss on random blocks, each twice.

    Returns:
        A dict: `zero` [L, H], in nats, by zero ablation.
    """
    tokens = heads.blocks(params, run)[:32]
    loss = lambda logits: heads.loss_by_position(logits, tokens).mean()  # noqa: E731
    return {"zero": interventions.head_ablation(run.config.net.apply, params, tokens, loss, "zero")}


def path_ablation(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: as `ablation`, with a layer-0 head missing only from one kind of input of layer 1.

    Returns:
        A dict of arrays [H] in nats: `q`, `k` and `v`, where queries, keys or values of layer 1 do not read it. Empty for
        a single layer.
    """
    tokens, apply = heads.blocks(params, run)[:32], run.config.net.apply
    logits, cache = apply(params, tokens)

    def loss(logits: Array) -> Array:
        return heads.loss_by_position(logits, tokens).mean()

    def without(written: Array, read: str) -> Array:  # [B, P, d_model] of one head
        patch = {f"{read}_input": lambda value, layer: value - written[:, None] if layer == 1 else value}
        return loss(apply(params, tokens, patch)[0]) - loss(logits)

    each = jnp.moveaxis(cache["result"][0], 1, 0)  # [H, B, P, d_model]
    return {read: jax.lax.map(partial(without, read=read), each) for read in "qkv"} if len(params["W_Q"]) > 1 else {}


def fresh_loss(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of `RepeatedBlocks`: the mean loss on 4,096 fresh sequences.

    The exact loss for sequences of periods m is ((mean m − 1) ln V + ln #m)/n_ctx.

    Returns:
        A dict of scalars in nats: `loss`, and `above_exact`, what it has above the exact loss for their periods.
    """
    task: Any = run.config.task
    tokens, periods = task.sample_with_periods(jax.random.key(99), 4096)
    loss = heads.loss_by_position(run.config.net.apply(params, tokens[:, :-1], full=False)[0], tokens).mean()
    more = (periods.mean() - (task.min_period + task.max_period) / 2) * np.log(task.d_vocab) / task.n_ctx
    return {"loss": loss, "above_exact": loss - more - task.exact_loss()}
