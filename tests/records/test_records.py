"""A sweep read back is what was written, wherever its groups were cut and whatever their runs have recorded."""

import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from sweeps_on_disk import described, loss, names, outline, seeds, write_group

from toylab import store
from toylab.records import manifest, passes
from toylab.sweep import load

LONG, SHORT = seeds(3), seeds(2, start=5, weight_decay=0.3, d_model=8)
STEPS = [[0, 10, 20], [40, 80]]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Two groups of different nets: three runs at 0 … 80, of which one ends at 20, and two at 0, 15 and 40."""
    folder = tmp_path_factory.mktemp("page")
    write_group(folder / "runs", LONG, STEPS, lengths=[5, 3, 5], diverged=[None, 20, None])
    write_group(folder / "runs", SHORT, [[0, 15, 40]], number=1, more=["norm"])
    return folder


def test_groups_lie_side_by_side_with_nan_where_a_run_has_no_point(page):
    sweep = load(page)
    assert sweep.steps.tolist() == [0, 10, 15, 20, 40, 80]
    assert sweep.runs.tolist() == names(LONG) + names(SHORT)
    assert [name[:3] for name in sweep.groups] == ["000"] * 3 + ["001"] * 2
    rows = [[1, 1, 0, 1, 1, 1], [1, 1, 0, 1, 0, 0], [1, 1, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0], [1, 0, 1, 0, 1, 0]]
    np.testing.assert_array_equal(sweep.valid, np.array(rows, bool))
    assert sweep.lengths.tolist() == [5, 3, 5, 3, 3]
    rows[1][3] = 0  # a point at which it is not finite, where nothing is measured
    np.testing.assert_array_equal(sweep.measures["loss"], np.where(rows, loss(LONG + SHORT, sweep.steps), np.nan))
    assert np.isnan(sweep.measures["norm"][:3]).all() and np.isfinite(sweep.measures["norm"][3:, 0]).all()
    np.testing.assert_array_equal(sweep.diverged, [np.nan, 20, np.nan, np.nan, np.nan])


def test_a_page_its_runs_and_one_group_are_read_alike(page):
    group = sorted((page / "runs").iterdir())[1]
    for path, n_runs in ((page, 5), (page / "runs", 5), (str(page), 5), (group, 2)):
        assert len(load(path).runs) == n_runs
    assert load(group).measures["loss"].tolist() == load(page).select(group=group.name).measures["loss"].tolist()


def test_iterating_gives_the_groups_one_by_one(page):
    first, second = load(page)
    assert first.params["W"].shape == (3, 5, 4) and second.params["W"].shape == (2, 3, 8)
    assert [group.params for group in load(page, params=False)] == [{}, {}]
    (chosen,) = load(page).select(seed=[1, 2])
    assert chosen.runs == names(LONG)[1:] and chosen.configs == LONG[1:]
    np.testing.assert_array_equal(chosen.params["W"], first.params["W"][1:])
    np.testing.assert_array_equal(chosen.valid, first.valid[1:])


def test_columns_are_the_fields_of_the_configs(page):
    columns = load(page).columns
    assert columns["seed"].tolist() == [0, 1, 2, 5, 6] and columns["net.d_model"].tolist() == [4, 4, 4, 8, 8]
    assert columns["optimizer.weight_decay"].tolist() == [0.1] * 3 + [0.3] * 2
    assert columns["optimizer.type"][0].endswith("AdamW") and columns["optimizer.type"].dtype.kind == "U"


@pytest.mark.parametrize(
    ("wanted", "runs"),
    [
        ({"optimizer.weight_decay": 0.3}, [3, 4]),
        ({"optimizer.weight_decay": np.float32(0.3)}, [3, 4]),
        ({"optimizer.weight_decay": 0.1 + 0.2}, [3, 4]),
        ({"net.d_model": 4, "seed": [0, 2, 7]}, [0, 2]),
        ({"seed": lambda seed: seed >= 2}, [2, 3, 4]),
        ({"run": names(SHORT)[1]}, [4]),
        ({"seed": jnp.array([0, 6])}, [0, 4]),
        ({"seed": np.array(5)}, [3]),
        ({"seed": {1: "a", 6: "b"}.keys()}, [1, 4]),
        ({"optimizer": "AdamW", "seed": 5}, [3]),
        ({"optimizer.type": "toylab.optim.AdamW", "net.d_model": 8}, [3, 4]),
    ],
)
def test_runs_are_selected_by_value_list_or_predicate(page, wanted, runs):
    sweep, chosen = load(page), load(page).select(**wanted)
    assert chosen.runs.tolist() == sweep.runs[runs].tolist()
    points = np.isin(sweep.steps, chosen.steps)
    np.testing.assert_array_equal(chosen.measures["loss"], sweep.measures["loss"][runs][:, points])
    np.testing.assert_array_equal(chosen.valid, sweep.valid[runs][:, points])


def test_neighbouring_whole_numbers_are_not_equal(tmp_path):
    write_group(tmp_path, seeds(3, start=2_000_000_000), [[0]])
    assert load(tmp_path).select(seed=2_000_000_001).columns["seed"].tolist() == [2_000_000_001]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"optimizer.weight_decy": 1}, r"optimizer\.weight_decy.* is no column: did you mean optimizer\.weight_decay"),
        ({"optimizer.weight_decay": 1.0}, r"no run has optimizer\.weight_decay = 1\.0: there are .*: 0\.1, 0\.3\."),
        (
            {"optimizer.weight_decay": 0.1, "seed": 5},
            r"no run has .* and seed = 5: .*0\.1, 0\.3; seed: 0, 1, 2, 5, 6\.",
        ),
        ({"weight_decay": 0.1}, r"'weight_decay' is no column: did you mean optimizer\.weight_decay\?"),
        ({"optimizer": "SGD"}, r"no run has optimizer = 'SGD': there are optimizer: 'AdamW'\."),
        ({"seed": "5"}, r"no run has seed = '5'"),
        ({"seed": []}, "no run has seed"),
        ({"seed": lambda seed: 3}, "predicate of seed .* must give a bool a run"),
    ],
)
def test_a_selection_that_makes_no_sense_says_what_there_is(page, wanted, words):
    with pytest.raises(ValueError, match=words):
        load(page).select(**wanted)


def test_params_are_read_by_name_when_touched_and_alike(page, monkeypatch):
    sweep, read = load(page), []
    real = passes.read_chunks
    monkeypatch.setattr(passes, "read_chunks", lambda *args, **rest: read.append(args[2]) or real(*args, **rest))
    assert list(sweep.params) == ["W"] and all("traj" not in items for items in read)
    with pytest.raises(
        ValueError, match=r"W'\] is \[4\] in 000-.* and \[8\] in 001-.*select\(\*\*\{'net\.d_model': 4\}\)"
    ):
        sweep.params["W"]
    chosen = sweep.select(**{"net.d_model": 4})
    assert chosen.params["W"].shape == (3, 5, 4)
    finite = ~np.isnan(chosen.measures["loss"])
    np.testing.assert_array_equal(chosen.params["W"][finite, 0], chosen.measures["loss"][finite])
    assert chosen.params["W"][1, 2, 0] == loss(LONG, [20])[1, 0]  # of the point that is not finite, as it is
    with pytest.raises(KeyError, match="W_E: there are W"):
        sweep.params["W_E"]


def test_a_flipped_bit_in_a_trajectory_is_noticed_by_reading_the_params(tmp_path):
    folder = write_group(tmp_path, LONG, STEPS)
    sweep = load(tmp_path)
    assert sweep.steps.size == 5  # the measures were sound when they were read
    victim = max((folder / "20" / "traj").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(bytes(content))
    with pytest.raises(store.Damaged, match=r"after step 0 up to 20 are lost"):
        sweep.params["W"]


def test_what_is_not_begun_or_has_no_chunk_is_reported(tmp_path):
    folder = write_group(tmp_path, LONG, STEPS)
    write_group(tmp_path, SHORT, [], number=1, saves=[0, 5])
    outline(tmp_path, {folder.name: 3, "001-" + names(SHORT)[0]: 2, "002-abc": 40})
    sweep = load(tmp_path)
    assert sweep.valid.any(axis=1).tolist() == [True] * 3 + [False] * 2
    assert np.isnan(sweep.measures["loss"][3:]).all() and sweep.measures["loss"].shape == (5, 5)
    assert "1 of 3 groups (40 runs) are not begun" in sweep.messages[0] and "no complete chunk" in sweep.messages[1]
    with pytest.raises(store.StoreError, match="has no complete chunk yet"):
        list(sweep)


def test_parts_of_a_page_come_together_with_their_name(tmp_path):
    write_group(tmp_path / "runs" / "one", LONG, STEPS)
    write_group(tmp_path / "runs" / "two", SHORT, STEPS)
    sweep = load(tmp_path)
    assert sweep.columns["part"].tolist() == ["one"] * 3 + ["two"] * 2
    assert sweep.select(part="two").runs.tolist() == names(SHORT)


def test_groups_are_those_that_are_numbered_in_order(tmp_path):
    for name in ("1000-a", "101-b", "grokking", "2-c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").touch()
    assert [group.name for group in manifest.begun(tmp_path)] == ["101-b", "1000-a"]


def test_a_field_that_a_run_lacks_is_nan(tmp_path):
    other = described(seed=9)
    other["optimizer"].pop("weight_decay")
    write_group(tmp_path, LONG, STEPS)
    write_group(tmp_path, [other], STEPS, number=1)
    np.testing.assert_array_equal(load(tmp_path).columns["optimizer.weight_decay"], [0.1, 0.1, 0.1, np.nan])
    for lacking in (None, np.nan):
        assert load(tmp_path).select(**{"optimizer.weight_decay": lacking}).columns["seed"].tolist() == [9]


def test_a_folder_of_a_newer_version_is_refused(tmp_path):
    folder = write_group(tmp_path, LONG, STEPS)
    about = store.read_json(folder / "manifest.json", sealed=True)
    store.write_json(folder / "manifest.json", {**about, "schema": store.SCHEMA + 1}, sealed=True)
    with pytest.raises(store.Refused, match="newer"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "empty", "committed"])
def test_a_folder_without_runs_says_what_to_do(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "committed").mkdir()
    store.write_json(tmp_path / "committed" / "manifest.json", {"experiment": "grokking"})
    with pytest.raises(store.StoreError, match="holds no runs: run the stage train first"):
        load(tmp_path / name)


def test_several_sweeps_stand_side_by_side(page, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(page, other)
    both, alone = load([page, other]), load(page)
    assert len(both) == 2 * len(alone) and both.columns["sweep"].tolist() == [str(page)] * len(alone) + [
        str(other)
    ] * len(alone)
    name = next(iter(alone.measures))
    np.testing.assert_array_equal(both.select(sweep=str(other)).measures[name], alone.measures[name])
    assert "sweep" not in alone.columns
    for paths in ([page, page], []):
        with pytest.raises(store.StoreError, match="give folders of sweeps, each once"):
            load(paths)
    group = alone.sources[0].folder
    for twice in (f"{page}/", page / "runs", group):  # other words for the same, and a part of it
        with pytest.raises(store.StoreError, match=f"both hold {group}: give each run once"):
            load([page, twice] if twice != f"{page}/" else [str(page), twice])
