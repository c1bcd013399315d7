"""Subcircuits of induction heads: on patterns by hand, on the machine of test_exemplars.py, and the toy's published run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exemplar_machine import KEY, MACHINE, NET, SMALL
from handmade import exact

from toylab.analysis.attention import subcircuits

PUBLISHED = {"none": 860, "bc": 69}  # steps to a loss of 1e-3


@pytest.fixture(scope="module")
def sequences():
    data = jax.jit(SMALL.data)(KEY)
    batch = data["eval"]
    return data["vectors"][batch.tokens], batch.labels, batch.correct, 4 - batch.correct


def test_strength_is_attention_to_the_right_label_less_that_to_the_wrong():
    pattern = np.zeros((2, 2, 3, 5, 5))  # [layer, B, H, Q, P]
    pattern[1, 0, :, -1] = [[0, 1, 0, 0, 0], [0, 0.5, 0, 0.5, 0], [0.2, 0.1, 0.2, 0.4, 0.1]]
    pattern[1, 1, :, -1] = [[0, 0, 0, 1, 0], [0, 0, 0, 0.8, 0.2], [0, 0, 0, 1, 0]]
    pattern[1, :, :, 0] = 7  # another query
    strength = exact(subcircuits.induction_strength, pattern, np.array([1, 3]), np.array([3, 1]))
    np.testing.assert_allclose(strength, [[0, 0, 0], [1, 0.4, 0.35]], atol=1e-12)


def test_previous_token_attention_counts_the_queries_asked_for():
    pattern = np.zeros((1, 2, 5, 5))
    pattern[0, 0] = np.eye(5, k=-1)
    pattern[0, 1, [1, 3], [0, 2]] = 0.6, 0.2
    np.testing.assert_allclose(exact(subcircuits.previous_token_attention, pattern, (1, 3)), [1, 0.4])
    np.testing.assert_allclose(exact(subcircuits.previous_token_attention, pattern, range(1, 5)), [1, 0.2])
    with pytest.raises(ValueError, match=r"queries are \(0, 2\), they must be positions from 1"):
        subcircuits.previous_token_attention(jnp.asarray(pattern), (0, 2))


def test_the_one_induction_head_does_it_alone(sequences):
    x, labels, *_ = sequences
    solo = np.asarray(jax.jit(lambda p: subcircuits.solo_accuracy(NET.apply, p, x, labels))(MACHINE))
    chance = float(np.mean(np.asarray(labels) == 0))  # a network that puts nothing out says label 0
    np.testing.assert_allclose(solo, [chance, chance, 1], atol=1e-6)


def test_its_wire_leads_to_the_head_that_moves_tokens(sequences):
    x, _, *positions = sequences
    lost = np.asarray(jax.jit(lambda p: subcircuits.wiring(NET.apply, p, x, *positions))(MACHINE))
    expected = np.zeros((3, 3))
    first = np.mean(
        np.asarray(positions[0]) == 1
    )  # position 0 can only move itself, and so is read as often as its label
    expected[1, 2] = 0.5 * first + (1 - first)
    np.testing.assert_allclose(lost, expected, atol=1e-4)


def test_the_wire_is_one_of_patterns_not_of_values(sequences):
    x, labels, *_ = sequences
    heads = jnp.array([False, True, False])

    def accuracies(params):
        return [
            subcircuits.path_ablated_accuracy(NET.apply, params, x, labels, mask, keep)
            for mask, keep in (
                (heads, ()),
                (heads, ("v",)),
                (heads, ("pattern",)),
                (heads, ("pattern", "v")),
                (~heads, ()),
            )
        ]

    nothing, values, patterns, both, others = jax.jit(accuracies)(MACHINE)
    assert patterns == both == others == 1
    assert nothing == values < 0.6


def test_the_toy_is_the_published_run(reference):
    published = np.load(reference / "attention" / "singh_toy_rank1.npz")
    true, initial = subcircuits.rank_one_recipe(1)
    drawn = np.array([published[f"true_{name}"] for name in "abc"])
    np.testing.assert_allclose(true, drawn, rtol=1e-6)  # the same bits of chance, by another processor's erf⁻¹
    for name, step in PUBLISHED.items():
        losses = np.asarray(subcircuits.rank_one_losses(true, initial, jnp.array(subcircuits.CLAMPS[name])))
        np.testing.assert_allclose(losses, published[f"clamp_{name}"], atol=1e-5)
        assert abs(np.argmax(losses < 1e-3) - step) <= 3


def test_a_toy_with_two_factors_clamped_relaxes_at_a_known_rate():
    """With b and c true the loss is a quadratic in a, whose error shrinks by 1 − lr |b|²|c|²/d³ a step."""
    true, initial = (np.asarray(value, float) for value in subcircuits.rank_one_recipe(1, dims=6))
    losses = exact(subcircuits.rank_one_losses, true, initial, np.array([False, True, True]), steps=50, lr=0.5)
    b, c = (true[1] ** 2).sum(), (true[2] ** 2).sum()
    error = ((true[0] - initial[0]) ** 2).sum() * (1 - 0.5 * b * c / 6**3) ** (2 * np.arange(50))
    np.testing.assert_allclose(losses, 0.5 * error * b * c / 6**3, rtol=1e-9)
