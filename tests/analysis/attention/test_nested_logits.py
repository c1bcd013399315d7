"""The nested logits: exact values, what each number can do alone, the order in which they are learned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.attention.nested_logits import descent, item_contrast, nested_loss, target_share

N, B, L = 8, 4, 32


def loss(beta, alpha, xi):
    params = {"beta": jnp.float32(beta), "alpha": jnp.float32(alpha), "xi": jnp.float32(xi)}
    return float(nested_loss(params, N, B, L))


def test_shares_are_those_of_a_softmax_over_what_is_seen():
    beta = 1.3
    found = []
    for seen in range(2, 2 * N + 1, 2):
        attention = np.exp([beta] + [0] * (seen - 1)) / np.exp([beta] + [0] * (seen - 1)).sum()
        found.append(attention[0] - attention[1])
    assert float(item_contrast(beta, N)) == pytest.approx(np.mean(found), rel=1e-5)
    scores = np.exp(0.7 * 0.5 * np.array([1] * B + [0] * (N - B)))
    assert float(target_share(0.7, 0.5, N, B)) == pytest.approx(scores[:B].sum() / scores.sum(), rel=1e-5)


def test_the_loss_at_the_start_on_the_plateau_and_at_the_end():
    assert loss(2, 3, 0) == pytest.approx(np.log(L), rel=1e-5)
    assert loss(5, 0, 60) == pytest.approx(np.log(N / B), abs=1e-4)  # a label of the context
    assert loss(20, 60, 60) == pytest.approx(0, abs=1e-4)
    logits = np.zeros(L)
    target = float(target_share(1.5, item_contrast(0.4, N), N, B))
    logits[:2] = 3 * target, 3 * (1 - target)
    assert loss(0.4, 1.5, 3) == pytest.approx(np.log(np.exp(logits).sum()) - logits[0], rel=1e-5)


def test_each_number_acts_through_the_others():
    """No slope for α and β without ξ, nor for either of them without the other, as exact zeros."""
    slope = jax.grad(lambda beta, alpha, xi: nested_loss({"beta": beta, "alpha": alpha, "xi": xi}, N, B, L), (0, 1, 2))
    assert [float(value) for value in slope(1.0, 2.0, 0.0)[:2]] == [0, 0]
    assert float(slope(1.0, 0.0, 3.0)[0]) == 0 and float(slope(0.0, 2.0, 3.0)[1]) == 0
    assert all(abs(float(value)) > 1e-3 for value in slope(1.0, 2.0, 3.0))


def test_descent_waits_near_the_label_of_the_context_and_the_longer_the_smaller_its_start():
    """At a saddle a start that is smaller by a factor costs as many steps again."""
    starts = jnp.array([1e-4, 1e-6, 1e-8])
    descents = jax.jit(jax.vmap(lambda start: descent(N, B, L, start)))(starts)
    found = {name: np.asarray(x) for name, x in descents.items()}
    np.testing.assert_allclose(found["loss"][:, 0], np.log(L), rtol=1e-4)
    assert (np.diff(found["loss"], axis=1) < 1e-4).all() and (found["loss"][:, -1] < 0.05).all()
    fallen = (found["loss"] < np.log(2) / 2).argmax(axis=1)
    assert (np.diff(fallen) > 30).all()
    before = found["loss"][2, fallen[2] // 2]
    assert found["contrast"][2, fallen[2] // 2] < 0.01 and np.log(2) < before < np.log(2) + 0.5


def test_the_read_out_is_learned_before_the_first_layer():
    """ξ has half of its last value when the contrast of the first layer is still far from half of its own."""
    found = {name: np.asarray(x) for name, x in descent(N, B, L).items()}
    half = {name: int((x > x[-1] / 2).argmax()) for name, x in found.items()}
    assert half["xi"] + 50 < half["contrast"]
    assert found["contrast"][half["xi"]] < 1e-3 * found["contrast"][-1]
