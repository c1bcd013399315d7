"""TransformerLens' configs, field by field: none is passed over, none is guessed, and buffers tell of the same network."""

import json
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from toylab import importers
from toylab.importers.lens_fields import LENS_FIELDS

FIELDS = {  # names alone, by the version that first has them; from 3.0 on those of its three config classes together
    "2.0": """n_layers d_model n_ctx d_head model_name n_heads d_mlp act_fn d_vocab eps use_attn_result use_attn_scale
        use_split_qkv_input use_hook_mlp_in use_attn_in use_local_attn original_architecture from_checkpoint
        checkpoint_index checkpoint_label_type checkpoint_value tokenizer_name window_size attn_types
        init_mode normalization_type device
        n_devices attention_dir attn_only seed initializer_range init_weights scale_attn_by_inverse_layer_idx
        positional_embedding_type final_rms d_vocab_out parallel_attn_mlp rotary_dim n_params use_hook_tokens gated_mlp
        default_prepend_bos dtype tokenizer_prepends_bos n_key_value_heads post_embedding_ln rotary_base trust_remote_code
        rotary_adjacent_pairs load_in_4bit num_experts experts_per_token""",
    "2.3": """attn_scale attn_scores_soft_cap decoder_start_token_id output_logits_soft_cap relative_attention_max_distance
        relative_attention_num_buckets tie_word_embeddings use_normalization_before_and_after""",
    "2.8": """NTK_by_parts_factor NTK_by_parts_high_freq_factor NTK_by_parts_low_freq_factor use_NTK_by_parts_rope
        ungroup_grouped_query_attention""",
    "2.15 to 2.18": "NTK_original_ctx_len use_qk_norm rotary_base_local",
    "3.0": """architecture attn_implementation default_padding_side eps_attr is_audio_model is_multimodal is_stateful
        layer_norm_folding mm_tokens_per_image norm_topk_prob rmsnorm_uses_offset rotary_scaling_factor
        split_attention_weights tokenizer_appends_eos use_yarn_rope uses_rms_norm vision_hidden_size vision_num_heads
        vision_num_layers yarn_attention_factor yarn_beta_fast yarn_beta_slow yarn_factor
        yarn_original_max_position_embeddings""",
    "3.6 to 3.9": """scale_embedding clip_qkv is_visual_model per_layer_head_dim per_layer_num_key_value_heads
        quantization_method train_seq_length use_attention_sinks use_dynamic_ntk_rope use_logn_attn yarn_global_attn_only
        yarn_truncate""",
    "4.2": "qk_norm_after_rope rotary_interleaved_cos_sin",
    "bridges, of the wrapped model": """attention_bias bos_token_id eos_token_id hidden_act intermediate_size pad_token_id
        partial_rotary_factor rope_parameters rope_theta rotary_emb_base rotary_pct use_parallel_residual""",
}
OURS = {"readout", "rope_scaling"}  # toylab's own, and the name that Hugging Face's configs have for it
N, D, H, D_HEAD, P = 7, 8, 2, 4, 5


def source(mlp=True, norm=False, positions=True, seed=0):
    rng = np.random.default_rng(seed)
    block = {f"attn.W_{name}": (H, D, D_HEAD) for name in "QKV"} | {"attn.W_O": (H, D_HEAD, D)}
    block |= {"mlp.W_in": (D, 6), "mlp.b_in": (6,), "mlp.W_out": (6, D), "mlp.b_out": (D,)} if mlp else {}
    block |= {f"{name}.{part}": (D,) for name in ("ln1", "ln2") for part in "wb"} if norm else {}
    shapes = {"embed.W_E": (N, D), "unembed.W_U": (D, N)} | {f"blocks.0.{key}": shape for key, shape in block.items()}
    shapes |= {"pos_embed.W_pos": (P, D)} if positions else {}
    shapes |= {f"ln_final.{part}": (D,) for part in "wb"} if norm else {}
    return {key: np.float32(rng.normal(size=shape)) for key, shape in shapes.items()}


SAYS = {
    "act_fn": "gelu", "normalization_type": "LNPre", "positional_embedding_type": "standard", "attention_dir": "causal",
    "use_attn_scale": True,
}  # fmt: skip
ROTARY = SAYS | {"positional_embedding_type": "rotary", "n_ctx": P}


def load(config, **arrays):
    return importers.load(source(**arrays), "transformer_lens", config=config)[0]


def refused(message, config, extra=(), **arrays):
    with pytest.raises(ValueError) as error:
        importers.load(source(**arrays) | dict(extra), "transformer_lens", config=config)
    wording = str(error.value)
    assert message in wording and wording[-1] in ".?" and "\n" not in wording and len(wording) < 500, wording


def test_every_field_of_every_version_is_read_harmless_with_its_reason_or_refused():
    names = {name for text in FIELDS.values() for name in text.split()}
    assert names | OURS == set(LENS_FIELDS)
    for name, field in LENS_FIELDS.items():
        assert field.why, name
        assert (field.kind == "refused") == bool(field.off), name


def other(value):
    """A value that no field has when it is off."""
    return not value if isinstance(value, bool) else 7.5


@pytest.mark.parametrize("name", [name for name, field in LENS_FIELDS.items() if field.kind == "refused"])
def test_a_refused_field_is_taken_where_it_is_off_and_named_where_it_is_not(name):
    field = LENS_FIELDS[name]
    config, positions = (ROTARY, False) if field.where == "rotary" else (SAYS, True)
    for off in field.off:
        assert load(config | {name: off}, positions=positions).layer_norm
    refused(
        f"config.{name} is {other(field.off[0])}: it must be ",
        config | {name: other(field.off[0])},
        positions=positions,
    )
    if field.where == "rotary":
        load(SAYS | {name: other(field.off[0])})  # which TransformerLens reads for rotary positions alone


def test_fields_that_the_model_does_not_look_at_may_have_any_value():
    load(SAYS | {"normalization_type": None, "eps": 1e-12})
    refused("config.eps is 1e-12: it must be 1e-05, since LayerNorm here has eps 1e-5.", SAYS | {"eps": 1e-12})
    config = {name: 3 for name, field in LENS_FIELDS.items() if field.kind == "harmless"}
    load(SAYS | config)


def test_what_nobody_knows_is_refused():
    refused(
        "config has use_flux_attn: no such field is known, nor what it does to the logits", SAYS | {"use_flux_attn": 1}
    )
    refused("config has atention_dir: did you mean attention_dir?", {"atention_dir": "causal"})
    refused("config has a\\x07b: no such field is known", SAYS | {"a\x07b": 1})


def test_without_a_config_nothing_is_guessed():
    reports = (
        "config lacks act_fn (relu, gelu or gelu_new), normalization_type (LNPre or null), "
        "positional_embedding_type (standard or shortformer), attention_dir (causal or bidirectional), attn_scale "
        "(√d_head = 2): the arrays do not say it; "
    )
    refused(reports, {})
    refused("config lacks act_fn (relu, gelu or gelu_new), positional_embedding_type (standard or", {}, norm=True)
    for left_out in SAYS:
        rest = {name: value for name, value in SAYS.items() if name != left_out}
        refused(f"config lacks {'attn_scale' if left_out == 'use_attn_scale' else left_out} (", rest)
    refused("config lacks n_ctx (the most positions): ", SAYS | {"positional_embedding_type": "none"}, positions=False)
    assert load({name: SAYS[name] for name in SAYS if name != "act_fn"} | {"attn_only": True}, mlp=False).d_mlp == 0


def test_scores_are_divided_by_the_root_of_d_head_or_not_at_all_imported():
    for scale in (2.0, 2, np.float64(2), np.float32(2), -1.0):
        load(SAYS | {"attn_scale": scale})
    for scale in (1.0, 8**0.5, 0, None, "2", True, float("nan"), 10**400):
        refused("config.attn_scale is ", SAYS | {"attn_scale": scale})
    refused("config.use_attn_scale is False: it must be True", SAYS | {"use_attn_scale": False})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"d_mlp": 7}, "config.d_mlp is 7 and the arrays have 6"),
        ({"n_ctx": 6}, "config.n_ctx is 6 and the arrays have 5"),
        ({"n_key_value_heads": 1}, "config.n_key_value_heads is 1: heads of one group have other W_K than each other."),
        ({"n_key_value_heads": 3}, "config.n_key_value_heads is 3: it must lie in [1, 2]."),
        ({"positional_embedding_type": np.ones(2)}, "config.positional_embedding_type is array([1., 1.]): it must be"),
        ({"n_heads": [2]}, "config.n_heads is [2] and the arrays have 2"),
        ({"attn_only": True}, "blocks.0.mlp.W_in is not 0: config.attn_only is true, and then there is no MLP."),
        ({"act_fn": "silu"}, "config.act_fn is 'silu': it must be one of relu, gelu, gelu_new."),
        ({"parallel_attn_mlp": True}, "config.parallel_attn_mlp is True: toylab has it with LayerNorm, MLP, causal"),
        ({"architecture": "OPTForCausalLM"}, "config.architecture is 'OPTForCausalLM': of bridged models Transformer"),
        ({"normalization_type": "RMSPre"}, "config.normalization_type is 'RMSPre': it must be one of LN, LNPre, null."),
        ({"normalization_type": "LN"}, "config.normalization_type is 'LN': ln1.w is not there."),
        ({"positional_embedding_type": "alibi"}, "config.positional_embedding_type is 'alibi': it must be one of"),
        ({"positional_embedding_type": "rotary"}, "config.positional_embedding_type is 'rotary': pos_embed.W_pos is"),
        ({"original_architecture": "Olmo2ForCausalLM"}, "config.original_architecture is 'Olmo2ForCausalLM': toylab"),
    ],
)  # fmt: skip
def test_what_config_and_arrays_say_is_the_same(config, message):
    refused(message, SAYS | config)


def test_a_model_s_cfg_is_taken_as_it_is():
    @dataclass
    class Config:
        act_fn: str = "gelu"
        normalization_type: str | None = "LNPre"
        positional_embedding_type: str = "shortformer"
        attention_dir: str = "causal"
        attn_scale: float = 2.0

    class WithDict(Config):
        def to_dict(self):
            return self.__dict__ | {"device": object(), "initializer_range": np.float64(0.1)}

    for config in (Config(), WithDict(), SimpleNamespace(**Config().__dict__)):
        assert load(config).positions == "shortformer"
    for wrong in (Config, SimpleNamespace(cfg=Config(), to_dict=lambda: 3), 3):
        refused("it must be a mapping or the path of a JSON file", wrong)


def test_buffers_are_left_out_whether_empty_or_not():
    empty = {"blocks.0.attn.mask": np.zeros((0, 0), bool), "blocks.0.attn.IGNORE": np.float32(-np.inf)}
    full = empty | {"blocks.0.attn.mask": np.tri(P, dtype=bool)}
    nets = [importers.load(source() | buffers, "transformer_lens", config=SAYS)[0] for buffers in ({}, empty, full)]
    assert nets[0] == nets[1] == nets[2]


def angles(base=10000.0, adjacent=False):
    half = D_HEAD // 2
    turns = np.float32(np.arange(P)[:, None] / np.float32(base) ** (np.arange(half, dtype=np.float32) / half))
    turns = np.repeat(turns, 2, axis=1) if adjacent else np.concatenate([turns, turns], axis=1)
    return {"blocks.0.attn.rotary_sin": np.sin(turns), "blocks.0.attn.rotary_cos": np.cos(turns)}


def test_buffers_of_another_network_are_refused():
    band = np.tri(P, dtype=bool) & ~np.tri(P, k=-2, dtype=bool)  # TransformerLens 2's mask of local attention
    refused("blocks.0.attn.mask is no causal mask", SAYS, {"blocks.0.attn.mask": band})
    refused("blocks.0.attn.mask is [3, 3]: a mask of 5 positions is wanted.", SAYS, {"blocks.0.attn.mask": np.tri(3)})
    refused("blocks.0.attn.IGNORE is no large negative number", SAYS, {"blocks.0.attn.IGNORE": np.float32(0)})
    importers.load(source(positions=False) | angles(), "transformer_lens", config=ROTARY)
    half = {key: np.float32(np.float16(table)) for key, table in angles().items()}
    importers.load(source(positions=False) | half, "transformer_lens", config=ROTARY)
    for wrong in (angles(base=500.0), angles(adjacent=True)):
        refused("has other angles than t·10000^(−2i/4)", ROTARY, wrong, positions=False)
    narrow = {key: table[:, :2] for key, table in angles().items()}
    refused("is [5, 2]: rotary positions here turn 4 entries of a head.", ROTARY, narrow, positions=False)
    refused("blocks.0.attn.rotary_sin is there and config.positional", SAYS, angles())


def test_a_saved_net_says_all_that_its_layout_asks_for(tmp_path):
    net, params = importers.load(source(), "transformer_lens", config=SAYS)
    path = tmp_path / "w.safetensors"
    importers.save(params, path, "transformer_lens", net=net)
    assert importers.load(path, "transformer_lens")[0] == net
    importers.save(params, path, "transformer_lens")
    with pytest.raises(ValueError, match=r"^config lacks act_fn "):
        importers.load(path, "transformer_lens")
    (tmp_path / "w.config.json").write_text(json.dumps(SAYS | {"normalization_type": "LN"}))
    assert importers.load(path, "transformer_lens")[0] == net


@pytest.mark.parametrize(
    ("layout", "arrays", "config", "message"),
    [
        ("universality", {"W_x": (5, 4), "W_y": (5, 4), "W": (8, 3), "W_U": (3, 5)}, {"model": "BilinearNet"},
         "config.model is 'BilinearNet': it must be OneLayerMLP, since"),
        ("universality", {"W_x": (5, 4), "W_y": (5, 4), "W": (8, 3), "W_U": (3, 5)}, {"activation": "gelu"},
         "config has activation: no such field is known"),
        ("toy_models", {"W": (5, 2), "b_final": (5,)}, {"n_features": 6}, "config.n_features is 6 and the arrays have 5"),
        ("toy_models", {"W": (5, 2), "b_final": (5,)}, {"tied": False}, "config has tied: no such field is known"),
        ("toylab", {"W": (5, 2), "b": (5,)}, {}, "config lacks hidden (linear or relu), output (relu or linear): "),
        ("toylab", {"W_E": (5, 4), "W_in": (4, 4), "b_in": (4,), "W_mid": (4, 4), "b_mid": (4,), "W_U": (4, 5)}, {},
         "config lacks kind (alpha or beta or gamma or delta): the arrays do not say it; "),
        ("toylab", {"W": (5, 2), "b": (5,)}, {"hidden": np.ones(2), "output": "relu"}, "config.hidden is array([1., 1.])"),
        ("toylab", {"W": (5, 2), "b": (5,)}, {"hidden": "relu", "output": "relu", "init_std": 10**400},
         "config.init_std is 1000000000"),
        ("toylab", {"W_E": (2, 5, 4), "W_in": (2, 4, 3), "W_U": (3, 5)}, {},
         "config lacks activation (relu or quadratic): the arrays do not say it; "),
        ("toylab", {"W": (5, 2), "b": (5,)}, {"hidden": "relu", "output": "relu", "tied": False}, "net.tied is no field"),
        ("pizza", {"embed.weight": (5, 4), "unembed.weight": (5, 4), "l1.weight": (4, 4), "l1.bias": (4,)},
         {"act_fn": "GeLU"}, "config has act_fn: no such field is known"),
        ("pizza", {"embed.weight": (5, 4), "unembed.weight": (5, 4), "l1.weight": (4, 4), "l1.bias": (4,)},
         {"n_vocab": 7}, "config.n_vocab is 7 and the arrays have 5"),
    ],
)  # fmt: skip
def test_fields_of_the_other_layouts_too(layout, arrays, config, message):
    with pytest.raises(ValueError) as error:
        importers.load({key: np.ones(shape, np.float32) for key, shape in arrays.items()}, layout, config=config)
    assert str(error.value).startswith(message), error.value
