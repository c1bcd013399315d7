import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import (
    circuit,
    cosine_logits,
    cosine_loss,
    exact,
    hand_run,
    mask_of,
    pizza_logits,
    sums,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from toylab.analysis.modular import fourier, progress
from toylab.losses import cross_entropy

few = settings(max_examples=20, deadline=None)
P = 7  # one modulus for most properties, so that they compile once
cubes = arrays(np.float64, (P, P, P + 1), elements=st.floats(-4, 4, allow_subnormal=False))
keys = arrays(bool, P // 2 + 1)


def directions(p: int, k: int) -> list[np.ndarray]:
    """Unit arrays [p, p] along cos k(a+b) and sin k(a+b), written with products of basis rows as the paper
    does.
    """
    F = exact(fourier.basis, p)
    if 2 * k == p:
        return [np.outer(F[-1], F[-1])]
    c, s = F[2 * k - 1], F[2 * k]
    return [(np.outer(c, c) - np.outer(s, s)) / 2**0.5, (np.outer(s, c) + np.outer(c, s)) / 2**0.5]


def projected(logits: np.ndarray, key: np.ndarray) -> np.ndarray:
    axes = [d for k in np.flatnonzero(key) if k for d in directions(len(logits), k)]
    return sum((d[:, :, None] * np.einsum("ab,abc->c", d, logits) for d in axes), np.zeros_like(logits))


@pytest.mark.parametrize("p", [5, 6, 7, 10])
def test_losses_by_their_definition(p):
    rng = np.random.default_rng(p)
    logits, labels, train = (
        rng.normal(size=(p, p, p + 1)) * 3,
        rng.integers(p, size=(p, p)),
        rng.random((p, p)) < 0.4,
    )
    key = mask_of(p, 0, 1, p // 2)
    part = projected(logits, key)
    ce = exact(cross_entropy, part + (logits - part).mean((0, 1)), labels)
    for mask, expected in ((None, ce.mean()), (train, ce[train].mean())):
        np.testing.assert_allclose(exact(progress.restricted_loss, logits, labels, key, mask), expected, rtol=1e-10)
    excluded = exact(progress.excluded_loss, logits, labels, key, train)
    for k in range(p // 2 + 1):
        if k in (1, p // 2):
            without = exact(cross_entropy, logits - projected(logits, mask_of(p, k)), labels)[train].mean()
            np.testing.assert_allclose(excluded["each"][k], without, rtol=1e-10)
        else:
            assert np.isnan(excluded["each"][k])
    np.testing.assert_allclose(excluded["all"], exact(cross_entropy, logits - part, labels)[train].mean(), rtol=1e-10)


def test_losses_of_cosine_logits_are_known():
    p, amplitudes = 11, {2: 5.0, 3: 3.0, 5: 2.0}
    cube, train = cosine_logits(p, amplitudes), sums(p) < 4
    seen_by_bias_only = cube + np.linspace(0, 3, p)
    key = mask_of(p, 2, 3)
    restricted = exact(progress.restricted_loss, cube, sums(p), key)
    np.testing.assert_allclose(restricted, cosine_loss(p, {2: 5.0, 3: 3.0}), rtol=1e-10)
    everything = exact(progress.restricted_loss, seen_by_bias_only, sums(p), mask_of(p, 2, 3, 5))
    np.testing.assert_allclose(everything, exact(cross_entropy, seen_by_bias_only, sums(p)).mean(), rtol=1e-10)
    excluded = exact(progress.excluded_loss, cube, sums(p), key, train)
    np.testing.assert_allclose(excluded["all"], cosine_loss(p, {5: 2.0}), rtol=1e-10)
    np.testing.assert_allclose(excluded["each"][2], cosine_loss(p, {3: 3.0, 5: 2.0}), rtol=1e-10)
    np.testing.assert_allclose(excluded["each"][3], cosine_loss(p, {2: 5.0, 5: 2.0}), rtol=1e-10)
    none_left = exact(progress.excluded_loss, cube, sums(p), mask_of(p, 2, 3, 5), train)["all"]
    np.testing.assert_allclose(none_left, np.log(p), rtol=1e-10)


@few
@given(cubes, keys, st.integers(0, P - 1), st.integers(0, P - 1))
def test_renaming_the_inputs_changes_nothing(logits, key, s, t):
    train = sums(P) % 2 == 0

    def moved(x):
        return np.roll(x, (s, t), (0, 1))

    def both(move):
        x, labels, mask = move(logits), move(sums(P)), move(train)
        excluded = exact(progress.excluded_loss, x, labels, key, mask)
        return [exact(progress.restricted_loss, x, labels, key, mask), excluded["all"], *excluded["each"]]

    np.testing.assert_allclose(both(moved), both(np.asarray), atol=1e-10)


@few
@given(cubes, keys)
def test_restricted_and_excluded_split_the_logits(logits, key):
    """What depends on a + b alone is all restricted to and all excluded; what has no such part stays
    untouched.
    """
    train, every, labels = sums(P) % 2 == 0, np.ones(P // 2 + 1, bool), sums(P)
    of_sum = projected(logits, every)
    rest = logits - projected(logits, key)

    def restricted(x, k):
        return exact(progress.restricted_loss, x, labels, k, train)

    def excluded(x, k):
        return exact(progress.excluded_loss, x, labels, k, train)["all"]

    def plain(x):
        return exact(cross_entropy, x, labels)[train].mean()

    np.testing.assert_allclose(restricted(of_sum, every), plain(of_sum), atol=1e-10)
    np.testing.assert_allclose(excluded(of_sum, every), np.log(P + 1), atol=1e-10)
    np.testing.assert_allclose(excluded(logits, key), plain(rest), atol=1e-10)
    np.testing.assert_allclose(excluded(rest, key), plain(rest), atol=1e-10)
    np.testing.assert_allclose(restricted(rest, key), plain(0 * rest + rest.mean((0, 1))), atol=1e-10)
    np.testing.assert_allclose(excluded(logits, mask_of(P)), plain(logits), atol=1e-10)


@pytest.mark.slow
def test_dtype_jit_and_vmap():
    rng = np.random.default_rng(1)
    keys = np.stack([mask_of(P, 1), mask_of(P, 2, 3)])

    def both(logits, key):
        excluded = progress.excluded_loss(logits, sums(P), key, sums(P) > 2)
        return jnp.stack([progress.restricted_loss(logits, sums(P), key), excluded["all"], *excluded["each"]])

    with jax.enable_x64():
        for dtype in (jnp.float32, jnp.float64):
            logits = jnp.asarray(rng.normal(size=(2, P, P, P)), dtype)
            each = np.stack([both(x, k) for x, k in zip(logits, keys, strict=True)])
            assert each.dtype == dtype
            np.testing.assert_allclose(jax.jit(jax.vmap(both))(logits, keys), each, rtol=1e-5)


def test_gini_of_known_arrays():
    assert progress.gini(np.zeros(4)) == 0
    np.testing.assert_allclose(progress.gini(np.full(5, -2.0)), 0, atol=1e-7)
    np.testing.assert_allclose(progress.gini(np.eye(8)[3]), 7 / 8)
    np.testing.assert_allclose(progress.gini(np.arange(1, 5)), 0.25)  # 1, 2, 3, 4
    assert progress.gini(np.ones(3, np.float32)).dtype == jnp.float32


@few
@given(arrays(np.float64, 6, elements=st.floats(-1, 1, allow_subnormal=False)), st.floats(0.1, 10))
def test_gini_is_the_mean_difference_over_twice_the_mean(x, factor):
    found = exact(progress.gini, x)
    assert -1e-12 <= found <= 1 - 1 / 6 + 1e-12
    if np.abs(x).mean() > 1e-9:
        size = np.abs(x)
        by_definition = np.abs(size[:, None] - size).sum() / (2 * 36 * size.mean())
        np.testing.assert_allclose(found, by_definition, atol=1e-10)
        np.testing.assert_allclose(exact(progress.gini, -factor * x[::-1]), found, atol=1e-10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": np.ones((5, 4, 5))}, r"logits has shape \(5, 4, 5\)"),
        ({"labels": np.zeros(25, int)}, r"labels has shape \(25,\) .* \[p, p\] with p = 5 as in logits"),
        ({"labels": np.zeros((5, 5))}, r"labels .*float64, it must be integers \[p, p\] with p = 5"),
        ({"train_mask": np.ones((5, 5), int)}, "mask .*int64, it must be booleans"),
        ({"train_mask": np.ones((3, 5), bool)}, r"mask has shape \(3, 5\)"),
        ({"key": np.array([1, 2])}, "key .*int64, it must be booleans"),
    ],
)
def test_bad_input_is_one_sentence(change, message):
    good = {"logits": np.ones((5, 5, 5)), "labels": sums(5), "key": mask_of(5, 1), "train_mask": sums(5) > 2}
    with pytest.raises(ValueError, match=message):
        progress.excluded_loss(**(good | change))
    with pytest.raises(ValueError, match="x has shape"):
        progress.gini(np.ones((2, 2)))


def test_analyzers_read_the_handmade_circuit():
    p, amplitudes = 13, {2: 6.0, 5: 3.0}
    train = (sums(p) % 3 == 0) & (np.arange(p) > 0)
    run = hand_run(p, train=train, logits__key=mask_of(p, 2, 5))
    params = circuit(p, amplitudes)
    found = exact(progress.losses, params, run)
    whole = cosine_loss(p, amplitudes)
    for name in ("restricted", "restricted_train", "restricted_test"):
        np.testing.assert_allclose(found[name], whole, rtol=1e-9)
    np.testing.assert_allclose(found["excluded"], np.log(p), rtol=1e-9)
    expected = np.full(p // 2 + 1, np.nan)
    expected[2], expected[5] = cosine_loss(p, {5: 3.0}), cosine_loss(p, {2: 6.0})
    np.testing.assert_allclose(found["excluded_each"], expected, rtol=1e-9)
    ginis = exact(progress.ginis, params, run)
    np.testing.assert_allclose(ginis["W_E"], 1 - 4 / p, rtol=1e-9)  # four equal norms of p
    norms = np.array([2, 2, 1, 1])  # W_L: amplitudes 6 and 3
    by_definition = np.abs(np.subtract.outer(np.r_[norms, np.zeros(p - 4)], np.r_[norms, np.zeros(p - 4)])).sum()
    np.testing.assert_allclose(ginis["W_L"], by_definition / (2 * p * norms.sum()), rtol=1e-9)


@pytest.mark.slow
def test_pizza_models_rest_on_their_key_frequencies(reference):
    golden = json.loads((reference / "pizza" / "golden.json").read_text())["models"]
    p, train = 59, np.random.default_rng(0).random((59, 59)) < 0.8
    for name in ("p99zdpze5l", "l8k1hzciux", "p71frej8t7"):
        cube, labels = pizza_logits(reference / "pizza", name), sums(p)
        loss = exact(cross_entropy, cube, labels).mean()
        np.testing.assert_allclose(loss, golden[name]["ce_float64_all_pairs"], rtol=1e-3)
        key = exact(fourier.key_frequencies, exact(fourier.logit_coefficients, cube) ** 2)
        excluded = exact(progress.excluded_loss, cube, labels, key, train)
        assert exact(progress.restricted_loss, cube, labels, key) < loss  # the circuit is all there is
        assert excluded["all"] > np.log(p) and (excluded["each"][key] > 1e3 * loss).all()
        single = progress.excluded_loss(cube.astype(np.float32), labels, key, train)
        np.testing.assert_allclose(single["each"], excluded["each"], rtol=1e-4)
