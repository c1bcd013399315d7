"""Folders of Hugging Face: config.json beside the weights, in one file or several; what their configs may say."""

import json
import shutil

import numpy as np
import pytest

from tests.shared import foreign_transformers as theirs
from tests.shared.foreign_transformers import HEADS, N, P
from toylab import importers
from toylab.importers import safetensors
from toylab.importers.hugging_face_fields import GPT2_FIELDS, NEOX_FIELDS

W = theirs.drawn(n_layers=1)
GPT2, NEOX = theirs.gpt2(W), theirs.gpt_neox(W)
GPT2_CONFIG = {"model_type": "gpt2", "n_head": HEADS, "n_embd": N, "n_inner": N, "n_positions": P,
               "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"]}  # fmt: skip
NEOX_CONFIG = {"model_type": "gpt_neox", "num_attention_heads": HEADS, "max_position_embeddings": P, "hidden_act": "gelu",
               "use_parallel_residual": True, "rotary_pct": 0.5, "rotary_emb_base": 10000}  # fmt: skip


def written(folder, arrays=GPT2, config=GPT2_CONFIG, shards=1):
    """A folder as save_pretrained makes one."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    names = (
        [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)] if shards > 1 else ["model.safetensors"]
    )
    owners = {key: names[i % shards] for i, key in enumerate(sorted(arrays))}
    for name in names:
        own = {key: x for key, x in arrays.items() if owners[key] == name}
        safetensors.write(folder / name, own, {"format": "pt"})
    if shards > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": owners}))
    return folder


def refused(message, source, layout="gpt2", **more):
    with pytest.raises(ValueError) as error:
        importers.load(source, layout, **more)
    output = str(error.value)
    assert message in output and output[-1] in ".?" and "\n" not in output and len(output) < 700, output


def test_a_folder_is_its_state_dict_whether_in_one_file_or_several(tmp_path):
    net, params = importers.load(GPT2, "gpt2", config=GPT2_CONFIG)
    places = [written(tmp_path / "one"), written(tmp_path / "many", shards=3), tmp_path / "one" / "model.safetensors"]
    for place in places:
        again, same = importers.load(place, "gpt2")
        assert again == net and all((same[name] == params[name]).all() for name in params)
    other = importers.load(places[0], "gpt2", config={"activation_function": "relu"})[0]
    assert other == net.with_fields(activation="relu")  # what is given comes first
    (tmp_path / "one" / "config.json").unlink()
    refused("config lacks n_head (the number of heads), activation_function (", places[0])


def test_an_index_and_its_files_must_agree(tmp_path):
    folder = written(tmp_path / "many", shards=2)
    index = folder / "model.safetensors.index.json"
    said = json.loads(index.read_text())["weight_map"]
    for owners, message in (
        (dict.fromkeys(said, "../model.safetensors"), "names ../model.safetensors"),
        (said | {"transformer.wte.weight": "model-00009.safetensors"}, "lacks model-00009.safetensors, which model."),
        ({key: name for key, name in said.items() if "wte" not in key}, "does not have the keys that model."),
        (
            said | {"more": "model-00001-of-00002.safetensors"},
            "does not have the keys that model.safetensors.index.json",
        ),
        ({}, "has the weight_map {}: it must map keys to files."),
        ({"a": 3}, "it must map keys to files."),
    ):
        index.write_text(json.dumps({"weight_map": owners}))
        refused(message, folder)
    index.write_text("[")
    refused("it must be JSON.", folder)
    for path in folder.iterdir():
        path.unlink()
    refused(
        "is a folder without weights: one of model.safetensors, model.safetensors.index.json, pytorch_model", folder
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_head": 3}, "config.n_head is 3: it must divide config.n_embd, which is 8."),
        ({"n_head": 2.5}, "config.n_head is 2.5: it must be a whole number."),
        ({"n_head": True}, "config.n_head is True: it must lie in [1, 8]."),
        ({"n_inner": None}, "config.n_inner is None and the arrays have 8"),
        ({"n_layer": 2}, "config.n_layer is 2 and the arrays have 1: it is another model's config."),
        (
            {"activation_function": "silu"},
            "config.activation_function is 'silu': it must be one of relu, gelu, gelu_new",
        ),
        ({"layer_norm_epsilon": 1e-6}, "config.layer_norm_epsilon is 1e-06: it must be 1e-05, since LayerNorm here"),
        ({"scale_attn_by_inverse_layer_idx": True}, "config.scale_attn_by_inverse_layer_idx is True: it must be False"),
        ({"model_type": "gptj"}, "config.model_type is 'gptj': it must be gpt2, since these arrays are GPT-2's."),
        ({"tie_word_embeddings": False}, "source lacks lm_head.weight, and config.tie_word_embeddings is not true"),
        ({"tie_word_embeddings": 1}, "config.tie_word_embeddings is 1: it must be true or false."),
        ({"pruned_heads": {"0": [1]}}, "config.pruned_heads is {'0': [1]}: it must be"),
        ({"use_flash": 1}, "config has use_flash: no such field is known"),
    ],
)
def test_gpt2_s_config_is_held_against_arrays_and_network(change, message):
    refused(message, GPT2, config=GPT2_CONFIG | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rotary_pct": 0.75}, "config.rotary_pct is 0.75: of a head's 4 entries 3 turn, no even number."),
        ({"rotary_pct": 0.1}, "config.rotary_pct is 0.1: of a head's 4 entries 0 turn"),
        ({"rotary_pct": None}, "config.rotary_pct is None: it must lie in [0, 1]."),
        ({"rotary_emb_base": 500}, "config.rotary_emb_base is 500: it must be 10000"),
        ({"rope_scaling": {"type": "linear"}}, "config.rope_scaling is {'type': 'linear'}: it must be null"),
        ({"rope_parameters": 3}, "config.rope_parameters is 3: it must be a mapping."),
        ({"rope_parameters": {"rope_theta": 5e5}}, "config.rope_parameters.rope_theta is 500000.0: it must be 10000"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "config.rope_parameters.rope_type is 'yarn': it must be default"),
        ({"rope_parameters": {"factor": 2}}, "config has rope_parameters.factor: no such field is known"),
        ({"rope_parameters": {"partial_rotary_factor": 1.0}}, "is 0.5 and config.rope_parameters.partial_rotary_factor"),
        ({"use_parallel_residual": "yes"}, "config.use_parallel_residual is 'yes': it must be true or false."),
        ({"attention_bias": False}, "config.attention_bias is False: it must be True, since the arrays have biases."),
        ({"tie_word_embeddings": True}, "embed_out.weight is other than gpt_neox.embed_in.weight"),
        ({"intermediate_size": 32}, "config.intermediate_size is 32 and the arrays have 8"),
    ],
)  # fmt: skip
def test_gpt_neox_s_config_is_held_against_arrays_and_network(change, message):
    refused(message, NEOX, "gpt_neox", config=NEOX_CONFIG | change)


def test_without_a_config_a_network_is_not_guessed():
    refused("config lacks n_head (the number of heads), activation_function (gelu_new, gelu or relu): the arrays", GPT2)
    refused("config lacks num_attention_heads (the number of heads), max_position_embeddings (the", NEOX, "gpt_neox")
    without = {name: value for name, value in NEOX_CONFIG.items() if not name.startswith("rotary")}
    refused("config lacks rotary_pct (the share of a head that turns)", NEOX, "gpt_neox", config=without)
    refused(
        "lm_head.weight is other than transformer.wte.weight", GPT2 | {"lm_head.weight": W["W_U"].T}, config=GPT2_CONFIG
    )
    tied = importers.load(GPT2 | {"lm_head.weight": W["W_E"]}, "gpt2", config=GPT2_CONFIG)[1]
    assert (tied["W_U"] == W["W_E"].T).all()


def test_every_field_has_its_reason_and_what_is_harmless_may_be_anything():
    for fields in (GPT2_FIELDS, NEOX_FIELDS):
        assert all(field.why and (field.kind == "refused") == bool(field.off) for field in fields.values())
    for source, layout, config, fields in (
        (GPT2, "gpt2", GPT2_CONFIG, GPT2_FIELDS), (NEOX, "gpt_neox", NEOX_CONFIG, NEOX_FIELDS),
    ):  # fmt: skip
        more = {name: 3 for name, field in fields.items() if field.kind == "harmless"}
        more |= {name: field.off[0] for name, field in fields.items() if field.kind == "refused"}
        assert importers.load(source, layout, config=config | more)[0].d_mlp == N


def test_masks_of_older_files_are_left_out_or_another_network_s():
    """transformers kept them in its state dicts up to 4.30, and Pythia's files have them."""
    start = "gpt_neox.layers.0.attention."
    mask = np.tri(P, dtype=np.uint8)[None, None]
    more = {
        f"{start}bias": mask,
        f"{start}masked_bias": np.float32(-1e9),
        f"{start}rotary_emb.inv_freq": np.float32([1]),
    }
    nets = [importers.load(source, "gpt_neox", config=NEOX_CONFIG)[0] for source in (NEOX, NEOX | more)]
    assert nets[0] == nets[1]
    for change, message in (
        ({f"{start}bias": np.ones_like(mask)}, "attention.bias is no causal mask"),
        ({f"{start}bias": mask[:, :, :4, :4]}, "attention.bias is [4, 4]: a mask of 8 positions is wanted."),
        ({f"{start}masked_bias": np.float32(0)}, "attention.masked_bias is no large negative number"),
        ({f"{start}rotary_emb.inv_freq": np.float32([1, 0.01])}, "has other frequencies than 10000^(−2i/2)"),
    ):
        refused(message, NEOX | change, "gpt_neox", config=NEOX_CONFIG)
    start = "transformer.h.0.attn."
    importers.load(GPT2 | {f"{start}bias": mask, f"{start}masked_bias": np.float32(-1e4)}, "gpt2", config=GPT2_CONFIG)


def test_a_training_s_folders_are_a_run(tmp_path):
    for step in (5, 100, 20):
        folder = written(tmp_path / "run" / f"checkpoint-{step}", {key: x * step for key, x in GPT2.items()})
        for name in ("optimizer.pt", "training_args.bin", "rng_state.pth"):  # what the Trainer leaves beside
            (folder / name).write_bytes(b"no weights")
    sweep = importers.load_many(tmp_path / "run", "gpt2")
    assert sweep.steps.tolist() == [5, 20, 100] and sweep.valid.all() and not sweep.messages
    np.testing.assert_array_equal(sweep.params["W_E"][0, :, 0, 0], W["W_E"][0, 0] * np.float32([5, 20, 100]))
    one = importers.load_many([tmp_path / "run" / "checkpoint-5"], "gpt2", steps=[5])
    assert one.steps.tolist() == [5]
    shutil.copytree(tmp_path / "run", tmp_path / "runs" / "other")
    shutil.copytree(tmp_path / "run", tmp_path / "runs" / "some")
    assert importers.load_many(tmp_path / "runs", "gpt2").runs.tolist() == ["other", "some"]
    shutil.copy(tmp_path / "run" / "checkpoint-5" / "config.json", tmp_path / "run")
    shutil.copy(tmp_path / "run" / "checkpoint-5" / "model.safetensors", tmp_path / "run")
    with pytest.raises(ValueError, match=r"has checkpoints, and folders with some \(checkpoint-100, checkpoint-20, "):
        importers.load_many(tmp_path / "run", "gpt2")
    (tmp_path / "run" / "checkpoint-20" / "config.json").write_text(json.dumps(GPT2_CONFIG | {"n_head": 4}))
    with pytest.raises(ValueError, match=r"checkpoint-20 says other settings than the last checkpoint: n_head"):
        importers.load_many(sorted((tmp_path / "run").glob("checkpoint-*")), "gpt2")
