"""Belief regression: exact for an affine image, empty for noise, weighted by probability, beside its controls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis import probes
from toylab.analysis.attention import beliefs
from toylab.base import Config, Run
from toylab.models import Net, Transformer
from toylab.optim import AdamW
from toylab.tasks import hmm

TASK = hmm.HiddenMarkov(hmm.mess3(0.05, 0.85), n_ctx=4).check()
NET = Net.of(Transformer, d_vocab=3, d_vocab_out=3, n_ctx=4, n_layers=2, d_model=8, n_heads=2, d_mlp=0, readout="all")
DATA = jax.tree.map(np.asarray, jax.jit(TASK.data)(jax.random.key(0)))
RUN = Run(Config(TASK, NET, AdamW(), seed=3), DATA)
QUICK = {"xla_backend_optimization_level": 0}  # halves the time to compile
regression = jax.jit(beliefs.regression, compiler_options=QUICK)
explained = jax.jit(beliefs.explained, compiler_options=QUICK)
RESIDUALS = jax.random.normal(jax.random.key(1), (81, 4, 10))


def test_an_affine_image_of_the_beliefs_explains_them_all():
    hidden = DATA["beliefs"] @ jax.random.normal(jax.random.key(2), (3, 10)) + 7
    image, r2 = regression(hidden, DATA["beliefs"], DATA["weight"])
    np.testing.assert_allclose(image, DATA["beliefs"], atol=1e-5)
    assert float(r2) > 1 - 1e-8


def test_noise_explains_what_its_dimensions_fit():
    image, r2 = regression(RESIDUALS, DATA["beliefs"], DATA["weight"])
    np.testing.assert_allclose(image.sum(-1), 1, atol=1e-5)
    assert 0 < r2 < 0.3
    assert np.isclose(regression(0 * RESIDUALS, DATA["beliefs"], DATA["weight"])[1], 0, atol=1e-6)


def test_sequences_count_by_their_probability():
    """Improbable ones may be as wrong as they like: R² is that of the others."""
    probable = DATA["weight"] > np.median(DATA["weight"])
    hidden = jnp.where(probable[:, None, None], jnp.tile(DATA["beliefs"], 4)[..., :10], RESIDUALS)
    r2 = [regression(hidden, DATA["beliefs"], weight)[1] for weight in (DATA["weight"], 1.0 * probable)]
    assert r2[0] < 0.99 and r2[1] > 1 - 1e-6


def test_shuffled_beliefs_are_the_same_ones_elsewhere():
    dealt = beliefs.shuffled(DATA["beliefs"])
    rows = [np.sort(np.asarray(a).reshape(-1, 3)[:, 0]) for a in (dealt, DATA["beliefs"])]
    np.testing.assert_array_equal(*rows)
    assert np.mean(np.all(dealt == DATA["beliefs"], axis=-1)) < 0.1


def test_unexplained_ratio():
    assert np.isclose(beliefs.unexplained_ratio(0.99, 0.95), 0.2)


def test_after_one_symbol_an_embedding_tells_the_belief():
    """It is a function of the token, and so an affine image of the token's embedding, trained or not; attention over
    positions blurs that."""
    first = DATA | {
        "beliefs": np.repeat(DATA["beliefs"][:, :1], 4, axis=1),
        "tokens": np.repeat(DATA["tokens"][:, :1], 4, 1),
    }
    found = explained(NET.init(jax.random.key(0)), RUN.replace(data=first))
    assert found["layers"].shape == (3,) and found["final"] == found["layers"][-1]
    assert found["final"] < 0.9999 < 1 - 1e-5 < float(min(found["concat"], found["layers"][0]))


def test_controls_lie_where_they_must():
    params = NET.init(jax.random.key(0))
    found = explained(params, RUN)
    streams = probes.residual_streams(NET.apply(params, DATA["tokens"])[1])
    by_hand = regression(beliefs.concatenated(streams), DATA["beliefs"], DATA["weight"])[1]
    np.testing.assert_allclose(found["concat"], by_hand, atol=1e-5)
    assert found["final"] <= found["concat"] + 1e-5 < 1.00001
    assert found["final_shuffled"] < found["final"] - 0.3 and found["concat_shuffled"] < found["concat"] - 0.3
    other = explained(RUN.config.net.init(jax.random.key(3)), RUN)  # what beliefs.untrained does
    assert 0.3 < other["final"] < 1 and other["final"] != found["final"]


def test_images_and_probes_have_the_shapes_they_say():
    params = NET.init(jax.random.key(0))
    image = jax.eval_shape(beliefs.image, params, RUN)
    assert {name: value.shape for name, value in image.items()} == {"final": (81, 4, 3), "concat": (81, 4, 3)}
    last = jax.jit(probes.last_position, compiler_options=QUICK)(params, RUN)
    assert last["r2_held_out"] <= last["r2_fitted"] <= 1 and last["sparse_r2_held_out"].shape == (4,)
    assert last["sparse_r2_held_out"][0] < last["sparse_r2_held_out"][-1]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"^beliefs has shape \(81, 2, 3\) .* with N = 81 and P = 4 as in residuals$"):
        beliefs.regression(RESIDUALS, DATA["beliefs"][:, :2], DATA["weight"])


def test_every_possible_sequence_is_there_once():
    """Of Random-Random-XOR: sequences of up to 4 bits that it can emit, with probabilities of 1 for each length."""
    T = hmm.rrxor()
    rows, position, belief, weight = beliefs.prefixes(T, 4)
    tokens = hmm.every_sequence(2, 4)
    told = {tuple(tokens[row, : last + 1]) for row, last in zip(rows, position, strict=True)}
    assert len(told) == len(rows) == len(belief)
    np.testing.assert_allclose([weight[position == p].sum() for p in range(4)], 1)
    np.testing.assert_allclose(belief.sum(axis=1), 1)
    of_row = hmm.belief_states(T, tokens)[rows, position + 1]
    np.testing.assert_allclose(belief, of_row)


def test_the_last_states_share_is_what_is_left():
    np.testing.assert_allclose(
        beliefs.completed(np.float16([[0.25, 0.5], [1.5, 0]])), [[0.25, 0.5, 0.25], [1.5, 0, -0.5]]
    )
