"""The estimate of a lane's memory against what the compiled program says of itself, and the machine's limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab import configs as cfg
from toylab import lab, train
from toylab.base import Config
from toylab.lab import pages
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.sweep import lanes, memory
from toylab.tasks import ModularArithmetic


def page_config(name, part=0):
    return cfg.check(list(lab.parts(pages.load(name)).values())[part].configs["smoke"][0])


def mlp():
    net = Net.of(ModularMLP, d_vocab=31, d_vocab_out=31, d_model=16, d_mlp=32)
    return cfg.check(Config(task=ModularArithmetic(p=31, n_train=384), net=net, optimizer=AdamW()))


def compiled_bytes(config, width, segment, probes=None, keep=None):
    """Arguments, results that do not lie in them, and what lies between."""
    state = train.init(config)
    if width > 1:
        state = lanes.stacked([state] * width)
        config, state = cfg.stack([config] * width), state.replace(step=jnp.int32(0))
    function = lanes.compiled(width, tuple((probes or {}).items()), keep)
    output = function.lower(config, state, np.zeros(segment, np.int32)).compile().memory_analysis()
    inputs_and_results = output.argument_size_in_bytes + output.output_size_in_bytes - output.alias_size_in_bytes
    return inputs_and_results + output.temp_size_in_bytes


CASES = {
    "transformer": lambda: page_config("grokking"),
    "MLP": mlp,
    "ReLU model": lambda: page_config("superposition", 2),
    "linear model": lambda: page_config("superposition", 3),
    "epochs": lambda: page_config("two_circuits"),
}


@pytest.mark.parametrize(
    ("case", "width"),
    [
        ("MLP", 1),
        ("ReLU model", 1),
        ("ReLU model", 8),
        ("linear model", 1),
        ("epochs", 4),
        pytest.param("transformer", 8, marks=pytest.mark.slow),
    ],
)
def test_the_estimate_lies_between_what_the_program_takes_and_three_times_it(case, width):
    config = CASES[case]()
    taken = compiled_bytes(config, width, 16)
    assert taken <= memory.lane_bytes(config, width, 16) <= 3 * taken


@pytest.mark.slow
@pytest.mark.parametrize("width", [1, 4])
def test_the_same_for_the_transformer_of_grokking(width):
    config = cfg.check(pages.load("grokking").CONFIGS["cpu"][0])
    taken = compiled_bytes(config, width, 8)
    assert taken <= memory.lane_bytes(config, width, 8) <= 3 * taken


def test_what_a_segment_records_counts():
    """Params are results, held until the segment is over: a point more costs their bytes, and few where none are kept."""
    config = mlp()
    params = sum(leaf.size * leaf.dtype.itemsize for leaf in train.init(config).params.values())
    some, more = (memory.lane_bytes(config, 4, segment) for segment in (10, 1010))
    assert more - some >= 1000 * 4 * params
    few = memory.lane_bytes(config, 4, 1010, keep=())
    assert few < some + 1000 * 4 * 100


def test_peak_is_the_most_that_lives_at_a_time():
    def chain(x):  # each product dies as the next is made: two live at a time, whatever the length
        for _ in range(6):
            x = x @ x
        return x.sum()

    square = jax.ShapeDtypeStruct((64, 64), np.float32)
    peak = memory.peak(jax.make_jaxpr(chain)(square).jaxpr, "cpu")
    assert 2 * 64 * 64 * 4 <= peak < 3 * 64 * 64 * 4
    looped = jax.make_jaxpr(lambda x: jax.lax.fori_loop(0, 5, lambda _, y: jnp.tanh(y @ y), x))(square)
    assert memory.peak(looped.jaxpr, "cpu") >= 2 * 64 * 64 * 4  # inside the loop too


def test_the_budget_is_the_least_of_machine_and_control_groups(tmp_path, monkeypatch):
    own, mounted = tmp_path / "cgroup", tmp_path / "fs"
    own.write_text("0::/a/b\n")
    (mounted / "a" / "b").mkdir(parents=True)
    (mounted / "a" / "b" / "memory.max").write_text("max\n")
    (mounted / "a" / "memory.max").write_text("12345\n")
    assert memory._cgroup_limits(mounted, own) == [12345]
    own.write_text("5:cpu:/a\n4:memory,hugetlb:/a\n")
    (mounted / "memory" / "a").mkdir(parents=True)
    (mounted / "memory" / "a" / "memory.limit_in_bytes").write_text("999\n")
    assert memory._cgroup_limits(mounted, own) == [999]
    assert memory._cgroup_limits(mounted, tmp_path / "nowhere") == []
    monkeypatch.setattr(memory, "_cgroup_limits", lambda *_: [1000])
    assert memory.budget() == 1000 or "bytes_limit" in (jax.local_devices()[0].memory_stats() or {})
