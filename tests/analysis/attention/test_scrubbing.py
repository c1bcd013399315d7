"""Causal scrubbing on the induction machine, of which the naive account of an induction head is the whole truth."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.attention.scrubbing import (
    donors,
    explained,
    naive_induction,
    no_dependence,
    previous_token,
    scrubbed,
    this_token,
)
from toylab.models import InductionMachine, Net
from toylab.tasks import Program

QUICK = {"xla_backend_optimization_level": 0}  # halves the time to compile
TASK = Program("induction", d_vocab=7, n_ctx=11, n_eval=128)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def share():
    """The share of the loss that features of the induction head's query, key and value explain."""
    net = Net.of(InductionMachine, d_vocab=7, n_ctx=11)
    params, data = jax.jit(net.init, compiler_options=QUICK)(KEY), jax.jit(TASK.data)(KEY)
    tokens = data["tokens"]

    @partial(jax.jit, compiler_options=QUICK)
    def losses(features):
        names = [(1, 0, part) for part in "qkv"]
        logits = scrubbed(net.apply, params, tokens, dict(zip(names, features, strict=True)), jax.random.key(1))
        return jnp.mean(TASK.errors(logits, data["answer"]), where=data["asked"])

    everything = jnp.broadcast_to(
        jnp.arange(len(tokens))[:, None], tokens.shape
    )  # each example agrees with itself alone

    def of(**parts):
        features = [parts.get(part, lambda _: everything)(tokens) for part in "qkv"]
        free = [no_dependence(tokens) if part in parts else everything for part in "qkv"]
        return float(explained(losses([everything] * 3), losses(features), losses(free)))

    return of


def test_the_naive_account_explains_the_machine(share):
    assert share(q=this_token, k=previous_token, v=this_token) == pytest.approx(1, abs=1e-6)
    assert share(k=previous_token) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("wrong", [{"k": this_token}, {"q": previous_token}, {"v": previous_token}])
def test_a_wrong_account_does_not(share, wrong):
    assert share(**wrong) < 0.6  # in a block of different tokens a wrong feature still says a little


def test_donors_agree_and_are_drawn_evenly():
    feature = jnp.array([[0, 1], [0, 2], [1, 2], [0, 1]])
    drawn = np.stack([donors(jax.random.key(i), feature) for i in range(300)])  # [300, B, P]
    for at in range(2):
        assert np.all(feature[drawn[..., at], at] == feature[:, at])
    assert set(np.unique(drawn[:, 0, 0])) == {0, 1, 3}
    np.testing.assert_allclose([np.mean(drawn[:, 0, 0] == row) for row in (0, 1, 3)], 1 / 3, atol=0.11)
    assert np.all(drawn[:, 2, 0] == 2)


def test_features():
    tokens = jnp.array([[4, 5, 6]])
    np.testing.assert_array_equal(previous_token(tokens), [[-1, 4, 5]])
    assert set(naive_induction(tokens, 1, 3, "kv")) == {(1, 3, "k"), (1, 3, "v")}
    np.testing.assert_array_equal(naive_induction(tokens, 1, 3)[1, 3, "k"], [[-1, 4, 5]])


def test_a_batch_of_one_and_heads_that_are_not_there_are_refused():
    net = Net.of(InductionMachine, d_vocab=7, n_ctx=11)
    params, x = net.init(KEY), jnp.zeros((2, 5), int)
    with pytest.raises(
        ValueError, match=r"^x has shape \(1, 5\): inputs are drawn from other examples, .* at least 2\.$"
    ):
        scrubbed(net.apply, params, x[:1], naive_induction(x[:1], 1, 0), KEY)
    for missing in ((2, 0, "q"), (1, 1, "q"), (-1, 0, "k"), (1, 0, "z")):
        with pytest.raises(ValueError, match=r"^hypothesis has \(.*of 2 layers of 1 heads\.$"):
            scrubbed(net.apply, params, x, {missing: x}, KEY)
