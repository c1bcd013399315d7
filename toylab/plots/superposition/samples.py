"""What a model makes of a training sample of T points, small or large: double descent, and who has the dimensions.

The measures of Henighan et al. 2023. Axes: S seeds, N sizes T, R runs.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MultipleLocator, NullFormatter

from toylab.plots import labels, style

ZERO = 1.0  # loss of the model whose output is 0, for points of length 1
SAMPLE, FEATURE = "#0072B2", "#D55E00"
CLOSE = (0.97, 1.12)  # the losses around that of the zero model, in the lower panel
FLOOR = 1e-6  # a dimensionality below it is drawn there
LOWEST = 1e-5  # the end of the axis


@style.house
def double_descent(sizes: np.ndarray, train: np.ndarray, test: np.ndarray) -> Figure:
    """Train and test loss over the size of the sample: up to that of the zero model, the bump of the test loss on a log
    axis, and the test loss near that of the zero model.

    Points are seeds, lines medians.

    Args:
        sizes: Ascending, [N].
        train: [S, N], nan where a seed has no such size.
        test: [S, N].
    """
    for name, values in (("train", train), ("test", test)):
        if values.ndim != 2 or values.shape[1:] != sizes.shape:
            raise ValueError(f"{name} has shape {values.shape}; with {len(sizes)} sizes it is [seeds, {len(sizes)}]")
    figure, (both, bump, close) = style.panels(style.COLUMN, 5.4, rows=3)
    _losses(both, sizes, {"train": train, "test": test})
    both.set_ylim(-0.05, CLOSE[1])
    both.yaxis.set_major_locator(MultipleLocator(0.25))
    _losses(bump, sizes, {"test": test})
    top = float(np.nanmax(test, initial=1))
    bump.set_yscale("log")
    bump.set_ylim(0.7, max(1.6 * top, 2))
    labels.log_numbers(bump.yaxis)
    _losses(close, sizes, {"test": test})
    close.set_ylim(*CLOSE)
    close.yaxis.set_major_locator(MultipleLocator(0.05))
    close.set_xlabel("points in the training sample $T$")
    for ax in (both, bump):
        ax.tick_params(labelbottom=False)
    titles = (
        "up to the zero model",
        "test loss, log axis: the longer one trains, the higher",
        "test loss near the zero model",
    )
    for ax, mark, title in zip((both, bump, close), "abc", titles, strict=True):
        style.letter(ax, mark, title, lift=2)
    seeds = int(np.isfinite(test).sum(axis=0).max())
    said = f"dots: {seeds} seeds; lines: medians; " if seeds > 1 else ""
    style.note(figure, f"{said}dashed: the zero model")
    return figure


def _losses(ax: Axes, sizes: np.ndarray, named: dict[str, np.ndarray]) -> None:
    inks = {"train": style.TRAIN, "test": style.TEST}
    ax.axhline(ZERO, color="#888888", lw=0.7, ls=(0, (4, 2)), zorder=1)
    for name, values in named.items():
        ax.plot(np.tile(sizes, len(values)), values.ravel(), "o", ms=2.2, color=inks[name], mew=0, alpha=0.45, zorder=2)
        ax.plot(sizes, np.nanmedian(values, axis=0), color=inks[name], lw=1.2, zorder=3)
    _size_axis(ax, sizes)
    ax.set_ylabel("loss")
    ends = np.array([np.nanmedian(values[:, 0]) for values in named.values()])
    if len(named) > 1:
        for name, end in zip(named, ends, strict=True):
            up = name == "train"  # the test loss has the title above it
            put: dict[str, Any] = {"xytext": (3, 4 if up else -9), "va": "bottom" if up else "top"}
            put |= {"textcoords": "offset points", "ha": "left"}
            ax.annotate(name, (sizes[0], end), color=inks[name], fontsize=labels.SMALL, **put)


def _size_axis(ax: Axes, sizes: np.ndarray) -> None:
    ax.set_xscale("log")
    ax.set_xlim(float(sizes.min()) / 1.25, float(sizes.max()) * 1.25)
    decades = 10.0 ** np.arange(0, 7)
    held = [x for x in decades if sizes.min() <= x <= sizes.max()] or [float(sizes.min())]
    ax.xaxis.set_major_locator(FixedLocator(held))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


@style.house
def dimensionalities(sizes: np.ndarray, of_samples: np.ndarray, of_features: np.ndarray) -> Figure:
    """The D of every sample, and beside it of every feature, over the size of the sample, on two log axes.

    A dot is a sample or a feature: at each size the runs' points together, spread sideways. Samples share m = 2 dimensions:
    their D cannot but average 2/T (line).

    Args:
        sizes: [R].
        of_samples: [R, T], nan where there is none.
        of_features: [R, n].
    """
    for name, values in (("of_samples", of_samples), ("of_features", of_features)):
        if values.ndim != 2 or len(values) != len(sizes):
            raise ValueError(f"{name} has shape {values.shape}; of {len(sizes)} runs it is [{len(sizes)}, any]")
    figure, axes = style.panels(style.PAGE, 2.8, columns=2)
    both = ((of_samples, SAMPLE, "of samples"), (of_features, FEATURE, "of features"))
    for mark, ax, (values, color, title) in zip("ab", axes, both, strict=True):
        for size in np.unique(sizes):
            _cloud(ax, float(size), values[sizes == size], color)
        _size_axis(ax, sizes)
        ax.set_yscale("log")
        ax.set_ylim(LOWEST, 1.4)
        ax.yaxis.set_major_locator(FixedLocator([10.0**k for k in range(-5, 1)]))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"$10^{{{np.log10(y):.0f}}}$"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel("points in the training sample $T$")
        style.letter(ax, mark, title, lift=3)
    axes[0].set_ylabel("dimensionality")
    ends = np.array([sizes.min(), sizes.max()])
    axes[0].plot(ends, 2 / ends, color="#444444", lw=0.7, ls=(0, (4, 2)), zorder=4)
    put: dict[str, Any] = {"xytext": (-4, 9), "textcoords": "offset points", "ha": "right"}
    axes[0].annotate("2/$T$", (ends[1], 2 / ends[1]), fontsize=labels.SMALL, **put)
    said = "single samples or features, of all seeds; black: quartiles and median; triangles: median below $10^{-5}$"
    style.note(figure, f"dots: {said}")
    return figure


def _cloud(ax: Axes, size: float, values: np.ndarray, color: str) -> None:
    """At most 400 of the values, evenly chosen by rank with both ends, around their size; quartiles and median."""
    held = np.sort(values[np.isfinite(values)])
    if not held.size:
        return
    few = held[np.unique(np.linspace(0, len(held) - 1, 400).astype(int))]
    spread = (np.arange(len(few)) * (np.sqrt(5) - 1) / 2) % 1 - 0.5
    ax.scatter(size * np.exp(0.16 * spread), few, s=1.6, color=color, lw=0, alpha=0.5, zorder=2, rasterized=True)
    low, middle, high = np.quantile(held, (0.25, 0.5, 0.75))
    ax.vlines(size, max(low, FLOOR), max(high, FLOOR), color="black", lw=1.0, zorder=3)
    below = middle < LOWEST
    ax.plot(
        size,
        1.25 * LOWEST if below else middle,
        "v" if below else "o",
        ms=3.5 if below else 3,
        color="black",
        mec="white",
        mew=0.4,
        zorder=4,
    )


@style.house
def planes(sizes: np.ndarray, hidden: np.ndarray, W: np.ndarray, said: str = "") -> Figure:
    """Samples (above) and features (below) in the hidden plane, one column a run, each panel on its own scale.

    The figure of Henighan et al. 2023. The scale bar has length 1. Samples of few points are joined to their neighbours
    in angle.

    Args:
        sizes: In any order, [R].
        hidden: X W, [R, T, 2], nan where there is none.
        W: [R, n, 2].
        said: A note.
    """
    for name, values in (("hidden", hidden), ("W", W)):
        if values.ndim != 3 or values.shape[0] != len(sizes) or values.shape[2] != 2:
            raise ValueError(f"{name} has shape {values.shape}; of {len(sizes)} runs it is [{len(sizes)}, any, 2]")
    order = np.argsort(sizes, kind="stable")
    runs = len(order)
    width = style.PAGE if runs > 3 else style.COLUMN
    side = min(width / runs, 1.6)
    figure, axes = style.panels(width, 2 * side + 0.45, columns=runs, rows=2)
    for column, run in enumerate(order):
        few = sizes[run] <= 15
        _plane(axes[column], _finite(hidden[run]), SAMPLE, few=few, joined=few)
        _plane(axes[runs + column], _finite(W[run]), FEATURE, few=False, joined=False)
        axes[column].set_title(f"$T$ = {sizes[run]:,}", fontsize=labels.SMALL, pad=3)
    for ax, name in ((axes[0], "samples"), (axes[runs], "features")):
        ax.set_ylabel(name)
    style.note(figure, "; ".join(filter(None, (said, "bars: length 1"))))
    return figure


@style.house
def polygons(sizes: np.ndarray, hidden: np.ndarray, D: np.ndarray) -> Figure:
    """The samples of every run in the hidden plane, one row a size, with the range of their D; a k-gon has 2/k each.

    Args:
        sizes: [R].
        hidden: [R, T, 2], nan beyond a run's size.
        D: [R, T].
    """
    if hidden.shape != (len(sizes), *D.shape[1:], 2) or len(D) != len(sizes):
        raise ValueError(f"hidden has shape {hidden.shape} and D {D.shape}; of {len(sizes)} runs: [R, T, 2] and [R, T]")
    rows = np.unique(sizes)
    columns = max(int((sizes == row).sum()) for row in rows)
    width = style.COLUMN if columns <= 4 else style.PAGE
    figure, axes = style.panels(
        width, (min(width / columns, 1.2) + 0.2) * len(rows) + 0.2, columns=columns, rows=len(rows)
    )
    for i, row in enumerate(rows):
        runs = np.flatnonzero(sizes == row)
        for ax, run in zip(axes[i * columns : (i + 1) * columns], runs, strict=False):
            _plane(ax, _finite(hidden[run]), SAMPLE, few=True, joined=True)
            ax.set_title(f"$D$ {np.nanmin(D[run]):.3f}–{np.nanmax(D[run]):.3f}", fontsize=labels.SMALL, pad=2)
        for ax in axes[i * columns + len(runs) : (i + 1) * columns]:
            ax.remove()
        axes[i * columns].set_ylabel(f"$T$ = {row}\n2/$T$ = {2 / row:.3f}")
    style.note(figure, "one panel a seed; bars: length 1")
    return figure


def _finite(points: np.ndarray) -> np.ndarray:
    return points[np.isfinite(points).all(axis=1)]


def _plane(ax: Axes, points: np.ndarray, color: str, *, few: bool, joined: bool) -> None:
    reach = 1.15 * max(float(np.linalg.norm(points, axis=1).max(initial=0)), 1e-9)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    segments = np.zeros((len(points), 2, 2))
    segments[:, 1] = points
    width = 0.7 if few else 0.3
    ax.add_collection(LineCollection(list(segments), colors=color, lw=width, alpha=0.35, zorder=1, rasterized=True))
    if joined:
        ring = points[np.argsort(np.arctan2(points[:, 1], points[:, 0]))]
        ring = np.concatenate([ring, ring[:1]])
        ax.plot(ring[:, 0], ring[:, 1], color=color, lw=0.6, alpha=0.6, zorder=2)
    ax.scatter(points[:, 0], points[:, 1], s=9 if few else 2, color=color, lw=0, zorder=3, rasterized=True)
    if reach > 0.5:
        ax.add_patch(Rectangle((-reach, -reach), 1, 0.03 * reach, color="#444444", lw=0))
