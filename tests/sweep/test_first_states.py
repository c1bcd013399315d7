"""The initial states of a group come from one program, and are bit for bit those that each run makes alone."""

import jax
import numpy as np
import pytest

from toylab.base import Config
from toylab.models import FeatureDecoder, ModularMLP, Net, Transformer
from toylab.optim import SGD, AdamW, Chain, KeepNorm
from toylab.sweep import lanes
from toylab.tasks import ModularArithmetic

MLP = Net.of(ModularMLP, d_vocab=11, d_vocab_out=11, d_model=8, d_mlp=16)
ATTENTION = Net.of(Transformer, d_vocab=12, d_vocab_out=11, n_ctx=3, d_model=8, n_heads=2, d_head=4, d_mlp=16)
NETS = {
    "mlp": (MLP, AdamW(lr=3e-3)),
    "a norm, of which a vmap has other bits": (MLP, Chain(SGD(lr=0.1), after=(KeepNorm(),))),
    "transformer": (ATTENTION, AdamW()),
    "singular vectors": (Net.of(FeatureDecoder, n_features=9, n_hidden=4, d_mlp=6), AdamW(weight_decay=0.0)),
}


def configs(kind, n=5):
    net, optimizer = NETS[kind]
    return [Config(ModularArithmetic(p=11, n_train=60), net, optimizer, seed=7 * seed) for seed in range(n)]


def bits(state):
    return jax.tree.structure(state), [(np.shape(leaf), np.asarray(leaf).tobytes()) for leaf in jax.tree.leaves(state)]


def one_by_one(runs, given):
    return lanes.stacked([lanes.first_state(*both) for both in zip(runs, given, strict=True)])


@pytest.mark.parametrize("kind", NETS)
def test_they_have_the_bits_of_each_alone(kind, monkeypatch):
    runs = configs(kind)
    alone = one_by_one(runs, [None] * 5)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(alone.replace(step=None))) // 5
    made = lanes.first_states(runs)
    assert bits(made) == bits(alone)
    jax.tree.map(lambda leaf: leaf.fill(0), made.replace(step=None))  # as training does with ended runs
    monkeypatch.setattr(lanes, "FIRST_BYTES", 2.5 * size)  # two at a time, and one is left over
    assert bits(lanes.first_states(runs)) == bits(alone)
    monkeypatch.setattr(lanes, "FIRST_BYTES", 1)
    assert bits(lanes.first_states(runs)) == bits(alone)


def test_they_start_from_given_params_and_are_not_made_one_by_one(monkeypatch):
    runs = configs("mlp")
    given = [MLP.init(jax.random.key(100 + i)) for i in range(5)]
    alone = one_by_one(runs, given)
    monkeypatch.delattr(lanes, "first_state")
    assert bits(lanes.first_states(runs, given)) == bits(alone)


def test_a_run_that_cannot_start_is_refused():
    runs = configs("a norm, of which a vmap has other bits")
    given = [MLP.init(jax.random.key(i)) for i in range(5)]
    given[3] = jax.tree.map(np.zeros_like, given[3])
    with pytest.raises(ValueError, match="all params start at 0"):
        lanes.first_states(runs, given)
