"""Sparse-feature tasks: the laws of what is drawn, losses by hand, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab import configs as cfg
from toylab import sweep
from toylab.base import Config
from toylab.models import Net, ToyModel
from toylab.optim import AdamW
from toylab.sweep import Spec
from toylab.sweep.plan import Plan
from toylab.tasks import OneHotFeatures, SparseFeatures, sparse

KEY = jax.random.key(3)
MANY = 40_000  # points: a share of 0.3 has a standard error of 0.0023


THREE = {"n_features": 3}


def drawn(**fields):
    return np.asarray(SparseFeatures(**fields).check().sample(KEY, MANY))


def test_independent_features_are_on_with_their_density_and_then_uniform():
    density = np.array([1.0, 0.3, 0.05])
    x = drawn(n_features=3, density=density)
    assert x.shape == (MANY, 3)
    np.testing.assert_allclose((x > 0).mean(axis=0), density, atol=0.01)
    for feature in range(3):
        values = x[x[:, feature] > 0, feature]
        np.testing.assert_allclose(np.quantile(values, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.03)
    assert abs(np.corrcoef(x[:, 1], x[:, 0])[0, 1]) < 0.02


@pytest.mark.parametrize(
    "fields",
    [{}, {"sets": "correlated", "set_size": 3}, {"sets": "anticorrelated", "set_size": 3}, {"target": "absolute"}],
)
def test_what_an_accelerator_measures_in_parts_is_the_same(fields, monkeypatch):
    task = SparseFeatures(n_features=6, n_eval=4 * sparse.PART, density=0.3, importance=0.7, **fields)
    net = Net.of(ToyModel, n_features=6, n_hidden=2)
    params = net.init(KEY)
    found = {}
    for way in ("cpu", "others"):
        monkeypatch.setattr(sparse, "by_platform", lambda *args, way=way, **ways: ways[way](*args))
        found[way] = float(task.measure(net.apply, params, {})["loss"])
    whole = task.error(net.apply, params, task.sample(jax.random.key(sparse.EVALUATION), task.n_eval))
    assert found["cpu"] == float(whole)
    assert found["others"] == pytest.approx(found["cpu"], rel=3e-7)  # a few roundings of 2⁻²⁴ of means


def test_high_scales_the_values():
    np.testing.assert_allclose(drawn(n_features=2, density=0.5, high=2.0), 2 * drawn(n_features=2, density=0.5))


def test_correlated_sets_are_on_together_with_independent_values():
    x = drawn(n_features=6, set_size=3, sets="correlated", density=0.2)
    on = (x > 0).reshape(MANY, 2, 3)
    assert (on.all(axis=2) | ~on.any(axis=2)).mean() > 0.9999  # a value of exactly 0 is as good as off
    np.testing.assert_allclose(on.mean(axis=(0, 2)), 0.2, atol=0.01)
    together = x[on[:, 0].all(axis=1)]
    assert np.abs(np.corrcoef(together[:, :3].T) - np.eye(3)).max() < 0.05
    assert abs(np.corrcoef(on[:, 0, 0], on[:, 1, 0])[0, 1]) < 0.02


def test_anticorrelated_sets_have_one_feature_on_chosen_evenly():
    x = drawn(n_features=6, set_size=3, sets="anticorrelated", density=0.4)
    on = (x > 0).reshape(MANY, 2, 3)
    assert set(on.sum(axis=2).ravel()) <= {0, 1}
    np.testing.assert_allclose(on.any(axis=2).mean(axis=0), 0.4, atol=0.01)
    np.testing.assert_allclose(on.mean(axis=0), 0.4 / 3, atol=0.01)
    np.testing.assert_allclose(np.quantile(x[x > 0], [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.02)


def test_an_absolute_value_target_has_signed_features():
    task = SparseFeatures(n_features=2, target="absolute", density=0.5).check()
    x = np.asarray(task.sample(KEY, MANY))
    np.testing.assert_allclose([(x > 0).mean(), (x < 0).mean()], 0.25, atol=0.01)
    exact = task.error(lambda params, x: (jnp.abs(x), {}), {}, jnp.asarray(x))
    copied = task.error(lambda params, x: (x, {}), {}, jnp.asarray(x))
    assert exact == 0 and copied == pytest.approx(np.mean((np.abs(x) - x) ** 2), rel=1e-5)


def test_the_loss_is_the_mean_over_batch_and_features_weighted_by_importance():
    importance = np.array([1.0, 0.5, 2.0])
    task = SparseFeatures(n_features=3, importance=importance).check()
    x = np.random.default_rng(0).random((7, 3))
    loss = task.error(lambda params, x: (0 * x, {}), {}, jnp.asarray(x))
    assert loss == pytest.approx(np.mean(importance * x**2), rel=1e-6)


def test_runs_of_a_group_threshold_the_same_draws_each_with_its_own_density():
    dense, sparse = (drawn(n_features=4, density=density) for density in (0.5, 0.1))
    assert ((sparse > 0) <= (dense > 0)).all()
    both = (sparse > 0) & (dense > 0)
    np.testing.assert_allclose(0.1 * sparse[both], 0.5 * dense[both], rtol=1e-5)


# --- one-hot features


def test_one_hot_points_are_every_feature_at_every_value():
    points = np.asarray(OneHotFeatures(n_features=3).points())
    assert points.shape == (3 * OneHotFeatures.GRID, 3) and ((points > 0).sum(axis=1) == 1).all()
    np.testing.assert_allclose(points.sum(axis=0) / OneHotFeatures.GRID, 0.5, rtol=1e-6)
    np.testing.assert_array_equal(OneHotFeatures(n_features=3, values="one").points(), np.eye(3))


def test_one_hot_batches_hold_one_feature_each_uniform_in_size():
    x = np.asarray(OneHotFeatures(n_features=4).sample(KEY, MANY))
    assert ((x > 0).sum(axis=1) <= 1).all() and abs(x.sum(axis=1).mean() - 0.5) < 0.01
    np.testing.assert_allclose((x > 0).mean(axis=0), 0.25, atol=0.01)


def test_the_square_leaves_one_feature_of_five_out(reference):
    """Chen et al.: a 4-gon among 5 features has loss 1/15."""
    W = jnp.array([[1.0, 0], [0, 1], [-1, 0], [0, -1], [0, 0]])
    net = Net.of(ToyModel, n_features=5, n_hidden=2)
    task = OneHotFeatures(n_features=5)
    found = task.measure(net.apply, {"W": W, "b": jnp.array([0, 0, 0, 0, -0.5])}, {})["loss"]
    assert found == pytest.approx(1 / 15, rel=1e-4)


def test_l1_and_noise_enter_the_loss_but_not_the_measure():
    net = Net.of(ToyModel, n_features=4, n_hidden=3, bias=False)
    params = net.init(KEY)
    plain = OneHotFeatures(n_features=4, values="one")
    taxed = plain.replace(l1=0.1)
    noisy = plain.replace(noisy=True, noise=0.5, noise_kind="bernoulli").check()
    loss = {name: float(task.loss(net.apply, params, {}, KEY)) for name, task in [("plain", plain), ("taxed", taxed)]}
    assert loss["taxed"] == pytest.approx(loss["plain"] + 0.1 * np.abs(params["W"]).sum(), rel=1e-5)
    assert noisy.loss(net.apply, params, {}, KEY) != loss["plain"]
    for task in (plain, taxed, noisy):
        assert task.measure(net.apply, params, {})["loss"] == pytest.approx(loss["plain"], rel=1e-6)


def test_bernoulli_noise_is_plus_or_minus_its_standard_deviation():
    task = OneHotFeatures(noisy=True, noise=0.25, noise_kind="bernoulli")
    assert set(np.asarray(task._noise(KEY, (50, 3))).ravel().tolist()) == {-0.25, 0.25}


# --- what is refused


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (SparseFeatures(density=0.0), r"^task\.density is 0\.0: it must lie in \(0, 1\]"),
        (SparseFeatures(density=1.5), r"^task\.density is 1\.5: it must lie in \(0, 1\]"),
        (SparseFeatures(density=float("nan")), r"^task\.density is nan: it must lie in \(0, 1\]"),
        (SparseFeatures(n_features=3, density=np.array([0.5, 0.1, -1])), r"^task\.density is -1\.0: it must lie"),
        (SparseFeatures(**THREE, density=np.full(2, 0.5)), r"^task\.density has shape \(2,\): .*\[n_features\] = \[3\]"),
        (SparseFeatures(**THREE, importance=np.ones(4)), r"^task\.importance has shape \(4,\): .*\[n_features\] = \[3\]"),
        (SparseFeatures(**THREE, importance=np.array([1, 0, -1.0])), r"^task\.importance has -1\.0: it must be at least"),
        (SparseFeatures(n_features=0), r"^task\.n_features is 0: it must be at least 1\.$"),
        (SparseFeatures(n_features=5, sets="correlated", set_size=2), r"^task\.set_size is 2: it must divide .* = 5\.$"),
        (SparseFeatures(sets="correlated"), r"^task\.set_size is 1: correlated sets need at least 2 features each\.$"),
        (SparseFeatures(batch=0), r"^task\.batch is 0: it must be at least 1\.$"),
        (SparseFeatures(high=0.0), r"^task\.high is 0\.0: it must be above 0\.$"),
        (OneHotFeatures(l1=-1.0), r"^task\.l1 is -1\.0: it must be at least 0\.$"),
        (OneHotFeatures(noise=0.1), r"^task\.noise is 0\.1: it needs task\.noisy = true\.$"),
        (OneHotFeatures(batch=-1), r"^task\.batch is -1: it must be a number of points, or 0"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_in_one_sentence(task, sentence):
    with pytest.raises(ValueError, match=sentence):
        task.check()


def config(seed=0, data_seed=0, density=0.5, streams="shared", n_features=4):
    net = Net.of(ToyModel, n_features=n_features, n_hidden=2)
    task = SparseFeatures(n_features=4, batch=16, n_eval=32, density=density, streams=streams)
    return Config(task, net, AdamW(warmup=0), seed=seed, data_seed=data_seed)


def test_a_net_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"^net\.n_features is 5: it must be task\.n_features = 4\.$"):
        cfg.check(config(n_features=5))


def test_density_is_one_number_or_one_a_feature_and_both_can_be_set():
    assert cfg.check(config(density=1)).task.density.dtype == np.float32
    assert cfg.check(config(density=np.array([0.1, 0.2, 0.3, 0.4]))).task.density.dtype == np.float32
    assert cfg.override(config(), "task.density", "0.25").task.density == 0.25
    with pytest.raises(ValueError, match=r"^task\.density is 'x': it must be a number"):
        cfg.override(config(), "task.density", "x")


# --- streams


def trained(configs, folder, lane):
    sweep.run(configs, Spec(saves=(0, 7)), folder, plan=Plan(lane=lane, segment=2, chunk=2))
    return {run: W for group in sweep.load(folder) for run, W in zip(group.runs, group.params["W"], strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize("streams", ["own", "shared"])
def test_runs_with_a_data_seed_each_share_a_group_and_train_as_if_alone(tmp_path, streams):
    runs = [cfg.check(config(data_seed=s, streams=streams)) for s in range(3)]
    assert len(sweep.groups(runs)) == 1
    together = trained(runs, tmp_path / "together", 3)
    apart = {}
    for s, run in enumerate(runs):
        apart |= trained([run], tmp_path / str(s), 1)
    for run in runs:
        np.testing.assert_allclose(together[sweep.run_name(run)], apart[sweep.run_name(run)], atol=1e-6)
    same, other = (together[sweep.run_name(run)][0, 0] for run in runs[:2])
    np.testing.assert_array_equal(same, other)  # one seed: one init, then different batches
    assert np.abs(together[sweep.run_name(runs[0])] - together[sweep.run_name(runs[1])])[:, 1:].max() > 1e-4
