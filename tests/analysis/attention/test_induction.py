"""Scores, losses and ablations on repeated blocks, on the hand-built induction machine. Keys alone read its one
previous-token head."""

import jax
import jax.numpy as jnp
import numpy as np

from toylab.analysis.attention import induction
from toylab.base import Config, Run
from toylab.models import InductionMachine, Net
from toylab.optim import AdamW
from toylab.tasks import Program
from toylab.tasks.sequence import repeated


def test_the_first_head_of_the_machine_matters_by_way_of_keys_alone():
    net = Net.of(InductionMachine, d_vocab=13, n_ctx=16)
    config = Config(Program("induction", d_vocab=13, n_ctx=16), net, AdamW())
    params, run = net.init(jax.random.key(0)), Run(config=config, data={"tokens": jnp.zeros((1, 17), int)})
    lost, without = induction.path_ablation(params, run), induction.ablation(params, run)["zero"]
    assert abs(lost["k"][0]) > 0.05 and abs(lost["q"][0]) < 1e-5 and abs(lost["v"][0]) < 1e-5
    assert abs(without[0, 0] - lost["k"][0]) < 1e-5  # nothing else reads the first head
    assert abs(without[1, 0]) > 0.05


def test_scores_and_losses_of_the_machine():
    """Scores are entries of patterns, largest for the head built for them; losses are of softmax by hand, in float64."""
    net = Net.of(InductionMachine, d_vocab=13, n_ctx=16)
    task = Program("induction", d_vocab=13, n_ctx=16)
    tokens = jax.random.randint(jax.random.key(1), (20, 17), 0, 13)
    params, run = net.init(jax.random.key(0)), Run(config=Config(task, net, AdamW()), data={"tokens": tokens})
    scores = induction.head_scores(params, run)
    assert scores["previous_token"].shape == scores["induction"].shape == (2, 1)
    pattern = np.asarray(net.apply(params, repeated(jax.random.key(1), 64, 13, 8))[1]["pattern"], float)
    before, after = pattern[..., range(1, 16), range(15)], pattern[..., range(8, 16), range(1, 9)]
    np.testing.assert_allclose(scores["previous_token"], before.mean((1, 3)), atol=1e-5)
    np.testing.assert_allclose(scores["induction"], after.mean((1, 3)), atol=1e-5)
    assert scores["previous_token"].argmax() == 0 and scores["induction"].argmax() == 1
    logits = np.asarray(net.apply(params, tokens[:16, :-1])[0], float)
    each = np.exp(logits - logits.max(-1, keepdims=True))
    right = np.take_along_axis(each / each.sum(-1, keepdims=True), np.asarray(tokens[:16, 1:, None]), -1)[..., 0]
    np.testing.assert_allclose(induction.token_losses(params, run)["loss"], -np.log(right), rtol=1e-4, atol=1e-4)
