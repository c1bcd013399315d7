"""The README's commands and example are what it says."""

import re
from pathlib import Path

import numpy as np
import pytest

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def test_the_example_finds_the_frequencies_that_it_put_in(capsys):
    code = re.findall(r"```python\n(.*?)```", README, re.S)[0]
    found: dict = {}
    exec(code, found)
    assert np.flatnonzero(found["key"]).tolist() == [14, 35, 41]
    assert "[14 35 41]" in capsys.readouterr().out


def test_the_features_of_the_second_example_are_named_as_they_were_laid(capsys):
    code = re.findall(r"```python\n(.*?)```", README, re.S)[1]
    exec(code, {})
    said = capsys.readouterr().out
    assert (
        "0.4" in said
        and "pentagonal bipyramid" in said
        and said.count("'pentagon'") == 5
        and said.count("'digon'") == 2
    )


@pytest.mark.slow
def test_the_third_example_finds_the_edges_of_the_induction_machine(capsys):
    code = re.findall(r"```python\n(.*?)```", README, re.S)[2]
    found: dict = {}
    exec(code, found)
    machine = found["InductionMachine"]
    assert set(found["graph"].named(found["effects"] > 1e-3)) == set(machine.EDGES)
    assert "('0.0', '1.0.k')" in capsys.readouterr().out


def test_a_pt_file_gives_a_circuit_report(reference, tmp_path, monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    (code,) = re.findall(r"```python\n([^`]*importers\.load.*?)```", README, re.S)
    with np.load(reference / "pizza" / "p99zdpze5l.npz") as found:
        torch.save({key: torch.tensor(x) for key, x in found.items()}, tmp_path / "model.pt")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert len(code.split("\n\n")) == 2 and "pizza" in capsys.readouterr().out


def test_the_two_commands_are_there_as_ci_takes_them():
    assert "pip install -e . && python run_sweep.py grokking\n" in README
    assert "\npip install -e '.[test]' && pytest\n" in README


def test_every_figure_shown_is_there():
    root = Path(__file__).resolve().parents[2]
    shown = re.findall(r"!\[.+?\]\((.+?)\)", README)
    assert len(shown) > 10 and all((root / path).exists() for path in shown)


def test_the_map_names_files_that_exist():
    root = Path(__file__).resolve().parents[2]
    for cell in re.findall(r"^\| (`.+?) \|", README.split("## The map")[1], re.M):
        for name in re.findall(r"`([\w./]+)`", cell):
            known = [root / name, root / "toylab" / name]
            assert any(path.exists() for path in known), name
