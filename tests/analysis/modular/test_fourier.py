import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import HandNet, circuit, cosine_logits, exact, hand_run, mask_of, pizza_logits, sums
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from toylab.analysis.modular import fourier, progress

few = settings(max_examples=25, deadline=None)
moduli = st.integers(2, 14)
unit = st.floats(-1, 1, allow_subnormal=False)


@few
@given(st.integers(1, 40))
def test_the_basis_is_orthonormal(p):
    F = exact(fourier.basis, p)
    assert F.shape == (p, p) and F.dtype == np.float64
    np.testing.assert_allclose(F @ F.T, np.eye(p), atol=1e-12)
    np.testing.assert_allclose(F[0], p**-0.5)


def test_rows_are_cosine_then_sine_by_frequency():
    n = np.arange(7)
    rows = [np.full(7, 7**-0.5)]
    for k in (1, 2, 3):
        rows += [
            np.sqrt(2 / 7) * np.cos(2 * np.pi * k * n / 7),
            np.sqrt(2 / 7) * np.sin(2 * np.pi * k * n / 7),
        ]
    np.testing.assert_allclose(fourier.basis(7), rows, atol=1e-6)
    np.testing.assert_allclose(fourier.basis(6)[-1], (-1.0) ** np.arange(6) / 6**0.5, atol=1e-6)


@few
@given(moduli.flatmap(lambda p: arrays(np.float64, (3, p), elements=unit)), st.integers(0, 20))
def test_spectrum_parseval_shift_and_fft(x, shift):
    energy = exact(fourier.spectrum, x, axis=1)
    assert energy.shape == (x.shape[1] // 2 + 1,)
    np.testing.assert_allclose(energy.sum(), (x**2).sum(), atol=1e-10)
    np.testing.assert_allclose(exact(fourier.spectrum, np.roll(x, shift, 1), axis=1), energy, atol=1e-10)
    np.testing.assert_allclose(exact(fourier.spectrum, x.T), energy, atol=1e-10)
    power = np.abs(np.fft.rfft(x)) ** 2 / x.shape[1]
    twice = np.r_[1, np.full(len(energy) - 1, 2)]
    twice[-1] -= x.shape[1] % 2 == 0
    np.testing.assert_allclose(energy, power.sum(0) * twice, atol=1e-10)


def test_key_frequencies_are_shares_of_the_nonconstant_energy():
    assert fourier.key_frequencies(np.array([1e9, 3, 1, 0, 96])).tolist() == [False, True, False, False, True]
    assert fourier.key_frequencies(np.array([0, 3, 1, 96.0]), threshold=0.5).tolist() == [False] * 3 + [True]
    assert not fourier.key_frequencies(np.zeros(5)).any()


@pytest.mark.parametrize("p", [7, 8, 11])
def test_neurons_of_known_frequency(p):
    """cos(ka)cos(kb) is all in k, (cos ka + cos kb)² 1 to ¼ in k and 2k, dead and constant neurons are
    nowhere.
    """
    n = 2 * np.pi * np.arange(p) / p
    a, b = np.broadcast_arrays(n[:, None], n)
    both = [np.cos(k * a + 1) * np.cos(k * b) + 3 * np.sin(k * b) for k in range(1, p // 2 + 1)]
    acts = np.stack([*both, (np.cos(a) + np.cos(b)) ** 2, 0 * a, 0 * a + 0.1], axis=2)
    frequency, fraction = fourier.neuron_frequencies(acts)
    expected = [*range(1, p // 2 + 1), 1, 0, 0]
    assert frequency.tolist() == expected and jnp.issubdtype(frequency.dtype, jnp.integer)
    np.testing.assert_allclose(fraction, [1.0] * (p // 2) + [0.8, 0, 0], atol=1e-5)


@few
@given(st.data(), st.integers(2, 9))
def test_neuron_fractions_against_the_definition(data, p):
    acts = data.draw(arrays(np.float64, (p, p, 2), elements=unit))
    F = exact(fourier.basis, p)
    frequency, fraction = exact(fourier.neuron_frequencies, acts)
    moved = exact(fourier.neuron_frequencies, np.roll(7 - 3 * acts, (1, 2), (0, 1)))[1]
    centred = acts - acts.mean((0, 1))
    transform = np.einsum("abn,fa,gb->fgn", centred, F, F) ** 2
    blocks = [[0, 2 * k - 1, 2 * k][: 3 if 2 * k < p else 2] for k in range(1, p // 2 + 1)]
    shares = np.array([transform[np.ix_(rows, rows)].sum((0, 1)) for rows in blocks])
    total = (centred**2).sum((0, 1))
    live = total > 1e-12
    np.testing.assert_allclose(fraction[live], shares.max(0)[live] / total[live], atol=1e-9)
    np.testing.assert_allclose(moved[live], fraction[live], atol=1e-9)
    assert ((frequency >= 0) & (frequency <= p // 2) & (fraction >= 0) & (fraction <= 1 + 1e-9)).all()


@pytest.mark.parametrize(("p", "norms"), [(11, {2: 1, 5: 1}), (12, {2: 1, 6: 2})])
def test_cosine_logits_have_their_amplitudes(p, norms):
    """‖cos_k‖² is p³/2, and p³ at k = p/2."""
    amplitudes = {2: 3.0, max(norms): -0.5}
    cube = cosine_logits(p, amplitudes) + 7 * np.sin(2 * np.pi * np.arange(p) / p)
    expected = np.zeros(p // 2 + 1)
    for k, A in amplitudes.items():
        expected[k] = A * np.sqrt(norms[k] * p**3 / 2)
    np.testing.assert_allclose(exact(fourier.logit_coefficients, cube), expected, atol=1e-10)
    np.testing.assert_allclose(exact(fourier.logit_coefficients, cube + 2)[0], 2 * p**1.5, atol=1e-10)


@few
@given(st.data(), st.integers(2, 8))
def test_logit_coefficients_are_the_inner_product_with_unit_cosines(data, p):
    cube = data.draw(arrays(np.float64, (p, p, p), elements=unit))
    unit_cosines = [cosine_logits(p, {k: 1.0}) for k in range(p // 2 + 1)]
    expected = [(cube * c).sum() / np.linalg.norm(c) for c in unit_cosines]
    found = exact(fourier.logit_coefficients, cube)
    shifted = exact(fourier.logit_coefficients, np.roll(cube, (3, -1, 2), (0, 1, 2)))
    np.testing.assert_allclose(found, expected, atol=1e-10)
    np.testing.assert_allclose(shifted, expected, atol=1e-10)
    assert (found**2).sum() <= (cube**2).sum() + 1e-9


def test_fve_and_its_centrings():
    p, key = 11, mask_of(11, 2, 3)
    cube = cosine_logits(p, {2: 3.0, 3: 1.0, 5: 2.0})
    of_input = np.sqrt(2) * np.cos(2 * np.pi * np.arange(p) / p)[:, None, None]  # variance 1, which no softmax sees
    for logits, centring, expected in (
        (cube + 5, "input", 10 / 14),
        (cube + 5, "global", 10 / 14),
        (cube + of_input, "input", 10 / 14),
        (cube + of_input, "global", 5 / 8),
    ):
        np.testing.assert_allclose(exact(fourier.logit_fve, logits, key, centring), expected, atol=1e-10)
    np.testing.assert_allclose(exact(fourier.logit_fve, cube, mask_of(11, 0, 1)), 0, atol=1e-10)
    assert fourier.logit_fve(np.zeros((5, 5, 5)), mask_of(5, 1)) == 0


@pytest.mark.slow
def test_dtype_jit_and_vmap():
    p = 7
    x = np.random.default_rng(0).normal(size=(3, p, p, p))
    key = np.stack([mask_of(p, k) for k in (1, 2, 3)])
    with jax.enable_x64():
        for dtype in (jnp.float32, jnp.float64):
            cubes = jnp.asarray(x, dtype)
            for fn in (
                fourier.logit_fve,
                lambda c, k: fourier.logit_coefficients(c) * k,
                lambda c, k: fourier.neuron_frequencies(c)[1],
                lambda c, k: fourier.spectrum(c, 1),
            ):
                each = [fn(c, k) for c, k in zip(cubes, key, strict=True)]
                assert each[0].dtype == dtype
                np.testing.assert_allclose(jax.jit(jax.vmap(fn))(cubes, key), each, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fourier.basis(0), "p is 0"),
        (lambda: fourier.spectrum(3.0), "x is a scalar"),
        (lambda: fourier.key_frequencies(np.ones((2, 3))), "energy has shape"),
        (lambda: fourier.neuron_frequencies(np.ones((5, 4, 2))), r"acts has shape \(5, 4, 2\).*\[p, p, n\]"),
        (
            lambda: fourier.logit_coefficients(np.ones((5, 5, 6))),
            r"logits has shape \(5, 5, 6\).*\[p, p, p\]",
        ),
        (
            lambda: fourier.logit_fve(np.ones((5, 5, 5)), [1, 2]),
            r"dtype int64, it must be booleans \[p//2\+1\] with p = 5 as in logits",
        ),
        (lambda: fourier.logit_fve(np.ones((5, 5, 5)), mask_of(7, 1)), r"key has shape \(4,\) and dtype bool"),
        (
            lambda: fourier.logit_fve(np.ones((5, 5, 5)), mask_of(5, 1), "row"),
            'centring is .row., it must be "input"',
        ),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("all_positions", [False, True])
def test_analyzers_read_the_handmade_circuit(all_positions):
    p, amplitudes = 13, {2: 6.0, 5: 3.0}
    run = hand_run(p, HandNet(all_positions))
    params = circuit(p, amplitudes)
    cube = exact(fourier.logit_cube, params, run)
    found, neurons = exact(fourier.logits, params, run), exact(fourier.neurons, params, run)
    embedding = exact(fourier.embedding, params, run)["spectrum"]
    neuron_logit = exact(fourier.neuron_logit, params, run)["spectrum"]
    np.testing.assert_allclose(cube, cosine_logits(p, amplitudes), atol=1e-10)
    assert np.flatnonzero(found["key"]).tolist() == [2, 5]
    np.testing.assert_allclose([found["fve"], found["fve_global"]], 1, atol=1e-10)
    assert neurons["frequency"].tolist() == [2] * 25 + [5] * 25
    np.testing.assert_allclose(neurons["fraction"], 0.8, atol=1e-10)
    np.testing.assert_allclose(embedding, p * mask_of(p, 2, 5), atol=1e-10)
    shares = mask_of(p, 2) * 0.8 + mask_of(p, 5) * 0.2
    np.testing.assert_allclose(neuron_logit / neuron_logit.sum(), shares, atol=1e-10)


class GivenNeurons:
    """A net whose neurons are what it was given, [p², n], whatever its params."""

    def __init__(self, acts):
        self.acts = acts

    def apply(self, params, x, patch=None, *, full=True):
        return self.acts, {"mlp_post": self.acts[None]}


def test_the_census_counts_single_frequency_neurons_and_weighs_them_by_variance():
    """2 cos 3a (variance 2) and cos 1b (½) are single-frequency; cos 1a + cos 2a (1) is half in each."""
    p = 11
    angle = 2 * np.pi * np.arange(p) / p
    a, b = np.broadcast_arrays(angle[:, None], angle)
    acts = np.stack([2 * np.cos(3 * a), np.cos(b), np.cos(a) + np.cos(2 * a)], axis=2).reshape(p * p, 3)
    found = exact(fourier.neuron_census, {}, hand_run(p, GivenNeurons(acts)))
    np.testing.assert_allclose(found["single"], 2 / 3, atol=1e-12)
    np.testing.assert_allclose(found["single_by_variance"], 2.5 / 3.5, atol=1e-12)
    assert found["count"].tolist() == [0, 1, 0, 1, 0, 0]


def test_separate_embeddings_and_neurons_read_out_directly():
    """A one-hidden-layer network: W_E [2, d_vocab, d_model], W_U [d_mlp, C], no W_out."""
    p, run = 13, hand_run(13)
    whole = circuit(p, {2: 6.0, 5: 3.0})
    split = {"W_E": np.stack([whole["W_E"], 3 * whole["W_E"]]), "W_U": whole["W_out"][0] @ whole["W_U"]}
    spectrum = exact(fourier.embedding, split, run)["spectrum"]
    np.testing.assert_allclose(spectrum, 10 * exact(fourier.embedding, whole, run)["spectrum"], atol=1e-10)
    for analyzer in (fourier.neuron_logit, progress.ginis):
        for name, value in exact(analyzer, whole, run).items():
            np.testing.assert_allclose(exact(analyzer, split, run)[name], value, atol=1e-10)


def test_pizza_embeddings(reference):
    golden = json.loads((reference / "pizza" / "golden.json").read_text())["models"]
    for name, model in golden.items():
        params = np.load(reference / "pizza" / f"{name}.npz")
        W_E = params["embed.W_E"].T if "embed.W_E" in params else params["embed.weight"]
        energy = fourier.spectrum(W_E[:59])
        key = np.flatnonzero(fourier.key_frequencies(energy)).tolist()
        assert key == model["embed_dft_freqs_above_2pct"], name
        share = energy / energy[1:].sum()
        for k, expected in model["embed_dft_power_share"].items():
            np.testing.assert_allclose(share[int(k)], expected, atol=1e-5, err_msg=f"{name} {k}")


def test_pizza_logits(reference):
    """The variance of the mean profile over a + b − c has a cosine and a sine part: the first is ours."""
    golden = json.loads((reference / "pizza" / "golden.json").read_text())["models"]
    for name in ("p99zdpze5l", "l8k1hzciux", "p71frej8t7", "7r4zst7evs", "f5dh675z97"):
        cube, model, p = pizza_logits(reference / "pizza", name), golden[name], 59
        profile = np.zeros(p)
        np.add.at(profile, (sums(p)[:, :, None] - np.arange(p)) % p, cube / p)
        squares = exact(fourier.logit_coefficients, cube)[1:] ** 2
        fve = exact(fourier.logit_fve, cube, np.arange(p // 2 + 1) > 0, "global")
        sine = exact(fourier.basis, p)[2::2] @ profile
        profile_energy = exact(fourier.spectrum, profile)[1:]
        np.testing.assert_allclose(squares + sine**2, profile_energy, rtol=1e-10, atol=1e-10 * squares.max())
        explained = model["logit_var_explained_by_fn_of_a_plus_b_minus_c"]
        total = ((cube - cube.mean()) ** 2).sum()
        np.testing.assert_allclose(fve + (sine**2).sum() / total, explained, atol=2e-4)
        assert fve <= explained + 2e-4
        for k, share in model["logit_profile_freq_share"].items():
            np.testing.assert_allclose(profile_energy[int(k) - 1] / profile_energy.sum(), share, atol=2e-4)


def test_published_key_frequencies(reference):
    """The float32 run of Nanda et al. 2023: its ten largest of 57 frequencies are published, the rest is
    smaller.
    """
    published = json.loads((reference / "published_numbers.json").read_text())
    run = published["progress_measures"]["low_precision_mod_addition"]
    for values, power, key in (
        (run["cos_xyz_top10"], 2, run["key_freqs_repo_fn"]),
        (run["embed_freq_power_share_top10"], 1, run["embed_key_freqs_share_gt_2pct"]),
    ):
        energy = np.zeros(57)
        energy[[int(k) for k in values]] = np.array(list(values.values())) ** power
        assert np.flatnonzero(fourier.key_frequencies(energy)).tolist() == key
