"""A page of networks that others trained: its weights stay outside, its numbers are held against theirs."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import run_sweep
from toylab import importers, lab, store
from toylab.experiments.grokking import published_models as page
from toylab.importers import pizza_release
from toylab.lab import stages, verdicts
from toylab.models import Net
from toylab.models.pizza import PizzaLinear

A = page.MODEL_A
SETTINGS = {"C": 59, "model_type": "A", "d_model": 6}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A folder with one untrained linear model, as a user would convert it, and no numbers of authors."""
    folder = tmp_path_factory.mktemp("weights")
    net = Net.of(PizzaLinear, d_vocab=59, d_vocab_out=59, d_model=6, d_mlp=8)
    importers.save(net.init(jax.random.key(0)), folder / "own.safetensors", layout="pizza", net=net)
    (folder / "own.config.json").write_text(json.dumps(SETTINGS))
    return folder


@pytest.fixture
def command(monkeypatch):
    precision = jax.config.jax_default_matmul_precision
    monkeypatch.setenv("XLA_FLAGS", "")
    yield lambda out, *options: run_sweep.main(["published_models", "--out", str(out), *options])
    jax.config.update("jax_default_matmul_precision", precision)


def refused(capfd, status):
    said = capfd.readouterr().err
    assert status == 2 and said.count("\n") == 1, said
    return said


@pytest.mark.slow
def test_networks_of_ones_own_are_measured_and_called_what_they_are(foreign, tmp_path, command):
    assert command(tmp_path, "--set", f"weights={foreign}") == 0
    folder = tmp_path / "published_models"
    m = lab.Measures(store.read_arrays(folder / "measures.npz"))
    assert (
        m["model"].tolist() == ["own"] and m["kind"].tolist() == ["linear A"] and m["ours/circuit"].tolist() == ["none"]
    )
    assert m["ours/gradient_symmetricity"][0] == pytest.approx(1)  # the operands are added first
    verdicts = {claim["name"]: claim["verdict"] for claim in json.loads((folder / "claims.json").read_text())["claims"]}
    assert verdicts["gradient symmetricity, ours less theirs"] == "fails"  # there is nothing to compare with
    assert verdicts["networks that do not solve the task: circuits reported"] == "holds"
    assert "| own | linear A | – | none: does not solve the task | 1.00000 / – |" in (folder / "models.md").read_text()
    manifest = (folder / "manifest.json").read_text()
    assert str(foreign) not in manifest and "weights=FOLDER" in manifest
    assert len(json.loads(manifest)["models"]["own"]) == 64 and not (folder / "runs").exists()
    assert command(tmp_path, "--set", f"weights={foreign}", "--stage", "analyze") == 0  # the same again: made as it was
    assert (folder / "manifest.json").read_text() == manifest
    np.savez(foreign / "x.npz")  # no settings beside it: no model


def test_there_is_nothing_to_train(foreign, tmp_path, command, capfd):
    assert command(tmp_path, "--set", f"weights={foreign}", "--stage", "train") == 0
    assert "nothing to train: 1 network of others" in capfd.readouterr().out and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--set", "weights=nowhere"], "weights is nowhere: there is no such folder"),
        (["--set", "weights=."], "it has no NAME.npz, .safetensors or .pt with NAME.config.json beside it"),
        (["--seeds", "3"], "published_models trains nothing"),
        (["--set", "optimizer.lr=1"], "published_models trains nothing"),
    ],
)
def test_without_weights_nothing_is_begun(options, told, tmp_path, command, capfd, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert told in refused(capfd, command(tmp_path / "out", *options))
    assert not (tmp_path / "out").exists()


def test_another_modulus_is_refused(foreign, tmp_path):
    shutil.copytree(foreign, tmp_path / "pizza")
    (tmp_path / "pizza" / "own.config.json").write_text(json.dumps(SETTINGS | {"C": 61}))
    with pytest.raises(ValueError, match=r"own\.safetensors is of another modulus than 59\.$"):
        page.files(tmp_path, "cpu")


def test_a_damaged_file_beside_the_weights_is_told(foreign, tmp_path, command, capfd):
    shutil.copytree(foreign, tmp_path / "own")
    (tmp_path / "own" / "own.config.json").write_text('{"C": 59, "C"')
    assert "own.config.json: it must be JSON." in refused(
        capfd, command(tmp_path, "--set", f"weights={tmp_path / 'own'}")
    )
    (tmp_path / "1l_fixedwidth_dev.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"1l_fixedwidth_dev\.npz is no \.npz archive, or cut short\.$"):
        pizza_release.table(tmp_path)


@pytest.mark.slow
def test_a_number_that_is_not_theirs_fails_its_claim_alone(reference, tmp_path):
    """Model A beside its authors' numbers with the symmetricity moved by twice the tolerance."""
    (tmp_path / "pizza").mkdir()
    for name in (f"{A}.npz", f"{A}.config.json"):
        shutil.copy(reference / "pizza" / name, tmp_path / "pizza")
    golden = json.loads((reference / "pizza" / "golden.json").read_text())
    golden["models"][A]["gradient_symmetricity"] += 2e-4
    (tmp_path / "pizza" / "golden.json").write_text(json.dumps(golden))
    judged = verdicts.judge(page, lab.Measures(page.measure(tmp_path, [A])))
    others = ("the authors' table", "networks that do not solve", "authors' table:", "groups:")  # nothing to compare
    fails = {claim["name"] for claim in judged if claim["verdict"] != "holds" and not claim["name"].startswith(others)}
    assert fails == {"gradient symmetricity, ours less theirs"}


def test_the_committed_table_is_that_of_the_committed_measures():
    results = Path(run_sweep.__file__).parent / "results" / "published_models"
    assert page.compared(stages.read_measures(results)) == (results / "models.md").read_text()
