"""Superposition: sparse features share dimensions, first the less important ones, as antipodal pairs and as polygons.

Claim     A ReLU output model with fewer dimensions than features keeps only the most important ones while features are
          dense. As they become sparse it stores more of them than it has dimensions, in regular arrangements: antipodal
          pairs, then pentagons. A linear model never does.
Source    Elhage et al. 2022, Toy Models of Superposition (arXiv 2209.10652): the introductory figure (n = 5, m = 2) and
          the feature plots (n = 20, m = 5), with the settings of the released notebook: AdamW lr 1e-3, weight decay 0.01,
          batch 1024, W from the joint Xavier normal of all instances.
Expect    n = 5, m = 2: 2 features at S = 0, two antipodal pairs at S = 0.8, a pentagon at S = 0.9. n = 20, m = 5: W Wᵀ
          the identity on the first 5 at S = 0, more than 5 features from then on, the less important ones first.
Cost      cpu: 9 minutes on one busy core, half of that on a quiet one.
Command   python run_sweep.py superposition [--scale smoke|cpu|paper] [--part intro|pentagon|forms|features]
Fails     Of 64 fits at S = 0.9 with equal importance 35 are pentagons, and the best is. They are not as near the exact
          minimum as was claimed of them: the largest of four errors is 1.25 % (1.1 to 1.6, 20 pentagons), not 1 %. The
          bound was ours. Positive control: descended on the exact loss from where they ended, without batches, all 35
          come within 0.4 % (median 0.3). So what is left is the noise of the last batches, along directions in which the
          loss is nearly flat. Varied besides: the seed.
          Of 20 fits at S = 0.97 fifteen have ten features and five eleven; the losses of the best of either, on a million
          points, are within two standard errors.
Changed   Until claims were judged by rules, the best of each 8 fits counted, chosen on 16,384 points or fewer, and norms
          and biases were held to single trainings of ours. Now all fits count, by the exact or a million points' loss.
          Uniform superposition is the page superposition_uniform. Bounds around one training of ours (D* at S = 0.97, 12
          features at S = 0.99) are claims no more; D* = 1/2 there is five dimensions over ten features. Fits of seeds 100
          on saw the same batches; those from 2000 on have their own. The errors of pentagons were 1.7 % (1.6 to 1.9) then,
          alike in all seeds, and the best of 20 fits at S = 0.97 had ten features.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from toylab import claims as rules
from toylab.analysis import geometry, over_cells
from toylab.analysis.superposition import polytopes, population, ranked
from toylab.base import Config
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Measures, Part, Scale
from toylab.models import Net, ToyModel
from toylab.models.relu import joint_xavier_std
from toylab.optim import AdamW
from toylab.plots import geometry as plots
from toylab.plots import motion
from toylab.sweep import log_then_linear
from toylab.tasks import SparseFeatures

SEEDS, MANY = range(2000, 2020), range(2000, 2064)
NOTEBOOK = AdamW(lr=1e-3, weight_decay=0.01, b2=0.999, warmup=0)
FALLING = AdamW(lr=3e-3, weight_decay=0, b2=0.999, warmup=0, schedule="quarter_cosine", steps=4000)


def notebook(
    n: int, m: int, densities: Sequence[float] | np.ndarray, seeds: range, importance: float = 1.0,
    optimizer: AdamW = NOTEBOOK, stack: int | None = None, output: str = "relu", **task: Any,
) -> list[Config]:  # fmt: skip
    """The released notebook's models: every density with every seed, W spread as if the models of one seed, or `stack` of
    them, were one array. The models of a seed draw the same batches."""
    std = joint_xavier_std(n, m, stack or len(densities))
    net = Net.of(ToyModel, n_features=n, n_hidden=m, init_std=std, output=output)
    task = {"n_features": n, "importance": importance ** np.arange(n), **task}
    return [
        Config(SparseFeatures(density=float(density), **task), net, optimizer, seed, data_seed=seed)
        for density in densities
        for seed in seeds
    ]


# equally important features, without weight decay, so that theory is exact
equal = partial(notebook, optimizer=FALLING, stack=32, batch=512, n_eval=16_384)


def levels(n: int) -> np.ndarray:
    """Densities from 1 to 1/20 in constant ratio (the notebook)."""
    return 20.0 ** -np.linspace(0, 1, n)


def at(m: Measures, density: float, n: int, n_hidden: int, output: str = "relu") -> Measures:
    """The runs of n features of one density in n_hidden dimensions."""
    sized = (m["config/net.n_features"] == n) & (m["config/net.n_hidden"] == n_hidden)
    return m.runs(sized & (m["config/net.output"] == output) & np.isclose(m["config/task.density"], density, rtol=1e-3))


INTRODUCTION, BASICS = "introduction, figure", "feature plots"


def stated(name: str, where: str, says: str, quantity: Quantity, kind: Kind, **more: Any) -> rules.Claim:
    return rules.Claim(name, rules.Source("Elhage et al. 2022", where, says), quantity, kind, **more)


def seen(name: str, quantity: Quantity, kind: Kind, **more: Any) -> rules.Claim:
    return rules.Claim(name, None, quantity, kind, ledger="finding", **more)


def of_all_scales(smoke: Any, full: Any) -> dict[Scale, Any]:
    return {"smoke": smoke, "cpu": full, "paper": full}


def best(m: Measures, loss: str, *key: np.ndarray) -> Measures:
    """The run of the lowest loss of each cell of runs of equal keys, in the order of rising keys."""
    cells = over_cells.cells(np.stack(key, axis=1))
    return m.runs(np.concatenate([over_cells.lowest_in_sets(m[loss], cell) for cell in cells]))


# --- few features: the introductory figure, the pentagon, polytopes

MULTIPLE = rules.Existence(2)  # fits of which the best counts: the paper says "multiple"
PENTAGONAL = {"pentagon": 5}
FEW = {"features": geometry.features, "arrangement": geometry.arrangement, "shapes": geometry.shapes}
FEW |= {"population": population.population}


def best_is(m: Measures, density: float, counts: Mapping[str, int]) -> np.ndarray:
    """[K, 2]: the exact expected loss of every fit, and whether it is of those shapes."""
    m = at(m, density, 5, 2)
    return np.stack([m["final/population/loss"], polytopes.consists_of(m["final/shapes/shape"], counts)], axis=1)


def introductory(m: Measures) -> Any:
    m = best(m, "final/population/loss", -m["config/task.density"])
    titles = [f"S = {1 - density:.3f}" for density in m["config/task.density"]]
    return plots.arrangement(m["final/arrangement/W"], titles, importance=m.only("config/task.importance"))


INTRO = Part(
    configs=of_all_scales(
        notebook(5, 2, levels(2), range(8), 0.9, batch=64, n_eval=256),
        notebook(5, 2, levels(10), range(2000, 2032), 0.9, n_eval=16_384),
    ),
    saves=of_all_scales((0, 100), (0, 10_000)),
    final=FEW,
    claims=[
        stated(f"n = 5, m = 2, S = {1 - density:.2g}: the best fit has {words}", INTRODUCTION, says,
               partial(best_is, density=float(density), counts=counts), MULTIPLE, event=event)
        for density, words, says, counts, event in (
            (levels(10)[0], "two features, a dimension each", "0 %: two dedicated dimensions", {"dedicated": 2}, ""),
            (levels(10)[5], "two antipodal pairs", "80 %: four features as antipodal pairs", {"digon": 4}, ""),
            (levels(10)[7], "a pentagon", "90 %: five features as a pentagon", PENTAGONAL, "pentagon"),
        )
    ],
    figures={"introduction": introductory},
)  # fmt: skip

EXACT_AT_90 = {"features/dimensionality": 0.4, "cosine": np.cos(2 * np.pi / 5)}  # of the pentagon of the least loss
EXACT_AT_90 |= {"features/norms": 1.1003, "arrangement/b": -0.2096}


def pentagons(m: Measures, density: float) -> np.ndarray:
    """[R]: whether a seed ends in a pentagon, 1 or 0."""
    return polytopes.consists_of(at(m, density, 5, 2)["final/shapes/shape"], PENTAGONAL).astype(float)


def off_exact(m: Measures) -> np.ndarray:
    """Of each pentagon at S = 0.9: the largest of four relative errors, of any feature."""
    m = at(m, 0.1, 5, 2)
    m = m.runs(polytopes.consists_of(m["final/shapes/shape"], PENTAGONAL))
    found = {name: m[f"final/{name}"] for name in EXACT_AT_90 if "/" in name}
    found["cosine"] = np.asarray(geometry.neighbours(m["final/arrangement/W"]))
    return np.max([np.abs(found[name] / exact - 1) for name, exact in EXACT_AT_90.items()], axis=(0, 2))


EQUALLY = rules.analogue("equal importance, no weight decay, lr 3e-3 that falls to 0")
EVERY: dict[str, Any] = {"each": "seed", "looks": (len(MANY),), "fidelity": EQUALLY}
PENTAGON = Part(
    configs=of_all_scales(equal(5, 2, [0.1, 0.03], range(8)), equal(5, 2, [0.2, 0.1, 0.05, 0.03, 0.01], MANY)),
    saves=of_all_scales((0, 100), (0, 4000)),
    final=FEW,
    claims=[
        stated("equal features, S = 0.9: the best fit is a pentagon", INTRODUCTION, "90 %: a pentagon",
               partial(best_is, density=0.1, counts=PENTAGONAL), MULTIPLE, fidelity=EQUALLY, event="pentagon"),
        seen("given a pentagon, S = 0.9: largest error of D_i = 2/5, cos 72°, norm and bias of the exact minimum",
             off_exact, rules.Within(high=0.01), each="pentagon", event="pentagon"),
        stated("S = 0.9: a fit misses the pentagon in at least a tenth of runs", "on fitting",
               "clean results required fitting each model multiple times",
               lambda m: 1 - pentagons(m, 0.1), rules.Proportion(least_share=0.1), **EVERY),
        seen("S = 0.97: a fit is a pentagon in nearly every run", partial(pentagons, density=0.03),
             rules.Proportion(least_share=0.8), **EVERY),
        stated("a seed that is no pentagon at S = 0.8 is one at S = 0.97", INTRODUCTION, "sparser, more superposition",
               lambda m: pentagons(m, 0.03) - pentagons(m, 0.2), rules.Direction(), **EVERY),
    ],
)  # fmt: skip


def pentagon_forms(m: Measures) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W [T, 5, 2] of the best fit, the steps, and its loss [T]."""
    best = m["final/population/loss"].argmin()
    return m["arrangement/W"][best], m.steps, m["loss"][best]


STILLS = (0, 30, 100, 200, 400, 800, 4000)
FORMS = Part(  # of development seeds, to be seen
    configs=of_all_scales(equal(5, 2, [0.1], range(2)), equal(5, 2, [0.1], range(10))),
    saves=of_all_scales((0, 10, 50, 100), log_then_linear(10, 4000, 60)),
    analyses={"arrangement": geometry.arrangement},
    final={"population": population.population},
    figures={
        "pentagon_forms": lambda m: motion.strip(*pentagon_forms(m), at=STILLS),
        "pentagon": lambda m: motion.animation(*pentagon_forms(m)),
    },
)  # fmt: skip


# --- the feature plots, and the same of a linear model

SPARSITIES = np.array([1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001])  # densities of the feature plots
LINEAR = np.array([1, 0.1, 0.01])
M = 5
plotted = partial(at, n=20, n_hidden=M)


def ignored_bias(m: Measures) -> np.ndarray:
    return ranked.farthest(plotted(m, 1)["final/arrangement/b"][:, M:], 0.5)


def more_than_dimensions(m: Measures, density: float, of: str = "dimensionality", least: float = 0.1) -> np.ndarray:
    return (plotted(m, density)[f"final/features/{of}"] > least).sum(axis=1) - M


def less_important(m: Measures, shared: float = 0.5) -> np.ndarray:
    m = plotted(m, 0.3)
    return ranked.places_apart(m["final/features/norms"], m["final/features/polysemanticity"], shared)


def eleventh(m: Measures) -> np.ndarray:
    """S = 0.97, [K, 3]: the loss of a million points, whether eleven features are represented, and the loss's error."""
    m = plotted(m, 0.03)
    eleven = (m["final/features/norms"] > 0.5).sum(axis=1) == 11
    return np.stack([m["final/sampled/loss"], eleven, m["final/sampled/error"]], axis=1)


def off_the_top(m: Measures) -> np.ndarray:
    """Of each seed of the linear model, at all S: how far norms are from 1 for the top five features and 0 for others."""
    return np.max([ranked.off_top(plotted(m, p, output="linear")["final/features/norms"], M) for p in LINEAR], axis=0)


def feature_plots(m: Measures) -> Any:
    """The best fits, those of the linear model last."""
    linear = m["config/net.output"] == "linear"
    m = best(m, "final/sampled/loss", linear, -m["config/task.density"])
    kinds, densities = m["config/net.output"], m["config/task.density"]
    titles = [f"{'linear, ' * (kind == 'linear')}1 − S = {p:g}" for kind, p in zip(kinds, densities, strict=True)]
    norms, color = m["final/features/norms"], m["final/features/polysemanticity"]
    return plots.gram_and_norms(m["final/gram/WWt"], m["final/arrangement/b"], norms, color, titles)


SMALL: dict[str, Any] = {"importance": 0.7, "batch": 64, "n_eval": 256}
FEATURES = Part(
    configs=of_all_scales(
        notebook(20, M, SPARSITIES[[0, 3]], range(2), **SMALL)
        + notebook(20, M, LINEAR[:1], range(1), output="linear", **SMALL),
        notebook(20, M, SPARSITIES, SEEDS, 0.7) + notebook(20, M, LINEAR, SEEDS, 0.7, output="linear"),
    ),
    saves=of_all_scales((0, 100), (0, 10_000)),
    final={name: FEW[name] for name in ("features", "arrangement")}
    | {"gram": geometry.gram_matrix, "sampled": population.sampled},
    omit=("final/arrangement/W",),
    claims=[
        stated("n = 20, m = 5, S = 0: W Wᵀ off the identity on the top 5", BASICS, "the identity on the top m, 0 elsewhere",
               lambda m: ranked.off_identity(plotted(m, 1)["final/gram/WWt"], M), rules.Within(high=0.05), each="seed"),
        stated("S = 0: bias of ignored features, farthest", BASICS, "E[x]", ignored_bias, rules.Median(0.5, 0.02),
               each="seed"),
        stated("S = 0.97: features with D > 0.1, less dimensions", BASICS, "more features than dimensions",
               partial(more_than_dimensions, density=0.03), rules.Direction(always=True), each="seed",
               variants={"D > 0.2": partial(more_than_dimensions, density=0.03, least=0.2),
                         "norms > 1/2": partial(more_than_dimensions, density=0.03, of="norms", least=0.5)}),
        stated("S = 0.7: features that share a dimension are less important: places apart", BASICS,
               "the less important features are in superposition first", less_important, rules.Direction(), each="seed",
               variants={"shared from a polysemanticity of 0.3": partial(less_important, shared=0.3)}),
        stated("linear model: norms off those of PCA (top 5) at any S", BASICS, "never superposition", off_the_top,
               rules.Within(high=0.05), each="seed"),
        seen("S = 0.97: most fits have ten features, D* of 0.47 to 0.53",
             lambda m: (np.abs(plotted(m, 0.03)["final/features/dims_per_feature"] - 0.5) < 0.03).astype(float),
             rules.Proportion(least_share=0.5), each="seed"),
        seen("S = 0.97: the best fit has an eleventh feature", eleventh, rules.Existence(len(SEEDS))),
    ],
    figures={"features": feature_plots},
)  # fmt: skip

PARTS = {"intro": INTRO, "pentagon": PENTAGON, "forms": FORMS, "features": FEATURES}
