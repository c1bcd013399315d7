"""Every lab page runs through its stages at smoke scale, and what is committed of it is what its code says."""

import ast
import json
import os
import re
import shutil
from collections import defaultdict
from functools import lru_cache, partial
from pathlib import Path

import jax
import numpy as np
import pytest
from rounding import slack
from small_pages import traced

import run_sweep
from toylab import configs as cfg
from toylab import lab, store
from toylab.claims import VERDICTS, Claim, table
from toylab.claims.counts import headline, held
from toylab.claims.page import wrong
from toylab.lab import pages, verdicts
from toylab.plots import forest

# at smoke scale, and nowhere else among the tests, an estimate of stages is a fifth noise of its few small batches
pytestmark = pytest.mark.filterwarnings("ignore:about .* in llc = .* is noise of minibatch gradients:RuntimeWarning")

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(pages.built_in())
COMMITTED = sorted(path.parent.name for path in (REPOSITORY / "results").glob("*/claims.json"))
SCALES = ("smoke", "cpu", "paper")
HALF = {"induction", "computation"}  # keep patterns and weights to be drawn in float16
FAST = {"grokking"}  # the others are run among the slow tests: nearly all of it is compiling
SMALL = ("manifest.json", "measures.npz", "claims.json", "claims.md", "figures")


def page_of(name):
    return pages.load(name)


def parts_of(name):
    return lab.parts(page_of(name))


def trained(name):
    """The parts that have runs."""
    return {part_name: part for part_name, part in parts_of(name).items() if not part.imported}


def measures_of(folder):
    return lab.Measures(store.read_arrays(folder / "measures.npz"))


def records(folder):
    """The manifest's records, one a part."""
    manifest = json.loads((folder / "manifest.json").read_text())
    return manifest.get("parts", {"": manifest})


def command(out, name, *options):
    """The command line in this process, which gets its settings back."""
    precision, flags = jax.config.jax_default_matmul_precision, os.environ.get("XLA_FLAGS")
    try:
        return run_sweep.main([name, "--scale", "smoke", "--out", str(out), *options])
    finally:
        jax.config.update("jax_default_matmul_precision", precision)
        os.environ.pop("XLA_FLAGS") if flags is None else os.environ.update(XLA_FLAGS=flags)


@pytest.fixture(
    scope="module",
    params=[pytest.param(page, marks=() if page in FAST else pytest.mark.slow) for page in PAGES],
)
def done(request, tmp_path_factory):
    """(name, its folder): one page through all stages, from a relative --out."""
    if any(part.imported for part in parts_of(request.param).values()):
        request.getfixturevalue("reference")  # weights of others are no part of the repository
    if request.param in HALF:
        request.getfixturevalue("float16")
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
    text = ast.get_docstring(ast.parse(pages.built_in()[name].read_text()))
    heads = [line.split()[0] for line in text.splitlines()[1:] if line and not line.startswith(" ")]
    assert heads == sorted(
        heads, key=["Claim", "Source", "Expect", "Cost", "Command", "Weights", "Fails", "Changed"].index
    )
    assert {"Claim", "Source", "Cost", "Command"} <= set(heads)
    assert f"python run_sweep.py {name}" in text and len(text.splitlines()[0]) < 120


@pytest.mark.parametrize("name", traced(PAGES))
def test_every_part_stands_at_all_scales(name):
    for part in trained(name).values():
        assert tuple(part.configs) == tuple(part.saves) == tuple(part.stop) == SCALES
        for scale in SCALES:
            saves = np.asarray(part.saves[scale])
            assert part.configs[scale] and saves[0] == 0 and (np.diff(saves) > 0).all()
        word, reached = part.milestone
        assert word and callable(reached)


@pytest.mark.parametrize("name", traced(PAGES))
def test_every_config_of_a_page_fits(name):
    """They are not traced where `toylab run` imports the page."""
    for part in lab.parts(page_of(name)).values():
        for configs in part.configs.values():
            assert len(cfg.checked(configs)) == len(configs)


@pytest.mark.parametrize("name", PAGES)
def test_claims_and_figures_have_names_sources_and_bounds(name):
    parts = parts_of(name).values()
    claims = [claim for part in parts for claim in part.claims]
    figures = [figure for part in parts for figure in part.figures]
    assert len({claim.name for claim in claims}) == len(claims) > 0
    assert len(set(figures)) == len(figures) > 0 and all(figure.isidentifier() for figure in figures)
    for claim in claims:
        if isinstance(claim, Claim):
            assert wrong(claim) == ""
        else:
            assert claim.source and (np.isfinite(claim.low) or np.isfinite(claim.high))


# --- smoke


def test_every_stage_leaves_its_files(done):
    name, folder = done
    figures = {figure for part in parts_of(name).values() for figure in part.figures}
    more = {"runs.parquet", "runs", "log.txt"} if trained(name) else set()
    more |= {"models.md"} if len(trained(name)) < len(parts_of(name)) else set()
    for file in {*SMALL, *more} - {"figures", "runs"}:
        assert (folder / file).stat().st_size > 0
    figures |= {"forest"} if forest.drawable(claims_of(folder)) else set()
    assert {Path(picture).stem for picture in pictures(folder)} == figures
    assert all(content.startswith((b"\x89PNG", b"GIF89a")) for content in pictures(folder).values())
    assert {path.name for path in folder.iterdir()} == {*SMALL, *more}


def test_every_claim_has_values_and_a_verdict(done):
    name, folder = done
    claims = claims_of(folder)
    assert [claim["name"] for claim in claims] == [
        claim.name for part in parts_of(name).values() for claim in part.claims
    ]
    for claim in claims:
        assert claim["rule"] and claim["verdict"] in (*VERDICTS, "not applicable")
        row = re.escape(f"| {lab.cell(claim['name'])}") + r" (\(|\|)"  # the source, or the next column
        assert len(re.findall(f"^{row}", (folder / "claims.md").read_text(), re.MULTILINE)) == 1


def test_measures_hold_every_analysis_at_every_point(done):
    name, folder = done
    for part_name, part, measures in lab.present(page_of(name), measures_of(folder)):
        if part.imported:
            assert set(measures["model"]) == records(folder)[part_name]["models"].keys()
            continue
        n_runs, n_points = measures.valid.shape
        assert n_runs == len(part.configs["smoke"]) == len(records(folder)[part_name]["runs"])
        assert n_points == len(measures.steps) <= len(part.saves["smoke"])
        for prefix in (*part.analyses, *part.probes, *(f"final/{final}" for final in part.final)):
            assert [key for key in measures if key.startswith(f"{prefix}/")], prefix
        for key, value in measures.items():
            if key != "steps":
                assert value.shape[:1] == (n_runs,)
                assert key.startswith(lab.PER_RUN) or value.shape[1] == n_points, key


def test_a_manifest_names_no_place_on_this_machine(done):
    text = (done[1] / "manifest.json").read_text()
    assert str(REPOSITORY) not in text and str(done[1]) not in text and os.path.expanduser("~") + "/" not in text


def test_figures_are_redrawn_from_the_small_files_byte_for_byte(done, tmp_path):
    name, folder = done
    (tmp_path / name).mkdir()
    small = "measures.npz", "claims.json"  # the forest plot is of the claims
    for file in small:
        shutil.copy(folder / file, tmp_path / name)
    assert command(tmp_path, name, "--stage", "draw") == 0
    assert pictures(tmp_path / name) == pictures(folder)
    assert {path.name for path in (tmp_path / name).iterdir()} == {*small, "figures"}


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


def values_of(claim, measures):
    return claim.values(lab.Measures(measures))


def rejudged(name, folder):
    return verdicts.judge(page_of(name), measures_of(folder), folder=folder)


RULED = ("estimate", "interval", "ratio", "share", "p", "details", "values", "reason")  # numbers, or words with numbers


@lru_cache(maxsize=1)  # the tests of a page stand one after the other
def committed_measures(name):
    """Decompressed once a page."""
    return measures_of(REPOSITORY / "results" / name)


@pytest.fixture(
    scope="module",
    params=COMMITTED or [pytest.param(None, marks=pytest.mark.skip("no results are committed yet"))],
)
def committed(request):
    return request.param, REPOSITORY / "results" / request.param


def test_committed_results_are_complete(committed):
    name, folder = committed
    figures = {figure for part in parts_of(name).values() for figure in part.figures}
    figures |= {"forest"} if forest.drawable(claims_of(folder)) else set()
    assert name in PAGES and json.loads((folder / "manifest.json").read_text())["experiment"] == name
    assert records(folder).keys() == parts_of(name).keys()
    assert {Path(picture).stem for picture in pictures(folder)} == figures
    assert all((folder / file).exists() for file in SMALL)


def test_committed_results_leave_room_for_more_pages():
    assert sum(path.stat().st_size for path in (REPOSITORY / "results").rglob("*") if path.is_file()) < 24.7e6


@pytest.mark.slow
def test_committed_verdicts_are_those_of_the_committed_measures(committed):
    """Judged anew on any machine: the same verdicts, and values as far apart as two roundings to the six digits that are
    kept (of 1.00000 one digit is 1e-5) and other processors' roundings on the way."""
    name, folder = committed
    measures = committed_measures(name)
    judged = list(zip(verdicts.judge(page_of(name), measures, folder=folder), claims_of(folder), strict=True))
    assert all(now == then for now, then in judged if now.get("withdrawn"))
    judged = [(now, then) for now, then in judged if not now.get("withdrawn")]
    claims = [(claim, own) for _, part, own in lab.present(page_of(name), measures) for claim in part.claims]
    of_part = defaultdict(list)  # claims that have values to compare, by the part whose measures they are of
    for (claim, own), (now, then) in zip(claims, judged, strict=True):
        numbers = RULED if "ledger" in now else ("values",)
        assert {key: now[key] for key in now if key not in numbers} == {
            key: then[key] for key in then if key not in numbers
        }
        if then["values"]:  # else there are more than are listed
            of_part[id(own)].append((claim, own, now, then))
    for compared in of_part.values():
        functions = [partial(values_of, claim) for claim, *_ in compared]
        slacks = slack(functions, compared[0][1], exact=lambda key: key.startswith("config/"))
        for (claim, _, now, then), apart in zip(compared, slacks, strict=True):
            values, kept = (np.array(judged["values"], float) for judged in (now, then))
            np.testing.assert_array_equal(np.isnan(values), np.isnan(kept))
            assert np.nanmax(np.abs(values - kept) - 1e-5 * np.abs(kept) - apart, initial=0) <= 0, claim.name
    assert (folder / "claims.md").read_text() == table.markdown(claims_of(folder))


def test_committed_claims_are_those_that_were_fixed(committed):
    name, folder = committed
    for scale in {record["scale"] for record in records(folder).values()}:
        verdicts.check(page_of(name), scale, folder)


def test_committed_results_are_of_the_runs_that_the_page_states(committed):
    name, folder = committed
    for part_name, part, measures in lab.present(page_of(name), committed_measures(name)):
        record = records(folder)[part_name]
        assert record["scale"] in ("cpu", "paper")
        if part.imported:
            assert record["models"].keys() == set(measures["model"])
            continue
        assert len(record["runs"]) == len(measures.valid) == len(part.configs[record["scale"]])


def test_committed_manifests_name_no_place_on_a_machine(committed):
    assert not re.search(r'"(/|~|[A-Z]:)', (committed[1] / "manifest.json").read_text())
    assert not [record for record in records(committed[1]).values() if "-dirty" in record["commit"]]


def test_the_readme_tells_how_many_claims_agree_or_hold(committed):
    name, folder = committed
    readme = (REPOSITORY / "README.md").read_text()
    told = re.findall(rf"\[{name}\]\(results/{name}/claims\.md\) (?:\(([^)]+)\)|(\d+ of \d+))", readme)
    assert [first or f"{second} hold" for first, second in told] == [held(claims_of(folder))]


def test_the_readme_adds_up_all_verdicts():
    readme = " ".join((REPOSITORY / "README.md").read_text().split())
    assert headline([claims_of(REPOSITORY / "results" / name) for name in COMMITTED]) in readme


# --- other runs than the page's own


def grokking_of(p):
    """Runs of moduli p whose losses pass half the loss of guessing at p = 113, and at p = 13, one after the other."""
    steps, n = np.array([0, 10, 20, 30]), len(p)
    losses = np.tile([9, 2.0, 1.0, 0.1], (n, 1))
    flat = {"weights/sum_of_squares/total": np.tile([4.0, 3, 2, 1], (n, 1)), "loss/restricted": losses / 2}
    W = np.zeros((n, max(p), 2))
    config = {"config/task.p": np.array(p)}
    return lab.Measures(
        {"steps": steps, "valid": np.ones((n, 4), bool), "test_loss": losses, "final/numbers/W_E": W, **flat, **config}
    )


def test_grokking_is_judged_by_the_guess_of_each_runs_own_modulus():
    page = page_of("grokking")
    m = grokking_of([113, 13])
    assert page.phases(m)[:, 1].tolist() == [10, 20]  # ½ log 113 = 2.36, ½ log 13 = 1.28
    assert page.restricted_lead(m).tolist() == [0, 10]
    without = lab.Measures({name: value for name, value in m.items() if name != "config/task.p"})
    assert page.phases(without)[:, 1].tolist() == [10, 10]


def test_superposition_claims_are_of_the_densities_and_sizes_that_they_name():
    page = page_of("superposition")
    n = 40
    own = {
        "config/task.density": np.repeat(np.float32([0.2, 0.1]), n // 2),
        "config/net.n_features": np.full(n, 5),
        "config/net.n_hidden": np.full(n, 2),
        "config/net.output": np.full(n, "relu"),
    }
    pentagon = np.full((n, 5), page.geometry.SHAPES.index("pentagon"))
    m = lab.Measures({"final/shapes/shape": pentagon, "final/population/loss": np.ones(n), **own})
    judged = {claim.name: claim.judge(m)["verdict"] for claim in page.INTRO.claims + page.PENTAGON.claims}
    assert judged["n = 5, m = 2, S = 0: the best fit has two features, a dimension each"] == "not applicable"
    assert judged["equal features, S = 0.9: the best fit is a pentagon"] == "agrees"
    assert judged["S = 0.97: a fit is a pentagon in nearly every run"] == "not applicable"
    m["config/net.n_features"] = np.full(n, 8)
    assert page.PENTAGON.claims[0].judge(m)["verdict"] == "not applicable"
