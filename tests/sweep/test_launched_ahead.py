"""The device does not wait between chunks: the next one's first segment is launched before the points of the last are
fetched and written. Time is simulated: of a device that trains, of landing points on the host, and of a slow writer."""

import jax
import numpy as np
import pytest

from toylab import configs as cfg
from toylab import store, sweep
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.sweep import Interrupted, Spec, lanes, memory
from toylab.sweep.plan import Plan
from toylab.tasks import ModularArithmetic

SAVES = tuple(range(0, 41, 5))
EACH = Plan(lane=2, segment=1, chunk=1)  # a point is a chunk, as of 256 transformers
TRAINING, LANDING = 5, 3  # units of time


def tiny(seed):
    net = Net.of(ModularMLP, d_vocab=11, d_vocab_out=11, d_model=8, d_mlp=16)
    return cfg.check(Config(ModularArithmetic(p=11, n_train=60), net, AdamW(lr=3e-3), seed=seed))


RUNS = [tiny(seed) for seed in range(3)]  # two lanes


class Simulated:
    """The time at which the host is, at which the device is free, and at which the writer is."""

    def __init__(self, monkeypatch, writing):
        self.host = self.device = self.writer = 0
        self.idle, self.ready, self.launched = [], {}, []
        launch, land, commit = lanes.Lane.launch, lanes.Lane.land, store.Writer.commit

        def launched(lane, gaps, segment):
            trajectory = launch(lane, gaps, segment)
            self.idle.append(max(0, self.host - self.device))
            self.device = max(self.host, self.device) + TRAINING
            self.ready[id(trajectory)] = trajectory, self.device
            self.launched.append(int(np.sum(gaps)))
            return trajectory

        def landed(lane, trajectory, k):
            self.host = max(self.host, self.ready[id(trajectory)][1]) + LANDING
            return land(lane, trajectory, k)

        def committed(writer, *given):
            self.host = max(self.host, self.writer)  # one chunk is written at a time
            self.writer = self.host + writing
            return commit(writer, *given)

        monkeypatch.setattr(lanes.Lane, "launch", launched)
        monkeypatch.setattr(lanes.Lane, "land", landed)
        monkeypatch.setattr(store.Writer, "commit", committed)


def trained(folder, spec=None, runs=RUNS, plan=EACH, **more):
    sweep.run(runs, spec or Spec(saves=SAVES), folder, plan=plan, **more)
    (group,) = sweep.load(folder)
    return group


def same(a, b):
    both = {**a.params, **a.measures}, {**b.params, **b.measures}
    return all(value.tobytes() == both[1][name].tobytes() for name, value in both[0].items())


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("straight"), plan=Plan(2, len(SAVES), len(SAVES)))


@pytest.fixture
def crowded(monkeypatch):
    monkeypatch.setattr(memory, "room", lambda: 0)


def test_the_device_does_not_idle_through_landing_and_writing(tmp_path, monkeypatch, straight):
    simulated = Simulated(monkeypatch, writing=2 * TRAINING)  # as long as both lanes train
    group = trained(tmp_path)
    assert same(group, straight) and len(simulated.idle) == 2 * len(SAVES)
    assert not any(simulated.idle[6:])  # before: a chunk alone, and the first of those that follow each other


def test_without_memory_for_it_the_device_waits(tmp_path, monkeypatch, straight, crowded):
    simulated = Simulated(monkeypatch, writing=2 * TRAINING)
    assert same(trained(tmp_path), straight)
    assert all(idle >= LANDING for idle in simulated.idle[2::2])  # at the first launch of each chunk


def test_a_writer_that_is_slower_than_training_holds_it_back(tmp_path, monkeypatch, straight):
    simulated = Simulated(monkeypatch, writing=10 * TRAINING)
    assert same(trained(tmp_path), straight)
    assert simulated.writer >= len(SAVES) * 10 * TRAINING  # chunks do not pile up in memory


@pytest.mark.parametrize("after", [1, 3, 6])
def test_stopped_it_commits_what_it_commits_without_and_goes_on_to_the_same_bits(tmp_path, straight, after):
    asked = iter(range(100))
    with pytest.raises(Interrupted, match=f"up to step {SAVES[after - 1]} are committed"):
        trained(tmp_path, interrupted=lambda: next(asked) + 1 >= after)
    (group,) = sweep.load(tmp_path)
    assert store.chunks(tmp_path / group.name) == list(SAVES[:after])
    assert same(trained(tmp_path), straight)


def early(measures):
    """Runs end at different points: by the digits of the loss, so that each does somewhere else."""
    return measures["step"][-1] >= 10 and int(1e6 * measures["train_loss"][-1]) % 3 == 0


def test_runs_that_end_lose_nothing_and_repeat_little(tmp_path, monkeypatch):
    spec, runs = Spec(saves=SAVES, stop=early), [tiny(seed) for seed in range(7)]
    plain = trained(tmp_path / "plain", spec, runs, Plan(2, len(SAVES), len(SAVES)))
    assert len(set(plain.valid.sum(axis=1))) > 2
    simulated = Simulated(monkeypatch, writing=1)
    group = trained(tmp_path / "ahead", spec, runs)
    assert same(group, plain) and (group.valid == plain.valid).all()
    ahead = len(simulated.launched)
    monkeypatch.setattr(memory, "room", lambda: 0)
    simulated.launched.clear()
    assert same(trained(tmp_path / "crowded", spec, runs), plain)
    assert ahead - len(simulated.launched) <= 4 + 3 + 2 + 1  # dropped at most where fewer lanes do: 4, 3, 2, 1


def test_without_memory_after_all_what_is_in_hand_is_committed(tmp_path, monkeypatch, straight):
    launch, launched = lanes.Lane.launch, []

    def limited(lane, gaps, segment):
        launched.append(lane)
        if len(launched) == 6:  # the second lane of the third chunk, ahead
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.")
        return launch(lane, gaps, segment)

    monkeypatch.setattr(lanes.Lane, "launch", limited)
    group = trained(tmp_path)
    assert same(group, straight) and "narrowed" not in group.manifest
    assert len(launched) == 2 * len(SAVES) + 2  # the third chunk's two, and none ahead any more


def test_room_is_what_no_time_has_taken(monkeypatch):
    assert 0 < memory.room() < memory.budget()

    class Device:
        def memory_stats(self):
            return {"bytes_limit": 100, "bytes_in_use": 10, "peak_bytes_in_use": 70}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    assert memory.room() == 30
