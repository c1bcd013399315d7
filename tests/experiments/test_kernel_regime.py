"""The tangent kernel in closed form and the penalty of the largest weight, on the page kernel_regime."""

from functools import partial

import jax
import numpy as np

from toylab import train
from toylab.analysis import representation
from toylab.experiments.grokking import kernel_regime as page

CONFIG = page.escapes(range(1), p=5, width=4)[0]
PARAMS, DATA = train.init(CONFIG).params, train.data(CONFIG)


def test_the_kernel_of_the_first_output_is_that_of_its_gradients():
    def first(params, x):
        return CONFIG.net.apply(params, x, full=False)[0][:, 0]

    x, other = DATA["tokens"][:7], DATA["tokens"][9:12]
    with jax.enable_x64():
        wide = jax.tree.map(lambda w: np.asarray(w, np.float64), (PARAMS, x, other))
        found = page.tangent(*wide)
        # sums of at most 4 · 10 positive or negative float64 products
        np.testing.assert_allclose(found, representation.ntk(first, *wide), rtol=1e-10, atol=1e-10)


def test_the_penalty_is_near_the_largest_weight_and_at_most_so():
    apply, key = partial(CONFIG.net.apply, full=False), jax.random.key(0)
    with_it, without = (
        float(CONFIG.task.replace(largest=factor).loss(apply, PARAMS, DATA, key)) for factor in (1.0, 0.0)
    )
    sizes = np.concatenate([np.abs(np.asarray(w, np.float64)).ravel() for w in jax.tree.leaves(PARAMS)])
    expected = np.mean(sizes**page.ORDER) ** (1 / page.ORDER)
    np.testing.assert_allclose(with_it - without, expected, atol=1e-5 * (1 + without))  # float32 losses of order 10
    assert len(sizes) ** (-1 / page.ORDER) * sizes.max() <= expected <= sizes.max()


def test_the_pairs_needed_lie_between_the_numbers_that_were_run():
    accuracy = np.array([[0.0, 0.2], [0.25, 0.4], [0.75, 0.9]])  # 10, 20, 40 pairs, two seeds
    m = page.Measures(
        {
            "steps": np.array([0, 1]),
            "valid": np.ones((6, 2), bool),
            page.P: np.full(6, 7),
            page.N: np.repeat([10, 20, 40], 2),
            "test_accuracy": np.stack([np.zeros(6), accuracy.ravel()], axis=1),
        }
    )
    np.testing.assert_allclose(page.needed(m, 7), [20 * 2**0.5, 20 * 2**0.2], rtol=1e-12)
    assert np.isnan(page.needed(m, 7, level=0.95)).all()
