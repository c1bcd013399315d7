"""The site's examples, commands and notebooks run as printed, and its formulas are shown as they are meant.

A block with a title is that file of docs/parity, any other runs as it stands; blocks of a page share their names.
"""

import ast
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

import run_sweep
from toylab import load
from toylab.analysis import task_measures
from toylab.cli.main import main
from toylab.explore import Moment, of_arrays
from toylab.tasks import ModularPairs

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "pages"
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))
EXAMPLE = ROOT / "docs" / "parity"
ADDED = ("add-task", "add-model", "add-analyzer", "add-experiment")


def blocks(page):
    """(title or "", code) of a page's Python blocks."""
    return re.findall(r'^```python(?: title="(.+?)")?\n(.*?)^```', (PAGES / f"{page}.md").read_text(), re.M | re.S)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder to run in; what is imported from it or from the worked example is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith((str(tmp_path), str(EXAMPLE))):
            del sys.modules[name]


def execute(page):
    names: dict = {}
    for title, code in blocks(page):
        if not title:
            exec(compile(code, f"{page}.md", "exec"), names)
    return names


def test_the_files_that_are_shown_are_those_of_the_worked_example():
    shown = {title: code for page in ADDED for title, code in blocks(page) if title}
    assert shown == {path.name: path.read_text() for path in EXAMPLE.glob("*.py")}


def test_every_page_with_python_is_executed_here():
    with_code = {path.stem for path in PAGES.glob("*.md") if blocks(path.stem)}
    executed = {
        "index",
        "idea",
        "disk",
        "weights",
        "layouts",
        "transformer-lens",
        "arrays",
        "read-results",
        "labelled-arrays",
        "phase-diagrams",
        "sweeps",
        "judging",
        "notebooks",
        "growth",
        "explorer",
    }
    assert with_code == {*ADDED, *executed}


def test_every_figure_that_is_shown_is_there():
    shown = [path for page in PAGES.glob("*.md") for path in re.findall(r"!\[.+?\]\((.+?)\)", page.read_text())]
    assert len(shown) > 40 and not [path for path in shown if not any((at / path).is_file() for at in (ROOT, PAGES))]


@pytest.mark.parametrize("script", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_can_be_downloaded_with_the_cells_of_its_script(script, monkeypatch):
    pytest.importorskip("jupytext", reason="of the extra docs")
    monkeypatch.syspath_prepend(ROOT / "docs")
    found = importlib.import_module("notebooks").downloads(script)
    cells = json.loads(found[f"{script.stem}.ipynb"])["cells"]
    text = script.read_text()
    assert found[script.name].decode() == text and len(cells) == text.count("# %%")
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 3 and all(one in text for one in code) and len({cell["id"] for cell in cells}) == len(cells)


@pytest.mark.slow
def test_a_task_a_model_and_an_analyzer_do_as_written(place, capsys):
    sys.path.insert(0, str(EXAMPLE))
    for page in ADDED:
        execute(page)
    printed = capsys.readouterr().out
    assert "(4, 5) [ True  True  True  True]" in printed and "[0. 0.]" in printed


@pytest.mark.slow
def test_the_page_of_the_worked_example_runs_from_its_own_folder(place, capsys):
    """A copy outside the repository, as a user's own."""
    shutil.copytree(EXAMPLE, place / "parity", ignore=shutil.ignore_patterns("__pycache__"))
    assert main(["run", "parity/parity.py", "--scale", "smoke", "--out", "results"]) == 0
    assert (place / "results" / "parity" / "figures" / "progress.png").stat().st_size > 5_000
    assert Path(sys.modules["parity_task"].__file__).parent == place / "parity"


@pytest.mark.slow
def test_the_first_sweep_has_the_axes_that_it_prints(place, capsys):
    names = execute("index")
    assert names["sweep"].measures["loss"].shape == (2, 3) and names["sweep"].params["W"].shape == (2, 3, 5, 2)


@pytest.mark.slow
def test_a_config_is_a_pytree_as_the_page_says(place, capsys):
    names = execute("idea")
    said = capsys.readouterr().out
    assert "True False" in said and names["trajectory"].params["W"].shape == (3, 3, 5, 2)


@pytest.mark.slow
def test_what_was_written_is_read_back_without_knowing_the_format(place, capsys):
    names = execute("disk")
    assert names["sweep"].steps.tolist() == [0, 20, 40] and "sweep.json" in capsys.readouterr().out


@pytest.mark.slow
def test_weights_go_out_and_come_back(place, capsys):
    names = execute("weights")
    assert "[1 9]" in capsys.readouterr().out
    assert names["fourier"].logit_fve(names["cube"], np.arange(6) > 0) > 0.5


def test_a_layout_is_guessed_and_a_mapping_loaded_as_the_page_prints(capsys):
    pytest.importorskip("torch")
    execute("layouts")
    said = re.search(r"print\(importers\.guess\(source\)\)\n# (.*)", (PAGES / "layouts.md").read_text())
    assert capsys.readouterr().out == f"{said[1]}\nTrue\n"


def test_what_users_of_transformer_lens_look_for_prints_as_the_page_says(capsys):
    names = execute("transformer-lens")
    printed = capsys.readouterr().out.splitlines()
    assert np.asarray(names["parts"]["source"])[1, 0, 0, 5, 3] == pytest.approx(20, abs=0.1)
    assert float(printed[1]) == pytest.approx(0.378, abs=1e-3)
    assert np.fromstring(printed[2].strip("[]"), sep=" ") == pytest.approx([1, 0], abs=1e-2)
    assert printed[3] == "(1, 1, 7, 7)"


def test_a_training_in_torch_is_measured_along_its_checkpoints(place, capsys):
    pytest.importorskip("torch")
    by_title = {title: code for title, code in blocks("weights") if title}
    exec(by_title["train.py"], {})
    names: dict = {}
    exec(by_title["measure.py"], names)
    accuracy = names["found"]["measures/test_accuracy"][0]
    assert accuracy[0] < 0.2 and accuracy[-1] > 0.9 and len(capsys.readouterr().out.splitlines()) == 11
    readme = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    (code,) = [code for code in readme if "load_many" in code]
    shown: dict = {"pairs": names["train"]}
    exec(code, shown)
    np.testing.assert_array_equal(shown["losses"]["excluded"], names["found"]["loss/excluded"])


def test_a_training_in_torch_is_recorded_as_the_tutorial_says(place, capsys):
    pytest.importorskip("torch", reason="the tutorial's variant in PyTorch")
    shown = (ROOT / "docs" / "notebooks" / "own_training.py").read_text("utf-8")
    (block,) = re.findall(r'^# ```python title="torch_adder.py"\n(.*?)^# ```', shown, re.M | re.S)
    names: dict = {}
    exec("\n".join(line.removeprefix("#").removeprefix(" ") for line in block.split("\n")), names)
    sweep = load("torch_adder")
    assert sweep.steps.tolist() == list(range(0, 1001, 100)) and not sweep.messages
    np.testing.assert_array_equal(sweep.params["W_U"][0, 0].shape, (64, 23))
    found = sweep.analyze(task_measures, task=ModularPairs(p=23), train=np.load("train.npy"))
    np.testing.assert_allclose(
        found["train_loss"], sweep.measures["loss"], rtol=1e-4
    )  # float32 sums of 370, two libraries
    assert found["test_accuracy"][0, 0] < 0.2 and found["test_accuracy"][0, -1] > 0.9


def test_a_pt_file_gives_a_circuit_report(reference, place, capsys):
    torch = pytest.importorskip("torch")
    with np.load(reference / "pizza" / "p99zdpze5l.npz") as found:
        torch.save({key: torch.tensor(x) for key, x in found.items()}, "model.pt")
    (code,) = [code for title, code in blocks("weights") if title == "report.py"]
    exec(code, {})
    assert len(code.split("\n\n")) == 2 and "pizza" in capsys.readouterr().out


def test_the_frequencies_that_were_put_into_logits_are_found(capsys):
    found: dict = {}
    exec(blocks("arrays")[0][1], found)
    assert np.flatnonzero(found["key"]).tolist() == [14, 35, 41]
    assert "[14 35 41]" in capsys.readouterr().out


def test_features_are_named_as_they_were_laid(capsys):
    exec(blocks("arrays")[1][1], {})
    said = capsys.readouterr().out
    assert (
        "0.4" in said
        and "pentagonal bipyramid" in said
        and said.count("'pentagon'") == 5
        and said.count("'digon'") == 2
    )


@pytest.mark.slow
def test_the_edges_of_the_induction_machine_are_found(capsys):
    assert len(blocks("arrays")) == 3
    found: dict = {}
    exec(blocks("arrays")[2][1], found)
    machine = found["InductionMachine"]
    assert set(found["graph"].named(found["effects"] > 1e-3)) == set(machine.EDGES)
    assert "('0.0', '1.0.k')" in capsys.readouterr().out


@pytest.mark.slow
def test_a_sweep_is_read_and_its_runs_selected_as_written(place, capsys):
    names = execute("read-results")
    assert names["chosen"].columns["seed"].tolist() == [0, 1] and names["sweep"].params["W"].shape == (6, 3, 5, 2)
    assert "(2, 3, 5, 2)" in capsys.readouterr().out


@pytest.mark.slow
def test_a_sweep_is_labelled_as_written(place, capsys):
    pytest.importorskip("xarray"), pytest.importorskip("pandas")
    names = execute("labelled-arrays")
    assert dict(names["data"]["W"].sizes) == {"run": 6, "step": 3, "W_0": 5, "W_1": 2} and len(names["table"]) == 18
    first, second = [line for line in capsys.readouterr().out.splitlines() if "'" in line]
    assert "'optimizer.weight_decay': 2" in first and "'run': 3" in second and "'step': 3" in second


@pytest.mark.slow
def test_the_table_of_a_sweep_is_asked_as_written(place, capsys):
    pd = pytest.importorskip("pandas")
    asked = "grokking --scale smoke --stage train --set optimizer.weight_decay=0.3,1.0 --seeds 2 --out sweeps/decay"
    assert run_sweep.main(asked.split()) == 0
    table = pd.read_parquet("sweeps/decay/grokking/runs.parquet")
    assert set(table["optimizer.weight_decay"]) == {0.3, 1.0} and set(table["seed"]) == {0, 1}
    (code,) = [code for title, code in blocks("read-results") if title == "query.py"]
    capsys.readouterr()
    try:
        importlib.import_module("duckdb")
    except ModuleNotFoundError:
        code = "import pandas as pd\n" + code[code.index("table =") :]
    exec(code, {})
    assert "step" in capsys.readouterr().out


def test_committed_measures_are_read_and_drawn_as_written(place, capsys):
    (place / "results").symlink_to(ROOT / "results")
    for page, file in (("read-results", "measures.py"), ("phase-diagrams", "phase.py")):
        (code,) = [code for title, code in blocks(page) if title == file]
        exec(code, {})
    assert capsys.readouterr().out.count("(") >= 2 and Path("phase.png").stat().st_size > 10_000


def test_a_sweep_in_python_has_the_runs_that_the_page_prints(place, capsys):
    execute("sweeps")
    assert capsys.readouterr().out.split() == ["8", "400", "26", "True"]


@pytest.mark.slow
def test_two_sweeps_side_by_side_are_one(place):
    names = execute("growth")
    assert len(names["sweep"]) == 6 and names["sweep"].measures["loss"].shape == (6, 3)
    assert sorted(set(names["sweep"].columns["sweep"].tolist())) == ["million/0", "million/1"]


def test_a_claim_is_judged_as_the_page_prints(place, capsys):
    execute("judging")
    rule, verdict, reason = capsys.readouterr().out.splitlines()
    assert (rule, verdict) == ("median within a factor 1.5 of 7930 steps", "not at this scale")
    assert reason == "The interval is outside 5,287 to 11,895. The set-up is scaled: width 64, not 128."


@pytest.mark.slow
def test_the_cells_for_a_notebook_draw_their_strip(place):
    execute("notebooks")
    assert Path("strip.png").stat().st_size > 5_000


def test_arrays_and_a_view_of_ones_own_are_explored_as_written(place, capsys):
    pytest.importorskip("bokeh", reason="the extra explore has bokeh")
    names = execute("explorer")
    assert capsys.readouterr().out == f"{names['shown'].url}\n"
    (code,) = [code for title, code in blocks("explorer") if title == "my_views.py"]
    exec(code, mine := {})
    moment = Moment(of_arrays({"W_E": np.ones((3, 5, 4))}, [0, 1, 2]), 0, 1)
    (picture,) = mine["lengths"].pictures(moment)
    assert mine["lengths"].lacks(moment) == "" and picture.heights.tolist() == [2.0] * 5 and picture.title == "Step 1"


RUN = re.compile(r"(?:python run_sweep\.py|toylab run) ([^\n`#]+)")
# needs other machines, a run that is there, or a compiler of the extras
WHERE = re.compile(r" --(?:cluster|join|distributed|from|device)( \S+)?")
PLACEHOLDERS = {"PAGE": "grokking", "FOLDER": "results"}


def commands():
    """What follows each `toylab run` of README and site, with values in place of PAGE and FOLDER."""
    texts = [path.read_text() for path in (ROOT / "README.md", *sorted(PAGES.glob("*.md")))]
    found = {found.strip().rstrip("'").strip() for text in texts for found in RUN.findall(text)}
    put = {" ".join(PLACEHOLDERS.get(word, word) for word in text.split()) for text in found if "[" not in text}
    return sorted(put)


def test_every_option_of_a_command_exists(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    known = capsys.readouterr().out
    asked = {
        option for text in commands() if not text.startswith("status") for option in re.findall(r" (--[\w-]+)", text)
    }
    assert len(asked) > 10 and not [option for option in asked if option not in known]


@pytest.mark.slow
def test_every_command_is_taken_as_printed(place, capsys, monkeypatch):
    """As far as --dry-run goes, which checks all that is asked and creates nothing, on a disk with room for all of it."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**14, 0, 10**14))
    (toml,) = re.findall(r"```toml\n(.*?)```", (PAGES / "sweeps.md").read_text(), re.S)
    (place / "decay.toml").write_text(toml)
    before = sorted(place.rglob("*"))
    elsewhere = re.compile("weights=FOLDER|parity|my_|^status|--wandb")  # has a test of its own
    asked = {WHERE.sub("", text).strip() for text in commands() if not elsewhere.search(text)}
    assert len(asked) > 12
    for text in sorted(asked):
        words = shlex.split(text)
        dry = [] if "--dry-run" in words else ["--dry-run"]
        assert main(["run", *words, *dry]) == 0, (text, capsys.readouterr().err)
    assert sorted(place.rglob("*")) == before


def test_every_argument_that_a_docstring_tells_of_is_one():
    wrong = []
    for path in sorted((ROOT / "toylab").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or not (doc := ast.get_docstring(node)):
                continue
            section = re.search(r"^Args:\n((?: .*\n?|\n)+)", doc, re.M)
            told = re.findall(r"^    (\S.*?):(?: |$)", section[1], re.M) if section else []
            told = [name for names in told for name in names.split(", ")]
            names = {found.arg for found in ast.walk(node) if isinstance(found, ast.arg)}
            fields = (
                {f.target.id for f in ast.walk(node) if isinstance(f, ast.AnnAssign) and isinstance(f.target, ast.Name)}
                if told and isinstance(node, ast.ClassDef)
                else set()
            )
            wrong += [f"{path.name} {node.name}: {name}" for name in told if name.lstrip("*") not in names | fields]
    assert wrong == []


def test_sections_of_a_docstring_keep_their_names_and_have_formulas(tmp_path, monkeypatch):
    griffe = pytest.importorskip("griffe")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    code = '''
def f(W_in: list, p: int) -> list:
    """The energy E_k of W_E.

    Args:
        W_in: weights, of norm ‖W_in‖^2.
        p: the modulus.

    Returns:
        E_k, for k = 0
        to p.

    Raises:
        ValueError: p is no prime.
    """
'''
    kept = importlib.import_module("docstrings").AsMarkdown()
    options = {"docstring_parser": "google", "docstring_options": {"returns_multiple_items": False}}
    (tmp_path / "lifted.py").write_text(code)
    module = griffe.load("lifted", search_paths=[tmp_path], extensions=griffe.Extensions(kept), **options)
    text, arguments, returns, raises = module["f"].docstring.parsed
    assert text.value == "The energy E<sub>k</sub> of W<sub>E</sub>."
    assert [item.name for item in arguments.value] == ["W_in", "p"]
    assert arguments.value[0].description == "weights, of norm ‖W<sub>in</sub>‖<sup>2</sup>."
    assert [item.description for item in returns.value] == ["E<sub>k</sub>, for k = 0\nto p."]
    assert str(raises.value[0].annotation) == "ValueError"


def test_formulas_are_lifted_and_names_are_not(monkeypatch):
    pytest.importorskip("griffe")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    docstrings = importlib.import_module("docstrings")
    formulas, markdown = docstrings.formulas, docstrings.markdown
    assert formulas("Σ_{j≠y} x_i^2") == "Σ<sub>j≠y</sub> x<sub>i</sub><sup>2</sup>"
    assert formulas("W_E, p^{3/2}, Σ_key") == "W<sub>E</sub>, p<sup>3/2</sup>, Σ<sub>key</sub>"
    assert formulas("W_QK, b_in, ρ_ij") == "W<sub>QK</sub>, b<sub>in</sub>, ρ<sub>ij</sub>"
    assert formulas("t·10000^(−2i/d), c^n_elements") == "t·10000<sup>−2i/d</sup>, c<sup>n\\_elements</sup>"
    assert formulas("`Σ_{j≠y} x_j`") == "<code>Σ<sub>j≠y</sub> x<sub>j</sub></code>"
    assert formulas("`W_E [p]` d_model") == "`W_E [p]` d\\_model"
    assert (
        markdown("base   the |x|\nnet    of W_E\n       too")
        == "| | |\n|---|---|\n| `base` | the \\|x\\| |\n| `net` | of W<sub>E</sub> too |"
    )
    assert markdown("Returns\n  a   0\n  b   1") == "Returns\n\n| | |\n|---|---|\n| `a` | 0 |\n| `b` | 1 |"
    assert markdown("1   2   3\n4   5   6").startswith("```text")
    assert formulas("a*b*c <s>") == "a\\*b\\*c &lt;s&gt;"


@pytest.mark.slow
@pytest.mark.parametrize("script", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_as_a_script(script, tmp_path):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("*.png")) and done.stdout
