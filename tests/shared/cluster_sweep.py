"""A sweep of two groups, as a script."""

from toylab import store, sweep

SWEEP = """
import json, os, signal, sys, threading, time, warnings
from pathlib import Path
from toylab import configs, store, sweep
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.tasks import ModularArithmetic

def config(seed, lr, d_model=8, op="add"):
    net = Net.of(ModularMLP, d_vocab=11, d_vocab_out=11, d_model=d_model, d_mlp=16)
    return Config(ModularArithmetic(p=11, n_train=60, op=op), net, AdamW(lr=lr), seed=seed)

def learned(measures):
    return bool(measures["train_loss"][-1] < 1.0)

runs = [configs.check(c) for c in (config(0, 1e-2), config(1, 1e-3), config(2, 3e-5), config(3, 1e-3, 12))]
wrong = config(0, 1e-3, op="nonsense")
spec = sweep.Spec(saves=[0, *range(400, 400 * 80, 400)], stop=learned)
plan = sweep.Plan(lane=2, segment=1, chunk=2)
out = Path(sys.argv[1])
"""


def groups(folder):
    """Everything of each group."""
    return {group.name: everything_of(folder, group) for group in sweep.load(folder)}


def everything_of(folder, group):
    state = store.read_chunk(folder / group.name, int(group.steps[-1]), ("state",))[0]["state"]
    return {"steps": group.steps, "valid": group.valid, **group.params, **group.measures, **state}
