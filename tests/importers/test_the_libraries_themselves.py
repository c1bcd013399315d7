"""Models of `transformers` and `transformer_lens`, made at random, agree in logits with what is loaded of them to 1e-5."""

import importlib.metadata

import numpy as np
import pytest

from toylab import importers
from toylab.models import NeoXTransformer

pytestmark = pytest.mark.slow
N, P = 11, 8


def moved(module):
    """Every weight moved away from 0 and 1, so that none hides."""
    torch = pytest.importorskip("torch", reason="the libraries compute with it")
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    return module.eval()


def agrees(source, layout, model, **more):
    """The net, after its logits were held against the model's: 1e-5 is the agreement that is asked for; of sums of some
    ten products in two layers float32 leaves about a tenth of it."""
    torch = pytest.importorskip("torch", reason="the libraries compute with it")
    tokens = np.random.default_rng(0).integers(0, N, (5, P))
    with torch.no_grad():
        found = model(torch.tensor(tokens))
    wanted = getattr(found, "logits", found).numpy()
    net, params = importers.load(source, layout, **more)
    np.testing.assert_allclose(net.apply(params, tokens)[0], wanted, rtol=0, atol=1e-5 * max(1, np.abs(wanted).max()))
    return net


def hugging_face(kind):
    transformers = pytest.importorskip("transformers", reason="its own models are compared with")
    transformers.logging.set_verbosity_error()
    pytest.importorskip("torch", reason="the models are torch's")
    gpt2 = {"vocab_size": N, "n_positions": P, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_inner": 8}
    neox = {"vocab_size": N, "max_position_embeddings": P, "hidden_size": 8, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 8}  # fmt: skip
    made = {
        "gpt2": lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(**gpt2)),
        "gpt2 untied": lambda: transformers.GPT2LMHeadModel(
            transformers.GPT2Config(**gpt2, tie_word_embeddings=False, activation_function="gelu")
        ),
        "gpt_neox": lambda: transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**neox, rotary_pct=0.5)),
        "gpt_neox sequential": lambda: transformers.GPTNeoXForCausalLM(
            transformers.GPTNeoXConfig(**neox, rotary_pct=1.0, use_parallel_residual=False)
        ),
    }
    return moved(made[kind]())


@pytest.mark.parametrize("kind", ["gpt2", "gpt2 untied", "gpt_neox", "gpt_neox sequential"])
def test_a_model_of_transformers(kind, tmp_path):
    model, layout = hugging_face(kind), kind.split()[0]
    model.save_pretrained(tmp_path / "checkpoint-100")
    net = agrees(tmp_path / "checkpoint-100", layout, model)
    assert importers.guess(tmp_path / "checkpoint-100")[0].ready
    model.save_pretrained(tmp_path / "shards", max_shard_size="2KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    assert agrees(tmp_path / "shards", layout, model) == net
    assert agrees(model.state_dict(), layout, model, config=model.config) == net
    torch = pytest.importorskip("torch", reason="the models are torch's")
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    model.config.save_pretrained(tmp_path)
    assert agrees(tmp_path / "pytorch_model.bin", layout, model) == net
    sweep = importers.load_many([tmp_path / "checkpoint-100"], layout)
    assert sweep.steps.tolist() == [100] and sweep.valid.all()


def transformer_lens_of(least, most):
    """Skips without transformer_lens of a version from `least` to `most`, which is not in its modules."""
    pytest.importorskip("transformer_lens", reason="its own models are compared with")
    version = int(importlib.metadata.version("transformer_lens").split(".")[0])
    if not least <= version <= most:
        pytest.skip(f"transformer_lens is {version}: {least} to {most} are compared with")


def bridge_of(**fields):
    transformer_lens_of(3, 4)
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    sizes = {"n_layers": 2, "d_model": 8, "n_ctx": P, "d_head": 4, "n_heads": 2, "d_vocab": N, "d_mlp": 8, "seed": 0}
    made = TransformerBridge.boot_native(
        TransformerBridgeConfig(**{"act_fn": "relu", "device": "cpu"} | sizes | fields)
    )
    moved(made.original_model)
    return made


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"act_fn": "gelu_new", "n_layers": 1},
        {"attn_only": True},
        {"attn_only": True, "normalization_type": None},
        {"normalization_type": "LNPre"},
        {"n_heads": 4, "d_head": 2, "n_key_value_heads": 2},
        {"attention_dir": "bidirectional"},
    ],
)
def test_a_transformer_bridge_by_its_state_dict_and_its_named_parameters(fields):
    bridge = bridge_of(**fields)
    net = agrees(bridge.state_dict(), "transformer_bridge", bridge, config=bridge.cfg)
    assert agrees(dict(bridge.tl_named_parameters()), "transformer_lens", bridge, config=bridge.cfg) == net


@pytest.mark.parametrize(
    "fields", [{"normalization_type": "RMS"}, {"gated_mlp": True}, {"positional_embedding_type": "rotary"}]
)
def test_a_bridge_that_toylab_has_no_net_for_is_refused(fields):
    bridge = bridge_of(**fields)
    for source, layout in (
        (bridge.state_dict(), "transformer_bridge"),
        (dict(bridge.tl_named_parameters()), "transformer_lens"),
    ):
        with pytest.raises(ValueError, match=r"does not fit layout|turn pairs of neighbours"):
            importers.load(source, layout, config=bridge.cfg)


@pytest.mark.parametrize("compatible", [False, True])
@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox"])
def test_a_bridge_of_a_model_of_transformers(kind, compatible, tmp_path):
    transformer_lens_of(3, 4)
    tokenizers = pytest.importorskip("tokenizers", reason="a bridge wants a tokenizer")
    model = hugging_face(kind)
    import transformers
    from transformer_lens.model_bridge import TransformerBridge

    words = tokenizers.models.WordLevel({str(i): i for i in range(N)}, unk_token="0")
    some = {name: str(i) for i, name in enumerate(("unk_token", "bos_token", "eos_token", "pad_token"))}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer(words), **some)
    for own in (model, tokenizer):
        own.save_pretrained(tmp_path)
    bridge = TransformerBridge.boot_transformers(str(tmp_path), device="cpu")
    if compatible:
        bridge.enable_compatibility_mode()
    net = agrees(bridge.state_dict(), "transformer_bridge", bridge, config=bridge.cfg)
    assert agrees(dict(bridge.tl_named_parameters()), "transformer_lens", bridge, config=bridge.cfg) == net
    assert (net.module is NeoXTransformer) == (kind == "gpt_neox")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"act_fn": "gelu_new", "normalization_type": None},
        {"normalization_type": "LNPre"},
        {"n_heads": 4, "d_head": 2, "n_key_value_heads": 2},
        {"positional_embedding_type": "rotary", "rotary_dim": 4},
        {"positional_embedding_type": "rotary", "rotary_dim": 2, "parallel_attn_mlp": True},
        {"positional_embedding_type": "shortformer", "attn_only": True},
    ],
)
def test_a_hooked_transformer(fields):
    transformer_lens_of(2, 3)  # 4 has no HookedTransformer
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    sizes = {"n_layers": 2, "d_model": 8, "n_ctx": P, "d_head": 4, "n_heads": 2, "d_vocab": N, "d_mlp": 8, "seed": 0}
    config = HookedTransformerConfig(**{"act_fn": "relu", "device": "cpu"} | sizes | fields)
    model = moved(HookedTransformer(config))
    agrees(model.state_dict(), "transformer_lens", model, config=model.cfg)
