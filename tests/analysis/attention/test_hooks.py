"""TransformerLens' hook names: both ways, values in its axes, patches at one layer, and what is no hook."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.attention import hooks
from toylab.models import BiasedTransformer, Net

NET = Net.of(
    BiasedTransformer, d_vocab=7, d_vocab_out=7, n_ctx=5, n_layers=2, d_model=8, n_heads=2, d_mlp=12, readout="all"
)


PARAMS = NET.init(jax.random.key(0))


@pytest.fixture(scope="module")
def run():
    params, x = PARAMS, jax.random.randint(jax.random.key(1), (3, 5), 0, 7)
    return params, x, *NET.apply(params, x)


def test_names_go_both_ways(run):
    cache = run[3]
    for name in (*cache, "q_input", "k_input", "v_input", "mlp_input"):
        for layer in (0, 1, 11):
            assert hooks.toylab_name(hooks.hook_name(name, layer)) == (name, layer)
    assert hooks.hook_name("pattern", 0) == "blocks.0.attn.hook_pattern"
    assert hooks.toylab_name("hook_embed") == ("embed", 0) and hooks.hook_name("embed", 0) == "hook_embed"


def test_values_are_in_their_axes(run):
    cache = run[3]
    theirs = hooks.to_hooks(cache)
    assert set(theirs) == set(hooks.hook_names(cache)) and len(theirs) == 2 * (len(cache) + 1)
    np.testing.assert_array_equal(theirs["blocks.1.attn.hook_z"], np.moveaxis(cache["z"][1], 1, 2))
    np.testing.assert_array_equal(theirs["blocks.0.attn.hook_pattern"], cache["pattern"][0])
    middle = cache["resid_post"][1] - cache["mlp_out"][1]
    np.testing.assert_allclose(theirs["blocks.1.hook_resid_mid"], middle, atol=1e-6)
    back = hooks.from_hooks({**theirs, "ln_final.hook_scale": np.ones((3, 5, 1)), "hook_pos_embed": np.ones((3, 5, 8))})
    assert set(back) == set(cache)
    for name, value in cache.items():
        np.testing.assert_array_equal(back[name], value)


def test_a_patch_acts_at_its_layer_alone(run):
    """Head 1 of layer 1 set to 0 in their axes is that of ours, and a patched input is seen by its head."""
    params, x, logits, _ = run
    theirs = hooks.hook_patch({"blocks.1.attn.hook_z": lambda z: z.at[:, :, 1].set(0)}, 2)
    ours = {"z": lambda value, layer: value.at[:, 1].set(0) if layer == 1 else value}
    np.testing.assert_array_equal(NET.apply(params, x, theirs)[0], NET.apply(params, x, ours)[0])
    every = {f"blocks.{layer}.hook_q_input": lambda value: value for layer in range(2)} | {
        "hook_embed": lambda value: value
    }
    same = NET.apply(params, x, hooks.hook_patch(every, 2))[0]
    np.testing.assert_allclose(same, logits, atol=1e-5)  # by another product
    only = hooks.hook_patch({"hook_embed": lambda value: 0 * value}, 2)
    assert np.abs(NET.apply(params, x, only)[0] - logits).max() > 0.1


def without(cache, *hooks):
    return {name: value for name, value in cache.items() if name not in hooks}


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda c: hooks.activation(c, "blocks.0.attn.hook_patern"), "it must be blocks.0.attn.hook_pattern"),
        (lambda c: hooks.activation(c, "blocks.0.hook_pattern"), "hook 'blocks.0.hook_pattern' is none: it must be"),
        (lambda c: hooks.activation(c, "pattern"), "hook 'pattern' is none: it must be"),
        (lambda c: hooks.activation(c, "blocks.2.attn.hook_z"), "is of layer 2: the cache has the layers 0 to 1."),
        (lambda c: hooks.activation(c, "blocks.0.ln1.hook_scale"), "hook blocks.0.ln1.hook_scale is not in this cache"),
        (lambda c: hooks.activation(c, "hook_embed"), "hook hook_embed is not in this cache"),
        (lambda c: hooks.activation({}, "blocks.0.mlp.hook_pre"), "is not in this cache: it has none."),
        (lambda c: hooks.toylab_name("blocks.0.hook_resid_mid"), "is the sum of resid_pre and attn_out here"),
        (lambda c: hooks.hook_name("pattrn", 0), "name is 'pattrn': it must be pattern"),
        (lambda c: hooks.hook_name("embed", 1), "layer is 1: it must be 0 of embed."),
        (lambda c: hooks.hook_patch({"blocks.2.attn.hook_z": abs}, 2), "the network has the layers 0 to 1."),
        (lambda c: hooks.hook_patch({"blocks.0.hook_resid_mid": abs}, 2), "is the sum of resid_pre and attn_out here"),
        (lambda c: hooks.hook_patch({"blocks.0.attn.hook_z": 3}, 2), "has a int: it must be a function"),
        (lambda c: hooks.from_hooks(without(hooks.to_hooks(c), "blocks.0.attn.hook_q")), "blocks.0.attn.hook_q is missing"),
        (lambda c: hooks.from_hooks({"blocks.0.hook_q": c["q"][0]}), "hook 'blocks.0.hook_q' is none: it must be"),
        (lambda c: hooks.from_hooks({f"blocks.{i}.hook_mlp_out": c["mlp_out"][i, : 3 - i] for i in range(2)}),
         "mlp_out has the shapes (3, 5, 8), (2, 5, 8): layers must have the same one."),
        (lambda c: hooks.from_hooks({"blocks.0.attn.hook_z": np.ones((5, 2, 4))}), "it must have 4 axes"),
        (lambda c: NET.apply(PARAMS, np.zeros((3, 5), int), hooks.hook_patch({"blocks.0.hook_mlp_out": jnp.sum}, 2)),
         "the function of blocks.0.hook_mlp_out gives (): it must give (3, 5, 8), as it gets."),
    ],
)  # fmt: skip
def test_what_is_no_hook_is_refused(run, call, sentence):
    with pytest.raises(ValueError) as caught:
        call(run[3])
    assert sentence in str(caught.value)


def test_under_jit(run):
    params, x, _, cache = run
    found = jax.jit(lambda params: hooks.to_hooks(NET.apply(params, x)[1])["blocks.1.attn.hook_q"])(params)
    np.testing.assert_allclose(found, jnp.moveaxis(cache["q"][1], 1, 2), atol=1e-6)
