"""ReLU models of sparse features: the features in the plane, what they read of each other, the shapes they form."""

import numpy as np

from toylab.analysis.superposition import geometry, polytopes
from toylab.explore.declaring import Controls, view
from toylab.explore.moment import Moment
from toylab.explore.pictures import Bars, Dots, Graph, Heatmap, Lines, Picture, Table
from toylab.explore.views import features

DOTS = 2000  # features in the plane
LINES = 12  # features with a line each
LISTED = 24  # features of a group whose numbers are listed
NAMES = 48  # features of a graph whose numbers are written
EDGES = 400  # of a graph
TOLERANCE = 0.1  # in the cosines of a polytope: that of trained weights


@view(
    "features-plane", family="superposition", title="Features in the hidden space", fits=features.fits,
    controls=features.plane_controls,
)  # fmt: skip
def plane(
    moment: Moment, which: str = "", instance: int = 0, axes: str = "principal", across: int = 0, up: int = 1
) -> Dots:
    """W_i as vectors: as they are for m ≤ 2, else on the two principal axes of the last point, or on two of the axes."""
    found = features.read(moment, which, instance)
    W, (n, m) = found.W, found.W.shape
    labels, title = (f"dimension {across}", f"dimension {up}"), f"{found.name}_i"
    if m <= 2:
        points = np.pad(W, ((0, 0), (0, 2 - m)))
        labels = ("dimension 0", "dimension 1" if m == 2 else "")
    elif axes == "chosen":
        if not (0 <= across < m and 0 <= up < m):
            raise ValueError(f"dimensions are {across} and {up}: they must lie in 0 to {m - 1}.")
        points = W[:, [across, up]]
    else:
        directions, step = features.principal_axes(moment, which, instance)
        points = W @ directions.T
        labels = (f"principal axis 1 of step {step}, at every step", "principal axis 2")
        title += (
            f", {float((points**2).sum() / max(float((W**2).sum()), 1e-30)):.0%} of ‖W‖² in this plane"
            if found.finite
            else ""
        )
    importance = features.importances(moment, n)
    values = features.dimensionality(W) if importance is None and found.finite else importance
    values = np.full(n, np.nan) if values is None else values
    said = "D_i" if importance is None else "importance"
    shown = f"; the first {DOTS} of {n}" if n > DOTS else ""
    names = [str(i) for i in range(n)] if n <= features.NAMED else None
    x, y = points[:DOTS].T
    title += f"; colour: {said}{shown}{found.note}"
    return Dots(x, y, title, *labels, names=names, values=values[:DOTS], from_origin=True)


@view("gram", family="superposition", title="W Wᵀ and biases", fits=features.fits, controls=features.controls)
def gram(moment: Moment, which: str = "", instance: int = 0) -> list[Picture]:
    """What each output reads of each feature, and the biases."""
    names, n = features.matrices(moment), min(features.size(moment)[0], features.MOST)
    first = f", the first {n}" if n < features.size(moment)[0] else ""
    if len(names) == 1:
        found = features.read(moment, instance=instance)
        product = found.take(lambda W: geometry.gram(W[:n]), n, n)
        title = f"W Wᵀ{first}{found.note}"
    else:
        read, found = (features.read(moment, name, instance) for name in names)
        product = found.W[:n] @ read.W[:n].T
        title = f"W_out W_inᵀ, all neurons on{first}{found.note or read.note}"
    pictures: list[Picture] = [Heatmap(product, title, "feature j", "output i")]
    return pictures if found.b is None else [*pictures, Bars(found.b[:n], f"Biases b{first}", "output i", "b")]


def fits_dimensionality(moment: Moment) -> str | None:
    """As of `view`: a measure is enough."""
    why = features.fits(moment)
    return why if why in ("", None) or features.over_steps(moment) is None else ""


def dimensionality_controls(moment: Moment) -> Controls:
    return features.controls(moment) if features.matrices(moment) else {}


@view(
    "dimensionality", family="superposition", title="Feature dimensionality D_i", fits=fits_dimensionality,
    controls=dimensionality_controls,
)  # fmt: skip
def dimensionality(moment: Moment, which: str = "", instance: int = 0) -> list[Picture]:
    """D_i = ‖W_i‖² / Σ_j (Ŵ_i·W_j)² at the step, and over steps where it or W was measured."""
    through = features.over_steps(moment)
    if features.matrices(moment):
        found = features.read(moment, which, instance)
        now, note = found.take(features.dimensionality, len(found.W)), found.note  # type: ignore[arg-type]
    else:
        assert through is not None
        now, note = through[moment.place], ""
    title = "Dimensionality D_i; sum {:.2f}{}"
    pictures: list[Picture] = [Bars(now, title.format(float(now.sum()), note), "feature i", "D_i", limit=1.0)]
    if through is None:
        return pictures
    n, title = through.shape[1], "D_i over training"
    if n <= LINES:
        lines = {f"feature {i}": through[:, i] for i in range(n)}
        return [*pictures, Lines(moment.steps, lines, title, "step", "D_i", at=moment.step)]
    steps = [str(step) for step in moment.steps]
    of = {"colours": "positive", "limit": 1.0, "columns": steps, "line": moment.place}
    return [*pictures, Heatmap(through.T, title, "step", "feature i", **of)]  # type: ignore[arg-type]


@view("polytopes", family="superposition", title="Polytopes", fits=features.fits_pairs, controls=features.controls)
def polytope(moment: Moment, which: str = "", instance: int = 0) -> Table:
    """The orthogonal groups of features, each named by its cosines."""
    found = features.read(moment, which, instance)
    names = ("polytope", "features", "number", "mean D_i", "mean norm")
    if not found.finite:
        return Table({name: [] for name in names}, f"{found.name}{found.note}")
    groups = {name: np.asarray(value) for name, value in _polytope(found.W).items()}
    D, norm = features.dimensionality(found.W), np.asarray(geometry.feature_norms(found.W))
    rows = []
    for block in sorted(set(groups["block"].tolist()), key=lambda block: (block < 0, block)):
        of = np.flatnonzero(groups["block"] == block)
        name = polytopes.SHAPES[groups["shape"][of[0]]]
        rows.append((name, _listed(of), len(of), round(float(D[of].mean()), 3), round(float(norm[of].mean()), 3)))
    said = polytopes.describe(found.W, TOLERANCE, min_norm=polytopes.REPRESENTED)
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    return Table(columns, f"{found.name}: {said}{found.note}")


@view(
    "feature-graph", family="superposition", title="Feature graph", fits=features.fits_pairs, controls=features.controls
)
def graph(moment: Moment, which: str = "", instance: int = 0) -> Graph:
    """Features on a circle, joined by W_i·W_j. Those that form a group at the last point stand side by side."""
    found = features.read(moment, which, instance)
    n = len(found.W)
    order = moment.kept(
        ("order of features", which, instance, int(moment.steps[-1])), lambda: _order(moment, which, instance)
    )
    angle = np.empty(n)
    angle[order] = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    i, j = np.triu_indices(n, 1)
    weights = found.take(geometry.gram, n, n)[i, j]
    strongest = np.sort(np.argsort(-np.abs(np.nan_to_num(weights)), kind="stable")[:EDGES])
    shown = f"the {EDGES} strongest" if len(i) > EDGES else "all pairs"
    return Graph(
        np.cos(angle), np.sin(angle), [str(k) if n <= NAMES else "" for k in range(n)],
        list(zip(i[strongest].tolist(), j[strongest].tolist(), strict=True)), np.nan_to_num(weights[strongest]),
        f"{found.name}_i·{found.name}_j, {shown}{found.note}",
    )  # fmt: skip


def _polytope(W: np.ndarray) -> dict[str, np.ndarray]:
    return polytopes.polytope(W, TOLERANCE, min_norm=polytopes.REPRESENTED)  # type: ignore[return-value]


def _order(moment: Moment, which: str, instance: int) -> np.ndarray:
    found = features.read(moment.other(-1), which, instance)
    if not found.finite:
        return np.arange(len(found.W))
    block = np.asarray(_polytope(found.W)["block"])
    return np.lexsort((np.arange(len(block)), np.where(block < 0, len(block), block)))


def _listed(numbers: np.ndarray) -> str:
    return ", ".join(map(str, numbers[:LISTED])) + (", …" if len(numbers) > LISTED else "")
