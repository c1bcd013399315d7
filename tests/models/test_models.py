"""`Net`: fields, leaves and names; a module of one's own; the one-hidden-layer network against its formula."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from toylab.models import ModularMLP, Net, Transformer

KEY = jax.random.key(0)
SIZES = {"d_vocab": 5, "d_vocab_out": 6, "d_model": 4, "d_mlp": 8}


class Half(nnx.Module):
    def __init__(self, width: int, rngs: nnx.Rngs) -> None:
        self.kernel = nnx.Param(jax.random.normal(rngs.params(), (width, width)))
        self.bias = nnx.Param(jnp.zeros(width))

    def __call__(self, x):
        return x @ self.kernel + self.bias


class Nested(nnx.Module):
    """A module as a user may write one: submodules, and a leaf that its call reads."""

    def __init__(
        self, *, width: int, kind: Literal["tanh", "none"] = "tanh", temperature: float = 1.0, rngs: nnx.Rngs
    ) -> None:
        self.kind = kind
        self.first, self.second = Half(width, rngs), Half(width, rngs)
        self.readout = nnx.Linear(width, 2, rngs=rngs)

    def __call__(self, x, patch=None, full=True):
        hidden = self.first(x) / self.temperature
        hidden = jnp.tanh(hidden) if self.kind == "tanh" else hidden
        return self.readout(self.second(hidden)), {"hidden": hidden[None]} if full else {}


NESTED = Net.of(Nested, width=3)
NAMES = {f"{part}.{name}" for part in ("first", "second", "readout") for name in ("kernel", "bias")}


def test_an_unknown_field_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"^net\.d_modle is no field of Transformer: did you mean d_model\?$"):
        Net.of(Transformer, d_vocab=5, d_vocab_out=5, n_ctx=3, d_modle=8)
    with pytest.raises(ValueError, match=r"^net\.zzz is no field of ModularMLP: it has d_vocab, .*init_scale\.$"):
        Net.of(ModularMLP, **SIZES, zzz=1)
    with pytest.raises(ValueError, match=r"^net\.rngs is no field"):
        Net.of(ModularMLP, **SIZES, rngs=1)


def test_a_missing_field_is_named():
    with pytest.raises(ValueError, match=r"^net\.d_vocab_out is missing: Transformer needs d_vocab_out, n_ctx\.$"):
        Net.of(Transformer, d_vocab=5)


def test_fields_read_as_the_nets_own_and_defaults_are_the_modules():
    net = Net.of(ModularMLP, **SIZES, init_scale=0.5)
    assert (net.d_model, net.d_mlp, net.init_scale, net.embedding) == (4, 8, 0.5, "separate")
    assert net.with_fields(d_model=7, init_scale=2.0) == Net.of(ModularMLP, **{**SIZES, "d_model": 7}, init_scale=2.0)
    with pytest.raises(AttributeError, match="d_modle"):
        net.d_modle  # noqa: B018


def test_float_fields_are_leaves_and_all_others_static():
    net = Net.of(ModularMLP, **SIZES, init_scale=0.5)
    assert jax.tree.leaves(net) == [0.5] and jax.tree.leaves(NESTED) == [1.0]
    same = jax.tree.structure(net)
    assert jax.tree.structure(net.with_fields(init_scale=2.0)) == same
    for change in ({"d_model": 5}, {"embedding": "shared"}, {"activation": "quadratic"}):
        assert jax.tree.structure(net.with_fields(**change)) != same
    assert jax.tree.structure(net.replace(clamps=(("mlp_pre", abs),))) != same


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": 0}, r"^net\.d_model is 0: it must be at least 1\.$"),
        ({"d_vocab": -3}, r"^net\.d_vocab is -3: it must be at least 1\.$"),
        ({"init_scale": 0.0}, r"^net\.init_scale is 0\.0: it must be above 0\.$"),
        ({"init_scale": float("nan")}, r"^net\.init_scale is nan: it must be above 0\.$"),
    ],
)
def test_check_refuses_by_field(change, message):
    with pytest.raises(ValueError, match=message):
        Net.of(ModularMLP, **{**SIZES, **change}).check()
    net = Net.of(ModularMLP, **SIZES)
    assert net.check() == net


def test_apply_names_missing_and_extra_params():
    net, x = Net.of(ModularMLP, **SIZES), np.zeros((2, 2), int)
    params = jax.eval_shape(net.init, KEY)
    del params["W_in"]
    with pytest.raises(ValueError, match=r"^params lacks \['W_in'\] and has \[\] beyond what ModularMLP takes\.$"):
        net.apply(params, x)
    with pytest.raises(ValueError, match=r"^params lacks \['W_in'\] and has \['W_x'\] beyond"):
        net.apply(params | {"W_x": 0}, x)


def test_nested_modules_are_a_flat_dict_with_dotted_names():
    params = NESTED.init(KEY)
    assert set(params) == NAMES and all(type(x) is not nnx.Param for x in params.values())
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    hidden = np.tanh(x @ params["first.kernel"] + params["first.bias"])
    out = hidden @ params["second.kernel"] + params["second.bias"]
    found, cache = NESTED.apply(params, x)
    np.testing.assert_allclose(found, out @ params["readout.kernel"] + params["readout.bias"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cache["hidden"], hidden[None], rtol=1e-5, atol=1e-6)
    assert NESTED.apply(params, x, full=False)[1] == {}
    assert (params["first.kernel"] != params["second.kernel"]).all()


def test_a_module_of_ones_own_has_gradients_and_is_batched_over_its_leaf():
    params, x = NESTED.init(KEY), np.ones((4, 3), np.float32)

    def loss(net, params):
        return jnp.sum(net.apply(params, x)[0] ** 2)

    gradient = jax.jit(jax.grad(loss, argnums=1))(NESTED, params)
    assert set(gradient) == NAMES and all(np.abs(x).sum() > 0 for x in gradient.values())
    temperatures = np.float32([0.5, 1.0, 3.0])
    batch = jax.jit(jax.vmap(loss, in_axes=(0, None)))(NESTED.with_fields(temperature=temperatures), params)
    alone = [loss(NESTED.with_fields(temperature=t), params) for t in temperatures]
    np.testing.assert_allclose(batch, alone, rtol=1e-5)
    assert len(set(np.asarray(batch).tolist())) == 3  # the call sees the leaf


@pytest.mark.parametrize("activation", ["relu", "quadratic"])
@pytest.mark.parametrize("embedding", ["separate", "shared"])
def test_modular_mlp_is_its_formula(embedding, activation):
    net = Net.of(ModularMLP, **SIZES, embedding=embedding, activation=activation)
    params = {name: np.float64(x) for name, x in net.init(KEY).items()}
    embeds = [(2, 5, 4), (5, 4)][embedding == "shared"]
    assert {name: x.shape for name, x in params.items()} == {"W_E": embeds, "W_in": (2, 4, 8), "W_U": (8, 6)}
    tokens = np.array([[a, b, 0] for a in range(5) for b in range(5)])  # the third is not read
    first, second = params["W_E"] if embedding == "separate" else (params["W_E"],) * 2
    pre = np.stack([first[a] @ params["W_in"][0] + second[b] @ params["W_in"][1] for a, b, _ in tokens])
    post = np.maximum(pre, 0) if activation == "relu" else pre**2
    logits, cache = net.apply(net.init(KEY), tokens)
    np.testing.assert_allclose(logits, post @ params["W_U"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cache["mlp_pre"], pre[None], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cache["mlp_post"], post[None], rtol=1e-5, atol=1e-6)
    fast, nothing = net.apply(net.init(KEY), tokens[:, :2], full=False)
    np.testing.assert_array_equal(fast, logits)
    assert nothing == {}


def test_modular_mlp_starts_with_its_spreads_times_init_scale():
    net = Net.of(ModularMLP, d_vocab=50, d_vocab_out=50, d_model=64, d_mlp=256)
    params, doubled = net.init(KEY), net.with_fields(init_scale=2.0).init(KEY)
    for name, sd in {"W_E": 64**-0.5, "W_in": 128**-0.5, "W_U": 256**-0.5}.items():
        np.testing.assert_allclose(np.std(params[name]), sd, rtol=5 / (2 * params[name].size) ** 0.5)
        np.testing.assert_array_equal(doubled[name], 2 * params[name])


def test_modular_mlp_takes_patches():
    net, tokens = Net.of(ModularMLP, **SIZES), np.array([[a, b, 0] for a in range(5) for b in range(5)])
    params, half = net.init(KEY), np.arange(8) < 4
    logits, cache = net.apply(params, tokens)
    ablated = net.apply(params, tokens, {"mlp_post": lambda x, layer: jnp.where(half, 0, x)})[0]
    removed = cache["mlp_post"][0][:, half] @ params["W_U"][half]
    np.testing.assert_allclose(ablated, logits - removed, rtol=1e-4, atol=1e-6)
    same = net.apply(params, tokens, {"mlp_pre": lambda x, layer: x, "mlp_post": lambda x, layer: x})[0]
    np.testing.assert_array_equal(same, logits)
    exchanged = net.apply(params, tokens, {"embed": lambda x, layer: x.at[:, 1].set(params["W_E"][1][tokens[:, 0]])})[0]
    np.testing.assert_allclose(exchanged, logits[tokens[:, 0] * 6], rtol=1e-5, atol=1e-6)  # the logits of (a, a)
    with pytest.raises(ValueError, match=r"^patch names \['z'\]: the activations are embed, mlp_pre, mlp_post\.$"):
        net.apply(params, tokens, {"z": lambda x, layer: x})
    with pytest.raises(ValueError, match=r"^tokens has shape \(25,\)"):
        net.apply(params, tokens[:, 0])
