"""Mixed features and the measures of a dictionary: known mixtures, known dictionaries, the floor in closed form."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import exact
from scipy import integrate, stats

from toylab import configs, train
from toylab.analysis.superposition import dictionary
from toylab.base import Config, Run
from toylab.models import ModularMLP, Net, SparseAutoencoder
from toylab.optim import Adam
from toylab.tasks import MixedFeatures

KEY = jax.random.key(0)
QUICK = {"xla_backend_optimization_level": 0}  # halves the time to compile
RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=(12, 5))
SMALL = {"n_truth": 12, "d_model": 5, "batch": 64, "active": 2.0, "decay": 0.9}


def task_of(**fields):
    return MixedFeatures(**{**SMALL, **fields})


def net_of(**fields):
    return Net.of(SparseAutoencoder, **{"d_model": 5, "d_dict": 12, **fields})


def numbers(found):
    return {name: float(value) for name, value in found.items()}


# --- the task


@pytest.mark.slow
@pytest.mark.parametrize("correlated", [False, True])
def test_features_are_on_with_their_probabilities_and_uniform_strengths(correlated):
    task = task_of(correlated=correlated).check()
    n = 40_000
    codes = np.asarray(task.codes(task.data(KEY), jax.random.key(1), n))
    p = 0.9 ** np.arange(12)
    p = 2 * p / p.sum()
    on = codes > 0
    np.testing.assert_allclose(on.mean(axis=0), p, atol=5 * (0.25 / n) ** 0.5)
    strengths = codes[on]
    assert strengths.max() <= 1
    assert stats.kstest(strengths, "uniform").statistic < 2 / len(strengths) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("correlated", [False, True])
def test_correlated_features_are_on_together_as_their_copula_says(correlated):
    """cov(on_i, on_j) = 4 p_i p_j cov(Φ(z_i), Φ(z_j)), and normals of correlation ρ give the last as arcsin(ρ/2) / 2π."""
    n = 160_000
    task = task_of(correlated=correlated, decay=1.0)
    data = task.data(KEY)
    on = np.asarray(task.codes(data, jax.random.key(1), n)) > 0
    rho = np.asarray(data["mixing"] @ data["mixing"].T) if correlated else np.zeros((12, 12))
    expected = 4 / 6**2 * np.arcsin(rho / 2) / (2 * np.pi)
    apart = ~np.eye(12, dtype=bool)
    assert np.abs(np.cov(on.T) - expected)[apart].max() < 5 * (1 / 6) / n**0.5
    assert not correlated or expected[apart].max() > 10 * (1 / 6) / n**0.5


def test_a_correlation_matrix_has_a_unit_diagonal_and_no_negative_eigenvalue():
    mixing = np.asarray(task_of(correlated=True).data(KEY)["mixing"], np.float64)
    np.testing.assert_allclose(np.diag(mixing @ mixing.T), 1, atol=1e-5)
    assert np.ptp(mixing @ mixing.T) > 0.5


def test_truth_is_unit_vectors_that_follow_the_seed_and_stay_for_the_run():
    task = task_of()
    one, again, other = (task.data(jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_allclose(np.linalg.norm(one["truth"], axis=1), 1, rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, one, again)
    assert np.abs(one["truth"] - other["truth"]).min() > 0
    assert set(one) == {"truth", "x"}


def answer(x_hat, latents):
    """A network that says this, whatever it is asked."""
    return lambda params, x: (x_hat(x), {"latents": latents(x)[None]})


def test_the_loss_is_the_squared_error_and_l1_times_the_mean_latent():
    task = task_of(l1=0.5)
    data = task.data(KEY)
    x = task.codes(data, KEY, 64) @ data["truth"]
    latents = jnp.full((64, 7), -2.0)
    perfect = task.loss(answer(lambda x: x, lambda x: latents), {}, data, KEY)
    np.testing.assert_allclose(perfect, 0.5 * 7 * 2 / 7, rtol=1e-6)  # l1 · Σ|c| / d_dict
    nothing = task.loss(answer(jnp.zeros_like, lambda x: 0 * latents), {}, data, KEY)
    np.testing.assert_allclose(nothing, np.mean(np.asarray(x) ** 2), rtol=1e-5)
    assert task.loss(answer(jnp.zeros_like, lambda x: 0 * latents), {}, data, jax.random.key(9)) != nothing


def test_measures_of_a_perfect_and_of_a_constant_answer():
    task = task_of()
    data = task.data(KEY)
    half_on = jnp.arange(8) % 2 * jnp.ones((len(data["x"]), 1))
    perfect = numbers(task.measure(answer(lambda x: x, lambda x: half_on), {}, data))
    assert perfect == {"mse": 0, "l0": 4, "fvu": 0}
    constant = numbers(task.measure(answer(lambda x: jnp.mean(x, axis=0) + 0 * x, lambda x: half_on), {}, data))
    np.testing.assert_allclose(constant["fvu"], 1, rtol=1e-5)
    np.testing.assert_allclose(constant["mse"], np.var(np.asarray(data["x"]), axis=0).mean(), rtol=1e-5)
    same = dictionary.fraction_variance_unexplained(data["x"], 0 * data["x"])
    nothing = numbers(task.measure(answer(jnp.zeros_like, lambda x: half_on), {}, data))
    np.testing.assert_allclose(nothing["fvu"], same, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_truth": 0}, r"task\.n_truth is 0: it must be at least 1"),
        ({"d_model": 0}, r"task\.d_model is 0: it must be at least 1"),
        ({"batch": 0}, r"task\.batch is 0: it must be at least 1"),
        ({"decay": 0.0}, r"task\.decay is 0\.0: it must lie in \(0, 1\]"),
        ({"decay": 1.1}, r"task\.decay is 1\.1: it must lie in \(0, 1\]"),
        ({"active": 0.0}, r"task\.active is 0\.0: it must be above 0 and at most 7\.176"),
        ({"active": 7.2}, r"task\.active is 7\.2: it must be above 0 and at most 7\.176"),
        ({"active": 3.6, "correlated": True}, r"task\.active is 3\.6: it must be above 0 and at most 3\.588"),
        ({"l1": -0.1}, r"task\.l1 is -0\.1: it must be a finite number, at least 0"),
        ({"l1": float("nan")}, r"task\.l1 is nan: it must be a finite number, at least 0"),
    ],
)
def test_check_refuses_with_one_sentence(change, message):
    with pytest.raises(ValueError, match=f"^{message}.*\\.$"):
        task_of(**change).check()


def test_check_takes_every_feature_always_on_and_a_net_that_fits():
    task = task_of(active=12.0, decay=1.0)
    assert task.check() == task
    task.check_net(net_of())
    with pytest.raises(ValueError, match=r"^net\.d_model is 6: it must be task\.d_model, which is 5\.$"):
        task.check_net(net_of(d_model=6))
    with pytest.raises(ValueError, match=r"^net has no d_dict: .*\.$"):
        task.check_net(Net.of(ModularMLP, d_vocab=5, d_vocab_out=5))


@pytest.mark.slow
def test_l1_and_seed_are_leaves_of_one_program_which_learns_and_l1_makes_sparse():
    def config(l1, seed):
        return configs.check(Config(task=task_of(l1=l1), net=net_of(), optimizer=Adam(lr=0.01), seed=seed))

    grid = [config(l1, seed) for l1 in (0.0, 1.0) for seed in (0, 1)]
    assert len({str(configs.family(one)) for one in grid}) == 1
    axes = jax.tree.map(lambda _: 0, configs.stack(grid)).replace(data_seed=None)

    def trained(config):
        return train.advance(config, train.init(config), jnp.array([0, 60]))[1].measures

    found = jax.jit(jax.vmap(trained, in_axes=(axes,)), compiler_options=QUICK)(configs.stack(grid))  # [4, 2]
    assert (found["fvu"][:2, 1] < 0.7 * found["fvu"][:2, 0]).all()
    assert (found["l0"][2:, 1] < 0.7 * found["l0"][:2, 1]).all()
    assert found["fvu"][0, 1] != found["fvu"][1, 1]


# --- a dictionary against the truth


def test_a_perfect_dictionary_in_any_order_and_of_any_length_has_mmcs_1():
    shuffled = RNG.permutation(TRUTH) * RNG.uniform(0.1, 9, (12, 1))
    for found in (TRUTH, shuffled, np.concatenate([shuffled, RNG.normal(size=(20, 5))])):
        np.testing.assert_allclose(exact(dictionary.mmcs, TRUTH, found), 1, rtol=1e-12)
        assert exact(dictionary.recovered_share, TRUTH, found) == 1


def test_the_sign_of_a_direction_counts():
    np.testing.assert_allclose(exact(dictionary.max_cosines, np.eye(4), -np.eye(4)), 0, atol=1e-15)
    np.testing.assert_allclose(exact(dictionary.mmcs, [[1.0, 0.0]], [[-1.0, 0.0]]), -1)


def test_known_cosines_a_zero_row_and_the_threshold():
    turned = np.array([[np.cos(0.3), np.sin(0.3)], [0.0, 0.0]])
    cosines = exact(dictionary.max_cosines, np.eye(2), turned)
    np.testing.assert_allclose(cosines, [np.cos(0.3), np.sin(0.3)], rtol=1e-12)
    np.testing.assert_allclose(exact(dictionary.mmcs, np.eye(2), turned), (np.cos(0.3) + np.sin(0.3)) / 2)
    assert exact(dictionary.recovered_share, np.eye(2), turned) == 0.5
    assert exact(dictionary.recovered_share, np.eye(2), turned, threshold=0.96) == 0
    np.testing.assert_array_equal(exact(dictionary.max_cosines, np.eye(2), np.zeros((3, 2))), 0)


def test_more_elements_never_lose_a_feature_and_rotations_change_nothing():
    found = RNG.normal(size=(30, 5))
    rotation = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    cosines = exact(dictionary.max_cosines, TRUTH, found)
    assert (exact(dictionary.max_cosines, TRUTH, found[:15]) <= cosines + 1e-12).all()
    np.testing.assert_allclose(exact(dictionary.max_cosines, TRUTH @ rotation, found @ rotation), cosines, rtol=1e-10)


@pytest.mark.slow
def test_leading_axes_are_a_batch():
    truths, found = RNG.normal(size=(3, 12, 5)), RNG.normal(size=(3, 8, 5))
    latents = np.maximum(RNG.normal(size=(3, 20, 8)), 0)
    for fn, arrays in (
        (dictionary.mmcs, (truths, found)),
        (dictionary.recovered_share, (truths, found)),
        (dictionary.l0, (latents,)),
        (dictionary.dead_latents, (latents,)),
        (dictionary.effective_features, (latents,)),
        (dictionary.fraction_variance_unexplained, (truths, truths + 1)),
    ):
        found = exact(fn, *arrays)
        assert len(found) == 3
        np.testing.assert_allclose(found[1], exact(fn, *(x[1] for x in arrays)), rtol=1e-12)


@pytest.mark.parametrize(("d", "n_elements"), [(3, 4), (16, 40)])
def test_the_random_floor_is_its_closed_form(d, n_elements):
    below = partial(stats.beta.cdf, a=(d - 1) / 2, b=(d - 1) / 2)
    expected = 1 - integrate.quad(lambda c: below((1 + c) / 2) ** n_elements, -1, 1)[0]
    truth = RNG.normal(size=(50, d)).astype(np.float32)
    found = numbers(dictionary.random_floor(KEY, truth, n_elements, n_draws=400))
    np.testing.assert_allclose(found["mean"], expected, atol=5 * found["std"] / 20)
    again = numbers(dictionary.random_floor(jax.random.key(1), truth, n_elements, n_draws=400))
    np.testing.assert_allclose(again["std"], found["std"], rtol=0.25)
    assert 0 < found["std"] < 0.2


# --- latents


def test_l0_and_dead_latents_of_known_codes():
    latents = np.array([[1.0, 0.0, 2.0, 0.0], [0.0, 0.0, 3.0, 0.0]])
    assert exact(dictionary.l0, latents) == 1.5
    np.testing.assert_array_equal(exact(dictionary.dead_latents, latents), [False, True, False, True])


@pytest.mark.slow
def test_effective_features_count_equal_ones_and_between():
    assert exact(dictionary.effective_features, np.zeros((4, 3))) == 0
    for n in (1, 3, 8):
        equal = np.arange(8) < n
        np.testing.assert_allclose(exact(dictionary.effective_features, 2.5 * equal * np.ones((4, 1))), n, rtol=1e-12)
    uneven = exact(dictionary.effective_features, np.array([[3.0, 1.0]]))
    np.testing.assert_allclose(uneven, np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)), rtol=1e-12)


def test_variance_unexplained_of_known_answers():
    x = RNG.normal(size=(30, 4)) + 5
    fvu = partial(exact, dictionary.fraction_variance_unexplained)
    assert fvu(x, x) == 0
    np.testing.assert_allclose(fvu(x, np.tile(x.mean(axis=0), (30, 1))), 1, rtol=1e-12)
    np.testing.assert_allclose(fvu(x, x + 0.5 * (x - x.mean(axis=0))), 0.25, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: dictionary.mmcs(np.ones((3, 4)), np.ones((3, 5))),
            r"^dictionary has shape \(3, 5\) .* with d = 4 as in truth$",
        ),
        (lambda: dictionary.mmcs(np.ones((3, 4)), np.ones((0, 4))), r"^dictionary has shape \(0, 4\)"),
        (lambda: dictionary.l0(np.ones(3)), r"^latents has shape \(3,\)"),
        (lambda: dictionary.dead_latents(np.ones((0, 3))), r"^the array has shape \(0, 3\)"),
        (
            lambda: dictionary.fraction_variance_unexplained(np.ones((3, 4)), np.ones((3, 5))),
            r"^x_hat has shape \(3, 5\) .* B = 3 and d = 4 as in x$",
        ),
        (lambda: dictionary.random_floor(KEY, np.ones((3, 4)), 0), r"^n_elements is 0"),
    ],
)
def test_bad_arrays_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.slow
def test_the_analyzers_name_what_they_found():
    config = Config(task=task_of(), net=net_of(), optimizer=Adam())
    data = config.task.data(KEY)
    params = {"W_dec": data["truth"], "b_enc": jnp.full(12, -9.0).at[0].set(9.0)}  # the first is always on, no other
    run = Run(config=config, data=data)
    np.testing.assert_allclose(list(numbers(dictionary.recovery(params, run)).values()), 1, rtol=1e-6)
    np.testing.assert_allclose(dictionary.activity(params, run)["dead"], 11 / 12, rtol=1e-6)
    np.testing.assert_allclose(dictionary.activity(params, run)["effective"], 1, rtol=1e-5)
    floor = numbers(dictionary.floor(params, run))
    assert 0.5 < floor["mean"] < 0.9 and set(floor) == {"mean", "std"}


@pytest.mark.parametrize("value", [0.1, 0.0, 1e20, 3.3e-30])
def test_of_what_does_not_vary_nothing_is_unexplained(value):
    """The mean of a hundred 0.1 is not 0.1 in float32: that rounding is no variance."""
    x = np.full((100, 3), value, np.float32)
    assert np.isnan(dictionary.fraction_variance_unexplained(x, 2 * x)) and np.isnan(
        dictionary.fraction_variance_unexplained(x, x)
    )
    x[0] *= 1 + 1e-7
    assert np.isnan(dictionary.fraction_variance_unexplained(x, 2 * x))
    x[0] *= 2
    assert value == 0 or np.isfinite(dictionary.fraction_variance_unexplained(x, 2 * x))
