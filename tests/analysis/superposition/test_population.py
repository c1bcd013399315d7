"""The expected loss on sparse features: closed forms, samples, the limit of one feature at a time, and its minima."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.superposition import geometry, population, theory
from toylab.base import Config, Run
from toylab.models import Net, ToyModel
from toylab.optim import AdamW
from toylab.tasks import SparseFeatures

CANDIDATES = {  # W and which biases are the mean of their feature
    2: {
        "ignored": ([[1.0], [0]], [0, 1]),
        "superposed": ([[1.0], [-1]], [0, 0]),
        "dedicated": ([[0.0], [1]], [1, 0]),
    },
    3: {
        "ignored": ([[1.0, 0], [0, 1], [0, 0]], [0, 0, 1]),
        "superposed": ([[1.0, 0], [0, 1], [0, -1]], [0, 0, 0]),
        "dedicated": ([[0.0, 0], [0, 1], [1, 0]], [1, 0, 0]),
        "others_superposed": ([[1.0, 0], [-1, 0], [0, 1]], [0, 0, 0]),
    },
}


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize(("importance", "p"), [(0.1, 0.01), (1.0, 0.3), (7.0, 1.0)])
def test_candidates_of_the_phase_diagram_have_their_closed_forms(n, importance, p):
    curve = np.append(np.ones(n - 1), importance)
    for name, exact in theory.phase_losses(importance, p, n).items():
        W, means = CANDIDATES[n][name]
        found = population.population_loss(jnp.array(W), jnp.array(means) * p / 2, p, curve)
        assert float(found) == pytest.approx(float(exact), rel=1e-4), name


def test_it_is_the_mean_over_samples_with_a_density_of_each_feature():
    task = SparseFeatures(n_features=4, density=np.array([0.9, 0.5, 0.2, 0.05]), importance=np.array([1.0, 2, 3, 4]))
    net = Net.of(ToyModel, n_features=4, n_hidden=2, init_std=0.8)
    params = net.init(jax.random.key(1)) | {"b": jnp.array([0.2, -0.1, 0.0, 0.1])}
    sample = task.sample(jax.random.key(0), 400_000)
    measured = 4 * task.error(net.apply, params, sample)
    exact = population.population_loss(params["W"], params["b"], task.density, task.importance)
    assert float(measured) == pytest.approx(float(exact), rel=0.005)


def test_of_rare_features_what_is_left_is_the_loss_on_one_at_a_time():
    W, b = theory.kgon_weights(5, 5)
    p = 1e-5
    found = population.population_loss(jnp.array(W), jnp.array(b), p) / (5 * p)
    assert float(found) == pytest.approx(float(theory.one_hot_loss(W, b)), rel=1e-3)


def test_the_points_are_even_in_every_direction():
    for n in (1, 2, 5, 8):
        points = population.lattice(n)
        assert points.shape == (population.POINTS, n) and points.min() >= 0 and points.max() <= 1
        np.testing.assert_allclose(points.mean(0), 0.5, atol=1e-3)
        np.testing.assert_allclose(np.cov(points.T, ddof=0), np.eye(n) / 12, atol=1e-3)


@pytest.mark.slow
def test_descent_ends_in_a_minimum_below_its_start_and_knows_its_branch():
    p, K = jnp.array([0.3, 0.6]), 2
    W, b, even = jnp.tile(jnp.array([[1.0], [-1.0]]), (K, 1, 1)), jnp.zeros((K, 2)), jnp.ones((K, 2))
    loss, W, b = population.descended(W, b, p, even, steps=600)
    assert (np.asarray(loss) < np.asarray(p) ** 2 / 3).all()  # of W = (1, -1) without biases
    gradient = jax.vmap(jax.grad(population.population_loss, argnums=(0, 1)))(W, b, p, even)
    assert max(float(abs(g).max()) for g in gradient) < 1e-3
    assert (np.asarray(W[:, 0, 0] * W[:, 1, 0]) < 0).all()


def test_more_features_than_patterns_can_be_summed_are_refused():
    with pytest.raises(ValueError, match="W has 9 features"):
        population.population_loss(jnp.ones((9, 2)), jnp.zeros(9), 0.1)


def test_the_analyzer_takes_values_up_to_high_and_refuses_what_the_formula_is_not_of():
    task = SparseFeatures(n_features=4, density=0.3, high=2.0)
    net = Net.of(ToyModel, n_features=4, n_hidden=2, init_std=0.8, bias=False)
    params = net.init(jax.random.key(1))
    of = lambda **parts: Run(config=Config(**{"task": task, "net": net, "optimizer": AdamW(), **parts}), data=None)  # noqa: E731
    measured = 4 * task.error(net.apply, params, task.sample(jax.random.key(0), 400_000))
    assert float(population.population(params, of())["loss"]) == pytest.approx(float(measured), rel=0.005)
    for parts, message in (
        (
            {"net": net.with_fields(hidden="relu")},
            r"^net\.hidden is 'relu': the population loss is that of 'linear' only\.$",
        ),
        ({"net": net.with_fields(output="linear")}, r"^net\.output is 'linear'"),
        ({"task": task.replace(target="absolute")}, r"^task\.target is 'absolute'"),
    ):
        with pytest.raises(ValueError, match=message):
            population.population(params, of(**parts))
    with pytest.raises(ValueError, match=r"^net\.hidden is 'relu': hidden vectors are x W"):
        geometry.samples(params, of(net=net.with_fields(hidden="relu")))


def test_the_minima_of_a_pair_of_features():
    """Sparse: the antipodal pair is lowest, below its closed form p²/3. Dense: one feature of norm 1 and V of the other."""
    losses, norms = population.pair_minima(np.array([0.3, 0.9]))
    assert losses[0, 0] < 0.3**2 / 3 < losses[2, 0]
    np.testing.assert_allclose(norms[0, 0, 0], norms[0, 0, 1], rtol=1e-3)
    assert losses[1, 1] < losses[0, 1] and losses[1, 1] <= 0.9 / 3 - 0.9**2 / 4
    assert norms[1, 1].min() < 0.5 < norms[1, 1].max()


def test_a_million_points_give_the_expected_loss_within_its_error():
    """Of a model whose exact loss is known: the mean over features, and one of two samples is within two errors or so."""
    task = SparseFeatures(n_features=4, density=0.2, importance=np.array([1.0, 2, 3, 4]))
    net = Net.of(ToyModel, n_features=4, n_hidden=2, init_std=0.8)
    params = net.init(jax.random.key(1)) | {"b": jnp.array([0.2, -0.1, 0.0, 0.1])}
    found = population.sampled(params, Run(Config(task, net, AdamW()), {}))
    exact = population.population_loss(params["W"], params["b"], task.density, task.importance) / 4
    assert abs(float(found["loss"]) - float(exact)) < 4 * float(found["error"]) < 0.01 * float(exact)


def test_the_pentagon_of_the_least_loss_at_a_density_of_a_tenth():
    """Norm and bias with which the page superposition compares its pentagons."""
    W, b = theory.kgon_weights(5, 5)
    _, W, b = population.descended(W[None], b[None], np.array([0.1]), np.ones((1, 5)))
    np.testing.assert_allclose(
        geometry.feature_norms(W), 1.1003, atol=1e-3
    )  # the lattice is not alike in all directions
    np.testing.assert_allclose(b, -0.2096, atol=1e-3)


@pytest.mark.parametrize("sets", ["correlated", "anticorrelated"])
def test_the_loss_of_features_in_sets_is_the_mean_over_samples(sets):
    task = SparseFeatures(n_features=6, sets=sets, set_size=2, density=0.3, importance=np.arange(1.0, 7))
    net = Net.of(ToyModel, n_features=6, n_hidden=2, init_std=0.8)
    params = net.init(jax.random.key(1)) | {"b": jnp.array([0.2, -0.1, 0.0, 0.1, 0.0, 0.05])}
    measured = 6 * task.error(net.apply, params, task.sample(jax.random.key(0), 400_000))
    exact = population.population(params, Run(Config(task, net, AdamW()), {}))["loss"]
    assert float(measured) == pytest.approx(float(exact), rel=0.005)


def test_sets_that_there_are_not():
    with pytest.raises(ValueError, match="correlated and anticorrelated ones that divide 3"):
        population.set_loss(np.eye(3), np.zeros(3), 0.1, "correlated", 2)
    with pytest.raises(ValueError, match="'independent'"):
        population.set_loss(np.eye(4), np.zeros(4), 0.1, "independent", 2)
    with pytest.raises(ValueError, match="9 features"):
        population.set_loss(np.eye(9), np.zeros(9), 0.1, "correlated", 3)


# --- by strata


def toy_run(n=4, m=2, hidden="linear", density=0.3, **task):
    net = Net.of(ToyModel, n_features=n, n_hidden=m, init_std=0.8, hidden=hidden)
    features = SparseFeatures(n_features=n, density=density, importance=0.7 ** np.arange(n), **task)
    return net.init(jax.random.key(1)) | {"b": jnp.linspace(0.2, -0.1, n)}, Run(Config(features, net, AdamW()), {})


@pytest.mark.parametrize("density", [1.0, 0.3, 0.01])
def test_by_strata_it_is_that_over_a_lattice(density):
    params, run = toy_run(density=density)
    found = population.expected(params, run)
    exact = population.population_loss(params["W"], params["b"], density, run.config.task.importance)
    assert float(found["loss"]) == pytest.approx(float(exact), rel=5e-4)


def test_by_strata_it_is_the_mean_over_samples_with_a_relu_between():
    params, run = toy_run(6, 3, "relu", 0.2, high=2.0)
    task = run.config.task
    sample = task.sample(jax.random.key(0), 400_000)
    measured = 6 * task.error(run.config.net.apply, params, sample)
    found = population.expected(params, run)
    assert float(measured) == pytest.approx(float(found["loss"]), rel=0.01)  # a sample's standard error is 0.3 %
    assert 0 < float(found["error"]) < 1e-3 * float(found["loss"])


def test_strata_have_every_pattern_and_probabilities_that_add_up():
    x, on, share = population.strata(5)
    assert x.shape == (population.REPLICATES, len(on), 5) and x.min() >= 0 and x.max() <= 1
    assert ((x > 0).sum(-1) == on).mean() > 0.999  # a scrambled point may be 0
    assert (0.3**on * 0.7 ** (5 - on) * share).sum() == pytest.approx(1)
    assert len({tuple(row) for row in (x[0] > 0)}) == 32
    assert np.abs(x[0] - x[1]).max() > 0.1


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ({"target": "absolute"}, "task.target is 'absolute'"),
        ({"sets": "correlated", "set_size": 2}, "task.sets is 'correlated'"),
        ({"density": np.full(4, 0.1)}, r"task.density has shape \(4,\)"),
    ],
)
def test_strata_of_other_features_are_refused(task, sentence):
    with pytest.raises(ValueError, match=sentence):
        population.expected(*toy_run(**{"density": 0.3} | task))


def test_too_many_patterns_are_refused():
    with pytest.raises(ValueError, match="there are 13 features"):
        population.strata(13)
