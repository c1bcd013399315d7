"""Progress measures: what falls as networks of digits grok, whether their norm falls or is driven to grow.

Claim     Networks grok while the norm of their weights grows, so that the norm is not why. Three measures of a network's
          complexity are said to tell more of it: activation sparsity, absolute weight entropy, and how much the outputs
          change when a tenth of a layer's weights is cut (approximate local circuit complexity).
Source    Golechha 2024, Progress Measures for Grokking on Real-world Tasks (arXiv 2405.12755): Omnigrok's MNIST, three
          matrices of width 200, all initial weights × 8, squared error, 1,000 images, AdamW lr 1e-3, decay 0.01, 100,000
          steps of all images; −δ Σ w² joins the loss, δ = 2e-10. Its text says cross-entropy, its table of settings
          squared error. One run of each; threshold of sparsity and layer are not said. Here 200 images of 14 × 14 pixels,
          width 100, batches of 50, decay 0.2, 10,000 steps, δ = 1e-6; sparsity with threshold 0, of the second layer;
          entropy and complexity of the middle matrix.
Expect    Fit at about 2,000 steps with a test accuracy of .27 to .29; at the end .80 where the norm falls (44 at the fit,
          16 at the end), and .71 where it is driven to grow (198, 368). All three measures fall as the test accuracy
          rises, in both.
Cost      cpu: 20 seeds, about 3 minutes of one core. paper: the paper's sizes and δ, for an accelerator; not run.
Command   python run_sweep.py progress_measures [--scale smoke|cpu|paper]
Fails     Where the norm falls, no measure has a stronger correlation with grokking than it. The norm's with the test
          accuracy after the fit is −.98 in the median run; the sizes of the others' are less by .07 (complexity), .11
          (entropy) and .15 (sparsity), each in 8 of 8 runs. Over both runs of a seed together they are stronger, since
          the norm rises with the test accuracy in one and falls in the other; of the entropy that depends on the layer
          (undecided for all matrices). Where the norm is driven to grow, .21 [.13; .27] of the entropy's change comes
          until the fit (n = 20), more than a tenth; where it falls .08 [.04; .09] of the middle matrix's, undecided for
          all.
          What the growing norm is a norm of: 95 % of its square at the end lies in weights on which no output for a
          training image depends, as those of pixels that are 0 in all of them. With each weight times the size of what it
          gets, the norm falls from the fit to the end there too, to .79 [.69; .98] (n = 20), and to .18 where all norms
          fall. On test images these weights do act: the loss there ends at 5.6 in the median run, at .036 where the norm
          falls.
          The paper's δ moves a weight by at most 2 |δ| / ε = .04 of lr w a step, with Adam's ε of 1e-8: more than the
          paper's decay of .01, less than the .2 here, and much less where the gradient is above ε. So δ was chosen on
          development seed 0, of 1e-6, 1e-5 and 1e-4, the last of which ends the grokking at .41. Dropout, of which the
          paper says that the delay vanishes, and its IMDb networks are not tested.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from toylab.analysis import complexity, norms
from toylab.base import Config, Params, Run
from toylab.claims import Claim, Direction, Source, Within, scaled
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Arrays, Measures, after
from toylab.models import Dense, Net
from toylab.optim import AdamW, Chain, Penalty
from toylab.plots import stages
from toylab.sweep import log_then_linear
from toylab.sweep.grids import grid
from toylab.tasks import Images

SEEDS = range(100, 120)  # none of them was trained before the claims were fixed
STRENGTHS = (0.0, -1e-6)  # this times Σ w² joins the loss: nothing, and what drives the weights to grow
ITS_STRENGTHS = (0.0, -2e-10)  # of the paper
FITTED = 0.99  # accuracy on the training set
MATRICES = ("W_0", "W_1", "W_out")


def configs(
    seeds: Sequence[int], width: int = 100, decay: float = 0.2, batch_size: int = 50, pooled: int = 2, n_train: int = 200,
    n_test: int = 1000, strengths: Sequence[float] = STRENGTHS,
) -> list[Config]:  # fmt: skip
    task = Images(n_train=n_train, n_test=n_test, pooled=pooled, batch_size=batch_size)
    net = Net.of(Dense, d_in=task.n_inputs, d_out=10, widths=(width, width), init_scale=8.0)
    base = AdamW(lr=1e-3, weight_decay=decay, b2=0.999, warmup=0)
    both = Config(task, net, Chain(base, before=(Penalty(0.0),)))
    runs = grid(both, {"optimizer.before.0.strength": strengths, "seed": seeds})
    return [config.replace(data_seed=int(config.seed)) for config in runs]


# --- measures


def progress(params: Params, run: Run) -> dict[str, Any]:
    """Analyzer: norms, and the paper's measures on training images: sparsity of each hidden layer, entropy of each matrix,
    and the complexity of the middle one.

    `acting`: the norm of the weights on which an output for such an image depends. `used`: that of all weights, each times
    the root mean square of what it gets.
    """
    x, apply = run.data["x"], partial(run.config.net.apply, full=False)
    _, cache = run.config.net.apply(params, x)
    slopes = jax.grad(lambda params: jnp.sum(apply(params, x)[0] ** 2))(params)
    acting = {name: jnp.where(slopes[name] == 0, 0, w) for name, w in params.items()}
    sources = dict(zip(MATRICES, (x, cache["post_0"][0], cache["post_1"][0]), strict=True))
    sizes = {name: jnp.sqrt(jnp.mean(h**2, axis=0))[:, None] for name, h in sources.items()}
    used = {name: w * sizes.get(name, 1.0) for name, w in params.items()}
    return {
        "norm": norms.weight_norms(params)["total"],
        "used": norms.weight_norms(used)["total"],
        "acting": norms.weight_norms(acting)["total"],
        "sparsity": jnp.stack([complexity.activation_sparsity(cache[f"post_{i}"][0]) for i in range(2)]),
        "entropy": jnp.stack([complexity.absolute_weight_entropy(params[name]) for name in MATRICES]),
        "complexity": complexity.circuit_complexity(apply, params, "W_1", x, jax.random.key(0)),
    }


# --- quantities


def growth(m: Measures, driven: bool) -> Measures:
    """Runs whose norm decay shrinks, or whose weights are driven to grow."""
    return m.runs((m["config/optimizer.before.0.strength"] < 0) == driven)


def fit(m: Measures) -> np.ndarray:
    """[R]: the first saved step with the training set fitted."""
    return m.first_step(m["train_accuracy"] >= FITTED)


def at_fit(m: Measures, values: np.ndarray) -> np.ndarray:
    """[R]: a measure [R, T] there; nan where the training set is never fitted."""
    return np.array([one[0] if len(one) else np.nan for _, one in after.curves(m, fit(m), values)])


def gain(m: Measures) -> np.ndarray:
    """[R]: test accuracy at the end less that when the training set is fitted."""
    return m.last("test_accuracy") - at_fit(m, m["test_accuracy"])


def grown(m: Measures, measure: str) -> np.ndarray:
    """[R]: a measure at the end over that at the fit."""
    return m.last(measure) / at_fit(m, m[measure])


def marks(m: Measures, values: np.ndarray) -> np.ndarray:
    """[R]: correlation of a measure with the test accuracy from the fit on."""
    return after.correlations(m, fit(m), values, m["test_accuracy"])


def until_fit(m: Measures, values: np.ndarray) -> np.ndarray:
    """[R]: a measure's change until the fit as a share of its whole change."""
    return np.abs(at_fit(m, values) - values[:, 0]) / np.abs(values[:, -1] - values[:, 0])


def plateau(m: Measures, values: np.ndarray) -> np.ndarray:
    """[R]: a measure's range from half the step of the fit to the fit, over its whole range."""
    last = fit(m)[:, None]
    before = (m.steps >= last / 2) & (m.steps <= last)
    ranges = [np.ptp(row[which]) if which.any() else np.nan for row, which in zip(values, before, strict=True)]
    return np.array(ranges) / np.ptp(values, axis=1)


def stronger(m: Measures, of: Quantity) -> np.ndarray:
    """[seed]: where the norm falls, size of a measure's correlation with the test accuracy less that of the norm's."""
    own = growth(m, False)
    return np.abs(marks(own, of(own))) - np.abs(marks(own, own["progress/norm"]))


def stronger_in_both(m: Measures, of: Quantity) -> np.ndarray:
    """[seed]: the same over the points of a seed's two runs together."""
    both = [growth(m, driven) for driven in (False, True)]

    def joined(of: Quantity) -> list[np.ndarray]:
        pairs = zip(*(after.curves(own, fit(own), of(own)) for own in both), strict=True)
        return [np.append(one[1], other[1]) for one, other in pairs]

    accuracy = joined(lambda own: own["test_accuracy"])
    marked, norm = (
        np.abs([after.correlation(x, y) for x, y in zip(joined(which), accuracy, strict=True)])
        for which in (of, lambda own: own["progress/norm"])
    )
    return marked - norm


# --- claims

GOLECHHA = "Golechha 2024"
SMALL = scaled(
    "200 images of 14 × 14 pixels, width 100, batches of 50, decay 0.2, 10,000 steps, δ 1e-6; not 1,000 of 28 × 28, width "
    "200, all images a step, decay 0.01, 100,000 steps, δ 2e-10"
)
MEASURED: dict[str, tuple[str, Quantity]] = {
    "sparsity": ("sparsity of the second layer", lambda m: m["progress/sparsity"][..., 1]),
    "entropy": ("entropy of the middle matrix", lambda m: m["progress/entropy"][..., 1]),
    "complexity": ("local circuit complexity", lambda m: m["progress/complexity"]),
}
OTHERS: dict[str, tuple[str, Quantity]] = {
    "sparsity": ("first layer", lambda m: m["progress/sparsity"][..., 0]),
    "entropy": ("all matrices", lambda m: m["progress/entropy"].sum(axis=-1)),
    "complexity": ("its logarithm", lambda m: np.log(m["progress/complexity"])),
}
NORM = {False: "norm falls", True: "norm driven to grow"}
STRONGER = "the measures demonstrate a stronger correlation with grokking than weight norms"


def stated(where: str, says: str, name: str, kind: Kind, quantity: Quantity, event: str, **more: Any) -> Claim:
    settings: dict[str, Any] = {"fidelity": SMALL, "each": "seed", "looks": (8, 20), "event": event} | more
    return Claim(name, Source(GOLECHHA, where, says, 1), quantity, kind, **settings)


def either(quantity: Any, name: str, **settings: Any) -> dict[str, Any]:
    """A quantity of a measure, and as a variant that of its other form."""
    label, other = OTHERS[name]
    return {
        "quantity": partial(quantity, of=MEASURED[name][1], **settings),
        "variants": {label: partial(quantity, of=other, **settings)},
    }


def marked(m: Measures, of: Quantity, driven: bool) -> np.ndarray:
    return marks(growth(m, driven), of(growth(m, driven)))


def moved(m: Measures, of: Quantity, driven: bool) -> np.ndarray:
    return until_fit(growth(m, driven), of(growth(m, driven)))


def still(m: Measures, of: Quantity) -> np.ndarray:
    return plateau(growth(m, False), of(growth(m, False)))


CLAIMS = [
    *(stated("section 3, Fig. 2", "grokking occurs while the weight norm keeps on increasing",
             f"{NORM[True]}: {name}", kind, quantity, "grows")
      for name, kind, quantity in (
          ("test accuracy gained after the fit", Within(low=0.2), lambda m: gain(growth(m, True))),
          ("norm at the end over that at the fit", Within(low=1.2, scale="log"),
           lambda m: grown(growth(m, True), "progress/norm")))),
    stated("section 3, Fig. 1", "in the default set-up it groks with a reduction of the norm",
           f"{NORM[False]}: test accuracy gained after the fit", Within(low=0.2), lambda m: gain(growth(m, False)),
           "falls"),
    *(stated(where, says, f"{NORM[driven]}: correlation of {MEASURED[name][0]} with test accuracy after the fit",
             kind=Within(high=-0.5), event=f"{name} falls", **either(marked, name, driven=driven))
      for name, where, says in (
          ("entropy", "section 4.2, Figs. 1, 2", "it sharply decreases with generalisation, the norm rising or falling"),
          ("complexity", "section 4.3, Figs. 1, 2", "it is lower where outputs are robust, which leads to generalisation"))
      for driven in (False, True)),
    *(stated("section 4.2, Figs. 1, 2", "it does not change during overfitting",
             f"{NORM[driven]}: share of the change of {MEASURED['entropy'][0]} that comes until the fit",
             kind=Within(high=0.1), event="entropy before", **either(moved, "entropy", driven=driven))
      for driven in (False, True)),
    stated("section 4.1, Figs. 1, 2", "it plateaus right before the model starts to grok",
           f"{NORM[False]}: range of {MEASURED['sparsity'][0]} from half the step of the fit to the fit, over the whole",
           kind=Within(high=0.1), event="sparsity before", **either(still, "sparsity")),
    *(stated("abstract", STRONGER, f"{NORM[False]}: |correlation with test accuracy|, {MEASURED[name][0]} less norm",
             kind=Direction(), event="stronger", **either(stronger, name)) for name in MEASURED),
    *(stated("abstract", STRONGER, f"both runs together: |correlation with test accuracy|, {MEASURED[name][0]} less norm",
             kind=Direction(), event="stronger in both", **either(stronger_in_both, name)) for name in MEASURED),
    *(Claim(f"{NORM[True]}: {name}", Source(GOLECHHA, "beyond section 3", "weight norms are not the causal explanation"),
            quantity, kind, ledger="finding", fidelity=SMALL, each="seed", looks=(8, 20), event="what grows")
      for name, quantity, kind in (
          ("norm of the weights, each times the size of what it gets, at the end over that at the fit",
           lambda m: grown(growth(m, True), "progress/used"), Within(high=1.0, scale="log")),
          ("share of the squared norm at the end in weights that do not act on them",
           lambda m: 1 - (growth(m, True).last("progress/acting") / growth(m, True).last("progress/norm")) ** 2,
           Within(low=0.5)))),
]  # fmt: skip

# --- figure


def measures(m: Measures) -> Any:
    """The median run of each kind."""
    runs = {driven: growth(m, driven) for driven in (False, True)}
    shown: tuple[tuple[str, Quantity], ...] = (
        ("accuracy on\ntest images", lambda own: own["test_accuracy"]),
        ("norm of\nall weights", lambda own: own["progress/norm"]),
        ("norm of weights\n× what they get", lambda own: own["progress/used"]),
        ("sparsity,\nsecond layer", MEASURED["sparsity"][1]),
        ("entropy, middle\nmatrix (nats)", MEASURED["entropy"][1]),
        ("circuit complexity\n(nats)", MEASURED["complexity"][1]),
    )
    panels = [
        stages.Panel(label, {NORM[driven]: stages.median(of(own))[None] for driven, own in runs.items() if len(own.valid)},
                     log=label.startswith(("norm", "circuit"))) for label, of in shown
    ]  # fmt: skip
    return stages.stages(m.steps, panels, xscale="log")


def done(measures: Arrays) -> np.ndarray:
    return np.any(measures["test_accuracy"] >= 0.7, axis=-1)


TINY = configs(range(1), width=8, batch_size=10, pooled=7, n_train=20, n_test=20)
WHOLE = configs(SEEDS, 200, 0.01, 0, pooled=1, n_train=1000, strengths=ITS_STRENGTHS)
CONFIGS = {"smoke": TINY, "cpu": configs(SEEDS), "paper": WHOLE}
SAVES = {
    "smoke": (0, 10, 20), "cpu": log_then_linear(20, 10_000, 24), "paper": log_then_linear(20, 100_000, 24),
}  # fmt: skip
MILESTONE = ("generalise", done)
ANALYSES = {"progress": progress}
FIGURES = {"measures": measures}
