"""Attention on pairs of items and labels: patterns with known answers, what is refused."""

import numpy as np
import pytest

from toylab.analysis.attention.pairs import of_another, pair_attention

B, H, N = 3, 2, 4
P = 2 * N + 1
SUPPORT = np.array([[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], bool)


def even():
    """Every query attends evenly to what it sees."""
    A = np.tril(np.ones((P, P)))
    return np.broadcast_to(A / A.sum(axis=1, keepdims=True), (B, H, P, P)).copy()


def test_even_attention_gives_its_shares():
    found = pair_attention(even(), SUPPORT)
    assert {name: value.shape for name, value in found.items()} == dict.fromkeys(found, (H,))
    np.testing.assert_allclose(found["own"], 1 / 9)
    np.testing.assert_allclose(found["labels"], 4 / 9)
    np.testing.assert_allclose(found["item_label"], np.mean([1 / (2 * n + 2) for n in range(N)]))
    np.testing.assert_allclose(found["target"], 1.5 / 9)  # 2 and 1 pairs, of the two sequences that have some


def test_an_induction_head_attends_to_items_first_and_then_to_the_labels_of_the_class():
    A = np.zeros((2, B, H, P, P))  # layers
    A[0, :, :, range(1, P, 2), range(0, P - 1, 2)] = 1
    A[0, :, :, range(0, P, 2), range(0, P, 2)] = 1
    A[1, 0, :, -1, [1, 5]], A[1, 1, :, -1, 7], A[1, 2, :, -1, -1] = 0.5, 1, 1
    found = pair_attention(A, SUPPORT)
    np.testing.assert_allclose(found["item_label"], [[1] * H, [0] * H])
    np.testing.assert_allclose(found["target"], [[0] * H, [1] * H])
    np.testing.assert_allclose(found["labels"], [[0] * H, [2 / 3] * H], rtol=1e-6)
    np.testing.assert_allclose(found["own"], [[1] * H, [1 / 3] * H], rtol=1e-6)


def test_heads_are_told_apart():
    A = even()
    A[:, 1] = np.eye(P)
    found = pair_attention(A, SUPPORT)
    np.testing.assert_allclose([found["own"][1], found["labels"][1], found["target"][1]], [1, 0, 0])
    assert found["own"][0] < 0.2


def test_without_any_support_there_is_no_target():
    assert np.isnan(pair_attention(even(), np.zeros((B, N), bool))["target"]).all()


def test_items_of_another_sequence_leave_labels_positions_and_the_item_asked_for():
    x = np.random.default_rng(0).normal(size=(B, P, 5)).astype(np.float32)
    found = np.asarray(of_another(x, 2))
    np.testing.assert_array_equal(found[:, 1::2], x[:, 1::2])
    np.testing.assert_array_equal(found[:, -1], x[:, -1])
    np.testing.assert_array_equal(found[..., :2], x[..., :2])
    np.testing.assert_array_equal(found[[1, 2, 0], :-1:2, 2:], x[:, :-1:2, 2:])


def test_a_pattern_of_another_length_is_refused():
    wanted = (
        r"^support has shape \(3, 3\) and dtype bool, it must be booleans \[B, \(P-1\)/2\] with B = 3 and P = {} as in"
    )
    with pytest.raises(ValueError, match=wanted.format(9)):
        pair_attention(even(), np.zeros((B, 3), bool))
    with pytest.raises(ValueError, match=wanted.format(8)):
        pair_attention(even()[..., 1:, 1:], np.zeros((B, 3), bool))
