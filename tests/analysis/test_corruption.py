"""What becomes of wrong labels, counted by hand; phases by their definition; the accuracy of a network that inverts."""

import jax
import numpy as np
import pytest

from toylab import train
from toylab.analysis import corruption
from toylab.analysis.modular import analytic
from toylab.base import Config, Run
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.tasks import ModularArithmetic

LOGITS = np.float32([[3, 1, 0], [0, 2, 1], [0, 1, 2], [1, 0, 0], [0, 0, 5]])  # answers 0, 1, 2, 0, 2


def test_wrong_labels_are_memorised_or_corrected_or_neither():
    clean, labels = np.array([0, 0, 2, 1, 2]), np.array([0, 1, 1, 2, 0])  # all but the first are wrong
    found = corruption.of_wrong_labels(LOGITS, labels, clean)
    assert [float(x) for x in found] == [0.25, 0.5, pytest.approx(0.8)]  # the second; the third and the last
    mapped = jax.jit(jax.vmap(corruption.of_wrong_labels))(LOGITS[None], labels[None], clean[None])
    assert float(mapped.corrected[0]) == 0.5


def test_without_a_wrong_label_there_is_nothing_to_count():
    found = corruption.of_wrong_labels(LOGITS, np.arange(5) % 3, np.arange(5) % 3)
    assert np.isnan(found.memorised) and np.isnan(found.corrected) and found.share == 0


def test_phases():
    test = np.array([0.95, 1.0, 1.0, 0.2, 0.2, np.nan, 0.9])
    memorised = np.array([1.0, 0.5, 0.02, 0.99, 0.3, 1.0, np.nan])
    found = corruption.phases(test, memorised)
    named = [corruption.PHASES[i] if i >= 0 else "" for i in found]
    assert named == ["coexistence", "partial inversion", "full inversion", "memorisation", "neither", "", ""]
    assert corruption.phases(test[1], memorised[1], fitted=0.6) == 1
    with pytest.raises(ValueError, match=r"^fitted is 0\.5: it must lie above 0\.5 and be at most 1\.$"):
        corruption.phases(test, memorised, fitted=0.5)


def test_the_accuracy_of_a_network_that_corrects_all_labels():
    """Of the task's own labels, over 200 draws: within five standard errors, and with the variance of a binomial."""
    assert corruption.inverted_accuracy(0.35, 97) == pytest.approx(0.6536, abs=5e-5)
    task = ModularArithmetic(p=5, n_train=20, corruption=0.5)

    def right(key):
        data = task.data(key)
        return (data["train_labels"] == data["labels"].reshape(-1)[data["train"]]).mean()

    found = np.asarray(jax.vmap(right)(jax.random.split(jax.random.key(0), 200)))
    error = (10 * 0.2 * 0.8) ** 0.5 / 20 / 200**0.5  # ten labels are redrawn, each right with probability 1/5
    assert abs(found.mean() - corruption.inverted_accuracy(0.5, 5)) < 5 * error


@pytest.fixture
def untrained():
    """(params, run) of a network for sums of 7 with half of the labels redrawn; a quarter of its neurons are waves."""
    net = Net.of(ModularMLP, d_vocab=7, d_vocab_out=7, d_mlp=20, embedding="none", activation="quadratic")
    config = Config(ModularArithmetic(p=7, n_train=30, corruption=0.5), net, AdamW(warmup=0))
    params = {name: np.array(value) for name, value in train.init(config).params.items()}
    u, v, w = analytic.gromov(7, 5)
    params["W_in"][:, :, 3:8], params["W_U"][3:8] = np.stack([u.T, v.T]), w
    return params, Run(config=config, data=train.data(config))


def answers(params, tokens, kept=slice(None)):
    """[B]: of the neurons that are kept, written out."""
    pre = params["W_in"][0][tokens[:, 0]] + params["W_in"][1][tokens[:, 1]]
    return ((pre**2)[:, kept] @ params["W_U"][kept]).argmax(axis=1)


def test_the_analyzer_of_labels_counts_what_the_network_answers(untrained):
    params, run = untrained
    data, found = run.data, corruption.labels(*untrained)
    given, clean = np.asarray(data["train_labels"]), np.asarray(data["labels"]).reshape(-1)[data["train"]]
    said, wrong = answers(params, np.asarray(data["tokens"])[data["train"]]), given != clean
    assert float(found["share"]) == pytest.approx(wrong.mean())
    assert float(found["memorised"]) == pytest.approx((said == given)[wrong].mean())
    assert float(found["corrected"]) == pytest.approx((said == clean)[wrong].mean())
    ipr = np.asarray(analytic.purity(*analytic.neuron_rows(params, run)))
    assert float(found["pure"]) == pytest.approx((ipr > 0.5).mean()) and found["pure"] >= 0.25  # the five waves


def test_the_analyzer_of_neurons_prunes_from_both_ends(untrained):
    params, run = untrained
    found = corruption.neurons(params, run)
    tokens, clean = np.asarray(run.data["tokens"]), np.asarray(run.data["labels"]).reshape(-1)
    at, given = np.asarray(run.data["train"]), np.asarray(run.data["train_labels"])
    up = np.argsort(found["ipr"], kind="stable")  # 15 neurons by chance, then the five waves, which are all 1
    for end, order in (("least", up), ("most", up[::-1])):
        of_sets = {"train": (at, given), "test": (run.data["test"], clean[run.data["test"]])}
        of_sets["wrong"] = at[given != clean[at]], given[given != clean[at]]
        of_sets["right"] = at[given == clean[at]], given[given == clean[at]]
        for name, (pairs, right) in of_sets.items():
            by_hand = [(answers(params, tokens[pairs], order[gone:]) == right).mean() for gone in (0, 5, 10, 15, 20)]
            np.testing.assert_allclose(found[f"{end}_{name}"], by_hand, atol=2**-11)  # half precision, of at most 1
            assert found[f"{end}_{name}"].dtype == np.float16
