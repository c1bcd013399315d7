"""Direct logit attribution: the parts sum to the logit, a hand-built circuit's are known, and bad input."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from toylab.analysis.attention.attribution import Parts, logit_attribution, next_token_attribution
from toylab.analysis.attention.read_out import centred_unembedding, logit_direction
from toylab.base import Config, Run
from toylab.models import BiasedTransformer, InductionMachine, Net, Transformer

SIZES = {"d_vocab": 11, "d_vocab_out": 9, "n_ctx": 6, "n_layers": 2, "d_model": 16, "n_heads": 2, "d_mlp": 24}
REST = {"head": (0, 2), "source": (0, 2, 4), "mlp": 0, "neuron": (0, 3)}  # axes that are summed over
QUICK = {"xla_backend_optimization_level": 0}


def net_of(module=BiasedTransformer, **changes):
    return Net.of(module, **{**SIZES, "readout": "all", "layer_norm": True, **changes})


def some_params(net, seed=0):
    """Weights with every bias and LayerNorm in force."""
    keys = iter(jax.random.split(jax.random.key(seed), 40))
    return {
        name: value + 0.1 * jax.random.normal(next(keys), value.shape) for name, value in net.init(next(keys)).items()
    }


def drawn(n=3, length=6, most=9, seed=1):
    return jax.random.randint(jax.random.key(seed), (n, length), 0, most)


@pytest.mark.parametrize(
    ("module", "changes"),
    [
        (BiasedTransformer, {}),
        (BiasedTransformer, {"positions": "rotary", "layer_norm": False}),
        (Transformer, {"d_mlp": 0, "positions": "shortformer"}),
        (Transformer, {"readout": "last"}),
        (Transformer, {"output_matrix": False, "layer_norm": False}),
    ],
)
def test_the_parts_sum_to_the_difference_of_logits(module, changes):
    net, x, target = net_of(module, **changes), drawn(), drawn(seed=2)
    target = target[:, 0] if net.readout == "last" else target
    against = jnp.roll(target, 1)
    with jax.enable_x64():
        params = {name: value.astype(float) for name, value in some_params(net).items()}
        by_parts = jax.jit(lambda params: all_parts(net, params, x, target, against), compiler_options=QUICK)(params)
        logits = net.apply(params, x)[0]
        chosen = [jnp.take_along_axis(logits, tokens[..., None], -1)[..., 0] for tokens in (target, against)]
        wanted = np.asarray(chosen[0] - chosen[1])
    for found in by_parts.values():
        summed = {name: REST.get(name, ()) for name in found if name != "logit"}
        if net.readout == "last":
            summed |= {name: {"source": (0, 2, 3), "neuron": (0, 2)}.get(name, axes) for name, axes in summed.items()}
        total = sum(np.sum(np.asarray(found[name]), axes) for name, axes in summed.items())
        assert total.shape == target.shape and found["embed"].dtype == np.float64
        np.testing.assert_allclose(found["logit"], wanted, atol=1e-12)
        np.testing.assert_allclose(total, wanted, atol=1e-12)  # a few hundred terms of size 1 at 1e-16
    near = {"rtol": 0, "atol": 1e-12}
    head, neuron, source = (jax.tree.map(np.asarray, by_parts[parts]) for parts in get_args(Parts))
    np.testing.assert_allclose(source["source"].sum(-1), head["head"], **near)
    if "mlp" in head:
        more = neuron["bias"] - head["bias"]  # every b_out
        np.testing.assert_allclose(neuron["neuron"].sum((0, -1)) + more, head["mlp"].sum(0), **near)


def all_parts(net, params, x, target, against):
    return {parts: logit_attribution(net.apply, params, x, target, against, parts) for parts in get_args(Parts)}


def test_the_induction_head_writes_the_logit():
    """Head 1.0 alone: it adds 20 to the token that followed, read from that token's position."""
    net = Net.of(InductionMachine, d_vocab=7, n_ctx=7)
    params = net.init(jax.random.key(0))
    x = jnp.array([[6, 0, 3, 1, 0, 3, 1]])
    found = logit_attribution(net.apply, params, x, jnp.roll(x, -1, axis=1), None, "source")
    for t in (4, 5):  # the last occurrence of the token there was at t − 3, so what followed is at t − 2
        wanted = np.zeros((2, 1, 7))
        wanted[1, 0, t - 2] = 20
        np.testing.assert_allclose(found["source"][:, 0, :, t], wanted, atol=1e-4)  # others get e⁻⁶⁰
        assert found["embed"][0, t] == found["pos"][0, t] == 0


def test_the_scale_of_the_final_norm_is_frozen():
    """The direction is the gradient of the logit with σ held, and centring takes the mean logit off."""
    net, x, target = net_of(), drawn(), drawn(seed=2)
    params = some_params(net)
    logits, cache = net.apply(params, x)
    direction, constant = logit_direction(params, cache["resid_post"][-1], target)
    wanted = np.take_along_axis(np.asarray(logits), np.asarray(target)[..., None], -1)[..., 0]
    np.testing.assert_allclose(jnp.sum(direction * cache["resid_post"][-1], -1) + constant, wanted, atol=1e-5)
    np.testing.assert_allclose(direction.sum(-1), 0, atol=1e-5)
    above = logit_attribution(net.apply, centred_unembedding(params), x, target)["logit"]
    np.testing.assert_allclose(above, wanted - logits.mean(-1), atol=1e-5)


def test_the_analyzer_sums_to_the_mean_logit():
    net, tokens = net_of(d_vocab_out=11), drawn(5, 7, 11)
    run = Run(Config(None, net, None), {"tokens": tokens})
    found = next_token_attribution(some_params(net), run)
    assert found["head"].shape == (2, 2) and found["mlp"].shape == (2,)
    total = sum(float(jnp.sum(value)) for name, value in found.items() if name != "logit")
    np.testing.assert_allclose(total, found["logit"], atol=1e-5)


class Doubled(Transformer):
    """Adds something that no part writes."""

    def read_out(self, resid, product=jnp.matmul):
        return super().read_out(2 * resid, product)


class Nothing(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.W_U = nnx.Param(jnp.ones((2, 3)))

    def __call__(self, x, patch=None, full=True):
        return jnp.zeros((*x.shape, 3)), {"post": jnp.zeros((1, *x.shape, 2))}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"parts": "layer"}, "parts is 'layer': it must be one of head, neuron, source."),
        ({"target": jnp.zeros((3, 5), int)}, "target has shape (3, 5): it must be [3, 6], a token for each"),
        ({"against": jnp.full((3, 6), 9)}, "against has 9: W_U has 9 columns, so it must lie between 0 and 8."),
        ({"target": jnp.full((3, 6), -1)}, "target has -1: W_U has 9 columns"),
        ({"net": net_of(Transformer, readout_layers=1)}, "W_U must read the residual stream, without W_R."),
        ({"net": net_of(Doubled, layer_norm=False)}, "from the logit: the network has other parts than embedding"),
        (
            {"net": Net.of(Nothing)},
            "the network has no activation embed: its cache has post.",
        ),
        ({"net": net_of(clamps=(("embed", jnp.multiply),))}, "net.clamps has embed, which is patched here"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused(change, sentence):
    net = change.pop("net", net_of())
    given = {"x": drawn(), "target": drawn(seed=2), "against": None, "parts": "head", **change}
    with pytest.raises(ValueError) as caught:
        logit_attribution(net.apply, net.init(jax.random.key(0)), **given)
    assert sentence in str(caught.value)


def test_under_jit_what_does_not_add_up_is_nan():
    net, x = net_of(Doubled, layer_norm=False), drawn()
    run = lambda params: logit_attribution(net.apply, params, x, x % 9)["head"]  # noqa: E731
    assert np.isnan(jax.jit(run, compiler_options=QUICK)(net.init(jax.random.key(0)))).all()


def test_half_a_norm_is_refused():
    params = {"W_U": np.ones((4, 3)), "ln_final_w": np.ones(4)}
    with pytest.raises(ValueError, match="ln_final_w and ln_final_b must be there both or neither"):
        logit_direction(params, np.ones(4), np.array(0))
