"""A sweep that has grown, in runs and in saved points, is one that was begun whole, bit for bit; what was there stays."""

import numpy as np
import pytest
from growing import FIVES, LONG, TENS, differences, grown, low, of_disk
from pyarrow import parquet
from tiny_sweeps import PAIRS, A, B, C, D, contents, only, tiny

from toylab import configs as cfg
from toylab import sweep
from toylab.base import Config
from toylab.models import Net, ToyModel
from toylab.optim import AdamW
from toylab.records.status import status
from toylab.sweep import Interrupted, Plan, Spec, lanes
from toylab.tasks import SparseFeatures


@pytest.fixture(scope="module", params=[None, low], ids=["no stop", "stop"])
def whole(request, tmp_path_factory):
    found, _ = grown(tmp_path_factory.mktemp("whole"), ([A, B, C, D], LONG), stop=request.param)
    return found, request.param


STORIES = {
    "denser, a seed, longer": [([A, C], TENS), ([A, C], FIVES), ([A, B, C], FIVES), ([A, B, C, D], LONG)],
    "longer, denser": [([A, B, C, D], TENS[:4]), ([A, B, C, D], TENS), ([A, B, C, D], LONG)],
    "denser twice": [([A, B, C, D], TENS), ([A, B, C, D], sorted([*TENS, 5, 55])), ([A, B, C, D], LONG)],
    "runs before the first": [([C, D], LONG), ([B, C, D], LONG), ([A, B, C, D], LONG)],
    "all at once": [([D], TENS), ([A, B, C, D], LONG)],
}


@pytest.mark.parametrize("requests", STORIES.values(), ids=STORIES)
def test_a_sweep_that_has_grown_equals_one_begun_whole(whole, requests, tmp_path):
    straight, stop = whole
    before = {}
    for request in requests:
        found, _ = grown(tmp_path, request, stop=stop)
        after = of_disk(tmp_path)
        assert before.items() <= after.items()
        before = after
    assert differences(found, straight) == []
    again = contents(tmp_path)
    grown(tmp_path, requests[-1], stop=stop)
    assert contents(tmp_path) == again
    assert status(tmp_path).finished and [one.state for one in status(tmp_path).groups].count("finished") == len(
        found.sources
    )


def sparse(seed, data_seed=0):
    net = Net.of(ToyModel, n_features=6, n_hidden=3)
    return cfg.check(
        Config(SparseFeatures(n_features=6, batch=16, n_eval=64), net, AdamW(lr=1e-2), seed=seed, data_seed=data_seed)
    )


@pytest.mark.parametrize("own", [False, True], ids=["shared draws", "own draws"])
def test_runs_that_draw_batches_draw_those_of_the_whole_sweep(tmp_path, own):
    runs = [sparse(seed, seed if own else 0) for seed in range(5)]
    straight, _ = grown(tmp_path / "whole", (runs, range(0, 31, 5)))
    found, _ = grown(
        tmp_path / "grown", (runs[:2], range(0, 21, 10)), (runs[:3], range(0, 21, 5)), (runs, range(0, 31, 5))
    )
    assert len(found.sources) == 3 and differences(found, straight) == []


def test_runs_of_several_programs_and_values_take_their_places(tmp_path):
    wide = [tiny(seed, lr, d_model=12) for lr in (1e-3, 3e-3) for seed in range(2)]
    flat = [tiny(seed, lr) for lr in (1e-3, 3e-3) for seed in range(2)]
    straight, _ = grown(tmp_path / "whole", ([*flat, *wide], (0, 5)))
    found, _ = grown(
        tmp_path / "grown", ([flat[0], flat[2]], (0, 5)), ([*flat, wide[0]], (0, 5)), ([*flat, *wide], (0, 5))
    )
    assert found.columns["seed"].tolist() == [0, 1] * 4 and len(found.sources) == 4
    assert found.config(1).seed == 1 and found.configs[1]["seed"] == 1
    for one in (found, straight):
        assert one.select(**{"net.d_model": 12, "seed": 1}).columns["optimizer.lr"].tolist() == [0.001, 0.003]
    chosen = {"seed": 1, "optimizer.lr": 0.003}
    of_flat = [one.select(**{**chosen, "net.d_model": 8}) for one in (found, straight)]
    assert differences(*of_flat) == []
    tables = []
    for place in ("whole", "grown"):
        sweep.write_table(tmp_path / place, tmp_path / "runs.parquet")
        table = parquet.read_table(tmp_path / "runs.parquet").to_pandas().drop(columns="group").astype({"run": str})
        tables.append(table.sort_values(["run", "step"]).reset_index(drop=True))
    assert tables[0].equals(tables[1])


# --- what is trained


@pytest.fixture
def launched(monkeypatch):
    """The steps that lanes were trained for."""
    launch, found = lanes.Lane.launch, []
    monkeypatch.setattr(
        lanes.Lane, "launch", lambda lane, gaps, segment: found.append(int(sum(gaps))) or launch(lane, gaps, segment)
    )
    return found


def test_only_new_runs_and_points_are_trained(tmp_path, launched):
    grown(
        tmp_path, ([A, B], TENS), plan=Plan(2, 1, 1)
    )  # a chunk a point: the first and the newest two keep their states
    launched.clear()
    grown(tmp_path, ([A, B], [*TENS, 70]), plan=Plan(2, 1, 1))
    assert sum(launched) == 10
    launched.clear()
    _, told = grown(tmp_path, ([A, B], sorted([*TENS, 65, 70])))
    assert sum(launched) == 5 and told[0].endswith(
        "gets 1 more saved points, from step 65 on: trained from step 60, the nearest kept state."
    )
    launched.clear()
    grown(tmp_path, ([A, B], sorted([*TENS, 5, 63, 65, 70])))
    assert sum(launched) == 5 + 3
    launched.clear()
    grown(tmp_path, ([A, B, C], sorted([*TENS, 5, 63, 65, 70])))
    assert sum(launched) == 70


@pytest.mark.parametrize("after", range(1, 9, 2))
def test_stopped_at_any_point_a_sweep_that_grows_goes_on_to_the_same_bits(tmp_path, whole, after):
    straight, stop = whole
    grown(tmp_path, ([A, C], TENS[:5]), stop=stop)
    segments = iter(range(100))
    for saves, runs in ((FIVES, [A, C]), (LONG, [A, B, C, D])):
        try:
            sweep.run(
                runs, Spec(saves=saves, stop=stop), tmp_path, plan=PAIRS, interrupted=lambda: next(segments) == after
            )
        except Interrupted:
            assert not status(tmp_path).finished
    found, _ = grown(tmp_path, ([A, B, C, D], LONG), stop=stop)
    assert differences(found, straight) == [] and status(tmp_path).finished


def test_a_sweep_that_is_half_trained_may_become_denser_from_where_it_is(tmp_path, launched):
    segments = iter([False, False, True])
    with pytest.raises(Interrupted):
        sweep.run([A, B], Spec(saves=TENS), tmp_path, plan=Plan(2, 1, 1), interrupted=lambda: next(segments))
    at = only(tmp_path).steps[-1]
    launched.clear()
    found, _ = grown(tmp_path, ([A, B], sorted({*TENS, 35, 55})), plan=Plan(2, 1, 1))
    assert sum(launched) == 60 - at
    straight, _ = grown(tmp_path / "whole", ([A, B], sorted({*TENS, 35, 55})), plan=Plan(2, 1, 1))
    assert differences(found, straight) == []


def test_a_run_may_end_sooner_where_there_are_more_points(tmp_path):
    before, _ = grown(tmp_path, ([A, C], TENS), stop=low)
    found, told = grown(tmp_path, ([A, C], FIVES), stop=low)
    assert [int(one.steps[one.valid[1]][-1]) for one in (before, found)] == [20, 15]
    assert f"run {sweep.run_name(C)} of {found.sources[0].folder.name} ends at step 15 now" in told[-1]
    assert np.isnan(found.measures["train_loss"][1, found.steps > 15]).all()


def test_there_are_no_points_where_every_run_has_ended_sooner(tmp_path):
    """C ends at 20 of TENS and at 15 of FIVES: its point at 20 is no point of the sweep any more."""
    stories = {
        "denser": [([C], TENS), ([C], FIVES)],
        "longer": [([C], TENS), ([C], FIVES), ([C], LONG)],
        "denser twice": [([C], TENS), ([C], FIVES), ([C], sorted([*FIVES, 3, 12]))],
    }
    for story, requests in stories.items():
        straight, _ = grown(tmp_path / story / "whole", requests[-1], stop=low)
        found, _ = grown(tmp_path / story / "grown", *requests, stop=low)
        assert differences(found, straight) == [] and status(tmp_path / story / "grown").finished, story
        assert found.valid.all() and found.steps[-1] == 15, story


def test_new_runs_have_the_plan_of_those_of_their_program(tmp_path):
    for runs in ([A, B], [A, B, C], [tiny(0, d_model=12), A, B, C, D]):
        sweep.run(runs, Spec(saves=(0, 5)), tmp_path)
    plans = {
        (dict(group.configs[0]["net"]["sizes"])["d_model"], len(group.runs)): group.manifest["plan"]
        for group in sweep.load(tmp_path)
    }
    assert len(plans) == 3 and plans[8, 2] == plans[8, 1] and plans[8, 2]["lane"] == 2 and plans[12, 1]["lane"] == 1
