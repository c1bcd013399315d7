"""The summary of a custom sweep: hand-made measures whose medians, quartiles and shares are known."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.shared.small_pages import part, small
from toylab import configs as cfg
from toylab import lab
from toylab.claims import table
from toylab.cli import report
from toylab.lab import Measures, Part, pages, stages, summary, summary_figures, summary_tables
from toylab.lab.asked import _same, off
from toylab.lab.measuring import _padded

ROOT = Path(__file__).resolve().parents[2]
STEPS = np.array([0, 10, 20, 40])
ABOVE = ("learned", lambda m: np.any(m["accuracy"] >= 0.9, axis=-1))
NOW = ("right now", lambda m: m["accuracy"][..., -1] >= 0.9)


def measures(accuracy, valid=None, **columns):
    """[R, T] accuracies with fields of the configs, `task__p` for task.p."""
    accuracy = np.array(accuracy, float)
    valid = np.ones(accuracy.shape, bool) if valid is None else np.array(valid, bool)
    fields = {f"config/{name.replace('__', '.')}": np.array(values) for name, values in columns.items()}
    return Measures({"steps": STEPS, "valid": valid, "accuracy": accuracy, "loss": 1 - accuracy, **fields})


# runs that reach 0.9 at steps 10, 20, 40 and never
ROWS = [[0, 0.9, 1, 1], [0, 0.5, 0.95, 0.8], [0, 0, 0, 0.9], [0, 0, 0, 0.2]]
FOUR = measures(ROWS, optimizer__weight_decay=[1.0, 1.0, 0.1, 0.1], seed=[0, 1, 0, 1])


def test_rows_have_the_median_the_quartiles_and_the_share_of_each_value():
    found = summary.of_part(Part(milestone=ABOVE), FOUR)
    assert (found["fields"], found["with"], found["milestone"], found["until"]) == (
        ["optimizer.weight_decay"],
        [],
        "learned",
        40,
    )
    low, high = found["rows"]
    assert low["values"] == {"optimizer.weight_decay": 0.1} and (low["runs"], low["reached"]) == (2, 1)
    assert low["step"] == {"median": None, "quartiles": [None, None], "n": 1}  # half-way to a run that never does
    assert high["reached"] == 2 and high["step"] == {"median": 15.0, "quartiles": [12.5, 17.5], "n": 2}
    assert high["last"]["accuracy"]["median"] == pytest.approx(0.9)
    assert high["last"]["accuracy"]["quartiles"] == pytest.approx([0.85, 0.95])
    assert list(low["last"]) == ["accuracy", "loss"]


def test_quartiles_are_those_of_numpy_where_every_run_has_a_value():
    values = np.random.default_rng(0).normal(size=11)
    found = summary._spread(values)
    assert [found["quartiles"][0], found["median"], found["quartiles"][1]] == pytest.approx(
        np.quantile(values, [0.25, 0.5, 0.75])
    )
    lacking = summary._spread(np.array([1, np.nan, 3, 2.0, np.nan]), lacking=np.inf)
    assert lacking == {"median": 3.0, "quartiles": [2.0, None], "n": 3}
    assert summary._spread(np.array([np.nan, np.inf])) == {"median": None, "quartiles": [None, None], "n": 0}


@pytest.mark.parametrize("word", [ABOVE, NOW], ids=["once", "now"])
def test_the_milestone_is_first_reached_at_a_saved_point(word):
    """Whether the page's function asks for any point so far or for the newest."""
    np.testing.assert_array_equal(summary.milestone(Part(milestone=word), FOUR), [10, 20, 40, np.nan])


def test_points_after_the_end_of_a_run_are_not_asked():
    ended = measures([[0, 0.9, np.nan, np.nan], [0, 0.2, 0.3, 1]], valid=[[1, 1, 0, 0], [1, 1, 1, 1]], seed=[0, 1])
    seen = []

    def reached(m):
        assert np.isfinite(m["accuracy"]).all() and len(m["step"]) == m["accuracy"].shape[1]
        seen.append(m["accuracy"].shape)
        return m["accuracy"][..., -1] >= 0.9

    np.testing.assert_array_equal(summary.milestone(Part(milestone=("x", reached)), ended), [10, 40])
    assert sorted(set(seen)) == [(1, 1), (1, 2), (1, 3), (1, 4)]


def test_a_part_without_a_milestone_and_one_whose_milestone_fails():
    plain = summary.of_part(Part(), FOUR)
    assert plain["milestone"] is None and "step" not in plain["rows"][0] and "reached" not in plain["rows"][0]
    failing = summary.of_part(Part(milestone=("x", lambda m: m["gone"] > 0)), FOUR)
    assert failing["milestone"] is None and failing["unjudged"] == "KeyError: gone"
    assert "cannot be judged of these runs (KeyError: gone)" in summary_tables.note(failing)
    for found in (plain, failing):
        assert summary_tables.table(found)[0][:2] == ["optimizer.weight_decay", "runs"]


@pytest.mark.parametrize(
    ("columns", "named", "fields", "along"),
    [
        ({"task.p": [5, 5, 7, 7], "task.n_train": [10, 10, 20, 20]}, (), ["task.p"], []),  # one follows from the other
        ({"task.p": [5, 5, 7, 7], "net.d_vocab": [6, 6, 8, 8]}, ("net.d_vocab", "task.p"), ["net.d_vocab"], ["task.p"]),
        ({"a": [0, 0, 1, 1], "b": [0, 1, 0, 1], "c": [0, 1, 1, 0]}, ("c",), ["c", "a"], []),  # c and a tell b
        ({"optimizer.b1": [0.9, 0.9, np.nan, np.nan], "optimizer.type": ["A", "A", "S", "S"]}, ("optimizer",),
         ["optimizer.type"], []),
        ({"seed": [0, 1, 2, 3], "data_seed": [0, 1, 2, 3], "a": [1, 1, 1, 1]}, ("seed", "a"), [], []),
        ({"a": [np.nan] * 4}, (), [], []),
    ],
)  # fmt: skip
def test_the_fields_that_divide_runs(columns, named, fields, along):
    assert summary.varying({name: np.array(values) for name, values in columns.items()}, named) == (fields, along)


def test_a_field_that_a_group_lacks_is_no_zero_there():
    """Groups of two classes of net: one has heads and a causal mask, the other has neither."""

    def group(**fields):
        found = measures([[0, 0.5, 0.5, 0.5]], **fields)
        return {name: found[name] for name in found}

    blocks = [
        group(net__n_heads=[2], net__causal=[True], net__kind=["a"]),
        group(net__n_heads=[4], net__causal=[False], net__kind=["a"]),
        group(net__n_mlp=[8]),
    ]
    joined = Measures(_padded(blocks))
    np.testing.assert_array_equal(joined["net.n_heads"], [2, 4, np.nan])
    np.testing.assert_array_equal(joined["net.causal"], [1, 0, np.nan])
    np.testing.assert_array_equal(joined["net.n_mlp"], [np.nan, np.nan, 8])
    assert joined["net.kind"].tolist() == ["a", "a", ""] and joined["valid"].dtype == bool
    rows = summary.of_part(Part(), joined, ("net.n_heads",))["rows"]
    assert [row["values"]["net.n_heads"] for row in rows] == [2, 4, None]
    assert _same(np.unique(joined["net.n_heads"]), np.array([2, 4, np.nan]))
    assert not _same(np.unique(joined["net.n_heads"]), np.array([2, 4.0]))


def test_runs_without_a_value_are_told_and_left_out():
    gone = measures([[0, 0.5, 0.5, 0.5], [0, 0.1, 0.2, np.nan]], seed=[0, 1])
    (row,) = summary.of_part(Part(), gone)["rows"]
    assert row["values"] == {} and row["last"]["accuracy"] == {"median": 0.5, "quartiles": [0.5, 0.5], "n": 1}
    head, ((runs, accuracy, _),) = summary_tables.table(summary.of_part(Part(), gone))
    assert head == ["runs", "accuracy", "loss"] and (runs, accuracy) == ("2", "0.5 [0.5; 0.5] (of 1)")


def test_a_table_says_infinity_where_half_of_the_runs_did_not_get_there():
    found = summary.of_part(Part(milestone=ABOVE), FOUR)
    head, rows = summary_tables.table(found)
    assert head == ["optimizer.weight_decay", "runs", "learned", "at step", "accuracy", "loss"]
    assert rows[0][:4] == ["0.1", "2", "1/2 (50%)", "∞ [∞; ∞]"] and rows[1][:4] == [
        "1",
        "2",
        "2/2 (100%)",
        "15 [12.5; 17.5]",
    ]
    text = summary_tables.markdown({"experiment": "page", "parts": {"": found}})
    assert text.startswith("## page: 4 runs, by optimizer.weight_decay\n\n| optimizer.weight_decay | runs |")
    assert "has not reached “learned” by step 40" in text


def test_fields_by_their_own_names_read_measures():
    classes = np.array(["toylab.optim.AdamW", "toylab.optim.SGD"])
    found = Measures({"config/task.p": np.array([5, 7]), "config/optimizer.type": classes, "loss": np.zeros((2, 1))})
    assert found["task.p"].tolist() == [5, 7] and found["config/task.p"] is found["task.p"]
    assert found["optimizer"].tolist() == ["AdamW", "SGD"] and found["optimizer.type"].tolist() == classes.tolist()
    with pytest.raises(KeyError, match=r"task\.q is no measure"):
        found["task.q"]


# --- files

BELOW = ("below", lambda m: m["loss"][..., -1] < 9)
PARTS = {"first": replace(part("first", small(2)), milestone=BELOW), "second": part("second", small(3))}
PAGE = SimpleNamespace(__name__="tests.a_page", PARTS=PARTS)


def of_parts(**parts):
    return Measures({f"{name}/{key}": value for name, own in parts.items() for key, value in own.items()})


def test_files_are_of_custom_parts_alone_and_go_with_the_last_of_them(tmp_path):
    both = of_parts(first=FOUR, second=FOUR)
    record = summary.write(PAGE, both, {"first": "a = 1", "second": ""}, (), tmp_path)
    assert list(record["parts"]) == ["first", "second"] == list(summary.read(tmp_path)["parts"])
    assert json.loads((tmp_path / "summary.json").read_text()) == record
    rows = list(csv.DictReader((tmp_path / "summary.csv").read_text().splitlines()))
    assert len(rows) == 4 and rows[0]["part"] == "first" and float(rows[1]["accuracy/median"]) == pytest.approx(0.9)
    assert rows[0]["reached"] == "2" and rows[2]["reached"] == ""  # the second part has no milestone
    assert (tmp_path / "summary.md").read_text().count("## a_page, part ") == 2
    assert list(summary.write(PAGE, both, {"first": None}, (), tmp_path)["parts"]) == ["second"]  # that was not run
    assert summary.write(PAGE, both, {"second": None}, (), tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ['{"parts": []}', '{"parts": {"": {"rows": []}}}'])
def test_a_file_that_holds_no_summary_is_refused(tmp_path, content, capsys):
    (tmp_path / "summary.json").write_text(content)
    (tmp_path / "claims.json").write_text('{"claims": []}')
    assert report.report([str(tmp_path)], "toylab report") == 2
    assert (
        capsys.readouterr().err
        == f"{tmp_path / 'summary.json'} holds no summary: run the stage analyze, which writes it anew.\n"
    )


def test_a_figure_is_drawn_for_one_two_and_three_fields_and_none_for_more():
    accuracy = np.tile(np.array(ROWS)[:, None], (1, 4, 1)).reshape(16, 4)
    bits = {f"task__{name}": np.arange(16) // 2**i % 2 for i, name in enumerate("abcd")}
    for n, panels in ((1, 2), (2, 2), (3, 2)):
        own = measures(accuracy, **dict(list(bits.items())[:n]))
        drawn = summary_figures.figure(Part(milestone=ABOVE), own, summary.of_part(Part(milestone=ABOVE), own))
        named = [ax for ax in drawn.axes if ax.get_xlabel()]
        assert len(named) == panels, n
    for columns in ({}, bits):
        own = measures(accuracy, **columns)
        assert summary_figures.figure(Part(), own, summary.of_part(Part(), own)) is None


def test_the_labels_of_a_figure_are_names_in_words():
    two = measures(ROWS, optimizer__weight_decay=[1.0, 1, 0.1, 0.1], task__n_train=[5, 7, 5, 7])
    drawn = summary_figures.figure(Part(milestone=ABOVE), two, summary.of_part(Part(milestone=ABOVE), two))
    words = {ax.get_xlabel() for ax in drawn.axes} | {ax.get_ylabel() for ax in drawn.axes}
    assert {"weight decay", "n_train", "optimiser step: learned", "last accuracy"} <= words
    alike = measures(ROWS, net__d=[1, 1, 2, 2], task__d=[5, 7, 5, 7])
    drawn = summary_figures.figure(Part(), alike, summary.of_part(Part(), alike))
    assert {"net.d", "task.d"} <= {ax.get_xlabel() for ax in drawn.axes} | {ax.get_ylabel() for ax in drawn.axes}


# --- a run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from toylab import sweep

    folder = tmp_path_factory.mktemp("custom") / "a_page"
    custom = [config.replace(seed=seed) for config in small(2, seeds=1) for seed in (0, 7)]
    custom = [config.replace(optimizer=config.optimizer.replace(lr=lr)) for config in custom for lr in (1e-3, 1e-2)]
    configs = {"first": custom, "second": small(3)}
    for name, members in configs.items():
        sweep.run(members, stages.spec(PAGE.PARTS[name], "smoke"), folder / "runs" / name, report=None)
    named = ("optimizer.lr", "seed")
    claims = stages.analyze(PAGE, configs, folder, lambda _: None, named=named, scale="smoke")
    return folder, configs, claims


@pytest.mark.slow
def test_a_custom_sweep_ends_with_a_summary_and_claims_marked_as_off_their_set_up(trained, capsys):
    folder, configs, claims = trained
    record = summary.read(folder)
    assert list(record["parts"]) == ["first"] and len(record["parts"]["first"]["rows"]) == 2
    assert [row["runs"] for row in record["parts"]["first"]["rows"]] == [2, 2]
    judged = json.loads((folder / "claims.json").read_text())["claims"]
    assert [claim.get("off") for claim in judged] == ["optimizer.lr = 0.001, 0.01", None] and judged == claims
    assert table.setup(judged[0]) == "off its set-up" != table.setup(judged[1])
    assert (folder / "claims.md").read_text().startswith("Judged off their set-up, with optimizer.lr = 0.001, 0.01")
    assert report.report([str(folder)], "toylab report") == 0
    printed = capsys.readouterr().out
    assert printed.index("a_page, part first: 4 runs, by optimizer.lr") < printed.index("Judged off their set-up")
    drawn = stages.draw(PAGE, folder)
    assert folder / "figures" / "summary_first.png" in drawn
    again = stages.analyze(PAGE, {"second": configs["second"]}, folder, lambda _: None, scale="smoke")
    assert again == claims and list(summary.read(folder)["parts"]) == ["first"]  # the other part was not run again
    (folder / "summary.json").unlink()
    stages.draw(PAGE, folder)
    assert not (folder / "figures" / "summary_first.png").exists()


def ended(measures):
    return bool(measures["step"][-1] >= 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("saves", "stop", "told"), [((0, 2), None, "steps = 2"), ((0, 3, 5), None, "steps = 5"), ((0, 2, 5), ended, None)]
)
def test_claims_of_runs_that_are_trained_to_another_step_are_marked(tmp_path, saves, stop, told):
    """A page's own configs, whose last step is 3: of a shorter run what comes later is not yet there. A run that STOP ended
    is over, whatever was asked for."""
    from toylab import sweep

    folder = tmp_path / "a_page"
    configs = {"first": small(2), "second": small(3)}
    sweep.run(configs["first"], sweep.Spec(saves=saves, stop=stop), folder / "runs" / "first", report=None)
    sweep.run(configs["second"], stages.spec(PAGE.PARTS["second"], "smoke"), folder / "runs" / "second", report=None)
    claims = stages.analyze(PAGE, configs, folder, lambda _: None, scale="smoke")
    assert [claim.get("off") for claim in claims] == [told, None] and not list(folder.glob("summary.*"))
    assert (table.setup(claims[0]) == "off its set-up") == bool(told)
    again = stages.analyze(PAGE, {"second": configs["second"]}, folder, lambda _: None, scale="smoke")
    assert again == claims  # the other part was not run again


def test_whole_numbers_in_a_page_s_floats_are_its_own_values():
    """Runs are of checked configs, whose floats are float32; a page may say 1, or a float64 array."""
    own = [replace(one, optimizer=replace(one.optimizer, weight_decay=1)) for one in small(2)]
    assert off([cfg.check(one) for one in own], own, []) is None
    assert off([cfg.check(replace(own[0], seed=7))], own, ["seed"]) == ""
    other = replace(own[0], optimizer=replace(own[0].optimizer, weight_decay=0.5))
    assert off([cfg.check(other)], own, ["optimizer.weight_decay"]) == "optimizer.weight_decay = 0.5"


@pytest.mark.slow
def test_the_page_s_own_values_leave_no_summary(trained, tmp_path, capsys):
    from toylab import sweep

    folder = tmp_path / "a_page"
    configs = {"first": small(2), "second": small(3)}
    for name, members in configs.items():
        sweep.run(members, stages.spec(PAGE.PARTS[name], "smoke"), folder / "runs" / name, report=None)
    stages.analyze(PAGE, configs, folder, lambda _: None, scale="smoke")
    assert not list(folder.glob("summary.*")) and "off" not in (folder / "claims.json").read_text()
    report.report([str(folder)], "toylab report")
    assert "Judged off" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(pages.built_in()))
def test_every_page_and_part_has_a_summary_and_a_figure(name):
    """From the committed measures, by all fields that vary among the page's own runs."""
    page, folder = pages.load(name), ROOT / "results" / name
    if not (folder / "measures.npz").exists():
        pytest.skip("its results are not committed yet")
    for part_name, own_part, own in lab.present(page, stages.read_measures(folder)):
        if own_part.imported:
            continue
        record = summary.of_part(own_part, own)
        assert "unjudged" not in record and sum(row["runs"] for row in record["rows"]) == len(own.valid), part_name
        assert (record["milestone"] is None) == (own_part.milestone[1] is lab.page.going)
        head, rows = summary_tables.table(record)
        assert {len(row) for row in rows} == {len(head)}
        drawn = summary_figures.figure(own_part, own, record)
        assert drawn is not None or len(record["fields"]) != 1, part_name
