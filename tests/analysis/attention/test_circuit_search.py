"""What the analyzers of circuit discovery say of the hand-built induction machine, where the answers are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.attention import circuit_search
from toylab.base import Config, Run
from toylab.models import InductionMachine, Net
from toylab.optim import AdamW
from toylab.tasks import Program


@pytest.fixture(scope="module")
def machine():
    """Its weights, and a run on blocks of eight tokens, each twice."""
    net = Net.of(InductionMachine, d_vocab=13, n_ctx=17)
    config = Config(Program("induction", d_vocab=13, n_ctx=17), net, AdamW())
    block = jnp.stack([jax.random.permutation(key, 13)[:8] for key in jax.random.split(jax.random.key(0), 16)])
    tokens = jnp.concatenate([block, block, block[:, :1]], axis=1)
    return net.init(jax.random.key(0)), Run(config=config, data={"tokens": tokens})


def test_each_head_has_its_score(machine):
    found = circuit_search.attention_scores(*machine)
    assert found["previous_token"].shape == found["induction"].shape == (2, 1)
    assert found["previous_token"][0, 0] > 0.9 > 0.2 > found["previous_token"][1, 0]


def test_the_naive_account_is_that_of_the_machine(machine):
    """It reads the token there as query and value, and the token before as key, and nothing else."""
    found = circuit_search.scrub(*machine, draws=2)
    np.testing.assert_allclose(found["explained"], 1, atol=0.02)  # the first position has no token before it
    assert (found["random"] > found["scrubbed"] + 0.1).all()
