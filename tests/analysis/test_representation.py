"""Representations whose quality is known: numbers on a line, features of given rank, networks linear in their parameters,
simplices."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis import representation as rep

LINE = np.arange(10.0)
QUICK = {"xla_backend_optimization_level": 0}  # one program compiles faster than its operations one by one
collapse = jax.jit(rep.neural_collapse, compiler_options=QUICK)
probe_accuracies = jax.jit(rep.probe_accuracies, static_argnums=2, compiler_options=QUICK)
RNG = np.random.default_rng(0)


def authors_split(p, n_train, seed):
    """bool [P]: the training pairs of grokking-squared, whose numpy stream first draws the templates."""
    rng = np.random.RandomState(seed)
    rng.normal(0, 1, size=(2 * p - 1, 30))
    return np.isin(np.arange(p * (p + 1) // 2), rng.choice(p * (p + 1) // 2, n_train, replace=False))


def loop_rqi(E, ddof):
    z = (E - E.mean(0)) / E.std(0, ddof=ddof)
    p = len(E)
    found = [
        ((z[i] + z[n] - z[j] - z[m]) ** 2).mean() < 0.01
        for i in range(p)
        for j in range(i + 1, p)
        for m in range(j, p)
        for n in range(m + 1, p)
        if i + n == j + m
    ]
    return np.mean(found), len(found)


@pytest.mark.slow
def test_rqi_by_the_authors_loops_and_their_variance():
    E = np.array([0.0, 1.03, 1.94, 3.1, 4, 5.02, 5.91, 7.15, 8, 9.2])
    assert rep.rqi(LINE) == 1 and rep.pairs(10).joined.shape[0] == loop_rqi(LINE, 1)[1]
    with jax.enable_x64():
        for x in (E[:, None], np.stack([E, LINE**1.1], axis=1)):
            assert float(rep.rqi(x)) == pytest.approx(loop_rqi(x, 1)[0])
        trap = RNG.uniform(-0.4, 0.4, (100, 10)) + LINE  # somewhere the two variances differ
        differ = [x for x in trap if loop_rqi(x[:, None], 0) != loop_rqi(x[:, None], 1)]
        assert differ and all(float(rep.rqi(x)) == pytest.approx(loop_rqi(x[:, None], 1)[0]) for x in differ[:5])
    assert np.isnan(rep.rqi(np.ones(10)))


def test_predicted_and_ideal_accuracy_of_the_published_splits(reference):
    """Once a run's RQI has passed .95 its accuracy is what the line predicts of its training pairs."""
    published = json.loads((reference / "grokking_squared" / "toy_results.json").read_text())
    checked = 0
    for seed, least in ((0, 40), (1, 45)):
        for n in (40, 45, 50, 54):
            name = f"num_{n}_seed_{seed}.txt"
            if n >= least:
                assert published[f"fig4/rqistep_{name}"] < 9999
                train = authors_split(10, n, seed)
                predicted = float(rep.predicted_accuracy(LINE, train))
                assert predicted == pytest.approx(published[f"fig3/predacc_{name}"], abs=1e-6)
                assert rep.ideal_accuracy(10, train) == pytest.approx(predicted, abs=1e-6)
                assert rep.degrees_of_freedom(10, train) == 2
                checked += 1
    assert checked == 7


def test_the_published_runs_agree_with_their_prediction(reference):
    published = json.loads((reference / "grokking_squared" / "toy_results.json").read_text())
    predicted = {name.removeprefix("fig3/predacc_"): x for name, x in published.items() if "fig3/predacc" in name}
    real = [published[f"fig3/realacc_{name}"] for name in predicted]
    assert len(real) == 22 and np.corrcoef(list(predicted.values()), real)[0, 1] == pytest.approx(0.9983, abs=5e-5)


def test_what_follows_from_few_pairs():
    pairs = rep.pairs(4).pairs.tolist()
    train = np.array([pair in ([0, 2], [1, 1], [1, 3], [2, 2]) for pair in pairs])
    assert rep.degrees_of_freedom(4, train) == 2
    # 02 ~ 11 and 13 ~ 22 put the four on a line, so 03 ~ 12 holds; but no pair of sum 3 is known
    assert rep.ideal_accuracy(4, train) == pytest.approx(4 / 10)
    assert rep.ideal_accuracy(4, train | [pair == [0, 3] for pair in pairs]) == pytest.approx(6 / 10)
    assert rep.ideal_accuracy(4, np.zeros(10, bool)) == 0 and rep.degrees_of_freedom(4, np.zeros(10, bool)) == 4
    bent = np.array([0.0, 1, 2, 30])
    assert float(rep.predicted_accuracy(bent, np.array([pair == [1, 1] for pair in pairs]))) == pytest.approx(2 / 10)


def test_the_effective_loss_pulls_numbers_on_a_line():
    with jax.enable_x64():
        E = np.asarray(rep.z_scored(RNG.uniform(-0.5, 0.5, 10)))[:, 0]
        path = rep.effective_dynamics(E, 400, 1e-2)
        A, Z = rep.pairs(10).equations, (E**2).sum()
        authors = 2 * ((A @ E) ** 2).sum() / Z**2 * E - 2 / Z * A.T @ A @ E
        np.testing.assert_allclose((path[1] - path[0]) / 1e-2, authors, atol=1e-10)
        assert rep.effective_loss(path[-1]) < 0.2 * rep.effective_loss(E) and rep.effective_loss(LINE) < 1e-20
        np.testing.assert_allclose((path[-1] ** 2).sum(), Z, rtol=0.1)


@pytest.mark.slow
def test_ranks_of_known_features():
    with jax.enable_x64():
        basis = np.linalg.qr(RNG.standard_normal((60, 5)) - 0)[0]
        basis = np.linalg.qr(basis - basis.mean(0))[0]
        x = basis[:, :4] @ np.linalg.qr(RNG.standard_normal((8, 8)))[0][:4] + 3  # 4 equal singular values, and a mean
        assert int(rep.feature_rank(x)) == 4 and float(rep.effective_rank(x)) == pytest.approx(4)
        assert int(rep.feature_rank(x, centred=False)) == 5
        wide = basis * np.array([1, 0.5, 0.1, 1e-2, 1e-5])
        assert int(rep.feature_rank(wide)) == 4
        labels = (wide[:, 2] > 0).astype(int)  # the label is read off the third component
        features = wide + 0.2 * np.eye(5)[2] * (labels - 0.5)[:, None] * np.array([0, 0, 0.3, 0, 0])
        accuracy = np.asarray(probe_accuracies(features, labels, 2))
        assert accuracy[1] < 0.8 and (accuracy[2:] > 0.9).all()
        assert int(rep.linear_probe_rank(features, labels, 2)) == 3
        held = (np.arange(60) % 3 > 0).astype(float)
        fitted = np.linalg.lstsq(np.c_[features, np.ones(60)][held > 0], np.eye(2)[labels][held > 0])[0]
        plain = (np.argmax(np.c_[features, np.ones(60)] @ fitted, axis=1) == labels)[held == 0].mean()
        assert probe_accuracies(features, labels, 2, held)[-1] == pytest.approx(plain)


@pytest.mark.slow
def test_cka_is_blind_to_rotation_scale_and_shift():
    with jax.enable_x64():
        x, y = RNG.standard_normal((30, 6)), RNG.standard_normal((30, 4))
        q = np.linalg.qr(RNG.standard_normal((6, 6)))[0]
        assert float(rep.linear_cka(x, 3 * x @ q + 5)) == pytest.approx(1)
        assert float(rep.linear_cka(x, y)) == pytest.approx(float(rep.alignment(x @ x.T, y @ y.T)))
        apart = np.linalg.qr(np.c_[np.ones(30), x])[0]
        assert float(rep.linear_cka(apart[:, 1:3], apart[:, 3:6])) == pytest.approx(0, abs=1e-12)
        assert float(rep.alignment(np.eye(4), np.ones((4, 4)), centred=False)) == pytest.approx(0.5)


@pytest.mark.slow
def test_the_tangent_kernel_of_a_linear_and_of_a_small_network():
    with jax.enable_x64():
        x = RNG.standard_normal((5, 3))
        W = RNG.standard_normal((3, 2))
        K0 = rep.ntk(lambda p, x: x @ p["W"] + p["b"], {"W": W, "b": np.zeros(2)}, x)
        np.testing.assert_allclose(K0, 2 * (x @ x.T + 1), atol=1e-12)  # one x·x′ + 1 for each output
        net = {"W": W, "v": RNG.standard_normal(2)}
        K = rep.ntk(lambda p, x: jnp.tanh(x @ p["W"]) @ p["v"], net, x, batch_size=2)
        h = np.tanh(x @ W)
        slope = (1 - h**2) * net["v"]
        np.testing.assert_allclose(K, h @ h.T + (slope @ slope.T) * (x @ x.T), atol=1e-12)
        assert float(rep.kernel_movement(3 * K, K)) == pytest.approx(2) and rep.kernel_movement(K, K) == 0


@pytest.mark.slow
def test_a_simplex_is_collapsed_and_noise_is_not():
    C, d, rng = 4, 6, np.random.default_rng(5)
    simplex = (np.eye(C) - 1 / C) @ np.linalg.qr(rng.standard_normal((d, d)))[0][:C]
    labels = np.arange(40) % C
    with jax.enable_x64():
        exact = collapse(2 * simplex[labels], labels, 5 * simplex.T)
        assert max(abs(float(value)) for value in exact) < 1e-12
        noise = 0.1 * rng.standard_normal((40, d))
        noise -= (np.eye(C)[labels] @ np.eye(C)[labels].T / 10) @ noise  # class means stay
        noisy = collapse(2 * simplex[labels] + noise, labels, 5 * simplex.T)
        between = 4 * simplex.T @ simplex / C
        wanted = np.trace(noise.T @ noise / 40 @ np.linalg.pinv(between, rcond=1e-10)) / C
        assert float(noisy.nc1) == pytest.approx(wanted) and float(noisy.nc2_max_angle) < 1e-12
        stretched = collapse((simplex * np.array([[1], [2], [1], [1]]))[labels], labels, simplex.T)
        assert float(stretched.nc2_norm) > 0.1 and float(stretched.nc3) > 0.01
        rolled = collapse(simplex[labels], labels, np.roll(simplex, 1, axis=0).T)
        assert float(rolled.nc4) == 1


def test_what_does_not_fit_is_refused():
    with pytest.raises(
        ValueError, match=r"^train has shape \(55,\) and dtype int64, it must be booleans \[p\*\(p\+1\)//2\]$"
    ):
        rep.ideal_accuracy(10, np.ones(55, np.int64))
    with pytest.raises(ValueError, match=r"^train has shape \(54,\), it must be booleans \[55\], the pairs i ≤ j < 10"):
        rep.ideal_accuracy(10, np.ones(54, bool))
    with pytest.raises(ValueError, match=r"^y has shape \(4, 2\) .* real numbers \[n, e\] with n = 3 as in x$"):
        rep.linear_cka(np.zeros((3, 2)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"^W has shape \(3, 2\) .* real numbers \[d, C\] with d = 2 as in x$"):
        rep.neural_collapse(np.zeros((3, 2)), np.zeros(3, int), np.zeros((3, 2)))


def test_eigenvalues_of_parallelograms_count_the_degrees_of_freedom():
    rng = np.random.default_rng(0)
    traced = jax.jit(partial(rep.parallelogram_eigenvalues, 10))
    for n in (5, 20, 25, 30, 45, 55):
        train = np.isin(np.arange(55), rng.permutation(55)[:n])
        A = rep.pairs(10).equations[train[rep.pairs(10).joined].all(axis=1)].astype(float)
        expected = np.linalg.eigvalsh(A.T @ A)
        found = np.asarray(traced(train))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * max(expected[-1], 1))
        assert (found < 1e-4 * max(expected[-1], 1)).sum() == rep.degrees_of_freedom(10, train)
    with pytest.raises(ValueError, match=r"train has shape \(54,\), it must be booleans \[55\]"):
        rep.parallelogram_eigenvalues(10, np.ones(54, bool))


@pytest.mark.slow
def test_how_often_pairs_determine_the_line_is_as_the_authors_counted():
    """Of 10,000 sets of n of 55 pairs 42.7 % and 57.95 % determine a line for n = 22 and 23 (effective_linear_eq.ipynb of
    ejmichaud/grokking-squared). Of 3,000 each here: within four standard errors of both counts."""
    eigenvalues = jax.jit(jax.vmap(partial(rep.parallelogram_eigenvalues, 10)))
    rng = np.random.default_rng(1)
    for n, share in ((22, 0.4270), (23, 0.5795)):
        train = rng.permuted(np.tile(np.arange(55) < n, (3000, 1)), axis=1)
        found = np.asarray(eigenvalues(train))
        error = (share * (1 - share) * (1 / 3000 + 1 / 10_000)) ** 0.5
        assert abs((found[:, 2] > 1e-4 * found[:, -1]).mean() - share) < 4 * error
