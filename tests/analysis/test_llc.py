import itertools
import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from handmade import exact

from toylab.analysis import analyze, minibatch_noise
from toylab.analysis.llc import (
    SGLD,
    analyzer,
    local_learning_coefficient,
    normal_crossing,
    of_heads,
    quadratic,
    reduced_rank_regression,
    watanabe_nbeta,
)
from toylab.base import Config, Run

pytestmark = pytest.mark.slow  # samplers take their thousands of steps
EIGS = np.array([1.0, 0.5, 0.1, 0.02, 0.001, 0.0])
COARSE = SGLD(nbeta=100.0, gamma=1.0, eps=0.02, chains=64, burn_in=1000, draws=4000)


def bowl(params):
    """½ Σ a_i w_i² around w = 3, plus 7."""
    return 7 + 0.5 * jnp.sum(EIGS * (params["w"] - 3) ** 2)


def at_bottom():
    return {"w": jnp.full(6, 3.0)}


def estimate(loss, params, sampler, seed=0, mask=None):
    run = jax.jit(lambda key: local_learning_coefficient(loss, params, key, sampler, mask))
    return {name: np.asarray(value) for name, value in run(jax.random.key(seed)).items()}


def agrees(found, expected, errors=4):
    return abs(found["llc"] - expected) < errors * found["standard_error"]


def test_quadratic_formulas_against_the_reference(reference):
    golden = json.loads((reference / "attention" / "llc_exact.json").read_text())
    for case in [case for name, case in golden.items() if "eigs" in case]:
        eigs, nbeta, gamma = case["eigs"], case["nbeta"], case["gamma"]
        assert quadratic(eigs, nbeta, gamma) == pytest.approx(case["llc_continuum"], rel=1e-9)
        assert quadratic(eigs, nbeta, gamma, case["eps"]) == pytest.approx(case["llc_finite_step"], rel=1e-9)
    for name, expected in golden["normal_crossing"].items():
        if isinstance(expected, float):
            assert normal_crossing(json.loads(name)) == pytest.approx(expected, abs=1e-9)
    for name, expected in golden["reduced_rank_regression"].items():
        m, n, h, r = (int(part[1:]) for part in name.split("_"))
        assert reduced_rank_regression(m, n, h, r) == pytest.approx(expected, abs=1e-9)


def test_quadratic_limits():
    assert quadratic([1.0, 2.0, 3.0], nbeta=1e12, gamma=1.0) == pytest.approx(1.5, rel=1e-9)  # d/2: a regular minimum
    assert quadratic([2.0, 0.0], nbeta=10.0, gamma=0.0) == 0.5  # a flat direction counts nothing
    assert quadratic(EIGS, 100.0, 1.0, eps=1e-12) == pytest.approx(quadratic(EIGS, 100.0, 1.0), rel=1e-9)
    np.testing.assert_array_equal(quadratic([EIGS, 2 * EIGS], 9.0, 1.0)[1], quadratic(2 * EIGS, 9.0, 1.0))


def test_sgld_on_the_quadratic():
    """At this step the finite-step value is 1.8 times that of the continuum: SGLD must have the first."""
    found, expected = estimate(bowl, at_bottom(), COARSE), quadratic(EIGS, 100.0, 1.0, 0.02)
    assert expected > 1.3 * quadratic(EIGS, 100.0, 1.0)
    assert agrees(found, expected) and found["standard_error"] < 0.01 * expected
    assert found["llc"] == pytest.approx(expected, rel=0.02)
    assert found["divergent"] == 0 and found["chains"].shape == (64,) and found["trace"].shape == (64, 10)
    np.testing.assert_allclose(found["trace"].mean(1), found["chains"], rtol=1e-5)


def test_the_reference_simulation(reference):
    case = json.loads((reference / "attention" / "llc_exact.json").read_text())["full_g1"]
    sampler = SGLD(case["nbeta"], case["gamma"], case["eps"], case["chains"], case["burnin"], case["steps"])
    found = estimate(bowl, at_bottom(), sampler)
    assert agrees(found, case["llc_finite_step"])
    both = np.hypot(found["standard_error"], 0.01 * case["llc_simulated"])  # theirs errs by 1 % too
    assert found["llc"] == pytest.approx(case["llc_simulated"], abs=4 * float(both))


def test_the_refined_coefficient_is_that_of_the_block_that_moves():
    found = estimate(bowl, at_bottom(), COARSE, mask={"w": jnp.arange(6) < 2})
    assert agrees(found, quadratic(EIGS[:2], 100.0, 1.0, 0.02))
    still = estimate(bowl, at_bottom(), COARSE, mask={"w": 0.0})
    assert still["llc"] == 0 and still["standard_error"] == 0


def test_the_refined_coefficients_of_heads():
    """Curvature 10 in every weight and 11.5 in those of head (1, 0): λ̂ is that of a head's own 24 weights alone."""
    shape = {"W_Q": (2, 2, 3, 2), "W_K": (2, 2, 3, 2), "W_V": (2, 2, 3, 2), "W_O": (2, 2, 2, 3), "W_E": (5, 3)}
    params = {name: jnp.zeros((1, 1, *size)) for name, size in shape.items()}  # [R, T, …]

    def loss(params, run):
        own = sum(jnp.sum(params[name][1, 0] ** 2) for name in shape if name != "W_E")
        return 0.75 * own + 5 * sum(jnp.sum(value**2) for value in params.values())

    few = SGLD(nbeta=1.0, gamma=10.0, eps=0.005, chains=16, burn_in=300, draws=2000)
    refined = analyze(of_heads(few, loss), params, Run(config=None, data={}))
    for layer, head in np.ndindex(2, 2):
        found = {name: value[0, 0, layer, head] for name, value in refined.items()}
        curvature = 11.5 if (layer, head) == (1, 0) else 10.0
        assert agrees(found, quadratic(np.full(24, curvature), 1.0, 10.0, 0.005)) and found["standard_error"] < 0.1


@pytest.mark.parametrize(("chains", "batches"), [(1, 20), (16, 2)])
def test_the_standard_error_is_the_spread_of_the_estimate(chains, batches):
    """Over 200 seeds; draws are correlated over some 40 steps, so that √(variance / draws) would be 5 times too small."""
    sampler = SGLD(nbeta=1.0, gamma=1.0, eps=0.05, chains=chains, burn_in=200, draws=4000, batches=batches)
    run = jax.jit(
        jax.vmap(lambda key: local_learning_coefficient(lambda w: 0.5 * jnp.sum(w**2), jnp.zeros(3), key, sampler))
    )
    found = run(jax.random.split(jax.random.key(0), 200))
    spread = float(found["llc"].std())
    claimed = float(jnp.sqrt((found["standard_error"] ** 2).mean()))
    assert 0.85 * spread < claimed < 1.35 * spread  # the larger of two estimates is somewhat too large
    assert abs(float(found["llc"].mean()) - quadratic(np.ones(3), 1.0, 1.0, 0.05)) < 4 * spread / 200**0.5


@pytest.mark.filterwarnings("ignore:about .* is noise of minibatch gradients:RuntimeWarning")
def test_a_batch_with_noise_in_its_gradient():
    """L_B = L + ξ·w with ξ ~ N(0, σ²) adds ε nβ² σ²/4 to the noise of 1, and no bias to the value at w."""
    sigma, nbeta, gamma, eps = 0.3, 50.0, 1.0, 0.02
    a = np.array([1.0, 0.4])

    def loss(w, key):
        return 0.5 * jnp.sum(a * w**2) + sigma * jax.random.normal(key, (2,)) @ w + jax.random.normal(key, ())

    found = estimate(loss, jnp.zeros(2), SGLD(nbeta, gamma, eps, chains=64, burn_in=1000, draws=4000))
    assert agrees(found, (1 + eps * nbeta**2 * sigma**2 / 4) * quadratic(a, nbeta, gamma, eps))
    assert found["standard_error"] < 0.05 * found["llc"]
    assert found["noise_factor"] == pytest.approx(1 + eps * nbeta**2 * sigma**2 / 4, rel=0.1)
    assert found["llc"] - found["noise_excess"] == pytest.approx(
        quadratic(a, nbeta, gamma, eps), rel=0.3
    )  # eps adds too


def told_of(loss):
    """The estimate and the warnings that a compiled program gives."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = estimate(loss, jnp.zeros(2), SGLD(50.0, 1.0, 0.02, chains=8, burn_in=100, draws=1000))
        jax.effects_barrier()
    return found, [str(one.message) for one in told if "minibatch" in str(one.message)]


def test_noise_of_minibatches_is_told_and_a_full_batch_has_none():
    found, told = told_of(lambda w, key: 0.5 * jnp.sum(w**2) + 0.3 * jax.random.normal(key, (2,)) @ w)
    assert found["noise_excess"] > 0.1 * found["llc"] and len(told) == 1 and told[0].startswith("about ")
    same, told = told_of(lambda w, key: 0.5 * jnp.sum(w**2))  # takes a key, and draws nothing with it
    assert same["noise_excess"] == 0 and same["noise_factor"] == 1 and not told
    full, told = told_of(lambda w: 0.5 * jnp.sum(w**2))
    assert full["noise_excess"] == 0 and full["noise_factor"] == 1 and not told


@pytest.mark.parametrize(("excess", "llc", "is_told"), [(0.5, 4, True), (0.5, 6, False), (0.5, -6, False), (0.5, -4, True),
                                                        (0.1, 0, True), (0, 0, False), (0.5, np.nan, False)])  # fmt: skip
def test_noise_is_told_from_a_tenth_of_the_size_of_an_estimate_on(excess, llc, is_told):
    """Also of a negative one, of which any noise is more than a tenth by sign alone."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        minibatch_noise._warn(np.float32(excess), np.float32(llc))
    assert len(told) == is_told


def test_parameters_of_half_precision_are_moved_in_float32():
    few = COARSE.replace(chains=2, draws=20, burn_in=0)
    half = estimate(bowl, {"w": jnp.full(6, 3.0, jnp.bfloat16)}, few)
    assert half["trace"].dtype == np.float32
    np.testing.assert_array_equal(half["trace"], estimate(bowl, at_bottom(), few)["trace"])


def crossing(k, nbeta, gamma):
    """E[nβ L] of L = Π w_i^(2k_i) under exp(−nβL − γ‖w‖²/2), by the trapezoid rule in sinh coordinates."""
    u = np.linspace(-16, 16, 1601)
    w, log_jacobian = np.sinh(u) * 1e-5, np.log(np.cosh(u))
    value = nbeta * w[:, None] ** (2 * k[0]) * w[None, :] ** (2 * k[1])
    log_weight = -value - gamma / 2 * (w[:, None] ** 2 + w[None, :] ** 2) + log_jacobian[:, None] + log_jacobian
    weight = np.exp(log_weight - log_weight.max())
    return (weight * value).sum() / weight.sum()


@pytest.mark.parametrize(("k", "nbeta", "eps"), [(1, 25.0, 1e-3), (2, 1.0, 4e-3), (3, 1.0, 4e-3)])
def test_sgld_on_a_power_has_the_coefficient_itself(k, nbeta, eps):
    """w^(2k) without localisation: nβE[L] = 1/(2k) at every temperature (equipartition); the other weight is flat."""
    sampler = SGLD(nbeta, 0.0, eps, chains=256, burn_in=5000, draws=10000)
    found = estimate(lambda w: w[1] ** (2 * k), jnp.zeros(2), sampler)
    assert found["llc"] == pytest.approx(normal_crossing((0, k)), rel=0.04)
    assert found["standard_error"] < 0.012 * found["llc"] and found["divergent"] == 0


@pytest.mark.parametrize("k", [(1, 1), (1, 2), (3, 3)])
def test_sgld_on_normal_crossings(k):
    """Against the integral at the same nβ and γ, since the approach to λ is slow: see the next two."""
    nbeta, gamma = 30.0, 4.0
    sampler = SGLD(nbeta, gamma, eps=2e-4, chains=256, burn_in=10000, draws=10000)
    found = estimate(lambda w: w[0] ** (2 * k[0]) * w[1] ** (2 * k[1]), jnp.zeros(2), sampler)
    assert agrees(found, crossing(k, nbeta, gamma)) and found["standard_error"] < 0.07 * found["llc"]


@pytest.mark.parametrize("k", [(0, 1), (0, 3), (1, 2), (1, 3), (2, 3)])
def test_the_localised_posterior_tends_to_the_coefficient(k):
    """One factor decides (multiplicity 1), and the bias falls as a power of nβ, by its own rate in each case."""
    errors = [abs(crossing(k, nbeta, 1.0) - normal_crossing(k)) for nbeta in (1e4, 1e6, 1e8)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.03


def test_equal_powers_fall_short_by_the_logarithm():
    """Multiplicity 2: volume ~ ε^λ log 1/ε, so that nβE[L] = λ − 1/ln nβ + …: half the log's distance to go."""
    short = [normal_crossing((1, 1)) - crossing((1, 1), nbeta, 1.0) for nbeta in (1e6, 1e12)]
    assert short[0] / short[1] == pytest.approx(2, rel=0.15)


def test_reduced_rank_regression_by_counting():
    """Two facts beside the theorem: the true rank splits off a regular part of r(m + n − r) dimensions; and at r = 0 the
    volume {‖BA‖ < ε} is an integral over the singular values of A, whose exponents q−p+1, q−p+3, … each compete with the n
    dimensions that the rows of B would lose instead."""
    for m, n, h in itertools.product(range(1, 9), repeat=3):
        for r in range(min(m, n, h) + 1):
            p, q = sorted((m - r, h - r))
            singular = sum(min(n - r, q - p + 1 + 2 * i) for i in range(p)) / 2
            assert reduced_rank_regression(m, n, h, r) == r * (m + n - r) / 2 + singular


def test_sgld_on_a_linear_network():
    """‖BA‖² for 1 → 1 → 2, a sum of two crossings: λ = ½ without multiplicity; γ pulls the estimate below it."""
    assert reduced_rank_regression(1, 2, 1, 0) == 0.5

    def loss(w):
        return jnp.sum((w["A"] * w["B"]) ** 2)

    nbeta, gamma = 100.0, 4.0
    found = estimate(
        loss, {"A": jnp.zeros(1), "B": jnp.zeros(2)}, SGLD(nbeta, gamma, 2e-4, chains=256, burn_in=10000, draws=10000)
    )
    a, h = np.linspace(-4, 4, 4001), 2 * nbeta * np.linspace(-4, 4, 4001) ** 2 + gamma
    # B integrates out: each of its 2 components has the curvature h = 2nβa² + γ, so E[nβa²B²] = ½ (h − γ)/h
    weight = np.exp(-gamma / 2 * a**2) / h
    assert agrees(found, (weight * (h - gamma) / h).sum() / weight.sum())


def test_invariances():
    """The same noise meets the same problem: names, a constant in the loss, where the point lies, the units of the loss."""
    few = COARSE.replace(chains=4, draws=400)
    start = estimate(bowl, at_bottom(), few)["trace"]
    split = {"a": jnp.full(4, 3.0), "b": jnp.full((2, 1), 3.0)}
    joined = estimate(lambda w: bowl({"w": jnp.concatenate([w["a"], w["b"][:, 0]])}), split, few)
    np.testing.assert_allclose(joined["trace"], start, rtol=1e-4)
    moved = estimate(lambda w: 0.5 * jnp.sum(EIGS * w**2), jnp.zeros(6), few)
    np.testing.assert_allclose(moved["trace"], start, rtol=1e-2)  # 7 + … loses three digits in float32
    scaled = estimate(lambda w: 4 * bowl(w), at_bottom(), few.replace(nbeta=25.0))
    np.testing.assert_allclose(scaled["trace"], start, rtol=1e-4)


def test_rotation_changes_nothing_but_the_noise():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    turned = estimate(lambda w: 0.5 * jnp.sum(EIGS * (rotation @ w) ** 2), jnp.zeros(6), COARSE)
    assert agrees(turned, quadratic(EIGS, 100.0, 1.0, 0.02))


def test_double_precision_is_kept():
    few = COARSE.replace(chains=2, draws=20, burn_in=0)
    found = exact(
        lambda: local_learning_coefficient(bowl, {"w": jnp.full(6, 3.0, jnp.float64)}, jax.random.key(0), few)
    )
    assert found["trace"].dtype == np.float64


def test_too_large_a_step_is_seen():
    found = estimate(bowl, at_bottom(), COARSE.replace(eps=0.1, chains=4))  # εh = 10 > 4
    assert found["divergent"] == 1 and np.isnan(found["llc"])
    bounded = estimate(lambda w: jnp.sin(w).sum() ** 2, jnp.zeros(2), SGLD(1.0, 1.0, 9.0, chains=3, draws=200))
    assert bounded["divergent"] == 1  # the loss stays finite, the parameters do not


def test_as_an_analyzer_over_runs_and_points():
    """Points off the minimum too: the posterior's mean lies at γ/h of the way out, and λ̂ may be negative."""
    nbeta, gamma, eps = 10.0, 1.0, 0.01
    a, out = np.array([1.0, 4.0], np.float32), np.array([0.0, 0.1, 0.5], np.float32)  # [R], [T]
    sampler = SGLD(nbeta, gamma, eps, chains=64, burn_in=1000, draws=2000)
    measure = analyzer(sampler, lambda params, run: 0.5 * run.data["a"] * jnp.sum(params["w"] ** 2))
    params = {"w": np.broadcast_to(out[:, None], (2, 3, 2)).astype(np.float32)}
    found = analyze(measure, params, Run(config=None, data={"a": a}))
    assert found["llc"].shape == (2, 3) and found["chains"].shape == (2, 3, 64) and not found["divergent"].any()
    h = nbeta * a[:, None] + gamma
    from_the_mean = nbeta * a[:, None] / 2 * 2 * out**2 * ((gamma / h) ** 2 - 1)
    expected = quadratic(np.stack([a, a], 1), nbeta, gamma, eps)[:, None] + from_the_mean
    assert (expected < 0).any() and (expected > 0.8).any()
    assert (abs(found["llc"] - expected) < 4 * found["standard_error"]).all()
    assert (found["standard_error"] < 0.03).all()


def test_the_default_analyzer_takes_the_batches_of_the_task():
    class Line(struct.PyTreeNode):
        def loss(self, apply, params, data, key):
            return jnp.mean(apply(params, data["x"] + jax.random.normal(key, (8,))) ** 2)

    class Slope(struct.PyTreeNode):
        def apply(self, params, x, *, full):
            assert not full
            return params["w"] * x

    run = Run(config=Config(task=Line(), net=Slope(), optimizer=None), data={"x": jnp.zeros((1, 1))})
    measure = analyzer(SGLD(50.0, 0.0, 0.005, chains=64, burn_in=500, draws=2000))
    found = analyze(measure, {"w": np.zeros((1, 1))}, run)
    # L_B = s_B w² with E[s_B] = 1, E[s_B²] = 5/4: w ← (1 − ε nβ s_B) w + √ε ξ, hence nβ E[w²] = 1/(2 − 5/4 ε nβ)
    assert agrees({name: value.item() for name, value in found.items() if value.size == 1}, 1 / (2 - 1.25 * 0.005 * 50))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"nbeta": 0.0}, "sampler.nbeta is 0.0: it must be a finite number, above 0."),
        ({"nbeta": np.nan}, "sampler.nbeta is nan"),
        ({"gamma": -1.0}, "sampler.gamma is -1.0: it must be a finite number, at least 0."),
        ({"eps": np.inf}, "sampler.eps is inf"),
        ({"chains": 0}, "sampler.chains is 0: it must be at least 1."),
        ({"burn_in": -1}, "sampler.burn_in is -1"),
        ({"batches": 1}, "sampler.batches is 1: it must be at least 2."),
        ({"draws": 105}, "sampler.draws is 105: it must be a multiple of batches, 10."),
    ],
)
def test_a_sampler_out_of_range(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        estimate(bowl, at_bottom(), COARSE.replace(**change))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: estimate(bowl, {}, COARSE), "params has no arrays"),
        (lambda: estimate(bowl, {"w": jnp.arange(6)}, COARSE), r"params\['w'\] is int32: it must be of floats"),
        (
            lambda: estimate(lambda: 0.0, at_bottom(), COARSE),
            r"takes 0 arguments: it must take \(params\) or \(params, key\)",
        ),
        (lambda: analyzer(COARSE, lambda a: 0.0), r"takes 1 arguments: it must take \(params, run\)"),
        (lambda: quadratic([-1.0], 1.0, 1.0), "each at least 0"),
        (
            lambda: quadratic(1.0, 1.0, 1.0),
            r"^eigs has shape \(\) and dtype float64, it must be real numbers \[\*batch, d\]$",
        ),
        (lambda: quadratic([1.0], 1.0, -1.0), "gamma is -1.0"),
        (lambda: quadratic([1.0], 100.0, 0.0, 0.05), "eps is 0.05: it must be below .* = 0.04, or SGLD diverges"),
        (lambda: normal_crossing([0, 0]), "not all 0"),
        (lambda: normal_crossing([0.5]), "whole numbers"),
        (lambda: reduced_rank_regression(2, 3, 4, 3), "r is 3 with m, n, h = 2, 3, 4"),
        (lambda: watanabe_nbeta(1), "n is 1"),
    ],
)
def test_bad_input(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_watanabe_nbeta():
    assert watanabe_nbeta(1000) == pytest.approx(1000 / 6.907755278982137)
