"""Sparse autoencoders: formula, unit dictionary, top-k, tied against untied, gradients, patches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.models import Net, SparseAutoencoder
from toylab.models.sae import largest, unit

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (40, 6))
KINDS = {
    "tied": {"tied": True},
    "untied": {"tied": False},
    "biased": {"tied": False, "decoder_bias": True},
    "topk": {"tied": True, "k": 3},
}


def net_of(**fields):
    return Net.of(SparseAutoencoder, **{"d_model": 6, "d_dict": 10, **fields})


def moved(net):
    """Params away from their start, biases included."""
    params = net.init(KEY)
    keys = jax.random.split(jax.random.key(2), len(params))
    return {name: x + 0.3 * jax.random.normal(k, x.shape) for k, (name, x) in zip(keys, params.items(), strict=True)}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_its_formula(kind):
    net = net_of(**KINDS[kind]).check()
    params = moved(net)
    own = {name: np.asarray(x, np.float64) for name, x in params.items()}
    dictionary = own["W_dec"] / np.linalg.norm(own["W_dec"], axis=1, keepdims=True)
    b_dec = own.get("b_dec", np.zeros(6))
    pre = (np.asarray(X, np.float64) - b_dec) @ own.get("W_enc", dictionary.T) + own["b_enc"]
    latents = np.maximum(pre, 0)
    if net.k:
        latents[pre < np.sort(pre, axis=1)[:, -net.k, None]] = 0
    found, cache = net.apply(params, X)
    np.testing.assert_allclose(cache["latents_pre"], pre[None], atol=1e-5)
    np.testing.assert_allclose(cache["latents"], latents[None], atol=1e-5)
    np.testing.assert_allclose(found, latents @ dictionary + b_dec, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("tied", {"W_dec": (10, 6), "b_enc": (10,)}),
        ("untied", {"W_dec": (10, 6), "b_enc": (10,), "W_enc": (6, 10)}),
        ("biased", {"W_dec": (10, 6), "b_enc": (10,), "W_enc": (6, 10), "b_dec": (6,)}),
    ],
)
def test_names_and_shapes_of_its_params(kind, names):
    assert {name: x.shape for name, x in net_of(**KINDS[kind]).init(KEY).items()} == names


@pytest.mark.parametrize("kind", KINDS)
def test_the_fast_path_is_the_plain_one_and_keeps_the_latents(kind):
    net = net_of(**KINDS[kind])
    params = moved(net)
    plain, cache = net.apply(params, X)
    fast, kept = net.apply(params, X, full=False)
    np.testing.assert_array_equal(fast, plain)
    np.testing.assert_array_equal(kept["latents"], cache["latents"])
    assert set(kept) == {"latents"} and set(cache) == {"latents_pre", "latents"}


def test_tied_is_untied_with_the_transposed_unit_dictionary():
    tied, params = net_of(), moved(net_of())
    with_encoder = params | {"W_enc": unit(params["W_dec"]).T}
    for a, b in zip(tied.apply(params, X), net_of(tied=False).apply(with_encoder, X), strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_the_lengths_of_dictionary_rows_do_not_matter(kind):
    net = net_of(**KINDS[kind])
    params = moved(net)
    longer = params | {"W_dec": params["W_dec"] * jnp.linspace(0.1, 5, 10)[:, None]}
    np.testing.assert_allclose(net.apply(longer, X)[0], net.apply(params, X)[0], atol=1e-5)
    gradient = jax.grad(lambda p: jnp.sum((net.apply(p, X)[0] - X) ** 2))(params)["W_dec"]
    np.testing.assert_allclose(jnp.sum(gradient * params["W_dec"], axis=1), 0, atol=1e-4)


@pytest.mark.parametrize(("d_dict", "rows"), [(4, True), (6, True), (10, False)])
def test_the_dictionary_starts_with_unit_orthogonal_rows_or_a_tight_frame(d_dict, rows):
    W = np.asarray(net_of(d_dict=d_dict).init(KEY)["W_dec"], np.float64)
    np.testing.assert_allclose(np.linalg.norm(W, axis=1), 1, atol=1e-5)
    if rows:
        np.testing.assert_allclose(W @ W.T, np.eye(d_dict), atol=1e-5)
    else:
        assert np.linalg.matrix_rank(W) == 6
    assert not np.allclose(W, net_of(d_dict=d_dict).init(jax.random.key(5))["W_dec"])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_and_reach_every_param(kind):
    net = net_of(**KINDS[kind])
    params = moved(net)

    def loss(params, x):
        reconstruction, cache = net.apply(params, x, full=False)
        return jnp.mean((reconstruction - x) ** 2) + 0.1 * jnp.mean(jnp.abs(cache["latents"]))

    found = jax.grad(loss)(params, X)
    assert all(np.isfinite(x).all() and np.abs(x).sum() > 0 for x in found.values())
    dead = jax.grad(loss)(params | {"W_dec": params["W_dec"].at[0].set(0)}, jnp.zeros_like(X))
    assert all(np.isfinite(x).all() for x in dead.values())


@pytest.mark.parametrize("k", [1, 3, 10])
def test_top_k_keeps_exactly_k(k):
    net = net_of(k=k)
    params = net.init(KEY) | {"b_enc": jnp.full(10, 9.0)}  # all positive before the ReLU
    _, cache = net.apply(params, X)
    assert (np.sum(cache["latents"] != 0, axis=-1) == k).all()
    few = net.apply(net.init(KEY) | {"b_enc": jnp.full(10, -9.0)}, X)[1]["latents"]
    assert not few.any()  # never a latent below 0


@pytest.mark.parametrize("k", [1, 2, 5, 7])
def test_largest_is_top_k_ties_included(k):
    x = jax.random.randint(KEY, (3, 20, 7), 0, 4).astype(float).at[0, 0].set(-jnp.inf)
    index = jax.lax.top_k(x, k)[1]
    expected = jnp.sum(jax.nn.one_hot(index, 7), axis=-2) > 0
    np.testing.assert_array_equal(largest(x, k), expected)


def test_latents_can_be_patched_and_unknown_names_are_refused():
    net = net_of()
    params = moved(net)
    plain, cache = net.apply(params, X)
    ablated, _ = net.apply(params, X, {"latents": lambda c, layer: c.at[:, 0].set(0)})
    gone = cache["latents"][0, :, :1] * unit(params["W_dec"])[0]
    np.testing.assert_allclose(ablated, plain - gone, atol=1e-5)
    silent, _ = net.apply(params, X, {"latents_pre": lambda c, layer: -jnp.abs(c)})
    np.testing.assert_array_equal(silent, 0)
    with pytest.raises(ValueError, match=r"^patch names \['z'\]: the activations are latents_pre, latents\.$"):
        net.apply(params, X, {"z": lambda c, layer: c})


def test_leading_axes_are_a_batch():
    net = net_of(k=2)
    params = moved(net)
    found, cache = net.apply(params, X.reshape(5, 8, 6))
    np.testing.assert_allclose(found.reshape(40, 6), net.apply(params, X)[0], atol=1e-6)
    assert cache["latents"].shape == (1, 5, 8, 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 11}, r"^net\.k is 11: it must be at most net\.d_dict, which is 10\.$"),
        ({"k": -1}, r"^net\.k is -1: it must be at least 0\.$"),
        ({"d_dict": 0}, r"^net\.d_dict is 0: it must be at least 1\.$"),
    ],
)
def test_check_refuses_by_field(change, message):
    with pytest.raises(ValueError, match=message):
        net_of(**change).check()


def test_input_of_another_width_is_refused():
    with pytest.raises(ValueError, match=r"^x has shape \(40, 5\): its last axis must be d_model = 6\.$"):
        net_of().apply(net_of().init(KEY), X[:, :5])
