"""Dictionaries of SAELens: by their formulas on square matrices, with the config beside the file, and what is refused."""

import json

import numpy as np
import pytest

from toylab import importers
from toylab.analysis.superposition.dictionary import max_cosines
from toylab.models import JumpReLUAutoencoder, SparseAutoencoder

D, B = 6, 40
X = np.random.default_rng(3).normal(size=(B, D)).astype(np.float32)
STANDARD = {
    "architecture": "standard",
    "d_in": D,
    "d_sae": D,
    "apply_b_dec_to_input": True,
    "normalize_activations": "none",
}


def drawn(*more, unit=False, seed=0):
    rng = np.random.default_rng(seed)
    w = {"W_enc": rng.normal(size=(D, D)), "W_dec": rng.normal(size=(D, D)), "b_dec": rng.normal(size=D)}
    w |= {name: abs(rng.normal(size=D)) / 2 for name in more}
    w["W_dec"] = 2 * w["W_dec"] / np.linalg.norm(w["W_dec"], axis=1, keepdims=True) if unit else w["W_dec"]
    return {name: np.float32(x) for name, x in w.items()}


def forward(w, config, x):
    """Latents and reconstruction, in float64: x W_enc + b_enc, an activation, and f W_dec + b_dec."""
    w = {name: np.float64(value) for name, value in w.items()}
    norms = np.linalg.norm(w["W_dec"], axis=1)
    pre = (x - w["b_dec"] * config.get("apply_b_dec_to_input", True)) @ w["W_enc"] + w["b_enc"]
    rescaled = config.get("rescale_acts_by_decoder_norm", False)
    pre = pre * norms if rescaled else pre
    f = np.maximum(pre, 0)
    if "threshold" in w:
        f = f * (pre > w["threshold"])
    if "k" in config:
        f = f * (np.argsort(np.argsort(-pre, axis=1), axis=1) < config["k"])
    return f, (f / norms if rescaled else f) @ w["W_dec"] + w["b_dec"]


CASES = {
    "standard": (drawn("b_enc"), STANDARD),
    "unshifted": (drawn("b_enc"), STANDARD | {"apply_b_dec_to_input": False}),
    "jumprelu": (drawn("b_enc", "threshold"), STANDARD | {"architecture": "jumprelu"}),
    "topk": (drawn("b_enc"), STANDARD | {"architecture": "topk", "k": 2, "rescale_acts_by_decoder_norm": True}),
    "topk of equal norms": (drawn("b_enc", unit=True), STANDARD | {"architecture": "topk", "k": 2}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_dictionary_has_its_reconstruction_and_its_latents_times_the_norms(case):
    w, config = CASES[case]
    latents, wanted = forward(w, config, X)
    net, params = importers.load(w, "sae_lens", config=config, probe=(X, wanted))
    assert net.module is (JumpReLUAutoencoder if case == "jumprelu" else SparseAutoencoder)
    found, cache = net.apply(params, X)
    # float32 against float64 through two sums of 6 products: 1e-5 of the largest is 100 roundings
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    norms = 1 if config.get("rescale_acts_by_decoder_norm") else np.linalg.norm(w["W_dec"], axis=1)
    np.testing.assert_allclose(cache["latents"][0], latents * norms, rtol=1e-4, atol=1e-5 * np.abs(latents).max())
    assert (
        ((np.asarray(cache["latents"][0]) > 0) == (latents > 0)).all() and (latents > 0).any() and (latents == 0).any()
    )
    np.testing.assert_allclose(np.linalg.norm(params["W_dec"], axis=1), 1, rtol=1e-6)
    assert np.allclose(max_cosines(w["W_dec"], params["W_dec"]), 1, atol=1e-6)
    turned = w | {"W_enc": w["W_enc"].T}
    with pytest.raises(ValueError, match=r"W_enc lies transposed\.$"):
        importers.load(turned, "sae_lens", config=config, probe=(X, wanted))


def test_the_config_stands_beside_the_file_and_checkpoints_are_a_sweep(tmp_path):
    config = CASES["jumprelu"][1]
    for step in (0, 5):
        folder = tmp_path / f"step_{step}"
        folder.mkdir()
        (folder / "cfg.json").write_text(json.dumps(config | {"metadata": {"sae_lens_version": "6.0.0"}}))
        importers.safetensors.write(folder / "sae_weights.safetensors", drawn("b_enc", "threshold", seed=step), {})
    net, params = importers.load(tmp_path / "step_0" / "sae_weights.safetensors", "sae_lens")
    assert importers.load(tmp_path / "step_0", "sae_lens")[0] == net
    assert net.module is JumpReLUAutoencoder and (params["threshold"] > 0).all()
    files = [tmp_path / f"step_{step}" / "sae_weights.safetensors" for step in (0, 5)]
    for sweep in (importers.load_many(files, "sae_lens", steps=[0, 5]), importers.load_many(tmp_path, "sae_lens")):
        assert sweep.steps.tolist() == [0, 5]
        for name in params:  # each is read alone, and made of all arrays
            np.testing.assert_array_equal(sweep.params[name][0, 0], params[name])


def test_configs_before_version_6_say_their_activation():
    w, _ = CASES["topk of equal norms"]
    old = {
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": 3},
        "hook_point": "blocks.0.hook_resid_pre",
        "d_in": D,
    }
    assert importers.load(w, "sae_lens", config=old)[0].k == 3
    assert importers.load(w, "sae_lens", config={"activation_fn": "relu"})[0].k == 0


def test_a_row_of_zeros_stays():
    w, config = CASES["standard"]
    w = w | {"W_dec": w["W_dec"] * (np.arange(D) != 2)[:, None]}
    _, params = importers.load(w, "sae_lens", config=config, probe=(X, forward(w, config, X)[1]))
    assert not params["W_dec"][2].any()


TOPK = STANDARD | {"architecture": "topk"}


@pytest.mark.parametrize(
    ("w", "config", "message"),
    [
        (drawn("b_enc"), {}, r"^config lacks architecture \(standard, topk or jumprelu\): hand over the dictionary's cfg"),
        (drawn("b_enc"), {"architecture": "gated"}, r"^config\.architecture is 'gated': it must be one of standard, "),
        (drawn("b_enc"), {"architecture": "transcoder"}, r"^config\.architecture is 'transcoder': it must be one of "),
        (drawn("b_gate", "b_mag", "r_mag"), {"architecture": "gated"}, r"^config\.architecture is 'gated', by the arrays"),
        (drawn("b_enc"), {"architecture": "jumprelu"}, r"^config\.architecture is 'jumprelu': threshold is not there\.$"),
        (drawn("b_enc", "threshold"), STANDARD, r"^config\.architecture is 'standard': threshold is there\.$"),
        (drawn("b_enc"), TOPK, r"^config lacks k, the latents that are on: "),
        (drawn("b_enc"), TOPK | {"k": 2}, r"^W_dec has rows of norms .*, and config\.rescale_acts_by_decoder_norm is "),
        (drawn("b_enc"), TOPK | {"k": 9, "rescale_acts_by_decoder_norm": True}, r"^net\.k is 9: it must be at most net"),
        (drawn("b_enc"), STANDARD | {"d_sae": 7}, r"^config\.d_sae is 7 and the arrays have 6: "),
        (drawn("b_enc"), STANDARD | {"apply_b_dec_to_input": 3}, r"^config\.apply_b_dec_to_input is 3: it must be true or"),
        (
            drawn("b_enc"), STANDARD | {"normalize_activations": "layer_norm"},
            r"^config\.normalize_activations is 'layer_norm': it must be none or null or False, since inputs here enter",
        ),
        (drawn("b_enc", "scaling_factor"), STANDARD, r"\(autoencoder\): extra scaling_factor\.$"),
    ],
)  # fmt: skip
def test_what_is_no_such_dictionary_is_refused_by_its_name(w, config, message):
    with pytest.raises(ValueError, match=message):
        importers.load(w, "sae_lens", config=config)


def test_the_layout_is_read_alone(tmp_path):
    net, params = importers.load(*CASES["standard"][:1], "sae_lens", config=STANDARD)
    with pytest.raises(ValueError, match=r"^layout is sae_lens: it is read alone; save writes toylab, for one\.$"):
        importers.save(params, tmp_path / "x.safetensors", "sae_lens", net=net)
    importers.save(params, tmp_path / "x.safetensors", "toylab", net=net)
    again, same = importers.load(tmp_path / "x.safetensors", "toylab")
    assert again == net and all((same[name] == params[name]).all() for name in params)
