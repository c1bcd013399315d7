"""Pages, parts, measures and claims; a page of several parts through the command line."""

import json
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from pyarrow import parquet
from small_pages import finding, part, small

import run_sweep
from toylab import store, sweep
from toylab.cli import main as cli
from toylab.lab import Measures, pages, verdicts
from toylab.records import notes


def measures(**more):
    """Two levels of density with four seeds each, three saved points; one run ended early."""
    loss = np.array([[3, 2, last] for last in (0.4, 0.2, 0.3, 0.1, 8, 6, 5, 7)], float)
    valid = np.ones((8, 3), bool)
    valid[0, 2], loss[0, 2] = False, np.nan
    density = np.repeat(np.float32([1, 0.1]), 4)
    return Measures(
        {"steps": np.array([0, 5, 9]), "valid": valid, "loss": loss, "config/task.density": density, **more}
    )


def test_the_last_value_is_that_of_the_last_valid_point():
    np.testing.assert_allclose(measures().last("loss")[:2], [2, 0.2])
    valid, loss = np.array([[1, 0, 1], [1, 1, 0]], bool), np.array([[3, np.nan, 1], [3, 2, np.nan]])
    np.testing.assert_allclose(Measures({"valid": valid, "loss": loss}).last("loss"), [1, 2])  # points of two groups


def test_runs_selects_everywhere_but_in_the_steps():
    some = measures().runs(np.array([4, 1]))
    assert some["loss"].shape == (2, 3) and some["config/task.density"].tolist() == pytest.approx([0.1, 1])
    assert some.steps.tolist() == [0, 5, 9]


def test_the_best_of_disjoint_sets_by_level_from_dense_to_sparse():
    levels, best = measures().best_of(2)
    assert levels.tolist() == pytest.approx([1, 0.1]) and best.tolist() == [[1, 3], [5, 6]]
    assert measures().best_of(4)[1].tolist() == [[3], [6]]
    assert measures().best_of(3)[1].shape == (2, 1)  # what is left over belongs to no set
    with pytest.raises(ValueError, match=r"a level of task\.density has fewer runs than the 5 of a set"):
        measures().best_of(5)


def test_what_all_runs_have_in_common_is_none_of_some_alone():
    m = measures(**{"config/net.n_hidden": np.full(8, 2), "config/task.importance": np.ones((8, 3))})
    assert m.only("config/net.n_hidden") == 2 and m.only("config/task.importance").tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match=r"the runs have no task\.density in common"):
        m.only("config/task.density")
    with pytest.raises(ValueError, match="in common"):
        m.runs(np.zeros(8, bool)).only("config/net.n_hidden")


def test_a_fit_that_diverged_is_never_the_best():
    m = measures()
    m["loss"][3, 2] = np.nan
    assert m.best_of(4)[1].tolist() == [[1], [6]]


def test_a_part_has_its_own_measures_and_the_empty_name_all():
    both = Measures({"a/steps": np.array([0]), "a/final/x": np.array([1]), "b/steps": np.array([3])})
    assert both.part("a").keys() == {"steps", "final/x"} and both.part("b").steps.tolist() == [3]
    assert both.part("").keys() == both.keys()


def test_the_summary_names_what_does_not_agree():
    sizes = {"a": lambda m: np.ones(20), "b": lambda m: np.full(20, 20)}
    judged = [finding(name, size).judge(measures()) for name, size in sizes.items()]
    row = "| [page](results/page/claims.md) | of our own findings 1 agrees, 1 differs | b (differs) |"
    assert verdicts.summary("page", judged) == row
    assert verdicts.summary("page", judged[:1]).endswith("| of our own findings 1 agrees | – |")


# --- a page of two parts


@pytest.fixture
def page(monkeypatch):
    module = types.ModuleType("experiments.two")
    module.PARTS = {"narrow": part("narrow", small(1)), "mixed": part("mixed", small(2) + small(3, seeds=1))}
    monkeypatch.setitem(sys.modules, "experiments.two", module)
    monkeypatch.setattr(pages, "load", lambda name: module)
    return module


def command(out, *options):
    return run_sweep.main(["two", "--scale", "smoke", "--out", str(out), *options])


def of(folder):
    return Measures(store.read_arrays(folder / "two" / "measures.npz"))


def test_parts_have_their_runs_records_measures_claims_and_figures(page, tmp_path):
    assert command(tmp_path) == 0
    folder = tmp_path / "two"
    assert {path.name for path in (folder / "runs").iterdir()} == {"narrow", "mixed"}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {name: len(record["runs"]) for name, record in manifest["parts"].items()} == {"narrow": 2, "mixed": 3}
    claims = json.loads((folder / "claims.json").read_text())["claims"]
    assert [claim["name"] for claim in claims] == ["narrow learns", "mixed learns"]
    assert {path.name for path in (folder / "figures").iterdir()} == {"narrow_figure.png", "mixed_figure.png"}
    narrow, mixed = of(tmp_path).part("narrow"), of(tmp_path).part("mixed")
    assert narrow["final/weights/W"].shape == (2, 4, 1) and mixed["final/weights/W"].shape == (3, 4, 3)
    assert np.isnan(mixed["final/weights/W"][:2, :, 2]).all() and np.isfinite(mixed["final/weights/W"][2]).all()
    assert mixed["config/net.n_hidden"].tolist() == [2, 2, 3] and narrow["config/seed"].tolist() == [0, 1]
    np.testing.assert_allclose(narrow["config/task.importance"], [[1, 0.5, 0.25, 0.1]] * 2)


def test_a_page_s_manifest_and_report_say_how_long_training_took(page, tmp_path, capsys):
    assert command(tmp_path) == 0
    record = json.loads((tmp_path / "two" / "manifest.json").read_text())["parts"]
    groups = [group for part in record.values() for group in part["groups"].values()]
    assert len(groups) == 3 and all(group["seconds"] >= 0 for group in groups)
    capsys.readouterr()
    assert cli.main(["report", str(tmp_path / "two")]) == 0
    assert "; training took 0:0" in capsys.readouterr().out


def test_measures_that_a_part_omits_are_in_runs_alone(page, tmp_path):
    page.PARTS["narrow"] = replace(page.PARTS["narrow"], omit=("loss", "norm/W"), claims=(), figures={})
    assert command(tmp_path) == 0
    assert not {"loss", "norm/W"} & set(of(tmp_path).part("narrow"))
    assert {"loss", "norm/W"} <= set(of(tmp_path).part("mixed"))
    [group] = sweep.load(tmp_path / "two" / "runs" / "narrow")
    assert group.measures["loss"].shape == (2, 2)


def test_one_part_alone_leaves_the_others_as_they_are(page, tmp_path):
    assert command(tmp_path, "--part", "mixed") == 0
    assert set(of(tmp_path).part("narrow")) == set() and len(of(tmp_path).part("mixed").valid) == 3
    before = of(tmp_path).part("mixed")
    assert command(tmp_path, "--part", "narrow") == 0
    after = of(tmp_path).part("mixed")
    assert all(np.array_equal(before[name], after[name], equal_nan=before[name].dtype.kind == "f") for name in before)
    assert set(json.loads((tmp_path / "two" / "manifest.json").read_text())["parts"]) == {"narrow", "mixed"}
    assert len(verdicts.judge(page, of(tmp_path))) == 2


def test_damaged_measures_are_reported_with_what_to_do_and_stand_in_the_way_of_nothing_else(page, tmp_path, capsys):
    assert command(tmp_path) == 0
    path = tmp_path / "two" / "measures.npz"
    for content in (b"", path.read_bytes()[:-9]):
        path.write_bytes(content)
        for stage in (("--stage", "draw"), ("--stage", "analyze", "--part", "narrow")):
            assert command(tmp_path, *stage) == 1
            output = capsys.readouterr().err
            assert output.startswith(f"{path} is damaged: ") and output.count("\n") == 1
            assert output.endswith(". Run the stage analyze again, of all parts: it writes it anew.\n")
        assert command(tmp_path, "--stage", "train") == 0
        assert command(tmp_path) == 0 and len(of(tmp_path).part("mixed").valid) == 3


def test_what_is_measured_before_training_is_over_is_said_to_be(page, tmp_path, capsys):
    assert command(tmp_path, "--part", "narrow", "--stage", "train") == 0
    (path,) = (tmp_path / "two" / "runs" / "narrow").glob("*/manifest.json")
    about = store.read_json(path, sealed=True)
    store.write_json(path, {**about, "saves": [0, 3, 1000]}, sealed=True)
    assert command(tmp_path, "--part", "narrow", "--stage", "analyze") == 0
    assert f"{path.parent.name} is trained to step 3 of 1,000 so far" in capsys.readouterr().out


def test_an_unknown_part_is_refused_and_nothing_is_made(page, tmp_path, capsys):
    assert command(tmp_path, "--part", "wide") == 2
    assert capsys.readouterr().err == "--part is wide: two has narrow, mixed.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_a_part_can_be_started_from(page, tmp_path):
    assert command(tmp_path, "--stage", "train") == 0
    record = json.loads((tmp_path / "two" / "manifest.json").read_text())["parts"]["narrow"]
    start = f"{tmp_path / 'two'}/{next(iter(record['runs']))}@3"
    assert command(tmp_path / "branch", "--part", "narrow", "--from", start, "--stage", "train") == 0
    group = next(iter(record["groups"]))
    manifest = json.loads((tmp_path / "branch" / "two" / "manifest.json").read_text())
    assert manifest["parts"]["narrow"]["groups"][group]["started_from"] == start


def test_a_field_is_set_in_the_chosen_parts(page, tmp_path):
    assert command(tmp_path, "--part", "narrow", "--set", "task.density=0.5,0.1", "--stage", "train") == 0
    record = json.loads((tmp_path / "two" / "manifest.json").read_text())["parts"]["narrow"]
    assert sorted({run.get("task.density", 0.5) for run in notes.changes_of(record).values()}) == [0.1, 0.5]
    assert len(record["runs"]) == 4 and record["config"]["task"]["density"] == 0.5
    changes = notes.changes_of(record)
    assert notes.changes_of(notes.packed_changes(changes)) == changes == notes.changes_of({"runs": changes})


def table(folder):
    return parquet.read_table(folder / "two" / "runs.parquet").to_pydict()


def test_runs_parquet_is_of_what_is_trained_and_has_the_analyses(page, tmp_path):
    alone = ["--part", "narrow"]
    assert command(tmp_path, *alone) == 0
    first = table(tmp_path)
    assert first["step"] == [0, 3] * 2 and len(first["norm/W"]) == 4 and all(map(np.isfinite, first["norm/W"]))
    assert command(tmp_path, *alone, "--stage", "train") == 0 and table(tmp_path) == first  # of the same runs
    assert command(tmp_path, *alone, "--stage", "train", "--steps", "6") == 0
    longer = table(tmp_path)
    assert longer["step"] == [0, 3, 6] * 2 and "norm/W" not in longer  # what was analyzed is of fewer points
    assert command(tmp_path, *alone, "--stage", "analyze") == 0
    assert len(table(tmp_path)["norm/W"]) == 6
    assert command(tmp_path, "--part", "mixed", "--stage", "train") == 0
    both = table(tmp_path)
    assert set(both["part"]) == {"narrow", "mixed"}
    assert [value is None for value in both["norm/W"]] == [part == "mixed" for part in both["part"]]


def test_a_stopped_training_leaves_the_table_of_what_it_has(page, tmp_path, monkeypatch):
    train = sweep.run

    def stopped(*arguments, **options):
        train(*arguments, **options)
        raise sweep.Interrupted("all is committed")

    monkeypatch.setattr(sweep, "run", stopped)
    assert command(tmp_path, "--part", "narrow") == 130 and table(tmp_path)["step"] == [0, 3] * 2


def test_claims_and_figures_that_the_runs_do_not_have_are_reported_and_the_rest_is_made(
    page, tmp_path, capsys, monkeypatch
):
    def dense(m):
        return m.last("loss")[m["config/task.density"] == 1]

    def first_dense(m):
        return dense(m)[0]

    def drawn(m):
        m["final/weights/Q"]

    narrow = page.PARTS["narrow"]
    more = [finding("dense", dense), finding("first", first_dense)]
    part = replace(narrow, claims=[*narrow.claims, *more], figures={"gone": drawn, **narrow.figures})
    monkeypatch.setitem(page.PARTS, "narrow", part)
    (tmp_path / "two" / "figures").mkdir(parents=True)
    (tmp_path / "two" / "figures" / "gone.png").write_text("of earlier runs")
    assert command(tmp_path, "--part", "narrow", "--set", "task.density=0.5,0.25") == 0
    claims = {claim["name"]: claim for claim in json.loads((tmp_path / "two" / "claims.json").read_text())["claims"]}
    assert claims["narrow learns"]["verdict"] == "undecided"  # four of twenty planned runs
    under = "Not applicable under task.density = 0.5, 0.25"
    assert claims["dense"]["verdict"] == claims["first"]["verdict"] == "not applicable"
    assert claims["dense"]["reason"] == f"{under} (no run has it)."
    assert claims["first"]["reason"].startswith(f"{under} (IndexError: index 0 is out of bounds")
    assert "| – |" in (tmp_path / "two" / "claims.md").read_text()
    output = capsys.readouterr()
    assert output.err == (
        "gone cannot be drawn of these runs (NoMeasure: final/weights/Q is no measure: did you mean final/weights/W?).\n"
    )
    drawn_names = {path.name for path in (tmp_path / "two" / "figures").iterdir()}
    assert drawn_names == {"narrow_figure.png", "summary_narrow.png"}


def test_an_analysis_that_does_not_fit_the_asked_runs_is_a_sentence_before_training(
    page, tmp_path, capsys, monkeypatch
):
    def four(params, run):
        return {"x": params["W"] @ np.ones((1, 4))}

    monkeypatch.setitem(page.PARTS, "narrow", replace(page.PARTS["narrow"], analyses={"four": four}))
    assert command(tmp_path, "--part", "narrow", "--set", "net.n_hidden=2") == 2
    output = capsys.readouterr().err
    assert output.startswith("the page's analyses do not fit run ") and output.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
