"""Runs whose batches are drawn afresh: those that confirm a claim each have a stream of batches of their own.

With one `data_seed` all see the same batches, and are independent in their weights alone."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import pytest
from small_pages import traced

from toylab import lab, sweep, train
from toylab.claims import frozen
from toylab.lab import pages
from toylab.protocol import batch_key


def draws(config):
    """Whether the loss depends on what draws the batch of a step."""
    params, data = sweep.shapes(config).params, jax.eval_shape(train.data, config)
    apply = partial(config.net.apply, full=False)
    drawn = jax.eval_shape(lambda key: batch_key(config.task, key, jnp.int32(0)), jax.eval_shape(jax.random.key, 0))
    loss = jax.make_jaxpr(lambda drawn, params, data: config.task.loss(apply, params, data, drawn))
    traced = loss(drawn, params, data).jaxpr
    needed = set(map(id, traced.outvars))
    for equation in reversed(traced.eqns):  # a key that is split for nothing draws nothing
        if needed & set(map(id, equation.outvars)):
            needed |= set(map(id, equation.invars))
    return any(id(one) in needed for one in traced.invars[: len(jax.tree.leaves(drawn))])


def shared(part):
    """Whether confirming runs of a part draw batches, and do not each have a stream of their own."""
    configs = [] if part.imported else part.configs["cpu"]
    if not frozen.confirming([config.seed for config in configs]) or not part.saves["cpu"][-1]:
        return False
    seeds, streams = ({getattr(config, name) for config in configs} for name in ("seed", "data_seed"))
    return draws(configs[0]) and len(streams) < len(seeds)


@pytest.mark.parametrize("name", traced(sorted(pages.built_in())))
def test_confirming_runs_see_batches_of_their_own(name):
    parts = lab.parts(pages.load(name))
    assert [part_name for part_name, part in parts.items() if shared(part)] == []


def test_what_draws_batches_is_seen():
    induction, grokking = pages.load("induction"), pages.load("grokking")
    assert draws(induction.NETWORKS.configs["smoke"][0]) and not draws(grokking.CONFIGS["smoke"][0])
    parity = pages.load("two_circuits").CONFIGS["smoke"][0]
    assert draws(parity) and not draws(parity.replace(task=parity.task.replace(batch_size=0)))
    one_stream = [config.replace(data_seed=0) for config in induction.NETWORKS.configs["cpu"]]
    assert shared(replace(induction.NETWORKS, configs={"cpu": one_stream})) and not shared(induction.NETWORKS)
