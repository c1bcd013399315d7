"""The cores of a CPU as devices: how many there are, and sweeps that go on with fewer or more of them."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from toylab import sweep
from toylab.sweep import cores

REPOSITORY = Path(__file__).resolve().parents[2]

SWEEP = """
import json, sys
from pathlib import Path
import numpy as np
from toylab import configs as cfg, store, sweep

sweep.use_cores(int(sys.argv[1]))
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.sweep.plan import Plan
from toylab.tasks import ModularArithmetic

net = Net.of(ModularMLP, d_vocab=11, d_vocab_out=11, d_model=8, d_mlp=16)
runs = [cfg.check(Config(ModularArithmetic(p=11, n_train=60), net, AdamW(lr=3e-3), seed=seed)) for seed in range(6)]
messages, left = [], [int(sys.argv[3])]

def stops():
    left[0] -= 1
    return not left[0]

spec, plan = sweep.Spec(saves=json.loads(sys.argv[4])), Plan(4, 1, 1, 2)
try:
    sweep.run(runs, spec, Path(sys.argv[2]), plan=plan, interrupted=stops, report=lambda p: messages.extend(p.messages))
except sweep.Interrupted:
    pass
except store.Refused as error:
    print("refused:", error)
for message in messages:
    print(message)
"""


def trained(folder, count, until=0, saves=(0, 5, 10, 40)):
    """What is printed where so many cores train a sweep in lanes of two runs on each of two; `until`: a segment after which
    it is stopped."""
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests" / "shared")])
    environment = {**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", SWEEP, str(count), str(folder), str(until), str(list(saves))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def arrays(folder):
    (group,) = sweep.load(folder)
    assert group.valid.all() and len(group.steps) == 4
    return {**group.params, **group.measures}


def same(a, b):
    return all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.mark.slow
def test_a_sweep_goes_on_with_fewer_cores_or_more(tmp_path):
    """A lane that was divided among two devices had the first half of its runs twice on one device."""
    from rounding import same_training

    assert trained(tmp_path / "two", 2) == ""
    two = arrays(tmp_path / "two")
    assert trained(tmp_path / "later", 2, until=2) == ""
    said = trained(tmp_path / "later", 1)
    assert "was begun in another environment (" in said and "devices: 2 → 1): its bits may not repeat." in said
    later = arrays(tmp_path / "later")
    assert same_training(two, later) and len({row.tobytes() for row in later["train_loss"]}) == 6
    assert trained(tmp_path / "three", 3) == "" and same(two, arrays(tmp_path / "three"))
    trained(tmp_path / "more", 2, until=2)
    trained(tmp_path / "more", 3)  # on a machine of two cores it is told that JAX has three threads now
    assert same(two, arrays(tmp_path / "more"))


@pytest.mark.slow
def test_points_between_are_refused_where_fewer_cores_would_train_other_bits(tmp_path):
    trained(tmp_path / "two", 2)
    said = trained(tmp_path / "two", 1, saves=(0, 2, 5, 10, 40))
    assert said.startswith("refused:") and "devices: 2 → 1" in said


def test_each_core_that_may_be_used_is_one_device(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    assert cores.allowed() >= 1
    limit = tmp_path / "cpu.max"
    for text, share in (("250000 100000\n", 3), ("100000 100000\n", 1), ("max 100000\n", 1 << 20)):
        limit.write_text(text)
        assert cores._share(limit) == share
    assert cores._share(tmp_path / "none") == 1 << 20
    monkeypatch.setattr(cores, "_share", lambda path: 3)
    assert cores.allowed() == 3
    monkeypatch.setattr(cores, "_share", lambda path: 1 << 20)
    assert cores.allowed() == 6


def test_what_the_user_said_stays(monkeypatch):
    monkeypatch.setattr(jax.config, "update", lambda *_: pytest.fail("updated"))
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    cores.use_cores()
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(cores.jax, "config", type("C", (), {"jax_num_cpu_devices": 4, "update": jax.config.update})())
    cores.use_cores()


def test_no_core_and_a_started_jax_are_refused():
    with pytest.raises(ValueError, match=r"^n is 0: it must be at least 1\.$"):
        sweep.use_cores(0)
    jax.devices()
    with pytest.raises(ValueError, match=r"^JAX has started already: call use_cores before anything is computed\.$"):
        sweep.use_cores(3)
