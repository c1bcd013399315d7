"""Operations in products of matrices, against counts by hand."""

import jax
import jax.numpy as jnp
from small_pages import small

from toylab import configs as cfg
from toylab.sweep.ahead.flops import counted, products


def of(fn, *shapes):
    return counted(jax.make_jaxpr(fn)(*(jnp.zeros(shape) for shape in shapes)).jaxpr)


def test_a_step_of_the_tied_model_has_five_products():
    """x W and (x W) Wᵀ forward; backward what reaches x W, and the gradient of W from both."""
    config = cfg.check(small(n_hidden=2)[0])
    batch, n, m = config.task.batch, 4, 2
    assert products(config) == {"float32": 5 * 2 * batch * n * m}


def test_a_product_has_two_operations_a_term():
    assert of(lambda a, b: a @ b, (3, 5), (5, 7)) == {"float32": 2 * 3 * 5 * 7}
    assert of(lambda a, b: jnp.einsum("rij,rjk->rik", a, b), (4, 3, 5), (4, 5, 7)) == {"float32": 4 * 2 * 3 * 5 * 7}
    assert of(lambda a: (a.astype(jnp.bfloat16) @ a.astype(jnp.bfloat16)) + 1, (6, 6)) == {"bfloat16": 2 * 6**3}
    assert of(lambda a: (a + 0j) @ (a + 0j), (6, 6)) == {"complex64": 8 * 6**3}
    assert of(lambda a: jnp.sin(a) * a, (6, 6)) == {}


def test_what_is_repeated_counts_as_often_and_of_branches_the_larger():
    def loop(a):
        return jax.lax.scan(lambda x, _: (x @ a, None), a, length=9)[0]

    def branches(a):
        return jax.lax.cond(a[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, a)

    assert of(loop, (4, 4)) == {"float32": 9 * 2 * 4**3}
    assert of(branches, (4, 4)) == {"float32": 2 * 2 * 4**3}
    assert of(jax.jit(jax.vmap(loop)), (3, 4, 4)) == {"float32": 3 * 9 * 2 * 4**3}
    assert of(jax.checkpoint(lambda a: a @ a), (4, 4)) == {"float32": 2 * 4**3}


def test_a_convolution_has_its_kernel_for_every_result():
    def conv(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID")

    assert of(conv, (2, 3, 8, 8), (5, 3, 3, 3)) == {"float32": 2 * (2 * 5 * 6 * 6) * (3 * 3 * 3)}
