"""Analyzers of networks on Markov chains that are told in the context: exact losses, and induction by statistics.

The strategies and the clamp are those of Edelman et al. 2024, The Evolution of Statistical Induction Heads (arXiv
2402.11004); the solutions of a finite set of chains those of Park et al. 2024 (arXiv 2412.01003).
"""

from typing import cast

import jax
import jax.numpy as jnp
from jax import Array

from toylab.analysis.attention import heads
from toylab.base import Params, Run
from toylab.tasks import MarkovChains
from toylab.tasks.markov import expected_loss

N_SEEN = 128  # sequences on which attention and clamps are measured


def strategy_losses(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of `MarkovChains`: the losses of predictors that count, which need no network.

    Returns:
        A dict of arrays [P] in nats, by position: `uniform`, `unigram` and `bigram`, expected over the next token given the
        chain, means over the evaluation set; the same over its first N_SEEN sequences as `uniform_seen`, ….
    """
    tokens, task = run.data["tokens"][:, :-1], cast(MarkovChains, run.config.task)
    by_sequence = {
        name: expected_loss(law, tokens, run.data["transition"]) for name, law in task.strategies(tokens).items()
    }
    seen = {f"{name}_seen": losses[:N_SEEN].mean(0) for name, losses in by_sequence.items()}
    return {name: losses.mean(0) for name, losses in by_sequence.items()} | seen


def clamped_to_previous(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of `MarkovChains`: what layer 1 can do once layer 0 attends to the token before, whatever it learned.

    All is measured on the first N_SEEN evaluation sequences.

    Args:
        params: Of a transformer of two or more layers.
        run: Its task is `MarkovChains`.

    Returns:
        A dict.

        - `loss` [P] in nats, by position, expected over the next token given the chain.
        - `clamped` [P]: the same with layer 0 clamped; `keys` [P]: where layer 1's keys alone are made of that.
        - `previous` [L]: attention to the token before, mean over heads.
        - `followers` [L]: attention to all that followed earlier occurrences of the present token; 0.4 of even attention
          for 3 symbols and 64 tokens.
        - `pattern` [L, 16, 16] float16, of the first head on the first tokens of one sequence, and these `tokens` [16].
    """
    tokens, transition = run.data["tokens"][:N_SEEN, :-1], run.data["transition"][:N_SEEN]
    before = jnp.eye(tokens.shape[1], k=-1).at[0, 0].set(1)
    clamp = {"pattern": lambda found, layer: jnp.broadcast_to(before, found.shape) if layer == 0 else found}
    logits, cache = run.config.net.apply(params, tokens)
    clamped, after_clamp = run.config.net.apply(params, tokens, clamp)
    seen = after_clamp["resid_pre"][1][:, None]  # [B, 1, P, d_model], by layer 1
    keys = {"k_input": lambda found, layer: jnp.broadcast_to(seen, found.shape) if layer == 1 else found}
    with_keys, _ = run.config.net.apply(params, tokens, keys)
    return {
        "loss": expected_loss(jax.nn.log_softmax(logits), tokens, transition).mean(0),
        "clamped": expected_loss(jax.nn.log_softmax(clamped), tokens, transition).mean(0),
        "keys": expected_loss(jax.nn.log_softmax(with_keys), tokens, transition).mean(0),
        "previous": heads.previous_token_score(cache["pattern"]).mean((1, 2)),
        "followers": heads.prefix_matching_score(cache["pattern"], tokens).mean(1),
        "pattern": cache["pattern"][:, 0, 0, :16, :16].astype(jnp.float16),  # causal: as on the 16 alone
        "tokens": tokens[0, :16],
    }


def exact_losses(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of `ChainMixture`: the losses of the exact solutions, which need no network.

    Returns:
        A dict of scalars in nats, on the sequences of the measures: `trained_bi_retrieval`, …, for each set of
        `tasks.mixture.SETS` and each of its SOLUTIONS.
    """
    return {f"{on}_{name}": loss for on, losses in run.data["losses"].items() for name, loss in losses.items()}
