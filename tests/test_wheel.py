"""The wheel, installed in a folder of its own outside the clone: it runs a page, and brings no other top-level name."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import toylab

ROOT = Path(__file__).resolve().parent.parent


def done(*command, **options):
    found = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, **options)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.slow
def test_the_wheel_runs_a_page_outside_the_clone(tmp_path):
    pytest.importorskip("setuptools", minversion="77", reason="the wheel is built without downloading setuptools")
    pytest.importorskip("pip")
    clone, place, work = tmp_path / "clone", tmp_path / "site", tmp_path / "work"
    work.mkdir()
    clone.mkdir()
    for file in done("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines():
        if not file.startswith(("results/", "tests/", "docs/", "benchmarks/")) and (ROOT / file).is_file():
            (clone / file).parent.mkdir(parents=True, exist_ok=True)
            (clone / file).write_bytes((ROOT / file).read_bytes())
    offline = "--no-deps", "--no-build-isolation", "--no-index", "-q"
    done(sys.executable, "-m", "pip", "wheel", *offline, "-w", tmp_path, clone)
    (wheel,) = tmp_path.glob("*.whl")
    done(sys.executable, "-m", "pip", "install", *offline, "--target", place, wheel)
    names = {path.name for path in place.iterdir() if not path.name.endswith(".dist-info")}
    assert names - {"bin"} == {"toylab"}
    assert (place / "toylab" / "py.typed").is_file() and (place / "toylab" / "__init__.pyi").is_file()
    environment = {**os.environ, "PYTHONPATH": str(place)}  # before an editable install of the clone
    run = sys.executable, "-m", "toylab"
    where = done(sys.executable, "-c", "import toylab.experiments as e; print(*e.__path__)", cwd=work, env=environment)
    assert where.strip() == str(place / "toylab" / "experiments")
    assert f"toylab {toylab.__version__}" in done(*run, "--version", cwd=work, env=environment)
    assert "claims –" in done(*run, "list", cwd=work, env=environment)
    smoke = "grokking", "--scale", "smoke", "--out", "out"
    assert "drawn: out/grokking/figures/" in done(*run, "run", *smoke, cwd=work, env=environment)
    assert (work / "out" / "grokking" / "claims.json").is_file()
    pytest.importorskip("bokeh", reason="the extra explore has bokeh")
    assert "page.html: " in done(
        *run, "export", "out/grokking", "--points", "1", "--out", "page.html", cwd=work, env=environment
    )
    assert {path.name for path in work.iterdir()} == {"out", "page.html"}


def test_the_version_stands_in_one_place():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert toylab.__version__ == version
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{version.partition('.dev')[0]}]" in changelog
    released = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M)[1]
    assert f"## [{released}]" in changelog


def test_the_table_of_moves_names_what_can_be_imported():
    rows = re.findall(r"^\| `([\w.]+)`.*\| `([\w.]+)`.* \|$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert len(rows) > 15
    for _, new in rows:
        file = ROOT / new.replace(".", "/")
        assert file.is_dir() or file.with_suffix(".py").is_file(), new
