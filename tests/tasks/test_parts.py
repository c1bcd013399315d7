"""Examples that pass through a network a part at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.tasks.parts import PART, in_parts


@pytest.mark.parametrize("n", [0, 1, PART, PART + 1, 2 * PART, 3 * PART - 1])
def test_parts_give_what_the_whole_gives_in_its_order(n):
    x, y = jnp.arange(2.0 * n).reshape(n, 2), jnp.arange(n)
    found = jax.jit(lambda x, y: in_parts(lambda x, y: {"sum": x.sum(axis=1) + y, "x": 2 * x}, x, y))(x, y)
    np.testing.assert_array_equal(found["sum"], 5 * np.arange(n) + 1)
    np.testing.assert_array_equal(found["x"], 2 * x)


def test_no_more_than_a_part_is_computed_at_once():
    seen = []

    def each(x):
        seen.append(len(x))
        return x

    in_parts(each, jnp.zeros(2 * PART + 5))
    assert set(seen) == {PART, 5}
