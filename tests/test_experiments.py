"""Every lab page runs through its stages at smoke scale, and what is committed of it is what its code says."""

import ast
import importlib
import json
import os
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import run_sweep
from toylab import lab, store

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted(path.stem for path in (REPOSITORY / "experiments").glob("*.py") if path.stem != "__init__")
COMMITTED = sorted(path.parent.name for path in (REPOSITORY / "results").glob("*/claims.json"))
SCALES = ("smoke", "cpu", "paper")
SMALL = ("manifest.json", "measures.npz", "claims.json", "claims.md", "figures")


def page_of(name):
    return importlib.import_module(f"experiments.{name}")


def command(out, name, *options):
    """The command line in this process, which gets its settings back."""
    precision, flags = jax.config.jax_default_matmul_precision, os.environ.get("XLA_FLAGS")
    try:
        return run_sweep.main([name, "--scale", "smoke", "--out", str(out), *options])
    finally:
        jax.config.update("jax_default_matmul_precision", precision)
        os.environ.pop("XLA_FLAGS") if flags is None else os.environ.update(XLA_FLAGS=flags)


@pytest.fixture(scope="module", params=PAGES)
def done(request, tmp_path_factory):
    """(name, its folder): one page through all stages, from a relative --out."""
    out, here = tmp_path_factory.mktemp("out"), Path.cwd()
    os.chdir(out)
    try:
        assert command("results", request.param) == 0
    finally:
        os.chdir(here)
    return request.param, out / "results" / request.param


def pictures(folder):
    return {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}


def claims_of(folder):
    return json.loads((folder / "claims.json").read_text())["claims"]


def same_arrays(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=a[k].dtype.kind == "f") for k in a)


# --- the page


@pytest.mark.parametrize("name", PAGES)
def test_the_docstring_opens_with_claim_source_cost_and_command(name):
    text = ast.get_docstring(ast.parse((REPOSITORY / "experiments" / f"{name}.py").read_text()))
    heads = [line.split()[0] for line in text.splitlines()[1:] if line and not line.startswith(" ")]
    assert heads == sorted(heads, key=["Claim", "Source", "Expect", "Cost", "Command", "Fails"].index)
    assert {"Claim", "Source", "Cost", "Command"} <= set(heads)
    assert f"python run_sweep.py {name}" in text and len(text.splitlines()[0]) < 120


@pytest.mark.parametrize("name", PAGES)
def test_the_page_has_all_parts_at_all_scales(name):
    page = page_of(name)
    assert lab.Page.__annotations__.keys() - {"__name__"} <= vars(page).keys()
    for part in (page.CONFIGS, page.SAVES, page.STOP):
        assert tuple(part) == SCALES
    for scale in SCALES:
        saves = np.asarray(page.SAVES[scale])
        assert page.CONFIGS[scale] and saves[0] == 0 and (np.diff(saves) > 0).all()
    word, reached = page.MILESTONE
    assert word and callable(reached)
    assert len({claim.name for claim in page.CLAIMS}) == len(page.CLAIMS) > 0
    assert all(claim.source and (np.isfinite(claim.low) or np.isfinite(claim.high)) for claim in page.CLAIMS)
    assert all(figure.isidentifier() for figure in page.FIGURES)


# --- smoke


def test_every_stage_leaves_its_files(done):
    name, folder = done
    page = page_of(name)
    for file in ("manifest.json", "measures.npz", "claims.json", "claims.md", "runs.parquet"):
        assert (folder / file).stat().st_size > 0
    assert pictures(folder).keys() == {f"{figure}.png" for figure in page.FIGURES}
    assert all(content.startswith(b"\x89PNG") for content in pictures(folder).values())
    assert {path.name for path in folder.iterdir()} == {*SMALL, "runs.parquet", "runs"}


def test_every_claim_has_a_value_and_a_verdict_for_every_run(done):
    name, folder = done
    page, claims = page_of(name), claims_of(folder)
    n_runs = len(page.CONFIGS["smoke"])
    assert [claim["name"] for claim in claims] == [claim.name for claim in page.CLAIMS]
    for claim in claims:
        assert len(claim["values"]) == len(claim["holds"]) == n_runs
        assert claim["source"] and claim["bound"] and claim["verdict"]
        assert (folder / "claims.md").read_text().count(f"| {claim['name']} |") == 1


def test_measures_hold_every_analysis_at_every_point(done):
    name, folder = done
    page, measures = page_of(name), lab.Measures(store.read_arrays(folder / "measures.npz"))
    n_runs, n_points = measures.valid.shape
    assert n_points == len(measures.steps) <= len(page.SAVES["smoke"]) and n_runs == len(page.CONFIGS["smoke"])
    for prefix in (*page.ANALYSES, *page.PROBES, *(f"final/{final}" for final in page.FINAL)):
        assert [key for key in measures if key.startswith(f"{prefix}/")], prefix
    for key, value in measures.items():
        if key != "steps":
            assert value.shape[:1] == (n_runs,) and (key.startswith("final/") or value.shape[1] == n_points), key


def test_a_manifest_names_no_place_on_this_machine(done):
    text = (done[1] / "manifest.json").read_text()
    assert str(REPOSITORY) not in text and str(done[1]) not in text and str(Path.home()) + "/" not in text


def test_figures_are_redrawn_from_the_small_files_byte_for_byte(done, tmp_path):
    name, folder = done
    (tmp_path / name).mkdir()
    shutil.copy(folder / "measures.npz", tmp_path / name)
    assert command(tmp_path, name, "--stage", "draw") == 0
    assert pictures(tmp_path / name) == pictures(folder)
    assert {path.name for path in (tmp_path / name).iterdir()} == {"measures.npz", "figures"}


def test_a_second_analysis_gives_the_same(done):
    name, folder = done
    before = {file: (folder / file).read_bytes() for file in ("claims.json", "claims.md", "manifest.json")}
    measures = store.read_arrays(folder / "measures.npz")
    assert command(folder.parent, name, "--stage", "analyze") == 0
    assert same_arrays(store.read_arrays(folder / "measures.npz"), measures)
    assert {file: (folder / file).read_bytes() for file in before} == before


def test_verdicts_follow_from_the_committed_measures(done):
    name, folder = done
    assert rejudged(name, folder) == claims_of(folder)


# --- what is committed


def rejudged(name, folder):
    measures = lab.Measures(store.read_arrays(folder / "measures.npz"))
    return [claim.judge(measures) for claim in page_of(name).CLAIMS]


@pytest.fixture(params=COMMITTED or [pytest.param(None, marks=pytest.mark.skip("no results are committed yet"))])
def committed(request):
    return request.param, REPOSITORY / "results" / request.param


def test_committed_results_are_complete_and_of_paper_scale(committed):
    name, folder = committed
    manifest = json.loads((folder / "manifest.json").read_text())
    assert name in PAGES and manifest["experiment"] == name and manifest["scale"] == "paper"
    assert {f"{figure}.png" for figure in page_of(name).FIGURES} == pictures(folder).keys()
    assert all((folder / file).exists() for file in SMALL)


def test_committed_verdicts_are_those_of_the_committed_measures(committed):
    """Judged anew to the digits that are kept; a verdict may not hang on the last of them."""
    name, folder = committed
    for now, then in zip(rejudged(name, folder), claims_of(folder), strict=True):
        assert {key: now[key] for key in now if key != "values"} == {key: then[key] for key in then if key != "values"}
        np.testing.assert_allclose(np.array(now["values"], float), np.array(then["values"], float), rtol=1e-5)
    assert (folder / "claims.md").read_text() == lab.claims_table(claims_of(folder))


def test_committed_results_are_of_the_runs_that_the_page_states(committed):
    name, folder = committed
    manifest = json.loads((folder / "manifest.json").read_text())
    measures = lab.Measures(store.read_arrays(folder / "measures.npz"))
    assert len(manifest["runs"]) == len(measures.valid) == len(page_of(name).CONFIGS["paper"])


def test_committed_manifests_name_no_place_on_a_machine(committed):
    text = (committed[1] / "manifest.json").read_text()
    assert not re.search(r'"(/|~|[A-Z]:)', text)
    assert "-dirty" not in json.loads(text)["commit"]


def test_the_readme_shows_the_committed_claims(committed):
    name, folder = committed
    readme = (REPOSITORY / "README.md").read_text()
    assert f"<!-- claims: results/{name}/claims.md -->\n{(folder / 'claims.md').read_text()}" in readme
