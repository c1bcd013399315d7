import json

import jax
import numpy as np
import pytest
from handmade import exact, rotation

from toylab.analysis.superposition.geometry import kgon_loss
from toylab.analysis.superposition.theory import (
    kgon,
    kgon_weights,
    one_hot_loss,
    phase_boundary,
    phase_losses,
    phase_winners,
)

POINTS = [(c, k, plus) for c in (8, 13) for k in range(3, c + 1) for plus in {0, min(2, c - k)}]
loss_of = jax.jit(one_hot_loss)
value_and_gradient = jax.jit(jax.value_and_grad(one_hot_loss, (0, 1)))


def by_quadrature(W: np.ndarray, b: np.ndarray, points: int = 20_000) -> float:
    """The mean over μ on a fine grid, and the sum over features, of what the network does to μ·e_i."""
    mu = (np.arange(points) + 0.5)[:, None, None] / points
    x = mu * np.eye(len(W))  # [μ, i, j]
    return float(((x - np.maximum(x @ (W @ W.T) + b, 0)) ** 2).sum(2).mean())


@pytest.mark.parametrize("seed", range(4))
def test_one_hot_loss_is_the_integral(seed):
    rng = np.random.default_rng(seed)
    W, b = rng.normal(size=(5, 3)), rng.normal(size=5)
    W[1], b[2] = 0, 0  # a dead feature, and one whose ReLU turns at μ = 0
    np.testing.assert_allclose(exact(loss_of, W, b), by_quadrature(W, b), rtol=1e-6)
    batch = exact(loss_of, np.stack([W, 2 * W]), np.stack([b, -b]))
    np.testing.assert_allclose(batch, [by_quadrature(W, b), by_quadrature(2 * W, -b)], rtol=1e-6)


def test_one_hot_loss_of_nothing_and_of_a_perfect_network():
    assert exact(loss_of, np.zeros((3, 2)), -np.ones(3)) == pytest.approx(1 / 3)
    assert exact(loss_of, np.eye(3), np.zeros(3)) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(("c", "k", "plus"), POINTS)
def test_polygons_are_critical_points_of_the_whole_loss(c, k, plus):
    W, b = kgon_weights(c, k, plus)
    loss, gradient = exact(value_and_gradient, W, b)
    point = kgon(c, k, plus)
    assert loss == pytest.approx(point.loss, abs=1e-12)
    assert max(np.abs(g).max() for g in gradient) < 1e-12
    assert kgon_loss(c, k, plus) == point.loss
    np.testing.assert_allclose(np.linalg.norm(W, axis=1), [point.norm] * k + [0] * (c - k), atol=1e-12)
    assert (point.dead_bias > 0).sum() == plus and point.bias <= 0


def test_the_check_of_critical_points_can_fail():
    W, b = kgon_weights(8, 5)
    _, (gradient, _) = exact(value_and_gradient, 1.001 * W, b)
    assert np.abs(gradient).max() > 1e-5


def test_no_polygon_does_better_at_another_norm_or_bias():
    """The point is the best one of its family, not just a flat one."""
    norms, biases = np.meshgrid(np.linspace(0.7, 2.5, 19), np.linspace(-2.5, 0.3, 29))
    for k in (5, 7, 8, 11):
        (W, b), point = kgon_weights(11, k), kgon(11, k)
        b = np.where(np.arange(11) < k, biases[..., None], b)
        assert exact(loss_of, W / point.norm * norms[..., None, None], b).min() > point.loss


def test_positive_dead_biases_gain_the_same_each():
    for c, k in ((7, 4), (8, 5), (8, 6)):
        losses = np.array([kgon_loss(c, k, plus) for plus in range(c - k + 1)])
        np.testing.assert_allclose(np.diff(losses), -1 / (4 * c**2), atol=1e-15)


def test_which_polygons_read_only_their_nearer_neighbours():
    """The c = k for which a third party reports no solution are those among 3 to 13."""
    assert [k for k in range(3, 14) if not kgon(k, k).all_neighbours] == [9, 10, 11, 13]


def test_published_levels():
    for (c, k, plus), loss in {  # Chen et al. 2023, six digits
        (5, 4, 0): 0.066667, (5, 5, 0): 0.015826, (6, 4, 0): 0.111111, (6, 4, 1): 0.104167, (6, 4, 2): 0.097222,
        (6, 5, 0): 0.068744, (6, 5, 1): 0.061799, (6, 6, 0): 0.048192,
    }.items():  # fmt: skip
        assert kgon_loss(c, k, plus) == pytest.approx(loss, abs=6e-7)


def test_reference_levels(reference):
    levels = json.loads((reference / "superposition" / "phenomena" / "phenomena.json").read_text())["kgon_levels"]
    assert levels
    for name, level in levels.items():
        c, k, dead = (part.split("=")[-1] for part in name.split(",", 2))
        every_dead = int(c) - int(k) if dead == "dead_bias_plus_1_over_2c" else 0
        point = kgon(int(c), int(k), every_dead)
        found = {"L": point.loss, "l": point.norm, "b": point.bias, "h_k": point.h if not every_dead else None}
        for key, value in found.items():
            assert level[key] == (None if value is None else pytest.approx(value, abs=1e-6)), (name, key)
        if every_dead:
            np.testing.assert_allclose(point.dead_bias, level["dead_bias"])


def test_rotated_polygons_have_the_same_loss():
    W, b = kgon_weights(7, 6, 1)
    turned = W @ rotation(2, np.random.default_rng(0))
    np.testing.assert_allclose(exact(loss_of, turned, b), kgon_loss(7, 6, 1), atol=1e-12)


def population_loss(W: np.ndarray, b: np.ndarray, importance: np.ndarray, p: float) -> float:
    """Σ_i I_i E(x_i − x'_i)² over which features are present, by a midpoint grid over their values."""
    n, grid = len(W), (np.arange(60) + 0.5) / 60
    total = 0.0
    for present in np.ndindex(*[2] * n):
        values = np.stack(np.meshgrid(*[grid if on else [0.0] for on in present], indexing="ij"), -1).reshape(-1, n)
        error = (values - np.maximum(values @ (W @ W.T) + b, 0)) ** 2
        total += np.prod([p if on else 1 - p for on in present]) * float((importance * error).sum(1).mean())
    return total


@pytest.mark.parametrize("p", [0.1, 1.0])
@pytest.mark.parametrize("importance", [0.3, 2.0])
def test_phase_losses_are_those_of_their_weights(importance, p):
    half, extra = p / 2, np.array([1.0, importance])
    two = phase_losses(importance, p)
    cases = {
        "ignored": ([[1.0], [0.0]], [0, half]),
        "superposed": ([[1.0], [-1.0]], [0, 0]),
        "dedicated": ([[0.0], [1.0]], [half, 0]),
    }
    for name, (W, b) in cases.items():
        assert population_loss(np.array(W), np.array(b), extra, p) == pytest.approx(float(two[name]), rel=2e-3), name
    three, extra = phase_losses(importance, p, n=3), np.array([1.0, 1.0, importance])
    cases = {
        "ignored": ([[1.0, 0], [0, 1], [0, 0]], [0, 0, half]),
        "superposed": ([[1.0, 0], [0, 1], [0, -1]], [0, 0, 0]),
        "dedicated": ([[0.0, 0], [1, 0], [0, 1]], [half, 0, 0]),
        "others_superposed": ([[1.0, 0], [-1, 0], [0, 1]], [0, 0, 0]),
    }
    for name, (W, b) in cases.items():
        assert population_loss(np.array(W), np.array(b), extra, p) == pytest.approx(float(three[name]), rel=2e-3), name


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("importance", [0.1, 0.5, 1.0, 1.7, 10.0])
def test_the_boundary_is_where_superposition_ceases_to_win(n, importance):
    boundary = float(phase_boundary(importance, n))

    def best(density: float) -> str:
        losses = phase_losses(importance, density, n)
        return min(losses, key=lambda name: float(losses[name]))

    assert "superposed" in best(boundary - 1e-6)
    assert "superposed" not in best(boundary + 1e-6)


@pytest.mark.parametrize("n", [2, 3])
def test_the_winning_class_changes_at_the_boundary(n):
    """Sparser: superposed. Denser: ignored below importance 1, dedicated above, and either at 1."""
    importance = np.array([0.3, 1, 3])
    p = phase_boundary(importance, n)
    sparse, least = phase_winners(importance, 0.9 * p, n)
    np.testing.assert_array_equal(least, np.min(list(phase_losses(importance, 0.9 * p, n).values()), axis=0))
    both = n == 3  # of importance 1, any pair of features may share
    assert sparse.tolist() == [[False, True, False], [False, True, both], [False, n == 2, n == 3]]
    dense, _ = phase_winners(importance, np.minimum(1.1 * p, 1), n)
    assert dense.tolist() == [[True, False, False], [True, False, True], [False, False, True]]


def test_the_phases_of_the_reference(reference):
    measured = json.loads((reference / "superposition" / "phenomena" / "phenomena.json").read_text())["phase_n2_m1"]
    losses = phase_losses(np.array(measured["I"])[:, None], np.array(measured["density"])[None])
    classes = np.argmin([losses[name] for name in ("ignored", "superposed", "dedicated")], axis=0)
    np.testing.assert_array_equal(classes, measured["theory_class"])
    np.testing.assert_allclose(np.min(list(losses.values()), axis=0), measured["theory_loss"], rtol=1e-6)
    assert phase_boundary(1.0) == phase_boundary(1.0, 3) == pytest.approx(4 / 7)


@pytest.mark.parametrize(("call", "match"), [
    (lambda: kgon(6, 2), "k is 2"),
    (lambda: kgon(5, 6), "k is 6"),
    (lambda: kgon(6, 5, 2), "plus is 2"),
    (lambda: phase_losses(0.0, 0.5), "importance is 0.0"),
    (lambda: phase_losses(1.0, 1.5), "density is 1.5"),
    (lambda: phase_losses(1.0, 0.0), "density is 0.0"),
    (lambda: phase_boundary(1.0, n=4), "n is 4"),
    (lambda: one_hot_loss(np.eye(3), np.zeros(2)), r"b has shape \(2,\)"),
])  # fmt: skip
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
