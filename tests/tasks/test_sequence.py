"""Next-token tasks: what their samples are, and their exact losses against enumeration and published limits."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.models import Net, Transformer
from toylab.tasks.sequence import RepeatedBlocks, repeated

KEY = jax.random.key(3)
NET = Net.of(
    Transformer, d_vocab=32, d_vocab_out=32, n_ctx=32, n_layers=2, d_model=32, n_heads=2, d_mlp=0, readout="all"
)


@pytest.mark.parametrize("bos", [False, True])
def test_blocks_repeat_with_their_period_and_are_uniform(bos):
    task = RepeatedBlocks(d_vocab=6, n_ctx=16, min_period=3, max_period=8, bos=bos).check()
    tokens, periods = map(np.asarray, task.sample_with_periods(KEY, 3000))
    assert tokens.shape == (3000, 17) and tokens.dtype == np.int32
    if bos:
        assert (tokens[:, 0] == 5).all()
        tokens = tokens[:, 1:]
    for m in range(3, 9):
        these = tokens[periods == m]
        assert abs(len(these) - 500) < 5 * 500**0.5
        np.testing.assert_array_equal(these[:, m:], these[:, :-m])
        counts = np.bincount(these[:, :m].ravel(), minlength=6)
        n = 6 - bos
        assert counts[n:].sum() == 0
        assert (abs(counts[:n] - counts.sum() / n) < 5 * (counts.sum() / n) ** 0.5).all()
        assert len({tuple(row) for row in these[:, :m].tolist()}) > 40  # independent within a block


def test_a_sample_follows_its_key_and_the_evaluation_set_does_not():
    task = RepeatedBlocks(n_eval=8)
    assert (task.sample(KEY, 4) != task.sample(jax.random.key(4), 4)).any()
    one, other = task.data(KEY), task.data(jax.random.key(4))
    np.testing.assert_array_equal(one["tokens"], other["tokens"])
    assert one["tokens"].shape == (8, 33) and one["period"].shape == (8,)


def test_repeated_blocks_stand_twice_after_a_bos():
    tokens = np.asarray(repeated(KEY, 50, 13, 8, bos=True))
    assert tokens.shape == (50, 17) and (tokens[:, 0] == 12).all() and set(tokens[:, 1:].ravel()) == set(range(12))
    np.testing.assert_array_equal(tokens[:, 1:9], tokens[:, 9:])
    assert repeated(KEY, 5, 13, 8).shape == (5, 16)
    with pytest.raises(ValueError, match="period is 0"):
        repeated(KEY, 5, 13, 0)


def enumerated(n_tokens, length, periods):
    """P(string) of every string of `length` tokens, by enumerating the blocks of every period."""
    law = {}
    for m in periods:
        for block in itertools.product(range(n_tokens), repeat=m):
            string = tuple(block[i % m] for i in range(length))
            law[string] = law.get(string, 0) + n_tokens**-m / len(periods)
    return law


def bayes(law, length):
    """Loss by position of predicting each token by the law's own conditional probabilities."""
    losses = np.zeros(length)
    prefixes = [{} for _ in range(length + 1)]
    for string, p in law.items():
        for n in range(length + 1):
            prefixes[n][string[:n]] = prefixes[n].get(string[:n], 0) + p
    for string, p in law.items():
        for n in range(length):
            losses[n] -= p * np.log(prefixes[n + 1][string[: n + 1]] / prefixes[n][string[:n]])
    return losses


@pytest.mark.parametrize(("n_tokens", "n_ctx", "low", "high"), [(2, 11, 2, 6), (3, 7, 1, 5), (2, 6, 3, 6)])
def test_the_exact_loss_is_that_of_all_strings(n_tokens, n_ctx, low, high):
    law = enumerated(n_tokens, n_ctx + 1, range(low, high + 1))
    task = RepeatedBlocks(d_vocab=n_tokens, n_ctx=n_ctx, min_period=low, max_period=high)
    np.testing.assert_allclose(task.loss_by_position(), bayes(law, n_ctx + 1)[1:], rtol=0, atol=1e-12)
    assert task.exact_loss() == pytest.approx(task.loss_by_position().mean(), abs=1e-14)
    after_bos = task.replace(d_vocab=n_tokens + 1, n_ctx=n_ctx + 1, bos=True)
    np.testing.assert_allclose(after_bos.loss_by_position(), bayes(law, n_ctx + 1), rtol=0, atol=1e-12)


def test_the_exact_loss_is_the_reference_and_its_closed_form(reference):
    limits = json.loads((reference / "attention" / "limits.json").read_text())["rep_V32_T32"]
    task = RepeatedBlocks()
    ours, sampled = task.loss_by_position(), np.array(limits["by_pos"])
    np.testing.assert_allclose(ours, sampled, rtol=0, atol=0.01)  # means over a sample of sequences
    first_copy = np.array([1 / 9 + 8 / 9 / 32] + 31 * [8 / 9 / 32])  # token 8 repeats token 0 if the period is 8
    assert ours[7] == pytest.approx(-first_copy @ np.log(first_copy), abs=1e-9)
    assert task.exact_loss() == pytest.approx(limits["mean_closed_form"], abs=1e-9)
    large = RepeatedBlocks(d_vocab=64, n_ctx=64, min_period=16, max_period=32)
    assert large.exact_loss() == pytest.approx((23 * np.log(64) + np.log(17)) / 64, abs=1e-9)


def oracle(period):
    """Logits that copy the token `period` before, by the data's own rule; uniform where there is none."""

    def apply(params, tokens, **_):
        at = jnp.arange(tokens.shape[1]) + 1 - period
        copied = jax.nn.one_hot(tokens[:, jnp.maximum(at, 0)], 32) * (at >= 0)[:, None]
        return 40 * copied, {}

    return apply


def test_copying_at_the_period_has_no_loss_in_the_second_half():
    task = RepeatedBlocks(min_period=16, max_period=16, n_eval=32)
    measured = task.measure(oracle(16), {}, task.data(KEY))
    assert float(measured["second_half_loss"]) < 1e-6
    assert float(measured["first_half_loss"]) == pytest.approx(15 / 16 * np.log(32), rel=1e-6)
    assert float(measured["loss"]) == pytest.approx(task.exact_loss(), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_vocab": 1}, r"task\.d_vocab is 1: it must be at least 2"),
        ({"d_vocab": 2, "bos": True}, r"task\.d_vocab is 2: it must be at least 3"),
        ({"min_period": 0}, r"task\.min_period is 0: it must be at least 1"),
        ({"max_period": 7}, r"task\.max_period is 7: it must be at least task\.min_period = 8"),
        ({"n_ctx": 15}, r"task\.max_period is 16: a period must fit into the context, task\.n_ctx = 15"),
        ({"batch_size": 0}, r"task\.batch_size is 0"),
    ],
)
def test_bad_blocks_are_refused_with_one_sentence(change, message):
    with pytest.raises(ValueError, match=f"^{message}.*\\.$"):
        RepeatedBlocks(**change).check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_vocab": 31}, r"net\.d_vocab is 31: the task has 32 tokens"),
        ({"d_vocab_out": 31}, r"net\.d_vocab_out is 31: the task has 32 tokens"),
        ({"n_ctx": 31}, r"net\.n_ctx is 31: task\.n_ctx = 32"),
        ({"readout": "last"}, r"net\.readout is 'last'"),
        ({"causal": False}, r"net\.causal is false"),
    ],
)
def test_a_net_that_cannot_read_the_task_is_refused(change, message):
    RepeatedBlocks().check().check_net(NET)
    with pytest.raises(ValueError, match=f"^{message}.*\\.$"):
        RepeatedBlocks().check_net(NET.with_fields(**change))
