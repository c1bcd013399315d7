"""Interventions on the reference's random models (float64), exact identities, and bad input."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.attention import subcircuits
from toylab.analysis.attention.interventions import (
    HEADS_AND_POSITIONS,
    activation_patching,
    attribution_patching,
    head_ablation,
    path_patching,
)
from toylab.analysis.attention.scrubbing import scrubbed
from toylab.models import Net, Transformer

QUICK = {"xla_backend_optimization_level": 0}  # halves the time to compile
MODELS = ("g1_abs_noln", "g3_shortformer", "g4_rotary")
TRANSFORMER = {"d_vocab": 20, "d_vocab_out": 20, "n_ctx": 16, "n_layers": 2, "d_model": 32, "n_heads": 4, "d_mlp": 0}


def net_of(positions="abs", **changes):
    return Net.of(Transformer, **{**TRANSFORMER, "readout": "all", "positions": positions, **changes})


def params_of(golden):
    named = {key[2:].replace("W_P", "W_pos"): golden[key] for key in golden.files if key.startswith("w_")}
    return {name: value for name, value in named.items() if str(golden["pos"]) != "rotary" or name != "W_pos"}


def next_token_loss(tokens, logits):
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits[:, :-1]), tokens[:, 1:, None], axis=2)
    return -jnp.mean(chosen)


def difference(target, other, logits):
    rows = jnp.arange(len(target))
    return jnp.mean(logits[rows, -1, target] - logits[rows, -1, other])


def against_reference(apply, params, s_tokens, clean, corrupt, target, other):
    """What the reference holds of a model, by the reference's names."""
    patching = partial(activation_patching, apply, params, clean, corrupt, partial(difference, target, other))
    attribution = partial(attribution_patching, apply, params, clean, corrupt, partial(difference, target, other))
    loss = partial(next_token_loss, s_tokens)
    return {
        **{
            f"a_delta_{kind}": head_ablation(apply, params, s_tokens, loss, kind)
            for kind in ("zero", "mean", "resample")
        },
        "i_patch_resid_pre": patching("resid_pre"),
        "i_patch_z": patching("z"),
        "i_patch_pattern": patching("pattern"),
        "i_patch_z_pos": patching("z", HEADS_AND_POSITIONS),
        "atp_z": attribution("z"),
        "atp_z_cleangrad": attribution("z", at="clean"),
        "atp_resid": attribution("resid_pre"),
    }


def identities(apply, params, clean, corrupt, target, other):
    metric = partial(difference, target, other)
    pattern = apply(params, corrupt)[1]["pattern"]

    def frozen(params, x, patch=None, *, full=True):
        hold = {"pattern": lambda value, layer: pattern[layer] if layer == 1 else value}
        return apply(params, x, {**hold, **(patch or {})}, full=full)

    return {
        "layers": activation_patching(apply, params, clean, corrupt, metric, "resid_pre", (0,)),
        "keys": path_patching(apply, params, clean, corrupt, metric),
        "direct": path_patching(apply, params, clean, corrupt, metric, "logits"),
        "frozen": activation_patching(frozen, params, clean, corrupt, metric),
        "values": path_patching(frozen, params, clean, corrupt, metric, "v"),
        "frozen_direct": path_patching(frozen, params, clean, corrupt, metric, "logits"),
    }


def run_reference(folder, name, function, keys):
    """`function` of a reference model's weights and inputs, in float64."""
    golden = np.load(folder / "attention" / f"{name}.npz")
    with jax.enable_x64():
        inputs = [jnp.asarray(golden[key]) for key in keys]
        found = jax.jit(partial(function, net_of(str(golden["pos"])).apply), compiler_options=QUICK)(
            params_of(golden), *inputs
        )
        return {key: np.asarray(value) for key, value in found.items()}


PATCHING = ("i_clean", "i_corrupt", "i_target", "i_other")


@pytest.fixture(scope="module", params=MODELS)
def both(request, reference):
    """A reference model's arrays, and ours of the same weights and inputs in float64."""
    golden = np.load(reference / "attention" / f"{request.param}.npz")
    attribution = np.load(reference / "attention" / f"{request.param}_atp.npz")
    ours = run_reference(reference, request.param, against_reference, ("s_tokens", *PATCHING))
    expected = {name: golden[name] for name in golden.files if name.startswith(("a_delta", "i_patch"))}
    for name in ("atp_z", "atp_z_cleangrad", "atp_resid"):
        expected[name] = np.stack([attribution[f"{name}_{layer}"] for layer in range(2)])
    return expected, ours


@pytest.fixture(scope="module")
def exact(reference):
    return run_reference(reference, "g1_abs_noln", identities, PATCHING)


@pytest.mark.slow
def test_the_reference_models(both):
    expected, ours = both
    assert set(expected) == set(ours) and ours["a_delta_zero"].dtype == np.float64
    for name in expected:
        np.testing.assert_allclose(ours[name], expected[name], rtol=0, atol=1e-10, err_msg=name)


def test_the_reference_rolls_its_batch(reference):
    golden = np.load(reference / "attention" / "g1_abs_noln.npz")
    np.testing.assert_array_equal(golden["a_resample_perm"], np.roll(np.arange(8), 1))


def test_attribution_is_exact_in_the_last_layer(both):
    """No LayerNorm: the logits are linear in the last layer's z. In the first layer they are not."""
    _, ours = both
    np.testing.assert_allclose(ours["atp_z"][1], ours["i_patch_z"][1], rtol=0, atol=2e-14)
    assert np.abs(ours["atp_z"][0] - ours["i_patch_z"][0]).max() > 1e-3


def test_the_whole_residual_restores_everything(exact):
    np.testing.assert_allclose(exact["layers"][0], 1, atol=1e-12)
    assert abs(exact["layers"][1] - 1) < 1e-12  # no LayerNorm and no skip around the residual


def test_paths(exact, reference):
    """The last layer's heads reach the logits by the direct path alone; a sender reaches only later layers."""
    patch_z = np.load(reference / "attention" / "g1_abs_noln.npz")["i_patch_z"]
    np.testing.assert_allclose(exact["direct"][1], patch_z[1], rtol=0, atol=1e-12)
    keys = exact["keys"]  # [L, H, L, H]
    assert keys.shape == (2, 4, 2, 4) and np.all(keys[1] == 0) and np.all(keys[:, :, 0] == 0)
    assert np.all(np.abs(keys[0, :, 1]) > 0)


def test_paths_through_values_add_up(exact):
    """With the second layer's patterns frozen, what a first-layer head does is the sum over its paths into values and to
    the logits."""
    paths = exact["values"].sum(axis=(2, 3)) + exact["frozen_direct"]
    np.testing.assert_allclose(paths[0], exact["frozen"][0], rtol=0, atol=1e-12)


def test_bad_input():
    net = net_of(d_vocab=3, d_vocab_out=3, d_model=4, n_ctx=4)
    params = {
        name: np.zeros(leaf.shape, np.float32) for name, leaf in jax.eval_shape(net.init, jax.random.key(0)).items()
    }
    x = jnp.zeros((2, 4), int)
    with pytest.raises(ValueError, match="kind is 'none': it must be zero, mean or resample"):
        head_ablation(net.apply, params, x, jnp.sum, "none")
    with pytest.raises(ValueError, match="receiver is 'o': it must be q, k, v or logits"):
        path_patching(net.apply, params, x, x, jnp.sum, "o")
    with pytest.raises(ValueError, match="at is 'middle': it must be corrupt or clean"):
        attribution_patching(net.apply, params, x, x, jnp.sum, at="middle")
    with pytest.raises(ValueError, match="name is 'zz': the activations are resid_pre, "):
        activation_patching(net.apply, params, x, x, jnp.sum, "zz")
    with pytest.raises(ValueError, match=r"axes is \(2,\): ascending axes of z"):
        attribution_patching(net.apply, params, x, x, jnp.sum, "z", (2,))


@pytest.mark.parametrize("kind", ["mean", "resample"])
def test_a_batch_of_one_has_no_other_example(kind):
    net = net_of()
    params, one = net.init(jax.random.key(0)), jnp.zeros((1, 5), int)
    with pytest.raises(
        ValueError, match=rf"^x has shape \(1, 5\): kind '{kind}' takes from other examples, .* at least 2\.$"
    ):
        head_ablation(net.apply, params, one, jnp.mean, kind)
    assert head_ablation(net.apply, params, one, lambda logits: jnp.mean(logits[..., 0])).any()


def halved(value, layer):
    return value / 2


@pytest.mark.parametrize(("clamp", "call"), [
    ("z", lambda net, params, x: head_ablation(net.apply, params, x, jnp.mean)),
    ("z", lambda net, params, x: head_ablation(partial(net.apply, full=True), params, x, jnp.mean)),
    ("pattern", lambda net, params, x: activation_patching(net.apply, params, x, x, jnp.mean, "pattern")),
    ("z", lambda net, params, x: attribution_patching(net.apply, params, x, x, jnp.mean)),
    ("k_input", lambda net, params, x: path_patching(net.apply, params, x, x, jnp.mean)),
    ("resid_post", lambda net, params, x: path_patching(net.apply, params, x, x, jnp.mean, "logits")),
    ("v_input", lambda net, params, x: scrubbed(net.apply, params, x, {(0, 0, "k"): x}, jax.random.key(0))),
    ("z", lambda net, params, x: subcircuits.solo_accuracy(net.apply, params, x, x[:, 0])),
])  # fmt: skip
def test_a_patch_that_would_lift_a_clamp_is_refused(clamp, call):
    net = net_of().replace(clamps=((clamp, halved),))
    with pytest.raises(ValueError, match=rf"^net\.clamps has {clamp}, which is patched here"):
        call(net, net.init(jax.random.key(0)), jnp.zeros((2, 5), int))


def test_a_layer_that_is_not_there_is_refused():
    net = net_of(n_layers=1, readout="last")
    arguments = net.apply, net.init(jax.random.key(0)), jnp.zeros((2, 5), int), jnp.zeros(2, int)
    for call in (subcircuits.solo_accuracy, subcircuits.wiring):
        with pytest.raises(ValueError, match=r"^params has 1 layers: there is no layer 1, counted from 0\.$"):
            call(*arguments, *([arguments[3]] if call is subcircuits.wiring else []))
