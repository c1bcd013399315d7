"""The geometry of one run through training: a strip of stills, and an animation.

W [T, n, m] are the features at the saved points, m = 2 (the plane) or 3 (parallel projection, what lies behind paler).
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toylab.plots import arrows, labels, style
from toylab.plots.style import Animation, XScale

STILLS = 6
FRAMES = 60  # of an animation, unless there are fewer saved points: 5 seconds
SWING = np.deg2rad(25)  # to either side, by which the eye moves around features in space, so that depth can be seen


def _check(W: np.ndarray, steps: np.ndarray, loss: np.ndarray | None) -> None:
    arrows.check(W, "T n")
    for name, values in (("steps", steps), ("loss", loss)):
        if values is not None and np.shape(values) != (len(W),):
            raise ValueError(f"{name} has shape {np.shape(values)}; W has {len(W)} saved points, so it is {(len(W),)}")


def stills(steps: np.ndarray, at: Sequence[float] = ()) -> np.ndarray:
    """Indices of the saved points nearest to the steps `at` (at most eight), else of six evenly spaced over those saved."""
    if len(at) > 8:
        raise ValueError(f"at has {len(at)} steps; a strip has at most 8 stills")
    return np.unique([int(abs(steps - step).argmin()) for step in at]) if len(at) else _some(len(steps), STILLS)


def _some(count: int, most: int) -> np.ndarray:
    """Indices of at most `most` of `count` saved points, evenly spaced, first and last included."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def _loss(ax: Axes, steps: np.ndarray, loss: np.ndarray, xscale: XScale) -> None:
    ax.plot(steps, loss, color="black", lw=1, zorder=2)
    style.step_axis(ax, steps, xscale)
    ax.set_ylabel("loss")
    positive = loss[np.isfinite(loss) & (loss > 0)]
    if positive.size and positive.max() > 1.05 * positive.min():
        ax.set_yscale("log")
        labels.log_numbers(ax.yaxis)


def title(step: float) -> str:
    return f"step {step:,.0f}"


@style.house
def strip(
    W: np.ndarray,
    steps: np.ndarray,
    loss: np.ndarray | None = None,
    *,
    at: Sequence[float] = (),
    groups: np.ndarray | None = None,
    xscale: XScale = "log",
) -> Figure:
    """Stills of one run's features through training in one row, over its loss where that is given.

    Args:
        W: [T, n, 2 or 3].
        steps: [T].
        loss: [T].
        at: Stills are the saved points nearest to these steps (two to eight), else six evenly spaced over those saved.
        groups: Colour is the group [n] of a feature; by default the feature.
        xscale: Of the steps.
    """
    _check(W, steps, loss)
    chosen = stills(steps, at)
    side = (style.PAGE - 0.2) / max(len(chosen), 4)
    figure, (first,) = style.panels(style.PAGE, side + 0.35 + (1.15 if loss is not None else 0))
    first.remove()
    rows = figure.add_gridspec(2, len(chosen), height_ratios=[side, 0.75]) if loss is not None else None
    grid = rows if rows is not None else figure.add_gridspec(1, len(chosen))
    tints, radius = arrows.colors(W.shape[1], groups), arrows.reach(W[chosen])
    for column, point in enumerate(chosen):
        ax = figure.add_subplot(grid[0, column])
        arrows.Arrows(ax, W[point], tints, radius)
        ax.set_title(title(steps[point]), fontsize=labels.SMALL, pad=2)
    if loss is not None:
        below = figure.add_subplot(grid[1, :])
        style.ticks(below)
        _loss(below, steps, loss, xscale)
        below.plot(steps[chosen], loss[chosen], "o", ms=4, color=style.TEST, mew=0, zorder=3, clip_on=False)
    style.note(figure, "dotted: radius 1" + ("; dots: the stills" if loss is not None else ""))
    return figure


@style.house
def animation(
    W: np.ndarray,
    steps: np.ndarray,
    loss: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    xscale: XScale = "log",
    frames: int = FRAMES,
) -> Animation:
    """One run's features moving through training, over its loss with the present step marked: saved as a GIF.

    Frames are saved points, evenly spaced over those saved (log-then-linear saves so give the early steps their time).
    Features in space are seen from an eye that swings.

    Args:
        W: [T, n, 2 or 3].
        steps: [T].
        loss: [T].
        groups: As of `strip`.
        xscale: Of the steps.
        frames: How many.
    """
    _check(W, steps, loss)
    chosen = _some(len(W), frames)
    figure, (first,) = style.panels(style.COLUMN, 4.2)
    first.remove()
    grid = figure.add_gridspec(2, 1, height_ratios=[3, 0.7])
    above, below = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    style.ticks(below)
    drawn = arrows.Arrows(above, W[0], arrows.colors(W.shape[1], groups), arrows.reach(W[chosen]))
    heading = above.set_title(title(steps[-1]), pad=2)
    _loss(below, steps, loss, xscale)
    (dot,) = below.plot(steps[:1], loss[:1], "o", ms=5, color=style.TEST, mew=0, zorder=3, clip_on=False)

    def show(i: int) -> None:
        point = int(chosen[i])
        drawn.show(W[point], arrows.TURN + SWING * np.sin(2 * np.pi * i / len(chosen)))
        heading.set_text(title(steps[point]))
        dot.set_data(steps[point : point + 1], loss[point : point + 1])

    return Animation(figure, show, len(chosen))
