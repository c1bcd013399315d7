"""The command `toylab`: its words, what it lists and reports, and what it refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import run_sweep
from toylab.claims.counts import held
from toylab.cli.main import main

REPOSITORY = Path(__file__).resolve().parents[2]


def line_on_stderr(arguments, capfd, program="toylab"):
    assert main([str(argument) for argument in arguments], program) == 2
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_without_a_command_it_prints_help(arguments, capfd):
    assert main(arguments) == 0
    out = capfd.readouterr().out
    assert all(f"toylab {word} " in out for word in ("run", "list", "status", "report"))


def test_an_unknown_word_is_no_command(capfd):
    assert "'lst' is no command: did you mean toylab list?" in line_on_stderr(["lst"], capfd)
    assert "'grokking' is no command: toylab run PAGE runs a page" in line_on_stderr(["grokking"], capfd)


def test_python_m_toylab_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "toylab", "lst"], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "did you mean python -m toylab list?" in done.stderr


def test_the_listing_groups_pages_by_family_with_cost_and_claims(capfd):
    assert main(["list"]) == 0
    out = capfd.readouterr().out
    *families, total = [line for line in out.splitlines() if not line.startswith(" ")]
    assert families == ["attention:", "grokking:", "superposition:"]
    assert re.match(r"Of \d+ findings that papers state \d+ agree", total)
    claims = json.loads((REPOSITORY / "results/grokking/claims.json").read_text())["claims"]
    assert f"claims {held(claims)} · cost cpu: one seed, 2 to 5 minutes" in out
    assert run_sweep.main(["--list"]) == 0 and capfd.readouterr().out == out


def test_a_report_shows_a_pages_claims_and_those_of_all_pages(capfd):
    assert main(["report", str(REPOSITORY / "results" / "grokking")]) == 0
    out = capfd.readouterr().out
    claims = json.loads((REPOSITORY / "results/grokking/claims.json").read_text())["claims"]
    first_words = [word for claim in claims for word in claim["name"].split()[:2]]  # lines may break between them
    assert all(word in out for word in first_words) and "circuit" not in out.split("\n")[0]
    assert main(["report", str(REPOSITORY / "results")]) == 0
    everything = capfd.readouterr().out
    pages = [path.parent.name for path in (REPOSITORY / "results").glob("*/claims.json")]
    assert len(pages) > 20 and all(f"{name}: " in everything for name in pages)
    assert everything.splitlines()[-1].startswith("Of ")


def test_a_report_says_what_is_missing(tmp_path, capfd):
    assert f"{tmp_path / 'x'} is no folder" in line_on_stderr(["report", tmp_path / "x"], capfd)
    assert "has no claims.json, and no folder in it" in line_on_stderr(["report", tmp_path], capfd)
    (tmp_path / "runs").mkdir()
    assert "its runs are not analyzed yet" in line_on_stderr(["report", tmp_path], capfd)
    (tmp_path / "claims.json").write_text('{"claims": [{"name": "x"}]}')
    assert "has no claims in it" in line_on_stderr(["report", tmp_path], capfd)
    (tmp_path / "claims.json").write_text("{")
    assert "claims.json is damaged" in line_on_stderr(["report", tmp_path], capfd)


def test_run_without_a_page_lists_them_and_status_is_the_same_command(tmp_path, capfd):
    assert main(["run"]) == 0 and "grokking:" in capfd.readouterr().out
    assert "nowhere" in line_on_stderr(["status", tmp_path / "nowhere"], capfd)
    assert "did you mean grokking?" in line_on_stderr(["run", "groking"], capfd)
