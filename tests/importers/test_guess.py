"""`importers.guess`: which layouts fit, and what each still needs, as text and as data; nothing is loaded or assumed."""

import json

import jax
import numpy as np
import pytest

from tests.shared import foreign_transformers as theirs
from toylab import importers
from toylab.importers import safetensors
from toylab.models import NeoXTransformer, Net, SparseAutoencoder

W = theirs.drawn(n_layers=1, biased_unembedding=True)
LENS, BRIDGE, GPT2, NEOX = theirs.hooked(W), theirs.bridged(W), theirs.gpt2(W), theirs.gpt_neox(W)
SAYS = {"act_fn": "relu", "positional_embedding_type": "standard", "attention_dir": "causal", "use_attn_scale": True}


def found(source, **more):
    return {one.layout: one for one in importers.guess(source, **more)}


def test_what_fits_says_what_it_needs_and_with_that_it_loads():
    for source, layout, config in (
        (LENS, "transformer_lens", SAYS),
        (BRIDGE, "transformer_bridge", SAYS | {"n_heads": 2, "architecture": "TransformerLensNative"}),
        (GPT2, "gpt2", {"n_head": 2, "activation_function": "relu"}),
        (NEOX, "gpt_neox", {"num_attention_heads": 2, "max_position_embeddings": 8, "hidden_act": "gelu",
                            "use_parallel_residual": True, "rotary_pct": 1.0}),
    ):  # fmt: skip
        one = importers.guess(source)[0]
        assert one.layout == layout and one.fits and not one.ready
        assert set(one.needs) - {"attn_scale"} == set(config) - {"use_attn_scale"}
        ready = importers.guess(source, config=config)[0]
        assert ready.layout == layout and ready.ready and ready.needs == {}
        assert str(ready).endswith(": nothing else is needed")
        importers.load(source, layout, config=config)


def test_it_prints_a_line_for_each_layout():
    lines = str(importers.guess(GPT2)).splitlines()
    assert lines == [
        "fits gpt2 (GPT-2): config must say n_head (the number of heads), activation_function (gelu_new, gelu or relu)"
    ]
    assert str(importers.guess({"a": np.ones(3)})) == "no layout has most of these keys"
    assert importers.guess({"a": np.ones(3)}) == ()


def test_a_near_layout_says_which_keys_do_not_fit():
    source = {key: x for key, x in LENS.items() if key != "ln_final.b"} | {"blocks.0.attn.gate": np.ones(2)}
    source["unembed.W_U"] = np.ones((9, 8), np.float32)
    near = found(source)["transformer_lens"]
    assert not near.fits and near.missing == ("ln_final.b",) and near.extra == ("blocks.0.attn.gate",)
    assert near.misshapen[0].startswith("unembed.W_U [9, 8] where [d_model, d_vocab_out] = [8, 8]")
    assert str(near).startswith("is near transformer_lens (transformer): missing ln_final.b; extra blocks.0.attn.gate;")
    assert "gpt2" not in found(source)


def test_a_prefix_of_all_keys_is_told():
    wrapped = {f"net.model.{key}": x for key, x in GPT2.items()}
    one = importers.guess(wrapped)[0]
    assert one.fits and one.prefix == "net.model." and "with prefix='net.model.'" in str(one)
    config = {"n_head": 2, "activation_function": "relu"}
    assert importers.load(wrapped, "gpt2", prefix=one.prefix, config=config)[0].n_heads == 2


def test_a_config_that_load_refuses_is_said():
    one = found(GPT2, config={"n_head": 2, "activation_function": "silu"})["gpt2"]
    assert one.fits and not one.ready and "config.activation_function is 'silu'" in one.refused
    assert one.refused in str(one)
    unknown = found(GPT2, config={"depth": 3})["gpt2"]
    assert "config has depth: no such field is known" in unknown.refused


def test_other_layouts_arrays_are_told_apart_by_their_keys():
    universal = {"W_x": (5, 4), "W_y": (5, 4), "W": (8, 3), "W_U": (3, 5)}
    deep = {"embed.weight": (5, 4), "unembed.weight": (5, 4), "l1.weight": (4, 4), "l1.bias": (4,), "l2.weight": (4, 4),
            "l2.bias": (4,)}  # fmt: skip
    for shapes, layout, needs in (
        (universal, "universality", {}),
        ({"W": (3, 5, 2), "b_final": (3, 5)}, "toy_models", {"instance": "0 to 2"}),
        (deep, "pizza", {"model_type": "B or C"}),
        ({"W": (5, 2), "b": (5,)}, "toylab", {"hidden": "linear or relu", "output": "relu or linear"}),
    ):
        one = found({key: np.ones(shape, np.float32) for key, shape in shapes.items()})[layout]
        assert one.fits and dict(one.needs) == needs


def test_a_file_of_ours_says_its_layout(tmp_path):
    path = tmp_path / "w.safetensors"
    nets = {
        "NeoXTransformer": Net.of(NeoXTransformer, d_vocab=5, d_vocab_out=5, n_ctx=4, d_model=8, d_mlp=6),
        "SparseAutoencoder": Net.of(SparseAutoencoder, d_model=4, d_dict=5),
    }
    for name, net in nets.items():
        importers.save(net.init(jax.random.key(0)), path, "toylab", net=net)
        assert [(one.layout, one.what, one.ready) for one in importers.guess(path)] == [("toylab", name, True)]
    arrays, about = safetensors.read(path)
    safetensors.write(path, dict(list(arrays.items())[1:]), about)
    one = importers.guess(path)[0]
    assert not one.fits and one.missing == (next(iter(arrays)),)


def test_of_files_the_headers_alone_are_read(tmp_path, monkeypatch):
    np.savez(tmp_path / "w.npz", **GPT2)
    safetensors.write(tmp_path / "model.safetensors", GPT2, {})
    (tmp_path / "config.json").write_text(json.dumps({"n_head": 2, "activation_function": "relu"}))
    monkeypatch.setattr(importers.npz, "_array", None)
    monkeypatch.setattr(safetensors, "_array", None)
    assert importers.guess(tmp_path / "w.npz")[0].needs and importers.guess(tmp_path)[0].ready
    assert importers.guess(tmp_path / "w.npz", config=tmp_path / "config.json")[0].ready
    for source, message in (
        (tmp_path / "no.npz", "there is no such file"),
        (tmp_path / "w.txt", "a path must end in .npz"),
        ({}, "source holds no arrays"),
        (3, "it must be a path or a mapping of arrays"),
        ({"a": [1]}, "a is a list: it must be an array"),
    ):
        with pytest.raises(ValueError, match=message):
            importers.guess(source)
