"""Counting predictors and clamped layers: losses by loops in float64, and heads clamped to the token before by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.attention import markov_chains
from toylab.base import Config, Run
from toylab.models import Net, Transformer
from toylab.optim import AdamW
from toylab.tasks import ChainMixture, MarkovChains

TASK = MarkovChains(k=3, n_ctx=16, n_eval=8, first="stationary")
NET = Net.of(Transformer, d_vocab=3, d_vocab_out=3, n_ctx=16, n_layers=2, n_heads=1, d_model=8, d_mlp=0, readout="all")


@pytest.fixture(scope="module")
def run():
    return Run(config=Config(TASK, NET, AdamW()), data=TASK.data(jax.random.key(0)))


def losses_by_hand(laws, tokens, transition):
    """−Σ_j P(x_t → j) ln q_j [P], mean over sequences, one token after the other."""
    each = [[-transition[n][now] @ np.log(laws[n][t]) for t, now in enumerate(row)] for n, row in enumerate(tokens)]
    return np.mean(each, axis=0)


def test_counting_predictors_lose_what_their_counts_say(run):
    tokens, transition = np.asarray(run.data["tokens"])[:, :-1], np.asarray(run.data["transition"], float)
    counts = np.ones((8, 16, 3))  # of each token so far, from 1
    follows = np.ones((8, 16, 3))  # of what followed the present token, from α = 1
    for n, t in np.ndindex(8, 16):
        for s in range(t + 1):
            counts[n, t, tokens[n, s]] += 1
            follows[n, t, tokens[n, s]] += s > 0 and tokens[n, s - 1] == tokens[n, t]
    found = markov_chains.strategy_losses({}, run)
    for name, rows in {"uniform": np.ones((8, 16, 3)), "unigram": counts, "bigram": follows}.items():
        by_hand = losses_by_hand(rows / rows.sum(-1, keepdims=True), tokens, transition)
        np.testing.assert_allclose(found[name], by_hand, atol=1e-5)
        np.testing.assert_array_equal(found[f"{name}_seen"], found[name])  # fewer sequences than N_SEEN


def test_layer_0_clamped_attends_to_the_token_before(run):
    """By shifting what layer 0 attends to: its output is that of the token before, the first's that of itself."""
    params = NET.init(jax.random.key(1))
    found = jax.jit(markov_chains.clamped_to_previous)(params, run)
    tokens, transition = run.data["tokens"][:, :-1], np.asarray(run.data["transition"], float)
    _, cache = NET.apply(params, tokens)
    assert found["pattern"].shape == (2, 16, 16) and found["previous"].shape == found["followers"].shape == (2,)
    pattern = np.asarray(cache["pattern"], float)  # [L, B, H, P, P]
    np.testing.assert_allclose(found["pattern"], pattern[:, 0, 0], atol=1e-3)  # float16
    np.testing.assert_array_equal(found["tokens"], tokens[0])
    np.testing.assert_allclose(found["previous"], pattern[..., range(1, 16), range(15)].mean((1, 2, 3)), atol=1e-5)

    def loss(patch):
        logits = NET.apply(params, tokens, patch)[0]
        return losses_by_hand(np.asarray(jax.nn.softmax(logits), float), np.asarray(tokens), transition)

    earlier = jnp.maximum(jnp.arange(16) - 1, 0)
    z = {"z": lambda z, layer: v_of_first(cache)[..., earlier, :] if layer == 0 else z}
    np.testing.assert_allclose(found["loss"], loss(None), atol=1e-5)
    np.testing.assert_allclose(found["clamped"], loss(z), atol=1e-5)
    by_layer_1 = NET.apply(params, tokens, z)[1]["resid_pre"][1][:, None]
    keys = {"k_input": lambda k, layer: jnp.broadcast_to(by_layer_1, k.shape) if layer == 1 else k}
    np.testing.assert_allclose(found["keys"], loss(keys), atol=1e-5)
    assert np.abs(found["keys"] - found["clamped"]).max() > 1e-4 and np.abs(found["keys"] - found["loss"]).max() > 1e-4


def v_of_first(cache):
    return cache["v"][0]


def test_exact_losses_are_named_by_set_and_solution():
    task = ChainMixture(k=3, n_ctx=6, room=5, n_chains=3, n_eval=8, batch_size=4)
    data = jax.jit(task.data)(jax.random.key(0))
    found = markov_chains.exact_losses({}, Run(config=Config(task, NET, AdamW()), data=data))
    assert len(found) == 8
    for on, solution in (("trained", "bi_retrieval"), ("new", "uni_inference")):
        laws = np.exp(np.asarray(data["solutions"][on][solution], float))
        tokens, transition = np.asarray(data["tokens"][on])[:, :-1], np.asarray(data["transition"][on], float)
        np.testing.assert_allclose(
            found[f"{on}_{solution}"], losses_by_hand(laws, tokens, transition).mean(), rtol=1e-5
        )
