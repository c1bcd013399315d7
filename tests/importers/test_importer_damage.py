"""Damaged and malicious files: the same arrays or one sentence, never another error, and little memory for a small file."""

import io
import json
import random
import resource
import zipfile

import numpy as np
import pytest

from toylab import importers
from toylab.importers import npz, safetensors
from toylab.importers.files import arrays_of, settings_of

RNG = np.random.default_rng(0)
SHAPES = {"W_x": (5, 4), "W_y": (5, 4), "W": (8, 3), "W_U": (3, 5)}
SOURCE = {key: np.float32(RNG.normal(size=shape)) for key, shape in SHAPES.items()}
CONFIG = {"model": "OneLayerMLP", "layers": {"embed_dim": 4, "hidden_dim": [3, {"deep": True}]}, "lr": 1e-3}


def written(kind, folder):
    path = folder / f"weights.{kind.split()[-1]}"
    if kind == "packed npz":
        np.savez_compressed(path, **SOURCE)
    elif kind == "npz":
        np.savez(path, **SOURCE)
    elif kind == "safetensors":
        safetensors.write(path, SOURCE, {"layout": "universality", "settings": json.dumps(CONFIG)})
    elif kind == "pt":
        torch = pytest.importorskip("torch")
        torch.save({key: torch.tensor(x) for key, x in SOURCE.items()}, path)
    else:
        path.write_text(json.dumps(CONFIG))
    return path


def mutated(rng, whole):
    """One damage: a flipped bit (half of them), bytes changed, cut off, left out or doubled, or some flipped bits."""
    raw, at, n = bytearray(whole), rng.randrange(len(whole)), rng.randrange(1, 48)
    kind = rng.randrange(10)
    if kind < 5:
        raw[at] ^= 1 << rng.randrange(8)
    elif kind == 5:
        raw[at : at + 8] = rng.randbytes(len(raw[at : at + 8]))
    elif kind == 6:
        del raw[at:]
    elif kind == 7:
        del raw[at : at + n]
    elif kind == 8:
        raw[at:at] = raw[at : at + n]
    else:
        for _ in range(rng.randrange(2, 6)):
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return bytes(raw)


@pytest.mark.parametrize("kind", ["npz", "packed npz", "safetensors", "pt", "json"])
def test_a_damaged_file_gives_the_same_arrays_or_one_sentence(kind, tmp_path):
    """safetensors and JSON have no checksums: there only the error is judged."""
    path, rng = written(kind, tmp_path), random.Random(kind)
    whole, n_refused = path.read_bytes(), 0
    for _ in range(300):
        path.write_bytes(mutated(rng, whole))
        try:
            found = settings_of(path) if kind == "json" else arrays_of(path, "universality", ())[0]
        except ValueError as error:
            output, n_refused = str(error), n_refused + 1
            assert output.isprintable() and len(output) < 600 and output[-1] in ".?", output
            continue
        if kind not in ("safetensors", "json"):
            assert set(found) == set(SOURCE)
            assert all(np.array_equal(found[key], x) and found[key].dtype == x.dtype for key, x in SOURCE.items())
    assert n_refused > 100


def refused(message, path, layout="universality", **more):
    with pytest.raises(ValueError) as error:
        importers.load(path, layout, **more)
    output = str(error.value)
    assert message in output and output[-1] in ".?" and output.isprintable() and len(output) < 800, output


@pytest.mark.parametrize("kind", ["npz", "pt"])
def test_an_archive_whose_directory_has_lost_an_entry_is_refused(kind, tmp_path):
    """The last entry but one says that the last one is its comment: so little hid a bias."""
    path = written(kind, tmp_path)
    raw = bytearray(path.read_bytes())
    last = raw.rfind(b"PK\x01\x02")
    before = raw.rfind(b"PK\x01\x02", 0, last)
    with zipfile.ZipFile(path) as archive:
        n_last = 46 + len(archive.infolist()[-1].filename) + len(archive.infolist()[-1].extra)
        n_entries = len(archive.infolist())
    raw[before + 32 : before + 34] = n_last.to_bytes(2, "little")
    path.write_bytes(raw)
    refused(f"is damaged: its end says {n_entries} members, its directory lists {n_entries - 1}.", path)
    end = raw.rfind(b"PK\x05\x06")
    raw[end + 8 : end + 12] = (n_entries - 1).to_bytes(2, "little") * 2  # and the end's count with it
    path.write_bytes(raw)
    refused("are listed nowhere.", path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_stands_there_twice_is_refused(tmp_path):
    path = tmp_path / "w.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("W.npy", "W.npy"):
            archive.writestr(name, member(SOURCE["W"]))
    refused("has W.npy twice: each array must stand there once.", path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("W.npy", "W"):
            archive.writestr(name, member(SOURCE["W"]))
    refused("has an array twice, with .npy and without", path)
    header = (
        b'{"W":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"W":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    )
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    refused("its header has W twice: each key must stand there once.", path)
    (tmp_path / "c.json").write_text('{"model": "OneLayerMLP", "layers": {"a": 1, "a": 2}}')
    refused("has a twice: each key must stand there once.", SOURCE, config=tmp_path / "c.json")
    refused("source has two keys that are the same as text", {1: SOURCE["W"], "1": SOURCE["W"]})


def member(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["npz", "pt"])
def test_a_small_file_takes_little_memory(kind, tmp_path):
    path, n_bytes = tmp_path / f"w.{kind}", 400 << 20
    if kind == "pt":
        pytest.importorskip("torch")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("W.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (n_bytes,)})
        for _ in range(n_bytes >> 20):
            file.write(bytes(1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(" bytes of arrays: of a file of its size at most ", path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB, torch's own among them


def test_ways_of_packing_that_may_ask_for_any_memory_are_not_read(tmp_path):
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        with zipfile.ZipFile(tmp_path / "w.npz", "w", method) as archive:
            archive.writestr("W.npy", member(SOURCE["W"]))
        refused("has W.npy packed in another way than stored or deflated", tmp_path / "w.npz")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_torch_files_that_hold_more_than_their_bytes(tmp_path):
    torch = pytest.importorskip("torch")
    path, one = tmp_path / "w.pt", torch.ones(1)
    for held, message in (
        ({f"k{i}": one.half().expand(20 << 20) for i in range(9)}, " bytes of arrays: at most "),
        (
            {"W": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])},
            "W is a nested tensor: it must be a plain one.",
        ),
    ):
        torch.save(held, path)
        refused(message, path)
    refused("W is a UninitializedParameter that gives no array (", {"W": torch.nn.UninitializedParameter()})
    with zipfile.ZipFile(path, "w") as archive:  # what `weights_only` lets through
        archive.writestr("w/data.pkl", b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.")
        archive.writestr("w/version", "3\n")
    refused("makes a bytearray, which may be of any size", path)


def test_every_state_dict_within_is_named_with_code_that_works_without_the_device_it_was_saved_on(tmp_path):
    torch = pytest.importorskip("torch")
    path, tensors = tmp_path / "w.pt", {key: torch.tensor(x) for key, x in SOURCE.items()}
    torch.save({"step": 3, "model": tensors, "ema": {"state_dict": tensors}, "best": tensors}, path)
    reports = (
        r"holds 3 state dicts within, ['model'], ['ema']['state_dict'], ['best']: hand over one of them, as torch.load("
    )
    refused(reports, path)
    with pytest.raises(ValueError, match="state dict within") as error:
        torch.save({"step": 3, "net's": {"state_dict": tensors}}, path)
        importers.load(path, "universality")
    advice = str(error.value).split("hand over ")[1].split(" as source")[0]
    assert "map_location='cpu'" in advice
    assert importers.load(eval(advice, {"torch": torch, "path": path}), "universality")[1]["W_in"].shape == (2, 4, 3)
    refused("hand over source['model'] as source, or say within='model'.", {"model": tensors})
    refused("source holds 2 state dicts within, ['saved'][0], ['saved'][1]: hand over", {"saved": [tensors] * 2})
    shared = {}
    for _ in range(6):  # a thousand million million places, of six mappings
        shared = {str(i): shared for i in range(1000)}
    refused("0 is a dict: it must be an array, or a key of ignore.", shared)


def on_a_gpu(path):
    """The file as torch would have saved it from the memory of a GPU."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0"))


def test_tensors_saved_on_a_gpu_are_read_without_one_by_the_advice_too(tmp_path):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    path = written("pt", tmp_path)
    on_a_gpu(path)
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(path, weights_only=True)
    assert importers.load(path, "universality")[1]["W_in"].shape == (2, 4, 3)
    torch.save({"net": {key: torch.tensor(x) for key, x in SOURCE.items()}}, path)
    on_a_gpu(path)
    with pytest.raises(ValueError, match="state dict within") as error:
        importers.load(path, "universality")
    advice = str(error.value).split("hand over ")[1].split(" as source")[0]
    assert importers.load(eval(advice, {"torch": torch, "path": path}), "universality")[1]["W_in"].shape == (2, 4, 3)


def test_a_mapping_that_reads_a_damaged_file_of_its_own_is_reported(tmp_path):
    path = written("npz", tmp_path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("W.npy", member(SOURCE["W"]).replace(b"'shape'", b"'shape", 1))
    with np.load(path) as source:
        refused("source is a NpzFile that cannot be read (", source)


def test_a_checksum_of_a_torch_file_is_held_against_its_bytes(tmp_path):
    torch = pytest.importorskip("torch")
    path = written("pt", tmp_path)
    raw = bytearray(path.read_bytes())
    raw[raw.index(SOURCE["W_U"].tobytes())] ^= 1  # torch reads it as it is
    assert torch.load(io.BytesIO(raw), weights_only=True).keys() == SOURCE.keys()
    path.write_bytes(raw)
    refused("is damaged, and is not read (Bad CRC-32 for file", path)


def test_an_array_of_a_torch_file_that_is_called_a_folder_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    path = written("pt", tmp_path)
    raw = bytearray(path.read_bytes())
    entry = raw.index(b"weights/data/0", raw.index(b"PK\x01\x02")) - 46
    raw[entry + 38] ^= 0x10  # torch reads what lay in its memory
    path.write_bytes(raw)
    assert torch.load(path, weights_only=True).keys() == SOURCE.keys()
    refused("is damaged: weights/data/0 is called a folder and has bytes.", path)


def test_messages_are_short_and_have_no_control_characters(tmp_path):
    odd = {"a\nb\x1b[31m": np.ones(3), "x" * 5000: np.ones(3), "\udc80": np.ones(3)}
    refused("extra a\\nb\\x1b[31m, ", SOURCE | odd)
    refused(" and 394 more", SOURCE | {f"key.{i}": np.ones(2) for i in range(400)})
    refused(" and 394 more", {f"key.{i}": np.ones((2, 0)) for i in range(400)})
    refused(
        "ignore names zz: the source has W, W_U, W_x, W_y",
        SOURCE | {f"x{i}": np.ones(2) for i in range(400)},
        ignore=["zz"],
    )
    refused("config has ", SOURCE, config={f"field_{i}\t": 1 for i in range(400)})
    refused("config.model is [", SOURCE, config={"model": list(range(10_000))})
    path = tmp_path / "odd\nname.npz"
    path.write_bytes(b"nothing")
    refused("odd\\nname.npz is no .npz archive, or cut short.", path)
    header = json.dumps({"W\x07" + "y" * 999: {"dtype": "F32", "shape": [10**4000], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    refused("is damaged: W\\x07yyy", path)


def test_arguments_that_nothing_can_be_are_reported():
    for path in ("a\0b.npz", "n" * 300 + ".pt", "/proc/self.npz"):
        refused(": there is no such file.", path)
    refused("it must be a JSON file of at most", SOURCE, config="a\0b.json")
    for ignore in ("W", 3):
        refused("it must be a list of keys.", SOURCE, ignore=ignore)
    for layout in (["pizza"], None):
        refused("it must be one of toylab, transformer_lens, ", SOURCE, layout)
    for probe in (([[0, 1], [2]], [1.0]), ([0], ["a"]), ([0], [1j]), ([0], [None])):
        refused("probe must be two arrays of numbers: ", SOURCE, probe=probe)
    refused("source is a module: it must be a path or a mapping of arrays.", np)


def test_a_safetensors_of_ours_says_nothing_else(tmp_path):
    for metadata in ({"layuut": "universality", "settings": "{}"}, {"layout": "universality", "settinfs": "{}"}):
        safetensors.write(tmp_path / "w.safetensors", SOURCE, metadata)
        refused("where toylab writes layout and settings.", tmp_path / "w.safetensors")
    safetensors.write(tmp_path / "w.safetensors", SOURCE, {"format": "pt"})
    assert importers.load(tmp_path / "w.safetensors", "universality")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("array", [np.arange(24.0).reshape(2, 3, 4), np.float16(3), np.ones((0, 3)), np.array([True]),
                                   np.arange(6, dtype=">i4").reshape(2, 3), np.array([["ab"]])])  # fmt: skip
def test_arrays_are_read_as_numpy_reads_them(array, order, tmp_path):
    np.savez(tmp_path / "w.npz", a=np.asarray(array, order=order), b=np.ones(2))
    found = npz.read(tmp_path / "w.npz")["a"]
    assert found.dtype == array.dtype and np.array_equal(found, array)


def test_headers_that_are_no_plain_dict_are_refused(tmp_path):
    good = member(SOURCE["W"])
    for old, new in (
        (b"(8, 3)", b"(8,-3)"), (b"(8, 3)", b"[8, 3]"), (b"False", b"Falsf"), (b"'<f4'", b"'<q4'"),
        (b"'<f4'", b"'V4,'"), (b"'shape'", b"'descr'"), (b"\x93NUMPY\x01", b"\x93NUMPY\x07"), (b"(8, 3)", b"(8 3,)"),
    ):  # fmt: skip
        with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
            archive.writestr("W.npy", good.replace(old, new, 1))
        refused("is damaged: W is no array.", tmp_path / "w.npz")
