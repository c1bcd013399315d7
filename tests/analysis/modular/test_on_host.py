"""What needs float64 is computed on the host's CPU, wherever the weights lie: a TPU aborts on complex128. The first of two
virtual CPU devices stands for the host, the second, on which all arrays lie, for the accelerator."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from toylab.analysis.float64 import float64_on_host
from toylab.analysis.modular.circuits import circularity

ROOT = Path(__file__).resolve().parents[3]
WATCHED = """
import jax, numpy as np
from toylab.analysis.modular import circuit_report, measures, report
from toylab.models import ModularMLP, Net

host, device = jax.devices()
jax.config.update("jax_default_device", device)
seen = set()

def watched(name, function):
    def called(*args):
        found = function(*args)
        seen.update((name, *leaf.devices()) for leaf in jax.tree.leaves(found))
        return found
    return called

names = {measures: ("_symmetricity", "_irrelevance", "_circularity", "_alone", "_logits", "_explained_exactly"),
         report: ("_forward", "_without")}
for module, functions in names.items():
    for name in functions:
        setattr(module, name, watched(name, getattr(module, name)))

p = 7
net = Net.of(ModularMLP, d_vocab=p, d_vocab_out=p, d_model=8, d_mlp=16)
params = jax.device_put(net.init(jax.random.key(0)), device)
net = jax.tree.map(lambda leaf: jax.device_put(leaf, device), net)
found = circuit_report(net, params)
inputs = report.inputs_of(params)
report.ablations(net, params, inputs, [1], found["loss"])
lying = {name: leaf.devices() for name, leaf in params.items()}
assert all(where == {device} for where in lying.values())
plain = circuit_report(net, {name: np.asarray(leaf) for name, leaf in params.items()})
print("the same:", dict(found) == dict(plain))
print("seen:", len(seen), "elsewhere:", [name for name, where in seen if where != host])
measures.float64_on_host = __import__("contextlib").nullcontext
measures.circularity(params["W_E"], p=p)
print("without it:", [name for name, where in seen if where != host])
"""


def test_a_report_computes_on_the_host():
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "ignore", "-c", WATCHED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["the same: True", "seen: 8 elsewhere: []", "without it: ['_circularity']"]


def test_without_a_cpu_it_says_what_to_set(monkeypatch):
    def none(*args, **options):
        raise RuntimeError("Unknown backend cpu")

    monkeypatch.setattr(jax, "local_devices", none)
    with pytest.raises(ValueError, match=r"JAX_PLATFORMS is .*: it must name cpu too"), float64_on_host():
        pass
    with pytest.raises(ValueError, match="JAX_PLATFORMS"):
        circularity([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


def test_float64_is_asked_for_in_one_place():
    """Elsewhere it would be computed on the default device."""
    asking = [path for path in (ROOT / "toylab").rglob("*.py") if "enable_x64(" in path.read_text("utf-8")]
    assert [path.name for path in asking] == ["float64.py"]
