"""Lanes over several devices: eight virtual CPU devices in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[2]

ON_EIGHT = """
import re, sys
from pathlib import Path
import jax, numpy as np
from rounding import same_training
from toylab import configs as cfg
from toylab.sweep import lanes, memory
from toylab import sweep
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.sweep.plan import Plan, choose_plan
from toylab.tasks import ModularArithmetic

assert jax.local_device_count() == 8
folder = Path(sys.argv[1])

def tiny(seed):
    net = Net.of(ModularMLP, d_vocab=11, d_vocab_out=11, d_model=8, d_mlp=16)
    return cfg.check(Config(ModularArithmetic(p=11, n_train=60), net, AdamW(lr=3e-3), seed=seed))

def trained(name, plan, n=11):
    sweep.run([tiny(seed) for seed in range(n)], sweep.Spec(saves=(0, 5, 10, 40)), folder / name, plan=plan)
    (group,) = sweep.load(folder / name)
    assert group.valid.all()
    return {**group.params, **group.measures}

def differing(a, b):
    return [name for name in a if a[name].tobytes() != b[name].tobytes()]

one, eight = trained("one", Plan(1, 2, 2, 1)), trained("eight", Plan(8, 2, 2, 8))
print("one run a device as alone within rounding:", same_training(one, eight))
two, sixteen = trained("two", Plan(2, 2, 2, 1)), trained("sixteen", Plan(16, 2, 2, 8))
print("two runs a device as in a lane of two within rounding:", same_training(two, sixteen))
few = trained("few", Plan(16, 2, 2, 8), n=3)
print("bits whatever is launched ahead:", differing(trained("each", Plan(8, 1, 1, 8)), eight))
print("bits whatever the neighbours:", differing(few, {name: value[:3] for name, value in sixteen.items()}))

members = list(range(11))
states = lanes.first_states([tiny(seed) for seed in members])
lane = lanes.Lane([tiny(seed) for seed in members], states, members, 16, (), None, 8)
program = lane.function.lower(lane.config, lane.state, np.zeros(2, np.int32)).compile().as_text()
words = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast"
print("collectives:", re.findall(words, program))
asked = lanes.Lane([tiny(seed) for seed in members], states, members, 16, (), None, 8)
takes = memory.compiled_bytes(asked.compile(2))
both = [[one.advance(np.array([0, 3]), 2)["traj"] for _ in range(2)][1] for one in (lane, asked)]
print("bits of a lane that was compiled to ask what it takes:", takes > 0, differing(*both))
print("devices:", sorted({len(leaf.sharding.device_set) for leaf in jax.tree.leaves(lane.state.params)}))
print("chosen:", choose_plan([tiny(seed) for seed in range(11)], (0, 5), {}, None, None))
print("given:", choose_plan([tiny(seed) for seed in range(11)], (0, 5), {}, None, 12))
print("few:", choose_plan([tiny(seed) for seed in range(3)], (0, 5), {}, None, None))
"""


def test_lanes_over_devices(tmp_path):
    """A run's bits depend on no other run on any device, and there is nothing to communicate."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests" / "shared")])
    environment = {**os.environ, "PYTHONPATH": path, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", ON_EIGHT, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "one run a device as alone within rounding: True",
        "two runs a device as in a lane of two within rounding: True",
        "bits whatever is launched ahead: []",
        "bits whatever the neighbours: []",
        "collectives: []",
        "bits of a lane that was compiled to ask what it takes: True []",
        "devices: [8]",
        "chosen: Plan(lane=16, segment=2, chunk=2, shards=8)",
        "given: Plan(lane=12, segment=2, chunk=2, shards=6)",
        "few: Plan(lane=3, segment=2, chunk=2, shards=3)",
    ]
