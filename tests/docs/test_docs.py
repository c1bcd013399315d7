"""The site's examples and notebooks run as printed, and its formulas are shown as they are meant.

A block with a title is that file of the repository, any other runs as it stands; blocks of a page share their names.
"""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import run_sweep
from toylab import analysis, experiments, models, tasks
from toylab.experiments import grokking as family

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "pages"
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))
ADDED = ("add-task", "add-model", "add-analyzer", "add-experiment")  # each takes what stands on those before
PACKAGES = {
    "toylab/tasks": tasks,
    "toylab/models": models,
    "toylab/analysis": analysis,
    "experiments": experiments,
    "experiments/grokking": family,
}


def blocks(page):
    """(title or "", code) of a page's Python blocks."""
    return re.findall(r'^```python(?: title="(.+?)")?\n(.*?)^```', (PAGES / f"{page}.md").read_text(), re.M | re.S)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder to run in, whose packages are searched beside the repository's own."""
    monkeypatch.chdir(tmp_path)
    for folder, package in PACKAGES.items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / folder)])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def execute(page, place):
    names: dict = {}
    for title, code in blocks(page):
        if title:
            (place / title).write_text(code)
            importlib.invalidate_caches()
        else:
            exec(compile(code, f"{page}.md", "exec"), names)
    return names


def test_every_page_with_python_is_executed_here():
    with_code = {path.stem for path in PAGES.glob("*.md") if blocks(path.stem)}
    assert with_code == {*ADDED, "index", "idea", "disk", "weights"}


@pytest.mark.slow
def test_a_task_a_model_an_analyzer_and_an_experiment_are_added_as_written(place, monkeypatch, capsys):
    for page in ADDED:
        execute(page, place)
    said = capsys.readouterr().out
    assert "(4, 5) [ True  True  True  True]" in said and "[0. 0.]" in said
    assert run_sweep.main(["parity", "--scale", "smoke", "--out", "results"]) == 0
    assert (place / "results" / "parity" / "figures" / "progress.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_first_sweep_has_the_axes_that_it_prints(place, capsys):
    names = execute("index", place)
    assert names["sweep"].measures["loss"].shape == (2, 3) and names["sweep"].params["W"].shape == (2, 3, 5, 2)


@pytest.mark.slow
def test_a_config_is_a_pytree_as_the_page_says(place, capsys):
    names = execute("idea", place)
    said = capsys.readouterr().out
    assert "True False" in said and names["trajectory"].params["W"].shape == (3, 3, 5, 2)


@pytest.mark.slow
def test_what_was_written_is_read_back_without_knowing_the_format(place, capsys):
    names = execute("disk", place)
    assert names["sweep"].steps.tolist() == [0, 20, 40] and "sweep.json" in capsys.readouterr().out


@pytest.mark.slow
def test_weights_go_out_and_come_back(place, capsys):
    names = execute("weights", place)
    assert "[1 9]" in capsys.readouterr().out
    assert names["fourier"].logit_fve(names["cube"], np.arange(6) > 0) > 0.5


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
