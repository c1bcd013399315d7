"""The same measures by TransformerLens itself (2.x HookedTransformer, 4.x TransformerBridge), on one small random model."""

import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.attention import attribution, composition, hooks, lens, read_out
from toylab.models import BiasedTransformer, Net

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
transformer_lens = pytest.importorskip(
    "transformer_lens", reason="TransformerLens is in no extra: it is compared by hand"
)

SIZES = {"n_layers": 3, "d_model": 16, "n_ctx": 6, "d_head": 4, "n_heads": 4, "d_mlp": 24, "d_vocab": 11}
NEAR = {"rtol": 1e-5, "atol": 1e-5}


def theirs():
    """A model of theirs with random weights; the final LayerNorm's weight is 1, as they fold it before they attribute."""
    config = {**SIZES, "act_fn": "relu", "normalization_type": "LN"}
    try:
        model = transformer_lens.HookedTransformer(transformer_lens.HookedTransformerConfig(**config))
    except ImportError:  # 4.x has bridges alone
        from transformer_lens.model_bridge.sources import boot_native

        model = boot_native(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            mean = 1.0 if ".ln" in name and name.endswith(("w", "weight")) else 0.0
            value.copy_(mean + 0.3 * torch.randn(value.shape, generator=generator))
        model.ln_final.w.fill_(1.0)
        model.ln_final.b.zero_()
    return model


def ours(model):
    names = [
        "W_E",
        "W_pos",
        "W_Q",
        "W_K",
        "W_V",
        "W_O",
        "W_in",
        "W_out",
        "W_U",
        "b_Q",
        "b_K",
        "b_V",
        "b_O",
        "b_in",
        "b_out",
        "b_U",
    ]
    params = {name: getattr(model, name) for name in names}
    for norm in ("ln1", "ln2"):
        for part in "wb":
            params[f"{norm}_{part}"] = torch.stack([getattr(getattr(block, norm), part) for block in model.blocks])
    params |= {f"ln_final_{part}": getattr(model.ln_final, part) for part in "wb"}
    net = Net.of(BiasedTransformer, **SIZES, d_vocab_out=11, activation="relu", layer_norm=True, readout="all")
    return net, {name: jnp.asarray(value.detach().numpy()) for name, value in params.items()}


@pytest.fixture(scope="module")
def both():
    model = theirs()
    net, params = ours(model)
    x = np.random.default_rng(0).integers(0, 11, (3, 6))
    with torch.no_grad():
        logits, their_cache = model.run_with_cache(torch.as_tensor(x))
        their_cache.compute_head_results()
    return model, net, params, x, logits.numpy(), their_cache, *net.apply(params, jnp.asarray(x))


def test_caches_agree_both_ways(both):
    _, _, _, _, their_logits, their_cache, logits, cache = both
    np.testing.assert_allclose(logits, their_logits, **NEAR)
    here = hooks.from_hooks({name: value.numpy() for name, value in their_cache.items()})
    assert set(here) == set(cache)
    native = np.allclose(here["scores"], here["pattern"])  # 4.3's own small model has the pattern under both names
    for name, value in cache.items():
        if not (native and name == "scores"):
            np.testing.assert_allclose(here[name], value, err_msg=name, **NEAR)
    for name, value in hooks.to_hooks(cache).items():
        if not (native and name.endswith("scores")):
            np.testing.assert_allclose(value, their_cache[name].numpy(), err_msg=name, **NEAR)


@pytest.mark.parametrize("kind", ["Q", "K", "V"])
def test_compositions_agree(both, kind):
    model, _, params = both[:3]
    scores = model.all_composition_scores(kind)
    scores = np.asarray(getattr(scores, "scores", scores).detach())
    found = composition.composition_scores(params, kind)
    np.testing.assert_allclose(np.nan_to_num(found), scores, **NEAR)


def test_attributions_agree(both):
    _, net, params, x, _, their_cache, _, _ = both
    target, against = np.roll(x, 1, axis=1), np.roll(x, 2, axis=1)
    found = attribution.logit_attribution(net.apply, params, x, target, against)
    neurons = attribution.logit_attribution(net.apply, params, x, target, against, "neuron")["neuron"]

    def attributed(stack):
        with torch.no_grad():
            return their_cache.logit_attrs(stack, torch.as_tensor(target), torch.as_tensor(against)).numpy()

    with torch.no_grad():
        heads, by_neuron = their_cache.stack_head_results(), their_cache.stack_neuron_results(layer=-1)
        parts, labels = their_cache.decompose_resid(return_labels=True)
    n_layers, n_heads = SIZES["n_layers"], SIZES["n_heads"]
    wanted = attributed(heads).reshape(n_layers, n_heads, 3, 6).swapaxes(1, 2)
    np.testing.assert_allclose(found["head"], wanted, **NEAR)
    wanted = attributed(by_neuron).reshape(n_layers, -1, 3, 6)
    np.testing.assert_allclose(jnp.moveaxis(neurons, -1, 1), wanted, **NEAR)
    parts = dict(zip(labels, attributed(parts), strict=True))
    np.testing.assert_allclose(found["embed"], parts["embed"], **NEAR)
    np.testing.assert_allclose(found["pos"], parts["pos_embed"], **NEAR)
    np.testing.assert_allclose(found["mlp"], np.stack([parts[f"{i}_mlp_out"] for i in range(n_layers)]), **NEAR)
    attention = sum(parts[f"{i}_attn_out"] for i in range(n_layers))
    np.testing.assert_allclose(found["head"].sum((0, 2)) + found["bias"], attention, **NEAR)


def test_lenses_agree(both):
    model, _, params, _, _, their_cache, _, cache = both
    with torch.no_grad():
        stack = their_cache.accumulated_resid(layer=None, incl_mid=False)
        wanted = torch.stack([model.unembed(model.ln_final(resid)) for resid in stack]).numpy()
    found = lens.residual_stream(cache)
    np.testing.assert_allclose(found, stack.numpy(), **NEAR)
    np.testing.assert_allclose(read_out.logit_lens(params, found), wanted, **NEAR)


def test_hooks_act_alike(both):
    model, net, params, x, logits, *_ = both
    with torch.no_grad():
        wanted = model.run_with_hooks(
            torch.as_tensor(x),
            fwd_hooks=[("blocks.1.attn.hook_z", lambda z, hook: z * torch.tensor([1.0, 0, 1, 1])[:, None])],
        ).numpy()
    patch = hooks.hook_patch({"blocks.1.attn.hook_z": lambda z: z.at[:, :, 1].set(0)}, 3)
    np.testing.assert_allclose(net.apply(params, jnp.asarray(x), patch)[0], wanted, **NEAR)
    assert np.abs(wanted - logits).max() > 1e-2
