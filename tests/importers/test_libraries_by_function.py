"""Layouts of TransformerLens 3 and 4 and of Hugging Face by function: a forward pass in NumPy, on square matrices."""

import jax
import numpy as np
import pytest

from tests.shared import foreign_transformers as theirs
from tests.shared.foreign_transformers import D_HEAD, HEADS, N, P
from toylab import importers
from toylab.models import BiasedTransformer, NeoXTransformer, Net

TOKENS = np.random.default_rng(1).integers(0, N, (6, P))
OWN, GROUPED = theirs.drawn(biased_unembedding=True), theirs.drawn(groups=1, biased_unembedding=True, seed=2)
PLAIN = theirs.drawn(seed=3)
TIED = {**PLAIN, "W_U": PLAIN["W_E"].T}
LENS = {
    "act_fn": "gelu_new",
    "positional_embedding_type": "standard",
    "attention_dir": "causal",
    "use_attn_scale": True,
}
TURNED = LENS | {"act_fn": "gelu", "positional_embedding_type": "rotary", "n_ctx": P, "normalization_type": "LN"}
SIZED = {"n_heads": HEADS, "d_head": D_HEAD}
ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}
GPT2 = {"n_head": HEADS, "activation_function": "gelu_new", "n_inner": N, "model_type": "gpt2"}
NEOX = {"num_attention_heads": HEADS, "max_position_embeddings": P, "hidden_act": "gelu", "use_parallel_residual": True}
HALF = {"act": theirs.gelu, "rotary_dim": D_HEAD // 2, "parallel": True}
CASES = {  # layout, weights, source, config, how the authors' network computes, module
    "transformer_bridge native": (OWN, theirs.bridged(OWN), LENS | SIZED | {"architecture": "TransformerLensNative"}, {}),
    "transformer_bridge grouped": (
        GROUPED, theirs.bridged(GROUPED),
        LENS | SIZED | {"architecture": "TransformerLensNative", "n_key_value_heads": 1}, {},
    ),
    "transformer_bridge GPT-2": (
        OWN, theirs.bridged(OWN, conv=True), LENS | SIZED | {"architecture": "GPT2LMHeadModel"}, {},
    ),
    "transformer_bridge GPT-NeoX": (
        OWN, theirs.bridged(OWN, rotary=True),
        TURNED | SIZED | ROPE | {"architecture": "GPTNeoXForCausalLM", "parallel_attn_mlp": True}, HALF,
    ),
    "transformer_lens": (OWN, theirs.hooked(OWN), LENS, {}),
    "transformer_lens grouped": (GROUPED, theirs.hooked(GROUPED), LENS | {"n_key_value_heads": 1}, {}),
    "transformer_lens GPT-NeoX": (
        OWN, theirs.hooked(OWN, rotary=True), TURNED | {"rotary_dim": D_HEAD // 2, "parallel_attn_mlp": True}, HALF,
    ),
    "transformer_lens partly turned": (
        OWN, theirs.hooked(OWN, rotary=True), TURNED | {"rotary_dim": 2}, HALF | {"parallel": False},
    ),
    "gpt2": (TIED, theirs.gpt2(TIED), GPT2, {}),
    "gpt2 on the Hub": (TIED, theirs.gpt2(TIED, ""), GPT2, {}),
    "gpt2 untied": (
        PLAIN, theirs.gpt2(PLAIN) | {"lm_head.weight": PLAIN["W_U"].T}, GPT2 | {"tie_word_embeddings": False}, {},
    ),
    "gpt_neox": (PLAIN, theirs.gpt_neox(PLAIN), NEOX | {"rotary_pct": 0.5, "rotary_emb_base": 10000}, HALF),
    "gpt_neox all turned, in memory": (
        PLAIN, theirs.gpt_neox(PLAIN, "lm_head.weight"),
        NEOX | {"rotary_pct": 1.0, "use_parallel_residual": False},
        {"act": theirs.gelu, "rotary_dim": D_HEAD},
    ),
}  # fmt: skip
cases = pytest.mark.parametrize("case", CASES)


def given(case):
    w, source, config, computed = CASES[case]
    return source, config, theirs.forward(w, TOKENS, **({"act": theirs.gelu_new} | computed))


def logits_of(net, params):
    return np.asarray(jax.jit(lambda params: net.apply(params, TOKENS)[0])(params))


@cases
def test_a_layout_gives_its_library_s_logits_and_comes_back(case, tmp_path):
    source, config, wanted = given(case)
    net, params = importers.load(source, case.split()[0], config=config)
    assert net.module is (NeoXTransformer if "rotary_dim" in CASES[case][3] else BiasedTransformer)
    np.testing.assert_allclose(logits_of(net, params), wanted, atol=1e-5 * np.abs(wanted).max())  # some 50 roundings
    path = tmp_path / "w.safetensors"
    for layout in (case.split()[0], "toylab"):
        importers.save(params, path, layout, net=net)
        again, same = importers.load(path, layout)  # without a config: the file says it
        assert again == net and set(same) == set(params)
        assert all((same[name] == params[name]).all() for name in params)


@pytest.mark.parametrize("case", ["transformer_bridge native", "transformer_lens", "gpt2 untied", "gpt_neox"])
def test_what_is_saved_is_what_was_read(case, tmp_path):
    source, config, _ = given(case)
    net, params = importers.load(source, case.split()[0], config=config)
    importers.save(params, tmp_path / "w.safetensors", case.split()[0], net=net)
    arrays, _ = importers.safetensors.read(tmp_path / "w.safetensors")
    assert set(arrays) == set(source) and all((arrays[key] == x).all() for key, x in source.items())


@pytest.mark.parametrize("case", ["transformer_bridge native", "transformer_bridge GPT-2", "gpt2", "gpt_neox"])
def test_a_square_array_that_lies_transposed_is_named_by_the_probe(case):
    source, config, wanted = given(case)
    square = [key for key, x in source.items() if x.shape == (N, N) and ".1." in key]
    for key in square[::2]:
        turned = source | {key: np.ascontiguousarray(source[key].T)}
        importers.load(turned, case.split()[0], config=config)
        with pytest.raises(ValueError, match=rf"{key} lies transposed\.$"):
            importers.load(turned, case.split()[0], config=config, probe=(TOKENS, wanted))


def test_the_architecture_says_how_a_bridge_s_square_matrices_lie():
    source, config, wanted = given("transformer_bridge GPT-2")
    with pytest.raises(ValueError, match=r"^config lacks architecture \(TransformerLensNative, GPT2LMHeadModel or GPT"):
        importers.load(source, "transformer_bridge", config={k: v for k, v in config.items() if k != "architecture"})
    native = config | {"architecture": "TransformerLensNative"}
    with pytest.raises(ValueError, match=r"^probe: logits are off"):
        importers.load(source, "transformer_bridge", config=native, probe=(TOKENS, wanted))


@pytest.mark.parametrize(
    ("case", "change", "message"),
    [
        ("transformer_bridge native", {"n_heads": 3}, "source does not fit layout transformer_bridge"),
        ("transformer_bridge native", {"n_heads": "2"}, "config.n_heads is '2': it must lie in"),
        (
            "transformer_bridge native",
            {"architecture": "OPTForCausalLM"},
            "config.architecture is 'OPTForCausalLM': it",
        ),
        ("transformer_bridge native", {"architecture": None}, "config.architecture is None: it must be Transformer"),
        (
            "transformer_bridge native",
            {"n_heads": 9, "d_head": None},
            "config.n_heads is 9: it must be at most d_model,",
        ),
        ("transformer_bridge native", {"n_heads": 10**400}, "config.n_heads is 1000"),
        ("transformer_bridge native", {"positional_embedding_type": "shortformer"}, "it must be standard or rotary"),
        ("transformer_bridge grouped", {"n_key_value_heads": None}, "source does not fit layout transformer_bridge"),
        ("transformer_lens grouped", {"n_key_value_heads": 2}, "config.n_key_value_heads is 2 and the arrays have 1"),
        (
            "transformer_lens grouped",
            {"n_key_value_heads": None},
            "config.n_key_value_heads is None and the arrays have",
        ),
        ("transformer_lens GPT-NeoX", {"rotary_dim": 3}, "config.rotary_dim is 3: it must be even."),
        ("transformer_lens GPT-NeoX", {"rotary_dim": 6}, "config.rotary_dim is 6: it must lie in [2, 4]."),
        (
            "transformer_lens GPT-NeoX",
            {"attention_dir": "bidirectional"},
            "config.parallel_attn_mlp is True: toylab has",
        ),
        ("transformer_lens GPT-NeoX", {"use_parallel_residual": False}, "differ: they must be the same."),
        ("transformer_lens GPT-NeoX", {"architecture": "TransformerLensNative"}, "turn pairs of neighbours."),
        ("transformer_bridge GPT-NeoX", {"rope_parameters": {}}, "config lacks rotary_pct"),
    ],
)
def test_what_a_bridge_s_config_and_arrays_say_must_agree(case, change, message):
    source, config, _ = given(case)
    with pytest.raises(ValueError) as error:
        importers.load(source, case.split()[0], config=config | change)
    assert message in str(error.value) and str(error.value)[-1] == ".", error.value


def test_the_mlp_of_zeros_of_an_attention_only_bridge_is_none():
    """tl_named_parameters of 3.9 and 4.3 have such arrays, and no ln2."""
    source = {key: x for key, x in theirs.hooked(OWN).items() if "ln2" not in key}
    empty = {key: np.zeros_like(x) if ".mlp." in key else x for key, x in source.items()}
    bare = {key: x for key, x in source.items() if ".mlp." not in key}
    config = LENS | {"attn_only": True}
    nets = [importers.load(arrays, "transformer_lens", config=config) for arrays in (empty, bare)]
    assert nets[0][0] == nets[1][0] and nets[0][0].d_mlp == 0 and set(nets[0][1]) == set(nets[1][1])
    with pytest.raises(ValueError, match=r"^blocks\.0\.mlp\.W_in is not 0: config\.attn_only is true"):
        importers.load(source, "transformer_lens", config=config)
    sweep = importers.load_many([empty, empty], "transformer_lens", steps=[0, 1], config=config)
    assert sweep.valid.all() and "W_in" not in sweep.params and not sweep.messages


def test_what_a_layout_has_not_is_not_written(tmp_path):
    net = Net.of(BiasedTransformer, d_vocab=5, d_vocab_out=5, n_ctx=4, d_model=8, n_heads=2, d_mlp=6, layer_norm=True)
    params = net.init(jax.random.key(0))
    importers.save(params, tmp_path / "w.safetensors", "gpt2", net=net)
    refusals = {
        "extra b_U": (params | {"b_U": params["b_U"] + 1}, net),
        "layout gpt2 has no such network": (params, net.with_fields(causal=False)),
        "extra W_pos": (params, net),
    }
    for message, (values, own) in refusals.items():
        with pytest.raises(ValueError, match=message):
            layout = "gpt_neox" if message == "extra W_pos" else "gpt2"
            importers.save(values, tmp_path / "w.safetensors", layout, net=own)


@cases
def test_checkpoints_of_a_layout_have_each_param_by_itself(case, tmp_path):
    source, config, _ = given(case)
    later = {key: np.float32(2) * x for key, x in source.items()}
    for step, arrays in enumerate((source, later)):
        importers.safetensors.write(tmp_path / f"step_{step}.safetensors", arrays, {})
    sweep = importers.load_many(tmp_path, case.split()[0], config=config)
    _, params = importers.load(source, case.split()[0], config=config)
    assert set(sweep.params) == set(params)
    for name, value in params.items():
        np.testing.assert_array_equal(sweep.params[name][0], np.stack([value, 2 * value]))
    assert not sweep.messages
