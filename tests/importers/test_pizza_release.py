"""What Zhong et al. 2023 released: files found under both names, and numbers under ours."""

import json

import numpy as np
import pytest

from toylab.importers import pizza_release as release


@pytest.fixture
def folder(tmp_path):
    """A network as released, one converted, and files that are none."""
    for name, config in (("model_a.pt", "config_a.json"), ("b.npz", "b.config.json")):
        (tmp_path / name).touch()
        (tmp_path / config).write_text(json.dumps({"C": release.P}))
    (tmp_path / "c.npz").touch()
    return tmp_path


def test_networks_are_found_by_both_names_and_in_the_subfolder(folder):
    assert release.networks(folder) == {"a": folder / "model_a.pt", "b": folder / "b.npz"}
    (folder / "pizza").mkdir()
    with pytest.raises(ValueError, match=r"^weights is .*: it has no NAME\.npz"):
        release.networks(folder)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"model_type": "A"}, "linear A"),
        ({"n_layers": 1, "act_fn": "ReLU"}, "1 layer"),
        ({"n_layers": 2, "act_fn": "GeLU", "diff_vocab": 1}, "2 layers, GeLU, own tokens for b"),
    ],
)
def test_settings_say_what_a_network_is(settings, kind):
    assert release.kind(settings) == kind


def test_what_was_not_evaluated_is_nan(folder):
    assert release.evaluations(folder) == {} == release.table(folder) == release.circular_runs({})
    found = release.evaluated({})
    assert np.isnan(found["circularity"]) and not found["frequencies"].any() and len(found["frequencies"]) == 30
    assert np.isnan(found["pizza"]).all() and (found["circle_frequency"] == -1).all() and len(found["clock"]) == 4


def test_numbers_have_our_names():
    golden = {"n_errors": 3, "embed_dft_freqs_above_2pct": [2], "circle_fve": [{"freq": 2, "Qpizza": 0.9}] * 4}
    found = release.evaluated(golden)
    assert found["errors"] == 3 and np.flatnonzero(found["frequencies"]).tolist() == [2]
    assert found["pizza"].tolist() == [0.9] * 4 and np.isnan(found["clock"]).all()


def test_rows_of_the_table_are_found_and_sorted():
    table = {"runid": np.array(["x", "y", "z"]), "n_layers": np.array([1, 1, 2]), "circularity": np.full(3, 0.995)}
    table |= {"diff_vocab": np.zeros(3), "eqn_sign": np.zeros(3), "attn_coeff": np.array([0.7, 0.2, 0.1])}
    table |= {"gradient_sim": np.array([0.5, 0.9, 0.1]), "distance_irrelevance": np.array([0.3, 0.2, 0.1])}
    table |= {"parameter_norm": np.array([20.0, 30, 40])}
    runs = release.circular_runs(table)
    assert runs["attention_rate"].tolist() == [0.2, 0.7] and runs["norm"].tolist() == [30, 20]
    assert release.listed("y", {}, table)["gradient_symmetricity"] == 0.9
    assert np.isnan(release.listed("other", {}, table)["norm"])
    assert release.listed("y", {"csv": [{"parameter_norm": 7}]}, table)["norm"] == 7
