"""The README's commands and examples are what it says."""

import re
from pathlib import Path

import numpy as np
import pytest

from toylab.lab import pages

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", README, re.S)


def test_it_is_read_in_five_minutes():
    assert len(README.splitlines()) <= 160


def test_it_says_how_many_pages_there_are():
    assert f"The results of {len(pages.built_in())} pages" in README


def test_every_block_of_python_is_run_here():
    assert len(CODE) == 4  # the third in test_docs, with a training in torch


@pytest.mark.slow
def test_the_first_example_trains_networks_that_grok_and_finds_their_frequencies(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(CODE[0], found)
    sweep = found["sweep"]
    assert sweep.columns["optimizer.weight_decay"].tolist() == [0.5, 0.5, 2.0, 2.0]
    accuracy = sweep.measures["test_accuracy"]
    assert accuracy.shape == (4, len(sweep.steps)) and (accuracy[2:, -1] > 0.95).all()
    assert 1 <= found["key"].sum() <= 10 and found["fourier"].logit_fve(found["logits"], found["key"]) > 0.7


def test_a_pt_file_gives_a_circuit_report(reference, tmp_path, monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    with np.load(reference / "pizza" / "p99zdpze5l.npz") as found:
        torch.save({key: torch.tensor(x) for key, x in found.items()}, tmp_path / "model.pt")
    monkeypatch.chdir(tmp_path)
    exec(CODE[1], {})
    assert "pizza" in capsys.readouterr().out


def test_arrays_from_elsewhere_are_analysed(capsys):
    found: dict = {}
    exec(CODE[3], found)
    D = np.asarray(found["geometry"].dimensionality(found["W"]))
    assert D.shape == (20,) and ((D > 0) & (D <= 1)).all() and capsys.readouterr().out


def test_the_two_commands_are_there_as_ci_takes_them():
    assert "pip install -e . && python run_sweep.py grokking\n" in README
    assert "\npip install -e '.[test]' && pytest\n" in README


def test_every_file_that_is_linked_or_shown_is_there():
    linked = re.findall(r"\]\(([^):]+)\)", README)
    assert len(linked) > 23 and not [path for path in linked if not (ROOT / path.partition("#")[0]).exists()]


def test_the_map_names_files_that_exist():
    rows = re.findall(r"^\| (`.+?) \|", README.split("## The map")[1], re.M)
    named = [name for row in rows for name in re.findall(r"`([\w./]+)`", row)]
    assert 10 <= len(rows) <= 15 and not [name for name in named if not (ROOT / name).exists()]


def test_the_benchmarks_of_the_table_of_speeds_exist():
    named = re.findall(r"`python (benchmarks/\w+\.py)`", README)
    assert len(named) >= 5 and all((ROOT / name).is_file() for name in named)
