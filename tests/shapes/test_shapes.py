import inspect
from collections.abc import Mapping
from importlib import import_module
from pkgutil import walk_packages
from typing import Annotated

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Integer, PRNGKeyArray, Real, Shaped

from toylab import analysis
from toylab.base import Params
from toylab.shapes import shaped


@shaped
def energy(
    logits: Real[ArrayLike, "*batch p p c"],
    key: Bool[ArrayLike, " p//2+1"],
    labels: Integer[ArrayLike, "p p"] | None = None,
    *,
    scale: Real[ArrayLike, ""] = 1.0,
    weight: Real[ArrayLike, "*batch c"] | Bool[ArrayLike, "*batch c"] | None = None,
) -> Float[Array, " c"]:
    """What it says."""
    return scale * jnp.sum(jnp.asarray(logits) ** 2, axis=tuple(range(np.ndim(logits) - 1)))


@shaped
def product(x: Real[ArrayLike, "*#batch n 2"], y: Shaped[ArrayLike, "*#batch #n _"]) -> Real[Array, "*batch n k"]:
    return jnp.asarray(x) * jnp.asarray(y)


@shaped
def draw(
    key: PRNGKeyArray, b: Real[ArrayLike, "*batch n"], density: Real[ArrayLike, ""] | Real[ArrayLike, " n"] = 1.0
) -> None: ...


@shaped
def read(
    params: Annotated[Mapping[str, ArrayLike], {"W_E": Real[ArrayLike, "v d"], "W_U": Real[ArrayLike, "d c"]}],
    others: Mapping[str, Real[ArrayLike, "..."]] | None = None,
) -> None: ...


CUBE, KEY = np.ones((3, 5, 5, 2)), np.ones(3, bool)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: energy(CUBE, np.ones(4, bool)),
            "key has shape (4,) and dtype bool, it must be booleans [p//2+1] with p = 5 as in logits",
        ),
        (
            lambda: energy(CUBE, KEY, np.ones((5, 5), np.float32)),
            "labels has shape (5, 5) and dtype float32, it must be integers [p, p] with p = 5 as in logits",
        ),
        (
            lambda: energy(CUBE[:, :4], KEY),
            "logits has shape (3, 4, 5, 2) and dtype float64, it must be real numbers [*batch, p, p, c]",
        ),
        (
            lambda: energy(CUBE, KEY, weight=jnp.ones((4, 2), bool)),
            "weight has shape (4, 2) and dtype bool, it must be real numbers or booleans [*batch, c] "
            "with *batch = [3] and c = 2 as in logits",
        ),
        (
            lambda: energy(CUBE, key=KEY, scale=1j),
            "scale has shape () and dtype complex128, it must be a scalar of real numbers",
        ),
        (
            lambda: energy(CUBE, KEY) is energy(CUBE, KEY, scale=None),
            "scale is None, it must be a scalar of real numbers",
        ),
        (lambda: energy("weights.npz", KEY), "logits is a str, it must be real numbers [*batch, p, p, c]"),
        (lambda: energy(None, KEY), "logits is None, it must be real numbers [*batch, p, p, c]"),
        (
            lambda: energy([[1, 2], [3]], KEY),
            "logits is a list of uneven lengths, it must be real numbers [*batch, p, p, c]",
        ),
        (
            lambda: product(np.ones((4, 3, 2)), np.ones((3, 3, 1))),
            "y has shape (3, 3, 1) and dtype float64, it must be an array [*batch, n, _] "
            "with *batch = [4] and n = 3 as in x",
        ),
        (lambda: product(np.ones(2), 1), "x has shape (2,) and dtype float64, it must be real numbers [*batch, n, 2]"),
        (
            lambda: read({"W_E": np.ones((7, 4)), "W_U": np.ones((7, 4))}),
            'params["W_U"] has shape (7, 4) and dtype float64, it must be real numbers [d, c] '
            'with d = 4 as in params["W_E"]',
        ),
        (
            lambda: draw(jax.random.key(0), np.ones((5, 3)), np.ones(2)),
            "density has shape (2,) and dtype float64, it must be a scalar of real numbers or real numbers [n] "
            "with n = 3 as in b",
        ),
        (
            lambda: draw(jnp.ones(3, jnp.uint32), 1),
            "key has shape (3,) and dtype uint32, it must be a key of jax.random, uint32 [2] or uint32 [4]",
        ),
        (lambda: read(np.ones(3)), "params is a ndarray, it must be a mapping of names to arrays"),
        (
            lambda: jax.jit(jax.vmap(energy, in_axes=(0, None)))(CUBE, jnp.ones(4, bool)),
            "key has shape (4,) and dtype bool, it must be booleans [p//2+1] with p = 5 as in logits",
        ),
    ],
)
def test_one_sentence_says_what_is_wrong(call, sentence):
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == sentence


def test_what_fits_goes_through():
    energy(CUBE[0].astype(np.int8), [True, False, True], None, scale=np.float32(2), weight=[1, 2])
    energy(CUBE, KEY, np.zeros((5, 5), np.uint8), weight=jnp.ones((3, 2), jnp.bfloat16))
    product(np.ones((4, 1, 3, 2)), np.ones((5, 1, 2)))
    draw(jax.random.key(0), [1.0, 2.0, 3.0], [1, 2, 3])
    jax.jit(draw)(jax.random.PRNGKey(0), jnp.ones((5, 3)))
    read({"W_E": np.ones((7, 4)), "W_U": np.ones((4, 7)), "b": "not looked at"})


def test_tracers_are_checked_by_what_each_call_sees():
    """Without the axis that vmap maps; a scalar that jit made an array is a scalar still, and a list a list of such."""
    each = jax.vmap(lambda x: energy(x, KEY, weight=x[0, 0]))(CUBE)
    assert each.shape == (3, 2)
    gradient = jax.jit(jax.grad(lambda x, s: energy(x, KEY, scale=s).sum()))(jnp.asarray(CUBE), 2.0)
    np.testing.assert_allclose(gradient, 4)
    assert jax.jit(energy)(CUBE, [True, False, True]).shape == (2,)
    with pytest.raises(ValueError, match=r"^key has shape \(2,\) and dtype bool, it must be"):
        jax.jit(energy)(CUBE, [True, False])


def test_a_check_leaves_nothing_in_the_program():
    bare, dressed = (str(jax.make_jaxpr(f)(jnp.asarray(CUBE), jnp.asarray(KEY))) for f in (energy.__wrapped__, energy))
    assert bare == dressed


def test_dtypes_are_kept():
    assert energy(CUBE.astype(np.float32), KEY).dtype == jnp.float32
    with jax.enable_x64():
        assert energy(CUBE, KEY).dtype == jnp.float64


NARROW = [
    np.dtype(kind) for kind in vars(ml_dtypes).values() if isinstance(kind, type) and issubclass(kind, np.generic)
]
NARROW = [np.dtype(np.float16), *(dtype for dtype in NARROW if jnp.issubdtype(dtype, jnp.floating))]


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_narrow_floats_are_computed_in_float32(dtype, request):
    """2¹⁰ · 2 is exact in float32; bfloat16 would round sums of it, float16 overflow at its square."""
    if dtype == np.float16:
        request.getfixturevalue("float16")

    @shaped
    def plus_one(x: Shaped[ArrayLike, "*n"], y: Real[ArrayLike, ""] = 0.0, **_: Array) -> Array:
        return jnp.asarray(x) ** 2 + 2048 + jnp.asarray(y)

    one = np.ones(2).astype(dtype)
    known = not dtype.name.startswith(("float6", "float4"))  # XLA on CPU has no such arrays
    for x in (one, jnp.asarray(one) if known else one, list(one)):
        for y in (one[0], one[:1].reshape(())):
            calls = (plus_one, jax.jit(plus_one)) if known else (plus_one,)
            for found in (call(*args, **kwargs) for call in calls for args, kwargs in (((x, y), {}), ((x,), {"y": y}))):
                assert found.dtype == np.float32 and found.tolist() == [2050, 2050]


def test_narrow_floats_are_refused_where_floats_are():
    with pytest.raises(ValueError, match=r"^labels has shape \(5, 5\) and dtype bfloat16, it must be integers"):
        energy(CUBE, KEY, np.zeros((5, 5), ml_dtypes.bfloat16))
    with pytest.raises(ValueError, match=r"^x has shape \(2,\) and dtype bfloat16, it must be real numbers"):
        product(np.ones(2, ml_dtypes.bfloat16), 1)


def test_mappings_of_arrays_are_widened_array_by_array():
    @shaped
    def dtypes(params: Params, more: Mapping[str, Real[ArrayLike, "..."]] | None = None) -> list[str]:
        return [str(getattr(x, "dtype", x)) for x in [*params.values(), *(more or {}).values()]]

    half, whole = jnp.ones(2, jnp.bfloat16), jnp.ones(2, int)
    given = {"a": half, "b": whole, "c": np.ones(2, np.float16), "d": "text", "e": None}
    assert dtypes(given) == ["float32", "int32", "float32", "text", "None"]
    assert dtypes(given, {"a": half}) == ["float32", "int32", "float32", "text", "None", "float32"]
    assert half.dtype == given["a"].dtype == jnp.bfloat16  # the caller's stay as they are
    assert dtypes({"a": np.ones(2)}) == ["float64"]


def test_the_function_still_looks_like_itself():
    assert energy.__name__ == "energy" and energy.__doc__ == "What it says."
    assert inspect.signature(energy) == inspect.signature(energy.__wrapped__)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'key'"):
        energy(CUBE)


@pytest.mark.parametrize("axes", ["*a *b", "n)"])
def test_an_annotation_that_says_nothing_is_refused_at_once(axes):
    def f(x): ...

    class Kind:
        __name__ = "Real"

    f.__annotations__["x"] = type("Odd", (), {"dim_str": axes, "dtypes": ("float32",), "dtype": Kind()})
    with pytest.raises(TypeError, match="the ax"):
        shaped(f)


HELPERS = {
    "attention.products",
    "eigenvalues",
    "minibatch_noise",
    "numbers",
    "over_runs",
    "transitions",
}  # pass on what others have checked
MODULES = {
    module.name.removeprefix("toylab.analysis.") for module in walk_packages(analysis.__path__, "toylab.analysis.")
}


@pytest.mark.parametrize("name", sorted(MODULES - HELPERS))
def test_public_array_functions_are_checked(name):
    """Each parameter that may be an array of the user's has a shape, and each function with such parameters is checked."""
    module = import_module(f"toylab.analysis.{name}")
    mine = {k: f for k, f in vars(module).items() if callable(f) and getattr(f, "__module__", "") == module.__name__}
    for f in (f for k, f in mine.items() if k[0] != "_" and not inspect.isclass(f)):
        annotations = [x.annotation for x in inspect.signature(f).parameters.values()]
        assert not any(x in annotations for x in (ArrayLike, ArrayLike | None, Array, Array | None)), f.__name__
        layers = [f]
        while hasattr(layers[-1], "__wrapped__"):
            layers.append(layers[-1].__wrapped__)
        checked = any(getattr(layer, "__code__", None) is energy.__code__ for layer in layers)
        assert checked == any("jaxtyping" in str(x) for x in annotations), f.__name__
