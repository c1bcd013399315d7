"""The worst attack: against every direction and sign one after the other, on what has no superposition, and released."""

import json

import jax
import numpy as np
import pytest
from handmade import exact, rotation

from toylab.analysis.superposition import robustness
from toylab.analysis.superposition.robustness import adversarial_vulnerability
from toylab.base import Config, Run
from toylab.models import Net, ToyModel
from toylab.optim import AdamW
from toylab.tasks import SparseFeatures
from toylab.tasks.sparse import EVALUATION


def attack_by_hand(W, b, x, importance):
    """Every direction and sign, one after the other."""
    G, eps = W @ W.T, 0.1 * np.linalg.norm(x, axis=1).mean()

    def loss(shift):
        return (importance * (x - np.maximum((x + shift) @ G + b, 0)) ** 2).sum(1).mean()

    found = {(i, s): loss(s * eps * G[i] / np.linalg.norm(G[i])) for i in range(len(W)) if G[i].any() for s in (1, -1)}
    worst = max(found, key=lambda key: found[key])
    return loss(0 * b), found[worst], eps, *worst


def test_the_attack_is_the_worst_of_all():
    rng = np.random.default_rng(2)
    models = []
    for _ in range(3):
        W, b, x = rng.normal(size=(6, 3)), 0.1 * rng.normal(size=6), rng.random((50, 6)) * (rng.random((50, 6)) < 0.3)
        W[4] = 0
        models.append((W, b, x))
    importance = 0.9 ** np.arange(6)
    W, b, x = (np.stack(parts) for parts in zip(*models, strict=True))
    found = exact(adversarial_vulnerability, W, b, x, importance)
    for r, model in enumerate(models):
        by_hand = attack_by_hand(*model, importance)
        got = [found[name][r] for name in ("loss", "attacked_loss", "eps", "feature", "sign")]
        np.testing.assert_allclose(got, by_hand, rtol=1e-12)
        rise = (by_hand[1] - by_hand[0]) / by_hand[2] ** 2
        np.testing.assert_allclose(found["vulnerability"][r], rise, rtol=1e-9)


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_without_superposition_vulnerability_is_one(weight):
    """Pushing x along a represented feature adds exactly ε² of error, weighted by its importance."""
    rng = np.random.default_rng(3)
    x = rng.random((40, 5)) * (rng.random((40, 5)) < 0.5)
    W = np.eye(5)[:, :3] @ rotation(3, rng)
    found = exact(adversarial_vulnerability, W, np.zeros(5), x, np.array([weight, 1, 1, 1, 1]))
    np.testing.assert_allclose(found["vulnerability"], 1, rtol=1e-9)
    assert found["sign"] == 1 and (weight == 1 or found["feature"] == 0)


def test_analyzers_attack_points_of_the_task():
    """One sample as a whole, and its parts each under its own worst attack; in float32, at its roundings."""
    task = SparseFeatures(n_features=6, density=0.3, importance=0.9 ** np.arange(6))
    net = Net.of(ToyModel, n_features=6, n_hidden=3)
    params, run = net.init(jax.random.key(0)), Run(config=Config(task, net, AdamW()), data={})
    x = np.asarray(task.sample(jax.random.key(EVALUATION), 60), float)
    model, importance = [np.asarray(params[name], float) for name in "Wb"], 0.9 ** np.arange(6)

    def by_hand(x):
        clean, worst, eps, *_ = attack_by_hand(*model, x, importance)
        vulnerability = (worst - clean) / eps**2, 1e-5 * worst / eps**2  # and its error: that of a difference of losses
        return {"loss": clean, "attacked_loss": worst, "eps": eps}, *vulnerability

    found = robustness.attacked(params, run, n_points=60)
    losses, vulnerability, error = by_hand(x)
    for name, value in losses.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5)
    np.testing.assert_allclose(found["vulnerability"], vulnerability, atol=error, rtol=1e-5)
    few = robustness.attacked_on_few(params, run, n_samples=3, n_points=20)["vulnerability"]
    _, parts, errors = zip(*map(by_hand, x.reshape(3, 20, 6)), strict=True)
    np.testing.assert_allclose(few, np.mean(parts), atol=max(errors), rtol=1e-5)
    with pytest.raises(ValueError, match=r"x has shape \(0, 6\)"):
        robustness.attacked(params, run, n_points=0)


@pytest.mark.parametrize(("call", "match"), [
    (lambda: adversarial_vulnerability(np.eye(2), np.zeros(3), np.ones((4, 2))), r"b has shape \(3,\)"),
    (lambda: adversarial_vulnerability(np.eye(2), np.zeros(2), np.ones((0, 2))), r"x has shape \(0, 2\)"),
    (lambda: adversarial_vulnerability(np.eye(2), np.zeros(2), np.ones((4, 3))), r"x has shape \(4, 3\)"),
    (lambda: adversarial_vulnerability(np.eye(2), np.zeros(2), np.ones((4, 2)), np.ones(3)), "importance has shape"),
])  # fmt: skip
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.slow
def test_reference_attacks(reference):
    folder = reference / "superposition" / "trained"
    published = json.loads((folder.parent / "phenomena" / "phenomena.json").read_text())["adversarial"]
    for name in ("intro_n5_m2", "feat_n20_m5", "geom_n100_m10_L10"):
        model, fixed = np.load(folder / f"{name}.npz"), np.load(folder / f"{name}.eval.npz")
        args = [model["W"], model["b"], np.moveaxis(fixed["X"], 0, 1), model["importance"]]
        found = exact(adversarial_vulnerability, *(x.astype(float) for x in args))
        for key, theirs in {"loss": "clean_sumloss", "attacked_loss": "attacked_sumloss"}.items():
            np.testing.assert_allclose(found[key], fixed[f"{theirs}_f64"], rtol=1e-6)
        np.testing.assert_allclose(found["eps"], fixed["attack_eps"], rtol=1e-6)
        np.testing.assert_array_equal(found["feature"], fixed["attack_feature"])  # none ties here
        np.testing.assert_array_equal(found["sign"], fixed["attack_sign"])
        theirs = published[name]["vuln_rel_to_orthogonal_same_S"]
        np.testing.assert_allclose(found["vulnerability"], theirs, atol=1e-4)  # printed to four decimals
    single = adversarial_vulnerability(*args)  # the last, n = 100
    np.testing.assert_allclose(single["attacked_loss"], fixed["attacked_sumloss_f64"], rtol=1e-4)
    np.testing.assert_array_equal(single["feature"], fixed["attack_feature"])
