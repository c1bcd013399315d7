"""In-context Markov chains: samples against their chains, predictors against counting, limits against exact values."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.models import Net, Transformer
from toylab.tasks import markov, predictors
from toylab.tasks.markov import MarkovChains

KEY = jax.random.key(1)
CHAIN = np.array([[0.0, 0.75, 0.25], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
QUICK = {"xla_backend_optimization_level": 0}  # halves the time to compile
PI = np.array([4, 6, 1]) / 11  # by hand: π P = π


@pytest.fixture(scope="module")
def walks():
    """20,000 sequences of CHAIN from its stationary law."""
    task = MarkovChains(k=3, n_ctx=5, transition=jnp.asarray(CHAIN)).check()
    return np.asarray(jax.jit(lambda key: task.sample(key, 20_000), compiler_options=QUICK)(KEY))


def test_a_fixed_chain_is_followed_from_its_stationary_law(walks):
    n = len(walks)
    np.testing.assert_allclose(markov.stationary(CHAIN), PI, atol=1e-15)
    assert walks.shape == (n, 6) and walks.dtype == np.int32
    for t in range(6):
        np.testing.assert_allclose(np.bincount(walks[:, t], minlength=3) / n, PI, atol=5 * 0.5 / n**0.5)
    pairs = np.zeros((3, 3))
    np.add.at(pairs, (walks[:, :-1].ravel(), walks[:, 1:].ravel()), 1)
    assert (pairs[CHAIN == 0] == 0).all()
    np.testing.assert_allclose(pairs / pairs.sum(axis=1, keepdims=True), CHAIN, atol=0.02)


def test_the_first_token_is_uniform_or_follows_each_chains_own_law():
    task = MarkovChains(k=3, n_ctx=1, first="uniform", n_eval=40_000).check()
    for first in ("uniform", "stationary"):
        found = jax.tree.map(np.asarray, jax.jit(task.replace(first=first).data, compiler_options=QUICK)(KEY))
        law = markov.stationary(found["transition"])
        np.testing.assert_allclose(law.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(np.einsum("ni,nij->nj", law, found["transition"]), law, atol=1e-5)
        own = np.take_along_axis(law, found["tokens"][:, :1], axis=1).mean()
        expected = 1 / 3 if first == "uniform" else (law**2).sum(axis=1).mean()
        assert own == pytest.approx(expected, abs=5 * 0.3 / 200)
        assert abs(np.bincount(found["tokens"][:, 0]) / 40_000 - 1 / 3).max() < 5 * 0.5 / 200


@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_rows_have_the_moments_of_their_dirichlet_law(alpha):
    rows = np.asarray(MarkovChains(k=3, alpha=alpha).chains(KEY, 10_000)).reshape(-1, 3)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows.mean(axis=0), 1 / 3, atol=0.01)
    variance = (1 / 3) * (2 / 3) / (3 * alpha + 1)
    np.testing.assert_allclose(rows.var(axis=0), variance, rtol=0.05)
    entropy = markov.row_entropies(rows).mean()
    assert entropy == pytest.approx(markov.mean_row_entropy(3, alpha), abs=0.01)


def test_doubly_stochastic_chains_have_a_uniform_stationary_law():
    task = MarkovChains(k=3, doubly_stochastic=True).check()
    chains = np.asarray(task.chains(KEY, 5000), float)
    np.testing.assert_allclose(chains.sum(axis=2), 1, atol=1e-5)
    off = abs(chains.sum(axis=1) - 1).max(axis=1)
    assert np.quantile(off, 0.99) < 1e-3 and off.max() < 0.05 and (chains > 0).all()
    np.testing.assert_allclose(markov.stationary(chains[off < 1e-5]), 1 / 3, atol=1e-4)
    drawn = np.asarray(task.replace(doubly_stochastic=False).chains(KEY, 5000), float)
    ratios = chains / drawn  # Sinkhorn's scaling is a factor for each row times one for each column
    cross = ratios[:, 0, 0] * ratios[:, 1, 1] / (ratios[:, 0, 1] * ratios[:, 1, 0])
    np.testing.assert_allclose(cross, 1, rtol=1e-3)


def counted(sequence, k, alpha):
    """Unigram and bigram probabilities [T, k] by going through the sequence."""
    single, double = [], []
    for t in range(len(sequence)):
        seen = list(sequence[: t + 1])
        follow = [b for a, b in itertools.pairwise(seen) if a == seen[-1]]
        single.append([(seen.count(j) + alpha) / (len(seen) + k * alpha) for j in range(k)])
        double.append([(follow.count(j) + alpha) / (len(follow) + k * alpha) for j in range(k)])
    return np.array(single), np.array(double)


def test_predictors_are_what_counting_gives():
    tokens = np.random.default_rng(0).integers(0, 4, (5, 9))
    for alpha in (1.0, 0.5):
        unigram = np.exp(predictors.unigram(jnp.asarray(tokens), 4, alpha))
        bigram = np.exp(predictors.bigram(jnp.asarray(tokens), 4, alpha))
        for i, sequence in enumerate(tokens.tolist()):
            single, double = counted(sequence, 4, alpha)
            np.testing.assert_allclose(unigram[i], single, rtol=2e-6)
            np.testing.assert_allclose(bigram[i], double, rtol=2e-6)
    np.testing.assert_allclose(predictors.uniform(jnp.asarray(tokens), 4), -np.log(4), rtol=1e-6)


def test_divergence_is_zero_of_itself_and_the_gap_in_loss_of_another():
    p, q = np.log([[0.5, 0.3, 0.2]]), np.log([[0.2, 0.2, 0.6]])
    np.testing.assert_allclose(predictors.divergence(p, p), 0, atol=1e-7)
    np.testing.assert_allclose(predictors.divergence(p, q), np.sum(np.exp(p) * (p - q)), rtol=1e-5)


def test_with_a_uniform_first_token_the_bigram_predictor_is_bayes_and_its_limit_is_exact():
    """k = 2, α = 1, 4 tokens: P(string) = ½ Π_i n_i0! n_i1! / (n_i + 1)!, by integrating over the rows."""
    law = {}
    for string in itertools.product(range(2), repeat=5):
        n = np.zeros((2, 2), int)
        for a, b in itertools.pairwise(string):
            n[a, b] += 1
        each = [np.prod([float(np.prod(range(1, c + 1))) for c in row]) for row in n]
        law[string] = 0.5 * np.prod(each) / np.prod([float(np.prod(range(1, row.sum() + 2))) for row in n])
    assert sum(law.values()) == pytest.approx(1)
    bayes = np.zeros(4)
    for string, p in law.items():
        bayes -= p * np.log([counted(string[:4], 2, 1.0)[1][t, string[t + 1]] for t in range(4)])
    total = -sum(p * np.log(p) for p in law.values())  # chain rule: no predictor does better than this
    assert bayes.sum() + np.log(2) == pytest.approx(total)
    limits = MarkovChains(k=2, n_ctx=4, first="uniform").limits()
    assert (abs(limits["bigram"] - bayes) < 4 * limits["bigram_se"] + 1e-6).all()


@pytest.mark.parametrize(("k", "first"), [(2, "uniform"), (3, "stationary")])
def test_limits_are_those_of_the_reference(reference, k, first):
    """Within 4 standard errors of the difference of two samples."""
    name, curves = f"dirichlet_k{k}_{first}", np.load(reference / "attention" / "limits.npz")
    published = json.loads((reference / "attention" / "limits.json").read_text())[name]
    limits = MarkovChains(k=k, first=first).limits(8000)
    for ours, theirs in (("bigram", "bayes"), ("unigram", "unigram"), ("true", "true")):
        error = np.hypot(limits[f"{ours}_se"], curves[f"{name}_se"]) + 1e-6
        assert (abs(limits[ours] - curves[f"{name}_{theirs}"]) < 4 * error).all()
    for ours, theirs in (("bigram", "bigram_loss"), ("unigram", "unigram")):
        for n in (64, 100):
            error = np.hypot(limits[f"{ours}_mean_se"], published["max_se"])
            assert limits[ours][:n].mean() == pytest.approx(published[f"{theirs}_mean_T{n}"], abs=4 * error)
    assert limits["uniform"] == pytest.approx(published["uniform_loss"], abs=1e-6)
    assert markov.mean_row_entropy(k) == pytest.approx(published["exp_row_entropy_exact"], abs=1e-9)


def test_entropy_rates_average_to_the_quadrature_of_the_reference(reference):
    """k = 2: the mean over 0 < q < p < 1, doubled, with q = p r and nodes that lie dense at 0 and at 1."""
    published = json.loads((reference / "attention" / "limits.json").read_text())["dirichlet_k2_quadrature"]
    nodes, weights = np.polynomial.legendre.leggauss(60)
    u = (nodes + 1) / 2
    x, dx = u**4 * (35 - 84 * u + 70 * u**2 - 20 * u**3), 70 * u**3 * (1 - u) ** 3 * weights
    p, r = (grid.ravel() for grid in np.meshgrid(x, x))
    weight = 2 * p * np.outer(dx, dx).ravel()
    chains = np.stack([np.stack([1 - p, p], axis=1), np.stack([p * r, 1 - p * r], axis=1)], axis=1)
    law = markov.stationary(chains)
    assert weight @ markov.entropy_rate(chains) == pytest.approx(published["E_entropy_rate"], abs=1e-9)
    assert weight @ markov.row_entropies(law) == pytest.approx(published["E_H_stationary"], abs=1e-9)


def test_the_loss_of_a_fixed_chain_is_its_entropy_rate():
    task = MarkovChains(k=3, n_ctx=50, transition=CHAIN).check()
    rate = PI @ np.array([-0.75 * np.log(0.75) - 0.25 * np.log(0.25), np.log(2), 0])
    np.testing.assert_allclose(task.loss_by_position(), rate, atol=1e-12)
    assert markov.entropy_rate(CHAIN) == pytest.approx(rate)
    by_position = task.replace(first="uniform").loss_by_position()
    assert by_position[0] == pytest.approx(markov.row_entropies(CHAIN).mean())
    assert by_position[-1] == pytest.approx(rate, abs=1e-6)
    with pytest.raises(ValueError, match=r"task\.transition is missing"):
        MarkovChains().loss_by_position()


def test_a_model_that_is_a_strategy_measures_no_distance_from_it():
    task = MarkovChains(k=3, n_ctx=12, n_eval=50)
    found = jax.jit(task.data, compiler_options=QUICK)(KEY)

    def model(params, x, **_):
        return predictors.unigram(x, 3) + 7, {}

    measures = jax.jit(lambda found: task.measure(model, {}, found), compiler_options=QUICK)(found)
    assert float(measures["kl_unigram"]) == pytest.approx(0, abs=1e-6)
    assert float(measures["kl_bigram"]) > 0.01 and float(measures["kl_uniform"]) > 0.01
    inputs = found["tokens"][:, :-1]
    rows = np.asarray(found["transition"])[np.arange(50)[:, None], np.asarray(inputs)]
    by_hand = -np.mean(np.sum(rows * np.asarray(predictors.unigram(inputs, 3)), axis=-1))
    assert float(measures["loss"]) == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 1}, r"task\.k is 1: a chain has at least 2 symbols"),
        ({"n_ctx": 0}, r"task\.n_ctx is 0: it must be at least 1"),
        ({"first": "zero"}, r"task\.first is 'zero': it must be one of stationary, uniform"),
        ({"alpha": 0.0}, r"task\.alpha is 0\.0: it must be above 0"),
        (
            {"transition": CHAIN, "doubly_stochastic": True},
            r"task\.doubly_stochastic is true: it is of chains that are drawn",
        ),
        ({"transition": np.eye(2)}, r"task\.transition has shape \(2, 2\)"),
        (
            {"transition": CHAIN + np.eye(3) * 0.1},
            r"task\.transition has row \d with sum 1\.1: every row must sum to 1",
        ),
        ({"transition": CHAIN * np.nan}, r"task\.transition has nan: probabilities are at least 0"),
        ({"transition": np.array([[2.0, -1, 0], *CHAIN[1:]])}, r"task\.transition has -1\.0: probabilities"),
        ({"transition": np.eye(3)}, r"task\.transition has several stationary laws: the first token needs"),
    ],
)
def test_bad_chains_are_refused_with_one_sentence(change, message):
    with pytest.raises(ValueError, match=f"^{message}.*\\.$"):
        MarkovChains(**change).check()


def test_a_good_chain_passes_and_a_net_without_its_symbols_does_not():
    task = MarkovChains(transition=np.eye(3), first="uniform", n_ctx=8).check()
    net = Net.of(Transformer, d_vocab=3, d_vocab_out=3, n_ctx=8, readout="all")
    task.check_net(net)
    with pytest.raises(ValueError, match=r"net\.d_vocab_out is 2: the task has 3 tokens"):
        task.check_net(net.with_fields(d_vocab_out=2))
