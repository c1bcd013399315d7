"""Imported weights by function: published models by their accuracy and logits, the other layouts by a forward pass."""

import json

import jax
import numpy as np
import pytest

from toylab import importers

PAIRS = np.stack(np.divmod(np.arange(59 * 59), 59), axis=1)


@pytest.fixture(scope="module")
def published(reference):
    """The folder with the models of Zhong et al. 2023, and what was measured on ten of them."""
    folder = reference / "pizza"
    return folder, json.loads((folder / "golden.json").read_text())["models"]


@jax.jit
def logits_of(net, params, tokens):
    return net.apply(params, tokens, full=False)[0]


RUNS = {  # errors on all pairs: of golden.json, and of a PyTorch forward pass where that has none
    "18c9ev5v5p": 0, "2fsoiei4o2": 0, "2k4ohj6bhd": 0, "4asyr7ht1p": 0, "7r4zst7evs": 0, "amw6ox6bzn": 0,
    "dy65ktpiij": 110, "f5dh675z97": 3418, "h9m153uuh9": 0, "hpv2jgskwe": 2541, "kboioj4ulz": 0, "l8k1hzciux": 0,
    "n9n7h3p965": 1453, "p71frej8t7": 0, "p99zdpze5l": 0, "q9rsl94xlv": 0, "qlvxqhkvit": 0, "w386br1duh": 0,
}  # fmt: skip


@pytest.mark.parametrize("run", RUNS)
def test_a_published_model_has_its_accuracy_and_logits(published, run):
    folder, golden = published
    net, params = importers.load(folder / f"{run}.npz", "pizza")
    tokens = PAIRS + np.array([0, 59 if net.d_vocab == 118 else 0])
    logits = np.asarray(logits_of(net, params, tokens))[:, :59]
    assert np.count_nonzero(logits.argmax(1) != PAIRS.sum(1) % 59) == RUNS[run]
    norm = sum(float((np.float64(x) ** 2).sum()) for x in params.values()) ** 0.5
    if (known := golden.get(run)) is not None:
        assert known["n_errors"] == RUNS[run]
        probes = [logits[0, 0], logits[1234, 17], logits[3480, 58]]
        np.testing.assert_allclose(probes, known["logits_sha_probe"], atol=1e-3)
        np.testing.assert_allclose(logits.std(), known["logits_std"], rtol=1e-4)
        np.testing.assert_allclose(norm, known["param_l2_norm"], rtol=1e-5)
