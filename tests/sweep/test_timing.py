"""Widths are compared by the time of a step, without what a call costs whatever its steps."""

import numpy as np
import pytest

from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.sweep import plan as planning
from toylab.tasks import ModularArithmetic

STEP = {1: 1e-4, 4: 2e-4, 16: 6e-4, 20: 1e-3}  # s, by width; the best for 20 runs is 20 at a time
CALL = {1: 1e-3, 4: 4e-3, 16: 0.3, 20: 0.4}  # what any call of the lane takes


class Clock:
    """A clock that only the lanes advance."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def perf_counter(self):
        return self.now

    def lane(self, configs, state, members, width, *_):
        clock = self

        class Lane:
            def advance(self, gaps, segment):
                clock.now += CALL[width] + int(np.sum(gaps)) * STEP[width]
                clock.calls.append((width, int(np.sum(gaps))))

        return Lane()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(planning, "time", clock)
    monkeypatch.setattr(planning, "Lane", clock.lane)
    return clock


def configs(n):
    net = Net.of(ModularMLP, d_vocab=11, d_vocab_out=11, d_model=8, d_mlp=16)
    return [Config(ModularArithmetic(p=11, n_train=60), net, AdamW(), seed=seed) for seed in range(n)]


@pytest.mark.parametrize("width", STEP)
def test_a_step_is_timed_without_the_cost_of_the_call(clock, width):
    found = planning._seconds_a_step(configs(1), None, width, 1, (), None, 8)
    assert found == pytest.approx(STEP[width], rel=1e-6)  # a sum of a few hundred roundings of 2⁻⁵³
    assert clock.calls[-1][1] * STEP[width] >= 0.2 or clock.calls[-1][1] == 4096


def test_the_wide_lane_wins_though_its_calls_cost_more(clock):
    plan = planning.choose_plan(configs(20), (0, 1000, 2000), {}, None, None)
    assert plan.lane == 20
    assert (CALL[20] + 256 * STEP[20]) / 256 > 5 * STEP[4]  # with the call in it, five lanes of 4 would have won


def test_a_clock_that_says_less_than_nothing_gives_a_plan(clock, monkeypatch):
    monkeypatch.setattr(clock, "perf_counter", lambda: -clock.now)
    assert planning.choose_plan(configs(20), (0, 1000, 2000), {}, None, 4).lane == 4


def test_states_are_made_once_for_all_widths_and_no_more_than_are_tried(clock, monkeypatch):
    made, make = [], planning.first_states
    monkeypatch.setattr(planning, "first_states", lambda configs: made.append(len(configs)) or make(configs))
    planning.choose_plan(configs(20), (0, 1000, 2000), {}, None, None)
    assert made == [1, 20] and {width for width, _ in clock.calls} == {1, 16, 20}
    made.clear()
    monkeypatch.setitem(STEP, 1, 2 * planning.LARGE_STEP)
    monkeypatch.setitem(CALL, 1, 1.0)
    assert planning.choose_plan(configs(20), (0, 1000, 2000), {}, None, None).lane == 1
    assert made == [1]
