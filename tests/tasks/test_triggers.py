"""Bigrams with triggers: the sequences against their rules, the exact losses against a predictor that knows them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.models import Net, Transformer
from toylab.tasks import TriggerBigrams
from toylab.tasks.triggers import bigram_loss, drawn_bigrams

KEY = jax.random.key(2)
QUICK = {"xla_backend_optimization_level": 0}  # halves the time to compile
TASK = TriggerBigrams(d_vocab=12, n_ctx=60, n_triggers=2, batch_size=8, n_eval=2000)


@pytest.fixture(scope="module")
def found():
    data = jax.jit(TASK.data, compiler_options=QUICK)(KEY)
    return {name: np.asarray(value) for name, value in data.items()} | {"triggers": np.asarray(TASK.triggers())}


def test_triggers_are_the_most_frequent_tokens_of_the_bigrams(found):
    table = np.float64(drawn_bigrams(12))
    law = np.linalg.matrix_power(table / table.sum(axis=1, keepdims=True), 2000)[0]
    np.testing.assert_array_equal(found["triggers"], np.argsort(-law)[:2])


def test_every_trigger_is_followed_by_its_output_and_other_tokens_by_their_bigrams(found):
    tokens, outputs = found["tokens"], found["outputs"]
    now, after = tokens[:, :-1], tokens[:, 1:]
    for i, trigger in enumerate(found["triggers"]):
        n, t = np.nonzero(now == trigger)
        assert len(n) > 1000
        np.testing.assert_array_equal(after[n, t], outputs[n, i])
    assert (
        abs(np.bincount(outputs.ravel(), minlength=12) / outputs.size - 1 / 12) < 5 / (12 * outputs.size) ** 0.5
    ).all()
    usual = ~np.isin(now, found["triggers"])
    pairs = np.zeros((12, 12))
    np.add.at(pairs, (now[usual], after[usual]), 1)
    seen = pairs.sum(axis=1)
    error = abs(pairs / np.maximum(seen, 1)[:, None] - drawn_bigrams(12))[seen > 0]
    assert (error < 5 * 0.5 / seen[seen > 0, None] ** 0.5).all() and (seen > 0).sum() == 10
    first = np.bincount(tokens[:, 0], minlength=12) / len(tokens)
    rows = np.float64(drawn_bigrams(12))
    law = np.linalg.matrix_power(rows / rows.sum(axis=1, keepdims=True), 2000)[0]
    np.testing.assert_allclose(first, law, atol=5 * 0.5 / 2000**0.5)


def bayes(params, tokens, **_):
    """Log-probabilities of a predictor that looks back for triggers and knows the bigrams."""
    triggers, table = TASK.triggers(), TASK.table()
    same = (tokens[:, :, None] == tokens[:, None, :]) & jnp.tri(tokens.shape[1], k=-1, dtype=bool)
    last = jnp.max(jnp.where(same, jnp.arange(tokens.shape[1]), -1), axis=-1)
    copied = jax.nn.one_hot(jnp.take_along_axis(tokens, last + 1, axis=1), 12)
    is_trigger = (tokens[..., None] == triggers).any(axis=-1)
    law = jnp.where(
        (is_trigger & (last >= 0))[..., None], copied, jnp.where(is_trigger[..., None], 1 / 12, table[tokens])
    )
    return jnp.log(jnp.maximum(law, 1e-30)), {}


def test_the_exact_losses_are_those_of_the_predictor_that_knows_the_rules(found):
    data = {"tokens": jnp.asarray(found["tokens"])}
    measures, exact, new, known = jax.jit(
        lambda data: (
            TASK.measure(bayes, {}, data),
            TASK.exact_losses(data["tokens"][:, :-1]),
            *TASK.occurrences(data["tokens"][:, :-1]),
        ),
        compiler_options=QUICK,
    )(data)
    exact, new, known = map(np.asarray, (exact, new, known))
    assert float(measures["output_loss"]) == pytest.approx(0, abs=1e-6) and (exact[known] == 0).all()
    assert float(measures["new_output_loss"]) == pytest.approx(np.log(12), rel=1e-5)
    np.testing.assert_allclose(exact[new], np.log(12), rtol=1e-6)
    usual = ~(new | known)
    assert float(measures["bigram_loss"]) == pytest.approx(exact[usual].mean(), abs=5 * 0.8 / usual.sum() ** 0.5)
    assert not (new & known).any() and (new.sum(axis=1) <= 2).all() and known.sum() > new.sum()


def test_the_loss_is_on_outputs_of_triggers_met_before():
    """A predictor that is right there alone has no loss; one that is wrong there alone has its loss."""

    def elsewhere(params, tokens, **_):
        known = TASK.occurrences(tokens)[1][..., None]
        return jnp.where(known, bayes(params, tokens)[0], 0), {}

    value = jax.jit(lambda key: TASK.loss(elsewhere, {}, {}, key), compiler_options=QUICK)(KEY)
    assert float(value) == pytest.approx(0, abs=1e-6)


def test_the_loss_of_a_table_of_bigrams_is_its_entropy_rate():
    assert bigram_loss(np.array([[0.5, 0.5], [1.0, 0.0]])) == pytest.approx(2 / 3 * np.log(2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_vocab": 5}, r"task\.d_vocab is 5: it must be above task\.n_triggers = 5"),
        ({"n_triggers": 0}, r"task\.n_triggers is 0: it must be at least 1"),
        ({"n_ctx": 0}, r"task\.n_ctx is 0"),
        ({"bigrams": np.eye(3)}, r"task\.bigrams has shape \(3, 3\)"),
        ({"d_vocab": 6, "bigrams": np.ones((6, 6))}, r"task\.bigrams has row 0 with sum 6: every row must sum to 1"),
    ],
)
def test_bad_triggers_are_refused_with_one_sentence(change, message):
    with pytest.raises(ValueError, match=f"^{message}.*\\.$"):
        TriggerBigrams(**change).check()


def test_own_bigrams_are_taken():
    task = TriggerBigrams(d_vocab=6, n_ctx=9, n_triggers=1, bigrams=np.full((6, 6), 1 / 6)).check()
    np.testing.assert_allclose(task.table(), 1 / 6)
    net = Net.of(Transformer, d_vocab=6, d_vocab_out=6, n_ctx=9, readout="all")
    task.check_net(net)
    with pytest.raises(ValueError, match=r"net\.n_ctx is 8"):
        task.check_net(net.with_fields(n_ctx=8))
