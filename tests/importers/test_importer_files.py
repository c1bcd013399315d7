"""Sources that do not fit or are not what they say: one sentence each, and nothing of a file is run or believed."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from toylab import importers
from toylab.importers import safetensors
from toylab.models import Net, Transformer

W_X = np.float32(np.random.default_rng(0).normal(size=(5, 4)))
SOURCE = {"W_x": W_X, "W_y": W_X + 1, "W": np.ones((8, 3), np.float32), "W_U": np.ones((3, 5), np.float32)}
HOLD = "source does not fit layout universality (MLP): "


def refused(message, source, layout="universality", **more):
    with pytest.raises(ValueError) as error:
        importers.load(source, layout, **more)
    output = str(error.value)
    assert message in output and output[-1] in ".?" and "\n" not in output, output


def linear(n=4):
    """A linear model A of Zhong et al. 2023."""
    shapes = {"embed.weight": (5, n), "unembed.weight": (5, n), "l1.weight": (n, n), "l1.bias": (n,)}
    return {key: np.ones(shape, np.float32) for key, shape in shapes.items()}


def transformer(d=4):
    heads = {f"blocks.0.attn.W_{name}": (2, 2, d) for name in "QKV"} | {"blocks.0.attn.W_O": (d, 4)}
    mlp = {"W_in": (8, d), "b_in": (8,), "W_out": (d, 8), "b_out": (d,)}
    shapes = {"embed.W_E": (d, 5), "pos_embed.W_pos": (2, d), "unembed.W_U": (d, 5), **heads}
    shapes |= {f"blocks.0.mlp.{name}": shape for name, shape in mlp.items()}
    return {key: np.ones(shape, np.float32) for key, shape in shapes.items()}


@pytest.mark.parametrize("kind", ["npz", "safetensors", "pt"])
def test_each_kind_of_file_gives_what_the_mapping_gives(kind, tmp_path):
    path = tmp_path / f"weights.{kind}"
    if kind == "npz":
        np.savez(path, **SOURCE)
    elif kind == "safetensors":
        safetensors.write(path, SOURCE, {})
    else:
        torch = pytest.importorskip("torch")
        torch.save({key: torch.tensor(x) for key, x in SOURCE.items()}, path)
    net, params = importers.load(path, "universality")
    same_net, same = importers.load(SOURCE, "universality")
    assert net == same_net and all((params[name] == same[name]).all() for name in same)


def test_all_that_does_not_fit_is_listed_at_once():
    wrong = {key: x for key, x in SOURCE.items() if key != "W_y"} | {"W_U": np.ones((5, 3)), "b": np.ones(3)}
    refused(HOLD + "missing W_y; extra b; misshapen W_U [5, 3] where [d_mlp, d_vocab_out] = ", wrong)
    both = HOLD + "misshapen W_x [4, 5] where [d_vocab, d_model] = [5, 4] is wanted."
    refused(both, {"W_y": W_X, "W": SOURCE["W"], "W_U": SOURCE["W_U"], "W_x": W_X.T})


def test_a_layout_whose_keys_look_like_another_names_it():
    refused("; the keys look like layout universality.", SOURCE, "pizza")
    extra = "extra embed.weight, l1.bias, l1.weight, unembed.weight; the keys look like layout pizza."
    refused(extra, linear(), "toy_models")
    refused("the keys look like layout progress_measures or pizza.", transformer(), "transformer_lens")
    refused("layout is 'tl': it must be one of toylab, transformer_lens, ", SOURCE, "tl")


def test_what_is_no_weight_is_declared_and_named():
    more = SOURCE | {"step": np.array(3), "head._extra_state": np.zeros(0)}
    refused(HOLD + "extra step.", more)
    assert set(importers.load(more, "universality", ignore=["step"])[1]) == {"W_E", "W_in", "W_U"}
    refused("ignore names stepp: the source has ", more, ignore=["stepp"])
    refused("ignore is 'step': it must be a list of keys.", more, ignore="step")
    run = SOURCE | {"epoch": 3, "config": {"p": 5}}
    refused("epoch is a int: it must be an array, or a key of ignore.", run)
    assert set(importers.load(run, "universality", ignore=["epoch", "config"])[1]) == {"W_E", "W_in", "W_U"}


def test_a_prefix_of_all_keys_is_named():
    wrapped = {f"module.{key}": x for key, x in SOURCE.items()}
    refused("; every key begins with module.: say prefix='module.'.", wrapped)
    net, params = importers.load(wrapped, "universality", prefix="module.")
    assert net == importers.load(SOURCE, "universality")[0] and (params["W_E"][0] == W_X).all()
    refused(
        "prefix is 'module.': extra do not begin with it; name in ignore= what",
        wrapped | {"extra": W_X},
        prefix="module.",
    )
    importers.load(wrapped | {"extra": W_X}, "universality", prefix="module.", ignore=["extra"])
    refused("prefix is 'net.': module.W, module.W_U", wrapped, prefix="net.")
    refused("prefix is 3: it must be a text.", wrapped, prefix=3)


def test_weights_are_finite_floats_and_there():
    refused("W_x has 1 of 20 entries nan or inf", SOURCE | {"W_x": np.where(W_X[0, 0] == W_X, np.nan, W_X)})
    refused("W has dtype int64: weights are float16, ", SOURCE | {"W": np.ones((8, 3), np.int64)})
    refused("source has empty arrays: W_x [0, 4].", SOURCE | {"W_x": W_X[:0]})
    refused("source holds no arrays.", {})
    refused("W is a list: it must be an array, or a key of ignore.", SOURCE | {"W": [1.0]})
    refused("source is a int: it must be a path or a mapping of arrays.", 3)
    large = SOURCE | {"W": np.full((8, 3), 1e300)}  # float64, and inf as float32
    refused("W has 24 of 24 entries nan or inf: weights must be finite float32.", large)
    swapped = importers.load({key: x.astype(">f4") for key, x in SOURCE.items()}, "universality")[1]
    assert (swapped["W_E"][0] == W_X).all()
    half = importers.load({key: x.astype(np.float16) for key, x in SOURCE.items()}, "universality")[1]
    assert half["W_in"].dtype == np.float32


def test_what_arrays_do_not_say_must_be_said(tmp_path):
    refused("config.model_type is 'B': it must be one of A.", linear(), "pizza", config={"model_type": "B"})
    refused("config.d_hidden is 5 and the arrays have 4", linear(), "pizza", config={"d_hidden": 5})
    deeper = linear() | {"l2.weight": np.ones((4, 4), np.float32), "l2.bias": np.ones(4, np.float32)}
    refused("config lacks model_type: models B and C have the same arrays", deeper, "pizza")
    refused("config has modeltype: did you mean model_type?", deeper, "pizza", config={"modeltype": "B"})
    np.savez(tmp_path / "model_a1.npz", **deeper)
    for name in ("config_a1.json", "model_a1.config.json"):
        (tmp_path / name).write_text(json.dumps({"model_type": "C", "funcs": "lambda x: exit()"}))
        assert importers.load(tmp_path / "model_a1.npz", "pizza")[0].kind == "gamma"
        (tmp_path / name).unlink()
    refused("config is a list: it must be a mapping or the path of a JSON file.", deeper, "pizza", config=["B"])
    (tmp_path / "c.json").write_text("[" * 100_000)
    refused("it must be JSON.", deeper, "pizza", config=tmp_path / "c.json")


def test_settings_of_a_transformer():
    rated = {"attn_coeff": 0}
    refused("config lacks act_fn (ReLU or GeLU): the arrays do not say it; ", transformer(), "pizza", config=rated)
    refused("config lacks act_type (ReLU or GeLU): ", transformer(), "progress_measures")
    refused("config lacks attn_coeff (the attention rate α", transformer(), "pizza")
    beyond = {"attn_coeff": 2, "act_fn": "ReLU"}
    refused("config.attn_coeff is 2: it must lie in [0, 1].", transformer(), "pizza", config=beyond)
    tanh = "config.act_fn is 'Tanh': it must be one of relu, gelu."
    refused(tanh, transformer(), "pizza", config=rated | {"act_fn": "Tanh"})
    deep = "config.n_layers is 2 and the arrays have 1"
    refused(deep, transformer(), "pizza", config=rated | {"n_layers": 2})
    masked = transformer() | {"blocks.0.attn.mask": np.ones((2, 2))}
    refused("blocks.0.attn.mask is no causal mask", masked, "progress_measures", config={"act_type": "ReLU"})
    far = {key.replace("blocks.0", "blocks.99999999999"): x for key, x in transformer().items()}
    refused("missing attn_blocks.0.attn.W_K", far, "progress_measures")  # and no list of so many layers is made


class Evil:
    def __init__(self, sign):
        self.sign = sign

    def __reduce__(self):
        return Path.touch, (self.sign,)


def test_a_pickle_is_never_read(tmp_path):
    path, sign = tmp_path / "model.pt", tmp_path / "executed"
    path.write_bytes(pickle.dumps(Evil(sign)))
    refused("is no archive of torch.save but a bare pickle or cut short: it is not read.", path)
    np.savez(tmp_path / "objects.npz", W=np.array([Evil(sign)], object))
    refused("has W of dtype object, a pickle", tmp_path / "objects.npz")
    torch = pytest.importorskip("torch")
    torch.save({"W": Evil(sign)}, path)
    refused("holds more than plain tensors, or is damaged, and is not read", path)
    torch.save(torch.nn.Linear(1, 1), path)
    refused(": a file that is read holds a module's state_dict().", path)
    assert not sign.exists()


def test_a_pt_holds_a_state_dict_of_plain_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    path, tensors = tmp_path / "model.pt", {key: torch.tensor(x) for key, x in SOURCE.items()}
    for held, message in (
        ({"model": tensors}, "holds a state dict within: hand over torch.load("),
        ([torch.ones(2)], "holds a list: it must hold a state dict"),
        ({"W": torch.ones(1).expand(1 << 40)}, "is too large"),
        ({"W": torch.eye(3).to_sparse()}, "W is a sparse, quantized or meta tensor"),
        ({"W": torch.eye(3, device="meta")}, "W is a sparse, quantized or meta tensor"),
        ({"W": torch.eye(3).to(torch.float8_e4m3fn)}, "W has dtype torch.float8_e4m3fn: weights are float16, "),
        (tensors | {"config": {"p": 5}}, "config is a dict: it must be an array, or a key of ignore."),
    ):
        torch.save(held, path)
        refused(message, path)
    torch.save(tensors, path)
    path.write_bytes(path.read_bytes()[:-200])
    refused("is no archive of torch.save but a bare pickle or cut short", path)
    half = {key: x.bfloat16() for key, x in tensors.items()}
    assert importers.load(half, "universality")[1]["W_in"].dtype == np.float32


def test_safetensors_are_held_against_their_length(tmp_path):
    path = tmp_path / "w.safetensors"
    safetensors.write(path, SOURCE, {})
    whole = path.read_bytes()
    n_header = int.from_bytes(whole[:8], "little")
    for cut in (0, 5, 8, n_header, n_header + 8, len(whole) - 1):
        path.write_bytes(whole[:cut])
        refused("cut short", path)
    path.write_bytes(whole + b"1")
    refused("is damaged: its arrays end at byte", path)
    path.write_bytes((1 << 60).to_bytes(8, "little") + whole[8:])
    refused("its header should have 1152921504606846976 bytes", path)
    path.write_bytes((8).to_bytes(8, "little") + b"nonsense")
    refused("its header is not JSON.", path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [1 << 62]}, "does not have 8 bytes"),
        ({"shape": [0, 1 << 62], "data_offsets": [0, 0]}, "of F32 does not have 0 bytes"),
        ({"shape": [-2]}, "is damaged: the header of W"),
        ({"shape": [True, 2]}, "is damaged: the header of W"),
        ({"shape": [1] * 9 + [2]}, "is damaged: the header of W"),
        ({"data_offsets": [0, 1 << 62]}, "cut short or damaged"),
        ({"data_offsets": [8, 0]}, "cut short or damaged"),
        ({"dtype": "C64"}, "of dtype C64: it must be one of"),
        ({"dtype": ["F32"]}, "is damaged: the header of W"),
    ],
)
def test_a_safetensors_header_is_not_believed(change, message, tmp_path):
    header = json.dumps({"W": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | change}).encode()
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    refused(message, tmp_path / "w.safetensors")


def test_safetensors_are_those_of_the_format(tmp_path):
    """Bytes written out by hand, with bfloat16; then two arrays in one place."""
    header = (
        b'{"A":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]},"B":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    )
    path, body = tmp_path / "a.safetensors", np.float32([1.5]).tobytes() + bytes.fromhex("803f20c0")
    path.write_bytes(len(header).to_bytes(8, "little") + header + body)
    arrays, _ = safetensors.read(path)
    assert arrays["A"].tolist() == [1.0, -2.5] and arrays["B"].tolist() == [1.5]
    path.write_bytes(len(header).to_bytes(8, "little") + header.replace(b"[4,8]", b"[0,4]") + body[:4])
    refused("is damaged: B begins at byte 0, 4 is where it should", path)


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"])
def test_files_are_exchanged_with_the_safetensors_library(dtype, tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    arrays = {"b": np.arange(6).reshape(2, 3).astype(dtype), "a": np.zeros((0, 4), dtype), "é": np.array(1, dtype)}
    turned = {"turned": arrays["b"].T, "every_other": arrays["b"][:, ::2]}
    safetensors.write(tmp_path / "ours.safetensors", arrays | turned, {"layout": "x"})
    arrays |= {name: np.ascontiguousarray(x) for name, x in turned.items()}  # the library writes others in wrong order
    library.save_file(arrays, tmp_path / "theirs.safetensors", {"layout": "x"})
    for found, metadata in (
        (library.load_file(tmp_path / "ours.safetensors"), {"layout": "x"}),
        safetensors.read(tmp_path / "theirs.safetensors"),
    ):
        assert found.keys() == arrays.keys() and metadata == {"layout": "x"}
        assert all(found[name].dtype == x.dtype and np.array_equal(found[name], x) for name, x in arrays.items())


ONE = '"W":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
TAKEN = {
    "has W twice": "{" + ONE + "," + ONE + "}",
    "has layout twice": '{"__metadata__":{"layout":"pizza","layout":"toylab"},' + ONE + "}",
    "is damaged: the header of W": "{" + ONE.replace("[1]", "[1,1,1,1,1,1,1,1,1]") + "}",
    "does not have 0 bytes": '{"V":{"dtype":"F32","shape":[0,1099511627776],"data_offsets":[0,0]},' + ONE + "}",
}


@pytest.mark.parametrize("message", TAKEN)
def test_headers_that_the_safetensors_library_takes_are_refused_here(message, tmp_path):
    """Why toylab reads the format itself: of what stands twice the library silently takes one."""
    library = pytest.importorskip("safetensors")
    header = TAKEN[message].encode()
    content = len(header).to_bytes(8, "little") + header + bytes(4)
    assert "W" in [name for name, _ in library.deserialize(content)]
    (tmp_path / "w.safetensors").write_bytes(content)
    refused(message, tmp_path / "w.safetensors")


def test_an_npz_is_held_against_its_headers(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, **SOURCE)
    path.write_bytes(path.read_bytes()[:-100])
    refused("is no .npz archive, or cut short.", path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 50,)})
    for content, message in (
        (header.getvalue() + bytes(16), "W [1125899906842624] of float32 does not have its number of bytes."),
        (header.getvalue().replace(b"(1125899906842624,)", b"(0, 1125899906842)  "), "W [0, 1125899906842] of float32"),
        (b"nonsense", "is damaged: W is no array."),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("W.npy", content)
        refused(message, path)
    refused("there is no such file.", tmp_path / "absent.npz")
    refused("a path must end in .npz, .safetensors, .pt, .pth, .ckpt, .bin.", tmp_path / "absent.pkl")


def test_save_refuses_what_a_layout_cannot_say_and_leaves_nothing(tmp_path):
    path = tmp_path / "w.safetensors"
    net, params = importers.load(transformer(), "pizza", config={"attn_coeff": 0.5, "act_fn": "ReLU"})
    other = Net.of(Transformer, **{name: getattr(net, name) for name in ("d_vocab", "d_vocab_out", "n_ctx", "d_model")})
    other = other.with_fields(n_heads=2, d_head=2, d_mlp=8, causal=False)
    for layout, given, message in (
        ("toy_models", {}, "params do not fit layout toy_models (toy model): missing W; extra W_E, "),
        ("progress_measures", {"net": net}, "net is a PizzaTransformer: layout progress_measures holds a Transformer."),
        ("progress_measures", {"net": other}, "net.causal is False: layout progress_measures has it True only."),
        ("pizza", {"net": other}, "net is a Transformer: layout pizza has no such network."),
        ("toylab", {"net": other.with_fields(d_mlp=9)}, "params do not fit Transformer: misshapen W_in [1, 4, 8]"),
    ):
        with pytest.raises(ValueError) as error:
            importers.save(params, path, layout, **given)
        assert str(error.value).startswith(message), error.value
    with pytest.raises(ValueError, match=r"w\.npz: it must end in \.safetensors\.$"):
        importers.save(params, tmp_path / "w.npz", "pizza")
    with pytest.raises(ValueError, match=r"^path is .*: there is no folder .*absent\.$"):
        importers.save(params, tmp_path / "absent" / "w.safetensors", "pizza")
    with pytest.raises(ValueError, match=r"^W_E has 20 of 20 entries nan or inf"):
        importers.save(params | {"W_E": params["W_E"] * np.nan}, path, "pizza")
    assert list(tmp_path.iterdir()) == []
    importers.save(params, path, "pizza", net=net)
    refused("layout is progress_measures: ", path, "progress_measures")  # the same keys, another function
