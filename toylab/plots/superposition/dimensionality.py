"""The dimensions that features take up: D* and D_i over sparsity, and D_i through training.

D* = m/‖W‖²_F and D_i = ‖W_i‖²/Σ_j (Ŵ_i · W_j)² as in Elhage et al. 2022, whose figure of uniform superposition draws
them against 1/(1−S). The named lines are the D of exact polytopes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from toylab.plots import labels, style
from toylab.plots.style import XScale

LINES: dict[str, float] = {
    "1 dedicated": 1,
    "3/4 tetrahedron": 3 / 4,
    "2/3 triangle": 2 / 3,
    "1/2 digon": 1 / 2,
    "2/5 pentagon": 2 / 5,
    "3/8 square antiprism": 3 / 8,
    "0 not learned": 0,
}
FAINT = 0.3  # features of a smaller norm are pale: not, or not yet, represented (our choice)
LINE, POINT, PALE = "#8A8A8A", "#0072B2", "#C4C4C4"


def _named(ax: Axes, lines: Mapping[str, float]) -> None:
    for value in lines.values():
        ax.axhline(value, color=LINE, lw=0.5, zorder=1)
    labels.MarginLabels(ax, "right", np.array(list(lines.values()), float), list(lines), ["#444444"] * len(lines))


def _sparsity_axis(ax: Axes, one_over: np.ndarray, spacing: float) -> None:
    """A log axis of 1/(1−S) with its numbers written out, that holds the levels and half a `spacing` beyond."""
    ax.set_xscale("log")
    room = np.exp(0.6 * spacing)
    low, high = float(one_over.min()) / room, float(one_over.max()) * room
    ax.set_xlim(low, high)
    near = [x for decade in 10.0 ** np.arange(0, 7) for x in decade * np.array([1, 2, 5]) if low <= x <= high]
    ax.xaxis.set_major_locator(FixedLocator(near if len(near) <= 7 else [x for x in near if str(x).startswith("1")]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    ax.xaxis.set_minor_locator(LogLocator(subs=range(2, 10)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _spacing(one_over: np.ndarray) -> float:
    """The smallest distance between two levels, in log units."""
    levels = np.unique(np.log(one_over))
    return float(np.clip(np.diff(levels).min(initial=0.3), 0.005, 0.3))


def _beside(one_over: np.ndarray, D: np.ndarray, spacing: float) -> np.ndarray:
    """Places [R, n] of the points of each run: spread around its level by rank of D, evenly and always alike."""
    rank = np.argsort(np.argsort(D, axis=1, kind="stable"), axis=1, kind="stable")
    spread = (rank * (np.sqrt(5) - 1) / 2) % 1 - 0.5  # golden ratio: neighbours in D lie far apart
    return one_over[:, None] * np.exp(0.75 * spacing * spread)


@style.house
def dimensionality(
    one_over: np.ndarray,
    D: np.ndarray,
    norms: np.ndarray | None,
    dstar: np.ndarray,
    lines: Mapping[str, float] = LINES,
) -> Figure:
    """D* and, below it, the D_i of every feature, against 1/(1−S), in a double column.

    Points of one level are spread sideways. Runs of one level (seeds) share its place, and the line joins their means.
    Features of a norm below 0.3 are pale.

    Args:
        one_over: 1/(1−S), at least 1, in any order, [R].
        D: [R, n]; nan where there is no value.
        norms: [R, n]; None if D has only the features that are to be shown.
        dstar: [R].
        lines: Values of D by name.
    """
    norms = np.ones_like(D) if norms is None else norms
    runs = len(one_over)
    if one_over.shape != (runs,) or not (np.isfinite(one_over).all() and (one_over >= 1).all() and runs):
        raise ValueError("one_over must be finite numbers 1/(1−S) of at least 1 [R]")
    for name, values, shape in (("D", D, (runs, *D.shape[1:2])), ("norms", norms, D.shape), ("dstar", dstar, (runs,))):
        if values.shape != shape:
            raise ValueError(f"{name} has shape {values.shape}; D and norms are [R, n], dstar is [R], with R = {runs}")
    figure, (above, below) = style.panels(style.PAGE, 4.6, rows=2)
    spacing = _spacing(one_over)
    levels = np.unique(one_over)
    held = [dstar[(one_over == level) & np.isfinite(dstar)] for level in levels]
    mean = np.array([values.mean() if values.size else np.nan for values in held])
    above.plot(levels, mean, color=POINT, lw=1, zorder=2)
    above.plot(one_over, dstar, "o", ms=3, color=POINT, mew=0, zorder=3)
    _named(above, {"1 dedicated": 1, "1/2 digons": 0.5})
    above.set(ylabel="$D$* = $m$ / ‖$W$‖$_F^2$", ylim=(0, max(1.08, 1.05 * float(np.nanmax(dstar, initial=0)))))
    places = _beside(one_over, D, spacing)
    size = float(np.clip(5000 / max(np.isfinite(D).sum(), 1), 0.5, 8))
    strong = norms >= FAINT
    for chosen, color, order in ((~strong, PALE, 2), (strong, POINT, 3)):
        below.scatter(places[chosen], D[chosen], s=size, color=color, lw=0, zorder=order, rasterized=True)
    _named(below, lines)
    below.set(ylabel="dimensionality $D_i$", ylim=(-0.04, 1.08))
    for ax in (above, below):
        _sparsity_axis(ax, one_over, spacing)
    above.tick_params(labelbottom=False)
    below.set_xlabel("1 / (1 − $S$)")
    style.letter(above, "a", lift=2)
    style.letter(below, "b", lift=2)
    if not strong[np.isfinite(D)].all():
        style.note(figure, f"pale: features of a norm below {FAINT}")
    return figure


@style.house
def trajectories(
    steps: np.ndarray,
    D: np.ndarray,
    loss: np.ndarray,
    *,
    norms: np.ndarray | None = None,
    lines: Mapping[str, float] = LINES,
    shown: Sequence[int] = (),
    jumps: Sequence[float] = (),
    xscale: XScale = "linear",
) -> Figure:
    """The D_i of one run through training over its loss: energy-level jumps (Elhage et al. 2022, learning dynamics).

    Args:
        steps: [T].
        D: [T, n].
        loss: [T]. Take one on a fixed sample: minibatches are too noisy.
        norms: [T, n]; features are pale while theirs is below 0.3.
        lines: Values of D by name.
        shown: Up to seven features that have colours.
        jumps: Steps marked in both panels.
        xscale: Of the steps.
    """
    points = len(steps)
    shape = (points, D.shape[-1])
    for name, values, wanted in (("D", D, shape), ("loss", loss, (points,)), ("norms", norms, shape)):
        if values is not None and values.shape != wanted:
            raise ValueError(f"{name} has shape {values.shape}; with these steps and this D it is {wanted}")
    if len(shown) > len(style.SERIES):
        raise ValueError(f"shown has {len(shown)} features; at most {len(style.SERIES)} colours can be told apart")
    figure, (above, below) = style.panels(style.PAGE, 4.0, rows=2)
    _trajectories(above, steps, D, norms, shown)
    _named(above, lines)
    above.set(ylabel="dimensionality $D_i$", ylim=(-0.04, 1.08))
    below.plot(steps, loss, color="black", lw=1)
    below.set(yscale="log", ylabel="loss")
    labels.log_numbers(below.yaxis)
    for ax in (above, below):
        style.step_axis(ax, steps, xscale)
        for jump in jumps:
            ax.axvline(jump, color=LINE, lw=0.6, ls=(0, (2, 2)), zorder=1)
    above.set_xlabel("")
    above.tick_params(labelbottom=False)
    style.letter(above, "a", lift=2)
    style.letter(below, "b", lift=2)
    style.note(figure, _key(norms is not None, len(shown), len(jumps)))
    return figure


def _trajectories(ax: Axes, steps: np.ndarray, D: np.ndarray, norms: np.ndarray | None, shown: Sequence[int]) -> None:
    weak = np.zeros(D.shape, bool) if norms is None else norms < FAINT
    usual = PALE if len(shown) else POINT
    ax.plot(steps, np.where(weak, D, np.nan), color="#DDDDDD", lw=0.5, zorder=2)
    ax.plot(steps, np.where(weak, np.nan, D), color=usual, lw=0.7, alpha=0.7, zorder=2)
    for feature, color in zip(shown, style.SERIES, strict=False):
        ax.plot(steps, np.where(weak[:, feature], np.nan, D[:, feature]), color=color, lw=1.2, zorder=3)


def _key(faint: bool, shown: int, jumps: int) -> str:
    said = ["one line a feature"]
    said += [f"pale: its norm is below {FAINT}"] * faint
    said += ["coloured: chosen features"] * bool(shown)
    said += ["dashed: jumps"] * bool(jumps)
    return "; ".join(said)
