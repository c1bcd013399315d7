"""Mixtures of finitely many chains: their exact posteriors by brute force, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.tasks import ChainMixture
from toylab.tasks.mixture import SOLUTIONS, posteriors, solutions

TASK = ChainMixture(k=3, n_ctx=6, room=5, n_chains=3, n_eval=64, batch_size=32)


@pytest.fixture(scope="module")
def data():
    return jax.jit(TASK.data)(jax.random.key(0))


def test_only_the_chains_in_use_have_weight(data):
    mixture = data["mixture"]
    assert mixture["chains"].shape == (5, 3, 3)
    np.testing.assert_allclose(mixture["weights"].sum(), 1, rtol=1e-6)
    np.testing.assert_array_equal(mixture["weights"] > 0, [True] * 3 + [False] * 2)
    np.testing.assert_allclose(
        jnp.einsum("ni,nij->nj", mixture["stationary"], mixture["chains"]), mixture["stationary"], atol=1e-6
    )


def test_more_chains_of_a_seed_hold_the_fewer():
    few, many = (TASK.replace(n_chains=n).mixture(jax.random.key(3)) for n in (2, 5))
    np.testing.assert_array_equal(few["chains"], many["chains"])
    ratio = few["weights"][:2] / many["weights"][:2]
    np.testing.assert_allclose(ratio[0], ratio[1], rtol=1e-6)


def test_retrieval_is_bayes_over_the_chains(data):
    """Against products over the sequence in float64, one chain after the other."""
    mixture = {name: np.asarray(value, float) for name, value in data["mixture"].items()}
    tokens = np.asarray(data["tokens"]["trained"])[:5, :-1]
    found = {name: np.exp(value[:5]) for name, value in data["solutions"]["trained"].items()}
    for row, (sequence, t) in enumerate((s, t) for s in range(5) for t in range(6)):
        seen = tokens[sequence, : t + 1]
        law, chains, weights = mixture["stationary"], mixture["chains"], mixture["weights"]
        pairs = weights * law[:, seen[0]] * np.prod(chains[:, seen[:-1], seen[1:]], axis=1)
        single = weights * np.prod(law[:, seen], axis=1)
        bi, uni = pairs / pairs.sum() @ chains[:, seen[-1]], single / single.sum() @ law
        np.testing.assert_allclose(found["bi_retrieval"][sequence, t], bi, rtol=2e-4, err_msg=str(row))
        np.testing.assert_allclose(found["uni_retrieval"][sequence, t], uni, rtol=2e-4, err_msg=str(row))


@pytest.mark.slow
def test_a_long_sequence_gives_its_chain_away():
    task = TASK.replace(n_ctx=400)
    mixture = task.mixture(jax.random.key(1))
    tokens, which = task.sample_with_chains(jax.random.key(2), 32, mixture)
    assert len(np.unique(which)) > 1 and which.max() < 3
    _, by_pairs = posteriors(tokens, mixture)
    assert (by_pairs[:, -1].argmax(axis=-1) == which).mean() > 0.95
    assert by_pairs[:, -1, 3:].max() == 0


@pytest.mark.slow
def test_the_exact_predictor_of_the_mixture_has_the_lowest_loss(data):
    """On trained chains nothing beats it; on new ones inference does, which is no use to trained ones."""
    task = TASK.replace(n_ctx=60, n_eval=256)
    losses = jax.jit(task.data)(jax.random.key(0))["losses"]
    assert min(losses["trained"], key=losses["trained"].get) == "bi_retrieval"
    assert min(losses["new"], key=losses["new"].get) == "bi_inference"
    assert set(losses["new"]) == set(SOLUTIONS)


def test_a_model_that_is_a_solution_has_no_distance_to_it(data):
    """measure on a network that says exactly what bigram inference says."""

    def apply(params, tokens, patch=None, *, full=False):
        return solutions(tokens, data["mixture"])["bi_inference"], {}

    found = jax.jit(lambda data: TASK.measure(apply, {}, data))(data)
    for name in ("trained", "new"):
        assert abs(found[f"kl_{name}_bi_inference"]) < 1e-6
        assert all(found[f"kl_{name}_{other}"] > 1e-4 for other in SOLUTIONS if other != "bi_inference")
        np.testing.assert_allclose(found[f"{name}_loss"], data["losses"][name]["bi_inference"], rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_chains": 6}, r"task\.n_chains is 6: task\.room has place for 5"),
        ({"k": 1}, r"task\.k is 1: a chain has at least 2 symbols"),
        ({"n_eval": 0}, r"task\.n_eval is 0"),
        ({"chains": np.ones((5, 3, 3))}, r"task\.chains has a row whose sum is off by 2"),
        ({"chains": np.ones((2, 3, 3))}, r"task\.chains has shape \(2, 3, 3\)"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        TASK.replace(**given).check()
