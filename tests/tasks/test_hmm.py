"""Hidden Markov models: named processes, their exact limits against reference data and identities, samples, refusals."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab import configs
from toylab.base import Config
from toylab.models import Net, Transformer
from toylab.optim import AdamW
from toylab.tasks import hmm
from toylab.tasks.hmm import HiddenMarkov

PROCESSES = {
    "mess3_x005_a085": hmm.mess3(0.05, 0.85),
    "rrxor": hmm.rrxor(),
    "z1r": hmm.z1r(),
    "golden_mean": hmm.golden_mean(),
}
PASTS = {"mess3_x005_a085": 9, "rrxor": 40, "z1r": 30, "golden_mean": 30}  # 3^8 beliefs of Mess3 take no time
SKEW = np.array([[[0.2, 0.1], [0.0, 0.3]], [[0.6, 0.1], [0.7, 0.0]]])  # a process of no symmetry


@pytest.mark.parametrize("name", PROCESSES)
def test_limits_are_those_of_the_reference(name, reference):
    known = json.loads((reference / "attention" / "limits.json").read_text())[name]
    T, n = PROCESSES[name], PASTS[name]
    assert np.array_equal(T > 0, np.load(reference / "attention" / "limits.npz")[f"{name}_T"] > 0)
    np.testing.assert_allclose(T, np.load(reference / "attention" / "limits.npz")[f"{name}_T"], atol=1e-15)
    np.testing.assert_allclose(hmm.stationary(T), known["stationary"], atol=1e-12)
    np.testing.assert_allclose(hmm.myopic_entropies(T, n), known["myopic_nats"][:n], atol=1e-9)
    low, high = hmm.entropy_rate_bounds(T, n)
    assert low <= known.get("rate_exact", known.get("rate_upper")) + 1e-12 <= high + 1e-11
    if "rate_exact" in known:
        assert abs(low - known["rate_exact"]) < 1e-9
        assert len(hmm.distinct_beliefs(T, n)) == known["distinct_beliefs"]
        assert abs(hmm.mean_limit(T, 10) - known["mean_pred_1to10"]) < 1e-9


def test_the_rate_of_the_even_process_is_that_of_its_states():
    low, high = hmm.entropy_rate_bounds(hmm.even_process(), 24)
    assert abs(low - 2 / 3 * np.log(2)) < 1e-12 and 0 < high - low < 2e-3  # unifilar, though no past shows the state


def test_an_even_process_has_runs_of_even_length():
    symbols = "".join(
        map(str, np.asarray(HiddenMarkov(hmm.even_process(), n_ctx=1000).sample(jax.random.key(0), 1)[0]))
    )
    assert "11" in symbols and all(len(run) % 2 == 0 for run in symbols.strip("1").split("0"))


def brute_force(T, length):
    """sequences [N, length], their probabilities [N] and the laws over states after them [N, states], by products."""
    tokens = hmm.every_sequence(len(T), length)
    law = np.repeat(hmm.stationary(T)[None], len(tokens), axis=0)
    for t in range(length):
        law = np.stack([state @ T[x] for state, x in zip(law, tokens[:, t], strict=True)])
    return tokens, law.sum(axis=1), law


def test_entropies_by_merging_are_those_by_enumeration():
    block = [0.0]
    for length in range(1, 6):
        p = brute_force(SKEW, length)[1]
        block.append(-np.sum(p * np.log(p, where=p > 0, out=np.zeros_like(p))))
    np.testing.assert_allclose(hmm.myopic_entropies(SKEW, 5), np.diff(block), atol=1e-12)
    assert abs(hmm.unigram_loss(SKEW) - block[1]) < 1e-12
    assert abs(hmm.bigram_loss(SKEW) - (block[2] - block[1])) < 1e-12


def test_beliefs_are_posteriors():
    tokens, p, law = brute_force(SKEW, 4)
    beliefs = hmm.belief_states(SKEW, tokens)
    assert beliefs.shape == (16, 5, 2)
    np.testing.assert_allclose(beliefs[:, 0], np.repeat(hmm.stationary(SKEW)[None], 16, axis=0))
    np.testing.assert_allclose(beliefs[:, -1], law / p[:, None], atol=1e-14)
    traced = jax.jit(hmm.belief_states)(jnp.asarray(SKEW, jnp.float32), jnp.asarray(tokens))
    np.testing.assert_allclose(traced, beliefs, atol=1e-6)
    longer = brute_force(SKEW, 5)[1].reshape(16, 2)  # lexicographic: the last symbol runs fastest
    np.testing.assert_allclose(hmm.next_symbol(SKEW, beliefs[:, -1]), longer / p[:, None], atol=1e-14)


def test_an_impossible_sequence_has_no_belief():
    beliefs = hmm.belief_states(hmm.golden_mean(), np.array([[0, 1, 1, 0]]))[0]
    np.testing.assert_allclose(beliefs.sum(axis=1), [1, 1, 1, 0, 0])


def test_distinct_beliefs_start_with_the_prior():
    beliefs = hmm.distinct_beliefs(hmm.z1r(), 5)
    np.testing.assert_allclose(beliefs[0], [1 / 3] * 3)
    np.testing.assert_allclose(beliefs.sum(axis=1), 1)
    assert len(beliefs) == 7


def test_samples_have_the_laws_of_the_process():
    n, task = 40_000, HiddenMarkov(SKEW, n_ctx=2)
    tokens = np.asarray(jax.jit(task.sample, static_argnums=1)(jax.random.key(1), n))
    assert tokens.shape == (n, 3) and tokens.dtype == np.int32
    share = np.bincount(tokens @ [4, 2, 1], minlength=8) / n
    p = brute_force(SKEW, 3)[1]
    assert np.all(np.abs(share - p) < 5 * np.sqrt(p * (1 - p) / n))


def test_data_are_every_sequence_with_its_probability_and_the_optimal_prediction_has_no_divergence():
    task = HiddenMarkov(hmm.rrxor(), n_ctx=4).check()
    data = task.data(jax.random.key(0))
    assert data["tokens"].shape == (16, 4) and len(np.unique(data["tokens"], axis=0)) == 16
    np.testing.assert_allclose(data["weight"], brute_force(hmm.rrxor(), 4)[1], atol=1e-7)
    np.testing.assert_allclose(hmm.probability(hmm.rrxor(), np.asarray(data["tokens"])), data["weight"], atol=1e-7)
    loss, kl = task.losses(jnp.log(data["next"] + 1e-30), data)
    np.testing.assert_allclose(kl, 0, atol=1e-6)
    np.testing.assert_allclose(loss, hmm.myopic_entropies(hmm.rrxor(), 5)[1:], atol=1e-6)
    uniform = task.measure(lambda params, x: (jnp.zeros((*x.shape, 2)), {}), {}, data)
    np.testing.assert_allclose(uniform["loss"], np.log(2), rtol=1e-6)
    np.testing.assert_allclose(uniform["kl"], np.log(2) - hmm.mean_limit(hmm.rrxor(), 4), rtol=1e-5)


def test_a_sample_stands_for_what_is_too_much_to_enumerate():
    task = HiddenMarkov(SKEW, n_ctx=18, n_eval=50).check()
    data = task.data(jax.random.key(0))
    assert data["tokens"].shape == (50, 18) and np.isclose(data["weight"].sum(), 1)
    with pytest.raises(ValueError, match=r"task\.n_eval is 0: the 2\^18 sequences"):
        task.replace(n_eval=0).check()


def unnormalised(T):
    return T * np.array([1, 0.9])[:, None]


@pytest.mark.parametrize(
    ("T", "message"),
    [
        (
            unnormalised(SKEW),
            r"task\.T has a row of state 1 that sums to 0\.9 over symbols and states to: it must be 1\.",
        ),
        (SKEW - 1, r"task\.T has an entry of -1\.0: probabilities must be at least 0\."),
        (np.ones((2, 3)), r"task\.T has shape \(2, 3\): it must be \[symbols, states from, states to\]\."),
        (np.eye(2)[None], r"task\.T has several sets of states that are never left"),
        (np.full((1, 2, 2), np.nan), r"task\.T has an entry of nan"),
    ],
)
def test_a_wrong_tensor_is_refused_in_one_sentence(T, message):
    with pytest.raises(ValueError, match=message):
        HiddenMarkov(T, n_ctx=3).check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_vocab": 4}, r"net\.d_vocab is 4: it must be the 2 symbols of task\.T\."),
        ({"n_ctx": 2}, r"net\.n_ctx is 2: it must be at least task\.n_ctx = 3\."),
        ({"readout": "last"}, r"net\.readout is 'last': every position is predicted, so it must be 'all'\."),
        ({"causal": False}, r"net\.causal is false"),
    ],
)
def test_a_net_that_does_not_fit_is_refused(change, message):
    sizes = {"d_vocab": 2, "d_vocab_out": 2, "n_ctx": 3, "d_model": 4, "n_heads": 1, "readout": "all"} | change
    config = Config(HiddenMarkov(SKEW, n_ctx=3), Net.of(Transformer, **sizes), AdamW())
    with pytest.raises(ValueError, match=message):
        configs.check(config)


def test_other_nonsense_is_refused():
    with pytest.raises(ValueError, match="x must lie in"):
        hmm.mess3(0.7, 0.6)
    with pytest.raises(ValueError, match=r"golden_mean has p = 1\.5"):
        hmm.golden_mean(1.5)
    with pytest.raises(ValueError, match="tokens has 2: T has 2 symbols"):
        hmm.belief_states(SKEW, np.array([[0, 2]]))
    with pytest.raises(ValueError, match=r"task\.batch_size is 0"):
        HiddenMarkov(SKEW, batch_size=0).check()
