"""Attention's own reverse mode against the formula: values, gradients, gradients of gradients, and in a vmap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.models.attention import attend, attend_last, times

B, H, E, P = 2, 3, 4, 6
RNG = np.random.default_rng(0)
Q, K, V = RNG.normal(size=(3, B, H, E, P))
EXTRA, DIRECTION = RNG.normal(size=(B, H, P, P)), RNG.normal(size=(B, H, E, P))


def literal(q, k, v, extra, causal):
    scores = (jnp.einsum("bhek,bheq->bhqk", k, q) + jnp.swapaxes(extra, 2, 3)) / E**0.5
    scores = jnp.where(jnp.tri(P, dtype=bool), scores, -jnp.inf) if causal else scores
    return jnp.einsum("bhqk,bhek->bheq", jax.nn.softmax(scores), v)


@pytest.mark.parametrize("causal", [True, False])
def test_attend_is_the_formula_with_its_first_and_second_gradients(causal):
    def of(function):
        def loss(inputs):
            return jnp.sum(DIRECTION * jnp.tanh(function(*inputs, causal)))

        def sharpness(inputs):
            return sum(jnp.sum(part**2) for part in jax.tree.leaves(jax.grad(loss)(inputs)))

        return jax.jit(lambda inputs: (function(*inputs, causal), jax.grad(loss)(inputs), jax.grad(sharpness)(inputs)))

    with jax.enable_x64():
        inputs = tuple(jnp.asarray(x) for x in (Q, K, V, EXTRA))
        found, expected = of(attend)(inputs), of(literal)(inputs)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), found, expected)


def test_attend_without_extra_scores_and_in_a_vmap():
    def gradient(q, extra):
        return jax.grad(lambda q: jnp.sum(DIRECTION * attend(q, K, V, extra, True)))(q)

    several = jnp.stack([Q, 2 * Q])
    found = jax.jit(jax.vmap(lambda q: gradient(q, None)))(several)
    expected = jax.vmap(lambda q: gradient(q, jnp.zeros((B, H, P, P))))(several)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("extra", [None, EXTRA])
def test_the_last_query_alone_gets_what_it_gets_among_all(extra):
    all_queries = attend(jnp.asarray(Q), K, V, None if extra is None else jnp.asarray(extra), True)
    alone = attend_last(Q[..., -1:], K, V, None if extra is None else extra[..., -1:])
    np.testing.assert_allclose(alone, all_queries[..., -1:], rtol=1e-5, atol=1e-6)


def test_times_is_the_matrix_product_with_its_gradients():
    x, w, direction = RNG.normal(size=(2, 5, 3)), RNG.normal(size=(3, 4)), RNG.normal(size=(2, 5, 4))

    def gradients(product):
        return jax.grad(lambda x, w: jnp.sum(direction * product(x, w) ** 2), (0, 1))(jnp.asarray(x), jnp.asarray(w))

    for found, expected in zip(gradients(times), gradients(jnp.matmul), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
