"""Pages of a user's own repository: found by path and as a module, refused in a sentence, trained like any other."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import own_settings, tree  # noqa: F401

from toylab import sweep
from toylab.cli.main import main
from toylab.lab import pages
from toylab.launch.ray import worker

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "docs" / "parity"
SMOKE = ["--scale", "smoke", "--lane", "1"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder to run in; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def own(place):
    """The worked example, copied outside the repository: bare files, and the same as a package."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(EXAMPLE, place / "parity", ignore=ignored)
    package = place / "my_package"
    shutil.copytree(EXAMPLE, package, ignore=ignored)
    (package / "__init__.py").write_text("")
    (package / "pages").mkdir()
    (package / "pages" / "__init__.py").write_text("")
    text = (package / "parity.py").read_text()
    for module in ("parity_task", "parity_analysis", "perceptron"):
        text = text.replace(f"from {module} import", f"from my_package.{module} import")
    (package / "pages" / "my_page.py").write_text(text)
    (package / "parity.py").unlink()
    return place


def refused(page, capfd, lines=1):
    capfd.readouterr()
    assert main(["run", str(page), "--scale", "smoke", "--out", "results"]) == 2
    error = capfd.readouterr().err
    assert error.endswith("\n") and (lines is None or error.count("\n") == lines), error
    return error


def test_what_is_no_page_is_refused_and_nothing_is_created(place, capfd):
    (place / "empty.py").write_text('"""No page."""\n')
    (place / "half.py").write_text("SAVES = {'smoke': [0, 1]}\n")
    (place / "raising.py").write_text("import math\n\nWIDTH = math.sqrt(-1.0)\n")
    (place / "missing.py").write_text("import no_such_module_anywhere\n")
    (place / "wrong.py").write_text("WIDTH = = 1\n")
    (place / "my-page.py").write_text("")
    (place / "notes.txt").write_text("")
    (place / "grokking.py").write_text("")
    (place / "folder").mkdir()
    (place / "lone").mkdir()
    (place / "lone" / "__init__.py").write_text("raise SystemExit('not to be imported')\n")
    before = {name: text for name, text in tree(place).items()}
    assert "the page empty: it states no CONFIGS and no SAVES (nor PARTS)." in refused("empty.py", capfd)
    assert "the page half: it states no CONFIGS (nor PARTS)." in refused("./half.py", capfd)
    assert "there is no file nowhere/page.py" in refused("nowhere/page.py", capfd)
    assert "folder/ is a folder: give the file of a page in it" in refused("folder/", capfd)
    assert "my-page.py cannot be imported" in refused("my-page.py", capfd)
    assert "notes.txt cannot be imported" in refused("./notes.txt", capfd)
    assert "there is no module lone.page in" in refused("lone.page", capfd)
    assert "there is no module no_such.page in" in refused("no_such.page", capfd)
    assert "experiment is 'a-b.c': give a name" in refused("a-b.c", capfd)
    two = refused("grokking", capfd)
    assert two.startswith(
        "two pages are named grokking: the built-in one and the file grokking.py; say ./grokking.py or "
    )
    assert "'half' is not known: did you mean the file ./half.py?" in refused("half", capfd)
    for page, words in (
        ("raising.py", "math domain error"),
        ("missing.py", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("wrong.py", "SyntaxError"),
    ):
        error = refused(page, capfd, lines=None)
        *trace, last = error.splitlines()
        assert last == f"the page {place / page} raised while it was imported: mend it, then run the same again."
        assert words in "".join(trace) and page in "".join(trace) and "toylab" not in "".join(trace)
    after = {name: text for name, text in tree(place).items() if "__pycache__" not in name}
    assert after == before


def test_a_page_that_is_shadowed_or_of_a_name_taken_is_refused(place, capfd):
    (place / "a").mkdir()
    (place / "b").mkdir()
    for folder in ("a", "b"):
        (place / folder / "twin_page.py").write_text("SAVES = {}\n")
    refused("a/twin_page.py", capfd)
    error = refused("b/twin_page.py", capfd)
    assert error == (
        f"{place / 'b/twin_page.py'} is not what `import twin_page` gives, which is {place / 'a/twin_page.py'}: "
        "rename the page.\n"
    )


def test_two_built_in_pages_of_one_name_are_refused(place, monkeypatch):
    for family in ("one", "two"):
        (place / family).mkdir()
        (place / family / "page.py").write_text("")
    monkeypatch.setattr(sys.modules["toylab.experiments"], "__path__", [str(place)])
    with pytest.raises(ValueError, match=r"two pages are named page: .*one/page\.py and .*two/page\.py; rename one"):
        pages.built_in()


def test_a_page_is_found_by_path_and_as_a_module_under_one_name(own):
    by_path, as_module = pages.find("my_package/pages/my_page.py"), pages.find("my_package.pages.my_page")
    assert by_path == as_module and by_path.module == "my_package.pages.my_page" and by_path.root == own
    assert "my_package" not in sys.modules
    bare = pages.find("parity/parity.py")
    assert (bare.module, bare.root) == ("parity", own / "parity")
    built_in = pages.find("grokking")
    assert pages.find(str(built_in.file)) == built_in and built_in.root is None
    assert pages.find("toylab.experiments.grokking.grokking") == built_in


@pytest.mark.parametrize("page", ["parity/parity.py", "my_package.pages.my_page"])
def test_a_page_of_ones_own_is_trained_and_resumed(page, own, capfd):
    command = ["run", page, *SMOKE, "--stage", "train", "--out", "out"]
    assert main([*command, "--steps", "20"]) == 0 and main(command) == 0
    name = page.removesuffix(".py").replace("/", ".").rpartition(".")[2]
    manifest = json.loads((own / "out" / name / "manifest.json").read_text())
    assert manifest["command"] == f"toylab run {page} --scale smoke --lane 1 --stage train --out out"
    task = {"parity": "parity_task", "my_page": "my_package.parity_task"}[name]
    assert manifest["config"]["task"]["type"] == f"{task}.SparseParity"
    trained = sweep.load(own / "out" / name)
    assert len(trained.runs) == 2 and trained.steps[-1] == 60
    (files,) = pages.sources(sys.modules[pages.find(page).module]).values()
    assert {path.name for path in files} >= {"parity_task.py", "perceptron.py", "parity_analysis.py"}


def test_a_page_does_not_write_into_the_results_of_another_of_its_name(own, capfd):
    assert main(["run", "parity/parity.py", *SMOKE, "--out", "out"]) == 0
    (own / "other").mkdir()
    for path in (own / "parity").glob("*.py"):
        shutil.copy(path, own / "other")
    (own / "other" / "__init__.py").touch()
    for path in (own / "other").glob("*.py"):
        path.write_text(path.read_text().replace("from p", "from .p"))
    before = {path: path.read_bytes() for path in (own / "out").rglob("*") if path.is_file()}
    capfd.readouterr()
    assert main(["run", "other/parity.py", *SMOKE, "--out", "out"]) == 2
    said = "out/parity is of the page parity, not of other.parity: give --out another folder, or rename the page."
    assert capfd.readouterr().err.strip().endswith(said)
    (own / "grokking.py").write_text((own / "parity" / "parity.py").read_text())
    shutil.copytree(REPOSITORY / "results" / "grokking", own / "out" / "grokking")
    sys.path.insert(0, str(own / "parity"))
    assert main(["run", "./grokking.py", *SMOKE, "--out", "out"]) == 2
    assert "is of the page toylab.experiments.grokking.grokking, not of grokking" in capfd.readouterr().err
    after = {path: path.read_bytes() for path in (own / "out" / "parity").rglob("*") if path.is_file()}
    assert after == before


def python(own, *arguments):
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "toylab", "run", *arguments],
        cwd=own, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("page", ["parity/parity.py", "my_package.pages.my_page"])
def test_workers_of_ray_and_processes_that_join_train_the_same(page, own):
    pytest.importorskip("ray")
    name = page.removesuffix(".py").replace("/", ".").rpartition(".")[2]
    trained = {}
    for how in ([], ["--cluster", "local"], ["--join"]):
        out = f"out{''.join(how)}"
        done = python(own, page, *SMOKE, "--group", "1", "--stage", "train", *how, "--out", out)
        assert done.returncode == 0, done.stderr
        trained[out] = sweep.load(own / out / name)
    alone, *others = trained.values()
    for other in others:
        assert other.runs.tolist() == alone.runs.tolist()
        for key, value in alone.params.items():
            np.testing.assert_allclose(other.params[key], value, rtol=1e-5, atol=1e-6)


def test_another_version_of_the_page_on_a_machine_is_told(own):
    page = own / "parity" / "parity.py"
    before = worker.settings([page])
    page.write_text(page.read_text() + "\n")
    changed = worker.settings([page])
    assert {name for name in before if before[name] != changed[name]} == {"page"}
    page.unlink()
    assert worker.settings([page])["page"] not in (before["page"], changed["page"])
    assert "page" not in worker.settings()
