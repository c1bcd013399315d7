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
    verdicts = [claim["verdict"] for claim in json.loads((folder / "claims.json").read_text())["claims"]]
    assert set(verdicts) == {"not applicable"}  # there is nothing to compare with
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


@pytest.fixture(scope="module")
def measured(reference):
    """The paper's pizza, its linear model β, one of its table and a network that does not add, beside their numbers."""
    return lab.Measures(page.measure(reference, [A, page.MODEL_BETA, "2k4ohj6bhd", page.FAILED]))


def beyond(m):
    """Measures in which ours lie further from the authors' formulas in PyTorch than roundings of 32 bits take them."""
    tolerances = page.TOLERANCE | {"norm": 1e-5, "errors": 0}
    return {key for key, tolerance in tolerances.items() if not (page.off(m, key) <= tolerance).all()}


@pytest.mark.slow
def test_the_authors_formulas_give_our_numbers(measured):
    assert np.isfinite(measured["theirs/accuracy"]).all()
    assert beyond(measured) == set()
    loss = np.where(measured["theirs/loss"] < 1e-5, 0.05, 1e-3)  # below 1e-5 logits of 32 bits have no more digits
    assert (page.off(measured, "loss") <= loss).all()
    for key in ("frequencies", "circle_frequency"):
        np.testing.assert_array_equal(measured[f"ours/{key}"], measured[f"theirs/{key}"])
    assert measured["ours/circuit"].tolist() == ["pizza", "pizza", "other", "none"]  # the last does not add
    moved = measured["theirs/gradient_symmetricity"] + 2e-4
    assert beyond(lab.Measures({**measured, "theirs/gradient_symmetricity": moved})) == {"gradient_symmetricity"}


@pytest.mark.slow
def test_a_number_that_the_paper_does_not_print_is_told(measured):
    judged = {claim["name"]: claim["verdict"] for claim in verdicts.judge(page, measured)}
    assert set(judged.values()) == {"agrees"}
    other = {**measured, "ours/gradient_symmetricity": measured["ours/gradient_symmetricity"] - 2e-4}
    judged = {claim["name"]: claim["verdict"] for claim in verdicts.judge(page, lab.Measures(other))}
    of_it = {name for name, verdict in judged.items() if verdict == "differs"}
    assert of_it == {"model A: gradient symmetricity", "model β: gradient symmetricity",
                     "gradient symmetricity, less the table's"}  # fmt: skip


@pytest.mark.slow
def test_pairs_are_drawn_of_what_varies_over_them(measured):
    assert measured["pairs/name"].tolist() == ["attention to a", "a neuron", "logit of class 0"]
    assert np.ptp(measured["pairs/values"][0]) == 0  # without an attention rate the pattern is 1 everywhere
    logit = measured["pairs/values"][2]
    a, b = np.divmod(np.arange(page.P**2), page.P)
    of_class = logit.ravel()[(a + b) % page.P == 0]
    assert of_class.min() > logit.mean()


def test_the_table_of_runs_and_the_published_similarities_give_their_authors_numbers(reference):
    table = pizza_release.circular_runs(pizza_release.table(reference))
    middle = np.median(np.lib.stride_tricks.sliding_window_view(table["gradient_symmetricity"], 51), axis=1)
    falls = table["attention_rate"][25:-25][(middle < 0.95).argmax()]
    assert falls == pytest.approx(0.543, abs=5e-4)  # what clock_pizza is judged by
    groups = page.of_groups(reference)
    assert len(groups["groups/ours"]) == 33
    np.testing.assert_allclose(groups["groups/ours"], groups["groups/theirs"], atol=2e-4)


def test_the_committed_table_is_that_of_the_committed_measures():
    results = Path(run_sweep.__file__).parent / "results" / "published_models"
    assert page.compared(stages.read_measures(results)) == (results / "models.md").read_text()
