"""Skip trigrams: the sequences against their rule, the limits against entropies worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.models import Net, Transformer
from toylab.tasks import SkipTrigrams

KEY = jax.random.key(4)
QUICK = {"xla_backend_optimization_level": 0}  # halves the time to compile
LAW = np.zeros((2, 2, 4), np.float32)
LAW[0, 0, :2] = 0.5  # A0 … B0 → either of two
LAW[0, 1, 2] = LAW[1, 0, 2] = LAW[1, 1, 3] = 1
TASK = SkipTrigrams(n_sources=2, n_destinations=2, n_answers=4, n_fillers=3, n_ctx=5, n_eval=6000, law=LAW).check()


def test_one_source_a_destination_at_the_end_and_the_answer_by_the_law():
    found = jax.jit(TASK.data, compiler_options=QUICK)(KEY)
    tokens, answers = np.asarray(found["tokens"]), np.asarray(found["answers"])
    assert tokens.shape == (6000, 5) and TASK.d_vocab == 7
    assert (np.isin(tokens, (0, 1)).sum(axis=1) == 1).all() and np.isin(tokens[:, -1], (2, 3)).all()
    assert (np.isin(tokens, (4, 5, 6)).sum(axis=1) == 3).all()
    row, place = np.nonzero(np.isin(tokens, (0, 1)))
    assert (abs(np.bincount(place, minlength=4) / 6000 - 0.25) < 5 * 0.5 / 6000**0.5).all() and place.max() == 3
    counts = np.zeros((2, 2, 4))
    np.add.at(counts, (tokens[row, place], tokens[:, -1] - 2, answers), 1)
    assert (counts[LAW == 0] == 0).all()
    np.testing.assert_allclose(counts / counts.sum(axis=-1, keepdims=True), LAW, atol=0.1)
    np.testing.assert_allclose(counts.sum(axis=-1) / 6000, 0.25, atol=5 * 0.5 / 6000**0.5)


def test_the_limits_are_the_entropies_of_the_law():
    assert TASK.exact_loss() == pytest.approx(np.log(2) / 4)
    after_b0 = 0.5 * np.log(2) + 0.5 * np.log(4)  # 1/4, 1/4, 1/2
    assert TASK.bigram_loss() == pytest.approx((after_b0 + np.log(2)) / 2)
    assert TASK.unigram_loss() == pytest.approx(2 / 8 * np.log(8) + 0.5 * np.log(2) + 0.25 * np.log(4))
    assert SkipTrigrams().exact_loss() == 0 < SkipTrigrams().bigram_loss() < SkipTrigrams().unigram_loss()


def test_a_predictor_that_knows_the_law_attains_the_exact_loss():
    def bayes(params, tokens, **_):
        source = jnp.sum(jnp.where(tokens < 2, tokens, 0), axis=1)
        return jnp.log(jnp.maximum(jnp.asarray(LAW)[source, tokens[:, -1] - 2], 1e-30)), {}

    loss = jax.jit(lambda data: TASK.measure(bayes, {}, data)["loss"], compiler_options=QUICK)(TASK.data(KEY))
    assert float(loss) == pytest.approx(TASK.exact_loss(), abs=5 * 0.3 / 6000**0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_ctx": 1}, r"task\.n_ctx is 1: a source and a destination need at least 2 positions"),
        ({"n_fillers": 0}, r"task\.n_fillers is 0: it must be at least 1"),
        ({"law": LAW[0]}, r"task\.law has shape \(2, 4\): it must be .* = \(2, 2, 4\)"),
        ({"law": 2 * LAW}, r"task\.law has rows that are no probabilities"),
    ],
)
def test_bad_trigrams_are_refused_with_one_sentence(change, message):
    with pytest.raises(ValueError, match=f"^{message}.*\\.$"):
        TASK.replace(**change).check()


def test_a_net_must_know_every_token_and_answer_at_the_end():
    net = Net.of(Transformer, d_vocab=7, d_vocab_out=4, n_ctx=5)
    TASK.check_net(net)
    for change, message in (
        ({"d_vocab": 6}, r"net\.d_vocab is 6"),
        ({"d_vocab_out": 3}, r"net\.d_vocab_out is 3"),
        ({"readout": "all"}, r"net\.readout is 'all'"),
    ):
        with pytest.raises(ValueError, match=message):
            TASK.check_net(net.with_fields(**change))
