"""Counting predictors, keys of the token before and the minimal model: by loops in float64, and by hand."""

import itertools

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
        assert found[name] == pytest.approx(by_hand.mean(), abs=1e-5)


@pytest.mark.parametrize("n", [1, 2, 7, 16, 64, 100])
def test_bins_hold_every_position_once(n):
    edges = markov_chains.position_bins(n)
    assert edges[0] == 0 and edges[-1] == n and (np.diff(edges) > 0).all() and len(edges) <= markov_chains.BINS + 1
    values = np.random.default_rng(n).normal(size=(2, n))
    by_hand = [values[:, start:end].mean(1) for start, end in itertools.pairwise(edges)]
    np.testing.assert_allclose(markov_chains._binned(jnp.asarray(values)), np.transpose(by_hand), atol=1e-6)


def test_layer_1_gets_keys_of_the_token_before(run):
    """By shifting what layer 0 attends to: its output is that of the token before, the first's that of itself."""
    params = NET.init(jax.random.key(1))
    found = jax.jit(markov_chains.statistical_induction)(params, run)
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
    np.testing.assert_allclose(found["loss"], markov_chains._binned(jnp.asarray(loss(None))), atol=1e-5)
    by_layer_1 = NET.apply(params, tokens, z)[1]["resid_pre"][1][:, None]
    keys = {"k_input": lambda k, layer: jnp.broadcast_to(by_layer_1, k.shape) if layer == 1 else k}
    assert found["keys_gain"] == pytest.approx(loss(None).mean() - loss(keys).mean(), abs=1e-5)
    assert abs(loss(keys).mean() - loss(z).mean()) > 1e-4 and abs(loss(keys).mean() - loss(None).mean()) > 1e-4


def test_patterns_are_kept_of_some_seeds_alone(run):
    params = NET.init(jax.random.key(1))
    for seed, kept in ((100, True), (101, False)):
        found = markov_chains.statistical_induction(params, run.replace(config=run.config.replace(seed=seed)))
        assert bool(np.any(found["pattern"])) is kept


def v_of_first(cache):
    return cache["v"][0]


def test_the_minimal_model_by_loops():
    rng = np.random.default_rng(0)
    v, W, tokens = rng.normal(size=5), rng.normal(size=(3, 3)), rng.integers(0, 3, (2, 5))
    by_hand = np.zeros((2, 5, 3))
    for n, t in np.ndindex(2, 5):
        for s in range(t + 1):
            weights = np.exp([v[s - r] for r in range(s + 1)])
            read = sum(weight * np.eye(3)[tokens[n, r]] for r, weight in enumerate(weights / weights.sum()))
            by_hand[n, t, tokens[n, s]] += W[tokens[n, t]] @ read
    found = markov_chains._minimal_logits(jnp.asarray(v), jnp.asarray(W), jnp.asarray(tokens))
    np.testing.assert_allclose(found, by_hand, atol=1e-5)


def test_the_minimal_model_learns_to_match_and_to_look_one_back(run):
    found = jax.jit(markov_chains.minimal_model)({}, run)
    assert found["loss"].shape == found["match"].shape == (markov_chains.MINIMAL_POINTS,)
    assert found["attention"][0] == pytest.approx(1 / 16, abs=0.01)  # even at the start
    assert found["loss"][0] > 1.05 and found["loss"][-10:].mean() < found["loss"][:10].mean() - 0.05
    assert found["match"][-1] > 0.05 and found["attention"][-1].argmax() == 1


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
