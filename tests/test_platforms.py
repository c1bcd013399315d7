"""What an accelerator computes in another way than a CPU: the same values, and nothing else for a CPU than before."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from toylab import configs as cfg
from toylab import platforms, train
from toylab.base import Config
from toylab.models import ModularMLP, Net, Transformer, attention
from toylab.optim import AdamW
from toylab.sweep import lanes, memory
from toylab.tasks import ModularArithmetic

P = 11
NETS = {
    "mlp": Net.of(ModularMLP, d_vocab=P, d_vocab_out=P, d_model=8, d_mlp=16),
    "pairs of tokens": Net.of(Transformer, d_vocab=P + 1, d_vocab_out=P, n_ctx=3, d_model=8, n_heads=2, d_head=4, d_mlp=16),
    "single tokens": Net.of(Transformer, d_vocab=60, d_vocab_out=P, n_ctx=3, d_model=8, n_heads=2, d_head=4, d_mlp=16),
    "embeddings": Net.of(
        Transformer, d_vocab=P + 1, d_vocab_out=P, n_ctx=3, d_model=64, n_layers=2, n_heads=2, d_head=32, d_mlp=16
    ),  # too wide for tables of what enters the first layer
}  # fmt: skip


def config(net):
    return cfg.check(Config(ModularArithmetic(p=P, n_train=60), net, AdamW(lr=3e-3)))


def as_elsewhere(monkeypatch):
    """This CPU computes as another device does."""
    monkeypatch.setattr(platforms, "by_platform", elsewhere)
    monkeypatch.setattr(attention, "by_platform", elsewhere)


def elsewhere(*args, cpu, others):
    return others(*args)


def plainly(*args, cpu, others):
    return cpu(*args)


@pytest.mark.parametrize("kind", NETS)
def test_accelerators_train_to_the_same_values(kind, monkeypatch):
    """One step agrees to 1e-5 of the largest entry, as asked: sums of 60 terms in another order, 60 · 2⁻²⁴ = 4e-6."""
    one = config(NETS[kind])
    state, data = train.init(one), train.data(one)

    def gradient():
        loss = lambda params: one.task.loss(lambda *given: one.net.apply(*given, full=False), params, data, None)  # noqa: E731
        return jax.jit(jax.value_and_grad(loss))(state.params)

    here = gradient()
    as_elsewhere(monkeypatch)
    there = gradient()
    for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-5 * float(jnp.abs(a).max()))


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 20])
def test_steps_in_blocks_are_as_many(n, monkeypatch):
    """Whole numbers, which no order of operations rounds."""
    f = lambda n: platforms.repeated(lambda x: (3 * x + 1) % 1009, jnp.int32(5), n)  # noqa: E731
    here = jax.jit(f)(n)
    as_elsewhere(monkeypatch)
    expected = 5
    for _ in range(n):
        expected = (3 * expected + 1) % 1009
    assert here == expected == jax.jit(lambda n: f(n))(n)


@pytest.mark.parametrize("kind", NETS)
def test_no_addition_by_index_is_left_elsewhere(kind):
    one = config(NETS[kind])
    arguments = one, jax.eval_shape(train.init, one), jax.ShapeDtypeStruct((2,), jnp.int32)
    found = {}
    for name in ("cpu", "cuda", "tpu"):
        program = export.export(lanes.compiled(1, (), ()), platforms=[name])(*arguments).mlir_module()
        found[name] = len(re.findall(r"stablehlo\.scatter", program))
    assert found["cpu"] > 0 == found["cuda"] == found["tpu"]


def test_loops_of_known_length_are_elsewhere_alone():
    """On a CPU one loop; elsewhere one over blocks, in it one of `BLOCK` steps, and one over the rest."""
    program = jax.jit(lambda x, n: platforms.repeated(lambda x: 1.5 * x + 1, x, n))
    for name, loops in {"cpu": 1, "cuda": 3, "tpu": 3}.items():
        text = export.export(program, platforms=[name])(jnp.float32(0), jnp.int32(3)).mlir_module()
        assert text.count("stablehlo.while") == loops
        assert (f"dense<{platforms.BLOCK}>" in text) == (name != "cpu")


@pytest.mark.parametrize("kind", NETS)
def test_a_cpu_compiles_what_it_would_without_a_choice(kind, monkeypatch):
    one = config(NETS[kind])
    arguments = one, jax.eval_shape(train.init, one), np.zeros(2, np.int32)

    def program():
        text = jax.jit(lambda *given: train.advance(*given)).lower(*arguments).compile().as_text()
        return re.sub(r", metadata=\{[^}]*\}|, stack_frame_id=\d+", "", text).partition("FileNames")[0]

    chosen = program()
    monkeypatch.setattr(platforms, "by_platform", plainly)
    monkeypatch.setattr(attention, "by_platform", plainly)
    assert program() == chosen


@pytest.mark.parametrize("several", [False, True])
def test_gradients_of_rows_are_sums_by_index(several, monkeypatch):
    """Against a loop, with second derivatives in reverse and forward, and in a vmap."""
    rng = np.random.default_rng(0)
    sizes, n = ((5, 4) if several else (5,)), 9
    tables, direction = rng.normal(size=(3, *sizes, 2)), rng.normal(size=(n, 3, 2))
    index = [rng.integers(0, size, (n, 3)) for size in sizes]
    expected = np.zeros_like(tables)
    for b in range(n):
        for p in range(3):
            expected[(p, *(i[b, p] for i in index))] += direction[b, p]

    def gradient(tables):
        return jax.grad(lambda tables: jnp.sum(direction * attention.rows(tables, *index)))(tables)

    def curved(tables):
        return jax.grad(lambda t: jnp.sum(jax.grad(lambda t: jnp.sum(attention.rows(t, *index) ** 3))(t) ** 2))(tables)

    for change in (lambda: None, lambda: as_elsewhere(monkeypatch)):
        change()
        with jax.enable_x64():
            np.testing.assert_allclose(jax.jit(lambda t: gradient(t))(tables), expected, atol=1e-12)
            both = jax.vmap(lambda t: gradient(t))(jnp.stack([tables, tables]))
            np.testing.assert_allclose(both, np.stack([expected] * 2), atol=1e-12)
            taken = np.zeros(tables.shape)  # how often each row is
            for b in range(n):
                for p in range(3):
                    taken[(p, *(i[b, p] for i in index))] += 1
            np.testing.assert_allclose(curved(jnp.asarray(tables)), 36 * taken**2 * tables**3, rtol=1e-10)
            cubes = jax.grad(lambda t: jnp.sum(attention.rows(t, *index) ** 3))
            _, along = jax.jvp(cubes, (jnp.asarray(tables),), (jnp.ones(tables.shape),))  # Hessian times 1
            np.testing.assert_allclose(along, 6 * taken * tables, atol=1e-12)


def test_tables_with_very_many_rows_are_added_up_by_index_everywhere():
    def program(n):
        def gradient(table, index):
            return jax.grad(lambda table: attention.row(table, index).sum())(table)

        shapes = jax.ShapeDtypeStruct((n, 2), jnp.float32), jax.ShapeDtypeStruct((6, 3), jnp.int32)
        return export.export(jax.jit(gradient), platforms=["cuda"])(*shapes).mlir_module()

    assert "stablehlo.scatter" not in program(attention.MOST_ROWS)
    assert "stablehlo.scatter" in program(attention.MOST_ROWS + 1)


def test_memory_is_estimated_of_the_branch_that_the_device_takes():
    def program(x):
        return platforms.by_platform(x, cpu=lambda x: x + 1, others=lambda x: jnp.sum(jnp.outer(x, x), axis=1) + 1)

    jaxpr = jax.make_jaxpr(program)(jax.ShapeDtypeStruct((1000,), jnp.float32)).jaxpr
    assert memory.peak(jaxpr, "cpu") < 20_000  # two arrays of 4,000 bytes
    assert memory.peak(jaxpr, "cuda") >= 4_000_000  # the outer product
