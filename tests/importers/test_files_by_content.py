"""`.bin` and `.ckpt` by what is in them; state dicts within others; Lightning's checkpoints and their prefix."""

import json
import pickle

import numpy as np
import pytest

from toylab import importers
from toylab.importers import safetensors

SHAPES = {"W_x": (5, 4), "W_y": (5, 4), "W": (8, 3), "W_U": (3, 5)}
SOURCE = {key: np.float32(np.random.default_rng(0).normal(size=shape)) for key, shape in SHAPES.items()}
NET, PARAMS = importers.load(SOURCE, "universality")
LIGHTNING = {"epoch": 3, "global_step": 400, "pytorch-lightning_version": "2.5.0", "loops": {"fit_loop": {}},
             "callbacks": {"a": {"best_model_score": 0.5}}, "lr_schedulers": [], "hyper_parameters": {"p": 5}}  # fmt: skip


def same(source, **more):
    net, params = importers.load(source, "universality", **more)
    assert net == NET and all((params[name] == PARAMS[name]).all() for name in PARAMS)


def refused(message, source, **more):
    with pytest.raises(ValueError) as error:
        importers.load(source, "universality", **more)
    output = str(error.value)
    assert message in output and output[-1] == "." and "\n" not in output and len(output) < 700, output


@pytest.mark.parametrize("suffix", ["bin", "ckpt"])
def test_the_content_says_what_a_file_is(suffix, tmp_path):
    path = tmp_path / f"w.{suffix}"
    with path.open("wb") as file:
        np.savez(file, **SOURCE)
    same(path)
    safetensors.write(path, SOURCE, {})
    same(path)
    for content in (b"", b"{", pickle.dumps(SOURCE), bytes(100), b"PK\x03\x04 and no archive"):
        path.write_bytes(content)
        refused("is no archive of torch.save but a bare pickle or cut short: it is not read.", path)
    torch = pytest.importorskip("torch", reason="torch reads its own archives")
    torch.save({key: torch.tensor(x) for key, x in SOURCE.items()}, path)
    same(path)
    torch.save({key: torch.tensor(x) for key, x in SOURCE.items()}, path, _use_new_zipfile_serialization=False)
    refused("a bare pickle", path)


def test_lightning_s_checkpoints_have_their_weights_in_state_dict(tmp_path):
    torch = pytest.importorskip("torch", reason="torch reads its own archives")
    tensors = {f"model.{key}": torch.tensor(x) for key, x in SOURCE.items()}
    optimizer = {"state": {0: {"exp_avg": torch.zeros(5, 4)}}, "param_groups": [{"lr": 1e-3}]}
    path = tmp_path / "epoch=3-step=400.ckpt"
    torch.save(LIGHTNING | {"state_dict": tensors, "optimizer_states": [optimizer]}, path)
    refused("; every key begins with model.: say prefix='model.'.", path)
    same(path, prefix="model.")
    same(LIGHTNING | {"state_dict": tensors}, prefix="model.")
    assert importers.guess(path)[0].prefix == "model."
    metric = {"metric.total": torch.tensor(3.0)}
    torch.save(LIGHTNING | {"state_dict": tensors | metric}, path)
    refused("prefix is 'model.': metric.total do not begin with it; name in ignore= what is no", path, prefix="model.")
    same(path, prefix="model.", ignore=["metric.total"])
    for epoch in (1, 2):
        torch.save(
            LIGHTNING | {"state_dict": tensors}, tmp_path / f"epoch={epoch}-step={100 * epoch}-loss=0.{epoch}5.ckpt"
        )
    path.unlink()
    sweep = importers.load_many(tmp_path, "universality", prefix="model.")
    assert sweep.steps.tolist() == [100, 200] and not sweep.messages
    np.testing.assert_array_equal(sweep.params["W_in"][0, 1], PARAMS["W_in"])


def test_a_state_dict_within_is_named_by_its_key(tmp_path):
    torch = pytest.importorskip("torch", reason="torch reads its own archives")
    tensors = {key: torch.tensor(x) for key, x in SOURCE.items()}
    path = tmp_path / "step_1.pt"
    torch.save({"model": tensors, "step": 3, "optimizer": {"state": {}}}, path)
    refused("['model'] as source, or say within='model'.", path)
    same(path, within="model")
    same({"model": tensors, "ema": tensors}, within="ema")
    refused("within is 'net': ", path, within="net")
    refused("within is 'step': ", path, within="step")
    refused("has no mapping of that name, but model, optimizer.", path, within="net")
    refused("within is 3: it must be a key, a text.", path, within=3)
    np.savez(tmp_path / "w.npz", **SOURCE)
    refused("within is 'model': ", tmp_path / "w.npz", within="model")
    torch.save({"model": tensors, "step": 9}, tmp_path / "step_5.pt")
    (tmp_path / "w.npz").unlink()
    sweep = importers.load_many(tmp_path, "universality", within="model")
    assert sweep.steps.tolist() == [1, 5] and not sweep.messages
    assert importers.guess(path, within="model")[0].layout == "universality"


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (["epoch=0-step=100", "epoch=1-step=200"], [100, 200]),
        (["epoch=0-step=100-val=0.5", "epoch=1-step=40-val=0.31"], [40, 100]),
        (["epoch=0-step=1.5", "epoch=1-step=2.5"], "steps=."),
        (["epoch=0-step=100", "last"], "steps=."),
        (["epoch=0-step=7", "epoch=1-step=7-v1"], "two checkpoints"),
        (["a0-instep=7", "a1-instep=8"], "steps=."),
    ],
)
def test_what_follows_step_is_the_step(names, steps, tmp_path):
    for name in names:
        safetensors.write(tmp_path / f"{name}.ckpt", SOURCE, {})
    if isinstance(steps, str):
        with pytest.raises(ValueError, match=steps):
            importers.load_many(tmp_path, "universality")
    else:
        assert importers.load_many(tmp_path, "universality").steps.tolist() == steps


def test_settings_beside_are_found_by_any_name(tmp_path):
    safetensors.write(tmp_path / "w.bin", SOURCE, {})
    (tmp_path / "w.config.json").write_text(json.dumps({"model": "BilinearNet"}))
    refused("config.model is 'BilinearNet'", tmp_path / "w.bin")
