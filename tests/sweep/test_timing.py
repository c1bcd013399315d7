"""Sizes of lanes are compared by the time of a step, without what a call costs whatever its steps."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.sweep import memory, timing
from toylab.sweep.lanes import Lane, first_states
from toylab.sweep.plan import choose_plan
from toylab.tasks import ModularArithmetic

# s, by width; the best for 20 runs is 20 at a time, for 16 on two devices 16
STEP = {1: 1e-4, 2: 1.8e-4, 4: 3e-4, 8: 4e-4, 16: 7e-4, 20: 1e-3}
CALL = {1: 1e-3, 2: 1e-3, 4: 4e-3, 8: 8e-3, 16: 0.3, 20: 0.4}  # what any call of the lane takes
LONG, SHORT = (0, 1000, 90_000), (0, 1000, 2000)  # saved steps: a training that pays for trials, and one that does not


class Taking:
    """A compiled program, of which the compiler says that it takes so many bytes."""

    def __init__(self, temp):
        self.parts = {"argument": 7, "output": 5, "alias": 5, "temp": temp - 7, "generated_code": 0}

    def memory_analysis(self):
        return SimpleNamespace(**{f"{name}_size_in_bytes": value for name, value in self.parts.items()})


class Clock:
    """A clock that only the lanes advance."""

    def __init__(self):
        self.now, self.calls, self.compiled, self.bytes_of_a_run = 0.0, [], [], 0

    def perf_counter(self):
        return self.now

    def lane(self, configs, state, members, width, probes, keep, shards):
        clock = self

        class Lane:
            def compile(self, segment):
                clock.compiled.append(width)
                return Taking(clock.bytes_of_a_run * width)

            def advance(self, gaps, segment):
                clock.now += CALL[width] + int(np.sum(gaps)) * STEP[width]
                clock.calls.append((width, shards, int(np.sum(gaps))))

        return Lane()

    def tried(self):
        return list(dict.fromkeys((width, shards) for width, shards, _ in self.calls))


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    monkeypatch.setattr(timing, "Lane", clock.lane)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    return clock


def configs(n, d_mlp=16):
    net = Net.of(ModularMLP, d_vocab=11, d_vocab_out=11, d_model=8, d_mlp=d_mlp)
    return [Config(ModularArithmetic(p=11, n_train=60), net, AdamW(), seed=seed) for seed in range(n)]


@pytest.mark.parametrize(("least", "empty"), [timing.COMPARED, timing.ALONE])
@pytest.mark.parametrize("width", STEP)
def test_a_step_is_timed_without_the_cost_of_the_call(clock, width, least, empty):
    found = timing._seconds_a_step(configs(1), None, width, 1, (), None, least, empty)
    assert found == pytest.approx(STEP[width], rel=1e-6)  # a sum of a few hundred roundings of 2⁻⁵³
    steps = [call[2] for call in clock.calls]
    assert steps[-1] * STEP[width] >= least or steps[-1] == 4096
    assert steps.count(0) == 1 + empty  # the first compiles


def test_a_single_size_is_timed_roughly(clock):
    choose_plan(configs(1), LONG, {}, None, None)
    assert sum(call[2] == 0 for call in clock.calls) == 1 + timing.ALONE[1]
    clock.calls.clear()
    choose_plan(configs(20), SHORT, {}, None, None)
    assert sum(call[2] == 0 for call in clock.calls) == 1 + timing.COMPARED[1]


def test_the_wide_lane_wins_though_its_calls_cost_more(clock):
    assert choose_plan(configs(20), LONG, {}, None, None).lane == 20
    assert (CALL[20] + 256 * STEP[20]) / 256 > 5 * STEP[4]  # with the call in it, five lanes of 4 would have won
    assert clock.tried() == [(4, 1), (16, 1), (20, 1)]


def test_on_a_cpu_no_trial_takes_longer_than_what_it_may_save(clock):
    assert choose_plan(configs(20), SHORT, {}, None, None).lane == 4
    assert clock.tried() == [(4, 1)]
    assert timing.GAIN * SHORT[-1] * 5 * STEP[4] < clock.now


def test_on_an_accelerator_the_widest_lanes_are_tried_first(clock, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert choose_plan(configs(20), SHORT, {}, None, None).lane == 20
    assert clock.tried() == [(1, 1), (20, 1), (16, 1)]


@pytest.mark.parametrize(
    ("room", "asked", "tried"),
    [(20, [20, 16], [1, 20, 16]), (19, [20, 16, 4], [1, 16, 4]), (15, [20, 16, 4], [1, 4]), (3, [4], [1])],
)
def test_an_accelerator_s_compiler_says_which_lanes_fit(clock, monkeypatch, room, asked, tried):
    """It is not asked of one run a device, nor where the estimate over OVER is too large, nor on a CPU."""
    monkeypatch.setattr(timing.memory, "budget", lambda: room * 1000)
    monkeypatch.setattr(timing.memory, "lane_bytes", lambda *_: 1000)
    clock.bytes_of_a_run = 1000
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    choose_plan(configs(20), SHORT, {}, None, None)
    assert [width for width, _ in clock.tried()] == tried and clock.compiled == asked
    clock.compiled.clear()
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    choose_plan(configs(20), SHORT, {}, None, None)
    assert not clock.compiled


def test_the_cores_of_a_cpu_share_small_runs(clock, monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    plan = choose_plan(configs(16), LONG, {}, None, None)
    assert (plan.lane, plan.shards) == (16, 2) and clock.tried() == [(8, 2), (16, 2)]


LARGE = 2000  # neurons


@pytest.mark.parametrize(("both", "best"), [(2.1, (1, 1)), (1.1, (2, 2))], ids=["together", "one each"])
def test_the_cores_of_a_cpu_work_on_one_large_run_together_or_on_one_each(clock, monkeypatch, both, best):
    """`both`: what a step of two runs on a core each takes, over that of one on both cores."""
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    monkeypatch.setitem(STEP, 1, 2 * timing.LARGE_STEP)
    monkeypatch.setitem(STEP, 2, 2 * timing.LARGE_STEP * both)
    plan = choose_plan(configs(16, LARGE), LONG, {}, None, None)
    assert (plan.lane, plan.shards) == best and clock.tried() == [(1, 1), (2, 2)]


def test_as_many_cores_share_a_lane_as_there_is_memory_for_runs(clock, monkeypatch):
    """They have one memory. On accelerators, which have their own, all share it."""
    monkeypatch.setattr(jax, "local_device_count", lambda: 16)
    monkeypatch.setattr(timing.memory, "budget", lambda: 1000)
    assert timing.candidates(16, 16, 300, False) == [(1, 1), (3, 3), (12, 3), (18, 3)]
    assert timing.candidates(16, 16, 3000, False) == [(1, 1), (4, 1), (16, 1)]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert timing.candidates(16, 16, 300, False) == [(16, 16)]


def test_a_clock_that_says_less_than_nothing_gives_a_plan(clock, monkeypatch):
    monkeypatch.setattr(clock, "perf_counter", lambda: -clock.now)
    assert choose_plan(configs(20), SHORT, {}, None, 4).lane == 4


def test_states_are_made_once_for_all_widths_and_no_more_than_are_tried(clock, monkeypatch):
    made, make = [], timing.first_states
    monkeypatch.setattr(timing, "first_states", lambda configs: made.append(len(configs)) or make(configs))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    choose_plan(configs(20), LONG, {}, None, None)
    assert made == [1, 20] and clock.tried() == [(1, 1), (20, 1), (16, 1)]
    made.clear()
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setitem(STEP, 1, 2 * timing.LARGE_STEP)
    monkeypatch.setitem(CALL, 1, 1.0)
    assert choose_plan(configs(20, LARGE), LONG, {}, None, None).lane == 1
    assert made == [1]


def test_a_lane_trains_on_the_program_of_which_the_compiler_was_asked():
    """Bit for bit as one that was not compiled before; the states of its runs are among what it takes."""
    members = list(range(3))
    states = first_states(configs(3))
    plain, asked = (Lane(configs(3), states, members, 3, (), None) for _ in range(2))
    takes = memory.compiled_bytes(asked.compile(1))
    assert takes > 3 * sum(leaf[0].nbytes for leaf in states.params.values())
    for _ in range(2):
        trained, other = (lane.advance(np.array([5]), 1) for lane in (plain, asked))
        assert jax.tree.all(jax.tree.map(np.array_equal, trained["traj"], other["traj"]))
