"""Ablations on repeated blocks, on the hand-built induction machine, whose one previous-token head keys alone read."""

import jax
import jax.numpy as jnp

from toylab.analysis.attention import induction
from toylab.base import Config, Run
from toylab.models import InductionMachine, Net
from toylab.optim import AdamW
from toylab.tasks import Program


def test_the_first_head_of_the_machine_matters_by_way_of_keys_alone():
    net = Net.of(InductionMachine, d_vocab=13, n_ctx=16)
    config = Config(Program("induction", d_vocab=13, n_ctx=16), net, AdamW())
    params, run = net.init(jax.random.key(0)), Run(config=config, data={"tokens": jnp.zeros((1, 17), int)})
    lost, without = induction.path_ablation(params, run), induction.ablation(params, run)["zero"]
    assert abs(lost["k"][0]) > 0.05 and abs(lost["q"][0]) < 1e-5 and abs(lost["v"][0]) < 1e-5
    assert abs(without[0, 0] - lost["k"][0]) < 1e-5  # nothing else reads the first head
    assert abs(without[1, 0]) > 0.05
