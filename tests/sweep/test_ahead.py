"""Programs for devices that are not there: the table, what is refused, the cache, what follows from a compiler's words."""

import json
import sys

import jax
import pytest
from small_pages import small

from toylab import configs as cfg
from toylab import train
from toylab.sweep import lanes, memory
from toylab.sweep.ahead import compiled, devices
from toylab.sweep.ahead.moved import Cost
from toylab.sweep.ahead.prediction import Prediction

SAID = {
    "memory": {"argument": 700, "output": 500, "alias": 200, "temp": 1000, "generated_code": 400},
    "seconds": 2.0, "collectives": [],
    "step": {"moved": 5000, "padded": 6000, "logical": 3000, "kernels": 7, "cycles": 0},
}  # fmt: skip


@pytest.fixture
def config():
    return cfg.check(small(n_hidden=2)[0])


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What the compiler, which is not asked, was asked: it says SAID. The cache lies in an empty folder."""
    found = []

    def say(program, request):
        found.append(request)
        return json.loads(json.dumps(SAID))

    monkeypatch.setattr(compiled, "_compiled_apart", say)
    monkeypatch.setattr(devices, "version", lambda name: "1.0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TOYLAB_CACHE", raising=False)
    return found


def test_every_name_is_a_device_with_all_its_figures():
    assert len(set(devices.names())) == len(devices.names()) == 26
    for name in devices.names():
        found = devices.device(name)
        chip = found.chip
        assert found.name == name and found.count in chip.shapes and chip.sources
        assert chip.memory > 1e10 and chip.bandwidth > 5e11 and 1e13 < chip.float32 < chip.bfloat16
        assert found.topology()["platform"] == chip.platform
    assert devices.device("v4-8").count == devices.device("v5e-4").count == 4  # cores and chips, as Google names them
    assert devices.device("v4-8").topology() == {
        "platform": "tpu", "topology_name": "v4:2x2x1", "chip_config_name": "megacore",
    }  # fmt: skip
    assert devices.device("h100-4").topology()["topology"] == "1x1x4"


@pytest.mark.parametrize("name", ["h101", "v5e-3", "v4-4", "h100-", "", "H100"])
def test_another_name_is_refused_with_those_that_there_are(name):
    with pytest.raises(ValueError, match=r"--device is .*[Tt]here are h100, .* v4-8, v5e, v5e-4") as refused:
        devices.device(name)
    assert str(refused.value).count("\n") == 0


def test_a_near_name_is_offered():
    with pytest.raises(ValueError, match=r"did you mean h100\? There are"):
        devices.device("h101")


@pytest.mark.parametrize(("name", "extra"), [("a100-2", "aot-gpu"), ("v6e", "aot-tpu")])
def test_a_compiler_that_is_not_installed_is_asked_for_by_its_extra(name, extra, config, monkeypatch):
    monkeypatch.setattr(devices, "version", lambda name: "" if name != "flatbuffers" else "1.0")
    with pytest.raises(ValueError, match=rf"^--device is {name}: .*; pip install 'toylab\[{extra}\]'\.$"):
        compiled.predict(config, devices.device(name), 2)


def test_figures_follow_from_what_the_compiler_says(config, asked):
    found = compiled.predict(config, devices.device("h100"), 4)
    chip = found.device.chip
    assert found.takes == 700 + 500 - 200 + 1000 + 400 and found.fits and not found.cached
    assert found.widest == 4 * chip.memory // 2400
    assert found.estimate == memory.lane_bytes(config, 4, 1, platform=chip.platform)
    assert found.products == {"float32": 4 * 5 * 2 * 8 * 4 * 2}
    assert found.times() == pytest.approx(
        {"memory": 5000 / chip.bandwidth, "arithmetic": 4 * 640 / chip.float32, "kernels": 7e-6}
    )
    assert found.bound == "kernels"


def test_times_of_a_tpu_are_by_its_rates():
    chip = devices.device("v5e").chip
    step = Cost(moved=8190, padded=9000, logical=3000, kernels=9, cycles=3000)
    half = Prediction(
        devices.device("v5e"), 2, 1, 1, 10, 20, "", step, {"float32": 600, "bfloat16": 1970}, (), 0.0, False
    )  # fmt: skip
    assert half.times() == pytest.approx(
        {"memory": 1e-8, "arithmetic": 600 / (197e12 / 6) + 1970 / 197e12, "cycles": 3000 / chip.clock}
    )
    assert chip.clock == pytest.approx(1.5e9, rel=0.01)  # four units of 128 × 128, two operations each a cycle
    assert half.widest == 2 * chip.memory // 20  # by the estimate, which is the larger
    assert half.bound == "cycles" and chip.float32 == 197e12 / 6


def test_a_lane_over_several_devices_is_split_between_them(config, asked):
    found = compiled.predict(config, devices.device("h100-4"), 8)
    (request,) = asked
    assert found.shards == 4 and found.products == {"float32": 2 * 640}
    assert found.widest == 2 * found.device.chip.memory // 2400 * 4
    arguments = memory.arguments(config, 8, 1)
    is_wide = [leaf.shape[:1] == (8,) for leaf in jax.tree.leaves(arguments)]
    assert request["split"] == is_wide and sum(is_wide) > 10
    states = [id(leaf) for leaf in jax.tree.leaves(arguments[1])]
    assert [id(jax.tree.leaves(arguments)[i]) for i in request["donated"]] == states
    assert compiled.predict(config, devices.device("h100-4"), 3).shards == 3  # as a lane of three on four devices
    assert compiled.predict(config, devices.device("h100-4"), 5).shards == 1


def test_an_exported_program_is_the_lane_that_trains(config):
    """Called here, it gives what the lane gives."""
    state = lanes.stacked([train.init(config)] * 2).replace(step=jax.numpy.int32(0))
    both, gaps = cfg.stack([config] * 2), jax.numpy.array([0, 3], jax.numpy.int32)
    device = devices.Device("here", devices.Chip("cpu", "", 1, 1, 1, 1, "", "", {1: ""}), 1)
    program, _ = compiled._exported(config, device, 2, 1, 2, {}, None, False)
    leaves = program.call(*jax.tree.leaves((both, state, gaps)))
    with jax.default_matmul_precision("highest"):
        wanted = jax.tree.leaves(lanes.compiled(2, (), None)(both, jax.tree.map(jax.numpy.array, state), gaps))
    for a, b in zip(leaves, wanted, strict=True):
        assert a.shape == b.shape and jax.numpy.allclose(a, b, atol=1e-5)  # three steps, two programs


def test_what_was_compiled_is_not_compiled_again(config, asked, tmp_path, monkeypatch):
    device = devices.device("h100")
    first, again = (compiled.predict(config, device, 2) for _ in range(2))
    assert len(asked) == 1 and again.cached and not first.cached
    assert again.times() == first.times() and again.takes == first.takes
    assert compiled.predict(cfg.check(config.replace(seed=5)), device, 2).cached  # a leaf: the same program
    others = [
        lambda: compiled.predict(config, device, 3),
        lambda: compiled.predict(config, device, 2, 4),
        lambda: compiled.predict(config, devices.device("a100"), 2),
        lambda: compiled.predict(cfg.check(small(n_hidden=3)[0]), device, 2),
    ]
    assert not any(other().cached for other in others) and len(asked) == 5
    with monkeypatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--xla_gpu_deterministic_ops=true")
        assert not compiled.predict(config, device, 2).cached
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "version", lambda name: "2.0")
        assert not compiled.predict(config, device, 2).cached
    monkeypatch.setenv("TOYLAB_CACHE", "off")
    assert not compiled.predict(config, device, 2).cached and len(asked) == 8


def test_a_damaged_cache_or_none_at_all_costs_only_time(config, asked, tmp_path, monkeypatch):
    device = devices.device("h100")
    compiled.predict(config, device, 2)
    (file,) = (tmp_path / "toylab" / "aot").iterdir()
    file.write_text(file.read_text().replace("5000", "5001"))
    again = compiled.predict(config, device, 2)
    assert len(asked) == 2 and again.step.moved == 5000 and not again.cached
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))  # a file: no folder can be made there
    assert compiled.predict(config, device, 2).takes == again.takes and len(asked) == 3


def test_a_program_that_is_too_large_is_said_to_be(config, asked, monkeypatch):
    said = {"error": "HLO temporaries (128.00G) exceeds available HBM (15.75G)", "too_large": True}
    monkeypatch.setattr(compiled, "_compiled_apart", lambda *_: asked.append(1) or said)
    found = compiled.predict(config, devices.device("v5e"), 2)
    assert not found.fits and found.takes is None and found.widest is None and "15.75G" in found.why
    assert set(found.times()) == {"arithmetic"} and found.bound == ""
    assert compiled.predict(config, devices.device("v5e"), 2).cached and len(asked) == 1


def test_a_compiler_that_fails_is_quoted_and_not_kept(config, asked, monkeypatch, tmp_path):
    said = {"error": "UNIMPLEMENTED: eig", "too_large": False}
    monkeypatch.setattr(compiled, "_compiled_apart", lambda *_: said)
    with pytest.raises(compiled.NotCompiled, match=r"^it cannot be compiled for v5e: UNIMPLEMENTED: eig\.$"):
        compiled.predict(config, devices.device("v5e"), 2)
    assert not (tmp_path / "toylab").exists()


def test_a_step_that_is_not_counted_has_a_reason_and_no_time(config, asked, monkeypatch):
    said = {**SAID, "step": None, "why": "the compiled program has 0 loops over steps"}
    monkeypatch.setattr(compiled, "_compiled_apart", lambda *_: said)
    found = compiled.predict(config, devices.device("v5e"), 2)
    assert found.step is None and found.takes == 2400 and "0 loops" in found.why and "memory" not in found.times()


def test_a_process_that_dies_leaves_its_last_words(config, monkeypatch, tmp_path):
    if not all(map(devices.version, devices.NEEDED["cuda"])):
        monkeypatch.setattr(devices, "version", lambda name: "1.0")
    pytest.importorskip("flatbuffers", reason="of the extras aot-gpu and aot-tpu")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        compiled, "CHILD", [sys.executable, "-c", "import os, sys; print('no room', file=sys.stderr); os.abort()"]
    )
    with pytest.raises(compiled.NotCompiled, match=r"its compiler ended with status -6 \(no room\)"):
        compiled.predict(config, devices.device("h100"), 2)
